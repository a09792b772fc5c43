//! Numbers that IMAP identifies messages by (RFC 9051 section 2.3.1, RFC 7162).

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};

use serde::{Deserialize, Serialize};

/// A message's unique identifier within a mailbox and a UIDVALIDITY (RFC 9051 section 2.3.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Uid(NonZeroU32);

impl Uid {
    /// The smallest that a message can have.
    pub const FIRST: Uid = Uid(NonZeroU32::MIN);

    /// Returns the UID of this value, or `None` for 0, which no message can have.
    pub fn new(value: u32) -> Option<Self> {
        NonZeroU32::new(value).map(Uid)
    }

    /// Returns the number as it stands on the wire.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A mailbox's UIDVALIDITY. Wider than the RFC's 32 bits and allowed to be 0, because servers send such values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UidValidity(pub u64);

impl fmt::Display for UidValidity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A modification sequence (RFC 7162). A server's 0 means "no such thing" and is not representable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModSeq(NonZeroU64);

impl ModSeq {
    /// Returns the modification sequence of this value, or `None` for 0.
    pub fn new(value: u64) -> Option<Self> {
        NonZeroU64::new(value).map(ModSeq)
    }

    /// Returns the number as it stands on the wire.
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for ModSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A set of UIDs held as ascending, disjoint, non-adjacent inclusive ranges.
///
/// Servers may name enormous ranges (`VANISHED 1:4294967295`), so no operation but [`UidSet::iter`] costs more than
/// the number of ranges.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct UidSet {
    ranges: Vec<(u32, u32)>,
}

impl UidSet {
    /// Returns the empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the set of all UIDs from `first` to `last`, whichever is larger.
    pub fn range(first: Uid, last: Uid) -> Self {
        let (a, b) = (first.get().min(last.get()), first.get().max(last.get()));
        Self { ranges: vec![(a, b)] }
    }

    /// Returns true if no UID is in the set.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Returns the number of UIDs in the set.
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|(a, b)| u64::from(b - a) + 1).sum()
    }

    /// Returns the ascending inclusive ranges of the set.
    pub fn ranges(&self) -> &[(u32, u32)] {
        &self.ranges
    }

    /// Returns true if the UID is in the set.
    pub fn contains(&self, uid: Uid) -> bool {
        let n = uid.get();
        let after = self.ranges.partition_point(|&(first, _)| first <= n);
        after.checked_sub(1).and_then(|at| self.ranges.get(at)).is_some_and(|&(_, last)| n <= last)
    }

    /// Adds one UID.
    pub fn insert(&mut self, uid: Uid) {
        self.insert_range(uid, uid);
    }

    /// Adds all UIDs from `first` to `last`, whichever is larger.
    pub fn insert_range(&mut self, first: Uid, last: Uid) {
        let (mut a, mut b) = (first.get().min(last.get()), first.get().max(last.get()));
        let from = self.ranges.partition_point(|&(_, end)| end.saturating_add(1) < a);
        let to = self.ranges.partition_point(|&(start, _)| start <= b.saturating_add(1));
        if let (Some(&(start, _)), Some(&(_, end))) =
            (self.ranges.get(from), to.checked_sub(1).and_then(|at| self.ranges.get(at)))
            && from < to
        {
            a = a.min(start);
            b = b.max(end);
        }
        self.ranges.splice(from..to.max(from), [(a, b)]);
    }

    /// Returns the UIDs that are in both sets.
    pub fn intersection(&self, other: &UidSet) -> UidSet {
        let (mut mine, mut theirs) = (self.ranges.iter().copied().peekable(), other.ranges.iter().copied().peekable());
        let mut ranges = Vec::new();
        while let (Some(&(a, b)), Some(&(c, d))) = (mine.peek(), theirs.peek()) {
            if a.max(c) <= b.min(d) {
                ranges.push((a.max(c), b.min(d)));
            }
            if b <= d {
                mine.next();
            } else {
                theirs.next();
            }
        }
        UidSet { ranges }
    }

    /// Returns the UIDs of this set that are not in the other.
    pub fn difference(&self, other: &UidSet) -> UidSet {
        let mut ranges = Vec::new();
        let mut cuts = other.ranges.iter().copied().peekable();
        for &(first, last) in &self.ranges {
            let mut start = Some(first);
            while let (Some(from), Some(&(cut_first, cut_last))) = (start, cuts.peek()) {
                if cut_last < from {
                    cuts.next();
                } else if cut_first > last {
                    break;
                } else {
                    if cut_first > from {
                        ranges.push((from, cut_first - 1));
                    }
                    start = cut_last.checked_add(1).filter(|&next| next <= last);
                    if start.is_some() {
                        cuts.next();
                    }
                }
            }
            ranges.extend(start.map(|from| (from, last)));
        }
        UidSet { ranges }
    }

    /// Adds all UIDs of the other set.
    pub fn union_with(&mut self, other: &UidSet) {
        for (first, last) in other.ranges.iter().filter_map(|&(a, b)| Some((Uid::new(a)?, Uid::new(b)?))) {
            self.insert_range(first, last);
        }
    }

    /// Returns the UIDs in ascending order. Only for sets known to name real messages.
    pub fn iter(&self) -> impl Iterator<Item = Uid> + '_ {
        self.ranges.iter().flat_map(|&(a, b)| a..=b).filter_map(Uid::new)
    }

    /// Splits the set into ascending parts of at most `messages` UIDs and `ranges` ranges each.
    pub fn chunks(&self, messages: u32, ranges: usize) -> Vec<UidSet> {
        let mut parts = Vec::new();
        let mut part = UidSet::new();
        let mut room = messages.max(1);
        for &(first, last) in &self.ranges {
            let mut from = first;
            loop {
                let to = last.min(from.saturating_add(room - 1));
                part.ranges.push((from, to));
                room -= to - from + 1;
                if room == 0 || part.ranges.len() >= ranges.max(1) {
                    parts.push(std::mem::take(&mut part));
                    room = messages.max(1);
                }
                if to == last {
                    break;
                }
                from = to + 1;
            }
        }
        parts.extend((!part.is_empty()).then_some(part));
        parts
    }
}

impl FromIterator<Uid> for UidSet {
    fn from_iter<I: IntoIterator<Item = Uid>>(uids: I) -> Self {
        let mut numbers: Vec<u32> = uids.into_iter().map(Uid::get).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for n in numbers {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == n => *last = n,
                _ => ranges.push((n, n)),
            }
        }
        Self { ranges }
    }
}

/// Writes the set as an IMAP sequence-set with ascending ranges; some servers refuse descending ones.
impl fmt::Display for UidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (first, last)) in self.ranges.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}:{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn set(numbers: &BTreeSet<u32>) -> UidSet {
        numbers.iter().copied().filter_map(Uid::new).collect()
    }

    fn numbers(set: &UidSet) -> BTreeSet<u32> {
        set.iter().map(Uid::get).collect()
    }

    proptest! {
        #[test]
        fn behaves_as_a_set(a in proptest::collection::btree_set(1u32..60, 0..30), b in proptest::collection::btree_set(1u32..60, 0..30)) {
            let (x, y) = (set(&a), set(&b));
            prop_assert_eq!(numbers(&x.intersection(&y)), a.intersection(&b).copied().collect::<BTreeSet<_>>());
            prop_assert_eq!(numbers(&x.difference(&y)), a.difference(&b).copied().collect::<BTreeSet<_>>());
            let mut union = x.clone();
            union.union_with(&y);
            prop_assert_eq!(&union, &set(&a.union(&b).copied().collect()));
            for n in (1..60).filter_map(Uid::new) {
                prop_assert_eq!(x.contains(n), a.contains(&n.get()));
            }
            let parts = x.chunks(7, 3);
            prop_assert!(parts.iter().all(|part| part.len() <= 7 && part.ranges().len() <= 3));
            prop_assert_eq!(parts.iter().flat_map(numbers).collect::<Vec<_>>(), a.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn enormous_ranges_are_cheap() {
        let all = UidSet::range(Uid::new(1).unwrap(), Uid::new(u32::MAX).unwrap());
        let some: UidSet = [3, 4, 9].into_iter().filter_map(Uid::new).collect();
        assert_eq!(some.intersection(&all), some);
        assert!(some.difference(&all).is_empty());
        assert_eq!(all.difference(&some).to_string(), "1:2,5:8,10:4294967295");
        let mut grown = all.clone();
        grown.insert(Uid::new(u32::MAX).unwrap());
        assert_eq!(grown, all);
    }
}

//! Flags and keywords (RFC 9051 section 2.3.2), and the three-way merge of them.

use std::fmt;

use super::keyword::{Keyword, Keywords};

/// A system flag that both sides know. `\Recent` is not one: it is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Flag {
    /// `\Seen`, Maildir `S`.
    Seen = 1,
    /// `\Answered`, Maildir `R`.
    Answered = 2,
    /// `\Flagged`, Maildir `F`.
    Flagged = 4,
    /// `\Deleted`, Maildir `T`.
    Deleted = 8,
    /// `\Draft`, Maildir `D`.
    Draft = 16,
}

impl Flag {
    /// Every system flag.
    pub const ALL: [Flag; 5] = [Flag::Seen, Flag::Answered, Flag::Flagged, Flag::Deleted, Flag::Draft];

    /// Returns the flag as IMAP writes it.
    pub fn as_imap(self) -> &'static str {
        match self {
            Flag::Seen => "\\Seen",
            Flag::Answered => "\\Answered",
            Flag::Flagged => "\\Flagged",
            Flag::Deleted => "\\Deleted",
            Flag::Draft => "\\Draft",
        }
    }
}

/// The flags and keywords of one message.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlagSet {
    system: u8,
    /// The keywords, `$Forwarded` among them.
    pub keywords: Keywords,
}

impl FlagSet {
    /// Returns the empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the set of these system flags.
    pub fn of(flags: &[Flag]) -> Self {
        flags.iter().copied().collect()
    }

    /// Returns true if the system flag is set.
    pub fn has(&self, flag: Flag) -> bool {
        self.system & flag as u8 != 0
    }

    /// Sets or clears a system flag.
    pub fn set(&mut self, flag: Flag, on: bool) {
        match on {
            true => self.system |= flag as u8,
            false => self.system &= !(flag as u8),
        }
    }

    /// Returns this set with a system flag set or cleared.
    pub fn with(mut self, flag: Flag, on: bool) -> Self {
        self.set(flag, on);
        self
    }

    /// Returns true if neither flag nor keyword is set.
    pub fn is_empty(&self) -> bool {
        self.system == 0 && self.keywords.is_empty()
    }

    /// Returns the system flags that are set.
    pub fn system(&self) -> impl Iterator<Item = Flag> + '_ {
        Flag::ALL.into_iter().filter(|&flag| self.has(flag))
    }

    /// Returns the system flags as bits, for the database.
    pub fn bits(&self) -> u8 {
        self.system
    }

    /// Returns the set with these system flag bits and keywords; bits that are no flag are dropped.
    pub fn from_parts(bits: u8, keywords: impl IntoIterator<Item = Keyword>) -> Self {
        Self { system: bits & 31, keywords: keywords.into_iter().collect() }
    }

    /// Returns what is in either set.
    pub fn union(&self, other: &FlagSet) -> FlagSet {
        FlagSet {
            system: self.system | other.system,
            keywords: self.keywords.union(&other.keywords).cloned().collect(),
        }
    }

    /// Returns what is in this set and not in the other.
    pub fn difference(&self, other: &FlagSet) -> FlagSet {
        FlagSet {
            system: self.system & !other.system,
            keywords: self.keywords.difference(&other.keywords).cloned().collect(),
        }
    }

    /// Returns what is in both sets.
    pub fn intersection(&self, other: &FlagSet) -> FlagSet {
        self.difference(&self.difference(other))
    }

    /// Returns what has to change to come from this set to the other.
    pub fn delta_to(&self, to: &FlagSet) -> FlagDelta {
        FlagDelta { add: to.difference(self), remove: self.difference(to) }
    }

    /// Merges two descendants of a common base: every addition and every removal since the base is kept. A flag is
    /// present or absent, so two sides that both changed it changed it alike, and nothing can conflict.
    pub fn merge(base: &FlagSet, one: &FlagSet, other: &FlagSet) -> FlagSet {
        base.delta_to(other).apply(&base.delta_to(one).apply(base))
    }
}

impl FromIterator<Flag> for FlagSet {
    fn from_iter<I: IntoIterator<Item = Flag>>(flags: I) -> Self {
        flags.into_iter().fold(FlagSet::new(), |set, flag| set.with(flag, true))
    }
}

/// Writes the flags as IMAP lists them, without the parentheses.
impl fmt::Display for FlagSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words =
            self.system().map(|flag| -> &str { flag.as_imap() }).chain(self.keywords.iter().map(Keyword::as_str));
        for (at, word) in words.enumerate() {
            write!(f, "{}{word}", if at == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

/// A change of flags: what to add and what to remove. The two never overlap when made by [`FlagSet::delta_to`].
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlagDelta {
    /// Flags to add.
    pub add: FlagSet,
    /// Flags to remove.
    pub remove: FlagSet,
}

impl FlagDelta {
    /// Returns true if nothing changes.
    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }

    /// Returns what both changes do.
    pub fn intersection(&self, other: &FlagDelta) -> FlagDelta {
        FlagDelta { add: self.add.intersection(&other.add), remove: self.remove.intersection(&other.remove) }
    }

    /// Returns what this change does and the other doesn't.
    pub fn difference(&self, other: &FlagDelta) -> FlagDelta {
        FlagDelta { add: self.add.difference(&other.add), remove: self.remove.difference(&other.remove) }
    }

    /// Returns what either change does.
    pub fn union(&self, other: &FlagDelta) -> FlagDelta {
        FlagDelta { add: self.add.union(&other.add), remove: self.remove.union(&other.remove) }
    }

    /// Returns the set after the change.
    pub fn apply(&self, to: &FlagSet) -> FlagSet {
        to.union(&self.add).difference(&self.remove)
    }

    /// Returns a set that shows nothing of the change.
    pub fn undo(&self, from: &FlagSet) -> FlagSet {
        from.difference(&self.add).union(&self.remove)
    }
}

/// Writes the change as `+FLAGS` and `-FLAGS` would list it: `+\Seen -work`.
impl fmt::Display for FlagDelta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [('+', &self.add), ('-', &self.remove)];
        let words = parts.map(|(sign, set)| {
            set.to_string().split_whitespace().map(|word| format!("{sign}{word}")).collect::<Vec<_>>()
        });
        f.write_str(&words.concat().join(" "))
    }
}

/// What a mailbox lets a client store for good (RFC 9051 section 7.1, PERMANENTFLAGS).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermanentFlags {
    /// The flags and keywords that can be stored.
    pub flags: FlagSet,
    /// `\*`: new keywords can be made.
    pub new_keywords: bool,
}

impl PermanentFlags {
    /// What holds when the server says nothing: everything can be stored.
    pub fn all() -> Self {
        Self { flags: FlagSet::of(&Flag::ALL), new_keywords: true }
    }

    /// Returns true if the keyword can be stored.
    pub fn allows_keyword(&self, keyword: &Keyword) -> bool {
        self.new_keywords || self.flags.keywords.contains(keyword)
    }

    /// Returns the part of a set that can be stored.
    pub fn storable(&self, set: &FlagSet) -> FlagSet {
        let keywords = set.keywords.iter().filter(|keyword| self.allows_keyword(keyword)).cloned().collect();
        FlagSet { system: set.system & self.flags.system, keywords }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_flags() -> impl Strategy<Value = FlagSet> {
        (0u8..32, proptest::collection::btree_set("[a-d]", 0..4))
            .prop_map(|(bits, words)| FlagSet::from_parts(bits, words.iter().filter_map(|word| Keyword::new(word))))
    }

    proptest! {
        #[test]
        fn merge_keeps_every_change_of_either_side(base in any_flags(), one in any_flags(), other in any_flags()) {
            let merged = FlagSet::merge(&base, &one, &other);
            prop_assert_eq!(&merged, &FlagSet::merge(&base, &other, &one));
            for side in [&one, &other] {
                prop_assert!(side.difference(&base).difference(&merged).is_empty());
                prop_assert!(base.difference(side).difference(&base.difference(&merged)).is_empty());
            }
            prop_assert_eq!(FlagSet::merge(&base, &base, &other), other);
        }
    }
}

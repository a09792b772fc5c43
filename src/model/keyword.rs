//! Keywords (RFC 9051 section 2.3.2).

use std::cmp::Ordering;
use std::collections::{BTreeSet, btree_set};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A user-defined flag, or a registered one such as `$Junk`. Keeps the case it was first seen in, compares without it
/// (RFC 9051 section 2.3.2: keywords are case-insensitive).
#[derive(Clone)]
pub struct Keyword(Arc<str>);

impl Keyword {
    /// The registered keyword that Maildir knows as `P` (passed).
    pub const FORWARDED: &str = "$Forwarded";

    /// Returns the keyword, or `None` if IMAP could not carry it: it must be an atom (RFC 9051 section 9, `flag-keyword`).
    pub fn new(text: &str) -> Option<Self> {
        let atom = !text.is_empty() && text.len() <= 255 && text.bytes().all(is_atom_byte);
        atom.then(|| Keyword(text.into()))
    }

    /// Returns `$Forwarded`.
    pub fn forwarded() -> Self {
        Keyword(Self::FORWARDED.into())
    }

    /// Returns true for `$Forwarded`, which has a Maildir letter of its own.
    pub fn is_forwarded(&self) -> bool {
        self.0.eq_ignore_ascii_case(Self::FORWARDED)
    }

    /// Returns the keyword in the case it was first seen in.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn folded(&self) -> impl Iterator<Item = u8> + '_ {
        self.0.bytes().map(|byte| byte.to_ascii_lowercase())
    }
}

fn is_atom_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"(){%*\"\\]".contains(&byte)
}

impl PartialEq for Keyword {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Keyword {}

impl PartialOrd for Keyword {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Keyword {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded().cmp(other.folded())
    }
}

impl fmt::Debug for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The keywords of one message. Of hundreds of thousands most have none: those take no more room than a pointer.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Keywords(
    /// Never empty.
    Option<Arc<BTreeSet<Keyword>>>,
);

static NONE: BTreeSet<Keyword> = BTreeSet::new();

impl Keywords {
    /// Adds a keyword. Returns false if it was there.
    pub fn insert(&mut self, keyword: Keyword) -> bool {
        Arc::make_mut(self.0.get_or_insert_default()).insert(keyword)
    }

    /// Keeps only those that fulfil a condition.
    pub fn retain(&mut self, keep: impl FnMut(&Keyword) -> bool) {
        if let Some(some) = &mut self.0 {
            Arc::make_mut(some).retain(keep);
        }
        self.0.take_if(|some| some.is_empty());
    }
}

impl Deref for Keywords {
    type Target = BTreeSet<Keyword>;

    fn deref(&self) -> &Self::Target {
        self.0.as_deref().unwrap_or(&NONE)
    }
}

impl fmt::Debug for Keywords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl Extend<Keyword> for Keywords {
    fn extend<I: IntoIterator<Item = Keyword>>(&mut self, keywords: I) {
        for keyword in keywords {
            self.insert(keyword);
        }
    }
}

impl FromIterator<Keyword> for Keywords {
    fn from_iter<I: IntoIterator<Item = Keyword>>(keywords: I) -> Self {
        let mut all = Self::default();
        all.extend(keywords);
        all
    }
}

impl<'a> IntoIterator for &'a Keywords {
    type Item = &'a Keyword;
    type IntoIter = btree_set::Iter<'a, Keyword>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_compare_without_case_and_reject_what_is_no_atom() {
        assert_eq!(Keyword::new("$FORWARDED"), Some(Keyword::forwarded()));
        for bad in ["", "a b", "\\Seen", "a]", "é", "a\"", "a(b", "x\r\ny"] {
            assert_eq!(Keyword::new(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn no_keywords_are_no_keywords_whether_there_were_some_or_not() {
        let work = Keyword::new("work").unwrap();
        let (mut none, mut some) = (Keywords::default(), Keywords::from_iter([work.clone()]));
        none.extend([]);
        let shared = some.clone();
        assert!(none != some && none < some && none.is_empty());
        some.retain(|keyword| *keyword != work);
        assert_eq!((&none, none.cmp(&some)), (&some, Ordering::Equal));
        assert_eq!(shared.iter().collect::<Vec<_>>(), [&work], "the other one has them still");
        let mut shared = shared;
        assert!(!shared.insert(work) && none.0.is_none(), "nothing is held for none");
        assert_eq!(size_of::<Keywords>(), size_of::<usize>());
    }
}

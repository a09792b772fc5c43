//! What a server says it can do.

use std::collections::BTreeSet;

/// What IMAP4rev2 brings along (RFC 9051 appendix E), for servers that speak nothing else.
const REV2: [&str; 14] = [
    "BINARY",
    "ENABLE",
    "ESEARCH",
    "ID",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "LITERAL-",
    "MOVE",
    "NAMESPACE",
    "SASL-IR",
    "SEARCHRES",
    "SPECIAL-USE",
    "UIDPLUS",
    "UNSELECT",
];

/// The capabilities of a server, in upper case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Capabilities(BTreeSet<String>);

impl Capabilities {
    /// Returns the set of these words, upper-case already.
    pub(super) fn new(words: &[String]) -> Self {
        Self(words.iter().cloned().collect())
    }

    /// Returns true if the capability is advertised, or implied by IMAP4rev2 alone.
    pub(super) fn has(&self, name: &str) -> bool {
        let only_rev2 = self.0.contains("IMAP4REV2") && !self.0.contains("IMAP4REV1");
        self.0.contains(name) || only_rev2 && REV2.contains(&name)
    }

    /// Returns the value of a capability such as `APPENDLIMIT=35651584`.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    /// Returns true if HIGHESTMODSEQ can be relied on. Yahoo shows it without advertising CONDSTORE: then it can't.
    pub(super) fn mod_seq(&self) -> bool {
        self.has("CONDSTORE") || self.has("QRESYNC")
    }

    /// Returns all of them, in order.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

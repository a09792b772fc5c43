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
pub(super) struct Capabilities {
    advertised: BTreeSet<String>,
    disabled: BTreeSet<String>,
}

impl Capabilities {
    /// Returns the set of these words, upper-case already.
    pub(super) fn new(words: &[String]) -> Self {
        Self { advertised: words.iter().cloned().collect(), disabled: BTreeSet::new() }
    }

    /// Takes away what the user does not want used, with what builds on it (RFC 7162 section 3.2). `LOGINDISABLED` is
    /// no offer but a warning, and stays.
    pub(super) fn without(mut self, disabled: &[String]) -> Self {
        self.disabled = disabled.iter().filter(|word| *word != "LOGINDISABLED").cloned().collect();
        if self.disabled.contains("CONDSTORE") {
            self.disabled.insert("QRESYNC".to_owned());
        }
        self
    }

    /// Returns true if the capability is advertised, or implied by IMAP4rev2 alone, and not disabled.
    pub(super) fn has(&self, name: &str) -> bool {
        let has = |name: &str| self.advertised.contains(name);
        let only_rev2 = has("IMAP4REV2") && !has("IMAP4REV1");
        !self.is_disabled(name) && (has(name) || only_rev2 && REV2.contains(&name))
    }

    /// A word such as `APPENDLIMIT=35651584` can be disabled by its name alone.
    fn is_disabled(&self, word: &str) -> bool {
        let name = word.split_once('=').map_or(word, |(name, _)| name);
        self.disabled.contains(word) || self.disabled.contains(name)
    }

    /// Returns the value of a capability such as `APPENDLIMIT=35651584`.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.words().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    /// Returns true if HIGHESTMODSEQ can be relied on. Yahoo shows it without advertising CONDSTORE: then it can't.
    pub(super) fn mod_seq(&self) -> bool {
        self.has("CONDSTORE") || self.has("QRESYNC")
    }

    /// Returns the FETCH item by which the server tells what it calls a message's content: EMAILID (RFC 8474 section 5.1),
    /// or Gmail's own.
    pub(super) fn email_id_item(&self) -> Option<&'static str> {
        match (self.has("OBJECTID"), self.has("X-GM-EXT-1")) {
            (true, _) => Some("EMAILID"),
            (false, true) => Some("X-GM-MSGID"),
            (false, false) => None,
        }
    }

    /// Returns all that are not disabled, in order.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        self.advertised.iter().map(String::as_str).filter(|word| !self.is_disabled(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn left(advertised: &str, disabled: &str) -> (Capabilities, Vec<String>) {
        let left = Capabilities::new(&words(advertised)).without(&words(disabled));
        let shown = left.words().map(str::to_owned).collect();
        (left, shown)
    }

    #[test]
    fn what_is_disabled_is_not_there_however_it_was_said() {
        let (left, shown) = left("IMAP4REV1 CONDSTORE QRESYNC APPENDLIMIT=5 MOVE", "QRESYNC APPENDLIMIT NO-SUCH");
        assert_eq!(shown, ["CONDSTORE", "IMAP4REV1", "MOVE"]);
        assert!(!left.has("QRESYNC") && left.mod_seq() && left.has("MOVE"));
        assert_eq!(left.value("APPENDLIMIT"), None);
    }

    #[test]
    fn what_builds_on_it_goes_too_and_what_rev2_implies() {
        assert!(!left("IMAP4REV1 CONDSTORE QRESYNC", "CONDSTORE").0.mod_seq());
        let (rev2, _) = left("IMAP4REV2", "MOVE");
        assert!(!rev2.has("MOVE") && rev2.has("UIDPLUS"));
    }

    #[test]
    fn email_ids_are_asked_for_as_the_server_offers_them() {
        let item = |advertised, disabled| left(advertised, disabled).0.email_id_item();
        assert_eq!(item("IMAP4REV1 OBJECTID X-GM-EXT-1", ""), Some("EMAILID"));
        assert_eq!(item("IMAP4REV1 OBJECTID X-GM-EXT-1", "OBJECTID"), Some("X-GM-MSGID"));
        assert_eq!(item("IMAP4REV1 OBJECTID", "OBJECTID"), None);
        assert_eq!(item("IMAP4REV2", ""), None);
    }

    #[test]
    fn a_way_to_log_in_can_be_disabled_but_no_warning() {
        let (left, shown) = left("AUTH=PLAIN AUTH=LOGIN LOGINDISABLED", "AUTH=PLAIN LOGINDISABLED");
        assert_eq!(shown, ["AUTH=LOGIN", "LOGINDISABLED"]);
        assert!(!left.has("AUTH=PLAIN") && left.has("LOGINDISABLED"));
    }
}

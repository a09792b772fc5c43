//! Mailbox names: the server's spelling on one side, [`MailboxName`] on the other.

use std::collections::BTreeMap;

use super::error::Error;
use super::response::{Listed, Namespaces};
use super::utf7;
use crate::model::MailboxName;

/// The longest spelling that is read. No file system has a path for a longer one; time and memory for what a server may
/// send as a name have an end with it.
const LONGEST: usize = 16 << 10;

/// The mailboxes' names as the server spells them, and how a new one is spelled.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    prefix: Vec<u8>,
    separator: Option<u8>,
    foreign: Vec<Vec<u8>>,
    known: BTreeMap<MailboxName, Vec<u8>>,
    /// Every listed spelling; the inbox in upper case.
    read: BTreeMap<Vec<u8>, MailboxName>,
}

/// A name, and what a rename makes of it, each with the server's spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Move {
    /// The name.
    pub(super) from: MailboxName,
    /// Its spelling.
    pub(super) from_raw: Vec<u8>,
    /// The new name.
    pub(super) to: MailboxName,
    /// Its spelling.
    pub(super) to_raw: Vec<u8>,
}

impl Names {
    /// Reads all names of a listing. Returns with them those that can't be used, and why. Names of other users and
    /// shared ones are left out.
    pub(super) fn read(namespaces: Option<&Namespaces>, listed: &[Listed]) -> (Self, Vec<(String, String)>) {
        let mut names = Names::frame(namespaces, listed);
        let mut rejected = Vec::new();
        let mut found: Vec<Found> = Vec::new();
        for entry in listed.iter().filter(|entry| !names.is_foreign(&entry.name)) {
            let mailless = !entry.is_selectable();
            match names.decode(&entry.name, entry.separator.or(names.separator)) {
                Ok((regular, name)) => {
                    found.push(Found { mailless, odd: !regular, name, raw: spelling(&entry.name) });
                }
                Err(why) if !mailless => rejected.push((lossy(&entry.name), why.to_owned())),
                Err(_) => {}
            }
        }
        // Of two that clash, the one without mail is left out, else the one that we would spell otherwise.
        found.sort();
        for Found { mailless, name, raw, .. } in found {
            match names.known.get(&name) {
                Some(other) if *other == raw => {}
                Some(other) if !mailless => {
                    rejected.push((lossy(&raw), format!("it reads as {name}, like {}", lossy(other))));
                }
                Some(_) => {}
                None => names.remember(name, raw),
            }
        }
        (names, rejected)
    }

    /// Finds prefix and separator: from NAMESPACE, else from the names themselves.
    fn frame(namespaces: Option<&Namespaces>, listed: &[Listed]) -> Self {
        let separator = listed.iter().find_map(|entry| entry.separator);
        match namespaces.and_then(|all| Some((all, all.personal.first()?))) {
            Some((all, own)) => {
                let longer = |prefix: &Vec<u8>| all.personal.iter().all(|mine| mine.prefix != *prefix);
                let foreign = all.foreign.iter().map(|namespace| namespace.prefix.clone()).filter(longer).collect();
                let separator = own.separator.or(separator);
                Names { prefix: own.prefix.clone(), separator, foreign, ..Names::default() }
            }
            None => Names { prefix: guessed_prefix(separator, listed), separator, ..Names::default() },
        }
    }

    /// Returns true if a longer prefix makes the name another namespace's than the user's own.
    fn is_foreign(&self, name: &[u8]) -> bool {
        if name.eq_ignore_ascii_case(b"INBOX") {
            return false;
        }
        let own = if starts_with(name, &self.prefix) { self.prefix.len() } else { 0 };
        let of = |prefix: &Vec<u8>| {
            let bare = prefix.split_last().map_or(&[][..], |(_, bare)| bare);
            starts_with(name, prefix) || name == bare
        };
        self.foreign.iter().any(|prefix| (prefix.len() > own || (prefix.is_empty() && own == 0)) && of(prefix))
    }

    /// Reads one name, and whether we would spell it the same; or says why it can't be used.
    fn decode(&self, raw: &[u8], separator: Option<u8>) -> Result<(bool, MailboxName), &'static str> {
        if raw.len() > LONGEST {
            return Err("its name is too long");
        }
        self.decode_text(raw, separator).ok_or("its name is no text, or a part of it is empty")
    }

    fn decode_text(&self, raw: &[u8], separator: Option<u8>) -> Option<(bool, MailboxName)> {
        if raw.eq_ignore_ascii_case(b"INBOX") {
            return Some((true, MailboxName::inbox()));
        }
        let stripped = raw.get(self.prefix.len()..).filter(|_| starts_with(raw, &self.prefix));
        // What would read as the inbox keeps its prefix.
        let within = stripped.filter(|name| !name.eq_ignore_ascii_case(b"INBOX")).unwrap_or(raw);
        let parts: Vec<&[u8]> = match separator {
            Some(separator) => within.split(|&byte| byte == separator).collect(),
            None => vec![within],
        };
        let mut regular = within.len() < raw.len() || self.prefix.is_empty();
        let mut components = Vec::with_capacity(parts.len());
        for part in parts {
            let decoded = utf7::decode(part);
            regular &= decoded.as_deref().is_some_and(|text| utf7::encode(text) == part);
            // Servers that send UTF-8, or a bare `&`: the name is taken as it stands and sent back the same.
            components.push(match decoded {
                Some(text) => text,
                None => std::str::from_utf8(part).ok()?.to_owned(),
            });
        }
        Some((regular, MailboxName::from_components(components.iter().map(String::as_str))?))
    }

    /// Keeps the spelling of a name.
    pub(super) fn remember(&mut self, name: MailboxName, raw: Vec<u8>) {
        self.read.insert(raw.clone(), name.clone());
        self.known.insert(name, raw);
    }

    /// Returns what a rename does to the names: to the mailbox's first, then to those of all known below it, whose
    /// spelling stays from there on as it is.
    pub(super) fn moves(&self, from: &MailboxName, to: &MailboxName) -> Result<Vec<Move>, Error> {
        let (from_raw, to_raw) = (self.wire(from)?, self.wire(to)?);
        let below = self.iter().filter_map(|(name, raw)| {
            let rest = raw.strip_prefix(from_raw.as_slice()).filter(|_| name.is_below(from))?;
            let to_raw = [&to_raw, rest].concat();
            Some(Move { from: name.clone(), from_raw: raw.to_vec(), to: name.rebased(from, to)?, to_raw })
        });
        let below: Vec<Move> = below.collect();
        let top = Move { from: from.clone(), to: to.clone(), from_raw, to_raw };
        Ok(std::iter::once(top).chain(below).collect())
    }

    /// Knows the new names from now on, and the old ones no more.
    pub(super) fn take(&mut self, moves: &[Move]) {
        for raw in moves.iter().filter_map(|one| self.known.remove(&one.from)) {
            self.read.remove(&raw);
        }
        moves.iter().for_each(|one| self.remember(one.to.clone(), one.to_raw.clone()));
    }

    /// Returns the mailbox that the server spells like this in another reply.
    pub(super) fn find(&self, raw: &[u8]) -> Option<&MailboxName> {
        self.read.get(&spelling(raw))
    }

    /// Returns true if the server listed the mailbox, or we created it.
    pub(super) fn knows(&self, name: &MailboxName) -> bool {
        self.known.contains_key(name)
    }

    /// Returns all names with their spelling.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&MailboxName, &[u8])> {
        self.known.iter().map(|(name, raw)| (name, raw.as_slice()))
    }

    /// Returns the server's spelling of a name, be it listed or new.
    pub(super) fn wire(&self, name: &MailboxName) -> Result<Vec<u8>, Error> {
        if let Some(raw) = self.known.get(name) {
            return Ok(raw.clone());
        }
        let raw = self.spell(name)?;
        // Created like this it would be listed as another folder next time, or as somebody else's.
        if self.is_foreign(&raw) || self.decode(&raw, self.separator).ok().map(|(_, read)| read).as_ref() != Some(name)
        {
            return Err(Error::Unusable(format!("on this server {:?} would be another folder", lossy(&raw))));
        }
        Ok(raw)
    }

    /// Spells a new name, below its parent as that is spelled.
    fn spell(&self, name: &MailboxName) -> Result<Vec<u8>, Error> {
        if let Some(raw) = self.known.get(name) {
            return Ok(raw.clone());
        }
        if name.is_inbox() {
            return Ok(MailboxName::INBOX.into());
        }
        let components = name.components();
        let Some(leaf) = components.last() else { return Err(Error::Unusable("its name is empty".to_owned())) };
        let within = |byte: u8| leaf.bytes().any(|other| other == byte);
        if let Some(separator) = self.separator.filter(|&separator| within(separator)) {
            let separator = char::from(separator);
            return Err(Error::Unusable(format!("a folder's name can't hold {separator:?} on this server: {leaf:?}")));
        }
        let mut raw = match name.parent() {
            Some(parent) => self.within(&parent)?,
            None => self.prefix.clone(),
        };
        raw.extend(utf7::encode(leaf));
        Ok(raw)
    }

    /// Returns what the names of a folder's children begin with.
    fn within(&self, parent: &MailboxName) -> Result<Vec<u8>, Error> {
        let separator =
            self.separator.ok_or_else(|| Error::Unusable("this server has no nested folders".to_owned()))?;
        let mut raw = match parent.is_inbox() && !self.prefix.is_empty() {
            // `INBOX.` is the prefix of everything: a child of the inbox is spelled `INBOX.INBOX.child`.
            true => [&self.prefix, MailboxName::INBOX.as_bytes()].concat(),
            false => self.spell(parent)?,
        };
        raw.push(separator);
        Ok(raw)
    }
}

/// A name of a listing, in the order in which they are taken.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    /// It can hold no message.
    mailless: bool,
    /// We would spell it otherwise.
    odd: bool,
    name: MailboxName,
    raw: Vec<u8>,
}

/// Without NAMESPACE: everything but the inbox lies below it, so that is no more than a prefix.
fn guessed_prefix(separator: Option<u8>, listed: &[Listed]) -> Vec<u8> {
    let Some(separator) = separator else { return Vec::new() };
    let prefix = [MailboxName::INBOX.as_bytes(), &[separator]].concat();
    let mut others = listed.iter().filter(|entry| !entry.name.eq_ignore_ascii_case(b"INBOX")).peekable();
    match others.peek().is_some() && others.all(|entry| starts_with(&entry.name, &prefix)) {
        true => prefix,
        false => Vec::new(),
    }
}

/// Compares the start of a name; `INBOX` in it in any case.
fn starts_with(name: &[u8], prefix: &[u8]) -> bool {
    let inbox = prefix.get(..5).filter(|start| start.eq_ignore_ascii_case(b"INBOX")).map_or(0, <[u8]>::len);
    match (name.split_at_checked(inbox), prefix.split_at_checked(inbox)) {
        (Some((a, name)), Some((b, prefix))) => a.eq_ignore_ascii_case(b) && name.starts_with(prefix),
        _ => false,
    }
}

/// Returns the spelling by which names are compared: the inbox's has no case.
fn spelling(raw: &[u8]) -> Vec<u8> {
    match raw.eq_ignore_ascii_case(b"INBOX") {
        true => MailboxName::INBOX.into(),
        false => raw.to_vec(),
    }
}

fn lossy(raw: &[u8]) -> String {
    String::from_utf8_lossy(raw).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::response::Namespace;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Every separator that servers are known to have.
    const SEPARATORS: [u8; 4] = *b"/.\\^";

    fn listed(names: &[&[u8]], separator: u8) -> Vec<Listed> {
        let entry = |name: &&[u8]| Listed { attributes: vec![], separator: Some(separator), name: name.to_vec() };
        names.iter().map(entry).collect()
    }

    fn namespaces(personal: &str, foreign: &[&str], separator: u8) -> Namespaces {
        let one = |prefix: &str| Namespace { prefix: prefix.into(), separator: Some(separator) };
        Namespaces { personal: vec![one(personal)], foreign: foreign.iter().map(|prefix| one(prefix)).collect() }
    }

    fn texts(names: &Names) -> Vec<&str> {
        names.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn the_prefix_is_taken_off_and_put_on() {
        let all: &[&[u8]] = &[b"inbox", b"INBOX.Sent", b"Inbox.a&-b.c/d", b"user.bob", b"shared"];
        let (names, rejected) =
            Names::read(Some(&namespaces("INBOX.", &["user.", "shared."], b'.')), &listed(all, b'.'));
        assert_eq!(texts(&names), ["INBOX", "Sent", "a&b/c%2Fd"]);
        assert_eq!(rejected, []);
        let wire = |text: &str| names.wire(&MailboxName::parse(text).unwrap()).map(|raw| lossy(&raw));
        assert_eq!(wire("INBOX").unwrap(), "INBOX");
        assert_eq!(wire("Sent/Entwürfe").unwrap(), "INBOX.Sent.Entw&APw-rfe");
        assert_eq!(wire("a&b/c%2Fd/new").unwrap(), "Inbox.a&-b.c/d.new");
        assert_eq!(wire("INBOX/x").unwrap(), "INBOX.INBOX.x");
        assert!(wire("v1.2").unwrap_err().to_string().contains("'.'"));
        assert_eq!(names.find(b"InBoX"), Some(&MailboxName::inbox()));
        assert_eq!(names.find(b"Inbox.a&-b.c/d").unwrap().as_str(), "a&b/c%2Fd");
    }

    #[test]
    fn without_namespace_the_prefix_is_guessed_only_if_all_have_it() {
        let (names, _) = Names::read(None, &listed(&[b"INBOX", b"INBOX.a", b"INBOX.a.b"], b'.'));
        assert_eq!(texts(&names), ["INBOX", "a", "a/b"]);
        let (names, _) = Names::read(None, &listed(&[b"INBOX", b"INBOX/a", b"b"], b'/'));
        assert_eq!(texts(&names), ["INBOX", "INBOX/a", "b"]);
    }

    #[test]
    fn clashes_and_nonsense_are_rejected_and_the_rest_stays() {
        let all: &[&[u8]] = &[b"INBOX", b"a&b", b"a&-b", b"x//y", b"\xff", b"caf\xc3\xa9", b"a\"b\\c"];
        let (names, rejected) = Names::read(Some(&namespaces("", &[], b'/')), &listed(all, b'/'));
        assert_eq!(texts(&names), ["INBOX", "a\"b\\c", "a&b", "café"]);
        assert_eq!(names.wire(&MailboxName::parse("a&b").unwrap()).unwrap(), b"a&-b");
        assert_eq!(names.wire(&MailboxName::parse("café").unwrap()).unwrap(), "café".as_bytes());
        let mut spelled: Vec<&str> = rejected.iter().map(|(name, _)| name.as_str()).collect();
        spelled.sort_unstable();
        assert_eq!(spelled, ["a&b", "x//y", "\u{fffd}"]);
    }

    #[test]
    fn what_would_read_as_the_inbox_keeps_its_prefix() {
        let all = listed(&[b"INBOX", b"INBOX.INBOX", b"INBOX.Inbox.a"], b'.');
        let (names, rejected) = Names::read(Some(&namespaces("INBOX.", &[], b'.')), &all);
        assert_eq!((texts(&names), rejected), (vec!["INBOX", "INBOX/INBOX", "INBOX/a"], vec![]));
        assert_eq!(names.wire(&MailboxName::parse("INBOX/INBOX").unwrap()).unwrap(), b"INBOX.INBOX");
    }

    #[test]
    fn a_flat_server_has_no_children() {
        let flat = [Listed { attributes: vec![], separator: None, name: b"INBOX".to_vec() }];
        let (names, _) = Names::read(None, &flat);
        assert!(names.wire(&MailboxName::parse("a/b").unwrap()).is_err());
        assert_eq!(names.wire(&MailboxName::parse("a.b").unwrap()).unwrap(), b"a.b");
    }

    #[test]
    fn what_holds_no_mail_and_has_no_usable_name_is_no_matter() {
        let noselect =
            |name: &[u8]| Listed { attributes: vec!["\\noselect".into()], separator: Some(b'.'), name: name.to_vec() };
        let mut all = listed(&[b"INBOX", b"INBOX.INBOX.INBOX", b"INBOX.a.b"], b'.');
        // Dovecot lists the middle one when it has the last; others list a directory as `x.` or the root as an empty name.
        all.extend([noselect(b""), noselect(b"INBOX."), noselect(b"INBOX.x."), noselect(b"INBOX.INBOX")]);
        let (names, rejected) = Names::read(Some(&namespaces("INBOX.", &[], b'.')), &all);
        assert_eq!((texts(&names), rejected), (vec!["INBOX", "INBOX/INBOX", "a/b"], vec![]));
        assert_eq!(names.wire(&MailboxName::parse("INBOX/INBOX").unwrap()).unwrap(), b"INBOX.INBOX.INBOX");
    }

    #[test]
    fn of_two_that_clash_the_one_with_mail_stays() {
        let mut all = listed(&[b"INBOX.INBOX", b"INBOX.INBOX.INBOX"], b'.');
        all[1].attributes.push("\\noselect".to_owned());
        let (names, rejected) = Names::read(Some(&namespaces("INBOX.", &[], b'.')), &all);
        assert_eq!((names.find(b"INBOX.INBOX").unwrap().as_str(), rejected), ("INBOX/INBOX", vec![]));
    }

    #[test]
    fn a_new_name_that_would_be_listed_as_another_is_refused() {
        let wire = |names: &Names, text: &str| names.wire(&MailboxName::parse(text).unwrap()).map(|raw| lossy(&raw));
        let all = listed(&[b"INBOX", b"INBOX.INBOX"], b'.');
        let (names, _) = Names::read(Some(&namespaces("INBOX.", &[], b'.')), &all);
        assert_eq!(wire(&names, "INBOX/INBOX").unwrap(), "INBOX.INBOX");
        // `INBOX.INBOX.x` is `INBOX/x`.
        assert!(wire(&names, "INBOX/INBOX/x").is_err());
        assert_eq!(wire(&names, "INBOX/x").unwrap(), "INBOX.INBOX.x");
        let (names, _) = Names::read(Some(&namespaces("", &["user.", "shared."], b'.')), &listed(&[b"INBOX"], b'.'));
        for other_users in ["user", "user/bob", "shared/team/x"] {
            assert!(wire(&names, other_users).unwrap_err().to_string().contains("another folder"), "{other_users}");
        }
        assert_eq!(wire(&names, "users/bob").unwrap(), "users.bob");
    }

    #[test]
    fn an_endless_name_is_rejected() {
        let endless = "a/".repeat(500_000) + "a";
        let (names, rejected) = Names::read(None, &listed(&[endless.as_bytes(), b"b"], b'/'));
        assert_eq!((texts(&names), rejected.len()), (vec!["b"], 1));
    }

    fn text() -> impl Strategy<Value = String> {
        let nasty = prop_oneof![
            Just("INBOX"),
            Just("inbox"),
            Just("."),
            Just(".."),
            Just("/"),
            Just("\\"),
            Just("^"),
            Just("%"),
            Just("%2F"),
            Just("&"),
            Just("&AOk-"),
            Just("-"),
            Just("\""),
            Just("*"),
            Just(" "),
            Just("\0"),
            Just("\r\n"),
            Just("\u{7f}"),
            Just("é"),
            Just("e\u{301}"),
            Just("😀"),
            Just("Mail"),
            Just("x"),
        ];
        prop_oneof![
            proptest::collection::vec(nasty, 1..5).prop_map(|parts| parts.concat()),
            any::<String>().prop_filter("empty", |text| !text.is_empty()),
            (250..320_usize).prop_map(|len| "x".repeat(len)),
        ]
    }

    fn name() -> impl Strategy<Value = MailboxName> {
        proptest::collection::vec(text(), 1..4)
            .prop_map(|parts| MailboxName::from_components(parts.iter().map(String::as_str)).unwrap())
    }

    /// The prefix of the personal namespace, for a separator.
    fn prefixes(separator: u8) -> [String; 3] {
        let separator = char::from(separator);
        [String::new(), format!("INBOX{separator}"), format!("Mail{separator}")]
    }

    /// What servers and liars spell: modified UTF-7, UTF-8, neither.
    fn raw() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            text().prop_map(|text| utf7::encode(&text)),
            text().prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 0..8),
            "(INBOX|Inbox|Mail|a|&AGE-|&|x&-){1}([/.^\\\\](INBOX|inbox|Mail|a|&AGE-|&|&-)){0,3}[/.^]?"
                .prop_map(String::into_bytes),
        ]
    }

    proptest! {
        #[test]
        fn a_new_name_is_listed_as_itself_or_refused(names in proptest::collection::vec(name(), 1..12)) {
            for separator in SEPARATORS {
                for prefix in prefixes(separator) {
                    let namespaces = namespaces(&prefix, &[], separator);
                    let (empty, _) = Names::read(Some(&namespaces), &listed(&[b"INBOX"], separator));
                    let holds = |part: &String| part.contains(char::from(separator));
                    let mut spelled: BTreeMap<Vec<u8>, &MailboxName> = BTreeMap::new();
                    for name in &names {
                        let Ok(raw) = empty.wire(name) else {
                            prop_assert!(name.components().iter().any(holds), "{name}");
                            continue;
                        };
                        prop_assert!(raw.iter().all(|byte| (0x20..0x7f).contains(byte)));
                        let (again, rejected) = Names::read(Some(&namespaces), &listed(&[&raw], separator));
                        prop_assert_eq!((texts(&again), rejected), (vec![name.as_str()], vec![]));
                        prop_assert_eq!(spelled.insert(raw, name).unwrap_or(name), name);
                    }
                }
            }
        }

        #[test]
        fn every_listed_name_is_one_folder_and_spelled_back_exactly(
            raws in proptest::collection::vec(raw(), 0..12)
        ) {
            for separator in SEPARATORS {
                for prefix in prefixes(separator) {
                    let all: Vec<&[u8]> = raws.iter().map(Vec::as_slice).collect();
                    let (names, rejected) =
                        Names::read(Some(&namespaces(&prefix, &[], separator)), &listed(&all, separator));
                    for (name, raw) in names.iter() {
                        let stored = MailboxName::parse(name.as_str());
                        prop_assert_eq!(stored.as_ref(), Some(name), "as the database has it");
                        prop_assert_eq!(names.find(raw), Some(name));
                        prop_assert_eq!(names.wire(name).unwrap(), raw);
                    }
                    let distinct: BTreeSet<Vec<u8>> = raws.iter().map(|raw| spelling(raw)).collect();
                    let told: BTreeSet<&String> = rejected.iter().map(|(raw, _)| raw).collect();
                    for raw in distinct {
                        prop_assert!(names.find(&raw).is_some() || told.contains(&lossy(&raw)), "{}", lossy(&raw));
                    }
                }
            }
        }
    }
}

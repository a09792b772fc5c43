//! Are both sides equal? Every folder, every message: content, flags, keywords, date.

use std::collections::{BTreeMap, BTreeSet};

use super::imap::{Imap, Message};
use super::maildir::{Entry, Root};

/// A message in the form in which both sides must agree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Common {
    content: Vec<u8>,
    flags: BTreeSet<char>,
    keywords: BTreeSet<String>,
    date: i64,
}

impl Common {
    fn words(&self) -> String {
        let first = String::from_utf8_lossy(&self.content)
            .lines()
            .filter(|line| line.starts_with("Subject:"))
            .take(1)
            .collect::<Vec<_>>()
            .join(" / ");
        format!("{} bytes, {:?} {:?} date {}: {first}", self.content.len(), self.flags, self.keywords, self.date)
    }
}

impl From<&Message> for Common {
    fn from(message: &Message) -> Common {
        let mut flags = BTreeSet::new();
        let mut keywords = BTreeSet::new();
        for flag in &message.flags {
            match flag.as_str() {
                "\\Seen" => flags.insert('S'),
                "\\Answered" => flags.insert('R'),
                "\\Flagged" => flags.insert('F'),
                "\\Deleted" => flags.insert('T'),
                "\\Draft" => flags.insert('D'),
                word if word.eq_ignore_ascii_case("$Forwarded") => flags.insert('P'),
                word => keywords.insert(word.to_lowercase()),
            };
        }
        Common { content: content(&message.body), flags, keywords, date: message.date }
    }
}

impl From<&Entry> for Common {
    fn from(entry: &Entry) -> Common {
        let keywords = entry.keywords.iter().map(|keyword| keyword.to_lowercase()).collect();
        Common { content: content(&entry.content), flags: entry.flags.clone(), keywords, date: entry.date }
    }
}

/// Returns what both sides must agree on: not on the `Content-Length` that mutt and neomutt write at the end of a header.
fn content(bytes: &[u8]) -> Vec<u8> {
    let canonical = canonical(bytes);
    let end = canonical.windows(2).position(|end| end == b"\n\n").map_or(0, |at| at + 1);
    let (header, body) = canonical.split_at(end);
    let lines = header.split_inclusive(|&byte| byte == b'\n');
    let counted = lines.filter(|line| !line.starts_with(b"Content-Length: "));
    counted.chain([body]).flatten().copied().collect()
}

/// Returns the content with LF line ends, and with 0x80 for NUL: Dovecot shows a NUL so.
pub(crate) fn canonical(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len());
    let mut bytes = content.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\r' if bytes.peek() == Some(&b'\n') => {}
            0 => out.push(0x80),
            other => out.push(other),
        }
    }
    out
}

/// Everything on one side, by folder.
pub(crate) type Contents = BTreeMap<Vec<String>, Vec<Common>>;

/// Returns all that the server has.
pub(crate) fn of_server(imap: &mut Imap) -> Contents {
    let mut found = Contents::new();
    for folder in imap.folders() {
        let components: Vec<&str> = folder.iter().map(String::as_str).collect();
        found.insert(folder.clone(), sorted(imap.messages(&components).iter().map(Common::from)));
    }
    found
}

/// Returns all that the Maildir has.
pub(crate) fn of_root(root: &Root) -> Contents {
    let folders = root.folders().into_iter();
    folders.map(|(name, folder)| (name, sorted(folder.messages().iter().map(Common::from)))).collect()
}

fn sorted(messages: impl Iterator<Item = Common>) -> Vec<Common> {
    let mut messages: Vec<Common> = messages.collect();
    messages.sort();
    messages
}

/// Returns every difference between the two sides, in words; none means equal.
pub(crate) fn compare(imap: &mut Imap, root: &Root) -> Vec<String> {
    differences(&of_server(imap), "on the server", &of_root(root), "in the Maildir")
}

/// Returns every difference between the contents of two places, in words.
pub(crate) fn differences(one: &Contents, one_name: &str, other: &Contents, other_name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for folder in one.keys().chain(other.keys()).collect::<BTreeSet<_>>() {
        match (one.get(folder), other.get(folder)) {
            (Some(one), Some(other)) => {
                for (all, rest, place) in [(one, other, one_name), (other, one, other_name)] {
                    found.extend(missing(all, rest).map(|mail| format!("{folder:?}: only {place}: {}", mail.words())));
                }
            }
            (Some(one), None) => found.push(format!("{folder:?} ({} messages): only {one_name}", one.len())),
            (None, _) => found.push(format!("{folder:?}: only {other_name}")),
        }
    }
    found
}

/// Returns what `all` holds more often than `other`.
fn missing<'a>(all: &'a [Common], other: &[Common]) -> impl Iterator<Item = &'a Common> {
    let mut left = other.to_vec();
    all.iter().filter(move |message| match left.iter().position(|candidate| candidate == *message) {
        Some(at) => {
            left.swap_remove(at);
            false
        }
        None => true,
    })
}

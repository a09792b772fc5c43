//! Mailboxes: names, roles, and what the baseline knows of each.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::flag::PermanentFlags;
use super::local::{DirId, KeywordLetters, Stamp};
use super::message::Timestamp;
use super::uid::{ModSeq, Uid, UidValidity};

/// A folder's name in one form for both sides: components joined by `/`, in Unicode, the personal namespace's prefix
/// taken off, the inbox always `INBOX`.
///
/// A component may hold any character; a `/` in one (the server's separator may be another) is written `%2F`, and a
/// `%` that would read as such an escape `%25`. So different names always differ, and ordinary ones look ordinary.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MailboxName(String);

impl MailboxName {
    /// The one mailbox that every account has.
    pub const INBOX: &str = "INBOX";

    /// Returns the inbox's name.
    pub fn inbox() -> Self {
        MailboxName(Self::INBOX.to_owned())
    }

    /// Returns the name with these components, or `None` if there is none or one is empty.
    pub fn from_components<'a>(components: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut parts: Vec<String> = components.into_iter().map(escape).collect();
        if let Some(first) = parts.first_mut()
            && first.eq_ignore_ascii_case(Self::INBOX)
        {
            *first = Self::INBOX.to_owned();
        }
        (!parts.is_empty() && parts.iter().all(|part| !part.is_empty())).then(|| MailboxName(parts.join("/")))
    }

    /// Returns the name written in this form, as the command line, the configuration and the database have it.
    pub fn parse(text: &str) -> Option<Self> {
        let components: Vec<String> = text.split('/').map(unescape).collect();
        Self::from_components(components.iter().map(String::as_str))
    }

    /// Returns the components, unescaped.
    pub fn components(&self) -> Vec<String> {
        self.0.split('/').map(unescape).collect()
    }

    /// Returns true for the inbox.
    pub fn is_inbox(&self) -> bool {
        self.0 == Self::INBOX
    }

    /// Returns the name of the folder this one lies in.
    pub fn parent(&self) -> Option<MailboxName> {
        self.0.rsplit_once('/').map(|(parent, _)| MailboxName(parent.to_owned()))
    }

    /// Returns true if this folder lies in `ancestor`, at any depth.
    pub fn is_below(&self, ancestor: &MailboxName) -> bool {
        self.0.strip_prefix(&ancestor.0).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Returns this name with `from`, itself or an ancestor of it, replaced by `to`.
    pub fn rebased(&self, from: &MailboxName, to: &MailboxName) -> Option<MailboxName> {
        let rest = self.0.strip_prefix(&from.0)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| MailboxName(format!("{}{rest}", to.0)))
    }

    /// Returns the name as users see it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn escape(component: &str) -> String {
    component.replace("%25", "%2525").replace("%2F", "%252F").replace('/', "%2F")
}

fn unescape(component: &str) -> String {
    let mut out = String::with_capacity(component.len());
    let mut rest = component;
    while let Some(at) = rest.find('%') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let (text, len) = match from.get(..3) {
            Some("%2F") => ("/", 3),
            Some("%25") => ("%", 3),
            _ => ("%", 1),
        };
        out.push_str(text);
        rest = from.get(len..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a mailbox is for (RFC 6154 special use; `important` of RFC 8457).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// `\All`
    All,
    /// `\Archive`
    Archive,
    /// `\Drafts`
    Drafts,
    /// `\Flagged`
    Flagged,
    /// `\Important`
    Important,
    /// `\Junk`
    Junk,
    /// `\Sent`
    Sent,
    /// `\Trash`
    Trash,
}

impl Role {
    /// Every role, in the order the documentation lists them.
    pub const ALL: [Role; 8] =
        [Role::All, Role::Archive, Role::Drafts, Role::Flagged, Role::Important, Role::Junk, Role::Sent, Role::Trash];

    /// Returns the word used in patterns (`role:sent`), in the database and in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::All => "all",
            Role::Archive => "archive",
            Role::Drafts => "drafts",
            Role::Flagged => "flagged",
            Role::Important => "important",
            Role::Junk => "junk",
            Role::Sent => "sent",
            Role::Trash => "trash",
        }
    }

    /// Returns the role of a word, in any case.
    pub fn parse(word: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str().eq_ignore_ascii_case(word))
    }
}

/// UIDNEXT, MESSAGES and HIGHESTMODSEQ up to which a mailbox is fully observed. Comes only from a SELECT or EXAMINE
/// whose complete delta was observed, never from STATUS or LIST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermark {
    /// The mailbox's UIDVALIDITY at that time.
    pub uid_validity: UidValidity,
    /// The UID the next message would get; 0 if the server did not say.
    pub uid_next: u32,
    /// How many messages the mailbox held.
    pub messages: u32,
    /// HIGHESTMODSEQ, where the server offers CONDSTORE for this mailbox.
    pub mod_seq: Option<ModSeq>,
}

impl Watermark {
    /// Returns true if messages may have come since another was taken: more UIDs were given, or others.
    pub fn has_grown_since(&self, seen: &Watermark) -> bool {
        self.uid_validity != seen.uid_validity || self.uid_next > seen.uid_next
    }
}

/// A mailbox's row in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxId(pub i64);

/// What the baseline knows of a mailbox and its maildir.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxRow {
    /// The row.
    pub id: MailboxId,
    /// The server's name.
    pub name: MailboxName,
    /// The name it has in the Maildir; differs where `local_names` says so.
    pub local: MailboxName,
    /// Special use.
    pub role: Option<Role>,
    /// The server's mailbox id (RFC 8474), if it has such.
    pub object_id: Option<String>,
    /// UIDVALIDITY that the rows' UIDs belong to; `None` before the first look.
    pub uid_validity: Option<UidValidity>,
    /// Up to where the server's side is observed; `None` asks for a full look.
    pub watermark: Option<Watermark>,
    /// What the server lets us store.
    pub permanent: PermanentFlags,
    /// The server lets us change nothing here.
    pub read_only: bool,
    /// The maildir's directories as last scanned; `None` asks for a scan.
    pub stamp: Option<Stamp>,
    /// The maildir's identity as last scanned; `None` before.
    pub directory: Option<DirId>,
    /// The maildir's keyword letters as last known.
    pub letters: KeywordLetters,
    /// When all UIDs and flags were last looked at.
    pub full_look: Option<Timestamp>,
    /// How many message rows have a UID, tombstones included.
    pub with_uid: u64,
    /// The highest UID of its rows. One past the watermark was given after the last whole look.
    pub highest: Option<Uid>,
}

#[cfg(test)]
impl MailboxRow {
    /// Returns the row of a mailbox of which nothing is known but its names.
    pub(crate) fn blank(id: MailboxId, name: &MailboxName, local: &MailboxName) -> Self {
        Self {
            id,
            name: name.clone(),
            local: local.clone(),
            role: None,
            object_id: None,
            uid_validity: None,
            watermark: None,
            permanent: PermanentFlags::all(),
            read_only: false,
            stamp: None,
            directory: None,
            letters: KeywordLetters::new(),
            full_look: None,
            with_uid: 0,
            highest: None,
        }
    }

    /// Returns the same of the inbox.
    pub(crate) fn blank_inbox() -> Self {
        Self::blank(MailboxId(1), &MailboxName::inbox(), &MailboxName::inbox())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn names_round_trip(parts in proptest::collection::vec("[a%2F5/é.]{1,6}", 1..4)) {
            let name = MailboxName::from_components(parts.iter().map(String::as_str)).unwrap();
            prop_assert_eq!(name.components(), parts);
            prop_assert_eq!(MailboxName::parse(name.as_str()), Some(name));
        }
    }

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for name in ["INBOX", "Archive/2025", "100% sure", "a&b", "Entwürfe/Büro"] {
            assert_eq!(MailboxName::parse(name).unwrap().as_str(), name);
        }
        assert_eq!(MailboxName::parse("inbox/x").unwrap().as_str(), "INBOX/x");
        assert_eq!(MailboxName::parse("a//b"), None);
    }
}

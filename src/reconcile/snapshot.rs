//! What one look at a side brought back. A look that failed is an error, never one of these.

use std::collections::BTreeMap;

use litemap::LiteMap;

use crate::model::{
    DirId, EmailId, FlagSet, KeywordLetters, MailboxName, PermanentFlags, Role, Stamp, Timestamp, Uid, UidSet,
    UidValidity, UniqueName, Watermark,
};

/// Every mailbox of the account's personal namespace, from one complete LIST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteListing {
    /// The mailboxes, by name.
    pub mailboxes: BTreeMap<MailboxName, ListedMailbox>,
    /// Names that can't be used and why, in the server's spelling: clashes, undecodable names.
    pub rejected: Vec<(String, String)>,
    /// What the server can do that decides how changes are carried out.
    pub abilities: Abilities,
    /// What the server says it can do, words with a space between.
    pub capabilities: String,
}

/// What LIST and STATUS say about one mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedMailbox {
    /// Special use.
    pub role: Option<Role>,
    /// False for a name that only holds others (`\NoSelect`, `\NonExistent`).
    pub selectable: bool,
    /// True if the user subscribed to it; also when the server doesn't tell.
    pub subscribed: bool,
    /// The server's mailbox id (RFC 8474).
    pub object_id: Option<String>,
    /// Its STATUS, if the server gave one. Good for skipping, never stored as a watermark.
    pub status: Option<Watermark>,
}

/// What a server can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Abilities {
    /// CONDSTORE: equal HIGHESTMODSEQ means that no flag changed.
    pub mod_seq: bool,
    /// MOVE.
    pub moves: bool,
    /// UIDPLUS: APPEND and COPY tell the new UIDs, and single messages can be expunged.
    pub uid_plus: bool,
    /// The server purges or archives at once what gets `\Deleted` (Gmail), so Maildir's `T` stays local.
    pub deleted_is_final: bool,
}

/// One mailbox as observed by a SELECT or EXAMINE and the complete set of fetches behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteSnapshot {
    /// The mailbox at the time of the SELECT; what to store once everything seen here is acted on.
    pub watermark: Watermark,
    /// What can be stored.
    pub permanent: PermanentFlags,
    /// The server allows no change.
    pub read_only: bool,
    /// The messages.
    pub messages: RemoteMessages,
}

/// Messages of a mailbox by UID, in the room of a list: there may be hundreds of thousands.
pub type Listed = LiteMap<Uid, RemoteMessage>;

/// Files of a maildir by unique name, in the room of a list.
pub type Entries = LiteMap<UniqueName, LocalEntry>;

/// The messages of a [`RemoteSnapshot`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteMessages {
    /// Every message: a UID not listed is gone.
    Full(Listed),
    /// What differs from the watermark asked about: a UID in neither part is as it was.
    Delta {
        /// New messages, and known ones whose flags may differ.
        changed: Listed,
        /// UIDs that are gone; may name ones that never were.
        vanished: UidSet,
    },
}

/// One message on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteMessage {
    /// Flags and keywords.
    pub flags: FlagSet,
    /// INTERNALDATE; known at least for messages not asked about as known.
    pub date: Option<Timestamp>,
    /// RFC822.SIZE, likewise. Some servers lie: a pre-filter, never proof.
    pub size: Option<u64>,
    /// What the server calls its content, if it does, likewise.
    pub email_id: Option<EmailId>,
}

/// A maildir found by listing the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalMaildir {
    /// Its name.
    pub name: MailboxName,
    /// Its directories as they are now; `None` if they are too young to be trusted (their times could stay the same
    /// through another change).
    pub stamp: Option<Stamp>,
    /// Its identity.
    pub directory: DirId,
}

/// Everything found by listing the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalListing {
    /// The maildirs, in order of name.
    pub maildirs: Vec<LocalMaildir>,
    /// Directories that hold mail but can't be used, and why.
    pub rejected: Vec<(String, String)>,
}

impl LocalListing {
    /// Returns the maildir of this name.
    pub fn find(&self, name: &MailboxName) -> Option<&LocalMaildir> {
        let at = self.maildirs.binary_search_by(|maildir| maildir.name.cmp(name)).ok()?;
        self.maildirs.get(at)
    }
}

/// One maildir as scanned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalSnapshot {
    /// The message files by unique name.
    pub entries: Entries,
    /// Whether a name not listed is known to be gone: true only for a scan during which `cur` and `new` stood still.
    pub quiet: bool,
    /// What to store as the maildir's stamp once everything seen here is acted on; `None` if it can't be trusted.
    pub stamp: Option<Stamp>,
    /// The maildir's identity; `None` only for one that a dry run would create.
    pub directory: Option<DirId>,
    /// The letters' meanings; `None` if `dovecot-keywords` is missing or torn while files bear letters.
    pub letters: Option<KeywordLetters>,
    /// A local Dovecot works on this maildir too (`dovecot-uidlist` exists).
    pub dovecot: bool,
    /// Second files of a unique name already listed, as `cur/NAME`; left alone.
    pub duplicates: Vec<String>,
}

/// One message file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalEntry {
    /// True in `new`, false in `cur`.
    pub in_new: bool,
    /// What follows the `:` of the name, `2,` included; empty if there is no `:`.
    pub info: Box<str>,
    /// Its inode.
    pub inode: u64,
    /// What the letters mean. Letters without a known meaning stay on the name and don't count here.
    pub flags: FlagSet,
}

/// A request for a [`RemoteSnapshot`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteRequest {
    /// The mailbox.
    pub mailbox: MailboxName,
    /// Up to where it is known; `None` for a full look.
    pub since: Option<Watermark>,
    /// The UIDs known under that watermark's UIDVALIDITY, by which a delta is checked to be complete.
    pub known: UidSet,
}

impl RemoteSnapshot {
    /// Returns the UIDVALIDITY that the UIDs belong to.
    pub fn uid_validity(&self) -> UidValidity {
        self.watermark.uid_validity
    }
}

impl RemoteMessages {
    /// Returns what is known now of a message: `None` if it is gone, `Some(None)` if it is as it was.
    pub fn get(&self, uid: Uid) -> Option<Option<&RemoteMessage>> {
        match self {
            RemoteMessages::Full(messages) => messages.get(&uid).map(Some),
            RemoteMessages::Delta { vanished, .. } if vanished.contains(uid) => None,
            RemoteMessages::Delta { changed, .. } => Some(changed.get(&uid)),
        }
    }

    /// Returns the messages listed, by UID.
    pub fn listed(&self) -> &Listed {
        match self {
            RemoteMessages::Full(messages) => messages,
            RemoteMessages::Delta { changed, .. } => changed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a folder of 200,000 each byte here is 200 KB.
    #[test]
    fn a_message_takes_little_room() {
        assert!(size_of::<(Uid, RemoteMessage)>() <= 64);
        assert!(size_of::<(UniqueName, LocalEntry)>() <= 64);
    }
}

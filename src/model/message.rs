//! Messages: local identity, content identity, and what the baseline knows of each.

use std::fmt;
use std::num::NonZeroI64;

use serde::{Deserialize, Serialize};

use super::flag::FlagSet;
use super::local::FileStat;
use super::mailbox::MailboxId;
use super::uid::Uid;

/// A point in time, whole seconds since 1970 UTC: the precision that IMAP's INTERNALDATE has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(pub i64);

/// The part of a Maildir file name before `:2,`: a message's identity on the local side.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UniqueName(Box<str>);

impl UniqueName {
    /// Returns the name, or `None` if no message file can be called that: empty, hidden, or with `/`, NUL or `:`.
    pub fn new(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && !text.starts_with('.') && !text.contains(['/', '\0', ':']);
        fits.then(|| UniqueName(text.into()))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UniqueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for UniqueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A hash of message content with canonical line ends: equal content, equal fingerprint, on both sides.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 16]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A hash of the Message-ID header: a cheap pre-filter, never proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageHash(pub i64);

/// A hash of the email id by which a server names a message's content: OBJECTID's EMAILID (RFC 8474 section 5.1) or
/// Gmail's X-GM-MSGID. It is the same in every mailbox that the message is copied or moved to. Kept as a number that is
/// never 0, so that one that is not known takes no more room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EmailId(NonZeroI64);

impl EmailId {
    /// Returns the hash of an id as the server spells it.
    pub fn of(id: &[u8]) -> Self {
        let hash = blake3::hash(id);
        let number = hash.as_bytes().first_chunk::<8>().map_or(0, |short| i64::from_le_bytes(*short));
        Self(NonZeroI64::new(number).unwrap_or(NonZeroI64::MIN))
    }

    /// Returns the id that is stored as this number, or `None` for 0.
    pub fn from_number(number: i64) -> Option<Self> {
        NonZeroI64::new(number).map(Self)
    }

    /// Returns the number.
    pub fn number(self) -> i64 {
        self.0.get()
    }
}

/// What tells one message's content from another's, as far as it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Size in bytes with CRLF line ends.
    pub size: u64,
    /// INTERNALDATE, or the file's modification time.
    pub date: Option<Timestamp>,
    /// Of the Message-ID header, if there is one.
    pub message_id: Option<MessageHash>,
    /// Of the header block with the blank line that ends it.
    pub header: Fingerprint,
    /// Of the whole message; `None` if only the header was looked at.
    pub content: Option<Fingerprint>,
    /// Of the whole message in the form that survives servers which store it with small changes: trailing newlines,
    /// CR, NUL and 0x80 left out, header bytes from 0x80 read as one.
    pub loose: Option<Fingerprint>,
}

/// Why a message that one side keeps must never come back to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tombstone {
    /// Removed locally and flagged `\Deleted` on the server (`delete = "flag"`): comes back if others clear the flag.
    Flagged,
    /// Removed locally and left on the server (`delete = "never"`).
    Kept,
    /// Removed locally, or moved, and not expunged yet. Where the server can't expunge it alone (no UIDPLUS) it waits while
    /// others' `\Deleted` messages are in the way.
    Waiting,
    /// Saved again locally: leaves the server once the new version, [`MessageRow::replaced_by`], is proven to be there.
    Replaced,
}

impl Tombstone {
    /// Returns the word used in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Tombstone::Flagged => "flagged",
            Tombstone::Kept => "kept",
            Tombstone::Waiting => "waiting",
            Tombstone::Replaced => "replaced",
        }
    }

    /// Returns the tombstone of a word from the database.
    pub fn parse(word: &str) -> Option<Self> {
        [Tombstone::Flagged, Tombstone::Kept, Tombstone::Waiting, Tombstone::Replaced]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }
}

/// A message's row in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub i64);

/// What both sides last agreed on about one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRow {
    /// The row.
    pub id: MessageId,
    /// The mailbox it lies in.
    pub mailbox: MailboxId,
    /// Its UID under the mailbox row's UIDVALIDITY.
    pub uid: Uid,
    /// Its file; `None` for a tombstone.
    pub unique: Option<UniqueName>,
    /// Flags and keywords at last agreement.
    pub flags: FlagSet,
    /// Why there is no file.
    pub tombstone: Option<Tombstone>,
    /// INTERNALDATE.
    pub date: Option<Timestamp>,
    /// The server's size in bytes.
    pub size: Option<u64>,
    /// Content.
    pub content: Option<Fingerprint>,
    /// Message-ID.
    pub message_id: Option<MessageHash>,
    /// The file as last seen.
    pub stat: Option<FileStat>,
    /// What the server calls its content; `None` if it has not told.
    pub email_id: Option<EmailId>,
    /// The file of the new version; only for [`Tombstone::Replaced`].
    pub replaced_by: Option<UniqueName>,
}

impl MessageRow {
    /// Returns true if a file is to take the message's place.
    pub fn is_outdated(&self) -> bool {
        self.tombstone == Some(Tombstone::Replaced)
    }
}

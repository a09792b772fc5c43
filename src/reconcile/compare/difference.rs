//! Differences between the two sides and the baseline, in types and in words.

use std::fmt;

use crate::model::{MailboxName, MessageId, Uid, UniqueName};

/// What differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A folder that only the Maildir has.
    FolderOnlyHere,
    /// A folder that only the server has.
    FolderOnlyThere,
    /// A folder that was on both sides and has gone from one or both.
    FolderGone,
    /// A folder that the baseline knows under another local name.
    FolderMoved,
    /// A file that the baseline doesn't know.
    OnlyHere,
    /// A message on the server that the baseline doesn't know.
    OnlyThere,
    /// A message known to the baseline whose file is gone.
    GoneHere,
    /// A message known to the baseline that has gone from the server.
    GoneThere,
    /// A message known to the baseline that neither side has.
    GoneBoth,
    /// Flags or keywords that one side has and the other not.
    Flags,
    /// Flags that both sides agree on and the baseline has otherwise.
    FlagsRecorded,
    /// A file whose content is no longer what was recorded.
    Replaced,
    /// A row that pairs a file with another message.
    WrongPair,
    /// A row that records another content than both sides have.
    WrongRecord,
    /// The server's message has another content than the file, though both seem to be the same message.
    Content,
    /// A file's time that is no longer the server's date.
    Date,
    /// A second file, or a second row, of one name.
    DuplicateName,
    /// A number of messages, or a watermark, that can't be right.
    Count,
    /// A step that an interrupted sync left in doubt.
    Journal,
    /// UIDVALIDITY has changed, or the UIDs are another mailbox's all the same.
    UidValidity,
    /// The Maildir is not the one that the baseline speaks of.
    Root,
    /// Something could not be looked at.
    NotCompared,
}

impl Kind {
    /// Returns the word used in `--json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::FolderOnlyHere => "folder-only-local",
            Kind::FolderOnlyThere => "folder-only-remote",
            Kind::FolderGone => "folder-gone",
            Kind::FolderMoved => "folder-moved",
            Kind::OnlyHere => "only-local",
            Kind::OnlyThere => "only-remote",
            Kind::GoneHere => "gone-local",
            Kind::GoneThere => "gone-remote",
            Kind::GoneBoth => "gone-both",
            Kind::Flags => "flags",
            Kind::FlagsRecorded => "flags-recorded",
            Kind::Replaced => "replaced",
            Kind::WrongPair => "wrong-pair",
            Kind::WrongRecord => "wrong-record",
            Kind::Content => "content",
            Kind::Date => "date",
            Kind::DuplicateName => "duplicate-name",
            Kind::Count => "count",
            Kind::Journal => "journal",
            Kind::UidValidity => "uidvalidity",
            Kind::Root => "root",
            Kind::NotCompared => "not-compared",
        }
    }
}

/// What becomes of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Next {
    /// A change since the last sync, or what one left unfinished: the next sync deals with it.
    Sync,
    /// The baseline is wrong; after a repair the next sync matches by content.
    Repair,
    /// No sync changes it.
    Nothing,
    /// It could not be compared.
    Unknown,
}

impl Next {
    /// Returns the word used in `--json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Next::Sync => "sync",
            Next::Repair => "repair",
            Next::Nothing => "nothing",
            Next::Unknown => "unknown",
        }
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What differs.
    pub kind: Kind,
    /// What becomes of it.
    pub next: Next,
    /// The folder; `None` for the whole account.
    pub folder: Option<MailboxName>,
    /// The file: its unique name, or for second files of a name the whole.
    pub path: Option<String>,
    /// The message on the server.
    pub uid: Option<Uid>,
    /// What differs and what to expect, in words.
    pub message: String,
    /// The row to forget if it is repaired.
    pub row: Option<MessageId>,
}

impl Difference {
    /// Returns a difference of the whole account.
    pub fn new(kind: Kind, next: Next, message: impl Into<String>) -> Self {
        Self { kind, next, folder: None, path: None, uid: None, message: message.into(), row: None }
    }

    /// Returns the difference, of this folder.
    pub fn of_folder(self, folder: &MailboxName) -> Self {
        Self { folder: Some(folder.clone()), ..self }
    }

    /// Returns the difference, of this file.
    pub fn of_file(self, unique: &UniqueName) -> Self {
        Self { path: Some(unique.to_string()), ..self }
    }

    /// Returns the difference, of this message.
    pub fn of_message(self, uid: Uid) -> Self {
        Self { uid: Some(uid), ..self }
    }
}

/// Writes where it is within its folder, and what it is.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uid = self.uid.map(|uid| format!("UID {uid}"));
        let place: Vec<String> = uid.into_iter().chain(self.path.clone()).collect();
        match place.is_empty() {
            true => f.write_str(&self.message),
            false => write!(f, "{}: {}", place.join(", "), self.message),
        }
    }
}

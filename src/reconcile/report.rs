//! What a run did, or would do: the words and numbers that dry run, log and `--json` share.

use crate::model::{MailboxName, Side, Timestamp, Uid, UniqueName};

/// What a run did to an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// How many folders are kept in step.
    pub folders: u64,
    /// Messages found on both sides and recognised as the same.
    pub adopted: u64,
    /// What was done to the Maildir.
    pub local: Counts,
    /// What was done on the server.
    pub remote: Counts,
    /// What was set aside.
    pub held: Vec<Held>,
    /// What failed alone.
    pub problems: Vec<Problem>,
    /// What would be done, or was; filled by dry runs only.
    pub plan: Vec<PlanLine>,
}

/// How many of each kind of change one side underwent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that arrived.
    pub added: u64,
    /// Messages replaced by a new version.
    pub replaced: u64,
    /// Messages whose flags changed.
    pub flags: u64,
    /// Messages moved to another folder.
    pub moved: u64,
    /// Messages copied to another folder.
    pub copied: u64,
    /// Messages that left.
    pub removed: u64,
    /// Folders created.
    pub folders_created: u64,
    /// Folders renamed.
    pub folders_renamed: u64,
    /// Folders removed.
    pub folders_removed: u64,
}

/// Why a part of a plan is set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The root is missing, unmounted or without its marker.
    RootMissing,
    /// Too many messages are gone.
    MassDelete,
    /// There is no Trash to move removed messages to, and none can be created.
    NoTrash,
}

impl Reason {
    /// Returns the word used in `--json` and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::RootMissing => "root-missing",
            Reason::MassDelete => "mass-delete",
            Reason::NoTrash => "no-trash",
        }
    }
}

/// A part of a plan set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The folder; `None` for the whole account.
    pub folder: Option<MailboxName>,
    /// The side on which mail is missing.
    pub side: Side,
    /// Why.
    pub reason: Reason,
    /// How many messages are concerned.
    pub count: u64,
    /// Since when.
    pub since: Timestamp,
}

/// Something that failed while the rest went on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What kind, for programs: `message-too-large`, `mailbox-refused` …
    pub code: &'static str,
    /// The folder.
    pub folder: Option<MailboxName>,
    /// The file.
    pub path: Option<String>,
    /// The message on the server.
    pub uid: Option<Uid>,
    /// What failed, and what was left untouched.
    pub message: String,
    /// What to do next.
    pub hint: String,
    /// When it is tried again, if not with the next run.
    pub retry_at: Option<Timestamp>,
}

/// One line of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanLine {
    /// The side that changes; `None` for what only the database learns.
    pub side: Option<Side>,
    /// What is done: `download`, `upload`, `set-flags`, `remove`, `adopt`, `create-folder` …
    pub op: &'static str,
    /// The folder.
    pub folder: MailboxName,
    /// The message on the server.
    pub uid: Option<Uid>,
    /// The file's unique name.
    pub path: Option<UniqueName>,
    /// What exactly: flags, the target folder, how a removal is carried out.
    pub detail: Option<String>,
}

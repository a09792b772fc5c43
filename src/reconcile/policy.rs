//! What the user wants, as far as decisions depend on it.

use std::time::Duration;

use super::scope::Scope;
use crate::model::{Circumstances, MailboxName};

/// An account's settings that decide what a run does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Which server and which Maildir this is about.
    pub circumstances: Circumstances,
    /// Which folders take part, and under which local names.
    pub scope: Scope,
    /// What a local removal does on the server.
    pub delete: Delete,
    /// From when on removals look like an accident.
    pub max_delete: MaxDelete,
    /// How long files removed from the Maildir can be recovered.
    pub keep_deleted: KeepDeleted,
}

/// What a local removal does on the server (`sync.delete`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delete {
    /// Moves the message to Trash; from Trash and Junk, expunges it.
    Trash,
    /// Expunges it.
    Expunge,
    /// Flags it `\Deleted`.
    Flag,
    /// Leaves it.
    Never,
}

/// When removals look like an accident (`sync.max_delete`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxDelete {
    /// A folder counts if it loses more than this share of its messages, in percent.
    pub percent: u8,
    /// Folders that count are held if they lose at least this many together within 24 hours.
    pub at_least: u64,
    /// More than this many are held in any case.
    pub at_most: u64,
}

impl Default for MaxDelete {
    fn default() -> Self {
        Self { percent: 25, at_least: 50, at_most: 2000 }
    }
}

/// How long files removed from the Maildir can be recovered (`sync.keep_deleted`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepDeleted {
    /// They can't.
    None,
    /// For this long.
    For(Duration),
    /// For ever.
    Forever,
}

/// What the user asks of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Look at everything, whatever change tokens and stamps say.
    pub full: bool,
    /// Change nothing anywhere; say what would be done.
    pub dry_run: bool,
    /// What to do about holds.
    pub holds: HoldAnswer,
    /// Only these folders and those below them; all if empty.
    pub only: Vec<MailboxName>,
}

impl Options {
    /// Returns true if the run is about a folder.
    pub fn is_about(&self, name: &MailboxName) -> bool {
        self.only.is_empty() || self.only.iter().any(|named| name == named || name.is_below(named))
    }
}

/// What the user says about what is held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HoldAnswer {
    /// Nothing: keep holding.
    #[default]
    Keep,
    /// `--accept-held`: it was meant.
    Accept,
    /// `--undo-held`: put back what is missing.
    Undo,
}

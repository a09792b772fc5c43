//! How an account and its folders stand, as the database says.

use serde::{Deserialize, Serialize};

use crate::cycle::listed;
use crate::model::{MailboxName, Quota, Timestamp};
use crate::reconcile::report::Waiting;
use crate::state::Database;
use crate::store::{HoldRow, Journal, StateError};

/// What the database says of an account.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Standing {
    /// When it was last in step.
    pub(super) last_success: Option<Timestamp>,
    /// How full it is.
    pub(super) quota: Quota,
    /// What is held.
    pub(super) holds: Vec<HoldRow>,
    /// Its folders.
    pub(super) folders: Vec<Folder>,
}

/// What the database says of a folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Folder {
    /// Its name on the server.
    pub(super) name: MailboxName,
    /// How many messages of it are known.
    pub(super) messages: u64,
    /// What is to be tried again.
    pub(super) waiting: Vec<Waiting>,
}

impl Standing {
    /// Reads it.
    ///
    /// # Errors
    /// As of any reading.
    pub(super) fn read(database: &mut Database) -> Result<Self, StateError> {
        let header = database.header()?;
        let mut folders = Vec::new();
        for mailbox in database.mailboxes()? {
            let waiting = database.failures(mailbox.id)?.iter().map(|failure| listed(&mailbox.name, failure)).collect();
            folders.push(Folder { name: mailbox.name, messages: mailbox.with_uid, waiting });
        }
        Ok(Self { last_success: header.last_success, quota: header.quota, holds: header.holds, folders })
    }

    /// Returns the reasons for which a folder is held. What is held without a folder holds them all.
    pub(super) fn held(&self, folder: &Folder) -> Vec<&str> {
        let concerns = |hold: &&HoldRow| hold.mailbox.as_ref().is_none_or(|name| *name == folder.name);
        self.holds.iter().filter(concerns).map(|hold| hold.reason.as_str()).collect()
    }

    /// Returns all that is to be tried again.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Waiting> {
        self.folders.iter().flat_map(|folder| &folder.waiting)
    }

    /// Returns the word for how a folder stands.
    pub(super) fn state_of(&self, folder: &Folder) -> &'static str {
        match (self.held(folder).is_empty(), folder.waiting.is_empty()) {
            (false, _) => "held",
            (true, false) => "pending",
            (true, true) => "in-step",
        }
    }
}

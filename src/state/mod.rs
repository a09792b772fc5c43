//! The database of an account: the baseline and the journal, in SQLite. The only place that speaks SQL.
//!
//! One file, `<account>.sqlite3`, with a write-ahead log beside it while it is open; both readable by their owner
//! only. A commit is synced before it returns, so the baseline never claims more than is durable. The program holds
//! the account's [`Lock`] while it has the database open.

mod arrivals;
mod columns;
mod commit;
mod damage;
mod error;
mod file;
mod intent;
mod load;
mod lock;
mod migrate;
mod open;
mod renumber;
mod tally;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Result as SqlResult, Transaction, TransactionBehavior};

pub use damage::is_damage;
pub use error::DatabaseError;
pub use lock::Lock;

use crate::model::{MailboxId, MailboxName, MailboxRow, MessageRow, Side, Timestamp, UidSet, UniqueName};
use crate::store::{FailureRow, Header, Intent, IntentId, Journal, KeptRow, Record, StateError};

/// An account's database, open.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
    path: PathBuf,
    /// Messages read before they were asked for: nothing was written since.
    ahead: BTreeMap<MailboxId, Vec<MessageRow>>,
    drafts_ahead: Option<Vec<MessageRow>>,
}

/// So many messages may be read before they are asked for, of all mailboxes together.
const AHEAD: usize = 50_000;

impl Database {
    /// Opens the database in this file, `<account>.sqlite3`; creates it, with its directory, if it is missing. An
    /// older schema is migrated, and the file as it was kept as `<name>.before-<version>`.
    ///
    /// # Errors
    /// The cause is a [`DatabaseError`]. A file that is damaged, another program's or a later mailtide's is left as
    /// it is.
    pub fn open(path: &Path) -> Result<Database, StateError> {
        Ok(Database::new(open::file(path, migrate::MIGRATIONS)?, path.to_owned()))
    }

    /// Sets a damaged database aside as `<name>.damaged-<UTC time>`, never over another file, and creates a new one in
    /// its place: it knows nothing of messages, and of the recoverable trash what could still be read. Returns it with
    /// the name that the damaged one has now. Nobody has the file open, and the caller holds the account's lock.
    ///
    /// # Errors
    /// The file can't be renamed, or a new one can't be made.
    pub fn rebuild(path: &Path, now: Timestamp) -> Result<(Database, PathBuf), StateError> {
        let aside = damage::set_aside(path, now)?;
        let kept = damage::salvage(&aside);
        let mut database = Database::open(path)?;
        database.write("taking over what could be read", |transaction| damage::adopt(transaction, &kept))?;
        Ok((database, aside))
    }

    /// Makes a database that starts as a copy of the one in this file, empty if there is none, and lives in memory:
    /// nothing on disk changes. For dry runs.
    ///
    /// # Errors
    /// As [`Database::open`].
    pub fn for_dry_run(path: &Path) -> Result<Database, StateError> {
        Ok(Database::new(open::copy_in_memory(path, migrate::MIGRATIONS)?, path.to_owned()))
    }

    /// Makes an empty database that lives in memory.
    ///
    /// # Errors
    /// No memory.
    pub fn in_memory() -> Result<Database, StateError> {
        let path = PathBuf::from(":memory:");
        Ok(Database::new(open::in_memory(&path)?, path))
    }

    fn new(connection: Connection, path: PathBuf) -> Database {
        Database { connection, path, ahead: BTreeMap::new(), drafts_ahead: None }
    }

    fn read<T>(&self, doing: &'static str, read: impl FnOnce(&Connection) -> SqlResult<T>) -> Result<T, StateError> {
        read(&self.connection).map_err(|error| self.failed(doing, error))
    }

    fn write<T>(
        &mut self,
        doing: &'static str,
        write: impl FnOnce(&Transaction<'_>) -> SqlResult<T>,
    ) -> Result<T, StateError> {
        (self.ahead, self.drafts_ahead) = Default::default();
        self.transact(write).map_err(|error| self.failed(doing, error))
    }

    fn transact<T>(&mut self, write: impl FnOnce(&Transaction<'_>) -> SqlResult<T>) -> SqlResult<T> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let outcome = write(&transaction)?;
        transaction.commit()?;
        Ok(outcome)
    }

    fn failed(&self, doing: &'static str, error: rusqlite::Error) -> StateError {
        DatabaseError::from_sql(doing, self.path.clone(), error).into()
    }
}

impl Journal for Database {
    fn header(&mut self) -> Result<Header, StateError> {
        self.read("reading the account", load::header)
    }

    fn mailboxes(&mut self) -> Result<Vec<MailboxRow>, StateError> {
        self.read("reading the folders", load::mailboxes)
    }

    fn add_mailbox(&mut self, name: &MailboxName, local: &MailboxName) -> Result<MailboxId, StateError> {
        self.write("adding a folder", |transaction| commit::add_mailbox(transaction, name, local))
    }

    fn messages(&mut self, mailbox: MailboxId) -> Result<Vec<MessageRow>, StateError> {
        match self.ahead.remove(&mailbox) {
            Some(rows) => Ok(rows),
            None => self.read("reading a folder's messages", |connection| load::messages(connection, mailbox)),
        }
    }

    fn show_messages(
        &mut self,
        mailbox: MailboxId,
        see: &mut dyn FnMut(&MessageRow) -> bool,
    ) -> Result<(), StateError> {
        if let Some(rows) = self.ahead.get(&mailbox) {
            rows.iter().take_while(|row| see(row)).for_each(drop);
            return Ok(());
        }
        let show = |connection: &Connection| load::show_messages(connection, mailbox, |row| see(&row));
        self.read("reading a folder's messages", show)
    }

    fn messages_but(
        &mut self,
        mailbox: MailboxId,
        let_go: &mut dyn FnMut(&MessageRow) -> bool,
    ) -> Result<Vec<MessageRow>, StateError> {
        if let Some(mut rows) = self.ahead.remove(&mailbox) {
            rows.retain(|row| !let_go(row));
            return Ok(rows);
        }
        let mut kept = Vec::new();
        let keep = |row: MessageRow| {
            if !let_go(&row) {
                kept.push(row);
            }
            true
        };
        self.read("reading a folder's messages", |connection| load::show_messages(connection, mailbox, keep))?;
        Ok(kept)
    }

    fn messages_among(&mut self, mailbox: MailboxId, uids: &UidSet) -> Result<Vec<MessageRow>, StateError> {
        self.read("reading a folder's messages", |connection| load::messages_among(connection, mailbox, uids))
    }

    fn message_named(&mut self, mailbox: MailboxId, unique: &UniqueName) -> Result<Option<MessageRow>, StateError> {
        self.read("looking for a file's name", |connection| load::message_named(connection, mailbox, unique))
    }

    fn read_ahead(&mut self, mailbox: MailboxId) -> Result<(), StateError> {
        let count = self.read("counting a folder's messages", |connection| load::count(connection, mailbox))?;
        if self.ahead.values().map(Vec::len).sum::<usize>() + count <= AHEAD {
            let rows = self.messages(mailbox)?;
            self.ahead.insert(mailbox, rows);
        }
        Ok(())
    }

    fn read_drafts_ahead(&mut self) -> Result<(), StateError> {
        self.drafts_ahead = Some(self.drafts()?);
        Ok(())
    }

    fn uids(&mut self, mailbox: MailboxId) -> Result<UidSet, StateError> {
        self.read("reading a folder's UIDs", |connection| load::uids(connection, mailbox))
    }

    fn tombstones(&mut self, mailbox: MailboxId) -> Result<Vec<MessageRow>, StateError> {
        self.read("reading a folder's messages", |connection| load::tombstones(connection, mailbox))
    }

    fn drafts(&mut self) -> Result<Vec<MessageRow>, StateError> {
        match self.drafts_ahead.take() {
            Some(rows) => Ok(rows),
            None => self.read("reading the drafts", load::drafts),
        }
    }

    fn messages_of_size(&mut self, size: u64) -> Result<Vec<MessageRow>, StateError> {
        self.read("reading the messages of a size", |connection| load::messages_of_size(connection, size))
    }

    fn is_known(&mut self, unique: &UniqueName) -> Result<bool, StateError> {
        self.read("looking for a file's name", |connection| load::is_known(connection, unique))
    }

    fn failures(&mut self, mailbox: MailboxId) -> Result<Vec<FailureRow>, StateError> {
        self.read("reading a folder's failures", |connection| load::failures(connection, mailbox))
    }

    fn losses(&mut self, since: Timestamp) -> Result<BTreeMap<(MailboxId, Side), u64>, StateError> {
        self.read("reading the losses", |connection| load::losses(connection, since))
    }

    fn kept(&mut self, before: Timestamp) -> Result<Vec<KeptRow>, StateError> {
        self.read("reading the index of the recoverable trash", |connection| load::kept(connection, before))
    }

    fn intents(&mut self) -> Result<Vec<(IntentId, Intent)>, StateError> {
        self.read("reading what an earlier run began", intent::all)
    }

    fn begin(&mut self, intents: &[Intent]) -> Result<Vec<IntentId>, StateError> {
        if intents.is_empty() {
            return Ok(Vec::new());
        }
        self.write("recording what is begun", |transaction| intent::insert(transaction, intents))
    }

    fn commit(&mut self, records: &[Record]) -> Result<(), StateError> {
        if records.is_empty() {
            return Ok(());
        }
        self.write("recording what was done", |transaction| commit::write(transaction, records))
    }
}

//! state

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::model::{MailboxId, MailboxName, MailboxRow, MessageRow, Side, Timestamp};
use crate::store::{FailureRow, Header, Intent, IntentId, Journal, Record, StateError, Trashed};

/// STUB
#[derive(Debug)]
pub struct Lock(#[expect(dead_code)] std::fs::File);

impl Lock {
    /// STUB
    pub fn acquire(path: &Path) -> Result<Option<Lock>, StateError> {
        let file = std::fs::File::create(path).map_err(|error| StateError {
            corrupt: false,
            cause: format!("locking {}: {error}", path.display()).into(),
        })?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock(file))),
            Err(_) => Ok(None),
        }
    }

    /// STUB
    pub fn wait(path: &Path, limit: Option<Duration>) -> Result<Option<Lock>, StateError> {
        let start = std::time::Instant::now();
        loop {
            match Lock::acquire(path)? {
                None if limit.is_none_or(|limit| start.elapsed() < limit) => {
                    std::thread::sleep(Duration::from_millis(20))
                }
                found => return Ok(found),
            }
        }
    }
}

/// STUB
#[derive(Debug)]
pub struct Database;

impl Database {
    /// STUB
    pub fn open(path: &Path) -> Result<Database, StateError> {
        match std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"garbage")) {
            true => Err(StateError {
                corrupt: true,
                cause: format!("opening {}: file is not a database", path.display()).into(),
            }),
            false => Ok(Database),
        }
    }
    /// STUB
    pub fn for_dry_run(path: &Path) -> Result<Database, StateError> {
        Database::open(path)
    }
}

type Answer<T> = Result<T, StateError>;

impl Journal for Database {
    fn header(&mut self) -> Answer<Header> {
        Ok(Header { database: "0".into(), run: 0, last_success: None, holds: Vec::new() })
    }
    fn mailboxes(&mut self) -> Answer<Vec<MailboxRow>> {
        Ok(Vec::new())
    }
    fn add_mailbox(&mut self, _: &MailboxName, _: &MailboxName) -> Answer<MailboxId> {
        Ok(MailboxId(1))
    }
    fn messages(&mut self, _: MailboxId) -> Answer<Vec<MessageRow>> {
        Ok(Vec::new())
    }
    fn failures(&mut self, _: MailboxId) -> Answer<Vec<FailureRow>> {
        Ok(Vec::new())
    }
    fn losses(&mut self, _: Timestamp) -> Answer<BTreeMap<(MailboxId, Side), u64>> {
        Ok(BTreeMap::new())
    }
    fn kept(&mut self, _: Timestamp) -> Answer<Vec<Trashed>> {
        Ok(Vec::new())
    }
    fn intents(&mut self) -> Answer<Vec<(IntentId, Intent)>> {
        Ok(Vec::new())
    }
    fn begin(&mut self, _: &[Intent]) -> Answer<Vec<IntentId>> {
        Ok(Vec::new())
    }
    fn commit(&mut self, _: &[Record]) -> Answer<()> {
        Ok(())
    }
}

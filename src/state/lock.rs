//! The lock that keeps two runs from sharing an account.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::error::DatabaseError;
use super::file;
use crate::store::StateError;

/// How often a lock that another run holds is asked for again.
const POLL: Duration = Duration::from_millis(50);

/// The exclusive right to an account. Given back when dropped, and by the system when the process ends, however it
/// ends: the lock is on the open file (`flock`), and the file itself stays, because a name that is removed while
/// another process waits for it would leave two holders.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock `<account>.lock` beside the account's database; `None` if another process holds it.
    ///
    /// # Errors
    /// The file can't be created or locked.
    pub fn acquire(database: &Path) -> Result<Option<Lock>, StateError> {
        let (path, file) = open(database)?;
        Ok(try_lock(&path, &file)?.then_some(Lock { _file: file }))
    }

    /// As [`Lock::acquire`], but waits while another process holds it: `None` once the limit is over. Without a limit
    /// it waits for ever. Blocks the thread.
    ///
    /// # Errors
    /// The file can't be created or locked.
    pub fn wait(database: &Path, limit: Option<Duration>) -> Result<Option<Lock>, StateError> {
        let (path, file) = open(database)?;
        let start = Instant::now();
        loop {
            if try_lock(&path, &file)? {
                return Ok(Some(Lock { _file: file }));
            }
            let left = limit.map_or(POLL, |limit| limit.saturating_sub(start.elapsed()));
            if left.is_zero() {
                return Ok(None);
            }
            thread::sleep(left.min(POLL));
        }
    }
}

fn open(database: &Path) -> Result<(PathBuf, File), DatabaseError> {
    file::create_directory_of(database)?;
    let path = database.with_extension("lock");
    let file = file::open_private(&path)?;
    Ok((path, file))
}

fn try_lock(path: &Path, file: &File) -> Result<bool, DatabaseError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(file::failed("locking", path)(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn excludes_a_second_holder_until_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("new/me.work.sqlite3");
        let lock = Lock::acquire(&database).unwrap().expect("free");
        assert!(dir.path().join("new/me.work.lock").is_file());
        assert!(Lock::acquire(&database).unwrap().is_none());
        assert!(Lock::wait(&database, Some(Duration::from_millis(1))).unwrap().is_none());
        assert!(Lock::acquire(&dir.path().join("new/me.sqlite3")).unwrap().is_some(), "another account");
        drop(lock);
        assert!(Lock::acquire(&database).unwrap().is_some());
    }

    #[test]
    fn a_waiting_one_gets_it_when_it_is_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("a.sqlite3");
        let lock = Lock::acquire(&database).unwrap().unwrap();
        let (done, outcome) = mpsc::channel();
        let waiting = thread::spawn(move || done.send(Lock::wait(&database, None).unwrap()).unwrap());
        assert!(outcome.recv_timeout(2 * POLL).is_err(), "it had to wait");
        drop(lock);
        assert!(outcome.recv().unwrap().is_some());
        waiting.join().unwrap();
    }

    #[test]
    fn a_place_that_cannot_hold_it_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = Lock::acquire(&file.join("a.sqlite3")).unwrap_err();
        assert!(!error.corrupt && error.to_string().contains("file"), "{error}");
    }
}

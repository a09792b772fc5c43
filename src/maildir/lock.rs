//! Dovecot's way of locking its files: another file, made by whoever is at work.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::durable;
use super::error::{Reach, failed, found};
use crate::store::LocalError;

/// Dovecot holds the lock for milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// A lock not touched for this long was left behind by a crash: Dovecot's own limit.
const STALE: Duration = Duration::from_secs(120);

/// A dotlock held; released when dropped.
#[derive(Debug)]
pub(super) struct Dotlock(Option<PathBuf>);

impl Dotlock {
    /// Takes the lock, waiting for a while if another program holds it.
    pub(super) fn take(path: &Path) -> Result<Self, LocalError> {
        Self::take_within(path, PATIENCE)
    }

    fn take_within(path: &Path, patience: Duration) -> Result<Self, LocalError> {
        let start = Instant::now();
        loop {
            match durable::create_new(path) {
                Ok(_) => return Ok(Self(Some(path.to_owned()))),
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failed("create the lock", path, Reach::of_change(&error), error));
                }
                Err(_) if is_stale(path) => {
                    durable::remove(path).map_err(|error| failed("remove the lock", path, Reach::All, error))?;
                }
                Err(_) if start.elapsed() >= patience => {
                    return Err(found(path, "another program holds this lock; the keywords are left as they are"));
                }
                Err(_) => sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Releases the lock.
    pub(super) fn release(mut self) -> Result<(), LocalError> {
        // Once only: the next file of this name is another program's lock.
        self.0.take().map_or(Ok(()), |path| {
            durable::remove(&path).map_err(|error| failed("remove the lock", &path, Reach::One, error))
        })
    }
}

impl Drop for Dotlock {
    fn drop(&mut self) {
        if let Some(path) = self.0.take()
            && let Err(error) = durable::remove(&path)
        {
            tracing::warn!("cannot remove the lock {}: {error}", path.display());
        }
    }
}

fn is_stale(path: &Path) -> bool {
    let age = File::open(path).and_then(|file| file.metadata()).and_then(|meta| meta.modified()).map(|at| at.elapsed());
    matches!(age, Ok(Ok(age)) if age > STALE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn a_lock_is_held_alone_and_a_stale_one_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Dotlock::take(&path).unwrap();
        let refused = Dotlock::take_within(&path, Duration::ZERO).unwrap_err();
        assert!(refused.to_string().contains("another program holds this lock"), "{refused}");
        held.release().unwrap();
        assert!(!path.exists());
        let left = durable::create_new(&path).unwrap();
        left.set_modified(SystemTime::now() - STALE - Duration::from_secs(1)).unwrap();
        drop(Dotlock::take_within(&path, Duration::ZERO).unwrap());
        assert!(!path.exists());
    }
}

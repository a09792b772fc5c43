//! What mailtide itself does to message files, so that a watch can tell it from what others do.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A file's name appears in a directory, or vanishes from it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Entry {
    /// It appears.
    Appears(PathBuf),
    /// It vanishes.
    Vanishes(PathBuf),
}

/// A diary that is kept for a watch, or one that nobody keeps. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Diary(Option<Arc<Mutex<BTreeSet<Entry>>>>);

impl Diary {
    /// Returns one that is kept.
    pub fn kept() -> Self {
        Self(Some(Arc::default()))
    }

    /// Returns true if it is kept.
    pub fn is_kept(&self) -> bool {
        self.0.is_some()
    }

    /// Does something to names, and notes it. It is noted before, for its event may come at once; what was not done
    /// is struck out again.
    pub(super) fn doing<T>(&self, entries: &[Entry], deed: impl FnOnce() -> T, done: impl FnOnce(&T) -> bool) -> T {
        if let Some(mut noted) = self.noted() {
            noted.extend(entries.iter().cloned());
        }
        let outcome = deed();
        if !done(&outcome)
            && let Some(mut noted) = self.noted()
        {
            noted.retain(|entry| !entries.contains(entry));
        }
        outcome
    }

    /// Returns true if this was noted, and strikes it out: it happens once.
    pub(super) fn take(&self, entry: &Entry) -> bool {
        self.noted().is_some_and(|mut noted| noted.remove(entry))
    }

    /// Forgets what was noted and never seen to happen.
    pub fn forget(&self) {
        if let Some(mut noted) = self.noted() {
            noted.clear();
        }
    }

    fn noted(&self) -> Option<MutexGuard<'_, BTreeSet<Entry>>> {
        self.0.as_ref().map(|noted| noted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Entry {
    /// Returns what a rename does.
    pub(super) fn rename(from: &Path, to: &Path) -> [Entry; 2] {
        [Entry::Vanishes(from.to_owned()), Entry::Appears(to.to_owned())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_known_once_and_what_failed_never() {
        let diary = Diary::kept();
        let [gone, come] = Entry::rename(Path::new("/a"), Path::new("/b"));
        assert!(diary.doing(&[gone.clone(), come.clone()], || true, |done| *done));
        let shared = diary.clone();
        assert!(shared.take(&come) && !diary.take(&come));
        diary.forget();
        assert!(!diary.take(&gone));
        diary.doing(std::slice::from_ref(&gone), || false, |done| *done);
        assert!(!diary.take(&gone));
        let nobodys = Diary::default();
        nobodys.doing(std::slice::from_ref(&gone), || (), |()| true);
        assert!(!nobodys.take(&gone));
    }
}

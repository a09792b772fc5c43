//! What mailtide itself does to message files, so that a watch can tell it from what others do.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A file's name appears in a directory, or vanishes from it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Entry {
    /// It appears.
    Appears(PathBuf),
    /// It vanishes.
    Vanishes(PathBuf),
}

/// A diary that is kept for a watch, or one that nobody keeps. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Diary(Option<Arc<Notes>>);

/// A first sync may make very many files, in directories that nobody watches yet: of each only the hash is noted. Should
/// two ever have the same, a change by others is found by the next look at everything.
#[derive(Debug, Default)]
struct Notes {
    hasher: RandomState,
    noted: Mutex<HashSet<u64>>,
}

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
    pub(super) fn doing<T, const N: usize>(
        &self,
        entries: impl FnOnce() -> [Entry; N],
        deed: impl FnOnce() -> T,
        done: impl FnOnce(&T) -> bool,
    ) -> T {
        let Some(notes) = &self.0 else { return deed() };
        let entries = entries();
        notes.noted().extend(entries.iter().map(|entry| notes.hasher.hash_one(entry)));
        let outcome = deed();
        if !done(&outcome) {
            for entry in &entries {
                self.take(entry);
            }
        }
        outcome
    }

    /// Returns true if this was noted, and strikes it out: it happens once.
    pub(super) fn take(&self, entry: &Entry) -> bool {
        self.0.as_ref().is_some_and(|notes| notes.noted().remove(&notes.hasher.hash_one(entry)))
    }

    /// Forgets what was noted and never seen to happen.
    pub fn forget(&self) {
        if let Some(notes) = &self.0 {
            *notes.noted() = HashSet::new();
        }
    }
}

impl Notes {
    fn noted(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
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
        assert!(diary.doing(|| [gone.clone(), come.clone()], || true, |done| *done));
        let shared = diary.clone();
        assert!(shared.take(&come) && !diary.take(&come));
        diary.forget();
        assert!(!diary.take(&gone));
        diary.doing(|| [gone.clone()], || false, |done| *done);
        assert!(!diary.take(&gone));
        let nobodys = Diary::default();
        nobodys.doing(|| [gone.clone()], || (), |()| true);
        assert!(!nobodys.take(&gone));
    }
}

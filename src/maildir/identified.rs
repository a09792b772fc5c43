//! Files identified before they were asked for, several at once.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::thread;

use super::stamp::{self, FileClock};
use super::{body, name, threads};
use crate::model::{FileStat, Identity, UniqueName};
use crate::reconcile::snapshot::LocalEntry;
use crate::store::{Edit, LocalError};

/// So many are remembered at most.
const MOST: usize = 10_000;

/// So many are worth a thread.
const FEW: usize = 8;

/// What was found in a file.
type Found = (Identity, FileStat);

/// Files as they were, by their paths: as strings, for paths are compared component by component.
#[derive(Debug, Default)]
pub(super) struct Identified {
    files: BTreeMap<OsString, Found>,
}

impl Identified {
    /// Reads those of these files that were not read yet. What can't be read is met again when it is asked for.
    pub(super) fn read(&mut self, maildir: &Path, files: &[(&UniqueName, &LocalEntry)], clock: FileClock) {
        let mut paths: Vec<(PathBuf, &LocalEntry)> =
            files.iter().map(|(unique, entry)| (name::path(maildir, unique, entry), *entry)).collect();
        paths.retain(|(path, _)| !self.files.contains_key(path.as_os_str()));
        if self.files.len() + paths.len() > MOST {
            self.files.clear();
            paths.truncate(MOST);
        }
        let threads = match paths.len().div_ceil(FEW) {
            0 | 1 => 1,
            // It takes reading a dozen files to know how many processors there are.
            most => thread::available_parallelism().map_or(1, usize::from).min(most),
        };
        let found = threads::each(&paths, threads, |(path, entry)| settled(path, entry, clock));
        let paths = paths.into_iter().map(|(path, _)| path.into_os_string());
        self.files.extend(paths.zip(found).filter_map(|(path, found)| Some((path, found?))));
    }

    /// Returns what was found in a file, if it was read and is still the same.
    pub(super) fn get(&self, path: &Path, entry: &LocalEntry) -> Result<Option<Found>, LocalError> {
        let Some((identity, stat)) = self.files.get(path.as_os_str()) else { return Ok(None) };
        let now = body::look_at((path, entry))?.map(|meta| stamp::file_stat(&meta));
        Ok((now == Some(*stat)).then_some((*identity, *stat)))
    }
}

/// Reads a file. One written to so short a time ago that it may be again within the same tick is not remembered.
fn settled(path: &Path, entry: &LocalEntry, clock: FileClock) -> Option<Found> {
    match body::identify(path, entry) {
        Ok(Edit::Done((identity, stat))) if stamp::maturing(stat.mtime_ns, clock.now_ns()).is_none() => {
            Some((identity, stat))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{FEW, Identified};
    use crate::maildir::stamp::{FileClock, wall_ns};
    use crate::maildir::{body, name};
    use crate::model::{FlagSet, UniqueName};
    use crate::reconcile::snapshot::LocalEntry;
    use crate::store::Edit;
    use std::fs::{self, File};
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    /// Returns a clock by which it is so many seconds later than it is.
    fn clock(dir: &Path, later: u64) -> FileClock {
        let mut clock = FileClock::default();
        let file = File::create(dir.join("clock")).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_secs(later)).unwrap();
        clock.learn(wall_ns(), &file.metadata().unwrap());
        clock
    }

    fn fill(dir: &Path, count: usize) -> Vec<(UniqueName, LocalEntry)> {
        fs::create_dir_all(dir.join("new")).unwrap();
        let file = |number| {
            let unique = UniqueName::new(&format!("{number}.a")).unwrap();
            let mut entry = LocalEntry { in_new: true, info: "".into(), inode: 0, flags: FlagSet::new() };
            let path = name::path(dir, &unique, &entry);
            fs::write(&path, format!("Message-ID: <{number}@x>\n\n{number}")).unwrap();
            entry.inode = fs::metadata(path).unwrap().ino();
            (unique, entry)
        };
        (0..count).map(file).collect()
    }

    #[test]
    fn all_are_found_as_each_would_be_alone() {
        let dir = tempfile::tempdir().unwrap();
        let files = fill(dir.path(), 5 * FEW + 1);
        let mut identified = Identified::default();
        let both: Vec<_> = files.iter().map(|(unique, entry)| (unique, entry)).collect();
        identified.read(dir.path(), &both, clock(dir.path(), 60));
        for (unique, entry) in files {
            let path = name::path(dir.path(), &unique, &entry);
            let found = identified.get(&path, &entry).unwrap().unwrap();
            assert_eq!(Edit::Done(found), body::identify(&path, &entry).unwrap());
        }
    }

    #[test]
    fn what_has_changed_since_is_not_known() {
        let acts: [fn(&Path); 4] = [
            |path| fs::write(path, "longer than it was before, by far").unwrap(),
            |path| fs::remove_file(path).unwrap(),
            |path| {
                fs::copy(path, path.with_extension("b")).unwrap();
                fs::rename(path.with_extension("b"), path).unwrap();
            },
            |path| File::open(path).unwrap().set_modified(SystemTime::now() + Duration::from_secs(9)).unwrap(),
        ];
        for (at, act) in acts.into_iter().enumerate() {
            let dir = tempfile::tempdir().unwrap();
            let (unique, entry) = fill(dir.path(), 1).remove(0);
            let mut identified = Identified::default();
            identified.read(dir.path(), &[(&unique, &entry)], clock(dir.path(), 60));
            let path = name::path(dir.path(), &unique, &entry);
            assert!(identified.get(&path, &entry).unwrap().is_some());
            act(&path);
            assert_eq!(identified.get(&path, &entry).unwrap(), None, "act {at}");
        }
    }

    #[test]
    fn what_was_written_a_moment_ago_is_read_when_it_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let (unique, entry) = fill(dir.path(), 1).remove(0);
        let mut identified = Identified::default();
        identified.read(dir.path(), &[(&unique, &entry)], clock(dir.path(), 0));
        assert_eq!(identified.get(&name::path(dir.path(), &unique, &entry), &entry).unwrap(), None);
    }
}

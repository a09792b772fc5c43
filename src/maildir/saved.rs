//! Files that may have been saved again: in place, or by another file renamed over the name.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread::sleep;

use super::stamp::{self, FileClock};
use super::{body, find};
use crate::model::{FileStat, FlagSet, Identity, KeywordLetters, UniqueName};
use crate::reconcile::snapshot::LocalEntry;
use crate::store::{Edit, LocalError};

/// Returns what the file is now, and its content if it is not the file known and not empty. One written to a moment ago
/// is waited for, once; one still being written to is `Changed`.
pub(super) fn revisit(
    path: &Path,
    entry: &LocalEntry,
    known: Option<FileStat>,
    clock: FileClock,
) -> Result<Edit<(Option<Identity>, FileStat)>, LocalError> {
    let Some(meta) = body::look(path)?.filter(|meta| meta.is_file() && meta.ino() == entry.inode) else {
        return Ok(Edit::Changed);
    };
    let stat = stamp::file_stat(&meta);
    // An empty one is no version of anything.
    if stat.size == 0 || known.is_some_and(|known| is_untouched(&known, &stat)) {
        return Ok(Edit::Done((None, stat)));
    }
    if let Some(wait) = stamp::maturing(stat.mtime_ns, clock.now_ns()) {
        sleep(wait);
    }
    Ok(match body::identify(path, entry)? {
        Edit::Done((_, stat)) if stamp::maturing(stat.mtime_ns, clock.now_ns()).is_some() => Edit::Changed,
        Edit::Done((identity, stat)) => Edit::Done((Some(identity), stat)),
        Edit::Changed => Edit::Changed,
    })
}

/// A copy of a Maildir has other inodes and the same files.
fn is_untouched(known: &FileStat, now: &FileStat) -> bool {
    (known.size, known.mtime_ns) == (now.size, now.mtime_ns)
}

/// Returns true if the file's size and time are those seen.
pub(super) fn is_as_seen(seen: Option<FileStat>, meta: &Metadata) -> bool {
    seen.is_none_or(|seen| is_untouched(&seen, &stamp::file_stat(meta)))
}

/// Returns the stat of a file that has the name that goes with these flags, if there is one.
pub(super) fn glance(
    maildir: &Path,
    unique: &UniqueName,
    flags: &FlagSet,
    letters: &KeywordLetters,
) -> Result<Option<FileStat>, LocalError> {
    Ok(find::usual(maildir, (unique, flags), letters)?.map(|(_, meta)| stamp::file_stat(&meta)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Flag;
    use std::fs;
    use std::time::{Duration, SystemTime};

    fn dir() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        ["cur", "new"].iter().for_each(|part| fs::create_dir(dir.path().join(part)).unwrap());
        dir
    }

    fn write(path: &Path, text: &str, seconds_ago: u64) {
        fs::write(path, text).unwrap();
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds_ago)).unwrap();
    }

    fn entry(path: &Path) -> LocalEntry {
        let inode = fs::metadata(path).unwrap().ino();
        LocalEntry { in_new: false, info: "2,D".into(), inode, flags: FlagSet::of(&[Flag::Draft]) }
    }

    fn stat(path: &Path) -> FileStat {
        stamp::file_stat(&fs::metadata(path).unwrap())
    }

    fn visit(path: &Path, entry: &LocalEntry, known: FileStat) -> Edit<(bool, FileStat)> {
        match revisit(path, entry, Some(known), FileClock::default()).unwrap() {
            Edit::Done((identity, stat)) => Edit::Done((identity.is_some(), stat)),
            Edit::Changed => Edit::Changed,
        }
    }

    #[test]
    fn a_file_is_read_only_if_its_size_or_time_changed() {
        let dir = dir();
        let path = dir.path().join("cur/1.a:2,D");
        write(&path, "Subject: a\n\none\n", 100);
        let (known, seen) = (stat(&path), entry(&path));
        assert_eq!(visit(&path, &seen, known), Edit::Done((false, known)));
        assert_eq!(visit(&path, &seen, FileStat { inode: 1, ..known }), Edit::Done((false, known)));
        write(&path, "Subject: a\n\ntwo\n", 50);
        assert_eq!(visit(&path, &seen, known), Edit::Done((true, stat(&path))));
        write(&dir.path().join("other"), "Subject: a\n\nsix\n", 20);
        fs::rename(dir.path().join("other"), &path).unwrap();
        assert_eq!(visit(&path, &seen, known), Edit::Changed, "another file than the one listed");
    }

    #[test]
    fn an_empty_file_is_nothing_new_as_long_as_it_looks_so() {
        let dir = dir();
        let path = dir.path().join("cur/1.a:2,D");
        write(&path, "Subject: a\n\none\n", 100);
        let (known, seen) = (stat(&path), entry(&path));
        write(&path, "", 50);
        let empty = stat(&path);
        assert_eq!(visit(&path, &seen, known), Edit::Done((false, empty)));
        write(&path, "Subject: a\n\ntwo\n", 20);
        assert!(!is_as_seen(Some(empty), &fs::metadata(&path).unwrap()));
    }

    #[test]
    fn a_file_saved_a_moment_ago_is_waited_for_and_one_still_written_to_is_left() {
        let dir = dir();
        let path = dir.path().join("cur/1.a:2,D");
        write(&path, "Subject: a\n\none\n", 100);
        let (known, seen) = (stat(&path), entry(&path));
        fs::write(&path, "Subject: a\n\nchanged\n").unwrap();
        assert_eq!(visit(&path, &seen, known), Edit::Done((true, stat(&path))));
        assert!(
            SystemTime::now().duration_since(fs::metadata(&path).unwrap().modified().unwrap()).unwrap().as_secs() >= 2
        );
        let ahead = fs::File::options().write(true).open(&path).unwrap();
        ahead.set_modified(SystemTime::now() + Duration::from_secs(20)).unwrap();
        assert_eq!(visit(&path, &seen, known), Edit::Changed);
    }

    #[test]
    fn a_glance_finds_the_file_under_the_name_its_flags_give_it_only() {
        let dir = dir();
        let unique = UniqueName::new("1.a").unwrap();
        let found = |flags: &[Flag]| glance(dir.path(), &unique, &FlagSet::of(flags), &KeywordLetters::new());
        assert_eq!(found(&[]).unwrap(), None);
        for (name, flags) in [("new/1.a", &[][..]), ("cur/1.a:2,", &[]), ("cur/1.a:2,DS", &[Flag::Draft, Flag::Seen])] {
            let path = dir.path().join(name);
            write(&path, "x", 100);
            assert_eq!(found(flags).unwrap(), Some(stat(&path)));
            assert_eq!(found(&[Flag::Flagged]).unwrap(), None);
            fs::remove_file(&path).unwrap();
        }
    }
}

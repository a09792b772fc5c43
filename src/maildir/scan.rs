//! Observes a maildir. A directory read while files are renamed in it may leave files out, so an absence is known only
//! from a scan during which the directories stood still.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::mem;
use std::os::unix::fs::DirEntryExt;
use std::path::Path;
use std::thread::sleep;

use super::error::{Reach, failed, found};
use super::stamp::{self, FileClock};
use super::{keywords, name};
use crate::model::{FlagSet, KeywordLetters, Stamp, UniqueName};
use crate::reconcile::snapshot::{Entries, LocalEntry, LocalSnapshot};
use crate::store::LocalError;

/// How often a scan is tried until one is quiet.
const TRIES: usize = 5;

/// From how many bytes on room is made by a directory's size,
const LARGE: u64 = 1 << 18;

/// how many of them a file takes at least, with a name such as mail programs give,
const NAME_BYTES: u64 = 48;

/// and for how many files there is room at most: a directory that says that it is enormous may have been so once.
const MOST_ROOM: usize = 1 << 20;

/// A file as listed, its flags not read yet. Nothing is asked of the system but its name, kind and inode: that an empty
/// file is no message shows when it is identified or read, as an error of that file. (Held for one at once, a message
/// emptied by another program's crash would look removed.)
type File = (UniqueName, LocalEntry);

/// Of two files of a name, the one with the higher rank counts.
fn rank((unique, entry): &File) -> (&UniqueName, bool, &str) {
    (unique, !entry.in_new, &entry.info)
}

/// One reading of both directories.
#[derive(Debug)]
struct Reading {
    /// In the order listed: `new` before `cur`, so that a file on its way is rather seen twice than not at all.
    files: Vec<File>,
    before: Stamp,
    /// The file system's time before the first directory was opened.
    start_ns: i64,
    quiet: bool,
}

/// What a scan showed, and what tells whether another would show the same.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) snapshot: LocalSnapshot,
    pub(super) basis: Basis,
}

/// What a scan stands on.
#[derive(Debug)]
pub(super) struct Basis {
    /// What the directories looked like before it.
    pub(super) before: Stamp,
    /// What the letters on the files' names were taken for,
    meaning: KeywordLetters,
    /// and which those are.
    borne: BTreeSet<u8>,
}

impl Seen {
    /// Returns what a scan would show now, without one: `None` if anything has changed, or may have.
    pub(super) fn again(self, maildir: &Path, known: &KeywordLetters) -> Result<Option<Self>, LocalError> {
        let Seen { snapshot, basis } = self;
        if snapshot.stamp.is_none() || look(maildir)? != basis.before {
            return Ok(None);
        }
        let (now, letters) = keywords::meanings(maildir, known, &basis.borne)?;
        let snapshot = LocalSnapshot { letters, dovecot: keywords::is_used_by_dovecot(maildir), ..snapshot };
        Ok((now == basis.meaning).then_some(Seen { snapshot, basis }))
    }
}

/// Returns true if a scan would have to wait until the directories have been still for long enough.
pub(super) fn waits(maildir: &Path, clock: FileClock) -> Result<bool, LocalError> {
    Ok(stamp::settling(&look(maildir)?, clock.now_ns()).is_some())
}

/// Returns what a scan would show of a maildir but for its files, if that is as it was when it had this stamp, and no letter
/// on their names means anything else.
pub(super) fn unchanged(
    maildir: &Path,
    clock: FileClock,
    stamp: &Stamp,
    known: &KeywordLetters,
) -> Result<Option<LocalSnapshot>, LocalError> {
    let now_ns = clock.now_ns();
    if look(maildir)? != *stamp || !stamp::is_trusted(stamp, now_ns) {
        return Ok(None);
    }
    let (_, letters) = keywords::meanings(maildir, known, &BTreeSet::new())?;
    let snapshot = LocalSnapshot {
        entries: Entries::new(),
        quiet: true,
        stamp: Some(*stamp),
        directory: Some(stamp.directory()),
        letters,
        dovecot: keywords::is_used_by_dovecot(maildir),
        duplicates: Vec::new(),
    };
    Ok(Some(snapshot).filter(|snapshot| snapshot.letters.as_ref() == Some(known)))
}

/// Scans a maildir until a scan was quiet, at most five times. `known` are the letters' meanings as last known.
pub(super) fn observe(maildir: &Path, clock: FileClock, known: &KeywordLetters) -> Result<Seen, LocalError> {
    let mut reading = read(maildir, clock)?;
    for _ in 1..TRIES {
        if reading.quiet {
            break;
        }
        reading = read(maildir, clock)?;
    }
    // Programs define a letter before they use it: read after the names, the file explains them all.
    let borne = borne(&reading.files);
    let (meaning, letters) = keywords::meanings(maildir, known, &borne)?;
    let (entries, duplicates) = entries(reading.files, &meaning, reading.quiet);
    let snapshot = LocalSnapshot {
        entries,
        quiet: reading.quiet,
        stamp: Some(reading.before).filter(|before| reading.quiet && stamp::is_trusted(before, reading.start_ns)),
        directory: Some(reading.before.directory()),
        letters,
        dovecot: keywords::is_used_by_dovecot(maildir),
        duplicates,
    };
    Ok(Seen { snapshot, basis: Basis { before: reading.before, meaning, borne } })
}

/// Returns the keyword letters on files' names: all those seen until a scan was quiet.
pub(super) fn borne_letters(maildir: &Path, clock: FileClock) -> Result<BTreeSet<u8>, LocalError> {
    let mut all = BTreeSet::new();
    for _ in 0..TRIES {
        let reading = read(maildir, clock)?;
        all.append(&mut borne(&reading.files));
        if reading.quiet {
            break;
        }
    }
    Ok(all)
}

fn borne(files: &[File]) -> BTreeSet<u8> {
    files.iter().flat_map(|(_, entry)| name::keyword_letters(&entry.info)).collect()
}

fn read(maildir: &Path, clock: FileClock) -> Result<Reading, LocalError> {
    let mut before = look(maildir)?;
    // A change within the same tick of the clock as the last one would not show: let the tick pass. Directories that
    // changed again meanwhile are busy, and their scan can't be quiet.
    let settling = stamp::settling(&before, clock.now_ns());
    if let Some(wait) = settling {
        sleep(wait);
        before = look(maildir)?;
    }
    let start_ns = clock.now_ns();
    let settled = stamp::settling(&before, start_ns).is_none();
    let mut files = Vec::with_capacity(room(maildir));
    for part in ["new", "cur"] {
        let path = maildir.join(part);
        list(&path, part == "new", &mut files).map_err(|error| failed("list", &path, reach(&error), error))?;
    }
    let quiet = settled && look(maildir)? == before;
    Ok(Reading { files, before, start_ns, quiet })
}

/// Returns for about how many files there should be room, by what their names take on common file systems: a list that
/// grows is held twice for a moment. Room that nothing is put in takes no memory.
fn room(maildir: &Path) -> usize {
    let bytes: u64 = ["new", "cur"].iter().filter_map(|part| Some(fs::metadata(maildir.join(part)).ok()?.len())).sum();
    if bytes < LARGE { 0 } else { usize::try_from(bytes / NAME_BYTES).unwrap_or(MOST_ROOM).min(MOST_ROOM) }
}

fn look(maildir: &Path) -> Result<Stamp, LocalError> {
    stamp::of_maildir(maildir).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            found(maildir, "is no maildir (any more): its directories `cur` and `new` are not both there")
        }
        _ => failed("look at", maildir, reach(&error), error),
    })
}

/// Rights are those of this maildir; anything else that keeps a directory from being read concerns the disk.
fn reach(error: &io::Error) -> Reach {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Reach::One,
        _ => Reach::All,
    }
}

fn list(path: &Path, in_new: bool, files: &mut Vec<File>) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let file = entry.file_name();
        let Some(file) = file.to_str() else {
            tracing::warn!("{} is left alone: its name is not UTF-8", entry.path().display());
            continue;
        };
        let Some((unique, info)) = name::parse(file) else { continue };
        if is_file(entry.file_type().map(|kind| kind.is_file()))? {
            let flags = FlagSet::new();
            files.push((unique, LocalEntry { in_new, info: info.into(), inode: entry.ino(), flags }));
        }
    }
    Ok(())
}

/// Where the listing doesn't tell the kind, the file may be gone by now: then it is not listed. One that can't be looked
/// at for another reason must not look gone.
fn is_file(kind: io::Result<bool>) -> io::Result<bool> {
    match kind {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        other => other,
    }
}

/// Returns the messages, and the second files of messages. In an unquiet scan a name listed twice may be one file,
/// seen before and after a rename: the later sight counts.
fn entries(mut files: Vec<File>, known: &KeywordLetters, quiet: bool) -> (Entries, Vec<String>) {
    let mut duplicates = Vec::new();
    if quiet {
        // What counts of two files must not depend on the order of the listing: what lies in `cur`, with most flags.
        files.sort_unstable_by(|one, other| rank(one).cmp(&rank(other)));
        let pairs = files.iter().zip(files.iter().skip(1)).filter(|(one, other)| one.0 == other.0);
        let second = |(unique, entry): &File| format!("{}/{}", part(entry), name::format(unique, &entry.info));
        duplicates.extend(pairs.map(|(one, _)| second(one)));
        duplicates.sort();
    } else {
        files.sort_by(|one, other| one.0.cmp(&other.0));
    }
    for (_, entry) in &mut files {
        entry.flags = name::flags(&entry.info, known);
    }
    // Of equal names the last one stays.
    files.dedup_by(|next, last| {
        next.0 == last.0 && {
            mem::swap(next, last);
            true
        }
    });
    (Entries::from_sorted_store_unchecked(files), duplicates)
}

fn part(entry: &LocalEntry) -> &'static str {
    if entry.in_new { "new" } else { "cur" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Flag, Keyword};
    use crate::store::LocalErrorKind;
    use std::os::unix::ffi::OsStrExt;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn maildir() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        ["cur", "new"].iter().for_each(|part| fs::create_dir(dir.path().join(part)).unwrap());
        dir
    }

    fn observed(dir: &Path) -> LocalSnapshot {
        observe(dir, FileClock::default(), &KeywordLetters::new()).unwrap().snapshot
    }

    #[test]
    fn messages_are_told_from_other_files() {
        let dir = maildir();
        for name in ["new/1.a", "cur/2.b:2,S", "cur/3.c,U=7:1,x", "cur/.hidden", "cur/#4#", "cur/5~", "new/maildirsize"]
        {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        fs::create_dir(dir.path().join("cur/6.d")).unwrap();
        std::os::unix::fs::symlink("2.b:2,S", dir.path().join("cur/7.e")).unwrap();
        fs::write(dir.path().join("cur").join(std::ffi::OsStr::from_bytes(b"8.\xff")), "x").unwrap();
        let snapshot = observed(dir.path());
        let names: Vec<&str> = snapshot.entries.keys().map(UniqueName::as_str).collect();
        assert_eq!(names, ["1.a", "2.b", "3.c,U=7"]);
        assert!(snapshot.quiet && snapshot.duplicates.is_empty() && !snapshot.dovecot);
        assert_eq!((snapshot.stamp, snapshot.letters), (None, Some(KeywordLetters::new())));
        let seen = &snapshot.entries[&UniqueName::new("2.b").unwrap()];
        assert_eq!((&*seen.info, &seen.flags, seen.in_new), ("2,S", &FlagSet::of(&[Flag::Seen]), false));
        assert!(snapshot.entries[&UniqueName::new("1.a").unwrap()].in_new);
    }

    #[test]
    fn a_file_that_cannot_be_looked_at_is_an_error_never_an_absence() {
        assert!(matches!(is_file(Err(io::ErrorKind::NotFound.into())), Ok(false)));
        assert!(matches!(is_file(Ok(true)), Ok(true)));
        assert!(is_file(Err(io::Error::from_raw_os_error(5))).is_err());
    }

    #[test]
    fn second_files_of_a_name_are_left_alone() {
        let dir = maildir();
        for name in ["new/1.a", "cur/1.a:2,", "cur/1.a:2,S", "cur/2.b:2,"] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        let snapshot = observed(dir.path());
        assert_eq!(snapshot.duplicates, ["cur/1.a:2,", "new/1.a"]);
        assert_eq!(&*snapshot.entries[&UniqueName::new("1.a").unwrap()].info, "2,S");
    }

    #[test]
    fn of_a_file_seen_twice_in_an_unquiet_scan_the_later_sight_counts() {
        let file = |name: &str, info: &str| {
            let (info, flags) = (info.into(), FlagSet::new());
            (UniqueName::new(name).unwrap(), LocalEntry { in_new: false, info, inode: 1, flags })
        };
        let files =
            vec![file("3.c", "2,"), file("1.a", "2,"), file("2.b", "2,"), file("1.a", "2,S"), file("3.c", "2,F")];
        let (entries, duplicates) = entries(files, &KeywordLetters::new(), false);
        let seen = entries.iter().map(|(unique, entry)| (unique.as_str(), &*entry.info)).collect::<Vec<_>>();
        assert_eq!(seen, [("1.a", "2,S"), ("2.b", "2,"), ("3.c", "2,F")]);
        assert!(
            duplicates.is_empty() && seen.iter().all(|(name, _)| entries.contains_key(&UniqueName::new(name).unwrap()))
        );
    }

    #[test]
    fn letters_without_a_file_are_read_as_last_known_but_not_certain() {
        let dir = maildir();
        fs::write(dir.path().join("cur/1.a:2,Sa"), "x").unwrap();
        let mut known = KeywordLetters::new();
        known.assign(b'a', Keyword::new("work").unwrap());
        let snapshot = observe(dir.path(), FileClock::default(), &known).unwrap().snapshot;
        assert_eq!(snapshot.letters, None);
        assert!(snapshot.entries.values().all(|entry| entry.flags.keywords.len() == 1));
        fs::write(dir.path().join("dovecot-keywords"), "0 other\n").unwrap();
        let snapshot = observe(dir.path(), FileClock::default(), &known).unwrap().snapshot;
        assert_eq!(snapshot.letters.unwrap().keyword(b'a'), Keyword::new("other").as_ref());
    }

    #[test]
    fn a_missing_maildir_is_an_error_never_an_empty_one() {
        let dir = maildir();
        for part in ["new", "cur"] {
            fs::rename(dir.path().join(part), dir.path().join("away")).unwrap();
            let error = observe(dir.path(), FileClock::default(), &KeywordLetters::new()).unwrap_err();
            assert_eq!(error.kind, LocalErrorKind::Item);
            assert!(error.to_string().contains("is no maildir"), "{error}");
            fs::rename(dir.path().join("away"), dir.path().join(part)).unwrap();
        }
    }

    /// Ends the renamer also when an assertion failed.
    struct Stopper<'a>(&'a AtomicBool);

    impl Drop for Stopper<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_quiet_scan_misses_nothing_whatever_is_renamed() {
        // Several readings of the directory's entries.
        const FILES: usize = 4000;
        let dir = maildir();
        let name = |number: usize, info: &str| dir.path().join(format!("cur/{number}.x:2,{info}"));
        (0..FILES).for_each(|number| fs::write(name(number, ""), "x").unwrap());
        let stop = AtomicBool::new(false);
        let (mut scans, mut quiet) = (0, 0);
        std::thread::scope(|scope| {
            let stopper = Stopper(&stop);
            scope.spawn(|| {
                let mut round = 0;
                while !stop.load(Ordering::Relaxed) {
                    let (from, to) = if round % 2 == 0 { ("", "S") } else { ("S", "") };
                    (0..FILES).for_each(|number| fs::rename(name(number, from), name(number, to)).unwrap());
                    round += 1;
                    // Some bursts leave room for a quiet scan, some nearly, some none.
                    sleep(std::time::Duration::from_millis(round % 8 * 6));
                }
            });
            while scans < 25 && quiet < 10 {
                let snapshot = observed(dir.path());
                (scans, quiet) = (scans + 1, quiet + usize::from(snapshot.quiet));
                assert!(!snapshot.quiet || snapshot.entries.len() == FILES, "a quiet scan missed files");
                assert!(snapshot.duplicates.is_empty(), "one file seen twice is no copy");
                assert!(snapshot.stamp.is_none());
            }
            drop(stopper);
        });
        let snapshot = observed(dir.path());
        assert!(snapshot.quiet && snapshot.entries.len() == FILES);
    }
}

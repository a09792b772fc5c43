//! Changes of single message files. Each acts on the exact name observed, so whatever another program did to the file
//! in between is noticed and nothing is done.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Access, access};

use super::diary::{Diary, Entry};
use super::dirs::{Dirs, Part, Place};
use super::error::{Reach, failed, found};
use super::{durable, name, saved};
use crate::model::{FileStat, FlagDelta, FlagSet, KeywordLetters, UniqueName};
use crate::reconcile::snapshot::LocalEntry;
use crate::store::{Edit, LocalError};

/// Makes a staged message visible: in `new` if no letter stands for its flags, else in `cur`.
pub(super) fn publish(
    diary: &Diary,
    maildir: &Dirs,
    unique: &UniqueName,
    flags: &FlagSet,
    letters: &KeywordLetters,
) -> Result<Edit<()>, LocalError> {
    let info = name::info(flags, letters);
    let part = if info.is_empty() { Part::New } else { Part::Cur };
    rename(diary, &maildir.file(Part::Tmp, unique.to_string()), &maildir.file(part, name::format(unique, &info)))
}

/// Changes the flags on a file's name. One in `new` that has flags moves to `cur`, and stays there without.
pub(super) fn set_flags(
    diary: &Diary,
    maildir: &Dirs,
    unique: &UniqueName,
    entry: &LocalEntry,
    delta: &FlagDelta,
    letters: &KeywordLetters,
) -> Result<Edit<()>, LocalError> {
    let from = maildir.observed(unique, entry);
    let Some(info) = name::changed(&entry.info, delta, letters) else {
        return Err(found(
            &from.path(),
            "bears other information than flags behind the `:`, so it can't be given flags",
        ));
    };
    // A name without info says as much as one without flags.
    if *info == *entry.info || (entry.info.is_empty() && info == name::NO_FLAGS) {
        return Ok(if is_there(&from.path())? { Edit::Done(()) } else { Edit::Changed });
    }
    let named = |info: &str| maildir.file(Part::Cur, name::format(unique, info));
    // Where names have no case these are one. By way of the name without what goes: whatever a crash leaves, nobody else's
    // flags look taken off.
    if from.is_respelled(&named(&info)) {
        let less = FlagDelta { add: FlagSet::new(), remove: delta.remove.clone() };
        let Some(less) = name::changed(&entry.info, &less, letters) else { return Ok(Edit::Changed) };
        return match rename(diary, &from, &named(&less))? {
            Edit::Done(()) => rename(diary, &named(&less), &named(&info)),
            Edit::Changed => Ok(Edit::Changed),
        };
    }
    rename(diary, &from, &named(&info))
}

/// Gives a file's name the keyword letters of one info in place of those of another, if it has these. One in `new` moves
/// to `cur`.
pub(super) fn relabel(
    diary: &Diary,
    maildir: &Dirs,
    unique: &UniqueName,
    entry: &LocalEntry,
    before: &str,
    after: &str,
) -> Result<Edit<()>, LocalError> {
    let info = name::relabelled_alike(&entry.info, before, after).filter(|info| **info != *entry.info);
    let Some(info) = info else { return Ok(Edit::Done(())) };
    rename(diary, &maildir.observed(unique, entry), &maildir.file(Part::Cur, name::format(unique, &info)))
}

/// Moves a file to another maildir, never over another file.
pub(super) fn move_to(
    diary: &Diary,
    maildir: &Dirs,
    unique: &UniqueName,
    entry: &LocalEntry,
    seen: FileStat,
    target: &Dirs,
) -> Result<Edit<()>, LocalError> {
    let from = maildir.observed(unique, entry);
    match fs::symlink_metadata(from.path()) {
        // Saved again, it is another message than the one that was moved.
        Ok(meta) if meta.ino() == entry.inode && saved::is_as_seen(Some(seen), &meta) => {
            rename(diary, &from, &target.observed(unique, entry))
        }
        Ok(_) => Ok(Edit::Changed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Edit::Changed),
        Err(error) => Err(failed("look at", &from.path(), Reach::All, error)),
    }
}

/// Removes a file, if it still is the one observed.
pub(super) fn unlink(
    diary: &Diary,
    maildir: &Path,
    unique: &UniqueName,
    entry: &LocalEntry,
    seen: Option<FileStat>,
) -> Result<Edit<()>, LocalError> {
    let path = name::path(maildir, unique, entry);
    let removed = match fs::symlink_metadata(&path) {
        // A message saved again is not the one to be removed.
        Ok(meta) if meta.ino() != entry.inode || !saved::is_as_seen(seen, &meta) => return Ok(Edit::Changed),
        Ok(_) => diary.doing(|| [Entry::Vanishes(path.clone())], || fs::remove_file(&path), Result::is_ok),
        Err(error) => Err(error),
    };
    match removed {
        Ok(()) => Ok(Edit::Done(())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Edit::Changed),
        Err(error) => Err(failed("remove", &path, Reach::of_change(&error), error)),
    }
}

/// Fails for a file in a directory that nothing may be removed from: kept in the trash first, it would be there once more
/// with every run.
pub(super) fn admit_removal(file: &Path) -> Result<(), LocalError> {
    let Some(dir) = file.parent() else { return Ok(()) };
    match access(dir, Access::WRITE_OK | Access::EXEC_OK).map_err(io::Error::from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done.map_err(|error| failed("remove messages from", dir, Reach::One, error)),
    }
}

fn is_there(path: &Path) -> Result<bool, LocalError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("look at", path, Reach::All, error)),
    }
}

fn rename(diary: &Diary, from: &Place<'_>, to: &Place<'_>) -> Result<Edit<()>, LocalError> {
    let deed = || match durable::rename_new_at((from.dir()?, from.name()), (to.dir()?, to.name())) {
        // Another maildir may have come to its place since its directories were opened.
        Err(error) if error.kind() == io::ErrorKind::NotFound => durable::rename_new(&from.path(), &to.path()),
        done => done,
    };
    match diary.doing(|| Entry::rename(&from.path(), &to.path()), deed, Result::is_ok) {
        Ok(()) => Ok(Edit::Done(())),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_there(&from.path())? => Ok(Edit::Changed),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(found(&to.path(), "another file has the name that this message would get"))
        }
        Err(error) => Err(failed("rename a message to", &to.path(), Reach::of_change(&error), error)),
    }
}

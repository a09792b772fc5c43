//! Gives a maildir another name. A directory that nothing else lies in is renamed as a whole. Others are moved piece by
//! piece, `cur` last: until it has moved, the maildir has its old name, and from then on the new one. So whatever a crash
//! leaves, the same call goes on from there.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::{Reach, failed, found};
use super::list::{self, PARTS};
use super::{Settings, durable, removal};
use crate::model::MailboxName;
use crate::store::LocalError;

#[cfg(test)]
mod tests;

/// Begins the name of a directory on its way to the same name in other letters. No folder's directory begins like this.
const ON_ITS_WAY: &str = "..renaming-";

/// Returns true for a directory on its way to its new name.
pub(super) fn is_on_its_way(name: &str) -> bool {
    name.starts_with(ON_ITS_WAY)
}

/// Renames a maildir, or the rest of it; returns false if there is none. Folders below it keep their names.
pub(super) fn rename(settings: &Settings, from: &MailboxName, to: &MailboxName) -> Result<bool, LocalError> {
    let (source, target) = (list::locate(settings, from)?, list::locate(settings, to)?);
    for path in [&source, &target] {
        if *path == settings.root {
            return Err(found(path, "is the root itself, as the inbox is in this layout, and can't be renamed"));
        }
    }
    list::refuse_endless(&target)?;
    arrive(&target)?;
    match (has_cur(&source), has_cur(&target)) {
        (true, true) if source == target => {}
        (true, true) if is_same(&source, &target) => respell(settings, &source, &target)?,
        (true, true) => return Err(found(&target, "is a maildir already")),
        (false, false) => return Ok(false),
        (true, false) => move_on(settings, &source, &target)?,
        (false, true) => {}
    }
    settle(settings, &source, &target).map(|()| true)
}

/// What has it is a maildir.
fn has_cur(maildir: &Path) -> bool {
    is_dir(&maildir.join("cur"))
}

fn is_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir())
}

/// Returns true for two names of one directory, as a file system has them that makes no difference between letters.
fn is_same(one: &Path, other: &Path) -> bool {
    let id = |path| fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino()));
    matches!((id(one), id(other)), (Ok(one), Ok(other)) if one == other)
}

/// Where a directory waits that gets the same name in other letters: the same place each time.
fn waypoint(target: &Path) -> PathBuf {
    let leaf = target.file_name().unwrap_or_default();
    let hash = blake3::hash(leaf.as_encoded_bytes()).to_hex();
    target.with_file_name(format!("{ON_ITS_WAY}{hash}"))
}

/// Takes a directory the rest of its way to its new name, if a crash left it on it.
fn arrive(target: &Path) -> Result<(), LocalError> {
    let waypoint = waypoint(target);
    match is_dir(&waypoint) {
        true => durable::rename_dir_new(&waypoint, target).map_err(renaming(&waypoint)),
        false => Ok(()),
    }
}

/// Gives a directory the same name in other letters. A file system that takes both for the same would take a rename
/// for done, so it goes by way of another name.
fn respell(settings: &Settings, source: &Path, target: &Path) -> Result<(), LocalError> {
    list::make_way(settings, target.parent().unwrap_or(target))?;
    if list::is_listed(target)? {
        return Ok(());
    }
    if holds_others(source)? {
        return Err(found(target, "is the same directory in other letters, and other folders lie in it"));
    }
    let waypoint = waypoint(target);
    durable::rename_dir_new(source, &waypoint).map_err(renaming(source))?;
    waypoint.parent().map_or(Ok(()), durable::sync_dir)?;
    arrive(target)
}

fn move_on(settings: &Settings, source: &Path, target: &Path) -> Result<(), LocalError> {
    list::make_way(settings, target.parent().unwrap_or(target))?;
    let fresh = fs::symlink_metadata(target).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    if fresh && !target.starts_with(source) && !holds_others(source)? {
        return durable::rename_dir_new(source, target).map_err(renaming(source));
    }
    list::make_exactly(target)?;
    move_pieces(source, target)
}

/// Returns true if directories lie in a maildir that are no part of it.
fn holds_others(maildir: &Path) -> Result<bool, LocalError> {
    let others = |entry: fs::DirEntry| -> io::Result<bool> {
        let is_part = entry.file_name().to_str().is_some_and(|name| PARTS.contains(&name));
        Ok(!is_part && entry.file_type()?.is_dir())
    };
    let found =
        fs::read_dir(maildir).and_then(|mut entries| entries.try_fold(false, |any, entry| Ok(any | others(entry?)?)));
    found.map_err(|error| failed("list", maildir, Reach::One, error))
}

/// Moves all that belongs to a maildir. `cur` goes when the rest is sure to have gone.
fn move_pieces(source: &Path, target: &Path) -> Result<(), LocalError> {
    move_files(source, target).map_err(renaming(source))?;
    for part in ["tmp", "new"] {
        move_part(&source.join(part), &target.join(part)).map_err(renaming(&source.join(part)))?;
    }
    durable::sync_dir(target)?;
    durable::sync_dir(source)?;
    let cur = source.join("cur");
    durable::rename_dir_new(&cur, &target.join("cur")).map_err(renaming(&cur))
}

/// Moves the files beside the parts. What is known about a maildir goes over what is left of an earlier one in the
/// target, whose letters would mean something else, as long as nothing of this one has come there.
fn move_files(source: &Path, target: &Path) -> io::Result<()> {
    let untouched = is_dir(&source.join("new"));
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let replace = untouched && removal::is_about_maildir(&entry.file_name());
            move_file(&entry.path(), &target.join(entry.file_name()), replace)?;
        }
    }
    Ok(())
}

fn move_file(from: &Path, to: &Path, replace: bool) -> io::Result<()> {
    match durable::rename_new(from, to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && replace => fs::rename(from, to),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Moves `tmp` or `new`. If it was made anew under the old name meanwhile, what was delivered there follows.
fn move_part(from: &Path, to: &Path) -> io::Result<()> {
    if !is_dir(from) {
        return Ok(());
    }
    // Replaces an empty directory, no other.
    match fs::rename(from, to) {
        Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) => {}
        other => return other,
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        durable::rename_new(&entry.path(), &to.join(entry.file_name()))?;
    }
    fs::remove_dir(from)
}

/// Makes the new name durable, then removes what is left of the old one and holds nothing.
fn settle(settings: &Settings, source: &Path, target: &Path) -> Result<(), LocalError> {
    durable::sync_dir(target)?;
    target.parent().map_or(Ok(()), durable::sync_dir)?;
    let left = source.ancestors().take_while(|path| *path != settings.root).find(|path| !is_removed(path));
    durable::sync_dir(left.unwrap_or(&settings.root))
}

fn is_removed(path: &Path) -> bool {
    match fs::remove_dir(path) {
        Ok(()) => true,
        Err(error) => {
            tracing::debug!("{} stays: {error}", path.display());
            error.kind() == io::ErrorKind::NotFound
        }
    }
}

/// Words a refusal; for `map_err`.
fn renaming(path: &Path) -> impl FnOnce(io::Error) -> LocalError {
    move |error| failed("rename", path, Reach::One, error)
}

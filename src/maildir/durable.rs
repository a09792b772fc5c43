//! The few things done to directories and names, with their durability.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, linkat, statat, unlinkat};

use super::error::{Reach, failed};
use super::threads;
use crate::store::LocalError;

/// Opens a file for reading, a symbolic link excepted.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

/// Creates a file that must not exist, 0600.
pub(super) fn create_new(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

/// Creates a directory, 0700. One that exists is no error.
pub(super) fn make_dir(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other,
    }
}

/// Creates a directory with its parents, each 0700 and durable. Those that exist stay as they are.
pub(super) fn make_dirs(path: &Path) -> Result<(), LocalError> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if parent != path {
        make_dirs(parent)?;
    }
    make_dir(path).map_err(|error| failed("create the directory", path, Reach::All, error))?;
    sync_dir(parent)
}

/// Makes the entries of a directory durable.
pub(super) fn sync_dir(path: &Path) -> Result<(), LocalError> {
    let done = File::open(path).and_then(|dir| dir.sync_all());
    done.map_err(|error| failed("sync the directory", path, Reach::All, error))
}

/// Makes the entries of many directories durable. Each is waited for, not worked on: together they take hardly longer than one.
pub(super) fn sync_dirs(paths: &[PathBuf]) -> Vec<Result<(), LocalError>> {
    threads::each(paths, (paths.len() / 2).min(8), |path| sync_dir(path))
}

/// Replaces a file's content durably: readers see the old or the new, now and after a power cut.
pub(super) fn replace(path: &Path, temporary: &Path, content: &[u8]) -> Result<(), LocalError> {
    let written = remove(temporary).and_then(|()| create_new(temporary)).and_then(|mut file| {
        // Others may be meant to read the file: it keeps its permissions.
        if let Ok(old) = fs::symlink_metadata(path) {
            file.set_permissions(old.permissions())?;
        }
        file.write_all(content)?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(temporary, path));
    renamed.map_err(|error| failed("write", path, Reach::of_change(&error), error))?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Removes a file; one that is gone is no error.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Renames a file, never over an existing one (`AlreadyExists`). Two names of one file, as a crash between the steps
/// of [`link_and_unlink`] leaves them, become the new one. Where names have no case, two that differ by it only are one:
/// removed, there would be none. They are left to the caller (`AlreadyExists`).
pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    rename_new_at((CWD, from), (CWD, to))
}

/// Does what [`rename_new`] does, from one open directory to another.
pub(super) fn rename_new_at(from: At<'_>, to: At<'_>) -> io::Result<()> {
    let is_two = || io::Result::Ok(!(is_same_dir(from, to) && is_respelled(from.1, to.1)) && is_same_file(from, to)?);
    match rename_noreplace(from, to).unwrap_or_else(|| link_and_unlink(from, to)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_two()? => remove_at(from),
        other => other,
    }
}

/// A name in an open directory.
pub(super) type At<'a> = (BorrowedFd<'a>, &'a Path);

/// Returns true for two names in one directory that differ by case only.
pub(super) fn is_respelled(one: &Path, other: &Path) -> bool {
    let names = one.file_name().zip(other.file_name());
    one.parent() == other.parent() && names.is_some_and(|(one, other)| one.eq_ignore_ascii_case(other))
}

/// Renames a directory, never over anything. Where the system can't promise that, an empty directory that comes there
/// at the same moment may be replaced, which loses nothing.
pub(super) fn rename_dir_new(from: &Path, to: &Path) -> io::Result<()> {
    rename_noreplace((CWD, from), (CWD, to)).unwrap_or_else(|| rename_if_missing(from, to))
}

fn rename_if_missing(from: &Path, to: &Path) -> io::Result<()> {
    match fs::symlink_metadata(to) {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(from, to),
        Err(error) => Err(error),
    }
}

/// Returns `None` where there is no such call: some file systems (NFS, old kernels) don't know the flag.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn rename_noreplace(from: At<'_>, to: At<'_>) -> Option<io::Result<()>> {
    use rustix::fs::{RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(from.0, from.1, to.0, to.1, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => None,
        other => Some(other.map_err(io::Error::from)),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn rename_noreplace(_: At<'_>, _: At<'_>) -> Option<io::Result<()>> {
    None
}

/// Renames by link and unlink: link never replaces. A crash in between leaves two names of one file.
fn link_and_unlink(from: At<'_>, to: At<'_>) -> io::Result<()> {
    linkat(from.0, from.1, to.0, to.1, AtFlags::empty())?;
    remove_at(from)
}

fn remove_at((dir, name): At<'_>) -> io::Result<()> {
    Ok(unlinkat(dir, name, AtFlags::empty())?)
}

fn is_same_dir(one: At<'_>, other: At<'_>) -> bool {
    one.0.as_raw_fd() == other.0.as_raw_fd()
}

fn is_same_file(one: At<'_>, other: At<'_>) -> io::Result<bool> {
    let look = |(dir, name): At<'_>| statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
    let (one, other) = (look(one)?, look(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn rename_by_link(from: &Path, to: &Path) -> io::Result<()> {
        link_and_unlink((CWD, from), (CWD, to))
    }

    #[test]
    fn renaming_never_replaces_and_merges_two_names_of_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two, three] = ["1", "2", "3"].map(|name| dir.path().join(name));
        for rename in [rename_new, rename_by_link] {
            fs::write(&one, "one").unwrap();
            fs::write(&two, "two").unwrap();
            assert_eq!(rename(&one, &two).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
            assert_eq!((fs::read(&one).unwrap(), fs::read(&two).unwrap()), (b"one".to_vec(), b"two".to_vec()));
            fs::remove_file(&two).unwrap();
            rename(&one, &two).unwrap();
            assert!(!one.exists());
            assert_eq!(rename(&one, &three).unwrap_err().kind(), io::ErrorKind::NotFound);
        }
        fs::hard_link(&two, &three).unwrap();
        rename_new(&two, &three).unwrap();
        assert!(!two.exists() && three.exists());
    }

    /// Where names have no case, both are one name of the file.
    #[test]
    fn of_two_names_that_differ_by_case_only_none_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let [lower, upper] = ["1:2,f", "1:2,F"].map(|name| dir.path().join(name));
        fs::write(&lower, "one").unwrap();
        fs::hard_link(&lower, &upper).unwrap();
        assert_eq!(rename_new(&lower, &upper).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(lower.exists() && upper.exists());
    }

    #[test]
    fn a_directory_is_renamed_never_over_another() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two, file] = ["1", "2", "file"].map(|name| dir.path().join(name));
        fs::write(&file, "x").unwrap();
        for rename in [rename_dir_new, rename_if_missing] {
            [&one, &two].into_iter().for_each(|path| fs::create_dir(path).unwrap());
            for taken in [&two, &file] {
                assert_eq!(rename(&one, taken).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
            }
            fs::remove_dir(&two).unwrap();
            rename(&one, &two).unwrap();
            assert!(!one.exists() && two.is_dir());
            assert_eq!(rename(&one, &one.join("x")).unwrap_err().kind(), io::ErrorKind::NotFound);
            fs::remove_dir(&two).unwrap();
        }
    }

    #[test]
    fn replacing_keeps_permissions_and_survives_a_left_over_temporary() {
        let dir = tempfile::tempdir().unwrap();
        let (path, temporary) = (dir.path().join("f"), dir.path().join("t"));
        fs::write(&temporary, "left over").unwrap();
        replace(&path, &temporary, b"1").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
        replace(&path, &temporary, b"2").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(fs::read(&path).unwrap(), b"2");
        assert!(!temporary.exists());
    }
}

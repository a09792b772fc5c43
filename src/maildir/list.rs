//! Finds all maildirs of a root, and creates new ones.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::{Reach, failed, found};
use super::stamp::{self, FileClock};
use super::{Layout, Settings, durable, layout, rename};
use crate::model::{MailboxName, Stamp};
use crate::reconcile::snapshot::{LocalListing, LocalMaildir};
use crate::store::LocalError;

/// The directories that make a maildir. `cur` comes last: what has it is a maildir, so a creation cut short leaves none.
pub(super) const PARTS: [&str; 3] = ["tmp", "new", "cur"];

/// Lists all maildirs below the root, and what their directories look like, trusted or not. Symbolic links are not followed: they could lead out of it, or in twice.
pub(super) fn list(settings: &Settings, clock: FileClock) -> Result<(LocalListing, Stamps), LocalError> {
    let (listing, stamps) = (LocalListing::default(), Stamps::new());
    let mut walk = Walk { settings, clock, listing, stamps, holders: vec![Vec::new()] };
    while let Some(directories) = walk.holders.pop() {
        walk.visit(&directories)?;
    }
    walk.listing.maildirs.sort_by(|one, other| one.name.cmp(&other.name));
    walk.listing.rejected.sort();
    Ok((walk.listing, walk.stamps))
}

/// The directories of each maildir as they are.
pub(super) type Stamps = BTreeMap<MailboxName, Stamp>;

struct Walk<'a> {
    settings: &'a Settings,
    clock: FileClock,
    listing: LocalListing,
    stamps: Stamps,
    /// Directories yet to be visited, by the names that lead to them.
    holders: Vec<Vec<String>>,
}

impl Walk<'_> {
    /// A directory deeper than this can't be a folder's: its path would be too long.
    const DEEPEST: usize = 1000;

    fn visit(&mut self, directories: &[String]) -> Result<(), LocalError> {
        let path: PathBuf =
            std::iter::once(self.settings.root.as_path()).chain(directories.iter().map(Path::new)).collect();
        self.look(&path, directories)?;
        let deeper = directories.is_empty() || self.settings.layout == Layout::Fs;
        if !deeper || directories.len() >= Self::DEEPEST || directories.last().is_some_and(|name| name.starts_with('.'))
        {
            return Ok(());
        }
        let entries = match fs::read_dir(&path) {
            Err(error) if is_gone(&error) && !directories.is_empty() => return Ok(()),
            Err(error) if is_others(self.settings.layout, directories, &error) => return Ok(()),
            Err(error) if is_too_long(&error) => {
                self.reject(&path, "its path is too long");
                return Ok(());
            }
            other => other.map_err(|error| failed("list", &path, Reach::All, error))?,
        };
        for entry in entries {
            let entry = entry.map_err(|error| failed("list", &path, Reach::All, error))?;
            self.enter(&entry, directories);
        }
        Ok(())
    }

    fn enter(&mut self, entry: &fs::DirEntry, directories: &[String]) {
        let Ok(kind) = entry.file_type() else { return };
        let name = entry.file_name();
        if !kind.is_dir() {
            if kind.is_symlink() && entry.path().join("cur").is_dir() {
                self.reject(&entry.path(), "is a symbolic link, which is not followed");
            }
            return;
        }
        match name.to_str() {
            Some(name) if PARTS.contains(&name) || rename::is_on_its_way(name) => {}
            Some(name) => self.holders.push([directories, &[name.to_owned()]].concat()),
            None if entry.path().join("cur").is_dir() => self.reject(&entry.path(), "its name is not UTF-8"),
            None => {}
        }
    }

    /// Takes a directory in if it is a maildir.
    fn look(&mut self, path: &Path, directories: &[String]) -> Result<(), LocalError> {
        let now = self.clock.now_ns();
        let stamp = match stamp::of_maildir(path) {
            Ok(stamp) => stamp,
            // Where the path of `cur` is too long, no mail can have been.
            Err(error)
                if is_gone(&error) || is_too_long(&error) || is_others(self.settings.layout, directories, &error) =>
            {
                if path.join("cur").is_dir() {
                    self.reject(path, "has `cur` but no `new`, so it is no maildir");
                }
                return Ok(());
            }
            Err(error) => return Err(failed("look at", path, Reach::All, error)),
        };
        match layout::name_of(self.settings.layout, directories) {
            Some(name) => {
                self.stamps.insert(name.clone(), stamp);
                let directory = stamp.directory();
                let stamp = stamp::is_trusted(&stamp, now).then_some(stamp);
                self.listing.maildirs.push(LocalMaildir { name, stamp, directory });
            }
            None => self.reject(path, "its name is not how mailtide would write that folder's"),
        }
        Ok(())
    }

    fn reject(&mut self, path: &Path, why: &str) {
        self.listing.rejected.push((path.display().to_string(), why.to_owned()));
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn is_too_long(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidFilename
}

/// A directory below the root that can't be a folder's and is for others only: what a file system's root has, snapshots.
fn is_others(layout: Layout, directories: &[String], error: &io::Error) -> bool {
    let may_be_folder = directories != ["lost+found"] && layout::name_of(layout, directories).is_some();
    error.kind() == io::ErrorKind::PermissionDenied && !directories.is_empty() && !may_be_folder
}

/// Returns the directory of a folder. No component below the root may be a symbolic link.
pub(super) fn locate(settings: &Settings, name: &MailboxName) -> Result<PathBuf, LocalError> {
    let mut path = settings.root.clone();
    for part in &layout::path_of(settings.layout, name)? {
        path.push(part);
        if fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_symlink()) {
            return Err(found(&path, "is a symbolic link, which is not followed"));
        }
    }
    Ok(path)
}

/// Creates a maildir with its parents, durably. Parents become plain directories.
pub(super) fn create(settings: &Settings, name: &MailboxName) -> Result<(), LocalError> {
    let maildir = locate(settings, name)?;
    refuse_endless(&maildir)?;
    make_way(settings, &maildir)?;
    for part in PARTS {
        let part = maildir.join(part);
        durable::make_dir(&part).map_err(|error| failed("create the directory", &part, Reach::All, error))?;
    }
    if settings.layout == Layout::MaildirPlusPlus && !name.is_inbox() {
        mark_as_folder(&maildir)?;
    }
    durable::sync_dir(&maildir)
}

/// Creates the root and a directory below it with its parents, durably.
pub(super) fn make_way(settings: &Settings, path: &Path) -> Result<(), LocalError> {
    durable::make_dirs(&settings.root)?;
    let below: Vec<&Path> = path.ancestors().take_while(|ancestor| *ancestor != settings.root).collect();
    below.into_iter().rev().try_for_each(make_exactly)
}

/// Makes sure that files in the maildir can have a path, before any directory of it is there.
pub(super) fn refuse_endless(maildir: &Path) -> Result<(), LocalError> {
    let longest = maildir.join("cur").join("x".repeat(layout::LONGEST));
    match fs::symlink_metadata(&longest) {
        Err(error) if is_too_long(&error) => Err(found(maildir, "its path is too long")),
        _ => Ok(()),
    }
}

/// Creates a directory durably. One that another name leads to, as on a case-insensitive file system, is an error: two
/// folders would share it.
pub(super) fn make_exactly(path: &Path) -> Result<(), LocalError> {
    if path.is_dir() && is_lenient_about(path) && !is_listed(path)? {
        return Err(found(path, "another folder has this directory: the file system takes both names for the same"));
    }
    durable::make_dir(path).map_err(|error| failed("create the directory", path, Reach::All, error))?;
    path.parent().map_or(Ok(()), durable::sync_dir)
}

/// Returns true if the directory answers to its name in another case, too.
fn is_lenient_about(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
    let id = |path: &Path| fs::symlink_metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
    [name.to_lowercase(), name.to_uppercase()]
        .iter()
        .any(|other| other != name && id(&path.with_file_name(other)).is_some_and(|other| Some(other) == id(path)))
}

/// Returns true if the directory has the name in exactly these letters.
pub(super) fn is_listed(path: &Path) -> Result<bool, LocalError> {
    let parent = path.parent().unwrap_or(path);
    let mut entries = fs::read_dir(parent).map_err(|error| failed("list", parent, Reach::All, error))?;
    Ok(entries.any(|entry| entry.is_ok_and(|entry| Some(entry.file_name().as_os_str()) == path.file_name())))
}

/// Writes the file by which Maildir++ tells a folder from a mailbox of its own.
fn mark_as_folder(maildir: &Path) -> Result<(), LocalError> {
    let path = maildir.join("maildirfolder");
    match durable::create_new(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed("create", &path, Reach::All, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::LocalErrorKind;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_what_cannot_be_a_folder_may_be_closed_to_us() {
        let spared = |layout, path: &str, kind: io::ErrorKind| {
            let directories: Vec<String> = path.split_terminator('/').map(str::to_owned).collect();
            is_others(layout, &directories, &kind.into())
        };
        let (denied, gone) = (io::ErrorKind::PermissionDenied, io::ErrorKind::NotFound);
        for (layout, path, expected) in [
            (Layout::Fs, "lost+found", true),
            (Layout::Fs, ".snapshots", true),
            (Layout::Fs, "Lists/.Trash-0", true),
            (Layout::Fs, "", false),
            (Layout::Fs, "INBOX", false),
            (Layout::Fs, "Lists/secret", false),
            (Layout::MaildirPlusPlus, "lost+found", true),
            (Layout::MaildirPlusPlus, "snapshots", true),
            (Layout::MaildirPlusPlus, "", false),
            (Layout::MaildirPlusPlus, ".Lists.secret", false),
        ] {
            assert_eq!(spared(layout, path, denied), expected, "{layout:?} {path}");
            assert!(!spared(layout, path, gone), "{layout:?} {path}");
        }
    }

    fn settings(root: &Path, layout: Layout) -> Settings {
        Settings { root: root.to_owned(), layout, trash: root.with_extension("trash") }
    }

    fn names(listing: &LocalListing) -> Vec<&str> {
        listing.maildirs.iter().map(|maildir| maildir.name.as_str()).collect()
    }

    #[test]
    fn what_is_created_is_listed_in_both_layouts() {
        for layout in [Layout::Fs, Layout::MaildirPlusPlus] {
            let dir = tempfile::tempdir().unwrap();
            let settings = settings(&dir.path().join("root"), layout);
            let mut expected =
                vec!["INBOX", "Archive/2025", "INBOX/Sub", "cur", "..", "a.b/c", "%2F", "mailtide", " x "];
            for name in &expected {
                let name = MailboxName::parse(name).unwrap();
                create(&settings, &name).unwrap();
                create(&settings, &name).unwrap();
                assert!(locate(&settings, &name).unwrap().join("tmp").is_dir());
            }
            let listing = list(&settings, FileClock::default()).unwrap().0;
            expected.sort_unstable();
            assert_eq!((names(&listing), listing.rejected.len()), (expected, 0));
            assert!(listing.maildirs.iter().all(|maildir| maildir.stamp.is_none()), "too young to be trusted");
        }
    }

    #[test]
    fn foreign_directories_are_rejected_and_links_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        let settings = settings(&root, Layout::Fs);
        let odd = std::ffi::OsStr::from_bytes(b"\xff");
        for path in [outside.join("cur"), outside.join("new"), root.join(odd).join("cur"), root.join("half/cur")] {
            fs::create_dir_all(path).unwrap();
        }
        for name in [".hidden", "%41", "holder/real", "Inbox"] {
            fs::create_dir_all(root.join(name).join("cur")).unwrap();
            fs::create_dir_all(root.join(name).join("new")).unwrap();
        }
        fs::create_dir_all(root.join("no maildir/x")).unwrap();
        symlink(&outside, root.join("link")).unwrap();
        symlink(&outside, root.join("holder/link")).unwrap();
        let listing = list(&settings, FileClock::default()).unwrap().0;
        assert_eq!(names(&listing), ["holder/real"]);
        let rejected: Vec<_> = listing.rejected.iter().map(|(path, _)| Path::new(path).file_name().unwrap()).collect();
        assert_eq!(rejected, ["%41", ".hidden", "Inbox", "half", "link", "link", "\u{fffd}"]);
        let through = MailboxName::parse("link").unwrap();
        assert_eq!(locate(&settings, &through).unwrap_err().kind, LocalErrorKind::Item);
        assert!(create(&settings, &through).is_err() && !outside.join("tmp").exists());
    }

    #[test]
    fn a_path_too_long_for_a_folder_fails_alone_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(&dir.path().join("root"), Layout::Fs);
        create(&settings, &MailboxName::inbox()).unwrap();
        let component = "x".repeat(250);
        for depth in 1..40 {
            let name = MailboxName::from_components(std::iter::repeat_n(component.as_str(), depth)).unwrap();
            match create(&settings, &name) {
                Ok(()) => assert!(depth < 16 && locate(&settings, &name).unwrap().join("cur").is_dir()),
                Err(error) => assert!(depth > 10 && error.kind == LocalErrorKind::Item, "{error}"),
            }
            let listing = list(&settings, FileClock::default()).unwrap().0;
            assert!(listing.maildirs.len() > 1 && listing.rejected.is_empty(), "{:?}", listing.rejected);
        }
    }

    #[test]
    fn a_tree_deeper_than_any_path_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(&dir.path().join("root"), Layout::Fs);
        create(&settings, &MailboxName::inbox()).unwrap();
        // As others may leave it who go down step by step.
        let mut at = fs::File::open(&settings.root).unwrap();
        for _ in 0..20 {
            let component = "x".repeat(250);
            rustix::fs::mkdirat(&at, &component, rustix::fs::Mode::RWXU).unwrap();
            let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
            at = rustix::fs::openat(&at, &component, flags, rustix::fs::Mode::empty()).unwrap().into();
        }
        let listing = list(&settings, FileClock::default()).unwrap().0;
        assert_eq!((names(&listing), listing.rejected.len()), (vec!["INBOX"], 1));
    }

    #[test]
    fn a_missing_root_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(list(&settings(&dir.path().join("x"), Layout::Fs), FileClock::default()).is_err());
    }

    #[test]
    fn untouched_maildirs_have_a_stamp() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path(), Layout::Fs);
        create(&settings, &MailboxName::inbox()).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(60)).unwrap();
        let mut later = FileClock::default();
        later.learn(stamp::wall_ns(), &file.as_file().metadata().unwrap());
        let listed = list(&settings, later).unwrap().0.maildirs.remove(0);
        assert_eq!(listed.stamp, stamp::of_maildir(&dir.path().join("INBOX")).ok());
        assert!(listed.stamp.is_some());
    }
}

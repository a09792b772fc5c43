//! Removes a maildir that holds no message any more.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::error::{Reach, failed};
use super::{Layout, Settings, durable, list};
use crate::model::MailboxName;
use crate::store::LocalError;

/// What other programs keep about a maildir, worthless without it.
const ABOUT_IT: [&str; 5] = ["dovecot", "maildirfolder", "subscriptions", "courierimap", ".mbsyncstate"];

/// A file in `tmp` that was not touched for this long is no delivery any more (Maildir specification: 36 hours).
const STALE: Duration = Duration::from_secs(36 * 3600);

/// Removes the directories of a maildir if nothing is in them. Directories of folders below it stay.
pub(super) fn remove(settings: &Settings, name: &MailboxName) -> Result<bool, LocalError> {
    let maildir = list::locate(settings, name)?;
    let doing = |error| failed("remove the directory", &maildir, Reach::One, error);
    if !is_removable(&maildir).map_err(doing)? || !remove_parts(&maildir).map_err(doing)? {
        return Ok(false);
    }
    // In `maildir++` the inbox is the root, and what else is in the root is not its own.
    if !(settings.layout == Layout::MaildirPlusPlus && name.is_inbox()) {
        remove_rest(&maildir).map_err(doing)?;
    }
    if let Some(parent) = maildir.parent() {
        durable::sync_dir(parent)?;
    }
    Ok(true)
}

/// Returns true if `cur`, `new` and `tmp` hold nothing but remains of old deliveries.
fn is_removable(maildir: &Path) -> io::Result<bool> {
    for part in ["cur", "new"] {
        if entries(&maildir.join(part))?.next().is_some() {
            return Ok(false);
        }
    }
    for entry in entries(&maildir.join("tmp"))? {
        let entry = entry?;
        let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
        if age < STALE || !entry.file_type()?.is_file() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn entries(path: &Path) -> io::Result<Box<dyn Iterator<Item = io::Result<fs::DirEntry>>>> {
    match fs::read_dir(path) {
        Ok(entries) => Ok(Box::new(entries)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Box::new(std::iter::empty())),
        Err(error) => Err(error),
    }
}

/// `cur` goes first: what has none is no maildir. A delivery that came in between brings it back.
fn remove_parts(maildir: &Path) -> io::Result<bool> {
    if !remove_empty(&maildir.join("cur"))? {
        return Ok(false);
    }
    if !remove_empty(&maildir.join("new"))? {
        durable::make_dir(&maildir.join("cur"))?;
        return Ok(false);
    }
    for entry in entries(&maildir.join("tmp"))? {
        durable::remove(&entry?.path())?;
    }
    remove_empty(&maildir.join("tmp")).map(|_| true)
}

/// Returns false if something is in the directory.
fn remove_empty(path: &Path) -> io::Result<bool> {
    match fs::remove_dir(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns true for a file that other programs, or this one, keep about the maildir that it lies in.
pub(super) fn is_about_maildir(file: &OsStr) -> bool {
    file.to_str().is_some_and(|name| ABOUT_IT.iter().any(|prefix| name.starts_with(prefix)))
}

/// Removes what is left of the folder's own directory, if nothing else is in it.
fn remove_rest(maildir: &Path) -> io::Result<()> {
    for entry in entries(maildir)? {
        let entry = entry?;
        let name = entry.file_name();
        if is_about_maildir(&name) && entry.file_type()?.is_file() {
            durable::remove(&entry.path())?;
        }
    }
    remove_empty(maildir).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(root: &Path, layout: Layout) -> Settings {
        Settings { root: root.to_owned(), layout, trash: root.with_extension("trash") }
    }

    fn name(text: &str) -> MailboxName {
        MailboxName::parse(text).unwrap()
    }

    #[test]
    fn an_empty_maildir_goes_and_those_below_it_stay() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(&dir.path().join("Mail"), Layout::Fs);
        list::create(&settings, &name("a")).unwrap();
        list::create(&settings, &name("a/b")).unwrap();
        fs::write(settings.root.join("a/dovecot-uidlist"), "3 V1").unwrap();
        assert!(remove(&settings, &name("a")).unwrap());
        assert!(settings.root.join("a/b/cur").is_dir() && !settings.root.join("a/cur").exists());
        assert!(!settings.root.join("a/dovecot-uidlist").exists());
        assert!(remove(&settings, &name("a/b")).unwrap());
        assert!(!settings.root.join("a/b").exists());
        assert!(remove(&settings, &name("a/b")).unwrap(), "a second time");
    }

    #[test]
    fn nothing_goes_while_anything_is_in_it() {
        for file in ["cur/m:2,S", "new/m", "tmp/m", "cur/.hidden"] {
            let dir = tempfile::tempdir().unwrap();
            let settings = settings(&dir.path().join("Mail"), Layout::MaildirPlusPlus);
            list::create(&settings, &name("a")).unwrap();
            fs::write(settings.root.join(".a").join(file), "x").unwrap();
            assert!(!remove(&settings, &name("a")).unwrap(), "{file}");
            assert!(settings.root.join(".a").join(file).exists() && settings.root.join(".a/cur").is_dir());
        }
    }

    #[test]
    fn a_delivery_that_died_long_ago_is_no_mail() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(&dir.path().join("Mail"), Layout::Fs);
        list::create(&settings, &name("a")).unwrap();
        let file = fs::File::create(settings.root.join("a/tmp/m")).unwrap();
        file.set_modified(std::time::SystemTime::now() - STALE * 2).unwrap();
        assert!(remove(&settings, &name("a")).unwrap());
        assert!(!settings.root.join("a").exists());
    }
}

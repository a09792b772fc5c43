//! The recoverable trash: whatever leaves a Maildir on mailtide's account is kept here first.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::{Reach, failed, found, unusable};
use super::name::is_ours;
use super::{body, durable, stamp};
use crate::model::Timestamp;
use crate::reconcile::snapshot::LocalEntry;
use crate::store::{Edit, KeptFile, LocalError};

/// The trash of an account.
#[derive(Debug)]
pub(super) struct Trash {
    dir: PathBuf,
    /// It is there, and outside the root.
    ready: bool,
    /// A file was taken out of it.
    touched: bool,
}

impl Trash {
    /// The trash in a directory that need not exist yet.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, ready: false, touched: false }
    }

    /// Links or copies the file observed into the trash under a new name.
    pub(super) fn keep(
        &mut self,
        root: &Path,
        file: &Path,
        entry: &LocalEntry,
        kept_as: &str,
    ) -> Result<Edit<()>, LocalError> {
        self.prepare(root)?;
        let kept = self.dir.join(kept_as);
        match fs::hard_link(file, &kept) {
            Ok(()) => confirm(&kept, entry),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Edit::Changed),
            // Another file system, one without links, or a file of another user (`fs.protected_hardlinks`).
            Err(_) => copy(file, &kept, entry),
        }
    }

    /// Where an indexer of the Maildir would find it, the trash must not be.
    fn prepare(&mut self, root: &Path) -> Result<(), LocalError> {
        if self.ready {
            return Ok(());
        }
        durable::make_dirs(&self.dir)?;
        let real = |path: &Path| path.canonicalize().map_err(|error| failed("look at", path, Reach::All, error));
        if real(&self.dir)?.starts_with(real(root)?) {
            return Err(unusable(&self.dir, "the recoverable trash can't be inside the Maildir"));
        }
        self.sweep().map_err(|error| failed("look through", &self.dir, Reach::All, error))?;
        self.ready = true;
        Ok(())
    }

    /// Removes what runs that died left half-written. No other run is at work: they exclude each other.
    fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if entry.file_name().to_str().and_then(|name| name.strip_prefix('.')).is_some_and(is_ours) {
                durable::remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Makes what was kept durable.
    pub(super) fn sync(&self) -> Result<(), LocalError> {
        if self.ready || self.touched { durable::sync_dir(&self.dir) } else { Ok(()) }
    }

    /// Returns where a kept file is.
    pub(super) fn path(&self, kept_as: &str) -> PathBuf {
        self.dir.join(kept_as)
    }

    /// Lists the kept files.
    pub(super) fn files(&self) -> Result<Vec<KeptFile>, LocalError> {
        let wrong = |error| failed("list", &self.dir, Reach::All, error);
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(wrong)?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry.map_err(wrong)?;
            let Some(kept_as) = entry.file_name().to_str().filter(|name| is_kept_name(name)).map(str::to_owned) else {
                continue;
            };
            match entry.metadata() {
                Ok(meta) if meta.is_file() => files.push(KeptFile { kept_as, since: Timestamp(meta.ctime()) }),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed("look at", &entry.path(), Reach::All, error)),
            }
        }
        files.sort_by(|one, other| one.kept_as.cmp(&other.kept_as));
        Ok(files)
    }

    /// Removes a kept file; one that is gone is no error.
    pub(super) fn drop_kept(&mut self, kept_as: &str) -> Result<(), LocalError> {
        let path = self.dir.join(kept_as);
        if !is_kept_name(kept_as) {
            return Err(found(&path, "is no name that a kept file has"));
        }
        self.touched = true;
        durable::remove(&path).map_err(|error| failed("remove", &path, Reach::One, error))
    }
}

/// Returns true for a name that a kept file can have: no way out of the trash.
pub(super) fn is_kept_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains('/')
}

/// A link was made to whatever bore the name: undone if that is not the file observed.
fn confirm(kept: &Path, entry: &LocalEntry) -> Result<Edit<()>, LocalError> {
    let meta = fs::symlink_metadata(kept).map_err(|error| failed("look at", kept, Reach::All, error))?;
    if meta.ino() == entry.inode {
        return Ok(Edit::Done(()));
    }
    durable::remove(kept).map_err(|error| failed("remove", kept, Reach::All, error))?;
    Ok(Edit::Changed)
}

/// Copies under another name first: what a crash leaves half-written must not be taken for a kept file.
fn copy(file: &Path, kept: &Path, entry: &LocalEntry) -> Result<Edit<()>, LocalError> {
    let Some((mut source, before)) = body::open(file, entry)? else { return Ok(Edit::Changed) };
    let mut partial = OsString::from(".");
    partial.push(kept.file_name().unwrap_or_default());
    let partial = kept.with_file_name(partial);
    let target = durable::remove(&partial).and_then(|()| durable::create_new(&partial));
    let target = target.map_err(|error| failed("create", &partial, Reach::All, error))?;
    let copied = copy_durably(&mut source, target).and_then(|()| source.metadata());
    match copied {
        Ok(after) if stamp::file_stat(&after) == stamp::file_stat(&before) => {
            durable::rename_new(&partial, kept).map_err(|error| failed("create", kept, Reach::All, error))?;
            Ok(Edit::Done(()))
        }
        Ok(_) => durable::remove(&partial)
            .map(|()| Edit::Changed)
            .map_err(|error| failed("remove", &partial, Reach::All, error)),
        Err(error) => {
            // What went wrong first is what there is to tell.
            durable::remove(&partial)
                .unwrap_or_else(|left| tracing::warn!("cannot remove {}: {left}", partial.display()));
            Err(failed("keep a copy of", file, Reach::One, error))
        }
    }
}

/// Copies content and modification time durably.
pub(super) fn copy_durably(source: &mut File, mut target: File) -> io::Result<()> {
    io::copy(source, &mut target)?;
    target.set_modified(source.metadata()?.modified()?)?;
    target.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildir::name::UniqueNames;
    use crate::model::FlagSet;

    #[test]
    fn where_no_link_can_be_made_a_copy_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (file, kept) = (dir.path().join("file"), dir.path().join("kept"));
        fs::write(&file, "content").unwrap();
        let meta = fs::metadata(&file).unwrap();
        let entry = LocalEntry { in_new: true, info: "".into(), inode: meta.ino(), flags: FlagSet::new() };
        assert_eq!(copy(&file, &kept, &entry).unwrap(), Edit::Done(()));
        let copied = fs::metadata(&kept).unwrap();
        assert_eq!((copied.mode() & 0o777, copied.modified().unwrap()), (0o600, meta.modified().unwrap()));
        assert_eq!(fs::read(&kept).unwrap(), b"content");
        let other = LocalEntry { inode: copied.ino(), ..entry };
        assert_eq!(copy(&file, &dir.path().join("again"), &other).unwrap(), Edit::Changed);
        assert!(!dir.path().join("again").exists());
    }

    #[test]
    fn a_copy_that_a_crash_cut_short_is_no_kept_file_and_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let [root, kept] = ["root", "kept"].map(|name| dir.path().join(name));
        [&root, &kept].into_iter().for_each(|path| fs::create_dir(path).unwrap());
        let name = UniqueNames::new().next_name();
        let (partial, another) = (kept.join(format!(".{name}")), kept.join(".nobackup"));
        [&partial, &another, &root.join("file")].into_iter().for_each(|path| fs::write(path, "content").unwrap());
        let mut trash = Trash::new(kept);
        assert_eq!(trash.files().unwrap(), []);
        let inode = fs::metadata(root.join("file")).unwrap().ino();
        let entry = LocalEntry { in_new: true, info: "".into(), inode, flags: FlagSet::new() };
        assert_eq!(trash.keep(&root, &root.join("file"), &entry, &name).unwrap(), Edit::Done(()));
        assert!(!partial.exists() && another.exists());
        assert_eq!(trash.files().unwrap().len(), 1);
    }
}

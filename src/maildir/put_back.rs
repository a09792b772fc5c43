//! The way back from the recoverable trash.
//!
//! Each step can be repeated: a message that is back already is recognised by its file or its content, and the only other
//! name it can get is the one it has in the trash, which is its alone.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::{Reach, failed, found};
use super::name::{self, NO_FLAGS};
use super::trash::{copy_durably, is_kept_name};
use super::{body, durable};
use crate::model::{Fingerprint, Flag, FlagDelta, FlagSet, IdentityHasher, KeywordLetters, UniqueName};
use crate::reconcile::snapshot::LocalEntry;
use crate::store::{LocalError, PutBack, Trashed};

/// A file in the trash, open.
struct Kept<'a> {
    path: &'a Path,
    file: File,
    meta: Metadata,
}

/// Puts a kept file back into a maildir; `here` are the messages in it.
pub(super) fn put_back(
    maildir: &Path,
    path: &Path,
    trashed: &Trashed,
    letters: &KeywordLetters,
    here: &mut BTreeMap<UniqueName, LocalEntry>,
) -> Result<PutBack, LocalError> {
    let Some(mut kept) = open(path)? else { return Ok(PutBack::Gone) };
    for (unique, info) in names(trashed, letters) {
        let bearer = here.get(&unique).map(|entry| name::path(maildir, &unique, entry));
        match bearer {
            Some(bearer) if kept.is_in(&bearer)? => return Ok(PutBack::Already(unique)),
            Some(_) => {}
            None => {
                kept.place(maildir, &trashed.kept_as, &name::format(&unique, &info))?;
                let (info, inode) = (info.into(), kept.meta.ino());
                here.insert(unique.clone(), LocalEntry { in_new: false, info, inode, flags: FlagSet::new() });
                return Ok(PutBack::Done(unique));
            }
        }
    }
    Err(found(path, "other messages have both names that this one could get"))
}

/// Returns the names it can get, the best first.
fn names(trashed: &Trashed, letters: &KeywordLetters) -> impl Iterator<Item = (UniqueName, String)> {
    let old = name::parse(&trashed.file);
    let info = without_deleted(old.as_ref().map_or("", |(_, info)| info));
    // What letters meant then, others may mean now.
    let info = match &trashed.keywords {
        Some(keywords) => name::relabelled(&info, &FlagSet::from_parts(0, keywords.iter().cloned()), letters),
        None => info,
    };
    let own = UniqueName::new(&trashed.kept_as);
    old.map(|(unique, _)| unique).into_iter().chain(own).map(move |unique| (unique, info.clone()))
}

/// With the flag it would go to the server as a message to be expunged.
fn without_deleted(info: &str) -> String {
    let delta = FlagDelta { add: FlagSet::new(), remove: FlagSet::of(&[Flag::Deleted]) };
    let info = if info.is_empty() { NO_FLAGS } else { info };
    name::changed(info, &delta, &KeywordLetters::new()).unwrap_or_else(|| info.to_owned())
}

fn open(path: &Path) -> Result<Option<Kept<'_>>, LocalError> {
    match durable::open(path).and_then(|file| file.metadata().map(|meta| (file, meta))) {
        Ok((file, meta)) if meta.is_file() => Ok(Some(Kept { path, file, meta })),
        Ok(_) => Err(found(path, "is no regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("open", path, Reach::One, error)),
    }
}

impl Kept<'_> {
    /// Returns true if a message is this file, or another of the same content.
    fn is_in(&mut self, bearer: &Path) -> Result<bool, LocalError> {
        let wrong = |error| failed("compare with a kept message", bearer, Reach::One, error);
        let mut other = durable::open(bearer).map_err(wrong)?;
        let meta = other.metadata().map_err(wrong)?;
        if (meta.dev(), meta.ino()) == (self.meta.dev(), self.meta.ino()) {
            return Ok(true);
        }
        if meta.size() != self.meta.size() {
            return Ok(false);
        }
        body::is_equal(&mut self.file, &mut other).map_err(wrong)
    }

    fn place(&mut self, maildir: &Path, kept_as: &str, name: &str) -> Result<(), LocalError> {
        let target = maildir.join("cur").join(name);
        match fs::hard_link(self.path, &target) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(found(&target, "appeared while a message was being put back under this name"))
            }
            // Another file system, one without links, or a file of another user (`fs.protected_hardlinks`).
            Err(_) => self.copy(&maildir.join("tmp"), kept_as, &target),
        }
    }

    /// A copy left by a crash bears a name that is this message's alone.
    fn copy(&mut self, tmp: &Path, kept_as: &str, target: &Path) -> Result<(), LocalError> {
        let staged: PathBuf = tmp.join(kept_as);
        let copied = durable::make_dir(tmp)
            .and_then(|()| durable::remove(&staged))
            .and_then(|()| self.file.rewind())
            .and_then(|()| durable::create_new(&staged))
            .and_then(|copy| copy_durably(&mut self.file, copy))
            .and_then(|()| durable::rename_new(&staged, target));
        copied.map_err(|error| {
            // What went wrong first is what there is to tell.
            durable::remove(&staged)
                .unwrap_or_else(|left| tracing::warn!("cannot remove {}: {left}", staged.display()));
            failed("put a message back as", target, Reach::One, error)
        })
    }
}

/// Reads a kept file's size and the beginning of its content, up to so many bytes. `None` if it is gone.
pub(super) fn beginning(path: &Path, kept_as: &str, limit: u64) -> Result<Option<(u64, Vec<u8>)>, LocalError> {
    if !is_kept_name(kept_as) {
        return Err(found(path, "is no name that a kept file has"));
    }
    let Some(kept) = open(path)? else { return Ok(None) };
    let mut content = Vec::new();
    kept.file.take(limit).read_to_end(&mut content).map_err(|error| failed("read", path, Reach::One, error))?;
    Ok(Some((kept.meta.size(), content)))
}

/// Identifies a kept file's content. `None` if it is gone.
pub(super) fn content(path: &Path, kept_as: &str) -> Result<Option<Fingerprint>, LocalError> {
    if !is_kept_name(kept_as) {
        return Err(found(path, "is no name that a kept file has"));
    }
    let Some(mut kept) = open(path)? else { return Ok(None) };
    let mut hasher = IdentityHasher::exact();
    body::read_through(&mut kept.file, kept.meta.size(), |piece| hasher.update(piece))
        .map_err(|error| failed("read", path, Reach::One, error))?;
    Ok(hasher.finish(None).content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    struct Place {
        dir: tempfile::TempDir,
        here: BTreeMap<UniqueName, LocalEntry>,
    }

    impl Place {
        fn new(content: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            ["cur", "new"].iter().for_each(|part| fs::create_dir(dir.path().join(part)).unwrap());
            fs::write(dir.path().join("kept"), content).unwrap();
            let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
            File::options().write(true).open(dir.path().join("kept")).unwrap().set_modified(old).unwrap();
            Self { dir, here: BTreeMap::new() }
        }

        fn put_back(&mut self, file: &str) -> PutBack {
            let mailbox = crate::model::MailboxName::inbox();
            let (file, kept_as) = (file.to_owned(), "kept".to_owned());
            let trashed = Trashed { mailbox, file, kept_as, at: crate::model::Timestamp(0), keywords: None };
            let letters = KeywordLetters::new();
            put_back(self.dir.path(), &self.dir.path().join("kept"), &trashed, &letters, &mut self.here).unwrap()
        }

        fn deliver(&mut self, unique: &str, content: &str) {
            let path = self.dir.path().join("new").join(unique);
            fs::write(&path, content).unwrap();
            let inode = fs::metadata(&path).unwrap().ino();
            let entry = LocalEntry { in_new: true, info: "".into(), inode, flags: FlagSet::new() };
            self.here.insert(UniqueName::new(unique).unwrap(), entry);
        }

        fn cur(&self) -> Vec<String> {
            let entries = fs::read_dir(self.dir.path().join("cur")).unwrap();
            let mut names: Vec<String> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    fn unique(text: &str) -> UniqueName {
        UniqueName::new(text).unwrap()
    }

    #[test]
    fn a_message_comes_back_once_under_its_old_name_and_is_not_deleted() {
        let mut place = Place::new("content");
        assert_eq!(place.put_back("1.x:2,STaz"), PutBack::Done(unique("1.x")));
        for again in ["1.x:2,STaz", "1.x"] {
            assert_eq!(place.put_back(again), PutBack::Already(unique("1.x")));
        }
        assert_eq!(place.cur(), ["1.x:2,Saz"]);
        let meta = fs::metadata(place.dir.path().join("cur/1.x:2,Saz")).unwrap();
        assert_eq!(meta.mtime(), 1_500_000_000);
        fs::remove_file(place.dir.path().join("kept")).unwrap();
        assert_eq!(place.put_back("1.x:2,S"), PutBack::Gone);
    }

    #[test]
    fn another_message_of_the_name_stays_and_equal_content_counts_as_back() {
        let mut place = Place::new("content");
        place.deliver("1.x", "another");
        assert_eq!(place.put_back("1.x:2,F"), PutBack::Done(unique("kept")));
        assert_eq!(place.put_back("1.x:2,F"), PutBack::Already(unique("kept")));
        assert_eq!(place.cur(), ["kept:2,F"]);
        assert_eq!(fs::read(place.dir.path().join("new/1.x")).unwrap(), b"another");
        place.deliver("2.x", "content");
        assert_eq!(place.put_back("2.x:2,F"), PutBack::Already(unique("2.x")));
    }

    #[test]
    fn a_name_that_says_nothing_gives_way_to_the_one_in_the_trash() {
        for file in ["", "a/b", ".hidden"] {
            let mut place = Place::new("content");
            assert_eq!(place.put_back(file), PutBack::Done(unique("kept")), "{file:?}");
            assert_eq!(place.cur(), ["kept:2,"]);
        }
    }

    #[test]
    fn where_no_link_can_be_made_a_copy_comes_back() {
        let place = Place::new("content");
        let (path, target) = (place.dir.path().join("kept"), place.dir.path().join("cur/1.x:2,"));
        let tmp = place.dir.path().join("tmp");
        fs::create_dir(&tmp).unwrap();
        fs::write(tmp.join("kept"), "left by a cra").unwrap();
        let mut kept = open(&path).unwrap().unwrap();
        kept.copy(&tmp, "kept", &target).unwrap();
        let meta = fs::metadata(&target).unwrap();
        assert_eq!(
            (fs::read(&target).unwrap(), meta.mtime(), meta.mode() & 0o777),
            (b"content".to_vec(), 1_500_000_000, 0o600)
        );
        assert_ne!(meta.ino(), kept.meta.ino());
        let taken = open(&path).unwrap().unwrap().copy(&tmp, "kept", &target).unwrap_err();
        assert!(taken.to_string().contains("put a message back"), "{taken}");
        assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        let place = Place::new("content");
        let link = place.dir.path().join("link");
        std::os::unix::fs::symlink("kept", &link).unwrap();
        assert!(open(&link).is_err() && open(place.dir.path()).is_err());
        for bad in ["../kept", "", ".kept", "a/b"] {
            assert!(beginning(&place.dir.path().join(bad), bad, 9).is_err());
        }
        let (size, head) = beginning(&place.dir.path().join("kept"), "kept", 3).unwrap().unwrap();
        assert_eq!((size, head), (7, b"con".to_vec()));
    }
}

//! The root of an account's Maildir and the marker in it.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::durable;
use super::error::{Reach, failed, unusable};
use crate::model::Marker;
use crate::store::{LocalError, Root};

/// The marker's name. No folder's directory is called so.
pub(super) const MARKER: &str = ".mailtide";

/// The marker while it is written: a name that neither layout gives to a folder (`maildir++` has no empty component).
const MARKER_TEMPORARY: &str = ".mailtide..tmp";

const FIRST_LINE: &str = "mailtide marker 1";

/// Looks at the root and its marker.
pub(super) fn look(root: &Path) -> Result<Root, LocalError> {
    match fs::metadata(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Root::Missing),
        Err(error) => return Err(failed("look at", root, Reach::All, error)),
        Ok(meta) if !meta.is_dir() => return Err(unusable(root, "is not a directory")),
        Ok(_) => {}
    }
    let path = root.join(MARKER);
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Root::Unmarked { empty: is_empty(root)? }),
        Err(error) => Err(failed("look at", &path, Reach::All, error)),
        Ok(meta) if !meta.is_file() => Err(unusable(&path, "is not a regular file, as mailtide's marker would be")),
        Ok(_) => read(&path).map(Root::Marked),
    }
}

fn is_empty(root: &Path) -> Result<bool, LocalError> {
    let first = fs::read_dir(root).and_then(|mut entries| entries.next().transpose());
    first.map(|entry| entry.is_none()).map_err(|error| failed("list", root, Reach::All, error))
}

fn read(path: &Path) -> Result<Marker, LocalError> {
    let content = fs::read(path).map_err(|error| failed("read", path, Reach::All, error))?;
    std::str::from_utf8(&content).ok().and_then(parse).ok_or_else(|| {
        unusable(path, "is not a marker that mailtide wrote; if no other program needs the file, remove it")
    })
}

/// Lines this version doesn't know are left to later ones.
fn parse(content: &str) -> Option<Marker> {
    let mut lines = content.lines();
    if lines.next() != Some(FIRST_LINE) {
        return None;
    }
    let value = |key: &str| content.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    let database = value("database").filter(|id| !id.is_empty())?.to_owned();
    let token = value("token").unwrap_or_default().to_owned();
    Some(Marker { database, run: value("run")?.parse().ok()?, token })
}

fn format(marker: &Marker) -> String {
    format!("{FIRST_LINE}\ndatabase {}\nrun {}\ntoken {}\n", marker.database, marker.run, marker.token)
}

/// Creates the root if it is missing, writes the marker durably, and returns what the file system says of it.
pub(super) fn mark(root: &Path, marker: &Marker) -> Result<Metadata, LocalError> {
    durable::make_dirs(root)?;
    let path: PathBuf = root.join(MARKER);
    durable::replace(&path, &root.join(MARKER_TEMPORARY), format(marker).as_bytes())?;
    fs::symlink_metadata(&path).map_err(|error| failed("look at", &path, Reach::All, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::LocalErrorKind;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn the_root_is_missing_then_unmarked_then_marked() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("Mail/work");
        assert_eq!(look(&root).unwrap(), Root::Missing);
        fs::create_dir_all(&root).unwrap();
        assert_eq!(look(&root).unwrap(), Root::Unmarked { empty: true });
        fs::create_dir(root.join("INBOX")).unwrap();
        assert_eq!(look(&root).unwrap(), Root::Unmarked { empty: false });
        for run in [1, u64::MAX] {
            let marker = Marker { database: "00ff".to_owned(), run, token: "7a".to_owned() };
            mark(&root, &marker).unwrap();
            assert_eq!(look(&root).unwrap(), Root::Marked(marker));
        }
        assert_eq!(fs::read_dir(&root).unwrap().count(), 2);
    }

    #[test]
    fn marking_creates_the_root_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("a/b");
        mark(&root, &Marker { database: "1".to_owned(), run: 1, token: String::new() }).unwrap();
        for path in [dir.path().join("a"), root.clone()] {
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o700);
        }
        assert_eq!(fs::metadata(root.join(MARKER)).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_no_marker_is_an_error_not_an_absence() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(MARKER);
        for content in
            ["", "mailtide marker 1\ndatabase x\n", "database x\nrun 1\n", "mailtide marker 1\nrun -1\ndatabase x\n"]
        {
            fs::write(&path, content).unwrap();
            assert_eq!(look(dir.path()).unwrap_err().kind, LocalErrorKind::Unusable, "{content:?}");
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(look(dir.path()).unwrap_err().kind, LocalErrorKind::Unusable);
        assert_eq!(look(&path.join("x")).unwrap(), Root::Missing);
        fs::write(dir.path().join("file"), "").unwrap();
        assert_eq!(look(&dir.path().join("file")).unwrap_err().kind, LocalErrorKind::Unusable);
    }
}

//! Files and directories of the state, which nobody else may read whatever the umask.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::error::DatabaseError;

const PRIVATE: u32 = 0o600;
const PRIVATE_DIRECTORY: u32 = 0o700;

/// Words an error of the system; for `map_err`.
pub(super) fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DatabaseError {
    let path = path.to_owned();
    move |source| DatabaseError::File { path, doing, source }
}

/// Returns the directory a file lies in.
pub(super) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Returns the path with something appended to its last component.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Creates the directory a file is to lie in, with its parents. One that exists keeps its permissions.
pub(super) fn create_directory_of(path: &Path) -> Result<(), DatabaseError> {
    let directory = directory_of(path);
    let failed = || failed("creating the directory", directory);
    if directory.try_exists().map_err(failed())? {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(PRIVATE_DIRECTORY).create(directory).map_err(failed())?;
    std::fs::set_permissions(directory, Permissions::from_mode(PRIVATE_DIRECTORY)).map_err(failed())
}

/// Opens a file, created empty if it is missing, and takes from others the right to read it.
pub(super) fn open_private(path: &Path) -> Result<File, DatabaseError> {
    let open = || {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(PRIVATE).open(path)?;
        if file.metadata()?.permissions().mode() & 0o777 != PRIVATE {
            file.set_permissions(Permissions::from_mode(PRIVATE))?;
        }
        Ok(file)
    };
    open().map_err(failed("opening", path))
}

/// Makes the names in a file's directory durable.
pub(super) fn sync_directory_of(path: &Path) -> Result<(), DatabaseError> {
    let directory = directory_of(path);
    File::open(directory).and_then(|opened| opened.sync_all()).map_err(failed("syncing the directory", directory))
}

/// Returns how many bytes a file has; 0 if there is none.
pub(super) fn length(path: &Path) -> Result<u64, DatabaseError> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(failed("reading", path)(error)),
    }
}

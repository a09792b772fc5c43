//! What can go wrong with files, and what it means to the engine.

use std::io;
use std::path::{Path, PathBuf};

use crate::store::{LocalError, LocalErrorKind};

/// Why the local side could not do something, for people.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    System {
        /// What was being done to the path, as a verb.
        doing: &'static str,
        /// The path.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// What was found is not what can be worked with.
    #[error("{}: {what}", path.display())]
    Found {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A folder's name has no place in the file system.
    #[error("the folder {name:?} can't have a directory: {what}")]
    Name {
        /// The folder.
        name: String,
        /// Why.
        what: &'static str,
    },
}

/// How far a failure reaches if the system's words alone don't tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// One message or folder.
    One,
    /// The whole Maildir.
    All,
}

impl Reach {
    /// A maildir in which nothing may be changed, or that lies on another file system, says nothing about the others.
    pub(super) fn of_change(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::CrossesDevices | io::ErrorKind::PermissionDenied => Reach::One,
            _ => Reach::All,
        }
    }
}

impl From<Trouble> for LocalError {
    /// The kind for what concerns one item; [`failed`] and [`unusable`] make the others.
    fn from(trouble: Trouble) -> Self {
        LocalError { kind: LocalErrorKind::Item, cause: Box::new(trouble) }
    }
}

/// Returns the error for one item that is not as it should be.
pub(super) fn found(path: &Path, what: &'static str) -> LocalError {
    Trouble::Found { path: path.to_owned(), what }.into()
}

/// Returns the error for a Maildir that is not as it should be.
pub(super) fn unusable(path: &Path, what: &'static str) -> LocalError {
    LocalError { kind: LocalErrorKind::Unusable, ..found(path, what) }
}

/// Returns the error for a refused system call.
pub(super) fn failed(doing: &'static str, path: &Path, reach: Reach, source: io::Error) -> LocalError {
    let kind = kind_of(&source, reach);
    LocalError { kind, cause: Box::new(Trouble::System { doing, path: path.to_owned(), source }) }
}

fn kind_of(error: &io::Error, reach: Reach) -> LocalErrorKind {
    use io::ErrorKind as Kind;
    match (error.kind(), reach) {
        (Kind::StorageFull | Kind::QuotaExceeded, _) => LocalErrorKind::Full,
        // A name that can't be, or a folder that is not there, says nothing about the others.
        (Kind::NotFound | Kind::AlreadyExists | Kind::InvalidFilename | Kind::InvalidInput, _) => LocalErrorKind::Item,
        (Kind::ReadOnlyFilesystem, _) | (_, Reach::All) => LocalErrorKind::Unusable,
        (_, Reach::One) if is_about_this_process(error) => LocalErrorKind::Unusable,
        (_, Reach::One) => LocalErrorKind::Item,
    }
}

/// Returns true if a file is no longer there to be opened or read; on NFS, another machine may have replaced it
/// (`ESTALE`).
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::StaleNetworkFileHandle)
}

/// Out of file descriptors or memory: the next item would fare no better.
fn is_about_this_process(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE, Errno::NOMEM].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn errors_say_what_was_done_to_what_and_how_far_they_reach() {
        for (errno, reach, kind) in [
            (Errno::NOSPC, Reach::One, LocalErrorKind::Full),
            (Errno::DQUOT, Reach::All, LocalErrorKind::Full),
            (Errno::ACCESS, Reach::One, LocalErrorKind::Item),
            (Errno::ACCESS, Reach::All, LocalErrorKind::Unusable),
            (Errno::ROFS, Reach::One, LocalErrorKind::Unusable),
            (Errno::IO, Reach::All, LocalErrorKind::Unusable),
            (Errno::MFILE, Reach::One, LocalErrorKind::Unusable),
            (Errno::NAMETOOLONG, Reach::All, LocalErrorKind::Item),
            (Errno::STALE, Reach::One, LocalErrorKind::Item),
            (Errno::STALE, Reach::All, LocalErrorKind::Unusable),
        ] {
            let error = failed("write", Path::new("/x"), reach, errno.into());
            assert_eq!(error.kind, kind, "{errno:?} {reach:?}");
            assert!(error.to_string().starts_with("cannot write /x: "), "{error}");
        }
    }
}

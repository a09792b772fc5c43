//! What can be wrong with a database, in words for people.

use std::io;
use std::path::PathBuf;

use rusqlite::ffi::SQLITE_ERROR;
use rusqlite::{Error as SqlError, ErrorCode};

use crate::store::StateError;

/// What is wrong with an account's database or its lock. Found as the cause of a [`StateError`].
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The file is damaged, or holds what mailtide never writes.
    #[error(
        "the database {} is damaged ({doing}: {cause})",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// SQLite's words. Not the error's source, whose own words repeat these.
        cause: SqlError,
    },
    /// The file is shorter than the database in it.
    #[error(
        "the database {} is damaged (it is {length} bytes long and should be {expected})",
        path.display()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        length: u64,
        /// The length it should at least have.
        expected: u64,
    },
    /// The file is an SQLite database of another program.
    #[error("{} is a database, but not mailtide's; it was left as it is: move it away or set another state_dir", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file's schema is of a later mailtide.
    #[error(
        "the database {} was written by a newer mailtide (its schema is {found}, this one knows up to {known}); it was \
         left as it is: use the newer mailtide",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The file's schema version.
        found: u32,
        /// The latest version this program knows.
        known: u32,
    },
    /// The database could not be used: disk full, permissions, locked by another program.
    #[error("the database {} can't be used ({doing}: {cause})", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// SQLite's words. Not the error's source, whose own words repeat these.
        cause: SqlError,
    },
    /// A file or directory beside or of the database could not be used.
    #[error("{doing} {}: {source}", path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// The system's words.
        source: io::Error,
    },
}

impl DatabaseError {
    /// Tells damage from trouble in what SQLite says.
    pub(super) fn from_sql(doing: &'static str, path: PathBuf, cause: SqlError) -> Self {
        match is_damage(&cause) {
            true => Self::Damaged { path, doing, cause },
            false => Self::Unusable { path, doing, cause },
        }
    }
}

impl From<DatabaseError> for StateError {
    fn from(error: DatabaseError) -> Self {
        use DatabaseError::{Damaged, Foreign, Truncated};
        let corrupt = matches!(error, Damaged { .. } | Truncated { .. } | Foreign { .. });
        StateError { corrupt, cause: Box::new(error) }
    }
}

/// Returns true if only a file that mailtide did not leave like this can cause the error. The program's statements
/// don't change, so one that does not compile (`SqlInputError`, or SQLite's unspecific `SQLITE_ERROR`) means that the
/// tables aren't what the schema's version says.
fn is_damage(error: &SqlError) -> bool {
    match error {
        SqlError::SqliteFailure(failure, _) => {
            matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
                || failure.extended_code == SQLITE_ERROR
        }
        SqlError::SqlInputError { .. }
        | SqlError::QueryReturnedNoRows
        | SqlError::FromSqlConversionFailure(..)
        | SqlError::IntegralValueOutOfRange(..)
        | SqlError::InvalidColumnType(..)
        | SqlError::Utf8Error(..) => true,
        _ => false,
    }
}

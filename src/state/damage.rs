//! A damaged database: set aside under another name, and what can still be read of it.

use std::path::{Path, PathBuf};

use chrono::DateTime;
use rusqlite::{Connection, Result as SqlResult, params};

use super::columns::{Columns, keywords_text};
use super::error::DatabaseError;
use super::file::{self, beside};
use super::{load, open};
use crate::model::{Timestamp, UniqueName};
use crate::store::{KeptRow, StateError, Trashed};

/// Files that belong to a database beside it.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];

/// More runs than this nobody makes: the number is damaged, too.
const MOST_RUNS: u64 = u32::MAX as u64;

/// Returns true if the error says that the database's file is damaged: not that it is another program's, a later
/// mailtide's, or could not be used.
pub fn is_damage(error: &StateError) -> bool {
    let cause = error.cause.downcast_ref::<DatabaseError>();
    matches!(cause, Some(DatabaseError::Damaged { .. } | DatabaseError::Truncated { .. }))
}

/// Renames a database file with its companions to `<name>.damaged-<UTC time>`, durably and never over another file, and
/// returns the new name. Nobody has the file open, and the caller holds the account's lock.
pub(super) fn set_aside(path: &Path, now: Timestamp) -> Result<PathBuf, DatabaseError> {
    let target = free_name(path, now)?;
    // The database first: a log that a crash then leaves has no place in the next one.
    rename(path, &target)?;
    for suffix in COMPANIONS {
        let companion = beside(path, suffix);
        if is_there(&companion)? {
            rename(&companion, &beside(&target, suffix))?;
        }
    }
    file::sync_directory_of(path)?;
    Ok(target)
}

fn free_name(path: &Path, now: Timestamp) -> Result<PathBuf, DatabaseError> {
    let time = DateTime::from_timestamp(now.0, 0).map(|time| time.format("%Y%m%dT%H%M%SZ").to_string());
    let name = beside(path, &format!(".damaged-{}", time.unwrap_or_else(|| now.0.to_string())));
    let mut target = name.clone();
    for number in 2.. {
        let mut taken = is_there(&target)?;
        for suffix in COMPANIONS {
            taken |= is_there(&beside(&target, suffix))?;
        }
        if !taken {
            break;
        }
        target = beside(&name, &format!("-{number}"));
    }
    Ok(target)
}

fn rename(from: &Path, to: &Path) -> Result<(), DatabaseError> {
    std::fs::rename(from, to).map_err(file::failed("setting aside", from))
}

fn is_there(path: &Path) -> Result<bool, DatabaseError> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(file::failed("looking at", path)(error)),
    }
}

/// Reads what can be read of the recoverable trash's index in a damaged file; often nothing. The rest of a damaged
/// file is not to be relied on: a row that is out of date is worse than none, as it would tell of agreements that are
/// no more.
pub(super) fn salvage(path: &Path) -> Vec<KeptRow> {
    let read = open::unexamined(path).map(|connection| kept(&connection));
    read.unwrap_or_else(|error| {
        tracing::debug!(%error, "nothing can be read of the damaged database");
        Vec::new()
    })
}

/// Reads until SQLite can't go on, leaving out what makes no sense.
fn kept(connection: &Connection) -> Vec<KeptRow> {
    let mut found = Vec::new();
    let columns = "id, run, mailbox, file, kept_as, at";
    // One of an older version has no keywords.
    let select = |keywords| connection.prepare(&format!("SELECT {columns}, {keywords} FROM kept NOT INDEXED"));
    let Ok(mut statement) = select("keywords").or_else(|_| select("NULL")) else { return found };
    let Ok(mut rows) = statement.query([]) else { return found };
    while let Ok(Some(row)) = rows.next() {
        let row = load::kept_row(&mut Columns::of(row));
        found.extend(row.ok().filter(|row| row.run <= MOST_RUNS && UniqueName::new(&row.kept.kept_as).is_some()));
    }
    found
}

/// Writes the index read from a damaged file into a new one. The runs go on from those it speaks of, so that no two
/// bear the same number; from 1 on, for there was a Maildir that is not to be made anew where it is missing.
pub(super) fn adopt(connection: &Connection, kept: &[KeptRow]) -> SqlResult<()> {
    let sql = "INSERT OR IGNORE INTO kept (id, kept_as, mailbox, file, at, run, keywords) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let mut insert = connection.prepare(sql)?;
    for KeptRow { id, run, kept } in kept {
        let Trashed { mailbox, file, kept_as, at, keywords } = kept;
        let keywords = keywords.as_ref().map(|keywords| keywords_text(keywords));
        let (id, run) = (id.cast_signed(), run.cast_signed());
        insert.execute(params![id, kept_as, mailbox.as_str(), file, at.0, run, keywords])?;
    }
    let last = kept.iter().map(|row| row.run).max().unwrap_or_default().max(1);
    connection.execute("UPDATE account SET run = ?1", [last.cast_signed()]).map(drop)
}

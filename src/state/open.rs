//! Opening an account's database: the file, its schema, and the copy that a dry run works on.

use std::path::Path;
use std::time::Duration;

use rusqlite::backup::{Backup, Progress};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Result as SqlResult};

use super::error::DatabaseError;
use super::file::{self, beside};
use super::migrate::{self, MIGRATIONS, Standing};

/// `synchronous = FULL`: with WAL's usual NORMAL a power cut could lose the intent and keep the deed. `fullfsync` is
/// what makes a sync reach the disk on macOS; elsewhere it means nothing. `temp_store`: what a statement keeps so that it can
/// be undone alone, as one that deletes a folder with its messages, needs no room in another directory.
const SETTINGS: &str =
    "PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;";

/// Statements kept compiled; more than the program has.
const STATEMENTS: usize = 64;

/// Opens a database file, created if it is missing, and brings its schema up to date.
pub(super) fn file(path: &Path, migrations: &[&str]) -> Result<Connection, DatabaseError> {
    file::create_directory_of(path)?;
    let fresh = file::open_private(path)?.metadata().map_err(file::failed("reading", path))?.len() == 0;
    if fresh {
        file::sync_directory_of(path)?;
    }
    let mut connection = connect(path, log_left(path)?).map_err(sql("opening it", path))?;
    let standing = examine(&connection, path, migrate::version(migrations))?;
    configure(&connection).map_err(sql("setting it up", path))?;
    if let Standing::Older(_) = standing {
        keep_copy(&connection, path, migrate::version(migrations))?;
    }
    bring_up(&mut connection, path, migrations, standing)?;
    Ok(connection)
}

/// Makes a database that is nowhere on disk.
pub(super) fn in_memory(path: &Path) -> Result<Connection, DatabaseError> {
    let mut connection = Connection::open_in_memory().map_err(sql("opening it", path))?;
    bring_up(&mut connection, path, MIGRATIONS, Standing::Empty)?;
    Ok(connection)
}

/// Copies a database into memory and leaves the file and its directory as they are.
///
/// A file without a write-ahead log is read as if nothing could change it (`immutable`, so that SQLite makes neither
/// log nor lock beside it); the caller holds the account's lock. A log is left only by a crash; reading it means
/// recovering it, which is done on a private copy of both files.
pub(super) fn copy_in_memory(path: &Path, migrations: &[&str]) -> Result<Connection, DatabaseError> {
    if file::length(path)? == 0 {
        return in_memory(path);
    }
    let mut connection = match log_left(path)? {
        true => copy_recovered(path)?,
        false => copy_from(&connect_immutable(path).map_err(sql("opening it", path))?, path)?,
    };
    let standing = examine(&connection, path, migrate::version(migrations))?;
    bring_up(&mut connection, path, migrations, standing)?;
    Ok(connection)
}

/// Opens a file for reading whatever is in it, and leaves it as it is.
pub(super) fn unexamined(path: &Path) -> Result<Connection, DatabaseError> {
    match log_left(path)? {
        true => copy_recovered(path),
        false => connect_immutable(path).map_err(sql("opening it", path)),
    }
}

fn copy_recovered(path: &Path) -> Result<Connection, DatabaseError> {
    let scratch = tempfile::tempdir().map_err(file::failed("making a temporary copy of", path))?;
    let copy = scratch.path().join("copy.sqlite3");
    for suffix in ["", "-wal"] {
        let from = beside(path, suffix);
        std::fs::copy(&from, beside(&copy, suffix)).map_err(file::failed("copying", &from))?;
    }
    copy_from(&connect(&copy, true).map_err(sql("opening it", path))?, path)
}

fn copy_from(source: &Connection, path: &Path) -> Result<Connection, DatabaseError> {
    let copy = || {
        let mut memory = Connection::open_in_memory()?;
        Backup::new(source, &mut memory)?.run_to_completion(i32::MAX, Duration::ZERO, None)?;
        Ok(memory)
    };
    copy().map_err(sql("copying it", path))
}

/// Returns true if there is a write-ahead log with something in it.
fn log_left(path: &Path) -> Result<bool, DatabaseError> {
    Ok(file::length(&beside(path, "-wal"))? > 0)
}

/// Opens a file that exists. Exclusive locking, set before the first read, keeps the index of the write-ahead log in
/// memory; nobody else has business in the file while the account's lock is held. A log that a crash left is not
/// written into the file on closing before the file has proved to be ours and whole. Only one thread has the connection at
/// a time, so SQLite need not lock it for every value read.
fn connect(path: &Path, log_left: bool) -> SqlResult<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, log_left)?;
    connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE; PRAGMA cell_size_check = ON;")?;
    Ok(connection)
}

fn connect_immutable(path: &Path) -> SqlResult<Connection> {
    let escaped: String = path.as_os_str().as_encoded_bytes().iter().map(|byte| format!("%{byte:02x}")).collect();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)?;
    connection.execute_batch("PRAGMA cell_size_check = ON;")?;
    Ok(connection)
}

fn configure(connection: &Connection) -> SqlResult<()> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(())
}

/// Refuses what is damaged, another program's or a later mailtide's.
fn examine(connection: &Connection, path: &Path, known: u32) -> Result<Standing, DatabaseError> {
    let standing = migrate::standing(connection, known).map_err(sql("reading its header", path))?;
    match standing {
        Standing::Foreign => Err(DatabaseError::Foreign { path: path.to_owned() }),
        Standing::Newer(found) => Err(DatabaseError::Newer { path: path.to_owned(), found, known }),
        Standing::Empty | Standing::Current | Standing::Older(_) => {
            check_length(connection, path)?;
            Ok(standing)
        }
    }
}

/// Refuses a file that ends in the middle of a page, where SQLite would read zeros. Pages in the write-ahead log
/// count as written, so only a file without one is looked at.
fn check_length(connection: &Connection, path: &Path) -> Result<(), DatabaseError> {
    if log_left(path)? {
        return Ok(());
    }
    let pragma = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, u32>(0)).map(u64::from);
    let expected = pragma("PRAGMA page_count")
        .and_then(|pages| Ok(pages * pragma("PRAGMA page_size")?))
        .map_err(sql("reading its header", path))?;
    let length = file::length(path)?;
    match length < expected {
        true => Err(DatabaseError::Truncated { path: path.to_owned(), length, expected }),
        false => Ok(()),
    }
}

/// Keeps the file as it is before the migrations up to `version`, as `<name>.before-<version>`. The name appears only
/// once the copy is whole.
fn keep_copy(connection: &Connection, path: &Path, version: u32) -> Result<(), DatabaseError> {
    let kept = beside(path, &format!(".before-{version}"));
    let partial = beside(&kept, ".tmp");
    file::open_private(&partial)?;
    connection
        .backup("main", &partial, None::<fn(Progress)>)
        .map_err(sql("keeping a copy of it before migrating", path))?;
    std::fs::rename(&partial, &kept).map_err(file::failed("renaming a copy to", &kept))?;
    file::sync_directory_of(&kept)
}

fn bring_up(
    connection: &mut Connection,
    path: &Path,
    migrations: &[&str],
    standing: Standing,
) -> Result<(), DatabaseError> {
    match standing {
        Standing::Empty => migrate::apply(connection, migrations, 0).map_err(sql("creating its tables", path))?,
        Standing::Older(applied) => {
            migrate::apply(connection, migrations, applied).map_err(sql("migrating it", path))?;
        }
        Standing::Current | Standing::Newer(_) | Standing::Foreign => {}
    }
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Else a statement is compiled again whenever another value is bound to it, which might ask for another plan.
    let steady = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true);
    steady.and_then(|_| connection.execute_batch(SETTINGS)).map_err(sql("setting it up", path))
}

/// Words an error of SQLite; for `map_err`.
fn sql(doing: &'static str, path: &Path) -> impl FnOnce(rusqlite::Error) -> DatabaseError {
    let path = path.to_owned();
    move |source| DatabaseError::from_sql(doing, path, source)
}

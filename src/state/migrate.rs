//! The schema's versions, and the way from each to the next.

use rusqlite::{Connection, Result, TransactionBehavior};

/// `mtid`: by this SQLite's header tells our files from other programs'.
const APPLICATION_ID: i32 = 0x6d74_6964;

/// The steps from an empty file to the current schema. `PRAGMA user_version` counts those already taken.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/0001_baseline.sql"),
    include_str!("../../migrations/0002_safety_net.sql"),
    include_str!("../../migrations/0003_moves.sql"),
    include_str!("../../migrations/0004_email_ids.sql"),
    include_str!("../../migrations/0005_quota.sql"),
    include_str!("../../migrations/0006_flags.sql"),
    include_str!("../../migrations/0007_sent.sql"),
    include_str!("../../migrations/0008_removals.sql"),
    include_str!("../../migrations/0009_capabilities.sql"),
    include_str!("../../migrations/0010_quota_due.sql"),
    include_str!("../../migrations/0011_fewer_writes.sql"),
    include_str!("../../migrations/0012_kept.sql"),
];

/// What a file's schema is to this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// There is none yet.
    Empty,
    /// It is the one this program works with.
    Current,
    /// So many migrations were applied to it, and there are more.
    Older(u32),
    /// A later mailtide applied so many.
    Newer(u32),
    /// Another program made it.
    Foreign,
}

/// Returns the version that these migrations lead to.
pub(super) fn version(migrations: &[&str]) -> u32 {
    migrations.iter().zip(1..).last().map_or(0, |(_, number)| number)
}

/// Reads what stands in the file. Changes nothing, so a file that isn't ours can be refused untouched.
pub(super) fn standing(connection: &Connection, known: u32) -> Result<Standing> {
    let application: i32 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let version: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let objects: u32 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(match (application, version) {
        (0, 0) if objects == 0 => Standing::Empty,
        (APPLICATION_ID, 1..) if version == known => Standing::Current,
        (APPLICATION_ID, 1..) if version < known => Standing::Older(version),
        (APPLICATION_ID, 1..) => Standing::Newer(version),
        _ => Standing::Foreign,
    })
}

/// Applies the migrations that come after the first `applied`: all of them or, if one fails, none. Leaves foreign keys
/// off: with them on, a migration that drops a table to make it anew would empty those that refer to it.
pub(super) fn apply(connection: &mut Connection, migrations: &[&str], applied: u32) -> Result<()> {
    connection.pragma_update(None, "foreign_keys", false)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    for (sql, _) in migrations.iter().zip(1..).filter(|(_, number)| *number > applied) {
        transaction.execute_batch(sql)?;
    }
    transaction.pragma_update(None, "user_version", version(migrations))?;
    transaction.commit()
}

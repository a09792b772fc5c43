//! Rows under other UIDs. A row keeps its id, and everything but what is new.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, Result};

use super::commit::run;
use super::tally::Tally;
use crate::model::{MailboxId, MessageId};
use crate::store::Renumbered;

/// Writes the UIDs that a mailbox's rows have from now on, and deletes the rows not named. A UID belongs to one row of a
/// mailbox and any may have any other's, so all wait under UIDs that nobody has until theirs are free.
pub(super) fn write(db: &Connection, mailbox: MailboxId, rows: &[Renumbered], tally: &mut Tally) -> Result<()> {
    let named: BTreeMap<i64, &Renumbered> = rows.iter().map(|new| (new.row.0, new)).collect();
    let known: Vec<(i64, u32)> = db
        .prepare_cached("SELECT id, uid FROM message WHERE mailbox = ?1")?
        .query_map([mailbox.0], |columns| Ok((columns.get(0)?, columns.get(1)?)))?
        .collect::<Result<_>>()?;
    let (known, gone): (Vec<_>, Vec<_>) = known.into_iter().partition(|(id, _)| named.contains_key(id));
    for (id, _) in gone {
        tally.delete(db, MessageId(id))?;
    }
    let taken: BTreeSet<u32> = known.iter().map(|(_, uid)| *uid).chain(rows.iter().map(|new| new.uid.get())).collect();
    let waiting_place = (1..=u32::MAX).rev().filter(|uid| !taken.contains(uid));
    for ((id, _), place) in known.iter().zip(waiting_place) {
        run(db, "UPDATE message SET uid = ?2 WHERE id = ?1", (id, place))?;
    }
    for new in known.iter().filter_map(|(id, _)| named.get(id)) {
        let (date, size) = (new.date.map(|time| time.0), new.size.map(u64::cast_signed));
        run(
            db,
            "UPDATE message SET uid = ?2, date = coalesce(?3, date), size = coalesce(?4, size) WHERE id = ?1",
            (new.row.0, new.uid.get(), date, size),
        )?;
    }
    Ok(())
}

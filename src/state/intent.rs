//! The journal's rows.

use std::collections::BTreeSet;

use rusqlite::{Connection, Result, params};

use super::arrivals;
use super::columns::{Columns, keywords_text, parse_uids};
use super::commit::run;
use super::load::rows;
use crate::model::{Fingerprint, MailboxId, MessageHash, MessageId, UidValidity, UniqueName};
use crate::store::{Intent, IntentId};

/// Writes intents and returns their ids.
pub(super) fn insert(connection: &Connection, intents: &[Intent]) -> Result<Vec<IntentId>> {
    let mut ids = Vec::with_capacity(intents.len());
    for alike in intents.chunk_by(arrive_together) {
        match alike {
            [Intent::Download { mailbox, uid_validity, .. }, ..] => {
                let messages = alike.iter().filter_map(|intent| match intent {
                    Intent::Download { row, .. } => Some(row),
                    _ => None,
                });
                ids.extend(arrivals::insert(connection, *mailbox, *uid_validity, messages)?);
            }
            _ => alike.iter().try_for_each(|intent| insert_one(connection, intent).map(|id| ids.push(id)))?,
        }
    }
    Ok(ids)
}

fn arrive_together(one: &Intent, next: &Intent) -> bool {
    let place = |intent: &Intent| match intent {
        Intent::Download { mailbox, uid_validity, .. } => Some((*mailbox, *uid_validity)),
        _ => None,
    };
    place(one).is_some() && place(one) == place(next)
}

fn insert_one(connection: &Connection, intent: &Intent) -> Result<IntentId> {
    match intent {
        Intent::Download { mailbox, uid_validity, row } => {
            arrivals::insert(connection, *mailbox, *uid_validity, std::iter::once(row))?;
        }
        Intent::Append {
            mailbox,
            uid_validity,
            uid_next,
            unique,
            flags,
            difference,
            date,
            size,
            message_id,
            content,
            stat,
            leaves,
        } => {
            let sql = "INSERT INTO intent (kind, mailbox, uid_validity, uid_next, unique_name, flags, keywords, date, \
                       size, message_id, content, inode, file_size, mtime_ns, difference, leaves) \
                       VALUES ('append', ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
            connection.prepare_cached(sql)?.execute(params![
                mailbox.0,
                uid_validity.0.cast_signed(),
                uid_next,
                unique.as_str(),
                flags.bits(),
                keywords_text(&flags.keywords),
                date.map(|time| time.0),
                size.cast_signed(),
                message_id.map(|hash| hash.0),
                content.0,
                stat.inode.cast_signed(),
                stat.size.cast_signed(),
                stat.mtime_ns,
                difference.to_string(),
                leaves.map(|row| row.0),
            ])?;
        }
        Intent::Copy { mailbox, uid_validity, uids, target, before } => {
            let (target_validity, uid_next) = before;
            let sql = "INSERT INTO intent (kind, mailbox, uid_validity, uids, target, target_uid_validity, uid_next) \
                       VALUES ('copy', ?1, ?2, ?3, ?4, ?5, ?6)";
            connection.prepare_cached(sql)?.execute(params![
                mailbox.0,
                uid_validity.0.cast_signed(),
                uids.to_string(),
                target.as_str(),
                target_validity.0.cast_signed(),
                uid_next,
            ])?;
        }
        Intent::Rename { mailbox, from, to } => {
            let sql = "INSERT INTO intent (kind, mailbox, before, after) VALUES ('rename', ?1, ?2, ?3)";
            connection.prepare_cached(sql)?.execute((mailbox.0, from.as_str(), to.as_str()))?;
        }
        Intent::Relabel { mailbox, unique, before, after } => {
            let sql = "INSERT INTO intent (kind, mailbox, unique_name, before, after) \
                       VALUES ('relabel', ?1, ?2, ?3, ?4)";
            connection.prepare_cached(sql)?.execute((mailbox.0, unique.as_str(), before, after))?;
        }
        Intent::Flags { mailbox, uid_validity, uids, side, difference } => {
            let sql = "INSERT INTO intent (kind, mailbox, uid_validity, uids, difference, side) \
                       VALUES ('flags', ?1, ?2, ?3, ?4, ?5)";
            connection.prepare_cached(sql)?.execute(params![
                mailbox.0,
                uid_validity.0.cast_signed(),
                uids.to_string(),
                difference.to_string(),
                side.as_str(),
            ])?;
        }
        Intent::Remove { mailbox, unique } => {
            let sql = "INSERT INTO intent (kind, mailbox, unique_name) VALUES ('remove', ?1, ?2)";
            connection.prepare_cached(sql)?.execute((mailbox.0, unique.as_str()))?;
        }
    }
    Ok(IntentId(connection.last_insert_rowid()))
}

/// Settles intents. One that is settled already is no error.
pub(super) fn settle(connection: &Connection, mut settled: BTreeSet<i64>) -> Result<()> {
    arrivals::settle(connection, &mut settled)?;
    settled.into_iter().try_for_each(|id| run(connection, "DELETE FROM intent WHERE id = ?1", [id]))
}

/// Reads all intents, oldest first.
pub(super) fn all(connection: &Connection) -> Result<Vec<(IntentId, Intent)>> {
    let sql = "SELECT id, kind, mailbox, uid_validity, messages, unique_name, flags, keywords, tombstone, date, size, \
               content, message_id, inode, file_size, mtime_ns, email_id, difference, uid_next, uids, target, \
               target_uid_validity, before, after, side, leaves FROM intent ORDER BY id";
    let rows: Vec<Vec<(IntentId, Intent)>> = rows(connection, sql, [], |columns| {
        let id = columns.take()?;
        let kind = columns.word("kind of intent", kind)?;
        let mailbox = MailboxId(columns.take()?);
        match kind {
            Kind::Downloads => downloads(columns, id, mailbox),
            Kind::One(decode) => Ok(vec![(IntentId(id), decode(columns, mailbox)?)]),
        }
    })?;
    Ok(rows.into_iter().flatten().collect())
}

/// How a row is read.
enum Kind {
    /// It holds many intents.
    Downloads,
    /// It holds one, which takes the columns from `uid_validity` on.
    One(fn(&mut Columns<'_>, MailboxId) -> Result<Intent>),
}

fn kind(word: &str) -> Option<Kind> {
    Some(match word {
        "download" => Kind::Downloads,
        "append" => Kind::One(append),
        "copy" => Kind::One(copy),
        "rename" => Kind::One(rename),
        "relabel" => Kind::One(relabel),
        "flags" => Kind::One(flags),
        "remove" => Kind::One(remove),
        _ => return None,
    })
}

fn downloads(columns: &mut Columns<'_>, last: i64, mailbox: MailboxId) -> Result<Vec<(IntentId, Intent)>> {
    let uid_validity = UidValidity(columns.unsigned()?);
    let messages = columns.word("list of arriving messages", arrivals::unpack)?;
    // From the last one on, backwards.
    let ids = std::iter::successors(Some(last), |id| Some(id - 1)).map(IntentId);
    let intents = messages.into_iter().rev().zip(ids);
    let intents = intents.filter_map(|(row, id)| Some((id, Intent::Download { mailbox, uid_validity, row: row? })));
    let mut intents: Vec<_> = intents.collect();
    intents.reverse();
    Ok(intents)
}

fn append(columns: &mut Columns<'_>, mailbox: MailboxId) -> Result<Intent> {
    let uid_validity = UidValidity(columns.unsigned()?);
    columns.skip(1);
    let unique = columns.word("file name", UniqueName::new)?;
    let flags = columns.flags()?;
    columns.skip(1);
    let (date, size) = (columns.time_or_null()?, columns.unsigned()?);
    let content = Fingerprint(columns.take()?);
    let message_id = columns.take::<Option<i64>>()?.map(MessageHash);
    let stat = columns.stat()?;
    columns.skip(1);
    let (difference, uid_next) = (columns.delta_or_none()?, columns.take()?);
    columns.skip(6);
    Ok(Intent::Append {
        mailbox,
        uid_validity,
        unique,
        flags,
        date,
        size,
        content,
        message_id,
        stat,
        difference,
        uid_next,
        leaves: columns.take::<Option<i64>>()?.map(MessageId),
    })
}

fn copy(columns: &mut Columns<'_>, mailbox: MailboxId) -> Result<Intent> {
    let uid_validity = UidValidity(columns.unsigned()?);
    columns.skip(14);
    let uid_next = columns.take()?;
    Ok(Intent::Copy {
        mailbox,
        uid_validity,
        uids: columns.word("set of UIDs", parse_uids)?,
        target: columns.mailbox_name()?,
        before: (UidValidity(columns.unsigned()?), uid_next),
    })
}

fn rename(columns: &mut Columns<'_>, mailbox: MailboxId) -> Result<Intent> {
    columns.skip(19);
    Ok(Intent::Rename { mailbox, from: columns.mailbox_name()?, to: columns.mailbox_name()? })
}

fn relabel(columns: &mut Columns<'_>, mailbox: MailboxId) -> Result<Intent> {
    columns.skip(2);
    let unique = columns.word("file name", UniqueName::new)?;
    columns.skip(16);
    Ok(Intent::Relabel { mailbox, unique, before: columns.take()?, after: columns.take()? })
}

fn flags(columns: &mut Columns<'_>, mailbox: MailboxId) -> Result<Intent> {
    let uid_validity = UidValidity(columns.unsigned()?);
    columns.skip(13);
    let difference = columns.delta_or_none()?;
    columns.skip(1);
    let uids = columns.word("set of UIDs", parse_uids)?;
    columns.skip(4);
    Ok(Intent::Flags { mailbox, uid_validity, uids, difference, side: columns.side()? })
}

fn remove(columns: &mut Columns<'_>, mailbox: MailboxId) -> Result<Intent> {
    columns.skip(2);
    Ok(Intent::Remove { mailbox, unique: columns.word("file name", UniqueName::new)? })
}

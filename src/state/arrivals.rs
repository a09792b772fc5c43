//! The intents of downloads. Those of a batch are one row for each mailbox: written and deleted one by one they would take as
//! long as the messages themselves.

use std::collections::BTreeSet;

use rusqlite::types::Type;
use rusqlite::{Connection, Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::columns::{keywords_text, parse_keywords};
use super::commit::run;
use crate::model::{
    EmailId, FileStat, Fingerprint, FlagSet, MailboxId, MessageHash, Timestamp, Tombstone, Uid, UidValidity, UniqueName,
};
use crate::store::{IntentId, NewMessage};

/// A message as it is written: an array of these, in this order. Numbers that are unsigned are stored bit for bit.
#[derive(Serialize, Deserialize)]
struct Packed(
    Uid,
    Option<UniqueName>,
    u8,
    String,
    Option<String>,
    Option<Timestamp>,
    Option<i64>,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
);

impl Packed {
    fn of(message: &NewMessage) -> Self {
        let NewMessage { uid, unique, flags, tombstone, date, size, content, message_id, stat, email_id } = message;
        Packed(
            *uid,
            unique.clone(),
            flags.bits(),
            keywords_text(&flags.keywords),
            tombstone.map(|tombstone| tombstone.as_str().to_owned()),
            *date,
            size.map(u64::cast_signed),
            content.map(|content| format!("{content:?}")),
            message_id.map(|hash| hash.0),
            stat.map(|stat| stat.inode.cast_signed()),
            stat.map(|stat| stat.size.cast_signed()),
            stat.map(|stat| stat.mtime_ns),
            email_id.map(EmailId::number),
        )
    }

    /// Returns the message, or `None` if there is none like that.
    fn message(self) -> Option<NewMessage> {
        let Packed(
            uid,
            unique,
            bits,
            keywords,
            tombstone,
            date,
            size,
            content,
            message_id,
            inode,
            file_size,
            mtime_ns,
            id,
        ) = self;
        let flags = FlagSet::from_parts(bits, parse_keywords(&keywords)?);
        let stat = match (inode, file_size, mtime_ns) {
            (Some(inode), Some(size), Some(mtime_ns)) => {
                Some(FileStat { inode: inode.cast_unsigned(), size: size.cast_unsigned(), mtime_ns })
            }
            (None, None, None) => None,
            _ => return None,
        };
        Some(NewMessage {
            uid,
            unique: understood(unique, |name| UniqueName::new(name.as_str()))?,
            flags: Some(flags).filter(|flags| flags.bits() == bits)?,
            tombstone: understood(tombstone, |word| Tombstone::parse(&word))?,
            date,
            size: size.map(i64::cast_unsigned),
            content: understood(content, |digits| fingerprint(&digits))?,
            message_id: message_id.map(MessageHash),
            stat,
            email_id: understood(id, EmailId::from_number)?,
        })
    }
}

/// Returns what is made of a value if there is one; `None` if nothing can be made of it.
fn understood<A, B>(value: Option<A>, make: impl FnOnce(A) -> Option<B>) -> Option<Option<B>> {
    value.map_or(Some(None), |value| make(value).map(Some))
}

fn fingerprint(digits: &str) -> Option<Fingerprint> {
    let is_whole = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let number = u128::from_str_radix(digits, 16).ok().filter(|_| is_whole)?;
    Some(Fingerprint(number.to_be_bytes()))
}

/// Reads a row's messages; `None` for each that is settled.
pub(super) fn unpack(text: &str) -> Option<Vec<Option<NewMessage>>> {
    let packed: Vec<Option<Packed>> = serde_json::from_str(text).ok()?;
    packed.into_iter().map(|one| understood(one, Packed::message)).collect()
}

/// Writes the intents of messages that arrive in a mailbox, and returns them.
pub(super) fn insert<'m>(
    db: &Connection,
    mailbox: MailboxId,
    validity: UidValidity,
    messages: impl Iterator<Item = &'m NewMessage>,
) -> Result<Vec<IntentId>> {
    let packed: Vec<Packed> = messages.map(Packed::of).collect();
    let count = packed.len() as i64;
    // AUTOINCREMENT goes on from the greatest id that there ever was, so the ids before this one stay free.
    let sql = "INSERT INTO intent (id, first_id, kind, mailbox, uid_validity, messages) \
               SELECT last + ?1, last + 1, 'download', ?2, ?3, ?4 \
               FROM (SELECT coalesce(max(seq), 0) AS last FROM sqlite_sequence WHERE name = 'intent')";
    run(db, sql, (count, mailbox.0, validity.0.cast_signed(), text(&packed)?))?;
    let last = db.last_insert_rowid();
    Ok((last - count + 1..=last).map(IntentId).collect())
}

fn text(packed: &impl Serialize) -> Result<String> {
    serde_json::to_string(packed).map_err(|error| Error::ToSqlConversionFailure(Box::new(error)))
}

/// Settles those of these intents that are downloads, and takes them out. One may have been settled before.
pub(super) fn settle(db: &Connection, settled: &mut BTreeSet<i64>) -> Result<()> {
    let (Some(&least), Some(&greatest)) = (settled.first(), settled.last()) else { return Ok(()) };
    let sql = "SELECT id, first_id FROM intent WHERE id >= ?1 AND first_id <= ?2";
    let rows: Vec<(i64, i64)> = db
        .prepare_cached(sql)?
        .query_map((least, greatest), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_>>()?;
    for (last, first) in rows {
        let done: BTreeSet<i64> = settled.range(first..=last).copied().collect();
        for id in &done {
            settled.remove(id);
        }
        match (first..=last).all(|id| done.contains(&id)) {
            true => delete(db, last)?,
            false => settle_some(db, last, first, &done)?,
        }
    }
    Ok(())
}

fn delete(db: &Connection, row: i64) -> Result<()> {
    run(db, "DELETE FROM intent WHERE id = ?1", [row])
}

fn settle_some(db: &Connection, row: i64, first: i64, done: &BTreeSet<i64>) -> Result<()> {
    let text: String =
        db.prepare_cached("SELECT messages FROM intent WHERE id = ?1")?.query_row([row], |row| row.get(0))?;
    let mut messages: Vec<Value> =
        serde_json::from_str(&text).map_err(|error| Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))?;
    for (_, message) in (first..).zip(&mut messages).filter(|(id, _)| done.contains(id)) {
        *message = Value::Null;
    }
    match messages.iter().all(Value::is_null) {
        true => delete(db, row),
        false => run(db, "UPDATE intent SET messages = ?2 WHERE id = ?1", (row, self::text(&messages)?)),
    }
}

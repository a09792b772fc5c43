//! Reading. Every row that can't be read is an error: an error is never an end of rows.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Params, Result};

use super::columns::Columns;
use crate::model::{
    MailboxId, MailboxName, MailboxRow, MessageId, MessageRow, Quota, Role, Side, Timestamp, UidSet, UidValidity,
    UniqueName,
};
use crate::store::{FailureRow, Header, HoldRow, KeptRow, Trashed};

/// The query of the messages for which this holds, with the columns that [`message`] reads.
macro_rules! messages {
    ($which:literal) => {
        concat!(
            "SELECT uid, unique_name, flags, keywords, tombstone, date, size, content, message_id, inode, file_size, \
             mtime_ns, email_id, id, mailbox, replaced_by FROM message ",
            $which
        )
    };
}

/// Reads all rows of a query.
pub(super) fn rows<T, C: FromIterator<T>>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    decode: impl Fn(&mut Columns<'_>) -> Result<T>,
) -> Result<C> {
    connection.prepare_cached(sql)?.query_map(params, |row| decode(&mut Columns::of(row)))?.collect()
}

pub(super) fn header(connection: &Connection) -> Result<Header> {
    let holds = holds(connection)?;
    let sql = "SELECT database, run, token, next_token, last_success, united, server, layout, root, \
               storage_used, storage_limit, messages_used, messages_limit, quota_due, \
               capabilities FROM account";
    connection.prepare_cached(sql)?.query_row([], |row| {
        let mut columns = Columns::of(row);
        Ok(Header {
            database: columns.take()?,
            run: columns.unsigned()?,
            token: columns.take()?,
            next_token: columns.take()?,
            last_success: columns.time_or_null()?,
            united: columns.take()?,
            circumstances: columns.circumstances()?,
            quota: Quota { storage: columns.usage()?, messages: columns.usage()? },
            quota_due: columns.time_or_null()?,
            capabilities: columns.take()?,
            holds,
        })
    })
}

pub(super) fn holds(connection: &Connection) -> Result<Vec<HoldRow>> {
    let sql = "SELECT mailbox, side, reason, count, since FROM hold ORDER BY id";
    rows(connection, sql, [], |columns| {
        Ok(HoldRow {
            mailbox: columns.word_or_null("folder name", MailboxName::parse)?,
            side: columns.side()?,
            reason: columns.take()?,
            count: columns.unsigned()?,
            since: columns.time()?,
        })
    })
}

pub(super) fn mailboxes(connection: &Connection) -> Result<Vec<MailboxRow>> {
    let sql = "SELECT id, name, local, role, object_id, uid_validity, watermark_uid_validity, watermark_uid_next, \
               watermark_messages, watermark_mod_seq, permanent_flags, permanent_keywords, new_keywords, read_only, \
               cur_device, cur_inode, cur_mtime_ns, cur_ctime_ns, new_device, new_inode, new_mtime_ns, new_ctime_ns, \
               dir_device, dir_inode, letters, full_look, message_rows, \
               (SELECT max(uid) FROM message WHERE message.mailbox = mailbox.id) FROM mailbox ORDER BY name";
    rows(connection, sql, [], |columns| {
        Ok(MailboxRow {
            id: MailboxId(columns.take()?),
            name: columns.mailbox_name()?,
            local: columns.mailbox_name()?,
            role: columns.word_or_null("role", Role::parse)?,
            object_id: columns.take()?,
            uid_validity: columns.unsigned_or_null()?.map(UidValidity),
            watermark: columns.watermark()?,
            permanent: columns.permanent()?,
            read_only: columns.take()?,
            stamp: columns.stamp()?,
            directory: columns.directory()?,
            letters: columns.letters()?,
            full_look: columns.time_or_null()?,
            with_uid: columns.unsigned()?,
            highest: columns.uid_or_null()?,
        })
    })
}

/// Returns how many messages a mailbox has. A damaged count is no error here.
pub(super) fn count(connection: &Connection, mailbox: MailboxId) -> Result<usize> {
    let count: Option<u32> = connection
        .prepare_cached("SELECT message_rows FROM mailbox WHERE id = ?1")?
        .query_row([mailbox.0], |row| row.get(0))
        .optional()?;
    Ok(count.unwrap_or_default() as usize)
}

pub(super) fn messages(connection: &Connection, mailbox: MailboxId) -> Result<Vec<MessageRow>> {
    // As many as there are, and no room for more: there may be hundreds of thousands. A damaged count takes no memory.
    let mut messages = Vec::with_capacity(count(connection, mailbox)?.min(1 << 18));
    show_messages(connection, mailbox, |row| {
        messages.push(row);
        true
    })?;
    Ok(messages)
}

const OF_MAILBOX: &str = messages!("WHERE mailbox = ?1 ORDER BY uid");

/// Reads a mailbox's messages one by one, until one is answered with `false`.
pub(super) fn show_messages(
    connection: &Connection,
    mailbox: MailboxId,
    mut see: impl FnMut(MessageRow) -> bool,
) -> Result<()> {
    let mut statement = connection.prepare_cached(OF_MAILBOX)?;
    for row in statement.query_map([mailbox.0], |row| message(&mut Columns::of(row)))? {
        if !see(row?) {
            break;
        }
    }
    Ok(())
}

/// Asking for a range takes the time of reading so many messages.
const ASKING: usize = 4;

/// By the index that keeps a mailbox's UIDs apart, range by range, unless to read all takes less time.
pub(super) const AMONG: &str = messages!("WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3 ORDER BY uid");

pub(super) fn messages_among(connection: &Connection, mailbox: MailboxId, uids: &UidSet) -> Result<Vec<MessageRow>> {
    let mut messages = Vec::new();
    if uids.ranges().len().saturating_mul(ASKING) > count(connection, mailbox)? {
        let mut statement = connection.prepare_cached(OF_MAILBOX)?;
        let mut rows = statement.query([mailbox.0])?;
        while let Some(row) = rows.next()? {
            // Of the others nothing else is looked at.
            if uids.contains(Columns::of(row).uid()?) {
                messages.push(message(&mut Columns::of(row))?);
            }
        }
        return Ok(messages);
    }
    for (first, last) in uids.ranges() {
        messages.extend(rows::<_, Vec<_>>(connection, AMONG, (mailbox.0, first, last), message)?);
    }
    Ok(messages)
}

/// By the index of drafts, whose condition this repeats word for word: else all messages would be read.
pub(super) const DRAFTS: &str =
    messages!("INDEXED BY message_draft WHERE flags & 16 AND unique_name IS NOT NULL ORDER BY mailbox, uid");

pub(super) fn drafts(connection: &Connection) -> Result<Vec<MessageRow>> {
    rows(connection, DRAFTS, [], message)
}

/// By the index of sizes, whose condition this repeats word for word.
pub(super) const OF_SIZE: &str =
    messages!("INDEXED BY message_by_size WHERE size = ?1 AND unique_name IS NOT NULL ORDER BY mailbox, uid");

pub(super) fn messages_of_size(connection: &Connection, size: u64) -> Result<Vec<MessageRow>> {
    rows(connection, OF_SIZE, [size.cast_signed()], message)
}

/// By the index that keeps a mailbox's UIDs apart, and by it alone.
pub(super) const UIDS: &str = "SELECT uid FROM message WHERE mailbox = ?1 ORDER BY uid";

pub(super) fn uids(connection: &Connection, mailbox: MailboxId) -> Result<UidSet> {
    let mut statement = connection.prepare_cached(UIDS)?;
    let uids = statement.query_map([mailbox.0], |row| Columns::of(row).uid())?;
    uids.collect()
}

/// By the index that keeps a mailbox's names apart.
pub(super) const TOMBSTONES: &str = messages!("WHERE mailbox = ?1 AND unique_name IS NULL ORDER BY uid");

pub(super) fn tombstones(connection: &Connection, mailbox: MailboxId) -> Result<Vec<MessageRow>> {
    rows(connection, TOMBSTONES, [mailbox.0], message)
}

/// By the index that keeps a mailbox's names apart, mailbox by mailbox.
pub(super) const OF_NAME: &str = "SELECT 1 FROM mailbox CROSS JOIN message \
                                  ON message.mailbox = mailbox.id AND message.unique_name = ?1 LIMIT 1";

pub(super) fn is_known(connection: &Connection, unique: &UniqueName) -> Result<bool> {
    connection.prepare_cached(OF_NAME)?.exists([unique.as_str()])
}

/// By the index that keeps a mailbox's names apart.
pub(super) const NAMED: &str = messages!("WHERE mailbox = ?1 AND unique_name = ?2");

pub(super) fn message_named(
    connection: &Connection,
    mailbox: MailboxId,
    unique: &UniqueName,
) -> Result<Option<MessageRow>> {
    let mut statement = connection.prepare_cached(NAMED)?;
    statement.query_row((mailbox.0, unique.as_str()), |row| message(&mut Columns::of(row))).optional()
}

fn message(columns: &mut Columns<'_>) -> Result<MessageRow> {
    let message = columns.message()?;
    Ok(MessageRow {
        id: MessageId(columns.take()?),
        mailbox: MailboxId(columns.take()?),
        uid: message.uid,
        unique: message.unique,
        flags: message.flags,
        tombstone: message.tombstone,
        date: message.date,
        size: message.size,
        content: message.content,
        message_id: message.message_id,
        stat: message.stat,
        email_id: message.email_id,
        replaced_by: columns.unique_or_null()?,
    })
}

pub(super) fn failures(connection: &Connection, mailbox: MailboxId) -> Result<Vec<FailureRow>> {
    let sql = "SELECT unique_name, uid, code, message, retry_at, flags FROM failure WHERE mailbox = ?1 ORDER BY id";
    rows(connection, sql, [mailbox.0], |columns| {
        Ok(FailureRow {
            mailbox,
            unique: columns.unique_or_null()?,
            uid: columns.uid_or_null()?,
            code: columns.failure_code()?,
            message: columns.take()?,
            retry_at: columns.time_or_null()?,
            flags: columns.delta()?,
        })
    })
}

pub(super) fn losses(connection: &Connection, since: Timestamp) -> Result<BTreeMap<(MailboxId, Side), u64>> {
    let sql = "SELECT mailbox, side, sum(count) FROM loss WHERE at >= ?1 GROUP BY mailbox, side";
    rows(connection, sql, [since.0], |columns| Ok(((MailboxId(columns.take()?), columns.side()?), columns.unsigned()?)))
}

pub(super) fn kept(connection: &Connection, before: Timestamp) -> Result<Vec<KeptRow>> {
    let sql = "SELECT id, run, mailbox, file, kept_as, at, keywords FROM kept WHERE at < ?1 ORDER BY at, kept_as";
    rows(connection, sql, [before.0], kept_row)
}

/// Takes the columns of a row of `kept`, in the order of [`kept`].
pub(super) fn kept_row(columns: &mut Columns<'_>) -> Result<KeptRow> {
    let (id, run) = (columns.unsigned()?, columns.unsigned()?);
    let (mailbox, file) = (columns.mailbox_name()?, columns.take()?);
    let (kept_as, at, keywords) = (columns.take()?, columns.time()?, columns.keywords()?);
    Ok(KeptRow { id, run, kept: Trashed { mailbox, file, kept_as, at, keywords } })
}

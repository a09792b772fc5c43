//! Writing records. All of a commit's records are written within the caller's transaction.

use rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE;
use rusqlite::{Connection, Error, Params, Result, params};

use super::columns::{bind_message, keywords_text, letters_text};
use super::tally::Tally;
use super::{intent, load, renumber};
use crate::model::{
    DirStamp, FlagSet, MailboxId, MailboxName, MessageId, PermanentFlags, Quota, Role, Stamp, Timestamp, Tombstone,
    Uid, UniqueName, Usage, Watermark,
};
use crate::store::{FailureRow, HoldRow, NewMessage, Record, Renaming, Trashed};

/// Adds a mailbox. Until a server says otherwise, everything can be stored in it.
pub(super) fn add_mailbox(connection: &Connection, name: &MailboxName, local: &MailboxName) -> Result<MailboxId> {
    let permanent = PermanentFlags::all();
    let keywords = keywords_text(&permanent.flags.keywords);
    run(
        connection,
        "INSERT INTO mailbox (name, local, permanent_flags, permanent_keywords, new_keywords, read_only, letters, \
         message_rows) VALUES (?1, ?2, ?3, ?4, ?5, 0, '', 0)",
        params![name.as_str(), local.as_str(), permanent.flags.bits(), keywords, permanent.new_keywords],
    )?;
    Ok(MailboxId(connection.last_insert_rowid()))
}

/// Writes records. One that concerns a row which is there no more changes nothing; one that would add to a mailbox which is
/// there no more is an error.
pub(super) fn write(db: &Connection, records: &[Record]) -> Result<()> {
    let mut tally = Tally::default();
    records.iter().try_for_each(|record| write_one(db, record, &mut tally))?;
    tally.write(db)?;
    let settled = records.iter().filter_map(|record| match record {
        Record::Settled(id) => Some(id.0),
        _ => None,
    });
    intent::settle(db, settled.collect())
}

fn write_one(db: &Connection, record: &Record, tally: &mut Tally) -> Result<()> {
    match record {
        Record::Looked { mailbox, watermark, permanent, read_only, full_look } => {
            looked(db, *mailbox, *watermark, permanent, *read_only, *full_look)
        }
        Record::UidValidity(id, validity) => {
            run(db, "UPDATE mailbox SET uid_validity = ?2 WHERE id = ?1", (id.0, validity.0.cast_signed()))
        }
        Record::Renumbered(id, rows) => renumber::write(db, *id, rows, tally),
        Record::Listed(id, role, object_id) => run(
            db,
            "UPDATE mailbox SET role = ?2, object_id = ?3 WHERE id = ?1",
            (id.0, role.map(Role::as_str), object_id),
        ),
        Record::LocalName(id, name) => {
            run(db, "UPDATE mailbox SET local = ?2 WHERE id = ?1", (id.0, name.as_str()))?;
            take_along(db, *id, name)
        }
        Record::Renamed(renamings) => rename(db, renamings),
        Record::Directory(id, directory) => run(
            db,
            "UPDATE mailbox SET dir_device = ?2, dir_inode = ?3 WHERE id = ?1",
            (id.0, directory.device.cast_signed(), directory.inode.cast_signed()),
        ),
        Record::Scanned(id, stamp) => scanned(db, *id, *stamp),
        Record::Letters(id, letters) => {
            run(db, "UPDATE mailbox SET letters = ?2 WHERE id = ?1", (id.0, letters_text(letters)))
        }
        Record::ForgetMailbox(id) => run(db, "DELETE FROM mailbox WHERE id = ?1", [id.0]),
        Record::Insert(mailbox, message) => insert(db, *mailbox, message, tally),
        Record::Flags(id, flags) => set_flags(db, *id, flags),
        Record::Bury(id, tombstone) => bury(db, *id, *tombstone),
        Record::Replaced(id, by) => replaced(db, *id, by),
        Record::Stat(id, stat) => run(
            db,
            "UPDATE message SET inode = ?2, file_size = ?3, mtime_ns = ?4 WHERE id = ?1 AND tombstone IS NULL",
            (id.0, stat.inode.cast_signed(), stat.size.cast_signed(), stat.mtime_ns),
        ),
        Record::EmailId(id, email_id) => {
            run(db, "UPDATE message SET email_id = ?2 WHERE id = ?1", (id.0, email_id.number()))
        }
        Record::Forget(id) => tally.delete(db, *id),
        // All at once, in the end.
        Record::Settled(_) => Ok(()),
        Record::Kept(mailbox, trashed) => keep(db, *mailbox, trashed),
        Record::Dropped(kept_as) => run(db, "DELETE FROM kept WHERE kept_as = ?1", [kept_as]),
        Record::Lost(id, side, count, at) => run(
            db,
            "INSERT INTO loss (mailbox, side, count, at) VALUES (?1, ?2, ?3, ?4)",
            (id.0, side.as_str(), count.cast_signed(), at.0),
        ),
        Record::ForgetLosses(before) => run(db, "DELETE FROM loss WHERE at < ?1", [before.0]),
        Record::Holds(holds) => replace_holds(db, holds),
        Record::Failed(failure) => fail(db, failure),
        Record::ForgetFailures(id) => run(db, "DELETE FROM failure WHERE mailbox = ?1", [id.0]),
        Record::NewToken => run(db, "UPDATE account SET next_token = lower(hex(randomblob(8)))", []),
        Record::Run(number) => run(db, "UPDATE account SET run = ?1, token = next_token", [number.cast_signed()]),
        Record::ForgetAll => forget_all(db, tally),
        Record::Circumstances(now) => {
            run(db, "UPDATE account SET server = ?1, layout = ?2, root = ?3", (&now.server, &now.layout, &now.root))
        }
        Record::OtherServer => {
            run(db, "UPDATE mailbox SET uid_validity = NULL", [])?;
            run(db, "UPDATE account SET last_success = NULL", [])
        }
        Record::United => run(db, "UPDATE account SET united = 1", []),
        Record::Succeeded(at) => run(db, "UPDATE account SET last_success = ?1", [at.0]),
        Record::Capabilities(words) => run(db, "UPDATE account SET capabilities = ?1", [words]),
        Record::Quota(Quota { storage, messages }, due) => {
            let used = |usage: &Option<Usage>| usage.map(|usage| usage.used.cast_signed());
            let limit = |usage: &Option<Usage>| usage.map(|usage| usage.limit.cast_signed());
            run(
                db,
                "UPDATE account SET storage_used = ?1, storage_limit = ?2, messages_used = ?3, messages_limit = ?4, \
                 quota_due = ?5",
                (used(storage), limit(storage), used(messages), limit(messages), due.map(|due| due.0)),
            )
        }
    }
}

pub(super) fn run(db: &Connection, sql: &str, params: impl Params) -> Result<()> {
    db.prepare_cached(sql)?.execute(params).map(drop)
}

fn looked(
    db: &Connection,
    mailbox: MailboxId,
    watermark: Option<Watermark>,
    permanent: &PermanentFlags,
    read_only: bool,
    full_look: Option<Timestamp>,
) -> Result<()> {
    // A look that was not a full one doesn't change when the last full one was.
    let sql = "UPDATE mailbox SET watermark_uid_validity = ?2, watermark_uid_next = ?3, watermark_messages = ?4, \
               watermark_mod_seq = ?5, permanent_flags = ?6, permanent_keywords = ?7, new_keywords = ?8, \
               read_only = ?9, full_look = coalesce(?10, full_look) WHERE id = ?1";
    let params = params![
        mailbox.0,
        watermark.map(|mark| mark.uid_validity.0.cast_signed()),
        watermark.map(|mark| mark.uid_next),
        watermark.map(|mark| mark.messages),
        watermark.and_then(|mark| mark.mod_seq).map(|mod_seq| mod_seq.get().cast_signed()),
        permanent.flags.bits(),
        keywords_text(&permanent.flags.keywords),
        permanent.new_keywords,
        read_only,
        full_look.map(|time| time.0),
    ];
    run(db, sql, params)
}

/// A name belongs to one mailbox and any may have any other's, so all wait under names that no mailbox can have.
/// What is on its way to a mailbox knows it by its name, and goes along.
fn rename(db: &Connection, renamings: &[Renaming]) -> Result<()> {
    for renaming in renamings {
        let sql = "UPDATE intent SET target = '/' || ?1 WHERE target = (SELECT name FROM mailbox WHERE id = ?1)";
        run(db, sql, [renaming.mailbox.0])?;
        run(db, "UPDATE mailbox SET name = '/' || id WHERE id = ?1", [renaming.mailbox.0])?;
    }
    for Renaming { mailbox, name, local } in renamings {
        let sql = "UPDATE mailbox SET name = ?2, local = ?3 WHERE id = ?1";
        run(db, sql, (mailbox.0, name.as_str(), local.as_str()))?;
        run(db, "UPDATE intent SET target = ?2 WHERE target = '/' || ?1", (mailbox.0, name.as_str()))?;
        take_along(db, *mailbox, local)?;
    }
    Ok(())
}

/// What was removed from a maildir goes back to where that is now.
fn take_along(db: &Connection, mailbox: MailboxId, local: &MailboxName) -> Result<()> {
    run(db, "UPDATE kept SET mailbox = ?2 WHERE folder = ?1", (mailbox.0, local.as_str()))
}

fn scanned(db: &Connection, mailbox: MailboxId, stamp: Option<Stamp>) -> Result<()> {
    let sql = "UPDATE mailbox SET cur_device = ?2, cur_inode = ?3, cur_mtime_ns = ?4, cur_ctime_ns = ?5, \
               new_device = ?6, new_inode = ?7, new_mtime_ns = ?8, new_ctime_ns = ?9 WHERE id = ?1";
    let numbers = |dir: DirStamp| (dir.device.cast_signed(), dir.inode.cast_signed(), dir.mtime_ns, dir.ctime_ns);
    let (cur, new) = (stamp.map(|stamp| numbers(stamp.cur)), stamp.map(|stamp| numbers(stamp.new)));
    let params = params![
        mailbox.0,
        cur.map(|dir| dir.0),
        cur.map(|dir| dir.1),
        cur.map(|dir| dir.2),
        cur.map(|dir| dir.3),
        new.map(|dir| dir.0),
        new.map(|dir| dir.1),
        new.map(|dir| dir.2),
        new.map(|dir| dir.3),
    ];
    run(db, sql, params)
}

/// A UID and a unique name each belong to one row of a mailbox, so what bears either makes room. Seldom does anything.
fn insert(db: &Connection, mailbox: MailboxId, message: &NewMessage, tally: &mut Tally) -> Result<()> {
    match add_message(db, mailbox, message) {
        Err(error) if is_taken(&error) => {
            let in_the_way = "DELETE FROM message WHERE mailbox = ?1 AND (uid = ?2 OR unique_name = ?3)";
            let unique = message.unique.as_ref().map(UniqueName::as_str);
            let deleted = db.prepare_cached(in_the_way)?.execute((mailbox.0, message.uid.get(), unique))?;
            tally.fewer(mailbox, deleted);
            add_message(db, mailbox, message)?;
        }
        added => added?,
    }
    tally.more(mailbox, 1);
    Ok(())
}

fn is_taken(error: &Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == SQLITE_CONSTRAINT_UNIQUE)
}

fn add_message(db: &Connection, mailbox: MailboxId, message: &NewMessage) -> Result<()> {
    let sql = "INSERT INTO message (uid, unique_name, flags, keywords, tombstone, date, size, content, message_id, \
               inode, file_size, mtime_ns, email_id, mailbox) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
    let mut statement = db.prepare_cached(sql)?;
    bind_message(&mut statement, message)?;
    statement.raw_bind_parameter(14, mailbox.0)?;
    statement.raw_execute().map(drop)
}

fn set_flags(db: &Connection, id: MessageId, flags: &FlagSet) -> Result<()> {
    let params = (id.0, flags.bits(), keywords_text(&flags.keywords));
    run(db, "UPDATE message SET flags = ?2, keywords = ?3 WHERE id = ?1", params)
}

/// The row stays, so that its UID is known and never fetched; its content stays, so that it is known elsewhere.
fn bury(db: &Connection, id: MessageId, tombstone: Tombstone) -> Result<()> {
    let sql = "UPDATE message SET unique_name = NULL, tombstone = ?2, replaced_by = NULL, inode = NULL, \
               file_size = NULL, mtime_ns = NULL WHERE id = ?1";
    run(db, sql, (id.0, tombstone.as_str()))
}

fn replaced(db: &Connection, id: MessageId, by: &UniqueName) -> Result<()> {
    let sql = "UPDATE message SET unique_name = NULL, tombstone = 'replaced', replaced_by = ?2, inode = NULL, \
               file_size = NULL, mtime_ns = NULL WHERE id = ?1";
    run(db, sql, (id.0, by.as_str()))
}

fn keep(db: &Connection, mailbox: MailboxId, trashed: &Trashed) -> Result<()> {
    let Trashed { mailbox: local, file, kept_as, at, keywords } = trashed;
    let sql = "INSERT INTO kept (kept_as, mailbox, file, at, run, folder, keywords) \
               SELECT ?1, ?2, ?3, ?4, run, (SELECT id FROM mailbox WHERE id = ?5), ?6 FROM account WHERE true \
               ON CONFLICT (kept_as) DO UPDATE \
               SET mailbox = ?2, file = ?3, at = ?4, folder = excluded.folder, keywords = ?6";
    let keywords = keywords.as_ref().map(|keywords| keywords_text(keywords));
    run(db, sql, (kept_as, local.as_str(), file, at.0, mailbox.0, keywords))
}

/// What was held before is held since then.
fn replace_holds(db: &Connection, holds: &[HoldRow]) -> Result<()> {
    let earlier = load::holds(db)?;
    run(db, "DELETE FROM hold", [])?;
    for hold in holds {
        let same =
            |other: &&HoldRow| (&other.mailbox, other.side, &other.reason) == (&hold.mailbox, hold.side, &hold.reason);
        let since = earlier.iter().find(same).map_or(hold.since, |other| other.since);
        run(
            db,
            "INSERT INTO hold (mailbox, side, reason, count, since) VALUES (?1, ?2, ?3, ?4, ?5)",
            (
                hold.mailbox.as_ref().map(MailboxName::as_str),
                hold.side.as_str(),
                &hold.reason,
                hold.count.cast_signed(),
                since.0,
            ),
        )?;
    }
    Ok(())
}

fn fail(db: &Connection, failure: &FailureRow) -> Result<()> {
    let (unique, uid) = (failure.unique.as_ref().map(UniqueName::as_str), failure.uid.map(Uid::get));
    run(
        db,
        "DELETE FROM failure WHERE mailbox = ?1 AND unique_name IS ?2 AND uid IS ?3",
        (failure.mailbox.0, unique, uid),
    )?;
    run(
        db,
        "INSERT INTO failure (mailbox, unique_name, uid, code, message, retry_at, flags) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            failure.mailbox.0,
            unique,
            uid,
            failure.code.as_str(),
            &failure.message,
            failure.retry_at.map(|time| time.0),
            failure.flags.to_string(),
        ],
    )
}

/// A mailbox keeps its UIDVALIDITY as long as a tombstone's UID depends on it.
fn forget_all(db: &Connection, tally: &mut Tally) -> Result<()> {
    run(db, "DELETE FROM message WHERE tombstone IS NULL", [])?;
    tally.recount(db)?;
    run(db, "DELETE FROM failure", [])?;
    run(db, "UPDATE account SET united = 0", [])?;
    run(
        db,
        "UPDATE mailbox SET uid_validity = iif(message_rows > 0, uid_validity, NULL), \
         watermark_uid_validity = NULL, watermark_uid_next = NULL, watermark_messages = NULL, \
         watermark_mod_seq = NULL, cur_device = NULL, cur_inode = NULL, cur_mtime_ns = NULL, cur_ctime_ns = NULL, \
         new_device = NULL, new_inode = NULL, new_mtime_ns = NULL, new_ctime_ns = NULL, dir_device = NULL, \
         dir_inode = NULL, full_look = NULL",
        [],
    )
}

//! The file: what it is refused for, what stays untouched, who may read it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, StatementStatus};
use tempfile::TempDir;

use super::model::without_place;
use super::samples::{blank, name};
use crate::model::*;
use crate::state::migrate::MIGRATIONS;
use crate::state::{Database, DatabaseError, open};
use crate::store::{Intent, IntentId, Journal, NewMessage, Record, StateError};

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("me@example.org.sqlite3");
    (dir, path)
}

fn contents(dir: &TempDir) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn cause(error: &StateError) -> &DatabaseError {
    error.cause.downcast_ref().unwrap()
}

/// Writes so many messages, more than a page holds.
fn fill(database: &mut Database, count: u32) -> MailboxId {
    let id = database.add_mailbox(&name(0), &name(0)).unwrap();
    let messages = (1..=count).map(|number| NewMessage {
        uid: Uid::new(number).unwrap(),
        unique: UniqueName::new(&format!("1700000000.M{number}P1.host")),
        flags: FlagSet::of(&[Flag::Seen]),
        tombstone: None,
        date: Some(Timestamp(1)),
        size: Some(9),
        content: Some(Fingerprint([7; 16])),
        message_id: None,
        stat: None,
        email_id: None,
    });
    database.commit(&messages.map(|message| Record::Insert(id, message)).collect::<Vec<_>>()).unwrap();
    id
}

#[test]
fn only_the_owner_can_read_what_is_created() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b/account.sqlite3");
    // The most open mask; other tests in this process don't mind it.
    rustix::process::umask(rustix::fs::Mode::empty());
    let mut database = Database::open(&path).unwrap();
    fill(&mut database, 1);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let files: Vec<PathBuf> =
        fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() > 1, "the log is there too: {files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600), "{files:?}");
    assert_eq!((mode(&dir.path().join("a/b")), mode(&dir.path().join("a"))), (0o700, 0o700));
    drop(database);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    drop(Database::open(&path).unwrap());
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn the_settings_that_durability_depends_on() {
    let (dir, path) = place();
    let database = Database::open(&path).unwrap();
    let pragma = |name: &str| -> String {
        let value: rusqlite::types::Value =
            database.connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)).unwrap();
        format!("{value:?}")
    };
    assert_eq!(pragma("journal_mode"), "Text(\"wal\")");
    assert_eq!(pragma("synchronous"), "Integer(2)");
    assert_eq!(pragma("foreign_keys"), "Integer(1)");
    assert_eq!(pragma("fullfsync"), "Integer(1)");
    drop(database);
    assert_eq!(contents(&dir).len(), 1, "nothing is left beside a closed database");
}

/// A query for each folder took longer to compile than to answer.
#[test]
fn a_statement_is_compiled_once_whatever_is_asked_with_it() {
    let (_dir, path) = place();
    let connection = open::file(&path, MIGRATIONS).unwrap();
    let mut statement = connection.prepare("SELECT * FROM message WHERE mailbox = ?1 ORDER BY uid").unwrap();
    for mailbox in 1..=3 {
        assert!(!statement.exists([mailbox]).unwrap());
    }
    assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
}

#[test]
fn a_newer_schema_is_refused_untouched() {
    let (dir, path) = place();
    drop(Database::open(&path).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = contents(&dir);
    for error in [Database::open(&path).unwrap_err(), Database::for_dry_run(&path).unwrap_err()] {
        assert!(matches!(cause(&error), DatabaseError::Newer { found: 99, .. }), "{error:?}");
        assert!(!error.corrupt);
        assert!(error.to_string().contains("newer mailtide") && error.to_string().contains("me@example"), "{error}");
    }
    assert!(contents(&dir) == before);
}

#[test]
fn a_log_left_by_a_newer_one_is_refused_untouched() {
    let (dir, path) = place();
    drop(Database::open(&path).unwrap());
    let newer = Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    let crashed = contents(&dir);
    drop(newer);
    let kept: BTreeMap<_, _> = crashed.into_iter().filter(|(file, _)| !file.ends_with(SHARED)).collect();
    assert_eq!(kept.len(), 2);
    kept.iter().for_each(|(file, bytes)| fs::write(file, bytes).unwrap());
    for error in [Database::open(&path).unwrap_err(), Database::for_dry_run(&path).unwrap_err()] {
        assert!(matches!(cause(&error), DatabaseError::Newer { found: 99, .. }), "{error:?}");
    }
    assert!(contents(&dir) == kept);
}

/// What other programs than ours share the log's index in.
const SHARED: &str = "me@example.org.sqlite3-shm";

#[test]
fn another_programs_database_is_refused_untouched() {
    for sql in ["CREATE TABLE account (x)", "PRAGMA application_id = 5", "PRAGMA user_version = 1"] {
        let (dir, path) = place();
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let before = contents(&dir);
        for error in [Database::open(&path).unwrap_err(), Database::for_dry_run(&path).unwrap_err()] {
            assert!(error.corrupt && matches!(cause(&error), DatabaseError::Foreign { .. }), "{error:?}");
        }
        assert!(contents(&dir) == before, "{sql}");
    }
}

/// Opens and reads everything.
fn read(opened: Result<Database, StateError>) -> Result<usize, StateError> {
    let mut database = opened?;
    database.header()?;
    let rows = database.mailboxes()?;
    rows.iter().try_fold(0, |count, row| Ok(count + database.messages(row.id)?.len()))
}

#[test]
fn damage_is_told_and_left_as_it_is() {
    let (dir, path) = place();
    fill(&mut Database::open(&path).unwrap(), 500);
    let whole = fs::read(&path).unwrap();
    let cut = |length: usize| whole[..length].to_vec();
    let zeroed = |from: usize, to: usize| [&whole[..from], &vec![0; to - from], &whole[to..]].concat();
    let cases = [
        b"not a database".to_vec(),
        vec![0; 5000],
        "garbage ".repeat(9000).into_bytes(),
        cut(99),
        cut(4095),
        cut(whole.len() / 2),
        cut(whole.len() / 2 + 1000),
        cut(whole.len() - 4096),
        cut(whole.len() - 1),
        zeroed(0, 100),
        zeroed(4096, whole.len()),
    ];
    for (number, bytes) in cases.into_iter().enumerate() {
        fs::write(&path, &bytes).unwrap();
        for error in [read(Database::for_dry_run(&path)), read(Database::open(&path))].map(Result::unwrap_err) {
            assert!(error.corrupt, "case {number}: {error}");
            let words = error.to_string();
            assert!(words.contains("me@example.org.sqlite3 is damaged"), "{words}");
        }
        assert!(contents(&dir) == [(path.clone(), bytes)].into(), "case {number} was written to");
    }
}

#[test]
fn values_that_mean_nothing_are_damage() {
    let (_dir, path) = place();
    fill(&mut Database::open(&path).unwrap(), 3);
    let changes = [
        "UPDATE message SET unique_name = 'a/b' WHERE uid = 2",
        "UPDATE message SET keywords = 'a  b' WHERE uid = 3",
        "UPDATE message SET inode = 5 WHERE uid = 1",
        "UPDATE message SET email_id = 0 WHERE uid = 1",
        "UPDATE mailbox SET letters = 'x'",
        "UPDATE mailbox SET name = ''",
        "UPDATE mailbox SET role = 'boss'",
        "UPDATE mailbox SET watermark_messages = 5",
        "UPDATE mailbox SET cur_inode = 5",
        "UPDATE mailbox SET dir_inode = 5",
        "UPDATE mailbox SET watermark_messages = 5, watermark_uid_next = -1, watermark_uid_validity = 3",
        "DELETE FROM account",
        "DROP TABLE message",
    ];
    let whole = fs::read(&path).unwrap();
    for sql in changes {
        fs::write(&path, &whole).unwrap();
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let error = read(Database::open(&path)).expect_err(sql);
        assert!(error.corrupt, "{sql}: {error}");
    }
}

#[test]
fn arriving_messages_that_mean_nothing_are_damage_told_in_few_words() {
    let mut database = Database::in_memory().unwrap();
    let mailbox = fill(&mut database, 1);
    let whole = r#"7,"a",5,"x y","kept",1,2,"00112233445566778899aabbccddeeff",3,4,5,6,7"#;
    let told = |database: &mut Database, message: &str| {
        let text = format!("[{}[{message}]]", format!("[{whole}],").repeat(300));
        let sql = "UPDATE intent SET messages = ?1";
        database.connection.execute(sql, [text]).unwrap();
        database.intents()
    };
    let row = without_place(database.messages(mailbox).unwrap()[0].clone());
    database.begin(&[Intent::Download { mailbox, uid_validity: UidValidity(1), row }]).unwrap();
    assert_eq!(told(&mut database, whole).unwrap().len(), 301);
    let changes = [
        ("7,\"a\"", "0,\"a\""),
        ("\"a\"", "\"a/b\""),
        ("5,\"x y\"", "99,\"x y\""),
        ("x y", "x  y"),
        ("kept", "lost"),
        ("00112", "+0112"),
        ("eeff", "eef"),
        ("4,5,6", "4,null,6"),
        (",6,7", ",6,0"),
        (",7", ""),
        ("7,\"a\"", "7,"),
    ];
    for (good, bad) in changes {
        let error = told(&mut database, &whole.replacen(good, bad, 1)).expect_err(bad);
        assert!(error.corrupt, "{bad}: {error}");
        assert!(format!("{error:?} {error}").len() < 2_000, "{bad}: {error}");
    }
}

#[test]
fn an_older_schema_is_migrated_and_kept_beside() {
    let (dir, path) = place();
    fill(&mut Database::open(&path).unwrap(), 3);
    let before = fs::read(&path).unwrap();
    let extra = "ALTER TABLE account ADD COLUMN extra TEXT; UPDATE account SET extra = 'yes'";
    let later = [MIGRATIONS, &[extra]].concat();
    let broken = [MIGRATIONS, &[extra, "UPDATE account SET run = 8; SELECT nonsense"]].concat();
    let error = open::file(&path, &broken).unwrap_err();
    assert!(error.to_string().contains("nonsense"), "{error}");
    assert_eq!(Database::open(&path).unwrap().header().unwrap().run, 0, "all migrations or none");

    let copy = open::copy_in_memory(&path, &later).unwrap();
    assert_eq!(copy.query_row("SELECT extra FROM account", [], |row| row.get::<_, String>(0)).unwrap(), "yes");
    let version = u32::try_from(later.len()).unwrap();
    let kept = dir.path().join(format!("me@example.org.sqlite3.before-{version}"));
    assert!(!kept.exists());

    let migrated = open::file(&path, &later).unwrap();
    assert_eq!(migrated.query_row("SELECT extra FROM account", [], |row| row.get::<_, String>(0)).unwrap(), "yes");
    drop(migrated);
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(read(Database::open(&kept)).unwrap(), 3);
    assert_eq!(fs::read(&kept).unwrap().len(), before.len());
    let error = Database::open(&path).unwrap_err();
    assert!(matches!(cause(&error), DatabaseError::Newer { found, .. } if *found == version), "{error:?}");
}

#[test]
fn nothing_is_lost_on_the_way_from_the_first_schema() {
    let (_dir, path) = place();
    let first = open::file(&path, &MIGRATIONS[..1]).unwrap();
    first
        .execute_batch(
            "UPDATE account SET last_success = 5, run = 7;
             INSERT INTO mailbox (id, name, local, permanent_flags, permanent_keywords, new_keywords, read_only, \
                                  letters, message_rows) VALUES (3, 'INBOX', 'INBOX', 31, '', 1, 0, '', 0);
             INSERT INTO message (id, mailbox, uid, unique_name, flags, keywords) VALUES (9, 3, 1, 'a', 1, 'work');
             INSERT INTO message (id, mailbox, uid, flags, keywords, tombstone) VALUES (8, 3, 2, 0, '', 'kept');
             INSERT INTO message (id, mailbox, uid, unique_name, flags, keywords) VALUES (12, 3, 3, 'b', 0, '');
             DELETE FROM message WHERE id = 12;
             INSERT INTO kept VALUES ('k', 'INBOX', 'c:2,S', 4);",
        )
        .unwrap();
    drop(first);
    let mut database = Database::open(&path).unwrap();
    let header = database.header().unwrap();
    assert_eq!((header.run, header.last_success, header.united), (7, Some(Timestamp(5)), true));
    let rows = database.messages(MailboxId(3)).unwrap();
    let told: Vec<_> = rows.iter().map(|row| (row.id.0, row.uid.get(), row.tombstone)).collect();
    assert_eq!(told, [(9, 1, None), (8, 2, Some(Tombstone::Kept))]);
    assert_eq!(database.mailboxes().unwrap()[0].with_uid, 2);
    assert_eq!(database.kept(Timestamp(9)).unwrap()[0].kept.file, "c:2,S");
    let new = NewMessage { unique: UniqueName::new("d"), ..without_place(rows[0].clone()) };
    database.commit(&[Record::Insert(MailboxId(3), NewMessage { uid: Uid::new(4).unwrap(), ..new })]).unwrap();
    assert_eq!(database.messages(MailboxId(3)).unwrap()[2].id, MessageId(13), "an id is never used again");
    assert_eq!(database.mailboxes().unwrap()[0].with_uid, 3);
}

#[test]
fn nothing_is_lost_on_the_way_from_the_second_schema() {
    let (_dir, path) = place();
    let second = open::file(&path, &MIGRATIONS[..2]).unwrap();
    second
        .execute_batch(
            "INSERT INTO mailbox (id, name, local, permanent_flags, permanent_keywords, new_keywords, read_only, \
                                  letters, message_rows) VALUES (3, 'INBOX', 'INBOX', 31, '', 1, 0, '', 0);
             INSERT INTO message (id, mailbox, uid, unique_name, flags, keywords, size) \
                                  VALUES (9, 3, 1, 'a', 1, 'work', 5);
             INSERT INTO intent (id, kind, mailbox, uid_validity, uid, unique_name, flags, keywords) \
                                 VALUES (4, 'download', 3, 7, 2, 'b', 0, '');
             INSERT INTO intent (id, kind, mailbox, uid_validity, unique_name, flags, keywords, size, content, inode, \
                                 file_size, mtime_ns, difference, uid_next) \
                                 VALUES (6, 'append', 3, 7, 'c', 0, '', 9, zeroblob(16), 1, 2, 3, '+\\Seen -x', 8);
             INSERT INTO intent (id, kind, mailbox, uid_validity, uids, target, target_uid_validity, uid_next) \
                                 VALUES (5, 'copy', 3, 7, '1:2', 'Trash', 8, 9);
             INSERT INTO intent (id, kind, mailbox, uid_validity) VALUES (11, 'download', 3, 7);
             DELETE FROM intent WHERE id = 11;",
        )
        .unwrap();
    drop(second);
    let mut database = Database::open(&path).unwrap();
    assert_eq!(database.mailboxes().unwrap()[0].directory, None);
    assert_eq!(database.messages_of_size(5).unwrap(), database.messages(MailboxId(3)).unwrap());
    assert_eq!(database.mailboxes().unwrap()[0].with_uid, 1);
    let intents = database.intents().unwrap();
    assert_eq!(intents.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [4, 5, 6]);
    assert!(matches!(&intents[0].1, Intent::Download { uid_validity: UidValidity(7), row, .. } if row.uid.get() == 2));
    assert!(matches!(&intents[1].1, Intent::Copy { before: (UidValidity(8), 9), .. }));
    let is_append =
        |intent: &Intent| matches!(intent, Intent::Append { difference, .. } if difference.to_string() == "+\\Seen -x");
    assert!(is_append(&intents[2].1), "{intents:?}");
    let begun = database.begin(&[Intent::Rename { mailbox: MailboxId(3), from: name(0), to: name(1) }]).unwrap();
    assert_eq!(begun[0].0, 12, "an id is never used again");
    database.commit(&[Record::ForgetMailbox(MailboxId(3))]).unwrap();
    assert_eq!(database.intents().unwrap(), [], "an intent goes with its mailbox, as before");
}

#[test]
fn rows_of_the_third_schema_have_no_email_ids_and_may_get_them() {
    let (_dir, path) = place();
    let third = open::file(&path, &MIGRATIONS[..3]).unwrap();
    third
        .execute_batch(
            "INSERT INTO mailbox (id, name, local, permanent_flags, permanent_keywords, new_keywords, read_only, \
                                  letters, message_rows) VALUES (3, 'INBOX', 'INBOX', 31, '', 1, 0, '', 0);
             INSERT INTO message (id, mailbox, uid, unique_name, flags, keywords) VALUES (9, 3, 1, 'a', 1, 'work');
             INSERT INTO message (id, mailbox, uid, flags, keywords, tombstone, replaced_by) \
                                  VALUES (10, 3, 2, 0, '', 'replaced', 'b');
             INSERT INTO intent (id, kind, mailbox, uid_validity, uid, unique_name, flags, keywords) \
                                 VALUES (4, 'download', 3, 7, 2, 'b', 0, '');
             INSERT INTO intent (id, kind, mailbox, before, after) VALUES (5, 'rename', 3, 'A', 'B');
             INSERT INTO intent (id, kind, mailbox, unique_name, before, after) VALUES (6, 'relabel', 3, 'a', '', '2,a');",
        )
        .unwrap();
    drop(third);
    let mut database = Database::open(&path).unwrap();
    let ids = |database: &mut Database| -> Vec<_> {
        database.messages(MailboxId(3)).unwrap().iter().map(|row| (row.id.0, row.email_id)).collect()
    };
    assert_eq!(ids(&mut database), [(9, None), (10, None)]);
    assert_eq!(database.messages(MailboxId(3)).unwrap()[1].replaced_by, UniqueName::new("b"));
    let told: Vec<_> = database.intents().unwrap().into_iter().map(|(id, intent)| (id.0, intent)).collect();
    assert!(matches!(&told[0], (4, Intent::Download { row, .. }) if row.email_id.is_none()));
    assert!(matches!(&told[1], (5, Intent::Rename { to, .. }) if to.as_str() == "B"));
    assert!(matches!(&told[2], (6, Intent::Relabel { after, .. }) if after == "2,a"));
    let email_id = EmailId::of(b"M1");
    database.commit(&[Record::EmailId(MessageId(9), email_id), Record::EmailId(MessageId(11), email_id)]).unwrap();
    assert_eq!(ids(&mut database), [(9, Some(email_id)), (10, None)]);
}

#[test]
fn intents_of_the_seventh_schema_stay_what_they_were() {
    let (_dir, path) = place();
    let seventh = open::file(&path, &MIGRATIONS[..7]).unwrap();
    seventh
        .execute_batch(
            "INSERT INTO mailbox (id, name, local, permanent_flags, permanent_keywords, new_keywords, read_only, \
                                  letters, message_rows) VALUES (3, 'INBOX', 'INBOX', 31, '', 1, 0, '', 0);
             INSERT INTO intent (id, kind, mailbox, uid_validity, unique_name, flags, keywords, size, content, inode, \
                                 file_size, mtime_ns, difference, uid_next, leaves) \
                                 VALUES (4, 'append', 3, 7, 'c', 0, '', 9, zeroblob(16), 1, 2, 3, '', 8, 11);
             INSERT INTO intent (id, kind, mailbox, uid_validity, uids, difference, side) \
                                 VALUES (6, 'flags', 3, 7, '1:2', '+\\Seen', 'remote');
             DELETE FROM intent WHERE id = 6;
             INSERT INTO intent (id, kind, mailbox, uid_validity, uids, difference, side) \
                                 VALUES (5, 'flags', 3, 7, '1:2', '+\\Seen', 'remote');",
        )
        .unwrap();
    drop(seventh);
    let mut database = Database::open(&path).unwrap();
    let told: Vec<_> = database.intents().unwrap().into_iter().map(|(id, intent)| (id.0, intent)).collect();
    assert!(matches!(&told[0], (4, Intent::Append { leaves: Some(MessageId(11)), .. })), "{told:?}");
    assert!(matches!(&told[1], (5, Intent::Flags { side: Side::Remote, .. })), "{told:?}");
    let removal = Intent::Remove { mailbox: MailboxId(3), unique: UniqueName::new("a").unwrap() };
    let begun = database.begin(std::slice::from_ref(&removal)).unwrap();
    assert_eq!(begun[0].0, 7, "an id is never used again");
    assert_eq!(database.intents().unwrap().pop(), Some((begun[0], removal)));
}

#[test]
fn messages_that_were_arriving_at_the_tenth_schema_are_the_same() {
    let (_dir, path) = place();
    let tenth = open::file(&path, &MIGRATIONS[..10]).unwrap();
    tenth
        .execute_batch(
            "INSERT INTO mailbox (id, name, local, permanent_flags, permanent_keywords, new_keywords, read_only, \
                                  letters, message_rows) VALUES (3, 'INBOX', 'INBOX', 31, '', 1, 0, '', 0);
             INSERT INTO message (id, mailbox, uid, unique_name, flags, keywords) VALUES (9, 3, 1, 'a', 1, 'work');
             INSERT INTO intent (id, kind, mailbox, uid_validity, uid, unique_name, flags, keywords, date, size, content, \
                                 message_id, inode, file_size, mtime_ns, email_id) \
                                 VALUES (4, 'download', 3, -1, 4294967295, 'b \"ö\"', 5, '$a b', -9, -2, \
                                         x'00000000000000000000000000000AFF', -3, -4, 5, 6, -7);
             INSERT INTO intent (id, kind, mailbox, uid_validity, uid, flags, keywords, tombstone) \
                                 VALUES (6, 'download', 3, -1, 2, 0, '', 'kept');",
        )
        .unwrap();
    drop(tenth);
    let mut database = Database::open(&path).unwrap();
    let mut content = [0; 16];
    content[14..].copy_from_slice(&[0x0a, 0xff]);
    let keywords = ["$a", "b"].map(|word| Keyword::new(word).unwrap());
    let full = NewMessage {
        uid: Uid::new(u32::MAX).unwrap(),
        unique: UniqueName::new("b \"ö\""),
        flags: FlagSet::from_parts(5, keywords),
        tombstone: None,
        date: Some(Timestamp(-9)),
        size: Some(u64::MAX - 1),
        content: Some(Fingerprint(content)),
        message_id: Some(MessageHash(-3)),
        stat: Some(FileStat { inode: u64::MAX - 3, size: 5, mtime_ns: 6 }),
        email_id: EmailId::from_number(-7),
    };
    let empty = NewMessage { tombstone: Some(Tombstone::Kept), ..blank(2) };
    let intent = |row| Intent::Download { mailbox: MailboxId(3), uid_validity: UidValidity(u64::MAX), row };
    let told = database.intents().unwrap();
    assert_eq!(told, [(IntentId(4), intent(full)), (IntentId(6), intent(empty))]);
    database.commit(&[Record::Settled(IntentId(4)), Record::Forget(MessageId(9))]).unwrap();
    assert_eq!(database.intents().unwrap(), told[1..]);
    assert_eq!(database.mailboxes().unwrap()[0].with_uid, 0);
}

#[test]
fn a_dry_run_changes_nothing_on_disk() {
    let (dir, path) = place();
    let mut fresh = Database::for_dry_run(&path).unwrap();
    assert_eq!(fresh.header().unwrap().run, 0);
    assert!(contents(&dir).is_empty());

    let id = fill(&mut Database::open(&path).unwrap(), 300);
    let before = contents(&dir);
    assert_eq!(before.len(), 1);
    let mut copy = Database::for_dry_run(&path).unwrap();
    assert_eq!(copy.messages(id).unwrap().len(), 300);
    copy.commit(&[Record::ForgetMailbox(id), Record::Run(9)]).unwrap();
    assert_eq!((copy.header().unwrap().run, copy.mailboxes().unwrap().len()), (9, 0));
    drop(copy);
    assert!(contents(&dir) == before);
}

#[test]
fn what_a_crash_left_in_the_log_is_read_and_recovered() {
    let (dir, path) = place();
    let mut database = Database::open(&path).unwrap();
    fill(&mut database, 300);
    // What a kill leaves behind: both files as they are while the database is open.
    let crashed = contents(&dir);
    assert_eq!(crashed.len(), 2);
    drop(database);
    let restore = || crashed.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    restore();
    assert_eq!(read(Database::for_dry_run(&path)).unwrap(), 300);
    assert!(contents(&dir) == crashed);
    assert_eq!(read(Database::open(&path)).unwrap(), 300);

    // A log whose database was moved away has no place in the next one.
    restore();
    fs::remove_file(&path).unwrap();
    assert_eq!(read(Database::for_dry_run(&path)).unwrap(), 0);
    assert_eq!(read(Database::open(&path)).unwrap(), 0);
    fill(&mut Database::open(&path).unwrap(), 1);
    assert_eq!(read(Database::open(&path)).unwrap(), 1);

    // A torn end of the log is a commit that never was; what was committed before it stands.
    restore();
    let log = dir.path().join("me@example.org.sqlite3-wal");
    fs::write(&log, &crashed[&log][..crashed[&log].len() - 1]).unwrap();
    assert_eq!(read(Database::for_dry_run(&path)).unwrap(), 0);
    assert_eq!(read(Database::open(&path)).unwrap(), 0);
}

#[test]
fn odd_names_of_the_file_are_no_trouble() {
    let dir = tempfile::tempdir().unwrap();
    for odd in ["file:x?mode=memory#.sqlite3", "100% é.sqlite3", ":memory:"] {
        let path = dir.path().join(odd);
        fill(&mut Database::open(&path).unwrap(), 2);
        assert_eq!(read(Database::for_dry_run(&path)).unwrap(), 2, "{odd}");
        assert!(path.is_file());
    }
}

#[test]
fn a_place_that_cannot_hold_it_is_trouble_and_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let error = Database::open(dir.path()).unwrap_err();
    assert!(!error.corrupt, "{error}");
    assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");
}

#[test]
fn what_was_kept_at_the_eleventh_schema_goes_with_its_folder_and_has_the_keywords_of_its_name() {
    let (_dir, path) = place();
    let eleventh = open::file(&path, &MIGRATIONS[..11]).unwrap();
    eleventh
        .execute_batch(
            "INSERT INTO mailbox (id, name, local, permanent_flags, permanent_keywords, new_keywords, read_only, \
                                  letters, message_rows) VALUES (3, 'A', 'B', 31, '', 1, 0, '', 0);
             INSERT INTO kept (kept_as, mailbox, file, at, run) VALUES ('a', 'B', '1.x:2,S', 5, 1), ('b', 'A', '2.x', 6, 1);",
        )
        .unwrap();
    drop(eleventh);
    let mut database = Database::open(&path).unwrap();
    let place = MailboxName::parse("C").unwrap();
    database.commit(&[Record::LocalName(MailboxId(3), place)]).unwrap();
    let kept = database.kept(Timestamp(9)).unwrap();
    let told: Vec<_> = kept.iter().map(|row| (row.kept.mailbox.as_str(), row.kept.keywords.is_none())).collect();
    assert_eq!(told, [("C", true), ("A", true)]);
}

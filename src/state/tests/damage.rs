//! What becomes of a damaged database.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use rusqlite::Connection;

use super::samples::name;
use crate::model::*;
use crate::state::{Database, is_damage};
use crate::store::{Journal, KeptRow, Record, Trashed};

const NOW: Timestamp = Timestamp(1_795_309_323);

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

fn trashed(kept_as: &str) -> Trashed {
    let keywords = Some(FlagSet::from_parts(0, Keyword::new("work")).keywords);
    Trashed { mailbox: name(1), file: "1.x:2,S".to_owned(), kept_as: kept_as.to_owned(), at: Timestamp(5), keywords }
}

/// A closed database of run 7 that knows three kept messages.
fn with_kept(dir: &Path) -> PathBuf {
    let path = dir.join("me.sqlite3");
    let mut database = Database::open(&path).unwrap();
    let kept = ["a", "b", "c"].map(|kept_as| Record::Kept(MailboxId(1), trashed(kept_as)));
    database.commit(&[Record::Run(7)]).unwrap();
    database.commit(&kept).unwrap();
    database.commit(&[Record::Dropped("a".to_owned())]).unwrap();
    path
}

#[test]
fn it_is_set_aside_with_its_log_and_never_over_another_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("me.sqlite3");
    for (number, aside) in [".damaged-20261122T010203Z", ".damaged-20261122T010203Z-2"].into_iter().enumerate() {
        let bytes = format!("damaged {number}").into_bytes();
        fs::write(&path, &bytes).unwrap();
        fs::write(dir.path().join("me.sqlite3-wal"), &bytes).unwrap();
        let (mut database, told) = Database::rebuild(&path, NOW).unwrap();
        assert_eq!(told, dir.path().join(format!("me.sqlite3{aside}")));
        assert_eq!(database.header().unwrap().run, 1, "not the first of its Maildir");
        drop(database);
        let found = files(dir.path());
        assert_eq!(found[&format!("me.sqlite3{aside}")], bytes);
        assert_eq!(found[&format!("me.sqlite3{aside}-wal")], bytes);
        assert_eq!(found.len(), 3 + 2 * number, "{:?}", found.keys());
    }
}

#[test]
fn a_name_is_taken_by_a_log_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("me.sqlite3");
    fs::write(&path, "damaged").unwrap();
    fs::write(dir.path().join("me.sqlite3.damaged-20261122T010203Z-wal"), "somebody's").unwrap();
    let (_, told) = Database::rebuild(&path, NOW).unwrap();
    assert_eq!(told, dir.path().join("me.sqlite3.damaged-20261122T010203Z-2"));
}

#[test]
fn the_trash_index_is_taken_over_as_far_as_it_makes_sense() {
    for (damage, expected) in [
        ("", &["b", "c"][..]),
        ("DELETE FROM account", &["b", "c"]),
        ("UPDATE kept SET kept_as = '../b' WHERE kept_as = 'b'", &["c"]),
        ("UPDATE kept SET mailbox = '' WHERE kept_as = 'c'", &["b"]),
        ("UPDATE kept SET run = -1 WHERE kept_as = 'c'", &["b"]),
        ("DROP TABLE kept", &[]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = with_kept(dir.path());
        Connection::open(&path).unwrap().execute_batch(damage).unwrap();
        let (mut database, _) = Database::rebuild(&path, NOW).unwrap();
        let row = |kept_as: &&str| KeptRow { id: if *kept_as == "b" { 2 } else { 3 }, run: 7, kept: trashed(kept_as) };
        let rows: Vec<KeptRow> = expected.iter().map(row).collect();
        assert_eq!(database.kept(Timestamp(9)).unwrap(), rows, "{damage}");
        assert_eq!(database.header().unwrap().run, if rows.is_empty() { 1 } else { 7 }, "{damage}");
        database.commit(&[Record::Kept(MailboxId(1), trashed("d"))]).unwrap();
        let last = database.kept(Timestamp(9)).unwrap().pop().unwrap();
        assert!(rows.iter().all(|row| row.id < last.id), "{damage}: a number is never used again");
    }
}

#[test]
fn the_index_is_read_from_a_log_that_a_crash_left() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("me.sqlite3");
    let mut open = Database::open(&path).unwrap();
    open.commit(&[Record::Kept(MailboxId(1), trashed("a"))]).unwrap();
    let crashed = files(dir.path());
    drop(open);
    crashed.iter().for_each(|(name, bytes)| fs::write(dir.path().join(name), bytes).unwrap());
    let (mut database, _) = Database::rebuild(&path, NOW).unwrap();
    assert_eq!(database.kept(Timestamp(9)).unwrap().len(), 1);
}

#[test]
fn only_damage_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = with_kept(dir.path());
    let whole = fs::read(&path).unwrap();
    for (sql, expected) in [
        ("PRAGMA user_version = 99", false),
        ("PRAGMA application_id = 5", false),
        ("DROP TABLE account", true),
        ("UPDATE account SET database = NULL WHERE false; DELETE FROM account", true),
    ] {
        fs::write(&path, &whole).unwrap();
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let error = Database::open(&path).and_then(|mut database| database.header()).unwrap_err();
        assert_eq!(is_damage(&error), expected, "{sql}: {error}");
    }
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(is_damage(&Database::open(&path).unwrap_err()));
    assert!(!is_damage(&Database::open(dir.path()).unwrap_err()), "a directory");
    assert!(Database::rebuild(&dir.path().join("none.sqlite3"), NOW).is_err());
    assert_eq!(files(dir.path()).len(), 1, "nothing was set aside");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Bytes of a whole database are exchanged, cut off or added.
    #[test]
    fn any_file_is_a_database_or_told_apart_and_is_never_touched(
        changes in vec((any::<prop::sample::Index>(), vec(any::<u8>(), 1..40)), 0..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
        tail in vec(any::<u8>(), 0..40),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = with_kept(dir.path());
        let mut bytes = fs::read(&path).unwrap();
        for (at, new) in changes {
            let at = at.index(bytes.len());
            let end = bytes.len().min(at + new.len());
            bytes[at..end].copy_from_slice(&new[..end - at]);
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        bytes.extend(tail);
        fs::write(&path, &bytes).unwrap();
        let whole = Database::open(&path).and_then(|mut database| {
            database.header()?;
            for row in database.mailboxes()? {
                database.messages(row.id)?;
            }
            Ok(())
        });
        if let Err(error) = whole {
            prop_assert!(!error.to_string().is_empty());
            prop_assert_eq!(fs::read(&path).unwrap(), bytes, "what is not understood is left as it is");
        }
    }
}

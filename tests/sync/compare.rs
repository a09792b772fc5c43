//! `check --compare` and `--repair`: what is equal, what differs, and a database that is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rusqlite::Connection;

use crate::support::corpus;
use crate::support::dovecot::Kind;
use crate::support::setup::{Run, Setup};

fn compare(setup: &Setup) -> Run {
    setup.run(&["check", "--json", "--compare"])
}

/// What a run told, by code, with the UID and what becomes of it.
fn told(run: &Run) -> BTreeSet<(String, Option<u64>, String)> {
    let word = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let all = run.account()["differences"].as_array().unwrap().clone();
    all.iter().map(|found| (word(&found["code"]), found["uid"].as_u64(), word(&found["next"]))).collect()
}

fn expected(all: &[(&str, Option<u64>, &str)]) -> BTreeSet<(String, Option<u64>, String)> {
    all.iter().map(|(code, uid, next)| (code.to_string(), *uid, next.to_string())).collect()
}

/// Every file below a directory with its content and time.
fn everything(path: &Path, found: &mut BTreeMap<PathBuf, (Vec<u8>, SystemTime)>) {
    for entry in fs::read_dir(path).unwrap().map(Result::unwrap) {
        let time = entry.metadata().unwrap().modified().unwrap();
        let content = if entry.file_type().unwrap().is_file() { fs::read(entry.path()).unwrap() } else { Vec::new() };
        found.insert(entry.path(), (content, time));
        if entry.file_type().unwrap().is_dir() {
            everything(&entry.path(), found);
        }
    }
}

fn on_disk(setup: &Setup) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    for part in ["Mail", "state"] {
        everything(&setup.path().join(part), &mut found);
    }
    found
}

/// Gives the rows of two messages each other's UID.
fn swap_uids(setup: &Setup, one: u32, other: u32) {
    let database = Connection::open(setup.database()).unwrap();
    for (from, to) in [(one, 4_000_000), (other, one), (4_000_000, other)] {
        let changed = database.execute("UPDATE message SET uid = ?2 WHERE uid = ?1", [from, to]).unwrap();
        assert_eq!(changed, 1);
    }
}

#[test]
fn what_is_in_step_is_equal_and_nothing_is_changed() {
    for kind in [Kind::Full, Kind::Bare, Kind::NoUidplus] {
        let setup = Setup::with_mail(kind, &corpus::ordinary(10));
        setup.append(&["INBOX"], &corpus::odd(17));
        let sent = setup.root.folder(&["Sent"]);
        sent.create();
        // A NUL can't be sent to every server.
        for mail in corpus::odd(17).into_iter().filter(|mail| !mail.body.contains(&0)) {
            sent.deliver(&mail.body, Some("S"), Some(mail.date));
        }
        setup.sync().expect(0);
        setup.sync().expect(0).expect_nothing_done();
        let before = on_disk(&setup);
        let run = compare(&setup).expect(0);
        let compared = &run.account()["compared"];
        assert_eq!((told(&run), &compared["equal"]), (expected(&[]), &43.into()), "{kind:?}: {}", run.stdout);
        assert!(before == on_disk(&setup), "{kind:?}: something on disk was changed");
        let run = setup.run(&["check", "--compare"]).expect(0);
        assert!(run.stdout.contains("\n  INBOX: 27 messages equal\n"), "{}", run.stdout);
        setup.run(&["check", "--json", "--repair"]).expect(0);
        setup.sync().expect(0).expect_nothing_done();
    }
}

#[test]
fn each_difference_is_told_and_gone_after_a_sync() {
    let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(10));
    setup.sync_in_step();
    let inbox = setup.root.inbox();
    inbox.set_flags(&inbox.find("message 0."), "FRS");
    setup.imap().store(&["INBOX"], "2", "-FLAGS (\\Seen)");
    setup.imap().expunge(&["INBOX"], "3");
    fs::remove_file(inbox.find("message 3.").path).unwrap();
    setup.append(&["INBOX"], &corpus::odd(1));
    inbox.deliver(&corpus::plain("new here"), Some("S"), Some(corpus::DATE));
    setup.imap().create(&["Lists"]);
    setup.append(&["Lists"], &corpus::ordinary(2));
    let before = on_disk(&setup);
    for command in ["--compare", "--repair"] {
        let run = setup.run(&["check", "--json", command]).expect(1);
        let wanted = [
            ("flags", Some(1), "sync"),
            ("flags", Some(2), "sync"),
            ("gone-remote", Some(3), "sync"),
            ("gone-local", Some(4), "sync"),
            ("only-remote", Some(11), "sync"),
            ("only-local", None, "sync"),
            ("folder-only-remote", None, "sync"),
        ];
        assert_eq!(told(&run), expected(&wanted), "{}", run.stdout);
        assert_eq!(run.account()["compared"]["equal"], 6);
        assert_eq!(run.account()["status"], "partial");
    }
    assert!(
        before
            .iter()
            .filter(|(path, _)| path.starts_with(&setup.root.path))
            .all(|(path, (content, _))| { path.is_dir() || fs::read(path).unwrap() == *content })
    );
    setup.sync_in_step();
    compare(&setup).expect(0);
}

#[test]
fn what_was_altered_on_disk_is_told() {
    let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(10));
    setup.sync_in_step();
    let inbox = setup.root.inbox();
    let altered = inbox.find("message 5.");
    let content = String::from_utf8(altered.content.clone()).unwrap().replace("This is", "That is");
    fs::write(&altered.path, content).unwrap();
    let touched = fs::File::options().write(true).open(inbox.find("message 6.").path).unwrap();
    touched.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    for command in ["--compare", "--repair"] {
        let run = setup.run(&["check", "--json", command]).expect(1);
        let wanted = [("replaced", Some(6), "sync"), ("date", Some(7), "nothing")];
        assert_eq!(told(&run), expected(&wanted), "{}", run.stdout);
    }
    let human = setup.run(&["check", "--compare"]).expect(1);
    assert!(human.stdout.contains("  INBOX: 8 messages equal, 2 differences\n    UID 6, "), "{}", human.stdout);
    assert!(human.stderr.contains("2 differences: "), "{}", human.stderr);
}

#[test]
fn a_database_that_is_wrong_is_told_repaired_and_nothing_is_lost_or_doubled() {
    for kind in [Kind::Full, Kind::Bare] {
        let setup = Setup::with_mail(kind, &corpus::ordinary(10));
        setup.sync_in_step();
        swap_uids(&setup, 3, 8);
        let wanted = expected(&[("wrong-pair", Some(3), "repair"), ("wrong-pair", Some(8), "repair")]);
        for _ in 0..2 {
            let run = compare(&setup).expect(1);
            assert_eq!(told(&run), wanted, "{kind:?}: {}", run.stdout);
        }
        let run = setup.run(&["check", "--json", "--repair"]).expect(1);
        assert_eq!((told(&run), &run.account()["compared"]["repaired"]), (wanted, &2.into()), "{}", run.stdout);
        let run = setup.sync().expect(0);
        assert_eq!(run.account()["adopted"], 2, "{kind:?}: {}", run.stdout);
        for (side, what) in [("local", "added"), ("local", "removed"), ("remote", "added"), ("remote", "removed")] {
            assert_eq!(run.count(side, what), 0, "{kind:?}: {}", run.stdout);
        }
        setup.assert_equal();
        let run = compare(&setup).expect(0);
        assert_eq!(run.account()["compared"]["equal"], 10);
    }
}

#[test]
fn a_count_that_cannot_be_right_is_told_and_repaired() {
    let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(4));
    setup.sync_in_step();
    let database = Connection::open(setup.database()).unwrap();
    database.execute("UPDATE mailbox SET watermark_messages = 9 WHERE name = 'INBOX'", []).unwrap();
    drop(database);
    let run = setup.run(&["check", "--json", "--repair"]).expect(1);
    assert_eq!(told(&run), expected(&[("count", None, "repair")]), "{}", run.stdout);
    setup.sync().expect(0).expect_nothing_done();
    compare(&setup).expect(0);
}

#[test]
fn nothing_is_called_equal_that_could_not_be_compared() {
    let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(4));
    setup.sync_in_step();
    let away = setup.path().join("away");
    fs::rename(&setup.root.path, &away).unwrap();
    for command in ["--compare", "--repair"] {
        let run = setup.run(&["check", "--json", command]).expect(1);
        assert_eq!(told(&run), expected(&[("root", None, "unknown")]), "{}", run.stdout);
    }
    fs::create_dir(&setup.root.path).unwrap();
    let run = compare(&setup).expect(1);
    assert_eq!(told(&run), expected(&[("root", None, "unknown")]), "{}", run.stdout);
    fs::remove_dir(&setup.root.path).unwrap();
    fs::rename(&away, &setup.root.path).unwrap();
    compare(&setup).expect(0);
}

#[test]
fn an_account_that_another_run_holds_is_left_alone() {
    let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(2));
    setup.sync_in_step();
    let _held = mailtide::state::Lock::acquire(&setup.database()).unwrap().unwrap();
    for command in ["--compare", "--repair"] {
        assert_eq!(setup.run(&["check", "--json", command]).expect(6).account()["status"], "busy");
    }
}

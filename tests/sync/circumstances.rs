//! Another server, path, layout or pattern than before, a Maildir or a database of another time: both sides are united,
//! nothing is removed, nothing doubled.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::corpus;
use crate::support::dovecot::Kind;
use crate::support::maildir::Layout;
use crate::support::setup::{Run, Setup};

fn in_step() -> Setup {
    let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(30));
    setup.append(&["Sent"], &corpus::odd(12));
    setup.sync_in_step();
    setup
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success());
}

fn counts(setup: &Setup) -> (usize, usize) {
    (setup.root.inbox().messages().len(), setup.imap().messages(&["INBOX"]).len())
}

#[test]
fn a_first_upload_of_many_messages_waits_for_the_word() {
    let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(3));
    setup.root.inbox().create();
    for mail in corpus::odd(60) {
        setup.root.inbox().deliver(&mail.body, Some("S"), Some(mail.date));
    }
    for _ in 0..2 {
        let run = setup.sync().expect(5);
        let held = &run.account()["held"][0];
        let expected = (&"first-upload".into(), &"remote".into(), &60.into());
        assert_eq!((&held["reason"], &held["side"], &held["count"]), expected, "{}", run.stdout);
        assert_eq!(counts(&setup), (63, 3), "new mail comes down all the same");
    }
    setup.run(&["sync", "--json", "--accept-held", "test"]).expect(0);
    assert_eq!(counts(&setup), (63, 63));
    setup.sync_in_step();
    for mail in corpus::odd(120).into_iter().skip(60) {
        setup.root.inbox().deliver(&mail.body, Some("S"), Some(mail.date));
    }
    setup.sync_in_step();
}

#[test]
fn a_folder_that_only_exists_here_waits_at_the_first_sync_only() {
    let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(3));
    setup.root.folder(&["Old stuff"]).create();
    let run = setup.sync().expect(5);
    assert_eq!(run.account()["held"][0]["reason"], "first-upload", "{}", run.stdout);
    assert!(!setup.imap().folders().contains(&vec!["Old stuff".to_owned()]));
    setup.run(&["sync", "--json", "--accept-held", "test"]).expect(0);
    setup.root.folder(&["New stuff"]).create();
    setup.sync_in_step();
}

#[test]
fn a_new_empty_server_gets_nothing_and_loses_nothing_before_the_word() {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(80));
    setup.sync_in_step();
    setup.user = setup.server.new_user();
    for _ in 0..2 {
        let run = setup.sync().expect(5);
        assert_eq!(run.account()["held"][0]["reason"], "first-upload", "{}", run.stdout);
        assert_eq!((run.count("local", "removed"), run.count("remote", "removed")), (0, 0));
        assert_eq!(counts(&setup), (80, 0));
    }
    let status = setup.run(&["status", "--json"]).expect(5).account();
    let used = &status["quota"]["messages"]["used"];
    assert!(status["last_success"].is_null() && *used == 0, "of the one before: {status}");
    setup.run(&["sync", "--json", "--accept-held", "test"]).expect(0);
    setup.sync_in_step();
    assert_eq!(counts(&setup), (80, 80));
}

#[test]
fn a_half_migrated_server_is_united() {
    let mails = corpus::ordinary(60);
    let mut setup = Setup::with_mail(Kind::Full, &mails);
    setup.sync_in_step();
    setup.user = setup.server.new_user();
    setup.append(&["INBOX"], &mails[20..]);
    setup.append(&["INBOX"], &corpus::odd(5));
    let run = setup.sync().expect(0);
    assert_eq!(run.account()["adopted"], 40, "{}", run.stdout);
    assert_eq!((run.count("local", "added"), run.count("remote", "added")), (5, 20), "{}", run.stdout);
    assert_eq!((run.count("local", "removed"), run.count("remote", "removed")), (0, 0), "{}", run.stdout);
    setup.sync_in_step();
}

#[test]
fn a_lost_database_costs_no_bodies() {
    let bytes_in = |run: &Run| run.account()["bytes_in"].as_u64().unwrap();
    let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(30));
    setup.append(&["Sent"], &corpus::odd(12));
    let first = bytes_in(&setup.sync().expect(0));
    fs::remove_file(setup.database()).unwrap();
    let run = setup.sync().expect(0);
    assert!(bytes_in(&run) < first / 4, "{} of {first}", bytes_in(&run));
    assert_eq!(run.account()["adopted"], 42, "{}", run.stdout);
    for side in ["local", "remote"] {
        assert_eq!((run.count(side, "added"), run.count(side, "removed")), (0, 0), "{}", run.stdout);
    }
    setup.sync_in_step();
}

#[test]
fn an_old_copy_of_the_maildir_under_a_newer_database_loses_nothing() {
    let setup = in_step();
    let old = setup.path().join("old");
    copy(&setup.root.path, &old);
    setup.append(&["INBOX"], &corpus::odd(8));
    setup.sync_in_step();
    let inbox = setup.root.inbox();
    let old_one =
        inbox.messages().into_iter().find(|entry| old.join("INBOX/cur").join(entry.path.file_name().unwrap()).exists());
    fs::remove_file(old_one.expect("a message that the copy has").path).unwrap();
    setup.sync_in_step();
    fs::remove_dir_all(&setup.root.path).unwrap();
    fs::rename(&old, &setup.root.path).unwrap();
    let run = setup.sync().expect(0);
    assert_eq!((run.count("local", "removed"), run.count("remote", "removed")), (0, 0), "{}", run.stdout);
    setup.sync_in_step();
    assert_eq!(counts(&setup), (38, 38), "what was removed since the copy was made is back");
}

/// What the README tells to do before a part of a Maildir is put back.
#[test]
fn an_old_copy_of_one_folder_loses_nothing_if_the_marker_is_removed() {
    let setup = in_step();
    let (inbox, old) = (setup.root.path.join("INBOX"), setup.path().join("old"));
    copy(&inbox, &old);
    setup.append(&["INBOX"], &corpus::odd(8));
    setup.sync_in_step();
    fs::remove_dir_all(&inbox).unwrap();
    fs::rename(&old, &inbox).unwrap();
    fs::remove_file(setup.root.path.join(".mailtide")).unwrap();
    let run = setup.sync().expect(5);
    assert_eq!(run.account()["held"][0]["reason"], "root-missing", "{}", run.stdout);
    setup.run(&["sync", "--json", "--undo-held", "test"]).expect(0);
    setup.sync_in_step();
    assert_eq!(counts(&setup), (38, 38));
}

#[test]
fn an_old_copy_of_the_database_under_a_newer_maildir_loses_nothing() {
    let setup = in_step();
    let old = setup.path().join("old.sqlite3");
    fs::copy(setup.database(), &old).unwrap();
    for round in 0..2 {
        setup.append(&["INBOX"], &corpus::odd(8)[4 * round..4 * round + 4]);
        setup.sync_in_step();
    }
    fs::rename(&old, setup.database()).unwrap();
    let run = setup.sync().expect(0);
    for side in ["local", "remote"] {
        assert_eq!((run.count(side, "added"), run.count(side, "removed")), (0, 0), "{}", run.stdout);
    }
    setup.sync_in_step();
    assert_eq!(counts(&setup), (38, 38));
}

#[test]
fn a_second_machine_with_a_copy_of_the_maildir_adopts_it() {
    for with_state in [false, true] {
        let one = in_step();
        let mut other = Setup::new(Kind::Full);
        other.user.clone_from(&one.user);
        copy(&one.root.path, &other.root.path);
        if with_state {
            copy(&one.path().join("state"), &other.path().join("state"));
        }
        let run = other.sync().expect(0);
        for side in ["local", "remote"] {
            assert_eq!((run.count(side, "added"), run.count(side, "removed")), (0, 0), "{}", run.stdout);
        }
        fs::remove_file(&one.root.inbox().messages()[0].path).unwrap();
        other.root.inbox().deliver(&corpus::plain("from the other"), Some("S"), Some(corpus::DATE));
        for setup in [&one, &other, &one, &other] {
            setup.sync().expect(0);
        }
        one.assert_equal();
        other.assert_equal();
    }
}

#[test]
fn the_maildir_of_a_second_machine_under_the_database_of_the_first_removes_nothing() {
    let one = in_step();
    let mut other = Setup::new(Kind::Full);
    other.user.clone_from(&one.user);
    copy(&one.root.path, &other.root.path);
    copy(&one.path().join("state"), &other.path().join("state"));
    other.sync().expect(0).expect_nothing_done();
    // Both go on, in as many runs, and only the first hears of the last mail.
    other.imap().append(&["INBOX"], &corpus::plain("to both"), "", Some(corpus::DATE));
    other.sync().expect(0);
    other.append(&["INBOX"], &corpus::odd(8));
    one.sync().expect(0);
    assert_eq!((one.root.inbox().messages().len(), other.root.inbox().messages().len()), (39, 31));
    fs::remove_dir_all(&one.root.path).unwrap();
    copy(&other.root.path, &one.root.path);
    let run = one.sync().expect(0);
    assert_eq!((run.count("local", "removed"), run.count("remote", "removed")), (0, 0), "{}", run.stdout);
    one.sync_in_step();
    assert_eq!(counts(&one), (39, 39));
}

#[test]
fn another_layout_or_path_unites_both_sides_there() {
    let mut setup = in_step();
    setup.root.layout = Layout::PlusPlus;
    // The directories of the other layout are left alone, and told of.
    let run = setup.sync().expect(1);
    assert_eq!((run.count("local", "removed"), run.count("remote", "removed")), (0, 0), "{}", run.stdout);
    assert_eq!(counts(&setup), (30, 30));
    setup.root.path = setup.path().join("Elsewhere");
    setup.sync_in_step();
    assert_eq!(counts(&setup), (30, 30));
}

#[test]
fn a_maildir_moved_to_another_path_is_the_same() {
    let mut setup = in_step();
    let moved = setup.path().join("Moved");
    fs::rename(&setup.root.path, &moved).unwrap();
    setup.root.path = moved;
    setup.sync().expect(0).expect_nothing_done();
    setup.sync_in_step();
}

#[test]
fn what_happened_while_a_folder_was_left_out_removes_nothing() {
    let mut setup = in_step();
    setup.extra = "[accounts.test.folders]\nexclude = [\"Sent\"]\n".to_owned();
    setup.sync().expect(0);
    fs::remove_file(&setup.root.folder(&["Sent"]).messages()[0].path).unwrap();
    setup.imap().expunge(&["Sent"], "5");
    setup.sync().expect(0).expect_nothing_done();
    setup.extra.clear();
    let run = setup.sync().expect(0);
    assert_eq!((run.count("local", "removed"), run.count("remote", "removed")), (0, 0), "{}", run.stdout);
    setup.sync_in_step();
    assert_eq!(setup.imap().messages(&["Sent"]).len(), 12);
}

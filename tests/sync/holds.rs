//! What looks like an accident is held back, and waits for the user's word.

use std::fs;

use crate::support::corpus;
use crate::support::dovecot::Kind;
use crate::support::setup::{Run, Setup};

fn in_step() -> Setup {
    let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(200));
    setup.sync_in_step();
    setup
}

fn empty_here(setup: &Setup) {
    for entry in setup.root.inbox().messages() {
        fs::remove_file(entry.path).unwrap();
    }
}

/// How many messages INBOX holds: here, there.
fn counts(setup: &Setup) -> (usize, usize) {
    (setup.root.inbox().messages().len(), setup.imap().messages(&["INBOX"]).len())
}

fn expect_held(run: &Run, side: &str, reason: &str) {
    let held = &run.account()["held"][0];
    assert_eq!((&held["side"], &held["reason"]), (&side.into(), &reason.into()), "{}", run.stdout);
    assert_eq!(run.account()["status"], "held", "{}", run.stdout);
}

#[test]
fn mass_removal_here_leaves_the_server_alone() {
    let setup = in_step();
    empty_here(&setup);
    for _ in 0..2 {
        let run = setup.sync().expect(5);
        expect_held(&run, "local", "mass-delete");
        assert_eq!(run.account()["held"][0]["count"], 200);
        assert_eq!(run.account()["held"][0]["folder"], "INBOX");
        assert_eq!(counts(&setup), (0, 200));
    }
    setup.append(&["INBOX"], &corpus::odd(3));
    setup.append(&["Sent"], &corpus::odd(3));
    setup.sync().expect(5);
    assert_eq!((counts(&setup), setup.root.folder(&["Sent"]).messages().len()), ((3, 203), 3), "the rest goes on");
    setup.run(&["sync", "--json", "--undo-held", "test"]).expect(0);
    assert_eq!(counts(&setup), (203, 203));
    setup.sync_in_step();
}

#[test]
fn mass_removal_here_is_carried_out_when_accepted() {
    let setup = in_step();
    empty_here(&setup);
    setup.sync().expect(5);
    setup.run(&["sync", "--json", "--accept-held", "test"]).expect(0);
    assert_eq!(counts(&setup), (0, 0));
    setup.sync().expect(0);
    setup.sync_in_step();
    assert_eq!(setup.imap().messages(&["Trash"]).len(), 200);
}

/// INBOX and Lists with 40 messages each, of which 30 each go on one side: fewer than are too many, but for both together.
fn lost_in_two_folders(here: bool) -> Setup {
    let mails = corpus::ordinary(80);
    let setup = Setup::with_mail(Kind::Full, &mails[..40]);
    setup.imap().create(&["Lists"]);
    setup.append(&["Lists"], &mails[40..]);
    setup.sync_in_step();
    for folder in [&["INBOX"], &["Lists"]] {
        match here {
            true => setup.root.folder(folder).messages().into_iter().take(30).for_each(|entry| {
                fs::remove_file(entry.path).unwrap();
            }),
            false => setup.imap().expunge(folder, "1:30"),
        }
    }
    setup
}

/// How many messages both folders hold on the side that still has them.
fn left(setup: &Setup, lost_here: bool) -> (usize, usize) {
    let count = |folder: &[&str]| match lost_here {
        true => setup.imap().messages(folder).len(),
        false => setup.root.folder(folder).messages().len(),
    };
    (count(&["INBOX"]), count(&["Lists"]))
}

/// A run looks again at what it changed, and at nothing else.
#[test]
fn what_is_held_of_two_folders_stays_so_when_one_is_looked_at_again() {
    for here in [true, false] {
        let setup = lost_in_two_folders(here);
        for number in 0..3 {
            let mail = &corpus::ordinary(90)[80 + number];
            setup.root.folder(&["Lists"]).deliver(&mail.body, None, None);
            let run = setup.sync().expect(5);
            assert_eq!(run.account()["held"].as_array().map(Vec::len), Some(2), "{}", run.stdout);
            assert_eq!(run.count("remote", "added"), 1, "{}", run.stdout);
            assert_eq!(run.count("remote", "removed") + run.count("local", "removed"), 0, "{}", run.stdout);
            assert_eq!(left(&setup, here), (40, 41 + number));
        }
        setup.run(&["sync", "--json", "--undo-held", "test"]).expect(0);
        setup.sync_in_step();
        assert_eq!(left(&setup, here), (40, 43));
    }
}

#[test]
fn what_is_held_of_two_folders_is_not_carried_out_by_a_sync_of_one() {
    for here in [true, false] {
        let setup = lost_in_two_folders(here);
        setup.sync().expect(5);
        for _ in 0..2 {
            let run = setup.run(&["sync", "--json", "test/Lists"]).expect(5);
            assert_eq!(run.account()["held"][0]["folder"], "Lists", "{}", run.stdout);
            assert_eq!(left(&setup, here), (40, 40));
        }
        // What is left is no more than may go, but it is of what was held.
        setup.run(&["sync", "--json", "--accept-held", "test/Lists"]).expect(0);
        assert_eq!(left(&setup, here), (40, 10));
        let run = setup.sync().expect(5);
        assert_eq!(run.account()["held"][0]["folder"], "INBOX", "{}", run.stdout);
        assert_eq!(left(&setup, here), (40, 10));
        setup.run(&["sync", "--json", "--undo-held", "test"]).expect(0);
        setup.sync_in_step();
        assert_eq!(left(&setup, here), (40, 10));
    }
}

/// One of the messages of Sent is on the server, too: Sent is looked at again, and then has none but one to be sent.
#[test]
fn a_first_upload_that_is_held_stays_so_when_a_folder_is_looked_at_again_or_alone() {
    let mails = corpus::ordinary(62);
    let setup = Setup::new(Kind::Full);
    for (folder, mails) in [("INBOX", &mails[..60]), ("Sent", &mails[60..])] {
        setup.root.folder(&[folder]).create();
        mails.iter().for_each(|mail| drop(setup.root.folder(&[folder]).deliver(&mail.body, None, Some(mail.date))));
    }
    setup.append(&["Sent"], &mails[60..61]);
    for arguments in [&["sync", "--json"][..], &["sync", "--json", "test/Sent"], &["sync", "--json"]] {
        let run = setup.run(arguments).expect(5);
        assert_eq!(run.count("remote", "added"), 0, "{}", run.stdout);
        assert_eq!((setup.imap().messages(&["INBOX"]).len(), setup.imap().messages(&["Sent"]).len()), (0, 1));
    }
    setup.run(&["sync", "--json", "--accept-held", "test"]).expect(0);
    setup.sync_in_step();
    assert_eq!((setup.imap().messages(&["INBOX"]).len(), setup.imap().messages(&["Sent"]).len()), (60, 2));
}

#[test]
fn mass_removal_there_leaves_the_maildir_alone() {
    let setup = in_step();
    setup.imap().expunge(&["INBOX"], "1:*");
    for _ in 0..2 {
        expect_held(&setup.sync().expect(5), "remote", "mass-delete");
        assert_eq!(counts(&setup), (200, 0));
    }
    setup.run(&["sync", "--json", "--undo-held", "test"]).expect(0);
    assert_eq!(counts(&setup), (200, 200));
    setup.sync_in_step();
}

#[test]
fn mass_removal_there_is_followed_when_accepted_and_recoverable() {
    let setup = in_step();
    setup.imap().expunge(&["INBOX"], "1:*");
    setup.sync().expect(5);
    setup.run(&["sync", "--json", "--accept-held", "test"]).expect(0);
    assert_eq!(counts(&setup), (0, 0));
    assert_eq!(setup.recoverable().len(), 200);
    setup.sync_in_step();
}

#[test]
fn mail_lost_in_portions_is_held_too() {
    let setup = in_step();
    for portion in 1..=3 {
        for entry in setup.root.inbox().messages().into_iter().take(40) {
            fs::remove_file(entry.path).unwrap();
        }
        let run = setup.sync();
        assert_eq!(run.code, Some(if portion == 1 { 0 } else { 5 }), "portion {portion}: {}", run.stdout);
    }
    assert_eq!(setup.imap().messages(&["INBOX"]).len(), 160);
}

#[test]
fn a_missing_root_is_not_taken_for_deleted_mail() {
    let setup = in_step();
    let away = setup.path().join("away");
    fs::rename(&setup.root.path, &away).unwrap();
    expect_held(&setup.sync().expect(5), "local", "root-missing");
    assert!(!setup.root.path.exists(), "a missing root is not made again");
    fs::create_dir(&setup.root.path).unwrap();
    expect_held(&setup.sync().expect(5), "local", "root-missing");
    setup.run(&["sync", "--json", "--accept-held", "test"]).expect(5);
    assert_eq!(setup.run(&["sync"]).expect(5).stdout, "test: held: nothing done\n");
    let checked = setup.run(&["check", "--json", "--offline"]).expect(5);
    assert_eq!(checked.account()["errors"][0]["code"], "root-missing", "{}", checked.stdout);
    assert_eq!(counts(&setup), (0, 200));
    fs::remove_dir(&setup.root.path).unwrap();
    fs::rename(&away, &setup.root.path).unwrap();
    setup.sync_in_step();
    assert_eq!(counts(&setup), (200, 200));
}

#[test]
fn a_missing_root_is_filled_again_when_undone() {
    let setup = in_step();
    fs::remove_dir_all(&setup.root.path).unwrap();
    setup.sync().expect(5);
    setup.run(&["sync", "--json", "--undo-held", "test"]).expect(0);
    assert_eq!(counts(&setup), (200, 200));
    setup.sync_in_step();
}

#[test]
fn the_user_is_told_in_words_what_is_held_and_what_to_do() {
    let setup = in_step();
    empty_here(&setup);
    let run = setup.run(&["sync"]).expect(5);
    let text = format!("{}{}", run.stdout, run.stderr);
    for word in ["INBOX", "200", "--accept-held", "--undo-held", "test"] {
        assert!(text.contains(word), "no {word}: {text}");
    }
}

#[test]
fn many_held_folders_are_told_in_one_line_and_all_of_them_in_json() {
    let setup = Setup::new(Kind::Full);
    for number in 0..20 {
        setup.root.folder(&[&format!("Old {number:02}")]).create();
    }
    let run = setup.run(&["sync"]).expect(5);
    assert!(run.stdout.contains("test: in step but for 20 held folders"), "{run:?}");
    assert!(run.stderr.contains("test: 20 folders (Old 00, Old 01, Old 02 and 17 more, see --json): "), "{run:?}");
    assert_eq!(run.stderr.lines().count(), 2, "{run:?}");
    assert_eq!(setup.sync().expect(5).account()["held"].as_array().unwrap().len(), 20);
}

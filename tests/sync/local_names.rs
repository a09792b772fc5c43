//! Rules of `local_names` that come and go, and directories that are in their way: nothing moves on the server, and nothing
//! is doubled.

use std::fs;

use crate::support::compare;
use crate::support::corpus::{self, DATE};
use crate::support::dovecot::Kind;
use crate::support::maildir::Layout;
use crate::support::setup::{Run, Setup};

/// An account with mail in INBOX and Sent, in step under these rules.
fn in_step(layout: Layout, rules: &str) -> Setup {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(2));
    setup.root.layout = layout;
    rule(&mut setup, rules);
    setup.append(&["Sent"], &corpus::odd(3));
    setup.sync().expect(0);
    setup.sync().expect(0).expect_nothing_done();
    setup
}

fn rule(setup: &mut Setup, rules: &str) {
    setup.extra = format!("[accounts.test.folders]\nlocal_names = {{ {rules} }}\n");
}

/// Demands that a run changes nothing on either side and tells why, of which directory.
fn assert_left_alone(setup: &Setup, path: &str, words: &str) -> Run {
    let before = (compare::of_server(&mut setup.imap()), compare::of_root(&setup.root));
    let run = setup.sync().expect_nothing_done();
    assert_eq!((compare::of_server(&mut setup.imap()), compare::of_root(&setup.root)), before, "{}", run.stdout);
    let error = run.account()["errors"][0].clone();
    assert_eq!((&error["code"], &error["path"]), (&"folder-name".into(), &path.into()), "{error}");
    assert!(error["message"].as_str().unwrap().contains(words), "{error}");
    run
}

/// Rules that several accounts have in common name folders that not all of them have.
#[test]
fn a_rule_for_a_folder_that_the_server_lacks_takes_nothing_from_the_one_of_that_name() {
    for layout in [Layout::Fs, Layout::PlusPlus] {
        let mut setup = in_step(layout, "\"[Gmail]/Sent Mail\" = \"Sent\"");
        setup.imap().create(&["Sent", "2020"]);
        setup.root.folder(&["Sent"]).deliver(&corpus::plain("new"), Some("S"), Some(DATE));
        setup.root.folder(&["Sent", "2021"]).create();
        setup.sync().expect(0).expect_only(&[
            ("local", "folders_created", 1),
            ("remote", "folders_created", 1),
            ("remote", "added", 1),
        ]);
        setup.sync_in_step();
        assert!(setup.imap().folders().contains(&vec!["Sent".to_owned(), "2021".to_owned()]));
        // And where it was none when the folder was first seen.
        rule(&mut setup, "Archiv = \"Sent\"");
        setup.sync().expect(0).expect_nothing_done();
    }
}

#[test]
fn a_folder_renamed_on_the_server_to_its_local_name_keeps_it() {
    for count in [0, 3] {
        let mut setup = Setup::new(Kind::Full);
        rule(&mut setup, "A = \"B\"");
        setup.imap().create(&["A"]);
        setup.append(&["A"], &corpus::ordinary(count));
        setup.sync().expect(0);
        setup.imap().rename(&["A"], &["B"]);
        setup.sync().expect(0).expect_nothing_done();
        setup.sync_in_step();
        assert!(!setup.imap().folders().contains(&vec!["A".to_owned()]));
    }
}

#[test]
fn a_maildir_whose_new_name_is_taken_is_left_alone_until_it_is_free() {
    let rules = ["", "\"role:sent\" = \"Gesendet\"", "Sent = \"Post\""];
    let names = ["Sent", "Gesendet", "Post"];
    for (layout, from, to) in [(Layout::Fs, 0, 1), (Layout::Fs, 1, 0), (Layout::PlusPlus, 1, 2)] {
        for count in [0, 1] {
            let mut setup = in_step(layout, rules[from]);
            let (old, new) = (setup.root.folder(&[names[from]]), setup.root.folder(&[names[to]]));
            new.create();
            (0..count).for_each(|_| drop(new.deliver(&corpus::plain("in the way"), Some("S"), Some(DATE))));
            rule(&mut setup, rules[to]);
            for _ in 0..2 {
                let words = format!("should be called {}, and there is another of that name", names[to]);
                assert_left_alone(&setup, names[from], &words).expect(1);
            }
            // As the hint says.
            for entry in new.messages() {
                fs::rename(&entry.path, old.0.join("cur").join(entry.path.file_name().unwrap())).unwrap();
            }
            fs::remove_dir_all(&new.0).unwrap();
            let run = setup.sync().expect(0);
            let done = ["folders_renamed", "added"].map(|what| (run.count("local", what), run.count("remote", what)));
            assert_eq!(done, [(1, 0), (0, count)], "{}", run.stdout);
            setup.sync().expect(0).expect_nothing_done();
            let sent = compare::of_root(&setup.root)[&vec![names[to].to_owned()]].len() as u64;
            assert_eq!((sent, setup.imap().messages(&["Sent"]).len() as u64), (3 + count, 3 + count));
        }
    }
}

#[test]
fn the_maildir_of_the_inbox_keeps_its_name() {
    for layout in [Layout::Fs, Layout::PlusPlus] {
        let mut setup = in_step(layout, "");
        rule(&mut setup, "INBOX = \"Eingang\"");
        assert_left_alone(&setup, "INBOX", "the maildir of INBOX keeps its name").expect(1);
        rule(&mut setup, "");
        setup.sync().expect(0).expect_nothing_done();
        setup.sync_in_step();
    }
}

/// What programs that don't know of the rule put there would wait for ever.
#[test]
fn a_maildir_of_the_servers_name_is_left_alone_and_told_once_there_is_mail_in_it() {
    let setup = in_step(Layout::Fs, "Sent = \"Gesendet\"");
    let stranger = setup.root.folder(&["Sent"]);
    stranger.create();
    setup.sync().expect(0).expect_nothing_done();
    let file = stranger.deliver(&corpus::plain("astray"), Some("S"), Some(DATE));
    assert_left_alone(&setup, "Sent", "the server's folder of that name is Gesendet here").expect(1);
    fs::rename(&file, setup.root.folder(&["Gesendet"]).0.join("cur").join(file.file_name().unwrap())).unwrap();
    assert_eq!(setup.sync().expect(0).count("remote", "added"), 1);
}

/// Its messages are where none of them is synced, so they count as accidentally gone.
#[test]
fn a_maildir_renamed_to_what_can_be_no_folder_is_held() {
    let mut setup = in_step(Layout::Fs, "Sent = \"Gesendet\"");
    setup.sync = "delete = \"expunge\"".to_owned();
    fs::rename(setup.root.folder(&["Gesendet"]).0, setup.root.folder(&["Sent"]).0).unwrap();
    let run = assert_left_alone(&setup, "Sent", "is left alone, with the mail in it").expect(5);
    assert_eq!(run.account()["held"][0]["reason"], "maildir-vanished", "{}", run.stdout);
    fs::rename(setup.root.folder(&["Sent"]).0, setup.root.folder(&["Gesendet"]).0).unwrap();
    setup.sync().expect(0).expect_nothing_done();
}

#[test]
fn renames_that_the_server_refuses_are_left_alone_while_a_rule_goes() {
    let mut setup = Setup::new(Kind::Full);
    setup.root.layout = Layout::PlusPlus;
    rule(&mut setup, "B = \"N/n\"");
    for (folder, first) in [(&["B"][..], 0), (&["B", "x"], 2)] {
        setup.imap().create(folder);
        setup.append(folder, &corpus::ordinary(4)[first..first + 2]);
    }
    setup.sync().expect(0);
    rule(&mut setup, "");
    let directory = |name: &str| setup.root.path.join(name);
    fs::rename(directory(".N.n"), directory(".B.x")).unwrap();
    fs::rename(directory(".N.n.x"), directory(".B.x.x")).unwrap();
    let before = (compare::of_server(&mut setup.imap()), compare::of_root(&setup.root));
    for _ in 0..2 {
        let run = setup.sync().expect(1).expect_nothing_done();
        assert!(run.account()["errors"].to_string().contains("left as it is on both sides"), "{}", run.stdout);
        assert_eq!((compare::of_server(&mut setup.imap()), compare::of_root(&setup.root)), before);
    }
}

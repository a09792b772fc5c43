//! Folders that go from one side: followed when they are small, held when that looks like an accident.

use std::fs;

use crate::support::corpus::{self, DATE};
use crate::support::dovecot::Kind;
use crate::support::setup::{Run, Setup};

/// Every kind of server that must do.
const SERVERS: [Kind; 3] = [Kind::Full, Kind::Bare, Kind::NoUidplus];

/// An account in step, with so many messages in each of `Lists` and `Lists/rust`.
fn in_step(kind: Kind, messages: i64) -> Setup {
    let setup = Setup::with_mail(kind, &corpus::ordinary(30));
    for folder in [&["Lists"][..], &["Lists", "rust"]] {
        setup.imap().create(folder);
        setup.append(folder, &corpus::ordinary(messages));
    }
    setup.sync_in_step();
    setup
}

fn held(run: &Run) -> Vec<(String, String)> {
    let held = run.account()["held"].as_array().unwrap().clone();
    held.iter().map(|held| (held["folder"].as_str().unwrap().into(), held["reason"].as_str().unwrap().into())).collect()
}

fn folders(setup: &Setup) -> (bool, bool) {
    let there = setup.imap().folders().contains(&vec!["Lists".to_owned(), "rust".to_owned()]);
    (setup.root.path.join("Lists/rust").is_dir(), there)
}

#[test]
fn a_small_folder_deleted_on_the_server_is_followed_and_recoverable() {
    for kind in SERVERS {
        let setup = in_step(kind, 5);
        setup.imap().delete(&["Lists", "rust"]);
        let run = setup.sync_in_step();
        assert_eq!(run.count("local", "folders_removed"), 1, "{kind:?}: {}", run.stdout);
        assert_eq!(folders(&setup), (false, false), "{kind:?}");
        assert_eq!(setup.recoverable().len(), 5);
    }
}

/// Dovecot lists it still, for what lies below it, as if it could hold mail.
#[test]
fn a_folder_deleted_on_the_server_that_others_lie_below_is_followed() {
    for kind in SERVERS {
        let setup = in_step(kind, 5);
        setup.imap().delete(&["Lists"]);
        let run = setup.sync_in_step();
        assert_eq!(run.count("local", "folders_removed"), 1, "{kind:?}: {}", run.stdout);
        assert_eq!((folders(&setup), setup.root.folder(&["Lists", "rust"]).messages().len()), ((true, true), 5));
        assert_eq!(setup.recoverable().len(), 5);
        let run = setup.sync_in_step();
        assert_eq!(run.count("local", "folders_created"), 0, "{kind:?}: {}", run.stdout);
    }
}

#[test]
fn a_large_folder_deleted_on_the_server_is_held_until_the_word_is_given() {
    for answer in ["--accept-held", "--undo-held"] {
        let setup = in_step(Kind::Full, 40);
        setup.imap().delete(&["Lists", "rust"]);
        setup.imap().delete(&["Lists"]);
        let both = ["Lists", "Lists/rust"].map(|name| (name.to_owned(), "folder-removed".to_owned()));
        for _ in 0..2 {
            assert_eq!(held(&setup.sync().expect(5)), both, "with those below it, it is large");
        }
        assert_eq!(setup.root.folder(&["Lists", "rust"]).messages().len(), 40);
        setup.run(&["sync", "--json", answer, "test"]).expect(0);
        setup.sync_in_step();
        assert_eq!(folders(&setup), (answer == "--undo-held", answer == "--undo-held"), "{answer}");
    }
}

#[test]
fn a_small_folder_that_went_when_the_server_was_set_up_again_is_held_until_the_word_is_given() {
    for (kind, answer) in SERVERS.into_iter().flat_map(|kind| [(kind, "--accept-held"), (kind, "--undo-held")]) {
        let setup = in_step(kind, 5);
        setup.imap().delete(&["Lists", "rust"]);
        setup.server.forget_numbers(&setup.user);
        // By the second run the server's new numbers are known.
        for _ in 0..2 {
            assert_eq!(held(&setup.sync().expect(5)), [("Lists/rust".to_owned(), "folder-removed".to_owned())]);
        }
        assert_eq!(setup.root.folder(&["Lists", "rust"]).messages().len(), 5, "{kind:?}");
        setup.run(&["sync", "--json", answer, "test"]).expect(0);
        setup.sync_in_step();
        assert_eq!(folders(&setup), (answer == "--undo-held", answer == "--undo-held"), "{kind:?} {answer}");
    }
}

#[test]
fn what_nobody_knew_of_brings_a_folder_deleted_on_the_server_back() {
    for kind in SERVERS {
        let setup = in_step(kind, 5);
        setup.imap().delete(&["Lists", "rust"]);
        setup.root.folder(&["Lists", "rust"]).deliver(&corpus::plain("just arrived"), None, Some(DATE));
        setup.sync_in_step();
        assert_eq!(setup.imap().messages(&["Lists", "rust"]).len(), 1, "{kind:?}");
        assert_eq!(setup.recoverable().len(), 5);
    }
}

#[test]
fn a_maildir_that_vanished_is_held_until_the_word_is_given() {
    for (kind, answer) in SERVERS.into_iter().flat_map(|kind| [(kind, "--accept-held"), (kind, "--undo-held")]) {
        let setup = in_step(kind, 3);
        setup.imap().create(&["Empty"]);
        setup.sync_in_step();
        fs::remove_dir_all(setup.root.path.join("Lists/rust")).unwrap();
        fs::remove_dir_all(setup.root.path.join("Empty")).unwrap();
        let both = ["Empty", "Lists/rust"].map(|name| (name.to_owned(), "maildir-vanished".to_owned()));
        for _ in 0..2 {
            assert_eq!(held(&setup.sync().expect(5)), both);
        }
        assert_eq!(setup.imap().messages(&["Lists", "rust"]).len(), 3, "{kind:?}");
        let run = setup.run(&["sync", "--json", answer, "test"]).expect(0);
        setup.sync_in_step();
        let undone = answer == "--undo-held";
        assert_eq!(folders(&setup), (undone, undone), "{kind:?} {answer}: {}", run.stdout);
        assert_eq!(setup.imap().messages(&["Trash"]).len(), if undone { 0 } else { 3 }, "{kind:?} {answer}");
    }
}

/// Moves the first files of `Lists/rust` to `Lists`, under their names, and removes the rest with their directory.
fn merge_here(setup: &Setup, moved: usize) {
    let (from, to) = (setup.root.folder(&["Lists", "rust"]), setup.root.folder(&["Lists"]));
    for entry in from.messages().iter().take(moved) {
        fs::rename(&entry.path, to.0.join("cur").join(entry.path.file_name().unwrap())).unwrap();
    }
    fs::remove_dir_all(&from.0).unwrap();
}

#[test]
fn a_folder_merged_into_another_here_takes_its_messages_along() {
    for kind in SERVERS {
        let setup = in_step(kind, 0);
        setup.append(&["Lists", "rust"], &corpus::ordinary(5));
        setup.sync_in_step();
        merge_here(&setup, 5);
        let run = setup.sync_in_step();
        let counts = ["moved", "added", "folders_removed"].map(|count| run.count("remote", count));
        assert_eq!(counts, [5, 0, 1], "{kind:?}: {}", run.stdout);
        assert_eq!((folders(&setup), setup.imap().messages(&["Lists"]).len()), ((false, false), 5), "{kind:?}");
    }
}

#[test]
fn of_a_folder_that_vanished_here_only_what_is_nowhere_else_is_held() {
    for (kind, answer) in SERVERS.into_iter().flat_map(|kind| [(kind, "--accept-held"), (kind, "--undo-held")]) {
        let setup = in_step(kind, 0);
        setup.append(&["Lists", "rust"], &corpus::ordinary(5));
        setup.sync_in_step();
        merge_here(&setup, 3);
        let dry = setup.run(&["sync", "--json", "--dry-run"]).expect(5);
        let run = setup.sync().expect(5);
        for run in [&dry, &run] {
            assert_eq!((run.count("remote", "moved"), run.count("remote", "added")), (3, 0), "{}", run.stdout);
        }
        let held = |run: &Run| (held(run), run.account()["held"][0]["count"].as_u64());
        let expected = (vec![("Lists/rust".to_owned(), "maildir-vanished".to_owned())], Some(2));
        for run in [dry, run, setup.sync().expect(5)] {
            assert_eq!(held(&run), expected, "{kind:?}");
        }
        assert!(!setup.root.folder(&["Lists", "rust"]).0.exists());
        let there = |folder: &[&str]| setup.imap().messages(folder).len();
        assert_eq!((there(&["Lists"]), there(&["Lists", "rust"])), (3, 2), "{kind:?}");
        setup.run(&["sync", "--json", answer, "test"]).expect(0);
        setup.sync_in_step();
        let undone = answer == "--undo-held";
        assert_eq!(folders(&setup), (undone, undone), "{kind:?} {answer}");
        assert_eq!((there(&["Lists"]), there(&["Trash"])), (3, if undone { 0 } else { 2 }), "{kind:?} {answer}");
    }
}

#[test]
fn a_large_folder_merged_into_another_there_takes_its_messages_along() {
    for (kind, moved) in SERVERS.into_iter().flat_map(|kind| [(kind, 120), (kind, 60)]) {
        let setup = in_step(kind, 0);
        setup.append(&["Lists", "rust"], &corpus::ordinary(120));
        setup.sync_in_step();
        let uids = setup.imap().messages(&["Lists", "rust"]);
        let uids: Vec<String> = uids.iter().take(moved).map(|message| message.uid.to_string()).collect();
        setup.imap().transfer(&["Lists", "rust"], &uids.join(","), &["Lists"]);
        setup.imap().delete(&["Lists", "rust"]);
        let all = moved == 120;
        let run = setup.sync().expect(if all { 0 } else { 5 });
        let counts = ["moved", "added", "removed"].map(|count| run.count("local", count));
        assert_eq!(counts, [moved as u64, 0, 0], "{kind:?}: {}", run.stdout);
        let expected = if all { vec![] } else { vec![("Lists/rust".to_owned(), "folder-removed".to_owned())] };
        assert_eq!(held(&run), expected);
        assert_eq!(setup.root.folder(&["Lists"]).messages().len(), moved);
        if !all {
            assert_eq!(setup.root.folder(&["Lists", "rust"]).messages().len(), 60);
            setup.run(&["sync", "--json", "--accept-held", "test"]).expect(0);
        }
        setup.sync_in_step();
        assert_eq!(folders(&setup), (false, false));
    }
}

#[test]
fn new_mail_keeps_a_folder_whose_maildir_was_removed_on_purpose() {
    let setup = in_step(Kind::Full, 3);
    fs::remove_dir_all(setup.root.path.join("Lists/rust")).unwrap();
    setup.append(&["Lists", "rust"], &corpus::odd(2));
    setup.run(&["sync", "--json", "--accept-held", "test"]).expect(0);
    setup.sync_in_step();
    assert_eq!(setup.root.folder(&["Lists", "rust"]).messages().len(), 2);
    assert_eq!(setup.imap().messages(&["Trash"]).len(), 3);
}

#[test]
fn an_empty_maildir_that_is_removed_takes_the_empty_folder_along() {
    let setup = in_step(Kind::Full, 0);
    fs::remove_dir_all(setup.root.path.join("Lists/rust")).unwrap();
    let run = setup.sync_in_step();
    assert_eq!(run.count("remote", "folders_removed"), 1, "{}", run.stdout);
    assert_eq!(folders(&setup), (false, false));
    assert!(setup.root.path.join("Lists/cur").is_dir(), "the one above it stays");
}

#[test]
fn very_many_small_folders_that_vanish_are_held() {
    let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(3));
    let name = |number: i32| format!("list {number}");
    for number in 0..12 {
        setup.imap().create(&[&name(number)]);
        setup.append(&[&name(number)], &corpus::ordinary(8));
    }
    setup.sync_in_step();
    for number in 0..12 {
        setup.imap().delete(&[&name(number)]);
    }
    let dry = setup.run(&["sync", "--json", "--dry-run"]).expect(5);
    assert_eq!((held(&dry).len(), dry.count("local", "folders_removed")), (12, 0), "{}", dry.stdout);
    assert_eq!(held(&setup.sync().expect(5)).len(), 12);
    assert_eq!(setup.root.folder(&[&name(3)]).messages().len(), 8);
    assert!(setup.recoverable().is_empty());
    setup.run(&["sync", "--json", "--undo-held", "test"]).expect(0);
    setup.sync_in_step();
    assert_eq!(setup.imap().messages(&[&name(3)]).len(), 8);
}

#[test]
fn small_folders_that_go_one_after_the_other_are_held_once_they_are_many() {
    let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(3));
    let names = ["list 1", "list 2", "list 3"];
    for name in names {
        setup.imap().create(&[name]);
        setup.append(&[name], &corpus::ordinary(24));
    }
    setup.sync_in_step();
    for name in &names[..2] {
        setup.imap().delete(&[name]);
        setup.sync_in_step();
    }
    setup.imap().delete(&[names[2]]);
    assert_eq!(held(&setup.sync().expect(5)), [(names[2].to_owned(), "mass-delete".to_owned())]);
    assert_eq!(setup.root.folder(&[names[2]]).messages().len(), 24);
}

#[test]
fn a_dry_run_tells_of_folders_that_would_go_and_touches_none() {
    let setup = in_step(Kind::Full, 5);
    setup.imap().delete(&["Lists", "rust"]);
    let run = setup.run(&["sync", "--json", "--dry-run"]).expect(0);
    assert_eq!((run.count("local", "folders_removed"), run.count("local", "removed")), (1, 5), "{}", run.stdout);
    assert!(run.stdout.contains("\"remove-folder\""), "{}", run.stdout);
    assert_eq!(folders(&setup), (true, false));
    setup.sync_in_step();
}

//! What a sync removed comes back: listed, brought back into the Maildir, uploaded by the next sync.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use mailtide::state::Lock;
use serde_json::Value;

use crate::support::compare::{self, canonical};
use crate::support::corpus::{self, Mail};
use crate::support::dovecot::Kind;
use crate::support::maildir::Layout;
use crate::support::setup::{Run, Setup};

/// Ten messages in INBOX and five in Lists/rust in step, then some of each expunged on the server, in two runs.
fn removed(kind: Kind) -> Setup {
    let setup = Setup::with_mail(kind, &corpus::ordinary(10));
    setup.imap().create(&["Lists", "rust"]);
    setup.append(&["Lists", "rust"], &corpus::odd(5));
    setup.sync_in_step();
    remove_some(&setup);
    setup
}

fn remove_some(setup: &Setup) {
    setup.imap().expunge(&["INBOX"], "4,6:7");
    setup.sync_in_step();
    setup.imap().expunge(&["Lists", "rust"], "1:2");
    setup.imap().expunge(&["INBOX"], "1");
    setup.sync_in_step();
}

fn restore(setup: &Setup, arguments: &[&str]) -> Run {
    setup.run(&[&["restore", "--json"], arguments].concat())
}

fn items(run: &Run) -> Vec<Value> {
    run.account()["items"].as_array().unwrap().clone()
}

fn subjects(run: &Run) -> Vec<String> {
    items(run).iter().map(|item| item["subject"].as_str().unwrap_or("-").to_owned()).collect()
}

fn texts(values: &[Value], field: &str) -> Vec<String> {
    values.iter().map(|value| value[field].as_str().unwrap_or("-").to_owned()).collect()
}

/// The contents of a folder on both sides, which must be equal.
fn contents(setup: &Setup, folder: &[&str]) -> Vec<Vec<u8>> {
    setup.sync_in_step();
    let mut found: Vec<Vec<u8>> = setup.imap().messages(folder).iter().map(|m| canonical(&m.body)).collect();
    found.sort();
    found
}

fn bodies(mails: &[Mail]) -> Vec<Vec<u8>> {
    let mut bodies: Vec<Vec<u8>> = mails.iter().map(|mail| canonical(&mail.body)).collect();
    bodies.sort();
    bodies
}

fn kept_files(setup: &Setup) -> Vec<PathBuf> {
    let entries = fs::read_dir(setup.path().join("state/trash/test")).unwrap();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

#[test]
fn what_sync_removed_is_listed_the_newest_run_first() {
    let setup = removed(Kind::Full);
    let run = restore(&setup, &[]).expect(0);
    let all = items(&run);
    let folders = texts(&all, "folder");
    assert_eq!(folders.len(), 6, "{}", run.stdout);
    let runs: Vec<u64> = all.iter().map(|item| item["run"].as_u64().unwrap()).collect();
    assert!(runs[..3].iter().all(|run| *run == runs[0]) && runs[3..].iter().all(|run| *run == runs[3]), "{runs:?}");
    assert!(runs[0] > runs[3]);
    assert_eq!(folders[3..], ["INBOX", "INBOX", "INBOX"]);
    let mut old = subjects(&run)[3..].to_vec();
    old.sort();
    assert_eq!(old, ["message 3", "message 5", "message 6"]);
    for item in &all {
        assert!(fs::metadata(item["path"].as_str().unwrap()).unwrap().len() == item["size"].as_u64().unwrap());
        assert_eq!(item["restored"], false);
    }
    assert_eq!(all[3]["from"], "Ada <ada@example.org>");
    assert_eq!(all[3]["date"], "Mon, 02 Mar 2020 08:00:00 +0000");

    assert_eq!(items(&restore(&setup, &["--folder", "Lists"])).len(), 2);
    assert_eq!(items(&restore(&setup, &["--folder", "List"])).len(), 0);
    assert_eq!(items(&restore(&setup, &["--since", "1h"])).len(), 6);
    assert_eq!(items(&restore(&setup, &["--since", "2999-01-01"])).len(), 0);
    let words = setup.run(&["restore"]).expect(0);
    assert!(words.stdout.starts_with("test: 6 messages can be brought back\n  ID  RUN"), "{}", words.stdout);
    assert!(words.stdout.contains("message 3") && words.stdout.contains("Lists/rust"), "{}", words.stdout);
    setup.sync().expect(0).expect_nothing_done();
}

#[test]
fn single_messages_come_back_as_they_were() {
    for kind in [Kind::Full, Kind::Bare] {
        let setup = Setup::with_mail(kind, &corpus::ordinary(10));
        setup.sync_in_step();
        let before = compare::of_root(&setup.root);
        setup.imap().expunge(&["INBOX"], "4,6:7");
        setup.sync_in_step();
        let ids = texts(&items(&restore(&setup, &[])), "id");
        let run = restore(&setup, &[&ids[0], &ids[2], &ids[0]]).expect(0);
        assert_eq!(items(&run).len(), 2, "{}", run.stdout);
        assert!(items(&run).iter().all(|item| item["restored"] == true));
        assert_eq!(items(&restore(&setup, &[])).len(), 1);
        let run = setup.sync_in_step();
        assert_eq!((run.count("remote", "added"), run.count("local", "added")), (2, 0), "{kind:?}: {}", run.stdout);
        restore(&setup, &["all"]).expect(0);
        setup.sync_in_step();
        let after = compare::of_root(&setup.root);
        let found = compare::differences(&before, "before", &after, "after");
        assert!(found.is_empty(), "{kind:?}: flags, dates, content: {found:?}");
        assert!(kept_files(&setup).is_empty());
    }
}

#[test]
fn a_run_a_folder_and_everything_come_back() {
    for layout in [Layout::Fs, Layout::PlusPlus] {
        let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(10));
        setup.root.layout = layout;
        setup.imap().create(&["Lists", "rust"]);
        setup.append(&["Lists", "rust"], &corpus::odd(5));
        setup.sync_in_step();
        remove_some(&setup);
        let old = items(&restore(&setup, &[]))[3]["run"].as_u64().unwrap();
        assert_eq!(items(&restore(&setup, &[&format!("run-{old}")]).expect(0)).len(), 3);
        assert_eq!(contents(&setup, &["INBOX"]), bodies(&corpus::ordinary(10)[1..]));
        assert_eq!(items(&restore(&setup, &["all", "--folder", "Lists"]).expect(0)).len(), 2);
        assert_eq!(contents(&setup, &["Lists", "rust"]), bodies(&corpus::odd(5)));
        assert_eq!(items(&restore(&setup, &["all"]).expect(0)).len(), 1);
        assert_eq!(contents(&setup, &["INBOX"]), bodies(&corpus::ordinary(10)));
        assert!(items(&restore(&setup, &[])).is_empty());
        let nothing = restore(&setup, &["all"]).expect(2);
        assert_eq!(nothing.json()["errors"][0]["code"], "unknown-id");
    }
}

#[test]
fn a_message_expunged_elsewhere_does_not_come_back_as_deleted() {
    let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(3));
    setup.sync_in_step();
    setup.imap().store(&["INBOX"], "2", "+FLAGS (\\Deleted)");
    setup.sync_in_step();
    setup.imap().expunge(&["INBOX"], "2");
    setup.sync_in_step();
    restore(&setup, &["all"]).expect(0);
    setup.sync_in_step();
    let messages = setup.imap().messages(&["INBOX"]);
    assert_eq!(messages.len(), 3);
    assert!(messages.iter().all(|message| !message.flags.contains("\\Deleted")));
}

#[test]
fn a_name_taken_meanwhile_is_not_taken_away_and_a_message_already_back_is_not_doubled() {
    let setup = removed(Kind::Full);
    let all = items(&restore(&setup, &["--folder", "INBOX"]));
    let find = |subject: &str| all.iter().find(|item| item["subject"] == subject).unwrap().clone();
    let cur = setup.root.inbox().0.join("cur");
    let unique = |item: &Value| item["file"].as_str().unwrap().split(':').next().unwrap().to_owned();
    // Another message has the name of one; a copy of another was put back by hand, and flagged.
    fs::write(cur.join(format!("{}:2,F", unique(&find("message 3")))), corpus::plain("squatter")).unwrap();
    fs::copy(find("message 5")["path"].as_str().unwrap(), cur.join(format!("{}:2,R", unique(&find("message 5")))))
        .unwrap();
    let run = restore(&setup, &["all", "--folder", "INBOX"]).expect(0);
    assert_eq!(items(&run).len(), 4, "{}", run.stdout);
    let mut expected = bodies(&corpus::ordinary(10));
    expected.push(corpus::plain("squatter"));
    expected.sort();
    assert_eq!(contents(&setup, &["INBOX"]), expected);
    assert!(setup.root.inbox().find("message 5.").flags.contains(&'R'), "as the user flagged it");
}

#[test]
fn a_restore_cut_short_is_repeated_without_doubling() {
    let setup = removed(Kind::Full);
    let all = items(&restore(&setup, &[]));
    // What a kill leaves after the links were made, and after a file left the trash but not the index.
    for item in all.iter().filter(|item| item["folder"] == "INBOX") {
        let cur = setup.root.inbox().0.join("cur").join(item["file"].as_str().unwrap());
        fs::hard_link(item["path"].as_str().unwrap(), cur).unwrap();
    }
    let gone = all.iter().find(|item| item["subject"] == "message 6").unwrap();
    fs::remove_file(gone["path"].as_str().unwrap()).unwrap();
    assert_eq!(items(&restore(&setup, &[])).len(), 5, "what is gone is not promised");
    let run = restore(&setup, &[gone["id"].as_str().unwrap()]).expect(1);
    assert_eq!(run.account()["errors"][0]["code"], "not-kept", "{}", run.stdout);
    restore(&setup, &["all"]).expect(0);
    assert_eq!(contents(&setup, &["INBOX"]), bodies(&corpus::ordinary(10)));
    assert_eq!(contents(&setup, &["Lists", "rust"]), bodies(&corpus::odd(5)));
}

#[test]
fn a_folder_that_is_gone_from_both_sides_is_made_again() {
    let setup = removed(Kind::Full);
    let server = setup.imap().folders();
    assert!(server.contains(&vec!["Lists".to_owned(), "rust".to_owned()]));
    setup.imap().delete(&["Lists", "rust"]);
    fs::remove_dir_all(setup.root.folder(&["Lists", "rust"]).0).unwrap();
    setup.sync();
    let run = restore(&setup, &["all", "--folder", "Lists/rust"]).expect(0);
    assert_eq!(items(&run).len(), 2, "{}", run.stdout);
    assert_eq!(contents(&setup, &["Lists", "rust"]), bodies(&corpus::odd(2)));
}

#[test]
fn keywords_come_back_whatever_letters_mean_now() {
    let setup = Setup::new(Kind::Full);
    let keyword = |folder: &str, body: &str| {
        let mut imap = setup.imap();
        let messages = imap.messages(&[folder]);
        let found = messages.into_iter().find(|m| String::from_utf8_lossy(&m.body).contains(body)).unwrap();
        found.flags.into_iter().filter(|flag| !flag.starts_with('\\')).collect::<Vec<_>>()
    };
    let mut imap = setup.imap();
    imap.create(&["Tagged"]);
    for (subject, flags) in [("one", "alpha"), ("two", "\\Seen beta $Forwarded")] {
        imap.append(&["Tagged"], &corpus::plain(subject), flags, None);
    }
    setup.sync_in_step();
    imap.delete(&["Tagged"]);
    setup.sync_in_step();
    // Here the first letter means something else.
    imap.create(&["Tagged"]);
    imap.append(&["Tagged"], &corpus::plain("three"), "gamma", None);
    setup.sync_in_step();
    restore(&setup, &["all"]).expect(0);
    setup.sync_in_step();
    assert_eq!(keyword("Tagged", "This is one."), ["alpha"]);
    assert_eq!(keyword("Tagged", "This is two."), ["$Forwarded", "beta"]);
    assert_eq!(keyword("Tagged", "This is three."), ["gamma"]);
    // And here none means anything.
    imap.delete(&["Tagged"]);
    setup.sync_in_step();
    restore(&setup, &["all"]).expect(0);
    setup.sync_in_step();
    assert_eq!(keyword("Tagged", "This is one."), ["alpha"]);
}

#[test]
fn messages_come_back_into_their_folder_whatever_that_is_called_now() {
    let mut setup = Setup::new(Kind::Full);
    let subjects = ["one", "two", "three", "sent"];
    for (folder, subject) in ["A", "B", "C", "Sent"].into_iter().zip(subjects) {
        if folder != "Sent" {
            setup.imap().create(&[folder]);
        }
        setup.imap().append(&[folder], &corpus::plain("stays"), "", None);
        setup.imap().append(&[folder], &corpus::plain(subject), "", None);
    }
    setup.sync_in_step();
    for folder in ["A", "B", "C", "Sent"] {
        setup.imap().expunge(&[folder], "2");
    }
    setup.sync_in_step();
    let mut imap = setup.imap();
    for (from, to) in [("A", "x"), ("B", "A"), ("x", "B")] {
        imap.rename(&[from], &[to]);
    }
    fs::rename(setup.root.path.join("C"), setup.root.path.join("D")).unwrap();
    setup.sync_in_step();
    setup.extra = "[accounts.test.folders]\nlocal_names = { Sent = \"A\", A = \"Gone\" }\n".to_owned();
    setup.sync().expect(0);
    setup.sync().expect(0).expect_nothing_done();
    let listed = items(&restore(&setup, &[]));
    let mut places: Vec<(String, String)> =
        texts(&listed, "subject").into_iter().zip(texts(&listed, "folder")).collect();
    places.sort();
    assert_eq!(
        places.iter().map(|(subject, folder)| (subject.as_str(), folder.as_str())).collect::<Vec<_>>(),
        [("one", "B"), ("sent", "Sent"), ("three", "D"), ("two", "A")]
    );
    restore(&setup, &["all"]).expect(0);
    setup.sync().expect(0);
    for (folder, subject) in [("B", "one"), ("A", "two"), ("D", "three"), ("Sent", "sent")] {
        let messages = setup.imap().messages(&[folder]);
        assert_eq!(messages.len(), 2, "{folder}");
        assert!(messages.iter().any(|m| canonical(&m.body) == canonical(&corpus::plain(subject))), "{folder}");
    }
    let folders = setup.imap().folders();
    assert!(!folders.contains(&vec!["C".to_owned()]) && !folders.contains(&vec!["Gone".to_owned()]), "{folders:?}");
}

#[test]
fn a_maildir_that_vanished_is_not_made_anew_for_one_message() {
    let setup = removed(Kind::Full);
    fs::remove_dir_all(setup.root.folder(&["Lists", "rust"]).0).unwrap();
    let run = restore(&setup, &["all", "--folder", "Lists/rust"]).expect(1);
    assert_eq!(run.account()["errors"][0]["code"], "maildir-vanished", "{}", run.stdout);
    assert!(!setup.root.folder(&["Lists", "rust"]).0.exists());
    assert_eq!(setup.imap().messages(&["Lists", "rust"]).len(), 3);
    setup.run(&["sync", "--json", "--undo-held", "test"]).expect(0);
    restore(&setup, &["all"]).expect(0);
    assert_eq!(contents(&setup, &["Lists", "rust"]), bodies(&corpus::odd(5)));
}

#[test]
fn nothing_is_brought_back_into_a_root_that_is_not_there() {
    let setup = removed(Kind::Full);
    let (root, away) = (setup.root.path.clone(), setup.path().join("away"));
    fs::rename(&root, &away).unwrap();
    for empty in [false, true] {
        if empty {
            fs::create_dir(&root).unwrap();
        }
        let run = restore(&setup, &["all"]).expect(5);
        assert_eq!(run.account()["errors"][0]["code"], "root-missing", "{}", run.stdout);
        assert_eq!(root.exists(), empty);
        assert_eq!(fs::read_dir(&root).map_or(0, Iterator::count), 0);
    }
    fs::remove_dir(&root).unwrap();
    fs::rename(&away, &root).unwrap();
    assert_eq!(items(&restore(&setup, &["all"]).expect(0)).len(), 6);
    assert_eq!(contents(&setup, &["INBOX"]), bodies(&corpus::ordinary(10)));
}

#[test]
fn another_run_at_work_is_told() {
    let setup = removed(Kind::Full);
    let lock = Lock::acquire(&setup.database()).unwrap().unwrap();
    for arguments in [&["all"][..], &[]] {
        let run = restore(&setup, arguments).expect(6);
        assert_eq!(run.account()["errors"][0]["code"], "busy", "{}", run.stdout);
    }
    drop(lock);
    restore(&setup, &["all"]).expect(0);
}

#[test]
fn what_the_index_lost_can_be_brought_back_where_the_user_says() {
    let setup = removed(Kind::Full);
    fs::remove_file(setup.database()).unwrap();
    for _ in 0..2 {
        let all = items(&restore(&setup, &[]).expect(0));
        assert_eq!(all.len(), 6);
        assert!(all.iter().all(|item| item["folder"].is_null() && item["run"].is_null()));
        setup.sync();
    }
    let all = items(&restore(&setup, &[]));
    let id = all.iter().find(|item| item["subject"] == "message 3").unwrap()["id"].as_str().unwrap().to_owned();
    assert_eq!(restore(&setup, &[&id]).expect(2).json()["errors"][0]["code"], "no-folder");
    restore(&setup, &["all"]).expect(2);
    restore(&setup, &["all", "--folder", "INBOX"]).expect(2);
    let run = restore(&setup, &[&id, "--folder", "Archive/old"]).expect(0);
    assert_eq!(items(&run)[0]["folder"], "Archive/old");
    assert_eq!(contents(&setup, &["Archive", "old"]), bodies(&corpus::ordinary(4)[3..]));
    assert_eq!(items(&restore(&setup, &[])).len(), 5);
}

#[test]
fn what_the_index_lost_is_kept_as_long_as_the_rest() {
    let mut setup = removed(Kind::Full);
    fs::remove_file(setup.database()).unwrap();
    setup.sync = "keep_deleted = \"1d\"".to_owned();
    setup.sync().expect(0);
    assert_eq!(kept_files(&setup).len(), 6, "not old enough, whatever their dates in the Maildir were");
    for file in kept_files(&setup) {
        assert!(fs::metadata(&file).unwrap().modified().unwrap().elapsed().unwrap() > Duration::from_secs(86_400));
    }
    fs::remove_file(setup.database()).unwrap();
    setup.sync = "keep_deleted = \"0s\"".to_owned();
    // Its times are whole seconds.
    let newest = kept_files(&setup).iter().map(change_time).max().unwrap();
    while now() <= newest {
        std::thread::yield_now();
    }
    setup.sync().expect(0);
    assert!(kept_files(&setup).is_empty());
}

fn change_time(file: &PathBuf) -> i64 {
    std::os::unix::fs::MetadataExt::ctime(&File::open(file).unwrap().metadata().unwrap())
}

fn now() -> i64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs().try_into().unwrap()
}

#[test]
fn what_was_only_moved_is_not_doubled_by_bringing_back_a_run() {
    let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(10));
    setup.imap().create(&["Archive"]);
    setup.sync_in_step();
    setup.imap().expunge(&["INBOX"], "3:5");
    setup.sync_in_step();
    // A program that moves in its own good time: by then the file is in the trash.
    setup.append(&["Archive"], &corpus::ordinary(5)[3..]);
    setup.sync_in_step();
    let run = restore(&setup, &["all"]).expect(1);
    assert_eq!(subjects(&run), ["message 2"], "{}", run.stdout);
    assert_eq!(run.account()["errors"][0]["code"], "elsewhere");
    assert_eq!(contents(&setup, &["INBOX"]).len(), 8);
    let id = items(&restore(&setup, &[]))[0]["id"].as_str().unwrap().to_owned();
    restore(&setup, &[&id]).expect(0);
    assert_eq!(contents(&setup, &["INBOX"]).len(), 9);
}

#[test]
fn what_is_there_again_is_not_doubled_by_bringing_back_a_run() {
    let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(5));
    setup.sync_in_step();
    setup.imap().expunge(&["INBOX"], "2:3");
    setup.sync_in_step();
    setup.append(&["INBOX"], &corpus::ordinary(5)[1..2]);
    setup.sync_in_step();
    let run = restore(&setup, &["all"]).expect(1);
    assert_eq!(subjects(&run), ["message 2"], "{}", run.stdout);
    assert_eq!(run.account()["errors"][0]["code"], "elsewhere");
    assert_eq!(contents(&setup, &["INBOX"]), bodies(&corpus::ordinary(5)));
    let id = items(&restore(&setup, &[]))[0]["id"].as_str().unwrap().to_owned();
    restore(&setup, &[&id]).expect(0);
    assert_eq!(contents(&setup, &["INBOX"]).len(), 6, "who names it has it twice");
}

#[test]
fn what_comes_back_into_a_folder_left_out_is_not_said_to_be_uploaded() {
    let mut setup = removed(Kind::Full);
    setup.extra = "[accounts.test.folders]\nexclude = [\"Lists/*\"]\n".to_owned();
    let said = setup.run(&["restore", "all", "--folder", "Lists"]).expect(0).stdout;
    assert!(said.contains("2 messages brought back; no sync uploads what is in Lists/rust"), "{said}");
    let said = setup.run(&["restore", "all"]).expect(0).stdout;
    assert!(said.contains("4 messages brought back; the next sync uploads"), "{said}");
}

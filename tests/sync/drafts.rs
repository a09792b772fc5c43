//! Drafts saved again, as mail programs do it: in place, by another file renamed over the name, under a new name.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::support::compare::canonical;
use crate::support::corpus::DATE;
use crate::support::dovecot::Kind;
use crate::support::maildir::Maildir;
use crate::support::setup::Setup;

const KINDS: [Kind; 3] = [Kind::Full, Kind::Bare, Kind::NoUidplus];

#[derive(Debug, Clone, Copy)]
enum Save {
    InPlace,
    RenamedOver,
    NewName,
}

/// Returns a version of the draft; all have the same length.
fn version(number: i64) -> Vec<u8> {
    format!(
        "From: Ada <ada@example.org>\nSubject: draft\nMessage-ID: <draft@example.org>\n\nThis is version {number:03}.\n"
    )
    .into_bytes()
}

fn set_date(path: &Path, date: i64) {
    let date = SystemTime::UNIX_EPOCH + Duration::from_secs(date.try_into().unwrap());
    fs::File::options().write(true).open(path).unwrap().set_modified(date).unwrap();
}

fn drafts(setup: &Setup) -> Maildir {
    setup.root.folder(&["Drafts"])
}

/// Saves the only draft again, a second after the last time.
fn save(setup: &Setup, number: i64, how: Save) -> PathBuf {
    let (folder, content, date) = (drafts(setup), version(number), DATE + number);
    let [old] = folder.messages().try_into().unwrap();
    match how {
        Save::InPlace => {
            fs::write(&old.path, content).unwrap();
            set_date(&old.path, date);
            old.path
        }
        Save::RenamedOver => {
            let temporary = folder.0.join("tmp/saving");
            fs::write(&temporary, content).unwrap();
            set_date(&temporary, date);
            fs::rename(&temporary, &old.path).unwrap();
            old.path
        }
        Save::NewName => {
            let flags: String = old.flags.iter().collect();
            let new = folder.deliver(&content, Some(&flags), Some(date));
            fs::remove_file(&old.path).unwrap();
            new
        }
    }
}

/// An account whose only message is a draft written here.
fn in_step(kind: Kind) -> Setup {
    let setup = Setup::new(kind);
    setup.sync().expect(0);
    drafts(&setup).create();
    drafts(&setup).deliver(&version(0), Some("D"), Some(DATE));
    setup.sync_in_step();
    setup
}

/// Returns the contents of a folder on the server.
fn there(setup: &Setup, folder: &[&str]) -> Vec<Vec<u8>> {
    let mut imap = setup.imap();
    if !imap.folders().contains(&folder.iter().map(|&part| part.to_owned()).collect::<Vec<_>>()) {
        return Vec::new();
    }
    imap.messages(folder).iter().map(|message| canonical(&message.body)).collect()
}

/// Demands that both sides hold this version and no other, and that nothing went to Trash.
fn assert_only(setup: &Setup, number: i64, context: &str) {
    let here: Vec<Vec<u8>> = drafts(setup).messages().into_iter().map(|entry| entry.content).collect();
    assert_eq!(here, [version(number)], "{context}: here");
    assert_eq!(there(setup, &["Drafts"]), [version(number)], "{context}: there");
    assert!(there(setup, &["Trash"]).is_empty(), "{context}: in Trash");
    assert!(setup.recoverable().is_empty(), "{context}: in the recoverable trash");
}

#[test]
fn a_draft_saved_ten_times_is_one_draft() {
    for how in [Save::InPlace, Save::RenamedOver, Save::NewName] {
        for kind in KINDS {
            let setup = in_step(kind);
            for number in 1..=10 {
                save(&setup, number, how);
                let run = setup.sync().expect(0);
                let counts = ["added", "replaced", "removed"].map(|what| run.count("remote", what));
                assert_eq!(counts, [0, 1, 0], "{how:?} {kind:?}: {}", run.stdout);
                assert_only(&setup, number, &format!("{how:?} {kind:?} {number}"));
            }
            setup.assert_equal();
            setup.sync().expect(0).expect_nothing_done();
            setup.run(&["sync", "--json", "--full"]).expect(0).expect_nothing_done();
        }
    }
}

#[test]
fn ten_saves_between_two_syncs_leave_one_draft() {
    let setup = in_step(Kind::Full);
    for number in 1..=10 {
        save(&setup, number, if number % 2 == 0 { Save::NewName } else { Save::InPlace });
    }
    setup.sync_in_step();
    assert_only(&setup, 10, "ten at once");
}

#[test]
fn a_draft_being_saved_is_waited_for() {
    let setup = in_step(Kind::Full);
    let path = save(&setup, 1, Save::InPlace);
    let saved = SystemTime::now();
    fs::write(&path, version(2)).unwrap();
    let run = setup.sync().expect(0);
    assert!(saved.elapsed().unwrap() >= Duration::from_secs(2), "sent before it was settled");
    assert_eq!(run.count("remote", "replaced"), 1);
    assert_only(&setup, 2, "just saved");
    setup.sync_in_step();
}

#[test]
fn flags_set_there_meanwhile_survive() {
    for how in [Save::InPlace, Save::RenamedOver, Save::NewName] {
        for kind in KINDS {
            let setup = in_step(kind);
            setup.imap().store(&["Drafts"], "1", "+FLAGS (\\Flagged todo)");
            let path = save(&setup, 1, how);
            let folder = drafts(&setup);
            let [entry] = folder.messages().try_into().unwrap();
            assert_eq!(entry.path, path);
            folder.set_flags(&entry, "DS");
            setup.sync().expect(0);
            assert_only(&setup, 1, &format!("{how:?} {kind:?}"));
            setup.sync_in_step();
            let [entry] = folder.messages().try_into().unwrap();
            assert_eq!(entry.flags.iter().collect::<String>(), "DFS", "{how:?} {kind:?}");
            assert_eq!(entry.keywords.iter().map(String::as_str).collect::<Vec<_>>(), ["todo"], "{how:?} {kind:?}");
        }
    }
}

#[test]
fn a_draft_saved_here_and_removed_there_stays() {
    for how in [Save::InPlace, Save::NewName] {
        let setup = in_step(Kind::Full);
        save(&setup, 1, how);
        setup.imap().expunge(&["Drafts"], "1");
        setup.sync().expect(0);
        assert_only(&setup, 1, &format!("{how:?}"));
        setup.sync_in_step();
    }
}

#[test]
fn saved_on_both_sides_both_are_kept() {
    let setup = in_step(Kind::Full);
    save(&setup, 1, Save::InPlace);
    let mut imap = setup.imap();
    imap.append(&["Drafts"], &version(2), "\\Draft", Some(DATE + 2));
    imap.expunge(&["Drafts"], "1");
    setup.sync().expect(0);
    setup.sync_in_step();
    let mut kept = there(&setup, &["Drafts"]);
    kept.sort();
    assert_eq!(kept, [version(1), version(2)]);
}

#[test]
fn a_copied_maildir_transfers_nothing() {
    let setup = in_step(Kind::Full);
    let [old] = drafts(&setup).messages().try_into().unwrap();
    for (date, kept_date) in [(DATE, true), (DATE + 500, false)] {
        let copy = setup.path().join("copy");
        fs::copy(&old.path, &copy).unwrap();
        set_date(&copy, date);
        fs::rename(&copy, &old.path).unwrap();
        setup.sync().expect(0).expect_nothing_done();
        assert_only(&setup, 0, &format!("date kept: {kept_date}"));
    }
}

#[test]
fn any_message_edited_in_place_is_found_by_a_full_look() {
    let setup = in_step(Kind::Full);
    let inbox = setup.root.inbox();
    let path = inbox.deliver(&version(1), Some("S"), Some(DATE));
    setup.sync_in_step();
    fs::write(&path, version(2)).unwrap();
    set_date(&path, DATE + 1);
    let run = setup.run(&["sync", "--json", "--full"]).expect(0);
    assert_eq!(run.count("remote", "replaced"), 1, "{}", run.stdout);
    assert_eq!(there(&setup, &["INBOX"]), [version(2)]);
    assert_eq!(there(&setup, &["Trash"]), [version(1)], "no draft: the file may be a damaged one");
    setup.sync_in_step();
}

/// Puts rubbish in the place of so many messages that are no drafts.
fn damage(setup: &Setup, count: usize) {
    let inbox = setup.root.inbox();
    let (rubbish, whole) = (inbox.0.join("tmp/damaged"), |content: &[u8]| !content.starts_with(b"Subject: damaged"));
    let messages = inbox.messages().into_iter().filter(|entry| !entry.flags.contains(&'D') && whole(&entry.content));
    for entry in messages.take(count) {
        fs::write(&rubbish, b"Subject: damaged\n\nzeros\n").unwrap();
        set_date(&rubbish, DATE);
        fs::rename(&rubbish, &entry.path).unwrap();
    }
}

#[test]
fn files_that_change_by_accident_a_few_at_a_time_add_up() {
    let setup = Setup::with_mail(Kind::Full, &crate::support::corpus::ordinary(160));
    setup.sync_in_step();
    damage(&setup, 40);
    setup.sync().expect(0);
    damage(&setup, 40);
    let run = setup.sync().expect(5);
    assert_eq!(run.account()["held"][0]["reason"], "mass-delete", "{}", run.stdout);
    assert_eq!(there(&setup, &["Trash"]).len(), 40);
}

#[test]
fn many_files_that_changed_by_accident_are_held() {
    for answer in ["--accept-held", "--undo-held"] {
        let setup = Setup::with_mail(Kind::Full, &crate::support::corpus::ordinary(80));
        setup.sync_in_step();
        damage(&setup, 60);
        let run = setup.sync().expect(5);
        assert_eq!(run.account()["held"][0]["reason"], "mass-delete", "{}", run.stdout);
        assert_eq!(there(&setup, &["INBOX"]).len(), 140, "the server keeps its copies beside the new ones");
        setup.run(&["sync", "--json", answer, "test"]).expect(0);
        setup.sync_in_step();
        let (inbox, trash) = (there(&setup, &["INBOX"]).len(), there(&setup, &["Trash"]).len());
        assert_eq!((inbox, trash), if answer == "--undo-held" { (140, 0) } else { (80, 60) }, "{answer}");
    }
}

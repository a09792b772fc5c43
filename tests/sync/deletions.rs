//! Deletions, each way and by each policy.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use crate::support::compare::{self, canonical};
use crate::support::corpus;
use crate::support::dovecot::Kind;
use crate::support::proxy::Proxy;
use crate::support::setup::Setup;

/// An account of ten messages in step, with a `delete` policy.
fn in_step(kind: Kind, policy: &str) -> Setup {
    let mut setup = Setup::with_mail(kind, &corpus::ordinary(10));
    setup.sync = format!("delete = \"{policy}\"");
    setup.sync_in_step();
    setup
}

/// How long a server that is far away takes to answer.
const FAR: Duration = Duration::from_millis(10);

fn remove(setup: &Setup, text: &str) {
    fs::remove_file(setup.root.inbox().find(text).path).unwrap();
}

#[test]
fn a_dry_run_brings_nothing_back_from_a_trash_that_takes_no_part() {
    for subscribed in [false, true] {
        let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(2));
        setup.imap().subscribe(&["INBOX"]);
        if subscribed {
            setup.imap().subscribe(&["Trash"]);
        }
        setup.extra = "[accounts.test.folders]\nsubscribed_only = true\n".to_owned();
        setup.sync().expect(0);
        fs::remove_file(&setup.root.inbox().messages()[0].path).unwrap();
        for arguments in [&["sync", "--json", "--dry-run"][..], &["sync", "--json"]] {
            let run = setup.run(arguments).expect(0);
            let done = (run.count("remote", "removed"), run.count("local", "added"));
            assert_eq!(done, (1, u64::from(subscribed)), "{arguments:?}: {}", run.stdout);
        }
    }
}

#[test]
fn flags_and_removals_in_many_folders_take_few_round_trips() {
    let lists: Vec<String> = (0..30).map(|number| format!("list {number}")).collect();
    // One that is far away; one that is near, where each mailbox is dealt with by itself; and those that can do less.
    let all = [(Kind::Full, Some(25)), (Kind::Full, None), (Kind::Bare, None), (Kind::NoUidplus, None)];
    for (kind, few) in all {
        let mut setup = Setup::with_mail(kind, &corpus::ordinary(1));
        setup.sync = "delete = \"expunge\"".to_owned();
        let proxy = few.map(|_| Proxy::start(setup.server.port));
        if let Some(proxy) = &proxy {
            proxy.move_away(FAR);
            (setup.port, setup.tls) = (proxy.port, "none");
        }
        for list in &lists {
            setup.imap().create(&[list]);
            setup.append(&[list], &corpus::ordinary(3));
        }
        setup.sync_in_step();
        for list in &lists {
            let folder = setup.root.folder(&[list]);
            fs::remove_file(folder.find("message 0.").path).unwrap();
            folder.set_flags(&folder.find("message 1."), "FS");
        }
        let run = setup.sync_in_step();
        assert_eq!(
            (run.count("remote", "removed"), run.count("remote", "flags")),
            (30, 30),
            "{kind:?}: {}",
            run.stdout
        );
        let round_trips = run.account()["round_trips"].as_u64().unwrap();
        assert!(few.is_none_or(|few| round_trips <= few), "{}", run.stdout);
        setup.sync_in_step().expect_nothing_done();
    }
}

/// Returns the numbers of the messages that a folder on the server holds, those flagged `\Deleted` negative.
fn there(setup: &Setup, folder: &[&str]) -> Vec<i32> {
    let number = |body: &[u8]| -> i32 {
        let text = String::from_utf8_lossy(body).into_owned();
        let (_, rest) = text.split_once("This is message ").unwrap();
        rest.split_once('.').unwrap().0.parse().unwrap()
    };
    let messages = setup.imap().messages(folder);
    messages.iter().map(|m| if m.flags.contains("\\Deleted") { -number(&m.body) } else { number(&m.body) }).collect()
}

#[test]
fn by_default_a_message_removed_here_goes_to_the_servers_trash() {
    for kind in [Kind::Full, Kind::Bare, Kind::NoUidplus] {
        let setup = Setup::with_mail(kind, &corpus::ordinary(10));
        setup.sync_in_step();
        remove(&setup, "message 3.");
        setup.sync().expect(0);
        setup.sync_in_step();
        assert_eq!(there(&setup, &["INBOX"]), [0, 1, 2, 4, 5, 6, 7, 8, 9], "{kind:?}");
        assert_eq!(there(&setup, &["Trash"]), [3]);
        let trash = setup.root.folder(&["Trash"]);
        assert_eq!(trash.messages().len(), 1);
        fs::remove_file(&trash.messages()[0].path).unwrap();
        setup.sync_in_step();
        assert_eq!(there(&setup, &["Trash"]), [0; 0], "removed from Trash: expunged");
    }
}

#[test]
fn expunge_removes_it_for_good() {
    for kind in [Kind::Full, Kind::Bare, Kind::NoUidplus] {
        let setup = in_step(kind, "expunge");
        remove(&setup, "message 3.");
        setup.sync_in_step();
        assert_eq!(there(&setup, &["INBOX"]), [0, 1, 2, 4, 5, 6, 7, 8, 9], "{kind:?}");
        assert_eq!(there(&setup, &["Trash"]), [0; 0]);
    }
}

#[test]
fn flag_leaves_it_flagged_and_does_not_bring_it_back() {
    let setup = in_step(Kind::Full, "flag");
    remove(&setup, "message 3.");
    for arguments in [&["sync", "--json", "--dry-run"][..], &["sync", "--json"]] {
        let run = setup.run(arguments).expect(0);
        assert_eq!((run.count("remote", "removed"), run.count("remote", "flags")), (0, 1), "{}", run.stdout);
    }
    assert_eq!(there(&setup, &["INBOX"]), [0, 1, 2, -3, 4, 5, 6, 7, 8, 9]);
    setup.sync().expect(0).expect_nothing_done();
    setup.run(&["sync", "--json", "--full"]).expect(0).expect_nothing_done();
    assert_eq!(setup.root.inbox().messages().len(), 9);
    setup.imap().store(&["INBOX"], "4", "-FLAGS (\\Deleted)");
    setup.sync_in_step();
    assert_eq!(setup.root.inbox().messages().len(), 10, "wanted again by another client");
}

#[test]
fn never_leaves_it_and_does_not_bring_it_back() {
    let setup = in_step(Kind::Full, "never");
    remove(&setup, "message 3.");
    setup.sync().expect(0);
    assert_eq!(there(&setup, &["INBOX"]), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    setup.sync().expect(0).expect_nothing_done();
    setup.run(&["sync", "--json", "--full"]).expect(0).expect_nothing_done();
    assert_eq!(setup.root.inbox().messages().len(), 9);
}

/// The file is away for a sync, in which the message stays on the server.
fn put_back(policy: &str, kind: Kind) {
    let setup = in_step(kind, policy);
    let inbox = setup.root.inbox();
    let all = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    for (name, is_flagged) in [(None, false), (Some("9.x.y:2,FS"), true), (Some("10.x.y:2,"), false)] {
        let (file, away) = (inbox.find("message 3.").path, setup.path().join("away"));
        fs::rename(&file, &away).unwrap();
        setup.sync().expect(0);
        let back = name.map_or(file, |name| setup.root.path.join("INBOX/cur").join(name));
        fs::rename(&away, back).unwrap();
        let run = setup.sync().expect(0);
        assert_eq!((run.count("remote", "added"), &run.account()["adopted"]), (0, &1.into()), "{}", run.stdout);
        assert_eq!(there(&setup, &["INBOX"]), all);
        setup.sync_in_step();
        let flagged = setup.imap().messages(&["INBOX"])[3].flags.contains("\\Flagged");
        assert!(name.is_none() || flagged == is_flagged, "{policy} {kind:?} {name:?}");
    }
    // It is theirs to remove as ever.
    setup.imap().expunge(&["INBOX"], "4");
    setup.sync_in_step();
}

#[test]
fn a_file_put_back_is_the_message_that_stayed_on_the_server() {
    for kind in [Kind::Full, Kind::Bare] {
        put_back("never", kind);
        put_back("flag", kind);
    }
}

#[test]
fn without_uidplus_nothing_of_other_clients_is_expunged() {
    for kind in [Kind::Bare, Kind::NoUidplus] {
        for policy in ["expunge", "trash"] {
            let setup = in_step(kind, policy);
            setup.imap().store(&["INBOX"], "6", "+FLAGS (\\Deleted)");
            remove(&setup, "message 3.");
            setup.sync().expect(0);
            let inbox = there(&setup, &["INBOX"]);
            assert!(inbox.contains(&-5), "{kind:?} {policy}: another client's message was expunged: {inbox:?}");
            assert!(!inbox.contains(&3), "{inbox:?}");
            setup.sync().expect(0);
            assert_eq!(setup.root.inbox().messages().len(), 9);
            setup.sync().expect(0).expect_nothing_done();
            setup.imap().store(&["INBOX"], "6", "-FLAGS (\\Deleted)");
            setup.sync().expect(0);
            setup.sync_in_step();
            assert_eq!(there(&setup, &["INBOX"]), [0, 1, 2, 4, 5, 6, 7, 8, 9], "{kind:?} {policy}: at last");
            assert_eq!(there(&setup, &["Trash"]).len(), usize::from(policy == "trash"));
        }
    }
}

#[test]
fn a_message_expunged_there_leaves_the_maildir_and_can_be_recovered() {
    for kind in [Kind::Full, Kind::Bare] {
        let setup = Setup::with_mail(kind, &corpus::ordinary(10));
        setup.sync_in_step();
        setup.imap().expunge(&["INBOX"], "4,6:7");
        let run = setup.sync_in_step();
        assert_eq!(run.count("local", "removed"), 3, "{kind:?}: {}", run.stdout);
        let kept: BTreeSet<Vec<u8>> = setup.recoverable().iter().map(|content| canonical(content)).collect();
        let mails = corpus::ordinary(10);
        for number in [3, 5, 6] {
            assert!(kept.contains(&mails[number].body), "message {number} is not recoverable");
        }
    }
}

#[test]
fn a_removal_wins_over_a_flag_and_the_message_stays_recoverable() {
    let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(10));
    setup.sync_in_step();
    let inbox = setup.root.inbox();
    inbox.set_flags(&inbox.find("message 3."), "FRS");
    setup.imap().expunge(&["INBOX"], "4");
    remove(&setup, "message 5.");
    setup.imap().store(&["INBOX"], "6", "+FLAGS (\\Flagged)");
    setup.imap().expunge(&["INBOX"], "8");
    remove(&setup, "message 7.");
    setup.sync().expect(0);
    setup.sync_in_step();
    assert_eq!(there(&setup, &["INBOX"]), [0, 1, 2, 4, 6, 8, 9]);
    assert_eq!(there(&setup, &["Trash"]), [5]);
    assert_eq!(setup.recoverable().len(), 1);
}

#[test]
fn new_mail_and_deletions_cross_without_harm() {
    for kind in [Kind::Full, Kind::Bare] {
        let setup = Setup::with_mail(kind, &corpus::ordinary(10));
        setup.sync_in_step();
        setup.imap().expunge(&["INBOX"], "1:3");
        setup.append(&["INBOX"], &corpus::odd(3));
        remove(&setup, "message 9.");
        setup.root.inbox().deliver(&corpus::plain("crossing"), Some("S"), Some(corpus::DATE));
        setup.sync().expect(0);
        setup.sync_in_step();
        let inbox = compare::of_server(&mut setup.imap()).remove(&vec!["INBOX".to_owned()]).unwrap();
        assert_eq!(inbox.len(), 10 - 3 - 1 + 3 + 1, "{kind:?}");
    }
}

//! The first sync of an account, and the one after it.

use std::fs;

use crate::support::compare;
use crate::support::corpus::{self, DATE, Mail};
use crate::support::dovecot::Kind;
use crate::support::maildir::Layout;
use crate::support::proxy::Proxy;
use crate::support::setup::Setup;

/// Every kind of server that must do.
const SERVERS: [Kind; 4] = [Kind::Full, Kind::AnyName, Kind::Bare, Kind::NoUidplus];

#[test]
fn pulls_all_mail_however_odd_with_flags_and_dates() {
    for kind in SERVERS {
        let setup = Setup::with_mail(kind, &corpus::odd(102));
        setup.append(&["Sent"], &corpus::ordinary(20));
        let run = setup.sync_in_step();
        assert_eq!(run.count("local", "added"), 122, "{kind:?}: {}", run.stdout);
        assert_eq!(setup.root.inbox().messages().len(), 102);
        assert!(setup.root.inbox().messages().iter().all(|entry| !entry.content.windows(2).any(|two| two == b"\r\n")));
    }
}

#[test]
fn the_second_sync_does_nothing_in_few_round_trips() {
    // The second where the log-in is one line, and the folders are asked for behind it.
    for (disable, round_trips, turns) in [("", 4, 7), ("\"AUTH=SCRAM-SHA-256\", \"AUTH=SCRAM-SHA-1\"", 1, 5)] {
        let mut setup = Setup::with_mail(Kind::Full, &corpus::odd(102));
        setup.keys = format!("disable = [{disable}]");
        for number in 0..20 {
            setup.imap().create(&["Lists", &format!("list {number}")]);
        }
        setup.sync_in_step();
        let proxy = Proxy::start(setup.port);
        setup.port = proxy.port;
        let run = setup.sync().expect(0).expect_nothing_done();
        let claimed = run.account()["round_trips"].as_u64().unwrap();
        assert!(claimed <= round_trips, "{claimed}: {}", run.stdout);
        // TLS has one or two of its own, and closing may count as one.
        assert!(proxy.turns() <= turns, "{} turns, {claimed} round trips", proxy.turns());
    }
}

/// The look that follows a change goes with it, and so does the listing that follows a look at what has gone.
#[test]
fn a_change_on_one_side_takes_hardly_more_round_trips_than_none() {
    type Change = (&'static str, u32, fn(&Setup));
    let changes: [Change; 7] = [
        ("flagged here", 2, |setup| drop(setup.root.inbox().set_flags(&setup.root.inbox().find("message 1."), "F"))),
        ("new here", 2, |setup| drop(setup.root.inbox().deliver(&corpus::ordinary(40)[30].body, Some(""), Some(DATE)))),
        ("moved here", 2, |setup| {
            let entry = setup.root.inbox().find("message 2.");
            let target = setup.root.folder(&["Lists"]).0.join("cur").join(entry.path.file_name().unwrap());
            fs::rename(entry.path, target).unwrap();
        }),
        // What comes to Trash by that is fetched.
        ("removed here", 3, |setup| fs::remove_file(setup.root.inbox().find("message 3.").path).unwrap()),
        ("flagged there", 2, |setup| setup.imap().store(&["INBOX"], "5", "+FLAGS (later)")),
        // Looked at first, and after the change here once more.
        ("flagged on both sides", 3, |setup| {
            setup.imap().store(&["INBOX"], "8", "+FLAGS (later)");
            setup.root.inbox().set_flags(&setup.root.inbox().find("message 9."), "F");
        }),
        ("removed there", 2, |setup| setup.imap().expunge(&["INBOX"], "6")),
    ];
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(20));
    setup.keys = "disable = [\"AUTH=SCRAM-SHA-256\", \"AUTH=SCRAM-SHA-1\"]".to_owned();
    setup.imap().create(&["Lists"]);
    setup.sync_in_step();
    for (what, round_trips, change) in changes {
        change(&setup);
        let run = setup.sync_in_step();
        assert_eq!(run.account()["round_trips"], round_trips, "{what}: {}", run.stdout);
        assert_eq!(setup.sync_in_step().expect_nothing_done().account()["round_trips"], 1, "{what}");
    }
}

/// Systems let a process have 256 or 1,024 files open, and an account may have more folders.
#[test]
fn there_may_be_more_folders_with_new_mail_than_files_may_be_open() {
    let mut setup = Setup::with_mail(Kind::Full, &[]);
    setup.entrance = ["sh", "-c", "ulimit -n 64; exec \"$@\"", "sh"].map(str::to_owned).to_vec();
    let names: Vec<String> = (0..100).map(|number| format!("list {number}")).collect();
    let mut imap = setup.imap();
    for (name, mail) in names.iter().zip(corpus::ordinary(100)) {
        imap.create(&["Lists", name]);
        imap.append(&["Lists", name], &mail.body, "", Some(mail.date));
    }
    let run = setup.sync_in_step();
    assert_eq!(run.count("local", "added"), 100, "{}", run.stdout);
    for (name, mail) in names.iter().zip(corpus::ordinary(200).split_off(100)) {
        imap.store(&["Lists", name], "1", "+FLAGS (\\Flagged)");
        setup.root.folder(&["Lists", name]).deliver(&mail.body, None, None);
    }
    let run = setup.sync_in_step();
    assert_eq!((run.count("local", "flags"), run.count("remote", "added")), (100, 100), "{}", run.stdout);
}

#[test]
fn mail_on_both_sides_is_adopted_and_nothing_doubled() {
    for kind in SERVERS {
        let mails = corpus::ordinary(40);
        let setup = Setup::with_mail(kind, &mails[..30]);
        setup.root.inbox().create();
        for (at, mail) in mails.iter().enumerate().skip(10) {
            setup.root.inbox().deliver(&mail.body, (at % 2 == 0).then_some("F"), Some(mail.date));
        }
        let run = setup.sync_in_step();
        assert_eq!(run.account()["adopted"], 20, "{kind:?}: {}", run.stdout);
        assert_eq!((run.count("local", "added"), run.count("remote", "added")), (10, 10), "{}", run.stdout);
        let there = setup.imap().messages(&["INBOX"]);
        assert_eq!(there.len(), 40);
        let flagged = there.iter().filter(|message| message.flags.contains("\\Flagged")).count();
        let expected = (0..40).filter(|at| at % 8 == 3 || at % 8 == 7 && *at < 30 || *at >= 10 && at % 2 == 0).count();
        let only_local = (30..40).filter(|at| at % 8 == 3).count();
        assert_eq!(flagged, expected - only_local, "flags are united");
    }
}

/// mbsync gives what it pulls a header field of its own, and by default the date of that day.
#[test]
fn mail_that_mbsync_brought_is_adopted_and_nothing_doubled() {
    for kind in SERVERS {
        let setup = Setup::with_mail(kind, &corpus::ordinary(60));
        setup.root.inbox().create();
        for (number, mail) in corpus::ordinary(60).into_iter().enumerate() {
            let text = String::from_utf8(mail.body).unwrap().replace("\r\n", "\n");
            let (header, body) = text.split_once("\n\n").unwrap();
            let brought = format!("{header}\nX-TUID: 9s8Yq3Yk2v{number:02}\n\n{body}");
            setup.root.inbox().deliver(brought.as_bytes(), Some(""), Some(DATE));
        }
        let run = setup.sync().expect(0);
        assert_eq!(run.account()["adopted"], 60, "{kind:?}: {}", run.stdout);
        assert_eq!((run.count("local", "added"), run.count("remote", "added")), (0, 0), "{kind:?}: {}", run.stdout);
        assert_eq!((setup.root.inbox().messages().len(), setup.imap().messages(&["INBOX"]).len()), (60, 60));
        setup.sync().expect(0).expect_nothing_done();
    }
}

#[test]
fn equal_messages_are_adopted_one_to_one() {
    let twins = vec![Mail { body: corpus::plain("twin"), flags: "", date: DATE }; 3];
    let setup = Setup::with_mail(Kind::Full, &twins);
    setup.root.inbox().create();
    setup.root.inbox().deliver(&corpus::plain("twin"), None, Some(DATE));
    let run = setup.sync_in_step();
    assert_eq!(run.account()["adopted"], 1, "{}", run.stdout);
    assert_eq!(setup.root.inbox().messages().len(), 3);
    assert_eq!(setup.imap().messages(&["INBOX"]).len(), 3);
}

#[test]
fn a_lost_database_costs_no_transfer_and_no_mail() {
    let setup = Setup::with_mail(Kind::Full, &corpus::odd(34));
    setup.append(&["Sent"], &corpus::ordinary(20));
    setup.sync_in_step();
    let before = compare::of_server(&mut setup.imap());
    fs::remove_dir_all(setup.path().join("state")).unwrap();
    let run = setup.sync_in_step();
    assert_eq!(run.account()["adopted"], 54, "{}", run.stdout);
    assert_eq!((run.count("local", "added"), run.count("remote", "added")), (0, 0), "{}", run.stdout);
    assert_eq!(compare::of_server(&mut setup.imap()), before);
}

#[test]
fn starttls_and_plain_loopback_do_as_well() {
    for tls in ["starttls", "none"] {
        let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(5));
        (setup.tls, setup.port) = (tls, setup.server.port);
        setup.sync_in_step();
    }
}

#[test]
fn maildir_plus_plus_works_both_ways() {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(5));
    setup.root.layout = Layout::PlusPlus;
    setup.imap().create(&["Archive", "2025"]);
    setup.append(&["Archive", "2025"], &corpus::ordinary(3));
    setup.sync_in_step();
    assert_eq!(setup.root.folder(&["Archive", "2025"]).messages().len(), 3);
    let made = setup.root.folder(&["Local", "Nested"]);
    made.create();
    made.deliver(&corpus::plain("made here"), Some("S"), Some(DATE));
    setup.root.inbox().deliver(&corpus::plain("in the root"), None, Some(DATE));
    setup.sync_in_step();
    assert_eq!(setup.imap().messages(&["Local", "Nested"]).len(), 1);
    assert_eq!(setup.imap().messages(&["INBOX"]).len(), 6);
}

#[test]
fn two_accounts_are_synced_in_one_run() {
    let mut one = Setup::with_mail(Kind::Full, &corpus::ordinary(5));
    let mut two = Setup::with_mail(Kind::Bare, &corpus::ordinary(7));
    two.name = "second";
    one.extra = two.account();
    let run = one.sync().expect(0);
    let names: Vec<_> = run.json()["accounts"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["test", "second"], "in the order of the file");
    one.assert_equal();
    two.assert_equal();
    two.password = "wrong";
    one.extra = two.account();
    one.append(&["INBOX"], &corpus::odd(1));
    let run = one.sync().expect(3);
    assert_eq!(run.json()["accounts"][0]["exit_code"], 0, "{}", run.stdout);
    assert_eq!(run.json()["accounts"][1]["status"], "failed", "{}", run.stdout);
    one.assert_equal();
    one.run(&["sync", "--json", "test"]).expect(0).expect_nothing_done();
}

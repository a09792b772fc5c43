//! A server whose UIDs name other messages than they did: numbered anew, restored from a backup, or lying.

use std::fs;
use std::process::Command;

use crate::support::corpus;
use crate::support::dovecot::Kind;
use crate::support::scripted::{Rule, Scripted};
use crate::support::setup::{Run, Setup};

fn in_step(kind: Kind, count: i64) -> Setup {
    let setup = Setup::with_mail(kind, &corpus::ordinary(count));
    setup.imap().create(&["Archive"]);
    setup.sync_in_step();
    setup
}

fn forget_numbers(setup: &Setup) {
    setup.server.forget_numbers(&setup.user);
}

/// How many messages INBOX holds: here, there.
fn counts(setup: &Setup) -> (usize, usize) {
    (setup.root.inbox().messages().len(), setup.imap().messages(&["INBOX"]).len())
}

fn subject(number: usize) -> String {
    let body = String::from_utf8(corpus::ordinary(9)[number].body.clone()).unwrap();
    body.lines().find(|line| line.starts_with("Subject:")).unwrap().to_owned()
}

fn validity_there(setup: &Setup) -> u32 {
    setup.imap().uid_validity(&["INBOX"])
}

#[test]
fn what_is_pending_survives() {
    for kind in [Kind::Full, Kind::Bare] {
        let setup = in_step(kind, 9);
        let inbox = setup.root.inbox();
        let before = validity_there(&setup);
        inbox.set_flags(&inbox.find(&subject(1)), "FS");
        fs::remove_file(inbox.find(&subject(2)).path).unwrap();
        let moved = inbox.find(&subject(3)).path;
        fs::rename(&moved, setup.root.folder(&["Archive"]).0.join("cur").join(moved.file_name().unwrap())).unwrap();
        let uid = setup.imap().messages(&["INBOX"])[4].uid;
        setup.imap().store(&["INBOX"], &uid.to_string(), "+FLAGS (\\Answered)");
        forget_numbers(&setup);
        assert_ne!(validity_there(&setup), before, "{kind:?}");
        let run = setup.sync().expect(0);
        assert_eq!((run.account()["adopted"].as_u64(), run.count("local", "added")), (Some(0), 1), "{}", run.stdout);
        setup.sync().expect(0).expect_nothing_done();
        setup.assert_equal();
        assert_eq!(counts(&setup), (7, 7), "{kind:?}");
        let folder = |name: &str| setup.imap().messages(&[name]);
        let holds = |name: &str, number| {
            folder(name).iter().filter(|one| String::from_utf8_lossy(&one.body).contains(&subject(number))).count()
        };
        assert_eq!((holds("Trash", 2), holds("Archive", 3), folder("Trash").len()), (1, 1, 1), "{kind:?}");
        assert!(inbox.find(&subject(1)).flags.contains(&'F'), "{kind:?}");
    }
}

#[test]
fn what_must_not_come_back_does_not() {
    for delete in ["never", "flag"] {
        let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(9));
        setup.sync = format!("delete = \"{delete}\"");
        setup.sync().expect(0);
        fs::remove_file(setup.root.inbox().find(&subject(0)).path).unwrap();
        setup.sync().expect(0);
        fs::remove_file(setup.root.inbox().find(&subject(2)).path).unwrap();
        forget_numbers(&setup);
        for _ in 0..2 {
            setup.sync().expect(0);
            assert_eq!(counts(&setup), (7, 9), "{delete}");
        }
        setup.sync().expect(0).expect_nothing_done();
    }
}

#[test]
fn a_large_folder_under_another_uidvalidity_costs_headers_only() {
    let bodies = |number: i64| {
        let mail = corpus::ordinary(number + 1).swap_remove(usize::try_from(number).unwrap());
        let mut body = mail.body.clone();
        body.extend(b"a long line of no interest to anybody, again and again\n".repeat(400));
        corpus::Mail { body, ..mail }
    };
    let setup = Setup::with_mail(Kind::Full, &(0..100).map(bodies).collect::<Vec<_>>());
    let first = setup.sync().expect(0).account()["bytes_in"].as_u64().unwrap();
    setup.sync_in_step();
    for _ in 0..2 {
        forget_numbers(&setup);
        let run = setup.sync().expect(0).expect_nothing_done();
        assert_eq!(run.account()["adopted"], 0);
        let bytes = run.account()["bytes_in"].as_u64().unwrap();
        assert!(bytes < first / 10, "{bytes} of {first}");
    }
    setup.assert_equal();
}

fn mostly_gone() -> Setup {
    let setup = in_step(Kind::Full, 60);
    setup.imap().expunge(&["INBOX"], "1:40");
    forget_numbers(&setup);
    setup.append(&["INBOX"], &corpus::odd(3));
    setup.append(&["Archive"], &corpus::odd(2));
    setup
}

fn expect_held(run: &Run) {
    let held = &run.account()["held"][0];
    assert_eq!((&held["folder"], &held["reason"]), (&"INBOX".into(), &"uidvalidity".into()), "{}", run.stdout);
    assert_eq!((&held["side"], &held["count"]), (&"remote".into(), &40.into()), "{}", run.stdout);
}

#[test]
fn a_folder_hardly_known_again_is_held_and_united_on_either_word() {
    for word in ["--accept-held", "--undo-held"] {
        let setup = mostly_gone();
        expect_held(&setup.run(&["sync", "--json", "--dry-run"]).expect(5));
        for _ in 0..2 {
            expect_held(&setup.sync().expect(5));
            assert_eq!(counts(&setup), (60, 23), "{word}");
        }
        assert_eq!(setup.root.folder(&["Archive"]).messages().len(), 2, "the rest goes on");
        let told = setup.run(&["sync"]).expect(5);
        assert!(format!("{}{}", told.stdout, told.stderr).contains("--undo-held"), "{told:?}");
        setup.run(&["sync", "--json", word, "test"]).expect(0);
        assert_eq!(counts(&setup), (63, 63), "{word}");
        setup.sync_in_step();
    }
}

#[test]
fn what_waits_for_a_held_folder_says_so() {
    let setup = in_step(Kind::Full, 60);
    setup.append(&["Sent"], &corpus::odd(9));
    setup.sync_in_step();
    setup.imap().expunge(&["INBOX"], "1:40");
    forget_numbers(&setup);
    expect_held(&setup.sync().expect(5));
    setup.imap().expunge(&["Sent"], "1");
    let run = setup.sync().expect(5);
    expect_held(&run);
    let errors = run.account()["errors"].as_array().unwrap().clone();
    let told: Vec<_> = errors.iter().map(|error| (error["folder"].as_str(), error["message"].as_str())).collect();
    let [(Some("Sent"), Some(words))] = told[..] else { panic!("{told:?}") };
    assert!(words.contains("INBOX is held"), "{words}");
    assert_eq!(setup.root.folder(&["Sent"]).messages().len(), 9);
    setup.run(&["sync", "--json", "--undo-held", "test"]).expect(0);
    setup.sync_in_step();
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    assert!(Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap().success());
}

#[test]
fn a_server_restored_from_a_backup_removes_and_hides_nothing() {
    for kind in [Kind::Full, Kind::Bare] {
        let setup = in_step(kind, 9);
        let home = setup.server.home(&setup.user);
        let backup = setup.path().join("backup");
        copy(&home, &backup);
        let before = validity_there(&setup);
        setup.append(&["INBOX"], &corpus::odd(4));
        setup.sync_in_step();
        let inbox = setup.root.inbox();
        inbox.set_flags(&inbox.find(&subject(1)), "FS");
        fs::remove_file(inbox.find(&subject(2)).path).unwrap();
        fs::remove_dir_all(&home).unwrap();
        copy(&backup, &home);
        let news = ["one", "two"].map(|word| corpus::plain(&format!("after the backup, {word}")));
        news.iter().for_each(|body| setup.imap().append(&["INBOX"], body, "", None));
        assert_eq!(validity_there(&setup), before);
        assert_eq!(setup.sync().expect(0).count("local", "removed"), 0, "{kind:?}");
        setup.sync().expect(0).expect_nothing_done();
        setup.assert_equal();
        assert_eq!((counts(&setup), setup.imap().messages(&["Trash"]).len()), ((14, 14), 1), "{kind:?}");
        assert!(inbox.find(&subject(1)).flags.contains(&'F'), "{kind:?}");
    }
}

/// An honest server's three messages, pulled; then what it says of its UIDVALIDITY is replaced.
fn lying() -> (Setup, Scripted) {
    let lf = (0..3).map(|number| corpus::plain(&format!("message {number}")));
    let crlf = lf.map(|body| String::from_utf8(body).unwrap().replace('\n', "\r\n").into_bytes());
    let server = Scripted::start(crlf.collect());
    let mut setup = Setup::new(Kind::Full);
    setup.port = server.port;
    setup.sync().expect(0);
    (setup, server)
}

fn leak(text: String) -> &'static [u8] {
    text.into_bytes().leak()
}

fn claims(validity: &str) -> Vec<Rule> {
    let said = |text: &str| if validity.is_empty() { String::new() } else { text.replace('@', validity) };
    let selected = format!(
        "* FLAGS (\\Seen)\r\n* 3 EXISTS\r\n* 0 RECENT\r\n{}* OK [UIDNEXT 4] next\r\n\
         * OK [PERMANENTFLAGS (\\Seen \\Flagged \\Deleted \\Answered \\Draft \\*)] ok\r\n{{tag}} OK [READ-WRITE] ok\r\n",
        said("* OK [UIDVALIDITY @] new\r\n")
    );
    let status = format!("* STATUS INBOX (MESSAGES 3 UIDNEXT 4{})\r\n{{tag}} OK done\r\n", said(" UIDVALIDITY @"));
    let rule = |on, answer| Rule { on, answer, close: false };
    let (selected, status) = (leak(selected), leak(status));
    vec![rule("SELECT", selected), rule("EXAMINE", selected), rule("STATUS", status)]
}

fn expect_no_harm(server: &Scripted) {
    let harmful = ["STORE", "EXPUNGE", "CLOSE", "APPEND", "MOVE", "COPY", "BODY.PEEK[]"];
    let commands = server.commands();
    let harm = commands.iter().find(|command| harmful.iter().any(|word| command.contains(word)));
    assert_eq!(harm, None);
}

#[test]
fn any_uidvalidity_will_do() {
    let (setup, server) = lying();
    let before = setup.root.inbox().messages();
    for validity in ["0", "4294967296", "18446744073709551615", "9", "8", "0", "7"] {
        server.set_rules(claims(validity));
        for _ in 0..2 {
            let run = setup.sync().expect(0).expect_nothing_done();
            assert_eq!((&run.account()["adopted"], setup.root.inbox().messages() == before), (&0.into(), true));
        }
        expect_no_harm(&server);
    }
}

#[test]
fn without_a_uidvalidity_a_folder_is_left_alone_with_a_word_why() {
    let (setup, server) = lying();
    let before = setup.root.inbox().messages();
    for validity in ["", "99999999999999999999999", "-1", "x"] {
        server.set_rules(claims(validity));
        let run = setup.sync().expect(1);
        let error = run.account()["errors"][0].clone();
        assert_eq!(error["folder"], "INBOX", "{validity}: {}", run.stdout);
        assert!(error["message"].as_str().unwrap().contains("UIDVALIDITY"), "{validity}: {}", run.stdout);
        assert_eq!(setup.root.inbox().messages(), before);
        expect_no_harm(&server);
    }
    server.set_rules(Vec::new());
    setup.sync().expect(0).expect_nothing_done();
}

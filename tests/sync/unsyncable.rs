//! What one side has and the other won't take: told when it is found, then waiting; nothing is lost for it, and all else
//! goes on.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::corpus::{self, DATE};
use crate::support::dovecot::Kind;
use crate::support::scripted::{Rule, Scripted};
use crate::support::setup::{Run, Setup};

/// Three messages pulled from a scripted server, seen on both sides.
fn pulled() -> (Setup, Scripted) {
    let lf = (0..3).map(|number| corpus::plain(&format!("message {number}")));
    let crlf = lf.map(|body| String::from_utf8(body).unwrap().replace('\n', "\r\n").into_bytes());
    let server = Scripted::start(crlf.collect());
    let mut setup = Setup::new(Kind::Full);
    setup.port = server.port;
    setup.keys = "timeout = \"3s\"".to_owned();
    setup.sync().expect(0);
    (setup, server)
}

const fn rule(on: &'static str, answer: &'static [u8]) -> Rule {
    Rule { on, answer, close: false }
}

fn codes(run: &Run, list: &str) -> Vec<String> {
    let items = run.account()[list].as_array().unwrap().clone();
    items.iter().map(|item| item["code"].as_str().unwrap().to_owned()).collect()
}

/// Runs once with the news, then again: silent, with nothing tried, and still listed.
fn told_once(setup: &Setup, server: Option<&Scripted>, code: &str) {
    let run = setup.sync().expect(1);
    assert_eq!(codes(&run, "errors"), [code], "{}", run.stdout);
    if let Some(server) = server {
        server.set_rules(server.rules());
    }
    for _ in 0..2 {
        let run = setup.sync().expect(0).expect_nothing_done();
        assert_eq!(codes(&run, "waiting"), [code], "{}", run.stdout);
        let plain = setup.run(&["sync"]).expect(0);
        assert!(plain.stderr.is_empty() && plain.stdout.contains("1 item could not be synced"), "{plain:?}");
        let quiet = setup.run(&["-q", "sync"]).expect(0);
        assert!(quiet.stdout.is_empty() && quiet.stderr.is_empty(), "{quiet:?}");
    }
    let check = setup.run(&["check", "--offline"]).expect(0);
    assert!(check.stdout.contains("waiting"), "{check:?}");
    assert_eq!(codes(&setup.run(&["check", "--offline", "--json"]).expect(0), "waiting"), [code]);
}

#[test]
fn a_keyword_that_the_server_refuses_keeps_no_other_flag_away_and_is_asked_for_once() {
    let (setup, server) = pulled();
    let inbox = setup.root.inbox();
    fs::write(inbox.0.join("dovecot-keywords"), "0 work\n").unwrap();
    inbox.set_flags(&inbox.find("message 1"), "FSa");
    server.set_rules(vec![
        rule("WORK)", b"{tag} NO too many keywords\r\n"),
        rule("UID STORE", b"* 2 FETCH (UID 2 FLAGS (\\Seen \\Flagged))\r\n{tag} OK done\r\n"),
        rule("UID FETCH 2 (UID FLAGS)", b"* 2 FETCH (UID 2 FLAGS (\\Seen \\Flagged))\r\n{tag} OK done\r\n"),
    ]);
    let run = setup.sync().expect(1);
    assert_eq!(codes(&run, "errors"), ["flag-refused"], "{}", run.stdout);
    assert!(run.stdout.contains("too many keywords"), "{}", run.stdout);
    assert!(server.commands().iter().any(|command| command.contains("STORE 2 +FLAGS (\\FLAGGED)")));
    assert_eq!(codes(&run, "waiting").len(), 0, "{}", run.stdout);
    server.set_rules(Vec::new());
    for _ in 0..2 {
        let run = setup.sync().expect(0).expect_nothing_done();
        assert_eq!(codes(&run, "waiting"), ["flag-refused"], "{}", run.stdout);
        assert!(!server.commands().iter().any(|command| command.contains("STORE")), "{:?}", server.commands());
    }
    assert!(inbox.find("message 1").keywords.contains("work"));
}

#[test]
fn flags_that_the_server_ignores_stay_here_and_are_not_asked_for_again() {
    let (setup, server) = pulled();
    let inbox = setup.root.inbox();
    inbox.set_flags(&inbox.find("message 1"), "FS");
    // The honest answer to STORE is a bare OK, and to FETCH the flags of before.
    told_once(&setup, Some(&server), "flag-refused");
    assert!(!server.commands().iter().any(|command| command.contains("STORE")), "{:?}", server.commands());
    assert!(inbox.find("message 1").flags.contains(&'F'));
    inbox.set_flags(&inbox.find("message 1"), "S");
    let run = setup.sync().expect(0).expect_nothing_done();
    assert!(codes(&run, "waiting").is_empty(), "{}", run.stdout);
}

const READ_ONLY: &[u8] = b"* FLAGS (\\Seen)\r\n* 3 EXISTS\r\n* 0 RECENT\r\n* OK [UIDVALIDITY 7] valid\r\n\
    * OK [UIDNEXT 4] next\r\n* OK [PERMANENTFLAGS ()] none\r\n{tag} OK [READ-ONLY] done\r\n";

#[test]
fn changes_in_a_read_only_folder_are_told_once_each() {
    let (setup, server) = pulled();
    server.set_rules(vec![rule("SELECT", READ_ONLY), rule("EXAMINE", READ_ONLY)]);
    let inbox = setup.root.inbox();
    inbox.deliver(&corpus::plain("only here"), Some("S"), Some(DATE));
    told_once(&setup, Some(&server), "read-only");
    fs::remove_file(&inbox.find("message 0").path).unwrap();
    inbox.set_flags(&inbox.find("message 1"), "FS");
    let run = setup.sync().expect(1);
    assert_eq!(codes(&run, "errors"), ["read-only", "read-only"], "{}", run.stdout);
    assert_eq!(codes(&setup.sync().expect(0).expect_nothing_done(), "waiting").len(), 3);
    let harm = ["STORE", "APPEND", "EXPUNGE", "MOVE"];
    assert!(!server.commands().iter().any(|command| harm.iter().any(|word| command.contains(word))));
    server.set_rules(Vec::new());
    inbox.set_flags(&inbox.find("message 1"), "S");
    assert!(codes(&setup.sync(), "errors").iter().all(|code| code != "read-only"));
}

#[test]
fn an_unreadable_folder_fails_alone_and_nothing_is_removed_for_it() {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(4));
    setup.sync = "delete = \"expunge\"".to_owned();
    setup.imap().create(&["Work"]);
    setup.imap().create(&["Play"]);
    setup.sync_in_step();
    let (inbox, work) = (setup.root.inbox(), setup.root.folder(&["Work"]));
    let moved = inbox.find("message 1.");
    fs::rename(&moved.path, work.0.join("cur").join(moved.path.file_name().unwrap())).unwrap();
    let lock = |mode| fs::set_permissions(work.0.join("cur"), fs::Permissions::from_mode(mode)).unwrap();
    lock(0o300);
    setup.append(&["Play"], &corpus::ordinary(1));
    if fs::read_dir(work.0.join("cur")).is_ok() {
        // Nobody keeps the superuser from reading: give up that right for the run.
        setup.entrance = vec!["setpriv".to_owned(), "--bounding-set=-all".to_owned(), "--inh-caps=-all".to_owned()];
    }
    let run = setup.sync();
    lock(0o700);
    let run = run.expect(1);
    assert_eq!(codes(&run, "errors"), ["local-item", "folder-unfinished"], "{}", run.stdout);
    assert_eq!(run.count("local", "copied"), 1, "the rest goes on: {}", run.stdout);
    assert_eq!(run.count("remote", "removed"), 0, "{}", run.stdout);
    assert_eq!(setup.imap().messages(&["INBOX"]).len(), 4);
    setup.entrance.clear();
    setup.sync_in_step();
    assert_eq!((setup.imap().messages(&["INBOX"]).len(), setup.imap().messages(&["Work"]).len()), (3, 1));
}

#[test]
fn where_there_can_be_no_trash_a_removal_waits_for_an_answer() {
    let (setup, server) = pulled();
    server.set_rules(vec![rule("CREATE", b"{tag} NO no more folders\r\n")]);
    let inbox = setup.root.inbox();
    fs::remove_file(&inbox.find("message 0").path).unwrap();
    let run = setup.sync().expect(5);
    assert_eq!(run.account()["held"][0]["reason"], "no-trash", "{}", run.stdout);
    let hint = setup.run(&["sync"]).expect(5).stderr;
    assert!(hint.contains("for good") && hint.contains("--undo-held"), "{hint}");
    assert!(!server.commands().iter().any(|command| command.contains("EXPUNGE") || command.contains("STORE")));
    setup.run(&["sync", "--undo-held", "test"]);
    assert_eq!(inbox.messages().len(), 3, "undone");
    fs::remove_file(&inbox.find("message 0").path).unwrap();
    setup.sync().expect(5);
    setup.run(&["sync", "--accept-held", "test"]);
    assert!(server.commands().iter().any(|command| command.starts_with("UID EXPUNGE 1")), "{:?}", server.commands());
}

//! Answers that no server should give: none of them may cost a message.

use crate::support::corpus;
use crate::support::dovecot::Kind;
use crate::support::scripted::{Rule, Scripted};
use crate::support::setup::Setup;

/// Three messages pulled from an honest server.
fn pulled() -> (Setup, Scripted) {
    let lf = (0..3).map(|number| corpus::plain(&format!("message {number}")));
    let crlf = lf.map(|body| String::from_utf8(body).unwrap().replace('\n', "\r\n").into_bytes());
    let server = Scripted::start(crlf.collect());
    let mut setup = Setup::new(Kind::Full);
    setup.port = server.port;
    setup.keys = "timeout = \"3s\"".to_owned();
    setup.sync().expect(0);
    assert_eq!(setup.root.inbox().messages().len(), 3);
    setup.sync().expect(0).expect_nothing_done();
    (setup, server)
}

/// Demands that an answer costs no message on either side and no crash, and that the next honest run is in step.
fn survives(rules: &[Rule]) {
    let (setup, server) = pulled();
    let before = setup.root.inbox().messages();
    for rule in rules {
        server.set_rules(vec![rule.clone()]);
        for arguments in [&["sync", "--json"][..], &["sync", "--json", "--full"]] {
            let run = setup.run(arguments);
            assert!(matches!(run.code, Some(0 | 1 | 4 | 5)), "{rule:?}: {run:?}");
            assert_eq!(setup.root.inbox().messages(), before, "{rule:?}: {}", run.stdout);
        }
        let commands = server.commands();
        let harmful = ["STORE", "EXPUNGE", "CLOSE", "DELETE", "APPEND", "MOVE", "COPY", "RENAME"];
        let harm = commands.iter().find(|command| harmful.iter().any(|word| command.contains(word)));
        assert_eq!(harm, None, "{rule:?}");
    }
    server.set_rules(Vec::new());
    setup.sync().expect(0);
    assert_eq!(setup.root.inbox().messages(), before);
}

const fn rule(on: &'static str, answer: &'static [u8]) -> Rule {
    Rule { on, answer, close: false }
}

const fn last(on: &'static str, answer: &'static [u8]) -> Rule {
    Rule { on, answer, close: true }
}

#[test]
fn refused_and_empty_listings_remove_nothing() {
    survives(&[
        rule("LIST ", b"{tag} NO [SERVERBUG] try later\r\n"),
        rule("LIST ", b"{tag} BAD what?\r\n"),
        rule("LIST ", b"{tag} OK nothing here\r\n"),
        last("LIST ", b"* LIST () \"/\" \"INB"),
        last("LIST ", b""),
    ]);
}

#[test]
fn refused_broken_and_empty_looks_remove_nothing() {
    survives(&[
        rule("SELECT", b"{tag} NO [UNAVAILABLE] disk trouble\r\n"),
        rule("EXAMINE", b"{tag} NO [UNAVAILABLE] disk trouble\r\n"),
        rule("UID FETCH", b"{tag} NO [SERVERBUG] index trouble\r\n"),
        rule("UID FETCH", b"{tag} BAD no\r\n"),
        rule("UID FETCH", b"{tag} OK but nothing was sent\r\n"),
        rule("UID FETCH", b"* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n{tag} OK one of three\r\n"),
        last("UID FETCH", b"* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n* 2 FETCH (UI"),
        last("UID FETCH", b"* BYE shutting down\r\n"),
        rule("SEARCH", b"* SEARCH\r\n{tag} OK none\r\n"),
        rule("STATUS", b"{tag} NO not now\r\n"),
    ]);
}

#[test]
fn malformed_answers_do_no_harm() {
    survives(&[
        rule("UID FETCH", b"* OK [ALERT]\xc3\xa9 \xff\r\n{honest}"),
        rule("UID FETCH", b"* X-WHATEVER ((((\r\n* 7 NONSENSE\r\n*\r\n\r\n{honest}"),
        rule("UID FETCH", b"* VANISHED 1:*\r\n* VANISHED (EARLIER) 1:4294967295\r\n{honest}"),
        rule("UID FETCH", b"* 99999999999999999999 EXISTS\r\n{honest}"),
        rule("UID FETCH", b"* 1 FETCH (UID 1 INTERNALDATE NIL BODY[] NIL)\r\n{honest}"),
        rule("UID FETCH", b"* 1 FETCH (UID 99999999999999999999 FLAGS ())\r\n{honest}"),
        rule("UID FETCH", b"* 1 FETCH (UID 1)\r\n* 2 FETCH ()\r\n{honest}"),
        rule("UID FETCH", b"* SEARCH 1 2 (MODSEQ 9)\r\n* ESEARCH (TAG \"x\") UID ALL 1:3\r\n{honest}"),
        last("UID FETCH", b"* 1 FETCH (UID 1 BODY[] {4000000000000}\r\n"),
        last(
            "UID FETCH",
            b"* 1 FETCH ((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((",
        ),
    ]);
}

#[test]
fn folder_names_of_a_liar_stay_inside_the_root() {
    let (setup, server) = pulled();
    let before = setup.root.inbox().messages();
    let names = b"* LIST (\\HasNoChildren) NIL \"../../escape\"\r\n* LIST () \"/\" \"../up\"\r\n\
        * LIST () \"/\" {5}\r\na\r\nb/\r\n* LIST () \"/\" \"/etc/cron.d\"\r\n* LIST () \"/\" \"INBOX/cur\"\r\n\
        * LIST () \"/\" \"&bad-utf7\" (CHILDINFO (\"SUBSCRIBED\"))\r\n{honest}";
    server.set_rules(vec![rule("LIST ", names)]);
    let run = setup.sync();
    assert!(matches!(run.code, Some(0 | 1)), "{run:?}");
    assert_eq!(setup.root.inbox().messages(), before);
    let outside: Vec<_> = std::fs::read_dir(setup.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(outside.len(), 4, "only the root, the state, the configuration and the authority: {outside:?}");
    assert!(!setup.path().parent().unwrap().join("escape").exists());
}

#[test]
fn a_new_uidvalidity_loses_and_doubles_nothing() {
    const SELECTED: &[u8] = b"* FLAGS (\\Seen)\r\n* 3 EXISTS\r\n* 0 RECENT\r\n* OK [UIDVALIDITY 8] new\r\n\
        * OK [UIDNEXT 4] next\r\n* OK [PERMANENTFLAGS (\\Seen \\Flagged \\Deleted \\Answered \\Draft \\*)] ok\r\n\
        {tag} OK [READ-WRITE] done\r\n";
    const STATUS: &[u8] = b"* STATUS INBOX (MESSAGES 3 UIDNEXT 4 UIDVALIDITY 8)\r\n{tag} OK done\r\n";
    let (setup, server) = pulled();
    let before = setup.root.inbox().messages();
    server.set_rules(vec![rule("SELECT", SELECTED), rule("EXAMINE", SELECTED), rule("STATUS", STATUS)]);
    setup.sync().expect(0);
    assert_eq!(setup.root.inbox().messages(), before);
    setup.sync().expect(0).expect_nothing_done();
    assert!(!server.commands().iter().any(|command| command.starts_with("APPEND") || command.contains("STORE")));
}

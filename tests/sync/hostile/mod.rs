//! Answers that no server should give, one kind in each file: none of them may cost a message, or more time and memory
//! than is reasonable, and what is wrong is told.

mod absence;
mod endless;
mod expunges;
mod folders;
mod numbers;
mod odd;
mod protection;
mod watch;
mod withheld;

use std::time::{Duration, Instant};

use crate::support::corpus;
use crate::support::dovecot::Kind;
use crate::support::scripted::{Manner, Rule, Scripted};
use crate::support::setup::{Run, Setup};

/// More than anything tried here may take.
const TIME: Duration = Duration::from_secs(60);

/// Runs the binary with no more than 600 MB of address space.
fn bounded() -> Vec<String> {
    ["sh", "-c", "ulimit -v 600000; exec \"$@\"", "sh"].map(str::to_owned).to_vec()
}

/// So many messages pulled from an honest server with these capabilities.
fn pulled_from(count: usize, capabilities: &'static str) -> (Setup, Scripted) {
    let lf = (0..count).map(|number| corpus::plain(&format!("message {number}")));
    let crlf = lf.map(|body| String::from_utf8(body).unwrap().replace('\n', "\r\n").into_bytes());
    let server = Scripted::start_with(crlf.collect(), capabilities);
    let mut setup = Setup::new(Kind::Full);
    setup.port = server.port;
    setup.keys = "timeout = \"3s\"".to_owned();
    setup.entrance = bounded();
    setup.sync().expect(0);
    assert_eq!(setup.root.inbox().messages().len(), count);
    setup.sync().expect(0).expect_nothing_done();
    (setup, server)
}

const PLAIN: &str = "IMAP4rev1 SASL-IR AUTH=PLAIN UIDPLUS UNSELECT";

/// Three messages pulled from an honest server.
fn pulled() -> (Setup, Scripted) {
    pulled_from(3, PLAIN)
}

/// Demands that a run ended as it should: it found nothing wrong, or it says what, and it changed no message.
fn assert_unharmed(run: &Run, setup: &Setup, server: &Scripted, before: &[crate::support::maildir::Entry], what: &str) {
    assert!(matches!(run.code, Some(0 | 1 | 4 | 5)), "{what}: {run:?}");
    assert_eq!(setup.root.inbox().messages(), before, "{what}: {}", run.stdout);
    let account = run.account();
    let told = |list: &str| !account[list].as_array().unwrap().is_empty();
    assert!(run.code == Some(0) || told("errors") || told("held"), "{what}: {}", run.stdout);
    let harmful = ["STORE", "EXPUNGE", "CLOSE", "DELETE", "APPEND", "MOVE", "COPY", "RENAME"];
    let commands = server.commands();
    let harm = commands.iter().find(|command| command.split(' ').any(|word| harmful.contains(&word)));
    assert_eq!(harm, None, "{what}");
}

/// Demands that an answer costs no message on either side and no crash, and that the next honest run is in step.
fn survives(rules: &[Rule]) {
    let each: Vec<Vec<Rule>> = rules.iter().map(|rule| vec![rule.clone()]).collect();
    survives_all(&pulled(), &each, Manner::Once);
}

/// The same of answers that belong together, given in some manner. Returns the commands heard.
fn survives_all((setup, server): &(Setup, Scripted), lies: &[Vec<Rule>], manner: Manner) -> Vec<String> {
    let before = setup.root.inbox().messages();
    let mut heard = Vec::new();
    for rules in lies {
        let so_far = heard.len();
        for arguments in [&["sync", "--json"][..], &["sync", "--json", "--full"]] {
            server.set_manner(rules.clone(), manner);
            let started = Instant::now();
            let run = setup.run(arguments);
            assert!(started.elapsed() < TIME, "{:?}", rules.first());
            assert_unharmed(&run, setup, server, &before, &format!("{:?}", shown(rules)));
            heard.extend(server.commands());
        }
        let is_tried = |command: &String| rules.iter().any(|rule| command.contains(rule.on));
        assert!(heard[so_far..].iter().any(is_tried), "not tried: {:?}", shown(rules));
    }
    server.set_rules(Vec::new());
    // A folder that was listed once and then no more is left alone, and told.
    let run = setup.sync();
    let errors = run.account()["errors"].as_array().unwrap().clone();
    assert!(errors.iter().all(|error| error["code"] == "folder-unlisted"), "{}", run.stdout);
    run.expect(i32::from(!errors.is_empty()));
    assert_eq!(setup.root.inbox().messages(), before);
    heard
}

/// Demands that what comes in front of an honest answer is nothing to a run, and no news to the user.
fn ignores(rules: &[Rule]) {
    let (setup, server) = pulled();
    let before = setup.root.inbox().messages();
    for rule in rules {
        server.set_rules(vec![rule.clone()]);
        let run = setup.sync();
        assert_eq!(run.code, Some(0), "{:?}: {run:?}", shown(std::slice::from_ref(rule)));
        let run = run.expect_nothing_done();
        assert_unharmed(&run, &setup, &server, &before, &format!("{:?}", shown(std::slice::from_ref(rule))));
        assert!(server.commands().iter().any(|command| command.contains(rule.on)), "{rule:?} was not tried");
    }
}

/// Returns rules as they can be read, of long ones the beginning.
fn shown(rules: &[Rule]) -> Vec<(&'static str, String)> {
    let text = |rule: &Rule| String::from_utf8_lossy(&rule.answer[..rule.answer.len().min(200)]).into_owned();
    rules.iter().map(|rule| (rule.on, text(rule))).collect()
}

const fn rule(on: &'static str, answer: &'static [u8]) -> Rule {
    Rule { on, answer, close: false }
}

const fn last(on: &'static str, answer: &'static [u8]) -> Rule {
    Rule { on, answer, close: true }
}

/// A rule whose answer is made at run time.
fn made(on: &'static str, answer: impl Into<Vec<u8>>) -> Rule {
    rule(on, answer.into().leak())
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
    let (refused, trouble) = (b"{tag} NO not for you\r\n", b"{tag} NO [UNAVAILABLE] disk trouble\r\n");
    survives_all(&pulled(), &[vec![rule("SELECT", refused), rule("EXAMINE", trouble)]], Manner::Once);
    survives(&[
        rule("SELECT", trouble),
        rule("UID FETCH", b"{tag} NO [SERVERBUG] index trouble\r\n"),
        rule("UID FETCH", b"{tag} BAD no\r\n"),
        rule("UID FETCH", b"{tag} OK but nothing was sent\r\n"),
        rule("UID FETCH", b"* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n{tag} OK one of three\r\n"),
        last("UID FETCH", b"* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n* 2 FETCH (UI"),
        last("UID FETCH", b"* BYE shutting down\r\n"),
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

//! Messages and folders that a server denies: absence is not deletion until it is certain.

use std::sync::atomic::{AtomicU32, Ordering};

use super::{PLAIN, made, pulled_from, rule, survives, survives_all};
use crate::support::scripted::{Manner, Rule, Scripted};
use crate::support::setup::Setup;

const CONDSTORE: &str = "IMAP4rev1 SASL-IR AUTH=PLAIN UIDPLUS UNSELECT CONDSTORE";
pub(super) const QRESYNC: &str = "IMAP4rev1 SASL-IR AUTH=PLAIN UIDPLUS UNSELECT ENABLE CONDSTORE QRESYNC";

/// A folder that says it holds so many messages, with a HIGHESTMODSEQ higher than said before, and what is said between.
pub(super) fn shows(exists: usize, between: &str) -> Vec<Rule> {
    static HIGHEST: AtomicU32 = AtomicU32::new(9);
    let highest = HIGHEST.fetch_add(1, Ordering::Relaxed);
    let status = format!(
        "* STATUS INBOX (MESSAGES {exists} UIDNEXT 61 UIDVALIDITY 7 HIGHESTMODSEQ {highest})\r\n{{tag}} OK x\r\n"
    );
    let select = format!(
        "* FLAGS (\\Seen)\r\n* {exists} EXISTS\r\n* OK [UIDVALIDITY 7] v\r\n* OK [UIDNEXT 61] n\r\n\
         * OK [HIGHESTMODSEQ {highest}] h\r\n* OK [PERMANENTFLAGS (\\Seen \\Deleted \\*)] ok\r\n{between}{{tag}} OK [READ-WRITE] x\r\n"
    );
    let select: &'static [u8] = select.into_bytes().leak();
    vec![made("STATUS", status), rule("SELECT", select), rule("EXAMINE", select)]
}

/// Demands that such a server is held back, and that nothing is gone after it has come to itself.
fn is_held((setup, server): (Setup, Scripted), rules: Vec<Rule>) {
    let before = setup.root.inbox().messages();
    server.set_rules(rules);
    for _ in 0..2 {
        let run = setup.sync().expect(5);
        assert_eq!(run.account()["held"][0]["reason"], "mass-delete", "{}", run.stdout);
        assert_eq!(setup.root.inbox().messages(), before, "{}", run.stdout);
    }
    server.set_rules(Vec::new());
    setup.sync().expect(0);
    assert_eq!(setup.root.inbox().messages(), before);
    assert!(setup.recoverable().is_empty());
}

#[test]
fn a_folder_that_suddenly_is_empty_is_held() {
    let nothing = rule("UID FETCH", b"{tag} OK nothing\r\n");
    is_held(pulled_from(60, PLAIN), [shows(0, ""), vec![nothing.clone()]].concat());
    is_held(pulled_from(60, QRESYNC), [shows(0, "* VANISHED (EARLIER) 1:60\r\n"), vec![nothing]].concat());
}

#[test]
fn vanished_of_everything_is_believed_only_if_the_count_agrees() {
    let lies = ["1:4294967295", "1:*", "1:60", "4294967295:1", "60,59,1:60,1,1", "0", "", "*", "1:2:3,,"];
    let lies = lies.map(|set| shows(60, &format!("* VANISHED (EARLIER) {set}\r\n* VANISHED {set}\r\n")));
    survives_all(&pulled_from(60, QRESYNC), &lies, Manner::Once);
}

#[test]
fn a_folder_that_shows_nothing_of_what_it_counts_loses_nothing() {
    let nothing = rule("UID FETCH", b"{tag} OK nothing\r\n");
    let lies = || {
        [
            shows(0, ""),
            shows(60, ""),
            [shows(60, ""), vec![nothing.clone()]].concat(),
            [shows(3, ""), vec![nothing.clone()]].concat(),
        ]
    };
    for capabilities in [PLAIN, QRESYNC, CONDSTORE] {
        survives_all(&pulled_from(60, capabilities), &lies(), Manner::Once);
    }
}

#[test]
fn a_search_that_leaves_messages_out_removes_nothing() {
    let esearch = format!("{CONDSTORE} ESEARCH").leak();
    // One that is missing is below what is held.
    let but_one = format!(
        "* SEARCH {}\r\n{{tag}} OK all but one\r\n",
        (2..=60).map(|uid| uid.to_string()).collect::<Vec<_>>().join(" ")
    );
    let answers: [&'static [u8]; 10] = [
        but_one.into_bytes().leak(),
        b"* ESEARCH UID ALL 1:29,31:60\r\n{tag} OK all but one\r\n",
        b"* SEARCH\r\n{tag} OK none\r\n",
        b"* SEARCH 1 2 3\r\n{tag} OK some\r\n",
        b"* SEARCH 1 2 x\r\n{tag} OK odd\r\n",
        b"* ESEARCH (TAG \"x\") UID\r\n{tag} OK none\r\n",
        b"* ESEARCH UID ALL 1:5\r\n{tag} OK some\r\n",
        b"{tag} OK nothing said\r\n",
        b"{tag} NO [SERVERBUG] index trouble\r\n",
        b"{tag} BAD what?\r\n",
    ];
    for capabilities in [CONDSTORE, esearch] {
        let lies = answers.map(|answer| [shows(60, ""), vec![rule("SEARCH", answer)]].concat());
        let heard = survives_all(&pulled_from(60, capabilities), &lies, Manner::Once);
        assert_eq!(heard.iter().filter(|command| command.contains("SEARCH")).count(), lies.len(), "{heard:?}");
    }
}

#[test]
fn expunges_in_the_middle_of_everything_remove_nothing() {
    const GONE: &[u8] = b"* 1 EXPUNGE\r\n* 1 EXPUNGE\r\n{honest}";
    survives(&[
        rule("CAPABILITY", GONE),
        rule("LIST ", GONE),
        rule("LSUB", GONE),
        rule("STATUS", GONE),
        rule("SELECT", GONE),
        rule("UID FETCH", GONE),
        rule("UID FETCH", b"{honest}* 3 EXPUNGE\r\n* 2 EXPUNGE\r\n* 1 EXPUNGE\r\n* 0 EXISTS\r\n"),
        rule("LOGOUT", GONE),
    ]);
}

#[test]
fn a_list_that_leaves_out_the_inbox_or_says_that_it_holds_no_mail_removes_nothing() {
    survives(&[
        rule("LIST ", b"* LIST () \"/\" Other\r\n{tag} OK that is all\r\n"),
        rule("LIST ", b"* LIST (\\Noselect) \"/\" INBOX\r\n{tag} OK that is all\r\n"),
        rule("LIST ", b"* LIST (\\NonExistent) \"/\" INBOX\r\n{tag} OK that is all\r\n"),
        rule("LIST ", b"* LIST () \"/\" INBOX\r\n* LIST () \".\" inbox\r\n* LIST () NIL InBoX\r\n{tag} OK thrice\r\n"),
        rule("LSUB", b"{tag} NO no subscriptions here\r\n"),
    ]);
}

/// With things to do on both sides, while the server says that messages vanish.
#[test]
fn work_is_done_although_the_server_shouts_in_between() {
    const SHOUT: &[u8] = b"* 1 EXPUNGE\r\n* VANISHED 1:*\r\n* 0 EXISTS\r\n* 1 FETCH (FLAGS (\\Deleted))\r\n{honest}";
    for on in ["APPEND", "STORE", "UID FETCH"] {
        let (setup, server) = pulled_from(3, PLAIN);
        let inbox = setup.root.inbox();
        inbox.set_flags(&inbox.find("message 1"), "FS");
        inbox.deliver(&crate::support::corpus::plain("from here"), Some("S"), None);
        server.set_rules(vec![rule(on, SHOUT)]);
        let run = setup.sync();
        assert!(matches!(run.code, Some(0 | 1)), "{on}: {run:?}");
        assert_eq!(inbox.messages().len(), 4, "{on}: {}", run.stdout);
        let commands = server.commands();
        assert!(commands.iter().any(|command| command.contains(on)), "{on}: {commands:?}");
        assert!(
            !commands.iter().any(|command| command.contains("EXPUNGE") || command.contains("CLOSE")),
            "{commands:?}"
        );
        assert!(setup.recoverable().is_empty(), "{on}");
    }
}

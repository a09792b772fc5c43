//! Replies that are allowed, or nearly, and that other programs have stumbled over: here they are nothing.

use super::absence::{QRESYNC, shows};
use super::{ignores, last, made, pulled, pulled_from, rule, survives};

#[test]
fn what_another_client_does_or_a_newer_server_says_is_nothing() {
    ignores(&[
        rule("UID FETCH", b"* SEARCH 2 5 (MODSEQ 917162500)\r\n* SEARCH\r\n{honest}"),
        rule("UID FETCH", b"* ESEARCH (TAG \"A1\") UID COUNT 2 ALL 1:2 MODSEQ 5\r\n* ESEARCH\r\n{honest}"),
        rule("UID FETCH", b"* QUOTA \"\" (STORAGE -1 -1)\r\n* QUOTAROOT INBOX \"\"\r\n{honest}"),
        rule("UID FETCH", b"* 2 UIDFETCH (FLAGS (\\Seen))\r\n* ID ()\r\n* ID NIL\r\n{honest}"),
        rule("UID FETCH", b"* XANYTHING (a b {3}\r\nabc)\r\n* 5 XNUMBERED\r\n* X\r\n{honest}"),
        rule("UID FETCH", b"\r\n\n* OK bare line feed\n*  OK  two  spaces\r\n{honest}"),
        rule(
            "UID FETCH",
            b"* OK [ALERT]\xe9\r\n* OK [\r\n* OK []\r\n* OK [X {3}\r\na]b] code with a literal\r\n{honest}",
        ),
        rule(
            "UID FETCH",
            b"* OK [HIGHESTMODSEQ 715194045007]\r\n* OK [NOMODSEQ]\r\n* NO [OVERQUOTA] soon\r\n* BAD hm\r\n{honest}",
        ),
        rule("UID FETCH", b"* CAPABILITY\r\n* CAPABILITY XONLY\r\n* ENABLED\r\n* NAMESPACE NIL NIL NIL\r\n{honest}"),
        rule("UID FETCH", b"* FLAGS (\"quoted\" %% NIL \xe4\xf6 \\Seen)\r\n* FLAGS\r\n* FLAGS NIL\r\n{honest}"),
        rule("UID FETCH", b"+ idling\r\n+\r\nz99 OK a tag of nobody\r\n{honest}"),
    ]);
}

#[test]
fn odd_forms_of_what_was_asked_say_what_they_say() {
    ignores(&[
        rule("UID FETCH", b"* 1 FETCH ()\r\n* 1 FETCH ( UID 1)\r\n* 1 FETCH (UID 1 FLAGS(\\Seen))\r\n{honest}"),
        rule("UID FETCH", b"* 1 FETCH (UID 1 MODSEQ 12)\r\n* 1 FETCH (UID 1 MODSEQ (12))\r\n* 1 FETCH (MODSEQ ())\r\n{honest}"),
        rule("UID FETCH", b"* 1 FETCH (UID 1 BODY[] NIL BINARY[] NIL BINARY.SIZE[1] 5 X-GM-LABELS (\"\\\\Inbox\" \"a\\\"b\"))\r\n{honest}"),
        rule("UID FETCH", b"* 1 FETCH (UID 1 ENVELOPE (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) BODYSTRUCTURE NIL)\r\n{honest}"),
        rule("LIST ", b"* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n* LIST () \"/\" INBOX (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n{honest}"),
        rule("LIST ", b"* LIST () \"/\" INBOX (\"OLDNAME\" (\"x\"))\r\n* LIST () \"/\" INBOX (MAILBOXID (F1))\r\n{honest}"),
        rule("LIST ", b"* LIST () / INBOX\r\n* LIST () \"/\"  INBOX \r\n* list () \"/\" inbox\r\n{honest}"),
        rule("STATUS", b"* STATUS INBOX (SIZE 5 DELETED 0 MAILBOXID (F1) APPENDLIMIT NIL MESSAGES 3 X (y))\r\n{honest}"),
        rule("STATUS", b"* STATUS \"INBOX\" ()\r\n* STATUS INBOX\r\n* STATUS Other (MESSAGES 0)\r\n{honest}"),
        rule("SELECT", b"* OK [UNSEEN 1]\r\n* OK [PERMANENTFLAGS ()]\r\n* FLAGS ()\r\n* OK [MAILBOXID (F1)] id\r\n* LIST () \"/\" INBOX\r\n{honest}"),
        rule("AUTHENTICATE", b"* OK [ALERT]\xe9\r\n* XYZ ((\r\n\r\n{honest}"),
    ]);
}

#[test]
fn odd_forms_that_hide_something_remove_nothing() {
    survives(&[
        rule("UID FETCH", b"* VANISHED\r\n{honest}"),
        rule("UID FETCH", b"* 1 FETCH (UID 1 INTERNALDATE NIL FLAGS NIL)\r\n{honest}"),
        rule("UID FETCH 1:", b"* 1 FETCH (UID 1 FLAGS (\"quoted\" %% \xe4\xf6 ] \\* \\ \\\\Seen))\r\n{honest}"),
        rule("UID FETCH", b"* 1 FETCH (UID 1 FLAGS (\\Seen\r\n* 2 FETCH (UID 2 FLAGS (\r\n{honest}"),
        rule("UID FETCH 1:", b"* 1 FETCH UID 1 FLAGS (\\Deleted)\r\n* 1 FETCH\r\n* FETCH (UID 1)\r\n{honest}"),
        rule("LIST ", b"* LIST () \"/\" \"a\\b\"\r\n* LIST () \"\\\" x\r\n* LIST () \"/\" a\\b*c d\r\n* LIST\r\n* LIST ()\r\n{honest}"),
        rule("LIST ", b"* LIST () \"long separator\" x\r\n* LIST () \"\" y\r\n* LIST () {1}\r\n/ {1}\r\nz\r\n{honest}"),
        rule("SELECT", b"{tag} OK [READ-ONLY] nothing said\r\n"),
        rule("SELECT", b"{honest}{honest}"),
        rule("SELECT", b"* BYE\r\n{honest}"),
        rule("GREETING", b"* BYE too busy\r\n"),
        rule("GREETING", b"* NO what\r\n{honest}"),
        rule("GREETING", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        rule("GREETING", b"* OK [CAPABILITY] \xff\xfe\0\r\n"),
        rule("AUTHENTICATE", b"{tag} OK [CAPABILITY XNOTHING] no IMAP4rev1\r\n"),
        rule("AUTHENTICATE", b"{tag} NO [INUSE] come back later\r\n"),
    ]);
}

/// What providers say when they mean to be left alone for a while: the run ends with their words.
#[test]
fn a_server_that_wants_to_be_left_alone_is_and_its_words_are_told() {
    let (setup, server) = pulled();
    let before = setup.root.inbox().messages();
    for (on, words) in [
        ("LIST ", "BAD Request is throttled. Suggested Backoff Time: 299962 milliseconds"),
        ("LIST ", "NO [LIMIT] Rate limit hit"),
        ("LIST ", "BAD User is authenticated but not connected."),
        ("AUTHENTICATE", "NO [UNAVAILABLE] Temporary authentication failure"),
        ("AUTHENTICATE", "NO [LIMIT] Too many simultaneous connections. (Failure)"),
        ("SELECT", "NO SELECT Unsafe Login. Please contact kefu@188.com for help"),
        ("UID FETCH", "BAD UID parameters!"),
    ] {
        let refusal = made(on, format!("{{tag}} {words}\r\n"));
        let looked_at_only = crate::support::scripted::Rule { on: "EXAMINE", ..refusal.clone() };
        server.set_rules(vec![refusal, looked_at_only]);
        let run = setup.sync();
        assert!(matches!(run.code, Some(1 | 4)), "{words}: {run:?}");
        let text = words.trim_start_matches("NO ").trim_start_matches("BAD ");
        let text = text.split_once("] ").map_or(text, |(_, text)| text);
        assert!(run.account()["errors"].to_string().contains(text), "{words}: {}", run.stdout);
        assert_eq!(setup.root.inbox().messages(), before);
        let tries = server.commands().iter().filter(|command| command.contains(on)).count();
        assert!(tries <= 4, "{words}: tried {tries} times");
    }
    server.set_rules(Vec::new());
    setup.sync().expect(0).expect_nothing_done();
}

/// What could not be written to for a moment would be copied out of, and the originals removed when it can be again.
#[test]
fn a_mailbox_refused_for_now_is_not_one_that_can_only_be_read() {
    let (setup, server) = pulled();
    let inbox = setup.root.inbox();
    inbox.set_flags(&inbox.find("is message 1"), "FS");
    for words in ["[INUSE] locked by another", "[UNAVAILABLE] backend down", "[LIMIT] too many"] {
        server.set_rules(vec![made("SELECT", format!("{{tag}} NO {words}\r\n"))]);
        let run = setup.sync();
        let (_, text) = words.split_once("] ").unwrap();
        assert!(run.code != Some(0) && run.account()["errors"].to_string().contains(text), "{}", run.stdout);
        assert!(!server.commands().iter().any(|command| command.contains("EXAMINE")), "{:?}", server.commands());
    }
}

#[test]
fn what_is_refused_because_the_mailbox_is_out_of_reach_does_not_wait_for_a_day() {
    let (setup, server) = pulled();
    let inbox = setup.root.inbox();
    inbox.deliver(b"Subject: new\n\nThis is new.\n", None, None);
    inbox.set_flags(&inbox.find("is message 1"), "FS");
    let refuse = |on| rule(on, b"{tag} BAD User is authenticated but not connected.\r\n");
    server.set_rules(vec![refuse("APPEND"), refuse("UID STORE")]);
    for _ in 0..2 {
        let run = setup.sync().expect(1);
        assert!(run.account()["errors"].to_string().contains("not connected"), "{}", run.stdout);
        for on in ["APPEND", "UID STORE"] {
            assert!(server.commands().iter().any(|command| command.contains(on)), "{on}: {:?}", server.commands());
        }
        server.set_rules(server.rules());
    }
    assert_eq!(inbox.messages().len(), 4);
}

/// Exchange says so of flags that it can't keep on a message.
#[test]
fn a_store_that_is_called_bad_is_told_once_and_costs_no_flag() {
    let (setup, server) = pulled();
    let inbox = setup.root.inbox();
    inbox.set_flags(&inbox.find("is message 1"), "FS");
    let changed = inbox.messages();
    server.set_rules(vec![rule("UID STORE", b"{tag} BAD Command Argument Error. 11\r\n")]);
    let run = setup.sync().expect(1);
    assert!(run.account()["errors"].to_string().contains("Command Argument Error. 11"), "{}", run.stdout);
    let stores = || server.commands().iter().filter(|command| command.contains("STORE")).count();
    assert!((1..=2).contains(&stores()), "{:?}", server.commands());
    server.set_rules(server.rules());
    let again = setup.sync().expect(0);
    assert_eq!((stores(), inbox.messages()), (0, changed.clone()), "{}", again.stdout);
    let listed = setup.run(&["check"]);
    assert!(listed.stdout.contains("Command Argument Error. 11"), "{listed:?}");
    server.set_rules(Vec::new());
    setup.run(&["sync", "--json", "--full"]).expect(0);
    assert_eq!(inbox.messages(), changed);
}

#[test]
fn an_enable_that_is_taken_and_not_confirmed_enables_nothing() {
    let (setup, server) = pulled_from(3, QRESYNC);
    let before = setup.root.inbox().messages();
    server.set_rules([shows(3, ""), vec![rule("ENABLE", b"{tag} OK done\r\n")]].concat());
    setup.sync().expect(0).expect_nothing_done();
    let commands = server.commands();
    let selects: Vec<&String> = commands.iter().filter(|command| command.starts_with("SELECT")).collect();
    assert!(!selects.is_empty() && selects.iter().all(|select| select.ends_with("(CONDSTORE)")), "{commands:?}");
    server.set_rules(Vec::new());
    setup.sync().expect(0);
    assert_eq!(setup.root.inbox().messages(), before);
}

/// Zimbra hangs up on a mailbox that is damaged.
#[test]
fn a_folder_whose_selection_ends_the_connection_holds_up_no_other() {
    for closing in [&b"* BYE Zimbra IMAP server terminating connection\r\n"[..], b"* BYE\r\n", b""] {
        let (setup, server) = pulled();
        server.empty_others();
        let list = rule("LIST ", b"* LIST () \"/\" Bad\r\n* LIST () \"/\" Other\r\n{honest}");
        server.set_rules(vec![last("SELECT \"BAD\"", closing), list.clone()]);
        server.deliver(b"Subject: new\r\n\r\nThis is new.\r\n".to_vec());
        for added in [1, 0] {
            let run = setup.sync().expect(1);
            assert_eq!(run.count("local", "added"), added, "{}", run.stdout);
            let errors = run.account()["errors"].clone();
            assert_eq!((errors.as_array().unwrap().len(), &errors[0]["folder"]), (1, &"Bad".into()), "{errors}");
            let words = errors[0]["message"].as_str().unwrap();
            assert!(words.contains("the server closed the connection when this folder was selected"), "{words}");
            assert_eq!(words.contains("Zimbra IMAP"), closing.len() > 10, "{words}");
        }
        assert_eq!(setup.root.inbox().messages().len(), 4);
        assert!(setup.root.folder(&["Other"]).0.join("cur").is_dir());
        server.set_rules(vec![list]);
        setup.sync().expect(0);
        setup.sync().expect(0).expect_nothing_done();
    }
}

#[test]
fn a_server_that_hangs_up_on_every_folder_is_left_alone_soon() {
    let (setup, server) = pulled();
    let before = setup.root.inbox().messages();
    let names: String = (0..20).map(|number| format!("* LIST () \"/\" \"folder {number}\"\r\n")).collect();
    server.set_rules(vec![last("SELECT", b"* BYE throttled\r\n"), made("LIST ", names + "{honest}")]);
    let run = setup.sync().expect(4);
    assert!(run.account()["errors"].to_string().contains("throttled"), "{}", run.stdout);
    let connections = server.commands().iter().filter(|command| *command == "GREETING").count();
    assert_eq!((connections, setup.root.inbox().messages()), (4, before));
}

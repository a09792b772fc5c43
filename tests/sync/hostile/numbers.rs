//! Numbers: negative, enormous, out of order, repeated, never asked for.

use std::fs;

use super::{ignores, pulled, rule, survives, survives_all};
use crate::support::corpus;
use crate::support::scripted::{Manner, Rule, Scripted};

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

/// The answer to a SELECT with these numbers.
fn selected(exists: &str, validity: &str, next: &str) -> String {
    format!(
        "* FLAGS (\\Seen)\r\n* {exists} EXISTS\r\n* 0 RECENT\r\n* OK [UIDVALIDITY {validity}] v\r\n\
         * OK [UIDNEXT {next}] n\r\n* OK [PERMANENTFLAGS (\\Seen \\Flagged \\Deleted \\Answered \\Draft \\*)] ok\r\n\
         {{tag}} OK [READ-WRITE] done\r\n"
    )
}

fn everywhere(exists: &str, validity: &str, next: &str) -> Vec<Rule> {
    let status =
        format!("* STATUS INBOX (MESSAGES {exists} UIDNEXT {next} UIDVALIDITY {validity})\r\n{{tag}} OK done\r\n");
    let select: &'static [u8] = selected(exists, validity, next).into_bytes().leak();
    vec![rule("SELECT", select), rule("EXAMINE", select), super::made("STATUS", status)]
}

#[test]
fn impossible_numbers_of_a_folder_remove_nothing() {
    let numbers = [
        ("-1", "7", "4"),
        ("3", "-7", "4"),
        ("3", "7", "-4"),
        ("4294967295", "7", "4"),
        ("4294967296", "7", "4"),
        ("99999999999999999999999", "7", "4"),
        ("3", "99999999999999999999999", "4"),
        ("3", "7", "99999999999999999999999"),
        ("3", "7", "4294967295"),
        ("3", "7", "0"),
        ("3", "", ""),
        ("", "7", "4"),
        ("3", "NIL", "NIL"),
        ("3.5", "7e3", "0x4"),
    ];
    let lies: Vec<Vec<Rule>> =
        numbers.iter().map(|(exists, validity, next)| everywhere(exists, validity, next)).collect();
    survives_all(&pulled(), &lies, Manner::Once);
}

#[test]
fn a_uidvalidity_of_0_or_beyond_32_bits_is_one_like_any_other() {
    for validity in ["0", "4294967296", "1700000000000000000"] {
        let (setup, server) = pulled();
        let before = setup.root.inbox().messages();
        server.set_rules(everywhere("3", validity, "4"));
        setup.sync().expect(0);
        assert_eq!(setup.root.inbox().messages(), before, "{validity}");
        setup.sync().expect(0).expect_nothing_done();
        let harmful = ["STORE", "EXPUNGE", "APPEND"];
        let commands = server.commands();
        assert!(!commands.iter().any(|command| harmful.iter().any(|word| command.contains(word))), "{validity}");
    }
}

#[test]
fn impossible_numbers_of_messages_remove_nothing() {
    survives(&[
        rule("UID FETCH", b"* -1 EXISTS\r\n* 1 FETCH (UID -1 FLAGS (\\Seen))\r\n{honest}"),
        rule("UID FETCH", b"* 0 FETCH (UID 0 FLAGS ())\r\n{honest}"),
        rule("UID FETCH", b"* 1 FETCH (UID 4294967296 FLAGS ())\r\n{honest}"),
        rule(
            "UID FETCH",
            b"* 1 FETCH (UID 1 FLAGS (\\Seen) RFC822.SIZE -1 INTERNALDATE \"99-Foo-99999 99:99:99 +9999\")\r\n{honest}",
        ),
        rule("UID FETCH", b"* 1 FETCH (UID 1 RFC822.SIZE 99999999999999999999999)\r\n{honest}"),
        rule("UID FETCH", b"* 4294967295 FETCH (UID 4294967295 FLAGS (\\Seen))\r\n{honest}"),
        rule("UID FETCH", b"* 0 EXISTS\r\n{honest}"),
        rule("UID FETCH", b"{honest}* 0 EXISTS\r\n"),
        rule("STATUS", b"* STATUS INBOX (MESSAGES -1 UIDNEXT -1 UIDVALIDITY -1 HIGHESTMODSEQ -1)\r\n{tag} OK x\r\n"),
        rule(
            "STATUS",
            b"* STATUS INBOX (MESSAGES 99999999999 UIDNEXT 99999999999 UIDVALIDITY 99999999999)\r\n{tag} OK x\r\n",
        ),
        rule("STATUS", b"* STATUS INBOX (MESSAGES 0 UIDNEXT 1 UIDVALIDITY 0)\r\n{tag} OK x\r\n"),
    ]);
}

/// The honest answer to a look at three messages, in this order.
fn in_order(order: &[u32]) -> String {
    let line = |uid: &u32| format!("* {uid} FETCH (UID {uid} FLAGS (\\Seen))\r\n");
    order.iter().map(line).collect::<String>() + "{tag} OK done\r\n"
}

#[test]
fn uids_out_of_order_or_repeated_are_the_same_messages() {
    let look = "UID FETCH 1:3 (UID FLAGS)";
    ignores(&[
        super::made(look, in_order(&[3, 2, 1])),
        super::made(look, in_order(&[2, 3, 1, 2, 2, 1, 3])),
        super::made(look, in_order(&[1; 1000]).replace("{tag} OK done\r\n", "") + &in_order(&[3, 3, 2])),
    ]);
}

#[test]
fn messages_never_asked_for_are_no_news() {
    survives(&[
        rule(
            "UID FETCH",
            b"* 9 FETCH (UID 99 FLAGS (\\Seen) INTERNALDATE \"02-Mar-2020 08:00:00 +0000\" RFC822.SIZE 5)\r\n{honest}",
        ),
        rule("UID FETCH", b"* 9 FETCH (UID 99 FLAGS () BODY[] {5}\r\nhello)\r\n{honest}"),
        rule("UID FETCH", b"* 1 FETCH (UID 1 BODY[] {5}\r\nhello)\r\n* 1 FETCH (BODY[] {2}\r\nhi)\r\n{honest}"),
        rule("SELECT", b"* 1 FETCH (UID 1 FLAGS (\\Deleted \\Seen))\r\n* VANISHED (EARLIER) 1:2\r\n{honest}"),
        rule(
            "LIST ",
            b"* 2 EXPUNGE\r\n* VANISHED 1:3\r\n* SEARCH\r\n* 0 EXISTS\r\n* STATUS INBOX (MESSAGES 0)\r\n{honest}",
        ),
    ]);
}

/// Exchange tells what it estimates. The size is one of the things by which messages are known again.
#[test]
fn sizes_that_are_not_quite_right_double_nothing_and_fetch_nothing_again() {
    let (setup, server) = pulled();
    let message =
        |number| String::from_utf8(corpus::plain(&format!("message {number}"))).unwrap().replace('\n', "\r\n");
    server.exaggerate(17);
    server.deliver(message(3).into_bytes());
    setup.sync().expect(0).expect_only(&[("local", "added", 1)]);
    for arguments in [&["sync", "--json"][..], &["sync", "--json", "--full"]] {
        server.set_rules(Vec::new());
        setup.run(arguments).expect(0).expect_nothing_done();
        assert_eq!(bodies_asked_for(&server), 0, "{arguments:?}");
    }
    // Nothing is known any more, and everything is on both sides.
    fs::remove_file(setup.database()).unwrap();
    setup.sync().expect(0);
    assert_eq!(setup.root.inbox().messages().len(), 4);
    assert!(!server.commands().iter().any(|command| command.starts_with("APPEND")), "{:?}", server.commands());
    server.set_rules(Vec::new());
    setup.sync().expect(0).expect_nothing_done();
    assert_eq!((bodies_asked_for(&server), setup.root.inbox().messages().len()), (0, 4));
}

fn bodies_asked_for(server: &Scripted) -> usize {
    server.commands().iter().filter(|command| command.contains("BODY.PEEK[]")).count()
}

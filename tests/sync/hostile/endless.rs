//! Answers without end, or of a size that nothing has: given up in time, with little memory and disk.

use std::time::Instant;

use super::{TIME, last, made, pulled, rule, survives, survives_all};
use crate::support::scripted::{Manner, Rule};

/// Places at which a server speaks, one for each part of a run.
const PLACES: [&str; 6] = ["GREETING", "AUTHENTICATE", "LIST ", "STATUS", "SELECT", "UID FETCH"];

fn each(places: &[&'static str], answer: &'static [u8]) -> Vec<Vec<Rule>> {
    places.iter().map(|on| vec![rule(on, answer)]).collect()
}

#[test]
fn lines_without_end_are_given_up() {
    survives_all(&pulled(), &each(&PLACES, &[b'a'; 16_384]), Manner::Endlessly);
    survives_all(&pulled(), &each(&["UID FETCH"], b"* SEARCH 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15"), Manner::Endlessly);
    survives_all(&pulled(), &each(&["SELECT"], b"* OK [PERMANENTFLAGS ((((((((((((((((((((((((("), Manner::Endlessly);
}

#[test]
fn responses_without_end_are_given_up() {
    survives_all(
        &pulled(),
        &each(&["LIST ", "UID FETCH"], b"* OK still here\r\n* 3 EXISTS\r\n* X\r\n"),
        Manner::Endlessly,
    );
}

#[test]
fn literals_without_end_are_given_up() {
    let many =
        [b"* LIST () \"/\" {1}\r\na".to_vec(), b" {0}\r\n {1}\r\nx".repeat(400_000), b"\r\n{honest}".to_vec()].concat();
    let lies = [
        made("LIST ", many.clone()),
        made("UID FETCH", many),
        made(
            "UID FETCH",
            [
                b"* 1 FETCH (UID 1 X ".to_vec(),
                b"{1000000}\r\n".to_vec(),
                vec![b'x'; 1_000_000],
                b" {1000000}\r\n".to_vec(),
            ]
            .concat(),
        ),
        last("LIST ", b"* LIST () \"/\" {400000000}\r\n"),
        last("UID FETCH", b"* 1 FETCH (UID 1 BODYSTRUCTURE {400000000}\r\n"),
        last("UID FETCH", b"* 1 FETCH (UID 1 BODY[] {18446744073709551615}\r\n"),
        last("UID FETCH", b"* 1 FETCH (UID 1 BODY[] {-1}\r\n"),
        last("UID FETCH", b"* 1 FETCH (UID 1 BODY[] {99999999999999999999999999}\r\n"),
        last("GREETING", b"* OK [CAPABILITY {400000000}\r\n"),
    ];
    survives(&lies);
    survives_all(&pulled(), &each(&["UID FETCH"], b"* 1 FETCH (UID 1 BODY[] {4000000000000}\r\n"), Manner::Endlessly);
}

#[test]
fn nesting_without_end_is_no_overflow() {
    let deep = |open: &str, close: &str, count: usize| {
        format!("* 1 FETCH (UID 1 BODYSTRUCTURE {}{})\r\n{{honest}}", open.repeat(count), close.repeat(count))
    };
    survives(&[
        made("UID FETCH", deep("(", ")", 400)),
        made("UID FETCH", deep("(", ")", 1_000_000)),
        made("UID FETCH", deep("(\"a\" ", " NIL)", 200_000)),
        made("UID FETCH", deep("(", "", 1_000_000)),
        made("LIST ", format!("* LIST () \"/\" a {}\r\n{{honest}}", "(".repeat(1_000_000))),
        made("SELECT", format!("* OK [X {}] deep\r\n{{honest}}", "[(".repeat(1_000_000))),
    ]);
}

#[test]
fn very_long_sets_and_lists_are_read_in_one_go() {
    let numbers: Vec<String> = (1..=1_000_000).map(|number| (number * 2).to_string()).collect();
    let words: Vec<String> = (0..200_000).map(|number| format!("keyword{number}")).collect();
    let started = Instant::now();
    survives(&[
        made("UID FETCH", format!("* SEARCH {}\r\n{{honest}}", numbers.join(" "))),
        made("UID FETCH", format!("* VANISHED {}\r\n{{honest}}", numbers.join(","))),
        made("UID FETCH", format!("* ESEARCH (TAG \"x\") UID ALL {}\r\n{{honest}}", numbers.join(","))),
        made("UID FETCH 1:", format!("* 1 FETCH (UID 1 FLAGS ({}))\r\n{{honest}}", words.join(" "))),
        made("SELECT", format!("* FLAGS ({0})\r\n* OK [PERMANENTFLAGS ({0})] x\r\n{{honest}}", words.join(" "))),
        made("LIST ", format!("* LIST ({}) \"/\" INBOX\r\n{{honest}}", words.join(" "))),
    ]);
    // Not a matter of speed: what grows with the square of the length takes hours.
    assert!(started.elapsed() < 5 * TIME, "{:?}", started.elapsed());
}

/// The server sends a byte again and again, before the time that it has to send anything is over.
#[test]
fn a_byte_now_and_then_is_given_up() {
    survives_all(&pulled(), &each(&PLACES, b"* OK ["), Manner::Dripping);
}

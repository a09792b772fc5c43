//! Bursts, and what is heard while they are answered.

use super::*;
use crate::imap::script::{block_on, scripted};

fn texts(answers: &[Status]) -> Vec<&str> {
    answers.iter().map(|answer| answer.text.as_str()).collect()
}

fn commands(words: &[&str]) -> Vec<Command> {
    words.iter().map(|&word| Command::new(word)).collect()
}

#[test]
fn answers_are_matched_by_tag_and_all_data_is_heard() {
    block_on(async {
        let script = vec![
            ("A", "* 1 EXISTS\r\n+ what\r\n\r\n* NONSENSE ((\r\nx9 OK stray\r\n"),
            ("B", "m2 NO [LIMIT] second\r\n* 2 EXISTS\nm1 OK first\r\n* 3 EXISTS\r\n"),
            ("C", "$ BAD third\r\n"),
        ];
        let (mut store, server) = scripted(&[], script);
        let mut heard = Vec::new();
        let mut hear = |at: usize, data: Untagged| heard.push((at, data));
        let answers = store.connection.run(commands(&["A", "B", "C"]), &mut hear).await.unwrap();
        server.await.unwrap();
        assert_eq!(texts(&answers), ["first", "second", "third"]);
        assert_eq!(answers[1].code_name(), "LIMIT");
        let exists = |at, count| (at, Untagged::Exists(count));
        assert_eq!(heard, [exists(0, 1), (0, Untagged::Other), exists(0, 2), exists(2, 3)]);
        assert_eq!(store.connection.wire().traffic().round_trips, 1);
    });
}

#[test]
fn one_at_a_time_each_command_waits_for_the_answer_to_the_one_in_front_of_it() {
    block_on(async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (client, mut server) = tokio::io::duplex(1024);
        let mut store = crate::imap::script::store(client, &[]);
        store.connection.set_one_at_a_time(true);
        let server = async {
            for (expected, answer) in [("m1 A\r\n", "m1 NO first\r\n"), ("m2 B\r\n", "m2 OK second\r\n")] {
                let mut heard = vec![0; 64];
                let len = server.read(&mut heard).await.unwrap();
                assert_eq!(&heard[..len], expected.as_bytes(), "alone");
                server.write_all(answer.as_bytes()).await.unwrap();
            }
            server
        };
        let mut ignore = |_: usize, _: Untagged| {};
        let client = store.connection.run(commands(&["A", "B"]), &mut ignore);
        let (_server, answers) = tokio::join!(server, client);
        assert_eq!(texts(&answers.unwrap()), ["first", "second"]);
        assert_eq!(store.connection.wire().traffic().round_trips, 2);
    });
}

#[test]
fn a_literal_waits_and_a_refused_one_is_not_sent() {
    block_on(async {
        let (mut store, server) = scripted(&[], vec![("X {2}\r\n\u{e9}", "$ OK fine\r\n"), ("Y", "$ OK too\r\n")]);
        let first = Command::new("X").string("\u{e9}".as_bytes(), &Capabilities::default());
        let answers = store.connection.run(vec![first, Command::new("Y")], &mut |_, _| {}).await.unwrap();
        server.await.unwrap();
        assert_eq!(texts(&answers), ["fine", "too"]);
    });
    block_on(async {
        let (client, server) = tokio::io::duplex(64);
        let mut store = crate::imap::script::store(client, &[]);
        let server = async {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let (mut server, mut all) = (server, vec![0; 10]);
            server.read_exact(&mut all).await.unwrap();
            assert_eq!(all, b"m1 X {2}\r\n");
            server.write_all(b"m1 NO too long\r\n").await.unwrap();
            all.truncate(6);
            server.read_exact(&mut all).await.unwrap();
            assert_eq!(all, b"m2 Y\r\n");
            server.write_all(b"m2 OK went on\r\n").await.unwrap();
            server
        };
        let first = Command::new("X").string("\u{e9}".as_bytes(), &Capabilities::default());
        let mut ignore = |_: usize, _: Untagged| {};
        let client = store.connection.run(vec![first, Command::new("Y")], &mut ignore);
        let (_server, answers) = tokio::join!(server, client);
        assert_eq!(texts(&answers.unwrap()), ["too long", "went on"]);
    });
}

#[test]
fn an_end_without_the_tagged_answer_is_never_a_success() {
    block_on(async {
        let (mut store, _server) = scripted(&[], vec![("A", "* 1 EXISTS\r\n* BYE too many\r\n")]);
        let error = store.connection.run(commands(&["A"]), &mut |_, _| {}).await.unwrap_err();
        assert_eq!(error.to_string(), "the connection was lost; the server said: too many");
        let error = store.connection.run(commands(&["B"]), &mut |_, _| {}).await.unwrap_err();
        assert!(matches!(error, Error::BrokenOff));
    });
}

#[test]
fn a_request_given_up_half_way_leaves_the_connection_unusable() {
    block_on(async {
        let (mut store, _server) = scripted(&[], vec![("A", "* 1 EXISTS\r\n"), ("never", "")]);
        let mut ignore = |_: usize, _: Untagged| {};
        let run = store.connection.run(commands(&["A"]), &mut ignore);
        assert!(tokio::time::timeout(Duration::from_millis(5), run).await.is_err());
        let error = store.connection.run(commands(&["B"]), &mut |_, _| {}).await.unwrap_err();
        assert!(matches!(error, Error::BrokenOff));
    });
}

#[test]
fn strings_are_quoted_so_that_nothing_gets_out() {
    let sent = |value: &[u8]| match Command::new("X").string(value, &Capabilities::default()).segments.pop_front() {
        Some(Segment::Bytes(bytes)) => String::from_utf8(bytes).unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(sent(br#"a "b\c"#), r#"X "a \"b\\c""#);
    assert_eq!(sent(b"a\r\nm9 LOGOUT"), "X {12}\r\n");
    assert_eq!(sent(b""), "X \"\"");
}

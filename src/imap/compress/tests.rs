//! What is agreed on, what is decided, and what follows.

use std::time::Duration;

use async_compression::tokio::write::DeflateEncoder;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, duplex};

use super::*;
use crate::imap::deflate::Stream;
use crate::imap::script::{Kept, Step, block_on, of_a, serve, store, uid};
use crate::model::FlagSet;
use crate::reconcile::snapshot::{Listed, RemoteMessage};
use crate::store::{RemoteErrorKind, RemoteStore};

const OFFER: [&str; 1] = ["COMPRESS=DEFLATE"];

/// Plays the second part of a script compressed.
async fn serve_compressed(mut server: DuplexStream, before: Vec<Step>, after: Vec<Step>) {
    serve(&mut server, before).await;
    let mut stream = Stream::new(Box::new(server));
    stream.deflate(Vec::new());
    serve(stream, after).await;
}

async fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new());
    encoder.write_all(bytes).await.unwrap();
    encoder.flush().await.unwrap();
    encoder.into_inner()
}

fn noop() -> Vec<Command> {
    vec![Command::new("NOOP")]
}

#[test]
fn after_ok_all_is_compressed_and_what_travels_is_counted() {
    block_on(async {
        let (client, server) = duplex(1024);
        let mut store = store(client, &OFFER);
        let long: &'static str = format!("* OK {}\r\n$ OK x\r\n", "long ".repeat(2000)).leak();
        let server = serve_compressed(server, vec![("COMPRESS DEFLATE", "$ OK x\r\n")], vec![("NOOP", long)]);
        let client = async {
            store.begin_compression(Compress::On, true).await.unwrap();
            store.connection.run(noop(), &mut |_, _| {}).await.unwrap();
            store.traffic()
        };
        let ((), traffic) = tokio::join!(server, client);
        assert!(traffic.bytes_in < 200, "{traffic:?}");
        assert_eq!(traffic.round_trips, 2);
    });
}

#[test]
fn after_no_or_bad_nothing_is() {
    for answer in ["$ NO [COMPRESSIONACTIVE] DEFLATE\r\n", "$ NO x\r\n", "$ BAD x\r\n"] {
        block_on(async {
            let (client, server) = duplex(1024);
            let mut store = store(client, &OFFER);
            let server = serve(server, vec![("COMPRESS DEFLATE", answer), ("NOOP", "$ OK x\r\n")]);
            let client = async {
                store.begin_compression(Compress::On, false).await.unwrap();
                store.connection.run(noop(), &mut |_, _| {}).await.unwrap()
            };
            assert!(tokio::join!(server, client).1[0].is_ok());
        });
    }
}

#[test]
fn it_is_asked_for_only_if_it_is_wanted_and_offered() {
    for (wanted, offer) in [(Compress::Off, &OFFER[..]), (Compress::Auto, &OFFER), (Compress::On, &[])] {
        block_on(async {
            let (client, server) = duplex(1024);
            let mut store = store(client, offer);
            let server = serve(server, vec![("NOOP", "$ OK x\r\n")]);
            let client = async {
                store.begin_compression(wanted, false).await.unwrap();
                store.connection.run(noop(), &mut |_, _| {}).await.unwrap()
            };
            assert!(tokio::join!(server, client).1[0].is_ok(), "{wanted:?} {offer:?}");
        });
    }
}

/// Waits for COMPRESS, answers with all these bytes at once, and returns what comes then.
async fn answer_at_once(server: DuplexStream, answer: Vec<u8>) -> Vec<u8> {
    let mut server = BufReader::new(server);
    let (mut line, mut rest) = (String::new(), vec![0; 100]);
    server.read_line(&mut line).await.unwrap();
    assert_eq!(line, "m1 COMPRESS DEFLATE\r\n", "it goes alone");
    server.write_all(&answer).await.unwrap();
    let read = tokio::time::timeout(Duration::from_millis(50), server.read(&mut rest)).await;
    rest.truncate(read.map_or(0, Result::unwrap));
    rest
}

#[test]
fn what_stands_right_behind_the_ok_is_compressed_already() {
    block_on(async {
        let (client, server) = duplex(4096);
        let mut store = store(client, &OFFER);
        let behind = deflated(b"* 7 EXISTS\r\nm2 OK x\r\n").await;
        let answer = [b"* 3 EXISTS\r\nm1 OK x\r\n", behind.as_slice()].concat();
        let client = async {
            store.begin_compression(Compress::On, false).await.unwrap();
            let mut heard = Vec::new();
            store.connection.run(noop(), &mut |_, data| heard.push(data)).await.unwrap();
            heard
        };
        let (sent, heard) = tokio::join!(answer_at_once(server, answer), client);
        assert_eq!(heard, [crate::imap::response::Untagged::Exists(7)]);
        assert!(!sent.is_empty() && !sent.starts_with(b"m2"), "{sent:?}");
    });
}

#[test]
fn what_cannot_be_decompressed_or_ends_half_way_ends_the_connection() {
    for (behind, words) in [
        (&[0xff; 40][..], "the server sent what can't be decompressed"),
        (b"* BYE not compressed\r\n", "the server sent what can't be decompressed"),
        (&[0x4a], "the connection was lost"),
    ] {
        block_on(async {
            let (client, server) = duplex(4096);
            let mut store = store(client, &OFFER);
            let answer = [b"m1 OK x\r\n", behind].concat();
            let client = async {
                store.begin_compression(Compress::On, false).await.unwrap();
                store.connection.run(noop(), &mut |_, _| {}).await.unwrap_err()
            };
            let (_, error) = tokio::join!(answer_at_once(server, answer), client);
            assert_eq!((error.to_string().as_str(), error.kind()), (words, RemoteErrorKind::Unreachable));
        });
    }
}

fn outlook(messages: u64, size: u64) -> Outlook {
    Outlook { measured: true, told: (messages, messages * size), ..Outlook::default() }
}

#[test]
fn only_much_is_divided_and_by_the_size_of_messages() {
    let size = 20_000;
    let much = (Gauge::TAKES + MANY).div_ceil(size);
    assert_eq!(outlook(9, size).first(much), Some(53));
    assert_eq!(outlook(9, size).first(much - 1), None);
    assert_eq!(outlook(1, Gauge::TAKES + MANY).first(1), Some(1));
    assert_eq!(outlook(0, 0).first(u64::MAX), None, "no size is known");
    assert_eq!(outlook(5, 0).first(100), None);
    assert_eq!(Outlook { measured: false, ..outlook(9, size) }.first(much), None);
    assert!(outlook(9, size).is_much(MANY / size + 1) && !outlook(9, size).is_much(MANY / size));
}

#[test]
fn sizes_are_learnt_from_looks() {
    let message = |size| RemoteMessage { flags: FlagSet::default(), date: None, size, email_id: None };
    let messages = [(uid(1), message(Some(10))), (uid(2), message(None)), (uid(3), message(Some(30)))];
    let mut outlook = Outlook::default();
    outlook.note(&RemoteMessages::Full(Listed::from_iter(messages)));
    assert_eq!(outlook.average(), Some(20));
}

/// A body, of which so many make a large fetch.
const BODY: usize = 64 << 10;
const COUNT: u32 = 100;

/// Answers a FETCH of these messages, 64 KiB of each after a pause.
async fn bring<S: AsyncWriteExt + Unpin>(
    stream: &mut S,
    tag: &str,
    uids: std::ops::RangeInclusive<u32>,
    pause: Duration,
) {
    for uid in uids {
        tokio::time::sleep(pause).await;
        let head = format!("* {uid} FETCH (UID {uid} FLAGS () BODY[] {{{BODY}}}\r\n");
        stream.write_all(&[head.as_bytes(), &vec![b'x'; BODY], b")\r\n"].concat()).await.unwrap();
    }
    stream.write_all(format!("{tag} OK x\r\n").as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}

async fn expect<S: AsyncBufReadExt + Unpin>(stream: &mut S, command: &str) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    let (tag, sent) = line.trim_end().split_once(' ').unwrap();
    assert_eq!(sent, command);
    tag.to_owned()
}

/// Fetches all from a server that takes so long for each of the first messages; returns the store and what arrived.
async fn fetch_from(pause: Duration) -> (ImapStore, usize) {
    let (client, server) = duplex(1 << 20);
    let mut store = store(client, &OFFER);
    store.introduced = true;
    store.begin_compression(Compress::Auto, false).await.unwrap();
    store.outlook.told = (u64::from(COUNT), u64::from(COUNT) * BODY as u64);
    let first = u32::try_from(Gauge::TAKES / BODY as u64 + 1).unwrap();
    let items = "(UID FLAGS INTERNALDATE BODY.PEEK[])";
    let server = async move {
        let mut stream = BufReader::new(server);
        let tag = expect(&mut stream, "SELECT \"A\"").await;
        let selected = format!("* 100 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n{tag} OK x\r\n");
        stream.write_all(selected.as_bytes()).await.unwrap();
        let tag = expect(&mut stream, &format!("UID FETCH 1:{first} {items}")).await;
        bring(&mut stream, &tag, 1..=first, pause).await;
        let rest = format!("UID FETCH {}:{COUNT} {items}", first + 1);
        if pause.is_zero() {
            let tag = expect(&mut stream, &rest).await;
            return bring(&mut stream, &tag, first + 1..=COUNT, pause).await;
        }
        let tag = expect(&mut stream, "COMPRESS DEFLATE").await;
        stream.write_all(format!("{tag} OK x\r\n").as_bytes()).await.unwrap();
        let mut compressed = Stream::new(Box::new(stream.into_inner()));
        compressed.deflate(Vec::new());
        let mut compressed = BufReader::new(compressed);
        let tag = expect(&mut compressed, &rest).await;
        bring(&mut compressed, &tag, first + 1..=COUNT, Duration::ZERO).await;
    };
    let (all, mut sink): (Vec<u32>, _) = ((1..=COUNT).collect(), Kept::default());
    let wanted = [of_a(&all)];
    let ((), fetched) = tokio::join!(server, store.fetch(&wanted, &mut sink));
    fetched.unwrap().remove(0).unwrap();
    assert!(sink.messages.iter().all(|(_, body, _)| body.len() == BODY));
    (store, sink.messages.len())
}

#[test]
fn a_large_fetch_over_a_slow_link_ends_compressed() {
    block_on(async {
        let (store, arrived) = fetch_from(Duration::from_millis(60)).await;
        assert_eq!(arrived, 100);
        assert!(store.traffic().bytes_in < u64::from(COUNT) * BODY as u64 / 4, "{:?}", store.traffic());
    });
}

#[test]
fn a_large_fetch_over_a_fast_link_does_not() {
    block_on(async {
        let (store, arrived) = fetch_from(Duration::ZERO).await;
        assert_eq!((arrived, store.traffic().round_trips), (100, 2));
    });
}

#[test]
fn to_this_machine_nothing_is_decided_and_nothing_divided() {
    block_on(async {
        let (client, _server) = duplex(1024);
        let mut store = store(client, &OFFER);
        store.outlook.told = (1, 1 << 30);
        store.begin_compression(Compress::Auto, true).await.unwrap();
        assert_eq!(store.divide(&[of_a(&[1, 2])]).1, Vec::new());
        store.begin_compression(Compress::Auto, false).await.unwrap();
        assert_eq!(store.divide(&[of_a(&[1, 2])]).1.len(), 1);
    });
}

use super::*;
use crate::imap::script::{Kept, block_on};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

const TIMEOUT: Duration = Duration::from_secs(5);

/// Feeds pieces and returns the responses' texts and the sink's bytes.
fn feed(pieces: &[&[u8]]) -> Result<(Vec<Reply>, Vec<u8>), Error> {
    let (client, mut server) = duplex(64);
    let mut wire = Wire::new(Box::new(client), TIMEOUT, Traffic::default());
    block_on(async move {
        let send = async move {
            for piece in pieces {
                // The other end may have seen enough.
                let _sent = server.write_all(piece).await;
                tokio::task::yield_now().await;
            }
        };
        let receive = async move {
            let (mut replies, mut sink) = (Vec::new(), Kept::default());
            loop {
                while wire.next(Some(&mut sink))? {
                    replies.push(wire.take_reply());
                    wire.recycle(Reply::default());
                    sink.open = None;
                }
                match wire.progress().await {
                    Err(Error::Lost(None)) => return Ok((replies, sink.open.unwrap_or_default())),
                    other => other?,
                }
            }
        };
        tokio::join!(send, receive).1
    })
}

fn texts(bytes: &[u8]) -> Vec<String> {
    feed(&[bytes]).unwrap().0.iter().map(|reply| String::from_utf8_lossy(&reply.text).into_owned()).collect()
}

#[test]
fn lines_and_literals() {
    assert_eq!(texts(b"* LIST () {1}\r\n/ {5+}\r\na\r\nb}\r\n* X\n\r\n"), ["* LIST () {1}/ {5+}a\r\nb}", "* X", ""]);
}

#[test]
fn prose_announces_no_literal_and_a_code_may() {
    assert_eq!(texts(b"* OK [ALERT] try {5}\r\na NO no {3}\r\n+ say {4}\r\n").len(), 3);
    assert_eq!(texts(b"* NO [X {3}\r\nabc] y {9}\r\n* 1 EXISTS\r\n"), ["* NO [X {3}abc] y {9}", "* 1 EXISTS"]);
}

#[test]
fn bodies_go_to_the_sink_and_stay_out_of_the_text() {
    let (replies, open) = feed(&[b"* 1 FETCH (BODY[] {3}\r\nabc UID 7)\r\n* 2 FETCH (BODY[] ~{4}\r\nde"]).unwrap();
    assert_eq!(replies[0].text, b"* 1 FETCH (BODY[] {3} UID 7)");
    assert!(replies[0].literals[0].streamed);
    assert_eq!((replies.len(), open.as_slice()), (1, &b"de"[..]));
    assert!(feed(&[b"*  1  FETCH  (BODY[] {1}\r\na)\r\n"]).unwrap().0[0].literals[0].streamed, "odd spaces");
}

#[test]
fn what_could_fill_memory_ends_the_connection() {
    assert!(matches!(feed(&[b"* LIST () NIL {400000000}\r\n"]), Err(Error::Garbled(_))));
    assert!(matches!(feed(&[b"* 1 FETCH (X {99999999999999999999999}\r\n"]), Err(Error::Garbled(_))));
    let endless = vec![b'1'; MAX_TEXT + 10];
    assert!(matches!(feed(&[b"* VANISHED ", &endless]), Err(Error::Garbled(_))));
}

#[test]
fn both_directions_move_although_neither_side_listens_for_long() {
    block_on(async {
        let (client, server) = duplex(16);
        let (mut from_client, mut to_client) = tokio::io::split(server);
        let mut wire = Wire::new(Box::new(client), TIMEOUT, Traffic::default());
        wire.send(&vec![b'x'; 10_000]);
        let server = async move {
            to_client.write_all(&[b'y'; 10_000]).await.unwrap();
            to_client.write_all(b"\r\n").await.unwrap();
            let mut all = vec![0; 10_000];
            from_client.read_exact(&mut all).await.unwrap();
            (from_client, to_client)
        };
        let client = async move {
            while !wire.next(None).unwrap() {
                wire.progress().await.unwrap();
            }
            while wire.queued() > 0 {
                wire.progress().await.unwrap();
            }
            assert_eq!((wire.traffic().bytes_in, wire.traffic().bytes_out), (10_002, 10_000));
        };
        tokio::join!(server, client);
    });
}

#[test]
fn what_was_written_is_not_kept_although_more_is_queued_all_the_time() {
    block_on(async {
        let (client, mut server) = duplex(100 * 1024);
        let mut wire = Wire::new(Box::new(client), TIMEOUT, Traffic::default());
        let mut taken = vec![0; 100 * 1024];
        while wire.traffic().bytes_out < 8 * BUFFER as u64 {
            while wire.queued() < BUFFER {
                wire.send(&[b'x'; 64 * 1024]);
            }
            wire.progress().await.unwrap();
            server.read_exact(&mut taken).await.unwrap();
            assert!(wire.output.len() <= 3 * BUFFER, "{}", wire.output.len());
        }
    });
}

#[test]
fn what_could_fill_the_disk_ends_the_connection() {
    assert!(matches!(feed(&[b"* 1 FETCH (BODY[] {4294967297}\r\n"]), Err(Error::Garbled(_))));
    let many = b"* 1 FETCH (BODY[] {0}\r\n".iter().copied().chain(b" {0}\r\n".repeat(MAX_LITERALS)).collect::<Vec<_>>();
    assert!(matches!(feed(&[&many]), Err(Error::Garbled(_))));
}

/// The pauses are what is tested: each shorter than the timeout.
#[test]
fn a_byte_now_and_then_is_no_answer() {
    block_on(async {
        // Long enough for a machine with much else to do.
        let timeout = Duration::from_secs(1);
        let (client, mut server) = duplex(64);
        let mut wire = Wire::new(Box::new(client), timeout, Traffic::default());
        let drip = async move {
            while server.write_all(b"*").await.is_ok() {
                tokio::time::sleep(timeout / 50).await;
            }
        };
        let receive = async move {
            loop {
                assert!(!wire.next(None).unwrap());
                if let Err(error) = wire.progress().await {
                    return (error, wire.traffic().bytes_in);
                }
            }
        };
        let ((), (error, heard)) = tokio::join!(drip, receive);
        assert!(matches!(error, Error::Garbled(_)) && heard > 1, "{error} {heard}");
    });
}

#[test]
fn silence_has_an_end() {
    block_on(async {
        let (client, _server) = duplex(16);
        let mut wire = Wire::new(Box::new(client), Duration::from_millis(5), Traffic::default());
        assert!(matches!(wire.progress().await, Err(Error::Silent(_))));
    });
}

proptest! {
    #[test]
    fn cuts_make_no_difference(cut in 0usize..70) {
        let bytes = b"* 1 FETCH (UID 7 BODY[] {6}\r\na\r\nb{1 FLAGS (x))\r\n* LIST () \"/\" {2}\r\n\r\n\r\nm1 OK done\r\n";
        let (one, other) = bytes.split_at(cut.min(bytes.len()));
        let text = |replies: Vec<Reply>| replies.into_iter().map(|reply| reply.text).collect::<Vec<_>>();
        prop_assert_eq!(text(feed(&[one, other]).unwrap().0), text(feed(&[bytes]).unwrap().0));
    }

    #[test]
    fn any_bytes_end(bytes in proptest::collection::vec(
        prop_oneof![Just(b'{'), Just(b'}'), Just(b'\n'), Just(b'1'), Just(b' '), Just(b']'), any::<u8>()], 0..200)) {
        if let Ok((replies, _)) = feed(&[b"* 1 FETCH (BODY[] ", &bytes]) {
            for reply in replies {
                let _response = crate::imap::response::parse(&reply);
            }
        }
    }
}

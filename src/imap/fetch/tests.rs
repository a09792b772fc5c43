use crate::imap::script::{Kept, Step, block_on, name, of_a, scripted};
use crate::model::{FlagSet, UidValidity};
use crate::store::{RemoteError, RemoteErrorKind, RemoteStore};

const SELECTED: &str = "* 9 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n$ OK done\r\n";

#[test]
fn the_answer_to_a_fetch_is_not_taken_for_that_to_the_select() {
    block_on(async {
        let first = "* 9 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\nm2 OK done\r\nm1 NO [NONEXISTENT] x\r\n";
        let script = vec![("SELECT \"A\"", ""), ("UID FETCH 1 (UID FLAGS INTERNALDATE BODY.PEEK[])", first)];
        let (mut store, server) = scripted(&[], script);
        let error = store.fetch(&[of_a(&[1])], &mut Kept::default()).await.unwrap().remove(0).unwrap_err();
        server.await.unwrap();
        assert_eq!(error.kind, RemoteErrorKind::NoSuchMailbox);
        assert!(!store.has_selected(&name("A"), UidValidity(7)));
    });
}

#[test]
fn a_part_of_a_message_is_never_taken_for_the_whole() {
    block_on(async {
        let body = "* 1 FETCH (UID 1 FLAGS () BODY[TEXT] {4}\r\ntext BODY[] {5}\r\nwhole)\r\n$ OK done\r\n";
        let script = vec![("SELECT \"A\"", SELECTED), ("UID FETCH 1 (UID FLAGS INTERNALDATE BODY.PEEK[])", body)];
        let mut sink = Kept::default();
        fetch(script, &[1], &mut sink).await.unwrap();
        assert_eq!(sink.messages, Vec::<(u32, Vec<u8>, FlagSet)>::new());
    });
}

async fn fetch(script: Vec<Step>, asked: &[u32], sink: &mut Kept) -> Result<(), RemoteError> {
    let (mut store, server) = scripted(&[], script);
    let outcome = store.fetch(&[of_a(asked)], sink).await.and_then(|mut answers| answers.remove(0));
    drop(store);
    if outcome.is_ok() {
        server.await.unwrap();
    }
    outcome
}

#[test]
fn each_message_asked_for_arrives_once_and_no_other() {
    block_on(async {
        let bodies = "* 1 FETCH (BODY[] {3}\r\none UID 1 FLAGS (\\Seen))\r\n\
            * 1 FETCH (UID 1 FLAGS () BODY[] {3}\r\none)\r\n\
            * 2 FETCH (UID 2 FLAGS () BODY[] NIL)\r\n\
            * 3 FETCH (UID 3 FLAGS () BODY[] \"th\\\"ree\")\r\n\
            * 4 FETCH (UID 99 FLAGS () BODY[] {5}\r\nother)\r\n\
            * 5 FETCH (UID 5 FLAGS () BODY[TEXT] {4}\r\ntext)\r\n\
            * 6 FETCH (FLAGS ())\r\n* XYZ BODY[] {3}\r\nabc\r\n\
            * 7 FETCH (UID 6 FLAGS () INTERNALDATE NIL BODY[] {0}\r\n)\r\n$ OK done\r\n";
        let script = vec![("SELECT \"A\"", SELECTED), ("UID FETCH 1:6 (UID FLAGS INTERNALDATE BODY.PEEK[])", bodies)];
        let mut sink = Kept::default();
        fetch(script, &[1, 2, 3, 4, 5, 6], &mut sink).await.unwrap();
        let all: Vec<_> = sink.messages.iter().map(|(uid, body, _)| (*uid, body.as_slice())).collect();
        assert_eq!(all, [(1, &b"one"[..]), (3, b"th\"ree")]);
        assert_eq!(sink.open, None);
    });
}

#[test]
fn nothing_arrives_from_another_mailbox_of_that_name() {
    block_on(async {
        for select in
            ["* 9 EXISTS\r\n* OK [UIDVALIDITY 8] x\r\n$ OK done\r\n", "* 9 EXISTS\r\n$ NO [NONEXISTENT] x\r\n"]
        {
            // As a literal, and within the line.
            for body in ["{3}\r\none", "\"one\""] {
                let body: &'static str = format!("* 1 FETCH (UID 1 FLAGS () BODY[] {body})\r\n$ OK done\r\n").leak();
                let script = vec![("SELECT \"A\"", select), ("UID FETCH 1 (UID FLAGS INTERNALDATE BODY.PEEK[])", body)];
                let mut sink = Kept::default();
                let error = fetch(script, &[1], &mut sink).await.unwrap_err();
                let missing = select.contains("NONEXISTENT");
                let kind = if missing { RemoteErrorKind::NoSuchMailbox } else { RemoteErrorKind::UidValidityChanged };
                assert_eq!((error.kind, sink.begun), (kind, 0), "{body}");
            }
        }
    });
}

#[test]
fn a_message_that_cannot_be_read_does_not_stop_the_others() {
    block_on(async {
        let script = vec![
            ("SELECT \"A\"", SELECTED),
            (
                "UID FETCH 1:3 (UID FLAGS INTERNALDATE BODY.PEEK[])",
                "* 1 FETCH (UID 1 FLAGS () BODY[] {3}\r\none)\r\n$ NO [SERVERBUG] x\r\n",
            ),
            ("UID FETCH 2 (UID FLAGS INTERNALDATE BODY.PEEK[])", "$ NO [SERVERBUG] no 2\r\n"),
            (
                "UID FETCH 3 (UID FLAGS INTERNALDATE BODY.PEEK[])",
                "* 1 FETCH (UID 3 FLAGS () BODY[] {5}\r\nthree)\r\n$ OK x\r\n",
            ),
        ];
        let mut sink = Kept::default();
        fetch(script, &[1, 2, 3], &mut sink).await.unwrap();
        assert_eq!(sink.left_out, [(2, "it says: NO [SERVERBUG] no 2".to_owned())]);
        assert_eq!(sink.messages.len(), 2);
    });
}

#[test]
fn where_nothing_comes_the_server_may_be_to_blame() {
    block_on(async {
        let refused = "$ NO [SERVERBUG] all\r\n";
        let script = vec![
            ("SELECT \"A\"", SELECTED),
            ("UID FETCH 1:2 (UID FLAGS INTERNALDATE BODY.PEEK[])", refused),
            ("UID FETCH 1 (UID FLAGS INTERNALDATE BODY.PEEK[])", refused),
            ("UID FETCH 2 (UID FLAGS INTERNALDATE BODY.PEEK[])", refused),
        ];
        let mut sink = Kept::default();
        let error = fetch(script, &[1, 2], &mut sink).await.unwrap_err();
        let words = "fetching messages from A: message 1: the server said: NO [SERVERBUG] all";
        assert_eq!((error.to_string().as_str(), error.kind), (words, RemoteErrorKind::Busy));
        assert_eq!(sink.left_out, []);
    });
}

#[test]
fn a_full_disk_and_a_cut_connection_leave_no_half_message() {
    block_on(async {
        let both = "* 1 FETCH (UID 1 FLAGS () BODY[] {3}\r\none)\r\n* 2 FETCH (UID 2 FLAGS () BODY[] {9}\r\ntw";
        let script = || vec![("SELECT \"A\"", SELECTED), ("UID FETCH 1:2 (UID FLAGS INTERNALDATE BODY.PEEK[])", both)];
        let mut sink = Kept { fail_at: Some(2), ..Kept::default() };
        let error = fetch(script(), &[1, 2], &mut sink).await.unwrap_err();
        assert_eq!((error.kind, sink.open.take(), sink.messages.len()), (RemoteErrorKind::Local, None, 1));
        let mut sink = Kept::default();
        let error = fetch(script(), &[1, 2], &mut sink).await.unwrap_err();
        assert_eq!((error.kind, sink.open, sink.messages.len()), (RemoteErrorKind::Unreachable, None, 1));
    });
}

#[test]
fn a_connection_kept_for_another_run_takes_nothing_for_selected_and_tells_of_that_run_only() {
    block_on(async {
        let body = |uid: u32| -> &'static str {
            format!("* 1 FETCH (UID {uid} FLAGS () BODY[] {{3}}\r\none)\r\n$ OK x\r\n").leak()
        };
        let script = vec![
            ("SELECT \"A\"", SELECTED),
            ("UID FETCH 1 (UID FLAGS INTERNALDATE BODY.PEEK[])", body(1)),
            ("NOOP", "* 3 EXPUNGE\r\n$ OK x\r\n"),
            ("SELECT \"A\"", SELECTED),
            ("UID FETCH 2 (UID FLAGS INTERNALDATE BODY.PEEK[])", body(2)),
            ("NOOP", "* BYE too long\r\n"),
        ];
        let (mut store, server) = scripted(&[], script);
        let mut sink = Kept::default();
        store.fetch(&[of_a(&[1])], &mut sink).await.unwrap().remove(0).unwrap();
        let first = store.traffic();
        store.renew().await.unwrap();
        store.fetch(&[of_a(&[2])], &mut sink).await.unwrap().remove(0).unwrap();
        let second = store.traffic();
        assert_eq!((first.round_trips, second.round_trips, sink.messages.len()), (1, 2, 2));
        assert!(second.bytes_in < first.bytes_in * 3 / 2, "{first:?} {second:?}");
        assert_eq!(store.renew().await.unwrap_err().kind, RemoteErrorKind::Unreachable);
        server.await.unwrap();
    });
}

#[test]
fn a_body_without_its_flags_is_an_error_and_not_a_message_without_flags() {
    block_on(async {
        let body = "* 1 FETCH (UID 1 BODY[] {3}\r\none)\r\n$ OK x\r\n";
        let script = vec![("SELECT \"A\"", SELECTED), ("UID FETCH 1 (UID FLAGS INTERNALDATE BODY.PEEK[])", body)];
        let mut sink = Kept::default();
        assert_eq!(fetch(script, &[1], &mut sink).await.unwrap_err().kind, RemoteErrorKind::Refused);
        assert_eq!(sink.messages, Vec::<(u32, Vec<u8>, FlagSet)>::new());
    });
}

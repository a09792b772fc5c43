use crate::imap::script::{Step, block_on, name, scripted, uid};
use crate::imap::select::Selected;
use crate::model::MailboxName;
use crate::model::{Flag, FlagSet, ModSeq, Timestamp, Uid, UidValidity, Watermark};
use crate::reconcile::snapshot::RemoteRequest;
use crate::store::{
    Append, Appended, BodySource, Lane, LocalError, LocalErrorKind, RemoteError, RemoteErrorKind, RemoteStore, Uploads,
};
use std::cell::Cell;
use std::collections::VecDeque;
use std::io::Read as _;

#[derive(Debug)]
struct Bytes(&'static [u8], u64);

impl BodySource for Bytes {
    fn size(&self) -> u64 {
        self.1
    }

    fn has_nul(&self) -> bool {
        self.0.contains(&0)
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, LocalError> {
        Ok(self.0.read(buffer).unwrap())
    }
}

fn message(body: &'static [u8]) -> Append {
    Append { flags: FlagSet::new(), date: None, body: Box::new(Bytes(body, body.len() as u64)), alone: false }
}

/// Parts, each with messages to A; and what came of them.
#[derive(Default)]
struct Parts {
    waiting: VecDeque<Vec<Append>>,
    out: usize,
    most: usize,
    answers: Vec<Appended>,
    next: Cell<Option<usize>>,
}

impl Uploads for Parts {
    fn is_large(&self) -> bool {
        false
    }

    fn next(&mut self, _: Lane) -> Result<Vec<(MailboxName, Vec<Append>)>, LocalError> {
        let part = self.waiting.pop_front().map(|messages| (name("A"), messages));
        self.out += usize::from(part.is_some());
        self.most = self.most.max(self.out);
        Ok(part.into_iter().collect())
    }

    fn is_over(&self, _: Lane) -> bool {
        self.waiting.is_empty()
    }

    fn answered(&mut self, _: Lane, answers: Vec<Vec<Appended>>) -> Result<(), LocalError> {
        self.out -= 1;
        self.answers.extend(answers.into_iter().flatten());
        Ok(())
    }

    fn was_out_before(&self, _: Lane, at: usize) -> bool {
        self.next.set(Some(at));
        true
    }

    fn hung_up(&mut self, _: Lane, _: usize, _: Option<&str>) -> Result<(), LocalError> {
        Ok(())
    }
}

async fn append_parts(capabilities: &[&str], script: Vec<Step>, parts: Vec<Vec<Append>>) -> Result<Parts, RemoteError> {
    let (mut store, server) = scripted(capabilities, script);
    let mut parts = Parts { waiting: parts.into(), ..Parts::default() };
    let appended = store.append(&mut parts).await;
    drop(store);
    appended?;
    server.await.unwrap();
    assert_eq!((parts.waiting.len(), parts.out), (0, 0));
    Ok(parts)
}

async fn append(capabilities: &[&str], script: Vec<Step>, messages: Vec<Append>) -> Result<Vec<Appended>, RemoteError> {
    Ok(append_parts(capabilities, script, vec![messages]).await?.answers)
}

fn summary(appended: Vec<Appended>) -> Vec<Result<Option<u32>, RemoteErrorKind>> {
    let one = |appended| match appended {
        Appended::As(validity, uid) => {
            assert_eq!(validity, UidValidity(7));
            Ok(Some(uid.get()))
        }
        Appended::Somewhere => Ok(None),
        Appended::Refused(error) => Err(error.kind),
        Appended::RefusedTogether => Err(RemoteErrorKind::Busy),
    };
    appended.into_iter().map(one).collect()
}

#[test]
fn each_message_has_its_own_answer() {
    block_on(async {
        let mut first = message(b"one");
        first.flags = FlagSet::of(&[Flag::Seen, Flag::Draft]);
        first.date = Some(Timestamp(0));
        let script = vec![
            (
                "APPEND \"A\" (\\Seen \\Draft) \"01-Jan-1970 00:00:00 +0000\" {3+}\r\none",
                "* 4 EXISTS\r\n$ OK [APPENDUID 7 12] x\r\n",
            ),
            ("APPEND \"A\" {3+}\r\ntwo", "$ NO [OVERQUOTA] x\r\n"),
            ("APPEND \"A\" {5+}\r\nthree", "$ NO [TRYCREATE] x\r\n"),
            ("APPEND \"A\" {4+}\r\nfour", "$ OK x\r\n"),
            ("APPEND \"A\" {4+}\r\nfive", "$ NO [LIMIT] not so fast\r\n"),
        ];
        let nul = message(b"a\0");
        let large = Append { body: Box::new(Bytes(b"", 101)), ..message(b"") };
        let messages = vec![first, message(b"two"), nul, message(b"three"), large, message(b"four"), message(b"five")];
        let appended = append(&["LITERAL+", "APPENDLIMIT=100"], script, messages).await.unwrap();
        use RemoteErrorKind::{Busy, NoSuchMailbox, TooLarge, Unrepresentable};
        let (nul, three, large) = (Err(Unrepresentable), Err(NoSuchMailbox), Err(TooLarge));
        let expected = [Ok(Some(12)), Err(TooLarge), nul, three, large, Ok(None), Err(Busy)];
        assert_eq!(summary(appended), expected);
        assert_eq!(uid(12).get(), 12);
    });
}

#[test]
fn what_was_refused_has_no_uid_whatever_the_answer_names() {
    block_on(async {
        let script = vec![("APPEND \"A\" {3+}\r\none", "$ NO [APPENDUID 7 12] x\r\n")];
        let appended = append(&["LITERAL+"], script, vec![message(b"one")]).await.unwrap();
        assert_eq!(summary(appended), [Err(RemoteErrorKind::Refused)]);
    });
}

#[test]
fn several_messages_go_with_one_command_and_are_refused_together() {
    block_on(async {
        let script = vec![
            ("APPEND \"A\" {3+}\r\none {3+}\r\ntwo (\\Seen) {5+}\r\nthree", "$ OK [APPENDUID 7 12,20:21] x\r\n"),
            ("APPEND \"A\" {4+}\r\nfour", "$ NO [OVERQUOTA] x\r\n"),
            ("APPEND \"A\" {4+}\r\nfive {3+}\r\nsix", "$ NO x\r\n"),
        ];
        let third = Append { flags: FlagSet::of(&[Flag::Seen]), ..message(b"three") };
        let alone = Append { alone: true, ..message(b"four") };
        let messages = vec![message(b"one"), message(b"two"), third, alone, message(b"five"), message(b"six")];
        let appended = append(&["LITERAL+", "MULTIAPPEND"], script, messages).await.unwrap();
        assert!(matches!(appended[4..], [Appended::RefusedTogether, Appended::RefusedTogether]));
        use RemoteErrorKind::{Busy, TooLarge};
        assert_eq!(summary(appended), [Ok(Some(12)), Ok(Some(20)), Ok(Some(21)), Err(TooLarge), Err(Busy), Err(Busy)]);
    });
}

#[test]
fn uids_that_do_not_add_up_prove_nothing() {
    block_on(async {
        for answer in ["$ OK [APPENDUID 7 12:14] x\r\n", "$ OK [APPENDUID 7 1:4294967295] x\r\n", "$ OK x\r\n"] {
            let script = vec![("APPEND \"A\" {3+}\r\none {3+}\r\ntwo", answer)];
            let messages = vec![message(b"one"), message(b"two")];
            let appended = append(&["LITERAL+", "MULTIAPPEND"], script, messages).await.unwrap();
            assert_eq!(summary(appended), [Ok(None), Ok(None)]);
        }
    });
}

#[test]
fn without_literal_plus_each_literal_waits_and_a_nul_needs_binary() {
    block_on(async {
        let script = vec![("APPEND \"A\" {3}\r\none", "$ OK x\r\n"), ("APPEND \"A\" ~{2}\r\na\0", "$ OK x\r\n")];
        let appended = append(&["BINARY"], script, vec![message(b"one"), message(b"a\0")]).await.unwrap();
        assert_eq!(summary(appended), [Ok(None), Ok(None)]);
    });
}

#[test]
fn a_message_that_shrank_is_never_completed() {
    block_on(async {
        let shrunk = Append { body: Box::new(Bytes(b"one", 9)), ..message(b"") };
        let error = append(&["LITERAL+"], vec![], vec![shrunk]).await.unwrap_err();
        assert!(error.to_string().contains("became shorter"), "{error}");
    });
}

#[test]
fn the_next_part_is_sent_while_the_server_works_on_one_and_no_more() {
    block_on(async {
        let script = vec![
            ("APPEND \"A\" {3+}\r\none", ""),
            ("APPEND \"A\" {3+}\r\ntwo", "m2 OK [APPENDUID 7 21] x\r\nm1 OK [APPENDUID 7 20] x\r\n"),
            ("APPEND \"A\" {5+}\r\nthree", ""),
            ("APPEND \"A\" {4+}\r\nfour", "m3 NO x\r\nm4 OK [APPENDUID 7 23] x\r\n"),
        ];
        let nul = vec![message(b"a\0")];
        let parts = vec![vec![message(b"one")], vec![message(b"two")], nul, vec![message(b"three"), message(b"four")]];
        let parts = append_parts(&["LITERAL+"], script, parts).await.unwrap();
        assert_eq!(parts.most, 2);
        use RemoteErrorKind::{Refused, Unrepresentable};
        let expected = [Ok(Some(20)), Ok(Some(21)), Err(Unrepresentable), Err(Refused), Ok(Some(23))];
        assert_eq!(summary(parts.answers), expected);
    });
}

/// Fails at one call.
struct Failing {
    parts: Parts,
    calls: usize,
    at: usize,
}

impl Failing {
    fn call(&mut self) -> Result<&mut Parts, LocalError> {
        self.calls += 1;
        match self.calls == self.at {
            true => Err(LocalError { kind: LocalErrorKind::Full, cause: "disk full".into() }),
            false => Ok(&mut self.parts),
        }
    }
}

impl Uploads for Failing {
    fn is_large(&self) -> bool {
        false
    }

    fn next(&mut self, lane: Lane) -> Result<Vec<(MailboxName, Vec<Append>)>, LocalError> {
        self.call()?.next(lane)
    }

    fn is_over(&self, lane: Lane) -> bool {
        self.parts.is_over(lane)
    }

    fn answered(&mut self, lane: Lane, answers: Vec<Vec<Appended>>) -> Result<(), LocalError> {
        self.call()?.answered(lane, answers)
    }

    fn was_out_before(&self, lane: Lane, at: usize) -> bool {
        self.parts.was_out_before(lane, at)
    }

    fn hung_up(&mut self, lane: Lane, at: usize, said: Option<&str>) -> Result<(), LocalError> {
        self.call()?.hung_up(lane, at, said)
    }
}

#[test]
fn the_look_that_follows_goes_behind_the_last_part() {
    block_on(async {
        let seen = "m2 OK x\r\nm3 OK x\r\n* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 4] x\r\n\
                    * OK [HIGHESTMODSEQ 12] x\r\n$ OK x\r\n";
        let script: Vec<Step> = vec![
            ("APPEND \"A\" {3+}\r\none", "$ OK x\r\n"),
            ("APPEND \"A\" {3+}\r\ntwo", ""),
            ("APPEND \"A\" {3+}\r\nsix", ""),
            ("SELECT \"A\" (QRESYNC (7 10))", seen),
            ("UID FETCH 4:4294967295 (UID FLAGS INTERNALDATE RFC822.SIZE)", "$ OK x\r\n"),
        ];
        let (mut store, server) = scripted(&["QRESYNC", "CONDSTORE", "LITERAL+"], script);
        store.qresync = true;
        let since = Watermark { uid_validity: UidValidity(7), uid_next: 4, messages: 3, mod_seq: ModSeq::new(10) };
        store.about_to_look(vec![(name("A"), since)]);
        store.selected = Some(Selected { mailbox: name("B"), validity: UidValidity(5) });
        let waiting = [b"one", b"two", b"six"].map(|body| vec![message(body)]).into();
        store.append(&mut Parts { waiting, ..Parts::default() }).await.unwrap();
        assert_eq!(store.selected, None, "the look selects another");
        let known = (1..4).filter_map(Uid::new).collect();
        let request = RemoteRequest { mailbox: name("A"), since: Some(since), known };
        let seen = store.observe(&[request]).await.unwrap().pop().unwrap().outcome.unwrap();
        server.await.unwrap();
        assert_eq!(seen.watermark.mod_seq, ModSeq::new(12));
        assert_eq!(store.traffic().round_trips, 1);
    });
}

#[test]
fn it_is_known_which_message_was_next_when_the_connection_ended() {
    block_on(async {
        for (capabilities, script, next) in [
            (
                &["LITERAL+"][..],
                vec![("APPEND \"A\" {3+}\r\none", "$ OK x\r\n"), ("APPEND \"A\" {3+}\r\ntwo", "* BYE x\r\n")],
                Some(1),
            ),
            (
                &["LITERAL+", "MULTIAPPEND"],
                vec![("APPEND \"A\" {3+}\r\none {3+}\r\ntwo {3+}\r\nsix", "* BYE x\r\n")],
                None,
            ),
        ] {
            let (mut store, server) = scripted(capabilities, script);
            let part = [b"one", b"two", b"six"].map(|body| message(body)).into();
            let mut parts = Parts { waiting: VecDeque::from([part]), ..Parts::default() };
            assert_eq!(store.append(&mut parts).await.unwrap_err().kind, RemoteErrorKind::Unreachable);
            assert_eq!(parts.next.get(), next, "{capabilities:?}");
            drop(store);
            server.await.unwrap();
        }
    });
}

#[test]
fn after_a_failure_here_what_is_out_is_heard_out_and_no_more_is_sent() {
    block_on(async {
        let list = [("LIST \"\" \"*\"", "$ OK x\r\n"), ("LSUB \"\" \"*\"", "$ OK x\r\n")];
        let one = ("APPEND \"A\" {3+}\r\none", "$ OK x\r\n");
        let two =
            [("APPEND \"A\" {3+}\r\none", ""), ("APPEND \"A\" {3+}\r\ntwo", "m1 OK x\r\n* 2 EXISTS\r\nm2 OK x\r\n")];
        // When the second part is asked for, and when the first is answered.
        for (at, script, left) in [(2, vec![one], 2), (3, two.to_vec(), 1)] {
            let (mut store, server) = scripted(&["LITERAL+"], [script, list.to_vec()].concat());
            let waiting = [b"one", b"two", b"six"].map(|body| vec![message(body)]).into();
            let mut failing = Failing { parts: Parts { waiting, ..Parts::default() }, calls: 0, at };
            let error = store.append(&mut failing).await.unwrap_err();
            assert!(error.to_string().contains("disk full"), "{error}");
            assert_eq!((failing.calls, failing.parts.waiting.len()), (at, left));
            store.list().await.unwrap();
            server.await.unwrap();
        }
    });
}

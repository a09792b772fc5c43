mod announced;

use crate::imap::ImapStore;
use crate::imap::script::{Step, block_on, name, scripted, uid, uids};
use crate::model::{EmailId, Flag, ModSeq, UidSet, UidValidity, Watermark};
use crate::reconcile::snapshot::{RemoteMessages, RemoteRequest, RemoteSnapshot};
use crate::store::{RemoteError, RemoteErrorKind, RemoteStore};

const ALL: &str = "UID FETCH 1:4294967295 (UID FLAGS INTERNALDATE RFC822.SIZE)";
const NEW: &str = "UID FETCH 4:4294967295 (UID FLAGS INTERNALDATE RFC822.SIZE)";
const NEWEST: &str = "UID FETCH 3,4:4294967295 (UID FLAGS INTERNALDATE RFC822.SIZE)";
const DATE: &str = "INTERNALDATE \"01-Jan-2020 00:00:00 +0000\" RFC822.SIZE 9";

fn since() -> Watermark {
    Watermark { uid_validity: UidValidity(7), uid_next: 4, messages: 3, mod_seq: ModSeq::new(10) }
}

fn known() -> RemoteRequest {
    RemoteRequest { mailbox: name("A"), since: Some(since()), known: uids(&[1, 2, 3]) }
}

async fn observe(
    capabilities: &[&str],
    script: Vec<Step>,
    request: RemoteRequest,
) -> (Result<RemoteSnapshot, RemoteError>, ImapStore) {
    let (mut store, server) = scripted(capabilities, script);
    store.qresync = capabilities.contains(&"QRESYNC");
    let outcome = store.observe(&[request]).await.unwrap().pop().unwrap().outcome;
    server.await.unwrap();
    (outcome, store)
}

fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

fn selected(exists: u32, more: &str) -> &'static str {
    leak(format!(
        "* {exists} EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 5] x\r\n{more}$ OK [READ-WRITE] done\r\n"
    ))
}

fn messages(numbers: &[u32]) -> &'static str {
    let line = |n: &u32| format!("* {n} FETCH (UID {n} FLAGS (\\Seen) {DATE})\r\n");
    leak(numbers.iter().map(line).chain(["$ OK done\r\n".to_owned()]).collect())
}

fn delta(snapshot: &RemoteSnapshot) -> (Vec<u32>, &UidSet) {
    match &snapshot.messages {
        RemoteMessages::Delta { changed, vanished } => (changed.keys().map(|uid| uid.get()).collect(), vanished),
        RemoteMessages::Full(_) => panic!("full"),
    }
}

#[test]
fn qresync_tells_what_changed_and_the_count_proves_it() {
    block_on(async {
        let select = selected(
            3,
            "* OK [CLOSED] x\r\n* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 5] x\r\n* OK [HIGHESTMODSEQ 20] x\r\n\
             * OK [PERMANENTFLAGS (\\Seen)] x\r\n* VANISHED (EARLIER) 2,4000000000:*\r\n* 1 FETCH (UID 1 FLAGS (\\Draft) MODSEQ (15))\r\n",
        );
        let script = vec![("SELECT \"A\" (QRESYNC (7 10))", select), (NEW, messages(&[4]))];
        let (snapshot, mut store) = observe(&["CONDSTORE", "QRESYNC"], script, known()).await;
        let snapshot = snapshot.unwrap();
        assert_eq!(delta(&snapshot), (vec![1, 4], &uids(&[2])));
        let mark = snapshot.watermark;
        assert_eq!((mark.uid_next, mark.messages, mark.mod_seq), (5, 3, ModSeq::new(20)));
        assert!(!snapshot.permanent.new_keywords && !snapshot.read_only);
        assert!(store.has_selected(&name("A"), UidValidity(7)));
        assert!(store.select(&name("A"), UidValidity(7)).await.is_ok(), "no round trip");
    });
}

#[test]
fn only_the_select_tells_how_far_a_look_went() {
    block_on(async {
        let later = leak(format!("* OK [UIDNEXT 9] x\r\n* OK [HIGHESTMODSEQ 30] x\r\n{}", messages(&[4])));
        let select = selected(4, "* OK [HIGHESTMODSEQ 20] x\r\n");
        let script = vec![("SELECT \"A\" (QRESYNC (7 10))", select), (NEW, later)];
        let (snapshot, _) = observe(&["CONDSTORE", "QRESYNC"], script, known()).await;
        let mark = snapshot.unwrap().watermark;
        assert_eq!((mark.uid_validity, mark.uid_next, mark.mod_seq), (UidValidity(7), 5, ModSeq::new(20)));
    });
}

#[test]
fn a_delta_that_does_not_add_up_becomes_a_full_look() {
    block_on(async {
        for more in [
            "* OK [HIGHESTMODSEQ 20] x\r\n", // one too few
            "* OK [HIGHESTMODSEQ 9] x\r\n",  // the server forgot
            "* OK [NOMODSEQ] x\r\n",
            "* OK [HIGHESTMODSEQ 20] x\r\n* OK [UIDVALIDITY 8] x\r\n",
            "* OK [HIGHESTMODSEQ 20] x\r\n* OK [UIDNEXT 3] x\r\n",
            "* OK [HIGHESTMODSEQ 20] x\r\n* 3 EXISTS\r\n* 1 EXPUNGE\r\n",
            "* OK [HIGHESTMODSEQ 20] x\r\n* 3 EXISTS\r\n* 1 FETCH (UID 1 FLAGS NIL)\r\n",
        ] {
            let script = vec![
                ("SELECT \"A\" (QRESYNC (7 10))", selected(4, more)),
                (NEW, "$ OK done\r\n"),
                ("SELECT \"A\"", selected(2, "")),
                (ALL, messages(&[1, 4])),
            ];
            let (snapshot, _) = observe(&["CONDSTORE", "QRESYNC"], script, known()).await;
            let RemoteMessages::Full(all) = snapshot.unwrap().messages else { panic!("{more}") };
            assert_eq!(all.keys().copied().collect::<Vec<_>>(), [uid(1), uid(4)]);
            assert!(all[&uid(1)].flags.has(Flag::Seen));
        }
    });
}

#[test]
fn messages_listed_out_of_order_are_listed_once_with_what_was_said_last() {
    block_on(async {
        let again = |n: u32| format!("* {n} FETCH (UID {n} FLAGS (\\Draft))\r\n");
        let listed = messages(&[1, 4, 3, 2]).replace("$ OK done\r\n", "");
        let listed = leak(format!("{listed}{}{}$ OK done\r\n", again(1), again(4)));
        let script = vec![("SELECT \"A\"", selected(4, "")), (ALL, listed)];
        let request = RemoteRequest { since: None, known: UidSet::new(), ..known() };
        let (snapshot, _) = observe(&[], script, request).await;
        let RemoteMessages::Full(all) = snapshot.unwrap().messages else { panic!("not all") };
        assert_eq!(all.keys().map(|uid| uid.get()).collect::<Vec<_>>(), [1, 2, 3, 4]);
        for (uid, message) in &all {
            assert_eq!(message.flags.has(Flag::Draft), [1, 4].contains(&uid.get()), "{uid:?}");
            assert!(message.date.is_some() && message.size == Some(9), "{uid:?}");
        }
    });
}

#[test]
fn condstore_alone_takes_a_search_for_what_is_left() {
    block_on(async {
        let script = vec![
            ("SELECT \"A\" (CONDSTORE)", selected(3, "* OK [HIGHESTMODSEQ 20] x\r\n")),
            ("UID FETCH 1:3 (UID FLAGS) (CHANGEDSINCE 10)", "* 1 FETCH (UID 1 FLAGS () MODSEQ (11))\r\n$ OK done\r\n"),
            ("UID SEARCH RETURN (ALL) UID 1:3", "* ESEARCH (TAG \"$\") UID ALL 1,3\r\n$ OK done\r\n"),
            (NEW, messages(&[4])),
        ];
        let (snapshot, _) = observe(&["CONDSTORE", "ESEARCH"], script, known()).await;
        assert_eq!(delta(&snapshot.unwrap()), (vec![1, 4], &uids(&[2])));
    });
}

#[test]
fn a_search_that_is_wrong_becomes_a_full_look() {
    block_on(async {
        for found in [
            "* SEARCH\r\n$ OK done\r\n",
            "* SEARCH 1\r\n$ OK done\r\n",
            "* SEARCH 1 2 7\r\n$ OK done\r\n",
            "* SEARCH 1 x 3\r\n$ OK done\r\n",
            "* SEARCH 4294967297 2 3\r\n$ OK done\r\n",
            "* ESEARCH (TAG \"$\") UID\r\n$ OK done\r\n",
            "$ OK done\r\n",
            "$ NO [UNAVAILABLE] not now\r\n",
            "$ BAD what?\r\n",
        ] {
            let script = vec![
                ("SELECT \"A\" (CONDSTORE)", selected(3, "* OK [HIGHESTMODSEQ 20] x\r\n")),
                ("UID FETCH 1:3 (UID FLAGS) (CHANGEDSINCE 10)", "$ OK done\r\n"),
                ("UID SEARCH UID 1:3", found),
                (NEW, "$ OK done\r\n"),
                ("SELECT \"A\" (CONDSTORE)", selected(3, "* OK [HIGHESTMODSEQ 20] x\r\n")),
                (ALL, messages(&[1, 2, 3])),
            ];
            let (snapshot, _) = observe(&["CONDSTORE"], script, known()).await;
            let RemoteMessages::Full(all) = snapshot.unwrap().messages else { panic!("{found}") };
            assert_eq!(all.len(), 3, "{found}");
        }
    });
}

#[test]
fn a_server_that_refuses_the_qresync_it_offers_is_asked_without() {
    block_on(async {
        let mod_seq = "* OK [HIGHESTMODSEQ 20] x\r\n";
        let script = vec![
            ("SELECT \"A\" (QRESYNC (7 10))", "$ BAD unknown parameter\r\n"),
            (NEW, "$ BAD no mailbox selected\r\n"),
            ("SELECT \"A\" (CONDSTORE)", selected(3, mod_seq)),
            (ALL, messages(&[1, 2, 3])),
            // Later not at all.
            ("SELECT \"A\" (CONDSTORE)", selected(3, mod_seq)),
            ("UID FETCH 1:3 (UID FLAGS) (CHANGEDSINCE 10)", "$ OK done\r\n"),
            ("UID SEARCH UID 1:3", "* SEARCH 1 2 3\r\n$ OK done\r\n"),
            (NEW, "$ OK done\r\n"),
        ];
        let (mut store, server) = scripted(&["CONDSTORE", "QRESYNC"], script);
        store.qresync = true;
        for _ in 0..2 {
            let outcome = store.observe(&[known()]).await.unwrap().pop().unwrap().outcome;
            assert_eq!(outcome.unwrap().watermark.messages, 3);
        }
        server.await.unwrap();
    });
}

#[test]
fn without_either_all_flags_are_fetched() {
    block_on(async {
        let script = vec![
            ("SELECT \"A\"", selected(2, "* OK [HIGHESTMODSEQ 20] x\r\n")),
            ("UID FETCH 1:3 (UID FLAGS)", "* 1 FETCH (UID 1 FLAGS ())\r\n* 2 FETCH (UID 3 FLAGS ())\r\n$ OK done\r\n"),
            // `n:4294967295` may bring nothing, and a server may say so with NO in an empty mailbox only.
            (NEWEST, leak(format!("* 2 FETCH (UID 3 FLAGS () {DATE})\r\n$ OK nothing new\r\n"))),
        ];
        let (snapshot, _) = observe(&[], script, known()).await;
        let snapshot = snapshot.unwrap();
        assert_eq!(delta(&snapshot), (vec![1, 3], &uids(&[2])));
        let dates = [1, 3].map(|known| snapshot.messages.listed()[&uid(known)].date.is_some());
        assert_eq!(dates, [false, true], "the newest known tells whose numbers these are");
        assert_eq!(snapshot.watermark.mod_seq, None, "not advertised");
    });
}

#[test]
fn what_is_out_of_sight_is_not_gone() {
    block_on(async {
        let (mut store, server) = scripted(
            &[],
            vec![
                ("SELECT \"A\"", selected(3, "")),
                (
                    "UID FETCH 1:3 (UID FLAGS)",
                    "* 1 FETCH (UID 2 FLAGS ())\r\n* 2 FETCH (UID 3 FLAGS ())\r\n$ OK done\r\n",
                ),
                (NEWEST, messages(&[4])),
                ("SELECT \"A\"", selected(3, "")),
                (ALL, messages(&[2, 4, 5])),
            ],
        );
        store.window = Some(3);
        let earlier = RemoteRequest { since: Some(Watermark { messages: 2, ..since() }), ..known() };
        let snapshot = store.observe(&[earlier]).await.unwrap().pop().unwrap().outcome.unwrap();
        server.await.unwrap();
        assert_eq!(delta(&snapshot), (vec![2, 4, 5], &uids(&[3])), "1 may be there still");
    });
}

#[test]
fn email_ids_are_asked_for_with_new_messages_where_they_are_offered() {
    block_on(async {
        let ask = |item: &str| leak(format!("UID FETCH 3,4:4294967295 (UID FLAGS INTERNALDATE RFC822.SIZE {item})"));
        let told = |value: &str| leak(format!("* 3 FETCH (UID 4 FLAGS () {DATE} {value})\r\n$ OK done\r\n"));
        let select = || ("SELECT \"A\"", selected(4, ""));
        let flags = || {
            let known =
                "* 1 FETCH (UID 1 FLAGS ())\r\n* 2 FETCH (UID 2 FLAGS () EMAILID (x))\r\n* 3 FETCH (UID 3 FLAGS ())";
            ("UID FETCH 1:3 (UID FLAGS)", leak(format!("{known}\r\n$ OK done\r\n")))
        };
        let id = |capabilities, fetch: &'static str, value| async move {
            let script = vec![select(), flags(), (fetch, told(value))];
            let (snapshot, _) = observe(capabilities, script, known()).await;
            snapshot.unwrap().messages.listed()[&uid(4)].email_id
        };
        let (email, gmail) = (EmailId::of(b"M6d99ac3275bb4e"), EmailId::of(b"gmail:1278455344230334865"));
        assert_eq!(id(&["OBJECTID"], ask("EMAILID"), "EMAILID (M6d99ac3275bb4e)").await, Some(email));
        assert_eq!(id(&["X-GM-EXT-1"], ask("X-GM-MSGID"), "X-GM-MSGID 1278455344230334865").await, Some(gmail));
        assert_eq!(id(&["OBJECTID"], ask("EMAILID"), "EMAILID NIL").await, None);
        assert_eq!(id(&["OBJECTID"], ask("EMAILID"), "X").await, None);
        assert_eq!(id(&[], NEWEST, "EMAILID (M6d99ac3275bb4e)").await, None, "not asked for");
    });
}

#[test]
fn a_server_that_does_not_know_its_own_email_ids_is_asked_without() {
    block_on(async {
        let all = "UID FETCH 1:4294967295 (UID FLAGS INTERNALDATE RFC822.SIZE EMAILID)";
        let script = vec![
            ("SELECT \"A\"", selected(2, "")),
            (all, "$ BAD what is EMAILID\r\n"),
            ("SELECT \"A\"", selected(2, "")),
            (ALL, messages(&[1, 4])),
            ("SELECT \"A\"", selected(1, "")),
            (ALL, messages(&[1])),
        ];
        let look = || RemoteRequest { mailbox: name("A"), since: None, known: UidSet::new() };
        let (mut store, server) = scripted(&["OBJECTID"], script);
        for count in [2, 1] {
            let outcome = store.observe(&[look()]).await.unwrap().pop().unwrap().outcome;
            assert_eq!(outcome.unwrap().watermark.messages, count);
        }
        server.await.unwrap();
    });
}

#[test]
fn a_mailbox_that_keeps_changing_fails_alone_after_three_full_looks() {
    block_on(async {
        let (select, fetch) = (selected(5, ""), messages(&[1, 2]));
        let script = [("SELECT \"A\"", select), (ALL, fetch)].repeat(3);
        let request = RemoteRequest { mailbox: name("A"), since: None, known: UidSet::new() };
        let (outcome, _) = observe(&[], script, request).await;
        assert_eq!(outcome.unwrap_err().kind, RemoteErrorKind::Refused);
    });
}

#[test]
fn arrivals_during_a_full_look_are_accounted_for_and_removals_looked_at_again() {
    block_on(async {
        for gone in ["* VANISHED 1\r\n", "* 1 EXPUNGE\r\n", "* VANISHED (EARLIER) 1\r\n"] {
            let script = vec![
                ("SELECT \"A\"", selected(2, "")),
                (ALL, leak(format!("{gone}* 2 EXISTS\r\n{}", messages(&[2, 4])))),
                ("SELECT \"A\"", selected(2, "")),
                (ALL, leak(format!("* 3 EXISTS\r\n{}", messages(&[2, 4, 5])))),
            ];
            let request = RemoteRequest { mailbox: name("A"), since: None, known: UidSet::new() };
            let (snapshot, _) = observe(&[], script, request).await;
            assert_eq!(snapshot.unwrap().watermark.messages, 3);
        }
    });
}

#[test]
fn what_comes_during_a_look_and_is_not_listed_is_left_to_the_next() {
    block_on(async {
        // 4 is one that was there, 5 and 6 came later.
        let later = leak(format!("* 5 EXISTS\r\n* 6 EXISTS\r\n{}", messages(&[4, 5])));
        let mod_seq = "* OK [HIGHESTMODSEQ 20] x\r\n";
        let script = vec![("SELECT \"A\" (QRESYNC (7 10))", selected(4, mod_seq)), (NEW, later)];
        let (snapshot, _) = observe(&["CONDSTORE", "QRESYNC"], script, known()).await;
        let snapshot = snapshot.unwrap();
        assert_eq!(delta(&snapshot), (vec![4], &UidSet::new()));
        assert_eq!((snapshot.watermark.uid_next, snapshot.watermark.messages), (5, 4));
    });
}

#[test]
fn what_select_refuses_is_missing_or_examined() {
    block_on(async {
        for refusal in ["$ NO [NONEXISTENT] x\r\n", "$ NO Mailbox doesn't exist: A (0.1 secs).\r\n"] {
            let script = vec![("SELECT \"A\"", leak(refusal.to_owned())), (ALL, "$ BAD no mailbox selected\r\n")];
            let request = RemoteRequest { mailbox: name("A"), since: None, known: UidSet::new() };
            let (outcome, _) = observe(&[], script, request).await;
            assert_eq!(outcome.unwrap_err().kind, RemoteErrorKind::NoSuchMailbox);
        }
        let script = vec![
            ("SELECT \"A\"", "$ NO [NOPERM] look, do not touch\r\n"),
            (ALL, "$ BAD no mailbox selected\r\n"),
            ("EXAMINE \"A\"", selected(0, "* OK [PERMANENTFLAGS ()] x\r\n")),
            (ALL, "$ NO nothing there\r\n"),
        ];
        let request = RemoteRequest { mailbox: name("A"), since: None, known: UidSet::new() };
        let (snapshot, store) = observe(&[], script, request).await;
        let snapshot = snapshot.unwrap();
        assert!(snapshot.read_only && snapshot.messages.listed().is_empty());
        assert!(!store.has_selected(&name("A"), UidValidity(7)));
    });
}

#[test]
fn mailboxes_fail_alone_and_a_lost_connection_fails_all() {
    block_on(async {
        let script = vec![
            ("SELECT \"A\"", "* 9 EXISTS\r\n$ NO [UNAVAILABLE] x\r\n"),
            (ALL, "$ BAD x\r\n"),
            ("SELECT \"B\"", selected(1, "")),
            (ALL, messages(&[4])),
        ];
        let (mut store, server) = scripted(&[], script);
        let look = |text| RemoteRequest { mailbox: name(text), since: None, known: UidSet::new() };
        let observed = store.observe(&[look("A"), look("B"), look("C/D")]).await.unwrap();
        server.await.unwrap();
        let kinds: Vec<_> = observed.iter().map(|o| o.outcome.as_ref().map_err(|error| error.kind).err()).collect();
        assert_eq!(kinds, [Some(RemoteErrorKind::Busy), None, Some(RemoteErrorKind::Refused)]);
        let error = store.observe(&[look("A")]).await.unwrap_err();
        assert_eq!(error.kind, RemoteErrorKind::Unreachable);
    });
}

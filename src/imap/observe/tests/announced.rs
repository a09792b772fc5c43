//! Looks that go behind what is changed before them, and listings that go along with looks.

use super::*;
use crate::imap::script::{of_a, of_b};
use crate::model::{FlagDelta, FlagSet};
use crate::store::{Expunged, FlagChanges, Transfer};

const ABLE: &[&str] = &["QRESYNC", "CONDSTORE", "UIDPLUS", "MOVE"];
const LOOK: &str = "SELECT \"A\" (QRESYNC (7 10))";
const OPENED: &str = "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n$ OK x\r\n";
const SEEN: &str = "* OK [CLOSED] x\r\n* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 4] x\r\n\
                    * OK [HIGHESTMODSEQ 12] x\r\n* 2 FETCH (UID 2 FLAGS (\\Seen) MODSEQ (12))\r\n$ OK x\r\n";
const NOTHING: &str = "$ OK x\r\n";

/// Returns a store that is about to look at A, on a server that plays this.
fn about_to_look(script: Vec<Step>) -> (ImapStore, tokio::task::JoinHandle<()>) {
    let (mut store, server) = scripted(ABLE, script);
    store.qresync = true;
    store.about_to_look(vec![(name("A"), since())]);
    (store, server)
}

async fn look(store: &mut ImapStore) -> Vec<u32> {
    let seen = store.observe(&[known()]).await.unwrap().pop().unwrap().outcome.unwrap();
    delta(&seen).0
}

fn seen() -> FlagChanges {
    let delta = FlagDelta { add: FlagSet::of(&[Flag::Seen]), remove: FlagSet::new() };
    FlagChanges { mailbox: name("A"), validity: UidValidity(7), changes: vec![(delta, uids(&[2]))] }
}

fn flagging() -> Vec<Step> {
    vec![
        ("SELECT \"A\"", OPENED),
        ("UID FETCH 2 (UID FLAGS)", "* 2 FETCH (UID 2 FLAGS ())\r\n$ OK x\r\n"),
        ("UID STORE 2 +FLAGS (\\Seen)", "* 2 FETCH (UID 2 FLAGS (\\Seen))\r\n$ OK x\r\n"),
    ]
}

async fn flag(store: &mut ImapStore) {
    let stored = store.store_all(&[seen()]).await.pop().unwrap().unwrap();
    assert!(stored.now[&uid(2)].has(Flag::Seen));
}

#[test]
fn goes_behind_flags() {
    block_on(async {
        let (mut store, server) = about_to_look([flagging(), vec![(LOOK, SEEN), (NEW, NOTHING)]].concat());
        flag(&mut store).await;
        assert!(!store.has_selected(&name("A"), UidValidity(7)), "the look selects it anew");
        assert_eq!(look(&mut store).await, [2]);
        server.await.unwrap();
        assert_eq!(store.traffic().round_trips, 1);
        assert!(store.has_selected(&name("A"), UidValidity(7)));
    });
}

#[test]
fn goes_behind_moves_and_the_second_burst_of_removals() {
    block_on(async {
        let moving = ("UID MOVE 1 \"B\"", "* OK [COPYUID 5 1 9] x\r\n$ OK x\r\n");
        let script = vec![("SELECT \"A\"", OPENED), moving, (LOOK, SEEN), (NEW, NOTHING)];
        let (mut store, server) = about_to_look(script);
        let moved = store.move_all(&[(of_a(&[1]), name("B"))]).await.pop().unwrap().unwrap();
        assert_eq!(moved, Transfer::Proven(UidValidity(5), vec![(uid(1), uid(9))]));
        assert_eq!(look(&mut store).await, [2]);
        server.await.unwrap();
        assert_eq!(store.traffic().round_trips, 1);

        const B: &str = "* 3 EXISTS\r\n* OK [UIDVALIDITY 5] x\r\n$ OK x\r\n";
        let script = vec![
            ("SELECT \"A\"", OPENED),
            ("UID FETCH 1 (UID FLAGS)", NOTHING),
            ("UID STORE 1 +FLAGS.SILENT (\\Deleted)", NOTHING),
            ("SELECT \"B\"", B),
            ("UID FETCH 4 (UID FLAGS)", NOTHING),
            ("UID STORE 4 +FLAGS.SILENT (\\Deleted)", NOTHING),
            ("SELECT \"A\"", OPENED),
            ("UID EXPUNGE 1", NOTHING),
            ("SELECT \"B\"", B),
            ("UID EXPUNGE 4", NOTHING),
            (LOOK, SEEN),
            (NEW, NOTHING),
        ];
        let (mut store, server) = about_to_look(script);
        let expunged = store.expunge_all(&[of_a(&[1]), of_b(&[4])]).await;
        assert!(expunged.into_iter().all(|one| one.unwrap() == Expunged::Done));
        assert_eq!(look(&mut store).await, [2]);
        server.await.unwrap();
        assert_eq!(store.traffic().round_trips, 2);
    });
}

#[test]
fn goes_behind_what_is_changed_in_one_mailbox_alone() {
    block_on(async {
        let script = vec![
            ("SELECT \"A\"", OPENED),
            ("UID STORE 1 +FLAGS.SILENT (\\Deleted)", NOTHING),
            ("UID EXPUNGE 1", NOTHING),
            (LOOK, SEEN),
            (NEW, NOTHING),
        ];
        let (mut store, server) = about_to_look(script);
        let expunged = store.expunge(&name("A"), UidValidity(7), &uids(&[1])).await.unwrap();
        assert_eq!((expunged, store.has_selected(&name("A"), UidValidity(7))), (Expunged::Done, false));
        assert_eq!(look(&mut store).await, [2]);
        server.await.unwrap();
        assert_eq!(store.traffic().round_trips, 2);
    });
}

/// What the look in vain says is nobody's.
#[test]
fn in_vain_if_something_else_is_asked_for_and_then_asked_for_anew() {
    block_on(async {
        let other = "* OK [CLOSED] x\r\n* 9 EXISTS\r\n* OK [UIDVALIDITY 5] x\r\n$ OK x\r\n";
        let vain = "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* 1 FETCH (UID 1 FLAGS (\\Draft))\r\n$ OK x\r\n";
        let again = vec![
            (LOOK, vain),
            (NEW, NOTHING),
            ("SELECT \"B\"", other),
            ("UID STORE 2 +FLAGS (\\Seen)", "* 2 FETCH (UID 2 FLAGS (\\Seen))\r\n$ OK x\r\n"),
            (LOOK, SEEN),
            (NEW, NOTHING),
        ];
        let (mut store, server) = about_to_look([flagging(), again].concat());
        flag(&mut store).await;
        let FlagChanges { changes, .. } = seen();
        let stored = store.store_flags(&name("B"), UidValidity(5), &changes).await.unwrap();
        assert_eq!(stored.now.len(), 1);
        assert_eq!(look(&mut store).await, [2]);
        server.await.unwrap();
    });
}

#[test]
fn in_vain_if_the_look_is_another() {
    block_on(async {
        let later = Watermark { mod_seq: ModSeq::new(11), ..since() };
        let again = vec![(LOOK, SEEN), (NEW, NOTHING), ("SELECT \"A\" (QRESYNC (7 11))", SEEN), (NEW, NOTHING)];
        let (mut store, server) = about_to_look([flagging(), again].concat());
        flag(&mut store).await;
        let seen = store.observe(&[RemoteRequest { since: Some(later), ..known() }]).await.unwrap();
        server.await.unwrap();
        assert_eq!(delta(seen[0].outcome.as_ref().unwrap()).0, [2]);
    });
}

/// A server that answers the look before the change has not looked behind it.
#[test]
fn in_vain_if_it_is_answered_before_the_change() {
    block_on(async {
        let early = "* 2 FETCH (UID 2 FLAGS (\\Seen))\r\nm4 OK early\r\nm3 OK x\r\n";
        let mut script = flagging();
        script[2].1 = "";
        script.extend([(LOOK, early), (NEW, "$ OK x\r\n"), (LOOK, SEEN), (NEW, NOTHING)]);
        let (mut store, server) = about_to_look(script);
        flag(&mut store).await;
        assert_eq!(look(&mut store).await, [2]);
        server.await.unwrap();
    });
}

#[test]
fn heard_out_before_listening() {
    block_on(async {
        let idle = vec![(LOOK, SEEN), (NEW, NOTHING), ("IDLE", "+ go\r\n"), ("DONE", "m6 OK x\r\n")];
        let (mut store, server) = about_to_look([flagging(), idle].concat());
        flag(&mut store).await;
        let mut heard = Vec::new();
        let mut hear = |_: usize, data| heard.push(data);
        store.connection.idle(std::time::Duration::from_millis(1), &mut hear).await.unwrap();
        server.await.unwrap();
        assert_eq!(heard, []);
    });
}

#[test]
fn without_qresync_it_is_not_known_beforehand() {
    block_on(async {
        let (mut store, server) = about_to_look(vec![
            ("SELECT \"A\" (CONDSTORE)", "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n$ OK x\r\n"),
            ("UID FETCH 2 (UID FLAGS)", NOTHING),
            flagging()[2],
        ]);
        store.qresync = false;
        flag(&mut store).await;
        drop(store);
        server.await.unwrap();
    });
}

/// Dovecot answers NAMESPACE before a FETCH that came earlier. If anything is changed since, folders are listed again.
#[test]
fn a_listing_goes_along_with_a_look() {
    block_on(async {
        const LIST: &str = "LIST \"\" \"*\" RETURN (SUBSCRIBED STATUS (MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ))";
        let listed = "* LIST () \"/\" A\r\n* STATUS A (MESSAGES 3 UIDNEXT 4 UIDVALIDITY 7)\r\nm2 OK x\r\n$ OK x\r\n";
        let list = [("NAMESPACE", "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n$ OK x\r\n"), (LIST, listed)];
        let anew = [("NAMESPACE", NOTHING), (LIST, NOTHING)];
        for (again, round_trips) in [(false, 1), (true, 3)] {
            let mut script = [&[(LOOK, SEEN), (NEW, "")], &list[..]].concat();
            if again {
                script.extend(flagging().into_iter().chain(anew));
            }
            let able = ["NAMESPACE", "LIST-EXTENDED", "LIST-STATUS", "QRESYNC", "CONDSTORE", "UIDPLUS"];
            let (mut store, server) = scripted(&able, script);
            store.qresync = true;
            store.about_to_list();
            assert_eq!(look(&mut store).await, [2]);
            assert!(store.has_selected(&name("A"), UidValidity(7)), "a listing leaves it selected");
            if again {
                flag(&mut store).await;
            }
            let listing = store.list().await.unwrap();
            assert_eq!(listing.mailboxes.contains_key(&name("A")), !again, "{listing:?}");
            server.await.unwrap();
            assert_eq!(store.traffic().round_trips, round_trips);
        }
    });
}

/// What is gone from a folder that is selected later may have come to one that was listed before.
#[test]
fn a_listing_that_comes_before_a_look_is_asked_for_again() {
    block_on(async {
        let early = "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n$ OK x\r\n* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n\
                     * OK [UIDNEXT 4] x\r\n* OK [HIGHESTMODSEQ 12] x\r\nm1 OK x\r\nm2 OK x\r\n";
        let list = [("NAMESPACE", NOTHING), ("LIST \"\" \"*\"", NOTHING), ("LSUB \"\" \"*\"", NOTHING)];
        let mut script = vec![(LOOK, ""), (NEW, "")];
        script.extend(list);
        script[2].1 = early;
        script.extend(list);
        let (mut store, server) = scripted(&["NAMESPACE", "QRESYNC", "CONDSTORE"], script);
        store.qresync = true;
        store.about_to_list();
        assert_eq!(look(&mut store).await, Vec::<u32>::new());
        store.list().await.unwrap();
        server.await.unwrap();
        assert_eq!(store.traffic().round_trips, 2);
    });
}

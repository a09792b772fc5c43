//! Renumbered mailboxes: random ones, and those that matter by name.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::model::{MailboxId, ModSeq, UidValidity};

fn uid(number: usize) -> Uid {
    Uid::new(u32::try_from(number).unwrap()).unwrap()
}

/// A message as random tests make it: of few ids, sizes, dates and bodies, so that many agree in some of them.
fn identity(id: i64, size: u64, date: i64, body: u8) -> Identity {
    let id = (id > 0).then_some(MessageHash(id));
    let mut header = [0; 16];
    header[0] = id.map_or(0, |id| u8::try_from(id.0).unwrap());
    header[1] = body / 2;
    let mut content = header;
    content[2] = body;
    content[3] = u8::try_from(size).unwrap();
    Identity {
        size,
        date: Some(Timestamp(date)),
        message_id: id,
        header: Fingerprint(header),
        content: Some(Fingerprint(content)),
        loose: Some(Fingerprint(content)),
    }
}

fn any_identity() -> impl Strategy<Value = Identity> {
    (0i64..3, 1u64..3, 1i64..3, 0u8..4).prop_map(|(id, size, date, body)| identity(id, size, date, body))
}

fn remembered(identity: &Identity, has_file: bool) -> Remembered {
    Remembered {
        message_id: identity.message_id,
        size: Some(identity.size),
        date: identity.date,
        content: identity.content,
        file: has_file.then_some(*identity),
    }
}

/// Finds rows among messages. Returns what was found, and which bodies were needed.
fn find(rows: &[(Uid, Remembered)], messages: &[(Uid, Identity)]) -> (BTreeMap<Uid, Uid>, UidSet) {
    let headers = messages.iter().map(|(uid, all)| (*uid, Identity { content: None, loose: None, ..*all }));
    let mut renumbering = Renumbering::new(rows.iter().copied().collect(), headers.collect());
    renumbering.by_header();
    let doubtful = renumbering.ambiguous();
    renumbering.by_content(messages.iter().filter(|(uid, _)| doubtful.contains(*uid)).copied().collect());
    (renumbering.finish(), doubtful)
}

fn numbered<T>(from: usize, all: Vec<T>) -> Vec<(Uid, T)> {
    all.into_iter().enumerate().map(|(at, one)| (uid(from + at), one)).collect()
}

proptest! {
    #[test]
    fn every_pair_is_one_to_one_and_of_one_content(
        old in vec((any_identity(), any::<bool>()), 0..9),
        new in vec(any_identity(), 0..9),
    ) {
        let rows = numbered(1, old.iter().map(|(identity, file)| remembered(identity, *file)).collect());
        let messages = numbered(5, new.clone());
        let (found, doubtful) = find(&rows, &messages);
        let targets: BTreeSet<Uid> = found.values().copied().collect();
        prop_assert_eq!(targets.len(), found.len());
        for (before, after) in &found {
            let row = old[before.get() as usize - 1].0;
            let message = new[after.get() as usize - 5];
            prop_assert_eq!(row.message_id, message.message_id);
            // Without a body only those pair whose header blocks, sizes and dates agree.
            match doubtful.contains(*after) {
                true => prop_assert_eq!(row.content, message.content),
                false => prop_assert_eq!((row.header, row.size, row.date), (message.header, message.size, message.date)),
            }
        }
    }

    #[test]
    fn order_makes_no_difference(
        old in vec((any_identity(), any::<bool>()), 0..7),
        new in vec(any_identity(), 0..7),
    ) {
        let mut rows = numbered(1, old.iter().map(|(identity, file)| remembered(identity, *file)).collect());
        let mut messages = numbered(1, new);
        let found = find(&rows, &messages);
        rows.reverse();
        messages.reverse();
        prop_assert_eq!(find(&rows, &messages), found);
    }

    #[test]
    fn whatever_is_still_there_is_found(old in vec(any_identity(), 0..9), gone in vec(any::<bool>(), 9)) {
        let rows = numbered(1, old.iter().map(|identity| remembered(identity, true)).collect());
        let left: Vec<Identity> = old.iter().zip(&gone).filter(|(_, gone)| !**gone).map(|(one, _)| *one).collect();
        let count = left.len();
        let found = find(&rows, &numbered(100, left)).0;
        prop_assert_eq!(found.len(), count);
    }
}

#[test]
fn message_id_size_and_date_need_no_body() {
    let old: Vec<Identity> = (1..100).map(|n| identity(n, 10, n, 0)).collect();
    let rows = numbered(1, old.iter().map(|identity| remembered(identity, true)).collect());
    let (found, bodies) = find(&rows, &numbered(1000, old));
    assert_eq!((found.len(), bodies), (99, UidSet::new()));
    assert_eq!(found[&uid(7)], uid(1006));
}

#[test]
fn what_is_to_leave_the_server_is_told_by_its_content() {
    let (one, other) = (identity(1, 10, 5, 0), identity(1, 10, 5, 1));
    assert_eq!(find(&[(uid(1), remembered(&one, false))], &[(uid(9), other)]).0, BTreeMap::new());
    let (found, bodies) = find(&[(uid(1), remembered(&one, false))], &[(uid(9), one)]);
    assert_eq!((found, bodies.len()), ([(uid(1), uid(9))].into(), 1));
}

#[test]
fn an_edited_file_does_not_speak_for_its_row() {
    let (before, after) = (identity(1, 10, 5, 0), identity(1, 10, 5, 2));
    let row = MessageRow {
        id: crate::model::MessageId(1),
        mailbox: MailboxId(1),
        uid: uid(1),
        unique: None,
        flags: crate::model::FlagSet::new(),
        tombstone: None,
        date: before.date,
        size: Some(10),
        content: before.content,
        message_id: before.message_id,
        stat: None,
        email_id: None,
        replaced_by: None,
    };
    let rows = [(uid(1), Remembered::new(&row, Some(after)))];
    assert_eq!(find(&rows, &[(uid(3), after)]).0, BTreeMap::new());
    assert_eq!(find(&rows, &[(uid(3), before)]).0, [(uid(1), uid(3))].into());
}

#[test]
fn of_two_copies_the_one_with_a_file_is_found_when_one_is_left() {
    let copy = identity(1, 10, 5, 0);
    let rows = [(uid(1), remembered(&copy, false)), (uid(2), remembered(&copy, true))];
    assert_eq!(find(&rows, &[(uid(7), copy)]).0, [(uid(2), uid(7))].into());
    let both = find(&rows, &[(uid(7), copy), (uid(8), copy)]).0;
    assert_eq!(both, [(uid(1), uid(7)), (uid(2), uid(8))].into());
}

#[test]
fn another_date_asks_for_the_body() {
    let (here, there) = (identity(1, 10, 5, 0), identity(1, 10, 6, 0));
    let (found, bodies) = find(&[(uid(1), remembered(&here, true))], &[(uid(2), there)]);
    assert_eq!((found.len(), bodies.len()), (1, 1));
}

#[test]
fn a_server_that_stores_with_small_changes_is_understood_where_there_is_a_file() {
    let here = identity(1, 10, 5, 0);
    let there = Identity { size: 12, header: Fingerprint([9; 16]), content: Some(Fingerprint([8; 16])), ..here };
    assert_eq!(find(&[(uid(1), remembered(&here, true))], &[(uid(2), there)]).0.len(), 1);
    assert_eq!(find(&[(uid(1), remembered(&here, false))], &[(uid(2), there)]).0.len(), 0);
}

#[test]
fn few_found_of_many_is_suspicious() {
    assert!(!is_suspicious(49, 0));
    assert!(is_suspicious(50, 24));
    assert!(!is_suspicious(50, 25));
    assert!(!is_suspicious(0, 0));
}

fn mark(validity: u64, uid_next: u32, mod_seq: u64) -> Watermark {
    Watermark { uid_validity: UidValidity(validity), uid_next, messages: 3, mod_seq: ModSeq::new(mod_seq) }
}

fn row(uid_validity: Option<u64>, watermark: Option<Watermark>) -> MailboxRow {
    MailboxRow { uid_validity: uid_validity.map(UidValidity), watermark, with_uid: 3, ..MailboxRow::blank_inbox() }
}

#[test]
fn numbers_are_those_of_before_unless_something_says_otherwise() {
    let known = mark(7, 10, 50);
    let now = |mark: Watermark| numbers(&row(Some(7), Some(known)), Some(uid(9)), &mark);
    for kept in [mark(7, 10, 50), mark(7, 12, 60), mark(7, 0, 50), mark(7, 10, 40), mark(7, 12, 0)] {
        assert_eq!(now(kept), Numbers::Kept, "{kept:?}");
    }
    for changed in [mark(8, 10, 50), mark(6, 12, 60), mark(0, 10, 50), mark(u64::MAX, 10, 50), mark(7, 9, 50)] {
        assert_eq!(now(changed), Numbers::Changed, "{changed:?}");
    }
    assert_eq!(now(mark(7, 11, 49)), Numbers::Doubtful);
    assert_eq!(numbers(&row(None, None), None, &known), Numbers::Changed, "rows of no UIDVALIDITY");
    assert_eq!(numbers(&row(Some(7), None), Some(uid(9)), &known), Numbers::Kept);
    assert_eq!(numbers(&row(Some(7), None), Some(uid(10)), &known), Numbers::Changed, "a UID not given yet");
    assert_eq!(numbers(&row(Some(7), Some(mark(7, 0, 0))), None, &known), Numbers::Kept);
}

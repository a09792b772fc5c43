//! One folder of three messages, changed in one place: what is told?

use super::*;
use crate::model::{
    FileStat, Fingerprint, FlagSet, Keyword, KeywordLetters, MailboxId, MessageHash, PermanentFlags, Timestamp,
    UidValidity, Watermark,
};
use crate::reconcile::snapshot::{Listed, LocalEntry, RemoteMessages};

/// Everything that an [`Evidence`] refers to.
#[derive(Clone)]
struct Case {
    folder: MailboxName,
    row: MailboxRow,
    rows: Vec<MessageRow>,
    scan: LocalSnapshot,
    remote: RemoteSnapshot,
    rules: FlagRules,
    files: BTreeMap<UniqueName, Reading>,
    /// What the server would say of each message, whole.
    messages: BTreeMap<Uid, Identity>,
    refused: Refused,
}

fn uid(n: u32) -> Uid {
    Uid::new(n).unwrap()
}

fn name(n: u32) -> UniqueName {
    UniqueName::new(&format!("{n}.x")).unwrap()
}

fn date(n: u32) -> Timestamp {
    Timestamp(1000 * i64::from(n))
}

/// The content of message `n`, its header and date too.
fn identity(n: u8) -> Identity {
    Identity {
        size: 100,
        date: Some(date(n.into())),
        message_id: Some(MessageHash(n.into())),
        header: Fingerprint([n; 16]),
        content: Some(Fingerprint([n; 16])),
        loose: Some(Fingerprint([n; 16])),
    }
}

fn message_row(n: u32) -> MessageRow {
    let content = identity(n as u8);
    MessageRow {
        id: MessageId(n.into()),
        mailbox: MailboxId(1),
        uid: uid(n),
        unique: Some(name(n)),
        flags: FlagSet::new(),
        tombstone: None,
        date: content.date,
        size: Some(100),
        content: content.content,
        message_id: content.message_id,
        stat: Some(FileStat { inode: n.into(), size: 90, mtime_ns: date(n).0 * 1_000_000_000 }),
        email_id: None,
        replaced_by: None,
    }
}

fn in_step() -> Case {
    let mark = Watermark { uid_validity: UidValidity(7), uid_next: 4, messages: 3, mod_seq: None };
    let entry = |n| LocalEntry { in_new: false, info: "2,".into(), inode: n, flags: FlagSet::new() };
    let message = |n| RemoteMessage { flags: FlagSet::new(), date: Some(date(n)), size: Some(100), email_id: None };
    Case {
        folder: MailboxName::inbox(),
        row: MailboxRow {
            uid_validity: Some(UidValidity(7)),
            watermark: Some(mark),
            with_uid: 3,
            ..MailboxRow::blank_inbox()
        },
        rows: (1..4).map(message_row).collect(),
        scan: LocalSnapshot {
            entries: (1..4).map(|n| (name(n), entry(n.into()))).collect(),
            quiet: true,
            stamp: None,
            directory: None,
            letters: Some(KeywordLetters::new()),
            dovecot: false,
            duplicates: Vec::new(),
        },
        remote: RemoteSnapshot {
            watermark: mark,
            permanent: PermanentFlags::all(),
            read_only: false,
            messages: RemoteMessages::Full((1..4).map(|n| (uid(n), message(n))).collect()),
        },
        rules: FlagRules { deleted_is_local: false, permanent: PermanentFlags::all(), read_only: false },
        files: (1..4).map(|n| (name(n), Reading::Content(identity(n as u8)))).collect(),
        messages: (1..4).map(|n| (uid(n), identity(n as u8))).collect(),
        refused: Refused::default(),
    }
}

impl Case {
    /// Looks as the engine does: headers of pairs, then bodies of those in doubt.
    fn compare(&self) -> (Comparison, UidSet) {
        let Case { folder, row, rows, scan, remote, rules, files, messages, refused } = self;
        let (rules, files, refused) = (rules.clone(), files.clone(), refused.clone());
        let (headers, bodies) = Default::default();
        let mut evidence =
            Evidence { folder, row: Some(row), rows, scan, remote, rules, files, headers, bodies, refused };
        let of = |uids: &UidSet| -> BTreeMap<Uid, Identity> {
            messages.iter().filter(|(uid, _)| uids.contains(**uid)).map(|(uid, all)| (*uid, *all)).collect()
        };
        let header = |(uid, all)| (uid, Identity { content: None, loose: None, ..all });
        evidence.headers = of(&evidence.pairs()).into_iter().map(header).collect();
        let doubtful = evidence.doubtful();
        evidence.bodies = of(&doubtful);
        (evidence.compare(), doubtful)
    }

    fn there(&mut self) -> &mut Listed {
        match &mut self.remote.messages {
            RemoteMessages::Full(messages) => messages,
            RemoteMessages::Delta { .. } => panic!("it is a full look"),
        }
    }

    fn here(&mut self, n: u32) -> &mut FlagSet {
        &mut self.scan.entries.get_mut(&name(n)).unwrap().flags
    }
}

/// What is told once one thing is changed: how many are equal, and what differs.
fn told(change: impl Fn(&mut Case)) -> (u64, Vec<(Kind, Next)>) {
    let mut case = in_step();
    change(&mut case);
    let (found, _) = case.compare();
    (found.equal, found.differences.iter().map(|found| (found.kind, found.next)).collect())
}

fn seen() -> FlagSet {
    FlagSet::of(&[Flag::Seen])
}

fn work() -> FlagSet {
    FlagSet::from_parts(0, Keyword::new("work"))
}

#[test]
fn what_is_in_step_is_equal_and_no_body_is_fetched() {
    let (found, doubtful) = in_step().compare();
    assert_eq!((found, doubtful.len()), (Comparison { equal: 3, ..Comparison::default() }, 0));
}

#[test]
fn changes_since_the_last_sync_are_told_as_such() {
    let (kind, sync) = (|kind| vec![(kind, Next::Sync)], Next::Sync);
    assert_eq!(told(|case| drop(case.scan.entries.remove(&name(2)))), (2, kind(Kind::GoneHere)));
    assert_eq!(told(|case| drop(case.there().remove(&uid(2)))), (2, kind(Kind::GoneThere)));
    assert_eq!(
        told(|case| {
            case.scan.entries.remove(&name(2));
            case.there().remove(&uid(2));
        }),
        (2, kind(Kind::GoneBoth))
    );
    assert_eq!(told(|case| drop(case.rows.remove(0))), (2, vec![(Kind::OnlyHere, sync), (Kind::OnlyThere, sync)]));
    assert_eq!(told(|case| *case.here(2) = seen()), (2, kind(Kind::Flags)));
    assert_eq!(told(|case| case.there().get_mut(&uid(2)).unwrap().flags = work()), (2, kind(Kind::Flags)));
    assert_eq!(told(|case| case.rows[1].flags = seen()), (2, kind(Kind::FlagsRecorded)));
    let other = Reading::Content(Identity { content: None, loose: None, ..identity(9) });
    assert_eq!(
        told(|case| drop(case.files.insert(name(2), other.clone()))),
        (2, kind(Kind::Replaced)),
        "a file of another content under its old name"
    );
}

#[test]
fn a_removal_that_was_refused_is_no_change_for_the_next_sync() {
    let refused = told(|case| {
        case.scan.entries.remove(&name(2));
        case.refused.messages.insert(uid(2), "the server keeps it".to_owned());
    });
    assert_eq!(refused, (2, vec![(Kind::GoneHere, Next::Nothing)]));
}

#[test]
fn rows_that_are_wrong_are_to_be_repaired_and_no_others() {
    let wrong = |change: fn(&mut Case)| {
        let mut case = in_step();
        change(&mut case);
        let (found, _) = case.compare();
        let kinds: Vec<Kind> = found.differences.iter().map(|found| found.kind).collect();
        (kinds, found.repairs().0.iter().map(|row| row.0).collect::<Vec<_>>())
    };
    let swapped = |case: &mut Case| (case.rows[0].uid, case.rows[1].uid) = (uid(2), uid(1));
    assert_eq!(wrong(swapped), (vec![Kind::WrongPair; 2], vec![1, 2]));
    let recorded = |case: &mut Case| case.rows[2].content = identity(9).content;
    assert_eq!(wrong(recorded), (vec![Kind::WrongRecord], vec![3]));
    let alike = |case: &mut Case, message_id| {
        for (n, found) in (1..).zip(case.messages.values_mut()) {
            *found = Identity { message_id, header: identity(0).header, ..*found };
            case.files.insert(name(n), Reading::Content(*found));
            let row = &mut case.rows[n as usize - 1];
            (row.message_id, row.date, row.stat) = (message_id, Some(date(9)), None);
        }
        case.messages.values_mut().for_each(|found| found.date = Some(date(9)));
        (case.rows[0].uid, case.rows[2].uid) = (uid(3), uid(1));
    };
    for message_id in [None, Some(MessageHash(5))] {
        let mut case = in_step();
        alike(&mut case, message_id);
        let (found, _) = case.compare();
        let rows: Vec<i64> = found.repairs().0.iter().map(|row| row.0).collect();
        assert_eq!((rows, found.differences.len()), (vec![1, 3], 2), "one header block for all");
    }
}

/// Made in the same second, it has the UIDVALIDITY that is known.
#[test]
fn another_folder_of_the_name_makes_no_row_wrong() {
    let becomes_another = |case: &mut Case, n: u8| {
        let there = uid(n.into());
        case.messages.insert(there, identity(n + 10));
        case.there().get_mut(&there).unwrap().date = identity(n + 10).date;
    };
    let unknown = vec![(Kind::UidValidity, Next::Unknown)];
    let all = |case: &mut Case| (1..4).for_each(|n| becomes_another(case, n));
    assert_eq!(told(all), (0, unknown.clone()), "it holds none of them");
    let not_as_far = |case: &mut Case| {
        becomes_another(case, 1);
        case.row.watermark.as_mut().unwrap().uid_next = 9;
    };
    assert_eq!(told(not_as_far), (0, unknown), "UIDNEXT never falls");
    let only_one = |case: &mut Case| becomes_another(case, 1);
    assert_eq!(told(only_one), (2, vec![(Kind::WrongPair, Next::Repair)]), "the others are what is known");
}

#[test]
fn a_server_that_rewrites_messages_makes_no_row_wrong() {
    let rewritten = |message_id, loose| {
        move |case: &mut Case| {
            let was = case.messages[&uid(2)];
            let header = Fingerprint([99; 16]);
            let now = Identity { message_id, header, content: Some(header), loose, size: 120, ..was };
            case.messages.insert(uid(2), now);
        }
    };
    let unlike = (2, vec![(Kind::Content, Next::Nothing)]);
    assert_eq!(told(rewritten(identity(2).message_id, None)), unlike);
    assert_eq!(told(rewritten(Some(MessageHash(77)), None)), unlike, "its Message-ID too");
    assert_eq!(told(rewritten(identity(2).message_id, identity(2).loose)), (3, vec![]), "as servers are known to");
}

#[test]
fn flags_that_a_side_cannot_have_are_counted() {
    let confined = |change: fn(&mut Case)| {
        let mut case = in_step();
        change(&mut case);
        let (found, _) = case.compare();
        (found.equal, found.confined, found.differences.len())
    };
    let few = |case: &mut Case| {
        case.rules.permanent = PermanentFlags { flags: seen(), new_keywords: false };
        *case.here(1) = work();
    };
    assert_eq!(confined(few), (3, 1, 0), "not stored by the server");
    let deleted = |case: &mut Case| {
        case.rules.deleted_is_local = true;
        *case.here(1) = FlagSet::of(&[Flag::Deleted]);
        case.there().get_mut(&uid(2)).unwrap().flags = FlagSet::of(&[Flag::Deleted]);
    };
    assert_eq!(confined(deleted), (3, 0, 0), "T in Trash is each side's own");
    let full = |case: &mut Case| {
        let letters = case.scan.letters.as_mut().unwrap();
        (b'a'..=b'z').for_each(|letter| letters.assign(letter, Keyword::new(&format!("k{letter}")).unwrap()));
        case.there().get_mut(&uid(2)).unwrap().flags = work();
        case.rows[1].flags = work();
    };
    assert_eq!(confined(full), (3, 1, 0), "no letter left for it");
}

#[test]
fn what_could_not_be_seen_is_never_equal() {
    let unknown = vec![(Kind::NotCompared, Next::Unknown)];
    assert_eq!(told(|case| case.scan.quiet = false), (3, unknown.clone()));
    assert_eq!(told(|case| case.scan.letters = None), (3, unknown.clone()));
    assert_eq!(told(|case| drop(case.files.insert(name(2), Reading::Failed("no".into())))), (2, unknown.clone()));
    assert_eq!(told(|case| case.messages.retain(|found, _| *found != uid(2))), (2, unknown.clone()));
    assert_eq!(
        told(|case| {
            case.scan.quiet = false;
            case.scan.entries.remove(&name(2));
        }),
        (2, [unknown.clone(), unknown].concat()),
        "not listed is not gone"
    );
    assert_eq!(
        told(|case| case.remote.watermark.uid_validity = UidValidity(8)),
        (0, vec![(Kind::UidValidity, Next::Unknown)])
    );
}

#[test]
fn tombstones_are_counted_and_wanted_again_only_when_unflagged() {
    let bury = |case: &mut Case, tombstone, flags: &[Flag]| {
        case.rows[1] = MessageRow { unique: None, tombstone: Some(tombstone), ..message_row(2) };
        case.scan.entries.remove(&name(2));
        case.there().get_mut(&uid(2)).unwrap().flags = FlagSet::of(flags);
    };
    let mut case = in_step();
    bury(&mut case, Tombstone::Kept, &[]);
    let (found, _) = case.compare();
    assert_eq!((found.equal, found.tombstones, found.differences.len()), (2, 1, 0));
    assert_eq!(told(|case| bury(case, Tombstone::Flagged, &[Flag::Deleted])), (2, vec![]));
    assert_eq!(told(|case| bury(case, Tombstone::Flagged, &[])), (2, vec![(Kind::OnlyThere, Next::Sync)]));
}

#[test]
fn dates_names_and_counts_are_compared_too() {
    let later = Reading::Content(Identity { date: Some(Timestamp(5)), ..identity(2) });
    let touched = |case: &mut Case| drop(case.files.insert(name(2), later.clone()));
    assert_eq!(told(touched), (2, vec![(Kind::Date, Next::Nothing)]));
    let mut adopted = in_step();
    touched(&mut adopted);
    adopted.rows[1].stat.as_mut().unwrap().mtime_ns = 5_000_000_000;
    let (found, _) = adopted.compare();
    assert_eq!((found.equal, found.dates, found.differences.len()), (3, 1, 0), "known since they were matched");
    let twice = |case: &mut Case| case.scan.duplicates.push("new/2.x".to_owned());
    assert_eq!(told(twice), (3, vec![(Kind::DuplicateName, Next::Nothing)]));
    let count = vec![(Kind::Count, Next::Repair)];
    let mark = |case: &mut Case, change: fn(&mut Watermark)| change(case.row.watermark.as_mut().unwrap());
    assert_eq!(told(|case| mark(case, |mark| mark.messages = 4)), (3, count.clone()));
    assert_eq!(told(|case| mark(case, |mark| mark.uid_next = 9)), (3, count));
}

#[test]
fn what_was_refused_is_told_with_its_reason() {
    let mut case = in_step();
    case.rows.remove(0);
    case.refused.files.insert(name(1), "too large".to_owned());
    let (found, _) = case.compare();
    let words: Vec<String> = found.differences.iter().map(ToString::to_string).collect();
    assert_eq!(words[0], "1.x: only here: too large");
    let empty = |case: &mut Case| {
        case.scan.entries.insert(name(4), case.scan.entries[&name(1)].clone());
        case.files.insert(name(4), Reading::Empty);
    };
    assert_eq!(told(empty), (3, vec![]), "an empty file is no message");
}

#[test]
fn what_the_server_refused_to_change_is_not_said_to_be_carried_over() {
    let flagged = |case: &mut Case| {
        case.scan.entries.get_mut(&name(1)).unwrap().flags = FlagSet::of(&[Flag::Flagged, Flag::Answered]);
        let change = FlagDelta { add: FlagSet::of(&[Flag::Flagged]), remove: FlagSet::new() };
        case.refused.flags.insert(name(1), (change, "never".to_owned()));
    };
    assert_eq!(told(flagged), (2, vec![(Kind::Flags, Next::Nothing), (Kind::Flags, Next::Sync)]));
    let removed = |case: &mut Case| {
        case.scan.entries.remove(&name(1));
        case.refused.messages.insert(uid(1), "never".to_owned());
    };
    assert_eq!(told(removed), (2, vec![(Kind::GoneHere, Next::Nothing)]));
}

#[test]
fn an_older_version_that_is_to_leave_the_server_is_no_equal() {
    let outdate = |case: &mut Case, by: u32| {
        let (tombstone, replaced_by) = (Some(Tombstone::Replaced), Some(name(by)));
        case.rows[1] = MessageRow { unique: None, tombstone, replaced_by, ..message_row(2) };
    };
    let sent = |case: &mut Case| {
        outdate(case, 3);
        case.scan.entries.remove(&name(2));
    };
    assert_eq!(told(sent), (2, vec![(Kind::Replaced, Next::Sync)]));
    let waits = |case: &mut Case| outdate(case, 2);
    assert_eq!(told(waits), (2, vec![(Kind::OnlyHere, Next::Sync)]), "told of the new one");
    let kept = |case: &mut Case| {
        sent(case);
        case.rules.read_only = true;
    };
    assert_eq!(told(kept), (2, vec![]));
}

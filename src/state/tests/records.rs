//! What is written is read again after closing and opening the file, word for word.

use std::path::PathBuf;

use tempfile::TempDir;

use super::model::without_place;
use super::samples::{blank, name};
use crate::model::*;
use crate::state::Database;
use crate::store::{FailureRow, HoldRow, Intent, Journal, KeptRow, NewMessage, Record, Renaming, Trashed};

/// A database that is closed and opened between writing and reading.
struct Account {
    _dir: TempDir,
    path: PathBuf,
    database: Option<Database>,
}

impl Account {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("account.sqlite3");
        let database = Some(Database::open(&path).unwrap());
        Self { _dir: dir, path, database }
    }

    fn open(&mut self) -> &mut Database {
        self.database = None;
        self.database.insert(Database::open(&self.path).unwrap())
    }

    fn with_mailbox() -> (Self, MailboxId) {
        let mut account = Self::new();
        let id = account.open().add_mailbox(&name(1), &name(2)).unwrap();
        (account, id)
    }

    fn commit(&mut self, records: &[Record]) -> &mut Database {
        self.open().commit(records).unwrap();
        self.open()
    }

    /// Returns how SQLite goes about a query.
    fn plan(&mut self, sql: &str) -> Vec<String> {
        self.database = None;
        let connection = rusqlite::Connection::open(&self.path).unwrap();
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let unbound = rusqlite::params_from_iter(vec![0; statement.parameter_count()]);
        statement.query_map(unbound, |row| row.get(3)).unwrap().map(Result::unwrap).collect()
    }

    fn mailbox(&mut self) -> MailboxRow {
        self.open().mailboxes().unwrap().pop().unwrap()
    }
}

fn uid(number: u32) -> Uid {
    Uid::new(number).unwrap()
}

fn flags() -> FlagSet {
    FlagSet::from_parts(19, ["$Junk", "work"].into_iter().filter_map(Keyword::new))
}

fn stat() -> FileStat {
    FileStat { inode: u64::MAX, size: 3, mtime_ns: -5 }
}

fn message(number: u32) -> NewMessage {
    NewMessage {
        uid: uid(number),
        unique: UniqueName::new(&format!("{number}.höst")),
        flags: flags(),
        tombstone: None,
        date: Some(Timestamp(-1)),
        size: Some(u64::MAX),
        content: Some(Fingerprint([9; 16])),
        message_id: Some(MessageHash(i64::MIN)),
        stat: Some(stat()),
        email_id: EmailId::from_number(i64::MIN),
    }
}

fn tombstone(number: u32, kind: Tombstone) -> NewMessage {
    NewMessage { unique: None, tombstone: Some(kind), stat: None, ..message(number) }
}

#[test]
fn a_token_is_new_every_time_and_counts_with_the_run() {
    let mut account = Account::new();
    let mut tokens = |records: &[Record]| {
        let header = account.commit(records).header().unwrap();
        (header.token, header.next_token)
    };
    let (before, first) = tokens(&[Record::NewToken]);
    assert!(before.is_empty() && first.len() == 16, "{before} {first}");
    let (now, second) = tokens(&[Record::Run(1), Record::NewToken]);
    assert!(now == first && second != first, "{first} {now} {second}");
}

#[test]
fn a_new_database_has_an_id_of_its_own_and_nothing_else() {
    let (mut one, mut other) = (Account::new(), Account::new());
    let header = one.open().header().unwrap();
    assert_eq!(header.database.len(), 32);
    assert!(header.database.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(header, one.open().header().unwrap());
    assert_ne!(header.database, other.open().header().unwrap().database);
    assert_eq!((header.run, header.last_success, header.holds.len()), (0, None, 0));
    assert!(one.open().mailboxes().unwrap().is_empty() && one.open().intents().unwrap().is_empty());
}

#[test]
fn what_is_known_of_a_mailbox() {
    let (mut account, id) = Account::with_mailbox();
    let fresh = account.mailbox();
    assert_eq!((&fresh.name, &fresh.local, &fresh.permanent), (&name(1), &name(2), &PermanentFlags::all()));
    assert_eq!((fresh.uid_validity, fresh.watermark, fresh.stamp, fresh.full_look), (None, None, None, None));
    let watermark =
        Watermark { uid_validity: UidValidity(u64::MAX), uid_next: u32::MAX, messages: 0, mod_seq: ModSeq::new(1) };
    let dir = |number| DirStamp { device: number, inode: u64::MAX, mtime_ns: -1, ctime_ns: i64::MAX };
    let stamp = Stamp { cur: dir(1), new: dir(2) };
    let permanent = PermanentFlags { flags: flags(), new_keywords: false };
    let mut letters = KeywordLetters::new();
    letters.assign(b'a', Keyword::new("$Junk").unwrap());
    letters.assign(b'z', Keyword::forwarded());
    account.commit(&[
        Record::Looked {
            mailbox: id,
            watermark: Some(watermark),
            permanent: permanent.clone(),
            read_only: true,
            full_look: Some(Timestamp(5)),
        },
        Record::UidValidity(id, UidValidity(0)),
        Record::Listed(id, Some(Role::Important), Some("F\0'é".to_owned())),
        Record::LocalName(id, name(3)),
        Record::Scanned(id, Some(stamp)),
        Record::Directory(id, DirId { device: 7, inode: u64::MAX }),
        Record::Letters(id, letters.clone()),
    ]);
    let expected = MailboxRow {
        id,
        name: name(1),
        local: name(3),
        role: Some(Role::Important),
        object_id: Some("F\0'é".to_owned()),
        uid_validity: Some(UidValidity(0)),
        watermark: Some(watermark),
        permanent: permanent.clone(),
        read_only: true,
        stamp: Some(stamp),
        directory: Some(DirId { device: 7, inode: u64::MAX }),
        letters,
        full_look: Some(Timestamp(5)),
        with_uid: 0,
        highest: None,
    };
    assert_eq!(account.mailbox(), expected);
    let (watermark, full_look) = (None, None);
    account.commit(&[Record::Looked { mailbox: id, watermark, permanent, read_only: false, full_look }]);
    account.commit(&[Record::Scanned(id, None), Record::Listed(id, None, None)]);
    let row = account.mailbox();
    assert_eq!((row.watermark, row.stamp, row.role, row.read_only), (None, None, None, false));
    assert_eq!(
        row.directory,
        Some(DirId { device: 7, inode: u64::MAX }),
        "the directory is the same, whatever is in it"
    );
    assert_eq!(row.full_look, Some(Timestamp(5)), "a look at a part is no full look");
}

#[test]
fn messages_and_what_becomes_of_them() {
    let (mut account, id) = Account::with_mailbox();
    let rows = [message(7), tombstone(u32::MAX, Tombstone::Waiting), message(2)];
    let found = account.commit(&rows.clone().map(|row| Record::Insert(id, row))).messages(id).unwrap();
    assert_eq!(found.iter().map(|row| row.uid.get()).collect::<Vec<_>>(), [2, 7, u32::MAX]);
    assert_eq!(account.mailbox().with_uid, 3);
    let [two, seven, last] = [0, 1, 2].map(|at| found[at].id);
    assert_eq!(without_place(found[1].clone()), rows[0]);
    assert_eq!(without_place(found[2].clone()), rows[1]);

    let seen = FlagSet::of(&[Flag::Seen]);
    let found = account
        .commit(&[Record::Flags(two, seen.clone()), Record::Bury(seven, Tombstone::Flagged), Record::Forget(last)])
        .messages(id)
        .unwrap();
    assert_eq!(without_place(found[0].clone()), NewMessage { flags: seen, ..message(2) });
    assert_eq!(without_place(found[1].clone()), tombstone(7, Tombstone::Flagged));
    assert_eq!(found.len(), 2);
    assert_eq!(account.mailbox().with_uid, 2);
}

#[test]
fn a_uid_and_a_file_belong_to_one_row() {
    let (mut account, id) = Account::with_mailbox();
    account.commit(&[Record::Insert(id, message(1)), Record::Insert(id, message(2))]);
    let before = account.open().messages(id).unwrap();
    let taken = NewMessage { unique: UniqueName::new("1.höst"), ..message(2) };
    let found = account.commit(&[Record::Insert(id, taken.clone())]).messages(id).unwrap();
    assert_eq!(found.iter().cloned().map(without_place).collect::<Vec<_>>(), [taken]);
    assert!(before.iter().all(|row| row.id < found[0].id), "ids of rows that are gone name no other row");
    assert_eq!(account.mailbox().with_uid, 1);
    let other = account.open().add_mailbox(&name(0), &name(0)).unwrap();
    account.commit(&[Record::Insert(other, message(2)), Record::Forget(before[0].id)]);
    assert_eq!((account.open().messages(id).unwrap().len(), account.open().messages(other).unwrap().len()), (1, 1));
}

#[test]
fn every_kind_of_intent() {
    let (mut account, mailbox) = Account::with_mailbox();
    let uid_validity = UidValidity(u64::MAX);
    let intents = [
        Intent::Download { mailbox, uid_validity, row: message(3) },
        Intent::Append {
            difference: FlagDelta::default(),
            mailbox,
            uid_validity,
            uid_next: u32::MAX,
            unique: UniqueName::new("x y").unwrap(),
            flags: flags(),
            date: None,
            size: 77,
            message_id: None,
            content: Fingerprint([1; 16]),
            stat: stat(),
            leaves: Some(MessageId(9)),
        },
        Intent::Copy {
            mailbox,
            uid_validity,
            uids: [1, 2, 3, 9, u32::MAX].map(uid).into_iter().collect(),
            target: name(3),
            before: (UidValidity(1), 0),
        },
        Intent::Rename { mailbox, from: name(1), to: name(2) },
        Intent::Relabel {
            mailbox,
            unique: UniqueName::new("x y").unwrap(),
            before: String::new(),
            after: "2,Sa".to_owned(),
        },
        Intent::Flags {
            mailbox,
            uid_validity,
            uids: [7, 8].map(uid).into_iter().collect(),
            side: Side::Local,
            difference: FlagDelta { add: flags(), remove: FlagSet::of(&[Flag::Flagged]) },
        },
        Intent::Remove { mailbox, unique: UniqueName::new("x z").unwrap() },
    ];
    let ids = account.open().begin(&intents).unwrap();
    let written: Vec<_> = ids.iter().copied().zip(intents.clone()).collect();
    assert_eq!(account.open().intents().unwrap(), written);
    let left = account.commit(&[2, 0, 4, 5, 6].map(|at| Record::Settled(ids[at]))).intents().unwrap();
    assert_eq!(left, [written[1].clone(), written[3].clone()]);
    let again = account.open().begin(&intents[2..]).unwrap();
    assert!(again[0] > ids[6], "ids of settled intents name no other intent");
    assert!(account.commit(&[Record::ForgetMailbox(mailbox)]).intents().unwrap().is_empty());
}

#[test]
fn of_messages_that_arrive_together_each_is_settled_for_itself() {
    let (mut account, mailbox) = Account::with_mailbox();
    let other = account.open().add_mailbox(&name(3), &name(3)).unwrap();
    let arriving = |mailbox, validity, number| Intent::Download {
        mailbox,
        uid_validity: UidValidity(validity),
        row: NewMessage { stat: None, content: None, email_id: None, ..message(number) },
    };
    let rename = Intent::Rename { mailbox, from: name(1), to: name(2) };
    let intents = [
        arriving(mailbox, 7, 1),
        arriving(mailbox, 7, 2),
        arriving(mailbox, 7, 3),
        arriving(mailbox, 8, 4),
        arriving(other, 8, 5),
        rename.clone(),
        arriving(other, 8, 6),
        arriving(other, 8, 7),
    ];
    let ids = account.open().begin(&intents).unwrap();
    assert!(ids.is_sorted_by(|one, next| one < next), "{ids:?}");
    let mut left: Vec<_> = ids.iter().copied().zip(intents).collect();
    assert_eq!(account.open().intents().unwrap(), left);
    // Whatever is settled twice, at once or later, settles nothing else.
    for settled in [&[1][..], &[1, 0], &[1, 1, 5, 6], &[4, 3], &[0, 2], &[7]] {
        let records: Vec<Record> = settled.iter().map(|at| Record::Settled(ids[*at])).collect();
        left.retain(|(id, _)| !settled.iter().any(|at| ids[*at] == *id));
        assert_eq!(account.commit(&records).intents().unwrap(), left, "{settled:?}");
    }
    assert!(left.is_empty());
    let again = account.open().begin(&[rename]).unwrap();
    assert!(again[0] > ids[7], "ids of settled intents name no other intent");
}

#[test]
fn what_concerns_the_account() {
    let (mut account, id) = Account::with_mailbox();
    account.commit(&[Record::Run(u64::MAX), Record::Succeeded(Timestamp(9))]);
    let header = account.open().header().unwrap();
    assert_eq!((header.run, header.last_success), (u64::MAX, Some(Timestamp(9))));

    let trashed = |kept_as: &str, at| Trashed {
        mailbox: name(2),
        file: "1.x:2,S".to_owned(),
        kept_as: kept_as.to_owned(),
        at: Timestamp(at),
        keywords: None,
    };
    account.commit(&[
        Record::Kept(id, trashed("b", 5)),
        Record::Kept(id, trashed("a", 5)),
        Record::Kept(id, trashed("c", 1)),
    ]);
    let row = |id, kept| KeptRow { id, run: u64::MAX, kept };
    let kept = account.open().kept(Timestamp(6)).unwrap();
    assert_eq!(kept, [row(3, trashed("c", 1)), row(2, trashed("a", 5)), row(1, trashed("b", 5))]);
    assert_eq!(account.open().kept(Timestamp(5)).unwrap(), [row(3, trashed("c", 1))]);
    assert_eq!(account.commit(&[Record::Dropped("c".to_owned())]).kept(Timestamp(5)).unwrap(), []);
    account.commit(&[Record::Run(8), Record::Kept(id, trashed("c", 1))]);
    let again = account.open().kept(Timestamp(5)).unwrap();
    assert_eq!(again, [KeptRow { id: 4, run: 8, kept: trashed("c", 1) }], "a number is never used again");

    account.commit(&[Record::LocalName(id, name(5))]);
    assert_eq!(account.open().kept(Timestamp(5)).unwrap()[0].kept.mailbox, name(5), "it is with its folder");
    account.commit(&[Record::ForgetMailbox(id)]);
    let id = account.open().add_mailbox(&name(7), &name(7)).unwrap();
    account.commit(&[Record::LocalName(id, name(6))]);
    assert_eq!(account.open().kept(Timestamp(5)).unwrap()[0].kept.mailbox, name(5), "another folder is not its own");

    let lost = |side, count, at| Record::Lost(id, side, count, Timestamp(at));
    account.commit(&[lost(Side::Local, 2, 1), lost(Side::Local, 3, 2), lost(Side::Remote, 4, 3)]);
    let all = [((id, Side::Local), 5), ((id, Side::Remote), 4)];
    assert_eq!(account.open().losses(Timestamp(1)).unwrap(), all.into());
    assert_eq!(account.open().losses(Timestamp(3)).unwrap(), all[1..].iter().copied().collect());
    account.commit(&[Record::ForgetLosses(Timestamp(2))]);
    assert_eq!(account.open().losses(Timestamp(i64::MIN)).unwrap()[&(id, Side::Local)], 3);
}

#[test]
fn holds_keep_the_time_they_began() {
    let (mut account, _) = Account::with_mailbox();
    let hold = |mailbox, count, since| HoldRow {
        mailbox,
        side: Side::Local,
        reason: "mass-delete".to_owned(),
        count,
        since: Timestamp(since),
    };
    let first = [hold(None, 1, 1), hold(Some(name(1)), 1, 1), hold(Some(name(2)), 1, 1)];
    assert_eq!(account.commit(&[Record::Holds(first.to_vec())]).header().unwrap().holds, first);
    let second = [hold(Some(name(1)), 2, 5), hold(None, u64::MAX, 5), hold(Some(name(3)), 2, 5)];
    let expected = [hold(Some(name(1)), 2, 1), hold(None, u64::MAX, 1), hold(Some(name(3)), 2, 5)];
    assert_eq!(account.commit(&[Record::Holds(second.to_vec())]).header().unwrap().holds, expected);
    assert_eq!(account.commit(&[Record::Holds(Vec::new())]).header().unwrap().holds, []);
    let again = [hold(None, 1, 7)];
    assert_eq!(account.commit(&[Record::Holds(again.to_vec())]).header().unwrap().holds, again);
}

#[test]
fn a_failure_replaces_the_one_of_the_same_item() {
    let (mut account, mailbox) = Account::with_mailbox();
    let failure = |unique: Option<&str>, number: Option<u32>, message: &str| FailureRow {
        mailbox,
        unique: unique.and_then(UniqueName::new),
        uid: number.map(uid),
        code: FailureCode::MessageTooLarge,
        message: message.to_owned(),
        retry_at: Some(Timestamp(4)),
        flags: FlagDelta::default(),
    };
    let file = failure(Some("f"), None, "one");
    let on_server = FailureRow { retry_at: None, ..failure(None, Some(3), "two") };
    account.commit(&[Record::Failed(file), Record::Failed(on_server.clone())]);
    let again = failure(Some("f"), None, "three");
    let found = account.commit(&[Record::Failed(again.clone())]).failures(mailbox).unwrap();
    assert_eq!(found, [on_server, again]);
    assert_eq!(account.commit(&[Record::ForgetFailures(mailbox)]).failures(mailbox).unwrap(), []);
}

#[test]
fn forgetting_everything_spares_tombstones_and_journal() {
    let (mut account, with_tombstone) = Account::with_mailbox();
    let without = account.open().add_mailbox(&name(2), &name(2)).unwrap();
    let watermark = Watermark { uid_validity: UidValidity(7), uid_next: 3, messages: 2, mod_seq: None };
    let dir = DirStamp { device: 1, inode: 2, mtime_ns: 3, ctime_ns: 4 };
    let failure = FailureRow {
        mailbox: without,
        unique: None,
        uid: Some(uid(1)),
        code: FailureCode::MessageRefused,
        message: String::new(),
        retry_at: None,
        flags: FlagDelta::default(),
    };
    let known = |mailbox| {
        [
            Record::Looked {
                mailbox,
                watermark: Some(watermark),
                permanent: PermanentFlags::all(),
                read_only: false,
                full_look: Some(Timestamp(1)),
            },
            Record::UidValidity(mailbox, UidValidity(7)),
            Record::Scanned(mailbox, Some(Stamp { cur: dir, new: dir })),
            Record::Directory(mailbox, DirId { device: 1, inode: 2 }),
            Record::Insert(mailbox, message(1)),
        ]
    };
    account.commit(&known(with_tombstone));
    account.commit(&known(without));
    account.commit(&[Record::Insert(with_tombstone, tombstone(2, Tombstone::Kept)), Record::Failed(failure)]);
    let intent = Intent::Download { mailbox: without, uid_validity: UidValidity(7), row: message(1) };
    account.open().begin(&[intent]).unwrap();

    account.commit(&[Record::ForgetAll]);
    let rows = account.open().mailboxes().unwrap();
    for row in &rows {
        let validity = (row.id == with_tombstone).then_some(UidValidity(7));
        assert_eq!(row.uid_validity, validity, "a tombstone's UID means nothing without it");
        assert_eq!((row.watermark, row.stamp, row.directory, row.full_look), (None, None, None, None));
        assert_eq!(row.with_uid, u64::from(row.id == with_tombstone));
    }
    assert_eq!(rows.len(), 2);
    let left = account.open().messages(with_tombstone).unwrap();
    assert_eq!(left.into_iter().map(without_place).collect::<Vec<_>>(), [tombstone(2, Tombstone::Kept)]);
    assert_eq!(account.open().messages(without).unwrap(), []);
    assert_eq!(account.open().intents().unwrap().len(), 1);
    assert_eq!(account.open().failures(without).unwrap(), []);
}

#[test]
fn a_commit_takes_effect_as_a_whole_or_not_at_all() {
    let (mut account, id) = Account::with_mailbox();
    let gone = MailboxId(id.0 + 1);
    let error = account
        .open()
        .commit(&[Record::Run(3), Record::Insert(id, message(1)), Record::Insert(gone, message(1))])
        .unwrap_err();
    assert!(!error.corrupt, "{error}");
    assert!(error.to_string().contains("account.sqlite3"), "{error}");
    assert_eq!(account.open().header().unwrap().run, 0);
    assert_eq!(account.open().messages(id).unwrap(), []);
    let uid_validity = UidValidity(1);
    let intent = |mailbox| Intent::Download { mailbox, uid_validity, row: message(1) };
    account.open().begin(&[intent(id), intent(gone)]).unwrap_err();
    assert_eq!(account.open().intents().unwrap(), []);
    assert!(account.open().add_mailbox(&name(1), &name(3)).is_err(), "a name belongs to one mailbox");
}

#[test]
fn a_forgotten_mailbox_leaves_only_its_losses() {
    let (mut account, id) = Account::with_mailbox();
    account.commit(&[Record::Insert(id, message(1)), Record::Lost(id, Side::Local, 1, Timestamp(1))]);
    account.commit(&[Record::ForgetMailbox(id)]);
    assert_eq!(account.open().messages(id).unwrap(), []);
    assert_eq!(account.open().losses(Timestamp(0)).unwrap()[&(id, Side::Local)], 1, "but what counts for a day");
    let again = account.open().add_mailbox(&name(1), &name(1)).unwrap();
    assert_ne!(again, id, "ids of mailboxes that are gone name no other mailbox");
    assert_eq!(account.mailbox().with_uid, 0);
}

#[test]
fn drafts_are_read_by_their_index() {
    let (mut account, id) = Account::with_mailbox();
    let message = |number: u32, bits, file: Option<&str>| NewMessage {
        unique: file.and_then(UniqueName::new),
        flags: FlagSet::from_parts(bits, []),
        tombstone: file.is_none().then_some(Tombstone::Kept),
        ..blank(number)
    };
    let all = [message(1, 16, Some("a")), message(2, 1, Some("b")), message(3, 17, Some("c")), message(4, 16, None)];
    let database = account.commit(&all.map(|message| Record::Insert(id, message)));
    let drafts: Vec<u32> = database.drafts().unwrap().iter().map(|row| row.uid.get()).collect();
    assert_eq!(drafts, [1, 3]);
    assert!(
        database
            .messages(id)
            .unwrap()
            .iter()
            .filter(|row| drafts.contains(&row.uid.get()))
            .eq(&database.drafts().unwrap())
    );
    let plan = account.plan(crate::state::load::DRAFTS);
    assert!(plan[0].contains("USING INDEX message_draft"), "{plan:?}");
    for left in [2, 1] {
        let database = account.commit(&[]);
        database.read_drafts_ahead().unwrap();
        let before = database.drafts().unwrap();
        assert_eq!(before.len(), left);
        database.read_drafts_ahead().unwrap();
        database.commit(&[Record::Forget(before[0].id)]).unwrap();
        assert_eq!(database.drafts().unwrap(), before[1..], "drafts read ahead are those that there are then");
    }
}

#[test]
fn messages_of_a_size_are_read_by_their_index() {
    let (mut account, id) = Account::with_mailbox();
    let other = account.open().add_mailbox(&name(2), &name(2)).unwrap();
    let sized = |number, size| NewMessage { size, ..message(number) };
    account.commit(&[
        Record::Insert(other, sized(1, Some(u64::MAX))),
        Record::Insert(id, sized(2, Some(u64::MAX))),
        Record::Insert(id, sized(1, Some(7))),
        Record::Insert(id, NewMessage { size: Some(u64::MAX), ..tombstone(3, Tombstone::Kept) }),
        Record::Insert(id, sized(4, None)),
    ]);
    let places = |account: &mut Account, size| -> Vec<_> {
        let found = account.open().messages_of_size(size).unwrap();
        found.iter().map(|row| (row.mailbox, row.uid.get())).collect()
    };
    assert_eq!(places(&mut account, u64::MAX), [(id, 2), (other, 1)]);
    assert_eq!((places(&mut account, 7), places(&mut account, 8)), (vec![(id, 1)], vec![]));
    let plan = account.plan(crate::state::load::OF_SIZE);
    assert!(plan[0].contains("USING INDEX message_by_size"), "{plan:?}");
}

#[test]
fn a_files_name_is_looked_for_by_the_index_of_each_mailbox() {
    let (mut account, id) = Account::with_mailbox();
    let other = account.open().add_mailbox(&name(2), &name(2)).unwrap();
    account.commit(&[
        Record::Insert(id, message(1)),
        Record::Insert(other, message(2)),
        Record::Insert(id, tombstone(3, Tombstone::Kept)),
    ]);
    let known = [1, 2, 3].map(|number| account.open().is_known(&message(number).unique.unwrap()).unwrap());
    assert_eq!(known, [true, true, false]);
    let plan = account.plan(crate::state::load::OF_NAME);
    assert!(plan.iter().any(|step| step.contains("SEARCH message") && step.contains("unique_name=?")), "{plan:?}");
}

#[test]
fn what_is_asked_of_a_mailbox_is_read_from_the_indexes() {
    let (mut account, id) = Account::with_mailbox();
    let other = account.open().add_mailbox(&name(2), &name(2)).unwrap();
    account.commit(&[
        Record::Insert(id, message(4)),
        Record::Insert(id, tombstone(3, Tombstone::Kept)),
        Record::Insert(other, tombstone(5, Tombstone::Waiting)),
    ]);
    assert_eq!(account.open().uids(id).unwrap().to_string(), "3:4");
    let tombstones = |account: &mut Account, mailbox| -> Vec<u32> {
        account.open().tombstones(mailbox).unwrap().iter().map(|row| row.uid.get()).collect()
    };
    assert_eq!([id, other].map(|mailbox| tombstones(&mut account, mailbox)), [vec![3], vec![5]]);
    let named = |account: &mut Account, mailbox, number| {
        account.open().message_named(mailbox, &message(number).unique.unwrap()).unwrap().map(|row| row.uid.get())
    };
    assert_eq!([id, other].map(|mailbox| named(&mut account, mailbox, 4)), [Some(4), None]);
    let plan = account.plan(crate::state::load::UIDS);
    assert!(plan[0].contains("USING COVERING INDEX"), "{plan:?}");
    for sql in [crate::state::load::TOMBSTONES, crate::state::load::NAMED] {
        let plan = account.plan(sql);
        assert!(plan[0].contains("unique_name=?"), "{plan:?}");
    }
    let plan = account.plan(crate::state::load::AMONG);
    assert!(plan[0].contains("uid>? AND uid<?"), "{plan:?}");
}

/// Few are asked for by their UIDs, of many all are read.
#[test]
fn some_messages_of_many_are_those_asked_for() {
    let (mut account, id) = Account::with_mailbox();
    let all: Vec<Record> = (1..=20).map(|number| Record::Insert(id, message(number))).collect();
    let database = account.commit(&all);
    for asked in [vec![3, 4, 9], (1..=20).filter(|uid| uid % 2 == 0).collect(), vec![], vec![30]] {
        let uids: UidSet = asked.iter().filter_map(|uid| Uid::new(*uid)).collect();
        let found: Vec<u32> = database.messages_among(id, &uids).unwrap().iter().map(|row| row.uid.get()).collect();
        assert_eq!(found, asked.iter().copied().filter(|uid| *uid <= 20).collect::<Vec<_>>());
    }
}

#[test]
fn mailboxes_get_names_all_together() {
    let (mut account, one) = Account::with_mailbox();
    let two = account.open().add_mailbox(&name(2), &name(1)).unwrap();
    let renaming = |mailbox, new, local| Renaming { mailbox, name: name(new), local: name(local) };
    let gone = MailboxId(two.0 + 1);
    let names = |account: &mut Account| -> Vec<_> {
        let rows = account.open().mailboxes().unwrap();
        rows.into_iter().map(|row| (row.id, row.name, row.local)).collect()
    };
    account.commit(&[
        Record::Insert(one, message(1)),
        Record::Renamed(vec![renaming(one, 2, 2), renaming(two, 1, 0), renaming(gone, 1, 1)]),
    ]);
    let exchanged = [(two, name(1), name(0)), (one, name(2), name(2))];
    assert_eq!(names(&mut account), exchanged);
    assert_eq!(account.open().messages(one).unwrap().len(), 1);
    account.open().commit(&[Record::Renamed(vec![renaming(one, 1, 3)])]).unwrap_err();
    account.open().commit(&[Record::Renamed(vec![renaming(one, 3, 3), renaming(two, 3, 3)])]).unwrap_err();
    assert_eq!(names(&mut account), exchanged);
    account.commit(&[Record::Renamed(vec![renaming(one, 2, 3)])]);
    assert_eq!(names(&mut account)[1], (one, name(2), name(3)), "its own name is no other's");
}

#[test]
fn messages_read_ahead_are_those_that_there_are_when_they_are_asked_for() {
    let (mut account, id) = Account::with_mailbox();
    let database = account.commit(&[Record::Insert(id, message(1)), Record::Insert(id, message(2))]);
    database.read_ahead(id).unwrap();
    let before = database.messages(id).unwrap();
    assert_eq!(before.len(), 2);
    database.read_ahead(id).unwrap();
    database.commit(&[Record::Forget(before[0].id)]).unwrap();
    assert_eq!(database.messages(id).unwrap(), before[1..]);
}

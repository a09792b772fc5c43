//! The database against a model of it in plain collections.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use proptest::collection::vec;
use proptest::prelude::*;

use super::samples::{arrivals, intent, name, record, times};
use crate::model::*;
use crate::state::Database;
use crate::store::{FailureRow, Header, Intent, IntentId, Journal, NewMessage, Record, Renaming, Renumbered, Trashed};

/// What the database is to hold. Rows inserted and not yet read back have no known id.
#[derive(Debug, Clone)]
struct Model {
    header: Header,
    mailboxes: BTreeMap<MailboxId, MailboxRow>,
    messages: BTreeMap<(MailboxId, Uid), (Option<MessageId>, NewMessage)>,
    /// The new versions of what is a tombstone for having one.
    successors: BTreeMap<(MailboxId, Uid), UniqueName>,
    intents: BTreeMap<IntentId, Intent>,
    kept: BTreeMap<String, (Option<MailboxId>, Trashed)>,
    losses: Vec<(MailboxId, Side, u64, Timestamp)>,
    failures: Vec<FailureRow>,
}

/// What was to be added belongs to a mailbox that isn't there, or a name to two.
#[derive(Debug)]
struct Misfit;

impl Model {
    fn known(&self, id: MailboxId) -> Result<(), Misfit> {
        self.mailboxes.contains_key(&id).then_some(()).ok_or(Misfit)
    }

    fn mailbox(&mut self, id: MailboxId, change: impl FnOnce(&mut MailboxRow)) -> Result<(), Misfit> {
        self.mailboxes.get_mut(&id).map(change);
        Ok(())
    }

    fn message(&mut self, id: MessageId, change: impl FnOnce(&mut NewMessage)) -> Result<(), Misfit> {
        if let Some((_, message)) = self.messages.values_mut().find(|(known, _)| *known == Some(id)) {
            change(message);
        }
        Ok(())
    }

    fn apply(&mut self, record: &Record) -> Result<(), Misfit> {
        match record.clone() {
            Record::Looked { mailbox, watermark, permanent, read_only, full_look } => self.mailbox(mailbox, |row| {
                row.watermark = watermark;
                row.permanent = permanent;
                row.read_only = read_only;
                row.full_look = full_look.or(row.full_look);
            }),
            Record::UidValidity(id, validity) => self.mailbox(id, |row| row.uid_validity = Some(validity)),
            Record::Renumbered(id, rows) => {
                self.renumber(id, &rows);
                Ok(())
            }
            Record::Listed(id, role, object_id) => self.mailbox(id, |row| {
                row.role = role;
                row.object_id = object_id;
            }),
            Record::LocalName(id, name) => {
                self.take_along(id, &name);
                self.mailbox(id, |row| row.local = name)
            }
            Record::Renamed(renamings) => self.rename(&renamings),
            Record::Directory(id, directory) => self.mailbox(id, |row| row.directory = Some(directory)),
            Record::Scanned(id, stamp) => self.mailbox(id, |row| row.stamp = stamp),
            Record::Letters(id, letters) => self.mailbox(id, |row| row.letters = letters),
            Record::ForgetMailbox(id) => {
                self.forget_mailbox(id);
                Ok(())
            }
            Record::Insert(id, message) => self.insert(id, message),
            Record::Flags(id, flags) => self.message(id, |message| message.flags = flags),
            Record::Bury(id, tombstone) => self.message(id, |message| {
                message.unique = None;
                message.stat = None;
                message.tombstone = Some(tombstone);
            }),
            Record::Replaced(id, by) => {
                let known = self.messages.iter().find(|(_, (known, _))| *known == Some(id)).map(|(key, _)| *key);
                self.successors.extend(known.map(|key| (key, by)));
                self.message(id, |message| {
                    message.unique = None;
                    message.stat = None;
                    message.tombstone = Some(Tombstone::Replaced);
                })
            }
            Record::Stat(id, stat) => self.message(id, |message| {
                if message.tombstone.is_none() {
                    message.stat = Some(stat);
                }
            }),
            Record::EmailId(id, email_id) => self.message(id, |message| message.email_id = Some(email_id)),
            Record::Failed(failure) => {
                self.known(failure.mailbox)?;
                let item = |row: &FailureRow| (row.mailbox, row.unique.clone(), row.uid);
                self.failures.retain(|other| item(other) != item(&failure));
                self.failures.push(failure);
                Ok(())
            }
            other => {
                self.apply_plain(other);
                Ok(())
            }
        }
    }

    fn apply_plain(&mut self, record: Record) {
        match record {
            Record::Forget(id) => self.messages.retain(|_, (known, _)| *known != Some(id)),
            Record::Settled(id) => drop(self.intents.remove(&id)),
            Record::Kept(id, trashed) => {
                let folder = self.mailboxes.contains_key(&id).then_some(id);
                self.kept.insert(trashed.kept_as.clone(), (folder, trashed));
            }
            Record::Dropped(kept_as) => drop(self.kept.remove(&kept_as)),
            Record::Lost(id, side, count, at) => self.losses.push((id, side, count, at)),
            Record::ForgetLosses(before) => self.losses.retain(|loss| loss.3 >= before),
            Record::Holds(mut holds) => {
                for hold in &mut holds {
                    let same =
                        self.header.holds.iter().find(|old| {
                            old.mailbox == hold.mailbox && old.side == hold.side && old.reason == hold.reason
                        });
                    hold.since = same.map_or(hold.since, |old| old.since);
                }
                self.header.holds = holds;
            }
            Record::ForgetFailures(id) => self.failures.retain(|failure| failure.mailbox != id),
            // What is random is learnt when it is read.
            Record::NewToken => self.header.next_token.clear(),
            Record::Run(number) => {
                self.header.run = number;
                self.header.token = self.header.next_token.clone();
            }
            Record::Circumstances(now) => self.header.circumstances = Some(now),
            Record::OtherServer => {
                self.mailboxes.values_mut().for_each(|row| row.uid_validity = None);
                self.header.last_success = None;
            }
            Record::United => self.header.united = true,
            Record::Succeeded(at) => self.header.last_success = Some(at),
            Record::Quota(quota, due) => (self.header.quota, self.header.quota_due) = (quota, due),
            Record::Capabilities(words) => self.header.capabilities = words,
            Record::ForgetAll => self.forget_all(),
            other => panic!("{other:?}"),
        }
    }

    fn insert(&mut self, id: MailboxId, message: NewMessage) -> Result<(), Misfit> {
        self.known(id)?;
        self.messages.retain(|key, (_, other)| {
            key.0 != id || (key.1 != message.uid && (message.unique.is_none() || other.unique != message.unique))
        });
        self.messages.insert((id, message.uid), (None, message));
        Ok(())
    }

    fn rename(&mut self, renamings: &[Renaming]) -> Result<(), Misfit> {
        let before = |one: &Renaming| Some((self.mailboxes.get(&one.mailbox)?.name.clone(), one.name.clone()));
        let names: BTreeMap<MailboxName, MailboxName> = renamings.iter().filter_map(before).collect();
        for intent in self.intents.values_mut() {
            if let Intent::Copy { target, .. } = intent
                && let Some(new) = names.get(target)
            {
                *target = new.clone();
            }
        }
        for Renaming { mailbox, name, local } in renamings {
            self.take_along(*mailbox, local);
            self.mailbox(*mailbox, |row| (row.name, row.local) = (name.clone(), local.clone()))?;
        }
        let names: BTreeSet<_> = self.mailboxes.values().map(|row| &row.name).collect();
        (names.len() == self.mailboxes.len()).then_some(()).ok_or(Misfit)
    }

    fn take_along(&mut self, id: MailboxId, local: &MailboxName) {
        let of_it = self.kept.values_mut().filter(|(folder, _)| *folder == Some(id));
        of_it.for_each(|(_, trashed)| trashed.mailbox = local.clone());
    }

    fn renumber(&mut self, id: MailboxId, rows: &[Renumbered]) {
        let mine: Vec<_> = self.messages.keys().filter(|key| key.0 == id).copied().collect();
        let taken: Vec<_> =
            mine.iter().map(|key| (*key, self.messages.remove(key), self.successors.remove(key))).collect();
        for (_, message, successor) in taken {
            let Some((known, message)) = message else { continue };
            let Some(new) = rows.iter().find(|new| Some(new.row) == known) else { continue };
            let key = (id, new.uid);
            let (date, size) = (new.date.or(message.date), new.size.or(message.size));
            self.messages.insert(key, (known, NewMessage { uid: new.uid, date, size, ..message }));
            self.successors.extend(successor.map(|by| (key, by)));
        }
    }

    fn forget_mailbox(&mut self, id: MailboxId) {
        self.mailboxes.remove(&id);
        self.kept.values_mut().for_each(|(folder, _)| *folder = folder.filter(|folder| *folder != id));
        self.messages.retain(|key, _| key.0 != id);
        self.failures.retain(|failure| failure.mailbox != id);
        self.intents.retain(|_, intent| intent.mailbox() != id);
    }

    fn forget_all(&mut self) {
        self.failures.clear();
        self.header.united = false;
        self.messages.retain(|_, (_, message)| message.tombstone.is_some());
        for row in self.mailboxes.values_mut() {
            (row.watermark, row.stamp, row.directory, row.full_look) = (None, None, None, None);
            if !self.messages.keys().any(|key| key.0 == row.id) {
                row.uid_validity = None;
            }
        }
    }

    /// Compares everything there is to read, and learns the ids of new rows.
    fn check(&mut self, database: &mut Database, time: Timestamp) -> Result<(), TestCaseError> {
        let header = database.header().unwrap();
        (self.header.token, self.header.next_token) = (header.token.clone(), header.next_token.clone());
        prop_assert_eq!(&header, &self.header);
        let mut expected: Vec<MailboxRow> = self.mailboxes.values().cloned().collect();
        expected.sort_by(|a, b| a.name.cmp(&b.name));
        for row in &mut expected {
            row.with_uid = self.messages.keys().filter(|key| key.0 == row.id).count() as u64;
            row.highest = self.messages.keys().filter(|key| key.0 == row.id).map(|key| key.1).max();
        }
        prop_assert_eq!(database.mailboxes().unwrap(), expected);
        for &id in self.mailboxes.keys() {
            let found = database.messages(id).unwrap();
            for (row, (_, (known, message))) in found.iter().zip(self.messages.range_mut(all_of(id))) {
                prop_assert_eq!(known.get_or_insert(row.id), &row.id);
                prop_assert_eq!(&without_place(row.clone()), &*message);
                prop_assert_eq!(row.mailbox, id);
                let replaced = message.tombstone == Some(Tombstone::Replaced);
                let successor = self.successors.get(&(id, row.uid)).filter(|_| replaced);
                prop_assert_eq!(row.replaced_by.as_ref(), successor);
            }
            prop_assert_eq!(found.len(), self.messages.range(all_of(id)).count());
            // Read one by one they are the same, also of those that were read ahead, and no more are shown than asked for.
            for most in [0, 1, found.len()] {
                let mut shown = Vec::new();
                let mut see = |row: &MessageRow| {
                    shown.push(row.clone());
                    shown.len() <= most
                };
                database.show_messages(id, &mut see).unwrap();
                prop_assert_eq!(&shown[..], &found[..found.len().min(most + 1)]);
                database.read_ahead(id).unwrap();
            }
            prop_assert_eq!(database.uids(id).unwrap(), found.iter().map(|row| row.uid).collect::<UidSet>());
            let (files, tombstones): (Vec<_>, Vec<_>) = found.iter().cloned().partition(|row| row.unique.is_some());
            prop_assert_eq!(database.tombstones(id).unwrap(), tombstones);
            for row in &files {
                let named = database.message_named(id, row.unique.as_ref().unwrap()).unwrap();
                prop_assert_eq!(named.as_ref(), Some(row));
            }
            // Some of them, also of those that were read ahead, and in whatever order they are asked for.
            let is_some = |row: &MessageRow| row.id.0 % 2 == 0;
            let some: Vec<MessageRow> = found.iter().filter(|row| is_some(row)).cloned().collect();
            prop_assert_eq!(database.messages_but(id, &mut |row| !is_some(row)).unwrap(), some.clone());
            prop_assert_eq!(database.messages_but(id, &mut |row| !is_some(row)).unwrap(), some.clone());
            let uids: UidSet = some.iter().rev().map(|row| row.uid).collect();
            prop_assert_eq!(database.messages_among(id, &uids).unwrap(), some);
            let failures: Vec<_> = self.failures.iter().filter(|failure| failure.mailbox == id).cloned().collect();
            prop_assert_eq!(database.failures(id).unwrap(), failures);
        }
        for size in self.messages.values().filter_map(|(_, message)| message.size) {
            let is_it = |(_, message): &&(_, NewMessage)| message.unique.is_some() && message.size == Some(size);
            let expected: Vec<NewMessage> =
                self.messages.values().filter(is_it).map(|(_, message)| message.clone()).collect();
            let found = database.messages_of_size(size).unwrap().into_iter().map(without_place);
            prop_assert_eq!(found.collect::<Vec<_>>(), expected);
        }
        let mut losses = BTreeMap::new();
        for (id, side, count, _) in self.losses.iter().filter(|loss| loss.3 >= time) {
            *losses.entry((*id, *side)).or_default() += count;
        }
        prop_assert_eq!(database.losses(time).unwrap(), losses);
        let mut kept: Vec<Trashed> =
            self.kept.values().map(|(_, kept)| kept).filter(|kept| kept.at < time).cloned().collect();
        kept.sort_by_key(|kept| kept.at);
        let rows: Vec<Trashed> = database.kept(time).unwrap().into_iter().map(|row| row.kept).collect();
        prop_assert_eq!(rows, kept);
        let intents: Vec<_> = self.intents.clone().into_iter().collect();
        prop_assert_eq!(database.intents().unwrap(), intents);
        Ok(())
    }

    /// Puts a real id where the random record has a place, where there is one.
    fn aim(&self, mut record: Record) -> Record {
        let ids: Vec<MessageId> = self.messages.values().filter_map(|(id, _)| *id).collect();
        match &mut record {
            Record::Looked { mailbox: id, .. }
            | Record::UidValidity(id, _)
            | Record::Listed(id, ..)
            | Record::LocalName(id, _)
            | Record::Directory(id, _)
            | Record::Scanned(id, _)
            | Record::Letters(id, _)
            | Record::ForgetMailbox(id)
            | Record::Insert(id, _)
            | Record::Lost(id, ..)
            | Record::Kept(id, _)
            | Record::Failed(FailureRow { mailbox: id, .. })
            | Record::ForgetFailures(id) => self.aim_mailbox(id),
            Record::Renumbered(id, rows) => {
                self.aim_mailbox(id);
                self.aim_rows(*id, rows);
            }
            Record::Renamed(renamings) => {
                renamings.iter_mut().for_each(|renaming| self.aim_mailbox(&mut renaming.mailbox));
                let mut named = BTreeSet::new();
                renamings.retain(|renaming| named.insert(renaming.mailbox));
            }
            Record::Flags(id, _)
            | Record::Bury(id, _)
            | Record::Replaced(id, _)
            | Record::Stat(id, _)
            | Record::EmailId(id, _)
            | Record::Forget(id) => {
                *id = ids.get(id.0 as usize).copied().unwrap_or(MessageId(0));
            }
            Record::Settled(id) => *id = self.intents.keys().nth(id.0 as usize).copied().unwrap_or(IntentId(0)),
            _ => {}
        }
        record
    }

    /// Every row that has an id, each under a UID of its own.
    fn aim_rows(&self, mailbox: MailboxId, rows: &mut Vec<Renumbered>) {
        let ids = self.messages.iter().filter(|(key, _)| key.0 == mailbox).filter_map(|(_, (id, _))| *id);
        let mut taken = BTreeSet::new();
        rows.retain(|row| taken.insert(row.uid));
        let aimed = ids.zip(rows.drain(..)).map(|(row, new)| Renumbered { row, ..new });
        *rows = aimed.collect();
    }

    fn aim_mailbox(&self, id: &mut MailboxId) {
        *id = self.mailboxes.keys().nth(id.0 as usize).copied().unwrap_or(MailboxId(0));
    }
}

fn all_of(id: MailboxId) -> RangeInclusive<(MailboxId, Uid)> {
    (id, Uid::new(1).unwrap())..=(id, Uid::new(u32::MAX).unwrap())
}

pub(super) fn without_place(row: MessageRow) -> NewMessage {
    let MessageRow { uid, unique, flags, tombstone, date, size, content, message_id, stat, email_id, .. } = row;
    NewMessage { uid, unique, flags, tombstone, date, size, content, message_id, stat, email_id }
}

#[derive(Debug, Clone)]
enum Step {
    Add(usize),
    Begin(Vec<Intent>),
    Commit(Vec<Record>),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0usize..4).prop_map(Step::Add),
        2 => vec(intent(), 0..4).prop_map(Step::Begin),
        1 => arrivals().prop_map(Step::Begin),
        9 => vec(record(), 0..8).prop_map(Step::Commit),
        1 => Just(Step::Reopen),
    ]
}

fn add(model: &mut Model, database: &mut Database, number: usize) -> Result<(), TestCaseError> {
    let (name, local) = (name(number), name(number + 1));
    let exists = model.mailboxes.values().any(|row| row.name == name);
    let added = database.add_mailbox(&name, &local);
    prop_assert_eq!(added.is_err(), exists);
    if let Ok(id) = added {
        prop_assert!(model.mailboxes.insert(id, MailboxRow::blank(id, &name, &local)).is_none());
    }
    Ok(())
}

fn begin(model: &mut Model, database: &mut Database, mut intents: Vec<Intent>) -> Result<(), TestCaseError> {
    for intent in &mut intents {
        match intent {
            Intent::Download { mailbox, .. }
            | Intent::Append { mailbox, .. }
            | Intent::Copy { mailbox, .. }
            | Intent::Rename { mailbox, .. }
            | Intent::Relabel { mailbox, .. }
            | Intent::Flags { mailbox, .. }
            | Intent::Remove { mailbox, .. } => model.aim_mailbox(mailbox),
        }
    }
    let begun = database.begin(&intents);
    prop_assert_eq!(begun.is_ok(), intents.iter().all(|intent| model.known(intent.mailbox()).is_ok()));
    for (id, intent) in begun.into_iter().flatten().zip(intents) {
        prop_assert!(model.intents.last_key_value().is_none_or(|(last, _)| *last < id));
        model.intents.insert(id, intent);
    }
    Ok(())
}

fn commit(model: &mut Model, database: &mut Database, records: Vec<Record>) -> Result<(), TestCaseError> {
    let records: Vec<Record> = records.into_iter().map(|record| model.aim(record)).collect();
    let mut after = model.clone();
    let fits = records.iter().try_for_each(|record| after.apply(record)).is_ok();
    prop_assert_eq!(database.commit(&records).is_ok(), fits);
    if fits {
        *model = after;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn holds_what_the_model_holds(steps in vec((step(), times()), 1..48)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("account.sqlite3");
        let mut database = Database::open(&path).unwrap();
        let mut model = Model {
            header: database.header().unwrap(),
            mailboxes: BTreeMap::new(),
            messages: BTreeMap::new(),
            successors: BTreeMap::new(),
            intents: BTreeMap::new(),
            kept: BTreeMap::new(),
            losses: Vec::new(),
            failures: Vec::new(),
        };
        let begin_with = [0, 1].map(|number| (Step::Add(number), Timestamp(0)));
        for (step, time) in begin_with.into_iter().chain(steps) {
            match step {
                Step::Add(number) => add(&mut model, &mut database, number)?,
                Step::Begin(intents) => begin(&mut model, &mut database, intents)?,
                Step::Commit(records) => commit(&mut model, &mut database, records)?,
                Step::Reopen => {
                    drop(database);
                    database = Database::open(&path).unwrap();
                }
            }
            model.check(&mut database, time)?;
        }
        drop(database);
        model.check(&mut Database::for_dry_run(&path).unwrap(), Timestamp(0))?;
        model.check(&mut Database::open(&path).unwrap(), Timestamp(i64::MAX))?;
    }
}

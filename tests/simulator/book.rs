//! The database: what was committed is durable.

use std::collections::{BTreeMap, BTreeSet};

use mailtide::model::{
    Circumstances, Fingerprint, Flag, FlagSet, KeywordLetters, MailboxId, MailboxName, MailboxRow, MessageId,
    MessageRow, PermanentFlags, Quota, Side, Timestamp, Tombstone, Uid, UidSet, UidValidity, UniqueName,
};
use mailtide::store::{
    FailureRow, Header, HoldRow, Intent, IntentId, Journal, KeptRow, NewMessage, Record, Renaming, Renumbered,
    StateError,
};

use super::world::{Shared, Verdict, World};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Book {
    run: u64,
    token: String,
    next_token: String,
    last_success: Option<Timestamp>,
    circumstances: Option<Circumstances>,
    pub(super) united: bool,
    pub(super) quota: Quota,
    quota_due: Option<Timestamp>,
    capabilities: String,
    holds: Vec<HoldRow>,
    pub(super) mailboxes: BTreeMap<MailboxId, MailboxRow>,
    pub(super) messages: BTreeMap<(MailboxId, Uid), MessageRow>,
    pub(super) intents: BTreeMap<IntentId, Intent>,
    pub(super) failures: Vec<FailureRow>,
    pub(super) kept: Vec<(MailboxId, KeptRow)>,
    losses: Vec<(MailboxId, Side, u64, Timestamp)>,
    numbers: i64,
}

impl Book {
    fn number(&mut self) -> i64 {
        self.numbers += 1;
        self.numbers
    }

    fn add_mailbox(&mut self, name: &MailboxName, local: &MailboxName) -> MailboxId {
        assert!(self.mailboxes.values().all(|row| row.name != *name), "a second row of {name}");
        let id = MailboxId(self.number());
        let row = MailboxRow {
            id,
            name: name.clone(),
            local: local.clone(),
            role: None,
            object_id: None,
            uid_validity: None,
            watermark: None,
            permanent: PermanentFlags::all(),
            read_only: false,
            stamp: None,
            directory: None,
            letters: KeywordLetters::new(),
            full_look: None,
            with_uid: 0,
            highest: None,
        };
        self.mailboxes.insert(id, row);
        id
    }

    fn rows(&self) -> Vec<MailboxRow> {
        let count = |id| self.messages.keys().filter(|(mailbox, _)| *mailbox == id).count() as u64;
        let highest = |id| self.messages.keys().filter(|(mailbox, _)| *mailbox == id).map(|(_, uid)| *uid).max();
        let with_counts =
            |row: &MailboxRow| MailboxRow { with_uid: count(row.id), highest: highest(row.id), ..row.clone() };
        let rows = self.mailboxes.values().map(with_counts);
        let mut rows: Vec<_> = rows.collect();
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        rows
    }

    fn insert(&mut self, mailbox: MailboxId, new: NewMessage) {
        let row = MessageRow {
            id: MessageId(self.number()),
            mailbox,
            uid: new.uid,
            unique: new.unique,
            flags: new.flags,
            tombstone: new.tombstone,
            date: new.date,
            size: new.size,
            content: new.content,
            message_id: new.message_id,
            stat: new.stat,
            email_id: new.email_id,
            replaced_by: None,
        };
        self.messages.insert((mailbox, row.uid), row);
    }

    fn change(&mut self, id: MessageId, change: impl FnOnce(&mut MessageRow)) {
        if let Some(row) = self.messages.values_mut().find(|row| row.id == id) {
            change(row);
        }
    }

    fn renumber(&mut self, mailbox: MailboxId, rows: &[Renumbered]) {
        let (mine, mut all): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.messages).into_iter().partition(|(place, _)| place.0 == mailbox);
        for row in mine.into_values() {
            if let Some(new) = rows.iter().find(|new| new.row == row.id) {
                let (date, size) = (new.date.or(row.date), new.size.or(row.size));
                all.insert((mailbox, new.uid), MessageRow { uid: new.uid, date, size, ..row });
            }
        }
        self.messages = all;
    }

    fn take_along(&mut self, id: MailboxId, local: &MailboxName) {
        let of_it = self.kept.iter_mut().filter(|(mailbox, _)| *mailbox == id);
        of_it.for_each(|(_, row)| row.kept.mailbox = local.clone());
    }

    fn rename(&mut self, renamings: &[Renaming]) {
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
            self.with_mailbox(*mailbox, |row| (row.name, row.local) = (name.clone(), local.clone()));
        }
        let names: BTreeSet<_> = self.mailboxes.values().map(|row| &row.name).collect();
        assert_eq!(names.len(), self.mailboxes.len(), "two rows of a name: {renamings:?}");
    }

    fn forget_all(&mut self) {
        self.united = false;
        self.failures.clear();
        self.messages.retain(|_, row| row.tombstone.is_some());
        let left: BTreeSet<MailboxId> = self.messages.keys().map(|(mailbox, _)| *mailbox).collect();
        for row in self.mailboxes.values_mut() {
            row.uid_validity = row.uid_validity.filter(|_| left.contains(&row.id));
            (row.watermark, row.stamp, row.directory, row.full_look) = (None, None, None, None);
        }
    }

    fn fail(&mut self, failure: FailureRow) {
        let item = |row: &FailureRow| (row.mailbox, row.unique.clone(), row.uid);
        self.failures.retain(|row| item(row) != item(&failure));
        self.failures.push(failure);
    }

    fn with_mailbox(&mut self, id: MailboxId, change: impl FnOnce(&mut MailboxRow)) {
        if let Some(row) = self.mailboxes.get_mut(&id) {
            change(row);
        }
    }

    fn row_of(&self, matches: impl Fn(&MailboxRow) -> bool, message: impl Fn(&MessageRow) -> bool) -> bool {
        let ids: Vec<_> = self.mailboxes.values().filter(|row| matches(row)).map(|row| row.id).collect();
        self.messages.values().any(|row| ids.contains(&row.mailbox) && message(row))
    }

    /// Returns true if the message is recorded.
    pub(super) fn knows_uid(&self, name: &MailboxName, uid: Uid) -> bool {
        self.row_of(|row| row.name == *name, |row| row.uid == uid)
    }

    /// Returns true if the file is recorded with this content.
    pub(super) fn knows_content(&self, name: &MailboxName, unique: &UniqueName, content: Option<Fingerprint>) -> bool {
        let is_it = |row: &MessageRow| row.unique.as_ref() == Some(unique) && row.content == content;
        self.row_of(|row| row.local == *name, is_it)
    }

    /// Returns the flags that were agreed on for a file, with what the server did not take of them.
    pub(super) fn flags_of(&self, name: &MailboxName, unique: &UniqueName) -> Option<FlagSet> {
        let of = |row: &&MailboxRow| row.local == *name;
        let ids: Vec<_> = self.mailboxes.values().filter(of).map(|row| row.id).collect();
        let is_it = |row: &&MessageRow| ids.contains(&row.mailbox) && row.unique.as_ref() == Some(unique);
        let row = self.messages.values().find(is_it)?;
        let refused = self.failures.iter().filter(|failure| ids.contains(&failure.mailbox));
        let refused = refused.filter(|failure| failure.unique.as_ref() == Some(unique));
        Some(refused.fold(row.flags.clone(), |flags, failure| failure.flags.apply(&flags)))
    }

    /// Returns true if the file was fetched and journaled, and its message is not recorded yet.
    pub(super) fn knows_fetched(&self, unique: &UniqueName) -> bool {
        let is_it =
            |intent: &Intent| matches!(intent, Intent::Download { row, .. } if row.unique.as_ref() == Some(unique));
        self.intents.values().any(is_it)
    }

    /// Returns true if the mailbox is recorded under this UIDVALIDITY.
    pub(super) fn knows_numbers(&self, name: &MailboxName, validity: Option<UidValidity>) -> bool {
        self.mailboxes.values().any(|row| row.name == *name && row.uid_validity == validity)
    }

    fn write(&mut self, record: Record) {
        match record {
            Record::Looked { mailbox, watermark, permanent, read_only, full_look } => {
                self.with_mailbox(mailbox, |row| {
                    row.watermark = watermark;
                    row.permanent = permanent;
                    row.read_only = read_only;
                    row.full_look = full_look.or(row.full_look);
                });
            }
            Record::UidValidity(id, validity) => self.with_mailbox(id, |row| row.uid_validity = Some(validity)),
            Record::Renumbered(id, rows) => self.renumber(id, &rows),
            Record::Listed(id, role, object_id) => {
                self.with_mailbox(id, |row| {
                    row.role = role;
                    row.object_id = object_id;
                });
            }
            Record::LocalName(id, name) => {
                self.take_along(id, &name);
                self.with_mailbox(id, |row| row.local = name);
            }
            Record::Renamed(renamings) => self.rename(&renamings),
            Record::Directory(id, directory) => self.with_mailbox(id, |row| row.directory = Some(directory)),
            Record::Scanned(id, stamp) => self.with_mailbox(id, |row| row.stamp = stamp),
            Record::Letters(id, letters) => self.with_mailbox(id, |row| row.letters = letters),
            Record::ForgetMailbox(id) => {
                self.mailboxes.remove(&id);
                self.messages.retain(|(mailbox, _), _| *mailbox != id);
                self.intents.retain(|_, intent| intent.mailbox() != id);
                self.failures.retain(|failure| failure.mailbox != id);
            }
            Record::Insert(id, new) => self.insert(id, new),
            Record::Flags(id, flags) => self.change(id, |row| row.flags = flags),
            Record::Bury(id, tombstone) => self.change(id, |row| {
                row.unique = None;
                row.tombstone = Some(tombstone);
                row.replaced_by = None;
            }),
            Record::Replaced(id, by) => self.change(id, |row| {
                row.unique = None;
                row.tombstone = Some(Tombstone::Replaced);
                row.replaced_by = Some(by);
            }),
            Record::Stat(id, stat) => self.change(id, |row| row.stat = Some(stat)),
            Record::EmailId(id, email_id) => self.change(id, |row| row.email_id = Some(email_id)),
            Record::Forget(id) => self.messages.retain(|_, row| row.id != id),
            Record::Settled(id) => drop(self.intents.remove(&id)),
            Record::Kept(mailbox, kept) => {
                let id = self.number().unsigned_abs();
                self.kept.push((mailbox, KeptRow { id, run: self.run, kept }));
            }
            Record::Dropped(name) => self.kept.retain(|(_, row)| row.kept.kept_as != name),
            Record::Lost(id, side, count, at) => self.losses.push((id, side, count, at)),
            Record::ForgetLosses(before) => self.losses.retain(|(.., at)| *at >= before),
            Record::Holds(holds) => self.holds = holds,
            Record::Failed(failure) => self.fail(failure),
            Record::ForgetFailures(id) => self.failures.retain(|row| row.mailbox != id),
            Record::NewToken => self.next_token = format!("{}", self.number()),
            Record::Run(run) => {
                self.run = run;
                self.token.clone_from(&self.next_token);
            }
            Record::ForgetAll => self.forget_all(),
            Record::Circumstances(now) => self.circumstances = Some(now),
            Record::OtherServer => {
                self.mailboxes.values_mut().for_each(|row| row.uid_validity = None);
                self.last_success = None;
            }
            Record::United => self.united = true,
            Record::Succeeded(at) => self.last_success = Some(at),
            Record::Quota(quota, due) => (self.quota, self.quota_due) = (quota, due),
            Record::Capabilities(words) => self.capabilities = words,
        }
    }
}

fn broken() -> StateError {
    StateError { corrupt: false, cause: "disk I/O error".into() }
}

impl Shared {
    fn state<T>(&self, call: impl FnOnce() -> String, deed: impl FnOnce(&mut World) -> T) -> Result<T, StateError> {
        let mut world = self.world();
        if world.before(call) != Verdict::Go {
            return Err(broken());
        }
        let done = deed(&mut world);
        match world.after() {
            Verdict::Go => Ok(done),
            Verdict::Dead | Verdict::Fail => Err(broken()),
        }
    }
}

impl Journal for Shared {
    fn header(&mut self) -> Result<Header, StateError> {
        self.state(
            || "header".to_owned(),
            |world| Header {
                database: "0123abcd".to_owned(),
                run: world.book.run,
                token: world.book.token.clone(),
                next_token: world.book.next_token.clone(),
                last_success: world.book.last_success,
                circumstances: world.book.circumstances.clone(),
                united: world.book.united,
                quota: world.book.quota,
                quota_due: world.book.quota_due,
                capabilities: world.book.capabilities.clone(),
                holds: world.book.holds.clone(),
            },
        )
    }

    fn mailboxes(&mut self) -> Result<Vec<MailboxRow>, StateError> {
        self.state(|| "mailboxes".to_owned(), |world| world.book.rows())
    }

    fn add_mailbox(&mut self, name: &MailboxName, local: &MailboxName) -> Result<MailboxId, StateError> {
        self.state(|| format!("add_mailbox {name}"), |world| world.book.add_mailbox(name, local))
    }

    fn messages(&mut self, mailbox: MailboxId) -> Result<Vec<MessageRow>, StateError> {
        let mine = |world: &mut World| {
            let rows = world.book.messages.values();
            rows.filter(|row| row.mailbox == mailbox).cloned().collect()
        };
        self.state(|| format!("messages {mailbox:?}"), mine)
    }

    fn messages_among(&mut self, mailbox: MailboxId, uids: &UidSet) -> Result<Vec<MessageRow>, StateError> {
        let is_one = |row: &&MessageRow| row.mailbox == mailbox && uids.contains(row.uid);
        let some = |world: &mut World| world.book.messages.values().filter(is_one).cloned().collect();
        self.state(|| format!("messages among {uids} {mailbox:?}"), some)
    }

    fn message_named(&mut self, mailbox: MailboxId, unique: &UniqueName) -> Result<Option<MessageRow>, StateError> {
        let is_it = |row: &&MessageRow| row.mailbox == mailbox && row.unique.as_ref() == Some(unique);
        let one = |world: &mut World| world.book.messages.values().find(is_it).cloned();
        self.state(|| format!("message named {unique} {mailbox:?}"), one)
    }

    fn uids(&mut self, mailbox: MailboxId) -> Result<UidSet, StateError> {
        let rows = |world: &mut World| {
            let rows = world.book.messages.values();
            rows.filter(|row| row.mailbox == mailbox).map(|row| row.uid).collect()
        };
        self.state(|| format!("uids {mailbox:?}"), rows)
    }

    fn tombstones(&mut self, mailbox: MailboxId) -> Result<Vec<MessageRow>, StateError> {
        let is_one = |row: &&MessageRow| row.mailbox == mailbox && row.unique.is_none();
        let all = |world: &mut World| world.book.messages.values().filter(is_one).cloned().collect();
        self.state(|| format!("tombstones {mailbox:?}"), all)
    }

    fn drafts(&mut self) -> Result<Vec<MessageRow>, StateError> {
        let flagged = |row: &&MessageRow| row.unique.is_some() && row.flags.has(Flag::Draft);
        self.state(|| "drafts".to_owned(), |world| world.book.messages.values().filter(flagged).cloned().collect())
    }

    fn messages_of_size(&mut self, size: u64) -> Result<Vec<MessageRow>, StateError> {
        let is_it = |row: &&MessageRow| row.unique.is_some() && row.size == Some(size);
        let all = |world: &mut World| world.book.messages.values().filter(is_it).cloned().collect();
        self.state(|| format!("messages_of_size {size}"), all)
    }

    fn is_known(&mut self, unique: &UniqueName) -> Result<bool, StateError> {
        let is_it = |row: &MessageRow| row.unique.as_ref() == Some(unique);
        self.state(|| format!("is_known {unique}"), |world| world.book.messages.values().any(is_it))
    }

    fn failures(&mut self, mailbox: MailboxId) -> Result<Vec<FailureRow>, StateError> {
        let mine = |world: &mut World| {
            let rows = world.book.failures.iter();
            rows.filter(|row| row.mailbox == mailbox).cloned().collect()
        };
        self.state(|| format!("failures {mailbox:?}"), mine)
    }

    fn losses(&mut self, since: Timestamp) -> Result<BTreeMap<(MailboxId, Side), u64>, StateError> {
        let sum = |world: &mut World| {
            let mut losses = BTreeMap::new();
            for (mailbox, side, count, _) in world.book.losses.iter().filter(|(.., at)| *at >= since) {
                *losses.entry((*mailbox, *side)).or_default() += count;
            }
            losses
        };
        self.state(|| "losses".to_owned(), sum)
    }

    fn kept(&mut self, before: Timestamp) -> Result<Vec<KeptRow>, StateError> {
        let old = |world: &mut World| {
            world.book.kept.iter().map(|(_, row)| row).filter(|row| row.kept.at < before).cloned().collect()
        };
        self.state(|| "kept".to_owned(), old)
    }

    fn intents(&mut self) -> Result<Vec<(IntentId, Intent)>, StateError> {
        let all = |world: &mut World| world.book.intents.iter().map(|(id, intent)| (*id, intent.clone())).collect();
        self.state(|| "intents".to_owned(), all)
    }

    fn begin(&mut self, intents: &[Intent]) -> Result<Vec<IntentId>, StateError> {
        let write = |world: &mut World| {
            let mut add = |intent: &Intent| {
                let id = IntentId(world.book.number());
                world.book.intents.insert(id, intent.clone());
                id
            };
            intents.iter().map(&mut add).collect()
        };
        self.state(|| format!("begin {intents:?}"), write)
    }

    fn commit(&mut self, records: &[Record]) -> Result<(), StateError> {
        let write = |world: &mut World| records.iter().for_each(|record| world.book.write(record.clone()));
        self.state(|| format!("commit {records:?}"), write)
    }
}

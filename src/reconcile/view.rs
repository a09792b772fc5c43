//! What to do about one mailbox: the one match over every combination of what the two sides did to a message.

use std::collections::{BTreeSet, HashSet};

use super::adopt::Match;
use super::agreed::Agreed;
use super::flags::{FlagRules, plan_flags, plan_union, united_flags};
use super::memory::{Memory, borne};
use super::plan::{Adoption, FlagChange, LocalRemoval, MailboxPlan, RemoteRemoval, Removal, Upload};
use super::policy::Delete;
use super::replace::Saves;
use super::snapshot::{LocalEntry, LocalSnapshot, RemoteMessage, RemoteMessages, RemoteSnapshot};
use crate::model::{Flag, FlagSet, MailboxId, MailboxName, MessageRow, Role, Tombstone, Uid, UidSet, UniqueName};

/// What is known about one mailbox in one pass.
#[derive(Debug)]
pub struct View<'a> {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// Its server name.
    pub name: &'a MailboxName,
    /// Its local name.
    pub local: &'a MailboxName,
    /// Its special use.
    pub role: Option<Role>,
    /// The baseline, but for rows about which there is nothing to decide,
    pub rows: &'a [MessageRow],
    /// and the files of these.
    pub agreed: &'a Agreed,
    /// The Maildir.
    pub scan: &'a LocalSnapshot,
    /// The server; `None` if it says that nothing changed.
    pub remote: Option<&'a RemoteSnapshot>,
    /// What decides about flags.
    pub rules: FlagRules,
    /// What a local removal does on the server.
    pub delete: Delete,
    /// The server can expunge single messages (UIDPLUS).
    pub expunges_alone: bool,
    /// The UIDVALIDITY is news to the baseline. There are no rows then: they are found again before.
    pub reset: bool,
    /// Both sides were matched before, so a new message is hardly a file that was there all along.
    pub matched: bool,
    /// Which files were saved again.
    pub saves: &'a Saves,
    /// New files that could not be identified.
    pub undecided: &'a BTreeSet<UniqueName>,
    /// Files and messages that failed and whose time has not come.
    pub waiting: (BTreeSet<UniqueName>, UidSet),
    /// Which new files are which new messages.
    pub matches: &'a [Match],
    /// What earlier runs and passes left.
    pub memory: &'a Memory,
}

/// What became of a row's file.
pub(super) enum Local<'a> {
    Present(&'a LocalEntry),
    Absent,
    Unknown,
}

/// What became of a row's message.
pub(super) enum Remote<'a> {
    Same,
    Seen(&'a RemoteMessage),
    Absent,
}

impl View<'_> {
    /// Decides what to do about the mailbox.
    pub fn plan(&self) -> MailboxPlan {
        let mut plan = self.empty_plan();
        if self.reset {
            plan.reset = self.remote.map(RemoteSnapshot::uid_validity);
        }
        for row in self.rows {
            self.plan_row(row, &mut plan);
        }
        self.plan_new(&mut plan);
        self.plan_outdated(&mut plan);
        let listed = self.remote.map(|snapshot| snapshot.messages.listed());
        let named = |uid: &Uid| Some((*uid, listed?.get(uid)?.email_id?));
        plan.email_ids = plan.download.iter().filter_map(named).collect();
        plan
    }

    fn empty_plan(&self) -> MailboxPlan {
        let nothing = MailboxPlan::nothing(self.mailbox, self.name.clone(), self.role, self.rules.clone());
        let unknown = !self.scan.quiet || self.scan.letters.is_none() || !self.undecided.is_empty();
        MailboxPlan { local: self.local.clone(), unknown, ..nothing }
    }

    fn plan_row(&self, row: &MessageRow, plan: &mut MailboxPlan) {
        let Some(unique) = &row.unique else { return self.plan_tombstone(row, plan) };
        if self.plan_saved_again(row, unique, plan) {
            return;
        }
        match (self.local_state(unique), self.remote_state(row.uid)) {
            (Local::Absent, Remote::Absent) => plan.forget.push(row.id),
            // Refused of late.
            (Local::Absent, Remote::Same | Remote::Seen(_)) if self.waiting.1.contains(row.uid) => {}
            (Local::Absent, Remote::Same | Remote::Seen(_)) => match self.removal() {
                Some(how) => plan.remove_remote.push(RemoteRemoval { row: row.id, uid: row.uid, how, moved_to: None }),
                None => plan.stuck.removals.push(row.uid),
            },
            (Local::Present(entry), Remote::Absent) => {
                let seen = self.saves.unchanged.get(unique);
                plan.unchanged.extend(seen.map(|stat| (unique.clone(), *stat)));
                let (unique, entry) = (unique.clone(), entry.clone());
                plan.remove_local.push(LocalRemoval { row: row.id, unique, entry });
            }
            (Local::Present(entry), Remote::Same) => self.plan_both(row, unique, entry, None, plan),
            (Local::Present(entry), Remote::Seen(message)) => self.plan_both(row, unique, entry, Some(message), plan),
            // The file is there or was renamed while we looked: nothing is decided about it.
            (Local::Unknown, Remote::Same | Remote::Seen(_) | Remote::Absent) => plan.unknown = true,
        }
    }

    fn plan_both(
        &self,
        row: &MessageRow,
        unique: &UniqueName,
        entry: &LocalEntry,
        message: Option<&RemoteMessage>,
        plan: &mut MailboxPlan,
    ) {
        let seen = message.map(|message| &message.flags);
        if self.flags_agree(row, unique, entry, seen) {
            return;
        }
        let base = self.memory.base(row, unique, seen);
        let borne = borne(&row.flags, unique, &self.memory.untaken);
        let before = (&row.flags, &borne);
        let flags = plan_flags(&base, before, entry, seen, self.scan, &self.rules, &self.memory.letters);
        let flags = self.memory.apply(flags, unique);
        plan.stuck.flags = plan.stuck.flags.union(&flags.denied);
        if !flags.changes_nothing() || flags.agreed != row.flags {
            plan.flags.push(FlagChange {
                row: row.id,
                uid: row.uid,
                unique: unique.clone(),
                entry: entry.clone(),
                flags,
            });
        }
    }

    /// Returns true if the file's name says what the row says, and the message as well, as most do. The flags of such a one
    /// need no merge.
    fn flags_agree(&self, row: &MessageRow, unique: &UniqueName, entry: &LocalEntry, seen: Option<&FlagSet>) -> bool {
        entry.flags == row.flags
            && seen.is_none_or(|seen| *seen == row.flags)
            && !self.memory.untaken.contains_key(unique)
    }

    fn plan_tombstone(&self, row: &MessageRow, plan: &mut MailboxPlan) {
        match (row.tombstone, self.remote_state(row.uid)) {
            (_, Remote::Absent) => plan.forget.push(row.id),
            (Some(Tombstone::Flagged), Remote::Seen(message)) if !message.flags.has(Flag::Deleted) => {
                plan.download
                    .extend(Some(row.uid).filter(|uid| self.matches.iter().all(|found| found.message != *uid)));
            }
            (Some(Tombstone::Waiting), Remote::Seen(_)) if self.can_purge() => {
                plan.remove_remote.push(RemoteRemoval {
                    row: row.id,
                    uid: row.uid,
                    how: Removal::Purge,
                    moved_to: None,
                });
            }
            (Some(Tombstone::Replaced), Remote::Same) => self.plan_replaced(row, None, plan),
            (Some(Tombstone::Replaced), Remote::Seen(message)) => self.plan_replaced(row, Some(&message.flags), plan),
            (_, Remote::Same | Remote::Seen(_)) => {}
        }
    }

    fn can_purge(&self) -> bool {
        self.may_delete() && (self.expunges_alone || self.only_ours_is_deleted())
    }

    /// Where `\Deleted` is not stored, an EXPUNGE takes nothing, and some servers say OK all the same.
    fn may_delete(&self) -> bool {
        !self.rules.read_only && self.rules.permanent.flags.has(Flag::Deleted)
    }

    /// Without UIDPLUS an EXPUNGE takes everything flagged `\Deleted`, so it has to wait until that is all ours.
    fn only_ours_is_deleted(&self) -> bool {
        let Some(RemoteSnapshot { messages: RemoteMessages::Full(messages), .. }) = self.remote else { return false };
        let ours: UidSet =
            self.rows.iter().filter(|row| row.tombstone == Some(Tombstone::Waiting)).map(|row| row.uid).collect();
        messages.iter().all(|(uid, message)| !message.flags.has(Flag::Deleted) || ours.contains(*uid))
    }

    pub(super) fn local_state(&self, unique: &UniqueName) -> Local<'_> {
        match self.scan.entries.get(unique) {
            Some(entry) => Local::Present(entry),
            None if self.scan.quiet && self.agreed.is_listed() => Local::Absent,
            None => Local::Unknown,
        }
    }

    pub(super) fn remote_state(&self, uid: Uid) -> Remote<'_> {
        match self.remote.map(|snapshot| snapshot.messages.get(uid)) {
            None | Some(Some(None)) => Remote::Same,
            Some(None) => Remote::Absent,
            Some(Some(Some(message))) => Remote::Seen(message),
        }
    }

    /// Returns how a message whose file is gone leaves the server. In a mailbox where none can be removed it waits: the
    /// row stays as it is until one can be.
    pub(super) fn removal(&self) -> Option<Removal> {
        match self.delete {
            Delete::Never => Some(Removal::Keep),
            _ if !self.may_delete() => None,
            Delete::Flag => Some(Removal::Flag),
            Delete::Expunge => Some(Removal::Expunge),
            Delete::Trash if matches!(self.role, Some(Role::Trash | Role::Junk)) => Some(Removal::Expunge),
            Delete::Trash => Some(Removal::Trash),
        }
    }

    fn plan_new(&self, plan: &mut MailboxPlan) {
        let (waiting_files, waiting_uids) = &self.waiting;
        for adoption in self.matches.iter().filter_map(|found| self.adoption(found)) {
            plan.stuck.flags = plan.stuck.flags.union(&adoption.flags.denied);
            plan.adopt.push(adoption);
        }
        let known: UidSet = self.known_uids().chain(plan.adopt.iter().map(|adoption| adoption.uid)).collect();
        let unknown = self.remote.into_iter().flat_map(|snapshot| snapshot.messages.listed().keys().copied());
        if !self.withholds() {
            plan.download.extend(unknown.filter(|uid| !known.contains(*uid) && !waiting_uids.contains(*uid)));
        }
        let adopted: BTreeSet<&UniqueName> = plan.adopt.iter().map(|adoption| &adoption.unique).collect();
        let waits = |unique: &UniqueName| {
            [waiting_files, self.undecided, &self.saves.unsettled].iter().any(|names| names.contains(unique))
        };
        let new = self.new_files().filter(|(unique, _)| !adopted.contains(unique) && !waits(unique));
        if self.rules.read_only {
            plan.stuck.files.extend(new.map(|(unique, _)| unique.clone()));
            return;
        }
        plan.upload.extend(new.map(|(unique, entry)| Upload {
            unique: unique.clone(),
            entry: entry.clone(),
            leaves: None,
        }));
    }

    /// Returns true if what is new on the server is not fetched: with a file not listed or not read, nobody can tell
    /// that a message is not that file.
    pub fn withholds(&self) -> bool {
        !(self.matched || (self.scan.quiet && self.undecided.is_empty()))
    }

    fn adoption(&self, found: &Match) -> Option<Adoption> {
        let entry = self.scan.entries.get(&found.file)?;
        if let Ok(at) = self.rows.binary_search_by_key(&found.message, |row| row.uid) {
            return self.rows.get(at).map(|row| self.put_back(row, found, entry));
        }
        let message = self.remote?.messages.listed().get(&found.message)?;
        let flags = self.memory.apply(plan_union(entry, &message.flags, self.scan, &self.rules), &found.file);
        // A row starts with what both sides share.
        let base = flags.agreed.difference(&flags.to_remote.add).difference(&flags.to_local.add);
        Some(Adoption {
            uid: found.message,
            unique: found.file.clone(),
            entry: entry.clone(),
            identity: found.identity,
            date: message.date,
            size: message.size,
            email_id: message.email_id,
            base,
            flags,
            follows: None,
        })
    }

    /// Returns the adoption of a message whose file is here again. That it was flagged as deleted because its file was gone
    /// is undone.
    fn put_back(&self, row: &MessageRow, found: &Match, entry: &LocalEntry) -> Adoption {
        let seen = match self.remote_state(row.uid) {
            Remote::Seen(message) => Some(&message.flags),
            Remote::Same | Remote::Absent => None,
        };
        let was_flagged = row.tombstone == Some(Tombstone::Flagged);
        let base = row.flags.clone().with(Flag::Deleted, was_flagged || row.flags.has(Flag::Deleted));
        let flags = plan_flags(&base, (&base, &base), entry, seen, self.scan, &self.rules, &self.memory.letters);
        Adoption {
            uid: row.uid,
            unique: found.file.clone(),
            entry: entry.clone(),
            identity: found.identity,
            date: row.date,
            size: row.size,
            email_id: row.email_id,
            base,
            flags: self.memory.apply(flags, &found.file),
            follows: None,
        }
    }

    /// Returns the messages that stayed on the server when their files were removed, and are still there.
    pub fn left_there(&self) -> impl Iterator<Item = &MessageRow> {
        let stayed = |row: &&MessageRow| matches!(row.tombstone, Some(Tombstone::Flagged | Tombstone::Kept));
        let is_there = |row: &&MessageRow| !matches!(self.remote_state(row.uid), Remote::Absent);
        self.rows.iter().filter(stayed).filter(is_there)
    }

    /// Returns the adoption of a message that was moved here on both sides: what either did to its flags since `row`, its
    /// row elsewhere, counts. `meant` is what the file's name means.
    pub fn follow(&self, found: Adoption, row: &MessageRow, meant: FlagSet) -> Adoption {
        let Some(message) = self.remote.and_then(|remote| remote.messages.listed().get(&found.uid)) else {
            return found;
        };
        let entry = LocalEntry { flags: meant.clone(), ..found.entry.clone() };
        let flags = plan_flags(
            &row.flags,
            (&row.flags, &row.flags),
            &entry,
            Some(&message.flags),
            self.scan,
            &self.rules,
            &self.memory.letters,
        );
        Adoption { base: row.flags.clone(), flags, follows: Some((row.id, meant)), ..found }
    }

    /// Returns the flags with which a file is sent that was moved here and whose message can't be moved. `row` and
    /// `remote` are of where that is, `meant` is what the file's name means.
    pub fn carried(&self, row: &MessageRow, remote: Option<&FlagSet>, entry: &LocalEntry, meant: FlagSet) -> FlagSet {
        let entry = LocalEntry { flags: meant, ..entry.clone() };
        united_flags(&row.flags, &entry, remote, self.scan, &self.rules, &self.memory.letters)
    }

    /// Returns true if the baseline knows a file of this name here.
    pub fn knows(&self, unique: &UniqueName) -> bool {
        self.rows.iter().any(|row| row.unique.as_ref() == Some(unique)) || self.agreed.contains(self.scan, unique)
    }

    fn known_uids(&self) -> impl Iterator<Item = Uid> + '_ {
        self.rows.iter().map(|row| row.uid)
    }

    /// Returns the files that the baseline does not know, or not with the content that they have now.
    pub fn new_files(&self) -> impl Iterator<Item = (&UniqueName, &LocalEntry)> {
        let known: HashSet<&UniqueName> = self.rows.iter().filter_map(|row| row.unique.as_ref()).collect();
        let is_new = move |unique: &UniqueName| !known.contains(unique) || self.saves.replaced.contains_key(unique);
        self.agreed.others(self.scan).filter(move |(unique, _)| is_new(unique))
    }

    /// Returns the messages on the server that the baseline does not know.
    pub fn new_messages(&self) -> impl Iterator<Item = (Uid, &RemoteMessage)> {
        let known: UidSet = self.known_uids().collect();
        let listed = self.remote.into_iter().flat_map(|snapshot| snapshot.messages.listed());
        listed.map(|(uid, message)| (*uid, message)).filter(move |(uid, _)| !known.contains(*uid))
    }
}

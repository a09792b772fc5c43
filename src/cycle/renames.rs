//! Folders renamed on one side are renamed on the other, with all that is known of them: nothing is transferred.
//!
//! Nothing but the names on both sides says what is still to be done: a folder is recognised by what it is, so a run cut
//! short at any moment is taken up by the next. Only a maildir half moved would not be: it has an intent, which is
//! followed to its end before anything is listed. What can't be followed as a rename is followed message by message.

use std::collections::{BTreeMap, BTreeSet};

use super::{Run, Scene, role_of};
use crate::apply::{is_fatal, local_problem, mailbox_problem};
use crate::model::{MailboxId, MailboxName, MailboxRow, MessageHash, MessageRow, Role, Side, Uid, UidSet};
use crate::reconcile::mailboxes::{Fate, Folder};
use crate::reconcile::renames::{
    self, Rename, Step, Way, Whereabouts, candidates_here, candidates_there, carried, is_displaced_here,
    is_displaced_there, is_known, is_swap, is_that_mailbox, resemblance,
};
use crate::reconcile::report::PlanLine;
use crate::reconcile::snapshot::{RemoteMessages, RemoteRequest};
use crate::store::{Failure, Intent, Journal, LocalError, LocalErrorKind, LocalStore, Record, RemoteStore, Renaming};

/// How many messages' headers tell a mailbox from another that looks like it.
const SAMPLE: usize = 8;

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Takes maildirs the rest of the way to their new names that a run cut short left on it.
    pub(super) fn finish_renames(&mut self) -> Result<(), Failure> {
        if self.options.dry_run {
            return Ok(());
        }
        for (id, intent) in self.account.journal.intents()? {
            let Intent::Rename { mailbox, from, to } = intent else { continue };
            let mut records = vec![Record::Settled(id)];
            match self.account.local.rename(&from, &to) {
                Ok(()) => records.push(Record::LocalName(mailbox, to)),
                // It was not begun, or is in a state that only a look can tell.
                Err(error) if error.kind == LocalErrorKind::Item && self.is_whole(&from)? => {}
                Err(error) if error.kind == LocalErrorKind::Item && self.is_whole(&to)? => {
                    records.push(Record::LocalName(mailbox, to));
                }
                Err(error) => return Err(error.into()),
            }
            self.account.journal.commit(&records)?;
        }
        Ok(())
    }

    fn is_whole(&mut self, local: &MailboxName) -> Result<bool, LocalError> {
        Ok(self.account.local.list()?.maildirs.iter().any(|maildir| maildir.name == *local))
    }

    /// Follows renames on both sides, and lists again what has other names then.
    pub(super) async fn follow_renames(&mut self, scene: &mut Scene) -> Result<(), Failure> {
        let renames = self.find_renames(scene).await?;
        if renames.is_empty() {
            return Ok(());
        }
        if self.options.dry_run {
            return self.tell_renames(scene, &renames);
        }
        let done = self.rename_here(scene, &renames)?;
        self.record(&renames, &done)?;
        self.rename_there(scene, &renames).await?;
        self.list_again(scene).await
    }

    async fn list_again(&mut self, scene: &mut Scene) -> Result<(), Failure> {
        scene.listing = self.listing().await?;
        scene.maildirs = self.account.local.list()?;
        Ok(())
    }

    /// Finds the folders that have other names, or should have.
    async fn find_renames(&mut self, scene: &Scene) -> Result<Vec<Rename>, Failure> {
        let rows = self.account.journal.mailboxes()?;
        let mut search = Search { scene, rows: &rows, there: BTreeSet::new(), here: BTreeSet::new() };
        let known = rows.iter().filter(|row| is_known(row) && !row.name.is_inbox());
        let (doubtful, others): (Vec<_>, Vec<_>) = known.partition(|row| self.may_be_renamed(scene, row));
        let mut found = Vec::new();
        for row in doubtful {
            let there = self.find_there(&mut search, row, false).await?;
            found.push((row, there, self.find_here(&mut search, row, false)?));
        }
        let robbed =
            others.into_iter().filter(|row| search.there.contains(&row.name) || search.here.contains(&row.local));
        found.extend(robbed.map(|row| (row, Whereabouts::Stayed, Whereabouts::Stayed)));
        let mut renames = Vec::new();
        for (row, mut there, mut here) in found {
            // Whose place another has taken is elsewhere, though it does not look so.
            if there == Whereabouts::Stayed && search.there.contains(&row.name) {
                there = self.find_there(&mut search, row, true).await?;
            }
            if here == Whereabouts::Stayed && search.here.contains(&row.local) {
                here = self.find_here(&mut search, row, true)?;
            }
            renames.extend(self.decide(scene, row, &there, &here));
        }
        self.leave_conflicts(&rows, renames)
    }

    fn decide(&mut self, scene: &Scene, row: &MailboxRow, there: &Whereabouts, here: &Whereabouts) -> Option<Rename> {
        // Whatever becomes of the folder, what is elsewhere is not lost.
        if matches!((there, here), (Whereabouts::Moved(_), _) | (_, Whereabouts::Moved(_))) {
            self.elsewhere.insert(row.id);
        }
        let scope = &self.policy.scope;
        let role = |name: &MailboxName| role_of(scene, name);
        let local_name = |name: &MailboxName| scope.local_name(name, role);
        let server_name = |local: &MailboxName| {
            let name = scope.server_name(local, role, |role| holder(scene, role))?;
            scope.takes_part(&name, role(&name), true).then_some(name)
        };
        let found = renames::decide(row, there, here, local_name, server_name);
        found.filter(|rename| self.is_asked_for(row, rename))
    }

    /// Leaves out what would take the name of a folder that stays and that the baseline knows mail of.
    fn leave_conflicts(&mut self, rows: &[MailboxRow], mut renames: Vec<Rename>) -> Result<Vec<Rename>, Failure> {
        loop {
            let stays = |row: &&MailboxRow| renames.iter().all(|rename| rename.mailbox != row.id);
            let mut held = BTreeSet::new();
            for row in rows.iter().filter(stays).filter(|row| renames.iter().any(|one| *new_name(one) == row.name)) {
                let messages = self.account.journal.messages(row.id)?;
                held.extend(messages.iter().any(|message| message.unique.is_some()).then(|| row.name.clone()));
            }
            if held.is_empty() {
                return Ok(renames);
            }
            renames.retain(|rename| !held.contains(new_name(rename)));
        }
    }

    /// A folder in its place on both sides is not looked at.
    fn may_be_renamed(&self, scene: &Scene, row: &MailboxRow) -> bool {
        let role = role_of(scene, &row.name).or(row.role);
        let subscribed = scene.listing.mailboxes.get(&row.name).is_none_or(|listed| listed.subscribed);
        let takes_part = is_swap(&row.name) || self.policy.scope.takes_part(&row.name, role, subscribed);
        let elsewhere = self.policy.scope.local_name(&row.name, |name| role_of(scene, name)) != row.local;
        takes_part
            && (elsewhere
                || is_displaced_there(row, &scene.listing)
                || is_displaced_here(row, &scene.maildirs)
                || is_swap(&row.name))
    }

    /// A run over some folders only renames those of them.
    fn is_asked_for(&self, row: &MailboxRow, rename: &Rename) -> bool {
        self.is_named(&row.name) || self.is_named(new_name(rename))
    }

    async fn find_there(
        &mut self,
        search: &mut Search<'_>,
        row: &MailboxRow,
        displaced: bool,
    ) -> Result<Whereabouts, Failure> {
        let scene = search.scene;
        if !displaced && !is_displaced_there(row, &scene.listing) {
            return Ok(Whereabouts::Stayed);
        }
        let (certain, possible) = candidates_there(row, search.rows, &scene.listing, &self.policy.scope);
        let messages = self.account.journal.messages(row.id)?;
        let mut found = certain;
        for name in possible {
            if found.is_none() && !search.there.contains(&name) && self.is_it(row, &messages, &name).await? {
                found = Some(name);
            }
        }
        // Renumbered, it still is under its name.
        let is_listed = scene.listing.mailboxes.get(&row.name).is_some_and(|listed| listed.selectable);
        Ok(match found {
            Some(name) => {
                search.there.insert(name.clone());
                Whereabouts::Moved(name)
            }
            None if is_listed && !displaced => Whereabouts::Stayed,
            None => Whereabouts::Gone,
        })
    }

    /// Looks whether a mailbox is the one that a row speaks of.
    async fn is_it(&mut self, row: &MailboxRow, messages: &[MessageRow], name: &MailboxName) -> Result<bool, Failure> {
        let request = RemoteRequest { mailbox: name.clone(), since: None, known: UidSet::new() };
        match self.account.remote.observe(&[request]).await?.pop().map(|observed| observed.outcome) {
            Some(Ok(seen)) => {
                let whole = matches!(seen.messages, RemoteMessages::Full(_));
                let same = whole && Some(seen.uid_validity()) == row.uid_validity;
                Ok(same && is_that_mailbox(row, messages, &seen) && self.hold_the_same(row, messages, name).await?)
            }
            Some(Err(error)) if is_fatal(&error) => Err(error.into()),
            Some(Err(_)) | None => Ok(false),
        }
    }

    /// Looks at the headers of some messages: in mailboxes made at once and filled alike, numbers, sizes and dates may agree.
    async fn hold_the_same(
        &mut self,
        row: &MailboxRow,
        messages: &[MessageRow],
        name: &MailboxName,
    ) -> Result<bool, Failure> {
        let some = sample(messages);
        let Some(validity) = row.uid_validity.filter(|_| !some.is_empty()) else { return Ok(true) };
        let uids: UidSet = some.keys().copied().collect();
        match self.account.remote.identify(name, validity, &uids, false).await {
            Ok(found) => Ok(found.iter().all(|(uid, identity)| identity.message_id == some.get(uid).copied())),
            Err(error) if is_fatal(&error) => Err(error.into()),
            Err(_) => Ok(false),
        }
    }

    fn find_here(
        &mut self,
        search: &mut Search<'_>,
        row: &MailboxRow,
        displaced: bool,
    ) -> Result<Whereabouts, Failure> {
        let scene = search.scene;
        if !displaced && !is_displaced_here(row, &scene.maildirs) {
            return Ok(Whereabouts::Stayed);
        }
        let messages = self.account.journal.messages(row.id)?;
        let is_listed = scene.maildirs.maildirs.iter().any(|maildir| maildir.name == row.local);
        if !displaced && is_listed && self.likeness(row, &messages, &row.local)?.is_some() {
            return Ok(Whereabouts::Stayed);
        }
        let mut best: Option<(bool, usize, MailboxName)> = None;
        for maildir in candidates_here(row, search.rows, &scene.maildirs) {
            if search.here.contains(&maildir.name) {
                continue;
            }
            let Some(likeness) = self.likeness(row, &messages, &maildir.name)? else { continue };
            let this = (row.directory == Some(maildir.directory), likeness, maildir.name.clone());
            best = best.filter(|other| (other.0, other.1) >= (this.0, this.1)).or(Some(this));
        }
        Ok(match best {
            Some((_, _, name)) => {
                search.here.insert(name.clone());
                Whereabouts::Moved(name)
            }
            None if is_listed && !displaced => Whereabouts::Stayed,
            None => Whereabouts::Gone,
        })
    }

    fn likeness(
        &mut self,
        row: &MailboxRow,
        messages: &[MessageRow],
        local: &MailboxName,
    ) -> Result<Option<usize>, Failure> {
        match self.account.local.observe(local, &row.letters) {
            Ok(seen) => Ok(resemblance(row, messages, &seen)),
            Err(error) if error.kind == LocalErrorKind::Item => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Renames maildirs; returns where those are that were to be.
    fn rename_here(&mut self, scene: &Scene, renames: &[Rename]) -> Result<BTreeMap<MailboxId, MailboxName>, Failure> {
        let wanted = renames.iter().filter_map(|rename| match &rename.way {
            Way::Here(to) => Some(Step { mailbox: rename.mailbox, from: rename.local.clone(), to: to.clone() }),
            Way::There(_) | Way::Neither => None,
        });
        let wanted: Vec<Step> = wanted.collect();
        let taken = scene.maildirs.maildirs.iter().map(|maildir| maildir.name.clone()).collect();
        let ends: BTreeMap<_, _> = wanted.iter().map(|step| (step.mailbox, step.to.clone())).collect();
        let (steps, _) = renames::order(wanted, &taken);
        let (mut places, mut failed) = (BTreeMap::new(), BTreeSet::new());
        for step in steps.into_iter().filter(|step| !step.to.is_inbox()) {
            if failed.contains(&step.mailbox) || failed_target(&places, &failed, &step, renames) {
                failed.insert(step.mailbox);
                continue;
            }
            match self.rename_maildir(&step)? {
                true => drop(places.insert(step.mailbox, step.to)),
                false => drop(failed.insert(step.mailbox)),
            }
        }
        self.report.local.folders_renamed +=
            places.iter().filter(|(mailbox, place)| ends.get(mailbox) == Some(place)).count() as u64;
        Ok(places)
    }

    /// Returns false if it could not be renamed.
    fn rename_maildir(&mut self, step: &Step) -> Result<bool, Failure> {
        let Step { mailbox, from, to } = step.clone();
        let intents = self.account.journal.begin(&[Intent::Rename { mailbox, from: from.clone(), to: to.clone() }])?;
        let settled = intents.into_iter().map(Record::Settled);
        match self.account.local.rename(&from, &to) {
            Ok(()) => {
                let records: Vec<Record> = settled.chain([Record::LocalName(mailbox, to)]).collect();
                self.account.journal.commit(&records)?;
                Ok(true)
            }
            // A maildir half renamed is neither here nor there.
            Err(error) if error.kind == LocalErrorKind::Item && self.is_whole(&from)? => {
                self.report.problem(local_problem(&from, None, &error));
                self.account.journal.commit(&settled.collect::<Vec<_>>())?;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Records the names of the folders whose names on both sides belong together now.
    fn record(&mut self, renames: &[Rename], places: &BTreeMap<MailboxId, MailboxName>) -> Result<(), Failure> {
        let named = renames.iter().filter_map(|Rename { mailbox, name, local, way }| {
            let local = match way {
                Way::Neither => local.clone(),
                Way::Here(to) => places.get(mailbox).filter(|place| *place == to)?.clone(),
                Way::There(_) => return None,
            };
            Some(Renaming { mailbox: *mailbox, name: name.clone(), local })
        });
        self.name(named.collect())
    }

    /// Gives mailboxes their names in the database. A row of such a name that says nothing of any mail makes room.
    fn name(&mut self, named: Vec<Renaming>) -> Result<(), Failure> {
        if named.is_empty() {
            return Ok(());
        }
        let rows = self.account.journal.mailboxes()?;
        let stays = |row: &&MailboxRow| named.iter().all(|one| one.mailbox != row.id);
        let in_the_way = rows.iter().filter(stays).filter(|row| named.iter().any(|one| one.name == row.name));
        let mut records: Vec<Record> = in_the_way.map(|row| Record::ForgetMailbox(row.id)).collect();
        records.push(Record::Renamed(named));
        Ok(self.account.journal.commit(&records)?)
    }

    /// Renames mailboxes, those above others first: they take these along.
    async fn rename_there(&mut self, scene: &mut Scene, renames: &[Rename]) -> Result<(), Failure> {
        let wanted = renames.iter().filter_map(|rename| match &rename.way {
            Way::There(to) => Some(Step { mailbox: rename.mailbox, from: rename.name.clone(), to: to.clone() }),
            Way::Here(_) | Way::Neither => None,
        });
        let selectable = scene.listing.mailboxes.iter().filter(|(_, listed)| listed.selectable);
        let taken = selectable.map(|(name, _)| name.clone()).collect();
        let (mut steps, _) = renames::order(wanted.collect(), &taken);
        steps.reverse();
        let mut done: Vec<Step> = Vec::new();
        while let Some(step) = steps.pop() {
            let now = carried(&step.from, &done);
            if now != step.from {
                scene.listing = self.listing().await?;
            }
            let is_there = scene.listing.mailboxes.get(&step.to).is_some_and(|listed| listed.selectable);
            if now == step.to && is_there {
                self.note_renamed_there(renames, &step)?;
                continue;
            }
            // Not every server takes along what lies below.
            let from = if now == step.to { step.from.clone() } else { now };
            match self.account.remote.rename(&from, &step.to, &subscribed(scene, &from)).await {
                Ok(()) => {
                    done.push(Step { from, ..step.clone() });
                    self.note_renamed_there(renames, &step)?;
                }
                Err(error) if is_fatal(&error) => return Err(error.into()),
                Err(error) => {
                    self.report.problem(mailbox_problem(&step.from, &error));
                    steps.retain(|other| other.mailbox != step.mailbox);
                }
            }
        }
        Ok(())
    }

    fn note_renamed_there(&mut self, renames: &[Rename], step: &Step) -> Result<(), Failure> {
        let Some(rename) = renames.iter().find(|rename| rename.mailbox == step.mailbox) else { return Ok(()) };
        let rows = self.account.journal.mailboxes()?;
        let before = rows.iter().find(|row| row.id == step.mailbox).map(|row| row.local.clone());
        let arrived = rename.way == Way::There(step.to.clone());
        self.report.remote.folders_renamed += u64::from(arrived);
        let local = if arrived { Some(rename.local.clone()) } else { before };
        let named = local.map(|local| Renaming { mailbox: step.mailbox, name: step.to.clone(), local });
        self.name(named.into_iter().collect())
    }

    /// Says in a dry run what would be renamed; the folders are looked at under the names that they have.
    fn tell_renames(&mut self, scene: &mut Scene, renames: &[Rename]) -> Result<(), Failure> {
        let mut named = Vec::new();
        for Rename { mailbox, name, local, way } in renames {
            let (side, counts, to) = match way {
                Way::Here(to) => (Side::Local, &mut self.report.local, to),
                Way::There(to) => (Side::Remote, &mut self.report.remote, to),
                Way::Neither => {
                    named.push(Renaming { mailbox: *mailbox, name: name.clone(), local: local.clone() });
                    continue;
                }
            };
            counts.folders_renamed += 1;
            let (side, folder, detail) = (Some(side), name.clone(), Some(to.to_string()));
            self.report.plan.push(PlanLine { side, op: "rename-folder", folder, uid: None, path: None, detail });
            named.push(Renaming { mailbox: *mailbox, name: name.clone(), local: local.clone() });
            let role = role_of(scene, name);
            let (name, local) = (name.clone(), local.clone());
            scene.to_be_renamed.push(Folder { name, local, role, fate: Fate::Paired });
        }
        self.name(named)
    }
}

/// A search for folders that have other names.
struct Search<'a> {
    scene: &'a Scene,
    rows: &'a [MailboxRow],
    /// The server's names under which one was found,
    there: BTreeSet<MailboxName>,
    /// and the Maildir's.
    here: BTreeSet<MailboxName>,
}

/// Returns a few messages that have a Message-ID, from all parts of a mailbox.
fn sample(messages: &[MessageRow]) -> BTreeMap<Uid, MessageHash> {
    let named: Vec<_> = messages.iter().filter_map(|message| Some((message.uid, message.message_id?))).collect();
    let step = named.len().div_ceil(SAMPLE).max(1);
    named.into_iter().rev().step_by(step).collect()
}

/// Returns the server's name that a folder will have.
fn new_name(rename: &Rename) -> &MailboxName {
    match &rename.way {
        Way::There(name) => name,
        Way::Here(_) | Way::Neither => &rename.name,
    }
}

/// Returns those of a mailbox and what lies below it that are subscribed to.
fn subscribed(scene: &Scene, from: &MailboxName) -> Vec<MailboxName> {
    let listed = scene.listing.mailboxes.iter().filter(|(_, listed)| listed.subscribed);
    listed.map(|(name, _)| name).filter(|name| *name == from || name.is_below(from)).cloned().collect()
}

/// Returns true if the name that a maildir is to get is still that of another which could not be renamed.
fn failed_target(
    places: &BTreeMap<MailboxId, MailboxName>,
    failed: &BTreeSet<MailboxId>,
    step: &Step,
    renames: &[Rename],
) -> bool {
    let held = |rename: &Rename| places.get(&rename.mailbox).unwrap_or(&rename.local) == &step.to;
    renames.iter().any(|rename| failed.contains(&rename.mailbox) && held(rename))
}

fn holder(scene: &Scene, role: Role) -> Option<MailboxName> {
    let holders = scene.listing.mailboxes.iter().find(|(_, listed)| listed.role == Some(role));
    holders.map(|(name, _)| name.clone())
}

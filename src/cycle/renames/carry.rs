//! Carries renames out, on one side after the other.

use std::collections::{BTreeMap, BTreeSet};

use crate::apply::{is_fatal, local_problem, mailbox_problem};
use crate::cycle::{Run, Scene};
use crate::model::{MailboxId, MailboxName, MailboxRow};
use crate::reconcile::renames::{self, Rename, Step, Way, carried, is_swap};
use crate::store::{Failure, Intent, Journal, LocalErrorKind, LocalStore, Record, RemoteStore, Renaming};

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Renames maildirs; returns where those are that were to be.
    pub(super) fn rename_here(
        &mut self,
        scene: &Scene,
        renames: &[Rename],
    ) -> Result<BTreeMap<MailboxId, MailboxName>, Failure> {
        let (steps, _) = steps_here(scene, renames);
        let (mut places, mut failed) = (BTreeMap::new(), BTreeSet::new());
        for step in steps.into_iter().filter(|step| !step.to.is_inbox()) {
            if failed.contains(&step.mailbox) || failed_target(&places, &failed, &step, renames) {
                failed.insert(step.mailbox);
                self.stuck.extend([step.from, step.to]);
                self.unrenamed.insert(step.mailbox);
                continue;
            }
            match self.rename_maildir(&step)? {
                true => drop(places.insert(step.mailbox, step.to)),
                false => drop(failed.insert(step.mailbox)),
            }
        }
        let has_arrived =
            |rename: &&Rename| matches!(&rename.way, Way::Here(to) if places.get(&rename.mailbox) == Some(to));
        self.report.local.folders_renamed += renames.iter().filter(has_arrived).count() as u64;
        Ok(places)
    }

    /// Returns false if it could not be renamed.
    fn rename_maildir(&mut self, step: &Step) -> Result<bool, Failure> {
        let Step { mailbox, from, to } = step.clone();
        let intents = self.account.journal.begin(&[Intent::Rename { mailbox, from: from.clone(), to: to.clone() }])?;
        let settled = intents.into_iter().map(Record::Settled);
        match self.account.local.rename(&from, &to) {
            Ok(false) => {
                self.account.journal.commit(&settled.collect::<Vec<_>>())?;
                Ok(false)
            }
            Ok(true) => {
                let records: Vec<Record> = settled.chain([Record::LocalName(mailbox, to)]).collect();
                self.account.journal.commit(&records)?;
                Ok(true)
            }
            // A maildir half renamed is neither here nor there.
            Err(error) if error.kind == LocalErrorKind::Item && self.is_whole(&from)? => {
                self.report.problem(local_problem(&from, None, &error));
                self.account.journal.commit(&settled.collect::<Vec<_>>())?;
                self.stuck.extend([from, to]);
                self.unrenamed.insert(mailbox);
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Records the names of the folders whose names on both sides belong together now.
    pub(super) fn record(
        &mut self,
        renames: &[Rename],
        places: &BTreeMap<MailboxId, MailboxName>,
    ) -> Result<(), Failure> {
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
    pub(super) fn name(&mut self, named: Vec<Renaming>) -> Result<(), Failure> {
        if named.is_empty() {
            return Ok(());
        }
        // What has their names now is theirs.
        for one in &named {
            self.robbed.remove(&one.mailbox);
            self.elsewhere.remove(&one.mailbox);
            self.elsewhere_there.remove(&one.mailbox);
        }
        let rows = self.account.journal.mailboxes()?;
        let stays = |row: &&MailboxRow| named.iter().all(|one| one.mailbox != row.id);
        let in_the_way = rows.iter().filter(stays).filter(|row| named.iter().any(|one| one.name == row.name));
        let mut records: Vec<Record> = in_the_way.map(|row| Record::ForgetMailbox(row.id)).collect();
        records.push(Record::Renamed(named));
        Ok(self.account.journal.commit(&records)?)
    }

    /// Renames mailboxes, those above others first: they take these along.
    pub(super) async fn rename_there(&mut self, scene: &mut Scene, renames: &[Rename]) -> Result<(), Failure> {
        self.note_put_aside(renames)?;
        let (mut steps, _) = steps_there(scene, renames);
        steps.reverse();
        let mut done: Vec<Step> = Vec::new();
        while let Some(step) = steps.pop() {
            let now = carried(&step.from, &done);
            // What was renamed before has its subscription under the name that it got.
            if now != step.from || done.iter().any(|before| before.to == step.from) {
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
                    leave_out(&mut steps, step);
                    if self.put_back(scene, renames, &done).await? {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Gives folders their names back that were put aside for one that could not be renamed: what lies below them is
    /// known by their names, and would be looked for below those of others. Returns false if none was put aside.
    async fn put_back(&mut self, scene: &mut Scene, renames: &[Rename], done: &[Step]) -> Result<bool, Failure> {
        let went_on = |aside: &Step| done.iter().any(|step| step.mailbox == aside.mailbox && step.from == aside.to);
        let aside: Vec<&Step> = done.iter().filter(|step| is_swap(&step.to) && !went_on(step)).collect();
        for Step { mailbox, from, to } in &aside {
            let back = Step { mailbox: *mailbox, from: to.clone(), to: from.clone() };
            scene.listing = self.listing().await?;
            match self.account.remote.rename(&back.from, &back.to, &subscribed(scene, to)).await {
                Ok(()) => self.note_renamed_there(renames, &back)?,
                Err(error) if is_fatal(&error) => return Err(error.into()),
                // Another may have its name by now: the next run goes on with it.
                Err(error) => self.report.problem(mailbox_problem(&back.from, &error)),
            }
        }
        Ok(!aside.is_empty())
    }

    /// A run cut short may have led folders apart on the server and not recorded it. Who has the other name next must
    /// not find it taken: what is known of the one put aside would be let go of.
    fn note_put_aside(&mut self, renames: &[Rename]) -> Result<(), Failure> {
        let rows = self.account.journal.mailboxes()?;
        let aside = renames.iter().filter(|rename| matches!(rename.way, Way::There(_)) && is_swap(&rename.name));
        let named = aside.filter_map(|rename| {
            let row = rows.iter().find(|row| row.id == rename.mailbox && row.name != rename.name)?;
            Some(Renaming { mailbox: row.id, name: rename.name.clone(), local: row.local.clone() })
        });
        self.name(named.collect())
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
}

/// Returns the steps by which maildirs get their names, and those that would take one which somebody else keeps.
pub(super) fn steps_here(scene: &Scene, renames: &[Rename]) -> (Vec<Step>, Vec<Step>) {
    let wanted = renames.iter().filter_map(|rename| match &rename.way {
        Way::Here(to) => Some(Step { mailbox: rename.mailbox, from: rename.local.clone(), to: to.clone() }),
        Way::There(_) | Way::Neither => None,
    });
    let taken = scene.maildirs.maildirs.iter().map(|maildir| maildir.name.clone()).collect();
    renames::order(wanted.collect(), &taken)
}

/// Returns the same of mailboxes.
pub(super) fn steps_there(scene: &Scene, renames: &[Rename]) -> (Vec<Step>, Vec<Step>) {
    let wanted = renames.iter().filter_map(|rename| match &rename.way {
        Way::There(to) => Some(Step { mailbox: rename.mailbox, from: rename.name.clone(), to: to.clone() }),
        Way::Here(_) | Way::Neither => None,
    });
    let selectable = scene.listing.mailboxes.iter().filter(|(_, listed)| listed.selectable);
    let taken = selectable.map(|(name, _)| name.clone()).collect();
    renames::order(wanted.collect(), &taken)
}

/// Takes out of the steps those of a mailbox that was refused one, and those to the name that it keeps. Somebody else may
/// have renamed it in that moment, and the server would give its name away: what is known under it would be let go of.
fn leave_out(steps: &mut Vec<Step>, refused: Step) {
    let mut kept = vec![refused];
    while let Some(one) = kept.pop() {
        kept.extend(steps.extract_if(.., |other| other.mailbox == one.mailbox || other.to == one.from));
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

//! Flags: stored on the server by sets of equal changes, put on file names one by one, then recorded.
//!
//! After a crash both sides are observed again, and the merge finds what is left to do. The intents are for a flag changed
//! back meanwhile where it came from: without them the other side's would count as the newer.

use std::collections::{BTreeMap, BTreeSet};

use super::refusal::left_undone;
use super::{Apply, Ground, StoredAhead, local_problem};
use crate::model::{Flag, FlagDelta, FlagSet, Keyword, KeywordLetters, Side, Uid, UidSet};
use crate::reconcile::guard;
use crate::reconcile::plan::{FlagChange, MailboxPlan};
use crate::reconcile::report::Event;
use crate::store::{
    Edit, Failure, FlagChanges, Intent, Journal, LocalErrorKind, LocalStore, Record, RemoteStore, StoredFlags,
};

impl<R: RemoteStore, L: LocalStore, J: Journal> Apply<'_, R, L, J> {
    pub(super) async fn change_flags(&mut self, plan: &MailboxPlan) -> Result<(), Failure> {
        let ahead = self.stored.remove(&plan.mailbox);
        self.bring_over(plan, &plan.flags, true, ahead).await
    }

    /// Changes flags on the server in all mailboxes at once, with their intents. What came of it is recorded when the turn
    /// of each comes.
    pub(super) async fn store_ahead(&mut self, plans: &[MailboxPlan]) -> Result<(), Failure> {
        let (mut all, mut intents) = (Vec::new(), Vec::new());
        for plan in plans {
            let changes = equal_changes(&plan.flags, Side::Remote);
            let Some(ground) = self.ground(plan).filter(|_| !changes.is_empty()) else { continue };
            // Where there are no letters to be had nothing is to be stored.
            if self.letters_for(plan, added(&plan.flags)).is_ok() {
                let own = self.intents(plan, &plan.flags);
                let changes = FlagChanges { mailbox: plan.name.clone(), validity: ground.uid_validity, changes };
                all.push((plan.mailbox, own.len(), changes));
                intents.extend(own);
            }
        }
        if all.is_empty() {
            return Ok(());
        }
        let mut intents = self.journal.begin(&intents)?.into_iter();
        let (ids, orders): (Vec<_>, Vec<FlagChanges>) =
            all.into_iter().map(|(mailbox, count, changes)| ((mailbox, count), changes)).unzip();
        let mut stored = self.remote.store_all(&orders).await.into_iter();
        for (mailbox, count) in ids {
            self.after(mailbox).remote_changed = true;
            self.stored.insert(mailbox, (intents.by_ref().take(count).collect(), stored.next()));
        }
        Ok(())
    }

    /// Brings flags over in both directions and records what both sides have then. Where a `\Deleted` counts as a loss it
    /// is recorded as one, so that many small losses add up.
    pub(super) async fn bring_over(
        &mut self,
        plan: &MailboxPlan,
        changes: &[FlagChange],
        counts: bool,
        ahead: Option<StoredAhead>,
    ) -> Result<(), Failure> {
        if changes.is_empty() {
            return Ok(());
        }
        // First: a maildir that can't be given letters must not keep what the server stored from being recorded.
        let letters = self.letters_for(plan, added(changes))?;
        let (intents, stored) = match ahead {
            Some(ahead) => ahead,
            None => (self.journal.begin(&self.intents(plan, changes))?, None),
        };
        let stored = match stored {
            Some(stored) => stored?,
            None => self.store(plan, changes).await?,
        };
        let (mut records, mut refused) = (Vec::new(), Vec::new());
        let mut lost = [(Side::Local, 0), (Side::Remote, 0)];
        for change in changes {
            let undone = match change.flags.to_remote.is_empty() {
                true => Some(FlagDelta::default()),
                false => stored.now.get(&change.uid).map(|actual| left_undone(&change.flags.to_remote, actual)),
            };
            let Some(undone) = undone else {
                self.after(plan.mailbox).overtaken = true;
                continue;
            };
            let renamed = self.rename(plan, change, &letters)?;
            let stored_some = !change.flags.to_remote.difference(&undone).is_empty();
            // What the server stored was on the name that was looked at. Unless it counts as agreed on, whatever became
            // of that name, the next look takes it for others' doing and undoes what was done here since.
            if renamed || stored_some {
                records.push(Record::Flags(change.row, agreed(change, &undone, renamed)));
            }
            for (side, count) in &mut lost {
                let brought_over = match side {
                    Side::Local => !undone.add.has(Flag::Deleted),
                    Side::Remote => renamed,
                };
                *count += u64::from(brought_over && guard::deletes(change, *side));
            }
            self.report.remote.flags += u64::from(stored_some);
            refused.extend((!undone.is_empty()).then_some((change, undone)));
        }
        let counts = counts && guard::is_watched(plan) && !self.terms.accepted;
        let lost = lost.into_iter().filter(|(_, count)| counts && *count > 0);
        records.extend(lost.map(|(side, count)| Record::Lost(plan.mailbox, side, count, self.terms.now)));
        records.extend(self.refused_flags(plan, &refused, stored.refusal.as_deref())?);
        // Names count as agreed on, also those that a run renamed which died before it made them durable: lost later,
        // they would look like flags taken off.
        if !records.is_empty() {
            self.local.sync(&plan.local)?;
        }
        records.extend(intents.into_iter().map(Record::Settled));
        self.note(records)?;
        (self.progress)(Event::Changed(changes.len() as u64));
        Ok(())
    }

    fn intents(&self, plan: &MailboxPlan, changes: &[FlagChange]) -> Vec<Intent> {
        let Some(Ground { uid_validity, .. }) = self.ground(plan) else { return Vec::new() };
        let intent =
            |side, (difference, uids)| Intent::Flags { mailbox: plan.mailbox, uid_validity, uids, side, difference };
        let of = |side| equal_changes(changes, side).into_iter().map(move |set| intent(side, set));
        of(Side::Remote).chain(of(Side::Local)).collect()
    }

    async fn store(&mut self, plan: &MailboxPlan, changes: &[FlagChange]) -> Result<StoredFlags, Failure> {
        let sets = equal_changes(changes, Side::Remote);
        let Some(ground) = self.ground(plan).filter(|_| !sets.is_empty()) else {
            return Ok(StoredFlags::default());
        };
        self.after(plan.mailbox).remote_changed = true;
        Ok(self.remote.store_flags(&plan.name, ground.uid_validity, &sets).await?)
    }

    /// Returns true if the file's name shows what it should. One that can't be renamed is reported and left alone.
    fn rename(&mut self, plan: &MailboxPlan, change: &FlagChange, letters: &KeywordLetters) -> Result<bool, Failure> {
        if change.flags.to_local.is_empty() {
            return Ok(true);
        }
        self.after(plan.mailbox).local_changed = true;
        match self.local.set_flags(&plan.local, &change.unique, &change.entry, &change.flags.to_local, letters) {
            Ok(Edit::Done(())) => {
                self.report.local.flags += 1;
                return Ok(true);
            }
            Ok(Edit::Changed) => self.after(plan.mailbox).overtaken = true,
            Err(error) if error.kind == LocalErrorKind::Item => {
                self.after(plan.mailbox).failed = true;
                self.report.problem(local_problem(&plan.name, Some(change.unique.to_string()), &error));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(false)
    }

    /// Makes sure that the keywords about to be put on names have letters, and notes the map.
    pub(super) fn letters_for<'f>(
        &mut self,
        plan: &MailboxPlan,
        flags: impl Iterator<Item = &'f FlagSet>,
    ) -> Result<KeywordLetters, Failure> {
        let known = self.letters(plan);
        let new: BTreeSet<Keyword> = flags
            .flat_map(|set| &set.keywords)
            .filter(|keyword| !keyword.is_forwarded() && known.letter(keyword).is_none())
            .cloned()
            .collect();
        if new.is_empty() {
            return Ok(known);
        }
        let letters = self.local.assign_letters(&plan.local, &known, &new)?;
        self.after(plan.mailbox).local_changed = true;
        self.letters.insert(plan.mailbox, letters.clone());
        Ok(letters)
    }
}

fn added(changes: &[FlagChange]) -> impl Iterator<Item = &FlagSet> {
    changes.iter().map(|change| &change.flags.to_local.add)
}

/// Returns what is to change on one side, and the messages each change is for.
fn equal_changes(changes: &[FlagChange], side: Side) -> Vec<(FlagDelta, UidSet)> {
    let mut sets: BTreeMap<&FlagDelta, Vec<Uid>> = BTreeMap::new();
    for change in changes {
        let difference = match side {
            Side::Remote => &change.flags.to_remote,
            Side::Local => &change.flags.to_local,
        };
        if !difference.is_empty() {
            sets.entry(difference).or_default().push(change.uid);
        }
    }
    sets.into_iter().map(|(difference, uids)| (difference.clone(), uids.into_iter().collect())).collect()
}

/// What the server says it has now decides, as far as our change goes; others' changes wait for the next look. What a
/// name was to be given or rid of and was not is not agreed on: it stays a change of the server.
fn agreed(change: &FlagChange, undone: &FlagDelta, renamed: bool) -> FlagSet {
    let agreed = undone.undo(&change.flags.agreed);
    match renamed {
        true => agreed,
        false => change.flags.to_local.undo(&agreed),
    }
}

//! Removals from the Maildir: into the recoverable trash first, durably, then away by exact name.

use std::collections::BTreeMap;

use tokio::task::yield_now;

use super::{Aftermath, Terms, local_problem, mailbox_done};
use crate::model::{MailboxId, MailboxName, Side};
use crate::reconcile::guard::{is_news, is_watched};
use crate::reconcile::plan::{LocalRemoval, MailboxPlan};
use crate::reconcile::policy::KeepDeleted;
use crate::reconcile::report::{Event, Report};
use crate::store::{Edit, Failure, Intent, IntentId, Journal, LocalError, LocalErrorKind, LocalStore, Record};

/// What it takes to remove files.
pub(super) struct LocalRemovals<'a, L, J> {
    pub(super) local: &'a mut L,
    pub(super) journal: &'a mut J,
    pub(super) report: &'a mut Report,
    pub(super) progress: &'a dyn Fn(Event),
    pub(super) terms: &'a Terms,
    pub(super) aftermath: &'a mut BTreeMap<MailboxId, Aftermath>,
}

impl<L: LocalStore, J: Journal> LocalRemovals<'_, L, J> {
    /// Removes files from all maildirs together: what was made durable one after the other costs a journal commit of the
    /// file system each. Between the maildirs others get their turn, so that no server waits for long.
    pub(super) async fn carry_out(&mut self, plans: &[MailboxPlan]) -> Result<(), Failure> {
        let kept = self.keep(plans).await?;
        let mut begun = self.begin_removals(&kept)?;
        let mut gone: Vec<(&MailboxPlan, Vec<&LocalRemoval>)> = Vec::new();
        for (plan, removals) in kept {
            self.after(plan.mailbox).local_changed = true;
            let removed = self.unlink(plan, removals)?;
            gone.push((plan, removed));
            yield_now().await;
        }
        let mut records = Vec::new();
        let maildirs: Vec<&MailboxName> = gone.iter().map(|(plan, _)| &plan.local).collect();
        let synced = self.local.sync_all(&maildirs);
        for ((plan, removals), synced) in gone.into_iter().zip(synced) {
            if synced.is_ok() {
                records.extend(self.removed(plan, &removals));
                records.extend(begun.remove(&plan.mailbox).into_iter().flatten().map(Record::Settled));
            }
            mailbox_done(self.report, self.aftermath, plan, synced.map_err(Failure::from))?;
        }
        Ok(self.journal.commit(&records)?)
    }

    fn after(&mut self, mailbox: MailboxId) -> &mut Aftermath {
        self.aftermath.entry(mailbox).or_default()
    }

    /// Journals the removals of which a run cut short must not forget that they are no user's.
    fn begin_removals(
        &mut self,
        kept: &[(&MailboxPlan, Vec<&LocalRemoval>)],
    ) -> Result<BTreeMap<MailboxId, Vec<IntentId>>, Failure> {
        let displaced = kept.iter().filter(|(plan, _)| plan.displaced);
        let removal = |mailbox, one: &LocalRemoval| Intent::Remove { mailbox, unique: one.unique.clone() };
        let intents: Vec<Intent> =
            displaced.flat_map(|(plan, all)| all.iter().map(|one| removal(plan.mailbox, one))).collect();
        let mut begun: BTreeMap<MailboxId, Vec<IntentId>> = BTreeMap::new();
        if !intents.is_empty() {
            for (intent, id) in intents.iter().zip(self.journal.begin(&intents)?) {
                begun.entry(intent.mailbox()).or_default().push(id);
            }
        }
        Ok(begun)
    }

    fn unlink<'p>(
        &mut self,
        plan: &MailboxPlan,
        removals: Vec<&'p LocalRemoval>,
    ) -> Result<Vec<&'p LocalRemoval>, Failure> {
        let mut gone = Vec::new();
        for removal in removals {
            let LocalRemoval { unique, entry, .. } = removal;
            let unlinked = self.local.unlink(&plan.local, unique, entry, plan.unchanged.get(unique).copied());
            match self.one_by_one(plan, removal, unlinked)? {
                Edit::Done(()) => gone.push(removal),
                Edit::Changed => self.after(plan.mailbox).overtaken = true,
            }
        }
        Ok(gone)
    }

    /// Returns what to record of removed files.
    fn removed(&mut self, plan: &MailboxPlan, removals: &[&LocalRemoval]) -> Vec<Record> {
        let gone = removals.len() as u64;
        self.report.local.removed += gone;
        (self.progress)(Event::Changed(gone));
        let mut records: Vec<Record> = removals.iter().map(|removal| Record::Forget(removal.row)).collect();
        // A message that was flagged `\Deleted` before must not count twice.
        let lost = removals.iter().filter(|removal| is_news(removal)).count() as u64;
        if lost > 0 && !self.terms.accepted && is_watched(plan) {
            records.push(Record::Lost(plan.mailbox, Side::Remote, lost, self.terms.now));
        }
        records
    }

    /// A file that can't be touched is reported and stays; the others still go.
    fn one_by_one<T>(
        &mut self,
        plan: &MailboxPlan,
        removal: &LocalRemoval,
        done: Result<Edit<T>, LocalError>,
    ) -> Result<Edit<T>, Failure> {
        match done {
            Err(error) if error.kind == LocalErrorKind::Item => {
                self.after(plan.mailbox).failed = true;
                self.report.problem(local_problem(&plan.name, Some(removal.unique.to_string()), &error));
                Ok(Edit::Changed)
            }
            done => Ok(done?),
        }
    }

    /// Links the files into the recoverable trash and records them there; returns those that may go now.
    async fn keep<'p>(
        &mut self,
        plans: &'p [MailboxPlan],
    ) -> Result<Vec<(&'p MailboxPlan, Vec<&'p LocalRemoval>)>, Failure> {
        let busy = plans.iter().filter(|plan| !plan.remove_local.is_empty());
        if self.terms.keep == KeepDeleted::None {
            return Ok(busy.map(|plan| (plan, plan.remove_local.iter().collect())).collect());
        }
        let (mut all, mut index) = (Vec::new(), Vec::new());
        for plan in busy {
            let mut safe = Vec::new();
            for removal in &plan.remove_local {
                let kept = self.local.keep(&plan.local, &removal.unique, &removal.entry, self.terms.now);
                match self.one_by_one(plan, removal, kept)? {
                    Edit::Done(trashed) => {
                        safe.push(removal);
                        index.push(Record::Kept(plan.mailbox, trashed));
                    }
                    Edit::Changed => self.after(plan.mailbox).overtaken = true,
                }
            }
            all.push((plan, safe));
            yield_now().await;
        }
        if !index.is_empty() {
            self.local.sync_kept()?;
        }
        self.journal.commit(&index)?;
        Ok(all)
    }
}

//! Removals from the Maildir: into the recoverable trash first, durably, then away by exact name.

use super::{Apply, local_problem};
use crate::model::Side;
use crate::reconcile::guard::{is_news, is_watched};
use crate::reconcile::plan::{LocalRemoval, MailboxPlan};
use crate::reconcile::policy::KeepDeleted;
use crate::reconcile::report::Event;
use crate::store::{Edit, Failure, Journal, LocalError, LocalErrorKind, LocalStore, Record, RemoteStore};

impl<R: RemoteStore, L: LocalStore, J: Journal> Apply<'_, R, L, J> {
    pub(super) fn remove_locally(&mut self, plan: &MailboxPlan) -> Result<(), Failure> {
        if plan.remove_local.is_empty() {
            return Ok(());
        }
        self.after(plan.mailbox).local_changed = true;
        let kept = self.keep(plan)?;
        let (mut records, mut lost) = (Vec::new(), 0);
        for removal in kept {
            let unlinked = self.local.unlink(
                &plan.local,
                &removal.unique,
                &removal.entry,
                plan.unchanged.get(&removal.unique).copied(),
            );
            match self.one_by_one(plan, removal, unlinked)? {
                Edit::Done(()) => {
                    records.push(Record::Forget(removal.row));
                    lost += u64::from(is_news(removal));
                }
                Edit::Changed => self.after(plan.mailbox).overtaken = true,
            }
        }
        self.local.sync(&plan.local)?;
        let gone = records.len() as u64;
        // A message that was flagged `\Deleted` before must not count twice.
        if lost > 0 && !self.terms.accepted && is_watched(plan) {
            records.push(Record::Lost(plan.mailbox, Side::Remote, lost, self.terms.now));
        }
        self.commit(&records)?;
        self.report.local.removed += gone;
        (self.progress)(Event::Changed(gone));
        Ok(())
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
    fn keep<'p>(&mut self, plan: &'p MailboxPlan) -> Result<Vec<&'p LocalRemoval>, Failure> {
        if self.terms.keep == KeepDeleted::None {
            return Ok(plan.remove_local.iter().collect());
        }
        let (mut safe, mut index) = (Vec::new(), Vec::new());
        for removal in &plan.remove_local {
            let kept = self.local.keep(&plan.local, &removal.unique, &removal.entry, self.terms.now);
            match self.one_by_one(plan, removal, kept)? {
                Edit::Done(trashed) => {
                    safe.push(removal);
                    index.push(Record::Kept(trashed));
                }
                Edit::Changed => self.after(plan.mailbox).overtaken = true,
            }
        }
        self.local.sync_kept()?;
        self.commit(&index)?;
        Ok(safe)
    }
}

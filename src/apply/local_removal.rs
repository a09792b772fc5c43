//! Removals from the Maildir: into the recoverable trash first, durably, then away by exact name.

use super::Apply;
use crate::model::Side;
use crate::reconcile::plan::{LocalRemoval, MailboxPlan};
use crate::reconcile::policy::KeepDeleted;
use crate::reconcile::report::Event;
use crate::store::{Edit, Failure, Journal, LocalStore, Record, RemoteStore};

impl<R: RemoteStore, L: LocalStore, J: Journal> Apply<'_, R, L, J> {
    pub(super) fn remove_locally(&mut self, plan: &MailboxPlan) -> Result<(), Failure> {
        if plan.remove_local.is_empty() {
            return Ok(());
        }
        self.after(plan.mailbox).local_changed = true;
        let kept = self.keep(plan)?;
        let (mut records, mut lost) = (Vec::new(), 0);
        for removal in kept {
            match self.local.unlink(&plan.local, &removal.unique, &removal.entry)? {
                Edit::Done(()) => {
                    records.push(Record::Forget(removal.row));
                    lost += u64::from(!removal.moved);
                }
                Edit::Changed => self.after(plan.mailbox).overtaken = true,
            }
        }
        self.local.sync(&plan.local)?;
        let gone = records.len() as u64;
        // A move is no loss, so it must not make the next removal look like a part of one.
        if lost > 0 && !self.terms.accepted {
            records.push(Record::Lost(plan.mailbox, Side::Remote, lost, self.terms.now));
        }
        self.commit(&records)?;
        self.report.local.removed += gone;
        (self.progress)(Event::Changed(gone));
        Ok(())
    }

    /// Links the files into the recoverable trash and records them there; returns those that may go now.
    fn keep<'p>(&mut self, plan: &'p MailboxPlan) -> Result<Vec<&'p LocalRemoval>, Failure> {
        if self.terms.keep == KeepDeleted::None {
            return Ok(plan.remove_local.iter().collect());
        }
        let (mut safe, mut index) = (Vec::new(), Vec::new());
        for removal in &plan.remove_local {
            match self.local.keep(&plan.local, &removal.unique, &removal.entry, self.terms.now)? {
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

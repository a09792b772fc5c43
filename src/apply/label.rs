//! Keyword letters of files that came from other folders, where they mean something else: rewritten once the file has its
//! row. The intent is written before the row and worth something only with it, so letters are never rewritten twice.

use std::collections::BTreeMap;

use super::{Apply, local_problem};
use crate::model::{FlagSet, UniqueName};
use crate::reconcile::plan::MailboxPlan;
use crate::reconcile::snapshot::LocalEntry;
use crate::store::{Edit, Failure, Intent, IntentId, Journal, LocalErrorKind, LocalStore, Record, RemoteStore};

/// A file whose name is to mean the same in its new folder as in the old one.
#[derive(Debug, Clone)]
pub(super) struct Label {
    pub(super) unique: UniqueName,
    pub(super) entry: LocalEntry,
    pub(super) meant: FlagSet,
}

/// A file whose letters are about to be rewritten.
#[derive(Debug, Clone)]
pub(super) struct Due {
    pub(super) intent: IntentId,
    pub(super) unique: UniqueName,
    before: LocalEntry,
    after: LocalEntry,
}

impl<R: RemoteStore, L: LocalStore, J: Journal> Apply<'_, R, L, J> {
    /// Records the rows of files that came from other folders, and gives their names the letters of this one. Returns the
    /// files as they are named then.
    pub(super) fn relabel(
        &mut self,
        plan: &MailboxPlan,
        labels: Vec<Label>,
        rows: Vec<Record>,
    ) -> Result<BTreeMap<UniqueName, LocalEntry>, Failure> {
        let due = self.begin_labels(plan, labels)?;
        if due.is_empty() {
            self.note(rows)?;
            return Ok(BTreeMap::new());
        }
        self.commit(rows)?;
        self.finish_labels(plan, due)
    }

    /// Journals the files whose letters mean something else here.
    pub(super) fn begin_labels(&mut self, plan: &MailboxPlan, labels: Vec<Label>) -> Result<Vec<Due>, Failure> {
        let letters = self.letters_for(plan, labels.iter().map(|label| &label.meant))?;
        let (mut changes, mut intents) = (Vec::new(), Vec::new());
        for Label { unique, entry, meant } in labels {
            let info = self.local.relabelled(&entry, &meant, &letters);
            if info != *entry.info {
                let (before, after) = (entry.info.to_string(), info.clone());
                intents.push(Intent::Relabel { mailbox: plan.mailbox, unique: unique.clone(), before, after });
                changes.push((unique, LocalEntry { in_new: false, info: info.into(), ..entry.clone() }, entry));
            }
        }
        let intents = if intents.is_empty() { Vec::new() } else { self.journal.begin(&intents)? };
        let due = |((unique, after, before), intent)| Due { intent, unique, before, after };
        Ok(changes.into_iter().zip(intents).map(due).collect())
    }

    /// Rewrites the letters of files that have their rows. Returns the files as they are named then.
    pub(super) fn finish_labels(
        &mut self,
        plan: &MailboxPlan,
        due: Vec<Due>,
    ) -> Result<BTreeMap<UniqueName, LocalEntry>, Failure> {
        let (mut named, mut settled) = (BTreeMap::new(), Vec::new());
        for Due { intent, unique, before, after } in due {
            self.after(plan.mailbox).local_changed = true;
            match self.local.relabel(&plan.local, &unique, &before, &before.info, &after.info) {
                Ok(Edit::Done(())) => {
                    named.insert(unique, after);
                    settled.push(Record::Settled(intent));
                }
                Ok(Edit::Changed) => self.after(plan.mailbox).overtaken = true,
                Err(error) if error.kind == LocalErrorKind::Item => {
                    self.after(plan.mailbox).failed = true;
                    self.report.problem(local_problem(&plan.name, Some(unique.to_string()), &error));
                }
                Err(error) => return Err(error.into()),
            }
        }
        if !settled.is_empty() {
            self.local.sync(&plan.local)?;
        }
        self.commit(settled)?;
        Ok(named)
    }
}

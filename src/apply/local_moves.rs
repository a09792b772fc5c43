//! Moves in the Maildir: a file follows its message. It keeps its name on the way, keyword letters included; they are
//! rewritten for the new folder last.
//!
//! All files of a run move together: made durable one after the other, directories cost a journal commit of the file
//! system each, and together hardly more than one.

use std::collections::{BTreeMap, BTreeSet};

use super::Apply;
use super::label::Label;
use super::moves::moved_row;
use crate::model::{MailboxId, MailboxName};
use crate::reconcile::plan::{LocalMove, MailboxPlan};
use crate::reconcile::report::Event;
use crate::store::{Edit, Failure, Journal, LocalErrorKind, LocalStore, NewMessage, Record, RemoteStore};

/// A file in its new place.
type Moved<'p> = (&'p MailboxPlan, &'p LocalMove);

impl<R: RemoteStore, L: LocalStore, J: Journal> Apply<'_, R, L, J> {
    pub(super) fn move_files(&mut self, plans: &[MailboxPlan]) -> Result<(), Failure> {
        let mut arrived: BTreeMap<MailboxId, Vec<Moved<'_>>> = BTreeMap::new();
        for plan in plans {
            for one in &plan.move_local {
                let Some(target) = plans.iter().find(|target| target.mailbox == one.to) else { continue };
                if self.move_file(plan, target, one)? {
                    arrived.entry(one.to).or_default().push((plan, one));
                }
            }
        }
        let sources = arrived.values().flatten().map(|(plan, _)| plan.mailbox);
        let sources: BTreeSet<MailboxId> = sources.filter(|source| !arrived.contains_key(source)).collect();
        let of = |ids: BTreeSet<MailboxId>| plans.iter().filter(move |plan| ids.contains(&plan.mailbox));
        let targets: Vec<&MailboxPlan> = of(arrived.keys().copied().collect()).collect();
        // The new names first: a file is rather in both places than in none. Where files come to a maildir and others leave
        // it, a file system that does not rename atomically may lose one in between to a power cut: it is fetched again,
        // for its message is on the server. To make such a maildir durable once is enough, for all has moved by then.
        let mut unsure = BTreeSet::new();
        for plans in [targets.clone(), of(sources).collect()] {
            let maildirs: Vec<&MailboxName> = plans.iter().map(|plan| &plan.local).collect();
            for (plan, synced) in plans.iter().zip(self.local.sync_all(&maildirs)) {
                unsure.extend(synced.is_err().then_some(plan.mailbox));
                self.mailbox_done(plan, synced.map_err(Failure::from))?;
            }
        }
        for target in targets.into_iter().filter(|target| !unsure.contains(&target.mailbox)) {
            let mut files = arrived.remove(&target.mailbox).unwrap_or_default();
            files.retain(|(source, _)| !unsure.contains(&source.mailbox));
            let done = self.record_files(target, &files);
            self.mailbox_done(target, done)?;
        }
        Ok(())
    }

    /// Returns true if the file is in its new place. One that went back to where it was on the server has not moved.
    fn move_file(&mut self, plan: &MailboxPlan, target: &MailboxPlan, one: &LocalMove) -> Result<bool, Failure> {
        if plan.mailbox == target.mailbox {
            return Ok(true);
        }
        for mailbox in [plan.mailbox, target.mailbox] {
            self.after(mailbox).local_changed = true;
        }
        match self.local.move_to(&plan.local, &one.unique, &one.entry, one.stat, &target.local) {
            Ok(Edit::Done(())) => return Ok(true),
            Ok(Edit::Changed) => {}
            // It goes the long way; what can't be done of that either is told then.
            Err(error) if error.kind == LocalErrorKind::Item => {
                tracing::info!(folder = %plan.name, file = %one.unique, "{error}; it is copied instead");
                self.unmovable.insert(one.row.id);
            }
            Err(error) => return Err(error.into()),
        }
        for mailbox in [plan.mailbox, target.mailbox] {
            self.after(mailbox).overtaken = true;
        }
        Ok(false)
    }

    /// Records the files that came to one maildir.
    fn record_files(&mut self, target: &MailboxPlan, arrived: &[Moved<'_>]) -> Result<(), Failure> {
        let (mut records, mut labels) = (Vec::new(), Vec::new());
        for (_, one) in arrived {
            self.after(target.mailbox).overtaken |= !one.flags_agree;
            let row = moved_row(&one.row, one.uid, &one.unique, one.stat);
            let (date, size) = (one.date.or(row.date), one.size.or(row.size));
            let row = NewMessage { date, size, email_id: one.email_id.or(row.email_id), ..row };
            records.extend([Record::Forget(one.row.id), Record::Insert(target.mailbox, row)]);
            let (unique, entry, meant) = (one.unique.clone(), one.entry.clone(), one.meant.clone());
            labels.push(Label { unique, entry, meant });
        }
        self.report.local.moved += labels.len() as u64;
        (self.progress)(Event::Changed(labels.len() as u64));
        self.relabel(target, labels, records)?;
        Ok(())
    }
}

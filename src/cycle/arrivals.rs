//! New files in the Maildir, as they are read: what the moves and copies of this pass are found by.
//!
//! One that is not any more what was seen when it is read is in the hands of another program, and may be on its way from
//! folder to folder: it is neither new nor does it prove anything else gone.

use std::collections::BTreeSet;

use super::Run;
use super::observe::Sight;
use super::plans::Plans;
use crate::model::{MailboxId, Side, UniqueName};
use crate::reconcile::guard::{losses_now, set_aside};
use crate::reconcile::moves::{Arrival, Arrivals, Place};
use crate::reconcile::plan::MailboxPlan;
use crate::reconcile::snapshot::LocalEntry;
use crate::store::{Edit, Failure, Journal, LocalErrorKind, LocalStore, RemoteStore};

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Reads the files that the baseline does not know, those included that have to wait: the message that one of them was
    /// must stay on the server until its new place is proven. Returns also those that are not any more what was seen.
    pub(super) fn arrivals(
        &mut self,
        sights: &[Sight],
        plans: &[MailboxPlan],
    ) -> Result<(Arrivals, BTreeSet<Place>), Failure> {
        let (mut arrivals, mut moving) = (Arrivals::new(), BTreeSet::new());
        for (sight, plan) in sights.iter().zip(plans) {
            let taken = |unique: &UniqueName| {
                plan.replace.contains_key(unique) || plan.adopt.iter().any(|found| found.unique == *unique)
            };
            let view = sight.view();
            for (unique, entry) in view.new_files().filter(|(unique, _)| !taken(unique)) {
                let place = (sight.row.id, unique.clone());
                match self.read_arrival(sight, unique, entry)? {
                    Edit::Done(arrival) => arrivals.extend(arrival.map(|arrival| (place, arrival))),
                    Edit::Changed => drop(moving.insert(place)),
                }
            }
        }
        Ok((arrivals, moving))
    }

    pub(super) fn arrival(
        &mut self,
        sight: &Sight,
        unique: &UniqueName,
        entry: &LocalEntry,
    ) -> Result<Option<Arrival>, Failure> {
        Ok(match self.read_arrival(sight, unique, entry)? {
            Edit::Done(arrival) => arrival,
            Edit::Changed => None,
        })
    }

    /// Reads a file; `None` for one that can't be read.
    pub(super) fn read_arrival(
        &mut self,
        sight: &Sight,
        unique: &UniqueName,
        entry: &LocalEntry,
    ) -> Result<Edit<Option<Arrival>>, Failure> {
        match self.account.local.identify(&sight.row.local, unique, entry) {
            Ok(Edit::Done((identity, stat))) => Ok(Edit::Done(Some(Arrival { entry: entry.clone(), identity, stat }))),
            Ok(Edit::Changed) => Ok(Edit::Changed),
            Err(error) if matches!(error.kind, LocalErrorKind::Item | LocalErrorKind::NoMessage) => {
                Ok(Edit::Done(None))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Leaves new files alone that were renamed or moved since they were seen: any may be the file of a message that looks
/// removed, so nothing is removed either. Returns the mailboxes to be looked at again.
pub(super) fn await_moving(all: &mut Plans<'_>, moving: &BTreeSet<Place>) -> BTreeSet<MailboxId> {
    let mut undecided = BTreeSet::new();
    if moving.is_empty() {
        return undecided;
    }
    for (mailbox, unique) in moving {
        let Some(plan) = all.of(*mailbox) else { continue };
        leave_moving(plan, unique);
        undecided.insert(*mailbox);
    }
    for plan in all.plans.iter_mut().filter(|plan| losses_now(plan, Side::Local) > 0) {
        set_aside(plan, Side::Local);
        undecided.insert(plan.mailbox);
    }
    undecided.append(&mut all.keep_gone_from_both());
    undecided
}

/// Leaves a new file to the next pass.
pub(super) fn leave_moving(plan: &mut MailboxPlan, unique: &UniqueName) {
    plan.take_upload(unique);
    plan.unknown = true;
}

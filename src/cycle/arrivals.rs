//! New files in the Maildir, as they are read: what the moves and copies of this pass are found by.
//!
//! One that is not any more what was seen when it is read is in the hands of another program, and may be on its way from
//! folder to folder: it is neither new nor does it prove anything else gone. One that can't be read may be any message.

use std::collections::BTreeSet;

use super::Run;
use super::absence::found_elsewhere;
use super::observe::Sight;
use super::plans::Plans;
use super::settle::unfinished;
use crate::apply::local_problem;
use crate::model::{MailboxId, Side, UniqueName};
use crate::reconcile::guard::{losses_now, set_aside};
use crate::reconcile::moves::{Arrival, Arrivals, Place, pair};
use crate::reconcile::plan::MailboxPlan;
use crate::reconcile::report::Problem;
use crate::reconcile::snapshot::LocalEntry;
use crate::store::{Edit, Failure, Journal, LocalError, LocalErrorKind, LocalStore, RemoteStore};

/// What came of reading a new file.
#[derive(Debug)]
pub(super) enum Reading {
    /// A message.
    Message(Arrival),
    /// It is none.
    None,
    /// It is not any more what was seen.
    Moving,
    /// The system won't have it read.
    Closed(LocalError),
}

/// New files that could not be read: each may be the file of any message.
#[derive(Debug, Default)]
pub(super) struct Unread {
    /// They are not any more what was seen: the next pass sees them again.
    moving: BTreeSet<Place>,
    /// The system won't have them read: the next run tries again.
    closed: BTreeSet<Place>,
}

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Reads the files that the baseline does not know, those included that have to wait: the message that one of them was
    /// must stay on the server until its new place is proven. Returns also those that could not be read.
    pub(super) fn arrivals(&mut self, sights: &[Sight], plans: &[MailboxPlan]) -> Result<(Arrivals, Unread), Failure> {
        let (mut arrivals, mut unread) = (Arrivals::new(), Unread::default());
        for (sight, plan) in sights.iter().zip(plans) {
            let adopted: BTreeSet<&UniqueName> = plan.adopt.iter().map(|found| &found.unique).collect();
            let taken = |unique: &UniqueName| plan.replace.contains_key(unique) || adopted.contains(unique);
            let view = sight.view();
            let new: Vec<_> = view.new_files().filter(|(unique, _)| !taken(unique)).collect();
            self.account.local.identify_ahead(&sight.row.local, &new);
            for (unique, entry) in new {
                let place = (sight.row.id, unique.clone());
                match self.read_arrival(sight, unique, entry)? {
                    Reading::Message(arrival) => drop(arrivals.insert(place, arrival)),
                    Reading::None => {}
                    Reading::Moving => drop(unread.moving.insert(place)),
                    Reading::Closed(error) => {
                        self.report.problem(local_problem(&sight.row.name, Some(unique.to_string()), &error));
                        unread.closed.insert(place);
                    }
                }
            }
        }
        Ok((arrivals, unread))
    }

    /// Leaves new files alone that could not be read: any may be the file of a message that looks removed, so nothing is
    /// removed either. Returns the mailboxes to be looked at again.
    pub(super) fn await_unread(
        &mut self,
        all: &mut Plans<'_>,
        arrivals: &Arrivals,
        unread: &Unread,
    ) -> BTreeSet<MailboxId> {
        for (mailbox, unique) in &unread.closed {
            all.of(*mailbox).into_iter().for_each(|plan| leave_moving(plan, unique));
        }
        if !unread.closed.is_empty() {
            for plan in all.plans.iter_mut().filter(|plan| losses_now(plan, Side::Local) > 0) {
                let why = "new files can't be read: they may be the messages removed here";
                let hint = "make them readable, then sync again".to_owned();
                self.report.problem(Problem { hint, ..unfinished(&plan.name, why) });
                set_aside(plan, Side::Local);
            }
            keep_gone(all, arrivals);
        }
        await_moving(all, arrivals, &unread.moving)
    }

    pub(super) fn arrival(
        &mut self,
        sight: &Sight,
        unique: &UniqueName,
        entry: &LocalEntry,
    ) -> Result<Option<Arrival>, Failure> {
        Ok(match self.read_arrival(sight, unique, entry)? {
            Reading::Message(arrival) => Some(arrival),
            Reading::None | Reading::Moving | Reading::Closed(_) => None,
        })
    }

    /// Reads a file.
    pub(super) fn read_arrival(
        &mut self,
        sight: &Sight,
        unique: &UniqueName,
        entry: &LocalEntry,
    ) -> Result<Reading, Failure> {
        match self.account.local.identify(&sight.row.local, unique, entry) {
            Ok(Edit::Done((identity, stat))) => Ok(Reading::Message(Arrival { entry: entry.clone(), identity, stat })),
            Ok(Edit::Changed) => Ok(Reading::Moving),
            Err(error) if error.kind == LocalErrorKind::NoMessage => Ok(Reading::None),
            Err(error) if error.kind == LocalErrorKind::Item => Ok(Reading::Closed(error)),
            Err(error) => Err(error.into()),
        }
    }
}

/// Leaves new files alone that were renamed or moved since they were seen: any may be the file of a message that looks
/// removed, so nothing is removed either. Returns the mailboxes to be looked at again.
fn await_moving(all: &mut Plans<'_>, arrivals: &Arrivals, moving: &BTreeSet<Place>) -> BTreeSet<MailboxId> {
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
    undecided.append(&mut keep_gone(all, arrivals));
    undecided
}

/// Keeps the rows that neither side has any more. What may have become of them on either side waits with them: sent from
/// here and fetched from there, a message that was moved on both would be two. Returns the mailboxes to be looked at again.
fn keep_gone(all: &mut Plans<'_>, arrivals: &Arrivals) -> BTreeSet<MailboxId> {
    let rows = all.rows();
    let gone = all.gone_from_both(&rows);
    let messages = found_elsewhere(all, &gone);
    let files: Vec<Place> = pair(gone, arrivals).into_iter().map(|(_, place)| place).collect();
    let mut waiting = all.keep_gone_from_both(|_| false);
    for (mailbox, unique) in files {
        all.of(mailbox).into_iter().for_each(|plan| leave_moving(plan, &unique));
        waiting.insert(mailbox);
    }
    for plan in all.plans.iter_mut() {
        let (mailbox, before) = (plan.mailbox, plan.download.len());
        plan.download.retain(|uid| !messages.contains(&(mailbox, *uid)));
        if plan.download.len() < before {
            plan.unknown = true;
            waiting.insert(mailbox);
        }
    }
    waiting
}

/// Leaves a new file to the next pass.
pub(super) fn leave_moving(plan: &mut MailboxPlan, unique: &UniqueName) {
    plan.take_upload(unique);
    plan.unknown = true;
}

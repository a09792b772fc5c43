//! What is held and not answered for. It stays held whatever else a pass looks at, and counts with what is found there:
//! else what is too much together would be carried out one part after the other.

use std::collections::{BTreeMap, BTreeSet};

use super::observe::Sight;
use super::{LOSS_WINDOW, Run, Scene};
use crate::model::{MailboxId, MailboxName, MailboxRow, Side, Timestamp};
use crate::reconcile::guard::Guard;
use crate::reconcile::plan::MailboxPlan;
use crate::reconcile::policy::HoldAnswer;
use crate::reconcile::report::{Held, Reason};
use crate::store::{Failure, HoldRow, Journal, LocalStore, RemoteStore};

/// What is measured by the messages of several mailboxes together.
const TOGETHER: [Reason; 2] = [Reason::MassDelete, Reason::FirstUpload];

/// What was held of each mailbox when it was last looked at, in this run or an earlier one.
#[derive(Debug, Default)]
pub(super) struct Holding {
    counts: BTreeMap<(MailboxId, Side, Reason), u64>,
    /// Where this run puts losses back: those that are left are put back, too.
    undone: BTreeSet<(MailboxId, Side)>,
    /// Of these it is not known what they have lost: something else was in the way.
    untold: BTreeSet<MailboxId>,
}

impl Holding {
    /// Takes up what earlier runs held.
    pub(super) fn of(holds: &[HoldRow], rows: &[MailboxRow]) -> Self {
        let key = |hold: &HoldRow| {
            let row = rows.iter().find(|row| hold.mailbox.as_ref() == Some(&row.name))?;
            let reason = TOGETHER.into_iter().find(|reason| reason.as_str() == hold.reason)?;
            Some(((row.id, hold.side, reason), hold.count))
        };
        Holding { counts: holds.iter().filter_map(key).collect(), ..Holding::default() }
    }

    /// Notes what is held of a mailbox now; 0: nothing any more.
    pub(super) fn put(&mut self, mailbox: MailboxId, side: Side, reason: Reason, count: u64) {
        match count {
            0 => drop(self.counts.remove(&(mailbox, side, reason))),
            _ => drop(self.counts.insert((mailbox, side, reason), count)),
        }
    }

    /// Returns true if something of a mailbox is held.
    pub(super) fn has(&self, mailbox: MailboxId, side: Side, reason: Reason) -> bool {
        self.counts.contains_key(&(mailbox, side, reason))
    }

    /// Returns how many messages are held of mailboxes other than these.
    pub(super) fn elsewhere(&self, here: &BTreeSet<MailboxId>, reason: Reason) -> u64 {
        let others = self.counts.iter().filter(|((mailbox, _, held), _)| *held == reason && !here.contains(mailbox));
        others.map(|(_, count)| count).sum()
    }

    /// Returns the losses that are held or were put back.
    fn losses(&self) -> BTreeMap<(MailboxId, Side), u64> {
        let held = self.counts.iter().filter(|((.., reason), _)| *reason == Reason::MassDelete);
        let held = held.map(|((mailbox, side, _), count)| ((*mailbox, *side), *count));
        self.undone.iter().map(|lost| (*lost, 0)).chain(held).collect()
    }
}

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Takes up what earlier runs held.
    pub(super) fn take_up_holds(&mut self, holds: &[HoldRow]) -> Result<(), Failure> {
        if !holds.is_empty() {
            self.holding = Holding::of(holds, &self.account.journal.mailboxes()?);
        }
        Ok(())
    }

    /// Sets aside what looks like an accident, or does with it what the user says.
    pub(super) fn guard(&mut self, scene: &Scene, views: &[Sight], plans: &mut [MailboxPlan]) -> Result<(), Failure> {
        let rows = self.account.journal.mailboxes()?;
        let mut census: BTreeMap<MailboxId, u64> = rows.iter().map(|row| (row.id, row.with_uid)).collect();
        // Tombstones can't be lost any more: counted, they would make a folder look fuller than it is.
        let held =
            |sight: &Sight| sight.rows.iter().filter(|row| row.unique.is_some()).count() as u64 + sight.agreed.count();
        census.extend(views.iter().map(|sight| (sight.row.id, held(sight))));
        let lost = self.account.journal.losses(Timestamp(self.now.0 - LOSS_WINDOW))?;
        let (limits, held) = (self.policy.max_delete, self.holding.losses());
        let answer = self.options.holds;
        let guard = Guard { limits, census: &census, lost: &lost, held: &held, answer, now: self.now };
        // Of what was set aside before it is not known what is lost of it.
        let (known, untold): (Vec<_>, Vec<_>) =
            plans.iter().map(|plan| (plan.mailbox, plan.name.clone(), plan.held)).partition(|(.., held)| !held);
        let found = guard.review(plans);
        self.holding.untold.extend(untold.into_iter().map(|(mailbox, ..)| mailbox));
        for (mailbox, name, _) in &known {
            self.holding.untold.remove(mailbox);
            for side in [Side::Local, Side::Remote] {
                self.holding.put(*mailbox, side, Reason::MassDelete, 0);
            }
            self.report.let_go(name, Reason::MassDelete);
        }
        for (mailbox, held) in found {
            match answer {
                HoldAnswer::Keep => {
                    self.holding.put(mailbox, held.side, held.reason, held.count);
                    let since = self.held_since(scene, held.folder.as_ref(), held.side, held.reason);
                    self.report.hold(Held { since, ..held });
                }
                HoldAnswer::Undo => drop(self.holding.undone.insert((mailbox, held.side))),
                HoldAnswer::Accept => {}
            }
        }
        Ok(())
    }

    /// Notes that something about a folder is held, since when it has been.
    pub(super) fn hold(&mut self, scene: &Scene, folder: &MailboxName, side: Side, reason: Reason, count: u64) {
        let since = self.held_since(scene, Some(folder), side, reason);
        self.report.hold(Held { folder: Some(folder.clone()), side, reason, count, since });
    }

    /// Returns since when something has been held.
    fn held_since(&self, scene: &Scene, folder: Option<&MailboxName>, side: Side, reason: Reason) -> Timestamp {
        let same =
            |hold: &&HoldRow| hold.mailbox.as_ref() == folder && hold.side == side && hold.reason == reason.as_str();
        scene.header.holds.iter().find(same).map_or(self.now, |hold| hold.since)
    }

    /// Returns true for a hold of an earlier run that still stands, though this run does not tell of it: it was not about the
    /// folder, or could not tell.
    pub(super) fn still_stands(&self, hold: &HoldRow, rows: &[MailboxRow]) -> bool {
        let Some(name) = &hold.mailbox else { return false };
        let is_told = |held: &Held| {
            held.folder.as_ref() == Some(name) && held.side == hold.side && held.reason.as_str() == hold.reason
        };
        if self.report.held.iter().any(is_told) {
            return false;
        }
        let row = rows.iter().find(|row| row.name == *name);
        let is_unseen = |row: &MailboxRow| {
            let is_it =
                |reason: &Reason| reason.as_str() == hold.reason && self.holding.has(row.id, hold.side, *reason);
            let is_untold = self.blind.contains(&row.local) || self.holding.untold.contains(&row.id);
            is_untold && TOGETHER.iter().any(is_it)
        };
        !self.is_named(name) || row.is_some_and(is_unseen)
    }
}

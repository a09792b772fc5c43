//! Folders that vanished in a way that looks like an accident, while their messages may be elsewhere: moved out before
//! the folder was removed.
//!
//! Such a folder takes part on trial: seen as empty on the side that lost it, so that the moves are found. What is found
//! elsewhere has moved; the rest is judged anew, and held if it still looks like an accident.

use std::collections::BTreeSet;

use super::gone::is_held;
use super::{Run, Scene};
use crate::apply::local_problem;
use crate::model::{MailboxId, MailboxName, MailboxRow, Side};
use crate::reconcile::guard::set_aside;
use crate::reconcile::mailboxes::{Fate, Vanished, accidents};
use crate::reconcile::plan::MailboxPlan;
use crate::store::{Failure, Journal, LocalErrorKind, LocalStore, RemoteStore};

impl Scene {
    /// Returns true for a folder whose maildir is gone and must not be made again before the verdict.
    pub(super) fn is_missing(&self, name: &MailboxName) -> bool {
        self.trial.iter().any(|one| one.folder.name == *name && one.folder.fate == Fate::GoneLocal)
    }

    /// Returns true if messages may have come to other folders of a side since the last run: else nothing that vanished
    /// there can have moved.
    pub(super) fn may_hold_arrivals(&self, fate: Fate, rows: &[MailboxRow]) -> bool {
        match fate {
            Fate::GoneLocal => self.maildirs.maildirs.iter().any(|maildir| {
                let row = rows.iter().find(|row| row.local == maildir.name);
                maildir.stamp.is_none() || row.is_none_or(|row| row.stamp != maildir.stamp)
            }),
            _ => self.listing.mailboxes.iter().filter(|(_, listed)| listed.selectable).any(|(name, listed)| {
                let mark = rows.iter().find(|row| row.name == *name).and_then(|row| row.watermark);
                listed.status.zip(mark).is_none_or(|(status, mark)| status.uid_next > mark.uid_next)
            }),
        }
    }

    /// Nothing can be put into a maildir that is not there.
    pub(super) fn keep_out_of_missing(&self, plans: &mut [MailboxPlan]) {
        for plan in plans.iter_mut().filter(|plan| self.is_missing(&plan.name)) {
            plan.unknown |= !plan.download.is_empty();
            plan.download.clear();
        }
    }
}

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Judges the folders on trial, once the moves are found. Returns those that are to be looked at again.
    pub(super) fn judge_vanished(
        &mut self,
        scene: &mut Scene,
        plans: &mut [MailboxPlan],
    ) -> Result<BTreeSet<MailboxId>, Failure> {
        let is_judged =
            |one: &Vanished| self.report.held.iter().any(|held| held.folder.as_ref() == Some(&one.folder.name));
        let left = |one: &Vanished| {
            let Some(plan) = plans.iter().find(|plan| plan.name == one.folder.name) else {
                return (!is_judged(one)).then(|| one.clone());
            };
            let missing = match one.folder.fate {
                Fate::GoneLocal => plan.remove_remote.len(),
                // Nothing is planned to be removed where it could not be asked what moved.
                _ if plan.unknown => return Some(one.clone()),
                _ => plan.remove_local.len(),
            };
            Some(Vanished { messages: missing as u64, ..one.clone() })
        };
        let judged: Vec<Vanished> = scene.trial.iter().filter_map(left).collect();
        let verdicts = accidents(&judged.iter().collect::<Vec<_>>(), self.policy.max_delete.at_least, false);
        let mut again = BTreeSet::new();
        for (one, suspicious) in judged.into_iter().zip(verdicts) {
            let plan = plans.iter_mut().find(|plan| plan.name == one.folder.name);
            if suspicious || one.messages > 0 && is_held(scene, &one.folder) {
                plan.into_iter().for_each(|plan| set_aside(plan, lost_by(one.folder.fate)));
                self.hold_gone(scene, &one);
                continue;
            }
            if one.folder.fate == Fate::GoneLocal {
                self.make_room(&one)?;
                again.extend(plan.map(|plan| plan.mailbox));
            }
            scene.trial.retain(|other| other.folder.name != one.folder.name);
        }
        Ok(again)
    }

    /// Makes the maildir again of a folder that has to go from the server: what came to it there meanwhile finds a place.
    fn make_room(&mut self, vanished: &Vanished) -> Result<(), Failure> {
        if self.options.dry_run {
            return Ok(());
        }
        match self.account.local.create(&vanished.folder.local) {
            Err(error) if error.kind == LocalErrorKind::Item => {
                self.report.problem(local_problem(&vanished.folder.name, None, &error));
                Ok(())
            }
            created => Ok(created?),
        }
    }
}

fn lost_by(fate: Fate) -> Side {
    if fate == Fate::GoneLocal { Side::Local } else { Side::Remote }
}

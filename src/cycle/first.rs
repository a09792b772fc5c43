//! The first upload: a Maildir full of mail that the server does not have may be the wrong one.

use std::collections::BTreeSet;

use super::observe::Sight;
use super::{Run, Scene};
use crate::apply::local_problem;
use crate::model::{KeywordLetters, MailboxName, Side};
use crate::reconcile::guard::hold_uploads;
use crate::reconcile::mailboxes::Folder;
use crate::reconcile::plan::MailboxPlan;
use crate::reconcile::policy::HoldAnswer;
use crate::reconcile::report::Reason;
use crate::store::{Failure, Journal, LocalErrorKind, LocalStore, RemoteStore};

/// More messages than these are held until the user says that they are meant to be uploaded.
const FEW: u64 = 50;

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Both sides were never united, and the user has not said yet that this Maildir is the right one.
    fn is_first(&self, scene: &Scene) -> bool {
        !scene.header.united && self.options.holds != HoldAnswer::Accept
    }

    /// Returns true if a folder that only exists here is not to be created on the server yet.
    pub(super) fn holds_first_folder(&mut self, scene: &Scene, folder: &Folder) -> Result<bool, Failure> {
        if !self.is_first(scene) {
            return Ok(false);
        }
        match self.account.local.observe(&folder.local, &KeywordLetters::new()) {
            Ok(scan) => {
                self.hold(scene, &folder.name, Side::Remote, Reason::FirstUpload, scan.entries.len() as u64);
            }
            Err(error) if error.kind == LocalErrorKind::Item => {
                self.report.problem(local_problem(&folder.name, None, &error));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(true)
    }

    /// Holds the uploads to mailboxes that were never matched, if they are many together, or were held before.
    pub(super) fn hold_first_uploads(&mut self, scene: &Scene, sights: &[Sight], plans: &mut [MailboxPlan]) {
        if !self.is_first(scene) {
            return;
        }
        let (side, reason) = (Side::Remote, Reason::FirstUpload);
        let here = sights.iter().map(|sight| sight.row.id).collect();
        let is_new = |sight: &Sight| !sight.view().matched;
        let new = || sights.iter().enumerate().filter(|(_, sight)| is_new(sight));
        let count = |plan: Option<&MailboxPlan>| plan.map_or(0, |plan| plan.upload.len() as u64);
        let all = self.holding.elsewhere(&here, reason) + new().map(|(at, _)| count(plans.get(at))).sum::<u64>();
        for (at, sight) in new() {
            let (was_held, count) = (self.holding.has(sight.row.id, side, reason), count(plans.get(at)));
            let Some(plan) = plans.get_mut(at).filter(|_| count > 0 && (was_held || all > FEW)) else {
                self.holding.put(sight.row.id, side, reason, 0);
                continue;
            };
            self.holding.put(sight.row.id, side, reason, count);
            self.hold(scene, &sight.row.name, side, reason, count);
            hold_uploads(plan);
        }
    }

    /// Returns true if both sides are united as a whole now: every folder was matched, and no first upload is held. So
    /// they are if the user said so, whatever folder can't be looked at.
    pub(super) fn is_united(&mut self, scene: &Scene) -> Result<bool, Failure> {
        if scene.header.united || !self.options.only.is_empty() {
            return Ok(false);
        }
        let rows = self.account.journal.mailboxes()?;
        let matched = rows.iter().filter(|row| row.watermark.is_some()).map(|row| &row.name);
        let matched: BTreeSet<&MailboxName> = matched.collect();
        if self.options.holds == HoldAnswer::Accept {
            return Ok(true);
        }
        let held = self.report.held.iter().any(|held| held.reason == Reason::FirstUpload);
        Ok(!held && scene.folders.iter().all(|folder| matched.contains(&folder.name)))
    }
}

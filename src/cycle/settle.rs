//! The end of a pass and of a run: watermarks and stamps, what to look at again, holds, the recoverable trash.

use std::collections::{BTreeMap, BTreeSet};

use super::observe::Sight;
use super::{LOSS_WINDOW, Run, Scene};
use crate::apply::{Aftermath, local_problem};
use crate::model::{KeywordLetters, MailboxId, MailboxName, Side, Timestamp};
use crate::reconcile::guard::{losses_now, set_aside};
use crate::reconcile::plan::MailboxPlan;
use crate::reconcile::policy::KeepDeleted;
use crate::reconcile::report::{Held, Problem};
use crate::reconcile::snapshot::RemoteMessages;
use crate::store::{Failure, Header, HoldRow, Journal, LocalErrorKind, LocalStore, Record, RemoteStore};

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Records how far both sides are now observed and acted on, and returns the mailboxes to be looked at again.
    ///
    /// Our own changes on the server lie behind the watermark stored here, so the next pass sees them as a delta: what
    /// equals the baseline is our echo.
    pub(super) fn settle(
        &mut self,
        sights: &[Sight],
        plans: &[MailboxPlan],
        aftermath: &BTreeMap<MailboxId, Aftermath>,
        letters: &BTreeMap<MailboxId, KeywordLetters>,
    ) -> Result<BTreeSet<MailboxId>, Failure> {
        // What failed is not tried again in the same run.
        let changed = aftermath.iter().filter(|(_, after)| !after.failed && (after.remote_changed || after.overtaken));
        let mut again: BTreeSet<MailboxId> = changed.map(|(mailbox, _)| *mailbox).collect();
        let mut records = Vec::new();
        for (sight, plan) in sights.iter().zip(plans) {
            if !sight.scan.quiet {
                self.report.problem(unfinished(&sight.row.name, "its maildir kept changing while it was read"));
            }
            let after = aftermath.get(&sight.row.id).copied().unwrap_or_default();
            records.extend(settled(sight, plan, after, self.now));
            records.extend(self.remember(sight, plan, after)?);
            // Until the names bear them, keywords that got a letter now must not look removed.
            let agreed = !is_pinned(plan, after);
            let known = letters.get(&sight.row.id).filter(|known| agreed && **known != sight.row.letters);
            records.extend(known.map(|known| Record::Letters(sight.row.id, known.clone())));
            if sight.scan.letters.is_none() {
                match self.account.local.assign_letters(&sight.row.local, &sight.row.letters, &BTreeSet::new()) {
                    Ok(_) => drop(again.insert(sight.row.id)),
                    Err(error) if error.kind == LocalErrorKind::Item => {
                        self.report.problem(local_problem(&sight.row.name, None, &error));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        if !records.is_empty() {
            self.account.journal.commit(&records)?;
        }
        Ok(again)
    }

    /// A message gone from one folder may have gone to another after that was scanned, or to one that this run is not
    /// about. In the first case its removal waits for the next pass, in the second for the next run.
    pub(super) fn defer_removals(&mut self, scene: &mut Scene, plans: &mut [MailboxPlan]) -> Result<(), Failure> {
        let removes = |plan: &MailboxPlan| losses_now(plan, Side::Local) > 0;
        if !plans.iter().any(removes) {
            return Ok(());
        }
        let stirred = self.account.local.is_stirred()?;
        let incomplete = !self.options.only.is_empty() || !self.blind.is_empty();
        let grew = if incomplete && !stirred { self.others_grew(scene)? } else { None };
        let wait = stirred || grew.is_some();
        for plan in plans.iter_mut().filter(|plan| wait && removes(plan)) {
            if let Some(other) = &grew {
                let why = format!("{other} holds new files, or can't be read: they may be the messages removed here");
                self.report.problem(unfinished(&plan.name, &why));
            }
            set_aside(plan, Side::Local);
            scene.again.extend(stirred.then_some(plan.mailbox));
        }
        Ok(())
    }

    /// Returns a folder, by local name, that this run does nothing for and that holds a file which the baseline doesn't
    /// know, or may hold one.
    fn others_grew(&mut self, scene: &Scene) -> Result<Option<MailboxName>, Failure> {
        let rows = self.account.journal.mailboxes()?;
        for maildir in &scene.maildirs.maildirs {
            let row = rows.iter().find(|row| row.local == maildir.name);
            let taken_care_of = self.options.only.is_empty() || row.is_some_and(|row| self.is_named(&row.name));
            if taken_care_of && !self.blind.contains(&maildir.name) {
                continue;
            }
            let known: BTreeSet<_> = match row {
                Some(row) => self.account.journal.messages(row.id)?.into_iter().filter_map(|row| row.unique).collect(),
                None => BTreeSet::new(),
            };
            match self.account.local.observe(&maildir.name, &KeywordLetters::new()) {
                Ok(scan) if scan.quiet && scan.entries.keys().all(|unique| known.contains(unique)) => {}
                Err(error) if error.kind != LocalErrorKind::Item => return Err(error.into()),
                Ok(_) | Err(_) => return Ok(Some(maildir.name.clone())),
            }
        }
        Ok(None)
    }

    /// Says what is left to the next run because it changed faster than this one could follow.
    pub(super) fn report_unfinished(&mut self, scene: &Scene) -> Result<(), Failure> {
        if self.options.dry_run || scene.again.is_empty() {
            return Ok(());
        }
        for row in self.account.journal.mailboxes()?.into_iter().filter(|row| scene.again.contains(&row.id)) {
            self.report.problem(unfinished(&row.name, "it kept changing during this sync"));
        }
        Ok(())
    }

    /// Ends a run.
    pub(super) fn finish(&mut self, scene: &Scene) -> Result<(), Failure> {
        if self.options.dry_run {
            return Ok(());
        }
        self.expire()?;
        let mut records = vec![Record::ForgetLosses(Timestamp(self.now.0 - LOSS_WINDOW))];
        records.extend(self.holds(&scene.header));
        if self.report.held.is_empty() && self.report.problems.is_empty() {
            records.push(Record::Succeeded(self.now));
        }
        Ok(self.account.journal.commit(&records)?)
    }

    /// Ends a run that could not begin.
    pub(super) fn keep_holds(&mut self, header: &Header) -> Result<(), Failure> {
        match self.holds(header) {
            Some(record) if !self.options.dry_run => Ok(self.account.journal.commit(&[record])?),
            _ => Ok(()),
        }
    }

    /// Returns the record of what is held now, if that is news. Holds of folders that this run was not about stay.
    fn holds(&self, header: &Header) -> Option<Record> {
        let others = header.holds.iter().filter(|hold| hold.mailbox.as_ref().is_some_and(|name| !self.is_named(name)));
        let mut holds: Vec<HoldRow> = others.cloned().collect();
        holds.extend(self.report.held.iter().map(hold_row));
        (holds != header.holds).then_some(Record::Holds(holds))
    }

    /// Lets go of what was kept long enough in the recoverable trash.
    fn expire(&mut self) -> Result<(), Failure> {
        let KeepDeleted::For(time) = self.policy.keep_deleted else { return Ok(()) };
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let mut dropped = Vec::new();
        for kept in self.account.journal.kept(Timestamp(self.now.0.saturating_sub(seconds)))? {
            self.account.local.drop_kept(&kept.kept_as)?;
            dropped.push(Record::Dropped(kept.kept_as));
        }
        match dropped.is_empty() {
            true => Ok(()),
            false => Ok(self.account.journal.commit(&dropped)?),
        }
    }
}

/// What was held, failed, unknown or overtaken is to be seen again, so the marks before it stay.
fn settled(sight: &Sight, plan: &MailboxPlan, after: Aftermath, now: Timestamp) -> Vec<Record> {
    let pinned = is_pinned(plan, after);
    let (id, row) = (sight.row.id, &sight.row);
    let mut records = Vec::new();
    if let Some(remote) = &sight.remote {
        let before = row.watermark.filter(|mark| mark.uid_validity == remote.uid_validity());
        let full = matches!(remote.messages, RemoteMessages::Full(_)) && !pinned;
        let watermark = if pinned { before } else { Some(remote.watermark) };
        let (permanent, read_only) = (remote.permanent.clone(), remote.read_only);
        let full_look = full.then_some(now);
        records.push(Record::Looked { mailbox: id, watermark, permanent, read_only, full_look });
    }
    let stamp = sight.scan.stamp.filter(|_| !pinned && !after.local_changed);
    if stamp != row.stamp {
        records.push(Record::Scanned(id, stamp));
    }
    records
}

fn is_pinned(plan: &MailboxPlan, after: Aftermath) -> bool {
    plan.held || plan.unknown || after.failed || after.overtaken
}

fn unfinished(folder: &MailboxName, why: &str) -> Problem {
    Problem {
        code: "folder-unfinished",
        folder: Some(folder.clone()),
        path: None,
        uid: None,
        message: format!("{why}; what could not be decided is left as it is on both sides"),
        hint: "sync all folders again".to_owned(),
        retry_at: None,
    }
}

fn hold_row(held: &Held) -> HoldRow {
    HoldRow {
        mailbox: held.folder.clone(),
        side: held.side,
        reason: held.reason.as_str().to_owned(),
        count: held.count,
        since: held.since,
    }
}

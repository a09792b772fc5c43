//! What is missing from one folder may be in another that was looked at too early: its removal waits.

use std::collections::{BTreeMap, BTreeSet};

use super::email_ids::{Name, name_of_message, name_of_row};
use super::observe::Sight;
use super::plans::{Key, Plans, Spot, key};
use super::settle::unfinished;
use super::{Run, Scene};
use crate::apply::is_fatal;
use crate::model::{KeywordLetters, MailboxId, MailboxName, MailboxRow, MessageRow, Side, Uid, Watermark};
use crate::reconcile::guard::{losses_now, set_aside};
use crate::reconcile::plan::MailboxPlan;
use crate::reconcile::report::{Held, Problem, Reason};
use crate::reconcile::snapshot::{ListedMailbox, RemoteListing};
use crate::store::{Failure, Journal, LocalErrorKind, LocalStore, RemoteStore};

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Takes out of the plans the removals that may turn out to be moves.
    pub(super) async fn defer_removals(
        &mut self,
        scene: &mut Scene,
        sights: &[Sight],
        plans: &mut [MailboxPlan],
    ) -> Result<(), Failure> {
        self.await_files(scene, sights, plans)?;
        self.await_lost(scene, sights, plans)?;
        self.await_unseen(scene, sights, plans)?;
        self.await_arrivals(scene, sights, plans).await
    }

    /// A message gone from one folder may have gone to another after that was scanned, or to one that kept changing while it
    /// was, or to one that this run is not about. In the first cases its removal waits for the next pass, in the last for
    /// the next run.
    fn await_files(&mut self, scene: &mut Scene, sights: &[Sight], plans: &mut [MailboxPlan]) -> Result<(), Failure> {
        let removes = |plan: &MailboxPlan| losses_now(plan, Side::Local) > 0;
        if !plans.iter().any(removes) {
            return Ok(());
        }
        let restless = sights.iter().filter(|sight| !sight.scan.quiet).map(|sight| sight.row.id);
        let restless: Vec<MailboxId> = restless.collect();
        let stirred = !restless.is_empty() || self.has_stirred(scene, plans)?;
        let incomplete = !self.sees_all();
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
        // Together: only with it in sight can be told what came to it. So with one that has changed since it was listed,
        // which nothing else may be a reason to look at.
        scene.again.extend(restless);
        if stirred {
            let (names, rows) = (self.account.local.stirred()?, self.account.journal.mailboxes()?);
            let changed = rows.iter().filter(|row| names.contains(&row.local) && self.is_looked_at(scene, row));
            let changed: Vec<MailboxId> = changed.map(|row| row.id).collect();
            scene.again.extend(changed);
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
            let mut known = BTreeSet::new();
            // No row has the name of a maildir that could not get another.
            for row in rows.iter().filter(|row| row.local == maildir.name || self.unrenamed.contains(&row.id)) {
                known.extend(self.account.journal.messages(row.id)?.into_iter().filter_map(|row| row.unique));
            }
            match self.account.local.observe(&maildir.name, &KeywordLetters::new()) {
                Ok(scan) if scan.quiet && scan.entries.keys().all(|unique| known.contains(unique)) => {}
                Err(error) if error.kind != LocalErrorKind::Item => return Err(error.into()),
                Ok(_) | Err(_) => return Ok(Some(maildir.name.clone())),
            }
        }
        Ok(None)
    }

    /// A message gone from one mailbox may have arrived in another after that was looked at. As long as any has grown
    /// since, what is gone without an explanation stays in the Maildir, and is not sent again either: until the next pass,
    /// or, if the one that grew is held or none of this run's, until the next run.
    async fn await_arrivals(
        &mut self,
        scene: &mut Scene,
        sights: &[Sight],
        plans: &mut [MailboxPlan],
    ) -> Result<(), Failure> {
        let removes = |plan: &MailboxPlan| !plan.remove_local.is_empty() || !plan.refiled.is_empty();
        if self.options.dry_run || !plans.iter().any(removes) {
            return Ok(());
        }
        let listing = match self.account.remote.list().await {
            Ok(listing) => Some(listing),
            Err(error) if is_fatal(&error) => return Err(error.into()),
            Err(_) => None,
        };
        let rows = self.account.journal.mailboxes()?;
        // What left a mailbox before that got another name did not come to the one that has its old name now.
        let displaced = |name: &MailboxName| sights.iter().any(|sight| sight.displaced && sight.row.name == *name);
        // What was moved here from a mailbox that has another name now needs its row until all is seen: its message may have
        // come to what has its old name after that got it.
        let refiled: BTreeSet<MailboxId> = plans.iter().flat_map(|plan| plan.refiled.values().copied()).collect();
        let is_left_over = |sight: &&Sight| sight.displaced && !sight.stranded && refiled.contains(&sight.row.id);
        let left_over: BTreeSet<MailboxId> = sights.iter().filter(is_left_over).map(|sight| sight.row.id).collect();
        // They look as they did, and hold what another mailbox held, or may, and could not be looked at.
        let held_by = [&self.robbed, &self.contested, &left_over];
        let robbed = rows.iter().filter(|row| held_by.iter().any(|mailboxes| mailboxes.contains(&row.id)));
        let robbed: BTreeSet<MailboxName> = robbed.map(|row| row.name.clone()).collect();
        let grown: Option<BTreeSet<MailboxName>> = listing.map(|listing| {
            let mut grown = self.grown(&listing, &seen_until(scene, sights, &rows));
            grown.retain(|name| !displaced(name));
            grown.extend(robbed.iter().cloned());
            grown
        });
        if grown.as_ref().is_some_and(BTreeSet::is_empty) {
            return Ok(());
        }
        // One that could not be looked at could not be with the next pass either.
        let is_ours = |name: &MailboxName| {
            scene.folders.iter().any(|folder| folder.name == *name && !self.blind.contains(&folder.local))
        };
        let held = grown.iter().flatten().find(|name| self.is_renumbering_held(name)).cloned();
        let ours = grown.iter().flatten().all(is_ours) && grown.is_some() && held.is_none();
        // What a mailbox held whose name another has goes first where nothing else is waited for, and every maildir is as it
        // was seen: what has the name is looked at once it has gone, and what is found there is fetched.
        let names_alone = grown.as_ref().is_some_and(|grown| grown.is_subset(&robbed));
        let all_seen =
            self.sees_all() && sights.iter().all(|sight| sight.scan.quiet) && !self.has_stirred(scene, plans)?;
        let goes_first = |mailbox: MailboxId| {
            let is_it = |sight: &Sight| sight.row.id == mailbox && sight.displaced && !sight.stranded;
            ours && names_alone && all_seen && sights.iter().any(is_it)
        };
        let waiting = plans.iter_mut().filter(|plan| removes(plan) && !goes_first(plan.mailbox));
        let mut again = self.put_off(waiting, held.as_ref(), ours);
        // The file of one that neither side has where it was may be one of those that were put off, and its message where
        // nobody has looked.
        let goes_whole = |mailbox: MailboxId| goes_first(mailbox) && !left_over.contains(&mailbox);
        let lost = Plans::new(sights, plans).keep_gone_from_both(goes_whole);
        self.left_over.extend(left_over.iter().filter(|mailbox| goes_first(**mailbox)));
        again.extend(lost.into_iter().filter(|_| ours));
        let looked_at_again = |row: &&MailboxRow| ours && grown.iter().flatten().any(|name| *name == row.name);
        again.extend(rows.iter().filter(looked_at_again).map(|row| row.id));
        scene.again.append(&mut again);
        Ok(())
    }

    /// Leaves in the Maildir what is gone from the server, and what would be sent again. Returns the mailboxes about which the
    /// next pass decides.
    fn put_off<'p>(
        &mut self,
        plans: impl Iterator<Item = &'p mut MailboxPlan>,
        held: Option<&MailboxName>,
        ours: bool,
    ) -> BTreeSet<MailboxId> {
        let mut again = BTreeSet::new();
        for plan in plans {
            if let Some(held) = held {
                self.report.problem(awaits_word(&plan.name, held));
            } else if !ours {
                let why = "other folders of the server hold new messages, which may be the ones removed here";
                self.report.problem(unfinished(&plan.name, why));
            }
            set_aside(plan, Side::Remote);
            hold_back_refiled(plan);
            again.extend(ours.then_some(plan.mailbox));
        }
        again
    }

    /// A message gone from both sides may have moved on both, its file to a maildir that kept changing while it was read, or
    /// that has changed since it was listed. Were its row let go of now, it would be fetched where it is on the server, and
    /// sent from where its file is.
    fn await_lost(&mut self, scene: &mut Scene, sights: &[Sight], plans: &mut [MailboxPlan]) -> Result<(), Failure> {
        if plans.iter().all(|plan| plan.forget.is_empty()) {
            return Ok(());
        }
        let mut all = Plans::new(sights, plans);
        let rows = all.rows();
        let lost = all.gone_from_both(&rows);
        let found = found_elsewhere(&all, &lost);
        let is_restless = |sight: &&Sight| !sight.scan.quiet || sight.view().withholds();
        let restless: Vec<MailboxId> = sights.iter().filter(is_restless).map(|sight| sight.row.id).collect();
        if found.is_empty() || (restless.is_empty() && !self.has_stirred(scene, all.plans)?) {
            return Ok(());
        }
        let waiting = hold_lost(&mut all, &lost, &found);
        scene.again.extend(waiting.into_iter().chain(restless));
        Ok(())
    }

    /// A message gone from both sides may be in a folder that could not be looked at, with its file, or its file in another.
    /// Without its row it would be another there: fetched where it is, sent from where its file is, and with its letters
    /// meaning what they mean there.
    fn await_unseen(&mut self, scene: &Scene, sights: &[Sight], plans: &mut [MailboxPlan]) -> Result<(), Failure> {
        let concerns = |plan: &MailboxPlan| !plan.forget.is_empty() || !plan.refiled.is_empty();
        if !plans.iter().any(concerns)
            || self.sees_all()
            || (self.blind.is_empty() && self.others_grew(scene)?.is_none())
        {
            return Ok(());
        }
        for plan in plans.iter().filter(|plan| !plan.refiled.is_empty()) {
            let why = "files came to it whose messages may be in a folder that this sync does not see";
            self.report.problem(unfinished(&plan.name, why));
        }
        let mut all = Plans::new(sights, plans);
        let rows = all.rows();
        let lost = all.gone_from_both(&rows);
        let found = found_elsewhere(&all, &lost);
        hold_lost(&mut all, &lost, &found);
        Ok(())
    }

    /// Returns true if a maildir has changed since it was listed, or is to be looked at and was not by this pass.
    pub(super) fn has_stirred(&mut self, scene: &Scene, plans: &[MailboxPlan]) -> Result<bool, Failure> {
        let unseen = scene.again.iter().any(|mailbox| plans.iter().all(|plan| plan.mailbox != *mailbox));
        Ok(unseen || !self.account.local.stirred()?.is_empty())
    }

    /// Nobody looks into such a mailbox before the user's word.
    fn is_renumbering_held(&self, name: &MailboxName) -> bool {
        let is_it = |held: &Held| held.reason == Reason::UidValidity && held.folder.as_ref() == Some(name);
        self.report.held.iter().any(is_it)
    }

    /// Returns the mailboxes that take part and have more in them than was seen.
    fn grown(&self, listing: &RemoteListing, seen: &BTreeMap<MailboxName, Watermark>) -> BTreeSet<MailboxName> {
        let has_grown = |(name, listed): &(&MailboxName, &ListedMailbox)| match (listed.status, seen.get(*name)) {
            (Some(now), Some(seen)) => now.has_grown_since(seen),
            (Some(now), None) => now.messages > 0,
            (None, _) => false,
        };
        let takes_part = |(name, listed): &(&MailboxName, &ListedMailbox)| {
            listed.selectable && self.policy.scope.takes_part(name, listed.role, listed.subscribed)
        };
        let mailboxes = listing.mailboxes.iter().filter(takes_part).filter(has_grown);
        mailboxes.map(|(name, _)| name.clone()).collect()
    }
}

/// Returns the new messages on the server that may be these, as far as can be told without asking: those, too, that are
/// not fetched yet because of what could not be seen in their maildirs.
pub(super) fn found_elsewhere(all: &Plans<'_>, lost: &[&MessageRow]) -> BTreeSet<Spot> {
    let keys: BTreeSet<Key> = lost.iter().filter_map(|row| key(row.size, row.date)).collect();
    let names: BTreeSet<Name> = lost.iter().filter_map(|row| name_of_row(row)).collect();
    let may_be = |spot: &Spot| {
        all.message(*spot).is_some_and(|message| {
            key(message.size, message.date).is_some_and(|key| keys.contains(&key))
                || name_of_message(message).is_some_and(|name| names.contains(&name))
        })
    };
    let new = all.sights.iter().zip(&*all.plans).flat_map(|(sight, plan)| {
        let view = sight.view();
        let adopted: BTreeSet<Uid> = plan.adopt.iter().map(|found| found.uid).collect();
        let planned = plan.download.iter().copied().chain(plan.copy_local.iter().map(|copy| copy.uid));
        let mut uids: Vec<Uid> = planned.collect();
        if view.withholds() {
            uids.extend(view.new_messages().map(|(uid, _)| uid).filter(|uid| !adopted.contains(uid)));
        }
        uids.into_iter().map(move |uid| (plan.mailbox, uid))
    });
    new.filter(may_be).collect()
}

/// Keeps the rows of what is gone from both sides, and leaves alone what may be it on either. Returns the mailboxes that this
/// concerns, which are not settled by this pass.
fn hold_lost(all: &mut Plans<'_>, lost: &[&MessageRow], found: &BTreeSet<Spot>) -> BTreeSet<MailboxId> {
    lost.iter().for_each(|row| all.forget_no_more(row));
    let mut waiting: BTreeSet<MailboxId> = lost.iter().map(|row| row.mailbox).collect();
    waiting.extend(found.iter().map(|(mailbox, _)| *mailbox));
    // Sent while their rows wait, their files would be messages of their own when those are found.
    for plan in all.plans.iter_mut().filter(|plan| !plan.refiled.is_empty()) {
        hold_back_refiled(plan);
        waiting.insert(plan.mailbox);
    }
    for plan in all.plans.iter_mut().filter(|plan| waiting.contains(&plan.mailbox)) {
        let mailbox = plan.mailbox;
        plan.download.retain(|uid| !found.contains(&(mailbox, *uid)));
        plan.copy_local.retain(|copy| !found.contains(&(mailbox, copy.uid)));
        plan.unknown = true;
    }
    waiting
}

/// Leaves unsent what has gone from where it was.
fn hold_back_refiled(plan: &mut MailboxPlan) {
    let refiled = std::mem::take(&mut plan.refiled);
    plan.upload.retain(|upload| !refiled.contains_key(&upload.unique));
}

fn awaits_word(folder: &MailboxName, held: &MailboxName) -> Problem {
    let why = format!("{held} is held, and may hold the messages removed here");
    Problem { hint: format!("decide about {held} first"), ..unfinished(folder, &why) }
}

/// Returns up to where each mailbox was seen: in this pass, or when the run began, or before.
fn seen_until(scene: &Scene, sights: &[Sight], rows: &[MailboxRow]) -> BTreeMap<MailboxName, Watermark> {
    let recorded = rows.iter().filter_map(|row| Some((row.name.clone(), row.watermark?)));
    let listed = scene.listing.mailboxes.iter().filter_map(|(name, listed)| Some((name.clone(), listed.status?)));
    let mut seen: BTreeMap<MailboxName, Watermark> = listed.collect();
    seen.extend(recorded);
    seen.extend(sights.iter().filter_map(|sight| Some((sight.row.name.clone(), sight.remote.as_ref()?.watermark))));
    seen
}

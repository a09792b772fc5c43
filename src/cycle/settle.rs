//! The end of a pass and of a run: watermarks and stamps, what to look at again, holds, the recoverable trash.

use std::collections::{BTreeMap, BTreeSet};

use super::email_ids::names_told;
use super::observe::{Sight, has_replaced};
use super::{LOSS_WINDOW, Run, Scene};
use crate::apply::{Aftermath, local_problem};
use crate::model::{KeywordLetters, MailboxId, MailboxName, Timestamp, Watermark};
use crate::reconcile::changes::changed;
use crate::reconcile::plan::MailboxPlan;
use crate::reconcile::policy::{KeepDeleted, Options};
use crate::reconcile::report::{Held, Problem};
use crate::store::{Failure, Header, HoldRow, Journal, LocalErrorKind, LocalStore, Record, RemoteStore};

/// How long after something has changed the server is asked how full the account is, in seconds.
const QUOTA_DELAY: i64 = 600;

/// Returns true if a run asks the server how full the account is. Some look into every mailbox for that (Dovecot, where it
/// counts): a while after something has changed is soon enough. Once a day that tells of what does not show: another limit,
/// and what lies in folders that are not synced.
pub fn asks_quota(header: &Header, options: &Options, now: Timestamp) -> bool {
    !options.dry_run && (header.is_first_of_day(now) || header.quota_due.is_some_and(|due| due <= now))
}

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
            // What could not be followed yet to where it is the next pass may not let go of.
            if sight.stranded && (after.failed || after.overtaken) {
                self.stranded.remove(&sight.row.id);
            }
            match is_pinned(plan, after) && sight.was_looked_at_in_full() {
                true => self.in_full.insert(sight.row.id),
                false => self.in_full.remove(&sight.row.id),
            };
            records.extend(settled(sight, plan, after, self.now));
            records.extend(self.remember(sight, plan, after)?);
            records.extend(names_told(sight));
            // Until the names bear them, keywords that got a letter now must not look removed.
            let agreed = !is_pinned(plan, after);
            let known = letters.get(&sight.row.id).filter(|known| agreed && **known != sight.recorded);
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

    /// Returns the looks of the next pass as far as they are known before these plans are carried out: if all goes well, at
    /// what they change, since what [`settled`] will record. Nothing if any of them has to be a full one.
    pub(super) fn next_looks(
        &mut self,
        scene: &Scene,
        sights: &[Sight],
        plans: &[MailboxPlan],
        undecided: &BTreeSet<MailboxId>,
        trash: Option<MailboxId>,
    ) -> Result<Vec<(MailboxName, Watermark)>, Failure> {
        let mut again = changed(plans, trash);
        if again.is_empty() {
            return Ok(Vec::new());
        }
        again.extend(undecided);
        let rows = self.account.journal.mailboxes()?;
        let mut since: BTreeMap<&MailboxName, Option<Watermark>> =
            rows.iter().filter(|row| again.contains(&row.id)).map(|row| (&row.name, row.watermark)).collect();
        let free = sights.iter().zip(plans).filter(|(_, plan)| !is_pinned(plan, Aftermath::default()));
        for (sight, _) in free {
            if let (Some(since), Some(remote)) = (since.get_mut(&sight.row.name), &sight.remote) {
                *since = Some(remote.watermark);
            }
        }
        let looks = scene.folders.iter().filter_map(|folder| Some((&folder.name, since.get(&folder.name)?)));
        let looks: Option<Vec<_>> = looks.map(|(name, since)| Some((name.clone(), (*since)?))).collect();
        Ok(looks.unwrap_or_default())
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
        self.expire(&scene.header)?;
        let mut records = vec![Record::ForgetLosses(Timestamp(self.now.0 - LOSS_WINDOW))];
        let holds = self.holds(&scene.header)?;
        let in_step = holds.is_empty() && self.report.problems.is_empty();
        records.extend((holds != scene.header.holds).then_some(Record::Holds(holds)));
        records.extend(self.quota(&scene.header));
        let capabilities = &scene.listing.capabilities;
        records
            .extend((*capabilities != scene.header.capabilities).then(|| Record::Capabilities(capabilities.clone())));
        records.extend(self.is_united(scene)?.then_some(Record::United));
        records.extend(in_step.then_some(Record::Succeeded(self.now)));
        Ok(self.account.journal.commit(&records)?)
    }

    /// Records what is held so far: at the end of a run that could not begin, and where it must not be forgotten. What was
    /// held in folders still is, and since when.
    pub(super) fn keep_holds(&mut self, header: &Header) -> Result<(), Failure> {
        if self.options.dry_run {
            return Ok(());
        }
        let now: Vec<HoldRow> = self.report.held.iter().map(hold_row).collect();
        let is_now = |hold: &HoldRow| {
            now.iter().any(|new| (&new.mailbox, new.side, &new.reason) == (&hold.mailbox, hold.side, &hold.reason))
        };
        let before = header.holds.iter().filter(|hold| hold.mailbox.is_some() && !is_now(hold));
        let holds: Vec<HoldRow> = before.chain(&now).cloned().collect();
        Ok(self.account.journal.commit(&[Record::Holds(holds)])?)
    }

    /// Returns what is held now, also in folders that this run was not about.
    fn holds(&mut self, header: &Header) -> Result<Vec<HoldRow>, Failure> {
        let rows = if header.holds.is_empty() { Vec::new() } else { self.account.journal.mailboxes()? };
        let mut holds: Vec<HoldRow> =
            header.holds.iter().filter(|hold| self.still_stands(hold, &rows)).cloned().collect();
        holds.extend(self.report.held.iter().map(hold_row));
        Ok(holds)
    }

    /// Returns the record of how full the account is, and of when that is to be asked again, if either is news.
    fn quota(&self, header: &Header) -> Option<Record> {
        let told = self.account.remote.quota();
        let due = if told.is_some() { None } else { header.quota_due };
        let due = due.or_else(|| self.found_news.then_some(Timestamp(self.now.0 + QUOTA_DELAY)));
        let quota = told.unwrap_or(header.quota);
        ((quota, due) != (header.quota, header.quota_due)).then_some(Record::Quota(quota, due))
    }

    /// Returns the time that removals are dated by. A clock that stands before the last success is wrong: by what it says,
    /// they would be old as soon as it is right again.
    pub(super) fn date(&self, header: &Header) -> Timestamp {
        header.last_success.map_or(self.now, |last| last.max(self.now))
    }

    /// Lets go of what was kept long enough in the recoverable trash.
    fn expire(&mut self, header: &Header) -> Result<(), Failure> {
        let KeepDeleted::For(time) = self.policy.keep_deleted else { return Ok(()) };
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let mut dropped = Vec::new();
        for row in self.account.journal.kept(Timestamp(self.now.0.saturating_sub(seconds)))? {
            self.account.local.drop_kept(&row.kept.kept_as)?;
            dropped.push(Record::Dropped(row.kept.kept_as));
        }
        if !dropped.is_empty() {
            self.account.journal.commit(&dropped)?;
        }
        // The whole index is read for it: with the first run of a day.
        match header.is_first_of_day(self.now) {
            true => self.expire_unknown(Timestamp(self.now.0.saturating_sub(seconds))),
            false => Ok(()),
        }
    }

    /// What the index doesn't know, because it was lost, is kept as long as the rest: since the file was last touched.
    fn expire_unknown(&mut self, before: Timestamp) -> Result<(), Failure> {
        let old: Vec<_> = self.account.local.kept_files()?.into_iter().filter(|file| file.since < before).collect();
        if old.is_empty() {
            return Ok(());
        }
        let index = self.account.journal.kept(Timestamp(i64::MAX))?;
        let known: BTreeSet<&str> = index.iter().map(|row| row.kept.kept_as.as_str()).collect();
        for file in old.iter().filter(|file| !known.contains(file.kept_as.as_str())) {
            self.account.local.drop_kept(&file.kept_as)?;
        }
        Ok(())
    }
}

/// What was held, failed, unknown or overtaken is to be seen again, so the marks before it stay.
fn settled(sight: &Sight, plan: &MailboxPlan, after: Aftermath, now: Timestamp) -> Vec<Record> {
    let pinned = is_pinned(plan, after);
    let (id, row) = (sight.row.id, &sight.row);
    let mut records = Vec::new();
    if let Some(remote) = &sight.remote {
        let before = row.watermark.filter(|mark| mark.uid_validity == remote.uid_validity());
        let full = sight.was_looked_at_in_full() && !pinned;
        let watermark = if pinned { before } else { Some(remote.watermark) };
        let (permanent, read_only) = (remote.permanent.clone(), remote.read_only);
        let full_look = full.then_some(now);
        records.push(Record::Looked { mailbox: id, watermark, permanent, read_only, full_look });
    }
    // The letters that are known are those of the maildir that is known: as long as those of another can't be recorded,
    // neither is its directory.
    let are_recorded = |letters: &KeywordLetters| !pinned || *letters == sight.recorded;
    let known = !has_replaced(&sight.scan, row) || sight.scan.letters.as_ref().is_some_and(are_recorded);
    let directory = sight.scan.directory.filter(|directory| known && Some(*directory) != row.directory);
    records.extend(directory.map(|directory| Record::Directory(id, directory)));
    let stamp = sight.scan.stamp.filter(|_| !pinned && !after.local_changed);
    if stamp != row.stamp {
        records.push(Record::Scanned(id, stamp));
    }
    records
}

fn is_pinned(plan: &MailboxPlan, after: Aftermath) -> bool {
    plan.held || plan.unknown || after.failed || after.overtaken
}

pub(super) fn unfinished(folder: &MailboxName, why: &str) -> Problem {
    let message = format!("{why}; what could not be decided is left as it is on both sides");
    Problem::of(folder, "folder-unfinished", message, "sync all folders again")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Quota;

    #[test]
    fn how_full_the_account_is_is_asked_when_it_is_due_and_once_a_day() {
        let noon = 1_700_000_000 / 86_400 * 86_400 + 43_200;
        let asks = |last_success: Option<i64>, due: Option<i64>, dry_run| {
            let header = Header {
                database: String::new(),
                run: 1,
                token: String::new(),
                next_token: String::new(),
                last_success: last_success.map(Timestamp),
                circumstances: None,
                united: true,
                quota: Quota::default(),
                quota_due: due.map(Timestamp),
                capabilities: String::new(),
                holds: Vec::new(),
            };
            asks_quota(&header, &Options { dry_run, ..Options::default() }, Timestamp(noon))
        };
        assert!(asks(None, None, false) && asks(Some(noon - 86_400), None, false));
        assert!(!asks(Some(noon - 3600), None, false) && !asks(Some(noon - 3600), Some(noon + 1), false));
        assert!(asks(Some(noon - 3600), Some(noon), false) && !asks(None, Some(noon), true));
    }
}

//! What failed before, and what can't be carried out: told as an error by the run that finds it and by each that tries
//! again; in between it waits, and is listed as waiting.

use std::collections::{BTreeMap, BTreeSet};

use super::observe::Sight;
use super::{Aftermath, Run};
use crate::model::{FailureCode, FlagDelta, FlagSet, MailboxId, MailboxName, Timestamp, Uid, UidSet, UniqueName};
use crate::reconcile::memory::{Memory, Stuck};
use crate::reconcile::plan::MailboxPlan;
use crate::reconcile::report::{Problem, Waiting};
use crate::reconcile::snapshot::LocalEntry;
use crate::store::{Failure, FailureRow, Journal, LocalStore, RETRY_AFTER, Record, RemoteStore, untaken};

/// Returns true for a message that could not be had, which a look from the watermark on need not show.
pub(super) fn asks_for_full_look(failure: &FailureRow, now: Timestamp) -> bool {
    failure.code == FailureCode::MessageUnavailable && failure.is_due(now)
}

/// Returns true for a file that waits to be sent. It must be seen in every pass: what it was elsewhere stays on the
/// server until it is there.
pub(super) fn is_unsent(failure: &FailureRow) -> bool {
    failure.unique.is_some() && failure.code != FailureCode::FlagRefused
}

impl Sight {
    /// Returns the files and messages that failed and whose time has not come.
    pub(super) fn waiting(&self) -> (BTreeSet<UniqueName>, UidSet) {
        let blocks = |failure: &&FailureRow| !failure.code.is_found_anew() && failure.code != FailureCode::FlagRefused;
        let waiting = || self.failures.iter().filter(blocks).filter(|failure| !failure.is_due(self.now));
        let uids: Vec<Uid> = waiting().filter_map(|failure| failure.uid).collect();
        (waiting().filter_map(|failure| failure.unique.clone()).collect(), uids.into_iter().collect())
    }

    /// Returns what earlier runs and passes left for the plan.
    pub(super) fn recall(&self, uploaded: &BTreeMap<(MailboxId, UniqueName), FlagSet>) -> Memory {
        let (untaken, refused) =
            (untaken(&self.failures), untaken(self.failures.iter().filter(|one| !one.is_due(self.now))));
        let mine = uploaded.iter().filter(|((mailbox, _), _)| *mailbox == self.row.id);
        let fresh = mine.map(|((_, unique), sent)| (unique.clone(), sent.clone())).collect();
        Memory { refused, untaken, fresh, letters: self.row.letters.clone() }
    }

    /// Returns true if what failed is not in step still.
    fn is_there(&self, failure: &FailureRow) -> bool {
        let row = self
            .rows
            .iter()
            .find(|row| Some(row.uid) == failure.uid || failure.unique.is_some() && row.unique == failure.unique);
        let entry = failure.unique.as_ref().and_then(|unique| self.scan.entries.get(unique));
        let on_server = |uid| self.remote.as_ref().is_none_or(|snapshot| snapshot.messages.get(uid).is_some());
        match (failure.code, row, entry) {
            (FailureCode::FlagRefused, Some(row), Some(entry)) => differs(&failure.flags, entry, &row.flags),
            (FailureCode::RemovalRefused, Some(row), _) => {
                on_server(row.uid) && row.unique.as_ref().is_some_and(|unique| !self.scan.entries.contains_key(unique))
            }
            (FailureCode::FlagRefused | FailureCode::RemovalRefused, ..) | (_, Some(_), _) => false,
            (_, None, Some(_)) => true,
            (_, None, None) => failure.unique.is_none() && failure.uid.is_some_and(on_server),
        }
    }
}

/// Returns true if the file still has it otherwise than the server.
fn differs(refused: &FlagDelta, entry: &LocalEntry, agreed: &FlagSet) -> bool {
    !refused.intersection(&agreed.delta_to(&entry.flags)).is_empty()
}

/// Returns a recorded failure as what it is listed as.
pub fn listed(folder: &MailboxName, failure: &FailureRow) -> Waiting {
    Waiting {
        code: failure.code,
        folder: folder.clone(),
        path: failure.unique.as_ref().map(ToString::to_string),
        uid: failure.uid,
        message: failure.message.clone(),
        retry_at: failure.retry_at,
    }
}

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Lists what waits in a mailbox in which nothing changed.
    pub(super) fn list_waiting(&mut self, folder: &MailboxName, failures: &[FailureRow]) {
        self.report.waiting.extend(failures.iter().map(|failure| listed(folder, failure)));
    }

    /// Lists what waits in the mailboxes looked at, and tells of what is stuck and was not told before.
    pub(super) fn tell_stuck(&mut self, sights: &[Sight], plans: &[MailboxPlan], first: bool) {
        for (sight, plan) in sights.iter().zip(plans) {
            let stuck = stuck_rows(sight, plan, self.now);
            let is_known =
                |row: &FailureRow| sight.failures.iter().any(|known| is_same(known, row) && tells(known, row));
            let (known, news): (Vec<_>, Vec<_>) = stuck.into_iter().partition(is_known);
            if first {
                let waits = |failure: &&FailureRow| !failure.code.is_found_anew() && !failure.is_due(self.now);
                let still = sight.failures.iter().filter(waits).filter(|failure| sight.is_there(failure));
                self.report.waiting.extend(still.chain(&known).map(|failure| listed(&sight.row.name, failure)));
            }
            problems(sight, &news).into_iter().for_each(|problem| self.report.problem(problem));
        }
    }

    /// Returns the records by which the failures of a mailbox are those that still count.
    pub(super) fn remember(
        &mut self,
        sight: &Sight,
        plan: &MailboxPlan,
        after: Aftermath,
    ) -> Result<Vec<Record>, Failure> {
        let stuck = stuck_rows(sight, plan, self.now);
        if sight.failures.is_empty() && stuck.is_empty() {
            return Ok(Vec::new());
        }
        let untried = plan.held || plan.unknown || after.failed || after.overtaken;
        let counts = |row: &FailureRow| match sight.failures.contains(row) {
            // Recorded by this pass.
            false => true,
            _ if row.code.is_found_anew() => plan.unknown || stuck.iter().any(|item| is_same(item, row)),
            _ if row.is_due(self.now) => untried,
            // As long as letters stripped with it are not back on the name, nothing else tells that nobody took them
            // off.
            _ if row.code == FailureCode::FlagRefused && untried => true,
            _ => plan.unknown || sight.is_there(row),
        };
        let recorded = self.account.journal.failures(sight.row.id)?;
        let before = recorded.len();
        let mut kept: Vec<FailureRow> = recorded.into_iter().filter(counts).collect();
        let renews = |item: &&FailureRow| {
            let known = kept.iter().find(|row| is_same(row, item));
            known.is_none_or(|row| row.is_due(self.now) || row.flags != item.flags)
        };
        let renewed: Vec<FailureRow> = stuck.iter().filter(renews).cloned().collect();
        let mut records = Vec::new();
        if kept.len() < before {
            records.push(Record::ForgetFailures(sight.row.id));
            records.extend(kept.drain(..).map(Record::Failed));
        }
        records.extend(renewed.into_iter().map(Record::Failed));
        Ok(records)
    }
}

/// Two rows about the same thing.
fn is_same(one: &FailureRow, other: &FailureRow) -> bool {
    (one.code, &one.unique, one.uid) == (other.code, &other.unique, other.uid)
}

/// Returns true if the one that was told leaves nothing of the other to tell.
fn tells(known: &FailureRow, row: &FailureRow) -> bool {
    row.flags.difference(&known.flags).is_empty()
}

/// Returns a row for everything that is stuck in a mailbox: one for each file and removal, one for all flags.
fn stuck_rows(sight: &Sight, plan: &MailboxPlan, now: Timestamp) -> Vec<FailureRow> {
    let Stuck { files, removals, flags } = &plan.stuck;
    let row = |code, unique: Option<&UniqueName>, uid, flags: FlagDelta, message: String| FailureRow {
        mailbox: sight.row.id,
        unique: unique.cloned(),
        uid,
        code,
        message,
        retry_at: Some(Timestamp(now.0 + RETRY_AFTER)),
        flags,
    };
    let none = FlagDelta::default;
    let of = |otherwise| if plan.rules.read_only { FailureCode::ReadOnly } else { otherwise };
    let file = |unique| {
        let message = "the server lets nothing be put into this folder; the file stays in the Maildir only";
        row(FailureCode::ReadOnly, Some(unique), None, none(), message.to_owned())
    };
    let removal = |uid: &Uid| {
        let message = "removed from the Maildir; the server lets nothing be removed from this folder and keeps it";
        row(of(FailureCode::RemovalUnsupported), None, Some(*uid), none(), message.to_owned())
    };
    let mut rows: Vec<FailureRow> = files.iter().map(file).chain(removals.iter().map(removal)).collect();
    if !flags.is_empty() {
        let message = format!("the server does not store these changes of flags in this folder: {flags}");
        rows.push(row(of(FailureCode::FlagUnsupported), None, None, flags.clone(), message));
    }
    rows
}

/// Returns one problem for each kind of what is stuck and is news.
fn problems(sight: &Sight, news: &[FailureRow]) -> Vec<Problem> {
    let files = news.iter().filter(|row| row.unique.is_some());
    let removals = news.iter().filter(|row| row.uid.is_some());
    let flags = news.iter().filter(|row| row.unique.is_none() && row.uid.is_none());
    let kinds = [files.collect::<Vec<_>>(), removals.collect(), flags.collect()];
    kinds.iter().filter_map(|rows| rows.first().map(|row| problem(sight, row, rows.len()))).collect()
}

fn problem(sight: &Sight, row: &FailureRow, count: usize) -> Problem {
    let more = if count > 1 { format!(" (and {} more like it)", count - 1) } else { String::new() };
    let hint = "this is told once; `mailtide check` lists it as long as it lasts. Undo it here, or have the folder's \
                rights changed on the server";
    Problem {
        path: row.unique.as_ref().map(ToString::to_string),
        uid: row.uid,
        ..Problem::of(&sight.row.name, row.code.as_str(), format!("{}{more}", row.message), hint)
    }
}

//! What fails, or the server does not take: recorded with its item, so that it waits instead of being tried in every
//! run.

use super::Apply;
use crate::model::{FailureCode, FlagDelta, FlagSet, Timestamp, Uid, UniqueName};
use crate::reconcile::plan::{FlagChange, MailboxPlan};
use crate::reconcile::report::{Problem, Report};
use crate::store::{Failure, FailureRow, Journal, LocalStore, RETRY_AFTER, Record, RemoteStore};

const UNDO: &str = "it is tried again tomorrow; undo the change here to be rid of it";

impl<R: RemoteStore, L: LocalStore, J: Journal> Apply<'_, R, L, J> {
    /// Reports flags that the server did not take, and returns what to record of them. `words` are the server's, if it
    /// refused any.
    pub(super) fn refused_flags(
        &mut self,
        plan: &MailboxPlan,
        refused: &[(&FlagChange, FlagDelta)],
        words: Option<&str>,
    ) -> Result<Vec<Record>, Failure> {
        if refused.is_empty() {
            return Ok(Vec::new());
        }
        let earlier = self.journal.failures(plan.mailbox)?;
        let mut records = Vec::new();
        for (change, now) in refused {
            let waits = |row: &&FailureRow| row.unique.as_ref() == Some(&change.unique) && !row.is_due(self.terms.now);
            let before = earlier.iter().find(waits).map(|row| row.flags.clone()).unwrap_or_default();
            let flags = before.union(now);
            let message = match words {
                Some(words) => format!("the server refuses the change of flags {flags}: {words}; they stay different"),
                None => format!("the server ignores the change of flags {flags}; they stay different"),
            };
            let (unique, uid) = (Some(change.unique.clone()), Some(change.uid));
            let failed = Failed { plan, unique, uid, code: FailureCode::FlagRefused, message, hint: UNDO, flags };
            records.push(Record::Failed(failed.set_aside(self.report, self.terms.now)));
        }
        Ok(records)
    }

    /// Reports messages that the server does not let be flagged `\Deleted`, and returns what to record of them.
    pub(super) fn refused_removals(&mut self, plan: &MailboxPlan, uids: &[Uid], words: Option<&str>) -> Vec<Record> {
        let said = words.map(|words| format!(": {words}")).unwrap_or_default();
        let message =
            format!("the server does not flag this message \\Deleted{said}; it keeps it, the Maildir does not");
        let refused = |uid: &Uid| Failed {
            plan,
            unique: None,
            uid: Some(*uid),
            code: FailureCode::RemovalRefused,
            message: message.clone(),
            hint: UNDO,
            flags: FlagDelta::default(),
        };
        uids.iter().map(|uid| Record::Failed(refused(uid).set_aside(self.report, self.terms.now))).collect()
    }
}

/// An item that failed, and what is told of it.
pub(super) struct Failed<'p> {
    pub(super) plan: &'p MailboxPlan,
    pub(super) unique: Option<UniqueName>,
    pub(super) uid: Option<Uid>,
    pub(super) code: FailureCode,
    pub(super) message: String,
    pub(super) hint: &'static str,
    /// The change of flags that the server did not take.
    pub(super) flags: FlagDelta,
}

impl Failed<'_> {
    /// Tells of it, and returns what to record: it is tried again after a while.
    pub(super) fn set_aside(self, report: &mut Report, now: Timestamp) -> FailureRow {
        let Failed { plan, unique, uid, code, message, hint, flags } = self;
        let retry_at = Some(Timestamp(now.0 + RETRY_AFTER));
        report.problem(Problem {
            path: unique.as_ref().map(ToString::to_string),
            uid,
            retry_at,
            ..Problem::of(&plan.name, code.as_str(), message.clone(), hint)
        });
        FailureRow { mailbox: plan.mailbox, unique, uid, code, message, retry_at, flags }
    }
}

/// Returns what of a change the server did not do.
pub(super) fn left_undone(change: &FlagDelta, actual: &FlagSet) -> FlagDelta {
    FlagDelta { add: change.add.difference(actual), remove: change.remove.intersection(actual) }
}

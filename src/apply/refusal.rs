//! Changes that the server does not take: recorded with their item, so that they wait instead of being asked for in
//! every run.

use super::{Apply, RETRY_AFTER};
use crate::model::{FlagDelta, FlagSet, Timestamp, Uid, UniqueName};
use crate::reconcile::plan::{FlagChange, MailboxPlan};
use crate::reconcile::report::Problem;
use crate::store::{Failure, FailureRow, Journal, LocalStore, Record, RemoteStore};

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
            let waits = |row: &&FailureRow| {
                row.unique.as_ref() == Some(&change.unique) && row.retry_at.is_none_or(|at| at > self.terms.now)
            };
            let before = earlier.iter().find(waits).map(|row| row.flags.clone()).unwrap_or_default();
            let flags = before.union(now);
            let message = match words {
                Some(words) => format!("the server refuses the change of flags {flags}: {words}; they stay different"),
                None => format!("the server ignores the change of flags {flags}; they stay different"),
            };
            let place = (Some(change.unique.clone()), Some(change.uid));
            records.push(self.refused_change(plan, "flag-refused", place, message, flags));
        }
        Ok(records)
    }

    /// Reports messages that the server does not let be flagged `\Deleted`, and returns what to record of them.
    pub(super) fn refused_removals(&mut self, plan: &MailboxPlan, uids: &[Uid], words: Option<&str>) -> Vec<Record> {
        let said = words.map(|words| format!(": {words}")).unwrap_or_default();
        let message =
            format!("the server does not flag this message \\Deleted{said}; it keeps it, the Maildir does not");
        let refuse = |uid: &Uid| {
            self.refused_change(plan, "removal-refused", (None, Some(*uid)), message.clone(), FlagDelta::default())
        };
        uids.iter().map(refuse).collect()
    }

    fn refused_change(
        &mut self,
        plan: &MailboxPlan,
        code: &'static str,
        (unique, uid): (Option<UniqueName>, Option<Uid>),
        message: String,
        flags: FlagDelta,
    ) -> Record {
        let retry_at = Some(Timestamp(self.terms.now.0 + RETRY_AFTER));
        self.report.problem(Problem {
            code,
            folder: Some(plan.name.clone()),
            path: unique.as_ref().map(ToString::to_string),
            uid,
            message: message.clone(),
            hint: "it is tried again tomorrow; undo the change here to be rid of it".to_owned(),
            retry_at,
        });
        Record::Failed(FailureRow {
            mailbox: plan.mailbox,
            unique,
            uid,
            code: code.to_owned(),
            message,
            retry_at,
            flags,
        })
    }
}

/// Returns what of a change the server did not do.
pub(super) fn left_undone(change: &FlagDelta, actual: &FlagSet) -> FlagDelta {
    FlagDelta { add: change.add.difference(actual), remove: change.remove.intersection(actual) }
}

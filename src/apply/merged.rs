//! Servers that keep messages of one Message-ID once, as Gmail does, and answer with the one that they have. Two files
//! can't be one message: each would be sent again whenever the other was recorded.

use std::collections::{BTreeMap, BTreeSet};

use super::RETRY_AFTER;
use crate::model::{FlagDelta, Timestamp, Uid, UniqueName};
use crate::reconcile::plan::MailboxPlan;
use crate::reconcile::report::{Problem, Report};
use crate::store::{FailureRow, Journal, StateError};

/// Returns the files that were given UIDs of messages whose file in the mailbox is another one, be it among these.
pub(super) fn merged<'f>(
    journal: &mut impl Journal,
    plan: &MailboxPlan,
    given: impl Iterator<Item = (&'f UniqueName, Uid)> + Clone,
) -> Result<BTreeSet<&'f UniqueName>, StateError> {
    let rows = journal.messages_among(plan.mailbox, &given.clone().map(|(_, uid)| uid).collect())?;
    let mut files: BTreeMap<Uid, UniqueName> =
        rows.into_iter().filter_map(|row| Some((row.uid, row.unique?))).collect();
    let mut is_merged = |unique: &UniqueName, uid| *files.entry(uid).or_insert_with(|| unique.clone()) != *unique;
    Ok(given.filter(|(unique, uid)| is_merged(unique, *uid)).map(|(unique, _)| unique).collect())
}

/// Tells of such a file, and returns what to record of it.
pub(super) fn failure(
    report: &mut Report,
    now: Timestamp,
    plan: &MailboxPlan,
    unique: &UniqueName,
    uid: Uid,
) -> FailureRow {
    let message = format!("the server took it for the message that it has as UID {uid}, whose file is another one");
    not_sent(
        report,
        now,
        (plan, unique),
        ("message-merged", message, "this file stays here; remove it if it is a copy"),
    )
}

/// Tells of a file that is not on the server, and returns what to record of it: it is tried again after a while.
pub(super) fn not_sent(
    report: &mut Report,
    now: Timestamp,
    (plan, unique): (&MailboxPlan, &UniqueName),
    (code, message, hint): (&'static str, String, &str),
) -> FailureRow {
    let retry_at = Some(Timestamp(now.0 + RETRY_AFTER));
    report.problem(Problem {
        code,
        folder: Some(plan.name.clone()),
        path: Some(unique.to_string()),
        uid: None,
        message: message.clone(),
        hint: hint.to_owned(),
        retry_at,
    });
    FailureRow {
        mailbox: plan.mailbox,
        unique: Some(unique.clone()),
        uid: None,
        code: code.to_owned(),
        message,
        retry_at,
        flags: FlagDelta::default(),
    }
}

//! Servers that keep messages of one Message-ID once, as Gmail does, and answer with the one that they have. Two files
//! can't be one message: each would be sent again whenever the other was recorded.

use std::collections::{BTreeMap, BTreeSet};

use super::refusal::Failed;
use crate::model::{FailureCode, FlagDelta, Timestamp, Uid, UniqueName};
use crate::reconcile::plan::MailboxPlan;
use crate::reconcile::report::Report;
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
    Failed {
        plan,
        unique: Some(unique.clone()),
        uid: None,
        code: FailureCode::MessageMerged,
        message: format!("the server took it for the message that it has as UID {uid}, whose file is another one"),
        hint: "this file stays here; remove it if it is a copy",
        flags: FlagDelta::default(),
    }
    .set_aside(report, now)
}

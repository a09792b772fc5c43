//! Messages that left one folder and arrived in another in the same pass. They are moves: not lost, and not to be
//! removed before they have arrived.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::{MailboxPlan, RemoteRemoval, Removal};
use crate::model::{Fingerprint, MailboxId, MessageId, Timestamp, Uid, UniqueName};

/// What the baseline knows of a message by which it can be found elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    /// Its content.
    pub content: Option<Fingerprint>,
    /// The server's size.
    pub size: Option<u64>,
    /// INTERNALDATE.
    pub date: Option<Timestamp>,
}

/// What the server says of a new message: its size and INTERNALDATE.
pub type Arrival = (Option<u64>, Option<Timestamp>);

/// Marks files gone from one folder whose content is uploaded to another: the message that stays behind on the server
/// is expunged once the upload is proven, instead of being removed like one that is nowhere any more.
pub fn pair_local_moves(
    plans: &mut [MailboxPlan],
    traces: &BTreeMap<MessageId, Trace>,
    uploads: &BTreeMap<(MailboxId, UniqueName), Fingerprint>,
) {
    let mut arrived: BTreeMap<Fingerprint, Vec<(MailboxId, UniqueName)>> = BTreeMap::new();
    for (place, content) in uploads.iter().rev() {
        arrived.entry(*content).or_default().push(place.clone());
    }
    for plan in plans {
        for removal in plan.remove_remote.iter_mut().filter(|removal| is_sent_away(removal)) {
            let content = traces.get(&removal.row).and_then(|trace| trace.content);
            if let Some(target) = content.and_then(|content| arrived.get_mut(&content)?.pop()) {
                removal.how = Removal::Moved;
                removal.moved_to = Some(target);
            }
        }
    }
}

fn is_sent_away(removal: &RemoteRemoval) -> bool {
    removal.moved_to.is_none() && matches!(removal.how, Removal::Trash | Removal::Expunge)
}

/// Marks messages gone from one folder of the server that arrived in another: same size, same date, one to one.
pub fn pair_remote_moves(
    plans: &mut [MailboxPlan],
    traces: &BTreeMap<MessageId, Trace>,
    arrivals: &BTreeMap<(MailboxId, Uid), Arrival>,
) {
    let downloads: BTreeSet<(MailboxId, Uid)> =
        plans.iter().flat_map(|plan| plan.download.iter().map(|uid| (plan.mailbox, *uid))).collect();
    let mut arrived: BTreeMap<(u64, Timestamp), Vec<MailboxId>> = BTreeMap::new();
    for (place, (size, date)) in arrivals.iter().filter(|(place, _)| downloads.contains(place)) {
        if let (Some(size), Some(date)) = (size, date) {
            arrived.entry((*size, *date)).or_default().push(place.0);
        }
    }
    for plan in plans {
        for removal in &mut plan.remove_local {
            let key = traces.get(&removal.row).and_then(|trace| Some((trace.size?, trace.date?)));
            let places = key.and_then(|key| arrived.get_mut(&key));
            removal.moved = places.is_some_and(|places| take_other(places, plan.mailbox));
        }
    }
}

/// Takes one place out that is not this one.
fn take_other(places: &mut Vec<MailboxId>, this: MailboxId) -> bool {
    let other = places.iter().position(|place| *place != this);
    other.map(|at| places.swap_remove(at)).is_some()
}

//! What plans change on the server: where, and what of it comes last.

use std::collections::BTreeSet;

use super::plan::{MailboxPlan, Removal};
use crate::model::MailboxId;

/// What is changed on the server together, in the order in which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Messages move as their files did.
    Move,
    /// Flags.
    Flags,
    /// New messages.
    Upload,
    /// Messages move to Trash.
    Trash,
    /// Messages are flagged `\Deleted` or expunged.
    Remove,
}

/// Returns what is changed last. `None` if nothing is, or if something is fetched after it.
pub fn last_change(plans: &[MailboxPlan]) -> Option<Change> {
    let any = |is_it: fn(&MailboxPlan) -> bool| plans.iter().any(is_it);
    let removes = |is_it: fn(Removal) -> bool| {
        let removals = plans.iter().flat_map(|plan| &plan.remove_remote);
        removals.map(|removal| removal.how).any(is_it)
    };
    let fetches = any(|plan| !(plan.download.is_empty() && plan.adopt.is_empty()));
    match () {
        () if removes(|how| !matches!(how, Removal::Trash | Removal::Keep)) => Some(Change::Remove),
        () if removes(|how| how == Removal::Trash) => Some(Change::Trash),
        () if any(|plan| !plan.upload.is_empty()) => Some(Change::Upload),
        () if fetches => None,
        () if any(changes_flags) => Some(Change::Flags),
        () if any(|plan| !plan.move_remote.is_empty()) => Some(Change::Move),
        () => None,
    }
}

/// Returns the mailboxes that are changed, that one among them to which what is removed moves.
pub fn changed(plans: &[MailboxPlan], trash: Option<MailboxId>) -> BTreeSet<MailboxId> {
    let is_changed = |plan: &&MailboxPlan| {
        let removes = plan.remove_remote.iter().any(|removal| removal.how != Removal::Keep);
        let takes = !(plan.upload.is_empty() && plan.copy_remote.is_empty());
        takes || removes || !plan.move_remote.is_empty() || changes_flags(plan)
    };
    let moved_to = plans.iter().flat_map(|plan| plan.move_remote.iter().map(|one| one.to));
    let removals = plans.iter().flat_map(|plan| &plan.remove_remote);
    let trash = trash.filter(|_| removals.map(|removal| removal.how).any(|how| how == Removal::Trash));
    plans.iter().filter(is_changed).map(|plan| plan.mailbox).chain(moved_to).chain(trash).collect()
}

fn changes_flags(plan: &MailboxPlan) -> bool {
    plan.flags.iter().any(|change| !change.flags.to_remote.is_empty())
}

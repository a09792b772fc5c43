//! No pass removes the last copy of a message from both sides at once.

use std::collections::{BTreeMap, BTreeSet};

use super::plans::Plans;
use crate::model::{Fingerprint, MailboxId, MessageId, MessageRow, UniqueName};
use crate::reconcile::moves::may_be_a_move;

/// A file, wherever it lies.
type Print<'a> = (&'a UniqueName, Fingerprint);

fn print(row: &MessageRow) -> Option<Print<'_>> {
    Some((row.unique.as_ref()?, row.content?))
}

/// Keeps files that are to be removed while their messages are to be removed from the server elsewhere. Returns the
/// mailboxes that are to be looked at again.
///
/// A message moved on both sides while a run looks is adopted in its new place while the old place keeps its row. If the
/// file is then moved back, it stands where that old row has it. It came there; it was not left behind: without the old
/// row it is an arrival, and its message follows it.
pub(super) fn keep_last_copies<'a>(all: &mut Plans<'a>) -> BTreeSet<MailboxId> {
    let rows = all.rows();
    let print_of = |id: &MessageId| rows.get(id).and_then(|row: &&'a MessageRow| print(row));
    let leaving: BTreeMap<Print<'a>, MailboxId> = all
        .plans
        .iter()
        .flat_map(|plan| plan.remove_remote.iter().filter(|one| may_be_a_move(one)).map(|one| (plan.mailbox, one)))
        .filter_map(|(mailbox, removal)| Some((print_of(&removal.row)?, mailbox)))
        .collect();
    let mut kept: BTreeSet<Print<'a>> = BTreeSet::new();
    let mut again = BTreeSet::new();
    for plan in &mut *all.plans {
        let here = plan.mailbox;
        let is_last = |print: &Print<'a>| leaving.get(print).is_some_and(|from| *from != here);
        for removal in std::mem::take(&mut plan.remove_local) {
            match print_of(&removal.row).filter(is_last) {
                Some(print) => {
                    kept.insert(print);
                    plan.forget.push(removal.row);
                    plan.unknown = true;
                    again.insert(plan.mailbox);
                }
                None => plan.remove_local.push(removal),
            }
        }
    }
    for plan in &mut *all.plans {
        let before = plan.remove_remote.len();
        plan.remove_remote.retain(|removal| print_of(&removal.row).is_none_or(|print| !kept.contains(&print)));
        if plan.remove_remote.len() < before {
            plan.unknown = true;
            again.insert(plan.mailbox);
        }
    }
    again
}

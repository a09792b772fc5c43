//! Adoption: a message found on both sides becomes a row; nothing travels but flags.

use std::collections::BTreeMap;

use super::Apply;
use crate::model::{MessageId, Uid};
use crate::reconcile::plan::{Adoption, FlagChange, MailboxPlan};
use crate::store::{Failure, Journal, LocalStore, NewMessage, Record, RemoteStore};

impl<R: RemoteStore, L: LocalStore, J: Journal> Apply<'_, R, L, J> {
    /// Records the pairs, then unites their flags.
    ///
    /// A row starts with the flags that both sides share. The mailbox's watermark is stored only after the flags are
    /// united, so after a crash in between the next look sees the server's flags again, and the merge with what both
    /// share gives the union once more.
    pub(super) async fn adopt(&mut self, plan: &MailboxPlan) -> Result<(), Failure> {
        let rows: Vec<Record> = plan.adopt.iter().map(|found| Record::Insert(plan.mailbox, new_row(found))).collect();
        self.commit(&rows)?;
        self.report.adopted += plan.adopt.len() as u64;
        (self.progress)(crate::reconcile::report::Event::Changed(plan.adopt.len() as u64));
        let differing: Vec<&Adoption> =
            plan.adopt.iter().filter(|found| new_row(found).flags != found.flags.agreed).collect();
        if differing.is_empty() {
            return Ok(());
        }
        let ids: BTreeMap<Uid, MessageId> =
            self.journal.messages(plan.mailbox)?.into_iter().map(|row| (row.uid, row.id)).collect();
        let changes: Vec<FlagChange> = differing
            .into_iter()
            .filter_map(|found| {
                let (unique, entry) = (found.unique.clone(), found.entry.clone());
                Some(FlagChange {
                    row: *ids.get(&found.uid)?,
                    uid: found.uid,
                    unique,
                    entry,
                    flags: found.flags.clone(),
                })
            })
            .collect();
        self.bring_over(plan, &changes, false).await
    }
}

fn new_row(found: &Adoption) -> NewMessage {
    let (identity, stat) = found.identity;
    let shared = found.flags.agreed.difference(&found.flags.to_remote.add).difference(&found.flags.to_local.add);
    NewMessage {
        uid: found.uid,
        unique: Some(found.unique.clone()),
        flags: shared,
        tombstone: None,
        date: found.date,
        size: found.size,
        content: identity.content,
        message_id: identity.message_id,
        stat: Some(stat),
    }
}

//! Adoption: a message found on both sides becomes a row; nothing travels but flags.

use std::collections::BTreeMap;

use super::Apply;
use super::label::Label;
use crate::model::{FlagSet, MessageId, Uid};
use crate::reconcile::plan::{Adoption, FlagChange, MailboxPlan};
use crate::reconcile::report::Event;
use crate::store::{Failure, Journal, LocalStore, NewMessage, Record, RemoteStore};

impl<R: RemoteStore, L: LocalStore, J: Journal> Apply<'_, R, L, J> {
    /// Records the pairs, then unites their flags.
    ///
    /// A row starts with the flags that both sides share, or with those last agreed on if it comes from elsewhere. The
    /// mailbox's watermark is stored only after the flags are united, so after a crash in between the next look sees the
    /// server's flags again, and merges them with these once more.
    pub(super) async fn adopt(&mut self, plan: &MailboxPlan) -> Result<(), Failure> {
        let mut rows: Vec<Record> =
            plan.adopt.iter().map(|found| Record::Insert(plan.mailbox, new_row(found))).collect();
        let follows = || plan.adopt.iter().filter_map(|found| Some((found, found.follows.as_ref()?)));
        rows.extend(follows().map(|(_, (row, _))| Record::Forget(*row)));
        let label = |(found, (_, meant)): (&Adoption, &(MessageId, FlagSet))| Label {
            unique: found.unique.clone(),
            entry: found.entry.clone(),
            meant: meant.clone(),
        };
        let named = self.relabel(plan, follows().map(label).collect(), rows)?;
        self.report.adopted += plan.adopt.iter().filter(|found| found.follows.is_none()).count() as u64;
        (self.progress)(Event::Changed(plan.adopt.len() as u64));
        let differs = |found: &&Adoption| found.base != found.flags.agreed || !found.flags.changes_nothing();
        let differing: Vec<&Adoption> = plan.adopt.iter().filter(differs).collect();
        if differing.is_empty() {
            return Ok(());
        }
        self.flush()?;
        let uids = differing.iter().map(|found| found.uid).collect();
        let rows = self.journal.messages_among(plan.mailbox, &uids)?;
        let ids: BTreeMap<Uid, MessageId> = rows.into_iter().map(|row| (row.uid, row.id)).collect();
        let change = |found: &Adoption| {
            let (row, unique, flags) = (*ids.get(&found.uid)?, found.unique.clone(), found.flags.clone());
            let entry = named.get(&unique).unwrap_or(&found.entry).clone();
            Some(FlagChange { row, uid: found.uid, unique, entry, flags })
        };
        let changes: Vec<FlagChange> = differing.into_iter().filter_map(change).collect();
        self.bring_over(plan, &changes, false, None).await
    }
}

fn new_row(found: &Adoption) -> NewMessage {
    let (identity, stat) = found.identity;
    NewMessage {
        uid: found.uid,
        unique: Some(found.unique.clone()),
        flags: found.base.clone(),
        tombstone: None,
        date: found.date,
        size: found.size,
        content: identity.content,
        message_id: identity.message_id,
        stat: Some(stat),
        email_id: found.email_id,
    }
}

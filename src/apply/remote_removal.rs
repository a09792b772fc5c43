//! Removals from the server: moved to Trash, expunged, flagged or left, as the user wants it.
//!
//! A single MOVE or EXPUNGE needs no intent: repeated, it finds nothing. A move made of COPY and EXPUNGE does: between
//! the two the message is in both places, and copying it again would double it.

use super::{Apply, Ground, TrashTarget};
use crate::model::{Flag, FlagDelta, FlagSet, MessageId, Side, Tombstone, UidSet};
use crate::reconcile::plan::{MailboxPlan, RemoteRemoval, Removal};
use crate::reconcile::report::Event;
use crate::store::{Expunged, Failure, Intent, IntentId, Journal, LocalStore, Record, RemoteStore};

impl<R: RemoteStore, L: LocalStore, J: Journal> Apply<'_, R, L, J> {
    pub(super) async fn remove_remotely(&mut self, plan: &MailboxPlan) -> Result<(), Failure> {
        let Some(ground) = self.ground(plan) else { return Ok(()) };
        for how in [Removal::Keep, Removal::Flag, Removal::Trash, Removal::Expunge] {
            let removals: Vec<RemoteRemoval> =
                plan.remove_remote.iter().filter(|removal| removal.how == how).cloned().collect();
            if removals.is_empty() {
                continue;
            }
            let uids: UidSet = removals.iter().map(|removal| removal.uid).collect();
            let rows: Vec<MessageId> = removals.iter().map(|removal| removal.row).collect();
            self.after(plan.mailbox).remote_changed |= how != Removal::Keep;
            match how {
                Removal::Keep => self.commit(&bury(&rows, Tombstone::Kept))?,
                Removal::Flag => self.flag_deleted(plan, ground, &uids, &rows).await?,
                Removal::Expunge => self.expunge(plan, ground, &uids, &rows, None).await?,
                Removal::Trash => self.move_to_trash(plan, ground, &uids, &rows).await?,
            }
            (self.progress)(Event::Changed(rows.len() as u64));
        }
        Ok(())
    }

    async fn flag_deleted(
        &mut self,
        plan: &MailboxPlan,
        ground: Ground,
        uids: &UidSet,
        rows: &[MessageId],
    ) -> Result<(), Failure> {
        let delta = FlagDelta { add: FlagSet::of(&[Flag::Deleted]), remove: FlagSet::new() };
        self.remote.store_flags(&plan.name, ground.uid_validity, &[(delta, uids.clone())]).await?;
        let mut records = bury(rows, Tombstone::Flagged);
        records.extend(self.lost(plan, rows));
        self.commit(&records)?;
        self.report.remote.removed += rows.len() as u64;
        Ok(())
    }

    async fn expunge(
        &mut self,
        plan: &MailboxPlan,
        ground: Ground,
        uids: &UidSet,
        rows: &[MessageId],
        intent: Option<IntentId>,
    ) -> Result<(), Failure> {
        let mut records = match self.remote.expunge(&plan.name, ground.uid_validity, uids).await? {
            Expunged::Done => rows.iter().map(|row| Record::Forget(*row)).collect(),
            Expunged::Flagged => bury(rows, Tombstone::Waiting),
        };
        records.extend(intent.map(Record::Settled));
        records.extend(self.lost(plan, rows));
        self.commit(&records)?;
        self.report.remote.removed += rows.len() as u64;
        Ok(())
    }

    async fn move_to_trash(
        &mut self,
        plan: &MailboxPlan,
        ground: Ground,
        uids: &UidSet,
        rows: &[MessageId],
    ) -> Result<(), Failure> {
        let Some(TrashTarget { mailbox, name, ground: before }) = self.terms.trash.clone() else { return Ok(()) };
        if let Some(target) = mailbox {
            self.after(target).remote_changed = true;
        }
        if self.terms.moves {
            self.remote.move_to(&plan.name, ground.uid_validity, uids, &name).await?;
            let mut records: Vec<Record> = rows.iter().map(|row| Record::Forget(*row)).collect();
            records.extend(self.lost(plan, rows));
            self.commit(&records)?;
            self.report.remote.removed += rows.len() as u64;
            return Ok(());
        }
        let intent = Intent::Copy {
            mailbox: plan.mailbox,
            uid_validity: ground.uid_validity,
            uids: uids.clone(),
            target: name.clone(),
            before: (before.uid_validity, before.uid_next),
        };
        let intents = self.journal.begin(&[intent])?;
        self.remote.copy(&plan.name, ground.uid_validity, uids, &name).await?;
        self.expunge(plan, ground, uids, rows, intents.first().copied()).await
    }

    fn lost(&self, plan: &MailboxPlan, rows: &[MessageId]) -> Option<Record> {
        (!self.terms.accepted).then_some(Record::Lost(plan.mailbox, Side::Local, rows.len() as u64, self.terms.now))
    }
}

fn bury(rows: &[MessageId], tombstone: Tombstone) -> Vec<Record> {
    rows.iter().map(|row| Record::Bury(*row, tombstone)).collect()
}

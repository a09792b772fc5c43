//! Removals from the server: moved to Trash, expunged, flagged or left, as the user wants it.
//!
//! An EXPUNGE needs no intent: repeated, it finds nothing.

use futures_util::future::join;

use super::local_removal::LocalRemovals;
use super::{Apply, Ground};
use crate::model::{Flag, FlagDelta, FlagSet, MailboxId, MailboxName, MessageId, Side, Tombstone, Uid, UidSet};
use crate::reconcile::guard::is_watched;
use crate::reconcile::plan::{MailboxPlan, RemoteRemoval, Removal};
use crate::reconcile::report::Event;
use crate::store::{Expunged, Failure, Journal, LocalStore, Messages, Record, RemoteStore};

impl<R: RemoteStore, L: LocalStore, J: Journal> Apply<'_, R, L, J> {
    pub(super) async fn remove_remotely(&mut self, plan: &MailboxPlan) -> Result<(), Failure> {
        let Some(ground) = self.ground(plan) else { return Ok(()) };
        let all = [Removal::Keep, Removal::Flag, Removal::Trash, Removal::Expunge, Removal::Moved, Removal::Purge];
        for how in all {
            let removals = self.due(plan, how);
            if removals.is_empty() {
                continue;
            }
            let uids: UidSet = removals.iter().map(|removal| removal.uid).collect();
            let rows: Vec<MessageId> = removals.iter().map(|removal| removal.row).collect();
            self.after(plan.mailbox).remote_changed |= how != Removal::Keep;
            match how {
                Removal::Keep => self.note(bury(&rows, Tombstone::Kept))?,
                Removal::Flag => self.flag_deleted(plan, ground, &uids, &rows).await?,
                Removal::Expunge => {
                    let records = self.lost(plan, rows.len() as u64).into_iter().collect();
                    self.expunge(plan, ground, &uids, &rows, records).await?;
                }
                Removal::Moved | Removal::Purge => self.expunge(plan, ground, &uids, &rows, Vec::new()).await?,
                Removal::Trash => self.move_to_trash(plan, ground, &uids).await?,
            }
            (self.progress)(Event::Changed(rows.len() as u64));
        }
        Ok(())
    }

    /// Expunges from many mailboxes at once, and meanwhile removes files. What came of the former is recorded when the turn
    /// of each comes: a crash before that leaves what looks removed on both sides.
    pub(super) async fn expunge_ahead(&mut self, plans: &[MailboxPlan]) -> Result<(), Failure> {
        let (ids, orders) = self.expunges(plans);
        let Self { remote, local, journal, report, progress, terms, aftermath, .. } = self;
        let mut here =
            LocalRemovals { local: *local, journal: *journal, report, progress: *progress, terms, aftermath };
        let there = async {
            match orders.len() {
                0 | 1 => Vec::new(),
                _ => remote.expunge_all(&orders).await,
            }
        };
        // The other one first: what it asks of the server is sent before anything is done here.
        let (expunged, removed) = join(there, here.carry_out(plans)).await;
        for ((mailbox, messages), done) in ids.into_iter().zip(orders).zip(expunged) {
            self.expunged.entry(mailbox).or_default().push((messages.uids, done));
        }
        removed
    }

    /// Returns what is to be expunged, and from which mailboxes.
    fn expunges(&mut self, plans: &[MailboxPlan]) -> (Vec<MailboxId>, Vec<Messages>) {
        let (mut ids, mut orders) = (Vec::new(), Vec::new());
        for plan in plans {
            let Some(ground) = self.ground(plan) else { continue };
            for how in [Removal::Expunge, Removal::Moved, Removal::Purge] {
                let uids: UidSet = self.due(plan, how).iter().map(|removal| removal.uid).collect();
                if !uids.is_empty() {
                    ids.push(plan.mailbox);
                    orders.push(Messages { mailbox: plan.name.clone(), validity: ground.uid_validity, uids });
                }
            }
        }
        (ids, orders)
    }

    /// Returns what is to be moved to Trash on the server.
    pub(super) fn moves_to_trash(&mut self, plans: &[MailboxPlan]) -> Vec<(MailboxId, Messages, MailboxName)> {
        let Some(target) = self.terms.trash.clone() else { return Vec::new() };
        let mut moves = Vec::new();
        for plan in plans {
            let Some(ground) = self.ground(plan) else { continue };
            let uids: UidSet = self.due(plan, Removal::Trash).iter().map(|removal| removal.uid).collect();
            let messages = Messages { mailbox: plan.name.clone(), validity: ground.uid_validity, uids };
            moves.extend((!messages.uids.is_empty()).then(|| (plan.mailbox, messages, target.name.clone())));
        }
        moves
    }

    /// A message whose new place is not proven stays where it is for now. So does one whose UID the server has just given
    /// to another: it was restored from a backup, and what the UID named is not there.
    fn due<'p>(&mut self, plan: &'p MailboxPlan, how: Removal) -> Vec<&'p RemoteRemoval> {
        let (due, early): (Vec<_>, Vec<_>) = plan
            .remove_remote
            .iter()
            .filter(|removal| removal.how == how)
            .filter(|removal| !self.given.contains(&(plan.mailbox, removal.uid)))
            .partition(|removal| removal.moved_to.as_ref().is_none_or(|place| self.uploaded.contains_key(place)));
        let after = self.after(plan.mailbox);
        // What was saved again while it was sent is sent again at once.
        after.failed |= !early.is_empty() && !after.overtaken;
        due
    }

    async fn flag_deleted(
        &mut self,
        plan: &MailboxPlan,
        ground: Ground,
        uids: &UidSet,
        rows: &[MessageId],
    ) -> Result<(), Failure> {
        let delta = FlagDelta { add: FlagSet::of(&[Flag::Deleted]), remove: FlagSet::new() };
        let stored = self.remote.store_flags(&plan.name, ground.uid_validity, &[(delta, uids.clone())]).await?;
        // One that is not flagged would come back as if somebody had taken the flag off.
        let refused: Vec<Uid> =
            stored.now.iter().filter(|(_, flags)| !flags.has(Flag::Deleted)).map(|(uid, _)| *uid).collect();
        let removals = plan.remove_remote.iter().filter(|removal| removal.how == Removal::Flag);
        let keeps: Vec<MessageId> =
            removals.filter(|removal| refused.contains(&removal.uid)).map(|removal| removal.row).collect();
        let rows: Vec<MessageId> = rows.iter().copied().filter(|row| !keeps.contains(row)).collect();
        let mut records = bury(&rows, Tombstone::Flagged);
        records.extend(self.lost(plan, counted(plan, &rows)));
        records.extend(self.refused_removals(plan, &refused, stored.refusal.as_deref()));
        self.note(records)?;
        self.report.remote.flags += counted(plan, &rows);
        Ok(())
    }

    async fn expunge(
        &mut self,
        plan: &MailboxPlan,
        ground: Ground,
        uids: &UidSet,
        rows: &[MessageId],
        records: Vec<Record>,
    ) -> Result<(), Failure> {
        let ahead = self.expunged.get_mut(&plan.mailbox);
        let done = ahead.and_then(|ahead| ahead.extract_if(.., |(asked, _)| asked == uids).next());
        let expunged = match done {
            Some((_, done)) => done?,
            None => self.remote.expunge(&plan.name, ground.uid_validity, uids).await?,
        };
        self.record_expunged(plan, expunged, rows, records)
    }

    /// Records what was expunged together with what else there is to record. What can't be expunged yet without others
    /// waits; it counts as removed once it is gone.
    fn record_expunged(
        &mut self,
        plan: &MailboxPlan,
        expunged: Expunged,
        rows: &[MessageId],
        mut records: Vec<Record>,
    ) -> Result<(), Failure> {
        match expunged {
            Expunged::Done => {
                records.extend(rows.iter().map(|row| Record::Forget(*row)));
                self.report.remote.removed += counted(plan, rows);
            }
            Expunged::Flagged => records.extend(bury(rows, Tombstone::Waiting)),
        }
        self.note(records)
    }

    async fn move_to_trash(&mut self, plan: &MailboxPlan, ground: Ground, uids: &UidSet) -> Result<(), Failure> {
        let Some(target) = self.terms.trash.clone() else { return Ok(()) };
        if let Some(mailbox) = target.mailbox {
            self.after(mailbox).remote_changed = true;
        }
        let (transfer, expunged, mut records) = self.transfer(plan, ground, uids, &target).await?;
        let moved = transfer.sources(uids);
        // What is still where it was keeps its row: without it, it would come back.
        self.after(plan.mailbox).overtaken |= moved.len() < uids.len();
        let rows = plan.remove_remote.iter().filter(|one| one.how == Removal::Trash && moved.contains(one.uid));
        let rows: Vec<MessageId> = rows.map(|one| one.row).collect();
        records.extend(self.lost(plan, rows.len() as u64));
        self.record_expunged(plan, expunged, &rows, records)
    }

    /// Returns the record of so many losses, as the guard counts them.
    fn lost(&self, plan: &MailboxPlan, count: u64) -> Option<Record> {
        let counts = !self.terms.accepted && is_watched(plan) && count > 0;
        counts.then_some(Record::Lost(plan.mailbox, Side::Local, count, self.terms.now))
    }
}

/// Returns how many count: a message that has a new version does not.
fn counted(plan: &MailboxPlan, rows: &[MessageId]) -> u64 {
    let outdated = plan.outdated();
    rows.iter().filter(|row| !outdated.contains(row)).count() as u64
}

fn bury(rows: &[MessageId], tombstone: Tombstone) -> Vec<Record> {
    rows.iter().map(|row| Record::Bury(*row, tombstone)).collect()
}

//! Moves on the server: a message follows its file. No body travels.
//!
//! A move leaves the message's row where it was until both sides are in the new place: after a crash in between, the
//! next look finds it gone from one place and new in another on both sides, and the row follows with what it knows.

use std::collections::{BTreeMap, BTreeSet};

use super::label::Label;
use super::merged;
use super::{Apply, Ground, Target, is_fatal, mailbox_problem};
use crate::model::{FileStat, MailboxId, MailboxName, MessageRow, Tombstone, Uid, UidSet, UniqueName};
use crate::reconcile::plan::{MailboxPlan, RemoteMove, Renamed};
use crate::reconcile::report::Event;
use crate::store::{
    Expunged, Failure, Intent, Journal, LocalStore, Messages, NewMessage, Record, RemoteErrorKind, RemoteStore,
    Transfer,
};

impl<R: RemoteStore, L: LocalStore, J: Journal> Apply<'_, R, L, J> {
    /// Moves what leaves one mailbox on the server.
    pub(super) async fn move_away(&mut self, plan: &MailboxPlan, plans: &[MailboxPlan]) -> Result<(), Failure> {
        self.note_renamed(plan)?;
        let targets: BTreeSet<MailboxId> = plan.move_remote.iter().map(|one| one.to).collect();
        for target in plans.iter().filter(|target| targets.contains(&target.mailbox)) {
            let leaving: Vec<&RemoteMove> = plan.move_remote.iter().filter(|one| one.to == target.mailbox).collect();
            self.move_messages(plan, target, &leaving).await?;
        }
        Ok(())
    }

    /// Returns the moves between mailboxes that were planned for the server.
    pub(super) fn moves_of(&self, plans: &[MailboxPlan]) -> Vec<(MailboxId, Messages, MailboxName)> {
        let ground =
            |id: MailboxId| plans.iter().find(|plan| plan.mailbox == id).filter(|plan| self.ground(plan).is_some());
        let mut moves: BTreeMap<(MailboxId, MailboxId), Vec<Uid>> = BTreeMap::new();
        for (plan, one) in plans.iter().flat_map(|plan| plan.move_remote.iter().map(move |one| (plan, one))) {
            moves.entry((plan.mailbox, one.to)).or_default().push(one.row.uid);
        }
        let order = |((from, to), uids): ((MailboxId, MailboxId), Vec<Uid>)| {
            let (plan, target) = ground(from).zip(ground(to))?;
            let (mailbox, validity) = (plan.name.clone(), self.ground(plan)?.uid_validity);
            Some((from, Messages { mailbox, validity, uids: uids.into_iter().collect() }, target.name.clone()))
        };
        moves.into_iter().filter_map(order).collect()
    }

    /// Sends moves for all mailboxes at once, where the server can move. What came of each is recorded when its turn comes:
    /// a crash before that leaves what looks like moves made on both sides.
    pub(super) async fn move_ahead(&mut self, moves: Vec<(MailboxId, Messages, MailboxName)>) {
        if !self.terms.moves || moves.is_empty() {
            return;
        }
        let (ids, orders): (Vec<MailboxId>, Vec<(Messages, MailboxName)>) =
            moves.into_iter().map(|(id, messages, target)| (id, (messages, target))).unzip();
        let moved = self.remote.move_all(&orders).await;
        let done = ids.into_iter().zip(orders).zip(moved);
        self.moved = done.map(|((id, (messages, target)), moved)| ((id, target), (messages.uids, moved))).collect();
    }

    /// The next look compares the flags under the new name.
    fn note_renamed(&mut self, plan: &MailboxPlan) -> Result<(), Failure> {
        if plan.renamed.is_empty() {
            return Ok(());
        }
        self.after(plan.mailbox).overtaken = true;
        let renamed = |Renamed { row, unique, stat, .. }: &Renamed| {
            Record::Insert(plan.mailbox, moved_row(row, row.uid, unique, *stat))
        };
        let label = |Renamed { unique, entry, meant, .. }: &Renamed| {
            let (unique, entry, meant) = (unique.clone(), entry.clone(), meant.clone()?);
            Some(Label { unique, entry, meant })
        };
        let labels = plan.renamed.iter().filter_map(label).collect();
        self.relabel(plan, labels, plan.renamed.iter().map(renamed).collect()).map(drop)
    }

    async fn move_messages(
        &mut self,
        plan: &MailboxPlan,
        target: &MailboxPlan,
        leaving: &[&RemoteMove],
    ) -> Result<(), Failure> {
        let Some((from, to)) = self.ground(plan).zip(self.ground(target)).filter(|_| !leaving.is_empty()) else {
            return Ok(());
        };
        for mailbox in [plan.mailbox, target.mailbox] {
            self.after(mailbox).remote_changed = true;
        }
        let uids: UidSet = leaving.iter().map(|one| one.row.uid).collect();
        let goal = Target { mailbox: Some(target.mailbox), name: target.name.clone(), ground: to };
        match self.transfer(plan, from, &uids, &goal).await {
            Ok((transfer, expunged, records)) => {
                self.report.remote.moved += leaving.len() as u64;
                (self.progress)(Event::Changed(leaving.len() as u64));
                self.record_moved((plan, target), to, leaving, (transfer, expunged), records)
            }
            Err(Failure::Remote(error)) if !is_fatal(&error) => {
                self.report.problem(mailbox_problem(&plan.name, &error));
                self.not_moved((plan, target), error.kind, leaving.iter().map(|one| &one.row));
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }

    /// What was refused may have been carried out in part: that shows in the next look, and what is left goes the long way.
    fn not_moved<'r>(
        &mut self,
        (plan, target): (&MailboxPlan, &MailboxPlan),
        kind: RemoteErrorKind,
        rows: impl Iterator<Item = &'r MessageRow>,
    ) {
        let rejected = matches!(kind, RemoteErrorKind::Refused | RemoteErrorKind::TooLarge);
        for mailbox in [plan.mailbox, target.mailbox] {
            let after = self.after(mailbox);
            after.overtaken = true;
            after.failed |= !rejected && kind != RemoteErrorKind::UidValidityChanged;
        }
        if rejected {
            self.unmovable.extend(rows.map(|row| row.id));
        }
    }

    /// Moves messages on the server. Without MOVE they are copied and expunged, with an intent: between the two they are
    /// in both places, and copying them again would double them. Returns also what is to be recorded of that.
    pub(super) async fn transfer(
        &mut self,
        plan: &MailboxPlan,
        from: Ground,
        uids: &UidSet,
        target: &Target,
    ) -> Result<(Transfer, Expunged, Vec<Record>), Failure> {
        if self.terms.moves {
            let done = self.moved.remove(&(plan.mailbox, target.name.clone())).filter(|(asked, _)| asked == uids);
            let moved = match done {
                Some((_, moved)) => moved?,
                None => self.remote.move_to(&plan.name, from.uid_validity, uids, &target.name).await?,
            };
            return Ok((moved, Expunged::Done, Vec::new()));
        }
        let intent = Intent::Copy {
            mailbox: plan.mailbox,
            uid_validity: from.uid_validity,
            uids: uids.clone(),
            target: target.name.clone(),
            before: (target.ground.uid_validity, target.ground.uid_next),
        };
        let intents = self.journal.begin(&[intent])?;
        let copied = self.remote.copy(&plan.name, from.uid_validity, uids, &target.name).await?;
        // What the server does not say it copied may be in this mailbox only.
        let expunged = self.remote.expunge(&plan.name, from.uid_validity, &copied.sources(uids)).await?;
        Ok((copied, expunged, intents.into_iter().map(Record::Settled).collect()))
    }

    /// Where the server does not tell the new UIDs, the next look finds them.
    fn record_moved(
        &mut self,
        (plan, target): (&MailboxPlan, &MailboxPlan),
        to: Ground,
        leaving: &[&RemoteMove],
        (transfer, expunged): (Transfer, Expunged),
        mut records: Vec<Record>,
    ) -> Result<(), Failure> {
        let left = transfer.sources(&leaving.iter().map(|one| one.row.uid).collect());
        let arrived: BTreeMap<Uid, Uid> = match transfer {
            Transfer::Proven(validity, pairs) if validity == to.uid_validity => pairs.into_iter().collect(),
            Transfer::Proven(..) | Transfer::Unproven => BTreeMap::new(),
        };
        let mut labels = Vec::new();
        let given = leaving.iter().filter_map(|one| Some((&one.unique, *arrived.get(&one.row.uid)?)));
        let merged = merged::merged(self.journal, target, given)?;
        for one in leaving {
            let new = arrived.get(&one.row.uid);
            if let Some(uid) = new.filter(|_| merged.contains(&one.unique)) {
                let failure = merged::failure(self.report, self.terms.now, target, &one.unique, *uid);
                records.push(Record::Failed(failure));
            } else if let Some(uid) = new {
                records.push(Record::Insert(target.mailbox, moved_row(&one.row, *uid, &one.unique, one.stat)));
                let (unique, entry) = (one.unique.clone(), one.entry.clone());
                labels.extend(one.meant.clone().map(|meant| Label { unique, entry, meant }));
            }
            match expunged {
                Expunged::Flagged if !left.contains(one.row.uid) => {}
                Expunged::Flagged => records.push(Record::Bury(one.row.id, Tombstone::Waiting)),
                Expunged::Done => records.extend(new.map(|_| Record::Forget(one.row.id))),
            }
        }
        if arrived.len() < leaving.len() {
            self.after(plan.mailbox).overtaken = true;
            self.after(target.mailbox).overtaken = true;
        }
        self.relabel(target, labels, records)?;
        Ok(())
    }
}

/// Returns a row in its new place, with what it knew: the flags last agreed on are those that changes are measured from.
pub(super) fn moved_row(row: &MessageRow, uid: Uid, unique: &UniqueName, stat: FileStat) -> NewMessage {
    NewMessage {
        uid,
        unique: Some(unique.clone()),
        flags: row.flags.clone(),
        tombstone: None,
        date: row.date,
        size: row.size,
        content: row.content,
        message_id: row.message_id,
        stat: Some(stat),
        email_id: row.email_id,
    }
}

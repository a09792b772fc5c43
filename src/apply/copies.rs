//! Copies on the server. What is about to appear there is journaled like a message about to be sent: whatever becomes of
//! the command, the message is found by its content among those that came since.

use std::collections::BTreeMap;

use super::label::{Due, Label};
use super::merged;
use super::{Apply, Ground, is_fatal, mailbox_problem};
use crate::model::{FlagDelta, MailboxName, Uid, UidSet, UidValidity};
use crate::reconcile::plan::{MailboxPlan, RemoteCopy};
use crate::reconcile::report::Event;
use crate::store::{
    Failure, Intent, IntentId, Journal, LocalErrorKind, LocalStore, NewMessage, Record, RemoteErrorKind, RemoteStore,
    Transfer,
};

impl<R: RemoteStore, L: LocalStore, J: Journal> Apply<'_, R, L, J> {
    /// Copies messages into a mailbox whose files are there already.
    pub(super) async fn copy_in(&mut self, plan: &MailboxPlan) -> Result<(), Failure> {
        let Some(to) = self.ground(plan).filter(|_| !plan.copy_remote.is_empty()) else { return Ok(()) };
        let mut groups: BTreeMap<&(MailboxName, UidValidity), Vec<&RemoteCopy>> = BTreeMap::new();
        for one in &plan.copy_remote {
            match self.is_still_a_copy(plan, one)? {
                true => groups.entry(&one.from).or_default().push(one),
                false => self.after(plan.mailbox).overtaken = true,
            }
        }
        for (from, mut copies) in groups {
            // One message is copied once with one command.
            while !copies.is_empty() {
                let mut taken = UidSet::new();
                let (now, later): (Vec<_>, Vec<_>) = copies.into_iter().partition(|one| {
                    let first = !taken.contains(one.row.uid);
                    taken.insert(one.row.uid);
                    first
                });
                self.copy_from(plan, to, from, &now).await?;
                copies = later;
            }
        }
        Ok(())
    }

    /// Some programs move a file by copying it and removing it where it was: caught in between, it is no copy.
    fn is_still_a_copy(&mut self, plan: &MailboxPlan, one: &RemoteCopy) -> Result<bool, Failure> {
        let Some((local, unique, entry)) = &one.original else { return Ok(true) };
        match self.local.are_two((local, unique, entry), (&plan.local, &one.unique, &one.entry)) {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(error) if error.kind == LocalErrorKind::Item => {}
            Err(error) => return Err(error.into()),
        }
        self.after(one.row.mailbox).overtaken = true;
        Ok(false)
    }

    async fn copy_from(
        &mut self,
        plan: &MailboxPlan,
        to: Ground,
        (name, validity): &(MailboxName, UidValidity),
        copies: &[&RemoteCopy],
    ) -> Result<(), Failure> {
        let label = |one: &&RemoteCopy| {
            let (unique, entry) = (one.unique.clone(), one.entry.clone());
            one.meant.clone().map(|meant| Label { unique, entry, meant })
        };
        let due = self.begin_labels(plan, copies.iter().filter_map(label).collect())?;
        let intents: Vec<Intent> = copies.iter().filter_map(|one| intent(plan, to, one)).collect();
        let intents = self.journal.begin(&intents)?;
        self.after(plan.mailbox).remote_changed = true;
        let uids: UidSet = copies.iter().map(|one| one.row.uid).collect();
        match self.remote.copy(name, *validity, &uids, &plan.name).await {
            Ok(transfer) => self.record_copied((plan, to), copies, transfer, (intents, due)),
            Err(error) if is_fatal(&error) => Err(error.into()),
            // Of several commands some may have been carried out: the intents stay, and the next look settles them.
            Err(error) => {
                // What it would be a copy of has gone: no trouble, it is sent.
                let gone = [RemoteErrorKind::UidValidityChanged, RemoteErrorKind::NoSuchMailbox];
                if !gone.contains(&error.kind) {
                    self.report.problem(mailbox_problem(&plan.name, &error));
                }
                self.not_copied(plan, copies);
                Ok(())
            }
        }
    }

    /// What could not be copied is sent with the next pass.
    fn not_copied(&mut self, plan: &MailboxPlan, copies: &[&RemoteCopy]) {
        self.after(plan.mailbox).overtaken = true;
        self.uncopied.extend(copies.iter().map(|one| (plan.mailbox, one.unique.clone())));
    }

    fn record_copied(
        &mut self,
        (plan, to): (&MailboxPlan, Ground),
        copies: &[&RemoteCopy],
        transfer: Transfer,
        (intents, due): (Vec<IntentId>, Vec<Due>),
    ) -> Result<(), Failure> {
        let arrived: BTreeMap<Uid, Uid> = match transfer {
            Transfer::Proven(validity, pairs) if validity == to.uid_validity => pairs.into_iter().collect(),
            // The intents stay, and the next look settles them: by the copies' content, like that of messages sent without
            // proof.
            Transfer::Proven(..) | Transfer::Unproven => {
                let unproven = self.unproven.entry(plan.mailbox).or_default();
                unproven.extend(copies.iter().map(|one| one.unique.clone()));
                self.not_copied(plan, copies);
                return Ok(());
            }
        };
        let (mut records, mut gone) = (Vec::new(), Vec::new());
        let given = copies.iter().filter_map(|one| Some((&one.unique, *arrived.get(&one.row.uid)?)));
        let merged = merged::merged(self.journal, plan, given)?;
        for one in copies {
            match arrived.get(&one.row.uid) {
                Some(uid) if merged.contains(&one.unique) => {
                    let failure = merged::failure(self.report, self.terms.now, plan, &one.unique, *uid);
                    records.push(Record::Failed(failure));
                }
                Some(uid) => records.push(Record::Insert(plan.mailbox, new_row(one, *uid))),
                None => gone.push(*one),
            }
        }
        records.extend(intents.into_iter().map(Record::Settled));
        let is_gone = |due: &Due| gone.iter().any(|one: &&RemoteCopy| one.unique == due.unique);
        let (void, due): (Vec<Due>, Vec<Due>) = due.into_iter().partition(is_gone);
        records.extend(void.into_iter().map(|due| Record::Settled(due.intent)));
        self.report.remote.copied += (copies.len() - gone.len() - merged.len()) as u64;
        (self.progress)(Event::Changed(copies.len() as u64));
        if !gone.is_empty() {
            self.not_copied(plan, &gone);
        }
        self.commit(records)?;
        self.finish_labels(plan, due)?;
        Ok(())
    }
}

/// The row's flags are those that the copy and the file share.
fn intent(plan: &MailboxPlan, to: Ground, one: &RemoteCopy) -> Option<Intent> {
    Some(Intent::Append {
        mailbox: plan.mailbox,
        uid_validity: to.uid_validity,
        uid_next: to.uid_next,
        unique: one.unique.clone(),
        flags: one.shared(),
        difference: FlagDelta::default(),
        date: one.row.date,
        size: one.identity.size,
        message_id: one.row.message_id,
        content: one.identity.content?,
        stat: one.stat,
        leaves: None,
    })
}

fn new_row(one: &RemoteCopy, uid: Uid) -> NewMessage {
    NewMessage {
        uid,
        unique: Some(one.unique.clone()),
        flags: one.shared(),
        tombstone: None,
        date: one.row.date,
        size: one.row.size,
        content: one.row.content,
        message_id: one.row.message_id,
        stat: Some(one.stat),
        email_id: one.row.email_id,
    }
}

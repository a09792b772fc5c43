//! All plans of a pass beside what they were made from: what crosses mailboxes is found here.

use std::collections::{BTreeMap, BTreeSet};

use super::observe::Sight;
use crate::model::{Keyword, KeywordLetters, MailboxId, MessageId, MessageRow, Timestamp, Uid, UniqueName};
use crate::reconcile::moves::Place;
use crate::reconcile::plan::MailboxPlan;
use crate::reconcile::snapshot::{LocalSnapshot, RemoteMessage};

/// A message on the server.
pub(super) type Spot = (MailboxId, Uid);

/// What is known of a message without asking for it.
pub(super) type Key = (u64, Timestamp);

pub(super) fn key(size: Option<u64>, date: Option<Timestamp>) -> Option<Key> {
    size.zip(date)
}

/// What was seen of all mailboxes in a pass, and what is planned for them.
pub(super) struct Plans<'a> {
    pub(super) sights: &'a [Sight],
    pub(super) plans: &'a mut [MailboxPlan],
}

impl<'a> Plans<'a> {
    pub(super) fn new(sights: &'a [Sight], plans: &'a mut [MailboxPlan]) -> Self {
        Self { sights, plans }
    }

    pub(super) fn of(&mut self, mailbox: MailboxId) -> Option<&mut MailboxPlan> {
        self.plans.iter_mut().find(|plan| plan.mailbox == mailbox)
    }

    pub(super) fn sight(&self, mailbox: MailboxId) -> Option<&'a Sight> {
        self.sights.iter().find(|sight| sight.row.id == mailbox)
    }

    /// Returns what letters mean in the name of a file that others brought here from a folder where they meant what
    /// `borne` says. A letter that came with it stands for a keyword that its message had; any other was given here, if it
    /// means anything here.
    pub(super) fn letters_here(
        &self,
        to: MailboxId,
        borne: &KeywordLetters,
        had: impl Fn(&Keyword) -> bool,
    ) -> Option<KeywordLetters> {
        let mut letters = self.sight(to)?.letters();
        for (letter, keyword) in borne.iter() {
            if had(keyword) || letters.keyword(letter).is_none() {
                letters.assign(letter, keyword.clone());
            }
        }
        Some(letters)
    }

    /// Returns the rows about which there may be something to decide.
    pub(super) fn rows(&self) -> BTreeMap<MessageId, &'a MessageRow> {
        self.sights.iter().flat_map(|sight| &sight.rows).map(|row| (row.id, row)).collect()
    }

    pub(super) fn message(&self, (mailbox, uid): Spot) -> Option<&'a RemoteMessage> {
        self.sight(mailbox)?.remote.as_ref()?.messages.listed().get(&uid)
    }

    /// Returns what was seen in the maildir of a mailbox, if its files were listed.
    pub(super) fn scan(&self, mailbox: MailboxId) -> Option<&'a LocalSnapshot> {
        self.sight(mailbox).filter(|sight| sight.agreed.is_listed()).map(|sight| &sight.scan)
    }

    pub(super) fn has_file(&self, mailbox: MailboxId, unique: &UniqueName) -> bool {
        self.sight(mailbox).is_some_and(|sight| sight.scan.entries.contains_key(unique))
    }

    /// Returns where this pass found the files of messages that others moved or renamed.
    pub(super) fn moved(&self) -> BTreeMap<MessageId, Place> {
        let mut places = BTreeMap::new();
        for plan in &*self.plans {
            let here = |unique: &UniqueName| (plan.mailbox, unique.clone());
            places.extend(plan.remove_local.iter().map(|one| (one.row, here(&one.unique))));
            places.extend(plan.move_local.iter().map(|one| (one.row.id, here(&one.unique))));
            places.extend(plan.renamed.iter().map(|one| (one.row.id, here(&one.unique))));
            places.extend(plan.move_remote.iter().map(|one| (one.row.id, (one.to, one.unique.clone()))));
            let awaited = plan.remove_remote.iter().filter_map(|one| Some((one.row, one.moved_to.clone()?)));
            places.extend(awaited);
        }
        places
    }

    /// Returns the rows that neither side has any more, by what they were recorded with.
    pub(super) fn gone_from_both(&self, rows: &BTreeMap<MessageId, &'a MessageRow>) -> Vec<&'a MessageRow> {
        let forgotten = self.plans.iter().flat_map(|plan| &plan.forget).filter_map(|id| rows.get(id).copied());
        let no_file = |row: &&MessageRow| row.unique.as_ref().is_some_and(|name| !self.has_file(row.mailbox, name));
        forgotten.filter(no_file).collect()
    }

    /// Keeps the rows that neither side has any more, but of those mailboxes: what they were may be where nobody could look.
    /// Returns their mailboxes, which are not settled by this pass.
    pub(super) fn keep_gone_from_both(&mut self, but: impl Fn(MailboxId) -> bool) -> BTreeSet<MailboxId> {
        let known = self.rows();
        let mut gone = self.gone_from_both(&known);
        gone.retain(|row| !but(row.mailbox));
        for row in &gone {
            self.forget_no_more(row);
            if let Some(plan) = self.of(row.mailbox) {
                plan.unknown = true;
            }
        }
        gone.iter().map(|row| row.mailbox).collect()
    }

    pub(super) fn forget_no_more(&mut self, row: &MessageRow) {
        if let Some(plan) = self.of(row.mailbox) {
            plan.forget.retain(|id| *id != row.id);
        }
    }
}

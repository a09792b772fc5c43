//! A move made of COPY and EXPUNGE that was journaled: what was copied is expunged at its source, and never copied
//! again; what was not is left to the next plan.

use std::collections::{BTreeMap, BTreeSet};

use super::{Apply, Known, Place, Settlement, newcomers, settled};
use crate::model::{
    Fingerprint, Identity, MailboxId, MailboxName, MessageId, MessageRow, Tombstone, Uid, UidSet, UidValidity,
    Watermark,
};
use crate::store::{Expunged, Failure, Intent, IntentId, Journal, LocalStore, Record, RemoteStore};

impl<R: RemoteStore, L: LocalStore, J: Journal> Apply<'_, R, L, J> {
    /// Under another UIDVALIDITY nobody can say which messages were copied but by their content: the rows wait to be
    /// expunged until they are found again.
    pub(super) async fn recover_copies(
        &mut self,
        place: &Place,
        places: &BTreeMap<MailboxId, Place>,
        intents: Vec<(IntentId, Intent)>,
    ) -> Result<Settlement, Failure> {
        let mut records = Vec::new();
        for (id, intent) in intents {
            let Intent::Copy { uid_validity, uids, target, before, .. } = intent else { continue };
            let known = self.known(&place.row)?;
            let source = self.look_at(&known).await?;
            // Gone since it was listed it may have another name now, under which the next run finds it, and what was copied
            // is not copied again.
            records.extend((source.is_some() || !place.listed).then_some(Record::Settled(id)));
            let Some(source) = source else { continue };
            let mut copies = self.copies((&target, before), places).await?;
            if copies.is_empty() {
                continue;
            }
            if source.uid_validity() != uid_validity {
                let moved = known.rows.iter().filter(|row| uids.contains(row.uid));
                let copied = moved.filter(|row| take_equal(&mut copies, row.content));
                records.extend(copied.map(|row| Record::Bury(row.id, Tombstone::Waiting)));
                continue;
            }
            let present: UidSet = uids.iter().filter(|uid| source.messages.get(*uid).is_some()).collect();
            let sources = match present.is_empty() {
                true => BTreeMap::new(),
                false => self.remote.identify(&place.row.name, uid_validity, &present, true).await?,
            };
            let copied = sources.into_iter().filter(|(_, source)| take_equal(&mut copies, source.content));
            let copied: UidSet = copied.map(|(uid, _)| uid).collect();
            if !copied.is_empty() {
                records.extend(self.finish_move(place, &known.rows, uid_validity, &copied).await?);
            }
        }
        match records.is_empty() {
            true => Ok(settled([])),
            false => Ok(Settlement::Records(records)),
        }
    }

    /// Returns what came to the target since, and so may be the copies.
    async fn copies(
        &mut self,
        (target, (validity, uid_next)): (&MailboxName, (UidValidity, u32)),
        places: &BTreeMap<MailboxId, Place>,
    ) -> Result<BTreeMap<Uid, Identity>, Failure> {
        let known = match places.values().find(|known| known.row.name == *target) {
            Some(place) => self.known(&place.row)?,
            None => Known { name: target.clone(), watermark: None, rows: Vec::new() },
        };
        let Some(snapshot) = self.look_when_quiet(&known).await? else {
            return self.copies_under_another_name(validity, uid_next, places).await;
        };
        let mut candidates = newcomers(&snapshot, &known.rows, validity, uid_next);
        if snapshot.uid_validity() == validity {
            // A copy may have come down already, while the source could not be looked at.
            let present = |uid: &Uid| uid.get() >= uid_next && snapshot.messages.get(*uid).is_some();
            candidates.union_with(&known.rows.iter().map(|row| row.uid).filter(present).collect());
        }
        match candidates.is_empty() {
            true => Ok(BTreeMap::new()),
            false => Ok(self.remote.identify(target, validity, &candidates, true).await?),
        }
    }

    /// Looks for copies where the target may be now: under a name that the baseline knows nothing of at this UIDVALIDITY.
    async fn copies_under_another_name(
        &mut self,
        validity: UidValidity,
        uid_next: u32,
        places: &BTreeMap<MailboxId, Place>,
    ) -> Result<BTreeMap<Uid, Identity>, Failure> {
        let is_so_numbered = |mark: Option<Watermark>| mark.is_some_and(|mark| mark.uid_validity == validity);
        let known = places.values().filter(|place| is_so_numbered(place.row.watermark));
        let known: BTreeSet<&MailboxName> = known.map(|place| &place.row.name).collect();
        let mut listed = self.remote.list().await?.mailboxes;
        listed.retain(|name, mailbox| is_so_numbered(mailbox.status) && !known.contains(name));
        let mut copies = BTreeMap::new();
        for name in listed.into_keys() {
            let known = Known { name, watermark: None, rows: Vec::new() };
            let Some(snapshot) = self.look_at(&known).await? else { continue };
            let new = newcomers(&snapshot, &known.rows, validity, uid_next);
            if !new.is_empty() {
                copies.extend(self.remote.identify(&known.name, validity, &new, true).await?);
            }
        }
        Ok(copies)
    }

    async fn finish_move(
        &mut self,
        place: &Place,
        rows: &[MessageRow],
        validity: UidValidity,
        uids: &UidSet,
    ) -> Result<Vec<Record>, Failure> {
        let ids: Vec<MessageId> = rows.iter().filter(|row| uids.contains(row.uid)).map(|row| row.id).collect();
        Ok(match self.remote.expunge(&place.row.name, validity, uids).await? {
            // What is gone from its place shows in the next look: only the row knows what was agreed on about it.
            Expunged::Done => Vec::new(),
            Expunged::Flagged => ids.into_iter().map(|id| Record::Bury(id, Tombstone::Waiting)).collect(),
        })
    }
}

fn take_equal(copies: &mut BTreeMap<Uid, Identity>, content: Option<Fingerprint>) -> bool {
    let equal = copies.iter().find(|(_, copy)| copy.content == content && content.is_some());
    let uid = equal.map(|(uid, _)| *uid);
    uid.is_some_and(|uid| copies.remove(&uid).is_some())
}

//! Messages that were sent, and that others moved on before the answer was heard.

use std::collections::{BTreeMap, BTreeSet};

use super::append::{by_content, lowest_uid, message_id_of, new_row};
use super::{Apply, Place, is_fatal, newcomers};
use crate::model::{Identity, MailboxId, Timestamp, Uid, UidSet};
use crate::reconcile::snapshot::{RemoteListing, RemoteSnapshot};
use crate::store::{Failure, Intent, Journal, LocalStore, NewMessage, RemoteStore};

impl<R: RemoteStore, L: LocalStore, J: Journal> Apply<'_, R, L, J> {
    /// Looks for messages that were sent to a mailbox, and are not there, in those that have grown since.
    ///
    /// What is found gets a row under a UID that was given there and is no more, as if the answer had come in time: this
    /// very pass sees it moved. What isn't is sent again: a resurrection beats a loss.
    pub(super) async fn find_astray(
        &mut self,
        place: &Place,
        places: &BTreeMap<MailboxId, Place>,
        sent: &[&Intent],
        snapshot: &RemoteSnapshot,
    ) -> Result<Vec<NewMessage>, Failure> {
        let known: UidSet = self.known(&place.row)?.rows.iter().map(|row| row.uid).collect();
        // What was there before is listed only if it changed: that it isn't proves nothing.
        let new = place.row.watermark.map_or(0, |mark| mark.uid_next);
        let mut left = BTreeSet::new();
        for intent in sent {
            let given = (lowest_uid(intent).max(new)..snapshot.watermark.uid_next).filter_map(Uid::new);
            let is_there = |uid: &Uid| snapshot.messages.listed().contains_key(uid) || known.contains(*uid);
            let missing = given.filter(|uid| !is_there(uid)).find(|uid| !left.contains(uid));
            left.extend(missing);
        }
        if left.is_empty() {
            return Ok(Vec::new());
        }
        let listing = self.remote.list().await?;
        let others = places.values().filter(|other| other.row.id != place.row.id && has_grown(other, &listing));
        let mut found = BTreeMap::new();
        for other in others {
            match self.likely_astray(other, sent).await {
                Ok(likely) => found.extend(likely.into_iter().map(|(uid, identity)| ((other.row.id, uid), identity))),
                // It may be there, and be doubled; else this mailbox would wait for one that perhaps nobody may read.
                Err(Failure::Remote(error)) if !is_fatal(&error) => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(rows(sent, left, found))
    }

    /// Returns what came to a mailbox since it was last seen, and may be one of the messages sent.
    async fn likely_astray(&mut self, place: &Place, sent: &[&Intent]) -> Result<BTreeMap<Uid, Identity>, Failure> {
        let known = self.known(&place.row)?;
        let Some(snapshot) = self.look_at(&known).await? else { return Ok(BTreeMap::new()) };
        let new = newcomers(&snapshot, &known.rows, snapshot.uid_validity(), 1);
        let listed = snapshot.messages.listed().iter().filter(|(uid, _)| new.contains(**uid));
        let may_be = |date: Option<Timestamp>| sent.iter().any(|intent| is_dated(intent, date));
        let candidates: UidSet = listed.filter(|(_, message)| may_be(message.date)).map(|(uid, _)| *uid).collect();
        if candidates.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut headers = self.identify_listed(&known.name, &snapshot, &candidates, false).await?;
        headers.retain(|_, header| sent.iter().any(|intent| message_id_of(intent) == header.message_id));
        if headers.is_empty() {
            return Ok(headers);
        }
        self.identify_listed(&known.name, &snapshot, &headers.into_keys().collect(), true).await
    }
}

/// Returns true unless the mailbox is known to hold nothing that was not seen.
fn has_grown(place: &Place, listing: &RemoteListing) -> bool {
    let Some(listed) = listing.mailboxes.get(&place.row.name).filter(|listed| listed.selectable) else { return false };
    listed.status.zip(place.row.watermark).is_none_or(|(now, seen)| now.has_grown_since(&seen))
}

/// MOVE and COPY keep the date.
fn is_dated(intent: &Intent, date: Option<Timestamp>) -> bool {
    matches!(intent, Intent::Append { date: sent, .. } if sent.is_none() || date.is_none() || *sent == date)
}

/// Pairs what was sent with what was found, one to one, and gives each a UID of those left.
fn rows(sent: &[&Intent], left: BTreeSet<Uid>, mut found: BTreeMap<(MailboxId, Uid), Identity>) -> Vec<NewMessage> {
    let mut rows = Vec::new();
    let mut left: Vec<Uid> = left.into_iter().collect();
    for intent in sent {
        let equal = |(_, identity): &(&_, &Identity)| is_dated(intent, identity.date) && by_content(intent, identity);
        let at = left.iter().position(|uid| uid.get() >= lowest_uid(intent));
        if let Some((at, spot)) = at.zip(found.iter().find(equal).map(|(spot, _)| *spot)) {
            found.remove(&spot);
            rows.extend(new_row(intent, left.remove(at)));
        }
    }
    rows
}

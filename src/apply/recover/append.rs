//! An append that was journaled: the server has the message under a UID not below the UIDNEXT of then, or not at all.

use std::collections::BTreeMap;

use super::super::upload::{Caution, left};
use super::{Apply, Known, Place, Settlement, newcomers, settled};
use crate::model::{FlagSet, Identity, MailboxId, MessageHash, Uid, UidSet, UidValidity, UniqueName};
use crate::reconcile::snapshot::RemoteSnapshot;
use crate::store::{Failure, Intent, IntentId, Journal, LocalStore, NewMessage, Record, RemoteStore};

impl<R: RemoteStore, L: LocalStore, J: Journal> Apply<'_, R, L, J> {
    pub(super) async fn recover_appends(
        &mut self,
        place: &Place,
        places: &BTreeMap<MailboxId, Place>,
        intents: Vec<(IntentId, Intent)>,
    ) -> Result<Settlement, Failure> {
        let Some((_, Intent::Append { uid_validity, .. })) = intents.first() else {
            return Ok(Settlement::Records(Vec::new()));
        };
        let validity = *uid_validity;
        let known = self.known(&place.row)?;
        let Some(mut seen) = self.look_at(&known).await? else {
            return Ok(settled(intents.into_iter().map(|(id, _)| id)));
        };
        let mut matched = self.match_appends(&known, &intents, validity, &seen).await?;
        if matched.len() < intents.len()
            && let Some(last) = self.look_when_quiet(&known).await?
        {
            matched = self.match_appends(&known, &intents, validity, &last).await?;
            seen = last;
        }
        let lost = intents.iter().filter(|(id, _)| seen.uid_validity() == validity && !matched.contains_key(id));
        let lost: Vec<&Intent> = lost.map(|(_, intent)| intent).collect();
        let astray = self.find_astray(place, places, &lost, &seen).await?;
        let rows: Vec<NewMessage> = matched.into_values().chain(astray).collect();
        let is_unsent = |unique: &UniqueName| rows.iter().all(|row| row.unique.as_ref() != Some(unique));
        let unsent = intents.iter().filter_map(|(_, intent)| file_of(intent)).filter(|unique| is_unsent(unique));
        // The server may have closed the connection over one of them.
        for unique in unsent {
            self.suspects.entry((place.row.id, unique.clone())).or_insert(Caution::OwnCommand);
        }
        let mut records: Vec<Record> = intents.iter().filter_map(|(_, intent)| departure(intent, &rows)).collect();
        records.extend(rows.into_iter().map(|row| Record::Insert(place.row.id, row)));
        records.extend(intents.iter().map(|(id, _)| Record::Settled(*id)));
        Ok(Settlement::Records(records))
    }

    /// Finds the messages that were sent among those that came since, by their content.
    ///
    /// A Message-ID is no proof: others may put a message of the same one there at the same time. What the server stored
    /// with small changes is not paired here but adopted, being new on both sides.
    async fn match_appends(
        &mut self,
        known: &Known,
        intents: &[(IntentId, Intent)],
        validity: UidValidity,
        snapshot: &RemoteSnapshot,
    ) -> Result<BTreeMap<IntentId, NewMessage>, Failure> {
        let from = intents.iter().map(|(_, intent)| lowest_uid(intent)).min().unwrap_or_default();
        let candidates = newcomers(snapshot, &known.rows, validity, from);
        if candidates.is_empty() {
            return Ok(BTreeMap::new());
        }
        let headers = self.identify_listed(&known.name, snapshot, &candidates, false).await?;
        let likely =
            |identity: &Identity| intents.iter().any(|(_, intent)| message_id_of(intent) == identity.message_id);
        let likely: UidSet = headers.iter().filter(|(_, identity)| likely(identity)).map(|(uid, _)| *uid).collect();
        if likely.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut whole = self.identify_listed(&known.name, snapshot, &likely, true).await?;
        let mut matched = pair(intents, &mut whole);
        // What we sent and the server did not store is no removal by others.
        for (id, row) in &mut matched {
            let sent = intents.iter().find(|(other, _)| other == id).map(|(_, intent)| sent_flags(intent));
            if let (Some(sent), Some(message)) = (sent, snapshot.messages.listed().get(&row.uid)) {
                row.flags = row.flags.difference(&sent.difference(&message.flags));
            }
        }
        Ok(matched)
    }
}

/// Pairs intents and candidates in the order they were sent in, one to one; takes the paired candidates out.
fn pair(intents: &[(IntentId, Intent)], candidates: &mut BTreeMap<Uid, Identity>) -> BTreeMap<IntentId, NewMessage> {
    let mut matched = BTreeMap::new();
    for (id, intent) in intents {
        let first =
            candidates.iter().find(|(uid, identity)| uid.get() >= lowest_uid(intent) && by_content(intent, identity));
        if let Some(uid) = first.map(|(uid, _)| *uid) {
            candidates.remove(&uid);
            matched.extend(new_row(intent, uid).map(|row| (*id, row)));
        }
    }
    matched
}

pub(super) fn message_id_of(intent: &Intent) -> Option<MessageHash> {
    match intent {
        Intent::Append { message_id, .. } => *message_id,
        _ => None,
    }
}

/// Returns the record of what has left its mailbox if this, sent in place of it, got a row.
fn departure(intent: &Intent, rows: &[NewMessage]) -> Option<Record> {
    let Intent::Append { unique, leaves, .. } = intent else { return None };
    let is_there = rows.iter().any(|row| row.unique.as_ref() == Some(unique));
    left(leaves.filter(|_| is_there))
}

fn file_of(intent: &Intent) -> Option<&UniqueName> {
    match intent {
        Intent::Append { unique, .. } => Some(unique),
        _ => None,
    }
}

fn sent_flags(intent: &Intent) -> FlagSet {
    match intent {
        Intent::Append { flags, difference, .. } => difference.apply(flags),
        _ => FlagSet::new(),
    }
}

pub(super) fn by_content(intent: &Intent, candidate: &Identity) -> bool {
    matches!(intent, Intent::Append { content, .. } if Some(*content) == candidate.content)
}

pub(super) fn lowest_uid(intent: &Intent) -> u32 {
    match intent {
        Intent::Append { uid_next, .. } => *uid_next,
        _ => u32::MAX,
    }
}

/// The row is as if the answer had come: a file gone or changed since is seen against it.
pub(super) fn new_row(intent: &Intent, uid: Uid) -> Option<NewMessage> {
    let Intent::Append { unique, flags, date, size, message_id, content, stat, .. } = intent else { return None };
    Some(NewMessage {
        uid,
        unique: Some(unique.clone()),
        flags: flags.clone(),
        tombstone: None,
        date: *date,
        size: Some(*size),
        content: Some(*content),
        message_id: *message_id,
        stat: Some(*stat),
        email_id: None,
    })
}

//! Flags that were about to be brought over. What the side that was to get them shows of them counts as agreed on: then
//! what somebody did since on the other side, where they came from, is a change, and nothing that is to be undone.
//!
//! Letters that a program stripped from a name while it changed another flag are to be put back. Once that other flag
//! counts as agreed on nothing shows any more that nobody took them off: then they don't count as agreed on themselves.
//! The server shows them in the next look, as it has stored that flag.

use std::collections::BTreeMap;

use super::{Apply, Place, Settlement};
use crate::model::{FlagDelta, FlagSet, MailboxRow, MessageRow, Side, UidValidity, UniqueName};
use crate::reconcile::flags::is_stripped;
use crate::reconcile::memory::borne;
use crate::reconcile::renumber::{Numbers, numbers};
use crate::reconcile::snapshot::LocalSnapshot;
use crate::store::{Failure, Intent, IntentId, Journal, LocalErrorKind, LocalStore, Record, RemoteStore, untaken};

impl<R: RemoteStore, L: LocalStore, J: Journal> Apply<'_, R, L, J> {
    /// Of files that are not there nothing is known, and both sides count as they are found; as long as they may be there
    /// nothing is settled. Where the mailbox was numbered anew nothing tells yet which message is which: what was to be
    /// stored there is settled by [`shown`] once the rows bear their new numbers.
    pub(super) async fn recover_flags(
        &mut self,
        place: &Place,
        mut intents: Vec<(IntentId, Intent)>,
    ) -> Result<Settlement, Failure> {
        if intents.is_empty() {
            return Ok(Settlement::Records(Vec::new()));
        }
        let known = self.known(&place.row)?;
        let scan = self.lasting_names(place)?;
        let may_be_there = |row: &MessageRow| {
            let is_unseen =
                |scan: &LocalSnapshot| row.unique.as_ref().is_some_and(|name| !scan.entries.contains_key(name));
            scan.as_ref().is_some_and(|scan| !scan.quiet && is_unseen(scan))
                && !differences_of(row, place.row.uid_validity, &intents).is_empty()
        };
        if known.rows.iter().any(may_be_there) {
            return Ok(Settlement::Unknown);
        }
        let is_for_remote = |(_, one): &(_, Intent)| matches!(one, Intent::Flags { side: Side::Remote, .. });
        let look = if intents.iter().any(is_for_remote) { self.look_at(&known).await? } else { None };
        let highest = known.rows.iter().map(|row| row.uid).max();
        if look.as_ref().is_some_and(|look| numbers(&place.row, highest, &look.watermark) != Numbers::Kept) {
            intents.retain(|one| !is_for_remote(one));
        }
        let untaken = untaken(&self.journal.failures(place.row.id)?);
        let mut records = Vec::new();
        for row in &known.rows {
            let there = look.as_ref().and_then(|look| look.messages.listed().get(&row.uid)).map(|one| &one.flags);
            let flags = scan.as_ref().and_then(|scan| shown(&place.row, row, (&intents, &untaken), scan, there));
            records.extend(flags.map(|flags| Record::Flags(row.id, flags)));
        }
        records.extend(intents.iter().map(|(id, _)| Record::Settled(*id)));
        Ok(Settlement::Records(records))
    }

    /// Reads a maildir; `None` if it is no more. The run that gave its files their names died before it made them
    /// durable.
    fn lasting_names(&mut self, place: &Place) -> Result<Option<LocalSnapshot>, Failure> {
        let local = &place.row.local;
        let scan = self.local.observe(local, &place.row.letters);
        match scan.and_then(|scan| self.local.sync(local).map(|()| scan)) {
            Err(error) if error.kind == LocalErrorKind::Item && self.local.list()?.find(local).is_none() => Ok(None),
            scan => Ok(Some(scan?)),
        }
    }
}

/// Returns what counts as agreed on of a message about which there are intents, by what the side shows that was to get
/// a difference: the names in its maildir, or these flags of it on the server. `None` if there is no such intent, or no
/// file.
/// `untaken` is what the server did not take, by file.
pub(crate) fn shown(
    mailbox: &MailboxRow,
    row: &MessageRow,
    (intents, untaken): (&[(IntentId, Intent)], &BTreeMap<UniqueName, FlagDelta>),
    scan: &LocalSnapshot,
    there: Option<&FlagSet>,
) -> Option<FlagSet> {
    let differences = differences_of(row, mailbox.uid_validity, intents);
    let unique = row.unique.as_ref().filter(|_| !differences.is_empty())?;
    let entry = scan.entries.get(unique)?;
    let is_stripped = |flags: &FlagSet| {
        let mut left = borne(flags, unique, untaken);
        // What was to be taken off the name has gone from it because of that.
        for (_, taken) in differences.iter().filter(|(side, _)| *side == Side::Local) {
            left.keywords.retain(|word| !taken.remove.keywords.contains(word));
        }
        is_stripped(&left, entry, scan, &mailbox.letters)
    };
    let stripped = is_stripped(&row.flags);
    let mut flags = row.flags.clone();
    for (side, difference) in &differences {
        let shown = match side {
            Side::Remote => there,
            // What a stripped name shows is that program's doing.
            Side::Local => Some(&entry.flags).filter(|_| !stripped),
        };
        flags = shown.map_or_else(FlagDelta::default, |shown| brought(difference, shown)).apply(&flags);
    }
    if stripped && !is_stripped(&flags) {
        flags.keywords.retain(|word| word.is_forwarded() || entry.flags.keywords.contains(word));
    }
    Some(flags)
}

/// Returns what was about to be brought over of a message, and to which side.
fn differences_of<'i>(
    row: &MessageRow,
    now: Option<UidValidity>,
    intents: &'i [(IntentId, Intent)],
) -> Vec<(Side, &'i FlagDelta)> {
    let of_row = |(_, intent): &'i (IntentId, Intent)| match intent {
        Intent::Flags { uid_validity, uids, side, difference, .. }
            if now == Some(*uid_validity) && uids.contains(row.uid) =>
        {
            Some((*side, difference))
        }
        _ => None,
    };
    intents.iter().filter_map(of_row).collect()
}

/// Returns the part of a difference that these flags show.
fn brought(difference: &FlagDelta, shown: &FlagSet) -> FlagDelta {
    FlagDelta { add: difference.add.intersection(shown), remove: difference.remove.difference(shown) }
}

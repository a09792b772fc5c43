//! Flags that were about to be brought over. What the side that was to get them shows of them counts as agreed on: then
//! what somebody did since on the other side, where they came from, is a change, and nothing that is to be undone.
//!
//! What a name lacks of what it was to be given does not count, whatever was agreed on before: letters that a program
//! stripped while it changed another flag are to be put back, and once that other flag counts as agreed on nothing shows
//! any more that nobody took them off.

use std::collections::BTreeMap;

use super::{Apply, Place, Settlement};
use crate::model::{FlagDelta, FlagSet, MessageId, MessageRow, Side};
use crate::reconcile::flags::is_stripped;
use crate::reconcile::snapshot::LocalSnapshot;
use crate::store::{Failure, Intent, IntentId, Journal, LocalErrorKind, LocalStore, Record, RemoteStore};

impl<R: RemoteStore, L: LocalStore, J: Journal> Apply<'_, R, L, J> {
    /// Of messages that can't be seen nothing is known, and both sides count as they are found.
    pub(super) async fn recover_flags(
        &mut self,
        place: &Place,
        intents: Vec<(IntentId, Intent)>,
    ) -> Result<Settlement, Failure> {
        if intents.is_empty() {
            return Ok(Settlement::Records(Vec::new()));
        }
        let known = self.known(&place.row)?;
        let is_for = |of: Side| intents.iter().any(|(_, one)| matches!(one, Intent::Flags { side, .. } if *side == of));
        let scan = if is_for(Side::Local) { self.lasting_names(place)? } else { None };
        let look = if is_for(Side::Remote) { self.look_at(&known).await? } else { None };
        let mut agreed: BTreeMap<MessageId, FlagSet> = BTreeMap::new();
        for (_, intent) in &intents {
            let Intent::Flags { uid_validity, uids, side, difference, .. } = intent else { continue };
            let counts = place.row.uid_validity == Some(*uid_validity);
            let look = look.as_ref().filter(|look| look.uid_validity() == *uid_validity);
            for row in known.rows.iter().filter(|row| counts && uids.contains(row.uid)) {
                let shown = match side {
                    Side::Remote => look.and_then(|look| look.messages.listed().get(&row.uid)).map(|one| &one.flags),
                    Side::Local => scan.as_ref().and_then(|scan| named(place, row, scan)),
                };
                let brought = shown.map_or_else(FlagDelta::default, |shown| brought(difference, shown));
                let flags = agreed.entry(row.id).or_insert_with(|| row.flags.clone());
                *flags = brought.apply(flags);
                if *side == Side::Local {
                    *flags = difference.difference(&brought).undo(flags);
                }
            }
        }
        let settled = intents.iter().map(|(id, _)| Record::Settled(*id));
        Ok(Settlement::Records(
            agreed.into_iter().map(|(row, flags)| Record::Flags(row, flags)).chain(settled).collect(),
        ))
    }

    /// Reads a maildir; `None` if it can't be. The run that gave its files their names died before it made them durable.
    fn lasting_names(&mut self, place: &Place) -> Result<Option<LocalSnapshot>, Failure> {
        let local = &place.row.local;
        let scan = self.local.observe(local, &place.row.letters);
        match scan.and_then(|scan| self.local.sync(local).map(|()| scan)) {
            Err(error) if error.kind == LocalErrorKind::Item => Ok(None),
            scan => Ok(Some(scan?)),
        }
    }
}

/// Returns what a file's name shows. Nothing if a program stripped it: what it shows then is that program's doing.
fn named<'s>(place: &Place, row: &MessageRow, scan: &'s LocalSnapshot) -> Option<&'s FlagSet> {
    let entry = scan.entries.get(row.unique.as_ref()?)?;
    (!is_stripped(&row.flags, entry, scan, &place.row.letters)).then_some(&entry.flags)
}

/// Returns the part of a difference that these flags show.
fn brought(difference: &FlagDelta, shown: &FlagSet) -> FlagDelta {
    FlagDelta { add: difference.add.intersection(shown), remove: difference.remove.difference(shown) }
}

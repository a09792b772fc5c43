//! Flags that were about to be brought over. What the side that was to get them shows of them counts as agreed on: then
//! what somebody did since on the other side, where they came from, is a change, and nothing that is to be undone.
//!
//! Letters that a program stripped from a name while it changed another flag are to be put back. Once that other flag
//! counts as agreed on nothing shows any more that nobody took them off: then they don't count as agreed on themselves.

use super::{Apply, Place, Settlement};
use crate::model::{FlagDelta, FlagSet, MessageRow, Side};
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
        let scan = self.lasting_names(place)?;
        let is_for_remote = |(_, one): &(_, Intent)| matches!(one, Intent::Flags { side: Side::Remote, .. });
        let look = if intents.iter().any(is_for_remote) { self.look_at(&known).await? } else { None };
        let mut records = Vec::new();
        for row in &known.rows {
            let differences = differences_of(row, place, &intents);
            let entry = scan.as_ref().zip(row.unique.as_ref()).and_then(|(scan, unique)| scan.entries.get(unique));
            let Some((scan, entry)) = scan.as_ref().zip(entry).filter(|_| !differences.is_empty()) else { continue };
            let stripped = is_stripped(&row.flags, entry, scan, &place.row.letters);
            let there = look.as_ref().filter(|look| Some(look.uid_validity()) == place.row.uid_validity);
            let mut flags = row.flags.clone();
            for (side, difference) in differences {
                let shown = match side {
                    Side::Remote => there.and_then(|look| look.messages.listed().get(&row.uid)).map(|one| &one.flags),
                    // What a stripped name shows is that program's doing.
                    Side::Local => Some(&entry.flags).filter(|_| !stripped),
                };
                flags = shown.map_or_else(FlagDelta::default, |shown| brought(difference, shown)).apply(&flags);
            }
            if stripped {
                flags.keywords.retain(|word| word.is_forwarded() || entry.flags.keywords.contains(word));
            }
            records.push(Record::Flags(row.id, flags));
        }
        records.extend(intents.iter().map(|(id, _)| Record::Settled(*id)));
        Ok(Settlement::Records(records))
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

/// Returns what was about to be brought over of a message, and to which side.
fn differences_of<'i>(
    row: &MessageRow,
    place: &Place,
    intents: &'i [(IntentId, Intent)],
) -> Vec<(Side, &'i FlagDelta)> {
    let of_row = |(_, intent): &'i (IntentId, Intent)| match intent {
        Intent::Flags { uid_validity, uids, side, difference, .. }
            if place.row.uid_validity == Some(*uid_validity) && uids.contains(row.uid) =>
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

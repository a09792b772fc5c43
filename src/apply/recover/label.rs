//! A file from another folder that was about to get the keyword letters of its own: it gets them if its row is there, for
//! without one it is still taken for what it was in the other folder.

use std::collections::BTreeSet;

use super::{Apply, Place, Settlement};
use crate::model::UniqueName;
use crate::store::{Edit, Failure, Intent, IntentId, Journal, LocalStore, Record, RemoteStore};

impl<R: RemoteStore, L: LocalStore, J: Journal> Apply<'_, R, L, J> {
    pub(super) fn recover_labels(
        &mut self,
        place: &Place,
        intents: Vec<(IntentId, Intent)>,
    ) -> Result<Settlement, Failure> {
        if intents.is_empty() {
            return Ok(Settlement::Records(Vec::new()));
        }
        let local = &place.row.local;
        let rows = self.journal.messages(place.row.id)?;
        let known: BTreeSet<&UniqueName> = rows.iter().filter_map(|row| row.unique.as_ref()).collect();
        let scan = self.local.observe(local, &place.row.letters)?;
        let (mut records, mut unknown) = (Vec::new(), false);
        for (id, intent) in intents {
            let Intent::Relabel { unique, before, after, .. } = intent else { continue };
            let done = match scan.entries.get(&unique).filter(|_| known.contains(&unique)) {
                Some(entry) => self.local.relabel(local, &unique, entry, &before, &after)? == Edit::Done(()),
                None => scan.quiet || !known.contains(&unique),
            };
            unknown |= !done;
            records.extend(done.then_some(Record::Settled(id)));
        }
        self.local.sync(local)?;
        if unknown {
            self.commit(records)?;
            return Ok(Settlement::Unknown);
        }
        Ok(Settlement::Records(records))
    }
}

//! Files that were about to be removed from a mailbox whose name another one has: what has gone of them is no removal by
//! the user. That other one may hold their messages, put back there: they are fetched again.

use std::collections::BTreeSet;

use super::{Apply, Place, Settlement};
use crate::model::{KeywordLetters, MessageRow, UniqueName};
use crate::store::{Failure, IntentId, Journal, LocalStore, Record, RemoteStore};

impl<R: RemoteStore, L: LocalStore, J: Journal> Apply<'_, R, L, J> {
    /// A file that is still there is looked at like any other, wherever the user has put it.
    pub(super) fn recover_removals(
        &mut self,
        place: &Place,
        intents: &[(IntentId, UniqueName)],
    ) -> Result<Settlement, Failure> {
        if intents.is_empty() {
            return Ok(Settlement::Records(Vec::new()));
        }
        let rows = self.journal.messages(place.row.id)?;
        let names: BTreeSet<&UniqueName> = intents.iter().map(|(_, unique)| unique).collect();
        let is_named = |row: &&MessageRow| row.unique.as_ref().is_some_and(|unique| names.contains(unique));
        let mut gone: Vec<&MessageRow> = rows.iter().filter(is_named).collect();
        let mut quiet = true;
        for maildir in self.local.list()?.maildirs {
            let scan = self.local.observe(&maildir.name, &KeywordLetters::new())?;
            // Whoever moved a file may have given it another name.
            let inodes: BTreeSet<u64> = scan.entries.values().map(|entry| entry.inode).collect();
            let is_there = |row: &&MessageRow| {
                row.unique.as_ref().is_some_and(|unique| scan.entries.contains_key(unique))
                    || row.stat.is_some_and(|stat| inodes.contains(&stat.inode))
            };
            gone.retain(|row| !is_there(row));
            quiet &= scan.quiet;
        }
        if !gone.is_empty() && !quiet {
            return Ok(Settlement::Unknown);
        }
        // A file that a power cut brings back would be sent as a new one.
        self.local.sync(&place.row.local)?;
        let mut records: Vec<Record> = gone.iter().map(|row| Record::Forget(row.id)).collect();
        records.extend(intents.iter().map(|(id, _)| Record::Settled(*id)));
        Ok(Settlement::Records(records))
    }
}

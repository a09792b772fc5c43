//! A download that was journaled: its file is in `tmp`, or visible, or was moved or renamed by someone since.

use super::{Apply, Place, Settlement};
use crate::model::{KeywordLetters, MailboxName};
use crate::reconcile::flags::download_flags;
use crate::reconcile::snapshot::LocalSnapshot;
use crate::store::{Edit, Failure, IntentId, Journal, LocalErrorKind, LocalStore, NewMessage, Record, RemoteStore};

impl<R: RemoteStore, L: LocalStore, J: Journal> Apply<'_, R, L, J> {
    /// The rows get the flags as they were fetched: what the user changed since is a change.
    pub(super) fn recover_downloads(
        &mut self,
        place: &Place,
        intents: Vec<(IntentId, NewMessage)>,
    ) -> Result<Settlement, Failure> {
        if intents.is_empty() {
            return Ok(Settlement::Records(Vec::new()));
        }
        let (mut records, mut visible) = (Vec::new(), Vec::new());
        let letters = self.letters_of(place, &intents)?;
        for (id, row) in intents {
            let Some(unique) = &row.unique else { continue };
            let flags = download_flags(&row.flags, &place.rules);
            match self.local.publish(&place.row.local, unique, &flags, &letters)? {
                Edit::Done(()) => {
                    self.report.local.added += 1;
                    records.extend(found(place, id, row));
                }
                Edit::Changed => visible.push((id, row)),
            }
        }
        self.local.sync(&place.row.local)?;
        match self.find_visible(place, visible, &letters)? {
            Settlement::Records(more) => records.extend(more),
            Settlement::Unknown => {
                self.commit(records)?;
                return Ok(Settlement::Unknown);
            }
        }
        Ok(Settlement::Records(records))
    }

    fn letters_of(&mut self, place: &Place, intents: &[(IntentId, NewMessage)]) -> Result<KeywordLetters, Failure> {
        let keywords = intents.iter().flat_map(|(_, row)| &row.flags.keywords);
        let new = keywords.filter(|keyword| !keyword.is_forwarded() && place.row.letters.letter(keyword).is_none());
        let new: std::collections::BTreeSet<_> = new.cloned().collect();
        if new.is_empty() {
            return Ok(place.row.letters.clone());
        }
        Ok(self.local.assign_letters(&place.row.local, &place.row.letters, &new)?)
    }

    /// Looks for files that are no longer in `tmp`: by name, here and in all folders, then by inode and content.
    fn find_visible(
        &mut self,
        place: &Place,
        intents: Vec<(IntentId, NewMessage)>,
        letters: &KeywordLetters,
    ) -> Result<Settlement, Failure> {
        if intents.is_empty() {
            return Ok(Settlement::Records(Vec::new()));
        }
        let here = self.local.observe(&place.row.local, letters)?;
        let mut elsewhere = Vec::new();
        for maildir in self.local.list()?.maildirs {
            if maildir.name != place.row.local {
                let scan = self.local.observe(&maildir.name, &KeywordLetters::new())?;
                elsewhere.push((maildir.name, scan));
            }
        }
        // A crash may have left the name to a power cut, and who renamed its folder took it along like that. Recorded
        // and gone again, the message would look removed.
        for (name, scan) in &elsewhere {
            if intents.iter().any(|(_, row)| is_named(scan, row)) {
                self.local.sync(name)?;
            }
        }
        let quiet = here.quiet && elsewhere.iter().all(|(_, scan)| scan.quiet);
        let (mut records, mut lost) = (Vec::new(), false);
        for (id, row) in intents {
            let renamed = match is_named(&here, &row) || elsewhere.iter().any(|(_, scan)| is_named(scan, &row)) {
                true => Some(row.clone()),
                false => self.find_renamed(&place.row.local, &here, &row)?,
            };
            match renamed {
                Some(row) => records.extend(found(place, id, row)),
                None if quiet => records.push(Record::Settled(id)),
                None => lost = true,
            }
        }
        if lost {
            self.commit(records)?;
            return Ok(Settlement::Unknown);
        }
        Ok(Settlement::Records(records))
    }

    fn find_renamed(
        &mut self,
        local: &MailboxName,
        scan: &LocalSnapshot,
        row: &NewMessage,
    ) -> Result<Option<NewMessage>, Failure> {
        let same_inode =
            scan.entries.iter().filter(|(_, entry)| row.stat.is_some_and(|stat| stat.inode == entry.inode));
        for (unique, entry) in same_inode {
            let read = match self.local.identify(local, unique, entry) {
                Err(error) if error.kind == LocalErrorKind::NoMessage => continue,
                read => read?,
            };
            if matches!(read, Edit::Done((identity, _)) if identity.content == row.content) {
                return Ok(Some(NewMessage { unique: Some(unique.clone()), ..row.clone() }));
            }
        }
        Ok(None)
    }
}

fn is_named(scan: &LocalSnapshot, row: &NewMessage) -> bool {
    row.unique.as_ref().is_some_and(|unique| scan.entries.contains_key(unique))
}

fn found(place: &Place, id: IntentId, row: NewMessage) -> [Record; 2] {
    [Record::Insert(place.row.id, row), Record::Settled(id)]
}

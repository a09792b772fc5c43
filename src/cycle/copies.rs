//! Messages that are new in one folder and known in another: copies. Nothing is transferred where both are certain to be
//! the same.

mod here;
mod there;
mod transit;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::observe::Sight;
use super::plans::{Plans, Spot};
use super::{Run, Scene};
use crate::model::{Identity, MailboxId, MailboxName, MailboxRow, MessageId, MessageRow, UniqueName};
use crate::reconcile::moves::{Arrival, Place};
use crate::reconcile::plan::{LocalCopy, MailboxPlan};
use crate::reconcile::snapshot::{LocalEntry, LocalSnapshot};
use crate::store::{Edit, Failure, Journal, LocalErrorKind, LocalStore, RemoteStore};

/// Known messages and their files, by what they were looked up for.
pub(super) struct Known {
    rows: BTreeMap<MailboxId, MailboxRow>,
    scans: BTreeMap<MailboxId, Option<LocalSnapshot>>,
    files: BTreeMap<MessageId, Option<Arrival>>,
    /// Where the files are that others moved.
    moved: BTreeMap<MessageId, Place>,
}

impl Known {
    /// Returns true if there are any.
    pub(super) fn any(&self) -> bool {
        self.rows.values().any(|row| row.with_uid > 0)
    }

    /// Returns a message's file as it was seen, if it was: where it was moved to, or else where it was.
    fn seen<'k>(&'k self, all: &'k Plans<'_>, row: &'k MessageRow) -> Option<File<'k>> {
        let (mailbox, unique) = match self.moved.get(&row.id) {
            Some((mailbox, unique)) => (*mailbox, unique),
            None => (row.mailbox, row.unique.as_ref()?),
        };
        let scan = all.scan(mailbox).or_else(|| self.scans.get(&mailbox)?.as_ref())?;
        Some((mailbox, unique, scan.entries.get(unique)?))
    }

    /// Returns the mailboxes whose maildirs were read for a file and nothing else, and are not as they were: what came to
    /// them may have left others, and having been read they don't look stirred any more.
    fn stirred(&self, all: &Plans<'_>) -> impl Iterator<Item = &MailboxRow> {
        let is_as_known = |row: &MailboxRow, scan: &LocalSnapshot| scan.stamp.is_some() && scan.stamp == row.stamp;
        let read = self.scans.iter().filter(move |(id, _)| all.scan(**id).is_none());
        read.filter_map(move |(id, scan)| {
            let row = self.rows.get(id)?;
            (!scan.as_ref().is_some_and(|scan| is_as_known(row, scan))).then_some(row)
        })
    }
}

/// A file as it was seen, with its mailbox.
type File<'f> = (MailboxId, &'f UniqueName, &'f LocalEntry);

/// A file that has what a message has: its maildir, its name, and what was read.
pub(super) type Source = (MailboxName, UniqueName, Arrival);

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Finds the copies among what is left to be uploaded and downloaded.
    pub(super) async fn pair_copies(
        &mut self,
        scene: &mut Scene,
        sights: &[Sight],
        plans: &mut [MailboxPlan],
    ) -> Result<(), Failure> {
        let rows = self.account.journal.mailboxes()?.into_iter().map(|row| (row.id, row)).collect();
        let mut all = Plans::new(sights, plans);
        let mut known = Known { rows, scans: BTreeMap::new(), files: BTreeMap::new(), moved: all.moved() };
        self.await_homes(scene, &mut all, &mut known)?;
        self.await_origins(scene, &mut all, &mut known)?;
        self.copy_there(scene, &mut all, &mut known)?;
        self.copy_email_ids(scene, &mut all, &mut known)?;
        self.copy_here(scene, &mut all, &mut known).await?;
        let stirred = known.stirred(&all).filter(|row| self.is_looked_at(scene, row)).map(|row| row.id);
        let stirred: Vec<MailboxId> = stirred.collect();
        scene.again.extend(stirred);
        Ok(())
    }

    /// Returns true for a mailbox that this run looks at whenever there is a reason to.
    pub(super) fn is_looked_at(&self, scene: &Scene, row: &MailboxRow) -> bool {
        !self.blind.contains(&row.local) && scene.folders.iter().any(|folder| folder.name == row.name)
    }

    /// Returns a file of these messages that is what was recorded of it, and what is looked for.
    pub(super) fn source<'r>(
        &mut self,
        known: &mut Known,
        rows: impl Iterator<Item = &'r MessageRow>,
        is_it: impl Fn(&Identity) -> bool,
    ) -> Result<Option<Source>, Failure> {
        for row in rows {
            let Some(local) = known.rows.get(&row.mailbox).map(|mailbox| mailbox.local.clone()) else { continue };
            let Some(arrival) = self.file_of(known, row)? else { continue };
            if row.content.is_some() && arrival.identity.content == row.content && is_it(&arrival.identity) {
                return Ok(row.unique.clone().map(|unique| (local, unique, arrival)));
            }
        }
        Ok(None)
    }

    fn file_of(&mut self, known: &mut Known, row: &MessageRow) -> Result<Option<Arrival>, Failure> {
        if let Some(found) = known.files.get(&row.id) {
            return Ok(found.clone());
        }
        let found = match (known.rows.get(&row.mailbox).cloned(), &row.unique) {
            (Some(mailbox), Some(unique)) => self.read_known(known, &mailbox, unique)?,
            _ => None,
        };
        known.files.insert(row.id, found.clone());
        Ok(found)
    }

    fn read_known(
        &mut self,
        known: &mut Known,
        mailbox: &MailboxRow,
        unique: &UniqueName,
    ) -> Result<Option<Arrival>, Failure> {
        let entry = self.scan_known(known, mailbox)?.and_then(|scan| scan.entries.get(unique)).cloned();
        let Some(entry) = entry else { return Ok(None) };
        let read = or_nothing(self.account.local.identify(&mailbox.local, unique, &entry))?;
        Ok(match read {
            Some(Edit::Done((identity, stat))) => Some(Arrival { entry, identity, stat }),
            Some(Edit::Changed) | None => None,
        })
    }

    /// Returns what is in a maildir, `None` if it can't be read.
    fn scan_known<'k>(
        &mut self,
        known: &'k mut Known,
        mailbox: &MailboxRow,
    ) -> Result<Option<&'k LocalSnapshot>, Failure> {
        let scan = match known.scans.entry(mailbox.id) {
            Entry::Occupied(scan) => scan.into_mut(),
            Entry::Vacant(place) => {
                place.insert(or_nothing(self.account.local.observe(&mailbox.local, &mailbox.letters))?)
            }
        };
        Ok(scan.as_ref())
    }
}

/// What can't be read is no source.
fn or_nothing<T>(read: Result<T, crate::store::LocalError>) -> Result<Option<T>, Failure> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if matches!(error.kind, LocalErrorKind::Item | LocalErrorKind::NoMessage) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn plan_copy(all: &mut Plans<'_>, spot: Spot, (local, source, arrival): Source) {
    let Some(message) = all.message(spot) else { return };
    let (flags, date) = (message.flags.clone(), message.date);
    let Some(plan) = all.of(spot.0) else { return };
    plan.download.retain(|uid| *uid != spot.1);
    let Arrival { entry, stat, .. } = arrival;
    plan.copy_local.push(LocalCopy { uid: spot.1, flags, date, from: local, source, entry, stat });
}

/// What is downloaded with this pass can be copied with the next.
pub(super) fn wait_for_twin(scene: &mut Scene, all: &mut Plans<'_>, spot: Spot) {
    if let Some(plan) = all.of(spot.0) {
        plan.download.retain(|uid| *uid != spot.1);
        plan.unknown = true;
        scene.again.insert(spot.0);
    }
}

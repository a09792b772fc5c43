//! Messages that are new in one folder and known in another: copies. Nothing is transferred where both are certain to be
//! the same.

use std::collections::{BTreeMap, BTreeSet};

use super::observe::Sight;
use super::plans::{Key, Plans, Spot, key};
use super::{Run, Scene};
use crate::model::{
    Flag, FlagSet, Identity, MailboxId, MailboxName, MailboxRow, MessageId, MessageRow, Role, UniqueName,
};
use crate::reconcile::moves::{Arrival, Arrivals, Place};
use crate::reconcile::plan::{LocalCopy, MailboxPlan, RemoteCopy};
use crate::reconcile::snapshot::{LocalEntry, LocalSnapshot, RemoteMessage};
use crate::store::{Edit, Failure, Journal, LocalErrorKind, LocalStore, RemoteStore};

/// Known messages and their files, by what they were looked up for.
pub(super) struct Known {
    rows: BTreeMap<MailboxId, MailboxRow>,
    scans: BTreeMap<MailboxId, Option<LocalSnapshot>>,
    files: BTreeMap<MessageId, Option<Arrival>>,
}

impl Known {
    /// Returns true if there are any.
    pub(super) fn any(&self) -> bool {
        self.rows.values().any(|row| row.with_uid > 0)
    }
}

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
        let mut known = Known { rows, scans: BTreeMap::new(), files: BTreeMap::new() };
        let mut all = Plans { sights, plans };
        if known.any() {
            self.copy_there(&mut all, &known)?;
        }
        self.copy_email_ids(scene, &mut all, &mut known)?;
        self.copy_here(scene, &mut all, &mut known).await
    }

    /// Files that are copies of messages the server has.
    fn copy_there(&mut self, all: &mut Plans<'_>, known: &Known) -> Result<(), Failure> {
        // What a message waits for that could not be moved is sent.
        let removals = all.plans.iter().flat_map(|plan| &plan.remove_remote);
        let awaited: BTreeSet<Place> = removals.filter_map(|removal| removal.moved_to.clone()).collect();
        for ((mailbox, unique), arrival) in self.new_uploads(all)? {
            let place = (mailbox, unique.clone());
            if self.uncopied.contains(&place) || awaited.contains(&place) {
                continue;
            }
            let of_size = self.account.journal.messages_of_size(arrival.identity.size)?;
            let same = |row: &&MessageRow| row.content.is_some() && row.content == arrival.identity.content;
            let of_file = |row: &&MessageRow| {
                let source = known.rows.get(&row.mailbox);
                let meant = source.map(|source| self.meaning_of(all, source, mailbox, &arrival.entry));
                (row.mailbox == mailbox, meant.flatten().is_some_and(|meant| meant.keywords == row.flags.keywords))
            };
            // Of several, the one whose keyword letters the file bears.
            let Some(row) = of_size.iter().filter(same).max_by_key(of_file) else { continue };
            let Some(source) = known.rows.get(&row.mailbox) else { continue };
            let Some(uid_validity) = source.uid_validity else { continue };
            let meant = self.meaning_of(all, source, mailbox, &arrival.entry);
            let Some(plan) = all.of(mailbox) else { continue };
            plan.take_upload(&unique);
            let Arrival { entry, identity, stat } = arrival;
            let (from, row) = ((source.name.clone(), uid_validity), row.clone());
            plan.copy_remote.push(RemoteCopy { row, from, unique, entry, identity, stat, meant });
        }
        Ok(())
    }

    fn new_uploads(&mut self, all: &Plans<'_>) -> Result<Arrivals, Failure> {
        let mut arrivals = Arrivals::new();
        for (sight, plan) in all.sights.iter().zip(&*all.plans) {
            let new = plan.upload.iter().filter(|upload| !plan.replace.contains_key(&upload.unique));
            for upload in new {
                let arrival = self.arrival(sight, &upload.unique, &upload.entry)?;
                arrivals.extend(arrival.map(|arrival| ((plan.mailbox, upload.unique.clone()), arrival)));
            }
        }
        Ok(arrivals)
    }

    /// A copy bears the letters of the folder that it came from.
    fn meaning_of(&self, all: &Plans<'_>, from: &MailboxRow, to: MailboxId, entry: &LocalEntry) -> Option<FlagSet> {
        let by_dovecot = all.sight(to).is_none_or(|sight| sight.scan.dovecot);
        let letters = all.sight(from.id).map_or_else(|| from.letters.clone(), Sight::letters_of_old);
        (!by_dovecot && from.id != to).then(|| self.account.local.meaning(entry, &letters))
    }

    /// New messages on the server whose files are here already, or will be once one of them is.
    async fn copy_here(&mut self, scene: &mut Scene, all: &mut Plans<'_>, known: &mut Known) -> Result<(), Failure> {
        let mut likely: Vec<(Spot, Vec<MessageRow>)> = Vec::new();
        let (mut twins, mut first): (Vec<(Spot, Spot)>, BTreeMap<Key, Spot>) = (Vec::new(), BTreeMap::new());
        let any = known.any();
        for (spot, (size, date)) in new_messages(all) {
            let of_size = if any { self.account.journal.messages_of_size(size)? } else { Vec::new() };
            let same: Vec<MessageRow> =
                of_size.into_iter().filter(|row| row.date == Some(date) && is_settled(row)).collect();
            let earlier = *first.entry((size, date)).or_insert(spot);
            match same.is_empty() {
                false => likely.push((spot, same)),
                true if earlier.0 != spot.0 => twins.push((spot, earlier)),
                true => {}
            }
        }
        let mut asked: Vec<Spot> = likely.iter().map(|(spot, _)| *spot).collect();
        asked.extend(twins.iter().flat_map(|(spot, earlier)| [*spot, *earlier]));
        asked.sort_unstable();
        asked.dedup();
        let Some(headers) = self.identify_spots(all, &asked, false).await? else { return Ok(()) };
        for (spot, rows) in likely {
            let Some(identity) = headers.get(&spot) else { continue };
            let rows = rows.iter().filter(|row| row.message_id == identity.message_id);
            if let Some(source) = self.source(known, rows, |file| file.header == identity.header)? {
                plan_copy(all, spot, source);
            }
        }
        for (spot, earlier) in twins {
            if headers.get(&spot).zip(headers.get(&earlier)).is_some_and(|(one, other)| is_twin(one, other)) {
                wait_for_twin(scene, all, spot);
            }
        }
        Ok(())
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
        let local = &mut self.account.local;
        let scan = match known.scans.get(&mailbox.id) {
            Some(scan) => scan,
            None => {
                let seen = or_nothing(local.observe(&mailbox.local, &mailbox.letters))?;
                known.scans.entry(mailbox.id).or_insert(seen)
            }
        };
        let Some(entry) = scan.as_ref().and_then(|scan| scan.entries.get(unique)) else { return Ok(None) };
        let read = or_nothing(local.identify(&mailbox.local, unique, entry))?;
        Ok(match read {
            Some(Edit::Done((identity, stat))) => Some(Arrival { entry: entry.clone(), identity, stat }),
            Some(Edit::Changed) | None => None,
        })
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

/// Returns the new messages that may be copies of others. What comes to Trash may be the good version of a message that
/// was damaged here, and drafts are saved again within a second: equal headers prove nothing about them.
fn new_messages(all: &Plans<'_>) -> Vec<(Spot, Key)> {
    let plans = all.plans.iter().filter(|plan| !matches!(plan.role, Some(Role::Trash | Role::Drafts)));
    let spots = plans.flat_map(|plan| plan.download.iter().map(|uid| (plan.mailbox, *uid)));
    let settled = |message: &&RemoteMessage| !message.flags.has(Flag::Draft);
    let known = |spot: Spot| all.message(spot).filter(settled).and_then(|message| key(message.size, message.date));
    spots.filter_map(|spot| Some((spot, known(spot)?))).collect()
}

fn is_settled(row: &MessageRow) -> bool {
    row.message_id.is_some() && !row.flags.has(Flag::Draft)
}

fn is_twin(one: &Identity, other: &Identity) -> bool {
    one.message_id.is_some()
        && (one.message_id, one.header, one.size, one.date) == (other.message_id, other.header, other.size, other.date)
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

//! Files that may be on their way from folder to folder, and so those of other messages: of messages that have no file
//! where anybody looked, or whose files were moved between two scans and seen twice, or are moved in two steps. They are
//! neither removed nor sent, but for one of the names of a new file.

use std::collections::{BTreeMap, BTreeSet};

use super::there::Seen;
use super::{File, Known, or_nothing};
use crate::cycle::arrivals::leave_moving;
use crate::cycle::plans::Plans;
use crate::cycle::settle::unfinished;
use crate::cycle::{Run, Scene};
use crate::model::{Fingerprint, Identity, MailboxId, MessageId, MessageRow, UniqueName};
use crate::reconcile::moves::Arrivals;
use crate::reconcile::plan::LocalRemoval;
use crate::reconcile::snapshot::LocalEntry;
use crate::store::{Failure, Journal, LocalStore, RemoteStore, StateError};

/// Files that stand for messages, by their content.
type Homes = BTreeMap<Fingerprint, Vec<(MailboxId, UniqueName, LocalEntry)>>;

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Leaves files that are to be removed where they are. A message moved on both sides while its old folder could not be
    /// seen has a row in both, and its file may have come back from the new one. With both in sight it is followed; removed
    /// now, it would be missing there, and be removed from the server, too.
    pub(super) fn await_homes(
        &mut self,
        scene: &mut Scene,
        all: &mut Plans<'_>,
        known: &mut Known,
    ) -> Result<(), Failure> {
        let rows = all.rows();
        let leaving = all.plans.iter().flat_map(|plan| plan.remove_local.clone());
        let leaving: Vec<(&MessageRow, LocalRemoval)> =
            leaving.filter_map(|removal| Some((*rows.get(&removal.row)?, removal))).collect();
        if leaving.is_empty() {
            return Ok(());
        }
        let homes = self.homes(all, &leaving.iter().filter_map(|(row, _)| row.content).collect())?;
        let all_seen = self.has_seen_all(scene, all)?;
        let mut strange = BTreeSet::new();
        for (row, removal) in leaving {
            let file = (row.mailbox, &removal.unique, &removal.entry);
            let twice = self.seen_twice(known, &homes, file, row.content)?;
            let mut waits: Vec<(MailboxId, Seen)> = twice.map(|home| (home, Seen::WithNextPass)).into_iter().collect();
            if !all_seen && let Some(told) = row.size.zip(row.content) {
                waits.extend(self.unseen_alike(scene, all, known, told, Some(row.id))?);
            }
            let Some(plan) = all.of(row.mailbox).filter(|_| !waits.is_empty()) else { continue };
            plan.remove_local.retain(|removal| removal.row != row.id);
            plan.unknown = true;
            for (home, seen) in waits {
                match seen {
                    Seen::Now | Seen::WithNextPass => scene.again.extend([row.mailbox, home]),
                    Seen::WithAnotherRun => strange.extend([(row.mailbox, home)]),
                }
            }
        }
        self.tell_strange(known, &strange);
        Ok(())
    }

    /// Leaves alone what is new on both sides and may be a message of a folder that can't be looked at, moved by users or by
    /// an earlier pass. Adopted, it would be another: its letters would mean what they do here, and not what they did there.
    pub(super) fn await_origins(
        &mut self,
        scene: &Scene,
        all: &mut Plans<'_>,
        known: &mut Known,
    ) -> Result<(), Failure> {
        if self.blind.is_empty() {
            return Ok(());
        }
        let adopted = all.plans.iter().flat_map(|plan| plan.adopt.iter().map(|found| (plan.mailbox, found.clone())));
        let adopted: Vec<_> = adopted.collect();
        let mut strange = BTreeSet::new();
        for (mailbox, found) in adopted {
            let Identity { size, content: Some(content), .. } = found.identity.0 else { continue };
            let mut origins = self.unseen_alike(scene, all, known, (size, content), None)?;
            origins.retain(|(from, _)| known.rows.get(from).is_some_and(|from| self.blind.contains(&from.local)));
            let Some(plan) = all.of(mailbox).filter(|_| !origins.is_empty()) else { continue };
            plan.adopt.retain(|other| other.unique != found.unique);
            plan.unknown = true;
            strange.extend(origins.iter().map(|(from, _)| (mailbox, *from)));
        }
        self.tell_strange(known, &strange);
        Ok(())
    }

    fn tell_strange(&mut self, known: &Known, strange: &BTreeSet<(MailboxId, MailboxId)>) {
        for (here, from) in strange.iter().filter_map(|(here, from)| known.rows.get(here).zip(known.rows.get(from))) {
            let why = format!("its files may have come from {}, which this sync does nothing for", from.name);
            self.report.problem(unfinished(&here.name, &why));
        }
    }

    /// Returns the files with these contents that were seen, of known messages and of those just adopted.
    fn homes(&mut self, all: &Plans<'_>, contents: &BTreeSet<Fingerprint>) -> Result<Homes, StateError> {
        let mut homes = Homes::new();
        let mut add = |row: &MessageRow, (unique, entry): (&UniqueName, &LocalEntry)| {
            if let Some(content) = row.content.filter(|content| contents.contains(content)) {
                homes.entry(content).or_default().push((row.mailbox, unique.clone(), entry.clone()));
            }
        };
        for sight in all.sights {
            for row in &sight.rows {
                let seen = row.unique.as_ref().and_then(|unique| Some((unique, sight.scan.entries.get(unique)?)));
                seen.into_iter().for_each(|file| add(row, file));
            }
            for file in sight.agreed.alike(&sight.scan, contents) {
                let row = self.account.journal.message_named(sight.row.id, file.0)?;
                row.iter().for_each(|row| add(row, file));
            }
        }
        add_adopted(&mut homes, all, contents);
        Ok(homes)
    }

    /// Leaves new files alone that were seen in another folder, too, and adopted there: sent, they would be messages of their
    /// own, and those adopted look removed.
    pub(super) fn await_adopted(
        &mut self,
        scene: &mut Scene,
        all: &mut Plans<'_>,
        known: &Known,
        arrivals: &mut Arrivals,
    ) -> Result<(), Failure> {
        let contents = arrivals.values().filter_map(|arrival| arrival.identity.content).collect();
        let mut homes = Homes::new();
        add_adopted(&mut homes, all, &contents);
        let mut moving = Vec::new();
        for ((mailbox, unique), arrival) in arrivals.iter() {
            let file = (*mailbox, unique, &arrival.entry);
            let home = self.seen_twice(known, &homes, file, arrival.identity.content)?;
            moving.extend(home.map(|home| ((*mailbox, unique.clone()), home)));
        }
        for (place, home) in moving {
            arrivals.remove(&place);
            if let Some(plan) = all.of(place.0) {
                leave_moving(plan, &place.1);
            }
            scene.again.extend([place.0, home]);
        }
        Ok(())
    }

    /// Leaves all but one alone of new files that are one file on its way from folder to folder: sent twice, one of the two
    /// messages would look removed, and be in Trash, too.
    pub(super) fn await_twins(
        &mut self,
        scene: &mut Scene,
        all: &mut Plans<'_>,
        known: &Known,
        arrivals: &mut Arrivals,
    ) -> Result<(), Failure> {
        let mut alike: BTreeMap<Fingerprint, Vec<File<'_>>> = BTreeMap::new();
        for ((mailbox, unique), arrival) in arrivals.iter() {
            let content = arrival.identity.content.into_iter();
            content.for_each(|content| alike.entry(content).or_default().push((*mailbox, unique, &arrival.entry)));
        }
        let mut moving = Vec::new();
        for twins in alike.values_mut() {
            // The names of one file beside each other.
            twins.sort_by_key(|(.., entry)| entry.inode);
            for (one, other) in twins.iter().zip(twins.iter().skip(1)) {
                let two = self.are_two(known, *one, *other)?;
                moving.extend((!two).then(|| (one.0, (other.0, other.1.clone()))));
            }
        }
        for (home, place) in moving {
            arrivals.remove(&place);
            all.of(place.0).into_iter().for_each(|plan| leave_moving(plan, &place.1));
            scene.again.extend([home, place.0]);
        }
        Ok(())
    }

    /// Returns true if what a first pass over all folders did not look at is as it was listed, and what it did as it was read.
    fn has_seen_all(&mut self, scene: &Scene, all: &Plans<'_>) -> Result<bool, Failure> {
        let whole = scene.first && self.sees_all();
        let quiet = all.sights.iter().all(|sight| sight.scan.quiet);
        Ok(whole && quiet && !self.has_stirred(scene, all.plans)?)
    }

    /// Returns the mailboxes of messages of this size and content, but for one, whose files were not seen.
    fn unseen_alike(
        &mut self,
        scene: &Scene,
        all: &Plans<'_>,
        known: &mut Known,
        (size, content): (u64, Fingerprint),
        but: Option<MessageId>,
    ) -> Result<Vec<(MailboxId, Seen)>, Failure> {
        let mut others = self.account.journal.messages_of_size(size)?;
        others.retain(|other| Some(other.id) != but && other.content == Some(content));
        let mut unseen = Vec::new();
        for other in others {
            let seen = self.is_seen(scene, all, known, &other)?;
            unseen.extend((seen != Seen::Now).then_some((other.mailbox, seen)));
        }
        Ok(unseen)
    }

    /// Returns the folder in which this file may have been seen as another message's, before it was moved to where it is.
    fn seen_twice(
        &mut self,
        known: &Known,
        homes: &Homes,
        (mailbox, unique, entry): File<'_>,
        content: Option<Fingerprint>,
    ) -> Result<Option<MailboxId>, Failure> {
        let alike = content.and_then(|content| homes.get(&content)).into_iter().flatten();
        for (home, name, seen) in alike.filter(|(home, ..)| *home != mailbox) {
            if !self.are_two(known, (*home, name, seen), (mailbox, unique, entry))? {
                return Ok(Some(*home));
            }
        }
        Ok(None)
    }

    /// Returns true if two files are there at once, and neither is half of a move.
    pub(super) fn are_two(&mut self, known: &Known, one: File<'_>, other: File<'_>) -> Result<bool, Failure> {
        let Some((here, there)) = known.rows.get(&one.0).zip(known.rows.get(&other.0)) else { return Ok(true) };
        let two = self.account.local.are_two((&here.local, one.1, one.2), (&there.local, other.1, other.2));
        Ok(or_nothing(two)? == Some(true))
    }
}

fn add_adopted(homes: &mut Homes, all: &Plans<'_>, contents: &BTreeSet<Fingerprint>) {
    for (plan, found) in all.plans.iter().flat_map(|plan| plan.adopt.iter().map(move |found| (plan, found))) {
        if let Some(content) = found.identity.0.content.filter(|content| contents.contains(content)) {
            homes.entry(content).or_default().push((plan.mailbox, found.unique.clone(), found.entry.clone()));
        }
    }
}

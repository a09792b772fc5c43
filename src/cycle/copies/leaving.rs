//! Files that are to go from the Maildir, or to be sent, and may be those of other messages: of messages that have no file
//! where anybody looked, or of messages just adopted, whose files were moved between two scans.

use std::collections::{BTreeMap, BTreeSet};

use super::there::Seen;
use super::{Known, or_nothing};
use crate::cycle::arrivals::leave_moving;
use crate::cycle::plans::Plans;
use crate::cycle::settle::unfinished;
use crate::cycle::{Run, Scene};
use crate::model::{Fingerprint, MailboxId, MessageRow, UniqueName};
use crate::reconcile::moves::Arrivals;
use crate::reconcile::plan::{Adoption, LocalRemoval};
use crate::reconcile::snapshot::LocalEntry;
use crate::store::{Failure, Journal, LocalStore, RemoteStore};

/// What was found on both sides, with its mailbox, by its content.
type Adopted = BTreeMap<Fingerprint, Vec<(MailboxId, Adoption)>>;

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Leaves such files where they are. A message moved on both sides while its old folder could not be seen has a row in
    /// both, and its file may have come back from the new one. With both in sight it is followed; removed now, it would be
    /// missing there, and be removed from the server, too.
    pub(super) fn await_homes(
        &mut self,
        scene: &mut Scene,
        all: &mut Plans<'_>,
        known: &mut Known,
    ) -> Result<(), Failure> {
        if all.plans.iter().all(|plan| plan.remove_local.is_empty()) || self.has_seen_all(scene, all)? {
            return Ok(());
        }
        let (rows, adopted) = (all.rows(), adopted(all));
        let leaving = all.plans.iter().flat_map(|plan| plan.remove_local.clone());
        let leaving: Vec<(&MessageRow, LocalRemoval)> =
            leaving.filter_map(|removal| Some((*rows.get(&removal.row)?, removal))).collect();
        let mut strange = BTreeSet::new();
        for (row, removal) in leaving {
            let mut homes: BTreeMap<MailboxId, Seen> = BTreeMap::new();
            for other in self.alike(row)? {
                homes.insert(other.mailbox, self.is_seen(scene, all, known, &other)?);
            }
            homes.retain(|_, seen| *seen != Seen::Now);
            let file = (row.mailbox, &removal.unique, &removal.entry);
            homes.extend(self.seen_twice(known, &adopted, file, row.content)?.map(|home| (home, Seen::WithNextPass)));
            let Some(plan) = all.of(row.mailbox).filter(|_| !homes.is_empty()) else { continue };
            plan.remove_local.retain(|removal| removal.row != row.id);
            plan.unknown = true;
            for (home, seen) in homes {
                match seen {
                    Seen::Now | Seen::WithNextPass => scene.again.extend([row.mailbox, home]),
                    Seen::WithAnotherRun => strange.extend([(row.mailbox, home)]),
                }
            }
        }
        for (here, from) in strange.iter().filter_map(|(here, from)| known.rows.get(here).zip(known.rows.get(from))) {
            let why = format!("its files may have come from {}, which this sync does nothing for", from.name);
            self.report.problem(unfinished(&here.name, &why));
        }
        Ok(())
    }

    /// Returns true if what a first pass over all folders did not look at is as it was listed, and what it did as it was read.
    fn has_seen_all(&mut self, scene: &Scene, all: &Plans<'_>) -> Result<bool, Failure> {
        let whole = scene.first && self.options.only.is_empty() && self.blind.is_empty();
        let quiet = all.sights.iter().all(|sight| sight.scan.quiet);
        Ok(whole && quiet && !self.has_stirred(scene, all.plans)?)
    }

    /// Returns the other messages of a message's content.
    fn alike(&mut self, row: &MessageRow) -> Result<Vec<MessageRow>, Failure> {
        let Some((size, content)) = row.size.zip(row.content) else { return Ok(Vec::new()) };
        let mut others = self.account.journal.messages_of_size(size)?;
        others.retain(|other| other.id != row.id && other.content == Some(content));
        Ok(others)
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
        let adopted = adopted(all);
        let mut moving = Vec::new();
        for ((mailbox, unique), arrival) in arrivals.iter() {
            let file = (*mailbox, unique, &arrival.entry);
            let home = self.seen_twice(known, &adopted, file, arrival.identity.content)?;
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

    /// Returns the folder in which the same file may have been seen and adopted, before it was moved to where it is.
    fn seen_twice(
        &mut self,
        known: &Known,
        adopted: &Adopted,
        (mailbox, unique, entry): (MailboxId, &UniqueName, &LocalEntry),
        content: Option<Fingerprint>,
    ) -> Result<Option<MailboxId>, Failure> {
        let alike = content.and_then(|content| adopted.get(&content)).into_iter().flatten();
        for (home, found) in alike.filter(|(home, _)| *home != mailbox) {
            let Some((here, there)) = known.rows.get(&mailbox).zip(known.rows.get(home)) else { continue };
            let one = (&here.local, unique, entry);
            let two = self.account.local.are_two(one, (&there.local, &found.unique, &found.entry));
            if or_nothing(two)? != Some(true) {
                return Ok(Some(*home));
            }
        }
        Ok(None)
    }
}

fn adopted(all: &Plans<'_>) -> Adopted {
    let mut adopted = Adopted::new();
    for (plan, found) in all.plans.iter().flat_map(|plan| plan.adopt.iter().map(move |found| (plan, found))) {
        if let Some(content) = found.identity.0.content {
            adopted.entry(content).or_default().push((plan.mailbox, found.clone()));
        }
    }
    adopted
}

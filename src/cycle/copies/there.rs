//! New files in the Maildir that are copies of messages the server has.
//!
//! A copy is one only while what it was made from is seen. A new file whose content a message has of which no file could be
//! seen, as its folder kept changing or was not looked at, may be that very file: it waits. Copied, its message would look
//! removed where it was, and be in Trash, too.

use std::collections::{BTreeMap, BTreeSet};

use super::Known;
use crate::cycle::arrivals::{Reading, leave_moving};
use crate::cycle::observe::Sight;
use crate::cycle::plans::Plans;
use crate::cycle::settle::unfinished;
use crate::cycle::{Run, Scene};
use crate::model::{
    Fingerprint, FlagSet, Identity, Keyword, KeywordLetters, MailboxId, MailboxRow, MessageId, MessageRow, UniqueName,
};
use crate::reconcile::moves::{Arrival, Arrivals, Place, pair};
use crate::reconcile::plan::{MailboxPlan, RemoteCopy, Upload};
use crate::reconcile::report::{Held, Reason};
use crate::reconcile::snapshot::LocalEntry;
use crate::store::{Failure, Journal, LocalStore, RemoteStore};

/// Known messages, by their content.
type Originals = BTreeMap<Fingerprint, Vec<MessageRow>>;

/// When it can be told whether a message's file is where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// It is, or as far as it matters has gone for certain.
    Now,
    /// Its folder is looked at again in this run.
    WithNextPass,
    /// This run does nothing for its folder.
    WithAnotherRun,
}

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Finds the copies among what is left to be uploaded.
    pub(super) fn copy_there(
        &mut self,
        scene: &mut Scene,
        all: &mut Plans<'_>,
        known: &mut Known,
    ) -> Result<(), Failure> {
        let mut arrivals = self.new_uploads(scene, all, known)?;
        self.await_twins(scene, all, known, &mut arrivals)?;
        // What a message waits for that could not be moved is sent, and so is what has gone from the server.
        let removals = all.plans.iter().flat_map(|plan| &plan.remove_remote);
        let awaited: BTreeSet<Place> = removals.filter_map(|removal| removal.moved_to.clone()).collect();
        let refiled = |plan: &MailboxPlan, unique: &UniqueName| plan.refiled.contains_key(unique);
        let refiled =
            |(mailbox, unique): &Place| all.plans.iter().any(|plan| plan.mailbox == *mailbox && refiled(plan, unique));
        arrivals.retain(|place, _| !self.uncopied.contains(place) && !awaited.contains(place) && !refiled(place));
        self.await_adopted(scene, all, known, &mut arrivals)?;
        let originals = self.originals(&arrivals)?;
        self.await_originals(scene, all, known, (&mut arrivals, &originals))?;
        for (place, arrival) in arrivals {
            let content = arrival.identity.content;
            let rows = content.and_then(|content| originals.get(&content)).map(Vec::as_slice).unwrap_or_default();
            self.plan_copy_there(scene, all, known, rows, (place, arrival))?;
        }
        Ok(())
    }

    /// Returns the messages of the same content as new files, by that.
    fn originals(&mut self, arrivals: &Arrivals) -> Result<Originals, Failure> {
        let mut originals = Originals::new();
        for Identity { size, content, .. } in arrivals.values().map(|arrival| arrival.identity) {
            let Some(content) = content.filter(|content| !originals.contains_key(content)) else { continue };
            let mut rows = self.account.journal.messages_of_size(size)?;
            rows.retain(|row| row.content == Some(content));
            originals.insert(content, rows);
        }
        Ok(originals)
    }

    /// Leaves files alone that may be those of messages which were not seen: one for each of these.
    fn await_originals(
        &mut self,
        scene: &mut Scene,
        all: &mut Plans<'_>,
        known: &mut Known,
        (arrivals, originals): (&mut Arrivals, &Originals),
    ) -> Result<(), Failure> {
        let mut unseen: BTreeMap<MessageId, (&MessageRow, Seen)> = BTreeMap::new();
        for row in originals.values().flatten() {
            let seen = self.is_seen(scene, all, known, row)?;
            unseen.extend((seen != Seen::Now).then_some((row.id, (row, seen))));
        }
        for (row, place) in pair(unseen.values().map(|(row, _)| *row), arrivals) {
            arrivals.remove(&place);
            let Some(plan) = all.of(place.0) else { continue };
            plan.take_upload(&place.1);
            plan.unknown = true;
            // Together: without the old place in sight the new file would be taken for a copy all the same.
            match unseen.get(&row.id) {
                Some((_, Seen::WithAnotherRun)) => {
                    let from = known.rows.get(&row.mailbox).map(|from| from.name.to_string()).unwrap_or_default();
                    let why =
                        format!("it holds new files that may have come from {from}, which this sync does nothing for");
                    self.report.problem(unfinished(&plan.name, &why));
                }
                _ => scene.again.extend([row.mailbox, place.0]),
            }
        }
        Ok(())
    }

    /// Returns when it can be told whether a message's file is where it was.
    pub(super) fn is_seen(
        &mut self,
        scene: &Scene,
        all: &Plans<'_>,
        known: &mut Known,
        row: &MessageRow,
    ) -> Result<Seen, Failure> {
        let Some((mailbox, unique)) = known.rows.get(&row.mailbox).cloned().zip(row.unique.as_ref()) else {
            return Ok(Seen::Now);
        };
        if let Some(scan) = all.scan(row.mailbox) {
            let is_known = scan.quiet || scan.entries.contains_key(unique);
            return Ok(if is_known { Seen::Now } else { Seen::WithNextPass });
        }
        let is_there = self.scan_known(known, &mailbox)?.map(|scan| scan.entries.contains_key(unique));
        let has_gone =
            |held: &Held| held.reason == Reason::FolderRemoved && held.folder.as_ref() == Some(&mailbox.name);
        Ok(match is_there {
            Some(true) => Seen::Now,
            // The server has nothing of it left that could look removed.
            Some(false) if self.report.held.iter().any(has_gone) => Seen::Now,
            _ if self.is_looked_at(scene, &mailbox) => Seen::WithNextPass,
            _ if self.blind.contains(&mailbox.local) || !self.is_named(&mailbox.name) => Seen::WithAnotherRun,
            _ => Seen::Now,
        })
    }

    fn plan_copy_there(
        &mut self,
        scene: &mut Scene,
        all: &mut Plans<'_>,
        known: &Known,
        originals: &[MessageRow],
        (place, arrival): (Place, Arrival),
    ) -> Result<(), Failure> {
        let (mailbox, unique) = place;
        let of_file = |row: &&MessageRow| {
            let letters = known.rows.get(&row.mailbox).and_then(|source| letters_borne(all, source, mailbox));
            let meant = letters.map(|letters| self.account.local.meaning(&arrival.entry, &letters));
            let is_it = known.seen(all, row).is_some_and(|(.., seen)| seen.inode == arrival.entry.inode);
            (is_it, row.mailbox == mailbox, meant.is_some_and(|meant| meant.keywords == row.flags.keywords))
        };
        // Of several, the one that is the same file, or whose keyword letters the file bears.
        let Some(row) = originals.iter().max_by_key(of_file) else { return Ok(()) };
        let Some(source) = known.rows.get(&row.mailbox) else { return Ok(()) };
        let Some(uid_validity) = source.uid_validity else { return Ok(()) };
        let original = known.seen(all, row).map(|(at, name, entry)| (at, name.clone(), entry.clone()));
        let is_copy = match &original {
            None => true,
            Some((at, name, entry)) => self.are_two(known, (*at, name, entry), (mailbox, &unique, &arrival.entry))?,
        };
        let meant = self.meaning_of(all, (source, row), mailbox, &arrival.entry);
        let Some(plan) = all.of(mailbox) else { return Ok(()) };
        if !is_copy {
            leave_moving(plan, &unique);
            scene.again.extend([row.mailbox, mailbox]);
            return Ok(());
        }
        plan.take_upload(&unique);
        let Arrival { entry, identity, stat } = arrival;
        let (from, row) = ((source.name.clone(), uid_validity), row.clone());
        let original = original.and_then(|(at, name, entry)| Some((known.rows.get(&at)?.local.clone(), name, entry)));
        plan.copy_remote.push(RemoteCopy { row, from, original, unique, entry, identity, stat, meant });
        Ok(())
    }

    /// Reads the new files; where no message is known that they could be copies of, only those of several names. One that
    /// is not any more what was seen may be on its way from another folder: it waits.
    fn new_uploads(&mut self, scene: &mut Scene, all: &mut Plans<'_>, known: &Known) -> Result<Arrivals, Failure> {
        let mut arrivals = Arrivals::new();
        let mut names: BTreeMap<u64, usize> = BTreeMap::new();
        let adopted = all.plans.iter().flat_map(|plan| &plan.adopt).map(|found| found.entry.inode);
        let new = all.plans.iter().flat_map(|plan| &plan.upload).map(|upload| upload.entry.inode);
        new.chain(adopted).for_each(|inode| *names.entry(inode).or_default() += 1);
        let any_known = known.any();
        let is_read = |upload: &&Upload| any_known || names.get(&upload.entry.inode).is_some_and(|names| *names > 1);
        for (sight, plan) in all.sights.iter().zip(all.plans.iter_mut()) {
            let mut moving = Vec::new();
            let new = plan.upload.iter().filter(|upload| !plan.replace.contains_key(&upload.unique));
            let new: Vec<&Upload> = new.filter(is_read).collect();
            let files: Vec<_> = new.iter().map(|upload| (&upload.unique, &upload.entry)).collect();
            self.account.local.identify_ahead(&sight.row.local, &files);
            for upload in new {
                match self.read_arrival(sight, &upload.unique, &upload.entry)? {
                    Reading::Message(arrival) => {
                        arrivals.insert((plan.mailbox, upload.unique.clone()), arrival);
                    }
                    Reading::Moving => moving.push(upload.unique.clone()),
                    // The upload finds out what is to be told.
                    Reading::None | Reading::Closed(_) => {}
                }
            }
            for unique in moving {
                leave_moving(plan, &unique);
                scene.again.insert(plan.mailbox);
            }
        }
        Ok(arrivals)
    }

    /// Returns what the name of a copy means.
    fn meaning_of(
        &self,
        all: &Plans<'_>,
        (source, row): (&MailboxRow, &MessageRow),
        to: MailboxId,
        entry: &LocalEntry,
    ) -> Option<FlagSet> {
        let borne = letters_borne(all, source, to)?;
        let file = row.unique.as_ref().and_then(|unique| all.sight(source.id)?.scan.entries.get(unique));
        let had = |keyword: &Keyword| {
            row.flags.keywords.contains(keyword) || file.is_some_and(|file| file.flags.keywords.contains(keyword))
        };
        Some(self.account.local.meaning(entry, &all.letters_here(to, &borne, had)?))
    }
}

/// Returns what letters mean in the names of files that were copied from one folder to another; `None` where they mean
/// what they say: within a folder, and where a local Dovecot rewrites them itself.
fn letters_borne(all: &Plans<'_>, from: &MailboxRow, to: MailboxId) -> Option<KeywordLetters> {
    let by_dovecot = all.sight(to).is_none_or(|sight| sight.scan.dovecot);
    let letters = || all.sight(from.id).map_or_else(|| from.letters.clone(), Sight::letters_of_old);
    (!by_dovecot && from.id != to).then(letters)
}

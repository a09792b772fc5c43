//! Messages told by their email ids: where the server has them, what was moved or copied on it is found without asking for
//! a header.
//!
//! Equal ids promise equal content, whatever the date, the flags or the lack of a Message-ID (RFC 8474 section 5.1). The
//! promise is the server's: messages of different size are never taken for one, and a file stands for a message only while
//! it is what was recorded of it. An id alone removes nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::copies::{Known, plan_copy, wait_for_twin};
use super::moves::{Missing, leaving};
use super::observe::Sight;
use super::plans::{Plans, Spot};
use super::{Run, Scene};
use crate::model::{EmailId, MessageRow};
use crate::reconcile::snapshot::RemoteMessage;
use crate::store::{Failure, Journal, LocalStore, Record, RemoteStore};

/// What a message is told by: what the server calls its content, and its size.
pub(super) type Name = (EmailId, u64);

pub(super) fn name_of_row(row: &MessageRow) -> Option<Name> {
    row.email_id.zip(row.size)
}

pub(super) fn name_of_message(message: &RemoteMessage) -> Option<Name> {
    message.email_id.zip(message.size)
}

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Follows messages that were moved on the server and are told by their email ids. Returns those of the given ones,
    /// whose files were moved too, that are not.
    pub(super) fn follow_email_ids<'s>(
        &mut self,
        all: &mut Plans<'s>,
        refiled: Vec<Missing<'s>>,
    ) -> Result<Vec<Missing<'s>>, Failure> {
        let mut free = arrived(all, &refiled);
        if free.is_empty() {
            return Ok(refiled);
        }
        let has_arrived = |row: &MessageRow| name_of_row(row).is_some_and(|name| free.contains_key(&name));
        let mut missing = refiled;
        missing.extend(self.left_behind(&leaving(all, has_arrived))?);
        // Where the file is already, first: what was moved there and back has not moved.
        for near in [true, false] {
            let mut left = Vec::new();
            for one in missing {
                match self.take_spot(all, &mut free, &one, near)? {
                    Some(spot) => self.move_file(all, one, spot),
                    None => left.push(one),
                }
            }
            missing = left;
        }
        missing.retain(|one| !one.at_home);
        Ok(missing)
    }

    /// Takes the place where a message has arrived, if its file is good for it and can go there.
    fn take_spot(
        &mut self,
        all: &Plans<'_>,
        free: &mut BTreeMap<Name, Vec<Spot>>,
        one: &Missing<'_>,
        near: bool,
    ) -> Result<Option<Spot>, Failure> {
        let recorded = one.row.content;
        if recorded.is_none() || one.arrival.identity.content != recorded || self.unmovable.contains(&one.row.id) {
            return Ok(None);
        }
        let Some(spots) = name_of_row(one.row).and_then(|name| free.get_mut(&name)) else { return Ok(None) };
        for (at, (to, _)) in spots.iter().enumerate() {
            if (!near || *to == one.place.0) && !self.is_taken(all, one, *to)? {
                return Ok(Some(spots.remove(at)));
            }
        }
        Ok(None)
    }

    /// Finds the new messages on the server whose files are here already, by their email ids. Of several new ones that have
    /// the same, one is fetched and the others are copied with the next pass.
    ///
    /// Drafts and what comes to Trash are no exceptions: unlike an equal header, an equal id speaks for the whole content,
    /// and a file that was damaged here is no longer what was recorded.
    pub(super) fn copy_email_ids(
        &mut self,
        scene: &mut Scene,
        all: &mut Plans<'_>,
        known: &mut Known,
    ) -> Result<(), Failure> {
        let any = known.any();
        let mut new: Vec<(Name, Spot)> = new_names(all).collect();
        new.sort_unstable();
        for same in new.chunk_by(|one, other| one.0 == other.0) {
            let Some(((email_id, size), _)) = same.first() else { continue };
            let mut rows = if any { self.account.journal.messages_of_size(*size)? } else { Vec::new() };
            rows.retain(|row| row.email_id == Some(*email_id));
            match self.source(known, rows.iter(), |_| true)? {
                Some(source) => same.iter().for_each(|(_, spot)| plan_copy(all, *spot, source.clone())),
                None => same.iter().skip(1).for_each(|(_, spot)| wait_for_twin(scene, all, *spot)),
            }
        }
        Ok(())
    }
}

/// Returns the messages to be downloaded that have a name.
fn new_names<'a>(all: &'a Plans<'_>) -> impl Iterator<Item = (Name, Spot)> + 'a {
    all.sights.iter().zip(&*all.plans).flat_map(|(sight, plan)| {
        let listed = sight.remote.as_ref().map(|remote| remote.messages.listed());
        let named = move |uid| Some((name_of_message(listed?.get(uid)?)?, (plan.mailbox, *uid)));
        plan.download.iter().filter_map(named)
    })
}

/// Returns where messages have arrived that have gone from elsewhere.
fn arrived(all: &Plans<'_>, refiled: &[Missing<'_>]) -> BTreeMap<Name, Vec<Spot>> {
    let removed: BTreeSet<_> = all.plans.iter().flat_map(|plan| &plan.remove_local).map(|one| one.row).collect();
    let rows = all.sights.iter().flat_map(|sight| &sight.rows).filter(|row| removed.contains(&row.id));
    let gone: BTreeSet<Name> = rows.chain(refiled.iter().map(|one| one.row)).filter_map(name_of_row).collect();
    let mut arrived: BTreeMap<Name, Vec<Spot>> = BTreeMap::new();
    if !gone.is_empty() {
        for (name, spot) in new_names(all).filter(|(name, _)| gone.contains(name)) {
            arrived.entry(name).or_default().push(spot);
        }
    }
    arrived
}

/// Returns what a look told of messages that the baseline knows under no name, or another: those sent since the last
/// look and, in a full look, those of a time when nobody asked.
pub(super) fn names_told(sight: &Sight) -> impl Iterator<Item = Record> + '_ {
    let listed = sight.remote.as_ref().map(|remote| remote.messages.listed());
    sight.rows.iter().filter(|row| row.unique.is_some()).filter_map(move |row| {
        let told = listed?.get(&row.uid)?.email_id?;
        (row.email_id != Some(told)).then_some(Record::EmailId(row.id, told))
    })
}

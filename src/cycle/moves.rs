//! Messages that left one folder and arrived in another, in this pass, on one side or on both.
//!
//! Files first, for whoever moved a file in the Maildir may have moved its message on the server too; then, of what has
//! gone from the server, what arrived there elsewhere. What is found leaves the removals, uploads and downloads of the
//! plans; what is not stays what it looked like.

use std::collections::{BTreeMap, BTreeSet};

use super::Run;
use super::last_copy::keep_last_copies;
use super::observe::Sight;
use super::plans::{Key, Plans, Spot, key};
use crate::model::{FlagSet, Identity, Keyword, MailboxId, MessageId, MessageRow, UniqueName};
use crate::reconcile::adopt::Matcher;
use crate::reconcile::moves::{Arrival, Arrivals, Place, may_be_a_move, pair};
use crate::reconcile::plan::{LocalMove, LocalRemoval, MailboxPlan, RemoteMove, Removal, Renamed};
use crate::reconcile::snapshot::LocalEntry;
use crate::store::{Failure, Journal, LocalStore, RemoteStore, StateError};

/// What has gone from one mailbox on the server, and whose files still lie there.
pub(super) struct Leaving<'a, 's> {
    pub(super) sight: &'s Sight,
    pub(super) gone: Vec<(&'s MessageRow, &'a LocalRemoval)>,
}

/// A message that has gone from the server and whose file is still somewhere.
pub(super) struct Missing<'s> {
    pub(super) row: &'s MessageRow,
    pub(super) place: Place,
    pub(super) arrival: Arrival,
    /// The file lies where it always did.
    pub(super) at_home: bool,
}

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Finds the moves. Returns the mailboxes about which this pass could not decide.
    pub(super) async fn pair_moves(
        &mut self,
        sights: &[Sight],
        plans: &mut [MailboxPlan],
    ) -> Result<BTreeSet<MailboxId>, Failure> {
        let left = |plan: &MailboxPlan| !plan.remove_remote.is_empty() || !plan.forget.is_empty();
        let (arrivals, unread) = match plans.iter().any(left) {
            true => self.arrivals(sights, plans)?,
            false => Default::default(),
        };
        let mut all = Plans::new(sights, plans);
        let arrivals = self.follow_files(&mut all, arrivals);
        self.follow_adopted(&mut all);
        let mut undecided = self.await_unread(&mut all, &arrivals, &unread);
        let missing = refiled(&mut all, arrivals);
        self.follow_messages(&mut all, missing).await?;
        undecided.append(&mut keep_last_copies(&mut all));
        self.brought.extend(plans.iter().flat_map(|plan| &plan.move_remote).map(|one| one.row.id));
        Ok(undecided)
    }

    /// Follows files that were moved or renamed while their messages stayed. Returns the other arrivals.
    fn follow_files(&mut self, all: &mut Plans<'_>, mut arrivals: Arrivals) -> Arrivals {
        let rows = all.rows();
        let gone = all.plans.iter().flat_map(|plan| plan.remove_remote.iter().filter(|one| may_be_a_move(one)));
        let gone = gone.filter_map(|removal| rows.get(&removal.row).copied()).filter(|row| row.unique.is_some());
        let found = pair(gone.collect::<Vec<_>>(), &arrivals);
        let mut uploads = BTreeSet::new();
        for plan in all.plans.iter().filter(|_| !found.is_empty()) {
            uploads.extend(plan.upload.iter().map(|upload| (plan.mailbox, upload.unique.clone())));
        }
        let (mut followed, mut taken) = (BTreeSet::new(), BTreeSet::new());
        for (row, place) in found {
            let Some(arrival) = arrivals.remove(&place) else { continue };
            let ready = uploads.contains(&place);
            let (to, unique) = place;
            if to != row.mailbox && (!ready || self.unmovable.contains(&row.id)) {
                if ready {
                    self.carry_flags(all, row, (to, &unique, &arrival.entry));
                }
                wait_for(all, row, &(to, unique));
                continue;
            }
            let meant = self.meant(all, row, (to, &unique, &arrival.entry), true);
            taken.insert((to, unique.clone()));
            let dovecot = all.sight(to).is_some_and(|sight| sight.scan.dovecot);
            let Some(plan) = all.of(row.mailbox) else { continue };
            followed.insert(row.id);
            let (row, Arrival { entry, stat, .. }) = (row.clone(), arrival);
            match to == row.mailbox {
                true => plan.renamed.push(Renamed {
                    meant: forwarded(&row, &unique, &entry).filter(|_| dovecot),
                    row,
                    unique,
                    entry,
                    stat,
                }),
                false => plan.move_remote.push(RemoteMove { row, to, unique, entry, stat, meant }),
            }
        }
        for plan in all.plans.iter_mut().filter(|_| !followed.is_empty()) {
            plan.remove_remote.retain(|removal| !followed.contains(&removal.row));
            plan.upload.retain(|upload| !taken.contains(&(plan.mailbox, upload.unique.clone())));
        }
        arrivals
    }

    /// What either side did to the flags of a message goes with the file that is sent because it can't be moved.
    fn carry_flags(
        &self,
        all: &mut Plans<'_>,
        row: &MessageRow,
        (to, unique, entry): (MailboxId, &UniqueName, &LocalEntry),
    ) {
        let meant = self.meant(all, row, (to, unique, entry), true).unwrap_or_else(|| entry.flags.clone());
        let remote = all.message((row.mailbox, row.uid)).map(|message| &message.flags);
        let flags = all.sight(to).map(|sight| sight.view().carried(row, remote, entry, meant));
        if let (Some(plan), Some(flags)) = (all.of(to), flags) {
            plan.carried.insert(unique.clone(), flags);
        }
    }

    /// Returns what the name of a file means that came from the mailbox of a row. Some programs drop all letters when they
    /// move a message: that is no wish of the user's. `None` where a local Dovecot rewrites letters itself, all but P.
    ///
    /// What a run moved that died before it recorded that has its name still, and its letters mean what they did.
    fn meant(
        &self,
        all: &Plans<'_>,
        row: &MessageRow,
        (to, unique, entry): (MailboxId, &UniqueName, &LocalEntry),
        by_others: bool,
    ) -> Option<FlagSet> {
        if all.sight(to).is_some_and(|sight| sight.scan.dovecot) {
            return forwarded(row, unique, entry);
        }
        let borne = all.sight(row.mailbox)?.letters_of_old();
        let had = |keyword: &Keyword| row.flags.keywords.contains(keyword);
        let letters = if by_others { all.letters_here(to, &borne, had)? } else { borne };
        let mut meant = self.account.local.meaning(entry, &letters);
        let lettered = |flags: &FlagSet| -> BTreeSet<_> {
            flags.keywords.iter().filter(|keyword| letters.letter(keyword).is_some()).cloned().collect()
        };
        if lettered(&meant).is_empty() {
            meant.keywords.extend(lettered(&row.flags));
        }
        Some(meant)
    }

    /// Returns true if others moved a file, and not a run that died before it recorded that: such a file has its name still.
    fn is_by_others(&self, row: &MessageRow, unique: &UniqueName) -> bool {
        row.unique.as_ref() != Some(unique) || self.brought.contains(&row.id)
    }

    /// Recognises messages that were moved to the same folder on both sides, by users or by a run cut short. They were
    /// adopted there already: now what became of their flags since counts.
    fn follow_adopted(&mut self, all: &mut Plans<'_>) {
        let rows = all.rows();
        let gone = all.gone_from_both(&rows);
        let adopted = all.plans.iter().flat_map(|plan| plan.adopt.iter().map(move |found| (plan.mailbox, found)));
        let adopted: Arrivals = adopted
            .map(|(mailbox, found)| {
                let (identity, stat) = found.identity;
                ((mailbox, found.unique.clone()), Arrival { entry: found.entry.clone(), identity, stat })
            })
            .collect();
        for (row, (to, unique)) in pair(gone, &adopted) {
            let Some(entry) = adopted.get(&(to, unique.clone())).map(|arrival| arrival.entry.clone()) else { continue };
            let meant = self.meant(all, row, (to, &unique, &entry), self.is_by_others(row, &unique));
            let Some(sight) = all.sight(to) else { continue };
            let Some(plan) = all.of(to) else { continue };
            if let Some(found) = plan.adopt.iter_mut().find(|found| found.unique == unique) {
                let meant = meant.unwrap_or_else(|| entry.flags.clone());
                *found = sight.view().follow(found.clone(), row, meant);
            }
            all.forget_no_more(row);
        }
    }

    /// Follows messages that were moved on the server, whether their files stayed or were moved elsewhere.
    async fn follow_messages<'s>(&mut self, all: &mut Plans<'s>, missing: Vec<Missing<'s>>) -> Result<(), Failure> {
        let mut missing = self.follow_email_ids(all, missing)?;
        let spots = self.spots(all, &missing);
        let keys: BTreeSet<Key> = spots.iter().map(|(_, key)| *key).collect();
        let may_have_arrived = |row: &MessageRow| key(row.size, row.date).is_some_and(|key| keys.contains(&key));
        let leaving = leaving(all, may_have_arrived);
        let rows = || leaving.iter().flat_map(|one| &one.gone).map(|(row, _)| *row);
        let movable = missing.iter().map(|one| one.row).chain(rows()).filter(|row| !self.unmovable.contains(&row.id));
        let keys: BTreeSet<Key> = movable.filter_map(|row| key(row.size, row.date)).collect();
        let spots: Vec<Spot> =
            spots.into_iter().filter(|(_, known)| keys.contains(known)).map(|(spot, _)| spot).collect();
        let headers = self.identify_while_reading(all, &spots, false, &leaving).await?;
        missing.extend(self.left_behind(&leaving)?);
        missing.retain(|one| !self.unmovable.contains(&one.row.id));
        let found = match headers {
            Some(headers) => self.match_messages(all, &missing, headers).await?,
            None => None,
        };
        let Some(found) = found else {
            // Nor do the passes that follow see where it is.
            let unseen = missing.iter().map(|one| one.place.0).chain(spots.iter().map(|(mailbox, _)| *mailbox));
            self.blind.extend(unseen.filter_map(|id| all.sight(id)).map(|sight| sight.row.local.clone()));
            decide_nothing(all, &missing, &spots);
            return Ok(());
        };
        for one in missing {
            let spot = found.get(&one.row.id).copied();
            let spot = match spot {
                Some(spot) if self.is_taken(all, &one, spot.0)? => None,
                spot => spot,
            };
            match spot {
                Some(spot) => self.move_file(all, one, spot),
                None if one.at_home => {}
                None => {
                    if let Some(plan) = all.of(one.place.0) {
                        plan.refiled.insert(one.place.1, one.row.mailbox);
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns the new messages on the server that may be old ones, by what is known of them without asking.
    fn spots(&self, all: &Plans<'_>, missing: &[Missing<'_>]) -> Vec<(Spot, Key)> {
        let rows = all.rows();
        let removed =
            all.plans.iter().flat_map(|plan| &plan.remove_local).filter_map(|one| rows.get(&one.row).copied());
        let gone = missing.iter().map(|one| one.row).chain(removed);
        let keys: BTreeSet<Key> = gone.filter_map(|row| key(row.size, row.date)).collect();
        let new = all.plans.iter().flat_map(|plan| plan.download.iter().map(|uid| (plan.mailbox, *uid)));
        let known = |spot: Spot| all.message(spot).and_then(|message| key(message.size, message.date));
        new.filter_map(|spot| Some((spot, known(spot)?))).filter(|(_, key)| keys.contains(key)).collect()
    }

    /// Reads the files of the messages that have gone.
    pub(super) fn left_behind<'s>(&mut self, leaving: &[Leaving<'_, 's>]) -> Result<Vec<Missing<'s>>, Failure> {
        let mut missing = Vec::new();
        for Leaving { sight, gone } in leaving {
            self.account.local.identify_ahead(&sight.row.local, &files(gone));
            for (row, LocalRemoval { unique, entry, .. }) in gone {
                let place = (sight.row.id, unique.clone());
                let arrival = self.arrival(sight, unique, entry)?;
                let same = arrival.filter(|file| row.content.is_none() || file.identity.content == row.content);
                missing.extend(same.map(|arrival| Missing { row, place, arrival, at_home: true }));
            }
        }
        Ok(missing)
    }

    /// Returns where messages have gone to, by the headers of what is new; `None` if more had to be asked and could not.
    /// Bodies are fetched only of those that remain in doubt.
    async fn match_messages(
        &mut self,
        all: &Plans<'_>,
        missing: &[Missing<'_>],
        headers: BTreeMap<Spot, Identity>,
    ) -> Result<Option<BTreeMap<MessageId, Spot>>, Failure> {
        let as_recorded = |one: &Missing<'_>| {
            let Arrival { identity, stat, .. } = one.arrival;
            let (size, date) = (one.row.size.unwrap_or(identity.size), one.row.date);
            (one.row.id, (Identity { size, date, ..identity }, stat))
        };
        let mut matcher = Matcher::new(missing.iter().map(as_recorded).collect(), headers);
        matcher.by_header();
        let doubtful: Vec<Spot> = matcher.ambiguous().into_iter().collect();
        let Some(whole) = self.identify_spots(all, &doubtful, true).await? else { return Ok(None) };
        matcher.by_content(whole);
        Ok(Some(matcher.finish().into_iter().map(|found| (found.file, found.message)).collect()))
    }

    /// Another file may have the name already, or one that has gone and that the baseline still knows. What was moved away
    /// and back there, its file elsewhere here, has it itself.
    pub(super) fn is_taken(&mut self, all: &Plans<'_>, one: &Missing<'_>, to: MailboxId) -> Result<bool, StateError> {
        let (here, unique) = &one.place;
        if to == *here || all.has_file(to, unique) {
            return Ok(to != *here);
        }
        Ok(self.account.journal.message_named(to, unique)?.is_some_and(|row| row.id != one.row.id))
    }

    /// Plans that a file follows its message.
    pub(super) fn move_file(&mut self, all: &mut Plans<'_>, one: Missing<'_>, (to, uid): Spot) {
        let Missing { row, place: (here, unique), arrival: Arrival { entry, stat, .. }, at_home } = one;
        let Some(message) = all.message((to, uid)) else { return };
        let meant = self.meant(all, row, (here, &unique, &entry), self.is_by_others(row, &unique));
        let meant = meant.unwrap_or_else(|| entry.flags.clone());
        let flags_agree = row.flags == message.flags && row.flags == meant;
        let (date, size, email_id) = (message.date, message.size, message.email_id);
        match at_home {
            true => {}
            false => all.forget_no_more(row),
        }
        if let Some(target) = all.of(to) {
            target.download.retain(|other| *other != uid);
        }
        let Some(plan) = all.of(here) else { return };
        plan.take_upload(&unique);
        plan.remove_local.retain(|removal| removal.row != row.id);
        plan.move_local.push(LocalMove {
            row: row.clone(),
            unique,
            entry,
            stat,
            to,
            uid,
            date,
            size,
            email_id,
            meant,
            flags_agree,
        });
    }
}

/// Returns what a file's name means that a local Dovecot gave it, and that is without the letter P: it knows nothing of that,
/// and leaves it out where it moves a message. `None` if the name means what it says.
fn forwarded(row: &MessageRow, unique: &UniqueName, entry: &LocalEntry) -> Option<FlagSet> {
    let is_lost = |keyword: &&Keyword| keyword.is_forwarded() && !entry.flags.keywords.contains(*keyword);
    let lost = row.flags.keywords.iter().find(is_lost).filter(|_| row.unique.as_ref() != Some(unique))?;
    let mut meant = entry.flags.clone();
    meant.keywords.insert(lost.clone());
    Some(meant)
}

/// Returns the messages that have gone from the server, as far as they may have arrived elsewhere there.
pub(super) fn leaving<'a, 's>(
    all: &'a Plans<'s>,
    may_have_arrived: impl Fn(&MessageRow) -> bool,
) -> Vec<Leaving<'a, 's>> {
    let rows = all.rows();
    let of_mailbox = |(sight, plan): (&'s Sight, &'a MailboxPlan)| {
        let gone = plan.remove_local.iter().filter_map(|one| Some((rows.get(&one.row).copied()?, one)));
        Leaving { sight, gone: gone.filter(|(row, _)| may_have_arrived(row)).collect() }
    };
    all.sights.iter().zip(&*all.plans).map(of_mailbox).filter(|leaving| !leaving.gone.is_empty()).collect()
}

/// Returns the files.
pub(super) fn files<'a>(gone: &[(&MessageRow, &'a LocalRemoval)]) -> Vec<(&'a UniqueName, &'a LocalEntry)> {
    gone.iter().map(|(_, one)| (&one.unique, &one.entry)).collect()
}

/// Leaves a message where it is until its file is on the server in its new place.
fn wait_for(all: &mut Plans<'_>, row: &MessageRow, place: &Place) {
    let uploads = all.of(place.0).into_iter().flat_map(|plan| &mut plan.upload);
    uploads.filter(|upload| upload.unique == place.1).for_each(|upload| upload.leaves = Some(row.id));
    let removals = all.of(row.mailbox).into_iter().flat_map(|plan| &mut plan.remove_remote);
    for removal in removals.filter(|removal| removal.row == row.id) {
        removal.how = Removal::Moved;
        removal.moved_to = Some(place.clone());
    }
}

/// Returns the messages that have gone from the server while their files were moved. One renamed within its folder goes
/// like one that was not.
fn refiled<'s>(all: &mut Plans<'s>, mut arrivals: Arrivals) -> Vec<Missing<'s>> {
    let rows = all.rows();
    let mut missing = Vec::new();
    for (row, place) in pair(all.gone_from_both(&rows), &arrivals) {
        let Some(arrival) = arrivals.remove(&place) else { continue };
        if place.0 != row.mailbox {
            missing.push(Missing { row, place, arrival, at_home: false });
            continue;
        }
        all.forget_no_more(row);
        let Some(plan) = all.of(row.mailbox) else { continue };
        plan.take_upload(&place.1);
        // Saved again since it was read, it is not the message that has gone.
        plan.unchanged.insert(place.1.clone(), arrival.stat);
        plan.remove_local.push(LocalRemoval { row: row.id, unique: place.1, entry: arrival.entry });
    }
    missing
}

/// Takes all removals from the Maildir out of the plans, what would be sent again, and what would be fetched and may be it:
/// what is gone may be where nobody could look.
fn decide_nothing(all: &mut Plans<'_>, missing: &[Missing<'_>], spots: &[Spot]) {
    for (mailbox, uid) in spots {
        if let Some(plan) = all.of(*mailbox) {
            plan.download.retain(|other| other != uid);
            plan.unknown = true;
        }
    }
    for one in missing.iter().filter(|one| !one.at_home) {
        if let Some(plan) = all.of(one.place.0) {
            plan.take_upload(&one.place.1);
            plan.unknown = true;
        }
        all.forget_no_more(one.row);
    }
    for plan in all.plans.iter_mut().filter(|plan| !plan.remove_local.is_empty()) {
        plan.remove_local.clear();
        plan.unknown = true;
    }
}

//! A mailbox whose UIDs name other messages than they did: another UIDVALIDITY, or a server restored from a backup. Its
//! rows are found again, so that what is pending on either side stays a change and is not undone.
//!
//! A row that is not found proves nothing: its file stays, and is new from then on. If few are found this is hardly the
//! mailbox that the baseline speaks of, and the user is asked first.

use std::collections::{BTreeMap, BTreeSet};

use super::observe::Sight;
use super::settle::unfinished;
use super::{Run, Scene};
use crate::apply::recover::shown;
use crate::model::{Identity, MessageRow, Side, Uid, UidSet, UniqueName};
use crate::reconcile::policy::HoldAnswer;
use crate::reconcile::renames::is_another;
use crate::reconcile::renumber::{Numbers, Remembered, Renumbering, is_suspicious, numbers};
use crate::reconcile::report::Reason;
use crate::reconcile::snapshot::{Listed, RemoteMessages, RemoteRequest, RemoteSnapshot};
use crate::store::{
    Edit, Failure, Intent, Journal, LocalErrorKind, LocalStore, Record, RemoteError, RemoteErrorKind, RemoteStore,
    Renumbered, untaken,
};

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Makes sure that the rows of a mailbox bear the UIDs that the server uses now. Returns false if that has to wait
    /// for the user's word: then nothing may be decided about the mailbox.
    ///
    /// What is found is committed at once, in one transaction, with the watermark taken away. Before it the old rows are
    /// found again by the next run, after it everything is looked at.
    pub(super) async fn renumber(&mut self, scene: &Scene, sight: &mut Sight) -> Result<bool, Failure> {
        let highest = sight.row.highest;
        // What is seen now is what the rows will speak of: the id that was listed is another's, and would lead them to it.
        if highest.is_none()
            && sight.row.object_id.is_some()
            && (is_untold(scene, sight) || is_replaced(scene, sight) || has_another_id(scene, sight))
        {
            self.account.journal.commit(&[Record::Listed(sight.row.id, sight.row.role, None)])?;
            sight.row.object_id = None;
        }
        let robbed = self.robbed.contains(&sight.row.id) || self.is_found_robbed(scene, sight).await?;
        let now = |sight: &Sight| {
            let changed = numbers(&sight.row, highest, &sight.remote.as_ref()?.watermark);
            // Another mailbox was found under its name: that its numbers are the same proves nothing.
            Some(if robbed && changed == Numbers::Kept { Numbers::Doubtful } else { changed })
        };
        if highest.is_none() || matches!(now(sight), None | Some(Numbers::Kept)) {
            return Ok(true);
        }
        sight.hold_all(&mut self.account.journal)?;
        if is_replaced(scene, sight) {
            self.report.problem(unfinished(&sight.row.name, "another folder took its place during this sync"));
            return Ok(false);
        }
        // Found under another name: what has this one now is no later state of it. With the UIDVALIDITY it had, it may be its
        // own past, or another made in the same second: what looks like it elsewhere removes nothing, but all of it that is
        // new elsewhere is followed there.
        if !self.is_left_over(sight)
            && self.is_elsewhere_there(scene, sight).await?
            && (has_another_validity(sight) || self.whole_there.contains(&sight.row.id))
        {
            sight.find_it_gone();
            return Ok(true);
        }
        // Searched for only now, and one that may be it could not be looked at.
        if self.blind.contains(&sight.row.local) {
            let why = "a folder of the server that may be the one that had this name can't be looked at";
            self.report.problem(unfinished(&sight.row.name, why));
            return Ok(false);
        }
        self.look_at_all(sight).await?;
        match now(sight) {
            None | Some(Numbers::Kept) => Ok(true),
            Some(changed) if self.is_left_over(sight) => {
                // It has been followed already.
                self.stranded.insert(sight.row.id);
                let done = self.renumber_rows(scene, sight, changed).await?;
                if done {
                    self.account.journal.commit(&[Record::Listed(sight.row.id, sight.row.role, None)])?;
                    sight.row.object_id = None;
                }
                Ok(done)
            }
            Some(changed) => self.renumber_rows(scene, sight, changed).await,
        }
    }

    /// Returns true for a mailbox that is elsewhere, once all that went with it has gone from here: of the messages that are
    /// left their files were moved elsewhere, and they themselves may have come to what has the name now.
    fn is_left_over(&self, sight: &Sight) -> bool {
        let has_file = |row: &MessageRow| row.unique.as_ref().is_some_and(|name| sight.scan.entries.contains_key(name));
        self.left_over.contains(&sight.row.id) && sight.scan.quiet && !sight.rows.iter().any(has_file)
    }

    /// Gives the rows of a mailbox all of whose messages were looked at the UIDs under which they are found. Returns false if
    /// nothing may be decided about it.
    async fn renumber_rows(&mut self, scene: &Scene, sight: &mut Sight, changed: Numbers) -> Result<bool, Failure> {
        let Some(RemoteSnapshot { messages: RemoteMessages::Full(messages), .. }) = &sight.remote else {
            return Err(not_all_listed().into());
        };
        let (found, untold) = self.find_again(sight, messages).await?;
        let is_itself = |uid: &Uid| !messages.contains_key(uid) || found.get(uid) == Some(uid);
        let flags = self.settle_flags(sight, messages, &found)?;
        if changed == Numbers::Doubtful && sight.rows.iter().all(|row| is_itself(&row.uid)) {
            if !flags.is_empty() {
                self.account.journal.commit(&flags)?;
                sight.rows = self.account.journal.messages(sight.row.id)?;
            }
            return Ok(true);
        }
        let (rows, known) = (sight.rows.len(), found.len());
        if known < rows && self.lists_more(scene).await? {
            let why = "the server lists a folder that it did not list before, which may be the one that had this name";
            self.report.problem(unfinished(&sight.row.name, why));
            return Ok(false);
        }
        if known < rows && untold.is_empty() && self.may_be_stranded(sight, &found) {
            self.strand(sight, flags, &found)?;
            return Ok(true);
        }
        if self.is_to_wait(scene, sight, known) {
            return Ok(false);
        }
        self.account.journal.commit(&[records(sight, messages, &found), flags].concat())?;
        tracing::info!(folder = %sight.row.name, rows, found = known, "the server numbered its messages anew");
        sight.rows = self.account.journal.messages(sight.row.id)?;
        sight.row.uid_validity = sight.remote.as_ref().map(RemoteSnapshot::uid_validity);
        sight.row.watermark = None;
        sight.failures.retain(|failure| failure.uid.is_none());
        // What has gone since it was listed is no new message, although no row is its any more.
        if !untold.is_empty() {
            self.report.problem(unfinished(&sight.row.name, "messages were removed while it was numbered anew"));
        }
        Ok(untold.is_empty())
    }

    /// Returns true, once in a run, if messages of a mailbox that are not under its name may be elsewhere: it may have
    /// been renamed and numbered anew, and what has its name be another, to which others or this program sent what is
    /// found. A dry run has no pass after the one that follows what is elsewhere.
    fn may_be_stranded(&mut self, sight: &Sight, found: &BTreeMap<Uid, Uid>) -> bool {
        let files = sight.rows.iter().filter_map(|row| Some((row.uid, row.unique.as_ref()?)));
        let (here, elsewhere): (Vec<_>, Vec<_>) = files.partition(|(uid, _)| found.contains_key(uid));
        sight.row.uid_validity.is_some()
            && has_another_validity(sight)
            && !elsewhere.is_empty()
            // Moved in the Maildir, it would be new there as long as nothing is decided about it here.
            && here.iter().all(|(_, unique)| sight.scan.entries.contains_key(*unique))
            && !self.options.dry_run
            && self.stranded.insert(sight.row.id)
    }

    /// What is new elsewhere is followed there first; that the rest is not here proves nothing, and the next pass decides
    /// about it. Let go of before, its files would be sent as new, and its messages fetched as new from where they are.
    fn strand(&mut self, sight: &mut Sight, flags: Vec<Record>, found: &BTreeMap<Uid, Uid>) -> Result<(), Failure> {
        self.account.journal.commit(&[forget_failures(sight), flags].concat())?;
        sight.failures.retain(|failure| failure.uid.is_none());
        // What left other mailboxes may be in what has the name, which is not looked at yet.
        self.robbed.insert(sight.row.id);
        // What is found stays as it is until then: it is neither gone nor new.
        let known = sight.rows.extract_if(.., |row| found.contains_key(&row.uid));
        let known: BTreeSet<UniqueName> = known.filter_map(|row| row.unique).collect();
        sight.scan.entries.retain(|unique, _| !known.contains(unique));
        // That leaves out what is there.
        sight.scan.stamp = None;
        sight.find_it_stranded();
        Ok(())
    }

    /// Returns true if the rows not found may not be let go of: before the user's word, or because not all was seen that
    /// they may be in. Their files would be sent to what has the name, and their messages fetched from where they are.
    fn is_to_wait(&mut self, scene: &Scene, sight: &Sight, known: usize) -> bool {
        let rows = sight.rows.len();
        if self.options.holds == HoldAnswer::Keep && is_suspicious(rows, known) {
            self.hold(scene, &sight.row.name, Side::Remote, Reason::UidValidity, (rows - known) as u64);
            return true;
        }
        let waits = known == 0 && !self.sees_all() && self.stranded.contains(&sight.row.id);
        if waits {
            let why = "nothing of it is under its name any more, and not all folders that it may be in were looked at";
            self.report.problem(unfinished(&sight.row.name, why));
        }
        waits
    }

    /// Settles flags that a run cut short was about to store: what the messages show of them counts as agreed on. Once the
    /// numbers are others nothing tells any more whose they are.
    fn settle_flags(
        &mut self,
        sight: &Sight,
        messages: &Listed,
        found: &BTreeMap<Uid, Uid>,
    ) -> Result<Vec<Record>, Failure> {
        let untaken = untaken(&sight.failures);
        let mut intents = self.account.journal.intents()?;
        intents.retain(|(_, one)| matches!(one, Intent::Flags { .. }) && one.mailbox() == sight.row.id);
        let mut records = Vec::new();
        for (row, message) in sight.rows.iter().filter_map(|row| Some((row, messages.get(found.get(&row.uid)?)?))) {
            let flags = shown(&sight.row, row, (&intents, &untaken), &sight.scan, Some(&message.flags));
            records.extend(flags.map(|flags| Record::Flags(row.id, flags)));
        }
        records.extend(intents.iter().map(|(id, _)| Record::Settled(*id)));
        Ok(records)
    }

    /// Where the listing did not tell that its numbers are others, nobody has searched for it. Renamed in the Maildir only,
    /// it is where it was.
    async fn is_elsewhere_there(&mut self, scene: &Scene, sight: &Sight) -> Result<bool, Failure> {
        let id = sight.row.id;
        Ok(self.elsewhere_there.contains(&id)
            || (!self.sought.contains(&id) && self.has_another_name_there(scene, &sight.row).await?))
    }

    /// Another mailbox that has the name may have all the numbers, too. Then what it holds tells, or that all of the row's is
    /// elsewhere: a date alone proves nothing about a server that doesn't keep to it. Only in the latter case it is known
    /// where the row's is.
    async fn is_found_robbed(&mut self, scene: &Scene, sight: &Sight) -> Result<bool, Failure> {
        let id = sight.row.id;
        let others = others_under_its_uids(sight);
        if others.is_empty() {
            return Ok(false);
        }
        if self.is_elsewhere_there(scene, sight).await? && self.whole_there.contains(&id) {
            self.robbed.insert(id);
            self.elsewhere_there.insert(id);
            return Ok(true);
        }
        self.are_others(sight, &others).await
    }

    /// Returns true if the server lists a mailbox that was not listed when the run began. LIST may leave one out, and one
    /// may be renamed once it was listed: nobody has searched for it there, and what is not found under its old name may
    /// be in it. Without their rows its files would be sent again.
    async fn lists_more(&mut self, scene: &Scene) -> Result<bool, Failure> {
        let listing = self.account.remote.list().await?;
        let mut usable = listing.mailboxes.iter().filter(|(_, listed)| listed.selectable);
        Ok(usable.any(|(name, _)| !scene.listing.mailboxes.contains_key(name)))
    }

    /// Makes sure that all messages were looked at, and not only what differs from a watermark that says nothing.
    async fn look_at_all(&mut self, sight: &mut Sight) -> Result<(), Failure> {
        if matches!(&sight.remote, Some(RemoteSnapshot { messages: RemoteMessages::Full(_), .. })) {
            return Ok(());
        }
        let request = RemoteRequest { mailbox: sight.row.name.clone(), since: None, known: UidSet::new() };
        if let Some(observed) = self.account.remote.observe(&[request]).await?.pop() {
            sight.remote = Some(observed.outcome?);
        }
        Ok(())
    }

    /// Returns the new UIDs of the rows that are found, by the old ones, and the messages that the server would not show.
    /// Files are read, of messages only headers are fetched; bodies only of those that remain in doubt.
    async fn find_again(&mut self, sight: &Sight, messages: &Listed) -> Result<(BTreeMap<Uid, Uid>, UidSet), Failure> {
        let files = self.files_of_rows(sight)?;
        let remembered = sight.rows.iter().map(|row| (row.uid, Remembered::new(row, files.get(&row.uid).copied())));
        let all: UidSet = messages.keys().copied().collect();
        let headers = self.identities(sight, messages, &all, false).await?;
        let mut untold = all.difference(&headers.keys().copied().collect());
        let mut renumbering = Renumbering::new(remembered.collect(), headers);
        renumbering.by_header();
        let doubtful = renumbering.ambiguous();
        let bodies = self.identities(sight, messages, &doubtful, true).await?;
        untold.union_with(&doubtful.difference(&bodies.keys().copied().collect()));
        renumbering.by_content(bodies);
        Ok((renumbering.finish(), untold))
    }

    async fn identities(
        &mut self,
        sight: &Sight,
        messages: &Listed,
        uids: &UidSet,
        whole: bool,
    ) -> Result<BTreeMap<Uid, Identity>, Failure> {
        let Some(remote) = sight.remote.as_ref().filter(|_| !uids.is_empty()) else { return Ok(BTreeMap::new()) };
        let mut found = self.account.remote.identify(&sight.row.name, remote.uid_validity(), uids, whole).await?;
        for (uid, identity) in &mut found {
            let message = messages.get(uid);
            identity.date = message.and_then(|message| message.date);
            identity.size = message.and_then(|message| message.size).filter(|_| !whole).unwrap_or(identity.size);
        }
        Ok(found)
    }

    /// A file that can't be read proves nothing about its row, nor does it harm: the message's body decides then.
    fn files_of_rows(&mut self, sight: &Sight) -> Result<BTreeMap<Uid, Identity>, Failure> {
        let mut files = BTreeMap::new();
        for row in &sight.rows {
            let file = row.unique.as_ref().and_then(|unique| Some((unique, sight.scan.entries.get(unique)?)));
            let Some((unique, entry)) = file else { continue };
            match self.account.local.identify(&sight.row.local, unique, entry) {
                Ok(Edit::Done((identity, _))) => drop(files.insert(row.uid, identity)),
                Ok(Edit::Changed) => {}
                Err(error) if matches!(error.kind, LocalErrorKind::Item | LocalErrorKind::NoMessage) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(files)
    }
}

/// Returns true if a mailbox is another than the one listed a moment ago: where that one is now only another listing tells.
/// Those made in the same second have one UIDVALIDITY, but UIDNEXT never falls; 0 says nothing.
fn is_replaced(scene: &Scene, sight: &Sight) -> bool {
    let listed = scene.listing.mailboxes.get(&sight.row.name).and_then(|listed| listed.status);
    let seen = sight.remote.as_ref().map(|remote| remote.watermark);
    listed.zip(seen).is_some_and(|(listed, seen)| {
        seen.uid_validity != listed.uid_validity || (1..listed.uid_next).contains(&seen.uid_next)
    })
}

/// Returns true if a mailbox was looked at that is listed without its numbers: nothing tells whether it is the one listed.
fn is_untold(scene: &Scene, sight: &Sight) -> bool {
    let listed = scene.listing.mailboxes.get(&sight.row.name);
    sight.remote.is_some() && listed.is_some_and(|listed| listed.status.is_none())
}

/// Returns true if a mailbox is listed with another id than is known: the one known may be elsewhere.
fn has_another_id(scene: &Scene, sight: &Sight) -> bool {
    let listed = scene.listing.mailboxes.get(&sight.row.name).and_then(|listed| listed.object_id.as_ref());
    listed.is_some() && listed != sight.row.object_id.as_ref()
}

fn has_another_validity(sight: &Sight) -> bool {
    sight.remote.as_ref().is_some_and(|remote| sight.row.uid_validity != Some(remote.uid_validity()))
}

/// Returns the rows whose UIDs seem to name other messages although the UIDVALIDITY is the one known.
fn others_under_its_uids(sight: &Sight) -> Vec<(Uid, &MessageRow)> {
    let Some(remote) = sight.remote.as_ref().filter(|_| !has_another_validity(sight)) else { return Vec::new() };
    let listed = remote.messages.listed();
    let is_another = |row: &&MessageRow| listed.get(&row.uid).is_some_and(|message| is_another(row, message));
    sight.rows.iter().filter(is_another).map(|row| (row.uid, row)).collect()
}

/// Failures of files stay: their time has not come because of this. Those of messages are of other messages now.
fn records(sight: &Sight, messages: &Listed, found: &BTreeMap<Uid, Uid>) -> Vec<Record> {
    let Some(remote) = &sight.remote else { return Vec::new() };
    let id = sight.row.id;
    let new = |row: &MessageRow| {
        let uid = found.get(&row.uid)?;
        let message = messages.get(uid)?;
        Some(Renumbered { row: row.id, uid: *uid, date: message.date, size: message.size })
    };
    let (permanent, read_only) = (remote.permanent.clone(), remote.read_only);
    let mut records = vec![
        Record::UidValidity(id, remote.uid_validity()),
        Record::Renumbered(id, sight.rows.iter().filter_map(new).collect()),
        Record::Looked { mailbox: id, watermark: None, permanent, read_only, full_look: None },
    ];
    records.extend(forget_failures(sight));
    records
}

/// Lets go of failures of messages: their numbers are others' now.
fn forget_failures(sight: &Sight) -> Vec<Record> {
    let of_files = sight.failures.iter().filter(|failure| failure.uid.is_none());
    [Record::ForgetFailures(sight.row.id)].into_iter().chain(of_files.cloned().map(Record::Failed)).collect()
}

fn not_all_listed() -> RemoteError {
    let cause = "the server numbers its messages anew and did not list them all";
    RemoteError::new(RemoteErrorKind::Refused, cause)
}

//! Looking: only at what may have changed, on both sides of a mailbox if on either.

mod here;

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join;

use self::here::Here;
use super::waiting::{asks_for_full_look, is_unsent};
use super::{Account, Run, Scene, role_of};
use crate::apply::{Ground, is_fatal, local_problem, mailbox_problem};
use crate::model::{
    KeywordLetters, MailboxId, MailboxName, MailboxRow, MessageRow, PermanentFlags, Role, Stamp, Timestamp, Tombstone,
    UidValidity, UniqueName, Watermark,
};
use crate::reconcile::adopt::Match;
use crate::reconcile::agreed::{Agreed, Agreement};
use crate::reconcile::flags::FlagRules;
use crate::reconcile::look::{Look, decide};
use crate::reconcile::mailboxes::{Fate, Folder};
use crate::reconcile::memory::Memory;
use crate::reconcile::plan::MailboxPlan;
use crate::reconcile::policy::Delete;
use crate::reconcile::replace::Saves;
use crate::reconcile::report::Problem;
use crate::reconcile::snapshot::{Listed, LocalSnapshot, RemoteMessages, RemoteRequest, RemoteSnapshot};
use crate::reconcile::view::View;
use crate::store::{Failure, FailureRow, Journal, LocalErrorKind, LocalStore, Record, RemoteStore, StateError};

/// What was seen of one mailbox in one pass.
pub(super) struct Sight {
    pub(super) row: MailboxRow,
    /// The letters as recorded: those of the maildir that is known, which may be another than this one.
    pub(super) recorded: KeywordLetters,
    /// The rows about which there may be something to decide, in order of UID,
    pub(super) rows: Vec<MessageRow>,
    /// and the files of the others.
    pub(super) agreed: Agreed,
    pub(super) scan: LocalSnapshot,
    pub(super) remote: Option<RemoteSnapshot>,
    pub(super) saves: Saves,
    pub(super) matches: Vec<Match>,
    pub(super) undecided: BTreeSet<UniqueName>,
    pub(super) failures: Vec<FailureRow>,
    /// The mailbox has another name now that it can't be followed to, and another mailbox has the one it had.
    pub(super) displaced: bool,
    /// Of these rows nothing was found under its name, numbered anew: that the rest is not there proves nothing.
    pub(super) stranded: bool,
    memory: Memory,
    pub(super) role: Option<Role>,
    rules: FlagRules,
    delete: Delete,
    expunges_alone: bool,
    pub(super) now: Timestamp,
}

/// A mailbox to be looked at.
pub(super) struct Target<'a> {
    pub(super) folder: &'a Folder,
    pub(super) row: MailboxRow,
    look: Look,
    failures: Vec<FailureRow>,
    /// The messages of it that have no file, if it is looked at for what has changed,
    tombstones: Vec<MessageRow>,
    /// and those flagged as drafts, whose files are looked at in any case.
    drafts: Vec<MessageRow>,
    /// Of messages that are as they were no row is needed,
    lets_go: bool,
    /// nor a file, but of those that have changed on the server.
    is_still: bool,
}

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Looks at every mailbox that may have changed. What can't be looked at is reported and left out: nothing is
    /// decided about it.
    pub(super) async fn observe(
        &mut self,
        scene: &Scene,
        unsettled: &BTreeSet<MailboxId>,
    ) -> Result<Vec<Sight>, Failure> {
        let (targets, stamps) = self.targets(scene, unsettled)?;
        self.found_news |= !targets.is_empty();
        let (mut seen, here) = self.look(scene, &targets).await?;
        // Not earlier: what was read ahead counts as long as nothing is recorded.
        self.account.journal.commit(&stamps)?;
        self.leave_overtaken(scene, &targets, &mut seen).await?;
        let is_seen = |target: &Target<'_>| target.look == Look::Skip || seen.contains_key(&target.folder.name);
        self.blind.extend(targets.iter().filter(|target| !is_seen(target)).map(|target| target.folder.local.clone()));
        let mut looks: Vec<(Target<'_>, Here)> = targets.into_iter().zip(here).collect();
        looks.retain(|(target, _)| is_seen(target));
        let mut sights = Vec::with_capacity(looks.len());
        for (target, mut here) in looks {
            let remote = seen.remove(&target.folder.name);
            let Account { local, journal, .. } = &mut *self.account;
            if !here.heed((&mut *local, &mut *journal), &target.row, remote.as_ref())? {
                here = here::list(local, journal, (scene, self.options.dry_run), &target).await?;
                here.heed((&mut *local, &mut *journal), &target.row, remote.as_ref())?;
            }
            let Some(mut sight) = self.sight(scene, target, here, remote)? else { continue };
            match self.look_closer(scene, &mut sight).await {
                Ok(true) => {}
                Ok(false) => {
                    self.blind.insert(sight.row.local);
                    continue;
                }
                Err(Failure::Remote(error)) if !is_fatal(&error) => {
                    self.report.problem(mailbox_problem(&sight.row.name, &error));
                    self.blind.insert(sight.row.local);
                    continue;
                }
                Err(failure) => return Err(failure),
            }
            sights.push(sight);
        }
        self.follow_saves(&mut sights)?;
        Ok(sights)
    }

    /// Returns false if nothing may be decided about the mailbox.
    async fn look_closer(&mut self, scene: &Scene, sight: &mut Sight) -> Result<bool, Failure> {
        if !self.renumber(scene, sight).await? {
            return Ok(false);
        }
        sight.saves = self.saves(sight)?;
        (sight.matches, sight.undecided) = self.identify(sight).await?;
        self.contested.remove(&sight.row.id);
        // What has the name of one that is elsewhere was not looked at yet.
        if !sight.displaced {
            self.robbed.remove(&sight.row.id);
        }
        Ok(true)
    }

    /// Returns the mailboxes to be looked at, and what is to be recorded of others.
    fn targets<'s>(
        &mut self,
        scene: &'s Scene,
        unsettled: &BTreeSet<MailboxId>,
    ) -> Result<(Vec<Target<'s>>, Vec<Record>), Failure> {
        let mut rows: BTreeMap<MailboxName, MailboxRow> =
            self.account.journal.mailboxes()?.into_iter().map(|row| (row.name.clone(), row)).collect();
        let mut drafts = self.drafts()?;
        let (mut targets, mut stamps) = (Vec::new(), Vec::new());
        for folder in &scene.folders {
            let Some(row) = rows.remove(&folder.name).filter(|row| !unsettled.contains(&row.id)) else {
                self.blind.insert(folder.local.clone());
                continue;
            };
            let failures = self.account.journal.failures(row.id)?;
            let look = self.how_to_look(scene, folder, &row, failures.iter().any(|failure| failure.is_due(self.now)));
            let unsent = failures.iter().any(is_unsent);
            let flagged = drafts.remove(&row.id).unwrap_or_default();
            let lets_go = self.lets_go(scene, folder, look, &failures);
            let is_still = lets_go && look != Look::Skip && self.is_still(scene, folder, &row);
            let (tombstones, drafts) = (Vec::new(), if is_still { flagged.clone() } else { Vec::new() });
            let mut target = Target { folder, row, look, failures, tombstones, drafts, lets_go, is_still };
            let untouched = scene.first
                && look == Look::Skip
                && !unsent
                && (!self.local_changed(scene, &target.row) || self.is_unchanged(&target, &mut stamps)?)
                && !self.drafts_changed(scene, &target.row, &flagged)?;
            if untouched {
                self.list_waiting(&folder.name, &target.failures);
            }
            if !untouched && (scene.first || unsent || scene.again.contains(&target.row.id)) {
                if let Look::Since(_) = look {
                    target.tombstones = self.account.journal.tombstones(target.row.id)?;
                }
                targets.push(target);
            }
        }
        Ok((targets, stamps))
    }

    fn how_to_look(&self, scene: &Scene, folder: &Folder, row: &MailboxRow, failed: bool) -> Look {
        match row.watermark {
            _ if folder.fate == Fate::GoneRemote
                || self.robbed.contains(&row.id)
                || self.contested.contains(&row.id) =>
            {
                Look::Full
            }
            Some(watermark) if !scene.first && !self.in_full.contains(&row.id) => Look::Since(watermark),
            _ if !scene.first => Look::Full,
            _ => {
                let held = scene.header.holds.iter().any(|hold| hold.mailbox.as_ref() == Some(&row.name));
                let listed = scene.listing.mailboxes.get(&row.name);
                decide(row, listed, self.abilities.mod_seq, failed || held, self.options.full, self.now)
            }
        }
    }

    /// Returns true if of messages that are as they were on both sides no row is needed: unless something waits in the mailbox,
    /// or a file may have been saved again without its name telling, or the server will tell of all messages anyway.
    fn lets_go(&self, scene: &Scene, folder: &Folder, look: Look, failures: &[FailureRow]) -> bool {
        failures.is_empty()
            && look != Look::Full
            && self.abilities.mod_seq
            && !self.options.full
            && role_of(scene, &folder.name) != Some(Role::Drafts)
    }

    /// Returns true if, as far as is known before the look, nothing has changed but on the server.
    fn is_still(&self, scene: &Scene, folder: &Folder, row: &MailboxRow) -> bool {
        scene.first && folder.fate == Fate::Paired && !self.local_changed(scene, row) && news(scene, row).is_some()
    }

    fn local_changed(&self, scene: &Scene, row: &MailboxRow) -> bool {
        let stamp: Option<Stamp> = scene.maildirs.find(&row.local).and_then(|maildir| maildir.stamp);
        self.options.full || stamp.is_none() || stamp != row.stamp
    }

    /// Reads a maildir whose times say nothing, as they were too young when it was last read. If nothing in it has changed
    /// that is to be recorded, and it is let go of at once: after much was fetched these may be all, and together too many
    /// to hold in memory.
    fn is_unchanged(&mut self, target: &Target<'_>, stamps: &mut Vec<Record>) -> Result<bool, Failure> {
        let Target { folder, row, .. } = target;
        let is_due = row.stamp.is_some() || !target.failures.is_empty() || folder.fate != Fate::Paired;
        if is_due || self.options.full || self.options.dry_run {
            return Ok(false);
        }
        let scan = match self.account.local.observe(&folder.local, &row.letters) {
            Err(error) if error.kind == LocalErrorKind::Item => return Ok(false),
            scan => scan?,
        };
        let mut agreement = Agreement::new(row, &scan);
        let mut unchanged = true;
        self.account.journal.show_messages(row.id, &mut |message| {
            unchanged = agreement.stays(message);
            unchanged
        })?;
        unchanged &= agreement.is_whole();
        match (unchanged, scan.stamp) {
            (true, Some(stamp)) => stamps.push(Record::Scanned(row.id, Some(stamp))),
            (true, None) => {}
            (false, _) => self.account.local.take_back(&folder.local, scan),
        }
        Ok(unchanged)
    }

    /// Looks at the mailboxes on the server. Their maildirs and what is known of them are read while it answers.
    async fn look(
        &mut self,
        scene: &Scene,
        targets: &[Target<'_>],
    ) -> Result<(BTreeMap<MailboxName, RemoteSnapshot>, Vec<Here>), Failure> {
        let (mut seen, requests) = self.requests(targets)?;
        let dry_run = self.options.dry_run;
        // What is gone from one mailbox may have come to another: all are listed again before it is let go of. If anything has
        // come, it is looked into first.
        let changes = targets.iter().filter_map(|target| news(scene, &target.row));
        let (come, gone) = changes.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        if scene.first && !dry_run && !requests.is_empty() && come == 0 && gone > 0 {
            self.account.remote.about_to_list();
        }
        let Account { remote, local, journal } = &mut *self.account;
        let asked = async {
            match requests.is_empty() {
                true => Ok(Vec::new()),
                false => remote.observe(&requests).await,
            }
        };
        let read = async {
            let mut here = Vec::with_capacity(targets.len());
            for target in targets {
                here.push(here::look(local, journal, (scene, dry_run), target).await?);
            }
            Ok::<_, StateError>(here)
        };
        let (answers, here) = join(asked, read).await;
        for observed in answers? {
            match observed.outcome {
                Ok(snapshot) => drop(seen.insert(observed.mailbox, snapshot)),
                Err(error) if is_fatal(&error) => return Err(error.into()),
                Err(error) => self.report.problem(mailbox_problem(&observed.mailbox, &error)),
            }
        }
        Ok((seen, here?))
    }

    /// Returns what is known without asking the server, and what it is to be asked.
    fn requests(
        &mut self,
        targets: &[Target<'_>],
    ) -> Result<(BTreeMap<MailboxName, RemoteSnapshot>, Vec<RemoteRequest>), Failure> {
        let mut seen = BTreeMap::new();
        let mut requests = Vec::new();
        for target in targets.iter().filter(|target| target.look != Look::Skip) {
            let nothing = match target.folder.fate {
                Fate::CreateRemote if self.options.dry_run => Some(not_there_yet()),
                Fate::GoneRemote => Some(no_more(&target.row)),
                _ => None,
            };
            if let Some(nothing) = nothing {
                seen.insert(target.folder.name.clone(), nothing);
                continue;
            }
            let id = target.row.id;
            let since = match target.look {
                // What waits to be expunged is only if it is seen, without UIDPLUS together with all that is flagged so.
                Look::Since(_) if target.tombstones.iter().any(|row| row.tombstone == Some(Tombstone::Waiting)) => None,
                Look::Since(_) if target.failures.iter().any(|failure| asks_for_full_look(failure, self.now)) => None,
                Look::Since(watermark) => Some(watermark),
                Look::Full | Look::Skip => None,
            };
            let known = self.account.journal.uids(id)?;
            requests.push(RemoteRequest { mailbox: target.folder.name.clone(), since, known });
        }
        Ok((seen, requests))
    }

    fn sight(
        &mut self,
        scene: &Scene,
        target: Target<'_>,
        here: Here,
        remote: Option<RemoteSnapshot>,
    ) -> Result<Option<Sight>, Failure> {
        let Target { folder, mut row, failures, .. } = target;
        let Here { scan: mut scanned, rows, agreed } = here;
        let recorded = row.letters.clone();
        // In another maildir letters don't mean what they meant in the one before.
        if matches!(&scanned, Ok(scan) if scan.letters.is_none() && has_replaced(scan, &row)) {
            row.letters = KeywordLetters::new();
            scanned = here::scan(&mut self.account.local, self.options.dry_run, scene, folder, &row);
        }
        let scan = match scanned {
            Ok(scan) => scan,
            Err(error) if error.kind == LocalErrorKind::Item => {
                self.report.problem(local_problem(&folder.name, None, &error));
                self.blind.insert(folder.local.clone());
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        for duplicate in &scan.duplicates {
            self.report.problem(duplicate_name(&folder.name, duplicate));
        }
        if let Some(snapshot) = &remote {
            row.permanent = snapshot.permanent.clone();
            row.read_only = snapshot.read_only;
        }
        let role = role_of(scene, &folder.name);
        let rules = self.flag_rules(&row, role);
        let (delete, now) = (self.policy.delete, self.now);
        let mut sight = Sight {
            row,
            recorded,
            rows,
            agreed,
            scan,
            remote,
            saves: Saves::default(),
            matches: Vec::new(),
            undecided: BTreeSet::new(),
            failures,
            displaced: false,
            stranded: false,
            memory: Memory::default(),
            role,
            rules,
            delete,
            expunges_alone: self.abilities.uid_plus,
            now,
        };
        sight.memory = sight.recall(&self.uploaded);
        Ok(Some(sight))
    }
}

/// Returns how many messages have come to a mailbox since it was looked at, and how many have gone, as far as the listing
/// tells.
fn news(scene: &Scene, row: &MailboxRow) -> Option<(u64, u64)> {
    let now = scene.listing.mailboxes.get(&row.name)?.status?;
    let before = row.watermark.filter(|before| before.uid_validity == now.uid_validity)?;
    let come = u64::from(now.uid_next.saturating_sub(before.uid_next));
    Some((come, (u64::from(before.messages) + come).saturating_sub(now.messages.into())))
}

impl Sight {
    pub(super) fn view(&self) -> View<'_> {
        let reset = self.remote.as_ref().is_some_and(|snapshot| self.row.uid_validity != Some(snapshot.uid_validity()));
        View {
            mailbox: self.row.id,
            name: &self.row.name,
            local: &self.row.local,
            role: self.role,
            rows: &self.rows,
            agreed: &self.agreed,
            scan: &self.scan,
            remote: self.remote.as_ref(),
            rules: self.rules.clone(),
            delete: self.delete,
            expunges_alone: self.expunges_alone,
            reset,
            matched: self.row.watermark.is_some_and(|mark| Some(mark.uid_validity) == self.row.uid_validity) && !reset,
            saves: &self.saves,
            undecided: &self.undecided,
            waiting: self.waiting(),
            matches: &self.matches,
            memory: &self.memory,
        }
    }

    /// What is to be done; of a mailbox whose place another has, only that its messages are followed to where it is now.
    pub(super) fn plan(&self) -> MailboxPlan {
        let mut plan = self.view().plan();
        if self.displaced {
            plan.upload.clear();
            plan.unknown = true;
            plan.displaced = true;
        }
        plan
    }

    /// The mailbox that the rows speak of is not there any more. The other one is looked at once they have gone.
    pub(super) fn find_it_gone(&mut self) {
        self.remote = Some(no_more(&self.row));
        self.displaced = true;
    }

    /// The same, but nothing tells that what is found nowhere has gone: that waits.
    pub(super) fn find_it_stranded(&mut self) {
        self.find_it_gone();
        self.stranded = true;
    }

    /// Without a look the server said that its values are those recorded.
    pub(super) fn ground(&self) -> Option<Ground> {
        let mark = self.remote.as_ref().map(|snapshot| snapshot.watermark).or(self.row.watermark)?;
        Some(Ground { uid_validity: mark.uid_validity, uid_next: mark.uid_next })
    }

    pub(super) fn was_looked_at_in_full(&self) -> bool {
        self.remote.as_ref().is_some_and(|remote| matches!(remote.messages, RemoteMessages::Full(_)))
    }

    pub(super) fn letters(&self) -> KeywordLetters {
        self.scan.letters.clone().unwrap_or_else(|| self.row.letters.clone())
    }

    /// What letters mean in the names of files that came from here. A maildir that was removed and made again has lost its
    /// own list.
    pub(super) fn letters_of_old(&self) -> KeywordLetters {
        let mut letters = self.letters();
        for (letter, keyword) in self.row.letters.iter() {
            if letters.keyword(letter).is_none() && letters.letter(keyword).is_none() {
                letters.assign(letter, keyword.clone());
            }
        }
        letters
    }
}

/// Returns true for a maildir in the place of the one that is known.
pub(super) fn has_replaced(scan: &LocalSnapshot, row: &MailboxRow) -> bool {
    row.directory.is_some() && scan.directory != row.directory
}

/// A mailbox that a dry run would create.
fn not_there_yet() -> RemoteSnapshot {
    RemoteSnapshot {
        watermark: Watermark { uid_validity: UidValidity(0), uid_next: 1, messages: 0, mod_seq: None },
        permanent: PermanentFlags::all(),
        read_only: false,
        messages: RemoteMessages::Full(Listed::new()),
    }
}

/// A mailbox that has gone from the server: every message in it has. UIDNEXT is past all that is known of it, so that it
/// is not taken for one restored from a backup.
fn no_more(row: &MailboxRow) -> RemoteSnapshot {
    let uid_validity = row.uid_validity.unwrap_or(UidValidity(0));
    let watermark = Watermark { uid_validity, uid_next: u32::MAX, messages: 0, mod_seq: None };
    RemoteSnapshot { watermark, ..not_there_yet() }
}

fn duplicate_name(folder: &MailboxName, file: &str) -> Problem {
    let message = format!("two files in {folder} share the unique name of {file}; this one is left alone");
    let hint = "give it another name (anything before \":2,\"), or remove it if it is a copy";
    Problem { path: Some(file.to_owned()), ..Problem::of(folder, "duplicate-name", message, hint) }
}

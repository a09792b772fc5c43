//! Folders: listed on both sides, paired, created where they are missing.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join;

use super::settle::unfinished;
use super::{Account, Run, Scene, role_of};
use crate::apply::{is_fatal, local_problem, mailbox_problem};
use crate::model::{KeywordLetters, MailboxId, MailboxName, MailboxRow, MessageRow, Role, Side};
use crate::reconcile::mailboxes::{Fate, Folder, infer_roles, pair_folders, role_for};
use crate::reconcile::renames::{
    candidates_here, candidates_there, is_displaced_here, is_displaced_there, is_known, is_swap,
};
use crate::reconcile::report::{PlanLine, Problem};
use crate::reconcile::snapshot::{ListedMailbox, LocalListing, LocalMaildir, RemoteListing};
use crate::store::{Failure, Header, Intent, Journal, LocalErrorKind, LocalStore, Record, RemoteStore};

/// Whether a folder can be kept in step now.
enum Readiness {
    /// It can, and is as it is now.
    Ready(Folder),
    /// It can't, or nobody can tell: nothing is decided about it.
    LeftAlone,
    /// Neither side has it any more, and it was let go of.
    NoMore,
}

impl Readiness {
    fn of(ready: bool, folder: Folder) -> Self {
        if ready { Self::Ready(folder) } else { Self::LeftAlone }
    }
}

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Lists both sides, pairs their folders, and creates what is missing.
    pub(super) async fn list(&mut self, header: Header) -> Result<Scene, Failure> {
        self.finish_renames()?;
        let listing = self.first_listing().await?;
        self.abilities = listing.abilities;
        self.refuse_clashes(&listing)?;
        let maildirs = self.list_maildirs()?;
        let root = &self.policy.circumstances.root;
        let below = |name: &str| name.strip_prefix(root.as_str())?.strip_prefix('/').map(str::to_owned);
        for (name, why) in listing.rejected.iter().chain(&maildirs.rejected) {
            if !self.policy.scope.excludes(&below(name).unwrap_or_else(|| name.clone())) {
                self.report.problem(rejected(name, why));
            }
        }
        let mut scene = Scene::new(header, listing, maildirs);
        self.leave_out(&scene)?;
        self.follow_renames(&mut scene).await?;
        let is_interrupted = !self.options.dry_run && !self.account.journal.intents()?.is_empty();
        // What an interrupted run did makes folders and messages known,
        let unsettled = self.recover(&scene).await?;
        // and only these tell that a folder of which nothing was known has another name by now.
        if is_interrupted {
            self.follow_renames(&mut scene).await?;
        }
        let rows = self.account.journal.mailboxes()?;
        let folders = pair_folders(&rows, &scene.listing, &scene.maildirs, &self.policy.scope);
        let folders = folders.into_iter().filter(|folder| self.is_named(&folder.name));
        let mut folders: Vec<Folder> = folders.filter_map(|folder| scene.besides_renamed(folder)).collect();
        folders.append(&mut scene.to_be_renamed);
        self.tell_unmatched(&scene, &folders);
        self.tell_if_none_takes_part(&scene);
        self.tell_strangers(&scene, &folders)?;
        self.leave_lost(&scene, &rows, &mut folders)?;
        self.leave_unseen(&rows, &mut folders);
        self.leave_waiting(&rows, &mut folders);
        self.leave_unsettled(&rows, &unsettled, &mut folders);
        self.report.folders = folders.iter().filter(|folder| folder.fate != Fate::GoneBoth).count() as u64;
        let (gone, there): (Vec<Folder>, Vec<Folder>) = folders.into_iter().partition(|folder| is_gone(folder, &rows));
        let known: BTreeMap<&MailboxName, &MailboxRow> = rows.iter().map(|row| (&row.name, row)).collect();
        for folder in there {
            let (local, row) = (folder.local.clone(), known.get(&folder.name).copied());
            match self.prepare(&mut scene, row, folder).await? {
                Readiness::Ready(folder) => scene.folders.push(folder),
                Readiness::LeftAlone => drop(self.blind.insert(local)),
                Readiness::NoMore => {}
            }
        }
        let gone = self.follow_gone(&mut scene, &rows, gone).await?;
        scene.folders.extend(gone);
        Ok(scene)
    }

    /// As [`Run::listing`]. While the server answers the drafts are read: where nothing has changed nothing here takes longer.
    async fn first_listing(&mut self) -> Result<RemoteListing, Failure> {
        let Account { remote, journal, .. } = &mut *self.account;
        let (listing, read) = join(remote.list(), async { journal.read_drafts_ahead() }).await;
        read?;
        let mut listing = listing?;
        infer_roles(&mut listing);
        Ok(listing)
    }

    /// Lists the server's mailboxes with what they are for.
    pub(super) async fn listing(&mut self) -> Result<RemoteListing, Failure> {
        let mut listing = self.account.remote.list().await?;
        infer_roles(&mut listing);
        Ok(listing)
    }

    /// Leaves alone in a run over some folders what lost its names on both sides and could not be given one, or on the server
    /// and is not of this run, with whatever may be it: its messages are followed one by one only by a run that sees where
    /// they are. Let go of here, they would be fetched from the one place and sent from the other.
    fn leave_lost(&mut self, scene: &Scene, rows: &[MailboxRow], folders: &mut Vec<Folder>) -> Result<(), Failure> {
        if self.options.only.is_empty() {
            return Ok(());
        }
        // Of one whose maildir can't get its new name that is told.
        let waits_for_its_own_run = |row: &MailboxRow| {
            self.elsewhere_there.contains(&row.id) && !self.unrenamed.contains(&row.id) && !self.is_named(&row.name)
        };
        let is_lost = |row: &&MailboxRow| {
            self.elsewhere.contains(&row.id)
                && is_displaced_there(row, &scene.listing)
                && (is_displaced_here(row, &scene.maildirs) || waits_for_its_own_run(row))
        };
        let lost: Vec<&MailboxRow> = rows.iter().filter(is_lost).collect();
        let (scope, mut left) = (&self.policy.scope, BTreeSet::new());
        for row in lost {
            let (certain, possible) = candidates_there(row, rows, &scene.listing, scope);
            let names = certain.into_iter().chain(possible.into_iter().map(|candidate| candidate.name));
            left.extend(names.map(|name| scope.local_name(&name, |name| role_of(scene, name))));
            let messages = self.account.journal.messages(row.id)?;
            for maildir in candidates_here(row, rows, &scene.maildirs) {
                let is_own = row.directory.is_none_or(|directory| directory == maildir.directory);
                // In another directory its files tell; what was not seen may be them.
                if is_own || !matches!(self.files_alike(row, &messages, &maildir.name)?, (None, true)) {
                    left.insert(maildir.name.clone());
                }
            }
            left.insert(row.local.clone());
        }
        for folder in folders.extract_if(.., |folder| is_among(&left, folder, rows)) {
            let why = "a folder has another name than it had and could not be given that on both sides, and where its \
                       messages are now only a sync of all folders sees";
            self.report.problem(unfinished(&folder.name, why));
            self.blind.insert(folder.local);
        }
        self.blind.append(&mut left);
        Ok(())
    }

    /// Leaves alone the folders of which it can't be told under which name they are on a side now, and those of the names
    /// that they may have.
    fn leave_unseen(&mut self, rows: &[MailboxRow], folders: &mut Vec<Folder>) {
        let left: Vec<Folder> = folders.extract_if(.., |folder| is_among(&self.blind, folder, rows)).collect();
        for folder in left {
            let why = "which folder is which can't be told, as one that may have been renamed kept changing while it was \
                       read, or can't be read";
            self.report.problem(unfinished(&folder.name, why));
            self.blind.insert(folder.local);
        }
    }

    /// Leaves alone the folders that wait for their new names. Followed message by message to a maildir that can't be made
    /// they would only leave the one that they have; renamed on both sides, it is under neither of these names that what is
    /// known of them would be let go of.
    fn leave_waiting(&mut self, rows: &[MailboxRow], folders: &mut Vec<Folder>) {
        let is_waiting =
            |row: &&MailboxRow| is_swap(&row.name) || is_swap(&row.local) || self.unrenamed.contains(&row.id);
        let waiting: Vec<&MailboxRow> = rows.iter().filter(is_waiting).collect();
        let waits = |folder: &Folder| {
            waiting.iter().any(|row| row.name == folder.name || row.local == folder.local)
                || is_among(&self.stuck, folder, rows)
        };
        let left = folders.extract_if(.., |folder| waits(folder));
        self.blind.extend(left.map(|folder| folder.local));
    }

    /// Leaves alone the folders missing on the server of which it can't be found out what an interrupted run did. Made again
    /// there, they would lose their intents, and what was fetched would look like new files.
    fn leave_unsettled(&mut self, rows: &[MailboxRow], unsettled: &BTreeSet<MailboxId>, folders: &mut Vec<Folder>) {
        let is_it = |folder: &Folder| {
            matches!(folder.fate, Fate::CreateRemote | Fate::GoneRemote)
                && rows.iter().any(|row| row.name == folder.name && unsettled.contains(&row.id))
        };
        let left = folders.extract_if(.., |folder| is_it(folder));
        self.blind.extend(left.map(|folder| folder.local));
    }

    /// Lets go of what is known of the messages in folders that take part no more: should they again, both sides are united
    /// in them. What was removed meanwhile on one side is no removal for the other.
    fn leave_out(&mut self, scene: &Scene) -> Result<(), Failure> {
        let rows = self.account.journal.mailboxes()?;
        for row in rows.iter().filter(|row| row.watermark.is_some() || row.with_uid > 0) {
            let listed = scene.listing.mailboxes.get(&row.name);
            let (role, subscribed) = listed.map_or((row.role, true), |listed| (listed.role, listed.subscribed));
            if !self.policy.scope.takes_part(&row.name, role, subscribed) && self.knows_more_than_tombstones(row)? {
                let same = Folder { name: row.name.clone(), local: row.local.clone(), role, fate: Fate::Paired };
                self.match_anew(row, &same)?;
            }
        }
        Ok(())
    }

    fn knows_more_than_tombstones(&mut self, row: &MailboxRow) -> Result<bool, Failure> {
        let has_file = |message: &MessageRow| message.unique.is_some();
        Ok(row.watermark.is_some() || self.account.journal.messages(row.id)?.iter().any(has_file))
    }

    /// Tells of folders asked for that don't take part, unless they are in trouble already.
    fn tell_unmatched(&mut self, scene: &Scene, folders: &[Folder]) {
        let troubled = self.report.problems.iter().filter_map(|problem| problem.folder.as_ref());
        let known: Vec<&MailboxName> =
            folders.iter().map(|folder| &folder.name).chain(&scene.renamed).chain(troubled).collect();
        let takes_part = |named: &MailboxName| known.iter().any(|name| *name == named || name.is_below(named));
        let missing: Vec<Problem> = self.options.only.iter().filter(|named| !takes_part(named)).map(no_part).collect();
        missing.into_iter().for_each(|problem| self.report.problem(problem));
    }

    /// Tells if the patterns leave out everything there is: nobody means that, and an account without folders is in step.
    fn tell_if_none_takes_part(&mut self, scene: &Scene) {
        let scope = &self.policy.scope;
        let there = |(name, listed): (&MailboxName, &ListedMailbox)| {
            listed.selectable && scope.takes_part(name, listed.role, listed.subscribed)
        };
        let here = |maildir: &LocalMaildir| scope.takes_part(&maildir.name, None, true);
        let any = scene.listing.mailboxes.iter().any(there) || scene.maildirs.maildirs.iter().any(here);
        if !any && self.options.only.is_empty() {
            self.report.problem(none_takes_part());
        }
    }

    pub(super) fn refuse_clashes(&self, listing: &RemoteListing) -> Result<(), Failure> {
        let role_of = |name: &MailboxName| listing.mailboxes.get(name).and_then(|mailbox| mailbox.role);
        let scope = &self.policy.scope;
        let takes_part = |mailbox: &ListedMailbox, name| {
            mailbox.selectable && scope.takes_part(name, mailbox.role, mailbox.subscribed)
        };
        let names =
            listing.mailboxes.iter().filter(|(name, mailbox)| takes_part(mailbox, name)).map(|(name, _)| name.clone());
        match scope.clashes(names, role_of).into_iter().next() {
            Some((one, other)) => Err(Failure::NameClash(one, other)),
            None => Ok(()),
        }
    }

    /// A root that a dry run would create has no folders yet.
    fn list_maildirs(&mut self) -> Result<LocalListing, Failure> {
        match self.options.dry_run && self.account.local.root()? == crate::store::Root::Missing {
            true => Ok(LocalListing::default()),
            false => Ok(self.account.local.list()?),
        }
    }

    /// Returns true if this run is about all folders, and nothing of them is out of its sight.
    pub(super) fn sees_all(&self) -> bool {
        self.options.only.is_empty() && self.blind.is_empty()
    }

    pub(super) fn is_named(&self, name: &MailboxName) -> bool {
        self.options.is_about(name)
    }

    /// Returns the folder if it can be kept in step now.
    async fn prepare(
        &mut self,
        scene: &mut Scene,
        mut row: Option<&MailboxRow>,
        folder: Folder,
    ) -> Result<Readiness, Failure> {
        let ready = match folder.fate {
            Fate::Paired => true,
            // Under the name that it had until now it may be there. Of one that was never looked at on both sides nothing
            // is known but what an interrupted run began: recovery has to see that.
            Fate::GoneLocal | Fate::CreateLocal => {
                if let Some(row) = row.filter(|row| is_known(row) || row.local != folder.local) {
                    self.match_anew(row, &folder)?;
                }
                self.create_local(&folder)?
            }
            Fate::CreateRemote | Fate::GoneRemote => {
                if self.holds_first_folder(scene, &folder)? {
                    return Ok(Readiness::LeftAlone);
                }
                if let Some(row) = row.take() {
                    self.account.journal.commit(&[Record::ForgetMailbox(row.id)])?;
                }
                self.create_remote(scene, &folder).await?
            }
            Fate::GoneBoth => {
                let Some(row) = row else { return Ok(Readiness::NoMore) };
                let is_followed = self.elsewhere.contains(&row.id) && !self.options.dry_run;
                let is_found = is_followed && self.elsewhere_there.contains(&row.id);
                // One that is only missing from the list keeps what must never come back, and what is held in it; and the
                // files that it had wait wherever they are.
                if !is_found && !self.is_gone(scene, row).await? {
                    return Ok(Readiness::LeftAlone);
                }
                if !is_followed {
                    self.account.journal.commit(&[Record::ForgetMailbox(row.id)])?;
                    return Ok(Readiness::NoMore);
                }
                // It has another name on either side, and can't be given the one: its messages are followed one by one.
                let created = self.create_local(&folder)?;
                return Ok(Readiness::of(created, Folder { fate: Fate::GoneRemote, ..folder }));
            }
        };
        if ready {
            self.know(scene, row, &folder)?;
        }
        let fate = if folder.fate == Fate::GoneLocal { Fate::CreateLocal } else { folder.fate };
        Ok(Readiness::of(ready, Folder { fate, ..folder }))
    }

    /// The row comes after both folders exist, so that a folder not created yet never looks like one deleted.
    pub(super) fn know(&mut self, scene: &Scene, row: Option<&MailboxRow>, folder: &Folder) -> Result<(), Failure> {
        let object_id = match row {
            // While the rows may speak of another mailbox that had this name before, only what is known of that one tells
            // where it is: the id of this one would hide it.
            Some(row) if row.local == folder.local && self.may_be_another(scene, row) => row.object_id.clone(),
            _ => scene.listing.mailboxes.get(&folder.name).and_then(|listed| listed.object_id.clone()),
        };
        let id = match row {
            Some(row) if row.local != folder.local => {
                self.match_anew(row, folder)?;
                row.id
            }
            Some(row) if row.role == folder.role && row.object_id == object_id => return Ok(()),
            Some(row) => row.id,
            None => self.account.journal.add_mailbox(&folder.name, &folder.local)?,
        };
        Ok(self.account.journal.commit(&[Record::Listed(id, folder.role, object_id)])?)
    }

    /// Returns true if the mailbox listed under a row's name is not the one whose messages are known, or nothing tells that
    /// it is.
    fn may_be_another(&self, scene: &Scene, row: &MailboxRow) -> bool {
        let Some(listed) = scene.listing.mailboxes.get(&row.name).filter(|_| is_known(row)) else { return false };
        // One with another id was searched for already. Found, and not followed, it is searched for until its messages have
        // gone there: two made in the same second have one UIDVALIDITY.
        let is_elsewhere = self.elsewhere_there.contains(&row.id);
        is_elsewhere
            || match listed.status {
                Some(status) => row.uid_validity.is_some_and(|known| known != status.uid_validity),
                None => row.object_id.is_none() || listed.object_id.is_none(),
            }
    }

    /// Lets go of what the baseline knows of a maildir that is not there, so that nothing in it counts as removed. What
    /// must never come back still does not.
    pub(super) fn match_anew(&mut self, row: &MailboxRow, folder: &Folder) -> Result<(), Failure> {
        let (permanent, read_only) = (row.permanent.clone(), row.read_only);
        let mut records = vec![
            Record::LocalName(row.id, folder.local.clone()),
            Record::Scanned(row.id, None),
            Record::Letters(row.id, KeywordLetters::new()),
            Record::Looked { mailbox: row.id, watermark: None, permanent, read_only, full_look: None },
            Record::ForgetFailures(row.id),
        ];
        let messages = self.account.journal.messages(row.id)?;
        let files = messages.iter().filter(|message| message.unique.is_some() || message.is_outdated());
        records.extend(files.map(|message| Record::Forget(message.id)));
        let intents = self.account.journal.intents()?;
        let of_files = intents.iter().filter(|(_, intent)| is_of_a_file(intent, row.id));
        records.extend(of_files.map(|(id, _)| Record::Settled(*id)));
        Ok(self.account.journal.commit(&records)?)
    }

    pub(super) fn create_local(&mut self, folder: &Folder) -> Result<bool, Failure> {
        let done = match self.options.dry_run {
            true => Ok(()),
            false => self.account.local.create(&folder.local),
        };
        match done {
            Ok(()) => {
                self.report.local.folders_created += 1;
                self.note_created(Side::Local, folder);
                Ok(true)
            }
            Err(error) if error.kind == LocalErrorKind::Item => {
                self.report.problem(local_problem(&folder.name, None, &error));
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn create_remote(&mut self, scene: &mut Scene, folder: &Folder) -> Result<bool, Failure> {
        let role = role_for(&folder.name, &scene.listing);
        let done = match self.options.dry_run {
            true => Ok(()),
            false => self.account.remote.create(&folder.name, role).await,
        };
        match done {
            Ok(()) => {
                self.report.remote.folders_created += 1;
                self.note_created(Side::Remote, folder);
                scene.listing.mailboxes.insert(folder.name.clone(), just_created(folder.role.or(role)));
                Ok(true)
            }
            Err(error) if is_fatal(&error) => Err(error.into()),
            Err(error) => {
                self.report.problem(mailbox_problem(&folder.name, &error));
                Ok(false)
            }
        }
    }

    pub(super) fn note_created(&mut self, side: Side, folder: &Folder) {
        if self.options.dry_run {
            let folder = folder.name.clone();
            self.report.plan.push(PlanLine {
                side: Some(side),
                op: "create-folder",
                folder,
                uid: None,
                path: None,
                detail: None,
            });
        }
    }
}

/// Returns true if the folder's maildir, or the one that it had until now, is one of these.
fn is_among(maildirs: &BTreeSet<MailboxName>, folder: &Folder, rows: &[MailboxRow]) -> bool {
    if maildirs.is_empty() {
        return false;
    }
    let before = rows.iter().find(|row| row.name == folder.name).map(|row| &row.local);
    maildirs.contains(&folder.local) || before.is_some_and(|local| maildirs.contains(local))
}

/// Under a new local name a folder may be there: then it is no gone one.
fn is_gone(folder: &Folder, rows: &[MailboxRow]) -> bool {
    let renamed = || rows.iter().any(|row| row.name == folder.name && row.local != folder.local);
    match folder.fate {
        Fate::GoneLocal => !renamed(),
        Fate::GoneRemote => true,
        Fate::Paired | Fate::CreateLocal | Fate::CreateRemote | Fate::GoneBoth => false,
    }
}

fn is_of_a_file(intent: &Intent, of: MailboxId) -> bool {
    match intent {
        Intent::Download { mailbox, .. }
        | Intent::Append { mailbox, .. }
        | Intent::Relabel { mailbox, .. }
        | Intent::Remove { mailbox, .. } => *mailbox == of,
        Intent::Copy { .. } | Intent::Rename { .. } | Intent::Flags { .. } => false,
    }
}

pub(super) fn just_created(role: Option<Role>) -> ListedMailbox {
    ListedMailbox { role, selectable: true, subscribed: true, object_id: None, status: None }
}

fn no_part(named: &MailboxName) -> Problem {
    Problem {
        code: "no-such-folder",
        folder: Some(named.clone()),
        path: None,
        uid: None,
        message: "no such folder takes part; nothing was done for it".to_owned(),
        hint: "`mailtide folders` shows which folders there are and which take part".to_owned(),
        retry_at: None,
    }
}

fn none_takes_part() -> Problem {
    Problem {
        code: "no-folders",
        folder: None,
        path: None,
        uid: None,
        message: "no folder takes part: nothing is synced".to_owned(),
        hint: "`mailtide folders` shows which folders there are; change include or exclude".to_owned(),
        retry_at: None,
    }
}

fn rejected(name: &str, why: &str) -> Problem {
    Problem {
        code: "folder-name",
        folder: None,
        path: Some(name.to_owned()),
        uid: None,
        message: format!("the folder {name:?} is left alone: {why}"),
        hint: "rename it where it is, or exclude it".to_owned(),
        retry_at: None,
    }
}

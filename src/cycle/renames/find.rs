//! Finds the folders that have other names than they had.

use std::collections::{BTreeMap, BTreeSet};

use super::carry::{steps_here, steps_there};
use crate::cycle::{Run, Scene, role_of};
use crate::model::{MailboxId, MailboxName, MailboxRow, MessageRow};
use crate::reconcile::mailboxes::server_name;
use crate::reconcile::renames::{
    self, Rename, Way, Whereabouts, candidates_here, candidates_there, is_displaced_here, is_displaced_there, is_known,
    is_swap, may_be_renumbered, resemblance,
};
use crate::reconcile::snapshot::LocalMaildir;
use crate::store::{Failure, Journal, LocalErrorKind, LocalStore, RemoteStore};

/// A search for folders that have other names.
pub(super) struct Search<'a> {
    pub(super) scene: &'a Scene,
    pub(super) rows: &'a [MailboxRow],
    /// The server's names under which one was found, each with its old one,
    pub(super) there: BTreeMap<MailboxName, MailboxName>,
    /// and the Maildir's.
    here: BTreeSet<MailboxName>,
    /// The server's names of what could not be looked at: it may be any of them.
    pub(super) unseen: BTreeSet<MailboxName>,
}

impl<'a> Search<'a> {
    fn new(scene: &'a Scene, rows: &'a [MailboxRow]) -> Self {
        Search { scene, rows, there: BTreeMap::new(), here: BTreeSet::new(), unseen: BTreeSet::new() }
    }
}

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Finds the folders that have other names, or should have, but for what was tried.
    pub(super) async fn find_renames(&mut self, scene: &Scene, tried: &[Rename]) -> Result<Vec<Rename>, Failure> {
        let rows = self.account.journal.mailboxes()?;
        let mut search = Search::new(scene, &rows);
        let known = rows.iter().filter(|row| is_known(row) && !row.name.is_inbox());
        let (mut doubtful, others): (Vec<_>, Vec<_>) = known.partition(|row| self.may_be_renamed(scene, row));
        // What happened to a folder that holds nothing, those above, below and beside it tell.
        doubtful.sort_by_key(|row| row.with_uid == 0);
        let mut found = Vec::new();
        for row in doubtful {
            let mut there = self.find_there(&mut search, row, false).await?;
            let by_files = is_known_whole(scene, row, &there);
            let here = self.find_here(&mut search, row, false, by_files)?;
            // Its maildir is no new folder then.
            if there == Whereabouts::Gone
                && matches!(here, Whereabouts::Moved(_))
                && self.is_left_out(scene, row).await?
            {
                there = Whereabouts::Stayed;
            }
            found.push((row, there, here));
        }
        let robbed =
            others.into_iter().filter(|row| search.there.contains_key(&row.name) || search.here.contains(&row.local));
        found.extend(robbed.map(|row| (row, Whereabouts::Stayed, Whereabouts::Stayed)));
        let mut renames = Vec::new();
        for (row, mut there, mut here) in found {
            // Whose place another has taken is elsewhere, though it does not look so.
            if there == Whereabouts::Stayed && search.there.contains_key(&row.name) {
                there = self.find_there(&mut search, row, true).await?;
            }
            if here == Whereabouts::Stayed && search.here.contains(&row.local) {
                here = self.find_here(&mut search, row, true, is_known_whole(scene, row, &there))?;
            }
            renames.extend(self.decide(scene, row, &there, &here));
        }
        // Whether they are followed or not.
        let robbed = rows.iter().filter(|row| search.there.contains_key(&row.name));
        self.robbed.extend(robbed.map(|row| row.id));
        // It stays, so nobody else can have its name.
        renames.retain(|rename| !tried.contains(rename));
        self.leave_misnamed(scene, &rows, &renames);
        self.leave_conflicts(scene, &rows, renames)
    }

    /// What lost its names on both sides while others were renamed was not searched for: its files tell that it is
    /// elsewhere. Of what has gone from both sides nothing is kept.
    pub(super) fn seek_lost(&mut self, scene: &Scene) -> Result<(), Failure> {
        let rows = self.account.journal.mailboxes()?;
        let mut search = Search::new(scene, &rows);
        let is_lost = |row: &&MailboxRow| {
            is_known(row) && is_displaced_there(row, &scene.listing) && is_displaced_here(row, &scene.maildirs)
        };
        for row in rows.iter().filter(is_lost) {
            if matches!(self.find_here(&mut search, row, false, true)?, Whereabouts::Moved(_)) {
                self.elsewhere.insert(row.id);
            }
        }
        Ok(())
    }

    fn decide(&mut self, scene: &Scene, row: &MailboxRow, there: &Whereabouts, here: &Whereabouts) -> Option<Rename> {
        // Whatever becomes of the folder, what is elsewhere is not lost. Gone from the Maildir, it is.
        let moved = |place: &Whereabouts| matches!(place, Whereabouts::Moved(_));
        let is_mapped = |local: &MailboxName| server_name(local, &scene.listing, &self.policy.scope).is_some();
        let moved_here = matches!(here, Whereabouts::Moved(local) if is_mapped(local));
        if moved_here || (moved(there) && *here != Whereabouts::Gone) {
            self.elsewhere.insert(row.id);
            self.elsewhere_there.extend(moved(there).then_some(row.id));
        }
        // Which maildir is its own can't be told: it is left alone, under the name that it has on the server now, too.
        if self.blind.contains(&row.local) {
            if let Whereabouts::Moved(name) = there {
                self.blind.insert(self.policy.scope.local_name(name, |name| role_of(scene, name)));
            }
            // What is in it would be sent from there as new.
            if let Whereabouts::Moved(local) = here {
                self.blind.insert(local.clone());
            }
            return None;
        }
        let scope = &self.policy.scope;
        let role = |name: &MailboxName| role_of(scene, name);
        let local_name = |name: &MailboxName| scope.local_name(name, role);
        let wanted = |local: &MailboxName| {
            let name = server_name(local, &scene.listing, scope)?;
            scope.takes_part(&name, role(&name), true).then_some(name)
        };
        let found = renames::decide(row, there, here, local_name, wanted);
        found.filter(|rename| self.is_asked_for(row, rename))
    }

    /// Leaves out what would take the name of a folder that stays and that the baseline knows mail of. What is to get a name
    /// that somebody else keeps on that side stays too: two folders may wait for each other, each on another side. So does
    /// what would take along on the server folders that stay.
    fn leave_conflicts(
        &mut self,
        scene: &Scene,
        rows: &[MailboxRow],
        mut renames: Vec<Rename>,
    ) -> Result<Vec<Rename>, Failure> {
        loop {
            let (_, here) = steps_here(scene, &renames);
            let (_, there) = steps_there(scene, &renames);
            renames.retain(|rename| here.iter().chain(&there).all(|step| step.mailbox != rename.mailbox));
            let carrying = renames.iter().filter(|rename| takes_along(scene, rows, &renames, rename));
            let carrying: BTreeSet<MailboxId> = carrying.map(|rename| rename.mailbox).collect();
            let stays = |row: &&MailboxRow| renames.iter().all(|rename| rename.mailbox != row.id);
            let mut held = BTreeSet::new();
            for row in rows.iter().filter(stays).filter(|row| renames.iter().any(|one| *new_name(one) == row.name)) {
                let messages = self.account.journal.messages(row.id)?;
                held.extend(messages.iter().any(|message| message.unique.is_some()).then(|| row.name.clone()));
            }
            if held.is_empty() && carrying.is_empty() {
                return Ok(renames);
            }
            renames.retain(|rename| !held.contains(new_name(rename)) && !carrying.contains(&rename.mailbox));
        }
    }

    /// A folder in its place on both sides is not looked at.
    fn may_be_renamed(&self, scene: &Scene, row: &MailboxRow) -> bool {
        let role = role_of(scene, &row.name).or(row.role);
        let subscribed = scene.listing.mailboxes.get(&row.name).is_none_or(|listed| listed.subscribed);
        let takes_part = is_swap(&row.name) || self.policy.scope.takes_part(&row.name, role, subscribed);
        let elsewhere = self.policy.scope.local_name(&row.name, |name| role_of(scene, name)) != row.local;
        takes_part
            && (elsewhere
                || is_displaced_there(row, &scene.listing)
                || is_displaced_here(row, &scene.maildirs)
                || is_swap(&row.name))
    }

    /// A run over some folders only renames those of them.
    fn is_asked_for(&self, row: &MailboxRow, rename: &Rename) -> bool {
        self.is_named(&row.name) || self.is_named(new_name(rename))
    }

    /// Returns true if a mailbox whose name another one has is there under another name.
    pub(in crate::cycle) async fn has_another_name_there(
        &mut self,
        scene: &Scene,
        row: &MailboxRow,
    ) -> Result<bool, Failure> {
        let rows = self.account.journal.mailboxes()?;
        let mut search = Search::new(scene, &rows);
        Ok(matches!(self.find_there(&mut search, row, true).await?, Whereabouts::Moved(_)))
    }

    async fn find_there(
        &mut self,
        search: &mut Search<'_>,
        row: &MailboxRow,
        displaced: bool,
    ) -> Result<Whereabouts, Failure> {
        let scene = search.scene;
        if !displaced && !is_displaced_there(row, &scene.listing) {
            return Ok(Whereabouts::Stayed);
        }
        self.sought.insert(row.id);
        let (certain, possible) = candidates_there(row, search.rows, &scene.listing, &self.policy.scope);
        // A run cut short leaves two rows of one id when a folder's messages went to a maildir of its new name one by one.
        let certain = certain.filter(|name| !search.there.contains_key(name));
        let messages = self.account.journal.messages(row.id)?;
        let (is_certain, mut found) = (certain.is_some(), certain);
        // Where several look alike as far as the listing tells, headers are not enough. One of them is itself, if it may
        // have been numbered anew.
        let ambiguous = possible.len() > 1 || may_be_renumbered(row, &scene.listing);
        let mut unseen = Vec::new();
        for candidate in possible {
            if found.is_some() || search.there.contains_key(&candidate.name) {
                continue;
            }
            match self.is_it(search, row, &messages, &candidate, ambiguous).await? {
                true => found = Some(candidate.name),
                // What can't be looked at now is to be looked at by whoever has the name: what has gone may be in it.
                false => {
                    let owner = search.rows.iter().find(|row| candidate.owned && row.name == candidate.name);
                    self.contested.extend(owner.map(|owner| owner.id));
                    unseen.extend(search.unseen.contains(&candidate.name).then_some(candidate.name));
                }
            }
        }
        if found.is_some() && !is_certain {
            match self.keeps_its_name(search, row, &messages).await? {
                // Under its own name it is itself, whatever looks like it.
                Some(true) => return Ok(Whereabouts::Stayed),
                Some(false) => {}
                None => unseen.extend(found.take()),
            }
        }
        // Renumbered, it still is under its name.
        let is_listed = scene.listing.mailboxes.get(&row.name).is_some_and(|listed| listed.selectable);
        let may_be_unseen = found.is_none() && !unseen.is_empty() && !messages.is_empty();
        // Taken for gone, or for what has its name, it would be let go of: its files would be sent from where they are, and
        // its messages fetched as new from where those are. With all that is known under its name it is itself.
        if may_be_unseen
            && (!is_listed
                || self.holds_more_under_its_name(search, row, &messages, messages.len() - 1).await? != Some(true))
        {
            let scope = &self.policy.scope;
            self.blind.extend(unseen.iter().map(|name| scope.local_name(name, |name| role_of(scene, name))));
            self.blind.insert(row.local.clone());
        }
        Ok(match found {
            Some(name) => {
                search.there.insert(name.clone(), row.name.clone());
                self.whole_there.extend(is_certain.then_some(row.id));
                Whereabouts::Moved(name)
            }
            None if is_listed && !displaced => Whereabouts::Stayed,
            None => Whereabouts::Gone,
        })
    }

    /// Finds a folder by its directory and files or, if `by_files`, by its files alone: so does a folder look from which all
    /// was moved to another.
    fn find_here(
        &mut self,
        search: &mut Search<'_>,
        row: &MailboxRow,
        displaced: bool,
        by_files: bool,
    ) -> Result<Whereabouts, Failure> {
        let scene = search.scene;
        if !displaced && !is_displaced_here(row, &scene.maildirs) {
            return Ok(Whereabouts::Stayed);
        }
        let messages = self.account.journal.messages(row.id)?;
        let is_listed = scene.maildirs.maildirs.iter().any(|maildir| maildir.name == row.local);
        if !displaced && is_listed && self.files_alike(row, &messages, &row.local)?.0.is_some() {
            return Ok(Whereabouts::Stayed);
        }
        let mut best: Option<(bool, usize, MailboxName)> = None;
        let mut unseen = Vec::new();
        for maildir in candidates_here(row, search.rows, &scene.maildirs) {
            if search.here.contains(&maildir.name) {
                continue;
            }
            let same_directory = row.directory == Some(maildir.directory);
            let (likeness, seen) = self.files_alike(row, &messages, &maildir.name)?;
            // Files moved into another folder that was renamed, too, make none of it.
            let anothers = match likeness {
                Some(_) if !same_directory && by_files => self.is_anothers(search.rows, row, maildir)?,
                _ => Some(false),
            };
            match (likeness, anothers) {
                (Some(likeness), Some(false)) if same_directory || by_files => {
                    let this = (same_directory, likeness, maildir.name.clone());
                    best = best.filter(|other| (other.0, other.1) >= (this.0, this.1)).or(Some(this));
                }
                (Some(_), None) => unseen.push(maildir.name.clone()),
                (None, _) if !seen && (same_directory || row.directory.is_none()) => unseen.push(maildir.name.clone()),
                _ => {}
            }
        }
        // Taken for gone, it would be removed on the server once its files were sent from where they are as new ones.
        if best.is_none() && !unseen.is_empty() {
            self.blind.insert(row.local.clone());
            self.blind.extend(unseen);
        }
        Ok(match best {
            Some((_, _, name)) => {
                search.here.insert(name.clone());
                Whereabouts::Moved(name)
            }
            None if is_listed && !displaced => Whereabouts::Stayed,
            None => Whereabouts::Gone,
        })
    }

    /// Returns true if a maildir is the very directory of another row and holds its files, `None` if that can't be told.
    fn is_anothers(
        &mut self,
        rows: &[MailboxRow],
        row: &MailboxRow,
        maildir: &LocalMaildir,
    ) -> Result<Option<bool>, Failure> {
        let is_owner = |other: &&MailboxRow| other.id != row.id && other.directory == Some(maildir.directory);
        for owner in rows.iter().filter(is_owner).filter(|owner| is_known(owner)) {
            let messages = self.account.journal.messages(owner.id)?;
            match self.files_alike(owner, &messages, &maildir.name)? {
                (Some(_), _) => return Ok(Some(true)),
                (None, false) => return Ok(None),
                (None, true) => {}
            }
        }
        Ok(Some(false))
    }

    /// Returns how much speaks for a maildir to be that of a row, if it is enough, and whether what was not seen in it is
    /// known not to be there.
    pub(in crate::cycle) fn files_alike(
        &mut self,
        row: &MailboxRow,
        messages: &[MessageRow],
        local: &MailboxName,
    ) -> Result<(Option<usize>, bool), Failure> {
        match self.account.local.observe(local, &row.letters) {
            Ok(seen) => Ok((resemblance(row, messages, &seen), seen.quiet)),
            Err(error) if error.kind == LocalErrorKind::Item => Ok((None, false)),
            Err(error) => Err(error.into()),
        }
    }
}

/// Returns true if the server has nothing in a mailbox that is not known: what is would go along with a rename.
fn is_known_whole(scene: &Scene, row: &MailboxRow, there: &Whereabouts) -> bool {
    let name = match there {
        Whereabouts::Stayed => &row.name,
        Whereabouts::Moved(name) => name,
        Whereabouts::Gone => return true,
    };
    let status = scene.listing.mailboxes.get(name).and_then(|listed| listed.status);
    let known = row.watermark.map(|mark| (mark.uid_validity, mark.uid_next));
    known.is_some() && known == status.map(|status| (status.uid_validity, status.uid_next))
}

/// Returns the server's name that a folder will have.
fn new_name(rename: &Rename) -> &MailboxName {
    match &rename.way {
        Way::There(name) => name,
        Way::Here(_) | Way::Neither => &rename.name,
    }
}

/// Returns true if the server would take along a folder that keeps its name in the Maildir: nobody renamed that one, and
/// once it has another name there it looks as if others had.
fn takes_along(scene: &Scene, rows: &[MailboxRow], renames: &[Rename], rename: &Rename) -> bool {
    let is_there = |row: &MailboxRow| scene.listing.mailboxes.get(&row.name).is_some_and(|listed| listed.selectable);
    let is_here = |row: &MailboxRow| scene.maildirs.maildirs.iter().any(|maildir| maildir.name == row.local);
    let stays = |row: &MailboxRow| renames.iter().all(|other| other.mailbox != row.id);
    let mut below = rows.iter().filter(|row| row.name.is_below(&rename.name));
    matches!(rename.way, Way::There(_)) && below.any(|row| is_there(row) && is_here(row) && stays(row))
}

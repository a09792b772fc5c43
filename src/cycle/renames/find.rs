//! Finds the folders that have other names than they had.

use std::collections::{BTreeMap, BTreeSet};

use crate::apply::is_fatal;
use crate::cycle::gone::Presence;
use crate::cycle::{Run, Scene, role_of};
use crate::model::{MailboxName, MailboxRow, MessageRow, Role, Uid, UidSet};
use crate::reconcile::renames::{
    self, Candidate, Likeness, Rename, Way, Whereabouts, candidates_here, candidates_there, is_displaced_here,
    is_displaced_there, is_known, is_swap, likeness, resemblance,
};
use crate::reconcile::snapshot::{RemoteMessages, RemoteRequest, RemoteSnapshot};
use crate::store::{Failure, Journal, LocalErrorKind, LocalStore, RemoteStore};

/// How many messages' headers tell a mailbox from another that looks like it.
const SAMPLE: usize = 8;

/// A search for folders that have other names.
struct Search<'a> {
    scene: &'a Scene,
    rows: &'a [MailboxRow],
    /// The server's names under which one was found, each with its old one,
    there: BTreeMap<MailboxName, MailboxName>,
    /// and the Maildir's.
    here: BTreeSet<MailboxName>,
}

impl Search<'_> {
    /// Returns true if one above, below or beside it was found under a name that asks for this one.
    fn goes_along(&self, from: &MailboxName, to: &MailboxName) -> bool {
        let carries = |from: &MailboxName, to: &MailboxName, old: &MailboxName, new: &MailboxName| {
            old.rebased(from, to).as_ref() == Some(new)
        };
        self.there.iter().any(|(new, old)| {
            let above = old.parent().zip(new.parent()).filter(|(from, to)| carries(from, to, old, new));
            carries(old, new, from, to)
                || carries(from, to, old, new)
                || above.is_some_and(|(old, new)| carries(&old, &new, from, to))
        })
    }
}

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Finds the folders that have other names, or should have.
    pub(super) async fn find_renames(&mut self, scene: &Scene) -> Result<Vec<Rename>, Failure> {
        let rows = self.account.journal.mailboxes()?;
        let mut search = Search { scene, rows: &rows, there: BTreeMap::new(), here: BTreeSet::new() };
        let known = rows.iter().filter(|row| is_known(row) && !row.name.is_inbox());
        let (mut doubtful, others): (Vec<_>, Vec<_>) = known.partition(|row| self.may_be_renamed(scene, row));
        // What happened to a folder that never held anything, those above and below it tell.
        doubtful.sort_by_key(|row| row.with_uid == 0);
        let mut found = Vec::new();
        for row in doubtful {
            let mut there = self.find_there(&mut search, row, false).await?;
            let here = self.find_here(&mut search, row, false)?;
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
                here = self.find_here(&mut search, row, true)?;
            }
            renames.extend(self.decide(scene, row, &there, &here));
        }
        self.leave_conflicts(&rows, renames)
    }

    /// What lost its names on both sides while others were renamed was not searched for: its files tell that it is
    /// elsewhere. Of what has gone from both sides nothing is kept.
    pub(super) fn seek_lost(&mut self, scene: &Scene) -> Result<(), Failure> {
        let rows = self.account.journal.mailboxes()?;
        let mut search = Search { scene, rows: &rows, there: BTreeMap::new(), here: BTreeSet::new() };
        let is_lost = |row: &&MailboxRow| {
            is_known(row) && is_displaced_there(row, &scene.listing) && is_displaced_here(row, &scene.maildirs)
        };
        for row in rows.iter().filter(is_lost) {
            if matches!(self.find_here(&mut search, row, false)?, Whereabouts::Moved(_)) {
                self.elsewhere.insert(row.id);
            }
        }
        Ok(())
    }

    fn decide(&mut self, scene: &Scene, row: &MailboxRow, there: &Whereabouts, here: &Whereabouts) -> Option<Rename> {
        // Whatever becomes of the folder, what is elsewhere is not lost. Gone from the Maildir, it is.
        let moved = |place: &Whereabouts| matches!(place, Whereabouts::Moved(_));
        if moved(here) || (moved(there) && *here != Whereabouts::Gone) {
            self.elsewhere.insert(row.id);
            self.elsewhere_there.extend(moved(there).then_some(row.id));
        }
        let scope = &self.policy.scope;
        let role = |name: &MailboxName| role_of(scene, name);
        let local_name = |name: &MailboxName| scope.local_name(name, role);
        let server_name = |local: &MailboxName| {
            let name = scope.server_name(local, role, |role| holder(scene, role))?;
            scope.takes_part(&name, role(&name), true).then_some(name)
        };
        let found = renames::decide(row, there, here, local_name, server_name);
        found.filter(|rename| self.is_asked_for(row, rename))
    }

    /// Leaves out what would take the name of a folder that stays and that the baseline knows mail of.
    fn leave_conflicts(&mut self, rows: &[MailboxRow], mut renames: Vec<Rename>) -> Result<Vec<Rename>, Failure> {
        loop {
            let stays = |row: &&MailboxRow| renames.iter().all(|rename| rename.mailbox != row.id);
            let mut held = BTreeSet::new();
            for row in rows.iter().filter(stays).filter(|row| renames.iter().any(|one| *new_name(one) == row.name)) {
                let messages = self.account.journal.messages(row.id)?;
                held.extend(messages.iter().any(|message| message.unique.is_some()).then(|| row.name.clone()));
            }
            if held.is_empty() {
                return Ok(renames);
            }
            renames.retain(|rename| !held.contains(new_name(rename)));
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
        let mut search = Search { scene, rows: &rows, there: BTreeMap::new(), here: BTreeSet::new() };
        Ok(matches!(self.find_there(&mut search, row, true).await?, Whereabouts::Moved(_)))
    }

    /// LIST may leave a mailbox out: it has lost its name only if that can't be opened because nothing has it.
    async fn is_left_out(&mut self, scene: &Scene, row: &MailboxRow) -> Result<bool, Failure> {
        let is_listed = scene.listing.mailboxes.get(&row.name).is_some_and(|listed| listed.selectable);
        Ok(!is_listed && !matches!(self.look_for(scene, row).await?, Presence::Gone))
    }

    /// Returns true if a mailbox that LIST leaves out has its name all the same. What can be opened under it may be another
    /// that got the name since: only what it holds tells.
    async fn keeps_its_name(
        &mut self,
        search: &Search<'_>,
        row: &MailboxRow,
        messages: &[MessageRow],
    ) -> Result<bool, Failure> {
        let scene = search.scene;
        if scene.listing.mailboxes.get(&row.name).is_some_and(|listed| listed.selectable) {
            return Ok(false);
        }
        match self.look_for(scene, row).await? {
            Presence::Gone => Ok(false),
            Presence::Refused(_) => Ok(true),
            Presence::Unlisted => {
                let own = Candidate { name: row.name.clone(), owned: false };
                self.is_it(search, row, messages, &own, true).await
            }
        }
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
        let messages = self.account.journal.messages(row.id)?;
        let (is_certain, mut found) = (certain.is_some(), certain);
        // Where several look alike as far as the listing tells, headers are not enough.
        let ambiguous = possible.len() > 1;
        for candidate in possible {
            if found.is_none()
                && !search.there.contains_key(&candidate.name)
                && self.is_it(search, row, &messages, &candidate, ambiguous).await?
            {
                found = Some(candidate.name);
            }
        }
        // Under its own name it is itself, whatever looks like it.
        if found.is_some() && !is_certain && self.keeps_its_name(search, row, &messages).await? {
            return Ok(Whereabouts::Stayed);
        }
        // Renumbered, it still is under its name.
        let is_listed = scene.listing.mailboxes.get(&row.name).is_some_and(|listed| listed.selectable);
        Ok(match found {
            Some(name) => {
                search.there.insert(name.clone(), row.name.clone());
                Whereabouts::Moved(name)
            }
            None if is_listed && !displaced => Whereabouts::Stayed,
            None => Whereabouts::Gone,
        })
    }

    /// Looks whether a mailbox is the one that a row speaks of.
    async fn is_it(
        &mut self,
        search: &Search<'_>,
        row: &MailboxRow,
        messages: &[MessageRow],
        candidate: &Candidate,
        ambiguous: bool,
    ) -> Result<bool, Failure> {
        let Candidate { name, owned } = candidate;
        let request = RemoteRequest { mailbox: name.clone(), since: None, known: UidSet::new() };
        match self.account.remote.observe(&[request]).await?.pop().map(|observed| observed.outcome) {
            Some(Ok(seen)) => {
                let whole = matches!(seen.messages, RemoteMessages::Full(_));
                let comparable = whole && Some(seen.uid_validity()) == row.uid_validity;
                match if comparable { likeness(row, messages, &seen) } else { Likeness::None } {
                    Likeness::None => Ok(false),
                    // Under its own name no other has to speak for it.
                    Likeness::Blank => Ok(*name == row.name || search.goes_along(&row.name, name)),
                    // What is left of it, in a name that somebody else has, is too little.
                    Likeness::Remains if *owned => Ok(false),
                    Likeness::Remains => self.hold_the_same(messages, &seen, name, true).await,
                    Likeness::Most => self.hold_the_same(messages, &seen, name, ambiguous || *owned).await,
                }
            }
            Some(Err(error)) if is_fatal(&error) => Err(error.into()),
            Some(Err(_)) | None => Ok(false),
        }
    }

    /// Looks at the headers of some of the messages that are there: in mailboxes made at once and filled alike, numbers,
    /// sizes and dates may agree. Where no header has a Message-ID, or if asked to, at whole messages.
    async fn hold_the_same(
        &mut self,
        messages: &[MessageRow],
        seen: &RemoteSnapshot,
        name: &MailboxName,
        thoroughly: bool,
    ) -> Result<bool, Failure> {
        let there = messages.iter().filter(|message| seen.messages.get(message.uid).is_some());
        let (named, nameless): (Vec<_>, Vec<_>) = there.partition(|message| message.message_id.is_some());
        let whole = thoroughly || named.is_empty();
        let some = sample(if named.is_empty() { &nameless } else { &named });
        if some.is_empty() {
            return Ok(true);
        }
        let uids: UidSet = some.keys().copied().collect();
        match self.account.remote.identify(name, seen.uid_validity(), &uids, whole).await {
            Ok(found) => Ok(some.iter().all(|(uid, message)| {
                found.get(uid).is_some_and(|identity| match whole {
                    true => message.content.is_none_or(|content| identity.content == Some(content)),
                    false => identity.message_id == message.message_id,
                })
            })),
            Err(error) if is_fatal(&error) => Err(error.into()),
            Err(_) => Ok(false),
        }
    }

    fn find_here(
        &mut self,
        search: &mut Search<'_>,
        row: &MailboxRow,
        displaced: bool,
    ) -> Result<Whereabouts, Failure> {
        let scene = search.scene;
        if !displaced && !is_displaced_here(row, &scene.maildirs) {
            return Ok(Whereabouts::Stayed);
        }
        let messages = self.account.journal.messages(row.id)?;
        let is_listed = scene.maildirs.maildirs.iter().any(|maildir| maildir.name == row.local);
        if !displaced && is_listed && self.files_alike(row, &messages, &row.local)?.is_some() {
            return Ok(Whereabouts::Stayed);
        }
        let mut best: Option<(bool, usize, MailboxName)> = None;
        for maildir in candidates_here(row, search.rows, &scene.maildirs) {
            if search.here.contains(&maildir.name) {
                continue;
            }
            let Some(likeness) = self.files_alike(row, &messages, &maildir.name)? else { continue };
            let this = (row.directory == Some(maildir.directory), likeness, maildir.name.clone());
            best = best.filter(|other| (other.0, other.1) >= (this.0, this.1)).or(Some(this));
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

    fn files_alike(
        &mut self,
        row: &MailboxRow,
        messages: &[MessageRow],
        local: &MailboxName,
    ) -> Result<Option<usize>, Failure> {
        match self.account.local.observe(local, &row.letters) {
            Ok(seen) => Ok(resemblance(row, messages, &seen)),
            Err(error) if error.kind == LocalErrorKind::Item => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Returns a few of these messages, from all parts of a mailbox.
fn sample<'r>(messages: &[&'r MessageRow]) -> BTreeMap<Uid, &'r MessageRow> {
    let step = messages.len().div_ceil(SAMPLE).max(1);
    messages.iter().rev().step_by(step).map(|message| (message.uid, *message)).collect()
}

/// Returns the server's name that a folder will have.
fn new_name(rename: &Rename) -> &MailboxName {
    match &rename.way {
        Way::There(name) => name,
        Way::Here(_) | Way::Neither => &rename.name,
    }
}

fn holder(scene: &Scene, role: Role) -> Option<MailboxName> {
    let holders = scene.listing.mailboxes.iter().find(|(_, listed)| listed.role == Some(role));
    holders.map(|(name, _)| name.clone())
}

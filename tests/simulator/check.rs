//! The promises: in step, nothing lost, nothing doubled, flags and dates kept.

use std::collections::{BTreeMap, BTreeSet};

use mailtide::model::{Flag, FlagSet, MailboxName, PermanentFlags, Role, Side, Timestamp};
use mailtide::reconcile::policy::Delete;

use super::file::{File, flags_of};
use super::ledger::{Outdated, Story, Touch, words};
use super::mail::id_of;
use super::world::World;

/// A message as users see it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seen {
    pub(super) id: u32,
    pub(super) flags: FlagSet,
    pub(super) date: Timestamp,
}

/// One side as users see it: each folder's messages in order.
pub(super) type View = BTreeMap<MailboxName, Vec<Seen>>;

fn sorted(mut messages: Vec<Seen>) -> Vec<Seen> {
    messages.sort();
    messages
}

pub(super) fn remote_view(world: &World) -> View {
    let mailboxes = world.server.mailboxes.iter().filter(|(_, mailbox)| mailbox.selectable);
    let seen = |message: &super::server::Message| Seen {
        id: id_of(&message.bytes),
        flags: message.flags.clone(),
        date: message.date,
    };
    mailboxes.map(|(name, mailbox)| (name.clone(), sorted(mailbox.messages.values().map(seen).collect()))).collect()
}

pub(super) fn local_view(world: &World) -> View {
    let messages = |dir: &super::maildir::Folder| {
        let seen = |file: &File| Seen {
            id: id_of(&file.bytes),
            flags: file.place.as_ref().map(|place| flags_of(&place.info, &dir.letters)).unwrap_or_default(),
            date: file.mtime,
        };
        sorted(dir.messages().map(seen).collect())
    };
    world.maildir.folders.iter().map(|(name, dir)| (name.clone(), messages(dir))).collect()
}

struct Check<'a> {
    world: &'a World,
    local: View,
    remote: View,
    trash: MailboxName,
    broken: Vec<String>,
}

/// Returns what is not as it should be, once nothing is left to do.
pub(super) fn broken(world: &World) -> Vec<String> {
    let by_role = world.server.mailboxes.iter().find(|(_, mailbox)| mailbox.role == Some(Role::Trash));
    let mut check = Check {
        world,
        local: local_view(world),
        remote: remote_view(world),
        trash: by_role.map_or_else(|| super::users::folder("Trash"), |(name, _)| name.clone()),
        broken: world.complaints.clone(),
    };
    check.folders();
    for (id, story) in &world.ledger.stories {
        check.story(*id, story);
    }
    check.broken
}

fn said(messages: &[(u32, FlagSet)]) -> String {
    messages.iter().map(|(id, flags)| format!("{id} ({flags})")).collect::<Vec<_>>().join(", ")
}

fn count(view: &View, folder: &MailboxName, id: u32) -> usize {
    view.get(folder).map_or(0, |messages| messages.iter().filter(|seen| seen.id == id).count())
}

impl Check<'_> {
    fn fail(&mut self, what: String) {
        self.broken.push(what);
    }

    /// Both sides have the same folders, and in each the same messages with the same flags.
    fn folders(&mut self) {
        let (local, remote) = (self.local.clone(), self.remote.clone());
        if !local.keys().eq(remote.keys()) {
            self.fail(format!("folders differ: local {:?}, remote {:?}", local.keys(), remote.keys()));
        }
        for (name, here) in &local {
            let there = remote.get(name).cloned().unwrap_or_default();
            self.folder(name, here, &there);
        }
    }

    /// Takes each local message off the remote ones: none must be missing there, and only what may stay remains.
    fn folder(&mut self, name: &MailboxName, local: &[Seen], remote: &[Seen]) {
        let permanent = self.world.server.mailboxes.get(name).map(|mailbox| mailbox.permanent.clone());
        let permanent = permanent.unwrap_or_else(PermanentFlags::all);
        let shared = |seen: &Seen| {
            let mut flags = permanent.storable(&seen.flags).difference(&self.world.mishaps.drops);
            if *name == self.trash || self.world.server.abilities.deleted_is_final {
                flags.set(Flag::Deleted, false);
            }
            (seen.id, flags)
        };
        let mut left: Vec<_> = remote.iter().map(shared).collect();
        let mut failures = Vec::new();
        for one in local.iter().map(shared) {
            match left.iter().position(|other| *other == one) {
                Some(at) => drop(left.remove(at)),
                None => failures.push(format!("{name}: local {} has no equal there: {}", said(&[one]), said(&left))),
            }
        }
        let stays = |id: &u32| {
            let story = self.world.ledger.stories.get(id);
            story.is_some_and(|story| self.may_stay(story) || self.may_look_removed(story))
        };
        left.retain(|(id, _)| !stays(id));
        if !left.is_empty() {
            failures.push(format!("{name}: only on the server: {}", said(&left)));
        }
        self.broken.extend(failures);
    }

    /// Returns true if the message may stay on the server though it was removed locally.
    fn may_stay(&self, story: &Story) -> bool {
        let removed = story.deletions.iter().any(|deletion| deletion.side == Side::Local);
        (removed || story.moves > 0 || self.world.ledger.renamed || story.outdated.is_some())
            && (self.keeps() || !self.world.server.abilities.uid_plus)
    }

    /// Others expunged it, a run was struck after it had removed the file and before it recorded that, and then the server
    /// was put back: a message there without its file is what a local removal leaves.
    fn may_look_removed(&self, story: &Story) -> bool {
        let expunged = story.deletions.iter().any(|deletion| deletion.side == Side::Remote);
        self.world.struck
            && story.restored.is_some()
            && expunged
            && (self.keeps() || !self.world.server.abilities.uid_plus)
    }

    /// Returns true if removed messages may have come back because both sides were united.
    fn may_return(&self) -> bool {
        let ledger = &self.world.ledger;
        ledger.recreated || ledger.relocated
    }

    fn keeps(&self) -> bool {
        matches!(self.world.policy.delete, Delete::Flag | Delete::Never)
    }

    fn story(&mut self, id: u32, story: &Story) {
        let everywhere = |view: &View| view.keys().map(|name| count(view, name, id)).sum::<usize>();
        let (local, remote) = (everywhere(&self.local), everywhere(&self.remote));
        let here = (count(&self.local, &story.home, id), count(&self.remote, &story.home, id));
        let outdated = if story.outdated.is_some() { story.most() } else { 0 };
        // What can't be followed as a rename is followed message by message: each of one content may leave one behind.
        let renamed = if self.world.ledger.renamed { story.most() } else { 0 };
        let tombs = if self.may_stay(story) { story.deletions.len() + outdated + renamed } else { 0 };
        let undone = if self.may_return() || story.restored.is_some() { story.deletions.len() + outdated } else { 0 };
        // Put on both sides, and its folder renamed before they were united; or filed in Trash, each of them, from where
        // nothing can be removed, and removed there after all once that is possible.
        let apart = if self.world.ledger.renamed { story.local.initial.min(story.remote.initial) } else { 0 };
        let refused = if self.world.habits.revokes && self.world.ledger.renamed { story.most() } else { 0 };
        let most = story.most() + 2 * story.moves + story.astray + story.undeleted + undone + apart + refused;
        if local > most || remote > most + tombs {
            self.fail(format!("{id} doubled: local {local}, remote {remote}, put there {} times", story.most()));
        }
        if let Some(must_be) = story.restored {
            // One moved there since is gone with the mailbox as it was.
            if must_be
                && !story.is_deleted()
                && story.outdated.is_none()
                && story.moves == 0
                && (local == 0 || remote == 0)
            {
                self.fail(format!("{id} lost when its mailbox was restored: local {local}, remote {remote}"));
            }
            return;
        }
        if let Some(outdated) = story.outdated {
            return self.outdated(id, story, outdated, here);
        }
        if story.moves > 0 || self.world.ledger.renamed {
            if !story.is_deleted() && (local == 0 || remote == 0) {
                self.fail(format!("{id} moved and lost: local {local}, remote {remote}"));
            }
            return;
        }
        if !story.is_deleted() {
            let fits = |n: usize| (story.least()..=story.most()).contains(&n);
            if !fits(here.0) || !fits(here.1) {
                self.fail(format!("{id} never deleted, but in {}: local {}, remote {}", story.home, here.0, here.1));
            }
        }
        if story.is_unique() {
            self.dates(id, story);
            let doubtful = story.deletions.iter().any(|deletion| deletion.doubtful);
            if !self.may_return() && !story.revived && !doubtful {
                self.one(id, story, here);
                if !story.is_deleted() {
                    self.flags(id, story);
                }
            }
        }
    }

    /// A version that another took the place of is gone if the database knew it, and may be anywhere if not.
    fn outdated(&mut self, id: u32, story: &Story, outdated: Outdated, here: (usize, usize)) {
        let alone = story.is_unique()
            && story.moves == 0
            && !self.world.ledger.renamed
            && !self.may_return()
            && !story.revived
            && story.restored.is_none();
        // With `flag` it comes back if somebody clears `\Deleted`.
        let wanted = self.keeps() && story.flags.contains_key(Flag::Deleted.as_imap());
        if outdated.known && alone && !wanted && (here.0 > 0 || (here.1 > 0 && !self.may_stay(story))) {
            self.fail(format!("{id} was saved again, but is still there: {here:?}"));
        }
    }

    /// What removals of a message that there was only one of must have led to.
    fn one(&mut self, id: u32, story: &Story, here: (usize, usize)) {
        if !story.is_deleted() {
            return;
        }
        let by = |side, at_home| story.deletions.iter().any(|one| one.side == side && one.at_home == at_home);
        let (by_local, by_remote) = (by(Side::Local, true), by(Side::Remote, true));
        if by_remote && here != (0, 0) {
            return self.fail(format!("{id} expunged by others, but there: {here:?}"));
        }
        if !by_local || by_remote {
            return;
        }
        let known = story.deletions.iter().any(|one| one.side == Side::Local && one.known);
        let cleared = |touch: &Touch| touch.cleared || touch.expected() != Some(true);
        let cleared = story.flags.get(Flag::Deleted.as_imap()).is_some_and(cleared);
        if here.0 != 0 && !(self.keeps() && cleared) {
            self.fail(format!("{id} deleted locally, but there again: {here:?}"));
        }
        let trashed = count(&self.remote, &self.trash, id);
        let others = by(Side::Local, false) || by(Side::Remote, false);
        match self.world.policy.delete {
            // Of several drafts with one Message-ID, which of them another takes the place of can't be told.
            Delete::Trash if story.version_of.is_some() => {}
            Delete::Trash if story.home != self.trash && !others && known && trashed != 1 => {
                self.fail(format!("{id} deleted locally, {trashed} times in Trash"));
            }
            Delete::Flag if self.world.server.abilities.deleted_is_final => {}
            Delete::Flag | Delete::Never if known && here.1 != 1 => {
                self.fail(format!("{id} deleted locally only, and gone from the server: {here:?}"));
            }
            Delete::Trash | Delete::Expunge | Delete::Flag | Delete::Never => {}
        }
    }

    fn seen(&self, id: u32, home: &MailboxName) -> Vec<(Side, Seen)> {
        let local = self.local.get(home).into_iter().flatten().map(|one| (Side::Local, one.clone()));
        let remote = self.remote.get(home).into_iter().flatten().map(|one| (Side::Remote, one.clone()));
        local.chain(remote).filter(|(_, one)| one.id == id).collect()
    }

    fn dates(&mut self, id: u32, story: &Story) {
        for (side, one) in self.seen(id, &story.home) {
            if one.date != story.date {
                self.fail(format!("{id} {side}: date {:?}, was {:?}", one.date, story.date));
            }
        }
    }

    /// A flag that only one side changed is as that side left it; one that nobody set isn't set.
    fn flags(&mut self, id: u32, story: &Story) {
        let permanent = self.world.server.mailboxes.get(&story.home).map(|mailbox| mailbox.permanent.clone());
        let permanent = permanent.unwrap_or_else(PermanentFlags::all);
        let deleted = Flag::Deleted.as_imap();
        let apart = self.world.server.abilities.deleted_is_final || story.home == self.trash || story.is_deleted();
        for (side, one) in self.seen(id, &story.home) {
            let present: BTreeSet<String> = words(&one.flags).into_iter().collect();
            let drops = words(&self.world.mishaps.drops);
            let shared = |word: &str| !(apart && word == deleted) && is_storable(&permanent, word);
            // What the server drops is only where it was set.
            let followed = |word: &String| !drops.contains(word);
            for word in present.iter().filter(|word| shared(word) && !self.world.ledger.was_set(id, word)) {
                self.fail(format!("{id} {side}: {word} that nobody set"));
            }
            for (word, touch) in story.flags.iter().filter(|(word, _)| shared(word) && followed(word)) {
                // A union is not journaled: a flag cleared while it goes on comes back from the other side.
                let united = !story.is_only_from(Side::Local) && !story.is_only_from(Side::Remote);
                // A keyword taken off together with another change may look like the work of a program that strips
                // letters: it is restored.
                let stripped = !word.starts_with('\\');
                // What befell an older version counts too.
                if story.version_of.is_some() {
                    continue;
                }
                let expected = touch.expected().filter(|on| *on || !(united || stripped));
                if expected.is_some_and(|on| on != present.contains(word)) {
                    self.fail(format!("{id} {side}: {word} should be {:?}", touch.expected()));
                }
            }
        }
    }
}

fn is_storable(permanent: &PermanentFlags, word: &str) -> bool {
    let flags = super::users::FlagEdit::new(word, true).flags;
    permanent.storable(&flags) == flags
}

//! Other clients of the server and mail programs on the Maildir.

use std::collections::BTreeSet;

use mailtide::model::{
    Flag, FlagDelta, FlagSet, Keyword, MailboxName, MessageRow, Role, Side, Timestamp, Uid, UniqueName,
};
use mailtide::reconcile::policy::Delete;

use super::file::{Dir, File, Place, flags_of, info_of};
use super::ledger::words;
use super::mail::{Bytes, Kind, compose, id_of, identity, save_again};
use super::maildir::Save;
use super::rng::Rng;
use super::world::World;

const KEYWORDS: [&str; 4] = ["$Forwarded", "$Junk", "work", "Later"];
const FOLDERS: [&str; 5] = ["INBOX", "Archive", "Lists/rust", "Lists", DRAFTS];
/// What folders are renamed to, besides.
const RENAMED: [&str; 4] = ["Other", "Lists/Other", "archive", "Old/Archive"];
/// Its name alone says what it is for.
const DRAFTS: &str = "Entwürfe";

pub(super) fn folder(name: &str) -> MailboxName {
    MailboxName::parse(name).unwrap()
}

/// What users of an account may do besides the ordinary.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Habits {
    /// Move messages between folders, and give files other names.
    pub(super) moves: bool,
    /// Remove folders with all that is in them.
    pub(super) removes_folders: bool,
    /// Move to another server, or to another layout of the Maildir.
    pub(super) relocates: bool,
    /// Make mailboxes anew, which gives them another UIDVALIDITY.
    pub(super) renumber: bool,
    /// Put a mailbox back as it was some time ago, its numbers included.
    pub(super) restore: bool,
    /// Give and take the right to change mailboxes.
    pub(super) revokes: bool,
    /// Sync some folders only.
    pub(super) partial: bool,
    /// Rename folders with what lies below them.
    pub(super) renames: bool,
    /// Copy messages on the server.
    pub(super) copies: bool,
    /// Use a mail program that drops the letters of keywords when it changes another flag.
    pub(super) strips: bool,
    /// Set the clock back.
    pub(super) turns_back: bool,
}

/// What a user does with one flag.
#[derive(Debug, Clone)]
pub(super) struct FlagEdit {
    pub(super) flags: FlagSet,
    on: bool,
}

impl FlagEdit {
    pub(super) fn new(word: &str, on: bool) -> Self {
        let mut flags = FlagSet::new();
        match Flag::ALL.into_iter().find(|flag| flag.as_imap() == word) {
            Some(flag) => flags.set(flag, true),
            None => flags.keywords.extend(Keyword::new(word)),
        }
        FlagEdit { flags, on }
    }

    fn delta(&self) -> FlagDelta {
        match self.on {
            true => FlagDelta { add: self.flags.clone(), remove: FlagSet::new() },
            false => FlagDelta { add: FlagSet::new(), remove: self.flags.clone() },
        }
    }
}

impl World {
    pub(super) fn remote_put(&mut self, name: &MailboxName, id: u32, kind: Kind, date: Timestamp, flags: &FlagSet) {
        if self.server.open(name).is_err() {
            self.server.create(name, None);
            self.ledger.folder(name);
        }
        let Ok(mailbox) = self.server.open(name) else { return };
        let flags = mailbox.permanent.storable(flags);
        let uid = mailbox.put(compose(id, kind), flags.clone(), date);
        self.ledger.put(Side::Remote, id, name, date, &flags);
        self.ledger.shared.extend((kind == Kind::Shared).then_some(id));
        self.say(|| format!("remote: new {id} in {name} as {uid}, {flags}, dated {}", date.0));
    }

    /// `flags`: `None` delivers it to `new`.
    pub(super) fn local_put(
        &mut self,
        name: &MailboxName,
        id: u32,
        kind: Kind,
        date: Timestamp,
        flags: Option<&FlagSet>,
    ) {
        if let Some(flags) = flags.filter(|flags| !flags.keywords.is_empty()) {
            self.maildir.create(name);
            let keywords = flags.keywords.clone();
            self.maildir.folders.get_mut(name).unwrap().assign(&keywords);
        }
        self.maildir.deliver(name, compose(id, kind), date, flags);
        self.ledger.put(Side::Local, id, name, date, &flags.cloned().unwrap_or_default());
        self.ledger.shared.extend((kind == Kind::Shared).then_some(id));
        self.say(|| format!("local: new {id} in {name}, {flags:?}, dated {}", date.0));
    }

    pub(super) fn remote_flag(&mut self, name: &MailboxName, uid: Uid, edit: &FlagEdit) {
        let Ok(mailbox) = self.server.open(name) else { return };
        let Some(message) = mailbox.messages.get(&uid) else { return };
        let (id, bore_deleted) = (id_of(&message.bytes), message.flags.has(Flag::Deleted));
        if mailbox.permanent.storable(&edit.flags) != edit.flags {
            return;
        }
        if self.server.abilities.deleted_is_final && edit.on && edit.flags.has(Flag::Deleted) {
            return self.remote_delete(name, uid);
        }
        let undeletes = bore_deleted && !edit.on && edit.flags.has(Flag::Deleted);
        if undeletes && matches!(self.policy.delete, Delete::Trash | Delete::Expunge) {
            self.ledger.undelete(id);
        }
        self.server.store(name, uid, &edit.delta());
        words(&edit.flags).into_iter().for_each(|word| self.ledger.flag(Side::Remote, id, word, edit.on));
        self.say(|| format!("remote: {name} {uid} ({id}) {} {}", edit.flags, edit.on));
    }

    pub(super) fn local_flag(&mut self, name: &MailboxName, unique: &UniqueName, edit: &FlagEdit) {
        let Some(id) = self.local_id(name, unique) else { return };
        let Some(dir) = self.maildir.folders.get_mut(name) else { return };
        dir.assign(&edit.flags.keywords);
        let letters = dir.letters.clone();
        if edit.flags.keywords.iter().any(|word| !word.is_forwarded() && letters.letter(word).is_none()) {
            return;
        }
        let rename = |place: &Place| {
            let flags = edit.delta().apply(&flags_of(&place.info, &letters));
            let info = info_of(&flags, &letters, &place.info);
            Some(Place { dir: Dir::Cur, unique: place.unique.clone(), info })
        };
        self.maildir.user(name, unique, rename);
        words(&edit.flags).into_iter().for_each(|word| self.ledger.flag(Side::Local, id, word, edit.on));
        self.say(|| format!("local: {name}/{unique} ({id}) {} {}", edit.flags, edit.on));
    }

    /// Changes a flag as a program does that drops the letters that it does not know. Where file and database agreed on
    /// all flags before, that tells it from somebody who takes a keyword off.
    pub(super) fn local_strip(&mut self, name: &MailboxName, unique: &UniqueName, edit: &FlagEdit) {
        let Some(before) = self.local_flags(name, unique) else { return };
        self.local_flag(name, unique, edit);
        let Some((id, after)) = self.local_id(name, unique).zip(self.local_flags(name, unique)) else { return };
        let letters = self.maildir.folders[name].letters.clone();
        let lettered = |word: &&Keyword| letters.letter(word).is_some();
        let dropped = FlagSet::from_parts(0, after.keywords.iter().filter(lettered).cloned());
        let info = info_of(&after.difference(&dropped), &letters, "");
        let rename = |place: &Place| Some(Place { info: info.clone(), ..place.clone() });
        self.maildir.user(name, unique, rename);
        let is_plain = before != after && self.book.flags_of(name, unique).as_ref() == Some(&before);
        for word in words(&dropped) {
            match is_plain {
                true => self.ledger.strip(id, [word.clone()]),
                false => self.ledger.flag(Side::Local, id, word.clone(), false),
            }
        }
        self.say(|| format!("local: {name}/{unique} ({id}) stripped of {dropped}, plainly {is_plain}"));
    }

    pub(super) fn remote_delete(&mut self, name: &MailboxName, uid: Uid) {
        let Ok(mailbox) = self.server.open(name) else { return };
        let Some(id) = mailbox.messages.get(&uid).map(|message| id_of(&message.bytes)) else { return };
        mailbox.expunge(uid);
        let known = self.book.knows_uid(name, uid);
        self.ledger.delete(Side::Remote, id, name, known);
        if !self.book.knows_numbers(name, self.server.uid_validity(name)) {
            self.ledger.renumber(name, &[]);
        }
        self.note_double(name);
        self.say(|| format!("remote: {name} {uid} ({id}) expunged, known {known}"));
    }

    pub(super) fn local_delete(&mut self, name: &MailboxName, unique: &UniqueName) {
        let Some(id) = self.local_id(name, unique) else { return };
        let known = self.is_recorded(name, unique);
        self.maildir.user(name, unique, |_| None);
        self.ledger.delete(Side::Local, id, name, known);
        if !self.book.knows_numbers(name, self.server.uid_validity(name)) {
            self.ledger.renumber(name, &[]);
        }
        self.say(|| format!("local: {name}/{unique} ({id}) deleted, known {known}"));
    }

    pub(super) fn remote_move(&mut self, name: &MailboxName, uid: Uid, target: &MailboxName) {
        let Ok(mailbox) = self.server.open(name) else { return };
        let Some(message) = mailbox.messages.get(&uid).cloned() else { return };
        mailbox.expunge(uid);
        let Ok(into) = self.server.open(target) else { return };
        let id = id_of(&message.bytes);
        into.take_over(message);
        self.ledger.moved(id, target);
        self.note_double(name);
        self.say(|| format!("remote: {name} {uid} ({id}) moved to {target}"));
    }

    /// Copies a message on the server, as another label does.
    pub(super) fn remote_copy(&mut self, name: &MailboxName, uid: Uid, target: &MailboxName) {
        let Ok(mailbox) = self.server.open(name) else { return };
        let Some(message) = mailbox.messages.get(&uid).cloned() else { return };
        let (id, flags) = (id_of(&message.bytes), message.flags.clone());
        let Ok(into) = self.server.open(target) else { return };
        into.take_over(message);
        let Some(story) = self.ledger.stories.get(&id).cloned() else { return };
        self.ledger.put(Side::Remote, id, &story.home, story.date, &flags);
        // Where which of them ends is open, if others move or remove one of them.
        self.ledger.moved(id, &story.home);
        self.say(|| format!("remote: {name} {uid} ({id}) copied to {target}"));
    }

    /// Moves a file, under its name or a new one.
    pub(super) fn local_move(&mut self, name: &MailboxName, unique: &UniqueName, target: &MailboxName) {
        let Some(id) = self.local_id(name, unique) else { return };
        let renamed = *name == *target || self.rng.chance(300);
        self.maildir.move_file(name, unique, target, renamed);
        self.ledger.moved(id, target);
        self.say(|| format!("local: {name}/{unique} ({id}) moved to {target}, renamed {renamed}"));
    }

    pub(super) fn remote_remove_folder(&mut self, name: &MailboxName) {
        // Nobody can tell it from one renamed: what is in the Maildir only goes along.
        self.ledger.renamed |= self.has_double(name);
        for (folder, uid) in self.uids().into_iter().filter(|(folder, _)| folder == name && !name.is_inbox()) {
            self.remote_delete(&folder, uid);
        }
        if !name.is_inbox() {
            self.server.delete(name);
            self.ledger.deleted_folders.insert(name.clone());
            self.say(|| format!("remote: folder {name} removed"));
        }
    }

    fn has_double(&self, name: &MailboxName) -> bool {
        self.doubles(name) > 0
    }

    /// Gives a mailbox another UIDVALIDITY and its messages other UIDs.
    pub(super) fn remote_renumber(&mut self, name: &MailboxName) {
        self.server.renumber(name);
        let unrecorded = self.unrecorded(name);
        self.ledger.renumber(name, &unrecorded);
        self.note_double(name);
        self.say(|| format!("remote: {name} renumbered"));
    }

    /// Nobody can tell one numbered anew from one renamed, with a new one of its name that some of it was moved to, if
    /// another has its numbers and as much of it as it has itself.
    fn note_double(&mut self, name: &MailboxName) {
        let anew = !self.book.knows_numbers(name, self.server.uid_validity(name));
        let doubles = self.doubles(name);
        self.ledger.renamed |= anew && doubles > 0 && doubles >= self.left_of(name);
    }

    /// Returns how many of the messages that the database knows of a mailbox are in it, under whatever UIDs.
    fn left_of(&self, name: &MailboxName) -> usize {
        let row = self.book.mailboxes.values().find(|row| row.name == *name);
        let Some((row, mailbox)) = row.zip(self.server.mailboxes.get(name)) else { return 0 };
        let contents: BTreeSet<_> =
            mailbox.messages.values().map(|there| identity(&there.bytes, Timestamp(0), true).content).collect();
        let known = self.book.messages.values().filter(|message| message.mailbox == row.id);
        known.filter(|message| contents.contains(&message.content)).count()
    }

    /// Returns how many messages that the database knows of a mailbox another of its UIDVALIDITY has under their UIDs:
    /// they were copied or moved there. A mailbox id would tell.
    fn doubles(&self, name: &MailboxName) -> usize {
        let row = self.book.mailboxes.values().find(|row| row.name == *name);
        let Some(row) = row.filter(|_| !self.server.object_ids) else { return 0 };
        let known = || self.book.messages.values().filter(|message| message.mailbox == row.id);
        let same = |mailbox: &super::server::Mailbox, message: &MessageRow| {
            let there = mailbox.messages.get(&message.uid);
            there.is_some_and(|there| identity(&there.bytes, Timestamp(0), true).content == message.content)
        };
        let others = self.server.mailboxes.iter().filter(|(other, _)| *other != name);
        let alike = others.filter(|(other, _)| self.server.uid_validity(other) == row.uid_validity);
        alike.map(|(_, mailbox)| known().filter(|message| same(mailbox, message)).count()).max().unwrap_or_default()
    }

    pub(super) fn local_remove_folder(&mut self, name: &MailboxName) {
        for (folder, unique) in self.files().into_iter().filter(|(folder, _)| folder == name && !name.is_inbox()) {
            let unsent = self.local_id(&folder, &unique).filter(|_| !self.is_recorded(&folder, &unique));
            unsent.into_iter().for_each(|id| self.ledger.lose_unsent(id));
            self.local_delete(&folder, &unique);
        }
        if !name.is_inbox() {
            self.maildir.folders.remove(name);
            self.say(|| format!("local: folder {name} removed"));
        }
    }

    /// Renames a folder on the server with those below it; where it can't be done nothing happens.
    pub(super) fn remote_rename_folder(&mut self, from: &MailboxName, to: &MailboxName) {
        let inside = |name: &MailboxName| name == from || name.is_below(from);
        // The UIDs of a mailbox that was numbered anew are not those that the database has.
        let numbered = |name: &MailboxName| self.book.knows_numbers(name, self.server.uid_validity(name));
        let is_known = |name: &MailboxName, uid: Uid| self.book.knows_uid(name, uid) && numbered(name);
        let messages = self.uids().into_iter().filter(|(name, uid)| inside(name) && !is_known(name, *uid));
        let unknown: Vec<u32> =
            messages.map(|(name, uid)| id_of(&self.server.mailboxes[&name].messages[&uid].bytes)).collect();
        if self.server.rename(from, to) {
            unknown.into_iter().for_each(|id| self.ledger.moved(id, to));
            self.ledger.rename_folder(from, to);
            self.say(|| format!("remote: folder {from} renamed to {to}"));
        }
    }

    /// Renames a folder in the Maildir with those below it; where it can't be done nothing happens.
    pub(super) fn local_rename_folder(&mut self, from: &MailboxName, to: &MailboxName) {
        let all: Vec<_> = self.maildir.folders.keys().cloned().collect();
        let moves = || all.iter().filter_map(|name| Some((name, name.rebased(from, to)?)));
        if from.is_inbox() || to.is_below(from) || moves().any(|(_, new)| all.contains(&new)) {
            return;
        }
        let inside = |name: &MailboxName| name == from || name.is_below(from);
        let files = self.files().into_iter().filter(|(name, unique)| inside(name) && !self.is_recorded(name, unique));
        let unknown: Vec<u32> = files.filter_map(|(name, unique)| self.local_id(&name, &unique)).collect();
        for (name, new) in moves() {
            self.maildir.rename_folder(name, &new);
        }
        // Without a baseline nobody can tell that it is not a new one.
        unknown.into_iter().for_each(|id| self.ledger.moved(id, to));
        self.ledger.rename_folder(from, to);
        self.say(|| format!("local: folder {from} renamed to {to}"));
    }

    /// Saves a message again with another content, which gets a number of its own.
    pub(super) fn local_save(&mut self, name: &MailboxName, unique: &UniqueName, how: Save) -> Option<u32> {
        let old = self.local_bytes(name, unique)?;
        let (flags, id) = (self.local_flags(name, unique)?, self.ledger.fresh_id());
        // A file system tells the time of one save from that of the next.
        let (bytes, date) = (save_again(&old, id), Timestamp(1_650_000_000 + i64::from(id)));
        let known = self.is_recorded(name, unique);
        match how {
            Save::InPlace | Save::RenamedOver => self.maildir.overwrite(name, unique, bytes, date, how),
            Save::NewName => {
                self.maildir.user(name, unique, |_| None);
                self.maildir.deliver(name, bytes, date, Some(&flags));
            }
        }
        self.ledger.save_again(id_of(&old), id, name, date, &flags, known);
        self.ledger.renewed.extend((how == Save::NewName).then_some(id));
        self.say(|| format!("local: {name}/{unique} ({}) saved again as {id}, {how:?}, known {known}", id_of(&old)));
        Some(id)
    }

    /// Returns the messages of a maildir that wait in `tmp` and are journaled: the next run shows and records them,
    /// whatever became of them on the server, unless the account has moved to another.
    fn arriving(&self, folder: &MailboxName) -> Vec<u32> {
        let staged = |file: &&File| file.is_staged();
        let journaled = |file: &&File| file.place.as_ref().is_some_and(|at| self.book.knows_fetched(&at.unique));
        let files = self.maildir.folders.get(folder).into_iter().flat_map(|dir| &dir.files);
        files.filter(staged).filter(journaled).map(|file| id_of(&file.bytes)).collect()
    }

    /// Returns the messages in a maildir that the database does not know.
    fn unrecorded(&self, folder: &MailboxName) -> Vec<u32> {
        let files = self.files().into_iter().filter(|(name, unique)| name == folder && !self.is_recorded(name, unique));
        files.filter_map(|(name, unique)| self.local_id(&name, &unique)).collect()
    }

    /// Returns true if the database knows the file as it is.
    fn is_recorded(&self, name: &MailboxName, unique: &UniqueName) -> bool {
        let content = self.local_bytes(name, unique).and_then(|bytes| identity(&bytes, Timestamp(0), true).content);
        content.is_some() && self.book.knows_content(name, unique, content)
    }

    pub(super) fn local_bytes(&self, name: &MailboxName, unique: &UniqueName) -> Option<Bytes> {
        let is_it = |place: &Place| place.unique == *unique;
        let mut files = self.maildir.folders.get(name)?.messages();
        files.find(|file| file.place.as_ref().is_some_and(is_it)).map(|file| file.bytes.clone())
    }

    fn local_flags(&self, name: &MailboxName, unique: &UniqueName) -> Option<FlagSet> {
        let dir = self.maildir.folders.get(name)?;
        let info = dir.messages().find_map(|file| file.place.clone().filter(|at| at.unique == *unique))?.info;
        Some(flags_of(&info, &dir.letters))
    }

    pub(super) fn local_id(&self, name: &MailboxName, unique: &UniqueName) -> Option<u32> {
        self.local_bytes(name, unique).map(|bytes| id_of(&bytes))
    }

    /// Returns all messages of the server.
    pub(super) fn uids(&self) -> Vec<(MailboxName, Uid)> {
        let mailboxes = self.server.mailboxes.iter();
        mailboxes.flat_map(|(name, mailbox)| mailbox.messages.keys().map(|uid| (name.clone(), *uid))).collect()
    }

    /// Returns all message files.
    pub(super) fn files(&self) -> Vec<(MailboxName, UniqueName)> {
        let all = self.maildir.folders.iter().flat_map(|(name, dir)| dir.messages().map(move |file| (name, file)));
        all.filter_map(|(name, file)| Some((name.clone(), file.place.as_ref()?.unique.clone()))).collect()
    }
}

fn a_flag(world: &mut World) -> FlagEdit {
    let on = world.rng.chance(650);
    let word = match world.rng.below(12) {
        at @ 0..4 => KEYWORDS[at],
        4 => "\\Deleted",
        at => ["\\Seen", "\\Answered", "\\Flagged", "\\Draft"][at % 4],
    };
    FlagEdit::new(word, on)
}

pub(super) fn some_flags(world: &mut World) -> FlagSet {
    let mut flags = FlagSet::new();
    for _ in 0..world.rng.below(3) {
        let edit = a_flag(world);
        if !edit.flags.has(Flag::Deleted) {
            flags = flags.union(&edit.flags);
        }
    }
    flags
}

pub(super) fn a_folder(world: &mut World) -> MailboxName {
    let at = world.rng.below(FOLDERS.len() + 2);
    folder(FOLDERS.get(at).unwrap_or(&"INBOX"))
}

/// In Drafts, where the same Message-ID means the same draft, no two messages share one.
pub(super) fn a_kind(world: &mut World, name: &MailboxName) -> Kind {
    let kind = world.rng.pick(&[Kind::Ordinary, Kind::Ordinary, Kind::Anonymous, Kind::Shared]).unwrap();
    if kind == Kind::Shared && *name == folder(DRAFTS) { Kind::Ordinary } else { kind }
}

/// Returns one of few dates, so that different messages often agree in it.
pub(super) fn a_date(world: &mut World) -> Timestamp {
    Timestamp(1_600_000_000 + i64::try_from(world.rng.below(4)).unwrap() * 86_400)
}

/// One edit by somebody, somewhere.
pub(super) fn edit(world: &mut World) {
    world.apart(|world| {
        world.tally.edits += 1;
        any_edit(world);
    });
}

fn any_edit(world: &mut World) {
    let (remote, moves) = (world.rng.chance(500), world.habits.moves && world.rng.chance(150));
    let drafts: Vec<_> = world.files().into_iter().filter(|(name, unique)| is_draft(world, name, unique)).collect();
    if !drafts.is_empty() && world.rng.chance(150) {
        let (name, unique) = world.rng.pick(&drafts).unwrap();
        return save(world, &name, &unique);
    }
    if world.habits.renames && world.rng.chance(80) {
        return rename_folder(world, remote);
    }
    if world.habits.copies && world.rng.chance(100) {
        return some_remote_copy(world);
    }
    match (remote, moves) {
        (true, _) if world.habits.renumber && world.rng.chance(100) => renumber(world),
        (true, _) if world.habits.removes_folders && world.rng.chance(60) => {
            let name = a_folder(world);
            world.remote_remove_folder(&name);
        }
        (false, _) if world.habits.removes_folders && world.rng.chance(60) => {
            let name = a_folder(world);
            world.local_remove_folder(&name);
        }
        (true, true) => some_remote_move(world),
        (false, true) => some_local_move(world),
        (true, false) => remote_edit(world),
        (false, false) => local_edit(world),
    }
}

/// Renames a folder to one of few names, so that names are often taken, exchanged or given again.
fn rename_folder(world: &mut World, remote: bool) {
    let names: Vec<MailboxName> = match remote {
        true => world.server.mailboxes.keys().cloned().collect(),
        false => world.maildir.folders.keys().cloned().collect(),
    };
    let (Some(from), to) = (world.rng.pick(&names), world.rng.below(RENAMED.len() + FOLDERS.len())) else { return };
    let to = folder(RENAMED.iter().chain(&FOLDERS).nth(to).unwrap());
    match remote {
        true => world.remote_rename_folder(&from, &to),
        false => world.local_rename_folder(&from, &to),
    }
}

/// Between two runs only: during one it would be the server's doing. The other server has the same mail under other UIDs, and by chance the same UIDVALIDITY.
pub(super) fn relocate(world: &mut World) {
    world.ledger.relocated = true;
    if world.rng.chance(300) {
        world.policy.circumstances.layout.push('+');
        return world.say(|| "another layout".to_owned());
    }
    world.policy.circumstances.server.push('+');
    world.server.mailboxes.values_mut().for_each(super::server::Mailbox::begin_anew);
    world.say(|| "another server".to_owned());
}

/// Flags that a server may say it stores, and drop without a word.
pub(super) fn some_dropped(rng: &mut Rng) -> FlagSet {
    let one = ["\\Flagged", "\\Seen", "work", "$Junk"].map(|word| FlagEdit::new(word, true).flags);
    rng.pick(&one).unwrap().union(&rng.pick(&one).unwrap())
}

/// Makes a mailbox read-only, or lets it be changed again.
pub(super) fn change_rights(world: &mut World) {
    let name = a_folder(world);
    if !world.mishaps.read_only.remove(&name) {
        world.mishaps.read_only.insert(name.clone());
    }
    world.say(|| format!("remote: the rights in {name} change"));
}

fn renumber(world: &mut World) {
    let name = a_folder(world);
    world.remote_renumber(&name);
}

/// Makes a backup of a mailbox, or puts it back if there is one. Returns true if it did the latter.
pub(super) fn back_up_or_restore(world: &mut World) -> bool {
    let Some((name, backup)) = world.backup.take() else {
        let name = a_folder(world);
        world.backup = world.server.open(&name).ok().cloned().map(|mailbox| (name, mailbox));
        return false;
    };
    let lost = world.server.mailboxes.get(&name).into_iter();
    let ids =
        |mailbox: &super::server::Mailbox| mailbox.messages.values().map(|message| id_of(&message.bytes)).collect();
    let kept: BTreeSet<u32> = ids(&backup);
    let mut touched: BTreeSet<u32> =
        lost.flat_map(|mailbox| -> Vec<u32> { ids(mailbox).into_iter().collect() }).collect();
    touched.extend(&kept);
    for (folder, unique) in world.files() {
        let id = world.local_id(&folder, &unique);
        touched.extend(id.filter(|_| folder == name));
    }
    touched.extend(world.arriving(&name));
    for id in touched {
        let there =
            kept.contains(&id) || world.files().iter().any(|(at, unique)| world.local_id(at, unique) == Some(id));
        if let Some(story) = world.ledger.stories.get_mut(&id) {
            story.restored = Some(there);
        }
    }
    world.server.restore(&name, backup);
    world.say(|| format!("remote: {name} restored from a backup"));
    true
}

fn some_remote_move(world: &mut World) {
    if let Some((name, uid, target)) = message_and_folder(world) {
        world.remote_move(&name, uid, &target);
    }
}

fn some_remote_copy(world: &mut World) {
    if let Some((name, uid, target)) = message_and_folder(world) {
        world.remote_copy(&name, uid, &target);
    }
}

/// Returns a message on the server and a folder there, perhaps its own.
fn message_and_folder(world: &mut World) -> Option<(MailboxName, Uid, MailboxName)> {
    let (uids, targets) = (world.uids(), world.server.list().mailboxes);
    let targets: Vec<_> = targets.into_iter().filter(|(_, listed)| listed.selectable).map(|(name, _)| name).collect();
    let (one, target) = (world.rng.pick(&uids), world.rng.pick(&targets));
    one.zip(target).map(|((name, uid), target)| (name, uid, target))
}

fn some_local_move(world: &mut World) {
    let (files, targets) = (world.files(), world.maildir.folders.keys().cloned().collect::<Vec<_>>());
    if let (Some((name, unique)), Some(target)) = (world.rng.pick(&files), world.rng.pick(&targets)) {
        world.local_move(&name, &unique, &target);
    }
}

fn remote_edit(world: &mut World) {
    let uids = world.uids();
    let one = world.rng.pick(&uids);
    match (world.rng.below(20), one) {
        (0..9, Some((name, uid))) => {
            let edit = a_flag(world);
            world.remote_flag(&name, uid, &edit);
        }
        (9..13, Some((name, uid))) => world.remote_delete(&name, uid),
        (13, Some((name, _))) => purge(world, &name),
        (14, _) => {
            let name = a_folder(world);
            world.server.create(&name, None);
            world.ledger.folder(&name);
            world.say(|| format!("remote: folder {name}"));
        }
        _ => {
            let name = a_folder(world);
            let (kind, date, flags) = (a_kind(world, &name), a_date(world), some_flags(world));
            let id = world.ledger.fresh_id();
            world.remote_put(&name, id, kind, date, &flags);
        }
    }
}

/// EXPUNGE: all that is flagged `\Deleted` goes.
fn purge(world: &mut World, name: &MailboxName) {
    let flagged = world.server.mailboxes.get(name).map(super::server::Mailbox::flagged_deleted).unwrap_or_default();
    flagged.iter().for_each(|uid| world.remote_delete(name, uid));
}

fn local_edit(world: &mut World) {
    let files = world.files();
    let one = world.rng.pick(&files);
    match (world.rng.below(20), one) {
        (0..9, Some((name, unique))) => {
            let edit = a_flag(world);
            match world.habits.strips && edit.flags.keywords.is_empty() {
                true => world.local_strip(&name, &unique, &edit),
                false => world.local_flag(&name, &unique, &edit),
            }
        }
        (9..13, Some((name, unique))) => world.local_delete(&name, &unique),
        (13, Some((name, unique))) => copy(world, &name, &unique),
        (14, _) => {
            let name = a_folder(world);
            world.maildir.create(&name);
            world.say(|| format!("local: folder {name}"));
        }
        _ => {
            let name = a_folder(world);
            let (kind, date) = (a_kind(world, &name), a_date(world));
            let flags = some_flags(world);
            let id = world.ledger.fresh_id();
            world.local_put(&name, id, kind, date, Some(&flags).filter(|flags| !flags.is_empty()));
        }
    }
}

fn is_draft(world: &World, name: &MailboxName, unique: &UniqueName) -> bool {
    let mut files = world.maildir.folders[name].messages().filter_map(|file| file.place.as_ref());
    *name == folder(DRAFTS) || files.any(|place| place.unique == *unique && place.info.contains('D'))
}

/// Saves a draft again, sometimes several times in a row.
fn save(world: &mut World, name: &MailboxName, unique: &UniqueName) {
    let hows = [Save::InPlace, Save::RenamedOver, Save::NewName];
    let in_drafts = *name == folder(DRAFTS);
    for _ in 0..=world.rng.below(3) {
        let how = world.rng.pick(if in_drafts { &hows } else { &hows[..2] }).unwrap();
        world.local_save(name, unique, how);
    }
}

/// A second file of the same content in the same folder, if the first is where it was put.
fn copy(world: &mut World, name: &MailboxName, unique: &UniqueName) {
    let Some(bytes) = world.local_bytes(name, unique) else { return };
    let id = id_of(&bytes);
    let Some(story) = world.ledger.stories.get(&id).filter(|story| story.home == *name && !story.is_deleted()) else {
        return;
    };
    let date = story.date;
    world.maildir.deliver(name, bytes, date, None);
    world.ledger.put(Side::Local, id, name, date, &FlagSet::new());
    world.say(|| format!("local: {name}/{unique} ({id}) copied"));
}

/// Mail on both sides before the first sync: some of it the same.
pub(super) fn initial_mail(world: &mut World) {
    let (on_both, remote, local) = (world.rng.below(4), world.rng.below(4), world.rng.below(4));
    for at in 0..on_both + remote + local {
        world.apart(|world| initial_message(world, at < on_both + remote, at < on_both || at >= on_both + remote));
    }
}

fn initial_message(world: &mut World, remote: bool, local: bool) {
    let name = a_folder(world);
    let (kind, date) = (a_kind(world, &name), a_date(world));
    let id = world.ledger.fresh_id();
    let times = if world.rng.chance(200) { 2 } else { 1 };
    for _ in 0..if remote { times } else { 0 } {
        let flags = some_flags(world);
        world.remote_put(&name, id, kind, date, &flags);
    }
    let times = if world.rng.chance(200) { 2 } else { times };
    for _ in 0..if local { times } else { 0 } {
        let flags = some_flags(world);
        world.local_put(&name, id, kind, date, Some(&flags).filter(|flags| !flags.is_empty()));
    }
}

pub(super) fn special_folders(world: &mut World) {
    if world.rng.chance(700) {
        world.server.special_use = true;
        world.server.create(&folder("Trash"), Some(Role::Trash));
        world.server.special_use = world.rng.chance(500);
    }
    let names: BTreeSet<MailboxName> = (0..world.rng.below(3)).map(|_| a_folder(world)).collect();
    names.iter().for_each(|name| world.server.create(name, None));
}

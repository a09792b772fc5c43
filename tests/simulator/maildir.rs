//! A Maildir on a file system that keeps only what was synced when the power goes.

use std::collections::{BTreeMap, BTreeSet};

use mailtide::model::{
    DirStamp, FileStat, FlagDelta, FlagSet, Keyword, KeywordLetters, MailboxName, Marker, Stamp, Timestamp, UniqueName,
};
use mailtide::reconcile::snapshot::{Entries, LocalEntry, LocalSnapshot};

use mailtide::store::{PutBack, Trashed};

use super::file::{Dir, File, Place, flags_of, info_of, letters_in, relabelled, with_letters};
use super::mail::Bytes;
use super::rng::Rng;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folder {
    pub(super) files: Vec<File>,
    /// `dovecot-keywords`.
    pub(super) letters: KeywordLetters,
    inode: u64,
    tick: i64,
}

/// How an editor saves a message again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Save {
    InPlace,
    RenamedOver,
    NewName,
}

/// A file on its way from one folder to another.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Move {
    inode: u64,
    from: MailboxName,
    to: MailboxName,
    place: Place,
    synced: BTreeSet<MailboxName>,
}

/// A file in the recoverable trash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) name: String,
    pub(super) unique: UniqueName,
    pub(super) file: File,
    /// When it came here.
    pub(super) since: Timestamp,
    synced: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Maildir {
    /// False if there is no root.
    pub(super) exists: bool,
    pub(super) marker: Option<Marker>,
    pub(super) folders: BTreeMap<MailboxName, Folder>,
    pub(super) trash: Vec<Kept>,
    numbers: u64,
    /// Files moved to another folder, and which of both folders was synced since: until both were, a power cut may undo it.
    moves: Vec<Move>,
}

impl Folder {
    pub(super) fn messages(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_message())
    }

    pub(super) fn stamp(&self) -> Stamp {
        let dir = |n| DirStamp { device: 1, inode: self.inode * 2 + n, mtime_ns: self.tick, ctime_ns: self.tick };
        Stamp { cur: dir(0), new: dir(1) }
    }

    fn touch(&mut self) {
        self.tick += 1;
    }

    /// Finds the file observed, which is not another of its name.
    pub(super) fn find_same(&mut self, unique: &UniqueName, entry: &LocalEntry) -> Option<&mut File> {
        self.find(unique, entry).filter(|file| file.inode == entry.inode)
    }

    pub(super) fn find(&mut self, unique: &UniqueName, entry: &LocalEntry) -> Option<&mut File> {
        self.files.iter_mut().find(|file| file.is_as(unique, entry))
    }

    /// Makes the names in `cur` and `new` durable.
    pub(super) fn sync(&mut self) {
        self.files.iter_mut().filter(|file| !file.is_staged()).for_each(File::sync_name);
        self.files.retain(|file| file.place.is_some());
    }

    /// Makes what is in `tmp` durable.
    pub(super) fn sync_staged(&mut self) {
        for file in self.files.iter_mut().filter(|file| file.is_staged()) {
            file.sync();
        }
    }

    /// Makes a staged message visible. Returns false if it is not in `tmp`.
    pub(super) fn publish(&mut self, unique: &UniqueName, flags: &FlagSet, letters: &KeywordLetters) -> bool {
        if self.files.iter().any(|file| file.is_named(unique)) {
            return false;
        }
        let named = |file: &&mut File| file.is_staged() && file.place.as_ref().is_some_and(|at| at.unique == *unique);
        let Some(file) = self.files.iter_mut().find(named) else { return false };
        let info = info_of(flags, letters, "");
        let (dir, info) = if &*info == "2," { (Dir::New, "".into()) } else { (Dir::Cur, info) };
        file.rename(Some(Place { dir, unique: unique.clone(), info }));
        self.touch();
        true
    }

    /// Gives the file a name with other flags.
    pub(super) fn set_flags(
        &mut self,
        unique: &UniqueName,
        entry: &LocalEntry,
        delta: &FlagDelta,
        letters: &KeywordLetters,
    ) -> bool {
        let Some(file) = self.find(unique, entry) else { return false };
        let flags = delta.apply(&flags_of(&entry.info, letters));
        let info = info_of(&flags, letters, &entry.info);
        if info == entry.info || (entry.info.is_empty() && &*info == "2,") {
            return true;
        }
        file.rename(Some(Place { dir: Dir::Cur, unique: unique.clone(), info }));
        self.touch();
        true
    }

    /// Gives a file's name other keyword letters, if it has those expected.
    pub(super) fn relabel(&mut self, unique: &UniqueName, entry: &LocalEntry, before: &str, after: &str) -> bool {
        let Some(file) = self.find(unique, entry) else { return false };
        let info = with_letters(&entry.info, &letters_in(after));
        if letters_in(&entry.info) == letters_in(before) && info != *entry.info {
            file.rename(Some(Place { dir: Dir::Cur, unique: unique.clone(), info: info.into() }));
            self.touch();
        }
        true
    }

    pub(super) fn unlink(&mut self, unique: &UniqueName, entry: &LocalEntry, seen: Option<FileStat>) -> bool {
        let Some(file) = self.find_same(unique, entry) else { return false };
        if seen.is_some_and(|seen| seen != file.stat()) {
            return false;
        }
        file.rename(None);
        self.touch();
        true
    }

    /// Scans the maildir; `torn`: `dovecot-keywords` can't be read, so letters mean what they did when last known.
    pub(super) fn scan(&self, torn: Option<&KeywordLetters>) -> LocalSnapshot {
        let letters = torn.unwrap_or(&self.letters);
        let entry = |file: &File| {
            let place = file.place.as_ref()?;
            let flags = flags_of(&place.info, letters);
            let entry =
                LocalEntry { in_new: place.dir == Dir::New, info: place.info.clone(), inode: file.inode, flags };
            Some((place.unique.clone(), entry))
        };
        let entries: Entries = self.messages().filter_map(entry).collect();
        // Letters that never had a meaning have lost none.
        let explained = entries.values().any(|entry| entry.info.bytes().any(|byte| letters.keyword(byte).is_some()));
        LocalSnapshot {
            entries,
            quiet: true,
            stamp: Some(self.stamp()),
            directory: Some(self.stamp().directory()),
            letters: match torn {
                None => Some(letters.clone()),
                Some(_) => (!explained).then(KeywordLetters::new),
            },
            dovecot: false,
            duplicates: Vec::new(),
        }
    }

    /// Gives keywords letters that no file bears yet.
    pub(super) fn assign(&mut self, keywords: &BTreeSet<Keyword>) {
        for keyword in keywords.iter().filter(|keyword| !keyword.is_forwarded()) {
            if self.letters.letter(keyword).is_none() {
                let borne = self.messages().filter_map(|file| file.place.as_ref()).map(|place| &place.info);
                let borne: Vec<u8> = borne.flat_map(|info| info.bytes()).collect();
                if let Some(letter) = self.letters.free_letter(&borne) {
                    self.letters.assign(letter, keyword.clone());
                }
            }
        }
    }
}

impl Maildir {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Creates a maildir, durably.
    pub(super) fn create(&mut self, name: &MailboxName) {
        self.exists = true;
        let inode = self.number();
        let folder = || Folder { files: Vec::new(), letters: KeywordLetters::new(), inode, tick: 1 };
        self.folders.entry(name.clone()).or_insert_with(folder);
    }

    /// Returns false if a file is in it.
    pub(super) fn remove_empty(&mut self, name: &MailboxName) -> bool {
        let named = |folder: &Folder| folder.files.iter().any(|file| file.place.is_some());
        let empty = self.folders.get(name).is_none_or(|folder| !named(folder));
        if empty {
            self.folders.remove(name);
        }
        empty
    }

    /// Gives a maildir another name, durably; those below it keep theirs. Returns false if it is missing, or the name
    /// taken.
    pub(super) fn rename_folder(&mut self, from: &MailboxName, to: &MailboxName) -> bool {
        if self.folders.contains_key(to) {
            return false;
        }
        let Some(mut folder) = self.folders.remove(from) else { return false };
        folder.touch();
        self.folders.insert(to.clone(), folder);
        true
    }

    fn file(&mut self, dir: Dir, bytes: Bytes, mtime: Timestamp, info: Box<str>) -> File {
        let inode = self.number();
        let unique = UniqueName::new(&format!("{inode}.sim")).unwrap();
        File::new(inode, bytes, mtime, Place { dir, unique, info })
    }

    /// Starts a file in `tmp`; not durable.
    pub(super) fn stage(
        &mut self,
        name: &MailboxName,
        bytes: Bytes,
        mtime: Timestamp,
    ) -> Option<(UniqueName, FileStat)> {
        let file = self.file(Dir::Tmp, bytes, mtime, "".into());
        let found = file.place.as_ref().map(|place| (place.unique.clone(), file.stat()));
        self.folders.get_mut(name)?.files.push(file);
        found
    }

    /// Puts a message there as a mail program does; durable, for what it leaves behind in a crash is its own affair.
    pub(super) fn deliver(&mut self, name: &MailboxName, bytes: Bytes, mtime: Timestamp, flags: Option<&FlagSet>) {
        self.create(name);
        let letters = self.folders.get(name).map(|folder| folder.letters.clone()).unwrap_or_default();
        let (dir, info) = match flags {
            Some(flags) => (Dir::Cur, info_of(flags, &letters, "")),
            None => (Dir::New, "".into()),
        };
        let mut file = self.file(dir, bytes, mtime, info);
        file.sync();
        if let Some(folder) = self.folders.get_mut(name) {
            folder.files.push(file);
            folder.touch();
        }
    }

    /// Links a file into the recoverable trash; not durable.
    pub(super) fn keep(&mut self, unique: &UniqueName, file: File, since: Timestamp) -> String {
        let name = format!("kept-{}", self.number());
        self.trash.push(Kept { name: name.clone(), unique: unique.clone(), file, since, synced: false });
        name
    }

    /// Links a file from the recoverable trash into a folder; not durable.
    pub(super) fn put_back(
        &mut self,
        trashed: &Trashed,
        letters: &KeywordLetters,
        here: &mut BTreeMap<UniqueName, LocalEntry>,
    ) -> Option<PutBack> {
        let folder = self.folders.get_mut(&trashed.mailbox)?;
        let Some(kept) = self.trash.iter().find(|kept| kept.name == trashed.kept_as) else {
            return Some(PutBack::Gone);
        };
        let (old, info) = trashed.file.split_once(':').unwrap_or((&trashed.file, "2,"));
        let info = info.replace('T', "");
        let flags = trashed.keywords.as_ref().map(|keywords| FlagSet::from_parts(0, keywords.iter().cloned()));
        let info: Box<str> = flags.map_or(info.clone(), |flags| relabelled(&info, &flags, letters)).into();
        for unique in [old, &trashed.kept_as].into_iter().filter_map(UniqueName::new) {
            match here.get(&unique) {
                Some(entry) => {
                    let is_same = |there: &mut File| there.bytes == kept.file.bytes;
                    if folder.find(&unique, entry).is_some_and(is_same) {
                        return Some(PutBack::Already(unique));
                    }
                }
                None => {
                    let place = Place { dir: Dir::Cur, unique: unique.clone(), info: info.clone() };
                    folder.files.push(kept.file.linked(place));
                    folder.touch();
                    let (inode, flags) = (kept.file.inode, FlagSet::new());
                    here.insert(unique.clone(), LocalEntry { in_new: false, info, inode, flags });
                    return Some(PutBack::Done(unique));
                }
            }
        }
        None
    }

    pub(super) fn sync_kept(&mut self) {
        self.trash.iter_mut().for_each(|kept| kept.synced = true);
    }

    /// Returns true if a file could be brought back after a power cut.
    pub(super) fn is_kept(&self, unique: &UniqueName) -> bool {
        self.trash.iter().any(|kept| kept.synced && kept.unique == *unique)
    }

    pub(super) fn stamps(&self) -> BTreeMap<MailboxName, Stamp> {
        self.folders.iter().map(|(name, folder)| (name.clone(), folder.stamp())).collect()
    }

    /// Leaves what a power cut leaves.
    pub(super) fn power_cut(&mut self, rng: &mut Rng) {
        for undone in std::mem::take(&mut self.moves).into_iter().rev() {
            if rng.chance(500) {
                self.undo(undone);
            }
        }
        for folder in self.folders.values_mut() {
            for file in &mut folder.files {
                file.power_cut(rng);
            }
            folder.files.retain(|file| file.place.is_some());
            folder.touch();
        }
        self.trash.retain(|kept| kept.synced || rng.chance(500));
        self.sync_kept();
    }

    /// Moves a file to another folder under its name; not durable. Returns false if it is not as it was observed.
    pub(super) fn move_to(
        &mut self,
        name: &MailboxName,
        unique: &UniqueName,
        entry: &LocalEntry,
        seen: FileStat,
        target: &MailboxName,
    ) -> bool {
        let Some(folder) = self.folders.get_mut(name) else { return false };
        let is_it = |file: &File| file.is_as(unique, entry) && file.stat() == seen;
        let Some(at) = folder.files.iter().position(is_it) else { return false };
        let file = folder.files.remove(at);
        folder.touch();
        let (inode, place) = (file.inode, file.place.clone());
        let Some(into) = self.folders.get_mut(target) else { return false };
        into.files.push(file);
        into.touch();
        let (from, to) = (name.clone(), target.clone());
        self.moves.extend(place.map(|place| Move { inode, from, to, place, synced: BTreeSet::new() }));
        true
    }

    /// Makes moves durable of which now both folders are synced.
    pub(super) fn settle_moves(&mut self, name: &MailboxName) {
        for one in &mut self.moves {
            one.synced.insert(name.clone());
        }
        self.moves.retain(|one| !(one.synced.contains(&one.from) && one.synced.contains(&one.to)));
    }

    fn undo(&mut self, undone: Move) {
        let Some(folder) = self.folders.get_mut(&undone.to) else { return };
        let Some(at) = folder.files.iter().position(|file| file.inode == undone.inode) else { return };
        let mut file = folder.files.remove(at);
        file.rename(Some(undone.place));
        file.sync_name();
        if let Some(back) = self.folders.get_mut(&undone.from) {
            back.files.push(file);
        }
    }

    /// What a mail program does to a file of its choice: `change` gives the new name, `None` to remove it. Durable.
    pub(super) fn user(
        &mut self,
        name: &MailboxName,
        unique: &UniqueName,
        change: impl FnOnce(&Place) -> Option<Place>,
    ) {
        let Some(folder) = self.folders.get_mut(name) else { return };
        let Some(file) = folder.files.iter_mut().find(|file| file.is_named(unique)) else { return };
        file.place = file.place.as_ref().and_then(change);
        file.sync_name();
        let inode = file.inode;
        self.moves.retain(|one| one.inode != inode);
        folder.files.retain(|file| !file.is_gone());
        folder.touch();
    }
}

impl Maildir {
    /// Puts another content into a file as an editor does, in place or by another file renamed over the name; durable.
    pub(super) fn overwrite(
        &mut self,
        name: &MailboxName,
        unique: &UniqueName,
        bytes: Bytes,
        mtime: Timestamp,
        how: Save,
    ) {
        let number = self.number();
        let Some(folder) = self.folders.get_mut(name) else { return };
        let Some(file) = folder.files.iter_mut().find(|file| file.is_named(unique)) else { return };
        (file.bytes, file.mtime) = (bytes, mtime);
        file.sync();
        if how == Save::RenamedOver {
            file.inode = number;
            folder.touch();
        }
    }
}

impl Maildir {
    /// Makes every file of a folder a copy of what it was; with another time if the copy did not keep it.
    pub(super) fn copied(&mut self, name: &MailboxName, mtime: Option<Timestamp>) {
        let number = self.number();
        let Some(folder) = self.folders.get_mut(name) else { return };
        for (file, inode) in folder.files.iter_mut().zip(number * 1000..) {
            (file.inode, file.mtime) = (inode, mtime.unwrap_or(file.mtime));
        }
        folder.touch();
    }
}

impl Maildir {
    /// Moves a file to another folder or name as a mail program does that drops the letters it does not know; durable.
    pub(super) fn move_file(&mut self, name: &MailboxName, unique: &UniqueName, target: &MailboxName, renamed: bool) {
        let drop_letters = |place: &Place| Some(Place { info: without_letters(&place.info), ..place.clone() });
        self.user(name, unique, drop_letters);
        self.move_with_letters(name, unique, target, renamed);
    }

    /// Moves a file as a mail program does that keeps what it does not know; durable.
    pub(super) fn move_with_letters(
        &mut self,
        name: &MailboxName,
        unique: &UniqueName,
        target: &MailboxName,
        renamed: bool,
    ) {
        let number = self.number();
        let Some(folder) = self.folders.get_mut(name) else { return };
        let Some(at) = folder.files.iter().position(|file| file.is_named(unique)) else { return };
        let mut file = folder.files.remove(at);
        folder.touch();
        let Some(place) = &mut file.place else { return };
        if renamed {
            place.unique = UniqueName::new(&format!("{number}.renamed")).unwrap_or_else(|| unique.clone());
        }
        file.sync_name();
        self.moves.retain(|one| one.inode != file.inode);
        if let Some(into) = self.folders.get_mut(target) {
            into.files.push(file);
            into.touch();
        }
    }
}

impl Maildir {
    /// Copies a file under a new name as a program does that keeps what it does not know; durable.
    pub(super) fn copy_with_letters(&mut self, name: &MailboxName, unique: &UniqueName, target: &MailboxName) {
        let number = self.number();
        let Some(folder) = self.folders.get(name) else { return };
        let Some(mut file) = folder.files.iter().find(|file| file.is_named(unique)).cloned() else { return };
        file.inode = number;
        if let Some(place) = &mut file.place {
            place.unique = UniqueName::new(&format!("{number}.copy")).unwrap_or_else(|| unique.clone());
        }
        file.sync();
        if let Some(into) = self.folders.get_mut(target) {
            into.files.push(file);
            into.touch();
        }
    }
}

fn without_letters(info: &str) -> Box<str> {
    info.chars().filter(|letter| !letter.is_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::mail::{Kind, compose};
    use super::*;

    fn with_inbox() -> (Maildir, MailboxName) {
        let mut maildir = Maildir::default();
        maildir.create(&MailboxName::inbox());
        (maildir, MailboxName::inbox())
    }

    fn after_power_cut(maildir: &Maildir) -> Vec<Maildir> {
        let cut = |seed| {
            let mut left = maildir.clone();
            left.power_cut(&mut Rng::new(seed));
            left
        };
        (0..32).map(cut).collect()
    }

    fn messages(maildir: &Maildir) -> usize {
        maildir.folders[&MailboxName::inbox()].messages().count()
    }

    #[test]
    fn only_what_was_synced_survives_for_certain() {
        let (mut maildir, inbox) = with_inbox();
        let (unique, _) = maildir.stage(&inbox, compose(1, Kind::Ordinary), Timestamp(1)).unwrap();
        let publish = |maildir: &mut Maildir| {
            let folder = maildir.folders.get_mut(&inbox).unwrap();
            assert!(folder.publish(&unique, &FlagSet::new(), &KeywordLetters::new()));
        };
        let mut rash = maildir.clone();
        publish(&mut rash);
        let left: BTreeSet<usize> = after_power_cut(&rash).iter().map(messages).collect();
        assert_eq!(left, BTreeSet::from([0, 1]), "never synced: lost, or not");

        maildir.folders.get_mut(&inbox).unwrap().sync_staged();
        publish(&mut maildir);
        let in_tmp = |maildir: &Maildir| maildir.folders[&inbox].files.iter().filter(|file| file.is_staged()).count();
        assert!(after_power_cut(&maildir).iter().all(|left| messages(left) + in_tmp(left) == 1));
        assert!(after_power_cut(&maildir).iter().any(|left| messages(left) == 0));
        maildir.folders.get_mut(&inbox).unwrap().sync();
        assert!(after_power_cut(&maildir).iter().all(|left| messages(left) == 1));
    }

    #[test]
    fn a_renamed_maildir_is_the_same_and_goes_alone() {
        let (mut maildir, inbox) = with_inbox();
        let [child, other] = ["INBOX/a", "b"].map(|text| MailboxName::parse(text).unwrap());
        [&child, &other].into_iter().for_each(|name| maildir.create(name));
        let before = maildir.folders[&inbox].stamp();
        assert!(!maildir.rename_folder(&inbox, &other));
        assert!(maildir.folders.remove(&other).is_some() && !maildir.rename_folder(&other, &child));
        assert!(maildir.rename_folder(&inbox, &other));
        let after = maildir.folders[&other].stamp();
        assert!(after != before && after.directory() == before.directory());
        assert!(maildir.folders.contains_key(&child) && !maildir.folders.contains_key(&inbox));
    }

    #[test]
    fn a_removal_that_was_not_synced_may_come_back() {
        let (mut maildir, inbox) = with_inbox();
        maildir.deliver(&inbox, compose(1, Kind::Ordinary), Timestamp(1), None);
        let folder = maildir.folders.get_mut(&inbox).unwrap();
        let (unique, entry) = folder.scan(None).entries.into_iter().next().unwrap();
        assert!(folder.unlink(&unique, &entry, None));
        assert!(!folder.unlink(&unique, &entry, None));
        let left: BTreeSet<usize> = after_power_cut(&maildir).iter().map(messages).collect();
        assert_eq!(left, BTreeSet::from([0, 1]));
        maildir.folders.get_mut(&inbox).unwrap().sync();
        assert!(after_power_cut(&maildir).iter().all(|left| messages(left) == 0));
    }
}

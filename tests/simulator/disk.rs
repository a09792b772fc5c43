//! The way to the Maildir: [`LocalStore`] with faults.

use std::collections::{BTreeMap, BTreeSet};

use mailtide::model::{
    FileStat, FlagDelta, FlagSet, Identity, Keyword, KeywordLetters, MailboxName, Marker, Stamp, Timestamp, UniqueName,
};
use mailtide::reconcile::snapshot::{Entries, LocalEntry, LocalListing, LocalMaildir, LocalSnapshot};
use mailtide::store::{
    BodySource, Edit, FileAt, KeptFile, LocalError, LocalErrorKind, LocalStore, PutBack, Root, Staged, Trashed,
};

use super::file::{Dir, File, Place, flags_of, info_of, relabelled};
use super::mail::{self, Bytes};
use super::maildir::Folder;
use super::world::{Shared, Verdict, World};

fn bad(kind: LocalErrorKind, words: &str) -> LocalError {
    LocalError { kind, cause: words.into() }
}

/// Reads a file that was opened: what becomes of its name makes no difference.
#[derive(Debug)]
struct Open {
    bytes: Bytes,
    at: usize,
}

impl BodySource for Open {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn has_nul(&self) -> bool {
        false
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, LocalError> {
        let some = buffer.len().min(self.bytes.len() - self.at);
        buffer[..some].copy_from_slice(&self.bytes[self.at..self.at + some]);
        self.at += some;
        Ok(some)
    }
}

impl World {
    fn folder(&mut self, mailbox: &MailboxName) -> Result<&mut Folder, LocalError> {
        let found = self.maildir.folders.get_mut(mailbox);
        found.ok_or_else(|| bad(LocalErrorKind::Item, "no such maildir"))
    }
}

impl Shared {
    /// `kind`: how the call can fail, having done nothing.
    fn touch<T>(
        &self,
        kind: LocalErrorKind,
        call: impl FnOnce() -> String,
        deed: impl FnOnce(&mut World) -> Result<T, LocalError>,
    ) -> Result<T, LocalError> {
        let mut world = self.world();
        match world.before(call) {
            Verdict::Go => {}
            Verdict::Dead => return Err(bad(LocalErrorKind::Unusable, "dead")),
            Verdict::Fail => return Err(bad(kind, "can't be done now")),
        }
        let done = deed(&mut world);
        match world.after() {
            Verdict::Go => done,
            Verdict::Dead | Verdict::Fail => Err(bad(LocalErrorKind::Unusable, "I/O error")),
        }
    }

    /// Changes a file, if it is still as it was observed.
    fn edit(
        &self,
        call: impl FnOnce() -> String,
        mailbox: &MailboxName,
        deed: impl FnOnce(&mut Folder) -> bool,
    ) -> Result<Edit<()>, LocalError> {
        self.touch(LocalErrorKind::Item, call, |world| {
            Ok(match world.maildir.folders.get_mut(mailbox).is_some_and(deed) {
                true => Edit::Done(()),
                false => Edit::Changed,
            })
        })
    }

    fn look_at<T>(
        &self,
        call: impl FnOnce() -> String,
        place: (&MailboxName, &UniqueName, &LocalEntry),
        deed: impl FnOnce(&Bytes, FileStat, Timestamp) -> T,
    ) -> Result<Edit<T>, LocalError> {
        let (mailbox, unique, entry) = place;
        self.touch(LocalErrorKind::Item, call, |world| {
            if world.mishaps.closed.as_ref() == Some(unique) {
                return Err(bad(LocalErrorKind::Item, "permission denied"));
            }
            let folder = world.maildir.folders.get_mut(mailbox);
            let found = folder.and_then(|folder| folder.find_same(unique, entry).cloned());
            match found {
                Some(file) if file.bytes.is_empty() => Err(bad(LocalErrorKind::NoMessage, "the file is empty")),
                Some(file) => Ok(Edit::Done(deed(&file.bytes, file.stat(), file.mtime))),
                None => Ok(Edit::Changed),
            }
        })
    }
}

/// Makes of a scan one during which the directories did not stand still.
fn unsettle(world: &mut World, snapshot: &mut LocalSnapshot) {
    snapshot.quiet = false;
    snapshot.stamp = None;
    snapshot.entries.retain(|_, _| !world.rng.chance(300));
}

impl LocalStore for Shared {
    fn root(&mut self) -> Result<Root, LocalError> {
        self.touch(
            LocalErrorKind::Unusable,
            || "root".to_owned(),
            |world| {
                Ok(match (world.maildir.exists, &world.maildir.marker) {
                    (false, _) => Root::Missing,
                    (true, Some(marker)) => Root::Marked(marker.clone()),
                    (true, None) => Root::Unmarked { empty: world.maildir.folders.is_empty() },
                })
            },
        )
    }

    fn mark(&mut self, marker: &Marker) -> Result<(), LocalError> {
        self.touch(
            LocalErrorKind::Full,
            || format!("mark {}", marker.run),
            |world| {
                world.maildir.exists = true;
                world.maildir.marker = Some(marker.clone());
                Ok(())
            },
        )
    }

    fn list(&mut self) -> Result<LocalListing, LocalError> {
        self.touch(
            LocalErrorKind::Unusable,
            || "list maildirs".to_owned(),
            |world| {
                world.seen = world.maildir.stamps();
                let found = world.seen.clone();
                let mut blur = |(name, stamp): (MailboxName, Stamp)| {
                    let directory = stamp.directory();
                    LocalMaildir { name, stamp: Some(stamp).filter(|_| !world.is_blurred()), directory }
                };
                Ok(LocalListing { maildirs: found.into_iter().map(&mut blur).collect(), rejected: Vec::new() })
            },
        )
    }

    fn observe(&mut self, mailbox: &MailboxName, letters: &KeywordLetters) -> Result<LocalSnapshot, LocalError> {
        self.touch(
            LocalErrorKind::Item,
            || format!("scan {mailbox}"),
            |world| {
                if world.mishaps.unreadable.as_ref() == Some(mailbox) {
                    return Err(LocalError { kind: LocalErrorKind::Item, cause: "permission denied".into() });
                }
                let torn = (world.is_blurred() || world.mishaps.letters).then_some(letters);
                let mut snapshot = world.folder(mailbox)?.scan(torn);
                if world.is_blurred() {
                    unsettle(world, &mut snapshot);
                }
                if world.mishaps.restless.as_ref() == Some(mailbox) {
                    (snapshot.quiet, snapshot.stamp) = (false, None);
                    snapshot.entries.clear();
                }
                match snapshot.stamp {
                    Some(stamp) => drop(world.seen.insert(mailbox.clone(), stamp)),
                    None => drop(world.seen.remove(mailbox)),
                }
                Ok(snapshot)
            },
        )
    }

    fn unchanged(
        &mut self,
        mailbox: &MailboxName,
        stamp: &Stamp,
        letters: &KeywordLetters,
    ) -> Result<Option<LocalSnapshot>, LocalError> {
        self.touch(
            LocalErrorKind::Item,
            || format!("look at {mailbox}"),
            |world| {
                let blurred = world.is_blurred() || world.mishaps.letters;
                let snapshot = world.folder(mailbox)?.scan(None);
                let is_it = snapshot.stamp == Some(*stamp) && snapshot.letters.as_ref() == Some(letters) && !blurred;
                Ok(is_it.then_some(LocalSnapshot { entries: Entries::new(), ..snapshot }))
            },
        )
    }

    fn named(
        &mut self,
        mailbox: &MailboxName,
        messages: &[(&UniqueName, &FlagSet)],
        letters: &KeywordLetters,
    ) -> Result<Vec<(UniqueName, LocalEntry)>, LocalError> {
        self.touch(
            LocalErrorKind::Item,
            || format!("look for {} files in {mailbox}", messages.len()),
            |world| {
                let entries = world.folder(mailbox)?.scan(None).entries;
                let is_it = |(unique, flags): &(&UniqueName, &FlagSet)| {
                    let info = info_of(flags, letters, "");
                    let is_usual = |entry: &&LocalEntry| entry.info == info || (entry.in_new && &*info == "2,");
                    entries.get(*unique).filter(is_usual).map(|entry| ((*unique).clone(), entry.clone()))
                };
                Ok(messages.iter().map_while(is_it).collect())
            },
        )
    }

    fn take_back(&mut self, mailbox: &MailboxName, scan: LocalSnapshot) {
        let world = &mut *self.world();
        // What the letters mean now is found out anew.
        fn files(scan: &LocalSnapshot) -> impl Iterator<Item = (&UniqueName, bool, &str, u64)> {
            scan.entries.iter().map(|(unique, entry)| (unique, entry.in_new, &*entry.info, entry.inode))
        }
        let is_true = |now: &LocalSnapshot| now.stamp != scan.stamp || files(now).eq(files(&scan));
        if scan.stamp.is_some() && world.folder(mailbox).is_ok_and(|folder| !is_true(&folder.scan(None))) {
            world.complain(format!("a scan of {mailbox} is given back that is not what it shows"));
        }
    }

    fn stirred(&mut self) -> Result<BTreeSet<MailboxName>, LocalError> {
        self.touch(
            LocalErrorKind::Unusable,
            || "stirred".to_owned(),
            |world| {
                let (now, seen) = (world.maildir.stamps(), &world.seen);
                let is_as_seen = |name: &&MailboxName| now.get(*name) == seen.get(*name);
                Ok(now.keys().chain(seen.keys()).filter(|name| !is_as_seen(name)).cloned().collect())
            },
        )
    }

    fn identify(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        entry: &LocalEntry,
    ) -> Result<Edit<(Identity, FileStat)>, LocalError> {
        self.look_at(
            || format!("identify {mailbox}/{unique}"),
            (mailbox, unique, entry),
            |bytes, stat, date| (mail::identity(bytes, date, true), stat),
        )
    }

    fn read(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        entry: &LocalEntry,
    ) -> Result<Edit<Box<dyn BodySource>>, LocalError> {
        self.look_at(
            || format!("read {mailbox}/{unique}"),
            (mailbox, unique, entry),
            |bytes, _, _| Box::new(Open { bytes: bytes.clone(), at: 0 }) as Box<dyn BodySource>,
        )
    }

    fn revisit(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        entry: &LocalEntry,
        known: Option<FileStat>,
    ) -> Result<Edit<(Option<Identity>, FileStat)>, LocalError> {
        let same = |stat: FileStat| known.is_some_and(|old| (old.size, old.mtime_ns) == (stat.size, stat.mtime_ns));
        self.touch(
            LocalErrorKind::Item,
            || format!("revisit {mailbox}/{unique}"),
            |world| {
                let folder = world.maildir.folders.get_mut(mailbox);
                let Some(file) = folder.and_then(|folder| folder.find_same(unique, entry)) else {
                    return Ok(Edit::Changed);
                };
                let stat = file.stat();
                let is_told = stat.size > 0 && !same(stat);
                Ok(Edit::Done((is_told.then(|| mail::identity(&file.bytes, file.mtime, true)), stat)))
            },
        )
    }

    fn are_two(&mut self, one: FileAt<'_>, other: FileAt<'_>) -> Result<bool, LocalError> {
        self.touch(
            LocalErrorKind::Item,
            || format!("are two {}/{} {}/{}", one.0, one.1, other.0, other.1),
            |world| {
                let mut is_there = |(mailbox, unique, entry): FileAt<'_>| {
                    world
                        .maildir
                        .folders
                        .get_mut(mailbox)
                        .is_some_and(|folder| folder.find_same(unique, entry).is_some())
                };
                // No file has two names here.
                Ok(is_there(one) && is_there(other) && one.2.inode != other.2.inode)
            },
        )
    }

    fn glance(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        flags: &FlagSet,
        letters: &KeywordLetters,
    ) -> Result<Option<FileStat>, LocalError> {
        self.touch(
            LocalErrorKind::Item,
            || format!("glance {mailbox}/{unique}"),
            |world| {
                let info = info_of(flags, letters, "");
                let is_it = |place: &Place| {
                    let bare = place.dir == Dir::New && &*info == "2,";
                    place.unique == *unique && (place.info == info || bare)
                };
                let mut files = world.folder(mailbox)?.messages();
                Ok(files.find(|file| file.place.as_ref().is_some_and(is_it)).map(File::stat))
            },
        )
    }

    fn create(&mut self, mailbox: &MailboxName) -> Result<(), LocalError> {
        self.touch(
            LocalErrorKind::Full,
            || format!("create maildir {mailbox}"),
            |world| {
                world.take_folder_name(mailbox, None)?;
                world.maildir.create(mailbox);
                Ok(())
            },
        )
    }

    fn remove(&mut self, mailbox: &MailboxName) -> Result<bool, LocalError> {
        self.touch(
            LocalErrorKind::Item,
            || format!("remove maildir {mailbox}"),
            |world| {
                let removed = world.maildir.remove_empty(mailbox);
                if removed {
                    world.seen.remove(mailbox);
                }
                Ok(removed)
            },
        )
    }

    fn rename(&mut self, from: &MailboxName, to: &MailboxName) -> Result<bool, LocalError> {
        self.touch(
            LocalErrorKind::Item,
            || format!("rename maildir {from} to {to}"),
            |world| {
                world.take_folder_name(to, Some(from))?;
                let before = world.maildir.stamps();
                let (had, taken) = (before.contains_key(from), before.contains_key(to));
                match (had, taken) {
                    (false, false) => return Ok(false),
                    (true, true) if from != to => return Err(bad(LocalErrorKind::Item, "a maildir already")),
                    _ => {}
                }
                if world.maildir.rename_folder(from, to)
                    && let Some(seen) = world.seen.remove(from)
                {
                    let now = if before.get(from) == Some(&seen) { world.folder(to)?.stamp() } else { seen };
                    world.seen.insert(to.clone(), now);
                }
                Ok(true)
            },
        )
    }

    fn assign_letters(
        &mut self,
        mailbox: &MailboxName,
        known: &KeywordLetters,
        keywords: &BTreeSet<Keyword>,
    ) -> Result<KeywordLetters, LocalError> {
        self.touch(
            LocalErrorKind::Item,
            || format!("assign_letters {mailbox} {keywords:?}"),
            |world| {
                if world.mishaps.letters {
                    return Err(bad(LocalErrorKind::Item, "permission denied"));
                }
                let folder = world.folder(mailbox)?;
                for (letter, keyword) in known.iter() {
                    if folder.letters.keyword(letter).is_none() && folder.letters.letter(keyword).is_none() {
                        folder.letters.assign(letter, keyword.clone());
                    }
                }
                folder.assign(keywords);
                Ok(folder.letters.clone())
            },
        )
    }

    const BATCH: usize = 2;

    fn stage(&mut self, mailbox: &MailboxName) -> Result<(), LocalError> {
        self.touch(
            LocalErrorKind::Full,
            || format!("stage in {mailbox}"),
            |world| {
                world.folder(mailbox)?;
                world.staging = Some((mailbox.clone(), Vec::new()));
                Ok(())
            },
        )
    }

    fn stage_write(&mut self, wire: &[u8]) -> Result<(), LocalError> {
        self.touch(
            LocalErrorKind::Full,
            || "stage_write".to_owned(),
            |world| {
                match &mut world.staging {
                    Some((_, bytes)) => bytes.extend_from_slice(wire),
                    None => world.complain("stage_write without stage".to_owned()),
                }
                Ok(())
            },
        )
    }

    fn stage_finish(&mut self, date: Option<Timestamp>) -> Result<UniqueName, LocalError> {
        self.touch(
            LocalErrorKind::Full,
            || "stage_finish".to_owned(),
            |world| {
                let date = date.unwrap_or(world.now);
                let (mailbox, bytes) =
                    world.staging.take().ok_or_else(|| bad(LocalErrorKind::Unusable, "not staging"))?;
                let identity = mail::identity(&bytes, date, true);
                let staged = world.maildir.stage(&mailbox, bytes.into(), date);
                let (unique, stat) = staged.ok_or_else(|| bad(LocalErrorKind::Item, "no such maildir"))?;
                let content = identity.content.ok_or_else(|| bad(LocalErrorKind::Item, "no content"))?;
                let (message_id, wire_size) = (identity.message_id, identity.size);
                let staged = Staged { unique: unique.clone(), stat, content, message_id, wire_size };
                world.staged.push((mailbox, staged));
                Ok(unique)
            },
        )
    }

    fn stage_discard(&mut self) -> Result<(), LocalError> {
        self.touch(
            LocalErrorKind::Unusable,
            || "stage_discard".to_owned(),
            |world| {
                world.staging = None;
                Ok(())
            },
        )
    }

    fn seal(&mut self) -> Result<(), LocalError> {
        self.touch(
            LocalErrorKind::Full,
            || "seal".to_owned(),
            |world| {
                let staged = std::mem::take(&mut world.staged);
                world.sealed.push_back(staged);
                Ok(())
            },
        )
    }

    fn sealed(&mut self) -> Result<Vec<Staged>, LocalError> {
        self.touch(
            LocalErrorKind::Full,
            || "sealed".to_owned(),
            |world| {
                let staged = world.sealed.pop_front().unwrap_or_default();
                for (mailbox, _) in &staged {
                    world.folder(mailbox)?.sync_staged();
                }
                Ok(staged.into_iter().map(|(_, file)| file).collect())
            },
        )
    }

    fn publish(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        flags: &FlagSet,
        letters: &KeywordLetters,
    ) -> Result<Edit<()>, LocalError> {
        self.world().mishaps.take_name(&format!("{unique}:{}", info_of(flags, letters, "")))?;
        let call = || format!("publish {mailbox}/{unique} {flags}");
        self.edit(call, mailbox, |folder| folder.publish(unique, flags, letters))
    }

    fn sync(&mut self, mailbox: &MailboxName) -> Result<(), LocalError> {
        self.touch(
            LocalErrorKind::Full,
            || format!("sync {mailbox}"),
            |world| {
                world.folder(mailbox)?.sync();
                world.maildir.settle_moves(mailbox);
                Ok(())
            },
        )
    }

    fn set_flags(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        entry: &LocalEntry,
        delta: &FlagDelta,
        letters: &KeywordLetters,
    ) -> Result<Edit<()>, LocalError> {
        if self.world().mishaps.stuck.as_ref() == Some(unique) {
            return Err(bad(LocalErrorKind::Item, "another file has that name"));
        }
        let flags = delta.apply(&self.meaning(entry, letters));
        self.world().mishaps.take_name(&format!("{unique}:{}", info_of(&flags, letters, &entry.info)))?;
        let call = || format!("set_flags {mailbox}/{unique} +{} -{}", delta.add, delta.remove);
        self.edit(call, mailbox, |folder| folder.set_flags(unique, entry, delta, letters))
    }

    fn meaning(&self, entry: &LocalEntry, letters: &KeywordLetters) -> FlagSet {
        flags_of(&entry.info, letters)
    }

    fn relabelled(&self, entry: &LocalEntry, flags: &FlagSet, letters: &KeywordLetters) -> String {
        relabelled(&entry.info, flags, letters)
    }

    fn relabel(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        entry: &LocalEntry,
        before: &str,
        after: &str,
    ) -> Result<Edit<()>, LocalError> {
        let call = || format!("relabel {mailbox}/{unique} {before} {after}");
        self.edit(call, mailbox, |folder| folder.relabel(unique, entry, before, after))
    }

    fn move_to(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        entry: &LocalEntry,
        seen: FileStat,
        target: &MailboxName,
    ) -> Result<Edit<()>, LocalError> {
        self.touch(
            LocalErrorKind::Item,
            || format!("move_to {mailbox}/{unique} {target}"),
            |world| {
                world.folder(mailbox)?;
                if world.folder(target)?.messages().any(|file| file.is_named(unique)) {
                    return Err(bad(LocalErrorKind::Item, "the name is taken"));
                }
                Ok(match world.maildir.move_to(mailbox, unique, entry, seen, target) {
                    true => Edit::Done(()),
                    false => Edit::Changed,
                })
            },
        )
    }

    fn keep(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        entry: &LocalEntry,
        at: Timestamp,
    ) -> Result<Edit<Trashed>, LocalError> {
        self.touch(
            LocalErrorKind::Item,
            || format!("keep {mailbox}/{unique}"),
            |world| {
                let file =
                    world.maildir.folders.get_mut(mailbox).and_then(|folder| folder.find_same(unique, entry).cloned());
                let Some(file) = file else { return Ok(Edit::Changed) };
                let kept_as = world.maildir.keep(unique, file, world.now);
                let file = format!("{unique}:{}", entry.info);
                let keywords = Some(entry.flags.keywords.clone());
                Ok(Edit::Done(Trashed { mailbox: mailbox.clone(), file, kept_as, at, keywords }))
            },
        )
    }

    fn sync_kept(&mut self) -> Result<(), LocalError> {
        self.touch(
            LocalErrorKind::Full,
            || "sync_kept".to_owned(),
            |world| {
                world.maildir.sync_kept();
                Ok(())
            },
        )
    }

    fn unlink(
        &mut self,
        mailbox: &MailboxName,
        unique: &UniqueName,
        entry: &LocalEntry,
        seen: Option<FileStat>,
    ) -> Result<Edit<()>, LocalError> {
        self.touch(
            LocalErrorKind::Item,
            || format!("unlink {mailbox}/{unique}"),
            |world| {
                world.check_kept(unique);
                let gone =
                    world.maildir.folders.get_mut(mailbox).is_some_and(|folder| folder.unlink(unique, entry, seen));
                Ok(if gone { Edit::Done(()) } else { Edit::Changed })
            },
        )
    }

    fn drop_kept(&mut self, kept_as: &str) -> Result<(), LocalError> {
        self.touch(
            LocalErrorKind::Item,
            || format!("drop_kept {kept_as}"),
            |world| {
                world.maildir.trash.retain(|kept| kept.name != kept_as);
                Ok(())
            },
        )
    }

    fn kept_files(&mut self) -> Result<Vec<KeptFile>, LocalError> {
        let all = |world: &mut World| {
            let file = |kept: &super::maildir::Kept| KeptFile { kept_as: kept.name.clone(), since: kept.since };
            Ok(world.maildir.trash.iter().map(file).collect())
        };
        self.touch(LocalErrorKind::Unusable, || "kept_files".to_owned(), all)
    }

    fn put_back(
        &mut self,
        kept: &Trashed,
        letters: &KeywordLetters,
        here: &mut BTreeMap<UniqueName, LocalEntry>,
    ) -> Result<PutBack, LocalError> {
        self.touch(
            LocalErrorKind::Item,
            || format!("put_back {kept:?}"),
            |world| {
                let done = world.maildir.put_back(kept, letters, here);
                done.ok_or_else(|| bad(LocalErrorKind::Item, "both names are taken"))
            },
        )
    }
}

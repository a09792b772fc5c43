//! What users did to each message, and so what ought to have become of it.

use std::collections::{BTreeMap, BTreeSet};

use mailtide::model::{FlagSet, MailboxName, Side, Timestamp};

/// How often users put a message somewhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Puts {
    /// Before the first sync.
    pub(super) initial: usize,
    /// Since.
    pub(super) later: usize,
}

/// A removal by a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deletion {
    pub(super) side: Side,
    pub(super) at_home: bool,
    /// The database had recorded the message on this side.
    pub(super) known: bool,
    /// It was not recorded, and it was the engine that had put it there: it can't tell this removal from a crash that
    /// undid its own work.
    pub(super) doubtful: bool,
}

/// Users saved another version of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outdated {
    /// The database had recorded the older one.
    pub(super) known: bool,
}

/// Who changed a flag of a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Touch {
    local: bool,
    remote: bool,
    last: bool,
    /// It was taken off at some time, whatever was done later.
    pub(super) cleared: bool,
    /// It was stripped with others, and what it was stripped with was changed again: nothing shows any more that it was
    /// not taken off.
    open: bool,
}

impl Touch {
    /// Returns what the flag must be in the end; `None` if both sides had their hand in it.
    pub(super) fn expected(self) -> Option<bool> {
        (self.local != self.remote && !self.open).then_some(self.last)
    }
}

/// One message content and everything users did to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Story {
    pub(super) home: MailboxName,
    pub(super) date: Timestamp,
    pub(super) local: Puts,
    pub(super) remote: Puts,
    pub(super) deletions: Vec<Deletion>,
    pub(super) flags: BTreeMap<String, Touch>,
    /// What a mail program dropped that does not know it, while it changed another flag.
    pub(super) stripped: BTreeSet<String>,
    /// How often it was moved to another folder or got another name: where it ends is then open, but it must not be
    /// lost.
    pub(super) moves: usize,
    /// How often it was sent to another mailbox that had its folder's name by then: APPEND names no UIDVALIDITY. There it
    /// is like mail of others, and it is sent again.
    pub(super) astray: usize,
    /// Its mailbox got another UIDVALIDITY before the database knew that others had expunged it, or that it had been
    /// sent at all: nothing tells it from a message not found again, or from a new one, so it may come back. Or
    /// others took its removal back.
    pub(super) revived: bool,
    /// How often others took its removal back: what is in Trash by then stays there, too.
    pub(super) undeleted: usize,
    /// Its mailbox on the server was put back as it was some time ago: removals and flags since may be undone. `true` if
    /// it was in the backup or in the Maildir then, so that it must not be lost.
    pub(super) restored: Option<bool>,
    /// Users saved another version of it, which takes its place.
    pub(super) outdated: Option<Outdated>,
    /// It is another version of this one.
    pub(super) version_of: Option<u32>,
}

impl Story {
    /// Returns true if there was never more than one message of this content.
    pub(super) fn is_unique(&self) -> bool {
        self.most() == 1
    }

    /// Returns how many there must be at least if none was removed.
    pub(super) fn least(&self) -> usize {
        (self.local.initial + self.local.later).max(self.remote.initial + self.remote.later)
    }

    /// Returns how many there may be at most.
    pub(super) fn most(&self) -> usize {
        self.local.initial.max(self.remote.initial) + self.local.later + self.remote.later
    }

    /// Returns true if only users of this side put it there.
    pub(super) fn is_only_from(&self, side: Side) -> bool {
        let other = if side == Side::Local { self.remote } else { self.local };
        other == Puts::default()
    }

    pub(super) fn is_deleted(&self) -> bool {
        !self.deletions.is_empty()
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    pub(super) stories: BTreeMap<u32, Story>,
    /// The first sync has begun.
    pub(super) synced: bool,
    /// Folders that somebody deleted on the server.
    pub(super) deleted_folders: BTreeSet<MailboxName>,
    /// One of them was created again by others: nothing in it says what was removed from the one before.
    pub(super) recreated: bool,
    /// Messages with a Message-ID that others have, too,
    pub(super) shared: BTreeSet<u32>,
    /// and those that were saved under a new name.
    pub(super) renewed: BTreeSet<u32>,
    /// Folders were renamed: where a message ends is then open, but it must not be lost.
    pub(super) renamed: bool,
    /// The account moved to another server, or its Maildir to another layout.
    pub(super) relocated: bool,
}

/// Returns the words of a set: flags as IMAP writes them, keywords in small letters.
pub(super) fn words(flags: &FlagSet) -> Vec<String> {
    let system = flags.system().map(|flag| flag.as_imap().to_owned());
    system.chain(flags.keywords.iter().map(|keyword| keyword.as_str().to_ascii_lowercase())).collect()
}

impl Ledger {
    pub(super) fn fresh_id(&self) -> u32 {
        self.stories.last_key_value().map_or(1, |(id, _)| id + 1)
    }

    /// Notes that somebody wants a folder on the server.
    pub(super) fn folder(&mut self, name: &MailboxName) {
        self.recreated |= self.deleted_folders.contains(name);
    }

    pub(super) fn put(&mut self, side: Side, id: u32, home: &MailboxName, date: Timestamp, flags: &FlagSet) {
        let synced = self.synced;
        let story = self.stories.entry(id).or_insert_with(|| Story {
            home: home.clone(),
            date,
            local: Puts::default(),
            remote: Puts::default(),
            deletions: Vec::new(),
            flags: BTreeMap::new(),
            stripped: BTreeSet::new(),
            moves: 0,
            astray: 0,
            revived: false,
            undeleted: 0,
            restored: None,
            outdated: None,
            version_of: None,
        });
        let puts = if side == Side::Local { &mut story.local } else { &mut story.remote };
        *(if synced { &mut puts.later } else { &mut puts.initial }) += 1;
        words(flags).into_iter().for_each(|word| self.flag(side, id, word, true));
    }

    pub(super) fn flag(&mut self, side: Side, id: u32, word: String, on: bool) {
        let Some(story) = self.stories.get_mut(&id) else { return };
        let touch = story.flags.entry(word).or_default();
        match side {
            Side::Local => touch.local = true,
            Side::Remote => touch.remote = true,
        }
        touch.last = on;
        touch.cleared |= !on;
        if side == Side::Local {
            let again = std::mem::take(&mut story.stripped);
            again.into_iter().for_each(|word| story.flags.entry(word).or_default().open = true);
        }
    }

    /// A mail program changed a flag and dropped these words.
    pub(super) fn strip(&mut self, id: u32, words: impl IntoIterator<Item = String>) {
        if let Some(story) = self.stories.get_mut(&id) {
            story.stripped.extend(words);
        }
    }

    pub(super) fn rename_folder(&mut self, from: &MailboxName, to: &MailboxName) {
        self.renamed = true;
        for story in self.stories.values_mut() {
            story.home = story.home.rebased(from, to).unwrap_or_else(|| story.home.clone());
        }
    }

    pub(super) fn moved(&mut self, id: u32, target: &MailboxName) {
        if let Some(story) = self.stories.get_mut(&id) {
            story.moves += 1;
            story.home = target.clone();
        }
    }

    /// A mailbox has another UIDVALIDITY than the database knows.
    pub(super) fn renumber(&mut self, name: &MailboxName, unrecorded: &[u32]) {
        for (id, story) in self.stories.iter_mut().filter(|(_, story)| story.home == *name) {
            story.revived |= story.deletions.iter().any(|one| one.side == Side::Remote || !one.known);
            story.revived |= unrecorded.contains(id);
        }
    }

    /// A message was saved again: its flags are those of all versions together.
    pub(super) fn save_again(
        &mut self,
        old: u32,
        new: u32,
        home: &MailboxName,
        date: Timestamp,
        flags: &FlagSet,
        known: bool,
    ) {
        self.put(Side::Local, new, home, date, flags);
        if let Some(story) = self.stories.get_mut(&old) {
            story.outdated = Some(Outdated { known });
        }
        if let Some(story) = self.stories.get_mut(&new) {
            story.version_of = Some(old);
        }
        if self.shared.contains(&old) {
            self.shared.insert(new);
        }
    }

    /// Returns true if users set a flag on any version of a message. Two of them may lie side by side, with one
    /// Message-ID: which of two files that take their places is whose can't be told. Nor can it of messages that were written
    /// with one Message-ID, if one is saved under a new name.
    pub(super) fn was_set(&self, id: u32, word: &str) -> bool {
        let (family, mistakable) = (self.first_version(id), self.is_mistakable(id));
        let is_one = |other: u32| self.first_version(other) == family || (mistakable && self.shared.contains(&other));
        let mut versions = self.stories.iter().filter(|(other, _)| is_one(**other));
        versions.any(|(_, story)| story.flags.contains_key(word))
    }

    fn is_mistakable(&self, id: u32) -> bool {
        let mut versions = std::iter::successors(Some(id), |id| self.stories.get(id)?.version_of);
        self.shared.contains(&id) && versions.any(|id| self.renewed.contains(&id))
    }

    /// A version that the database did not know went with its whole folder: the one that it was to replace may come back.
    pub(super) fn lose_unsent(&mut self, id: u32) {
        let older = |id: &u32| self.stories.get(id)?.version_of;
        let versions: Vec<u32> = std::iter::successors(older(&id), older).collect();
        for id in versions {
            if let Some(outdated) = self.stories.get_mut(&id).and_then(|story| story.outdated.as_mut()) {
                outdated.known = false;
            }
        }
    }

    fn first_version(&self, id: u32) -> Option<u32> {
        std::iter::successors(Some(id), |id| self.stories.get(id)?.version_of).last()
    }

    /// Others took off `\Deleted` after a local removal, or a new version, had set it and before it expunged what has that:
    /// the message stays.
    pub(super) fn undelete(&mut self, id: u32) {
        let Some(story) = self.stories.get_mut(&id) else { return };
        let is_removed = story.deletions.iter().any(|deletion| deletion.side == Side::Local);
        let is_to_go = is_removed || story.outdated.is_some();
        story.revived |= is_to_go;
        story.undeleted += usize::from(is_to_go);
    }

    pub(super) fn delete(&mut self, side: Side, id: u32, folder: &MailboxName, known: bool) {
        let Some(story) = self.stories.get_mut(&id) else { return };
        let at_home = story.home == *folder;
        let own = at_home && story.is_only_from(side);
        let doubtful = !known && !own;
        story.deletions.push(Deletion { side, at_home, known, doubtful });
    }
}

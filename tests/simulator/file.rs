//! A message file: its data, its name, and what of both is on the disk for certain.

use std::collections::BTreeSet;

use mailtide::model::{FileStat, Flag, FlagSet, Keyword, KeywordLetters, Timestamp, UniqueName};
use mailtide::reconcile::snapshot::LocalEntry;

use super::mail::{self, Bytes};
use super::rng::Rng;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Dir {
    Tmp,
    New,
    Cur,
}

/// Where a file is in its maildir.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) dir: Dir,
    pub(super) unique: UniqueName,
    pub(super) info: Box<str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) inode: u64,
    pub(super) bytes: Bytes,
    pub(super) mtime: Timestamp,
    /// `None`: it has no name any more.
    pub(super) place: Option<Place>,
    data_synced: bool,
    /// Its name as it is on the disk for certain.
    durable: Option<Place>,
    /// The names it was given since; after a power cut it has any of them.
    since: Vec<Option<Place>>,
}

impl File {
    /// A file that nothing of is on the disk for certain.
    pub(super) fn new(inode: u64, bytes: Bytes, mtime: Timestamp, place: Place) -> Self {
        let since = vec![Some(place.clone())];
        File { inode, bytes, mtime, place: Some(place), data_synced: false, durable: None, since }
    }

    /// Another name of the file, not durable yet; its content is.
    pub(super) fn linked(&self, place: Place) -> Self {
        File { data_synced: true, ..File::new(self.inode, self.bytes.clone(), self.mtime, place) }
    }

    /// Makes the file and its name durable.
    pub(super) fn sync(&mut self) {
        self.data_synced = true;
        self.sync_name();
    }

    /// Returns true if no name of it is left, on the disk neither.
    pub(super) fn is_gone(&self) -> bool {
        self.place.is_none() && self.since.is_empty()
    }

    pub(super) fn rename(&mut self, place: Option<Place>) {
        self.since.push(place.clone());
        self.place = place;
    }

    pub(super) fn sync_name(&mut self) {
        self.durable.clone_from(&self.place);
        self.since.clear();
    }

    /// Leaves what a power cut leaves.
    pub(super) fn power_cut(&mut self, rng: &mut Rng) {
        let kept = rng.below(self.since.len() + 1);
        self.place = kept.checked_sub(1).map_or(self.durable.clone(), |at| self.since[at].clone());
        if !self.data_synced && rng.chance(500) {
            self.bytes = Vec::new().into();
        }
        self.data_synced = true;
        self.sync_name();
    }

    pub(super) fn stat(&self) -> FileStat {
        mail::stat(&self.bytes, self.inode, self.mtime)
    }

    /// Returns true if it is listed as a message; that it is empty shows only when it is read.
    pub(super) fn is_message(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.dir != Dir::Tmp)
    }

    pub(super) fn is_named(&self, unique: &UniqueName) -> bool {
        self.is_message() && self.place.as_ref().is_some_and(|place| place.unique == *unique)
    }

    /// Returns true if it still has the name observed.
    pub(super) fn is_as(&self, unique: &UniqueName, entry: &LocalEntry) -> bool {
        let dir = if entry.in_new { Dir::New } else { Dir::Cur };
        let same = |place: &Place| place.unique == *unique && place.dir == dir && place.info == entry.info;
        self.is_message() && self.place.as_ref().is_some_and(same)
    }

    pub(super) fn is_staged(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.dir == Dir::Tmp)
    }
}

const LETTERS: [(Flag, u8); 5] =
    [(Flag::Draft, b'D'), (Flag::Flagged, b'F'), (Flag::Answered, b'R'), (Flag::Seen, b'S'), (Flag::Deleted, b'T')];

/// Returns what the letters of a name mean.
pub(super) fn flags_of(info: &str, letters: &KeywordLetters) -> FlagSet {
    let mut flags = FlagSet::new();
    for byte in info.strip_prefix("2,").unwrap_or_default().bytes() {
        match LETTERS.iter().find(|(_, letter)| *letter == byte) {
            Some((flag, _)) => flags.set(*flag, true),
            None if byte == b'P' => drop(flags.keywords.insert(Keyword::forwarded())),
            None => flags.keywords.extend(letters.keyword(byte).cloned()),
        }
    }
    flags
}

/// Returns the info of a name with these flags, and the letters of the old one that mean nothing.
pub(super) fn info_of(flags: &FlagSet, letters: &KeywordLetters, old: &str) -> Box<str> {
    let mut bytes: BTreeSet<u8> =
        LETTERS.iter().filter(|(flag, _)| flags.has(*flag)).map(|(_, letter)| *letter).collect();
    for keyword in &flags.keywords {
        match keyword.is_forwarded() {
            true => drop(bytes.insert(b'P')),
            false => bytes.extend(letters.letter(keyword)),
        }
    }
    let old = old.strip_prefix("2,").unwrap_or_default().bytes();
    bytes.extend(old.filter(|byte| byte.is_ascii_lowercase() && letters.keyword(*byte).is_none()));
    format!("2,{}", bytes.into_iter().map(char::from).collect::<String>()).into()
}

/// Returns the letters of an info that stand for keywords.
pub(super) fn letters_in(info: &str) -> BTreeSet<char> {
    info.chars().filter(char::is_ascii_lowercase).collect()
}

/// Returns the info with these keyword letters and no other.
pub(super) fn with_letters(info: &str, letters: &BTreeSet<char>) -> String {
    if info.is_empty() && letters.is_empty() {
        return String::new();
    }
    let others = info.strip_prefix("2,").unwrap_or_default().chars().filter(|letter| !letter.is_ascii_lowercase());
    let all: BTreeSet<char> = others.chain(letters.iter().copied()).collect();
    format!("2,{}", all.into_iter().collect::<String>())
}

/// Returns the info with the letters of these keywords and no other.
pub(super) fn relabelled(info: &str, flags: &FlagSet, letters: &KeywordLetters) -> String {
    let wanted = flags.keywords.iter().filter_map(|word| letters.letter(word)).map(char::from);
    with_letters(info, &wanted.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_flags_and_keep_unknown_letters() {
        let mut letters = KeywordLetters::new();
        letters.assign(b'a', Keyword::new("work").unwrap());
        let flags = flags_of("2,PSab", &letters);
        assert_eq!(flags.to_string(), "\\Seen $Forwarded work");
        assert_eq!(&*info_of(&flags, &letters, "2,PSab"), "2,PSab");
        assert_eq!(&*info_of(&FlagSet::new(), &letters, "2,PSab"), "2,b");
    }
}

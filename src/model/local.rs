//! What is recorded about the local side: directory stamps, file stats, keyword letters, the root's marker.

use std::collections::BTreeMap;

use super::keyword::Keyword;

/// Identity and times of one directory. Compared by inequality only: a clock may run backwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirStamp {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Modification time, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Status change time, nanoseconds since 1970.
    pub ctime_ns: i64,
}

/// Identity and times of a maildir's `cur` and `new`, by which an untouched maildir is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Of `cur`.
    pub cur: DirStamp,
    /// Of `new`.
    pub new: DirStamp,
}

/// Identity of a maildir's `cur` directory, which stays with it under any name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirId {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
}

impl Stamp {
    /// Returns the identity of the maildir.
    pub fn directory(&self) -> DirId {
        DirId { device: self.cur.device, inode: self.cur.inode }
    }
}

/// What `stat` says about a message file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStat {
    /// Inode number.
    pub inode: u64,
    /// Size in bytes, as stored.
    pub size: u64,
    /// Modification time, nanoseconds since 1970.
    pub mtime_ns: i64,
}

/// Which letter `a`–`z` of a maildir stands for which keyword (the convention of Dovecot's `dovecot-keywords`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeywordLetters(BTreeMap<u8, Keyword>);

impl KeywordLetters {
    /// How many keywords one maildir can hold.
    pub const CAPACITY: usize = 26;

    /// Returns the map without letters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the keyword of a letter, `b'a'` to `b'z'`.
    pub fn keyword(&self, letter: u8) -> Option<&Keyword> {
        self.0.get(&letter)
    }

    /// Returns the letter of a keyword.
    pub fn letter(&self, keyword: &Keyword) -> Option<u8> {
        self.0.iter().find(|(_, known)| *known == keyword).map(|(letter, _)| *letter)
    }

    /// Gives a letter a keyword; a letter outside `a`–`z` is ignored.
    pub fn assign(&mut self, letter: u8, keyword: Keyword) {
        if letter.is_ascii_lowercase() {
            self.0.insert(letter, keyword);
        }
    }

    /// Returns the letters in use with their keywords, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &Keyword)> + '_ {
        self.0.iter().map(|(letter, keyword)| (*letter, keyword))
    }

    /// Returns true if no letter has a keyword.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the first letter that has no keyword and is not among `taken`.
    pub fn free_letter(&self, taken: &[u8]) -> Option<u8> {
        (b'a'..=b'z').find(|letter| !self.0.contains_key(letter) && !taken.contains(letter))
    }
}

/// Whose mail a baseline speaks of. Compared for equality only: a baseline of another server says nothing about this one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// User and host.
    pub server: String,
    /// The Maildir's layout.
    pub layout: String,
    /// The Maildir's path.
    pub root: String,
}

/// The content of `<root>/.mailtide`: which database this Maildir belongs to, and the last run that touched it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// The database's random id, in hexadecimal.
    pub database: String,
    /// The number of the run that wrote it.
    pub run: u64,
    /// Random, of that run: copies of a Maildir and its database that went on separately bear equal numbers.
    pub token: String,
}

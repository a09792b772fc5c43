//! Which messages of a mailbox are which rows of the baseline when its UIDs no longer tell: the server gave it another
//! UIDVALIDITY, or was restored from a backup and gives numbers again that it gave before. One to one, and only where
//! the identity agrees: a row under a wrong number would hide a message, or remove one that nobody removed.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Fingerprint, Identity, MailboxRow, MessageHash, MessageRow, Timestamp, Uid, UidSet, Watermark};

/// From so many rows on
const MANY_ROWS: usize = 50;
/// the mailbox is taken for the one that the baseline knows only if at least this share of them is found, in percent.
const ENOUGH_FOUND: usize = 50;

/// What a look says about the UIDs that the baseline knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// They name what they named.
    Kept,
    /// The server has forgotten something and has got new mail since, or another mailbox was found under the name: they may
    /// name other messages.
    Doubtful,
    /// They may name other messages, and one that is not there is not gone.
    Changed,
}

/// Compares what the baseline knows of a mailbox, its watermark and the highest UID of its rows, with what the server
/// says now. What the server does not say (UIDNEXT 0, no HIGHESTMODSEQ) is no sign of anything.
pub fn numbers(row: &MailboxRow, highest: Option<Uid>, now: &Watermark) -> Numbers {
    if row.uid_validity != Some(now.uid_validity) {
        return Numbers::Changed;
    }
    let mark = row.watermark.filter(|mark| mark.uid_validity == now.uid_validity);
    let next = mark.map_or(0, |mark| mark.uid_next);
    let forgot = mark.and_then(|mark| mark.mod_seq).zip(now.mod_seq).is_some_and(|(before, now)| now < before);
    match now.uid_next {
        0 => Numbers::Kept,
        now if now < next || highest.is_some_and(|uid| now <= uid.get()) => Numbers::Changed,
        now if forgot && next > 0 && now > next => Numbers::Doubtful,
        _ => Numbers::Kept,
    }
}

/// Returns true if so few rows were found that this looks like another mailbox, or one emptied by accident.
pub fn is_suspicious(rows: usize, found: usize) -> bool {
    rows >= MANY_ROWS && found * 100 < rows * ENOUGH_FOUND
}

/// What the baseline, and the file of it, know of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembered {
    message_id: Option<MessageHash>,
    size: Option<u64>,
    date: Option<Timestamp>,
    content: Option<Fingerprint>,
    /// The file, if it is there and still has the row's content.
    file: Option<Identity>,
}

impl Remembered {
    /// Takes what a row says, and its file as it is now, if there is one that could be read.
    pub fn new(row: &MessageRow, file: Option<Identity>) -> Self {
        let is_same = |file: &Identity| row.content.is_none() || file.content == row.content;
        let file = file.filter(is_same);
        let content = row.content.or(file.and_then(|file| file.content));
        let message_id = row.message_id.or(file.and_then(|file| file.message_id));
        Self { message_id, size: row.size, date: row.date, content, file }
    }

    fn key(&self) -> Option<(MessageHash, u64, Timestamp)> {
        Some((self.message_id?, self.size?, self.date?))
    }
}

/// Rows and messages that may be the same, and what was found so far.
#[derive(Debug, Clone, Default)]
pub struct Renumbering {
    rows: BTreeMap<Uid, Remembered>,
    messages: BTreeMap<Uid, Identity>,
    found: BTreeMap<Uid, Uid>,
}

impl Renumbering {
    /// Starts with the rows by the UIDs they had, and the messages by their headers.
    pub fn new(rows: BTreeMap<Uid, Remembered>, messages: BTreeMap<Uid, Identity>) -> Self {
        Self { rows, messages, found: BTreeMap::new() }
    }

    /// Pairs what needs no body: one row and one message alone share Message-ID, size and date, and the header block of
    /// the row's file is the message's. A row without its file is about a message that is to leave the server or to stay
    /// hidden, so more than a Message-ID has to speak for it.
    pub fn by_header(&mut self) {
        let rows = group(&self.rows, Remembered::key);
        let messages = group(&self.messages, |identity| Some((identity.message_id?, identity.size, identity.date?)));
        for (shared, rows) in rows.into_iter().filter(|(shared, _)| shared.is_some()) {
            if let ([old], Some([new])) = (rows.as_slice(), messages.get(&shared).map(Vec::as_slice))
                && self.have_one_header(*old, *new)
            {
                self.pair(*old, *new);
            }
        }
    }

    fn have_one_header(&self, old: Uid, new: Uid) -> bool {
        let file = self.rows.get(&old).and_then(|row| row.file);
        file.zip(self.messages.get(&new)).is_some_and(|(file, message)| file.header == message.header)
    }

    /// Returns the messages whose bodies decide: their Message-ID is that of a row not yet found or, where there is none,
    /// their size or date.
    pub fn ambiguous(&self) -> UidSet {
        let rows = || self.rows.values().filter(|row| row.content.is_some());
        let ids: BTreeSet<MessageHash> = rows().filter_map(|row| row.message_id).collect();
        let nameless = || rows().filter(|row| row.message_id.is_none());
        let sizes: BTreeSet<u64> = nameless().filter_map(|row| row.size).collect();
        let dates: BTreeSet<Timestamp> = nameless().filter_map(|row| row.date).collect();
        let doubtful = |message: &Identity| match message.message_id {
            Some(id) => ids.contains(&id),
            None => sizes.contains(&message.size) || message.date.is_some_and(|date| dates.contains(&date)),
        };
        self.messages.iter().filter(|(_, message)| doubtful(message)).map(|(uid, _)| *uid).collect()
    }

    /// Pairs by content, now known of the ambiguous messages: equal content with equal date first, then equal content,
    /// then what differs from the row's file only in ways servers are known to change, with the same Message-ID and date.
    pub fn by_content(&mut self, whole: BTreeMap<Uid, Identity>) {
        self.messages.extend(whole.into_iter().filter(|(uid, _)| self.messages.contains_key(uid)).collect::<Vec<_>>());
        self.pair_equal(|row| Some((row.content?, row.date)), |message| Some((message.content?, message.date)));
        self.pair_equal(|row| row.content, |message| message.content);
        self.pair_equal(
            |row| Some((row.file?.loose?, row.message_id?, row.date?)),
            |message| Some((message.loose?, message.message_id?, message.date?)),
        );
    }

    /// Returns the new UID of each row that was found, by its old one.
    pub fn finish(self) -> BTreeMap<Uid, Uid> {
        self.found
    }

    /// Pairs in the order of the UIDs, which servers keep. Where there are fewer messages than rows, those rows come
    /// first that have a file: what would be left over of them is put on the server again.
    fn pair_equal<K: Ord>(
        &mut self,
        of_row: impl Fn(&Remembered) -> Option<K>,
        of_message: impl Fn(&Identity) -> Option<K>,
    ) {
        let (rows, messages) = (group(&self.rows, of_row), group(&self.messages, of_message));
        for (shared, mut rows) in rows {
            let Some(messages) = messages.get(&shared).filter(|_| shared.is_some()) else { continue };
            if messages.len() < rows.len() {
                rows.sort_by_key(|uid| self.rows.get(uid).is_none_or(|row| row.file.is_none()));
            }
            for (old, new) in rows.iter().zip(messages) {
                self.pair(*old, *new);
            }
        }
    }

    fn pair(&mut self, old: Uid, new: Uid) {
        self.rows.remove(&old);
        self.messages.remove(&new);
        self.found.insert(old, new);
    }
}

fn group<V, K: Ord>(all: &BTreeMap<Uid, V>, key: impl Fn(&V) -> Option<K>) -> BTreeMap<Option<K>, Vec<Uid>> {
    let mut groups: BTreeMap<Option<K>, Vec<Uid>> = BTreeMap::new();
    for (uid, value) in all {
        groups.entry(key(value)).or_default().push(*uid);
    }
    groups
}

#[cfg(test)]
mod tests;

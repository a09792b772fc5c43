//! Which new files and which new messages are the same: found on both sides without a baseline (first sync with mail
//! on both sides, lost database, changed UIDVALIDITY). One to one, in ever closer looks.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{FileStat, Identity, MessageHash, Uid, UniqueName};

/// A file and a message that are one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match<F = UniqueName, M = Uid> {
    /// The message.
    pub message: M,
    /// The file.
    pub file: F,
    /// The file's content and stat.
    pub identity: (Identity, FileStat),
}

/// Files and messages that may be the same, by whatever names them, and what was found so far.
#[derive(Debug, Clone)]
pub struct Matcher<F = UniqueName, M = Uid> {
    files: BTreeMap<F, (Identity, FileStat)>,
    messages: BTreeMap<M, Identity>,
    found: Vec<Match<F, M>>,
}

impl<F: Clone + Ord, M: Copy + Ord> Matcher<F, M> {
    /// Starts with the files as a whole and the messages by their headers.
    pub fn new(files: BTreeMap<F, (Identity, FileStat)>, messages: BTreeMap<M, Identity>) -> Self {
        Self { files, messages, found: Vec::new() }
    }

    /// Pairs what needs no body: one file and one message alone share size, date and a header block with a Message-ID.
    pub fn by_header(&mut self) {
        let key = |identity: &Identity| identity.message_id.map(|_| (identity.header, identity.size, identity.date));
        let (files, messages) = (group(&self.files, |(identity, _)| key(identity)), group(&self.messages, key));
        for (shared, files) in files.into_iter().filter(|(shared, _)| shared.is_some()) {
            if let ([file], Some([message])) = (files.as_slice(), messages.get(&shared).map(Vec::as_slice)) {
                self.pair(*message, file);
            }
        }
    }

    /// Returns the messages whose bodies decide: their header block or Message-ID is that of a file.
    pub fn ambiguous(&self) -> BTreeSet<M> {
        let headers: BTreeSet<_> = self.files.values().map(|(identity, _)| identity.header).collect();
        let ids: BTreeSet<MessageHash> = self.files.values().filter_map(|(identity, _)| identity.message_id).collect();
        let doubtful = |identity: &Identity| {
            headers.contains(&identity.header) || identity.message_id.is_some_and(|id| ids.contains(&id))
        };
        self.messages.iter().filter(|(_, identity)| doubtful(identity)).map(|(message, _)| *message).collect()
    }

    /// Pairs by content, now known of the ambiguous messages: equal content with equal date first, then equal content,
    /// then what differs only in ways servers are known to change, with the same Message-ID and date.
    pub fn by_content(&mut self, whole: BTreeMap<M, Identity>) {
        self.messages.extend(whole);
        self.pair_equal(|identity| Some((identity.content?, identity.date)));
        self.pair_equal(|identity| identity.content);
        self.pair_equal(|identity| Some((identity.loose?, identity.message_id?, identity.date?)));
    }

    /// Returns what was found.
    pub fn finish(self) -> Vec<Match<F, M>> {
        self.found
    }

    fn pair_equal<K: Ord>(&mut self, key: impl Fn(&Identity) -> Option<K>) {
        let (files, messages) = (group(&self.files, |(identity, _)| key(identity)), group(&self.messages, &key));
        for (shared, files) in files {
            let messages = messages.get(&shared).filter(|_| shared.is_some());
            for (file, message) in files.iter().zip(messages.into_iter().flatten()) {
                self.pair(*message, file);
            }
        }
    }

    fn pair(&mut self, message: M, file: &F) {
        if let Some(identity) = self.files.remove(file) {
            self.messages.remove(&message);
            self.found.push(Match { message, file: file.clone(), identity });
        }
    }
}

fn group<N: Clone + Ord, V, K: Ord>(all: &BTreeMap<N, V>, key: impl Fn(&V) -> K) -> BTreeMap<K, Vec<N>> {
    let mut groups: BTreeMap<K, Vec<N>> = BTreeMap::new();
    for (name, value) in all {
        groups.entry(key(value)).or_default().push(name.clone());
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Fingerprint, Timestamp};

    fn identity(header: u8, content: u8, date: i64) -> Identity {
        Identity {
            size: 10,
            date: Some(Timestamp(date)),
            message_id: Some(MessageHash(i64::from(header))),
            header: Fingerprint([header; 16]),
            content: Some(Fingerprint([content; 16])),
            loose: Some(Fingerprint([content; 16])),
        }
    }

    fn header_only(identity: Identity) -> Identity {
        Identity { content: None, loose: None, ..identity }
    }

    fn run(files: &[(&str, Identity)], messages: &[(u32, Identity)]) -> (Vec<(u32, String)>, u64) {
        let stat = FileStat { inode: 0, size: 0, mtime_ns: 0 };
        let whole: BTreeMap<Uid, Identity> =
            messages.iter().map(|(n, identity)| (Uid::new(*n).unwrap(), *identity)).collect();
        let mut matcher = Matcher::new(
            files.iter().map(|(name, identity)| (UniqueName::new(name).unwrap(), (*identity, stat))).collect(),
            whole.iter().map(|(uid, identity)| (*uid, header_only(*identity))).collect(),
        );
        matcher.by_header();
        let ambiguous = matcher.ambiguous();
        matcher.by_content(whole.into_iter().filter(|(uid, _)| ambiguous.contains(uid)).collect());
        let mut found: Vec<_> = matcher.finish().into_iter().map(|m| (m.message.get(), m.file.to_string())).collect();
        found.sort();
        (found, ambiguous.len() as u64)
    }

    #[test]
    fn header_size_and_date_decide_without_a_body() {
        assert_eq!(run(&[("a", identity(1, 1, 5))], &[(9, identity(1, 1, 5))]), (vec![(9, "a".into())], 0));
    }

    #[test]
    fn copies_pair_one_to_one_and_the_rest_stays() {
        let copy = identity(1, 1, 5);
        let (found, _) = run(&[("a", copy), ("b", copy)], &[(1, copy), (2, copy), (3, copy)]);
        assert_eq!(found, [(1, "a".into()), (2, "b".into())]);
    }

    #[test]
    fn two_drafts_that_differ_in_their_bodies_only_are_two() {
        let (found, looked) = run(&[("a", identity(1, 1, 5))], &[(1, identity(1, 2, 6))]);
        assert_eq!((found, looked), (vec![], 1));
    }

    #[test]
    fn another_date_asks_for_the_body() {
        let (found, looked) = run(&[("a", identity(1, 1, 5))], &[(1, identity(1, 1, 6))]);
        assert_eq!((found, looked), (vec![(1, "a".into())], 1));
    }
}

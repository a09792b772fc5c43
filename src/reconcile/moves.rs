//! Messages that left one folder and arrived in another. They are moves: not lost, not new, and nothing has to travel.

use std::collections::BTreeMap;

use super::plan::{MailboxPlan, RemoteRemoval, Removal};
use super::snapshot::LocalEntry;
use crate::model::{FileStat, Fingerprint, Identity, MailboxId, MessageRow, UniqueName};

/// Where a file lies.
pub type Place = (MailboxId, UniqueName);

/// New files as they were read, by their places.
pub type Arrivals = BTreeMap<Place, Arrival>;

/// A file in a place where the baseline has none, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The file.
    pub entry: LocalEntry,
    /// Its content.
    pub identity: Identity,
    /// Its stat at that time.
    pub stat: FileStat,
}

/// Says whether a file is the one to be taken for a message, among those of its content.
type Rule<'a> = dyn Fn(&MessageRow, &Place) -> bool + 'a;

/// Pairs messages whose files are gone with files of the same content that appeared, one to one: those of the same
/// unique name first, then those of the same inode. Both are worth nothing alone: names are given again, and so are
/// inodes, at once.
pub fn pair<'r>(rows: impl IntoIterator<Item = &'r MessageRow>, arrivals: &Arrivals) -> Vec<(&'r MessageRow, Place)> {
    let mut free: BTreeMap<Fingerprint, Vec<&Place>> = BTreeMap::new();
    for (place, arrival) in arrivals {
        let content = arrival.identity.content.into_iter();
        content.for_each(|content| free.entry(content).or_default().push(place));
    }
    let same_name = |row: &MessageRow, place: &Place| row.unique.as_ref() == Some(&place.1);
    let same_inode = |row: &MessageRow, place: &Place| {
        let inode = arrivals.get(place).map(|arrival| arrival.entry.inode);
        inode.is_some() && inode == row.stat.map(|stat| stat.inode)
    };
    let rules: [&Rule<'_>; 3] = [&same_name, &same_inode, &|_, _| true];
    let mut left: Vec<&MessageRow> = rows.into_iter().filter(|row| row.content.is_some()).collect();
    let mut found = Vec::new();
    for rule in rules {
        left.retain(|row| {
            let places = row.content.and_then(|content| free.get_mut(&content));
            let place = places.and_then(|places| take(places, |place| rule(row, place)));
            found.extend(place.map(|place| (*row, place.clone())));
            place.is_none()
        });
    }
    found
}

fn take<'p>(places: &mut Vec<&'p Place>, is_it: impl Fn(&Place) -> bool) -> Option<&'p Place> {
    let at = places.iter().position(|place| is_it(place))?;
    Some(places.remove(at))
}

/// Returns true for a removal that may be a move: of a message that was in the Maildir until now.
pub fn may_be_a_move(removal: &RemoteRemoval) -> bool {
    removal.moved_to.is_none() && !matches!(removal.how, Removal::Moved | Removal::Purge)
}

impl MailboxPlan {
    /// Takes a file out of what is to be uploaded; returns true if it was to be.
    pub fn take_upload(&mut self, unique: &UniqueName) -> bool {
        let before = self.upload.len();
        self.upload.retain(|upload| upload.unique != *unique);
        self.upload.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FlagSet, MessageId, Uid};

    fn print(content: u8) -> Fingerprint {
        Fingerprint([content; 16])
    }

    fn unique(name: &str) -> UniqueName {
        UniqueName::new(name).unwrap()
    }

    fn row(id: i64, name: &str, inode: u64, content: Option<u8>) -> MessageRow {
        MessageRow {
            id: MessageId(id),
            mailbox: MailboxId(1),
            uid: Uid::new(7).unwrap(),
            unique: Some(unique(name)),
            flags: FlagSet::new(),
            tombstone: None,
            date: None,
            size: None,
            content: content.map(print),
            message_id: None,
            stat: Some(FileStat { inode, size: 1, mtime_ns: 1 }),
            email_id: None,
            replaced_by: None,
        }
    }

    fn arrival(mailbox: i64, name: &str, inode: u64, content: u8) -> (Place, Arrival) {
        let content = Some(print(content));
        let identity = Identity { size: 1, date: None, message_id: None, header: print(0), content, loose: None };
        let entry = LocalEntry { in_new: false, info: "".into(), inode, flags: FlagSet::new() };
        let stat = FileStat { inode, size: 1, mtime_ns: 1 };
        ((MailboxId(mailbox), unique(name)), Arrival { entry, identity, stat })
    }

    fn paired(rows: &[MessageRow], arrivals: &[(Place, Arrival)]) -> Vec<(i64, i64, String)> {
        let mut found: Vec<_> = pair(rows, &arrivals.iter().cloned().collect())
            .into_iter()
            .map(|(row, (mailbox, unique))| (row.id.0, mailbox.0, unique.to_string()))
            .collect();
        found.sort();
        found
    }

    #[test]
    fn content_decides_and_never_a_name_or_an_inode_alone() {
        let rows = [row(1, "a", 5, Some(1)), row(2, "b", 6, Some(2)), row(3, "c", 7, None)];
        let arrivals = [arrival(2, "a", 5, 9), arrival(2, "c", 7, 3), arrival(2, "x", 8, 2)];
        assert_eq!(paired(&rows, &arrivals), [(2, 2, "x".into())]);
    }

    #[test]
    fn of_equal_files_the_one_of_that_name_counts_and_then_that_inode() {
        let rows = [row(1, "a", 5, Some(1)), row(2, "b", 6, Some(1)), row(3, "c", 7, Some(1))];
        let arrivals = [arrival(2, "x", 6, 1), arrival(3, "c", 9, 1), arrival(4, "y", 9, 1)];
        let expected = [(1, 4, "y".into()), (2, 2, "x".into()), (3, 3, "c".into())];
        assert_eq!(paired(&rows, &arrivals), expected);
    }

    #[test]
    fn two_files_are_one_move_and_one_new_message() {
        let (rows, one) = ([row(1, "a", 5, Some(1)), row(2, "b", 6, Some(1))], arrival(2, "x", 8, 1));
        assert_eq!(paired(&rows, &[one]), [(1, 2, "x".into())]);
        let (two, other) = (arrival(2, "x", 8, 1), arrival(3, "y", 9, 1));
        assert_eq!(paired(&rows[..1], &[two, other]), [(1, 2, "x".into())]);
    }
}

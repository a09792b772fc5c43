//! Which mailboxes have to be looked at on the server, and from where on, and which maildirs need no look at all.

use super::snapshot::{ListedMailbox, LocalSnapshot};
use crate::model::{MailboxRow, MessageRow, Timestamp, Watermark};

/// Every mailbox gets a look at all UIDs and flags at least this often, in seconds: a server that lost its index
/// leaves changes out of its deltas.
const FULL_LOOK: i64 = 7 * 24 * 3600;

/// How to look at one mailbox on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Not at all: nothing changed.
    Skip,
    /// At what changed since the watermark.
    Since(Watermark),
    /// At everything.
    Full,
}

/// Decides how to look at a mailbox. `unsettled` says that something of it is journaled, held, failed or unknown.
pub fn decide(
    row: &MailboxRow,
    listed: Option<&ListedMailbox>,
    mod_seq: bool,
    unsettled: bool,
    full: bool,
    now: Timestamp,
) -> Look {
    let Some(watermark) = row.watermark.filter(|_| !full && !is_due(row, now)) else { return Look::Full };
    let Some(status) = listed.and_then(|listed| listed.status) else { return Look::Since(watermark) };
    // A value below ours is not this mailbox's past: it was restored, or recreated.
    let went_back = status.uid_next < watermark.uid_next || status.mod_seq < watermark.mod_seq;
    if status.uid_validity != watermark.uid_validity || (mod_seq && went_back) {
        return Look::Full;
    }
    let numbers = status == watermark && row.with_uid == u64::from(watermark.messages);
    // A message numbered past the server's next UID: it was restored to what it was before, and will give that UID again.
    let went_back = row.highest.is_some_and(|uid| uid.get() >= status.uid_next);
    let proven = mod_seq && status.mod_seq.is_some() && numbers && !went_back;
    match proven && !unsettled {
        true => Look::Skip,
        false => Look::Since(watermark),
    }
}

/// Finds out, message by message, whether a maildir holds the files of the baseline, with names that say the same, and no
/// other.
#[derive(Debug)]
pub struct Agreement<'a> {
    scan: &'a LocalSnapshot,
    holds: bool,
    files: usize,
}

impl<'a> Agreement<'a> {
    /// Begins with what the mailbox's row says.
    pub fn new(row: &MailboxRow, scan: &'a LocalSnapshot) -> Self {
        let holds = scan.quiet
            && scan.duplicates.is_empty()
            && scan.directory == row.directory
            && scan.letters.as_ref() == Some(&row.letters);
        Self { scan, holds, files: 0 }
    }

    /// Takes the next message of the baseline. Returns false if no other matters any more.
    pub fn take(&mut self, message: &MessageRow) -> bool {
        let Some(unique) = &message.unique else { return self.holds };
        let same_file = |inode| message.stat.is_none_or(|stat| stat.inode == inode);
        let entry = self.scan.entries.get(unique);
        self.holds &= entry.is_some_and(|entry| entry.flags == message.flags && same_file(entry.inode));
        self.files += 1;
        self.holds
    }

    /// Returns whether it does, once all messages were taken.
    pub fn is_whole(&self) -> bool {
        self.holds && self.files == self.scan.entries.len()
    }
}

/// Spread over the week by the mailbox's row, so that not all come due in one run.
fn is_due(row: &MailboxRow, now: Timestamp) -> bool {
    let Some(last) = row.full_look else { return true };
    let spread = row.id.0.rem_euclid(7) * (FULL_LOOK / 14);
    now.0.saturating_sub(last.0) > FULL_LOOK - spread || last > now
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ModSeq, Uid, UidValidity};

    fn mark(uid_next: u32, messages: u32, mod_seq: u64) -> Watermark {
        Watermark { uid_validity: UidValidity(1), uid_next, messages, mod_seq: ModSeq::new(mod_seq) }
    }

    fn row(watermark: Watermark) -> MailboxRow {
        MailboxRow {
            uid_validity: Some(watermark.uid_validity),
            watermark: Some(watermark),
            full_look: Some(Timestamp(1000)),
            with_uid: u64::from(watermark.messages),
            highest: Uid::new(watermark.uid_next - 1),
            ..MailboxRow::blank_inbox()
        }
    }

    fn look(row: &MailboxRow, status: Option<Watermark>, mod_seq: bool, unsettled: bool) -> Look {
        let listed = ListedMailbox { role: None, selectable: true, subscribed: true, object_id: None, status };
        decide(row, Some(&listed), mod_seq, unsettled, false, Timestamp(2000))
    }

    #[test]
    fn only_a_mailbox_proven_unchanged_is_skipped() {
        let known = mark(10, 5, 77);
        let row = row(known);
        assert_eq!(look(&row, Some(known), true, false), Look::Skip);
        assert_eq!(look(&row, Some(known), true, true), Look::Since(known));
        assert_eq!(look(&row, Some(known), false, false), Look::Since(known));
        assert_eq!(look(&row, None, true, false), Look::Since(known));
        assert_eq!(look(&row, Some(mark(11, 6, 78)), true, false), Look::Since(known));
        assert_eq!(look(&MailboxRow { with_uid: 4, ..row.clone() }, Some(known), true, false), Look::Since(known));
        let past = MailboxRow { highest: Uid::new(10), ..row.clone() };
        assert_eq!(
            look(&past, Some(known), true, false),
            Look::Since(known),
            "sent after the look, and lost by the server"
        );
        let without = mark(10, 5, 0);
        assert_eq!(
            look(&MailboxRow { watermark: Some(without), ..row }, Some(without), true, false),
            Look::Since(without)
        );
    }

    #[test]
    fn values_that_went_back_ask_for_everything() {
        let row = row(mark(10, 5, 77));
        assert_eq!(look(&row, Some(mark(9, 5, 77)), true, false), Look::Full);
        assert_eq!(look(&row, Some(mark(10, 5, 76)), true, false), Look::Full);
        let other = Watermark { uid_validity: UidValidity(2), ..mark(10, 5, 77) };
        assert_eq!(look(&row, Some(other), true, false), Look::Full);
    }

    #[test]
    fn a_week_without_a_full_look_asks_for_one() {
        let row = row(mark(10, 5, 77));
        let listed =
            ListedMailbox { role: None, selectable: true, subscribed: true, object_id: None, status: row.watermark };
        assert_eq!(decide(&row, Some(&listed), true, false, false, Timestamp(1000 + FULL_LOOK)), Look::Full);
        assert_eq!(decide(&row, Some(&listed), true, false, true, Timestamp(2000)), Look::Full);
    }
}

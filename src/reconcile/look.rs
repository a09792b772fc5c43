//! Which mailboxes have to be looked at on the server, and from where on.

use super::snapshot::ListedMailbox;
use crate::model::{MailboxRow, Timestamp, Watermark};

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

//! How many messages each mailbox has: counted when they are written and not when it is asked for, so that a run with nothing
//! to do takes the same time whatever the mailboxes hold.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Result};

use super::commit::run;
use crate::model::{MailboxId, MessageId};

/// Messages written or deleted in a transaction and not counted yet.
#[derive(Debug, Default)]
pub(super) struct Tally {
    more: BTreeMap<MailboxId, i64>,
}

impl Tally {
    /// Notes that a mailbox has so many messages more.
    pub(super) fn more(&mut self, mailbox: MailboxId, count: i64) {
        *self.more.entry(mailbox).or_default() += count;
    }

    /// Notes that a mailbox has so many messages fewer.
    pub(super) fn fewer(&mut self, mailbox: MailboxId, count: usize) {
        self.more(mailbox, -i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Deletes a message, and notes that it is gone.
    pub(super) fn delete(&mut self, db: &Connection, message: MessageId) -> Result<()> {
        let mut statement = db.prepare_cached("DELETE FROM message WHERE id = ?1 RETURNING mailbox")?;
        if let Some(mailbox) = statement.query_row([message.0], |row| row.get(0).map(MailboxId)).optional()? {
            self.fewer(mailbox, 1);
        }
        Ok(())
    }

    /// Counts all messages of all mailboxes anew.
    pub(super) fn recount(&mut self, db: &Connection) -> Result<()> {
        self.more.clear();
        let sql = "UPDATE mailbox SET message_rows = (SELECT count(*) FROM message WHERE message.mailbox = mailbox.id)";
        run(db, sql, [])
    }

    /// Writes what was noted, at the end of the transaction.
    pub(super) fn write(self, db: &Connection) -> Result<()> {
        for (mailbox, count) in self.more {
            run(db, "UPDATE mailbox SET message_rows = message_rows + ?2 WHERE id = ?1", (mailbox.0, count))?;
        }
        Ok(())
    }
}

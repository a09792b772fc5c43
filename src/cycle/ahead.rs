//! What is done here before the server can be asked.

use std::pin::pin;

use futures_util::future::{Either, select};
use tokio::task::yield_now;

use crate::model::{MailboxRow, Stamp};
use crate::reconcile::policy::Options;
use crate::store::{Failure, Journal, LocalStore};

/// Waits for one thing, and does another as long as that takes.
pub async fn meanwhile<T>(awaited: impl Future<Output = T>, other: impl Future<Output = ()>) -> T {
    match select(pin!(awaited), pin!(other)).await {
        Either::Left((done, _)) => done,
        Either::Right(((), awaited)) => awaited.await,
    }
}

/// Reads the maildirs in which something has changed, or may have: that takes no less time once the server is there. Nothing
/// is decided by it, and what can't be read is met again by the run.
pub async fn read_ahead(local: &mut impl LocalStore, journal: &mut impl Journal, options: &Options) {
    match to_be_read(local, journal, options) {
        Ok(rows) => {
            for row in rows {
                yield_now().await;
                let read = local.read_ahead(&row.local, &row.letters);
                tracing::debug!(folder = %row.local, "read ahead");
                if let Ok(false) = read {
                    return;
                }
            }
        }
        Err(failure) => tracing::debug!("nothing is read ahead: {failure}"),
    }
}

/// Returns the mailboxes whose maildirs are going to be read. After a run that was cut short nobody knows: what it did is not
/// settled.
fn to_be_read(
    local: &mut impl LocalStore,
    journal: &mut impl Journal,
    options: &Options,
) -> Result<Vec<MailboxRow>, Failure> {
    if !journal.intents()?.is_empty() {
        return Ok(Vec::new());
    }
    let maildirs = local.list()?;
    let has_changed = |row: &MailboxRow| {
        let stamp: Option<Option<Stamp>> = maildirs.find(&row.local).map(|maildir| maildir.stamp);
        stamp.is_some_and(|now| options.full || now.is_none() || now != row.stamp)
    };
    let is_due = |row: &MailboxRow| row.watermark.is_some() && options.is_about(&row.name) && has_changed(row);
    Ok(journal.mailboxes()?.into_iter().filter(is_due).collect())
}

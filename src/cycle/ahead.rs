//! What is done here before the server can be asked.

use std::pin::pin;

use futures_util::future::{Either, select};
use tokio::task::yield_now;

use crate::model::{MailboxRow, Stamp, UniqueName};
use crate::reconcile::policy::Options;
use crate::reconcile::snapshot::{LocalEntry, LocalSnapshot};
use crate::store::{Failure, Journal, LocalStore, StateError};

/// How many files are read before it is seen whether the server is there.
const AT_ONCE: usize = 100;

/// In a folder of more files none are sought that came for others: there it takes longer to find out that there are none.
const MANY: usize = 20_000;

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
            for row in &rows {
                yield_now().await;
                let read = local.read_ahead(&row.local, &row.letters);
                tracing::debug!(folder = %row.local, "read ahead");
                if let Ok(false) = read {
                    return;
                }
            }
            for row in &rows {
                yield_now().await;
                if let Err(error) = journal.read_ahead(row.id) {
                    tracing::debug!(folder = %row.local, "what is known of it is not read ahead: {error}");
                }
            }
            for row in &rows {
                if let Err(error) = identify_ahead(local, journal, row).await {
                    tracing::debug!(folder = %row.local, "its new files are not read ahead: {error}");
                }
            }
        }
        Err(failure) => tracing::debug!("nothing is read ahead: {failure}"),
    }
}

/// Reads the new files of a maildir: they are about to be sent, or compared with what is new on the server, or with what left
/// other maildirs.
async fn identify_ahead(
    local: &mut impl LocalStore,
    journal: &mut impl Journal,
    row: &MailboxRow,
) -> Result<(), StateError> {
    let may_hold_new = |scan: &&LocalSnapshot| {
        let files = scan.entries.len();
        files <= MANY || files as u64 > row.with_uid
    };
    let Some(scan) = local.scanned_ahead(&row.local).filter(may_hold_new) else { return Ok(()) };
    // Nearly all are known here: asking for each takes many times as long.
    let mut known = vec![false; scan.entries.len()];
    journal.show_messages(row.id, &mut |message| {
        let at = message.unique.as_ref().and_then(|unique| scan.entries.find_index(unique).ok());
        at.and_then(|at| known.get_mut(at)).into_iter().for_each(|known| *known = true);
        true
    })?;
    let mut new: Vec<(UniqueName, LocalEntry)> = Vec::new();
    for ((unique, entry), _) in scan.entries.iter().zip(known).filter(|(_, known)| !known) {
        if !journal.is_known(unique)? {
            new.push((unique.clone(), entry.clone()));
        }
    }
    for part in new.chunks(AT_ONCE) {
        yield_now().await;
        let part: Vec<_> = part.iter().map(|(unique, entry)| (unique, entry)).collect();
        local.identify_ahead(&row.local, &part);
    }
    Ok(())
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
    let maildirs = local.list_ahead()?;
    let has_changed = |row: &MailboxRow| {
        let stamp: Option<Option<Stamp>> = maildirs.find(&row.local).map(|maildir| maildir.stamp);
        stamp.is_some_and(|now| options.full || now.is_none() || now != row.stamp)
    };
    let is_due = |row: &MailboxRow| row.watermark.is_some() && options.is_about(&row.name) && has_changed(row);
    Ok(journal.mailboxes()?.into_iter().filter(is_due).collect())
}

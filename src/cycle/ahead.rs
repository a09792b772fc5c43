//! What is found out here while the server lists its folders.

use std::collections::BTreeMap;
use std::pin::pin;

use futures_util::future::{Either, select};
use tokio::task::yield_now;

use super::{Account, Run};
use crate::model::{MailboxId, MailboxName, MailboxRow, MessageRow, Stamp};
use crate::reconcile::look::is_as_agreed;
use crate::reconcile::mailboxes::infer_roles;
use crate::reconcile::policy::Options;
use crate::reconcile::snapshot::RemoteListing;
use crate::store::{Failure, Journal, LocalStore, RemoteStore};

/// A maildir whose times said nothing, as they were too young when it was last read, read again.
pub(super) struct Reading {
    pub(super) unchanged: bool,
    /// What its times say now.
    pub(super) stamp: Option<Stamp>,
    /// What it was compared with.
    pub(super) rows: Vec<MessageRow>,
}

/// The maildirs found unchanged, by their names then, with what their times said.
pub(super) type Unchanged = BTreeMap<MailboxId, (MailboxName, Option<Stamp>)>;

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Lists the server's mailboxes with what they are for, and until it answers reads the maildirs that have to be read if
    /// nothing in their mailboxes has changed. Which is not known yet, so one in which something has changed here is let go
    /// of, to be read again, and with it every error.
    pub(super) async fn list_and_read_ahead(&mut self) -> Result<RemoteListing, Failure> {
        let (options, unchanged) = (self.options, &mut self.unchanged);
        let Account { remote, local, journal } = &mut *self.account;
        let listed = pin!(remote.list());
        let read = pin!(async {
            for row in young(journal, options).unwrap_or_default() {
                if let Ok(Reading { unchanged: true, stamp, .. }) = read_young(local, journal, &row, &row.local) {
                    unchanged.insert(row.id, (row.local, stamp));
                }
                yield_now().await;
            }
        });
        let mut listing = match select(listed, read).await {
            Either::Left((listing, _)) => listing?,
            Either::Right(((), listed)) => listed.await?,
        };
        infer_roles(&mut listing);
        Ok(listing)
    }
}

/// Returns the mailboxes whose maildirs have to be read to know whether anything in them has changed. After a run that was
/// cut short there are none: what is known of them is not settled.
fn young(journal: &mut impl Journal, options: &Options) -> Result<Vec<MailboxRow>, Failure> {
    if options.full || options.dry_run || !journal.intents()?.is_empty() {
        return Ok(Vec::new());
    }
    let is_young = |row: &MailboxRow| row.stamp.is_none() && row.watermark.is_some() && options.is_about(&row.name);
    Ok(journal.mailboxes()?.into_iter().filter(is_young).collect())
}

/// Reads a maildir and compares it with what is known of it.
pub(super) fn read_young(
    local: &mut impl LocalStore,
    journal: &mut impl Journal,
    row: &MailboxRow,
    name: &MailboxName,
) -> Result<Reading, Failure> {
    let scan = local.observe(name, &row.letters)?;
    let rows = journal.messages(row.id)?;
    Ok(Reading { unchanged: is_as_agreed(row, &rows, &scan), stamp: scan.stamp, rows })
}

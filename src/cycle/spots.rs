//! New messages on the server that may be old ones: what they are is asked by their headers, or as a whole.

use std::collections::BTreeMap;

use futures_util::future::join;
use tokio::task::yield_now;

use super::moves::{Leaving, files};
use super::plans::{Plans, Spot};
use super::{Account, Run};
use crate::apply::mailbox_problem;
use crate::model::{Identity, MailboxId, Uid};
use crate::store::{Failure, Identities, Journal, LocalStore, Messages, RemoteError, RemoteStore};

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// Identifies messages by their headers, or (`whole`) by all that they are. `None` if that could not be asked of all.
    pub(super) async fn identify_spots(
        &mut self,
        all: &Plans<'_>,
        spots: &[Spot],
        whole: bool,
    ) -> Result<Option<BTreeMap<Spot, Identity>>, Failure> {
        self.identify_while_reading(all, spots, whole, &[]).await
    }

    /// As [`Run::identify_spots`]. While the server answers files are read that are asked for next.
    pub(super) async fn identify_while_reading(
        &mut self,
        all: &Plans<'_>,
        spots: &[Spot],
        whole: bool,
        leaving: &[Leaving<'_, '_>],
    ) -> Result<Option<BTreeMap<Spot, Identity>>, Failure> {
        let asked = asked(all, spots);
        if asked.is_empty() {
            return Ok(Some(BTreeMap::new()));
        }
        let messages: Vec<Messages> = asked.iter().map(|(_, messages)| messages.clone()).collect();
        let Account { remote, local, .. } = &mut *self.account;
        let read = async {
            for Leaving { sight, gone } in leaving {
                local.identify_ahead(&sight.row.local, &files(gone));
                yield_now().await;
            }
        };
        let (answers, ()) = join(remote.identify_all(&messages, whole), read).await;
        Ok(self.identified(all, asked, answers?, whole))
    }

    /// Returns what the answers say; `None` if there is none for a mailbox.
    fn identified(
        &mut self,
        all: &Plans<'_>,
        asked: Vec<(MailboxId, Messages)>,
        answers: Vec<Result<Identities, RemoteError>>,
        whole: bool,
    ) -> Option<BTreeMap<Spot, Identity>> {
        let mut identities = BTreeMap::new();
        for ((id, messages), answer) in asked.into_iter().zip(answers) {
            match answer {
                Ok(found) => identities.extend(found.into_iter().map(|(uid, identity)| {
                    let message = all.message((id, uid));
                    let size = message.and_then(|message| message.size).filter(|_| !whole).unwrap_or(identity.size);
                    let date = message.and_then(|message| message.date);
                    ((id, uid), Identity { size, date, ..identity })
                })),
                Err(error) => {
                    self.report.problem(mailbox_problem(&messages.mailbox, &error));
                    return None;
                }
            }
        }
        Some(identities)
    }
}

/// Returns what to ask of the server to identify messages.
fn asked(all: &Plans<'_>, spots: &[Spot]) -> Vec<(MailboxId, Messages)> {
    let mut by_mailbox: BTreeMap<MailboxId, Vec<Uid>> = BTreeMap::new();
    spots.iter().for_each(|(mailbox, uid)| by_mailbox.entry(*mailbox).or_default().push(*uid));
    let asked = by_mailbox.into_iter().filter_map(|(id, uids)| {
        let sight = all.sight(id)?;
        let validity = sight.remote.as_ref()?.uid_validity();
        Some((id, Messages { mailbox: sight.row.name.clone(), validity, uids: uids.into_iter().collect() }))
    });
    asked.collect()
}

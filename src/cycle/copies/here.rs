//! New messages on the server whose files are in the Maildir already.

use std::collections::BTreeMap;

use super::{Known, plan_copy, wait_for_twin};
use crate::cycle::plans::{Key, Plans, Spot, key};
use crate::cycle::{Run, Scene};
use crate::model::{Flag, Identity, MailboxRow, MessageRow, Role};
use crate::reconcile::mailboxes::Fate;
use crate::reconcile::snapshot::RemoteMessage;
use crate::store::{Failure, Journal, LocalStore, RemoteStore};

impl<R: RemoteStore, L: LocalStore, J: Journal> Run<'_, R, L, J> {
    /// New messages on the server whose files are here already, or will be once one of them is.
    pub(super) async fn copy_here(
        &mut self,
        scene: &mut Scene,
        all: &mut Plans<'_>,
        known: &mut Known,
    ) -> Result<(), Failure> {
        let mut likely: Vec<(Spot, Vec<MessageRow>)> = Vec::new();
        let (mut twins, mut first): (Vec<(Spot, Spot)>, BTreeMap<Key, Spot>) = (Vec::new(), BTreeMap::new());
        let any = known.any();
        for (spot, (size, date)) in new_messages(all) {
            let of_size = if any { self.account.journal.messages_of_size(size)? } else { Vec::new() };
            let same: Vec<MessageRow> =
                of_size.into_iter().filter(|row| row.date == Some(date) && is_settled(row)).collect();
            let earlier = *first.entry((size, date)).or_insert(spot);
            match same.is_empty() {
                false => likely.push((spot, same)),
                true if earlier.0 != spot.0 => twins.push((spot, earlier)),
                true => {}
            }
        }
        let mut asked: Vec<Spot> = likely.iter().map(|(spot, _)| *spot).collect();
        asked.extend(twins.iter().flat_map(|(spot, earlier)| [*spot, *earlier]));
        asked.sort_unstable();
        asked.dedup();
        let Some(headers) = self.identify_spots(all, &asked, false).await? else { return Ok(()) };
        let renamed = !likely.is_empty() && self.may_be_renamed_since(scene)?;
        for (spot, rows) in likely {
            let Some(identity) = headers.get(&spot) else { continue };
            let rows = || rows.iter().filter(|row| row.message_id == identity.message_id);
            if let Some(source) = self.source(known, rows(), |file| file.header == identity.header)? {
                plan_copy(all, spot, source);
            } else if let Some(row) = rows().find(|row| self.may_have_moved(scene, all, known, row, renamed)) {
                // Moved on the server, and its file elsewhere here: a pass that looks at where it was follows both, or a
                // run that lists its maildir under the name that it has now.
                scene.again.insert(row.mailbox);
                wait_for_twin(scene, all, spot);
            }
        }
        for (spot, earlier) in twins {
            if headers.get(&spot).zip(headers.get(&earlier)).is_some_and(|(one, other)| is_twin(one, other)) {
                wait_for_twin(scene, all, spot);
            }
        }
        Ok(())
    }

    /// Returns true if a folder that has gone from the server could not be looked at, and maildirs have changed since they
    /// were listed: its own may have another name now.
    fn may_be_renamed_since(&mut self, scene: &Scene) -> Result<bool, Failure> {
        let mut gone = scene.folders.iter().filter(|folder| folder.fate == Fate::GoneRemote);
        Ok(gone.any(|folder| self.blind.contains(&folder.local)) && !self.account.local.stirred()?.is_empty())
    }

    /// Returns true for a message whose file is not where it was, of a folder that was not looked at by this pass: it will be
    /// by the next, or it has gone from the server and its maildir may be `renamed`. Fetched, such a message would be sent,
    /// too, from where its file is.
    fn may_have_moved(&self, scene: &Scene, all: &Plans<'_>, known: &Known, row: &MessageRow, renamed: bool) -> bool {
        let is_away = known.files.get(&row.id).is_some_and(Option::is_none);
        let waits =
            |mailbox: &MailboxRow| self.is_looked_at(scene, mailbox) || (renamed && scene.is_gone(&mailbox.name));
        is_away
            && row.unique.is_some()
            && all.scan(row.mailbox).is_none()
            && known.rows.get(&row.mailbox).is_some_and(waits)
    }
}

/// Returns the new messages that may be copies of others. What comes to Trash may be the good version of a message that
/// was damaged here, and drafts are saved again within a second: equal headers prove nothing about them.
fn new_messages(all: &Plans<'_>) -> Vec<(Spot, Key)> {
    let plans = all.plans.iter().filter(|plan| !matches!(plan.role, Some(Role::Trash | Role::Drafts)));
    let spots = plans.flat_map(|plan| plan.download.iter().map(|uid| (plan.mailbox, *uid)));
    let settled = |message: &&RemoteMessage| !message.flags.has(Flag::Draft);
    let known = |spot: Spot| all.message(spot).filter(settled).and_then(|message| key(message.size, message.date));
    spots.filter_map(|spot| Some((spot, known(spot)?))).collect()
}

fn is_settled(row: &MessageRow) -> bool {
    row.message_id.is_some() && !row.flags.has(Flag::Draft)
}

fn is_twin(one: &Identity, other: &Identity) -> bool {
    one.message_id.is_some()
        && (one.message_id, one.header, one.size, one.date) == (other.message_id, other.header, other.size, other.date)
}

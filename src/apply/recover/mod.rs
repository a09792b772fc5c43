//! What a leftover intent means: found out before anything is observed, at the start of every pass.
//!
//! Nothing is sent or fetched twice because of a crash, and when nothing can be found of a deed, it is done again
//! rather than taken as removed: a resurrection beats a loss.

mod append;
mod astray;
mod copy;
mod download;
mod flags;
mod label;
mod removal;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use self::flags::shown;
use super::{Apply, is_fatal};
use crate::model::{Identity, MailboxId, MailboxName, MailboxRow, MessageRow, Uid, UidSet, UidValidity, Watermark};
use crate::reconcile::flags::FlagRules;
use crate::reconcile::report::Problem;
use crate::reconcile::snapshot::{RemoteRequest, RemoteSnapshot};
use crate::store::{
    Failure, Intent, IntentId, Journal, LocalErrorKind, LocalStore, Observed, Record, RemoteError, RemoteErrorKind,
    RemoteStore,
};

/// How many looks in a row must find nothing new before an interrupted connection's work counts as done,
const QUIET_LOOKS: u32 = 8;
/// and how many are taken at most.
const LONGEST_WAIT: u32 = 240;

/// A mailbox that intents are about.
#[derive(Debug, Clone)]
pub struct Place {
    /// What the baseline knows of it.
    pub row: MailboxRow,
    /// What decides about flags in it.
    pub rules: FlagRules,
    /// The server listed it under its name when this run listed all folders.
    pub listed: bool,
}

/// What the baseline knows of a mailbox to be looked at.
struct Known {
    name: MailboxName,
    watermark: Option<Watermark>,
    rows: Vec<MessageRow>,
}

/// What became of a mailbox's intents.
enum Settlement {
    /// All are settled by these records.
    Records(Vec<Record>),
    /// It can't be told now.
    Unknown,
}

impl<R: RemoteStore, L: LocalStore, J: Journal> Apply<'_, R, L, J> {
    /// Settles the intents of an earlier run or pass, and returns the mailboxes of which some can't be settled now:
    /// nothing may be decided about those.
    ///
    /// # Errors
    /// What concerns the whole account.
    pub async fn recover(&mut self, places: &BTreeMap<MailboxId, Place>) -> Result<BTreeSet<MailboxId>, Failure> {
        let mut unsettled = BTreeSet::new();
        let mut groups: BTreeMap<MailboxId, Vec<(IntentId, Intent)>> = BTreeMap::new();
        for (id, intent) in self.journal.intents()? {
            groups.entry(intent.mailbox()).or_default().push((id, intent));
        }
        for (mailbox, intents) in groups {
            let Some(place) = places.get(&mailbox) else {
                unsettled.insert(mailbox);
                continue;
            };
            match self.settle(place, places, intents).await {
                Ok(Settlement::Records(records)) => self.commit(records)?,
                Ok(Settlement::Unknown) => {
                    self.report.problem(unsettled_problem(&place.row.name));
                    unsettled.insert(mailbox);
                }
                Err(Failure::Remote(error)) if !is_fatal(&error) => {
                    self.report.problem(super::mailbox_problem(&place.row.name, &error));
                    unsettled.insert(mailbox);
                }
                Err(Failure::Local(error)) if error.kind == LocalErrorKind::Item => {
                    self.report.problem(super::local_problem(&place.row.name, None, &error));
                    unsettled.insert(mailbox);
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(unsettled)
    }

    async fn settle(
        &mut self,
        place: &Place,
        places: &BTreeMap<MailboxId, Place>,
        intents: Vec<(IntentId, Intent)>,
    ) -> Result<Settlement, Failure> {
        let (mut downloads, mut appends, mut copies, mut removals) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut labels, mut flags, mut records) = (Vec::new(), Vec::new(), Vec::new());
        for (id, intent) in intents {
            match intent {
                Intent::Download { row, .. } => downloads.push((id, row)),
                Intent::Append { .. } => appends.push((id, intent)),
                Intent::Copy { .. } => copies.push((id, intent)),
                Intent::Relabel { .. } => labels.push((id, intent)),
                Intent::Flags { .. } => flags.push((id, intent)),
                Intent::Remove { unique, .. } => removals.push((id, unique)),
                // Those are followed to their end before anything is listed.
                Intent::Rename { .. } => records.push(Record::Settled(id)),
            }
        }
        let parts = [
            self.recover_downloads(place, downloads)?,
            self.recover_appends(place, places, appends).await?,
            self.recover_copies(place, places, copies).await?,
            self.recover_flags(place, flags).await?,
            self.recover_removals(place, &removals)?,
        ];
        for part in parts {
            match part {
                Settlement::Records(part) => records.extend(part),
                Settlement::Unknown => return Ok(Settlement::Unknown),
            }
        }
        // A label counts if its file has a row, which may be one of these.
        self.commit(records)?;
        self.recover_labels(place, labels)
    }

    /// Looks at one mailbox from its watermark on; `None` if it is no more.
    async fn look_at(&mut self, known: &Known) -> Result<Option<RemoteSnapshot>, Failure> {
        let request = RemoteRequest {
            mailbox: known.name.clone(),
            since: known.watermark,
            known: known.rows.iter().map(|row| row.uid).collect(),
        };
        match self.remote.observe(&[request]).await?.pop() {
            Some(Observed { outcome: Ok(snapshot), .. }) => Ok(Some(snapshot)),
            Some(Observed { outcome: Err(error), .. }) if error.kind == RemoteErrorKind::NoSuchMailbox => Ok(None),
            Some(Observed { outcome: Err(error), .. }) => Err(error.into()),
            None => {
                let cause = format!("no answer about {}", known.name);
                Err(RemoteError::new(RemoteErrorKind::Refused, cause).into())
            }
        }
    }

    /// Looks at a mailbox until nothing new has come for a while. Changes of flags are no news: in a busy folder there would
    /// be no end of them.
    ///
    /// A connection that died leaves commands behind that the server received and goes on carrying out, next to ours:
    /// what they put there is seen only once they are done.
    async fn look_when_quiet(&mut self, known: &Known) -> Result<Option<RemoteSnapshot>, Failure> {
        let Some(mut last) = self.look_at(known).await? else { return Ok(None) };
        let mut still = 0;
        for _ in 0..LONGEST_WAIT {
            if still == QUIET_LOOKS {
                break;
            }
            self.remote.linger().await?;
            let Some(now) = self.look_at(known).await? else { return Ok(None) };
            let came_to = |seen: &RemoteSnapshot| (seen.watermark.uid_validity, seen.watermark.uid_next);
            still = if came_to(&now) == came_to(&last) { still + 1 } else { 0 };
            last = now;
        }
        Ok(Some(last))
    }

    fn known(&mut self, row: &MailboxRow) -> Result<Known, Failure> {
        let rows = self.journal.messages(row.id)?;
        Ok(Known { name: row.name.clone(), watermark: row.watermark, rows })
    }

    /// Identifies messages, with the size and date that the listing gives.
    async fn identify_listed(
        &mut self,
        mailbox: &MailboxName,
        snapshot: &RemoteSnapshot,
        uids: &UidSet,
        whole: bool,
    ) -> Result<BTreeMap<Uid, Identity>, Failure> {
        let mut found = self.remote.identify(mailbox, snapshot.uid_validity(), uids, whole).await?;
        for (uid, identity) in &mut found {
            if let Some(message) = snapshot.messages.listed().get(uid) {
                identity.date = message.date;
                identity.size = message.size.filter(|_| !whole).unwrap_or(identity.size);
            }
        }
        Ok(found)
    }
}

fn unsettled_problem(folder: &MailboxName) -> Problem {
    Problem {
        code: "folder-unfinished",
        folder: Some(folder.clone()),
        path: None,
        uid: None,
        message: "what an interrupted sync left could not be found out, because the maildirs kept changing; \
                  the folder is left as it is on both sides"
            .to_owned(),
        hint: "sync again when the program that changes them is done".to_owned(),
        retry_at: None,
    }
}

/// Returns the messages that came since, and that the baseline does not know.
fn newcomers(snapshot: &RemoteSnapshot, rows: &[MessageRow], validity: UidValidity, uid_next: u32) -> UidSet {
    if snapshot.uid_validity() != validity {
        return UidSet::new();
    }
    let known: UidSet = rows.iter().map(|row| row.uid).collect();
    let listed = snapshot.messages.listed().keys().copied();
    listed.filter(|uid| uid.get() >= uid_next && !known.contains(*uid)).collect()
}

fn settled(ids: impl IntoIterator<Item = IntentId>) -> Settlement {
    Settlement::Records(ids.into_iter().map(Record::Settled).collect())
}

//! Downloads: streamed into `tmp`, made durable batch by batch, journaled, then made visible and recorded.
//!
//! One `syncfs` makes a batch's data durable (eight thousand files of 19 KB on ext4: 0.19 s that way, 1.2 s by one
//! `fsync` each), then the intents, then the names, then the directories, then the rows: two transactions a batch.

use std::collections::BTreeSet;

use super::{Apply, Ground};
use crate::model::{FlagDelta, Timestamp, Uid, UidSet, UniqueName};
use crate::reconcile::flags::download_flags;
use crate::reconcile::plan::{LocalCopy, MailboxPlan};
use crate::reconcile::report::{Event, Problem};
use crate::store::{
    BodySink, BodySource, Edit, Failure, FailureRow, FetchedMessage, Intent, Journal, LocalError, LocalErrorKind,
    LocalStore, NewMessage, Record, RemoteStore, Staged,
};

/// How many messages are made durable together,
const BATCH_MESSAGES: usize = 500;
/// or how many bytes, whichever is reached first.
const BATCH_BYTES: u64 = 64 << 20;

/// A file is copied in pieces of so many bytes.
const COPY_BUFFER: usize = 64 * 1024;

impl<R: RemoteStore, L: LocalStore, J: Journal> Apply<'_, R, L, J> {
    pub(super) async fn download(&mut self, plan: &MailboxPlan) -> Result<(), Failure> {
        let idle = plan.download.is_empty() && plan.copy_local.is_empty();
        let Some(ground) = self.ground(plan).filter(|_| !idle) else { return Ok(()) };
        let wanted: UidSet = plan.download.iter().copied().collect();
        self.after(plan.mailbox).local_changed = true;
        let (outcome, arrived) = self.fetch(plan, ground, &wanted).await;
        outcome?;
        let missing = wanted.difference(&arrived);
        if missing.is_empty() {
            return Ok(());
        }
        self.after(plan.mailbox).overtaken = true;
        // What was expunged since it was listed is gone, not unavailable.
        let there = self.remote.identify(&plan.name, ground.uid_validity, &missing, false).await?;
        self.unavailable(plan, there.into_keys().collect())
    }

    async fn fetch(&mut self, plan: &MailboxPlan, ground: Ground, wanted: &UidSet) -> (Result<(), Failure>, UidSet) {
        let letters = self.letters(plan);
        let mut batch = Batch {
            local: &mut *self.local,
            journal: &mut *self.journal,
            plan,
            ground,
            staged: Vec::new(),
            bytes: 0,
            letters,
            arrived: BTreeSet::new(),
            landed: Vec::new(),
            progress: self.progress,
            failure: None,
        };
        let copied = plan.copy_local.iter().try_for_each(|copy| batch.copy(copy));
        let fetched = match copied {
            Err(error) => Err(error.into()),
            Ok(()) if wanted.is_empty() => Ok(()),
            Ok(()) => self.remote.fetch(&plan.name, ground.uid_validity, wanted, &mut batch).await,
        };
        // What arrived before the connection broke is worth keeping.
        let flushed = match &batch.failure {
            None => batch.flush(),
            Some(_) => Ok(()),
        };
        let outcome = match (batch.failure.take(), fetched, flushed) {
            (Some(failure), _, _) | (None, _, Err(failure)) => Err(failure),
            (None, Err(error), Ok(())) => Err(error.into()),
            (None, Ok(()), Ok(())) => Ok(()),
        };
        let (arrived, letters) = (std::mem::take(&mut batch.arrived), std::mem::take(&mut batch.letters));
        self.report.arrive(&plan.name, &plan.local, std::mem::take(&mut batch.landed));
        let copied = plan.copy_local.iter().filter(|copy| arrived.contains(&copy.uid)).count();
        self.report.local.copied += copied as u64;
        self.report.local.added += (arrived.len() - copied) as u64;
        self.after(plan.mailbox).overtaken |= copied < plan.copy_local.len();
        self.letters.insert(plan.mailbox, letters);
        (outcome, arrived.into_iter().collect())
    }

    /// Reports messages that the server has and does not give.
    fn unavailable(&mut self, plan: &MailboxPlan, uids: Vec<Uid>) -> Result<(), Failure> {
        let retry_at = Timestamp(self.terms.now.0 + super::RETRY_AFTER);
        let mut records = Vec::new();
        for uid in uids {
            let message = "the server lists this message but gave no body for it; it is left where it is".to_owned();
            self.report.problem(Problem {
                code: "message-unavailable",
                folder: Some(plan.name.clone()),
                path: None,
                uid: Some(uid),
                message: message.clone(),
                hint: "if it is still there tomorrow, open it in webmail: the server's copy may be damaged".to_owned(),
                retry_at: Some(retry_at),
            });
            let code = "message-unavailable".to_owned();
            records.push(Record::Failed(FailureRow {
                mailbox: plan.mailbox,
                unique: None,
                uid: Some(uid),
                code,
                message,
                retry_at: Some(retry_at),
                flags: FlagDelta::default(),
            }));
        }
        self.commit(&records)
    }
}

/// Messages staged in `tmp` and not yet visible.
struct Batch<'a, L, J> {
    local: &'a mut L,
    journal: &'a mut J,
    plan: &'a MailboxPlan,
    ground: Ground,
    staged: Vec<(Staged, FetchedMessage)>,
    bytes: u64,
    letters: crate::model::KeywordLetters,
    arrived: BTreeSet<Uid>,
    /// The files of those that came over the wire.
    landed: Vec<UniqueName>,
    progress: &'a dyn Fn(Event),
    /// What went wrong where the sink's own error type can't say it.
    failure: Option<Failure>,
}

impl<L: LocalStore, J: Journal> Batch<'_, L, J> {
    /// Takes a message from a file that has it, like one that arrives. A file that is no longer as it was is left alone,
    /// and so is the message: the next pass sees it again.
    fn copy(&mut self, copy: &LocalCopy) -> Result<(), LocalError> {
        let LocalCopy { uid, flags, date, from, source, entry, stat } = copy;
        let body = match self.local.read(from, source, entry) {
            Ok(Edit::Done(body)) => body,
            Ok(Edit::Changed) => return Ok(()),
            Err(error) if matches!(error.kind, LocalErrorKind::Item | LocalErrorKind::NoMessage) => return Ok(()),
            Err(error) => return Err(error),
        };
        self.begin()?;
        let read = self.pour(body);
        let same = read.is_ok() && self.local.revisit(from, source, entry, Some(*stat))? == Edit::Done((None, *stat));
        match same {
            true => self.finish(FetchedMessage { uid: *uid, flags: flags.clone(), date: *date }),
            false => self.discard(),
        }
    }

    fn pour(&mut self, mut body: Box<dyn BodySource>) -> Result<(), LocalError> {
        let mut buffer = vec![0; COPY_BUFFER];
        loop {
            match body.read(&mut buffer)? {
                0 => return Ok(()),
                len => self.write(buffer.get(..len).unwrap_or_default())?,
            }
        }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let staged = std::mem::take(&mut self.staged);
        self.bytes = 0;
        if staged.is_empty() {
            return Ok(());
        }
        self.local.sync_staged(&self.plan.local)?;
        let rows: Vec<NewMessage> = staged.iter().map(|(file, message)| new_row(file, message)).collect();
        let intent = |row: &NewMessage| Intent::Download {
            mailbox: self.plan.mailbox,
            uid_validity: self.ground.uid_validity,
            row: row.clone(),
        };
        let intents = self.journal.begin(&rows.iter().map(intent).collect::<Vec<_>>())?;
        self.assign_letters(&rows)?;
        let mut records = Vec::new();
        for ((file, message), (row, intent)) in staged.into_iter().zip(rows.into_iter().zip(intents)) {
            let flags = download_flags(&message.flags, &self.plan.rules);
            if self.local.publish(&self.plan.local, &file.unique, &flags, &self.letters)? == Edit::Done(()) {
                self.arrived.insert(message.uid);
                if !self.plan.copy_local.iter().any(|copy| copy.uid == message.uid) {
                    self.landed.push(file.unique);
                }
                records.push(Record::Insert(self.plan.mailbox, row));
            }
            records.push(Record::Settled(intent));
        }
        self.local.sync(&self.plan.local)?;
        self.journal.commit(&records)?;
        (self.progress)(Event::Downloaded(records.len() as u64 / 2));
        Ok(())
    }

    fn assign_letters(&mut self, rows: &[NewMessage]) -> Result<(), Failure> {
        let keywords = rows.iter().flat_map(|row| &row.flags.keywords).filter(|keyword| !keyword.is_forwarded());
        let new: BTreeSet<_> = keywords.filter(|keyword| self.letters.letter(keyword).is_none()).cloned().collect();
        if !new.is_empty() {
            self.letters = self.local.assign_letters(&self.plan.local, &self.letters, &new)?;
        }
        Ok(())
    }
}

impl<L: LocalStore, J: Journal> BodySink for Batch<'_, L, J> {
    fn begin(&mut self) -> Result<(), LocalError> {
        self.local.stage(&self.plan.local)
    }

    fn write(&mut self, wire: &[u8]) -> Result<(), LocalError> {
        self.local.stage_write(wire)
    }

    fn finish(&mut self, message: FetchedMessage) -> Result<(), LocalError> {
        let file = self.local.stage_finish(message.date)?;
        self.bytes += file.stat.size;
        self.staged.push((file, message));
        if self.staged.len() < BATCH_MESSAGES && self.bytes < BATCH_BYTES {
            return Ok(());
        }
        self.flush().map_err(|failure| {
            let words = failure.to_string();
            self.failure = Some(failure);
            LocalError { kind: LocalErrorKind::Unusable, cause: words.into() }
        })
    }

    fn discard(&mut self) -> Result<(), LocalError> {
        self.local.stage_discard()
    }
}

fn new_row(file: &Staged, message: &FetchedMessage) -> NewMessage {
    NewMessage {
        uid: message.uid,
        unique: Some(file.unique.clone()),
        flags: message.flags.clone(),
        tombstone: None,
        date: message.date,
        size: Some(file.wire_size),
        content: Some(file.content),
        message_id: file.message_id,
        stat: Some(file.stat),
    }
}

//! Uploads: an intent for every message of a burst, then the burst, then the rows. A message whose UID the server
//! does not tell keeps its intent until the next look finds it.

use super::{Apply, Ground, RETRY_AFTER, is_fatal};
use crate::model::{FileStat, Fingerprint, FlagDelta, FlagSet, Identity, Timestamp, Uid, UniqueName};
use crate::reconcile::flags::upload_flags;
use crate::reconcile::plan::{MailboxPlan, Upload};
use crate::reconcile::report::{Event, Problem};
use crate::store::{
    Append, Appended, Edit, Failure, FailureRow, Intent, IntentId, Journal, LocalError, LocalErrorKind, LocalStore,
    NewMessage, Record, RemoteError, RemoteErrorKind, RemoteStore,
};

/// How many messages are sent before their UIDs are recorded.
const BURST: usize = 50;

/// A file that was read and is about to be sent.
struct Outgoing {
    unique: UniqueName,
    identity: Identity,
    content: Fingerprint,
    stat: FileStat,
    /// What its row gets,
    flags: FlagSet,
    /// and what it is sent with.
    sent: FlagSet,
}

impl<R: RemoteStore, L: LocalStore, J: Journal> Apply<'_, R, L, J> {
    pub(super) async fn upload(&mut self, plan: &MailboxPlan) -> Result<(), Failure> {
        let Some(ground) = self.ground(plan) else { return Ok(()) };
        for burst in plan.upload.chunks(BURST) {
            self.send(plan, ground, burst).await?;
        }
        Ok(())
    }

    async fn send(&mut self, plan: &MailboxPlan, ground: Ground, burst: &[Upload]) -> Result<(), Failure> {
        let (mut outgoing, mut messages) = (Vec::new(), Vec::new());
        for upload in burst {
            if let Some((file, message)) = self.open(plan, upload)? {
                outgoing.push(file);
                messages.push(message);
            }
        }
        if outgoing.is_empty() {
            return Ok(());
        }
        let intents: Vec<Intent> = outgoing.iter().map(|file| file.intent(plan, ground)).collect();
        let intents = self.journal.begin(&intents)?;
        self.after(plan.mailbox).remote_changed = true;
        let answers = self.remote.append(&plan.name, messages).await?;
        let mut records = Vec::new();
        for ((file, intent), answer) in outgoing.iter().zip(intents).zip(answers) {
            records.extend(self.sent(plan, ground, file, intent, answer)?);
        }
        self.commit(&records)?;
        (self.progress)(Event::Uploaded(outgoing.len() as u64));
        Ok(())
    }

    /// Reads a file. One that can't be read is reported and left alone; one that changed is looked at again.
    fn open(&mut self, plan: &MailboxPlan, upload: &Upload) -> Result<Option<(Outgoing, Append)>, Failure> {
        match self.read(plan, upload) {
            Ok(Edit::Done(message)) => Ok(Some(message)),
            Ok(Edit::Changed) => {
                self.after(plan.mailbox).overtaken = true;
                Ok(None)
            }
            Err(error) if error.kind == LocalErrorKind::NoMessage => Ok(None),
            Err(error) if error.kind == LocalErrorKind::Item => {
                self.after(plan.mailbox).failed = true;
                self.report.problem(super::local_problem(&plan.name, Some(upload.unique.to_string()), &error));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn read(&mut self, plan: &MailboxPlan, upload: &Upload) -> Result<Edit<(Outgoing, Append)>, LocalError> {
        let Upload { unique, entry } = upload;
        let Edit::Done((identity, stat)) = self.local.identify(&plan.local, unique, entry)? else {
            return Ok(Edit::Changed);
        };
        let replacement = plan.replace.get(unique);
        if replacement.and_then(|replacement| replacement.stat).is_some_and(|seen| seen != stat) {
            return Ok(Edit::Changed);
        }
        let Edit::Done(body) = self.local.read(&plan.local, unique, entry)? else { return Ok(Edit::Changed) };
        let Some(content) = identity.content else { return Ok(Edit::Changed) };
        // Saved in place between the two readings, what is sent would not be what is recorded.
        if self.local.revisit(&plan.local, unique, entry, Some(stat))? != Edit::Done((None, stat)) {
            return Ok(Edit::Changed);
        }
        // The row bears the flags that the file has, so that the next look brings those of the server to the file.
        let flags = upload_flags(entry, &plan.rules);
        let sent = replacement.map_or_else(|| flags.clone(), |replacement| replacement.flags.clone());
        let message = Append { flags: sent.clone(), date: identity.date, body };
        Ok(Edit::Done((Outgoing { unique: unique.clone(), identity, content, stat, flags, sent }, message)))
    }

    /// Returns what to record of an answer. Without a UID the intent stays, and the next look settles it.
    fn sent(
        &mut self,
        plan: &MailboxPlan,
        ground: Ground,
        file: &Outgoing,
        intent: IntentId,
        answer: Appended,
    ) -> Result<Vec<Record>, Failure> {
        if matches!(answer, Appended::As(..) | Appended::Somewhere) {
            self.uploaded.insert((plan.mailbox, file.unique.clone()), file.sent.clone());
            let count = &mut self.report.remote;
            *(if plan.replace.contains_key(&file.unique) { &mut count.replaced } else { &mut count.added }) += 1;
        }
        match answer {
            Appended::As(validity, uid) if validity == ground.uid_validity => {
                self.given.insert((plan.mailbox, uid));
                Ok(vec![Record::Insert(plan.mailbox, file.row(uid)), Record::Settled(intent)])
            }
            Appended::As(..) | Appended::Somewhere => {
                self.after(plan.mailbox).overtaken = true;
                Ok(Vec::new())
            }
            Appended::Refused(error) if is_fatal(&error) => Err(error.into()),
            // Busy now is no reason to wait a day.
            Appended::Refused(error) if error.kind == RemoteErrorKind::Busy => {
                self.after(plan.mailbox).failed = true;
                self.report.problem(super::mailbox_problem(&plan.name, &error));
                Ok(vec![Record::Settled(intent)])
            }
            Appended::Refused(error) => {
                Ok(vec![Record::Failed(self.refused(plan, file, &error)), Record::Settled(intent)])
            }
        }
    }

    fn refused(&mut self, plan: &MailboxPlan, file: &Outgoing, error: &RemoteError) -> FailureRow {
        let (code, hint) = match error.kind {
            RemoteErrorKind::TooLarge => {
                ("message-too-large", "make room on the server, or keep the message outside this folder")
            }
            RemoteErrorKind::Unrepresentable => {
                ("message-unrepresentable", "the server can't store these bytes; the file stays here")
            }
            _ => ("message-refused", "the server's words say why; the file stays here"),
        };
        let retry_at = Some(Timestamp(self.terms.now.0 + RETRY_AFTER));
        let message = format!("{error}; the message stays in the Maildir and is not on the server");
        self.report.problem(Problem {
            code,
            folder: Some(plan.name.clone()),
            path: Some(file.unique.to_string()),
            uid: None,
            message: message.clone(),
            hint: hint.to_owned(),
            retry_at,
        });
        FailureRow {
            mailbox: plan.mailbox,
            unique: Some(file.unique.clone()),
            uid: None,
            code: code.to_owned(),
            message,
            retry_at,
            flags: FlagDelta::default(),
        }
    }
}

impl Outgoing {
    fn intent(&self, plan: &MailboxPlan, ground: Ground) -> Intent {
        Intent::Append {
            mailbox: plan.mailbox,
            uid_validity: ground.uid_validity,
            uid_next: ground.uid_next,
            unique: self.unique.clone(),
            flags: self.flags.clone(),
            difference: self.flags.delta_to(&self.sent),
            date: self.identity.date,
            size: self.identity.size,
            message_id: self.identity.message_id,
            content: self.content,
            stat: self.stat,
        }
    }

    fn row(&self, uid: Uid) -> NewMessage {
        NewMessage {
            uid,
            unique: Some(self.unique.clone()),
            flags: self.flags.clone(),
            tombstone: None,
            date: self.identity.date,
            size: Some(self.identity.size),
            content: Some(self.content),
            message_id: self.identity.message_id,
            stat: Some(self.stat),
        }
    }
}

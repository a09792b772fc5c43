//! Uploads, part by part: an intent for every message of a part, then the messages, then the rows. While the server works
//! on one part the next is read and sent, and what goes to several mailboxes may take two lanes. A message whose UID the
//! server does not tell keeps its intent until the next look finds it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::slice;

use super::merged;
use super::refusal::Failed;
use super::{Aftermath, Apply, Ground, is_fatal};
use crate::model::{
    FailureCode, FileStat, Fingerprint, FlagDelta, FlagSet, Identity, MailboxId, MailboxName, MessageId, Timestamp,
    Tombstone, Uid, UniqueName,
};
use crate::reconcile::flags::upload_flags;
use crate::reconcile::plan::{MailboxPlan, Upload};
use crate::reconcile::report::{Event, Report};
use crate::store::{
    Append, Appended, Edit, Failure, FailureRow, Intent, IntentId, Journal, Lane, LocalError, LocalErrorKind,
    LocalStore, NewMessage, Record, RemoteError, RemoteErrorKind, RemoteStore, Uploads,
};

/// How many bytes, in files, make a part of an upload, unless there are enough messages first.
const PART_BYTES: u64 = 16 << 20;

/// How many open files do: four parts are out at most.
const PART_OPEN: usize = 100;

/// Files that may have been what went wrong when they were sent.
pub type Suspects = BTreeMap<(MailboxId, UniqueName), Caution>;

/// How such a file is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caution {
    /// With a command of its own: that several were refused says nothing about any of them.
    OwnCommand,
    /// And while nothing else is on its way over the connection: if that is lost, answers to what went before may be, too.
    ByItself,
}

/// New messages of one maildir that were not read yet.
type Folder<'p> = (&'p MailboxPlan, Ground, slice::Iter<'p, Upload>);

/// A file that was read and is about to be sent.
struct Outgoing<'p> {
    plan: &'p MailboxPlan,
    ground: Ground,
    unique: UniqueName,
    identity: Identity,
    content: Fingerprint,
    stat: FileStat,
    /// What its row gets,
    flags: FlagSet,
    /// and what it is sent with.
    sent: FlagSet,
    /// What has left its mailbox once this is sent.
    leaves: Option<MessageId>,
}

/// An upload: files are read as more can be sent, and recorded as the server answers.
struct Outbox<'a, 'p, L, J> {
    local: &'a mut L,
    journal: &'a mut J,
    report: &'a mut Report,
    progress: &'a dyn Fn(Event),
    aftermath: &'a mut BTreeMap<MailboxId, Aftermath>,
    uploaded: &'a mut BTreeMap<(MailboxId, UniqueName), FlagSet>,
    given: &'a mut BTreeSet<(MailboxId, Uid)>,
    suspects: &'a mut Suspects,
    now: Timestamp,
    /// The maildirs that no lane has taken yet,
    waiting: VecDeque<Folder<'p>>,
    /// how many messages make a part,
    part: usize,
    /// and whether a second lane could take as many.
    is_large: bool,
    first: OneLane<'p>,
    second: OneLane<'p>,
    /// What went wrong where the error type of the interface can't say it.
    failure: Option<Failure>,
}

/// What takes one lane.
#[derive(Default)]
struct OneLane<'p> {
    /// The maildir that is being sent from.
    folder: Option<Folder<'p>>,
    /// The parts that are out, each file with its intent.
    out: VecDeque<Vec<(Outgoing<'p>, IntentId)>>,
}

impl<R: RemoteStore, L: LocalStore, J: Journal> Apply<'_, R, L, J> {
    /// Sends new messages to all mailboxes, in parts that don't care where one mailbox ends.
    pub(super) async fn upload<'p>(&mut self, plans: &[&'p MailboxPlan]) -> Result<(), Failure> {
        let busy = plans.iter().filter(|plan| !plan.upload.is_empty());
        let folder = |plan: &&'p MailboxPlan| Some((*plan, self.ground(plan)?, plan.upload.iter()));
        let waiting: VecDeque<Folder<'_>> = busy.filter_map(folder).collect();
        if waiting.is_empty() {
            return Ok(());
        }
        let is_large = second_share(&waiting) >= R::PART;
        let mut outbox = Outbox {
            local: &mut *self.local,
            journal: &mut *self.journal,
            report: &mut *self.report,
            progress: self.progress,
            aftermath: &mut self.aftermath,
            uploaded: &mut self.uploaded,
            given: &mut self.given,
            suspects: &mut self.suspects,
            now: self.terms.now,
            waiting,
            part: R::PART,
            is_large,
            first: OneLane::default(),
            second: OneLane::default(),
            failure: None,
        };
        let sent = self.remote.append(&mut outbox).await;
        match outbox.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(sent?),
        }
    }
}

impl<L: LocalStore, J: Journal> Uploads for Outbox<'_, '_, L, J> {
    fn is_large(&self) -> bool {
        self.is_large
    }

    fn next(&mut self, lane: Lane) -> Result<Vec<(MailboxName, Vec<Append>)>, LocalError> {
        let prepared = self.prepare(lane);
        self.unless_failed(prepared)
    }

    fn is_over(&self, lane: Lane) -> bool {
        let (own, other) = match lane {
            Lane::First => (&self.first, &self.second),
            Lane::Second => (&self.second, &self.first),
        };
        self.waiting.is_empty() && own.is_read() && other.out.is_empty()
    }

    fn answered(&mut self, lane: Lane, answers: Vec<Vec<Appended>>) -> Result<(), LocalError> {
        let recorded = self.record(lane, answers);
        self.unless_failed(recorded)
    }

    fn was_out_before(&self, lane: Lane, at: usize) -> bool {
        let part = self.lane(lane).out.front();
        part.and_then(|part| part.get(at)).is_some_and(|(file, _)| self.suspects.contains_key(&file.key()))
    }

    fn hung_up(&mut self, lane: Lane, at: usize, said: Option<&str>) -> Result<(), LocalError> {
        let recorded = self.suspect(lane, at, said);
        self.unless_failed(recorded)
    }
}

impl<'p, L: LocalStore, J: Journal> Outbox<'_, 'p, L, J> {
    fn unless_failed<T>(&mut self, done: Result<T, Failure>) -> Result<T, LocalError> {
        done.map_err(|failure| {
            let words = failure.to_string();
            self.failure.get_or_insert(failure);
            LocalError { kind: LocalErrorKind::Unusable, cause: words.into() }
        })
    }

    fn after(&mut self, mailbox: MailboxId) -> &mut Aftermath {
        self.aftermath.entry(mailbox).or_default()
    }

    fn lane(&self, lane: Lane) -> &OneLane<'p> {
        match lane {
            Lane::First => &self.first,
            Lane::Second => &self.second,
        }
    }

    fn lane_mut(&mut self, lane: Lane) -> &mut OneLane<'p> {
        match lane {
            Lane::First => &mut self.first,
            Lane::Second => &mut self.second,
        }
    }

    /// Returns what is to be read next for a lane.
    fn next_upload(&mut self, lane: Lane) -> Option<(&'p MailboxPlan, Ground, &'p Upload)> {
        loop {
            let next = |(plan, ground, uploads): &Folder<'p>| Some((*plan, *ground, uploads.as_slice().first()?));
            if let Some(upload) = self.lane(lane).folder.as_ref().and_then(next) {
                return Some(upload);
            }
            self.lane_mut(lane).folder = Some(self.waiting.pop_front()?);
        }
    }

    fn goes_by_itself(&self, mailbox: MailboxId, unique: &UniqueName) -> bool {
        self.suspects.get(&(mailbox, unique.clone())) == Some(&Caution::ByItself)
    }

    /// Reads the files of a lane's next part, and records that they are about to be sent.
    fn prepare(&mut self, lane: Lane) -> Result<Vec<(MailboxName, Vec<Append>)>, Failure> {
        let (mut outgoing, mut bytes, mut open) = (Vec::new(), 0, 0);
        let mut parcels: Vec<(MailboxName, Vec<Append>)> = Vec::new();
        let mut others = self.lane(lane).out.iter().flatten();
        if others.any(|(file, _)| self.goes_by_itself(file.plan.mailbox, &file.unique)) {
            return Ok(parcels);
        }
        let mut goes_by_itself = false;
        while !goes_by_itself && outgoing.len() < self.part && bytes < PART_BYTES && open < PART_OPEN {
            let Some((plan, ground, upload)) = self.next_upload(lane) else { break };
            let must = self.goes_by_itself(plan.mailbox, &upload.unique);
            if must && !(outgoing.is_empty() && self.lane(lane).out.is_empty()) {
                break;
            }
            self.lane_mut(lane).pass();
            let Some((file, message)) = self.open(plan, ground, upload)? else { continue };
            goes_by_itself = must;
            bytes += file.stat.size;
            open += usize::from(message.body.is_open());
            outgoing.push(file);
            match parcels.last_mut() {
                Some((mailbox, messages)) if *mailbox == plan.name => messages.push(message),
                _ => parcels.push((plan.name.clone(), vec![message])),
            }
        }
        if outgoing.is_empty() {
            return Ok(parcels);
        }
        outgoing.iter().for_each(|file| self.after(file.plan.mailbox).remote_changed = true);
        let intents: Vec<Intent> = outgoing.iter().map(Outgoing::intent).collect();
        let intents = self.journal.begin(&intents)?;
        self.lane_mut(lane).out.push_back(outgoing.into_iter().zip(intents).collect());
        Ok(parcels)
    }

    /// Records what came of the first part that is out in a lane.
    fn record(&mut self, lane: Lane, answers: Vec<Vec<Appended>>) -> Result<(), Failure> {
        let (part, mut records) = (self.lane_mut(lane).out.pop_front().unwrap_or_default(), Vec::new());
        for ((file, intent), answer) in part.iter().zip(answers.into_iter().flatten()) {
            records.extend(self.sent(file, *intent, answer)?);
        }
        self.journal.commit(&records)?;
        (self.progress)(Event::Uploaded(part.len() as u64));
        Ok(())
    }

    /// Gives up a lane over whose connection something was lost again. What is out there is sent by itself in the next
    /// pass. What was already is laid to blame: its intent stays, for the server may have it.
    fn suspect(&mut self, lane: Lane, at: usize, said: Option<&str>) -> Result<(), Failure> {
        let OneLane { folder, out } = std::mem::take(self.lane_mut(lane));
        let cut_short: Vec<MailboxId> = folder.iter().chain(&self.waiting).map(|(plan, ..)| plan.mailbox).collect();
        let blamed = out.front().and_then(|part| part.get(at));
        let blamed = blamed.filter(|(file, _)| self.goes_by_itself(file.plan.mailbox, &file.unique));
        let blamed = blamed.map(|(file, _)| (file.plan, &file.unique));
        let records = blamed.map(|file| Record::Failed(self.blame(file, said)));
        for (file, _) in out.iter().flatten() {
            self.suspects.insert(file.key(), Caution::ByItself);
        }
        let out = out.iter().flatten().map(|(file, _)| file.plan.mailbox);
        for mailbox in out.chain(cut_short) {
            let after = self.after(mailbox);
            (after.overtaken, after.cut_short) = (true, true);
        }
        Ok(self.journal.commit(records.as_slice())?)
    }

    fn blame(&mut self, (plan, unique): (&MailboxPlan, &UniqueName), said: Option<&str>) -> FailureRow {
        let said = said.map(|text| format!(", and says: {text}")).unwrap_or_default();
        let message = format!(
            "the server closes the connection over this message{said}; it stays in the Maildir and is probably not on the server"
        );
        let hint = "it may be too large for the server; the file stays here";
        self.not_sent((plan, unique), FailureCode::MessageRefused, message, hint)
    }

    /// Reads a file. One that can't be read is reported and left alone; one that changed is looked at again.
    fn open(
        &mut self,
        plan: &'p MailboxPlan,
        ground: Ground,
        upload: &Upload,
    ) -> Result<Option<(Outgoing<'p>, Append)>, Failure> {
        match self.read(plan, ground, upload) {
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

    fn read(
        &mut self,
        plan: &'p MailboxPlan,
        ground: Ground,
        upload: &Upload,
    ) -> Result<Edit<(Outgoing<'p>, Append)>, LocalError> {
        let Upload { unique, entry, leaves } = upload;
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
        let united = replacement.map(|replacement| &replacement.flags).or_else(|| plan.carried.get(unique));
        let sent = united.unwrap_or(&flags).clone();
        let alone = self.suspects.contains_key(&(plan.mailbox, unique.clone()));
        let message = Append { flags: sent.clone(), date: identity.date, body, alone };
        let unique = unique.clone();
        Ok(Edit::Done((
            Outgoing { plan, ground, unique, identity, content, stat, flags, sent, leaves: *leaves },
            message,
        )))
    }

    /// Returns what to record of an answer. Without a UID the intent stays, and the next look settles it.
    fn sent(&mut self, file: &Outgoing<'_>, intent: IntentId, answer: Appended) -> Result<Vec<Record>, Failure> {
        let Outgoing { plan, ground, .. } = *file;
        if let Appended::As(validity, uid) = answer
            && validity == ground.uid_validity
            && uid.get() < ground.uid_next
            && !merged::merged(self.journal, plan, [(&file.unique, uid)].into_iter())?.is_empty()
        {
            let failure = merged::failure(self.report, self.now, plan, &file.unique, uid);
            return Ok(vec![Record::Failed(failure), Record::Settled(intent)]);
        }
        if matches!(answer, Appended::As(..) | Appended::Somewhere) {
            self.uploaded.insert((plan.mailbox, file.unique.clone()), file.sent.clone());
            let count = &mut self.report.remote;
            *(if plan.replace.contains_key(&file.unique) { &mut count.replaced } else { &mut count.added }) += 1;
        }
        let buried = left(file.leaves);
        match answer {
            Appended::As(validity, uid) if validity == ground.uid_validity => {
                self.given.insert((plan.mailbox, uid));
                let known = [Record::Insert(plan.mailbox, file.row(uid)), Record::Settled(intent)];
                Ok(known.into_iter().chain(buried).collect())
            }
            Appended::As(..) | Appended::Somewhere => {
                self.after(plan.mailbox).overtaken = true;
                Ok(buried.into_iter().collect())
            }
            // Who is to blame shows when each is sent alone; whether all were refused, in the look before that.
            Appended::RefusedTogether => {
                self.after(plan.mailbox).overtaken = true;
                self.suspects.insert(file.key(), Caution::OwnCommand);
                Ok(Vec::new())
            }
            Appended::Refused(error) if is_fatal(&error) => Err(error.into()),
            // Busy now is no reason to wait a day.
            Appended::Refused(error) if error.kind == RemoteErrorKind::Busy => {
                self.after(plan.mailbox).failed = true;
                self.report.problem(super::mailbox_problem(&plan.name, &error));
                Ok(vec![Record::Settled(intent)])
            }
            Appended::Refused(error) => Ok(vec![Record::Failed(self.refused(file, &error)), Record::Settled(intent)]),
        }
    }

    fn refused(&mut self, file: &Outgoing<'_>, error: &RemoteError) -> FailureRow {
        let (code, hint) = match error.kind {
            RemoteErrorKind::TooLarge => {
                (FailureCode::MessageTooLarge, "make room on the server, or keep the message outside this folder")
            }
            RemoteErrorKind::Unrepresentable => {
                (FailureCode::MessageUnrepresentable, "the server can't store these bytes; the file stays here")
            }
            _ => (FailureCode::MessageRefused, "the server's words say why; the file stays here"),
        };
        let message = format!("{error}; the message stays in the Maildir and is not on the server");
        self.not_sent((file.plan, &file.unique), code, message, hint)
    }

    fn not_sent(
        &mut self,
        (plan, unique): (&MailboxPlan, &UniqueName),
        code: FailureCode,
        message: String,
        hint: &'static str,
    ) -> FailureRow {
        let (unique, flags) = (Some(unique.clone()), FlagDelta::default());
        Failed { plan, unique, uid: None, code, message, hint, flags }.set_aside(self.report, self.now)
    }
}

/// Returns how many messages are not of the maildir that has the most: what a second lane could take while the first takes
/// those.
fn second_share(waiting: &VecDeque<Folder<'_>>) -> usize {
    let count = |(_, _, uploads): &Folder<'_>| uploads.len();
    let most = waiting.iter().map(count).max().unwrap_or_default();
    waiting.iter().map(count).sum::<usize>() - most
}

/// Returns the record of a message that something was sent in place of: should it not be expunged now, it must not count
/// as removed by the next run, and be moved to Trash as well.
pub(super) fn left(leaves: Option<MessageId>) -> Option<Record> {
    leaves.map(|row| Record::Bury(row, Tombstone::Waiting))
}

impl OneLane<'_> {
    /// Goes past what is to be read next.
    fn pass(&mut self) {
        if let Some((_, _, uploads)) = &mut self.folder {
            uploads.next();
        }
    }

    /// Returns true if its maildir is read to the end.
    fn is_read(&self) -> bool {
        self.folder.as_ref().is_none_or(|(_, _, uploads)| uploads.len() == 0)
    }
}

impl Outgoing<'_> {
    fn key(&self) -> (MailboxId, UniqueName) {
        (self.plan.mailbox, self.unique.clone())
    }

    fn intent(&self) -> Intent {
        Intent::Append {
            mailbox: self.plan.mailbox,
            uid_validity: self.ground.uid_validity,
            uid_next: self.ground.uid_next,
            unique: self.unique.clone(),
            flags: self.flags.clone(),
            difference: self.flags.delta_to(&self.sent),
            date: self.identity.date,
            size: self.identity.size,
            message_id: self.identity.message_id,
            content: self.content,
            stat: self.stat,
            leaves: self.leaves,
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
            // The next look tells it.
            email_id: None,
        }
    }
}

//! APPEND: all in one burst, and several messages with one command where the server can (MULTIAPPEND, RFC 3502). What is
//! next is prepared while the server works on what it has. A large upload takes two connections, for a server works on one
//! command of each at a time.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};

use super::ImapStore;
use super::capability::Capabilities;
use super::command::{Command, Handler};
use super::date;
use super::error::Error;
use super::names::Names;
use super::response::{Code, Status, Untagged};
use crate::model::{MailboxName, Uid};
use crate::store::{Append, Appended, Lane, RemoteError, Uploads};

/// How many messages go in one command (RFC 3502), and how many bytes: what is refused is refused as a whole, and sent
/// again one by one.
const TOGETHER: (usize, u64) = (50, 8 << 20);

/// How many parts of an upload are out at once in a lane.
const PARTS: usize = 2;

/// An APPEND: which of a parcel's messages it holds.
struct Order {
    parcel: usize,
    messages: Vec<usize>,
    answer: Option<Status>,
}

/// A part of an upload that is out.
struct Part {
    mailboxes: Vec<MailboxName>,
    /// What is known of each message already.
    outcomes: Vec<Vec<Option<Appended>>>,
    orders: Vec<Order>,
}

/// What all lanes take from.
type Source<'a> = RefCell<&'a mut dyn Uploads>;

/// An upload, as far as it takes one lane.
struct Uploading<'a, 'u> {
    uploads: &'a Source<'u>,
    lane: Lane,
    names: &'a Names,
    capabilities: &'a Capabilities,
    out: VecDeque<Part>,
    /// Which of the burst's commands is the first of those that are out.
    first: usize,
    mailboxes: BTreeSet<MailboxName>,
    /// What went wrong here.
    failure: Option<Error>,
}

impl ImapStore {
    /// Appends messages to mailboxes in one burst. One that the server can't take is refused alone, without being sent where
    /// that is known.
    pub(super) async fn append_messages(&mut self, uploads: &mut dyn Uploads) -> Result<(), RemoteError> {
        self.introduce().await.map_err(|error| error.doing("uploading"))?;
        let others = self.others.clone().filter(|_| uploads.is_large());
        let uploads = RefCell::new(uploads);
        let Some(others) = others else { return self.append_in(Lane::First, &uploads).await };
        tracing::info!("a large upload is divided");
        let is_late = || uploads.borrow().is_over(Lane::Second);
        let append_in = async |store: &mut ImapStore, lane| store.append_in(lane, &uploads).await;
        self.over_two(&others, is_late, append_in).await
    }

    async fn append_in(&mut self, lane: Lane, uploads: &Source<'_>) -> Result<(), RemoteError> {
        let behind = self.announced_looks();
        let Self { connection, names, capabilities, .. } = self;
        let (out, mailboxes) = Default::default();
        let failure = None;
        let mut uploading = Uploading { uploads, lane, names, capabilities, out, first: 0, mailboxes, failure };
        let first = uploading.more();
        let sent = match first.is_empty() {
            true => Ok(()),
            false => connection.run_ahead(first, &mut uploading, behind).await.map(drop),
        };
        let was_next = if matches!(sent, Err(Error::Lost(_))) { uploading.next_to_be_answered() } else { Ok(None) };
        let (doing, failure) = (uploading.words(), uploading.failure.take());
        let done = match (failure.map_or(was_next, Err), sent) {
            (Err(failure), _) => Err(failure),
            (Ok(Some(at)), Err(Error::Lost(said))) => self.hung_up(lane, uploads, at, said).await,
            (Ok(_), sent) => sent,
        };
        if self.connection.has_early() {
            self.about_to_select();
        }
        done.map_err(|error| error.doing(doing))
    }

    /// A connection that is lost over a message, for the second time and not for want of a network, is made anew.
    async fn hung_up(
        &mut self,
        lane: Lane,
        uploads: &Source<'_>,
        at: usize,
        said: Option<String>,
    ) -> Result<(), Error> {
        let again = uploads.borrow().was_out_before(lane, at);
        if again && self.reconnect().await {
            return Ok(uploads.borrow_mut().hung_up(lane, at, said.as_deref())?);
        }
        Err(Error::Lost(said))
    }
}

impl Handler for Uploading<'_, '_> {
    fn untagged(&mut self, _: usize, _: Untagged) -> Result<(), Error> {
        Ok(())
    }

    fn completed(&mut self, at: usize, status: &Status) {
        let mut orders = self.out.iter_mut().flat_map(|part| &mut part.orders);
        if let Some(order) = at.checked_sub(self.first).and_then(|at| orders.nth(at)) {
            order.answer = Some(status.clone());
        }
    }

    /// After a failure here what is out is still heard out, so that the connection can be used further.
    fn more(&mut self) -> Vec<Command> {
        if self.failure.is_some() {
            return Vec::new();
        }
        self.next().unwrap_or_else(|failure| {
            self.failure = Some(failure);
            Vec::new()
        })
    }

    fn is_over(&self) -> bool {
        self.uploads.borrow().is_over(self.lane)
    }
}

impl Uploading<'_, '_> {
    /// Returns the next part's commands, if there is any and room for it.
    fn next(&mut self) -> Result<Vec<Command>, Error> {
        loop {
            self.settle()?;
            if self.out.len() >= PARTS {
                return Ok(Vec::new());
            }
            let parcels = self.uploads.borrow_mut().next(self.lane)?;
            if parcels.is_empty() {
                return Ok(Vec::new());
            }
            let (part, commands) = self.part(parcels);
            self.out.push_back(part);
            if !commands.is_empty() {
                return Ok(commands);
            }
        }
    }

    /// Passes on what came of the parts that were answered in full.
    fn settle(&mut self) -> Result<(), Error> {
        let is_answered = |part: &Part| part.orders.iter().all(|order| order.answer.is_some());
        while self.out.front().is_some_and(is_answered) {
            let Some(part) = self.out.pop_front() else { break };
            self.first += part.orders.len();
            self.uploads.borrow_mut().answered(self.lane, part.outcomes())?;
        }
        Ok(())
    }

    /// Passes on what was answered, and returns which message of the first part the server was at, if it had a command of
    /// its own.
    fn next_to_be_answered(&mut self) -> Result<Option<usize>, Error> {
        self.settle()?;
        let Some(Part { outcomes, orders, .. }) = self.out.front() else { return Ok(None) };
        let Some(order) = orders.iter().find(|order| order.answer.is_none()) else { return Ok(None) };
        let before: usize = outcomes.iter().take(order.parcel).map(Vec::len).sum();
        Ok(if let [message] = order.messages[..] { Some(before + message) } else { None })
    }

    fn part(&mut self, parcels: Vec<(MailboxName, Vec<Append>)>) -> (Part, Vec<Command>) {
        let mailboxes: Vec<MailboxName> = parcels.iter().map(|(mailbox, _)| mailbox.clone()).collect();
        self.mailboxes.extend(mailboxes.iter().cloned());
        let (mut outcomes, mut orders, mut commands) = (Vec::new(), Vec::new(), Vec::new());
        for (parcel, (mailbox, messages)) in parcels.into_iter().enumerate() {
            let (mut sendable, mut known) = (Vec::new(), Vec::new());
            for (at, message) in messages.into_iter().enumerate() {
                let error = self.unsendable(&mailbox, &message);
                sendable.extend(error.is_none().then_some((at, message)));
                known.push(error.map(|error| Appended::Refused(error.doing(doing(&mailbox)))));
            }
            outcomes.push(known);
            let Ok(raw) = self.names.wire(&mailbox) else { continue };
            for group in self.together(sendable) {
                let (messages, group): (Vec<usize>, Vec<Append>) = group.into_iter().unzip();
                orders.push(Order { parcel, messages, answer: None });
                commands.push(self.append_command(&raw, group));
            }
        }
        (Part { mailboxes, outcomes, orders }, commands)
    }

    /// Says what was being done.
    fn words(&self) -> String {
        match (self.mailboxes.first(), self.mailboxes.len()) {
            (Some(mailbox), 1) => format!("uploading to {mailbox}"),
            _ => "uploading to several folders".to_owned(),
        }
    }

    /// Returns why a message need not even be sent.
    fn unsendable(&self, mailbox: &MailboxName, message: &Append) -> Option<Error> {
        let size = message.body.size();
        let limit = self.capabilities.value("APPENDLIMIT").and_then(|value| value.parse().ok());
        match limit {
            Some(limit) if size > limit => Some(Error::TooLarge { size, limit }),
            _ if message.body.has_nul() && !self.capabilities.has("BINARY") => Some(Error::Nul),
            _ => self.names.wire(mailbox).err(),
        }
    }

    /// Divides messages into those that go with one command. Where each literal has to be waited for that gains nothing.
    fn together(&self, messages: Vec<(usize, Append)>) -> Vec<Vec<(usize, Append)>> {
        let able = self.capabilities.has("MULTIAPPEND") && self.capabilities.has("LITERAL+");
        let mut groups: Vec<Vec<(usize, Append)>> = Vec::new();
        let mut room: (usize, u64) = (0, 0);
        for (at, message) in messages {
            let (size, alone) = (message.body.size(), !able || message.alone || message.body.has_nul());
            match groups.last_mut() {
                Some(group) if !alone && room.0 > 0 && room.1 >= size => {
                    group.push((at, message));
                    room = (room.0 - 1, room.1 - size);
                }
                _ => {
                    groups.push(vec![(at, message)]);
                    room = if alone { (0, 0) } else { (TOGETHER.0 - 1, TOGETHER.1.saturating_sub(size)) };
                }
            }
        }
        groups
    }

    fn append_command(&self, raw: &[u8], messages: Vec<Append>) -> Command {
        let mut command = Command::new("APPEND").string(raw, self.capabilities);
        for message in messages {
            let mut head = String::new();
            if !message.flags.is_empty() {
                head.push_str(&format!(" ({})", message.flags));
            }
            if let Some(date) = message.date.and_then(date::format) {
                head.push_str(&format!(" \"{date}\""));
            }
            let prefix = if message.body.has_nul() { " ~" } else { " " };
            command = command.text(&head).body(message.body, prefix, self.capabilities);
        }
        command
    }
}

impl Part {
    /// Returns what came of each message.
    fn outcomes(mut self) -> Vec<Vec<Appended>> {
        for Order { parcel, messages, answer } in self.orders {
            let (Some(outcomes), Some(mailbox)) = (self.outcomes.get_mut(parcel), self.mailboxes.get(parcel)) else {
                continue;
            };
            let appended = answer.map(|answer| appended(answer, messages.len(), mailbox)).into_iter().flatten();
            for (at, appended) in messages.into_iter().zip(appended) {
                if let Some(outcome) = outcomes.get_mut(at) {
                    *outcome = Some(appended);
                }
            }
        }
        let lost = |mailbox: &MailboxName| Appended::Refused(Error::Garbled("no answer").doing(doing(mailbox)));
        let complete = |(outcomes, mailbox): (Vec<Option<Appended>>, &MailboxName)| {
            outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| lost(mailbox))).collect()
        };
        self.outcomes.into_iter().zip(&self.mailboxes).map(complete).collect()
    }
}

fn doing(mailbox: &MailboxName) -> String {
    format!("uploading a message to {mailbox}")
}

/// Returns what the answer means for each of so many messages. UIDs that don't add up prove nothing.
fn appended(answer: Status, count: usize, mailbox: &MailboxName) -> Vec<Appended> {
    let proof = match &answer.code {
        Some(Code::AppendUid(validity, ranges)) if answer.is_ok() => {
            expand(ranges, count).map(|uids| (*validity, uids))
        }
        _ => None,
    };
    if let Some((validity, uids)) = proof {
        return uids.into_iter().map(|uid| Appended::As(validity, uid)).collect();
    }
    if answer.is_ok() {
        return (0..count).map(|_| Appended::Somewhere).collect();
    }
    match count {
        1 => vec![Appended::Refused(Error::Refused(answer).doing(doing(mailbox)))],
        _ => (0..count).map(|_| Appended::RefusedTogether).collect(),
    }
}

/// Returns the UIDs in the order given, if they are as many. Counted before they are expanded: a server may name enormous
/// ranges.
fn expand(ranges: &[(Uid, Uid)], count: usize) -> Option<Vec<Uid>> {
    let named: u64 = ranges.iter().map(|(first, last)| u64::from(last.get() - first.get()) + 1).sum();
    let uids = || ranges.iter().flat_map(|(first, last)| (first.get()..=last.get()).filter_map(Uid::new));
    (named == count as u64).then(|| uids().collect())
}

#[cfg(test)]
mod tests;

//! The command layer: bursts of pipelined commands, each ended by its own tagged answer and by nothing else.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use super::ahead::Ahead;
use super::capability::Capabilities;
use super::error::Error;
use super::response::{Condition, Response, Status, Untagged, parse};
use super::wire::{BUFFER, LiteralSink, Reply, Wire};
use crate::store::{BodySource, LocalError, LocalErrorKind};

/// A command, as what has to be sent one after the other.
#[derive(Debug)]
pub(super) struct Command {
    segments: VecDeque<Segment>,
}

#[derive(Debug)]
enum Segment {
    /// Bytes as they are.
    Bytes(Vec<u8>),
    /// Nothing more until the server's `+`.
    Wait,
    /// Nothing more until we have had enough.
    Listen,
    /// A message's bytes, of which so many are still to be sent.
    Body(Box<dyn BodySource>, u64),
}

impl Command {
    /// Starts a command.
    pub(super) fn new(text: impl Into<Vec<u8>>) -> Self {
        Self { segments: VecDeque::from([Segment::Bytes(text.into())]) }
    }

    /// Starts IDLE (RFC 2177), which goes on until DONE.
    fn idle() -> Self {
        let bytes = |text: &str| Segment::Bytes(text.as_bytes().to_vec());
        Self { segments: VecDeque::from([bytes("IDLE\r\n"), Segment::Wait, Segment::Listen, bytes("DONE")]) }
    }

    /// Appends text that is no user data.
    pub(super) fn text(mut self, text: &str) -> Self {
        self.push(text.as_bytes());
        self
    }

    /// Appends a space and a string: quoted where that can carry it, else as a literal.
    pub(super) fn string(mut self, value: &[u8], capabilities: &Capabilities) -> Self {
        if !value.iter().all(|byte| (0x20..0x7f).contains(byte)) {
            let mut command = self.text(" ").announce(value.len() as u64, "", capabilities);
            command.push(value);
            return command;
        }
        let mut quoted = b" \"".to_vec();
        for &byte in value {
            quoted.extend((byte == b'"' || byte == b'\\').then_some(b'\\'));
            quoted.push(byte);
        }
        quoted.push(b'"');
        self.push(&quoted);
        self
    }

    /// Appends a message as a literal; `prefix` is `~` for one that may hold NULs (RFC 3516).
    pub(super) fn body(self, body: Box<dyn BodySource>, prefix: &str, capabilities: &Capabilities) -> Self {
        let size = body.size();
        let mut command = self.announce(size, prefix, capabilities);
        command.segments.push_back(Segment::Body(body, size));
        command
    }

    /// Announces a literal, non-synchronising where the server allows that (RFC 7888).
    fn announce(mut self, size: u64, prefix: &str, capabilities: &Capabilities) -> Self {
        let at_once = capabilities.has("LITERAL+") || capabilities.has("LITERAL-") && size <= 4096;
        let plus = if at_once { "+" } else { "" };
        self = self.text(&format!("{prefix}{{{size}{plus}}}\r\n"));
        self.segments.extend((!at_once).then_some(Segment::Wait));
        self
    }

    /// Returns its text, if it can be sent at once.
    pub(super) fn line(&self) -> Option<&[u8]> {
        match self.segments.front() {
            Some(Segment::Bytes(line)) if self.segments.len() == 1 => Some(line),
            _ => None,
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        match self.segments.back_mut() {
            Some(Segment::Bytes(before)) => before.extend_from_slice(bytes),
            _ => self.segments.push_back(Segment::Bytes(bytes.to_vec())),
        }
    }
}

/// Takes what a burst brings.
pub(super) trait Handler {
    /// Takes untagged data. `at` is the oldest command not yet completed: who the data most likely belongs to.
    fn untagged(&mut self, at: usize, data: Untagged) -> Result<(), Error>;

    /// Hears that a command is complete.
    fn completed(&mut self, _at: usize, _status: &Status) {}

    /// Returns what else is to be sent, once all that goes before it is on its way. None now may be some later, as long as
    /// there are commands that are not answered yet.
    fn more(&mut self) -> Vec<Command> {
        Vec::new()
    }

    /// Returns true once nothing more is to be listened for.
    fn has_enough(&self) -> bool {
        false
    }

    /// Waits until more can be taken: nothing is read before.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    /// Returns where a message body goes that arrives while `at` is the oldest command not yet completed; `None` drops
    /// it.
    fn sink(&mut self, _at: usize) -> Option<&mut (dyn LiteralSink + '_)> {
        None
    }
}

/// Takes untagged data by a closure.
impl<F: FnMut(usize, Untagged)> Handler for F {
    fn untagged(&mut self, at: usize, data: Untagged) -> Result<(), Error> {
        self(at, data);
        Ok(())
    }
}

/// A connection that is logged in.
#[derive(Debug)]
pub(super) struct Connection {
    wire: Wire,
    tags: u64,
    bye: Option<String>,
    out_of_step: bool,
    /// The server can't stand a command before the one in front of it is answered.
    one_at_a_time: bool,
    /// What was sent behind the log-in.
    ahead: Option<Ahead>,
    /// The server dropped it.
    dropped: bool,
}

impl Connection {
    /// Takes over a wire.
    pub(super) fn new(wire: Wire) -> Self {
        Self { wire, tags: 0, bye: None, out_of_step: false, one_at_a_time: false, ahead: None, dropped: false }
    }

    /// Takes over a wire on which this was sent behind the log-in.
    pub(super) fn with_ahead(wire: Wire, ahead: Option<Ahead>) -> Self {
        Self { ahead, ..Self::new(wire) }
    }

    /// Returns true if what was sent behind the log-in was not heard yet.
    pub(super) fn has_ahead(&self) -> bool {
        self.ahead.is_some()
    }

    /// Returns true if the server dropped it.
    pub(super) fn has_dropped(&self) -> bool {
        self.dropped
    }

    /// Sends each command of a burst only after the one in front of it was answered, or no longer so.
    pub(super) fn set_one_at_a_time(&mut self, on: bool) {
        self.one_at_a_time = on;
    }

    /// Returns the wire.
    pub(super) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Returns the wire, to change how it waits.
    pub(super) fn wire_mut(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// Sends a burst of commands and returns their tagged answers, in order. An error means that the connection can't
    /// be used any more; so does dropping the future.
    pub(super) async fn run(
        &mut self,
        commands: Vec<Command>,
        handler: &mut dyn Handler,
    ) -> Result<Vec<Status>, Error> {
        if std::mem::replace(&mut self.out_of_step, true) {
            return Err(Error::BrokenOff);
        }
        let result = self.run_burst(commands, handler).await;
        self.ended(result)
    }

    async fn run_burst(&mut self, commands: Vec<Command>, handler: &mut dyn Handler) -> Result<Vec<Status>, Error> {
        if let Some(ahead) = self.ahead.take() {
            let sent = Burst::sent(ahead.commands(), &mut self.tags);
            match self.wire.hears_soon().await? {
                true if ahead.is(&commands) => return self.drive(sent, handler).await,
                true => drop(self.drive(sent, &mut |_, _| {}).await?),
                false => self.dropped = true,
            }
        }
        let burst = Burst { one_at_a_time: self.one_at_a_time, ..Burst::new(commands, &mut self.tags) };
        self.wire.count_round_trip();
        self.drive(burst, handler).await
    }

    /// Sends a command alone and hears nothing behind its tagged answer: `changed` is called on an OK, and what follows
    /// may be encoded in another way. An error means that the connection can't be used any more; so does dropping the
    /// future.
    pub(super) async fn run_alone(
        &mut self,
        command: Command,
        changed: impl FnOnce(&mut Wire) -> Result<(), Error>,
    ) -> Result<Status, Error> {
        if std::mem::replace(&mut self.out_of_step, true) {
            return Err(Error::BrokenOff);
        }
        let burst = Burst::new(vec![command], &mut self.tags);
        let answered = self.drive_to_answer(burst).await;
        let result = answered.and_then(|status| match status.is_ok() {
            true => changed(&mut self.wire).map(|()| status),
            false => Ok(status),
        });
        self.ended(result)
    }

    /// Notes whether the connection can still be used. One that was lost was lost for the reason that the server gave.
    fn ended<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        self.out_of_step = result.is_err();
        result.map_err(|error| match error {
            Error::Lost(None) => Error::Lost(self.bye.take()),
            other => other,
        })
    }

    /// Sends LOGOUT and closes the connection.
    pub(super) async fn say_goodbye(mut self) {
        if !self.out_of_step {
            self.wire.send(b"bye LOGOUT\r\n");
            self.wire.close().await;
        }
    }

    /// Listens for so long, or until the handler has enough, by IDLE (RFC 2177), and returns its tagged answer. What the
    /// server says meanwhile goes to the handler at once. The beginning and the end of it are waited for no longer than
    /// for any other answer. An error means that the connection can't be used any more; so does dropping the future.
    pub(super) async fn idle(&mut self, time: Duration, handler: &mut dyn Handler) -> Result<Status, Error> {
        if std::mem::replace(&mut self.out_of_step, true) {
            return Err(Error::BrokenOff);
        }
        let burst = Burst::new(vec![Command::idle()], &mut self.tags);
        let result = self.drive_idle(burst, time, handler).await;
        self.ended(result)
    }

    async fn drive_idle(
        &mut self,
        mut burst: Burst,
        time: Duration,
        handler: &mut dyn Handler,
    ) -> Result<Status, Error> {
        let enough = tokio::time::Instant::now() + time;
        loop {
            burst.feed(&mut self.wire)?;
            while self.wire.next(None)? {
                let reply = self.wire.take_reply();
                self.dispatch(&reply, &mut burst, handler)?;
                self.wire.recycle(reply);
            }
            if let Some(Some(status)) = burst.answers.first_mut().map(Option::take) {
                return Ok(status);
            }
            burst.feed(&mut self.wire)?;
            if !burst.listens() || self.wire.queued() > 0 {
                self.wire.progress().await?;
                continue;
            }
            if handler.has_enough() {
                burst.end_listening();
                continue;
            }
            let progress = poll_fn(|cx| self.wire.poll_progress(cx));
            let in_time = tokio::time::timeout_at(enough, progress).await.ok().transpose()?.is_some();
            // A server that never stops talking is stopped too.
            if !in_time || tokio::time::Instant::now() >= enough {
                burst.end_listening();
            }
        }
    }

    async fn drive(&mut self, mut burst: Burst, handler: &mut dyn Handler) -> Result<Vec<Status>, Error> {
        loop {
            burst.feed(&mut self.wire)?;
            while self.wire.next(handler.sink(burst.oldest()))? {
                let reply = self.wire.take_reply();
                self.dispatch(&reply, &mut burst, handler)?;
                self.wire.recycle(reply);
            }
            if burst.unsent.is_empty() {
                self.send_more(&mut burst, handler);
            }
            if burst.unanswered.is_empty() && burst.unsent.is_empty() {
                return Ok(burst.answers.into_iter().flatten().collect());
            }
            burst.feed(&mut self.wire)?;
            poll_fn(|cx| handler.poll_ready(cx)).await;
            self.wire.progress().await?;
        }
    }

    fn send_more(&mut self, burst: &mut Burst, handler: &mut dyn Handler) {
        let more = handler.more();
        if burst.unanswered.is_empty() && !more.is_empty() {
            self.wire.count_round_trip();
        }
        burst.add(more, &mut self.tags);
    }

    async fn drive_to_answer(&mut self, mut burst: Burst) -> Result<Status, Error> {
        self.wire.count_round_trip();
        burst.feed(&mut self.wire)?;
        loop {
            while self.wire.next(None)? {
                let reply = self.wire.take_reply();
                self.dispatch(&reply, &mut burst, &mut |_, _| {})?;
                self.wire.recycle(reply);
                if let Some(Some(status)) = burst.answers.first_mut().map(Option::take) {
                    return Ok(status);
                }
            }
            self.wire.progress().await?;
        }
    }

    fn dispatch(&mut self, reply: &Reply, burst: &mut Burst, handler: &mut dyn Handler) -> Result<(), Error> {
        match parse(reply) {
            Some(Response::Untagged(Untagged::Status(status))) if status.condition == Condition::Bye => {
                self.bye = Some(status.text);
            }
            Some(Response::Untagged(data)) => {
                if data == Untagged::Other {
                    tracing::debug!(bytes = reply.text.len(), "an untagged response of no known kind is skipped");
                }
                burst.count(&data)?;
                handler.untagged(burst.oldest(), data)?;
            }
            Some(Response::Tagged(tag, status)) => match burst.complete(&tag, status) {
                Some((at, status)) => {
                    handler.completed(at, status);
                    if burst.waits_for_answers() {
                        self.wire.count_round_trip();
                    }
                }
                None => tracing::debug!("an answer to no command of ours is skipped"),
            },
            Some(Response::Continue(_)) => {
                if burst.go_on() {
                    self.wire.count_round_trip();
                }
            }
            None => tracing::debug!(bytes = reply.text.len(), "a line that is no response is skipped"),
        }
        Ok(())
    }
}

/// How many untagged responses about messages a command may bring, and how many others: more than any account has
/// messages, or mailboxes. What never ends must not be listened to, or kept, without end.
const MAX_ABOUT_MESSAGES: u32 = 1 << 25;
const MAX_OTHERS: u32 = 1 << 21;

/// Commands on their way.
pub(super) struct Burst {
    /// Untagged responses since the last tagged one.
    about_messages: u32,
    others: u32,
    tags: HashMap<Vec<u8>, usize>,
    unsent: VecDeque<(usize, Command)>,
    unanswered: VecDeque<usize>,
    answers: Vec<Option<Status>>,
    chunk: Vec<u8>,
    one_at_a_time: bool,
}

impl Burst {
    /// Gives commands their tags.
    pub(super) fn new(commands: Vec<Command>, counter: &mut u64) -> Self {
        let mut burst = Self {
            about_messages: 0,
            others: 0,
            tags: HashMap::with_capacity(commands.len()),
            unsent: VecDeque::with_capacity(commands.len()),
            unanswered: VecDeque::with_capacity(commands.len()),
            answers: Vec::with_capacity(commands.len()),
            chunk: Vec::new(),
            one_at_a_time: false,
        };
        burst.add(commands, counter);
        burst
    }

    /// Adds commands behind those that there are.
    fn add(&mut self, commands: Vec<Command>, counter: &mut u64) {
        for mut command in commands {
            let at = self.answers.len();
            *counter += 1;
            let tag = format!("m{counter}");
            if let Some(Segment::Bytes(bytes)) = command.segments.front_mut() {
                bytes.splice(0..0, format!("{tag} ").into_bytes());
            }
            command.segments.push_back(Segment::Bytes(b"\r\n".to_vec()));
            self.tags.insert(tag.into_bytes(), at);
            self.unsent.push_back((at, command));
            self.unanswered.push_back(at);
            self.answers.push(None);
        }
    }

    /// As [`Burst::new`], of commands that were sent already.
    fn sent(commands: Vec<Command>, counter: &mut u64) -> Self {
        Self { unsent: VecDeque::new(), ..Self::new(commands, counter) }
    }

    /// Returns what is to be sent, of commands that have a line each.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let segments = self.unsent.iter().flat_map(|(_, command)| &command.segments);
        segments
            .filter_map(|segment| if let Segment::Bytes(bytes) = segment { Some(bytes) } else { None })
            .flatten()
            .copied()
            .collect()
    }

    /// Queues what may be sent now, up to the cap.
    fn feed(&mut self, wire: &mut Wire) -> Result<(), Error> {
        let (one_at_a_time, oldest) = (self.one_at_a_time, self.oldest());
        while let Some((at, command)) = self.unsent.front_mut() {
            if wire.queued() >= BUFFER || (one_at_a_time && *at != oldest) {
                return Ok(());
            }
            match command.segments.front_mut() {
                None => {
                    self.unsent.pop_front();
                }
                Some(Segment::Wait | Segment::Listen) => return Ok(()),
                Some(Segment::Bytes(bytes)) => {
                    wire.send(bytes);
                    command.segments.pop_front();
                }
                Some(Segment::Body(_, 0)) => {
                    command.segments.pop_front();
                }
                Some(Segment::Body(source, left)) => *left -= send_part(source.as_mut(), *left, &mut self.chunk, wire)?,
            }
        }
        Ok(())
    }

    /// Counts what is untagged. An error means that there is no end to it.
    fn count(&mut self, data: &Untagged) -> Result<(), Error> {
        match data {
            Untagged::Fetch(_) | Untagged::Search(_) | Untagged::Vanished { .. } => self.about_messages += 1,
            _ => self.others += 1,
        }
        match self.about_messages > MAX_ABOUT_MESSAGES || self.others > MAX_OTHERS {
            true => Err(Error::Garbled("responses without end")),
            false => Ok(()),
        }
    }

    /// Returns true if only now the next command may be sent.
    fn waits_for_answers(&self) -> bool {
        self.one_at_a_time && !self.unsent.is_empty()
    }

    fn oldest(&self) -> usize {
        self.unanswered.front().copied().unwrap_or(self.answers.len().saturating_sub(1))
    }

    /// Notes a tagged answer. A command refused before all of it was sent is not sent any further: that is allowed
    /// only while a literal's `+` is awaited, and no server answers earlier.
    fn complete(&mut self, tag: &[u8], status: Status) -> Option<(usize, &Status)> {
        let at = self.tags.remove(tag)?;
        (self.about_messages, self.others) = (0, 0);
        match self.unanswered.front() {
            Some(&first) if first == at => drop(self.unanswered.pop_front()),
            _ => self.unanswered.retain(|&other| other != at),
        }
        let waits = |command: &Command| matches!(command.segments.front(), Some(Segment::Wait | Segment::Listen));
        if self.unsent.front().is_some_and(|(first, command)| *first == at && waits(command)) {
            self.unsent.pop_front();
        }
        let answer = self.answers.get_mut(at)?;
        Some((at, answer.insert(status)))
    }

    /// Returns true while nothing is to be sent and the server may speak as it likes.
    fn listens(&self) -> bool {
        self.unsent.front().is_some_and(|(_, command)| matches!(command.segments.front(), Some(Segment::Listen)))
    }

    fn end_listening(&mut self) {
        if let Some((_, command)) = self.unsent.front_mut() {
            command.segments.pop_front();
        }
    }

    /// Takes the server's `+`. Returns false if nothing was waiting for it.
    fn go_on(&mut self) -> bool {
        let segments = self.unsent.front_mut().map(|(_, command)| &mut command.segments);
        match segments {
            Some(segments) if matches!(segments.front(), Some(Segment::Wait)) => segments.pop_front().is_some(),
            _ => false,
        }
    }
}

/// Queues a part of a message. A source that ends early has promised bytes that nobody can give any more.
fn send_part(source: &mut dyn BodySource, left: u64, chunk: &mut Vec<u8>, wire: &mut Wire) -> Result<u64, Error> {
    chunk.resize(64 * 1024, 0);
    let room = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
    let read = source.read(chunk.get_mut(..room).unwrap_or_default())?;
    if read == 0 {
        let cause = "a message became shorter while it was sent".into();
        return Err(LocalError { kind: LocalErrorKind::Item, cause }.into());
    }
    wire.send(chunk.get(..read).unwrap_or_default());
    Ok(read as u64)
}

#[cfg(test)]
mod tests;

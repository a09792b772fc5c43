//! The command layer: bursts of pipelined commands, each ended by its own tagged answer and by nothing else.

mod burst;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use super::ahead::{Ahead, lines};
use super::capability::Capabilities;
use super::error::Error;
use super::response::{Condition, Response, Status, Untagged, parse};
use super::wire::{LiteralSink, Reply, Wire};
use crate::store::BodySource;

/// An IDLE that the server ends by itself sooner than this is none.
const HASTY: Duration = Duration::from_secs(1);
pub(super) use burst::Burst;

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

    /// Returns true if there will be nothing else to be sent.
    fn is_over(&self) -> bool {
        true
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
    /// What was sent and is not asked for yet.
    early: Option<Early>,
    /// The server dropped what was sent behind the log-in.
    dropped: bool,
}

/// Commands that were sent before they are asked for.
#[derive(Debug)]
struct Early {
    /// What they are; `None` if it is too late to ask for them.
    lines: Option<Vec<Vec<u8>>>,
    burst: Burst,
    /// They went behind the log-in, where some servers drop them.
    doubtful: bool,
}

impl Connection {
    /// Takes over a wire.
    pub(super) fn new(wire: Wire) -> Self {
        Self { wire, tags: 0, bye: None, out_of_step: false, one_at_a_time: false, early: None, dropped: false }
    }

    /// Takes over a wire on which this was sent behind the log-in.
    pub(super) fn with_ahead(wire: Wire, ahead: Option<Ahead>) -> Self {
        let mut connection = Self::new(wire);
        let early = |ahead: Ahead| {
            let burst = Burst::sent(ahead.commands(), &mut connection.tags);
            Early { lines: Some(ahead.lines), burst, doubtful: true }
        };
        connection.early = ahead.map(early);
        connection
    }

    /// Returns true if what was sent behind the log-in was not heard yet.
    pub(super) fn has_ahead(&self) -> bool {
        self.early.as_ref().is_some_and(|early| early.doubtful)
    }

    /// Returns true if commands were sent that are not asked for yet.
    pub(super) fn has_early(&self) -> bool {
        self.early.is_some()
    }

    /// Returns how many commands were sent.
    pub(super) fn sent(&self) -> u64 {
        self.tags
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
        self.run_ahead(commands, handler, Vec::new()).await
    }

    /// As [`Connection::run`], with commands behind that are to be run next: if they are, what is waited for has begun
    /// already, and if others are, it was in vain.
    pub(super) async fn run_ahead(
        &mut self,
        commands: Vec<Command>,
        handler: &mut dyn Handler,
        behind: Vec<Command>,
    ) -> Result<Vec<Status>, Error> {
        if std::mem::replace(&mut self.out_of_step, true) {
            return Err(Error::BrokenOff);
        }
        let result = self.run_burst(commands, handler, behind).await;
        self.ended(result)
    }

    async fn run_burst(
        &mut self,
        commands: Vec<Command>,
        handler: &mut dyn Handler,
        mut behind: Vec<Command>,
    ) -> Result<Vec<Status>, Error> {
        let lines = lines(&behind).filter(|_| !self.one_at_a_time);
        if lines.is_none() {
            behind.clear();
        }
        let sent = self.take_early(&commands).await?;
        let mut burst = sent.unwrap_or_else(|| {
            self.wire.count_round_trip();
            Burst::new(commands, &mut self.tags).one_at_a_time(self.one_at_a_time)
        });
        burst = burst.with_behind(behind);
        self.drive(&mut burst, handler).await?;
        let (answers, rest) = burst.split();
        self.early = rest.map(|burst| Early { lines: lines.filter(|_| burst.is_unanswered()), burst, doubtful: false });
        Ok(answers)
    }

    /// Returns what was sent already, if it is this. Everything else that was is heard out.
    async fn take_early(&mut self, wanted: &[Command]) -> Result<Option<Burst>, Error> {
        let Some(Early { lines: sent, mut burst, doubtful }) = self.early.take() else { return Ok(None) };
        if doubtful && !self.wire.hears_soon().await? {
            self.dropped = true;
            return Ok(None);
        }
        if sent.is_some() && sent == lines(wanted) {
            return Ok(Some(burst));
        }
        self.drive(&mut burst, &mut |_, _| {}).await?;
        Ok(None)
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
        let answered = self.drive_to_answer(command).await;
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
        let result = self.drive_idle(time, handler).await;
        self.ended(result)
    }

    async fn drive_idle(&mut self, time: Duration, handler: &mut dyn Handler) -> Result<Status, Error> {
        self.take_early(&[]).await?;
        let mut burst = Burst::new(vec![Command::idle()], &mut self.tags);
        let begun = tokio::time::Instant::now();
        let (enough, mut is_told) = (begun + time, false);
        loop {
            burst.feed(&mut self.wire)?;
            while self.wire.next(None)? {
                let reply = self.wire.take_reply();
                self.dispatch(&reply, &mut burst, handler)?;
                self.wire.recycle(reply);
            }
            if let Some(Some(status)) = burst.answers.first_mut().map(Option::take) {
                // Begun again and again, it would be all that either side does.
                let is_hasty = !is_told && status.is_ok() && begun.elapsed() < HASTY;
                return if is_hasty { Err(Error::Unusable("it ends IDLE at once".to_owned())) } else { Ok(status) };
            }
            burst.feed(&mut self.wire)?;
            if !burst.listens() || self.wire.queued() > 0 {
                self.wire.progress().await?;
                continue;
            }
            if handler.has_enough() {
                burst.end_listening();
                is_told = true;
                continue;
            }
            let progress = poll_fn(|cx| self.wire.poll_progress(cx));
            let in_time = tokio::time::timeout_at(enough, progress).await.ok().transpose()?.is_some();
            // A server that never stops talking is stopped too.
            if !in_time || tokio::time::Instant::now() >= enough {
                burst.end_listening();
                is_told = true;
            }
        }
    }

    /// Sends a burst and hears its answers, but for those to what goes behind it.
    async fn drive(&mut self, burst: &mut Burst, handler: &mut dyn Handler) -> Result<(), Error> {
        loop {
            burst.feed(&mut self.wire)?;
            while !burst.is_at_what_is_behind() && self.wire.next(handler.sink(burst.oldest()))? {
                let reply = self.wire.take_reply();
                self.dispatch(&reply, burst, handler)?;
                self.wire.recycle(reply);
            }
            if burst.unsent.is_empty() {
                self.send_more(burst, handler);
            }
            burst.feed(&mut self.wire)?;
            if burst.is_over() {
                return Ok(());
            }
            poll_fn(|cx| handler.poll_ready(cx)).await;
            self.wire.progress().await?;
        }
    }

    fn send_more(&mut self, burst: &mut Burst, handler: &mut dyn Handler) {
        let (more, idle) = (handler.more(), burst.unanswered.is_empty());
        let mut is_more = !more.is_empty();
        burst.add(more, &mut self.tags);
        if handler.is_over() {
            is_more |= burst.add_behind(&mut self.tags);
        }
        if idle && is_more {
            self.wire.count_round_trip();
        }
    }

    async fn drive_to_answer(&mut self, command: Command) -> Result<Status, Error> {
        self.take_early(&[]).await?;
        let mut burst = Burst::new(vec![command], &mut self.tags);
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

#[cfg(test)]
mod tests;

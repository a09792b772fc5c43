//! Framing above TLS: bytes in, complete responses out; queued bytes out. Knows lines and literals, not their meaning.
//!
//! Reading and writing progress together, so that neither side can stop the other by not listening, and every wait
//! has a deadline. What a server can make us hold is bounded: text and literals by caps, message bodies go to a sink.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::deflate::Stream;
use super::error::Error;
use super::gauge::Gauge;
use super::patience::Patience;
use crate::store::{LocalError, Traffic};

/// A byte stream to a server.
pub(super) trait Transport: AsyncRead + AsyncWrite + Unpin + Send + fmt::Debug {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + fmt::Debug> Transport for T {}

/// Takes a message's body, or a part of one, as it arrives.
pub(super) trait LiteralSink {
    /// It starts.
    fn begin(&mut self) -> Result<(), LocalError>;
    /// Some of its bytes.
    fn write(&mut self, wire: &[u8]) -> Result<(), LocalError>;
}

/// How much is read at once, and how much output is queued at most before the caller should wait.
pub(super) const BUFFER: usize = 256 * 1024;
/// The longest text of one response; VANISHED and SEARCH of a large mailbox are long.
const MAX_TEXT: usize = 16 << 20;
/// The longest literal that is not a message body.
const MAX_LITERAL: u64 = 1 << 20;
/// The longest message body: no mail is as long, and what announces more would fill the disk.
const MAX_BODY: u64 = 1 << 32;
/// The most literals of one response.
const MAX_LITERALS: usize = 1000;
/// What is to come soon comes in this part of the timeout, or it never will.
const SOON: u32 = 6;
/// A server that answers sooner is near. To select a mailbox takes it about as long.
const NEAR: Duration = Duration::from_millis(3);
/// How many bytes move in the time of one timeout at least, if no response is completed in it: who sends a byte now and
/// then is as good as silent.
const PACE: u64 = 1024;

/// One complete response. Literals stand in the text right behind their announcement; streamed ones are left out.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// The text without line ends.
    pub(super) text: Vec<u8>,
    /// The literals, in order.
    pub(super) literals: Vec<Literal>,
}

/// Where a literal stands in a [`Reply`]'s text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Literal {
    /// Where its announcement's `{` stands.
    pub(super) at: usize,
    /// Where its bytes start.
    pub(super) start: usize,
    /// How many of its bytes are in the text: all, or none if it was streamed.
    pub(super) kept: usize,
    /// It went to the sink, or was dropped for want of one.
    pub(super) streamed: bool,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Within a line.
    Line,
    /// Within a literal.
    Literal { left: u64, target: Target },
    /// A response is complete and has been handed out.
    Complete,
}

#[derive(Debug, Clone, Copy)]
enum Target {
    Text,
    Sink,
    Nowhere,
}

/// A connection's framing.
pub(super) struct Wire {
    stream: Stream,
    timeout: Duration,
    input: Vec<u8>,
    start: usize,
    end: usize,
    state: State,
    reply: Reply,
    fragment: usize,
    output: Vec<u8>,
    written: usize,
    unflushed: bool,
    deaf: bool,
    /// What there was before this stream; and round trips.
    before: Traffic,
    /// How long was waited since the last completed response or [`PACE`] bytes, and the bytes that had moved then.
    waited: Duration,
    paced: u64,
    patience: Patience,
    gauge: Gauge,
    /// Since when nothing has come that is waited for,
    asked: Option<Instant>,
    /// and the shortest of these waits so far.
    shortest: Option<Duration>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("state", &self.state).field("traffic", &self.traffic()).finish_non_exhaustive()
    }
}

impl Wire {
    /// Starts framing a stream; `traffic` is what it carried before.
    pub(super) fn new(stream: Box<dyn Transport>, timeout: Duration, traffic: Traffic) -> Self {
        Self {
            stream: Stream::new(stream),
            timeout,
            input: vec![0; BUFFER],
            start: 0,
            end: 0,
            state: State::Line,
            reply: Reply::default(),
            fragment: 0,
            output: Vec::new(),
            written: 0,
            unflushed: false,
            deaf: false,
            before: traffic,
            waited: Duration::ZERO,
            paced: traffic.bytes_in + traffic.bytes_out,
            patience: Patience::new(),
            gauge: Gauge::default(),
            asked: None,
            shortest: None,
        }
    }

    /// Gives the stream back for a TLS handshake. Fails if the server sent more than what was handed out: bytes
    /// injected before the handshake must not pass for protected ones (RFC 9051 section 6.2.1).
    pub(super) fn into_stream(self) -> Result<(Box<dyn Transport>, Traffic), Error> {
        let (traffic, is_all) = (self.traffic(), matches!(self.state, State::Complete) && self.start == self.end);
        match self.stream.into_plain() {
            Some(stream) if is_all => Ok((stream, traffic)),
            _ => Err(Error::Garbled("more than its answer before the TLS handshake, as an attacker would")),
        }
    }

    /// Compresses from here on, both ways, once the server's OK to COMPRESS was handed out. What has arrived behind it is
    /// compressed already. Fails if anything of ours is not sent yet: it would be compressed where the server does not
    /// expect it.
    pub(super) fn deflate(&mut self) -> Result<(), Error> {
        if !matches!(self.state, State::Complete) || self.queued() > 0 {
            return Err(Error::Garbled("an answer before it can have read the command"));
        }
        self.stream.deflate(self.input.get(self.start..self.end).unwrap_or_default().to_vec());
        (self.start, self.end) = (0, 0);
        Ok(())
    }

    /// Returns the traffic so far: bytes as they travel, above TLS.
    pub(super) fn traffic(&self) -> Traffic {
        let (read, written) = self.stream.counts();
        Traffic {
            bytes_in: self.before.bytes_in + read,
            bytes_out: self.before.bytes_out + written,
            round_trips: self.before.round_trips,
        }
    }

    /// Starts to measure how fast bytes arrive.
    pub(super) fn start_gauge(&mut self) {
        self.gauge = Gauge::new(self.traffic().bytes_in);
    }

    /// Returns true if they arrived slowly since then.
    pub(super) fn is_slow(&self) -> bool {
        self.gauge.is_slow(self.traffic().bytes_in)
    }

    /// Changes how long anything is waited for.
    pub(super) fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Counts a wait that can't overlap with another.
    pub(super) fn count_round_trip(&mut self) {
        self.before.round_trips += 1;
        self.asked = Some(Instant::now());
    }

    /// Returns true if the server answered so soon, at least once, that a round trip costs next to nothing.
    pub(super) fn is_near(&self) -> bool {
        self.shortest.is_some_and(|shortest| shortest < NEAR)
    }

    /// Queues bytes. What was written makes room first: where the queue is filled faster than the connection takes
    /// it, it is never empty, and would hold all that ever went through it.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        if self.written >= BUFFER {
            self.output.drain(..self.written);
            self.written = 0;
        }
        self.output.extend_from_slice(bytes);
    }

    /// Returns how many bytes are queued and not yet written.
    pub(super) fn queued(&self) -> usize {
        self.output.len() - self.written
    }

    /// Returns true if what is queued last is a line end.
    pub(super) fn ends_in_line_end(&self) -> bool {
        self.output.ends_with(b"\r\n")
    }

    /// Takes the response that [`Wire::next`] completed. Give it back to [`Wire::recycle`] to save allocations.
    pub(super) fn take_reply(&mut self) -> Reply {
        std::mem::take(&mut self.reply)
    }

    /// Takes a response's buffers back.
    pub(super) fn recycle(&mut self, reply: Reply) {
        self.reply = reply;
    }

    /// Goes on with the next response as far as bytes have arrived. Returns true when it is complete.
    pub(super) fn next(&mut self, mut sink: Option<&mut (dyn LiteralSink + '_)>) -> Result<bool, Error> {
        loop {
            match self.state {
                State::Complete => {
                    self.reply.text.clear();
                    self.reply.literals.clear();
                    self.fragment = 0;
                    self.state = State::Line;
                }
                State::Line => {
                    if !self.take_line()? {
                        return Ok(false);
                    }
                    match self.announced()? {
                        Some((at, len)) => self.begin_literal(at, len, sink.as_deref_mut())?,
                        None => {
                            self.state = State::Complete;
                            self.restart_pace();
                            return Ok(true);
                        }
                    }
                }
                State::Literal { left, target } => {
                    if !self.take_literal(left, target, sink.as_deref_mut())? {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Moves text up to a line end. A bare LF ends a line too; some servers send that.
    fn take_line(&mut self) -> Result<bool, Error> {
        let arrived = self.input.get(self.start..self.end).unwrap_or_default();
        let line_end = memchr::memchr(b'\n', arrived);
        let line = arrived.get(..line_end.unwrap_or(arrived.len())).unwrap_or_default();
        if self.reply.text.len() + line.len() > MAX_TEXT {
            return Err(Error::Garbled("an endless line"));
        }
        self.reply.text.extend_from_slice(line);
        self.start += line.len() + usize::from(line_end.is_some());
        if line_end.is_some() && self.reply.text.len() > self.fragment && self.reply.text.last() == Some(&b'\r') {
            self.reply.text.pop();
        }
        Ok(line_end.is_some())
    }

    /// Returns where the literal that the last line announces has its `{`, and its length.
    fn announced(&self) -> Result<Option<(usize, u64)>, Error> {
        let line = self.reply.text.get(self.fragment..).unwrap_or_default();
        let Some((at, digits)) = announcement(line) else { return Ok(None) };
        if is_prose(&self.reply.text) {
            return Ok(None);
        }
        let length = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
        let length = length.ok_or(Error::Garbled("a literal of impossible length"))?;
        Ok(Some((self.fragment + at, length)))
    }

    fn begin_literal(&mut self, at: usize, len: u64, sink: Option<&mut (dyn LiteralSink + '_)>) -> Result<(), Error> {
        let target = match is_body(self.reply.text.get(..at).unwrap_or_default()) {
            true if sink.is_some() && !self.reply.literals.iter().any(|earlier| earlier.streamed) => Target::Sink,
            true => Target::Nowhere,
            false => Target::Text,
        };
        if matches!(target, Target::Text) && (len > MAX_LITERAL || self.reply.text.len() > MAX_TEXT) {
            return Err(Error::Garbled("a literal too long for what it is"));
        }
        if len > MAX_BODY || self.reply.literals.len() >= MAX_LITERALS {
            return Err(Error::Garbled("a message of impossible size"));
        }
        if let (Target::Sink, Some(sink)) = (target, sink) {
            sink.begin()?;
        }
        let (kept, streamed) = match target {
            Target::Text => (usize::try_from(len).unwrap_or(usize::MAX), false),
            Target::Sink | Target::Nowhere => (0, true),
        };
        self.reply.literals.push(Literal { at, start: self.reply.text.len(), kept, streamed });
        self.state = State::Literal { left: len, target };
        Ok(())
    }

    fn take_literal(
        &mut self,
        left: u64,
        target: Target,
        sink: Option<&mut (dyn LiteralSink + '_)>,
    ) -> Result<bool, Error> {
        let arrived = self.input.get(self.start..self.end).unwrap_or_default();
        let part = arrived.get(..usize::try_from(left).unwrap_or(usize::MAX).min(arrived.len())).unwrap_or_default();
        match (target, sink) {
            (Target::Text, _) => self.reply.text.extend_from_slice(part),
            (Target::Sink, Some(sink)) if !part.is_empty() => sink.write(part)?,
            (Target::Sink | Target::Nowhere, _) => {}
        }
        self.start += part.len();
        let left = left - part.len() as u64;
        self.state = match left {
            0 => State::Line,
            _ => State::Literal { left, target },
        };
        self.fragment = self.reply.text.len();
        Ok(left == 0)
    }

    /// Waits until something was read or written, at most as long as the timeout allows.
    pub(super) async fn progress(&mut self) -> Result<(), Error> {
        let (timeout, started) = (self.timeout, Instant::now());
        // What has come is looked at before: much of the time may have gone to something else that was done meanwhile.
        if self.waited >= timeout {
            return Err(Error::Garbled("next to nothing for longer than the timeout"));
        }
        let mut patience = self.patience;
        let moved = patience.wait(timeout, poll_fn(|cx| self.poll_progress(cx))).await;
        self.patience = patience;
        moved.map_err(Error::Silent)??;
        let elapsed = started.elapsed();
        self.waited += elapsed;
        self.gauge.note(elapsed, self.traffic().bytes_in);
        if self.moved() - self.paced >= PACE {
            self.restart_pace();
        }
        Ok(())
    }

    /// Returns true if anything has arrived that was not handed out, or does in a part of the longest wait.
    pub(super) async fn hears_soon(&mut self) -> Result<bool, Error> {
        let end = tokio::time::Instant::now() + self.timeout / SOON;
        while self.start == self.end {
            match tokio::time::timeout_at(end, poll_fn(|cx| self.poll_progress(cx))).await {
                Ok(progress) => progress?,
                Err(_) => return Ok(false),
            }
        }
        Ok(true)
    }

    fn moved(&self) -> u64 {
        let traffic = self.traffic();
        traffic.bytes_in + traffic.bytes_out
    }

    fn restart_pace(&mut self) {
        (self.waited, self.paced) = (Duration::ZERO, self.moved());
    }

    /// Writes and reads what can be without waiting; ready when something moved.
    pub(super) fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let wrote = self.write_some(cx);
        match self.read_some(cx) {
            Poll::Pending if wrote => Poll::Ready(Ok(())),
            read => read,
        }
    }

    /// A server that closes the connection may have said why: after a failed write reading goes on until it ends.
    fn write_some(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        while !self.deaf && self.queued() > 0 {
            let rest = self.output.get(self.written..).unwrap_or_default();
            match Pin::new(&mut self.stream).poll_write(cx, rest) {
                Poll::Ready(Ok(0) | Err(_)) => self.deaf = true,
                Poll::Ready(Ok(sent)) => {
                    self.written += sent;
                    self.unflushed = true;
                    moved = true;
                }
                Poll::Pending => return moved,
            }
        }
        self.output.clear();
        self.written = 0;
        if self.unflushed && !self.deaf {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(_)) => self.deaf = true,
                Poll::Pending => {}
            }
        }
        moved
    }

    fn read_some(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.start > 0 {
            self.input.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let free = self.input.get_mut(self.end..).unwrap_or_default();
        if free.is_empty() {
            return Poll::Pending;
        }
        let mut buffer = ReadBuf::new(free);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) if self.stream.is_deflated() && error.kind() == io::ErrorKind::Other => {
                // Only DEFLATE reports it so.
                Poll::Ready(Err(Error::Garbled("what can't be decompressed")))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(lost(&error))),
            Poll::Ready(Ok(())) => match buffer.filled().len() {
                0 => Poll::Ready(Err(Error::Lost(None))),
                read => {
                    self.end += read;
                    if let Some(asked) = self.asked.take() {
                        let waited = asked.elapsed();
                        self.shortest = Some(self.shortest.map_or(waited, |shortest| shortest.min(waited)));
                    }
                    Poll::Ready(Ok(()))
                }
            },
        }
    }

    /// Writes everything queued and closes the connection; TLS says so (RFC 8446 section 6.1).
    pub(super) async fn close(&mut self) {
        poll_fn(|cx| self.poll_flush(cx)).await;
        let closed = poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await;
        if let Err(error) = closed {
            tracing::debug!("closing the connection: {error}");
        }
    }

    /// Writes everything queued without reading; for the log-in, where one side speaks at a time. A server that
    /// doesn't listen any more is read to its end all the same: that is where it says why.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.write_some(cx);
        match self.deaf || (self.queued() == 0 && !self.unflushed) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

fn lost(error: &io::Error) -> Error {
    match error.kind() {
        // What TLS reports when the other side closes without saying so.
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Error::Lost(None),
        _ => Error::Lost(Some(format!("{error} (the system's words)"))),
    }
}

/// Returns where `{` stands and the digits, if a line ends in a literal's announcement (RFC 9051 section 4.3, RFC 7888).
fn announcement(line: &[u8]) -> Option<(usize, &[u8])> {
    let body = line.strip_suffix(b"}")?;
    let body = body.strip_suffix(b"+").unwrap_or(body);
    let at = body.iter().rposition(|&byte| byte == b'{')?;
    let digits = body.get(at + 1..)?;
    (!digits.is_empty() && digits.iter().all(u8::is_ascii_digit)).then_some((at, digits))
}

/// Returns true if what stands at the end of the text is meant for people, who may be told about `{5}`: a continuation
/// request, or a status response outside its response code.
fn is_prose(text: &[u8]) -> bool {
    if text.first() == Some(&b'+') {
        return true;
    }
    let mut words = text.splitn(3, |&byte| byte == b' ');
    let condition = words.nth(1).unwrap_or_default();
    let is_status = [&b"OK"[..], b"NO", b"BAD", b"BYE", b"PREAUTH"].iter().any(|c| condition.eq_ignore_ascii_case(c));
    let rest = words.next().unwrap_or_default().trim_ascii_start();
    is_status && (rest.first() != Some(&b'[') || rest.contains(&b']'))
}

/// Returns true if the literal announced next is a message's body or a part of it: a FETCH item with a section.
fn is_body(before: &[u8]) -> bool {
    let before = before.strip_suffix(b"~").unwrap_or(before).trim_ascii_end();
    let mut words = before.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
    let fetch = words.nth(2).is_some_and(|word| {
        word.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"FETCH"))
            || word.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"UIDFETCH"))
    });
    fetch && (before.ends_with(b"]") || before.ends_with(b">"))
}

#[cfg(test)]
mod tests;

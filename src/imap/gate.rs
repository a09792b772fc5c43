//! The gate through which async-imap speaks during the log-in.
//!
//! It hands out one complete response at a time, so that nothing is left in async-imap's buffer when we take over,
//! and only what the log-in needs, written in the plainest form: what a server adds (alerts in any encoding, unknown
//! data) is kept here and can't upset the parser on the other side.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::capability::Capabilities;
use super::error::Error;
use super::response::{Code, Condition, Response, Status, Untagged, parse};
use super::wire::Wire;

/// A wire with a gate in front.
#[derive(Debug)]
pub(super) struct Gate {
    wire: Wire,
    released: Vec<u8>,
    at: usize,
    heard: Heard,
    early_end: EarlyEnd,
    /// What goes behind the command that is written next.
    behind: Option<Vec<u8>>,
    listening: bool,
}

/// What the server said besides what was let through.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The greeting.
    pub(super) greeting: Option<Status>,
    /// Capabilities, from wherever they came last.
    pub(super) capabilities: Option<Capabilities>,
    /// The last tagged answer.
    pub(super) answer: Option<Status>,
    /// The text of BYE.
    pub(super) bye: Option<String>,
    /// What ended the connection.
    pub(super) error: Option<Error>,
    continuations: usize,
}

/// Saves SCRAM's last round trip. The server's last message proves that it knows the password and wants an empty
/// line in return; that line is sent ahead, behind our proof, and what async-imap writes later is swallowed. Whether
/// the server's proof holds is still checked before anything else is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EarlyEnd {
    /// Nothing is sent ahead.
    Off,
    /// The line goes behind the answer to this continuation request.
    Behind(usize),
    /// It went; the next line written is it.
    Swallow,
}

impl Gate {
    /// Puts a gate in front of a wire.
    pub(super) fn new(wire: Wire) -> Self {
        let heard = Heard::default();
        Self { wire, released: Vec::new(), at: 0, heard, early_end: EarlyEnd::Off, behind: None, listening: false }
    }

    /// Returns what was heard so far.
    pub(super) fn heard(&mut self) -> &mut Heard {
        &mut self.heard
    }

    /// Asks for an empty line to be sent behind the answer to the `n`th continuation request from now on.
    pub(super) fn end_early(&mut self, n: usize) {
        self.heard.continuations = 0;
        self.early_end = EarlyEnd::Behind(n);
    }

    /// Has this sent behind the command that is written next.
    pub(super) fn send_behind(&mut self, bytes: Vec<u8>) {
        self.behind = Some(bytes);
    }

    /// Takes the gate away.
    pub(super) fn into_wire(self) -> Wire {
        self.wire
    }

    fn admit(&mut self) {
        let reply = self.wire.take_reply();
        let response = parse(&reply);
        self.wire.recycle(reply);
        self.at = 0;
        self.released.clear();
        match response {
            Some(Response::Continue(text)) => {
                self.heard.continuations += 1;
                self.released.extend_from_slice(b"+ ");
                self.released.extend_from_slice(if is_base64(&text) { &text } else { b"" });
                self.released.extend_from_slice(b"\r\n");
            }
            Some(Response::Tagged(tag, status)) => {
                let word = if status.is_ok() { "OK" } else { "NO" };
                self.released.extend_from_slice(&tag);
                self.released.extend_from_slice(format!(" {word} heard\r\n").as_bytes());
                self.note_code(&status);
                self.heard.answer = Some(status);
            }
            Some(Response::Untagged(Untagged::Capability(words))) => {
                self.heard.capabilities = Some(Capabilities::new(&words));
            }
            Some(Response::Untagged(Untagged::Status(status))) => self.admit_status(status),
            Some(Response::Untagged(_)) | None => {}
        }
    }

    fn admit_status(&mut self, status: Status) {
        self.note_code(&status);
        if status.condition == Condition::Bye {
            self.heard.bye = Some(status.text.clone());
        }
        if self.heard.greeting.is_none() {
            self.heard.greeting = Some(status);
            self.released.extend_from_slice(b"* OK heard\r\n");
        }
    }

    fn note_code(&mut self, status: &Status) {
        if let Some(Code::Capability(words)) = &status.code {
            self.heard.capabilities = Some(Capabilities::new(words));
        }
    }
}

fn is_base64(text: &[u8]) -> bool {
    text.len().is_multiple_of(4) && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte))
}

impl AsyncRead for Gate {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let gate = &mut *self;
        gate.listening = true;
        while gate.at >= gate.released.len() {
            match gate.wire.next(None) {
                Ok(true) => gate.admit(),
                Ok(false) => {
                    if let Err(error) = ready!(gate.wire.poll_progress(cx)) {
                        gate.heard.error = Some(error);
                        return Poll::Ready(Ok(()));
                    }
                }
                Err(error) => {
                    gate.heard.error = Some(error);
                    return Poll::Ready(Ok(()));
                }
            }
        }
        let rest = gate.released.get(gate.at..).unwrap_or_default();
        let part = rest.get(..rest.len().min(buffer.remaining())).unwrap_or_default();
        buffer.put_slice(part);
        gate.at += part.len();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Gate {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.early_end == EarlyEnd::Swallow && bytes == b"\r\n" {
            self.early_end = EarlyEnd::Off;
            return Poll::Ready(Ok(bytes.len()));
        }
        if std::mem::take(&mut self.listening) {
            self.wire.count_round_trip();
        }
        self.wire.send(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.early_end == EarlyEnd::Behind(self.heard.continuations) {
            self.wire.send(b"\r\n");
            self.early_end = EarlyEnd::Swallow;
        }
        let gate = &mut *self;
        if let Some(bytes) = gate.behind.take_if(|_| gate.wire.ends_in_line_end()) {
            gate.wire.send(&bytes);
        }
        self.wire.poll_flush(cx).map(Ok)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

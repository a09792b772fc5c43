//! A scripted server for tests: it checks what is sent, line by line, and answers what the test says.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, DuplexStream};
use tokio::task::JoinHandle;

use super::ImapStore;
use super::capability::Capabilities;
use super::command::Connection;
use super::wire::{LiteralSink, Wire};
use crate::model::{FlagSet, MailboxName, Uid, UidSet, UidValidity};
use crate::store::{BodySink, FetchedMessage, LocalError, LocalErrorKind, Messages, Traffic};

/// What the client is to send, without its tag, and the answer, in which `$` stands for the tag. An empty step only
/// speaks; [`EMPTY_LINE`] waits for an empty line.
pub(super) type Step = (&'static str, &'static str);

/// Stands for an empty line in a [`Step`].
pub(super) const EMPTY_LINE: &str = "<empty line>";

/// How long a script may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a test's future.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Returns a store that is past its first burst, on a scripted server that closes the connection at the script's end.
pub(super) fn scripted(capabilities: &[&str], script: Vec<Step>) -> (ImapStore, JoinHandle<()>) {
    let (client, server) = tokio::io::duplex(1024);
    let mut store = store(client, capabilities);
    store.introduced = true;
    (store, tokio::spawn(serve(server, script)))
}

/// Returns a store fresh from log-in.
pub(super) fn store(client: DuplexStream, capabilities: &[&str]) -> ImapStore {
    let words: Vec<String> = capabilities.iter().map(|&word| word.to_owned()).collect();
    let wire = Wire::new(Box::new(client), Duration::from_secs(5), Traffic::default());
    ImapStore::new(Connection::new(wire), Capabilities::new(&words))
}

/// Plays the script. A literal's bytes are taken as part of the line that announces it, and `+` is sent if need be. A
/// client that leaves lines of it unsent fails the test, and does not make it wait for good.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, script: Vec<Step>) {
    tokio::time::timeout(PATIENCE, play(stream, script)).await.expect("played to its end");
}

async fn play<S: AsyncRead + AsyncWrite + Unpin>(stream: S, script: Vec<Step>) {
    let mut stream = BufReader::new(stream);
    for (expected, answer) in script {
        let mut line = Vec::new();
        if !expected.is_empty() {
            stream.read_until(b'\n', &mut line).await.unwrap();
            while let Some((size, waits)) = literal(&line) {
                if waits {
                    stream.write_all(b"+ go\r\n").await.unwrap();
                }
                let mut bytes = vec![0; size];
                stream.read_exact(&mut bytes).await.unwrap();
                line.extend(bytes);
                stream.read_until(b'\n', &mut line).await.unwrap();
            }
        }
        let line = String::from_utf8(line).unwrap();
        let (tag, command) = line.trim_end().split_once(' ').unwrap_or(("", line.trim_end()));
        assert_eq!(if line == "\r\n" { EMPTY_LINE } else { command }, expected);
        stream.write_all(answer.replace('$', tag).as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
    }
}

fn literal(line: &[u8]) -> Option<(usize, bool)> {
    let text = std::str::from_utf8(line).ok()?.strip_suffix("}\r\n")?;
    let digits = text.get(text.rfind('{')? + 1..)?;
    Some((digits.trim_end_matches('+').parse().ok()?, !digits.ends_with('+')))
}

/// A sink that keeps everything, and fails at the `fail_at`th message.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Messages finished.
    pub(super) messages: Vec<(u32, Vec<u8>, FlagSet)>,
    /// How many were begun.
    pub(super) begun: usize,
    /// The one in hand.
    pub(super) open: Option<Vec<u8>>,
    /// Which write fails.
    pub(super) fail_at: Option<usize>,
    /// Messages that the server does not give, and why.
    pub(super) left_out: Vec<(u32, String)>,
}

impl LiteralSink for Kept {
    fn begin(&mut self) -> Result<(), LocalError> {
        assert_eq!(self.open, None, "begun twice");
        self.begun += 1;
        self.open = Some(Vec::new());
        Ok(())
    }

    fn write(&mut self, wire: &[u8]) -> Result<(), LocalError> {
        if self.fail_at == Some(self.begun) {
            return Err(LocalError { kind: LocalErrorKind::Full, cause: "disk full".into() });
        }
        self.open.as_mut().expect("begun").extend_from_slice(wire);
        Ok(())
    }
}

impl BodySink for Kept {
    fn begin(&mut self, _: usize) -> Result<(), LocalError> {
        LiteralSink::begin(self)
    }

    fn write(&mut self, wire: &[u8]) -> Result<(), LocalError> {
        LiteralSink::write(self, wire)
    }

    fn finish(&mut self, _: usize, message: FetchedMessage) -> Result<(), LocalError> {
        let body = self.open.take().expect("begun");
        self.messages.push((message.uid.get(), body, message.flags));
        Ok(())
    }

    fn discard(&mut self) -> Result<(), LocalError> {
        self.open = None;
        Ok(())
    }

    fn leave_out(&mut self, _: usize, uid: Uid, why: String) -> bool {
        self.left_out.push((uid.get(), why));
        true
    }
}

/// Returns a set of UIDs.
pub(super) fn uids(numbers: &[u32]) -> UidSet {
    numbers.iter().filter_map(|&number| Uid::new(number)).collect()
}

/// Returns a UID.
pub(super) fn uid(number: u32) -> Uid {
    Uid::new(number).unwrap()
}

/// Returns a mailbox name.
pub(super) fn name(text: &str) -> MailboxName {
    MailboxName::parse(text).unwrap()
}

/// Returns messages of mailbox A, whose UIDVALIDITY is 7.
pub(super) fn of_a(numbers: &[u32]) -> Messages {
    Messages { mailbox: name("A"), validity: UidValidity(7), uids: uids(numbers) }
}

/// Returns messages of mailbox B, whose UIDVALIDITY is 5.
pub(super) fn of_b(numbers: &[u32]) -> Messages {
    Messages { mailbox: name("B"), validity: UidValidity(5), uids: uids(numbers) }
}

//! The standard streams, and readers of them that do not read.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

/// How many lines wait for a reader that does not read. What comes then is dropped.
const WAITING: usize = 1000;

/// How long what waits at the end may take to be read.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Standard output or standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Out,
    Err,
}

impl Stream {
    fn write_all(self, text: &[u8]) -> io::Result<()> {
        match self {
            Self::Out => io::stdout().lock().write_all(text),
            Self::Err => io::stderr().lock().write_all(text),
        }
    }
}

/// Where lines for a stream go. Each `write` is one.
#[derive(Debug, Clone)]
pub(super) enum Sink {
    /// At once: who writes waits for the reader.
    Direct(Stream),
    /// To a thread that does the waiting.
    Behind(Spool),
}

/// Lines on their way.
#[derive(Debug, Clone)]
pub(super) struct Spool {
    lines: SyncSender<Line>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Line {
    Text(Vec<u8>),
    /// The last one: tells when it is reached.
    End(Sender<()>),
}

impl Sink {
    /// Starts a thread that writes to a stream, and notes the first error it meets in `unsaid`.
    pub(super) fn behind(stream: Stream, unsaid: Arc<OnceLock<io::Error>>) -> Self {
        let (lines, waiting) = sync_channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let spool = Spool { lines, lost: Arc::clone(&lost) };
        match thread::Builder::new().spawn(move || spool_out(stream, &waiting, &lost, &unsaid)) {
            Ok(_) => Self::Behind(spool),
            Err(_) => Self::Direct(stream),
        }
    }

    /// Waits a moment for what is not written yet.
    pub(super) fn drain(&self) {
        if let Self::Behind(spool) = self {
            let (reached, end) = channel();
            if spool.lines.try_send(Line::End(reached)).is_ok() {
                // Whoever has not read it by now may never do.
                end.recv_timeout(LAST_WORDS).ok();
            }
        }
    }
}

impl Write for Sink {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        match self {
            Self::Direct(stream) => stream.write_all(text)?,
            Self::Behind(spool) => {
                if spool.lines.try_send(Line::Text(text.to_vec())).is_err() {
                    spool.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn spool_out(stream: Stream, lines: &Receiver<Line>, lost: &AtomicU64, unsaid: &OnceLock<io::Error>) {
    for line in lines {
        match line {
            Line::Text(text) => note(stream.write_all(&text), unsaid),
            // Who asked may have stopped waiting.
            Line::End(reached) => drop(reached.send(())),
        }
        if let lines @ 1.. = lost.swap(0, Ordering::Relaxed) {
            tracing::warn!(lines, ?stream, "not written: nobody read what came before");
        }
    }
}

/// Notes why something could not be said. A reader that has gone away has seen enough.
pub(super) fn note(written: io::Result<()>, unsaid: &OnceLock<io::Error>) {
    if let Err(error) = written
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        drop(unsaid.set(error));
    }
}

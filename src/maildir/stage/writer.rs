//! The thread that writes message files, so that the connection is read meanwhile: creating files takes most of the time
//! that a first sync takes.
//!
//! It does what it is told in the order it is told, and is told much at once: waking it for every message would take more
//! time than many messages do. Once something failed it does nothing but say so, with every [`Writer::sync`]: nothing is
//! recorded of a message before that, and what was handed over later is never taken for what was handed over before.

use std::fs::{File, FileTimes};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::syncer::{Answer, Batch, Syncer};
use crate::maildir::error::{Reach, failed, found};
use crate::maildir::{durable, stamp};
use crate::model::{FileStat, Fingerprint, Identity, IdentityHasher, MessageHash, Timestamp};
use crate::store::LocalError;

/// From so many bytes on they are handed to the thread.
const LOAD: usize = 256 * 1024;

/// From so many jobs on, too: what is discarded, or empty, has few bytes.
const JOBS: usize = 4096;

/// How many loads may wait to be written: 4 MB.
const WAITING: usize = (4 << 20) / LOAD;

/// What the thread is told to do.
#[derive(Debug)]
enum Job {
    /// Keep a directory of a file system open that files are about to be written to.
    Hold(u64, File),
    /// Note a `tmp` directory that files are about to be written to, and its file system.
    Open(PathBuf, u64),
    /// Create a file.
    Begin(PathBuf),
    /// Write so many bytes of the load to it.
    Bytes(usize),
    /// Complete it, and give it its date.
    End(Option<Timestamp>),
    /// Remove the file that is being written.
    Discard,
    /// Make all files durable that were completed since the last time.
    Sync(Answer),
}

/// What is handed over at once.
#[derive(Debug, Default)]
struct Load {
    jobs: Vec<Job>,
    /// What [`Job::Bytes`] speaks of, in that order.
    bytes: Vec<u8>,
}

/// A file written whole.
#[derive(Debug)]
pub(super) struct Written {
    /// What it is on disk.
    pub(super) stat: FileStat,
    /// What the message is.
    pub(super) content: Fingerprint,
    /// Its Message-ID.
    pub(super) message_id: Option<MessageHash>,
    /// Its size with CRLF line ends, in bytes.
    pub(super) wire_size: u64,
}

/// The thread, which ends with this.
#[derive(Debug)]
pub(super) struct Writer {
    loads: Option<SyncSender<Load>>,
    load: Load,
    /// So many bytes of the load have their job.
    noted: usize,
    thread: Option<JoinHandle<()>>,
    failed: Arc<AtomicBool>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start() -> io::Result<Self> {
        let (loads, queue) = sync_channel(WAITING);
        let failed = Arc::new(AtomicBool::new(false));
        let syncer = Syncer::start(failed.clone())?;
        let mut files = Files { current: None, batch: Batch::default(), error: None, failed: failed.clone(), syncer };
        let thread = std::thread::Builder::new().name("writer".to_owned()).spawn(move || files.work(&queue))?;
        Ok(Self { loads: Some(loads), load: Load::default(), noted: 0, thread: Some(thread), failed })
    }

    /// Hands over a directory of a file system that files are about to be written to: `syncfs` tells of write errors since
    /// it was opened. One is enough: a thousand maildirs would be more than a process may have open.
    pub(super) fn hold(&mut self, device: u64, dir: File) -> Result<(), LocalError> {
        self.note(Job::Hold(device, dir))
    }

    /// Names the `tmp` directory that files are about to be written to, and its file system.
    pub(super) fn open(&mut self, tmp: PathBuf, device: u64) -> Result<(), LocalError> {
        self.note(Job::Open(tmp, device))
    }

    /// Has a file created, which all bytes belong to until it ends.
    pub(super) fn begin(&mut self, path: PathBuf) -> Result<(), LocalError> {
        self.note(Job::Begin(path))
    }

    /// Has written what is appended to the load. Fails if the thread has failed before.
    pub(super) fn write(&mut self, append: impl FnOnce(&mut Vec<u8>)) -> Result<(), LocalError> {
        if self.load.bytes.capacity() == 0 {
            self.load.bytes.reserve(LOAD + super::PIECE);
        }
        append(&mut self.load.bytes);
        if self.load.bytes.len() < LOAD {
            return Ok(());
        }
        self.hand_on()?;
        match self.failed.load(Ordering::Acquire) {
            true => self.sync()?.wait().map(drop),
            false => Ok(()),
        }
    }

    /// Ends the file and gives it its date.
    pub(super) fn end(&mut self, date: Option<Timestamp>) -> Result<(), LocalError> {
        self.note(Job::End(date))
    }

    /// Has the file removed that is being written.
    pub(super) fn discard(&mut self) -> Result<(), LocalError> {
        self.note(Job::Discard)
    }

    /// Has everything made durable that was completed since the last time, data and directory entries.
    pub(super) fn sync(&mut self) -> Result<Syncing, LocalError> {
        let (answer, done) = channel();
        self.note(Job::Sync(answer))?;
        self.hand_on()?;
        Ok(Syncing(done))
    }

    fn note(&mut self, job: Job) -> Result<(), LocalError> {
        self.note_bytes();
        self.load.jobs.push(job);
        if self.load.jobs.len() < JOBS { Ok(()) } else { self.hand_on() }
    }

    fn note_bytes(&mut self) {
        let new = self.load.bytes.len() - self.noted;
        self.load.jobs.extend((new > 0).then_some(Job::Bytes(new)));
        self.noted += new;
    }

    fn hand_on(&mut self) -> Result<(), LocalError> {
        self.note_bytes();
        self.noted = 0;
        let load = std::mem::take(&mut self.load);
        self.loads.as_ref().ok_or_else(ended)?.send(load).map_err(|_| ended())
    }
}

/// Files that are being made durable. None is left of those that nobody waits for.
#[derive(Debug)]
pub(super) struct Syncing(Receiver<Result<Batch, LocalError>>);

impl Syncing {
    /// Waits until they are, and returns them in the order in which they were completed. After an error none is left.
    pub(super) fn wait(self) -> Result<Vec<Written>, LocalError> {
        let mut batch = self.0.recv().map_err(|_| ended())??;
        Ok(batch.complete.drain(..).map(|(_, written)| written).collect())
    }
}

fn ended() -> LocalError {
    found(Path::new("tmp"), "can't be written to: the thread that writes messages has ended")
}

impl Drop for Writer {
    /// The files that nobody wanted made durable are removed before this returns.
    fn drop(&mut self) {
        self.loads = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::warn!("the thread that writes messages has ended early");
        }
    }
}

/// The file that is being written.
struct Current {
    path: PathBuf,
    file: File,
    hasher: IdentityHasher,
}

/// What the thread has in hand.
struct Files {
    current: Option<Current>,
    /// Complete and not yet durable.
    batch: Batch,
    /// What went wrong, until somebody is told.
    error: Option<LocalError>,
    failed: Arc<AtomicBool>,
    syncer: Syncer,
}

impl Files {
    fn work(&mut self, queue: &Receiver<Load>) {
        while let Ok(Load { jobs, bytes }) = queue.recv() {
            let mut left = bytes.as_slice();
            for job in jobs {
                if let Err(error) = self.carry_out(job, &mut left) {
                    self.error.get_or_insert(error);
                    self.failed.store(true, Ordering::Release);
                }
            }
        }
    }

    fn carry_out(&mut self, job: Job, left: &mut &[u8]) -> Result<(), LocalError> {
        let failed = self.failed.load(Ordering::Acquire);
        match job {
            Job::Sync(answer) => {
                let left = if failed { self.discard() } else { Ok(()) };
                left.unwrap_or_else(|left| tracing::warn!("{left}"));
                self.syncer.sync(std::mem::take(&mut self.batch), self.error.take(), answer);
                Ok(())
            }
            _ if failed => self.discard(),
            Job::Hold(device, dir) => {
                self.batch.devices.push((device, dir));
                Ok(())
            }
            Job::Open(tmp, device) => {
                self.batch.dirs.push((tmp, device));
                Ok(())
            }
            Job::Begin(path) => self.begin(path),
            Job::Bytes(len) => {
                let (bytes, rest) = left.split_at_checked(len).unwrap_or((left, &[]));
                *left = rest;
                self.write(bytes)
            }
            Job::End(date) => self.end(date),
            Job::Discard => self.discard(),
        }
    }

    fn begin(&mut self, path: PathBuf) -> Result<(), LocalError> {
        self.discard()?;
        let file = durable::create_new(&path).map_err(|error| failed("create", &path, Reach::All, error))?;
        self.current = Some(Current { path, file, hasher: IdentityHasher::exact() });
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), LocalError> {
        let current = self.current.as_mut().ok_or_else(none_begun)?;
        current.file.write_all(bytes).map_err(|error| failed("write", &current.path, Reach::All, error))?;
        // It takes either kind of line end; the file's is the shorter one.
        current.hasher.update(bytes);
        Ok(())
    }

    fn end(&mut self, date: Option<Timestamp>) -> Result<(), LocalError> {
        let Current { path, file, hasher } = self.current.take().ok_or_else(none_begun)?;
        let stat = match complete(&file, date) {
            Ok(stat) => stat,
            Err(error) => {
                let error = failed("write", &path, Reach::All, error);
                self.current = Some(Current { path, file, hasher });
                return Err(error);
            }
        };
        let Identity { content, message_id, size, .. } = hasher.finish(date);
        let content = content.ok_or_else(|| found(&path, "was not hashed"))?;
        self.batch.complete.push((path, Written { stat, content, message_id, wire_size: size }));
        Ok(())
    }

    fn discard(&mut self) -> Result<(), LocalError> {
        let Some(Current { path, .. }) = self.current.take() else { return Ok(()) };
        durable::remove(&path).map_err(|error| failed("remove", &path, Reach::All, error))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.discard().unwrap_or_else(|left| tracing::warn!("{left}"));
    }
}

fn none_begun() -> LocalError {
    found(Path::new("tmp"), "no message is being written")
}

fn complete(file: &File, date: Option<Timestamp>) -> io::Result<FileStat> {
    if let Some(date) = date.and_then(system_time) {
        file.set_times(FileTimes::new().set_modified(date))?;
    }
    Ok(stamp::file_stat(&file.metadata()?))
}

fn system_time(date: Timestamp) -> Option<SystemTime> {
    let distance = Duration::from_secs(date.0.unsigned_abs());
    if date.0 < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) }
}

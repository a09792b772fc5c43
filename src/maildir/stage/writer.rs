//! The thread that writes message files, so that the connection is read meanwhile: creating files takes most of the time
//! that a first sync takes.
//!
//! It does what it is told in the order it is told. Once something failed it does nothing but say so, with every
//! [`Writer::sync`]: nothing is recorded of a message before that, and what was handed over later is never taken for what was
//! handed over before.

use std::fs::{File, FileTimes};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::PIECE;
use crate::maildir::error::{Reach, failed, found};
use crate::maildir::{durable, stamp};
use crate::model::{FileStat, Fingerprint, Identity, IdentityHasher, MessageHash, Timestamp};
use crate::store::{LocalError, LocalErrorKind};

/// How many pieces may wait to be written: 8 MB at most, as one may be twice as long.
const WAITING: usize = (4 << 20) / PIECE;

/// The types of file systems that lie above others and whose `syncfs` does nothing, says success, and does not reach the
/// disk: FUSE and eCryptfs (statfs(2)).
#[cfg(any(target_os = "linux", target_os = "android"))]
const STACKED: [i128; 2] = [0x6573_5546, 0xf15f];

/// Up to so many files are synced one by one: `syncfs` also waits for what other programs wrote.
const FEW: usize = 8;

/// What the thread is told to do.
enum Job {
    /// Write a part of a file, which is created with the first and complete with the last.
    Write { path: PathBuf, first: bool, bytes: Vec<u8>, last: Option<Option<Timestamp>> },
    /// Take over a `tmp` directory that files are about to be written to, opened before the first of them.
    Open(PathBuf, File),
    /// Remove the file that is being written.
    Discard,
    /// Make all files durable that were completed since the last time.
    Sync(Sender<Result<Vec<Written>, LocalError>>),
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
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    failed: Arc<AtomicBool>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start() -> io::Result<Self> {
        let (jobs, queue) = sync_channel(WAITING);
        let mut files = Files::default();
        let failed = files.failed.clone();
        let thread = std::thread::Builder::new().name("writer".to_owned()).spawn(move || files.work(&queue))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), failed })
    }

    /// Hands over the `tmp` directory that files are about to be written to: `syncfs` tells of write errors since it was
    /// opened.
    pub(super) fn open(&self, tmp: PathBuf, dir: File) -> Result<(), LocalError> {
        self.tell(Job::Open(tmp, dir))
    }

    /// Has a part of a file written; `last` ends it and gives it its date. Fails if the thread has failed before.
    pub(super) fn write(
        &self,
        path: &Path,
        first: bool,
        bytes: Vec<u8>,
        last: Option<Option<Timestamp>>,
    ) -> Result<(), LocalError> {
        self.tell(Job::Write { path: path.to_owned(), first, bytes, last })?;
        match self.failed.load(Ordering::Acquire) {
            true => self.sync()?.wait().map(drop),
            false => Ok(()),
        }
    }

    /// Has the file removed that is being written.
    pub(super) fn discard(&self) -> Result<(), LocalError> {
        self.tell(Job::Discard)
    }

    /// Has everything made durable that was completed since the last time, data and directory entries.
    pub(super) fn sync(&self) -> Result<Syncing, LocalError> {
        let (answer, done) = channel();
        self.tell(Job::Sync(answer))?;
        Ok(Syncing(done))
    }

    fn tell(&self, job: Job) -> Result<(), LocalError> {
        self.jobs.as_ref().ok_or_else(ended)?.send(job).map_err(|_| ended())
    }
}

/// Files that are being made durable.
#[derive(Debug)]
pub(super) struct Syncing(Receiver<Result<Vec<Written>, LocalError>>);

impl Syncing {
    /// Waits until they are, and returns them in the order in which they were completed. After an error none is left.
    pub(super) fn wait(self) -> Result<Vec<Written>, LocalError> {
        self.0.recv().map_err(|_| ended())?
    }
}

fn ended() -> LocalError {
    found(Path::new("tmp"), "can't be written to: the thread that writes messages has ended")
}

impl Drop for Writer {
    /// The files that were not made durable are removed before this returns.
    fn drop(&mut self) {
        self.jobs = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::warn!("the thread that writes messages has ended early");
        }
    }
}

/// The file that is being written.
#[derive(Debug)]
struct Current {
    path: PathBuf,
    file: File,
    hasher: IdentityHasher,
}

/// What the thread has in hand.
#[derive(Debug, Default)]
struct Files {
    current: Option<Current>,
    /// Complete and not yet durable.
    complete: Vec<(PathBuf, Written)>,
    /// The `tmp` directories of those.
    dirs: Vec<(PathBuf, File)>,
    error: Option<LocalError>,
    /// What went wrong, once somebody was told.
    told: Option<(LocalErrorKind, String)>,
    failed: Arc<AtomicBool>,
}

impl Files {
    fn work(&mut self, queue: &Receiver<Job>) {
        while let Ok(job) = queue.recv() {
            let done = match job {
                Job::Sync(answer) => {
                    // Nobody waits for it if the run was dropped meanwhile; then this ends, too.
                    drop(answer.send(self.sync()));
                    Ok(())
                }
                _ if self.error.is_some() || self.told.is_some() => Ok(()),
                Job::Open(tmp, dir) => {
                    self.dirs.push((tmp, dir));
                    Ok(())
                }
                Job::Write { path, first, bytes, last } => self.write(&path, first, &bytes, last),
                Job::Discard => self.discard(),
            };
            if let Err(error) = done {
                self.error = Some(error);
                self.failed.store(true, Ordering::Release);
            }
        }
    }

    fn write(
        &mut self,
        path: &Path,
        first: bool,
        bytes: &[u8],
        last: Option<Option<Timestamp>>,
    ) -> Result<(), LocalError> {
        if first {
            self.discard()?;
            let file = durable::create_new(path).map_err(|error| failed("create", path, Reach::All, error))?;
            self.current = Some(Current { path: path.to_owned(), file, hasher: IdentityHasher::exact() });
        }
        let Some(current) = &mut self.current else { return Err(found(path, "is not being written")) };
        current.file.write_all(bytes).map_err(|error| failed("write", &current.path, Reach::All, error))?;
        // It takes either kind of line end; the file's is the shorter one.
        current.hasher.update(bytes);
        let Some(date) = last else { return Ok(()) };
        let stat = complete(&current.file, date).map_err(|error| failed("write", &current.path, Reach::All, error))?;
        let Some(Current { path, hasher, .. }) = self.current.take() else { return Ok(()) };
        let Identity { content, message_id, size, .. } = hasher.finish(date);
        let content = content.ok_or_else(|| found(&path, "was not hashed"))?;
        self.complete.push((path, Written { stat, content, message_id, wire_size: size }));
        Ok(())
    }

    fn discard(&mut self) -> Result<(), LocalError> {
        self.current.take().map_or(Ok(()), |current| remove(&current.path))
    }

    /// Makes everything durable, or removes it and tells why.
    ///
    /// Measured on ext4 with 8,000 files of 19 KB: one `syncfs` for every 500 files 0.19 s, `fsync` of each 1.2 s, no
    /// sync at all 0.12 s. So: `syncfs`, where there is such a call and more than a few files.
    fn sync(&mut self) -> Result<Vec<Written>, LocalError> {
        let outcome = match self.error.take() {
            Some(error) => Err(error),
            None => match &self.told {
                Some((kind, words)) => Err(LocalError { kind: *kind, cause: words.clone().into() }),
                None => self.make_durable(),
            },
        };
        match outcome {
            Ok(()) => {
                self.dirs.clear();
                Ok(std::mem::take(&mut self.complete).into_iter().map(|(_, written)| written).collect())
            }
            Err(error) => {
                self.failed.store(true, Ordering::Release);
                self.told.get_or_insert_with(|| (error.kind, error.to_string()));
                self.remove_all();
                Err(error)
            }
        }
    }

    fn make_durable(&self) -> Result<(), LocalError> {
        let mut devices = Vec::new();
        for (tmp, dir) in &self.dirs {
            let done = dir.metadata().and_then(|meta| match self.complete.len() {
                0 => Ok(()),
                1..=FEW => self.sync_each(tmp, dir),
                _ if devices.contains(&meta.dev()) => Ok(()),
                _ => {
                    devices.push(meta.dev());
                    self.sync_file_system(dir)
                }
            });
            done.map_err(|error| failed("sync the messages in", tmp, Reach::All, error))?;
        }
        Ok(())
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn sync_file_system(&self, dir: &File) -> io::Result<()> {
        if STACKED.contains(&i128::from(rustix::fs::fstatfs(dir)?.f_type)) {
            return self.sync_all();
        }
        match rustix::fs::syncfs(dir) {
            Err(rustix::io::Errno::NOSYS) => self.sync_all(),
            other => Ok(other?),
        }
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn sync_file_system(&self, _: &File) -> io::Result<()> {
        self.sync_all()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.dirs.iter().try_for_each(|(tmp, dir)| self.sync_each(tmp, dir))
    }

    fn sync_each(&self, tmp: &Path, dir: &File) -> io::Result<()> {
        for (path, _) in self.complete.iter().filter(|(path, _)| path.parent() == Some(tmp)) {
            match File::open(path).and_then(|file| file.sync_all()) {
                // Whoever removed it needs it no more; publishing it will say so.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        dir.sync_all()
    }

    /// Removes what is of no use to anyone: what was not made durable was not written down anywhere either.
    fn remove_all(&mut self) {
        let complete = std::mem::take(&mut self.complete).into_iter().map(|(path, _)| path);
        for path in self.current.take().map(|current| current.path).into_iter().chain(complete) {
            durable::remove(&path).unwrap_or_else(|left| tracing::warn!("cannot remove {}: {left}", path.display()));
        }
        self.dirs.clear();
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.remove_all();
    }
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

fn remove(path: &Path) -> Result<(), LocalError> {
    durable::remove(path).map_err(|error| failed("remove", path, Reach::All, error))
}

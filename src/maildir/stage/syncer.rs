//! The thread that makes message files durable, batch by batch, so that more are written meanwhile.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::writer::Written;
use crate::maildir::durable;
use crate::maildir::error::{Reach, failed};
use crate::store::{LocalError, LocalErrorKind};

/// The types of file systems that lie above others and whose `syncfs` does nothing, says success, and does not reach the
/// disk: FUSE and eCryptfs (statfs(2)).
#[cfg(any(target_os = "linux", target_os = "android"))]
const STACKED: [i128; 2] = [0x6573_5546, 0xf15f];

/// Up to so many files are synced one by one: `syncfs` also waits for what other programs wrote.
const FEW: usize = 8;

/// Files that are to be made durable together. Those that nobody took are removed with it: what was not written down
/// anywhere is of no use to anyone.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// What was written whole, in that order.
    pub(super) complete: Vec<(PathBuf, Written)>,
    /// The `tmp` directories of those, each with its file system,
    pub(super) dirs: Vec<(PathBuf, u64)>,
    /// and a directory of each of these, opened before the first of them was written.
    pub(super) devices: Vec<(u64, File)>,
}

/// Who waits for a batch.
pub(super) type Answer = Sender<Result<Batch, LocalError>>;

/// A batch, what went wrong while it was written, and who waits for it.
type Request = (Batch, Option<LocalError>, Answer);

/// The thread, which ends with this, once it has done what it was told.
#[derive(Debug)]
pub(super) struct Syncer {
    requests: Option<Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    /// Starts the thread. It sets `failed` when it is the first to find that something did.
    pub(super) fn start(failed: Arc<AtomicBool>) -> io::Result<Self> {
        let (requests, queue) = channel();
        let thread = std::thread::Builder::new().name("syncer".to_owned()).spawn(move || work(&queue, &failed))?;
        Ok(Self { requests: Some(requests), thread: Some(thread) })
    }

    /// Has a batch made durable, data and directory entries, or removed if something went wrong before.
    pub(super) fn sync(&self, batch: Batch, error: Option<LocalError>, answer: Answer) {
        // Without the thread nobody is answered, and who waits finds that out.
        let sent = self.requests.as_ref().map(|requests| requests.send((batch, error, answer)));
        if !matches!(sent, Some(Ok(()))) {
            tracing::warn!("the thread that makes messages durable has ended early");
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.requests = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::warn!("the thread that makes messages durable has ended early");
        }
    }
}

/// Does what it is told in the order it is told. What went wrong once is told with every batch from then on.
fn work(queue: &Receiver<Request>, failed: &AtomicBool) {
    let mut told: Option<(LocalErrorKind, String)> = None;
    while let Ok((batch, error, answer)) = queue.recv() {
        let outcome = match (&told, error) {
            (Some((kind, words)), _) => Err(LocalError { kind: *kind, cause: words.clone().into() }),
            (None, Some(error)) => Err(error),
            (None, None) => batch.make_durable(),
        };
        let outcome = match outcome {
            Ok(()) => Ok(batch),
            Err(error) => {
                failed.store(true, Ordering::Release);
                told.get_or_insert_with(|| (error.kind, error.to_string()));
                // None is left when it is told.
                drop(batch);
                Err(error)
            }
        };
        // Nobody waits for it if the run was dropped meanwhile; then this ends, too.
        drop(answer.send(outcome));
    }
}

impl Batch {
    /// Measured on ext4 with 8,000 files of 19 KB: one `syncfs` for every 500 files 0.19 s, `fsync` of each 1.2 s, no
    /// sync at all 0.12 s. So: `syncfs`, where there is such a call and more than a few files.
    fn make_durable(&self) -> Result<(), LocalError> {
        let mut synced: BTreeSet<u64> = BTreeSet::new();
        if self.complete.len() > FEW {
            for (device, dir) in &self.devices {
                let done =
                    sync_file_system(dir).map_err(|error| failed("sync", self.path_on(*device), Reach::All, error))?;
                synced.extend(done.then_some(*device));
            }
        }
        for (tmp, _) in self.dirs.iter().filter(|(_, device)| !synced.contains(device)) {
            self.sync_each(tmp).map_err(|error| failed("sync the messages in", tmp, Reach::All, error))?;
        }
        Ok(())
    }

    /// Returns one of the directories of a file system.
    fn path_on(&self, device: u64) -> &Path {
        self.dirs.iter().find(|(_, on)| *on == device).map_or(Path::new("tmp"), |(tmp, _)| tmp)
    }

    fn sync_each(&self, tmp: &Path) -> io::Result<()> {
        let mut files = self.complete.iter().filter(|(path, _)| path.parent() == Some(tmp)).peekable();
        if files.peek().is_none() {
            return Ok(());
        }
        // Whoever removed it needs it no more; publishing it will say so.
        let sync = |path: &Path| match File::open(path).and_then(|file| file.sync_all()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        files.try_for_each(|(path, _)| sync(path))?;
        sync(tmp)
    }
}

/// Makes all of a file system durable that was written until now. Returns false where there is no such call, or it does
/// nothing.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn sync_file_system(dir: &File) -> io::Result<bool> {
    if STACKED.contains(&i128::from(rustix::fs::fstatfs(dir)?.f_type)) {
        return Ok(false);
    }
    match rustix::fs::syncfs(dir) {
        Err(rustix::io::Errno::NOSYS) => Ok(false),
        other => Ok(other.map(|()| true)?),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn sync_file_system(_: &File) -> io::Result<bool> {
    Ok(false)
}

impl Drop for Batch {
    fn drop(&mut self) {
        for (path, _) in &self.complete {
            durable::remove(path).unwrap_or_else(|left| tracing::warn!("cannot remove {}: {left}", path.display()));
        }
    }
}

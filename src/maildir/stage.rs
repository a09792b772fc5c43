//! Messages on their way in: written to `tmp`, made durable together, then renamed.
//!
//! What arrives is converted here, hashed and written by a thread of its own, and made durable by another.

mod syncer;
mod writer;

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{Access, access};

use self::writer::{Syncing, Writer, Written};
use super::durable;
use super::error::{Reach, failed, found};
use super::lines::ToFile;
use super::name::is_ours;
use crate::model::{Timestamp, UniqueName};
use crate::store::{LocalError, Staged};

/// So many bytes are converted at once.
const PIECE: usize = 16 * 1024;

/// How long the Maildir specification lets a delivery take.
const STALE: Duration = Duration::from_secs(36 * 3600);

/// A message that is arriving.
#[derive(Debug)]
struct Message {
    unique: UniqueName,
    path: PathBuf,
    lines: ToFile,
    /// The writer knows of it.
    begun: bool,
}

/// All messages on their way in. What was not made durable is removed with it.
#[derive(Debug, Default)]
pub(super) struct Stage {
    current: Option<Message>,
    /// Handed on whole.
    finished: Vec<UniqueName>,
    /// Those of each batch that is being made durable.
    sealed: VecDeque<(Vec<UniqueName>, Syncing)>,
    writer: Option<Writer>,
    /// The `tmp` directories that the writer was told of since the last batch,
    told: BTreeSet<PathBuf>,
    /// the file systems that they are on,
    devices: BTreeSet<u64>,
    /// and those that were ever swept.
    swept: BTreeSet<PathBuf>,
}

impl Stage {
    /// Starts a message in a maildir. One that was being staged is discarded.
    pub(super) fn begin(&mut self, maildir: &Path, unique: UniqueName) -> Result<(), LocalError> {
        self.discard()?;
        let tmp = maildir.join("tmp");
        if !self.told.contains(&tmp) {
            let (device, dir) = self.open(&tmp).map_err(|error| failed("write to", &tmp, Reach::One, error))?;
            let writer = match self.writer.take() {
                Some(writer) => writer,
                None => Writer::start().map_err(|error| failed("start writing to", &tmp, Reach::All, error))?,
            };
            let writer = self.writer.insert(writer);
            if self.devices.insert(device) {
                writer.hold(device, dir)?;
            }
            writer.open(tmp.clone(), device)?;
            self.told.insert(tmp.clone());
        }
        let path = tmp.join(unique.as_str());
        self.current = Some(Message { unique, path, lines: ToFile::default(), begun: false });
        Ok(())
    }

    /// Returns the directory, open, and its file system.
    fn open(&mut self, tmp: &Path) -> io::Result<(u64, File)> {
        let dir = File::open(tmp).or_else(|error| match error.kind() {
            // Other programs may leave it out; a maildir that is gone altogether is not made again.
            io::ErrorKind::NotFound => durable::make_dir(tmp).and_then(|()| File::open(tmp)),
            _ => Err(error),
        })?;
        // What one maildir doesn't allow shows here, and keeps it alone back: later it would end the run.
        access(tmp, Access::EXISTS | Access::WRITE_OK | Access::EXEC_OK)?;
        let meta = dir.metadata()?;
        if !meta.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        if self.swept.insert(tmp.to_owned()) {
            sweep(tmp)?;
        }
        Ok((meta.dev(), dir))
    }

    /// Writes a part of the message, given with CRLF line ends.
    pub(super) fn write(&mut self, wire: &[u8]) -> Result<(), LocalError> {
        let (Some(message), Some(writer)) = (&mut self.current, &mut self.writer) else { return Err(none_staged()) };
        message.begin(writer)?;
        wire.chunks(PIECE).try_for_each(|piece| writer.write(|load| message.lines.convert(piece, load)))
    }

    /// Ends the message, sets its date, and returns its name.
    pub(super) fn finish(&mut self, date: Option<Timestamp>) -> Result<UniqueName, LocalError> {
        let (Some(mut message), Some(writer)) = (self.current.take(), &mut self.writer) else {
            return Err(none_staged());
        };
        message.begin(writer)?;
        writer.write(|load| message.lines.finish(load))?;
        writer.end(date)?;
        self.finished.push(message.unique.clone());
        Ok(message.unique)
    }

    /// Removes the message being staged; none being staged is no error.
    pub(super) fn discard(&mut self) -> Result<(), LocalError> {
        match (self.current.take(), &mut self.writer) {
            (Some(Message { begun: true, .. }), Some(writer)) => writer.discard(),
            _ => Ok(()),
        }
    }

    /// Has all staged messages made durable, data and directory entries, as one batch.
    pub(super) fn seal(&mut self) -> Result<(), LocalError> {
        let finished = std::mem::take(&mut self.finished);
        self.told.clear();
        self.devices.clear();
        if let Some(writer) = &mut self.writer {
            self.sealed.push_back((finished, writer.sync()?));
        }
        Ok(())
    }

    /// Waits for the batch that was sealed first, and returns its messages in the order they were finished in. After an error
    /// none is left.
    pub(super) fn sealed(&mut self) -> Result<Vec<Staged>, LocalError> {
        let Some((finished, syncing)) = self.sealed.pop_front() else { return Ok(Vec::new()) };
        let files = syncing.wait()?;
        let staged = finished.into_iter().zip(files).map(|(unique, file)| {
            let Written { stat, content, message_id, wire_size } = file;
            Staged { unique, stat, content, message_id, wire_size }
        });
        Ok(staged.collect())
    }
}

impl Message {
    /// Has the file created, once there is something to write to it.
    fn begin(&mut self, writer: &mut Writer) -> Result<(), LocalError> {
        if std::mem::replace(&mut self.begun, true) { Ok(()) } else { writer.begin(self.path.clone()) }
    }
}

fn none_staged() -> LocalError {
    found(Path::new("tmp"), "no message is being written")
}

/// Removes what runs that died left in `tmp`, by our names only, and only after the 36 hours that the Maildir
/// specification gives a delivery. The modification time is the message's date, so the status change time counts. A
/// file that an intent speaks of is made visible before anything new is staged beside it.
fn sweep(tmp: &Path) -> io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    for entry in fs::read_dir(tmp)? {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(is_ours) {
            continue;
        }
        match entry.metadata() {
            Ok(meta) if meta.is_file() && is_stale(meta.ctime(), now) => fs::remove_file(entry.path())?,
            _ => {}
        }
    }
    Ok(())
}

fn is_stale(changed: i64, now: u64) -> bool {
    u64::try_from(changed).is_ok_and(|changed| now.saturating_sub(changed) > STALE.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildir::name::UniqueNames;

    #[test]
    fn only_our_own_and_only_after_36_hours() {
        assert!(!is_stale(1_000_000, 1_000_000 + 36 * 3600));
        assert!(is_stale(1_000_000, 1_000_001 + 36 * 3600));
        assert!(!is_stale(1_000_000, 0), "a clock that was put back proves nothing");
        assert!(is_ours(&UniqueNames::new().next_name()));
        for other in ["1700000000.M1P2.host", "1700000000.M1P2Q3.host", "x.M1P2Q3R4.host", "1.Q3R4", "mutt-host-1-2"] {
            assert!(!is_ours(other), "{other}");
        }
        let tmp = tempfile::tempdir().unwrap();
        fs::write(tmp.path().join(UniqueNames::new().next_name()), "on its way").unwrap();
        sweep(tmp.path()).unwrap();
        assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 1);
    }
}

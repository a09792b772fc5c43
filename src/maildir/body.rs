//! Reads message files: to identify their content, and to send them.

use std::fs::{self, File, Metadata};
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;

use super::error::{Reach, failed, found, is_gone};
use super::lines::ToWire;
use super::stamp::FileClock;
use super::{durable, stamp};
use crate::model::{FileStat, Identity, IdentityHasher, Timestamp};
use crate::reconcile::snapshot::LocalEntry;
use crate::store::{BodySource, Edit, LocalError, LocalErrorKind};

const BUFFER: usize = 64 * 1024;

/// A file of no more bytes is not kept open while it waits to be sent: what was read of it is kept.
const SMALL: u64 = 16 * 1024;

/// Returns how large a buffer to read a file of this size by: hundreds are open at once, and most are small.
fn capacity(size: u64) -> usize {
    usize::try_from(size).unwrap_or(BUFFER).clamp(1, BUFFER)
}

/// Opens the file observed, or returns `None` if its name now leads to another file, or to none.
pub(super) fn open(path: &Path, entry: &LocalEntry) -> Result<Option<(File, Metadata)>, LocalError> {
    let opened = durable::open(path).and_then(|file| file.metadata().map(|meta| (file, meta)));
    match opened {
        Ok((file, meta)) => Ok((meta.is_file() && meta.ino() == entry.inode).then_some((file, meta))),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(failed("open", path, Reach::One, error)),
    }
}

fn refuse_empty(path: &Path, meta: &Metadata) -> Result<(), LocalError> {
    match meta.size() {
        0 => Err(LocalError { kind: LocalErrorKind::NoMessage, ..found(path, "is empty, which is no message") }),
        _ => Ok(()),
    }
}

/// Reads a file of about this size through, piece by piece.
pub(super) fn read_through(file: &mut File, size: u64, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; capacity(size)];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(len) => take(buffer.get(..len).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Returns true if the first file, from its beginning, and the other, from where it stands, hold the same.
pub(super) fn is_equal(one: &mut File, other: &mut File) -> io::Result<bool> {
    one.rewind()?;
    let (mut one, mut other) = (BufReader::with_capacity(BUFFER, one), BufReader::with_capacity(BUFFER, other));
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        let len = left.len().min(right.len());
        if len == 0 || left.get(..len) != right.get(..len) {
            return Ok(left.len() == right.len() && len == 0);
        }
        one.consume(len);
        other.consume(len);
    }
}

/// Returns the stat of a file that was read through, or `None` if it was written to or replaced meanwhile.
fn unchanged(path: &Path, before: &Metadata, read: io::Result<Metadata>) -> Result<Option<FileStat>, LocalError> {
    match read {
        Ok(after) => Ok(Some(stamp::file_stat(&after)).filter(|after| *after == stamp::file_stat(before))),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(failed("read", path, Reach::One, error)),
    }
}

/// Identifies a file's content. One that was written to meanwhile is `Changed`.
pub(super) fn identify(path: &Path, entry: &LocalEntry) -> Result<Edit<(Identity, FileStat)>, LocalError> {
    let Some((mut file, meta)) = open(path, entry)? else { return Ok(Edit::Changed) };
    refuse_empty(path, &meta)?;
    let mut hasher = IdentityHasher::whole();
    let read = read_through(&mut file, meta.size(), |piece| hasher.update(piece)).and_then(|()| file.metadata());
    let Some(after) = unchanged(path, &meta, read)? else { return Ok(Edit::Changed) };
    Ok(Edit::Done((hasher.finish(Some(Timestamp(meta.mtime()))), after)))
}

/// Returns true if two files are there at once, each as observed: two files, or two names of one. Young ones are waited
/// for: local Dovecot, and many a program, moves a file by linking or copying it, and then removing it where it was.
pub(super) fn are_two(
    one: (&Path, &LocalEntry),
    other: (&Path, &LocalEntry),
    clock: FileClock,
) -> Result<bool, LocalError> {
    let Some((first, second)) = look_at(one)?.zip(look_at(other)?) else { return Ok(false) };
    let youngest = stamp::ctime_ns(&first).max(stamp::ctime_ns(&second));
    if let Some(wait) = stamp::half_moved(youngest, clock.now_ns()) {
        sleep(wait);
    }
    let Some((one, other)) = look_at(one)?.zip(look_at(other)?) else { return Ok(false) };
    let is_same = (one.dev(), one.ino()) == (other.dev(), other.ino());
    Ok(!is_same || (one.nlink() > 1 && other.nlink() > 1))
}

/// Looks at the file observed, without opening it; `None` as in [`open`].
pub(super) fn look_at((path, entry): (&Path, &LocalEntry)) -> Result<Option<Metadata>, LocalError> {
    Ok(look(path)?.filter(|meta| meta.is_file() && meta.ino() == entry.inode))
}

/// Looks at whatever has a name, if anything does.
pub(super) fn look(path: &Path) -> Result<Option<Metadata>, LocalError> {
    match fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("look at", path, Reach::One, error)),
    }
}

/// Reads a file for uploading.
pub(super) fn read(path: &Path, entry: &LocalEntry) -> Result<Edit<Box<dyn BodySource>>, LocalError> {
    let Some((mut file, meta)) = open(path, entry)? else { return Ok(Edit::Changed) };
    refuse_empty(path, &meta)?;
    let (mut lines, mut left, mut has_nul, mut held) = (ToWire::default(), 0, false, Vec::new());
    let is_small = meta.size() <= SMALL;
    let measured = read_through(&mut file, meta.size(), |piece| {
        left += lines.measure(piece);
        has_nul |= piece.contains(&0);
        held.extend_from_slice(if is_small { piece } else { &[] });
    });
    let measured = measured.and_then(|()| file.rewind()).and_then(|()| file.metadata());
    let Some(after) = unchanged(path, &meta, measured)? else { return Ok(Edit::Changed) };
    let content = match is_small {
        true => Content::Held(Cursor::new(held)),
        false => Content::Open(BufReader::with_capacity(BUFFER, file), after),
    };
    let (path, lines) = (path.to_owned(), ToWire::default());
    Ok(Edit::Done(Box::new(Body { path, content, size: left, left, has_nul, lines })))
}

/// Where a file's bytes come from.
#[derive(Debug)]
enum Content {
    /// They are here.
    Held(Cursor<Vec<u8>>),
    /// They are read again from the file, which was like this when it was measured.
    Open(BufReader<File>, FileStat),
}

/// A file's bytes with CRLF line ends: as many as were announced, or an error.
#[derive(Debug)]
struct Body {
    path: PathBuf,
    content: Content,
    size: u64,
    /// What is still to be given.
    left: u64,
    has_nul: bool,
    lines: ToWire,
}

impl Body {
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let content: &mut dyn BufRead = match &mut self.content {
            Content::Held(bytes) => bytes,
            Content::Open(file, _) => file,
        };
        let mut filled = 0;
        while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
            let bytes = content.fill_buf()?;
            if bytes.is_empty() {
                break;
            }
            let (taken, len) = self.lines.convert(bytes, room);
            content.consume(taken);
            filled += len;
        }
        Ok(filled)
    }

    /// The size was announced from one reading, the bytes are from another: they are of one message only if the file
    /// was not written to in between.
    fn check(&self) -> Result<(), LocalError> {
        let Content::Open(file, stat) = &self.content else { return Ok(()) };
        let meta = file.get_ref().metadata();
        let now = meta.map_err(|error| failed("look at", &self.path, Reach::One, error))?;
        match stamp::file_stat(&now) == *stat {
            true => Ok(()),
            false => Err(found(&self.path, "was written to while it was being sent")),
        }
    }
}

impl BodySource for Body {
    fn size(&self) -> u64 {
        self.size
    }

    fn has_nul(&self) -> bool {
        self.has_nul
    }

    fn is_open(&self) -> bool {
        matches!(self.content, Content::Open(..))
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, LocalError> {
        let filled = self.fill(buffer).map_err(|error| failed("read", &self.path, Reach::One, error))?;
        self.check()?;
        let ended_early = filled < buffer.len() && filled as u64 != self.left;
        match self.left.checked_sub(filled as u64) {
            Some(left) if !ended_early => self.left = left,
            _ => return Err(found(&self.path, "has not the size it had before it was sent")),
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn a_file_that_another_machine_replaced_is_looked_at_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let meta = file.as_file().metadata().unwrap();
        let read = |errno: Errno| unchanged(file.path(), &meta, Err(errno.into()));
        assert!(matches!(read(Errno::STALE), Ok(None)));
        assert!(read(Errno::IO).is_err());
        assert!(matches!(unchanged(file.path(), &meta, Ok(meta.clone())), Ok(Some(_))));
    }
}

//! Directory stamps, and when their times say anything.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::model::{DirStamp, FileStat, Stamp};

const SECOND_NS: i64 = 1_000_000_000;

/// A stamp is worth recording if its times are this much older than the scan's start: the coarsest clock of a file
/// system in use (FAT) ticks every 2 s, so a younger directory could change again without its times changing.
const TRUSTED_AGE_NS: i64 = 2 * SECOND_NS;

/// A tick of the clock that file systems take times from: at most 10 ms on Linux (`CONFIG_HZ=100`), and some slack.
const TICK_NS: i64 = 12_000_000;

/// A program that moves files in two steps is taken to be done with each within this.
const MOVE_NS: i64 = SECOND_NS / 2;

/// A tick of file systems that keep whole seconds.
const COARSE_TICK_NS: i64 = 2 * SECOND_NS;

/// Times further in the future than any doubt about the clock: a change would put them back.
const FUTURE_NS: i64 = 60 * SECOND_NS;

/// The file system's clock, as far as it is known: this machine's, put right by what a file just written said. Looking
/// alone never writes, so before the first write the two are taken to agree.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FileClock {
    ahead_ns: i64,
}

impl FileClock {
    /// Learns from a file that was written between `begun_ns` of this machine's clock and now. A time in between says
    /// that the clocks agree, as far as can be told.
    pub(super) fn learn(&mut self, begun_ns: i64, written: &Metadata) {
        let (time, ended_ns) = (mtime_ns(written), wall_ns());
        let tick_ns = if time % SECOND_NS == 0 { COARSE_TICK_NS } else { TICK_NS };
        self.ahead_ns = match time {
            _ if time > ended_ns => time - ended_ns,
            _ if time < begun_ns.saturating_sub(tick_ns) => time.saturating_sub(begun_ns),
            _ => 0,
        };
    }

    /// Returns the time, in nanoseconds since 1970.
    pub(super) fn now_ns(self) -> i64 {
        wall_ns().saturating_add(self.ahead_ns)
    }
}

/// Returns the time of this machine's clock, in nanoseconds since 1970.
pub(super) fn wall_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Returns a file's modification time in nanoseconds since 1970.
pub(super) fn mtime_ns(meta: &Metadata) -> i64 {
    meta.mtime().saturating_mul(SECOND_NS).saturating_add(meta.mtime_nsec())
}

/// Returns what is recorded of a message file.
pub(super) fn file_stat(meta: &Metadata) -> FileStat {
    FileStat { inode: meta.ino(), size: meta.size(), mtime_ns: mtime_ns(meta) }
}

/// Returns the stamp of a maildir's directories. One that is missing, or no directory (a symbolic link), is an error.
pub(super) fn of_maildir(maildir: &Path) -> io::Result<Stamp> {
    Ok(Stamp { cur: of_dir(&maildir.join("cur"))?, new: of_dir(&maildir.join("new"))? })
}

fn of_dir(path: &Path) -> io::Result<DirStamp> {
    let meta = fs::symlink_metadata(path)?;
    if !meta.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Ok(DirStamp { device: meta.dev(), inode: meta.ino(), mtime_ns: mtime_ns(&meta), ctime_ns: ctime_ns(&meta) })
}

/// Returns the time at which a file's names, or anything else about it, last changed, in nanoseconds since 1970.
pub(super) fn ctime_ns(meta: &Metadata) -> i64 {
    meta.ctime().saturating_mul(SECOND_NS).saturating_add(meta.ctime_nsec())
}

/// Returns true if nothing was added to, or taken from, the directories between two looks. A rename of their own shows
/// in the time of the status only.
pub(super) fn is_same_but_renamed(before: &Stamp, now: &Stamp) -> bool {
    let same = |one: &DirStamp, other: &DirStamp| DirStamp { ctime_ns: other.ctime_ns, ..*one } == *other;
    same(&before.cur, &now.cur) && same(&before.new, &now.new)
}

fn times(stamp: &Stamp) -> [i64; 4] {
    [stamp.cur.mtime_ns, stamp.cur.ctime_ns, stamp.new.mtime_ns, stamp.new.ctime_ns]
}

/// Returns true if a stamp read at a time can be recorded. Times in the future never can: a clock was put back.
pub(super) fn is_trusted(stamp: &Stamp, now_ns: i64) -> bool {
    times(stamp).iter().all(|time| now_ns.saturating_sub(*time) >= TRUSTED_AGE_NS)
}

/// Returns how long to wait until a change would be sure to show in the times, if at all: within one tick of the clock
/// a second change leaves them as the first did.
pub(super) fn settling(stamp: &Stamp, now_ns: i64) -> Option<Duration> {
    let coarse = times(stamp).iter().all(|time| time % SECOND_NS == 0);
    let tick_ns = if coarse { COARSE_TICK_NS } else { TICK_NS };
    let ages = times(stamp).map(|time| now_ns.saturating_sub(time));
    let youngest = ages.into_iter().filter(|age| *age > -FUTURE_NS).min()?;
    let left = u64::try_from(tick_ns - youngest.clamp(0, tick_ns)).ok().filter(|left| *left > 0)?;
    Some(Duration::from_nanos(left))
}

/// Returns how long to wait until a file last written at `time_ns` counts as completely written, if it does not yet.
pub(super) fn maturing(time_ns: i64, now_ns: i64) -> Option<Duration> {
    left_until(TRUSTED_AGE_NS, time_ns, now_ns)
}

/// Returns how long to wait until a file whose names last changed at `time_ns` is no more in the midst of being moved.
pub(super) fn half_moved(time_ns: i64, now_ns: i64) -> Option<Duration> {
    left_until(MOVE_NS, time_ns, now_ns)
}

fn left_until(age_ns: i64, time_ns: i64, now_ns: i64) -> Option<Duration> {
    let age = now_ns.saturating_sub(time_ns);
    let left = u64::try_from(age_ns - age.clamp(0, age_ns)).ok()?;
    (left > 0 && age > -FUTURE_NS).then_some(Duration::from_nanos(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(time: i64) -> Stamp {
        let old = DirStamp { device: 1, inode: 1, mtime_ns: 1, ctime_ns: 1 };
        Stamp { cur: old, new: DirStamp { ctime_ns: time, ..old } }
    }

    #[test]
    fn only_old_stamps_are_trusted() {
        let now = 1_000 * SECOND_NS;
        assert!(is_trusted(&stamp(now - TRUSTED_AGE_NS), now));
        assert!(!is_trusted(&stamp(now - TRUSTED_AGE_NS + 1), now));
        assert!(!is_trusted(&stamp(now + 5 * SECOND_NS), now));
    }

    #[test]
    fn a_directory_changed_within_a_tick_has_to_settle() {
        let now = 1_000 * SECOND_NS + 5;
        assert_eq!(settling(&stamp(now), now), Some(Duration::from_millis(12)));
        assert_eq!(settling(&stamp(now - 1_000_000), now), Some(Duration::from_millis(11)));
        assert_eq!(settling(&stamp(now + SECOND_NS), now), Some(Duration::from_millis(12)), "a clock put back");
        assert_eq!(settling(&stamp(now - 12_000_000), now), None);
        assert_eq!(settling(&stamp(now + 61 * SECOND_NS), now), None);
        let coarse =
            Stamp { cur: DirStamp { device: 1, inode: 1, mtime_ns: 0, ctime_ns: 0 }, ..stamp(999 * SECOND_NS) };
        let coarse = Stamp { new: DirStamp { mtime_ns: 0, ..coarse.new }, ..coarse };
        assert_eq!(settling(&coarse, 1_000 * SECOND_NS), Some(Duration::from_secs(1)));
    }

    #[test]
    fn the_clock_follows_the_file_system() {
        let begun = wall_ns();
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut clock = FileClock::default();
        clock.learn(begun, &file.as_file().metadata().unwrap());
        assert_eq!(clock.ahead_ns, 0);
        for skew in [-3600i64, 3600] {
            let time = if skew < 0 { UNIX_EPOCH } else { SystemTime::now() + Duration::from_secs(3600) };
            file.as_file().set_modified(time).unwrap();
            clock.learn(begun, &file.as_file().metadata().unwrap());
            assert!((clock.now_ns() - wall_ns()) / SECOND_NS * skew.signum() > 3500, "{clock:?}");
        }
    }
}

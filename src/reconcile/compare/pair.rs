//! Messages that both sides hold and a row pairs: content, flags and dates.

use std::collections::{BTreeMap, BTreeSet};

use super::content::{Contents, Singles, Verdict};
use super::flags::Gap;
use super::{Comparison, Difference, Evidence, Kind, Next, PENDING, Reading};
use crate::model::{FlagDelta, Identity, MessageId, MessageRow, UidSet, UniqueName};
use crate::reconcile::snapshot::{LocalEntry, RemoteMessage};

const ANEW: &str = "after `mailtide check --repair` the next sync matches it anew by its content";

/// What belongs to a row on both sides.
pub(super) struct Pair<'a> {
    pub(super) row: &'a MessageRow,
    pub(super) unique: &'a UniqueName,
    pub(super) entry: &'a LocalEntry,
    pub(super) message: &'a RemoteMessage,
}

impl Evidence<'_> {
    pub(super) fn pair<'a>(&'a self, row: &'a MessageRow) -> Option<Pair<'a>> {
        let unique = row.unique.as_ref()?;
        let (entry, message) = (self.scan.entries.get(unique)?, self.message(row.uid)?);
        Some(Pair { row, unique, entry, message })
    }

    /// Returns what is known of the contents of every pair, by its row.
    pub(super) fn all_contents<'s>(&'s self) -> BTreeMap<MessageId, Contents<'s>> {
        let key = |header: &Identity| (header.header, header.size);
        let mut counts: BTreeMap<_, u64> = BTreeMap::new();
        self.headers.values().for_each(|header| *counts.entry(key(header)).or_default() += 1);
        let contents = |pair: Pair<'s>| {
            let (row, file, header) = (pair.row, self.identity(pair.unique)?, self.headers.get(&pair.row.uid)?);
            let ambiguous = counts.get(&key(header)).is_some_and(|count| *count > 1);
            Some((row.id, Contents { row, file, header, body: self.bodies.get(&row.uid), ambiguous }))
        };
        self.rows.iter().filter_map(|row| self.pair(row)).filter_map(contents).collect()
    }

    pub(super) fn singles(&self, contents: &BTreeMap<MessageId, Contents<'_>>) -> Singles {
        let equal: Vec<&MessageRow> = contents.values().filter(|both| both.is_equal()).map(|both| both.row).collect();
        let files: BTreeSet<&UniqueName> = equal.iter().filter_map(|row| row.unique.as_ref()).collect();
        let uids: UidSet = equal.iter().map(|row| row.uid).collect();
        let lone_files = self.files.iter().filter(|(unique, _)| !files.contains(unique));
        let lone_messages = self.headers.iter().filter(|(uid, _)| !uids.contains(**uid));
        Singles::new(
            lone_files.filter_map(|(_, reading)| reading.identity()),
            lone_messages.map(|(_, identity)| identity),
        )
    }

    /// Compares a file, the message that its row pairs it with, and the row.
    pub(super) fn compare_pair(
        &self,
        row: &MessageRow,
        contents: Option<&Contents<'_>>,
        singles: &Singles,
        found: &mut Comparison,
    ) {
        let Some(pair) = self.pair(row) else { return };
        let before = found.differences.len();
        let unequal = |verdict| self.unequal(verdict, row).of_file(pair.unique).of_message(row.uid);
        match self.verdict(&pair, contents, singles) {
            Err(difference) => found.differences.push(difference.of_file(pair.unique).of_message(row.uid)),
            Ok(Verdict::Equal) => self.compare_date(&pair, found),
            // The flags of messages that have nothing to do with each other say nothing.
            Ok(Verdict::WrongPair) => return found.differences.push(unequal(Verdict::WrongPair)),
            Ok(verdict) => found.differences.push(unequal(verdict)),
        }
        let confined = self.compare_flags(&pair, found);
        if found.differences.len() == before {
            found.equal += 1;
            found.confined += u64::from(confined);
        }
    }

    /// Returns true if something is on one side because the other can't have it.
    fn compare_flags(&self, pair: &Pair<'_>, found: &mut Comparison) -> bool {
        let gap = Gap::new(pair.row, pair.entry, pair.message, self.scan, &self.rules);
        let confined = gap.confined;
        let mut tell = |kind, next, message: String| {
            let difference = self.differs(kind, next, message);
            found.differences.push(difference.of_file(pair.unique).of_message(pair.row.uid));
        };
        if gap.recorded {
            let message = "both sides have the same flags, the database has others; the next sync takes them over";
            tell(Kind::FlagsRecorded, Next::Sync, message.to_owned());
            return confined;
        }
        let (none, refused) = (FlagDelta::default(), self.refused.flags.get(pair.unique));
        let (left, pending) = gap.split(refused.map_or(&none, |(change, _)| change));
        if let Some((_, why)) = refused.filter(|_| !left.is_empty()) {
            tell(Kind::Flags, Next::Nothing, format!("flags {}; {why}", left.words()));
        }
        if !pending.is_empty() {
            tell(Kind::Flags, Next::Sync, format!("flags {}; {PENDING}", pending.words()));
        }
        confined
    }

    fn verdict(
        &self,
        pair: &Pair<'_>,
        contents: Option<&Contents<'_>>,
        singles: &Singles,
    ) -> Result<Verdict, Difference> {
        let unknown = |message: &str| self.differs(Kind::NotCompared, Next::Unknown, message);
        match self.files.get(pair.unique) {
            Some(Reading::Content(_)) => {}
            Some(Reading::Empty) => return Err(self.differs(Kind::Replaced, Next::Nothing, "the file is empty now")),
            Some(Reading::Failed(why)) => return Err(unknown(why)),
            None => return Err(unknown("the file was not read")),
        }
        match contents {
            Some(both) if both.body.is_some() || !both.need_body() => Ok(both.judge(singles)),
            _ => Err(unknown("the server did not give what it takes to compare it; it may be gone by now")),
        }
    }

    fn unequal(&self, verdict: Verdict, row: &MessageRow) -> Difference {
        match verdict {
            Verdict::WrongPair => {
                let message = format!("the database pairs this file with another message; {ANEW}");
                Difference { row: Some(row.id), ..self.differs(Kind::WrongPair, Next::Repair, message) }
            }
            Verdict::WrongRecord => {
                let message = format!("both sides have the same content, the database has another; {ANEW}");
                Difference { row: Some(row.id), ..self.differs(Kind::WrongRecord, Next::Repair, message) }
            }
            Verdict::Replaced => {
                let message = "the file no longer has the content it had when it was last in step; \
                               `mailtide sync --full` takes it for a new version of the message if its size or time shows it";
                self.differs(Kind::Replaced, Next::Sync, message)
            }
            Verdict::Unlike | Verdict::Equal => {
                let message = "the server's message has other content than the file, which is as it was transferred; \
                               the server may have rewritten it";
                self.differs(Kind::Content, Next::Nothing, message)
            }
        }
    }

    /// No sync carries dates over. That both sides' differed when the message was matched is known since then.
    fn compare_date(&self, pair: &Pair<'_>, found: &mut Comparison) {
        let here = self.identity(pair.unique).and_then(|file| file.date);
        let there = pair.message.date;
        if here.is_none() || there.is_none() || here == there {
            return;
        }
        let recorded = pair.row.stat.map(|stat| stat.mtime_ns.div_euclid(1_000_000_000));
        if recorded.is_none() || recorded != pair.row.date.map(|date| date.0) {
            found.dates += 1;
            return;
        }
        let message = "the file's time is no longer the date that the server has; no sync changes either";
        let difference = self.differs(Kind::Date, Next::Nothing, message);
        found.differences.push(difference.of_file(pair.unique).of_message(pair.row.uid));
    }
}

//! Are both sides of a folder and the baseline equal, message by message? What is not is told; nothing is decided.

mod content;
mod difference;
mod flags;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use content::{Contents, Singles, Verdict};
pub use difference::{Difference, Kind, Next};
use flags::Gap;

use super::flags::FlagRules;
use super::snapshot::{LocalEntry, LocalSnapshot, RemoteMessage, RemoteSnapshot};
use crate::model::{
    Flag, Identity, MailboxName, MailboxRow, MessageId, MessageRow, Tombstone, Uid, UidSet, UniqueName,
};

/// What reading a file brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// Its content.
    Content(Identity),
    /// It is empty, which is no message.
    Empty,
    /// Why it could not be read.
    Failed(String),
}

impl Reading {
    fn identity(&self) -> Option<&Identity> {
        match self {
            Reading::Content(identity) => Some(identity),
            Reading::Empty | Reading::Failed(_) => None,
        }
    }
}

/// What earlier syncs were refused, with what was said of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    /// Files.
    pub files: BTreeMap<UniqueName, String>,
    /// Messages on the server.
    pub messages: BTreeMap<Uid, String>,
}

/// Everything seen of one folder.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// Its server name.
    pub folder: &'a MailboxName,
    /// Its row, if the baseline knows it.
    pub row: Option<&'a MailboxRow>,
    /// The baseline's messages.
    pub rows: &'a [MessageRow],
    /// The maildir.
    pub scan: &'a LocalSnapshot,
    /// The server's side, looked at in full.
    pub remote: &'a RemoteSnapshot,
    /// What decides about flags.
    pub rules: FlagRules,
    /// Every file of the scan, read.
    pub files: BTreeMap<UniqueName, Reading>,
    /// The messages of rows by their headers.
    pub headers: BTreeMap<Uid, Identity>,
    /// Those that are in doubt as a whole.
    pub bodies: BTreeMap<Uid, Identity>,
    /// What earlier syncs were refused.
    pub refused: Refused,
}

/// How a folder compares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Messages that are equal on both sides and in the baseline.
    pub equal: u64,
    /// Messages that the server keeps and the Maildir must not get back.
    pub tombstones: u64,
    /// Equal messages with flags that the other side can't have.
    pub confined: u64,
    /// Equal messages that had another date on each side when they were matched; no sync changes that.
    pub dates: u64,
    /// What differs.
    pub differences: Vec<Difference>,
}

/// What belongs to a row on both sides.
struct Pair<'a> {
    row: &'a MessageRow,
    unique: &'a UniqueName,
    entry: &'a LocalEntry,
    message: &'a RemoteMessage,
}

const PENDING: &str = "the next sync carries this over";
const ANEW: &str = "after `mailtide check --repair` the next sync matches it anew by its content";

impl Evidence<'_> {
    /// Returns the messages whose headers tell what they are: those of rows that have a file.
    pub fn pairs(&self) -> UidSet {
        let held = self.rows.iter().filter_map(|row| self.pair(row));
        held.filter(|pair| self.identity(pair.unique).is_some()).map(|pair| pair.row.uid).collect()
    }

    /// Returns the messages whose bodies decide.
    pub fn doubtful(&self) -> UidSet {
        let all = self.all_contents();
        all.values().filter(|contents| contents.need_body()).map(|contents| contents.row.uid).collect()
    }

    /// Compares.
    pub fn compare(&self) -> Comparison {
        let mut found = Comparison::default();
        let validity = self.row.and_then(|row| row.uid_validity);
        if !self.rows.is_empty() && validity != Some(self.remote.uid_validity()) {
            let message = "the server numbers this folder's messages anew (UIDVALIDITY), so none could be compared; \
                           the next sync matches them by their content";
            found.differences.push(self.differs(Kind::UidValidity, Next::Unknown, message));
            return found;
        }
        self.compare_scan(&mut found);
        let contents = self.all_contents();
        let singles = self.singles(&contents);
        let mut named = BTreeSet::new();
        for row in self.rows {
            if let Some(unique) = row.unique.as_ref().filter(|unique| !named.insert(*unique)) {
                let message = "the database has this file twice, for two messages";
                found.differences.push(self.differs(Kind::DuplicateName, Next::Nothing, message).of_file(unique));
            }
            self.compare_row(row, contents.get(&row.id), &singles, &mut found);
        }
        self.compare_unknown_files(&named, &mut found);
        self.compare_unknown_messages(&mut found);
        self.compare_counts(&mut found);
        found
    }

    fn differs(&self, kind: Kind, next: Next, message: impl Into<String>) -> Difference {
        Difference::new(kind, next, message).of_folder(self.folder)
    }

    fn message(&self, uid: Uid) -> Option<&RemoteMessage> {
        self.remote.messages.listed().get(&uid)
    }

    fn identity(&self, unique: &UniqueName) -> Option<&Identity> {
        self.files.get(unique).and_then(Reading::identity)
    }

    fn pair<'a>(&'a self, row: &'a MessageRow) -> Option<Pair<'a>> {
        let unique = row.unique.as_ref()?;
        let (entry, message) = (self.scan.entries.get(unique)?, self.message(row.uid)?);
        Some(Pair { row, unique, entry, message })
    }

    /// Returns what is known of the contents of every pair, by its row.
    fn all_contents<'s>(&'s self) -> BTreeMap<MessageId, Contents<'s>> {
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

    fn singles(&self, contents: &BTreeMap<MessageId, Contents<'_>>) -> Singles {
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

    fn compare_scan(&self, found: &mut Comparison) {
        if !self.scan.quiet {
            let message = "its maildir kept changing while it was read, so what is gone from it is not known";
            found.differences.push(self.differs(Kind::NotCompared, Next::Unknown, message));
        }
        if self.scan.letters.is_none() {
            let message = "its dovecot-keywords is missing or damaged, so its keywords could not be compared";
            found.differences.push(self.differs(Kind::NotCompared, Next::Unknown, message));
        }
        for file in &self.scan.duplicates {
            let message = "a second file of a name that another has already; it is left alone";
            let difference = self.differs(Kind::DuplicateName, Next::Nothing, message);
            found.differences.push(Difference { path: Some(file.clone()), ..difference });
        }
    }

    fn compare_row(
        &self,
        row: &MessageRow,
        contents: Option<&Contents<'_>>,
        singles: &Singles,
        found: &mut Comparison,
    ) {
        let Some(unique) = &row.unique else { return self.compare_tombstone(row, found) };
        let differs = |kind, next, message: &str| self.differs(kind, next, message).of_file(unique).of_message(row.uid);
        let there = self.message(row.uid).is_some();
        found.differences.push(match self.scan.entries.contains_key(unique) {
            true if there => return self.compare_pair(row, contents, singles, found),
            true => {
                let message = "gone from the server since the last sync; the next removes the file, unless it is held";
                differs(Kind::GoneThere, Next::Sync, message)
            }
            false if !self.scan.quiet => {
                differs(Kind::NotCompared, Next::Unknown, "not seen while its maildir kept changing")
            }
            false if !there => differs(Kind::GoneBoth, Next::Sync, "gone from both sides since the last sync"),
            false if self.rules.read_only => {
                differs(Kind::GoneHere, Next::Nothing, "removed here; the server allows no change in this folder")
            }
            false => {
                let message = "removed here since the last sync; the next carries this over, unless it is held";
                differs(Kind::GoneHere, Next::Sync, message)
            }
        });
    }

    /// A message buried is no difference, unless it is wanted again.
    fn compare_tombstone(&self, row: &MessageRow, found: &mut Comparison) {
        match self.message(row.uid) {
            Some(message) if row.tombstone == Some(Tombstone::Flagged) && !message.flags.has(Flag::Deleted) => {
                let message = "removed here, and no longer marked as deleted on the server; the next sync fetches it";
                found.differences.push(self.differs(Kind::OnlyThere, Next::Sync, message).of_message(row.uid));
            }
            Some(_) => found.tombstones += 1,
            None => {}
        }
    }

    fn compare_pair(
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
        let (kind, message) = if gap.recorded {
            let message = "both sides have the same flags, the database has others; the next sync takes them over";
            (Kind::FlagsRecorded, message.to_owned())
        } else if gap.here.is_empty() && gap.there.is_empty() {
            return gap.confined;
        } else {
            (Kind::Flags, format!("flags {}; {PENDING}", gap.words()))
        };
        let difference = self.differs(kind, Next::Sync, message);
        found.differences.push(difference.of_file(pair.unique).of_message(pair.row.uid));
        gap.confined
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
                               `mailtide sync --full` takes it for a new version of the message";
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

    fn compare_unknown_files(&self, named: &BTreeSet<&UniqueName>, found: &mut Comparison) {
        for unique in self.scan.entries.keys().filter(|unique| !named.contains(unique)) {
            let (kind, next, message) = match (self.files.get(unique), self.refused.files.get(unique)) {
                (Some(Reading::Empty), _) => continue,
                (Some(Reading::Failed(why)), _) => (Kind::NotCompared, Next::Unknown, why.clone()),
                (_, Some(why)) => (Kind::OnlyHere, Next::Nothing, format!("only here: {why}")),
                _ if self.rules.read_only => {
                    let message = "only here; the server allows no change in this folder";
                    (Kind::OnlyHere, Next::Nothing, message.to_owned())
                }
                _ => (Kind::OnlyHere, Next::Sync, format!("new here since the last sync; {PENDING}")),
            };
            found.differences.push(self.differs(kind, next, message).of_file(unique));
        }
    }

    fn compare_unknown_messages(&self, found: &mut Comparison) {
        let known: UidSet = self.rows.iter().map(|row| row.uid).collect();
        for uid in self.remote.messages.listed().keys().filter(|uid| !known.contains(**uid)) {
            let (next, message) = match self.refused.messages.get(uid) {
                Some(why) => (Next::Nothing, format!("only on the server: {why}")),
                None => (Next::Sync, format!("new on the server since the last sync; {PENDING}")),
            };
            found.differences.push(self.differs(Kind::OnlyThere, next, message).of_message(*uid));
        }
    }

    /// What the watermark says is wrong only if every message is as the baseline has it.
    fn compare_counts(&self, found: &mut Comparison) {
        let now = self.remote.watermark;
        let Some(then) = self.row.and_then(|row| row.watermark).filter(|_| found.differences.is_empty()) else {
            return;
        };
        let held = self.remote.messages.listed().len() as u64;
        if then.uid_validity == now.uid_validity && u64::from(then.messages) != held {
            let message = format!(
                "the database counts {} messages at the last look and knows all {held} that there are; \
                 after `mailtide check --repair` the next sync looks at all of them",
                then.messages
            );
            found.differences.push(self.differs(Kind::Count, Next::Repair, message));
        } else if now.uid_next > 0 && then.uid_next > now.uid_next || then.mod_seq > now.mod_seq.or(then.mod_seq) {
            let message = "the database is ahead of the server, which may have been restored from a backup; \
                           after `mailtide check --repair` the next sync looks at everything";
            found.differences.push(self.differs(Kind::Count, Next::Repair, message));
        }
    }
}

impl Comparison {
    /// Returns the comparison of a folder that only this can be said of.
    pub fn only(difference: Difference) -> Self {
        Self { differences: vec![difference], ..Self::default() }
    }

    /// Returns the rows that a repair forgets, and whether the folder is to be looked at as a whole again.
    pub fn repairs(&self) -> (Vec<MessageId>, bool) {
        let wrong = || self.differences.iter().filter(|difference| difference.next == Next::Repair);
        (wrong().filter_map(|difference| difference.row).collect(), wrong().next().is_some())
    }
}

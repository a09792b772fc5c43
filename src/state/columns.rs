//! From rows to model types and back. What doesn't decode is an error, never skipped.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use rusqlite::types::{FromSql, Type};
use rusqlite::{Error, Result, Row, Statement};

use crate::model::{
    Circumstances, DirId, DirStamp, EmailId, FailureCode, FileStat, Fingerprint, Flag, FlagDelta, FlagSet, Keyword,
    KeywordLetters, Keywords, MailboxName, MessageHash, ModSeq, PermanentFlags, Side, Stamp, Timestamp, Tombstone, Uid,
    UidSet, UidValidity, UniqueName, Usage, Watermark,
};
use crate::store::NewMessage;

/// A stored value that no model type has.
#[derive(Debug, thiserror::Error)]
#[error("{value:?} is no {what}")]
struct Meaningless {
    what: &'static str,
    value: String,
}

/// So much is told of such a value, in characters.
const TOLD: usize = 100;

/// The columns of a row, taken in the order of the SELECT.
pub(super) struct Columns<'row> {
    row: &'row Row<'row>,
    next: usize,
}

impl<'row> Columns<'row> {
    pub(super) fn of(row: &'row Row<'row>) -> Self {
        Self { row, next: 0 }
    }

    pub(super) fn take<T: FromSql>(&mut self) -> Result<T> {
        let at = self.next;
        self.next += 1;
        self.row.get(at)
    }

    /// Passes over columns.
    pub(super) fn skip(&mut self, columns: usize) {
        self.next += columns;
    }

    /// Takes a text that `parse` understands.
    pub(super) fn word<T>(&mut self, what: &'static str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T> {
        self.word_or_null(what, parse)?.ok_or_else(|| self.meaningless(what, Type::Null, "NULL"))
    }

    /// Takes a text that `parse` understands, or NULL.
    pub(super) fn word_or_null<T>(
        &mut self,
        what: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>> {
        let at = self.next;
        self.next += 1;
        // Parsed where SQLite has it: a copy of every text would be half the cost of reading a large mailbox.
        let text = self
            .row
            .get_ref(at)?
            .as_str_or_null()
            .map_err(|error| Error::FromSqlConversionFailure(at, Type::Text, Box::new(error)))?;
        let Some(text) = text else { return Ok(None) };
        parse(text).map(Some).ok_or_else(|| self.meaningless(what, Type::Text, text))
    }

    /// Takes a number stored bit for bit.
    pub(super) fn unsigned(&mut self) -> Result<u64> {
        self.take::<i64>().map(i64::cast_unsigned)
    }

    /// Takes a number stored bit for bit, or NULL.
    pub(super) fn unsigned_or_null(&mut self) -> Result<Option<u64>> {
        self.take::<Option<i64>>().map(|number| number.map(i64::cast_unsigned))
    }

    /// Takes what is used and what is allowed, or two NULLs.
    pub(super) fn usage(&mut self) -> Result<Option<Usage>> {
        let (used, limit) = (self.unsigned_or_null()?, self.unsigned_or_null()?);
        Ok(used.zip(limit).map(|(used, limit)| Usage { used, limit }))
    }

    pub(super) fn uid(&mut self) -> Result<Uid> {
        let number: u32 = self.take()?;
        Uid::new(number).ok_or_else(|| self.meaningless("UID", Type::Integer, &number.to_string()))
    }

    pub(super) fn uid_or_null(&mut self) -> Result<Option<Uid>> {
        let Some(number) = self.take::<Option<u32>>()? else { return Ok(None) };
        Uid::new(number).map(Some).ok_or_else(|| self.meaningless("UID", Type::Integer, &number.to_string()))
    }

    pub(super) fn mailbox_name(&mut self) -> Result<MailboxName> {
        self.word("folder name", MailboxName::parse)
    }

    pub(super) fn unique_or_null(&mut self) -> Result<Option<UniqueName>> {
        self.word_or_null("file name", UniqueName::new)
    }

    pub(super) fn side(&mut self) -> Result<Side> {
        self.word("side", |text| [Side::Local, Side::Remote].into_iter().find(|side| side.as_str() == text))
    }

    pub(super) fn failure_code(&mut self) -> Result<FailureCode> {
        self.word("failure", FailureCode::parse)
    }

    pub(super) fn time(&mut self) -> Result<Timestamp> {
        self.take().map(Timestamp)
    }

    pub(super) fn time_or_null(&mut self) -> Result<Option<Timestamp>> {
        self.take::<Option<i64>>().map(|seconds| seconds.map(Timestamp))
    }

    /// Takes keywords, or NULL.
    pub(super) fn keywords(&mut self) -> Result<Option<Keywords>> {
        let keywords = self.word_or_null("list of keywords", parse_keywords)?;
        Ok(keywords.map(|keywords| FlagSet::from_parts(0, keywords).keywords))
    }

    /// Takes bits and keywords.
    pub(super) fn flags(&mut self) -> Result<FlagSet> {
        let bits: u8 = self.take()?;
        let keywords = self.word("list of keywords", parse_keywords)?;
        let flags = FlagSet::from_parts(bits, keywords);
        match flags.bits() == bits {
            true => Ok(flags),
            false => Err(self.meaningless("set of flags", Type::Integer, &bits.to_string())),
        }
    }

    /// Takes flags and whether new keywords can be made.
    pub(super) fn permanent(&mut self) -> Result<PermanentFlags> {
        Ok(PermanentFlags { flags: self.flags()?, new_keywords: self.take()? })
    }

    pub(super) fn letters(&mut self) -> Result<KeywordLetters> {
        self.word("map of keyword letters", parse_letters)
    }

    pub(super) fn delta(&mut self) -> Result<FlagDelta> {
        self.word("change of flags", parse_delta)
    }

    /// Takes what a change of flags displays as; NULL changes none.
    pub(super) fn delta_or_none(&mut self) -> Result<FlagDelta> {
        self.word_or_null("change of flags", parse_delta).map(Option::unwrap_or_default)
    }

    /// Takes UIDVALIDITY, UIDNEXT, MESSAGES and HIGHESTMODSEQ.
    pub(super) fn watermark(&mut self) -> Result<Option<Watermark>> {
        let validity = self.unsigned_or_null()?;
        let (uid_next, messages): (Option<u32>, Option<u32>) = (self.take()?, self.take()?);
        self.all_or_none("watermark", [validity.is_some(), uid_next.is_some(), messages.is_some()])?;
        let mod_seq = match self.unsigned_or_null()? {
            None => None,
            Some(0) => return Err(self.meaningless("MODSEQ", Type::Integer, "0")),
            Some(number) => ModSeq::new(number),
        };
        Ok(validity.zip(uid_next).zip(messages).map(|((validity, uid_next), messages)| Watermark {
            uid_validity: UidValidity(validity),
            uid_next,
            messages,
            mod_seq,
        }))
    }

    /// Takes the four numbers of `cur`, then of `new`.
    pub(super) fn stamp(&mut self) -> Result<Option<Stamp>> {
        let (cur, new) = (self.dir_stamp()?, self.dir_stamp()?);
        self.all_or_none("stamp", [cur.is_some(), new.is_some()])?;
        Ok(cur.zip(new).map(|(cur, new)| Stamp { cur, new }))
    }

    /// Takes the two numbers of a maildir's identity.
    pub(super) fn directory(&mut self) -> Result<Option<DirId>> {
        let (device, inode) = (self.unsigned_or_null()?, self.unsigned_or_null()?);
        self.all_or_none("maildir's identity", [device.is_some(), inode.is_some()])?;
        Ok(device.zip(inode).map(|(device, inode)| DirId { device, inode }))
    }

    fn dir_stamp(&mut self) -> Result<Option<DirStamp>> {
        let (device, inode) = (self.unsigned_or_null()?, self.unsigned_or_null()?);
        let (mtime, ctime) = (self.take::<Option<i64>>()?, self.take::<Option<i64>>()?);
        self.all_or_none("stamp", [device.is_some(), inode.is_some(), mtime.is_some(), ctime.is_some()])?;
        let parts = device.zip(inode).zip(mtime.zip(ctime));
        Ok(parts.map(|((device, inode), (mtime_ns, ctime_ns))| DirStamp { device, inode, mtime_ns, ctime_ns }))
    }

    fn stat_or_null(&mut self) -> Result<Option<FileStat>> {
        let (inode, size) = (self.unsigned_or_null()?, self.unsigned_or_null()?);
        let mtime = self.take::<Option<i64>>()?;
        self.all_or_none("file stat", [inode.is_some(), size.is_some(), mtime.is_some()])?;
        Ok(inode.zip(size).zip(mtime).map(|((inode, size), mtime_ns)| FileStat { inode, size, mtime_ns }))
    }

    /// Takes server, layout and root.
    pub(super) fn circumstances(&mut self) -> Result<Option<Circumstances>> {
        let (server, layout): (Option<String>, Option<String>) = (self.take()?, self.take()?);
        let root: Option<String> = self.take()?;
        self.all_or_none("circumstances", [server.is_some(), layout.is_some(), root.is_some()])?;
        let all = server.zip(layout).zip(root);
        Ok(all.map(|((server, layout), root)| Circumstances { server, layout, root }))
    }

    /// Takes the columns that a message row and a journaled download share.
    pub(super) fn message(&mut self) -> Result<NewMessage> {
        Ok(NewMessage {
            uid: self.uid()?,
            unique: self.unique_or_null()?,
            flags: self.flags()?,
            tombstone: self.word_or_null("tombstone", Tombstone::parse)?,
            date: self.time_or_null()?,
            size: self.unsigned_or_null()?,
            content: self.take::<Option<[u8; 16]>>()?.map(Fingerprint),
            message_id: self.take::<Option<i64>>()?.map(MessageHash),
            stat: self.stat_or_null()?,
            email_id: self.email_id_or_null()?,
        })
    }

    fn email_id_or_null(&mut self) -> Result<Option<EmailId>> {
        let Some(number) = self.take()? else { return Ok(None) };
        EmailId::from_number(number)
            .map(Some)
            .ok_or_else(|| self.meaningless("email id", Type::Integer, &number.to_string()))
    }

    pub(super) fn stat(&mut self) -> Result<FileStat> {
        self.stat_or_null()?.ok_or_else(|| self.meaningless("file stat", Type::Null, "NULL"))
    }

    fn all_or_none<const N: usize>(&self, what: &'static str, given: [bool; N]) -> Result<()> {
        let count = given.into_iter().filter(|&is| is).count();
        match count == 0 || count == N {
            true => Ok(()),
            false => Err(self.meaningless(what, Type::Null, "a part of one")),
        }
    }

    fn meaningless(&self, what: &'static str, kind: Type, value: &str) -> Error {
        let at = self.next.saturating_sub(1);
        // Words for a user, who has no use for hundreds of messages.
        let value = value.chars().take(TOLD).collect();
        Error::FromSqlConversionFailure(at, kind, Box::new(Meaningless { what, value }))
    }
}

/// Binds the first thirteen parameters, in the order in which [`Columns::message`] takes them.
pub(super) fn bind_message(statement: &mut Statement<'_>, message: &NewMessage) -> Result<()> {
    statement.raw_bind_parameter(1, message.uid.get())?;
    statement.raw_bind_parameter(2, message.unique.as_ref().map(UniqueName::as_str))?;
    statement.raw_bind_parameter(3, message.flags.bits())?;
    statement.raw_bind_parameter(4, keywords_text(&message.flags.keywords))?;
    statement.raw_bind_parameter(5, message.tombstone.map(Tombstone::as_str))?;
    statement.raw_bind_parameter(6, message.date.map(|time| time.0))?;
    statement.raw_bind_parameter(7, message.size.map(u64::cast_signed))?;
    statement.raw_bind_parameter(8, message.content.map(|print| print.0))?;
    statement.raw_bind_parameter(9, message.message_id.map(|hash| hash.0))?;
    statement.raw_bind_parameter(10, message.stat.map(|stat| stat.inode.cast_signed()))?;
    statement.raw_bind_parameter(11, message.stat.map(|stat| stat.size.cast_signed()))?;
    statement.raw_bind_parameter(12, message.stat.map(|stat| stat.mtime_ns))?;
    statement.raw_bind_parameter(13, message.email_id.map(EmailId::number))
}

/// Writes keywords with a space between; an IMAP atom holds none.
pub(super) fn keywords_text(keywords: &BTreeSet<Keyword>) -> String {
    let mut text = String::new();
    for keyword in keywords {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(keyword.as_str());
    }
    text
}

/// Reads what [`FlagDelta`] displays.
fn parse_delta(text: &str) -> Option<FlagDelta> {
    let mut delta = FlagDelta::default();
    for word in text.split(' ').filter(|_| !text.is_empty()) {
        let (set, name) = match (word.strip_prefix('+'), word.strip_prefix('-')) {
            (Some(name), _) => (&mut delta.add, name),
            (_, Some(name)) => (&mut delta.remove, name),
            (None, None) => return None,
        };
        match Flag::ALL.into_iter().find(|flag| flag.as_imap() == name) {
            Some(flag) => set.set(flag, true),
            None => drop(set.keywords.insert(Keyword::new(name)?)),
        }
    }
    Some(delta)
}

pub(super) fn parse_keywords(text: &str) -> Option<BTreeSet<Keyword>> {
    match text {
        "" => Some(BTreeSet::new()),
        _ => text.split(' ').map(Keyword::new).collect(),
    }
}

/// Writes a line for each letter.
pub(super) fn letters_text(letters: &KeywordLetters) -> String {
    letters.iter().fold(String::new(), |mut text, (letter, keyword)| {
        // Writing to a String can't fail.
        _ = writeln!(text, "{} {keyword}", char::from(letter));
        text
    })
}

fn parse_letters(text: &str) -> Option<KeywordLetters> {
    let mut letters = KeywordLetters::new();
    for line in text.lines() {
        let (letter, keyword) = line.split_once(' ')?;
        let &[letter @ b'a'..=b'z'] = letter.as_bytes() else { return None };
        letters.assign(letter, Keyword::new(keyword)?);
    }
    Some(letters)
}

/// Reads what [`UidSet`] displays.
pub(super) fn parse_uids(text: &str) -> Option<UidSet> {
    let uid = |text: &str| text.parse().ok().and_then(Uid::new);
    let mut uids = UidSet::new();
    for range in text.split(',').filter(|_| !text.is_empty()) {
        let (first, last) = range.split_once(':').unwrap_or((range, range));
        uids.insert_range(uid(first)?, uid(last)?);
    }
    Some(uids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_another_form_mean_nothing() {
        for text in [" ", "a  b", "a ", "(", "\\Seen"] {
            assert!(parse_keywords(text).is_none(), "{text:?}");
        }
        for text in ["\\Seen", "+", "+a  -b", "+\\Other", "+a -b "] {
            assert!(parse_delta(text).is_none(), "{text:?}");
        }
        for text in ["a", "A $Junk", "ab x", "a x y", "\n", "a "] {
            assert!(parse_letters(text).is_none(), "{text:?}");
        }
        for text in ["0", "1:0", "1,", ",1", "1:2:3", "4294967296", "*", "a"] {
            assert!(parse_uids(text).is_none(), "{text:?}");
        }
    }
}

//! One file, the message that its row pairs it with, and what the row recorded: are they of one content?

use std::collections::BTreeSet;

use crate::model::{Fingerprint, Identity, MessageRow};

/// What the contents say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Equal,
    /// The file has another content than it had, while the server's message is the one recorded.
    Replaced,
    /// The message on the server is not the one recorded.
    WrongPair,
    /// File and message are the same, only the record differs.
    WrongRecord,
    /// The server's message differs from the file in a way that doesn't prove it to be another.
    Unlike,
}

/// Files and messages that have no true partner yet, among which those of a wrong pair find theirs.
#[derive(Debug, Default)]
pub(super) struct Singles {
    contents: BTreeSet<Fingerprint>,
    file_headers: BTreeSet<Fingerprint>,
    message_headers: BTreeSet<(Fingerprint, u64)>,
}

impl Singles {
    pub(super) fn new<'a>(
        files: impl Iterator<Item = &'a Identity>,
        messages: impl Iterator<Item = &'a Identity>,
    ) -> Self {
        let mut singles = Self::default();
        for file in files {
            singles.contents.extend(file.content);
            singles.file_headers.insert(file.header);
        }
        singles.message_headers.extend(messages.map(|message| (message.header, message.size)));
        singles
    }
}

/// What is known of one pair.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contents<'a> {
    pub(super) row: &'a MessageRow,
    /// The file, read as a whole.
    pub(super) file: &'a Identity,
    /// The server's message, by its header.
    pub(super) header: &'a Identity,
    /// The server's message as a whole, if it was fetched.
    pub(super) body: Option<&'a Identity>,
    /// Another message of the folder has the same header block and size.
    pub(super) ambiguous: bool,
}

impl Contents<'_> {
    /// Returns true if the header block doesn't decide: without a Message-ID, or shared with another message of the same
    /// size, it doesn't tell messages apart.
    pub(super) fn need_body(&self) -> bool {
        let redated = differ(self.row.date.as_ref(), self.header.date.as_ref());
        !self.is_recorded() || !self.same_header() || self.header.message_id.is_none() || self.ambiguous || redated
    }

    /// Returns true if all three have one content. Where the body is needed it must be there.
    pub(super) fn is_equal(&self) -> bool {
        self.is_recorded() && self.is_same()
    }

    /// Decides. Where the body is needed it must be there.
    pub(super) fn judge(&self, singles: &Singles) -> Verdict {
        // Only exactly equal contents are certain to be matched again.
        let exact = self.body.is_some_and(|body| body.content == self.file.content);
        match (self.is_recorded(), self.is_same()) {
            (true, true) => Verdict::Equal,
            (false, true) if exact => Verdict::WrongRecord,
            (_, false) if self.is_another(singles) => Verdict::WrongPair,
            (true, false) => Verdict::Unlike,
            (false, _) => Verdict::Replaced,
        }
    }

    fn is_recorded(&self) -> bool {
        self.row.content.is_none_or(|content| self.file.content == Some(content))
    }

    fn same_header(&self) -> bool {
        (self.header.header, self.header.size) == (self.file.header, self.file.size)
    }

    /// Servers store some messages with small changes, which the loose form allows for.
    fn is_same(&self) -> bool {
        self.body.map_or_else(
            || self.same_header(),
            |body| body.content == self.file.content || body.loose == self.file.loose,
        )
    }

    /// Returns true if the server's message is proven not to be the one recorded. A server that rewrites messages must
    /// not look so: forgotten, its version would be downloaded and the file uploaded again. So another Message-ID alone
    /// is no proof; another date, or a true partner of either, makes it one.
    fn is_another(&self, singles: &Singles) -> bool {
        let body = self.body.and_then(|body| body.content).filter(|content| self.row.content != Some(*content));
        if body.is_some_and(|content| singles.contents.contains(&content)) {
            return true;
        }
        let partner = singles.file_headers.contains(&self.header.header)
            || singles.message_headers.contains(&(self.file.header, self.file.size));
        let redated = differ(self.row.date.as_ref(), self.header.date.as_ref());
        differ(self.row.message_id.as_ref(), self.header.message_id.as_ref()) && (partner || redated)
    }
}

fn differ<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> bool {
    one.is_some() && other.is_some() && one != other
}

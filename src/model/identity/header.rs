//! The header block of a message, as it goes by: where it ends, what of it counts, and the Message-ID in it.

use super::{fingerprint, survivor};
use crate::model::message::{Fingerprint, MessageHash};

/// The header block: its hash and the Message-ID in it.
#[derive(Debug, Clone)]
pub(super) struct HeaderBlock {
    hasher: blake3::Hasher,
    ended: bool,
    /// At the start of a line.
    at_start: bool,
    /// The line holds nothing but CRs so far.
    blank: bool,
    field: Field,
    /// What the first Message-ID field holds. Line ends are left out: it is unfolded.
    message_id: Option<Vec<u8>>,
}

/// The header field that the bytes are of.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Field {
    /// One whose name is not complete yet.
    Name(Vec<u8>),
    /// The first Message-ID.
    MessageId,
    /// One that is left out.
    Bookkeeping,
    /// Any other, or a line that is no field.
    Other,
}

impl Default for HeaderBlock {
    fn default() -> Self {
        Self {
            hasher: blake3::Hasher::new(),
            ended: false,
            at_start: true,
            blank: true,
            field: Field::Other,
            message_id: None,
        }
    }
}

impl HeaderBlock {
    /// What mail programs write for their own use: sizes, in mbox files flags, and mbsync's names of what it transfers.
    const BOOKKEEPING: [&[u8]; 5] = [b"content-length", b"lines", b"status", b"x-status", b"x-tuid"];
    const MESSAGE_ID: &[u8] = b"message-id";
    /// Longer names are none of these, with white space before the colon allowed for (RFC 5322 section 4.5).
    const LONGEST_NAME: usize = 32;
    /// What is looked at of a Message-ID; a line has at most 998 bytes (RFC 5322 section 2.1.1).
    const LONGEST_ID: usize = 998;

    /// Takes what belongs to the header block. Returns what of it counts, as far as that is known, and the rest.
    pub(super) fn take<'b>(&mut self, bytes: &'b [u8]) -> (Vec<u8>, &'b [u8]) {
        let (mut kept, mut rest) = (Vec::new(), bytes);
        while !self.ended
            && let Some(&byte) = rest.first()
        {
            let plain = self.is_plain().then(|| memchr::memchr(b'\n', rest).unwrap_or(rest.len()));
            let (line, behind) = rest.split_at(plain.unwrap_or_default());
            kept.extend_from_slice(line);
            rest = behind;
            if line.is_empty() {
                self.take_byte(byte, &mut kept);
                rest = rest.get(1..).unwrap_or_default();
            }
        }
        self.hasher.update(&kept);
        (kept, rest)
    }

    /// Returns true if all bytes up to the next line end count, and mean nothing.
    fn is_plain(&self) -> bool {
        self.field == Field::Other && !self.at_start && !self.blank
    }

    fn take_byte(&mut self, byte: u8, kept: &mut Vec<u8>) {
        let folded = matches!(byte, b' ' | b'\t');
        if byte != b'\n' && self.at_start && !folded {
            self.field = Field::Name(Vec::new());
        }
        self.put(byte, kept);
        match byte {
            b'\n' => {
                self.ended = self.blank;
                (self.at_start, self.blank) = (true, true);
            }
            _ => {
                self.at_start = false;
                self.blank &= byte == b'\r';
            }
        }
    }

    /// Puts a byte where it belongs.
    fn put(&mut self, byte: u8, kept: &mut Vec<u8>) {
        match &mut self.field {
            Field::Name(name) if byte != b':' && byte != b'\n' && name.len() < Self::LONGEST_NAME => name.push(byte),
            Field::Name(name) => {
                let mut line = std::mem::take(name);
                self.field = if byte == b':' { self.named(&line) } else { Field::Other };
                line.push(byte);
                if self.field != Field::Bookkeeping {
                    kept.append(&mut line);
                }
            }
            Field::Bookkeeping if byte == b'\n' && self.blank => kept.push(byte),
            Field::Bookkeeping => {}
            Field::MessageId => {
                let id = self.message_id.get_or_insert_default();
                if byte != b'\n' && id.len() < Self::LONGEST_ID {
                    id.push(survivor(byte));
                }
                kept.push(byte);
            }
            Field::Other => kept.push(byte),
        }
    }

    fn named(&self, name: &[u8]) -> Field {
        let is = |known: &[u8]| known.eq_ignore_ascii_case(name.trim_ascii_end());
        match self.message_id {
            None if is(Self::MESSAGE_ID) => Field::MessageId,
            _ if Self::BOOKKEEPING.into_iter().any(is) => Field::Bookkeeping,
            _ => Field::Other,
        }
    }

    /// Ends the block if nothing has. Returns what of it still counts.
    pub(super) fn end(&mut self) -> Vec<u8> {
        let kept = match &mut self.field {
            Field::Name(name) => std::mem::take(name),
            _ => Vec::new(),
        };
        self.hasher.update(&kept);
        kept
    }

    pub(super) fn finish(mut self) -> (Fingerprint, Option<MessageHash>) {
        if !self.ended {
            let open = !self.at_start && self.field != Field::Bookkeeping;
            self.hasher.update(if open { b"\n\n" } else { b"\n" });
        }
        (fingerprint(&self.hasher), self.message_id.and_then(|id| hash_of(&id)))
    }
}

fn hash_of(id: &[u8]) -> Option<MessageHash> {
    let bracketed = id.iter().position(|&byte| byte == b'<').and_then(|open| {
        let inner = id.get(open + 1..)?;
        inner.get(..inner.iter().position(|&byte| byte == b'>')?)
    });
    let id = bracketed.unwrap_or(id).trim_ascii();
    let hash = blake3::hash(id);
    let short = hash.as_bytes().first_chunk::<8>()?;
    (!id.is_empty()).then(|| MessageHash(i64::from_le_bytes(*short)))
}

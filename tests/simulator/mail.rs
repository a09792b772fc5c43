//! Message contents, each traceable by the number in its body.

use std::sync::Arc;

use mailtide::model::{FileStat, Fingerprint, Identity, MessageHash, Timestamp};

/// A message as it is on the wire.
pub(super) type Bytes = Arc<[u8]>;

/// How the header tells a message from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A Message-ID of its own.
    Ordinary,
    /// The header of every other such message, byte for byte.
    Anonymous,
    /// A Message-ID that others have too.
    Shared,
}

pub(super) fn compose(id: u32, kind: Kind) -> Bytes {
    let header = match kind {
        Kind::Ordinary => format!("Message-ID: <{id}@sim>\r\nSubject: {id}\r\n"),
        Kind::Anonymous => "Subject: report\r\n".to_owned(),
        Kind::Shared => format!("Message-ID: <shared@sim>\r\nSubject: {id}\r\n"),
    };
    format!("{header}\r\nid={id:06}\r\n").into_bytes().into()
}

/// Returns a message as it is saved again: only what tells it from its other versions is new.
pub(super) fn save_again(old: &[u8], id: u32) -> Bytes {
    let text = std::str::from_utf8(old).unwrap_or_default();
    let name = text.lines().find(|line| line.starts_with("Message-ID: "));
    let name = name.map(|line| format!("{line}\r\n")).unwrap_or_default();
    format!("{name}Subject: {id}\r\n\r\nid={id:06}\r\n").into_bytes().into()
}

/// Returns the number in the body, 0 for a damaged message.
pub(super) fn id_of(bytes: &[u8]) -> u32 {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    text.rsplit_once("id=").and_then(|(_, rest)| rest.trim_end().parse().ok()).unwrap_or_default()
}

fn fnv(seed: u64, bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn fingerprint(bytes: &[u8]) -> Fingerprint {
    let halves = [0xcbf2_9ce4_8422_2325, 0x1234_5678_9abc_def1].map(|seed| fnv(seed, bytes.iter().copied()));
    let mut out = [0; 16];
    out[..8].copy_from_slice(&halves[0].to_le_bytes());
    out[8..].copy_from_slice(&halves[1].to_le_bytes());
    Fingerprint(out)
}

/// Returns what tells this message from others.
pub(super) fn identity(bytes: &[u8], date: Timestamp, whole: bool) -> Identity {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let header_len = text.find("\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    let message_id = text.lines().find_map(|line| line.strip_prefix("Message-ID: "));
    Identity {
        size: bytes.len() as u64,
        date: Some(date),
        message_id: message_id.map(|word| MessageHash(fnv(7, word.bytes()).cast_signed())),
        header: fingerprint(&bytes[..header_len]),
        content: whole.then(|| fingerprint(bytes)),
        loose: whole.then(|| fingerprint(bytes)),
    }
}

/// Returns the size in a file, where lines end with LF.
fn size_on_disk(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte != b'\r').count() as u64
}

pub(super) fn stat(bytes: &[u8], inode: u64, mtime: Timestamp) -> FileStat {
    FileStat { inode, size: size_on_disk(bytes), mtime_ns: mtime.0 * 1_000_000_000 }
}

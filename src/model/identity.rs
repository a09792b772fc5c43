//! What identifies message content across the two sides, computed from a stream of its bytes. The same result comes
//! from LF and from CRLF line ends, however the stream is cut into pieces.

mod header;

use header::HeaderBlock;

use super::message::{Fingerprint, Identity, Timestamp};

/// Computes an [`Identity`] from a message's bytes, given piece by piece with either kind of line end.
///
/// The canonical form that is hashed has each CRLF as LF; a CR that stands alone stays. The header block ends with the
/// first line that is empty or holds nothing but CRs; if a message ends before, the line ends missing to make its
/// header end with an empty line are taken as there. Header fields in which mail programs keep accounts of a message for
/// themselves are left out: mutt and neomutt add some when they save a message to another folder, and mbsync adds one to
/// what it transfers.
#[derive(Debug, Clone)]
pub struct IdentityHasher {
    /// A CR was the last byte seen: what follows decides what it is.
    pending_cr: bool,
    /// Bytes of the canonical form that are not counted and hashed yet.
    gathered: Vec<u8>,
    /// Length of the canonical form so far, and the LFs in it.
    length: u64,
    line_ends: u64,
    header: HeaderBlock,
    content: Option<blake3::Hasher>,
    loose: Option<LooseHasher>,
}

/// So many bytes are hashed together, where that takes a fraction of what they take line by line: a whole number of BLAKE3's
/// chunks.
const TOGETHER: usize = 16 * 1024;

impl IdentityHasher {
    /// Computes everything.
    pub fn whole() -> Self {
        Self { loose: Some(LooseHasher::default()), ..Self::exact() }
    }

    /// Computes everything but the loose fingerprint: for downloads.
    pub fn exact() -> Self {
        Self { content: Some(blake3::Hasher::new()), ..Self::header_only() }
    }

    /// Computes what the header block tells, from that block (`BODY.PEEK[HEADER]`) or from the whole message. The size
    /// is that of the bytes given.
    pub fn header_only() -> Self {
        let header = HeaderBlock::default();
        Self { pending_cr: false, gathered: Vec::new(), length: 0, line_ends: 0, header, content: None, loose: None }
    }

    /// Takes the next piece.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while let Some(&first) = bytes.first() {
            if self.pending_cr && first != b'\n' {
                self.gather(b"\r");
            }
            let until_cr = memchr::memchr(b'\r', bytes);
            let (plain, rest) = bytes.split_at(until_cr.unwrap_or(bytes.len()));
            self.gather(plain);
            self.pending_cr = until_cr.is_some();
            bytes = rest.get(1..).unwrap_or_default();
        }
    }

    /// Ends the message.
    pub fn finish(mut self, date: Option<Timestamp>) -> Identity {
        if self.pending_cr {
            self.gather(b"\r");
        }
        let rest = std::mem::take(&mut self.gathered);
        self.canonical(&rest);
        let open = self.header.end();
        self.count(&open, &[]);
        self.count_loosely(&open, &[]);
        let (header, message_id) = self.header.finish();
        Identity {
            size: self.length + self.line_ends,
            date,
            message_id,
            header,
            content: self.content.map(|hasher| fingerprint(&hasher)),
            loose: self.loose.map(LooseHasher::finish),
        }
    }

    fn gather(&mut self, mut bytes: &[u8]) {
        while self.gathered.len() + bytes.len() >= TOGETHER {
            let (head, rest) = bytes.split_at(TOGETHER - self.gathered.len());
            bytes = rest;
            if self.gathered.is_empty() {
                self.canonical(head);
                continue;
            }
            let mut gathered = std::mem::take(&mut self.gathered);
            gathered.extend_from_slice(head);
            self.canonical(&gathered);
            gathered.clear();
            self.gathered = gathered;
        }
        self.gathered.extend_from_slice(bytes);
    }

    fn canonical(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.line_ends += memchr::memchr_iter(b'\n', bytes).count() as u64;
        let (header, body) = self.header.take(bytes);
        // If nothing is left out the two are hashed as one: what begins within a chunk is hashed slowly.
        match header.len() + body.len() == bytes.len() && bytes.starts_with(&header) {
            true => self.count(bytes, &[]),
            false => self.count(&header, body),
        }
        self.count_loosely(&header, body);
    }

    fn count(&mut self, header: &[u8], body: &[u8]) {
        if let Some(content) = &mut self.content {
            content.update(header).update(body);
        }
    }

    fn count_loosely(&mut self, header: &[u8], body: &[u8]) {
        if let Some(loose) = &mut self.loose {
            loose.header(header);
            loose.body(body);
        }
    }
}

fn fingerprint(hasher: &blake3::Hasher) -> Fingerprint {
    let mut short = [0; 16];
    hasher.finalize_xof().fill(&mut short);
    Fingerprint(short)
}

/// What a header byte reads as once a server has stored it: Cyrus makes `X` of each byte from 0x80, Dovecot 0x80 of NUL.
fn survivor(byte: u8) -> u8 {
    if byte == 0 || byte >= 0x80 { b'X' } else { byte }
}

/// The loose form: trailing newlines and CRs left out everywhere; NUL and 0x80 left out in the body, and in the header
/// read, like every byte from 0x80, as one and the same.
#[derive(Debug, Clone, Default)]
struct LooseHasher {
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
    /// Newlines seen and not yet known not to be trailing.
    newlines: u64,
}

impl LooseHasher {
    fn header(&mut self, bytes: &[u8]) {
        let survivors: Vec<u8> = bytes.iter().copied().map(survivor).collect();
        self.body(&survivors);
    }

    fn body(&mut self, bytes: &[u8]) {
        let mut from = 0;
        for left_out in memchr::memchr3_iter(b'\r', 0, 0x80, bytes) {
            self.keep(bytes.get(from..left_out).unwrap_or_default());
            from = left_out + 1;
        }
        self.keep(bytes.get(from..).unwrap_or_default());
    }

    /// Takes bytes that are not left out.
    fn keep(&mut self, bytes: &[u8]) {
        let trailing = bytes.iter().rev().take_while(|byte| **byte == b'\n').count();
        let (kept, trailing) = bytes.split_at(bytes.len() - trailing);
        if !kept.is_empty() {
            (0..std::mem::take(&mut self.newlines)).for_each(|_| self.push(b"\n"));
            self.push(kept);
        }
        self.newlines += trailing.len() as u64;
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.buffer.is_empty() && bytes.len() >= TOGETHER {
            self.hasher.update(bytes);
            return;
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= TOGETHER {
            self.hasher.update(&self.buffer);
            self.buffer.clear();
        }
    }

    fn finish(mut self) -> Fingerprint {
        self.hasher.update(&self.buffer);
        fingerprint(&self.hasher)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(bytes: &[u8]) -> Identity {
        let mut hasher = IdentityHasher::whole();
        hasher.update(bytes);
        hasher.finish(None)
    }

    fn crlf(lf: &[u8]) -> Vec<u8> {
        lf.iter().flat_map(|&byte| if byte == b'\n' { vec![b'\r', b'\n'] } else { vec![byte] }).collect()
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![Just(b'\n'), Just(b'\r'), Just(b' '), Just(b':'), Just(b'a'), Just(0), 0x7fu8..0x82];
        let body = proptest::collection::vec(byte, 0..60);
        (
            prop_oneof![
                Just(""),
                Just("Message-Id: <x>\n"),
                Just("A: b\r\nMESSAGE-ID:\r\n <x@y>\r\n"),
                Just("Lines: 1\r\n 2")
            ],
            body,
            // More than is hashed together, with and without what is left out.
            prop_oneof![9 => Just(1), 1 => 600usize..900],
            any::<bool>(),
        )
            .prop_map(|(head, mut body, times, plain)| {
                body.retain(|byte| times == 1 || !plain || !matches!(byte, b'\r' | 0 | 0x80));
                [head.as_bytes(), &body.repeat(times)].concat()
            })
    }

    /// Where a message may be cut: near its beginning, or anywhere.
    fn cuts() -> impl Strategy<Value = Vec<usize>> {
        proptest::collection::vec(prop_oneof![0usize..80, 0usize..50_000], 0..6)
    }

    proptest! {
        #[test]
        fn cuts_make_no_difference(bytes in bytes(), cuts in cuts()) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|at| at.min(bytes.len())).chain([0, bytes.len()]).collect();
            cuts.sort_unstable();
            let mut hasher = IdentityHasher::whole();
            cuts.windows(2).for_each(|cut| hasher.update(&bytes[cut[0]..cut[1]]));
            prop_assert_eq!(hasher.finish(None), whole(&bytes));
        }

        #[test]
        fn line_ends_make_no_difference(mut lf in bytes()) {
            lf.dedup_by(|next, byte| (*byte, *next) == (b'\r', b'\n'));
            let wire = crlf(&lf);
            prop_assert_eq!(whole(&wire), whole(&lf));
            prop_assert_eq!(whole(&wire).size, wire.len() as u64);
        }

        #[test]
        fn the_exact_fingerprint_is_of_the_canonical_bytes(bytes in bytes()) {
            prop_assume!(!bytes.starts_with(b"Lines"));
            let mut canonical = Vec::new();
            for (at, &byte) in bytes.iter().enumerate() {
                if byte != b'\r' || bytes.get(at + 1) != Some(&b'\n') {
                    canonical.push(byte);
                }
            }
            let content = whole(&bytes).content.unwrap();
            let hash = blake3::hash(&canonical);
            prop_assert_eq!(&content.0[..], &hash.as_bytes()[..16]);
        }

        #[test]
        fn the_loose_fingerprint_is_of_what_survives(body in bytes()) {
            let message = [b"A: b\n\n", &body[..]].concat();
            let mut form: Vec<u8> = b"A: b\n\n".to_vec();
            form.extend(body.iter().filter(|byte| !matches!(byte, b'\r' | 0 | 0x80)));
            while form.last() == Some(&b'\n') {
                form.pop();
            }
            let hash = blake3::hash(&form);
            prop_assert_eq!(&whole(&message).loose.unwrap().0[..], &hash.as_bytes()[..16]);
        }
    }

    #[test]
    fn the_header_alone_has_the_header_fingerprint_of_the_whole() {
        for (message, header) in [
            ("A: b\nMessage-ID: <1@x>\n\nbody\n\nmore", "A: b\r\nMessage-ID: <1@x>\r\n\r\n"),
            ("\nbody", "\r\n"),
            ("A: b", "A: b\r\n\r\n"),
            ("A: b\n", "A: b\r\n"),
        ] {
            let mut hasher = IdentityHasher::header_only();
            hasher.update(header.as_bytes());
            let (head, all) = (hasher.finish(None), whole(message.as_bytes()));
            assert_eq!((head.header, head.message_id), (all.header, all.message_id), "{message:?}");
            assert_eq!((head.content, head.loose), (None, None));
        }
        assert_ne!(whole(b"A: b\n\nx").header, whole(b"A: c\n\nx").header);
    }

    #[test]
    fn what_mail_programs_keep_for_themselves_does_not_count() {
        let original = whole(b"A: b\nMessage-ID: <1@x>\nZ: y\n\nbody\nStatus: O\n");
        for same in [
            "A: b\nMessage-ID: <1@x>\nZ: y\nContent-Length: 15\nLines: 2\n\nbody\nStatus: O\n",
            "A: b\nMessage-ID: <1@x>\nX-TUID: 9s8Yq3Yk2vMn\nZ: y\n\nbody\nStatus: O\n",
            "Status: RO\r\nA: b\r\nX-Status : F\r\n folded\r\nMessage-ID: <1@x>\r\nZ: y\r\n\r\nbody\r\nStatus: O\r\n",
        ] {
            let same = whole(same.as_bytes());
            assert_eq!((same.content, same.loose), (original.content, original.loose));
            assert_eq!((same.header, same.message_id), (original.header, original.message_id));
            assert_ne!(same.size, original.size);
        }
        for other in [
            "A: b\nMessage-ID: <1@x>\nZ: y\n\nbody\n",
            "A: b\nMessage-ID: <1@x>\nZ: y\nX-Lines: 1\n\nbody\nStatus: O\n",
        ] {
            assert_ne!(whole(other.as_bytes()).content, original.content);
        }
        assert_eq!(whole(b"A: b\nLines: 1").header, whole(b"A: b\n").header);
        assert_ne!(whole(b"A: b\nLines").content, whole(b"A: b\n").content);
    }

    #[test]
    fn message_ids_are_found_unfolded_and_trimmed() {
        let expected = whole(b"Message-ID: <one@x>\n\n").message_id;
        assert!(expected.is_some());
        for same in [
            "Subject: a\r\nmessage-id :\r\n\t< one@x >\r\n\r\n",
            "Message-ID: one@x\n",
            "Message-ID: <one@x> (comment)\nMessage-ID: <two@x>\n\n",
            "Message-ID:\n <one@x>",
        ] {
            assert_eq!(whole(same.as_bytes()).message_id, expected, "{same:?}");
        }
        for none in
            ["", "\nMessage-ID: <one@x>\n", "Message-ID:\n\n", "X-Message-ID: <one@x>\n\n", "Message-ID: <>\n\n"]
        {
            assert_eq!(whole(none.as_bytes()).message_id, None, "{none:?}");
        }
        assert_ne!(whole(b"Message-ID: <two@x>\n\n").message_id, expected);
    }

    #[test]
    fn the_loose_form_survives_known_servers() {
        let original = "S: \u{2014}\u{e9}\n\na\rb\0c\n".as_bytes();
        let cyrus = "S: XXXXX\r\n\r\na\rb\0c\r\n".as_bytes();
        let courier = "S: \u{2014}\u{e9}\r\n\r\nab\0c\r\n\r\n".as_bytes();
        let dovecot = &original.iter().map(|&byte| if byte == 0 { 0x80 } else { byte }).collect::<Vec<_>>();
        for stored in [cyrus, courier, dovecot] {
            assert_eq!(whole(stored).loose, whole(original).loose);
            assert_ne!(whole(stored).content, whole(original).content);
        }
        assert_ne!(whole(b"S: a\n\nb\n\nc").loose, whole(b"S: a\n\nb\nc").loose);
    }
}

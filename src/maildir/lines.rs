//! Line ends: CRLF on the wire, LF in files, every other byte as it is.

/// Makes files' line ends of the wire's, piece by piece.
///
/// A CRLF that follows another CR stays: written as LF it would leave a CRLF in the file, which reads as the end of an
/// ordinary line, and a byte would be lost on the way back.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ToFile {
    /// The last byte was a CR, and it is not written yet.
    pending: bool,
    /// The byte before that was a CR, too.
    doubled: bool,
}

impl ToFile {
    /// Appends what the next piece becomes.
    pub(super) fn convert(&mut self, mut wire: &[u8], out: &mut Vec<u8>) {
        out.reserve(wire.len() + 1);
        while let Some(&first) = wire.first() {
            if self.pending {
                let ends_line = first == b'\n' && !self.doubled;
                if !ends_line {
                    out.push(b'\r');
                }
            }
            let until_cr = memchr::memchr(b'\r', wire);
            let (plain, rest) = wire.split_at(until_cr.unwrap_or(wire.len()));
            out.extend_from_slice(plain);
            self.doubled = self.pending && until_cr == Some(0);
            self.pending = until_cr.is_some();
            wire = rest.get(1..).unwrap_or_default();
        }
    }

    /// Appends what was held back, at the message's end.
    pub(super) fn finish(self, out: &mut Vec<u8>) {
        out.extend(self.pending.then_some(b'\r'));
    }
}

/// Makes the wire's line ends of files', piece by piece: a LF that no CR stands before gets one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ToWire {
    after_cr: bool,
}

impl ToWire {
    /// Returns how many bytes the next piece becomes.
    pub(super) fn measure(&mut self, file: &[u8]) -> u64 {
        let after_cr = |at: usize| match at.checked_sub(1) {
            Some(before) => file.get(before) == Some(&b'\r'),
            None => self.after_cr,
        };
        let lone = memchr::memchr_iter(b'\n', file).filter(|at| !after_cr(*at)).count();
        self.after_cr = file.last().map_or(self.after_cr, |last| *last == b'\r');
        (file.len() + lone) as u64
    }

    /// Fills `out` with what `file` becomes, and returns how much was taken and how much was filled. Takes nothing only
    /// if `file` is empty or `out` has no room.
    pub(super) fn convert(&mut self, file: &[u8], out: &mut [u8]) -> (usize, usize) {
        let (mut taken, mut filled) = (0, 0);
        while let (Some(&first), Some(room)) = (file.get(taken), out.get_mut(filled..).filter(|room| !room.is_empty()))
        {
            // With no room for the LF it comes next time, behind this CR.
            let missing_cr = first == b'\n' && !self.after_cr;
            let rest = file.get(taken..).unwrap_or_default();
            let run = match first {
                b'\n' => 1,
                _ => memchr::memchr(b'\n', rest).unwrap_or(rest.len()).min(room.len()),
            };
            let bytes = if missing_cr { b"\r" } else { rest.get(..run).unwrap_or_default() };
            room.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = *byte);
            filled += bytes.len();
            taken += if missing_cr { 0 } else { bytes.len() };
            self.after_cr = bytes.last() == Some(&b'\r');
        }
        (taken, filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn to_file(wire: &[u8], cuts: &[usize]) -> Vec<u8> {
        let mut cuts: Vec<usize> = cuts.iter().map(|at| (*at).min(wire.len())).chain([0, wire.len()]).collect();
        cuts.sort_unstable();
        let (mut lines, mut out) = (ToFile::default(), Vec::new());
        cuts.windows(2).for_each(|cut| lines.convert(&wire[cut[0]..cut[1]], &mut out));
        lines.finish(&mut out);
        out
    }

    fn to_wire(mut file: &[u8], room: usize) -> Vec<u8> {
        let (mut lines, mut out, mut buffer) = (ToWire::default(), Vec::new(), vec![0; room]);
        while !file.is_empty() {
            let (taken, filled) = lines.convert(&file[..file.len().min(5)], &mut buffer);
            assert!(taken + filled > 0);
            out.extend_from_slice(&buffer[..filled]);
            file = &file[taken..];
        }
        out
    }

    fn naive_file(wire: &[u8]) -> Vec<u8> {
        let before = |at: usize| at.checked_sub(1).map(|at| wire[at]);
        let dropped = |at: usize| wire[at] == b'\r' && wire.get(at + 1) == Some(&b'\n') && before(at) != Some(b'\r');
        (0..wire.len()).filter(|at| !dropped(*at)).map(|at| wire[at]).collect()
    }

    fn naive_wire(file: &[u8]) -> Vec<u8> {
        let lone = |at: usize| file[at] == b'\n' && (at == 0 || file[at - 1] != b'\r');
        (0..file.len()).flat_map(|at| if lone(at) { vec![b'\r', b'\n'] } else { vec![file[at]] }).collect()
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(0), Just(b'a')], 0..40)
    }

    proptest! {
        #[test]
        fn conversion_does_not_depend_on_the_cuts(wire in bytes(), cuts in proptest::collection::vec(0usize..40, 0..6)) {
            prop_assert_eq!(to_file(&wire, &cuts), naive_file(&wire));
        }

        #[test]
        fn reading_back_gives_what_was_on_the_wire(bytes in bytes(), room in 1usize..7) {
            let wire = naive_wire(&bytes);
            prop_assert_eq!(&to_wire(&bytes, room), &wire);
            prop_assert_eq!(ToWire::default().measure(&bytes), wire.len() as u64);
            prop_assert_eq!(to_wire(&to_file(&wire, &[]), room), wire, "not a byte lost or added on the way");
        }
    }

    #[test]
    fn only_the_ends_of_lines_change() {
        assert_eq!(to_file(b"a\r\nb\nc\rd\r\n\r", &[]), b"a\nb\nc\rd\n\r");
        assert_eq!(to_file(b"a\r\r\nb\r\n", &[2, 3]), b"a\r\r\nb\n");
        assert_eq!(to_wire(b"a\nb\r\nc\rd\n", 3), b"a\r\nb\r\nc\rd\r\n");
    }
}

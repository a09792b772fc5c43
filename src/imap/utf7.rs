//! Modified UTF-7, in which servers spell mailbox names (RFC 3501 section 5.1.3).

use base64::Engine as _;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &IMAP_MUTF7,
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Writes text in modified UTF-7.
pub(super) fn encode(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut shifted: Vec<u8> = Vec::new();
    for c in text.chars() {
        match u8::try_from(c) {
            Ok(byte @ 0x20..=0x7e) => {
                flush(&mut shifted, &mut out);
                out.extend_from_slice(if byte == b'&' { b"&-" } else { std::slice::from_ref(&byte) });
            }
            _ => shifted.extend(c.encode_utf16(&mut [0; 2]).iter().flat_map(|unit| unit.to_be_bytes())),
        }
    }
    flush(&mut shifted, &mut out);
    out
}

fn flush(shifted: &mut Vec<u8>, out: &mut Vec<u8>) {
    if !shifted.is_empty() {
        out.push(b'&');
        out.extend_from_slice(BASE64.encode(&*shifted).as_bytes());
        out.push(b'-');
        shifted.clear();
    }
}

/// Reads modified UTF-7; `None` if it is none.
pub(super) fn decode(name: &[u8]) -> Option<String> {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'&' {
            (byte.is_ascii_graphic() || byte == b' ').then(|| out.push(char::from(byte)))?;
            continue;
        }
        let end = rest.iter().position(|&byte| byte == b'-')?;
        let (sequence, after) = rest.split_at_checked(end)?;
        rest = after.get(1..)?;
        if sequence.is_empty() {
            out.push('&');
        } else {
            out.push_str(&decode_sequence(sequence)?);
        }
    }
    Some(out)
}

fn decode_sequence(sequence: &[u8]) -> Option<String> {
    let bytes = BASE64.decode(sequence).ok()?;
    let (pairs, odd) = bytes.as_chunks::<2>();
    let units: Vec<u16> = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
    odd.is_empty().then(|| String::from_utf16(&units).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_names() {
        for (text, wire) in [
            ("Entwürfe", "Entw&APw-rfe"),
            ("台北/日本語", "&U,BTFw-/&ZeVnLIqe-"),
            ("a&b", "a&-b"),
            ("😀", "&2D3eAA-"),
            ("~peter", "~peter"),
            ("tab\there", "tab&AAk-here"),
        ] {
            assert_eq!(encode(text), wire.as_bytes(), "{text}");
            assert_eq!(decode(wire.as_bytes()).as_deref(), Some(text));
        }
    }

    #[test]
    fn what_is_no_utf7_is_refused() {
        for bad in [&b"a&b"[..], b"&AP", b"&2D0-", b"&AA-", b"caf\xc3\xa9", b"&!!-"] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(text in "\\PC{0,20}|[ -~]{0,20}|\\x00\\x07é") {
            let wire = encode(&text);
            prop_assert!(wire.iter().all(|byte| (0x20..0x7f).contains(byte)));
            prop_assert_eq!(decode(&wire), Some(text));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _text = decode(&bytes);
        }
    }
}

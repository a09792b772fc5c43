//! What a server sends: framing, tokens, responses.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    mailtide::imap::fuzz::replies(bytes);
});

//! `dovecot-keywords`, as other programs may leave it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| mailtide::maildir::fuzz::keywords(text));

//! Names of files in `cur`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| mailtide::maildir::fuzz::file_name(text));

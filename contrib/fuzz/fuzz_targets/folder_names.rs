//! Folders' names, given directories.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| mailtide::maildir::fuzz::folder_name(text));

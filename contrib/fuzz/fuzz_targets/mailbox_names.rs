//! Names that a server lists, one a line.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| mailtide::imap::fuzz::mailbox_names(bytes));

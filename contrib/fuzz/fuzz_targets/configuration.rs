//! The configuration: read, or refused with a place in the file.
#![no_main]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use libfuzzer_sys::fuzz_target;
use mailtide::config::Config;
use mailtide::config::paths::Places;

fuzz_target!(|text: &str| {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let places = Places { home: "/home/me".into(), config: file.clone(), state: "/home/me/state".into() };
    if let Err(error) = Config::load(&file, &places) {
        assert!(!error.message.is_empty());
    }
});

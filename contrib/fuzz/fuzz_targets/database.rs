//! The database: bytes of a whole one are exchanged; it is opened and read, or told apart, and never touched.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use mailtide::model::MailboxName;
use mailtide::state::Database;
use mailtide::store::Journal;

/// What is exchanged: four bytes say where, the fifth how much, the rest is what is put there.
fn damaged(mut whole: Vec<u8>, mut changes: &[u8]) -> Vec<u8> {
    while let [a, b, c, d, len, rest @ ..] = changes {
        let at = u32::from_le_bytes([*a, *b, *c, *d]) as usize % whole.len();
        let len = usize::from(*len).min(rest.len()).min(whole.len() - at);
        whole[at..at + len].copy_from_slice(&rest[..len]);
        changes = &rest[len..];
    }
    whole
}

fuzz_target!(|changes: &[u8]| {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("account.sqlite3");
    let mut database = Database::open(&path).unwrap();
    database.add_mailbox(&MailboxName::inbox(), &MailboxName::inbox()).unwrap();
    drop(database);
    let bytes = damaged(fs::read(&path).unwrap(), changes);
    fs::write(&path, &bytes).unwrap();
    let read = Database::open(&path).and_then(|mut database| {
        database.header()?;
        for row in database.mailboxes()? {
            database.messages(row.id)?;
        }
        database.intents().map(drop)
    });
    if read.is_err() {
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
});

//! Scans made before they were asked for.

use std::collections::BTreeMap;

use super::scan::Seen;
use crate::model::MailboxName;
use crate::reconcile::snapshot::LocalSnapshot;

/// So many messages may be held this way, in all maildirs together: what is scanned when it is asked for is let go of
/// one by one.
const MOST: usize = 50_000;

/// Maildirs as they were, by their names then.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    seen: BTreeMap<MailboxName, Seen>,
    messages: usize,
}

impl Ahead {
    /// Keeps a scan. One that can't prove later that it is still true is worth nothing.
    pub(super) fn put(&mut self, mailbox: &MailboxName, seen: Seen) {
        self.take(mailbox);
        if seen.snapshot.stamp.is_some() {
            self.messages += seen.snapshot.entries.len();
            self.seen.insert(mailbox.clone(), seen);
        }
    }

    /// Gives a scan back.
    pub(super) fn take(&mut self, mailbox: &MailboxName) -> Option<Seen> {
        let seen = self.seen.remove(mailbox)?;
        self.messages -= seen.snapshot.entries.len();
        Some(seen)
    }

    /// Returns a scan.
    pub(super) fn get(&self, mailbox: &MailboxName) -> Option<&LocalSnapshot> {
        self.seen.get(mailbox).map(|seen| &seen.snapshot)
    }

    /// Returns true if more may be kept.
    pub(super) fn has_room(&self) -> bool {
        self.messages < MOST
    }
}

#[cfg(test)]
mod tests {
    use crate::maildir::{Layout, Maildir, Settings, stamp};
    use crate::model::{KeywordLetters, MailboxName};
    use crate::store::LocalStore;
    use std::fs::{self, File};
    use std::path::{Path, PathBuf};
    use std::time::{Duration, SystemTime};

    fn inbox() -> MailboxName {
        MailboxName::inbox()
    }

    fn fill(maildir: &Path, text: &str) {
        ["cur", "new", "tmp"].iter().for_each(|part| fs::create_dir_all(maildir.join(part)).unwrap());
        fs::write(maildir.join("cur/1.a:2,Sa"), text).unwrap();
        fs::write(maildir.join("new/2.b"), text).unwrap();
        fs::write(maildir.join("dovecot-keywords"), "0 work\n").unwrap();
    }

    /// Returns when what is changed from now on has other times than what was changed until now.
    fn tick(dir: &Path) {
        let time = || {
            let file = dir.join("tick");
            fs::write(&file, "").unwrap();
            fs::metadata(file).unwrap().modified().unwrap()
        };
        let before = time();
        while time() == before {}
    }

    /// Returns a store by whose clock everything is old.
    fn store(root: &Path) -> Maildir {
        let settings = Settings { root: root.to_owned(), layout: Layout::Fs, trash: root.with_extension("trash") };
        let mut store = Maildir::new(settings);
        let file = File::create(root.join("clock")).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_secs(10)).unwrap();
        store.clock.learn(stamp::wall_ns(), &file.metadata().unwrap());
        store
    }

    #[test]
    fn what_was_read_ahead_is_taken_only_if_it_is_still_so() {
        let acts: [fn(&Path); 8] = [
            |_| {},
            |inbox| fs::write(inbox.join("new/3.c"), "three").unwrap(),
            |inbox| fs::write(inbox.join("cur/3.c:2,"), "three").unwrap(),
            |inbox| fs::remove_file(inbox.join("cur/1.a:2,Sa")).unwrap(),
            |inbox| fs::rename(inbox.join("cur/1.a:2,Sa"), inbox.join("cur/1.a:2,FSa")).unwrap(),
            |inbox| fs::rename(inbox.join("new/2.b"), inbox.join("cur/2.b:2,S")).unwrap(),
            |inbox| fs::write(inbox.join("dovecot-keywords"), "0 home\n").unwrap(),
            |inbox| {
                fs::rename(inbox, inbox.with_extension("gone")).unwrap();
                fill(inbox, "another");
            },
        ];
        for (at, act) in acts.into_iter().enumerate() {
            let dir = tempfile::tempdir().unwrap();
            let path: PathBuf = dir.path().join("INBOX");
            fill(&path, "text");
            tick(dir.path());
            let mut store = store(dir.path());
            assert!(store.read_ahead(&inbox(), &KeywordLetters::new()).unwrap());
            assert_eq!(store.ahead.messages, 2);
            act(&path);
            let seen = store.observe(&inbox(), &KeywordLetters::new()).unwrap();
            assert_eq!((store.ahead.seen.len(), store.ahead.messages), (0, 0));
            assert_eq!(seen, store.observe(&inbox(), &KeywordLetters::new()).unwrap(), "act {at}");
        }
    }
}

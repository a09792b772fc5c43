//! Scans and listings made before they were asked for.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::list::Stamps;
use super::scan::Seen;
use crate::model::MailboxName;
use crate::reconcile::snapshot::{LocalListing, LocalSnapshot};

/// So many messages may be held this way, in all maildirs together: what is scanned when it is asked for is let go of
/// one by one.
const MOST: usize = 50_000;

/// How long a listing counts.
const FRESH: Duration = Duration::from_secs(2);

/// What tells a root from another that is mounted there.
type Id = Option<(u64, u64)>;

/// Returns which directory a root is.
pub(super) fn id(root: &Path) -> Id {
    fs::metadata(root).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// A listing.
#[derive(Debug)]
struct Listed {
    made: Instant,
    root: Id,
    listing: LocalListing,
    stamps: Stamps,
}

/// Maildirs as they were, by their names then.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    seen: BTreeMap<MailboxName, Seen>,
    messages: usize,
    listed: Option<Listed>,
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

    /// Keeps a listing of a root that was this before.
    pub(super) fn put_listing(&mut self, root: Id, listing: LocalListing, stamps: Stamps) {
        self.listed = Some(Listed { made: Instant::now(), root, listing, stamps });
    }

    /// Gives the listing back, if it is young, and the root still the one that was listed: what was mounted since must not
    /// look empty.
    pub(super) fn take_listing(&mut self, root: &Path) -> Option<(LocalListing, Stamps)> {
        let listed = self.listed.take()?;
        let counts = listed.made.elapsed() < FRESH && listed.root.is_some() && listed.root == id(root);
        counts.then_some((listed.listing, listed.stamps))
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
    use crate::reconcile::snapshot::{Entries, LocalListing, LocalSnapshot};
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
        store_by(root, SystemTime::now() + Duration::from_secs(10))
    }

    /// Returns a store by whose clock it is this time.
    fn store_by(root: &Path, time: SystemTime) -> Maildir {
        let settings = Settings { root: root.to_owned(), layout: Layout::Fs, trash: root.with_extension("trash") };
        let mut store = Maildir::new(settings);
        let file = File::create(root.join("clock")).unwrap();
        file.set_modified(time).unwrap();
        store.clock.learn(stamp::wall_ns(), &file.metadata().unwrap());
        store
    }

    fn names(listing: LocalListing) -> Vec<String> {
        listing.maildirs.into_iter().map(|maildir| maildir.name.to_string()).collect()
    }

    #[test]
    fn a_listing_made_ahead_counts_once_and_for_the_root_that_was_listed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fill(&root.join("INBOX"), "text");
        let mut store = store(&root);
        assert_eq!(names(store.list_ahead().unwrap()), ["INBOX"]);
        fill(&root.join("Other"), "text");
        assert_eq!(names(store.list().unwrap()), ["INBOX"]);
        assert_eq!(names(store.list().unwrap()), ["INBOX", "Other"]);
        // As an empty directory looks before something is mounted there.
        fs::create_dir(dir.path().join("empty")).unwrap();
        fs::rename(&root, dir.path().join("away")).unwrap();
        fs::rename(dir.path().join("empty"), &root).unwrap();
        assert!(names(store.list_ahead().unwrap()).is_empty());
        fs::rename(&root, dir.path().join("empty")).unwrap();
        fs::rename(dir.path().join("away"), &root).unwrap();
        assert_eq!(names(store.list().unwrap()), ["INBOX", "Other"]);
    }

    /// What may become of a maildir.
    fn acts() -> [fn(&Path); 8] {
        [
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
        ]
    }

    #[test]
    fn what_was_read_ahead_or_given_back_is_taken_only_if_it_is_still_so() {
        type Begin = fn(&mut Maildir, &KeywordLetters);
        let read: Begin = |store, letters| assert!(store.read_ahead(&inbox(), letters).unwrap());
        let given_back: Begin = |store, letters| {
            let seen = store.observe(&inbox(), letters).unwrap();
            store.take_back(&inbox(), seen);
        };
        let both = [read, given_back].into_iter().flat_map(|begin| acts().map(|act| (begin, act)));
        for (at, (begin, act)) in both.enumerate() {
            let dir = tempfile::tempdir().unwrap();
            let path: PathBuf = dir.path().join("INBOX");
            fill(&path, "text");
            tick(dir.path());
            let mut store = store(dir.path());
            let letters = KeywordLetters::new();
            begin(&mut store, &letters);
            assert_eq!(store.ahead.messages, 2);
            act(&path);
            let seen = store.observe(&inbox(), &letters).unwrap();
            assert_eq!((store.ahead.seen.len(), store.ahead.messages), (0, 0));
            assert_eq!(seen, store.observe(&inbox(), &letters).unwrap(), "act {at}");
        }
    }

    #[test]
    fn a_maildir_is_unchanged_only_if_a_scan_would_show_the_same() {
        for (at, act) in acts().into_iter().enumerate() {
            let dir = tempfile::tempdir().unwrap();
            let path: PathBuf = dir.path().join("INBOX");
            fill(&path, "text");
            tick(dir.path());
            let mut store = store(dir.path());
            let before = store.observe(&inbox(), &KeywordLetters::new()).unwrap();
            let (stamp, letters) = (before.stamp.unwrap(), before.letters.clone().unwrap());
            act(&path);
            let unchanged = store.unchanged(&inbox(), &stamp, &letters).unwrap();
            let same = store.observe(&inbox(), &letters).unwrap() == before;
            assert_eq!(unchanged, same.then_some(LocalSnapshot { entries: Entries::new(), ..before }), "act {at}");
            assert_eq!(same, at == 0);
        }
    }

    #[test]
    fn what_may_have_changed_since_without_its_times_telling_is_not_unchanged() {
        let dir = tempfile::tempdir().unwrap();
        fill(&dir.path().join("INBOX"), "text");
        let before = SystemTime::now() - Duration::from_secs(10);
        let (mut young, mut old) = (store_by(dir.path(), before), store(dir.path()));
        let seen = old.observe(&inbox(), &KeywordLetters::new()).unwrap();
        let (stamp, letters) = (seen.stamp.unwrap(), seen.letters.unwrap());
        assert!(old.unchanged(&inbox(), &stamp, &letters).unwrap().is_some());
        assert!(young.unchanged(&inbox(), &stamp, &letters).unwrap().is_none());
        assert!(
            old.unchanged(&inbox(), &stamp, &KeywordLetters::new()).unwrap().is_none(),
            "letters mean something else"
        );
    }

    #[test]
    fn a_scan_older_than_the_last_is_not_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let path: PathBuf = dir.path().join("INBOX");
        fill(&path, "text");
        tick(dir.path());
        let mut store = store(dir.path());
        let letters = KeywordLetters::new();
        let old = store.observe(&inbox(), &letters).unwrap();
        fs::write(path.join("new/3.c"), "three").unwrap();
        tick(dir.path());
        let new = store.observe(&inbox(), &letters).unwrap();
        store.take_back(&inbox(), old);
        assert_eq!(store.observe(&inbox(), &letters).unwrap(), new);
    }
}

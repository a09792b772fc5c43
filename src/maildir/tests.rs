//! The whole interface on real directories.

use super::*;
use crate::model::{Flag, IdentityHasher};
use crate::store::LocalErrorKind;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, SystemTime};

struct Account {
    _dir: tempfile::TempDir,
    store: Maildir,
    inbox: PathBuf,
}

const MESSAGE: &[u8] = b"Message-ID: <1@x>\r\nSubject: a\r\n\r\nbody\r\nbare\rCR\r\n";

fn inbox() -> MailboxName {
    MailboxName::inbox()
}

fn account() -> Account {
    let dir = tempfile::tempdir().unwrap();
    let (root, trash) = (dir.path().join("Mail"), dir.path().join("state/trash"));
    let mut store = Maildir::new(Settings { root: root.clone(), layout: Layout::Fs, trash });
    store.create(&inbox()).unwrap();
    Account { _dir: dir, store, inbox: root.join("INBOX") }
}

impl Account {
    fn write(&mut self, wire: &[u8]) {
        self.store.stage(&inbox()).unwrap();
        wire.chunks(7).for_each(|piece| self.store.stage_write(piece).unwrap());
        self.store.stage_finish(Some(Timestamp(1_000_000_000))).unwrap();
    }

    fn synced(&mut self) -> Vec<Staged> {
        self.store.seal().unwrap();
        self.store.sealed().unwrap()
    }

    fn stage(&mut self, wire: &[u8]) -> Staged {
        self.write(wire);
        self.synced().pop().unwrap()
    }

    fn deliver(&mut self, flags: &[Flag]) -> UniqueName {
        let unique = self.stage(MESSAGE).unique;
        let done = self.store.publish(&inbox(), &unique, &FlagSet::of(flags), &KeywordLetters::new()).unwrap();
        assert_eq!(done, Edit::Done(()));
        unique
    }

    fn entry(&mut self, unique: &UniqueName) -> LocalEntry {
        self.store.observe(&inbox(), &KeywordLetters::new()).unwrap().entries[unique].clone()
    }

    fn files(&self, part: &str) -> Vec<String> {
        let entries = fs::read_dir(self.inbox.join(part)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn path(&self, unique: &UniqueName, entry: &LocalEntry) -> PathBuf {
        name::path(&self.inbox, unique, entry)
    }
}

fn add(flags: &[Flag]) -> FlagDelta {
    FlagDelta { add: FlagSet::of(flags), remove: FlagSet::new() }
}

fn body(source: Edit<Box<dyn BodySource>>) -> Box<dyn BodySource> {
    let Edit::Done(body) = source else { panic!("changed") };
    body
}

fn whole(body: &mut dyn BodySource) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), [0; 5]);
    loop {
        match body.read(&mut buffer).unwrap() {
            0 => return all,
            len => all.extend_from_slice(&buffer[..len]),
        }
    }
}

#[test]
fn a_message_arrives_with_its_date_and_goes_out_as_it_came() {
    let mut account = account();
    let staged = account.stage(MESSAGE);
    assert_eq!(account.files("tmp"), [staged.unique.as_str()]);
    let done = account.store.publish(&inbox(), &staged.unique, &FlagSet::new(), &KeywordLetters::new()).unwrap();
    assert_eq!(done, Edit::Done(()));
    account.store.sync(&inbox()).unwrap();
    let entry = account.entry(&staged.unique);
    let path = account.path(&staged.unique, &entry);
    assert!(entry.in_new && account.files("tmp").is_empty());
    assert_eq!(fs::read(&path).unwrap(), b"Message-ID: <1@x>\nSubject: a\n\nbody\nbare\rCR\n");
    let meta = fs::metadata(&path).unwrap();
    assert_eq!((meta.mtime(), meta.mode() & 0o777), (1_000_000_000, 0o600));
    assert_eq!(staged.stat, stamp::file_stat(&meta));

    let mut hasher = IdentityHasher::whole();
    hasher.update(MESSAGE);
    let expected = hasher.finish(Some(Timestamp(1_000_000_000)));
    assert_eq!((Some(staged.content), staged.message_id), (expected.content, expected.message_id));
    assert_eq!(staged.wire_size, MESSAGE.len() as u64);
    let identified = account.store.identify(&inbox(), &staged.unique, &entry).unwrap();
    assert_eq!(identified, Edit::Done((expected, staged.stat)));

    let mut source = body(account.store.read(&inbox(), &staged.unique, &entry).unwrap());
    assert_eq!((source.size(), source.has_nul()), (MESSAGE.len() as u64, false));
    assert_eq!(whole(&mut *source), MESSAGE);
}

#[test]
fn many_messages_are_made_durable_together() {
    let mut account = account();
    (0..20).for_each(|_| account.write(MESSAGE));
    let names: Vec<_> = account.synced().into_iter().map(|staged| staged.unique).collect();
    fs::remove_file(account.inbox.join("tmp").join(names[0].as_str())).unwrap();
    let published = names.iter().map(|unique| {
        account.store.publish(&inbox(), unique, &FlagSet::of(&[Flag::Seen]), &KeywordLetters::new()).unwrap()
    });
    let published: Vec<_> = published.collect();
    assert_eq!(published[0], Edit::Changed);
    assert!(published[1..].iter().all(|done| *done == Edit::Done(())));
    assert_eq!(account.files("cur").len(), 19);
}

#[test]
fn once_a_message_could_not_be_written_none_is_taken_for_durable() {
    let mut account = account();
    account.write(MESSAGE);
    let tmp = account.inbox.join("tmp");
    let write = |account: &mut Account| {
        // The first that is refused, and whether at once, is up to the thread that writes.
        let staged = account.store.stage(&inbox()).and_then(|()| account.store.stage_write(MESSAGE));
        drop(staged.and_then(|()| account.store.stage_finish(None)));
    };
    fs::rename(&tmp, account.inbox.join("away")).unwrap();
    for _ in 0..2 {
        write(&mut account);
        assert!(account.store.seal().and_then(|()| account.store.sealed()).is_err());
        drop(fs::create_dir(&tmp));
        assert!(account.files("tmp").is_empty());
    }
}

#[test]
fn what_is_discarded_leaves_nothing_behind() {
    let mut account = account();
    for _ in 0..2 {
        account.store.stage(&inbox()).unwrap();
        account.store.stage_write(&MESSAGE.repeat(10_000)).unwrap();
    }
    assert!(account.synced().is_empty());
    assert_eq!(account.files("tmp").len(), 1, "starting anew discards what was begun");
    account.store.stage_discard().unwrap();
    account.store.stage_discard().unwrap();
    assert!(account.synced().is_empty());
    assert!(account.files("tmp").is_empty());
    assert!(account.store.stage_write(b"x").is_err() && account.store.stage_finish(None).is_err());
}

#[test]
fn what_was_not_made_durable_does_not_outlive_the_run() {
    let mut account = account();
    let kept = account.stage(MESSAGE).unique;
    (0..3).for_each(|_| account.write(MESSAGE));
    let Account { _dir, store, inbox } = account;
    drop(store);
    let left: Vec<_> = fs::read_dir(inbox.join("tmp")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [kept.as_str()], "only what may have been journaled");
}

#[test]
fn a_missing_tmp_is_made_but_a_missing_maildir_is_not() {
    let mut account = account();
    fs::remove_dir(account.inbox.join("tmp")).unwrap();
    account.deliver(&[]);
    let gone = MailboxName::parse("gone").unwrap();
    assert_eq!(account.store.stage(&gone).unwrap_err().kind, LocalErrorKind::Item);
    assert_eq!(account.store.observe(&gone, &KeywordLetters::new()).unwrap_err().kind, LocalErrorKind::Item);
    assert!(!account.inbox.with_file_name("gone").exists());
}

#[test]
fn publishing_never_replaces_a_file() {
    let mut account = account();
    let unique = account.stage(MESSAGE).unique;
    let taken = account.inbox.join("new").join(unique.as_str());
    fs::write(&taken, "another").unwrap();
    let refused = account.store.publish(&inbox(), &unique, &FlagSet::new(), &KeywordLetters::new()).unwrap_err();
    assert_eq!(refused.kind, LocalErrorKind::Item);
    assert_eq!(fs::read(&taken).unwrap(), b"another");
    assert_eq!(account.files("tmp").len(), 1);
}

#[test]
fn flags_change_on_the_name_and_in_cur() {
    let mut account = account();
    let unique = account.deliver(&[]);
    let mut letters = KeywordLetters::new();
    letters.assign(b'a', Keyword::new("work").unwrap());
    let change = |account: &mut Account, delta: &FlagDelta| {
        let entry = account.entry(&unique);
        let done = account.store.set_flags(&inbox(), &unique, &entry, delta, &letters).unwrap();
        assert_eq!(done, Edit::Done(()));
        account.entry(&unique)
    };
    assert!(change(&mut account, &FlagDelta::default()).in_new);
    let work = FlagSet::from_parts(1, [Keyword::new("work").unwrap()]);
    let entry = change(&mut account, &FlagDelta { add: work.clone(), remove: FlagSet::new() });
    assert_eq!((entry.in_new, &*entry.info), (false, "2,Sa"));
    let entry = change(&mut account, &FlagDelta { add: FlagSet::new(), remove: work });
    assert_eq!((entry.in_new, &*entry.info), (false, "2,"));
}

/// Where names have no case, the two names are one.
#[test]
fn a_keyword_letter_that_goes_as_its_capital_comes() {
    let mut account = account();
    let unique = account.deliver(&[Flag::Seen]);
    let mut letters = KeywordLetters::new();
    letters.assign(b's', Keyword::new("work").unwrap());
    let deltas = [("", "\\Seen", "2,"), ("work", "", "2,s"), ("\\Seen", "work", "2,S")];
    for (add, remove, info) in deltas {
        let [add, remove] = [add, remove].map(|word| match word {
            "" => FlagSet::new(),
            "\\Seen" => FlagSet::of(&[Flag::Seen]),
            word => FlagSet::from_parts(0, [Keyword::new(word).unwrap()]),
        });
        let entry = account.entry(&unique);
        let delta = FlagDelta { add, remove };
        assert_eq!(account.store.set_flags(&inbox(), &unique, &entry, &delta, &letters).unwrap(), Edit::Done(()));
        assert_eq!(account.files("cur"), [name::format(&unique, info)]);
    }
}

#[test]
fn a_file_that_changed_since_it_was_observed_is_left_alone() {
    let mut account = account();
    let unique = account.deliver(&[Flag::Seen]);
    let entry = account.entry(&unique);
    let path = account.path(&unique, &entry);
    let everything_is_refused = |account: &mut Account| {
        let store = &mut account.store;
        assert_eq!(store.unlink(&inbox(), &unique, &entry, None).unwrap(), Edit::Changed);
        assert_eq!(store.keep(&inbox(), &unique, &entry, Timestamp(0)).unwrap(), Edit::Changed);
        assert_eq!(store.identify(&inbox(), &unique, &entry).unwrap(), Edit::Changed);
        assert!(matches!(store.read(&inbox(), &unique, &entry).unwrap(), Edit::Changed));
        assert_eq!(fs::read_dir(&store.settings.trash).unwrap().count(), 0);
    };
    fs::write(path.with_extension("again"), "saved again under its name").unwrap();
    fs::rename(path.with_extension("again"), &path).unwrap();
    everything_is_refused(&mut account);
    fs::rename(&path, path.with_extension("away")).unwrap();
    everything_is_refused(&mut account);
    let done = account.store.set_flags(&inbox(), &unique, &entry, &add(&[Flag::Draft]), &KeywordLetters::new());
    assert_eq!(done.unwrap(), Edit::Changed);
    assert_eq!(account.files("cur").len(), 1);
}

/// Its directories are held open while its files change. Once it is looked at again, the old one is nobody's, whatever is in it.
#[test]
fn a_file_is_found_in_a_maildir_that_came_to_the_place_of_another() {
    for looked_at in [false, true] {
        let mut account = account();
        let (unique, letters) = (account.deliver(&[]), KeywordLetters::new());
        let flag = |account: &mut Account, entry: &LocalEntry, flag| {
            account.store.set_flags(&inbox(), &unique, entry, &add(&[flag]), &letters).unwrap()
        };
        let entry = account.entry(&unique);
        assert_eq!(flag(&mut account, &entry, Flag::Seen), Edit::Done(()));
        let away = account.inbox.with_file_name("away");
        fs::rename(&account.inbox, &away).unwrap();
        ["tmp", "new", "cur"].iter().for_each(|part| fs::create_dir_all(account.inbox.join(part)).unwrap());
        let mut seen = LocalEntry { in_new: false, info: "2,S".into(), ..entry };
        fs::copy(away.join("cur").join(name::format(&unique, "2,S")), account.path(&unique, &seen)).unwrap();
        if looked_at {
            seen = account.entry(&unique);
        } else {
            fs::remove_dir_all(&away).unwrap();
        }
        assert_eq!(flag(&mut account, &seen, Flag::Flagged), Edit::Done(()));
        assert_eq!(account.files("cur"), [name::format(&unique, "2,FS")], "looked at: {looked_at}");
    }
}

#[test]
fn flags_never_cost_another_file_its_name() {
    let mut account = account();
    let unique = account.deliver(&[]);
    let entry = account.entry(&unique);
    let taken = account.inbox.join("cur").join(name::format(&unique, "2,S"));
    fs::write(&taken, "another").unwrap();
    let refused = account.store.set_flags(&inbox(), &unique, &entry, &add(&[Flag::Seen]), &KeywordLetters::new());
    assert_eq!(refused.unwrap_err().kind, LocalErrorKind::Item);
    assert_eq!(fs::read(taken).unwrap(), b"another");
    assert!(account.path(&unique, &entry).exists());
}

#[test]
fn what_is_removed_can_be_recovered() {
    let mut account = account();
    let unique = account.deliver(&[Flag::Seen]);
    let entry = account.entry(&unique);
    let content = fs::read(account.path(&unique, &entry)).unwrap();
    let kept = account.store.keep(&inbox(), &unique, &entry, Timestamp(7)).unwrap();
    let Edit::Done(trashed) = kept else { panic!("changed") };
    assert_eq!(trashed.file, format!("{unique}:2,S"));
    assert!(account.path(&unique, &entry).exists(), "keeping removes nothing");
    account.store.sync_kept().unwrap();
    assert_eq!(account.store.unlink(&inbox(), &unique, &entry, None).unwrap(), Edit::Done(()));
    assert_eq!(account.store.unlink(&inbox(), &unique, &entry, None).unwrap(), Edit::Changed);
    let trash = account.store.settings.trash.clone();
    assert_eq!(fs::read(trash.join(&trashed.kept_as)).unwrap(), content);
    assert_eq!(fs::metadata(&trash).unwrap().mode() & 0o777, 0o700);
    for bad in ["", ".", "..", "../trash/x", "/etc/passwd"] {
        assert!(account.store.drop_kept(bad).is_err(), "{bad:?}");
    }
    account.store.drop_kept(&trashed.kept_as).unwrap();
    account.store.drop_kept(&trashed.kept_as).unwrap();
    assert!(!trash.join(&trashed.kept_as).exists());
}

#[test]
fn the_trash_is_never_inside_the_maildir() {
    let mut account = account();
    let unique = account.deliver(&[]);
    let entry = account.entry(&unique);
    account.store.trash = Trash::new(account.inbox.join("trash"));
    let refused = account.store.keep(&inbox(), &unique, &entry, Timestamp(0)).unwrap_err();
    assert_eq!(refused.kind, LocalErrorKind::Unusable);
}

#[test]
fn an_empty_file_is_an_error_of_its_own() {
    let mut account = account();
    let unique = account.deliver(&[]);
    let entry = account.entry(&unique);
    fs::File::create(account.path(&unique, &entry)).unwrap();
    let error = account.store.identify(&inbox(), &unique, &entry).unwrap_err();
    assert_eq!(error.kind, LocalErrorKind::NoMessage);
    assert!(error.to_string().ends_with("is empty, which is no message"), "{error}");
    assert_eq!(account.store.read(&inbox(), &unique, &entry).unwrap_err().kind, LocalErrorKind::NoMessage);
}

#[test]
fn a_file_written_to_while_it_is_sent_is_noticed() {
    let mut account = account();
    let unique = account.deliver(&[]);
    let entry = account.entry(&unique);
    let path = account.path(&unique, &entry);
    let later = SystemTime::now() + Duration::from_secs(5);
    for edit in [
        (|path, _| fs::write(path, "longer than it was\n".repeat(2_000)).unwrap()) as fn(&Path, SystemTime),
        |path, _| fs::write(path, "short").unwrap(),
        |path, later| fs::File::options().write(true).open(path).unwrap().set_modified(later).unwrap(),
    ] {
        fs::write(&path, "a long one\n".repeat(2_000)).unwrap();
        let mut source = body(account.store.read(&inbox(), &unique, &entry).unwrap());
        edit(&path, later);
        assert_eq!(source.read(&mut [0; 1024]).unwrap_err().kind, LocalErrorKind::Item);
    }
}

#[test]
fn a_small_file_is_sent_as_it_was_when_it_was_read() {
    let mut account = account();
    let unique = account.deliver(&[]);
    let entry = account.entry(&unique);
    let path = account.path(&unique, &entry);
    fs::write(&path, "A: b\n\nc\n").unwrap();
    let mut source = body(account.store.read(&inbox(), &unique, &entry).unwrap());
    fs::write(&path, "something else\n").unwrap();
    let mut sent = [0; 1024];
    let count = source.read(&mut sent).unwrap();
    assert_eq!(&sent[..count], b"A: b\r\n\r\nc\r\n");
    assert!(!source.is_open());
}

#[test]
fn nul_bytes_are_told() {
    let mut account = account();
    let unique = account.stage(b"A: b\r\n\r\nx\0y\r\n").unique;
    account.store.publish(&inbox(), &unique, &FlagSet::new(), &KeywordLetters::new()).unwrap();
    let entry = account.entry(&unique);
    assert!(body(account.store.read(&inbox(), &unique, &entry).unwrap()).has_nul());
}

#[test]
fn letters_are_written_before_names_bear_them() {
    let mut account = account();
    fs::write(account.inbox.join("cur/1.x:2,a"), "foreign letter").unwrap();
    let words = [Keyword::new("work").unwrap(), Keyword::forwarded()].into();
    let letters = account.store.assign_letters(&inbox(), &KeywordLetters::new(), &words).unwrap();
    assert_eq!(letters.letter(&Keyword::new("work").unwrap()), Some(b'b'));
    assert_eq!(fs::read(account.inbox.join("dovecot-keywords")).unwrap(), b"1 work\n");
    let unique = account.stage(MESSAGE).unique;
    let flags = FlagSet::from_parts(0, words);
    account.store.publish(&inbox(), &unique, &flags, &letters).unwrap();
    let snapshot = account.store.observe(&inbox(), &letters).unwrap();
    assert_eq!((&*snapshot.entries[&unique].info, &snapshot.entries[&unique].flags), ("2,Pb", &flags));
    assert_eq!(snapshot.letters, Some(letters));
}

#[test]
fn marking_and_listing_go_through_the_interface() {
    let mut account = account();
    assert_eq!(account.store.root().unwrap(), Root::Unmarked { empty: false });
    let marker = Marker { database: "ab".to_owned(), run: 3, token: "cd".to_owned() };
    account.store.mark(&marker).unwrap();
    assert_eq!(account.store.root().unwrap(), Root::Marked(marker));
    let listing = account.store.list().unwrap();
    assert_eq!(listing.maildirs.iter().map(|maildir| &maildir.name).collect::<Vec<_>>(), [&inbox()]);
}

#[test]
fn an_unreadable_maildir_is_unusable_and_an_unreadable_file_is_alone() {
    if rustix::process::geteuid().is_root() {
        return;
    }
    let mut account = account();
    let unique = account.deliver(&[]);
    let entry = account.entry(&unique);
    fs::set_permissions(account.path(&unique, &entry), fs::Permissions::from_mode(0o000)).unwrap();
    assert_eq!(account.store.identify(&inbox(), &unique, &entry).unwrap_err().kind, LocalErrorKind::Item);
    fs::set_permissions(account.inbox.join("cur"), fs::Permissions::from_mode(0o000)).unwrap();
    let error = account.store.observe(&inbox(), &KeywordLetters::new()).unwrap_err();
    assert_eq!(error.kind, LocalErrorKind::Unusable);
}

/// A file moved on between two looks is one, whatever both looks saw; a copy and a hard link are two, once they are old
/// enough to be no half of a move.
#[test]
fn two_names_count_as_two_files_only_while_both_are_there() {
    let mut account = account();
    let other = MailboxName::parse("Other").unwrap();
    account.store.create(&other).unwrap();
    let unique = account.deliver(&[Flag::Seen]);
    let seen = account.entry(&unique);
    let (here, there) =
        (account.path(&unique, &seen), name::path(&account.inbox.with_file_name("Other"), &unique, &seen));
    let are_two = |account: &mut Account, entry: &LocalEntry| {
        account.store.are_two((&inbox(), &unique, &seen), (&other, &unique, entry)).unwrap()
    };
    fs::copy(&here, &there).unwrap();
    let copy = LocalEntry { inode: fs::metadata(&there).unwrap().ino(), ..seen.clone() };
    let begun = std::time::Instant::now();
    assert!(are_two(&mut account, &copy), "a copy");
    assert!(begun.elapsed() > Duration::from_millis(300), "not waited for, though it may be half a move");
    fs::remove_file(&there).unwrap();
    fs::hard_link(&here, &there).unwrap();
    assert!(are_two(&mut account, &seen), "a hard link");
    fs::remove_file(&here).unwrap();
    assert!(!are_two(&mut account, &seen), "the first is gone");
    fs::rename(&there, &here).unwrap();
    assert!(!are_two(&mut account, &seen), "the second is gone");
    fs::copy(&here, &there).unwrap();
    assert!(!are_two(&mut account, &seen), "another file than was seen");
}

/// What an unquiet scan missed is not always told by times that changed: within a tick they stay as they were.
#[test]
fn a_maildir_counts_as_stirred_until_a_scan_of_it_was_quiet() {
    let mut account = account();
    account.store.list().unwrap();
    let date = |time| fs::File::open(account.inbox.join("cur")).unwrap().set_modified(time).unwrap();
    // A clock a little behind: what changes within the next seconds could leave the time as it is.
    date(SystemTime::now() + Duration::from_secs(20));
    assert!(!account.store.observe(&inbox(), &KeywordLetters::new()).unwrap().quiet);
    assert!(!account.store.stirred().unwrap().is_empty());
    date(SystemTime::now());
    assert!(account.store.observe(&inbox(), &KeywordLetters::new()).unwrap().quiet);
    assert!(account.store.stirred().unwrap().is_empty());
}

#[test]
fn of_many_maildirs_made_durable_each_has_its_own_answer() {
    let mut account = account();
    let names = ["A", "gone", "B"].map(|name| MailboxName::parse(name).unwrap());
    [&names[0], &names[2]].into_iter().for_each(|name| account.store.create(name).unwrap());
    let synced = account.store.sync_all(&names.each_ref());
    assert_eq!(synced.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert!(account.store.sync_all(&[]).is_empty());
}

//! Renames on real directories, and what crashes leave of them.

use std::collections::BTreeMap;

use super::*;
use crate::maildir::stamp::FileClock;
use crate::maildir::{Layout, Maildir};
use crate::model::KeywordLetters;
use crate::store::{LocalErrorKind, LocalStore};

const LAYOUTS: [Layout; 2] = [Layout::Fs, Layout::MaildirPlusPlus];

struct Root {
    _dir: tempfile::TempDir,
    settings: Settings,
}

fn name(text: &str) -> MailboxName {
    MailboxName::parse(text).unwrap()
}

impl Root {
    fn new(layout: Layout) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { root: dir.path().join("Mail"), layout, trash: dir.path().join("trash") };
        Self { _dir: dir, settings }
    }

    /// With a message in `cur`, one in `new`, a delivery in `tmp` and a keywords file, each with the folder's name in it.
    fn with(layout: Layout, folders: &[&str]) -> Self {
        let root = Self::new(layout);
        for folder in folders {
            list::create(&root.settings, &name(folder)).unwrap();
            for file in ["cur/1.a:2,Sa", "new/2.b", "tmp/3.c", "dovecot-keywords"] {
                fs::write(root.path(folder).join(file), folder).unwrap();
            }
        }
        root
    }

    fn path(&self, folder: &str) -> PathBuf {
        list::locate(&self.settings, &name(folder)).unwrap()
    }

    fn rename(&self, from: &str, to: &str) -> Result<bool, LocalErrorKind> {
        rename(&self.settings, &name(from), &name(to)).map_err(|error| error.kind)
    }

    /// Where each folder's files are, by the folder whose name is in them.
    fn folders(&self) -> BTreeMap<String, String> {
        let listing = list::list(&self.settings, FileClock::default()).unwrap().0;
        assert_eq!(listing.rejected, []);
        let names = listing.maildirs.iter().map(|maildir| maildir.name.as_str().to_owned());
        names.map(|folder| (folder.clone(), self.holds(&folder))).collect()
    }

    fn holds(&self, folder: &str) -> String {
        let read = |file: &str| fs::read_to_string(self.path(folder).join(file)).unwrap_or_default();
        let all = ["cur/1.a:2,Sa", "new/2.b", "tmp/3.c", "dovecot-keywords"].map(read);
        assert!(all.iter().all(|content| *content == all[0]), "{folder}: {all:?}");
        all[0].clone()
    }

    fn everything(&self) -> Vec<PathBuf> {
        let mut found = vec![self.settings.root.clone()];
        let mut at = 0;
        while let Some(path) = found.get(at).cloned() {
            at += 1;
            found.extend(fs::read_dir(path).into_iter().flatten().map(|entry| entry.unwrap().path()));
        }
        found.sort();
        found
    }
}

fn pairs(all: &[(&str, &str)]) -> BTreeMap<String, String> {
    all.iter().map(|(folder, holds)| ((*folder).to_owned(), (*holds).to_owned())).collect()
}

#[test]
fn a_maildir_goes_with_all_that_is_its_own_and_a_second_time_is_no_error() {
    for layout in LAYOUTS {
        let root = Root::with(layout, &["A", "A/child", "Z"]);
        let cur = fs::metadata(root.path("A").join("cur")).unwrap().ino();
        for _ in 0..2 {
            assert_eq!(root.rename("A", "New/deep/B"), Ok(true));
            assert_eq!(root.folders(), pairs(&[("New/deep/B", "A"), ("A/child", "A/child"), ("Z", "Z")]));
            assert_eq!(fs::metadata(root.path("New/deep/B").join("cur")).unwrap().ino(), cur);
        }
    }
}

#[test]
fn a_directory_of_its_own_is_renamed_as_one_and_empty_parents_go() {
    for layout in LAYOUTS {
        let root = Root::with(layout, &["holder/deep/A"]);
        std::os::unix::fs::symlink("1.a", root.path("holder/deep/A").join("link")).unwrap();
        root.rename("holder/deep/A", "B").unwrap();
        // A crash can come before the last of the old directories has gone.
        fs::create_dir_all(root.path("holder/deep/A")).unwrap();
        root.rename("holder/deep/A", "B").unwrap();
        assert_eq!(root.folders(), pairs(&[("B", "holder/deep/A")]));
        assert!(root.path("B").join("link").is_symlink());
        assert!(!root.path("holder").exists());
        root.rename("B", "B").unwrap();
        assert_eq!(root.folders(), pairs(&[("B", "holder/deep/A")]));
    }
}

#[test]
fn into_its_own_child_and_out_of_its_own_parent() {
    for layout in LAYOUTS {
        let root = Root::with(layout, &["A"]);
        root.rename("A", "A/old").unwrap();
        assert_eq!(root.folders(), pairs(&[("A/old", "A")]));
        root.rename("A/old", "A").unwrap();
        assert_eq!(root.folders(), pairs(&[("A", "A")]));
        assert!(!root.path("A/old").exists());
        root.rename("A", "A/b/c").unwrap();
        root.rename("A/b/c", "B").unwrap();
        assert_eq!(root.folders(), pairs(&[("B", "A")]));
        assert!(!root.path("A").exists());
    }
}

#[test]
fn where_folders_lie_already_it_joins_them() {
    let root = Root::with(Layout::Fs, &["A", "A/x", "B/y"]);
    fs::write(root.path("A").join("notes"), "A").unwrap();
    fs::write(root.path("B").join("notes"), "B").unwrap();
    root.rename("A", "B").unwrap();
    assert_eq!(root.folders(), pairs(&[("B", "A"), ("A/x", "A/x"), ("B/y", "B/y")]));
    let notes = ["A", "B"].map(|folder| fs::read_to_string(root.path(folder).join("notes")).unwrap());
    assert_eq!(notes, ["A", "B"], "a file of the user's is never replaced");
}

#[test]
fn what_is_in_the_way_or_missing_is_an_error_and_nothing_is_done() {
    for layout in LAYOUTS {
        let root = Root::with(layout, &["A", "A/x", "B", "INBOX"]);
        let before = root.everything();
        assert_eq!(root.rename("A", "B"), Err(LocalErrorKind::Item));
        assert_eq!(root.rename("gone", "C/D"), Ok(false));
        assert_eq!(root.rename("gone", "gone"), Ok(false));
        if layout == Layout::MaildirPlusPlus {
            assert_eq!(root.rename("INBOX", "C"), Err(LocalErrorKind::Item));
            assert_eq!(root.rename("A", "INBOX"), Err(LocalErrorKind::Item));
        }
        assert_eq!(root.everything(), before);
    }
    let root = Root::with(Layout::Fs, &["A", "real"]);
    std::os::unix::fs::symlink("real", root.settings.root.join("link")).unwrap();
    for (from, to) in [("A", "link"), ("A", "link/x"), ("link", "B")] {
        assert_eq!(root.rename(from, to), Err(LocalErrorKind::Item), "{from} {to}");
    }
}

/// Takes the first so many of the steps in which `A` becomes `to`, by hand.
fn crashed_after(root: &Root, to: &str, steps: usize) {
    let (source, target) = (root.path("A"), root.path(to));
    let mut all: Vec<Box<dyn Fn()>> = vec![Box::new({
        let target = target.clone();
        move || fs::create_dir_all(&target).unwrap()
    })];
    for piece in ["dovecot-keywords", "tmp", "new", "cur"] {
        let (from, to) = (source.join(piece), target.join(piece));
        all.push(Box::new(move || fs::rename(&from, &to).unwrap()));
    }
    all.push(Box::new(move || drop(fs::remove_dir(&source))));
    all.iter().take(steps).for_each(|step| step());
}

#[test]
fn whatever_a_crash_left_the_same_call_goes_on_from_there() {
    for (to, others) in [("B", vec!["A", "A/x"]), ("B", vec!["A", "B/y"]), ("A/old", vec!["A"]), ("B", vec!["A"])] {
        for steps in 0..7 {
            let root = Root::with(Layout::Fs, &others);
            crashed_after(&root, to, steps);
            assert_eq!(root.rename("A", to), Ok(true), "{to} after {steps} of {others:?}");
            let mut expected = others.clone();
            expected.retain(|folder| *folder != "A");
            let mut expected: Vec<_> = expected.into_iter().map(|folder| (folder, folder)).collect();
            expected.push((to, "A"));
            assert_eq!(root.folders(), pairs(&expected), "{to} after {steps} of {others:?}");
            assert_eq!(root.path("A").exists(), to == "A/old" || others.contains(&"A/x"));
        }
    }
}

#[test]
fn a_file_between_two_names_ends_under_the_new_one() {
    let root = Root::with(Layout::Fs, &["A", "A/x"]);
    fs::create_dir(root.path("B")).unwrap();
    fs::hard_link(root.path("A").join("dovecot-keywords"), root.path("B").join("dovecot-keywords")).unwrap();
    root.rename("A", "B").unwrap();
    assert_eq!(root.folders(), pairs(&[("B", "A"), ("A/x", "A/x")]));
    assert!(!root.path("A").join("dovecot-keywords").exists());
}

#[test]
fn letters_of_a_maildir_that_was_are_replaced_until_parts_have_moved() {
    let root = Root::with(Layout::Fs, &["A", "B/y"]);
    fs::write(root.path("B").join("dovecot-keywords"), "of an earlier B").unwrap();
    ["tmp", "new"].iter().for_each(|part| fs::create_dir(root.path("B").join(part)).unwrap());
    root.rename("A", "B").unwrap();
    assert_eq!(root.folders(), pairs(&[("B", "A"), ("B/y", "B/y")]));

    let root = Root::with(Layout::Fs, &["A", "A/x"]);
    crashed_after(&root, "B", 4);
    fs::write(root.path("A").join("dovecot-keywords"), "another program's, anew").unwrap();
    root.rename("A", "B").unwrap();
    assert_eq!(root.holds("B"), "A");
}

#[test]
fn what_is_delivered_under_the_old_name_in_between_follows() {
    let root = Root::with(Layout::Fs, &["A", "A/x"]);
    crashed_after(&root, "B", 4);
    ["new", "tmp"].iter().for_each(|part| fs::create_dir(root.path("A").join(part)).unwrap());
    fs::write(root.path("A").join("new/4.d"), "later").unwrap();
    root.rename("A", "B").unwrap();
    assert_eq!(root.folders(), pairs(&[("B", "A"), ("A/x", "A/x")]));
    assert_eq!(fs::read(root.path("B").join("new/4.d")).unwrap(), b"later");
    assert_eq!(fs::read_dir(root.path("A")).unwrap().count(), 1, "only what lies below it");

    let root = Root::with(Layout::Fs, &["A", "A/x"]);
    crashed_after(&root, "B", 4);
    fs::create_dir(root.path("A").join("new")).unwrap();
    fs::write(root.path("A").join("new/2.b"), "another of the same name").unwrap();
    assert_eq!(root.rename("A", "B"), Err(LocalErrorKind::Item));
    assert_eq!(fs::read(root.path("B").join("new/2.b")).unwrap(), b"A");
    assert!(root.path("A").join("new/2.b").exists() && root.path("A").join("cur").is_dir());
}

#[test]
fn the_same_name_in_other_letters() {
    for layout in LAYOUTS {
        let root = Root::with(layout, &["Lists/foo"]);
        root.rename("Lists/foo", "Lists/Foo").unwrap();
        assert_eq!(root.folders(), pairs(&[("Lists/Foo", "Lists/foo")]));
    }
}

#[test]
fn where_letters_make_no_difference_it_goes_by_way_of_another_name() {
    for layout in LAYOUTS {
        let root = Root::with(layout, &["Lists/foo", "Lists/bar"]);
        let (source, target) = (root.path("Lists/foo"), root.path("Lists/Foo"));
        respell(&root.settings, &source, &target).unwrap();
        respell(&root.settings, &source, &target).unwrap();
        assert_eq!(root.folders(), pairs(&[("Lists/Foo", "Lists/foo"), ("Lists/bar", "Lists/bar")]));

        fs::rename(&target, waypoint(&target)).unwrap();
        assert_eq!(root.folders(), pairs(&[("Lists/bar", "Lists/bar")]), "no folder, nor a strange directory");
        root.rename("Lists/bar", "Lists/Bar").unwrap();
        root.rename("Lists/foo", "Lists/Foo").unwrap();
        assert_eq!(root.folders(), pairs(&[("Lists/Foo", "Lists/foo"), ("Lists/Bar", "Lists/bar")]));
        assert!(!waypoint(&target).exists());
    }
    let root = Root::with(Layout::Fs, &["foo", "foo/x"]);
    let refused = respell(&root.settings, &root.path("foo"), &root.path("Foo")).unwrap_err();
    assert_eq!(refused.kind, LocalErrorKind::Item);
    assert_eq!(root.folders(), pairs(&[("foo", "foo"), ("foo/x", "foo/x")]));
}

#[test]
fn a_rename_of_our_own_is_no_stir_and_what_others_did_before_it_is() {
    for (layout, folders) in [(Layout::Fs, vec!["A", "A/x"]), (Layout::Fs, vec!["A"]), (LAYOUTS[1], vec!["A"])] {
        let root = Root::with(layout, &folders);
        let mut store = Maildir::new(root.settings.clone());
        store.list().unwrap();
        store.rename(&name("A"), &name("B")).unwrap();
        store.rename(&name("A"), &name("B")).unwrap();
        assert!(store.stirred().unwrap().is_empty(), "{layout:?} {folders:?}");
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::write(root.path("B").join("cur/5.e:2,"), "x").unwrap();
        store.rename(&name("B"), &name("C")).unwrap();
        assert!(!store.stirred().unwrap().is_empty(), "{layout:?} {folders:?}");
        store.observe(&name("C"), &KeywordLetters::new()).unwrap();
        assert!(store.stirred().unwrap().is_empty(), "{layout:?} {folders:?}");
    }
}

//! Finding message files again by their unique names, whatever their flags are by now.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::list::locate;
use super::{Settings, body, name};
use crate::model::{FlagSet, KeywordLetters, MailboxName, UniqueName};
use crate::reconcile::snapshot::LocalEntry;
use crate::store::LocalError;

/// Returns the file of a message that has the name that files of messages with these flags have as a rule.
pub(super) fn usual(
    maildir: &Path,
    (unique, flags): (&UniqueName, &FlagSet),
    letters: &KeywordLetters,
) -> Result<Option<(LocalEntry, Metadata)>, LocalError> {
    let info = name::info(flags, letters);
    let (bare, names) = (info.is_empty(), [(false, if info.is_empty() { name::NO_FLAGS } else { &info }), (true, "")]);
    for (in_new, info) in names.into_iter().take(if bare { 2 } else { 1 }) {
        let entry = LocalEntry { in_new, info: info.into(), inode: 0, flags: name::flags(info, letters) };
        if let Some(meta) = body::look(&name::path(maildir, unique, &entry))?.filter(Metadata::is_file) {
            return Ok(Some((LocalEntry { inode: meta.ino(), ..entry }, meta)));
        }
    }
    Ok(None)
}

/// Returns such files of messages, up to the first that has another name, or can't be looked at.
pub(super) fn named(
    maildir: &Path,
    messages: &[(&UniqueName, &FlagSet)],
    letters: &KeywordLetters,
) -> Vec<(UniqueName, LocalEntry)> {
    let file = |message: &(&UniqueName, &FlagSet)| {
        let (entry, _) = usual(maildir, *message, letters).ok()??;
        Some((message.0.clone(), entry))
    };
    messages.iter().map_while(file).collect()
}

/// Returns where messages of a folder are now, in the order asked for. Those that are gone are left out, and so is all
/// that can't be read.
pub fn find(settings: &Settings, mailbox: &MailboxName, wanted: &[UniqueName]) -> Vec<PathBuf> {
    let Ok(maildir) = locate(settings, mailbox) else { return Vec::new() };
    let direct = |unique: &UniqueName| {
        let likely = [maildir.join("new").join(unique.as_str()), maildir.join("cur").join(name::format(unique, "2,S"))];
        likely.into_iter().find(|path| path.exists())
    };
    let mut found: Vec<Option<PathBuf>> = wanted.iter().map(direct).collect();
    if found.iter().any(Option::is_none) {
        let all = names(&maildir);
        for (place, unique) in found.iter_mut().zip(wanted) {
            *place = place.take().or_else(|| all.get(unique).cloned());
        }
    }
    found.into_iter().flatten().collect()
}

fn names(maildir: &Path) -> BTreeMap<UniqueName, PathBuf> {
    let entries = ["new", "cur"].into_iter().filter_map(|part| fs::read_dir(maildir.join(part)).ok()).flatten();
    let named = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let (unique, _) = name::parse(path.file_name()?.to_str()?)?;
        Some((unique, path))
    });
    named.collect()
}

/// Reads a file's beginning, up to so many bytes.
///
/// # Errors
/// It can't be read.
pub fn beginning(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildir::stamp::FileClock;
    use crate::maildir::{Layout, scan};
    use crate::model::Keyword;

    #[test]
    fn files_are_found_by_their_usual_names_as_a_scan_shows_them() {
        let dir = tempfile::tempdir().unwrap();
        ["cur", "new"].iter().for_each(|part| fs::create_dir(dir.path().join(part)).unwrap());
        let usual = ["cur/1.a:2,FS", "cur/2.b:2,", "new/3.c", "cur/4.d:2,Sa"];
        for name in usual.iter().chain(&["cur/5.e:2,SF", "cur/6.f:2,S,x", "cur/7.g", "cur/8.h:2,R"]) {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        fs::create_dir(dir.path().join("cur/9.i:2,")).unwrap();
        let mut known = KeywordLetters::new();
        known.assign(b'a', Keyword::new("later").unwrap());
        let scan = scan::observe(dir.path(), FileClock::default(), &known).unwrap().snapshot;
        let all: Vec<(UniqueName, LocalEntry)> = scan.entries.into_iter().collect();
        let found = |files: &[(UniqueName, LocalEntry)]| {
            let messages: Vec<_> = files.iter().map(|(unique, entry)| (unique, &entry.flags)).collect();
            named(dir.path(), &messages, &known)
        };
        assert_eq!(found(&all), all[..usual.len()], "and none behind the first that has another name");
        assert!(all[usual.len()..7].iter().all(|file| found(std::slice::from_ref(file)).is_empty()));
        assert_eq!(found(&all[7..]), all[7..]);
        let none = FlagSet::new();
        for (name, flags) in [("1.a", &none), ("9.i", &none), ("10.j", &none)] {
            assert!(named(dir.path(), &[(&UniqueName::new(name).unwrap(), flags)], &known).is_empty(), "{name}");
        }
    }

    #[test]
    fn files_are_found_under_any_flags_and_those_that_are_gone_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let (root, trash) = (dir.path().to_owned(), dir.path().join("trash"));
        let settings = Settings { root, layout: Layout::Fs, trash };
        let files = ["new/1.a", "cur/2.b:2,S", "cur/3.c:2,FRS", "cur/4.d"];
        for part in ["new", "cur"] {
            fs::create_dir_all(settings.root.join("INBOX").join(part)).unwrap();
        }
        for file in files {
            fs::write(settings.root.join("INBOX").join(file), "Subject: x\n\nlong\n").unwrap();
        }
        let unique = |text: &str| UniqueName::new(text).unwrap();
        let wanted = ["1.a", "3.c", "9.z", "2.b", "4.d"].map(unique);
        let found = find(&settings, &MailboxName::inbox(), &wanted);
        let expected = ["new/1.a", "cur/3.c:2,FRS", "cur/2.b:2,S", "cur/4.d"];
        assert_eq!(found, expected.map(|file| settings.root.join("INBOX").join(file)));
        assert_eq!(beginning(&found[0], 7).unwrap(), b"Subject");
        assert!(find(&settings, &MailboxName::parse("gone").unwrap(), &wanted).is_empty());
    }
}

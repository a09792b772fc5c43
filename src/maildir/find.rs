//! Finding message files again by their unique names, whatever their flags are by now.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::list::locate;
use super::{Settings, name};
use crate::model::{MailboxName, UniqueName};

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
    use crate::maildir::Layout;

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

//! What `contrib/fuzz` feeds: any file name, `dovecot-keywords` and folder name is read without harm and comes back.

use super::keywords::KeywordsFile;
use super::{Layout, layout, name};
use crate::model::{FlagDelta, FlagSet, KeywordLetters, MailboxName};

/// Reads a text as the name of a file in `cur`.
///
/// # Panics
///
/// If it does not come back from its parts, or a change of nothing changes its flags.
pub fn file_name(text: &str) {
    let letters = KeywordLetters::new();
    let Some((unique, info)) = name::parse(text) else { return };
    assert_eq!(name::format(&unique, info), text);
    let flags = name::flags(info, &letters);
    if let Some(after) = name::changed(info, &FlagDelta::default(), &letters) {
        assert_eq!(name::flags(&after, &letters), flags);
    }
    assert_eq!(name::flags(&name::relabelled(info, &FlagSet::new(), &letters), &letters), flags);
}

/// Reads a text as `dovecot-keywords`.
///
/// # Panics
///
/// If what would be written reads differently.
pub fn keywords(text: &str) {
    let Some(file) = KeywordsFile::parse(text) else { return };
    let written = file.format();
    let again = if written.is_empty() { Some(KeywordsFile::default()) } else { KeywordsFile::parse(&written) };
    assert_eq!(again, Some(file));
}

/// Gives a folder of this name a directory in both layouts.
///
/// # Panics
///
/// If the directory would lie outside the root, or does not come back as the folder.
pub fn folder_name(text: &str) {
    let Some(folder) = MailboxName::parse(text) else { return };
    for layout in [Layout::Fs, Layout::MaildirPlusPlus] {
        let Ok(path) = layout::path_of(layout, &folder) else { continue };
        let parts: Vec<String> = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        assert!(path.is_relative() && !parts.iter().any(|part| part == ".." || part == "."));
        if !parts.is_empty() {
            assert_eq!(layout::name_of(layout, &parts), Some(folder.clone()));
        }
    }
}

/// The same with whatever proptest thinks of.
#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_file_name_comes_back(text in prop_oneof!["\\PC{0,30}", "[.:,2STRPa-z=/\0]{0,30}"]) {
            file_name(&text);
        }

        #[test]
        fn any_list_of_letters_reads_as_it_is_written(
            text in prop_oneof!["(\\PC|\n){0,60}", "([0-9]{1,3} [a-z$]{0,5}\n){0,30}"],
        ) {
            keywords(&text);
        }

        #[test]
        fn any_folder_name_has_a_directory_inside(text in prop_oneof!["\\PC{0,30}", "[./~%a-zA-Z\0]{0,30}"]) {
            folder_name(&text);
        }
    }
}

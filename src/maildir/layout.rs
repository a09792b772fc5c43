//! Folder names as directories, one to one: a name decodes back exactly, or it is not ours.
//!
//! A component is written as it is, but for characters that could do harm, which are percent-encoded byte by byte:
//! control characters, `/`, a `%` that would read as such an escape, a leading `.`, a trailing `.` or space, the first
//! letter of names that Maildir keeps for itself, and characters that a normalising file system would change. The
//! `maildir++` layout encodes every `.`, which separates components there.
//!
//! Paths that are the same to a file system without case or with one normal form are those of names that differ in case
//! alone. Such twins stay apart where the file system has case; where it has none, creating the second fails alone.

use std::fmt::Write as _;
use std::path::PathBuf;

use unicode_normalization::{IsNormalized, char::canonical_combining_class, is_nfc_quick};

use super::error::Trouble;
use super::{Layout, keywords};
use crate::model::MailboxName;

/// The most bytes that common file systems allow in a name.
pub(super) const LONGEST: usize = 255;

/// Pieces of a component too long for one directory (`fs` only) are this long at most, before the guards of their ends.
const PIECE: usize = 240;

/// Ends each directory of a long component but the last: the component goes on in the directory below.
const GOES_ON: &str = "%+";

/// Returns the directory of a folder, relative to the root; empty for the inbox of `maildir++`.
pub(super) fn path_of(layout: Layout, name: &MailboxName) -> Result<PathBuf, Trouble> {
    match layout {
        Layout::Fs => Ok(name.components().iter().flat_map(|component| fs_pieces(component)).collect()),
        Layout::MaildirPlusPlus if name.is_inbox() => Ok(PathBuf::new()),
        Layout::MaildirPlusPlus => {
            let directory = plus_plus(&name.components());
            match directory.len() <= LONGEST {
                true => Ok(directory.into()),
                false => Err(Trouble::Name {
                    name: name.as_str().to_owned(),
                    what: "in the maildir++ layout its whole name may have 255 bytes",
                }),
            }
        }
    }
}

/// Returns the folder of a directory given by the names on the way to it from the root, or `None` if no folder has
/// this directory.
pub(super) fn name_of(layout: Layout, directories: &[String]) -> Option<MailboxName> {
    let components = match (layout, directories) {
        (Layout::Fs, _) => joined(directories),
        (Layout::MaildirPlusPlus, []) => vec![MailboxName::INBOX.to_owned()],
        (Layout::MaildirPlusPlus, [one]) => one.strip_prefix('.')?.split('.').map(str::to_owned).collect(),
        (Layout::MaildirPlusPlus, _) => return None,
    };
    let components = components.iter().map(|component| decode(component)).collect::<Option<Vec<_>>>()?;
    let name = MailboxName::from_components(components.iter().map(String::as_str))?;
    let path: PathBuf = directories.iter().collect();
    (path_of(layout, &name).ok()? == path).then_some(name)
}

/// Puts the pieces of long components together.
fn joined(directories: &[String]) -> Vec<String> {
    let mut components = Vec::new();
    let mut long = String::new();
    for directory in directories {
        match directory.strip_suffix(GOES_ON) {
            Some(piece) => long.push_str(piece),
            None => components.push(std::mem::take(&mut long) + directory),
        }
    }
    components
}

fn fs_pieces(component: &str) -> Vec<String> {
    let letters = encoded_letters(component, |_| false);
    let whole = guarded(&letters.concat());
    if whole.len() <= LONGEST {
        return vec![whole];
    }
    let mut pieces = vec![String::new()];
    for letter in letters {
        match pieces.last_mut() {
            Some(piece) if piece.len() + letter.len() <= PIECE => piece.push_str(&letter),
            _ => pieces.push(letter),
        }
    }
    let last = pieces.pop().unwrap_or_default();
    pieces.iter().map(|piece| guarded(piece) + GOES_ON).chain([guarded(&last)]).collect()
}

fn plus_plus(components: &[String]) -> String {
    let mut out = String::new();
    for component in components {
        let encoded = encoded_letters(component, |letter| letter == '.').concat();
        out.push('.');
        out.push_str(&without_trailing_space(&encoded));
    }
    // The root's marker bears this name.
    match out.get(1..) {
        Some(rest) if out.eq_ignore_ascii_case(super::root::MARKER) => format!(".{}", first_encoded(rest)),
        _ => out,
    }
}

/// Encodes a component letter by letter, as far as what stands beside each letter tells.
fn encoded_letters(component: &str, also: impl Fn(char) -> bool) -> Vec<String> {
    let mut class_before = 0;
    let letters = component.char_indices().map(|(at, letter)| {
        let class = canonical_combining_class(letter);
        // Normalising composes these with what stands before, replaces them, or puts them in another order.
        let unstable =
            is_nfc_quick(std::iter::once(letter)) != IsNormalized::Yes || (class != 0 && class < class_before);
        class_before = class;
        let behind = component.get(at + 1..at + 3).unwrap_or_default();
        let escape = letter == '%' && (is_hex_pair(behind) || is_ending(component, at));
        match unstable || escape || letter.is_control() || letter == '/' || also(letter) {
            true => percent(letter),
            false => letter.to_string(),
        }
    });
    letters.collect()
}

/// Returns true if `%+` ends the component at this place, which would read as [`GOES_ON`].
fn is_ending(component: &str, at: usize) -> bool {
    component.get(at..) == Some(GOES_ON)
}

fn is_hex_pair(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Encodes what must not stand at the ends of a directory's name, and the names that Maildir keeps for itself. `New` is
/// a folder's name like any other; where it can't be, on a file system that takes both for the same, creating it fails.
/// The keywords file of a maildir comes later than the folders below it may, so its name is kept in any case.
fn guarded(name: &str) -> String {
    let reserved = ["cur", "new", "tmp"].contains(&name) || name.eq_ignore_ascii_case(keywords::FILE);
    let name = if reserved || name.starts_with('.') { first_encoded(name) } else { name.to_owned() };
    match name.strip_suffix('.') {
        Some(rest) => format!("{rest}%2E"),
        None => without_trailing_space(&name),
    }
}

fn without_trailing_space(name: &str) -> String {
    name.strip_suffix(' ').map_or_else(|| name.to_owned(), |rest| format!("{rest}%20"))
}

fn first_encoded(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(percent).unwrap_or_default() + letters.as_str()
}

fn percent(letter: char) -> String {
    letter.encode_utf8(&mut [0; 4]).bytes().fold(String::new(), |mut out, byte| {
        // Writing to a string can't fail.
        let _ = write!(out, "%{byte:02X}");
        out
    })
}

fn decode(encoded: &str) -> Option<String> {
    let mut out = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((before, behind)) = rest.split_once('%') {
        out.extend_from_slice(before.as_bytes());
        match behind.get(..2).filter(|pair| is_hex_pair(pair)) {
            Some(pair) => {
                out.push(u8::from_str_radix(pair, 16).ok()?);
                rest = behind.get(2..)?;
            }
            None => {
                out.push(b'%');
                rest = behind;
            }
        }
    }
    out.extend_from_slice(rest.as_bytes());
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::path::Component;
    use unicode_normalization::UnicodeNormalization;

    const LAYOUTS: [Layout; 2] = [Layout::Fs, Layout::MaildirPlusPlus];

    /// What a file system that has neither case nor more than one normal form compares.
    fn without_case(text: &str) -> String {
        text.nfd().flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfd().collect()
    }

    fn directories(layout: Layout, name: &MailboxName) -> Vec<String> {
        let path = path_of(layout, name).unwrap();
        path.components().map(|part| part.as_os_str().to_str().unwrap().to_owned()).collect()
    }

    fn component() -> impl Strategy<Value = String> {
        let nasty = prop_oneof![
            Just("cur"),
            Just("New"),
            Just("tmp"),
            Just("."),
            Just(".."),
            Just("%"),
            Just("%2F"),
            Just("%+"),
            Just("2e"),
            Just(" "),
            Just("/"),
            Just("\0"),
            Just("\n"),
            Just("é"),
            Just("e\u{301}"),
            Just("a\u{301}\u{323}"),
            Just("\u{212b}"),
            Just("mailtide"),
            Just(".mailtide"),
            Just("Mailtide..tmp"),
            Just("dovecot-keywords"),
            Just("Dovecot-Keywords"),
            Just("maildirfolder"),
            Just("ǅ"),
            Just("ß"),
            Just("İ"),
            Just("ς"),
            Just("가"),
            Just("\u{1100}\u{1161}"),
            Just("INBOX"),
            Just("inbox"),
            Just("~"),
            Just("\\"),
            Just("\u{7f}"),
            Just("\u{85}"),
            Just("日本"),
            Just("a:b"),
            Just("-x"),
        ];
        prop_oneof![
            proptest::collection::vec(nasty, 1..4).prop_map(|parts| parts.concat()),
            any::<String>().prop_filter("empty", |text| !text.is_empty()),
            "[ -~]{1,12}",
            (230..520_usize, ".{1,3}").prop_map(|(len, end)| "x".repeat(len) + &end),
        ]
    }

    fn name() -> impl Strategy<Value = MailboxName> {
        proptest::collection::vec(component(), 1..4)
            .prop_map(|parts| MailboxName::from_components(parts.iter().map(String::as_str)).unwrap())
    }

    proptest! {
        #[test]
        fn every_name_has_a_safe_directory_and_comes_back(name in name()) {
            for layout in LAYOUTS {
                let Ok(path) = path_of(layout, &name) else {
                    let whole: usize = name.components().iter().map(|part| 1 + 3 * part.len()).sum();
                    prop_assert!(layout == Layout::MaildirPlusPlus && whole > LONGEST, "{:?} refuses {name}", layout);
                    continue;
                };
                let directories = directories(layout, &name);
                prop_assert_eq!(name_of(layout, &directories), Some(name.clone()), "{:?}", path);
                for (part, text) in path.components().zip(&directories) {
                    prop_assert!(matches!(part, Component::Normal(_)), "{:?}", path);
                    prop_assert!(text.len() <= LONGEST);
                    prop_assert!(!["cur", "new", "tmp"].contains(&text.as_str()));
                    prop_assert_eq!(text.starts_with('.'), layout == Layout::MaildirPlusPlus);
                    prop_assert!(!text.eq_ignore_ascii_case(".mailtide") && text != ".mailtide..tmp");
                    prop_assert!(!text.eq_ignore_ascii_case("dovecot-keywords"));
                    prop_assert!(!text.chars().any(char::is_control) && !text.ends_with(['.', ' ']));
                    prop_assert_eq!(&text.nfc().collect::<String>(), text, "a normalising file system changes it");
                }
            }
        }

        #[test]
        fn no_two_names_share_a_directory_not_even_twins_in_normal_form(
            names in proptest::collection::vec(name(), 1..10)
        ) {
            let twin = |normal: fn(&str) -> String, name: &MailboxName| {
                let parts: Vec<String> = name.components().iter().map(|part| normal(part)).collect();
                MailboxName::from_components(parts.iter().map(String::as_str)).unwrap()
            };
            let twins = |name: &MailboxName| {
                [name.clone(), twin(|part| part.nfc().collect(), name), twin(|part| part.nfd().collect(), name)]
            };
            for layout in LAYOUTS {
                let mut seen = BTreeMap::new();
                for name in names.iter().flat_map(twins).filter(|name| path_of(layout, name).is_ok()) {
                    let normal: String = directories(layout, &name).join("/").nfd().collect();
                    let other = seen.insert(normal, name.clone());
                    prop_assert!(other.as_ref().is_none_or(|other| *other == name), "{name} {other:?}");
                }
            }
        }

        #[test]
        fn on_a_file_system_without_case_only_case_twins_share_a_directory(
            one in name(),
            others in proptest::collection::vec(name(), 0..20)
        ) {
            let upper: Vec<String> = one.components().iter().map(|part| part.to_uppercase()).collect();
            let twin = MailboxName::from_components(upper.iter().map(String::as_str)).unwrap();
            for layout in LAYOUTS {
                let mut seen: BTreeMap<String, &MailboxName> = BTreeMap::new();
                let all = [&one, &twin].into_iter().chain(&others);
                for name in all.filter(|name| path_of(layout, name).is_ok()) {
                    let path = without_case(&directories(layout, name).join("/"));
                    let other = *seen.entry(path).or_insert(name);
                    // Whose letters are each other's upper case is a twin, though marks between them may be put in another order.
                    let same_letters = name.as_str().to_uppercase() == other.as_str().to_uppercase();
                    prop_assert!(same_letters || without_case(name.as_str()) == without_case(other.as_str()));
                    prop_assert_eq!(path_of(layout, name).ok() == path_of(layout, other).ok(), name == other);
                }
            }
        }

        #[test]
        fn a_directory_is_foreign_or_its_name_leads_back_to_it(parts in proptest::collection::vec("[.%2eEcur+ a]{1,6}", 1..3)) {
            for layout in LAYOUTS {
                if let Some(name) = name_of(layout, &parts) {
                    prop_assert_eq!(directories(layout, &name), parts.clone());
                }
            }
        }
    }

    #[test]
    fn ordinary_names_look_ordinary() {
        for (name, fs, plus_plus) in [
            ("INBOX", "INBOX", ""),
            ("Archive/2025", "Archive/2025", ".Archive.2025"),
            ("INBOX/Sub", "INBOX/Sub", ".INBOX.Sub"),
            ("100% sure", "100% sure", ".100% sure"),
            ("Entwürfe/Büro", "Entwürfe/Büro", ".Entwürfe.Büro"),
            ("a.b", "a.b", ".a%2Eb"),
            ("cur", "%63ur", ".cur"),
            ("..", "%2E%2E", ".%2E%2E"),
            ("x%2Fy", "x%2Fy", ".x%2Fy"),
            ("mailtide", "mailtide", ".%6Dailtide"),
            ("a/dovecot-keywords", "a/%64ovecot-keywords", ".a.dovecot-keywords"),
        ] {
            let name = MailboxName::parse(name).unwrap();
            assert_eq!(path_of(Layout::Fs, &name).unwrap(), PathBuf::from(fs));
            assert_eq!(path_of(Layout::MaildirPlusPlus, &name).unwrap(), PathBuf::from(plus_plus));
        }
    }

    #[test]
    fn long_names_are_spread_over_directories_or_refused() {
        for component in ["x".repeat(300), "日".repeat(400), "\u{1}.".repeat(200), format!("{}cur", "y".repeat(253))] {
            let name = MailboxName::from_components([component.as_str(), "child"]).unwrap();
            let directories = directories(Layout::Fs, &name);
            assert!(directories.iter().all(|directory| directory.len() <= LONGEST) && directories.len() > 2);
            assert_eq!(name_of(Layout::Fs, &directories), Some(name.clone()));
            assert!(path_of(Layout::MaildirPlusPlus, &name).is_err());
        }
    }

    #[test]
    fn twins_in_normal_form_stay_apart_everywhere_and_twins_in_case_where_there_is_case() {
        let paths = |layout, one: &str, other: &str| {
            [one, other].map(|name| path_of(layout, &MailboxName::parse(name).unwrap()).unwrap().display().to_string())
        };
        for layout in LAYOUTS {
            for (one, other) in [("é", "e\u{301}"), ("\u{212b}", "Å"), ("가", "\u{1100}\u{1161}"), ("a", "a%")] {
                let [one, other] = paths(layout, one, other);
                assert_ne!(without_case(&one), without_case(&other));
            }
            for (one, other) in [("Lists", "lists"), ("É", "é"), ("a/Cur", "a/CUR")] {
                let [one, other] = paths(layout, one, other);
                assert!(one != other && without_case(&one) == without_case(&other), "{one} {other}");
            }
        }
    }

    #[test]
    fn directories_that_no_folder_has_are_foreign() {
        for foreign in ["inbox", ".Archive", "a%2fb", "a%20b", "%41", "e\u{301}", "x.", "goes on%+", "%FF"] {
            assert_eq!(name_of(Layout::Fs, &[foreign.to_owned()]), None, "{foreign}");
        }
        for foreign in ["Archive", ".INBOX", ".inbox.x", ".a..b", ".", ".a%2eb"] {
            assert_eq!(name_of(Layout::MaildirPlusPlus, &[foreign.to_owned()]), None, "{foreign}");
        }
    }
}

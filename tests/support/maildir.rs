//! The user's side: a Maildir as a mail reader sees and changes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

/// How folders lie on disk (`maildir.layout`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `INBOX`, `Archive/2025`.
    Fs,
    /// INBOX in the root, `.Archive.2025`.
    PlusPlus,
}

/// The root of an account's Maildirs.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    pub(crate) path: PathBuf,
    pub(crate) layout: Layout,
}

/// One folder.
#[derive(Debug, Clone)]
pub(crate) struct Maildir(pub(crate) PathBuf);

/// One message file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    /// System flags and `P`, as letters.
    pub(crate) flags: BTreeSet<char>,
    /// The names that `dovecot-keywords` gives its lower-case letters; `?x` for a letter without one.
    pub(crate) keywords: BTreeSet<String>,
    /// Modification time, seconds since 1970.
    pub(crate) date: i64,
    pub(crate) content: Vec<u8>,
}

impl Root {
    /// Returns the folder with these components, which need no escaping.
    pub(crate) fn folder(&self, components: &[&str]) -> Maildir {
        Maildir(match (self.layout, components) {
            (Layout::PlusPlus, ["INBOX"]) => self.path.clone(),
            (Layout::PlusPlus, _) => self.path.join(format!(".{}", components.join("."))),
            (Layout::Fs, _) => self.path.join(components.join("/")),
        })
    }

    /// Returns the inbox.
    pub(crate) fn inbox(&self) -> Maildir {
        self.folder(&["INBOX"])
    }

    /// Returns every folder by its components, percent escapes decoded.
    pub(crate) fn folders(&self) -> BTreeMap<Vec<String>, Maildir> {
        let mut found = BTreeMap::new();
        match self.layout {
            Layout::Fs => walk(&self.path, &[], "", &mut found),
            Layout::PlusPlus => {
                found.insert(vec!["INBOX".to_owned()], self.inbox());
                for (name, path) in directories(&self.path) {
                    if let Some(name) = name.strip_prefix('.') {
                        found.insert(name.split('.').map(decode).collect(), Maildir(path));
                    }
                }
            }
        }
        found
    }
}

/// Visits what lies below the folder with these components. A directory whose name ends in `%+` holds the rest of a long
/// component, of which `begun` is what came before.
fn walk(directory: &Path, above: &[String], begun: &str, found: &mut BTreeMap<Vec<String>, Maildir>) {
    for (name, path) in directories(directory) {
        if ["cur", "new", "tmp"].contains(&name.as_str()) || name.starts_with('.') {
            continue;
        }
        if let Some(piece) = name.strip_suffix("%+") {
            walk(&path, above, &format!("{begun}{piece}"), found);
            continue;
        }
        let components = [above, &[decode(&format!("{begun}{name}"))]].concat();
        if path.join("cur").is_dir() {
            found.insert(components.clone(), Maildir(path.clone()));
        }
        walk(&path, &components, "", found);
    }
}

fn directories(directory: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let entries = entries.map(|entry| entry.unwrap()).filter(|entry| entry.file_type().unwrap().is_dir());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.path())).collect()
}

/// Decodes `%XX`.
fn decode(name: &str) -> String {
    let mut out = Vec::new();
    let mut rest = name.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = after.get(..2).and_then(|two| u8::from_str_radix(str::from_utf8(two).ok()?, 16).ok());
        match escaped.filter(|_| *first == b'%') {
            Some(byte) => {
                out.push(byte);
                rest = &after[2..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(out).unwrap()
}

impl Maildir {
    /// Creates the folder, as a mail reader does.
    pub(crate) fn create(&self) {
        for name in ["tmp", "new", "cur"] {
            fs::create_dir_all(self.0.join(name)).unwrap();
        }
    }

    /// Returns all messages, in order of path.
    pub(crate) fn messages(&self) -> Vec<Entry> {
        let letters = self.letters();
        let mut found = Vec::new();
        for directory in ["cur", "new"] {
            let Ok(entries) = fs::read_dir(self.0.join(directory)) else { continue };
            for path in entries.map(|entry| entry.unwrap().path()) {
                found.extend(entry(&path, &letters));
            }
        }
        found.sort_by(|one, other| one.path.cmp(&other.path));
        found
    }

    /// Returns the one message whose content holds a text.
    pub(crate) fn find(&self, text: &str) -> Entry {
        let holds = |entry: &Entry| String::from_utf8_lossy(&entry.content).contains(text);
        let mut found: Vec<Entry> = self.messages().into_iter().filter(holds).collect();
        assert_eq!(found.len(), 1, "{text:?} in {}", self.0.display());
        found.remove(0)
    }

    /// Delivers a message: into `new`, or into `cur` if flag letters are given.
    pub(crate) fn deliver(&self, content: &[u8], flags: Option<&str>, date: Option<i64>) -> PathBuf {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let unique = format!("1700000000.M{count}P{}.reader", std::process::id());
        let temporary = self.0.join("tmp").join(&unique);
        fs::write(&temporary, content).unwrap();
        if let Some(date) = date {
            let date = SystemTime::UNIX_EPOCH + Duration::from_secs(date.try_into().unwrap());
            fs::File::options().write(true).open(&temporary).unwrap().set_modified(date).unwrap();
        }
        let visible = match flags {
            Some(flags) => self.0.join("cur").join(format!("{unique}:2,{flags}")),
            None => self.0.join("new").join(&unique),
        };
        fs::rename(&temporary, &visible).unwrap();
        visible
    }

    /// Gives every message these flag letters instead of its own, as a mail reader renames it. Returns how many changed.
    pub(crate) fn set_flags(&self, entry: &Entry, letters: &str) -> PathBuf {
        let name = entry.path.file_name().unwrap().to_str().unwrap();
        let unique = name.split(":2,").next().unwrap();
        let path = self.0.join("cur").join(format!("{unique}:2,{letters}"));
        fs::rename(&entry.path, &path).unwrap();
        path
    }

    /// Gives the first letters these meanings, as Dovecot would write them.
    pub(crate) fn write_keywords(&self, keywords: &[&str]) {
        let lines: String = keywords.iter().enumerate().map(|(at, keyword)| format!("{at} {keyword}\n")).collect();
        fs::write(self.0.join("dovecot-keywords"), lines).unwrap();
    }

    /// Returns the letter that stands for a keyword.
    pub(crate) fn letter(&self, keyword: &str) -> char {
        *self.letters().iter().find(|(_, known)| known.eq_ignore_ascii_case(keyword)).unwrap().0
    }

    fn letters(&self) -> BTreeMap<char, String> {
        let text = fs::read_to_string(self.0.join("dovecot-keywords")).unwrap_or_default();
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        pairs.map(|(at, word)| (char::from(b'a' + at.parse::<u8>().unwrap()), word.to_owned())).collect()
    }
}

fn entry(path: &Path, letters: &BTreeMap<char, String>) -> Option<Entry> {
    let name = path.file_name().unwrap().to_str().unwrap();
    if name.starts_with('.') {
        return None;
    }
    let info: Vec<char> = name.split_once(":2,").map_or("", |(_, info)| info).chars().collect();
    let keyword = |letter: &char| letters.get(letter).cloned().unwrap_or_else(|| format!("?{letter}"));
    let content = fs::read(path).unwrap();
    let date = fs::metadata(path).unwrap().modified().unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Some(Entry {
        path: path.to_owned(),
        flags: info.iter().copied().filter(char::is_ascii_uppercase).collect(),
        keywords: info.iter().filter(|letter| letter.is_ascii_lowercase()).map(keyword).collect(),
        date: date.as_secs().try_into().unwrap(),
        content,
    })
}

//! The layers of the crate: who may use whom, and what the pure ones may not touch.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A module and those it may use:
/// `cli → daemon → cycle → {maildir, imap, apply, state} → store → reconcile → model`. `config` is for `cli` alone, and
/// makes the settings of the two sides.
const ARROWS: [(&str, &[&str]); 12] = [
    ("main", &["cli"]),
    ("cli", &["config", "daemon", "cycle", "maildir", "imap", "apply", "state", "store", "reconcile", "model"]),
    ("config", &["maildir", "imap", "store", "reconcile", "model"]),
    ("daemon", &["cycle", "maildir", "imap", "apply", "state", "store", "reconcile", "model"]),
    ("cycle", &["maildir", "imap", "apply", "state", "store", "reconcile", "model"]),
    ("maildir", &["store", "reconcile", "model"]),
    ("imap", &["store", "reconcile", "model"]),
    ("apply", &["store", "reconcile", "model"]),
    ("state", &["store", "reconcile", "model"]),
    ("store", &["reconcile", "model"]),
    ("reconcile", &["model"]),
    ("model", &[]),
];

/// What a module that only decides may not touch: files, network, clocks, chance, the database, the log.
const IMPURE: [&str; 17] = [
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant",
    "Utc::now",
    "Local::now",
    "File",
    "tokio",
    "rusqlite",
    "rand",
    "tracing",
    "rustix",
    "RandomState",
    "thread_rng",
];

#[test]
fn every_module_uses_only_those_to_its_right() {
    let mut wrong = Vec::new();
    for (path, code) in sources() {
        let module = module_of(&path);
        if module == "lib" {
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("{}: {module} has no place in the layers", path.display()));
            continue;
        };
        let used = used_modules(&code, if module == "main" { "mailtide::" } else { "crate::" });
        let bad = used.iter().filter(|used| **used != module && !allowed.contains(&used.as_str()));
        wrong.extend(bad.map(|used| format!("{}: {module} uses {used}", path.display())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_modules_that_decide_touch_nothing_outside() {
    let mut wrong = Vec::new();
    for (path, code) in
        sources().into_iter().filter(|(path, _)| ["model", "reconcile"].contains(&module_of(path).as_str()))
    {
        for word in IMPURE.iter().filter(|word| holds_word(&code, word)) {
            wrong.push(format!("{}: {word}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_check_sees_what_it_is_to_see() {
    let code = "use crate::{model::{Uid, Flag}, store::Root};\nfn f() -> crate::imap::X {}\nlet mycrate::z;";
    let used: Vec<String> = used_modules(code, "crate::").into_iter().collect();
    assert_eq!(used, ["imap", "model", "store"]);
    assert!(holds_word("use std::{fs, io};\n", "std::fs"));
    assert!(holds_word("tokio::spawn(x)", "tokio") && !holds_word("brand::new()", "rand"));
    assert_eq!(without_comments("a // crate::imap\n//! tokio\nb \"http://x\"\n").matches("crate").count(), 0);
}

/// Returns every source file, its comments taken out.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut directories = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(directory) = directories.pop() {
        for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let code = without_comments(&fs::read_to_string(&path).unwrap());
                found.push((path.strip_prefix(&root).unwrap().to_owned(), code));
            }
        }
    }
    assert!(found.len() > 10, "the sources were not found");
    found.sort();
    found
}

fn without_comments(text: &str) -> String {
    let code = |line: &str| line.trim_start().strip_prefix("//").map_or_else(|| line.to_owned(), |_| String::new());
    let lines = text.lines().map(code).map(|line| line.split(" // ").next().unwrap().to_owned() + "\n");
    lines.collect()
}

/// Returns the top-level module that a file belongs to.
fn module_of(path: &Path) -> String {
    let first = path.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// Returns the modules named directly after the crate's root.
fn used_modules(code: &str, root: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (at, _) in code.match_indices(root) {
        let (before, after) = code.split_at(at);
        if before.ends_with(is_word) {
            continue;
        }
        let after = after.strip_prefix(root).unwrap();
        match after.strip_prefix('{') {
            Some(group) => used.extend(group_members(group).iter().map(|member| first_word(member))),
            None => drop(used.insert(first_word(after))),
        }
    }
    used
}

/// Returns the members of a `use` group, given what follows its opening brace.
fn group_members(group: &str) -> Vec<String> {
    let mut members = vec![String::new()];
    let mut depth = 0;
    for letter in group.chars() {
        match letter {
            '}' if depth == 0 => break,
            ',' if depth == 0 => members.push(String::new()),
            _ => {
                depth += i32::from(letter == '{') - i32::from(letter == '}');
                members.last_mut().unwrap().push(letter);
            }
        }
    }
    members.retain(|member| !member.trim().is_empty());
    members
}

fn first_word(text: &str) -> String {
    text.trim_start().chars().take_while(|&letter| is_word(letter)).collect()
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Returns true if a path or name occurs in code; `std::fs` also as `std::{fs, …}`.
fn holds_word(code: &str, word: &str) -> bool {
    if let Some(name) = word.strip_prefix("std::")
        && used_modules(code, "std::").contains(name)
    {
        return true;
    }
    code.match_indices(word).any(|(at, _)| {
        let (before, after) = code.split_at(at);
        !before.ends_with(is_word) && !after.strip_prefix(word).unwrap().starts_with(is_word)
    })
}

//! File names: the unique name, and the info behind the `:` that holds the flags (Maildir specification,
//! <https://cr.yp.to/proto/maildir.html>).

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::{Flag, FlagDelta, FlagSet, Keyword, KeywordLetters, UniqueName};
use crate::reconcile::snapshot::LocalEntry;

/// The info's version with flags: what mailtide writes, and the only one it reads flags from. Alone: no flags.
pub(super) const NO_FLAGS: &str = "2,";

/// `P`, passed on: the letter of `$Forwarded`.
const PASSED: char = 'P';

fn letter_of(flag: Flag) -> char {
    match flag {
        Flag::Seen => 'S',
        Flag::Answered => 'R',
        Flag::Flagged => 'F',
        Flag::Deleted => 'T',
        Flag::Draft => 'D',
    }
}

/// Splits a file name into unique name and info, or returns `None` if no message is called that.
pub(super) fn parse(file: &str) -> Option<(UniqueName, &str)> {
    let (unique, info) = file.split_once(':').unwrap_or((file, ""));
    if is_foreign(file, unique) {
        return None;
    }
    Some((UniqueName::new(unique)?, info))
}

/// Returns true for files of editors, indexers and servers: hidden ones, backups, and known index files; and for names
/// that end with the `:`, which no program gives to a message.
fn is_foreign(file: &str, unique: &str) -> bool {
    const INDEXES: [&str; 6] = [
        "maildirsize",
        "maildirfolder",
        "subscriptions",
        "courierimapuiddb",
        "courierimapsubscribed",
        "courierimapacl",
    ];
    file.starts_with('.')
        || (file.len() > 1 && file.starts_with('#') && file.ends_with('#'))
        || file.ends_with(['~', ':'])
        || unique.starts_with("dovecot.")
        || unique.starts_with("dovecot-")
        || INDEXES.contains(&unique)
}

/// Returns the file name of a message with this info; without `:` if it is empty.
pub(super) fn format(unique: &UniqueName, info: &str) -> String {
    if info.is_empty() { unique.to_string() } else { format!("{unique}:{info}") }
}

/// Returns where an observed file is.
pub(super) fn path(maildir: &Path, unique: &UniqueName, entry: &LocalEntry) -> PathBuf {
    maildir.join(if entry.in_new { "new" } else { "cur" }).join(format(unique, &entry.info))
}

/// Splits an info into its flag letters and what other programs put behind them.
fn letters_of(info: &str) -> Option<(&str, &str)> {
    let flags = info.strip_prefix(NO_FLAGS)?;
    Some(flags.split_at(flags.find(',').unwrap_or(flags.len())))
}

/// Returns the keyword letters of an info.
pub(super) fn keyword_letters(info: &str) -> impl Iterator<Item = u8> + '_ {
    letters_of(info).map_or("", |(letters, _)| letters).bytes().filter(u8::is_ascii_lowercase)
}

/// Returns the flags of an info. Letters without a meaning don't count.
pub(super) fn flags(info: &str, known: &KeywordLetters) -> FlagSet {
    let letters = letters_of(info).map_or("", |(letters, _)| letters);
    let mut flags: FlagSet = Flag::ALL.into_iter().filter(|flag| letters.contains(letter_of(*flag))).collect();
    flags.keywords.extend(letters.contains(PASSED).then(Keyword::forwarded));
    flags.keywords.extend(keyword_letters(info).filter_map(|letter| known.keyword(letter)).cloned());
    flags
}

/// Returns the info with the flags changed, or `None` if it is of a kind that has no flags. Letters without a meaning,
/// and what other programs put behind them, stay; letters are sorted, as other programs insist on.
pub(super) fn changed(info: &str, delta: &FlagDelta, known: &KeywordLetters) -> Option<String> {
    let (letters, behind) = letters_of(if info.is_empty() { NO_FLAGS } else { info })?;
    let removed = letters_meant(&delta.remove, known);
    let letters: BTreeSet<char> = letters.chars().filter(|letter| !removed.contains(letter)).collect();
    let letters: String = letters.union(&letters_for(&delta.add, known)).collect();
    Some(format!("{NO_FLAGS}{letters}{behind}"))
}

/// Returns the info with the letters of these keywords and no other keyword letter, but P, which means the same everywhere;
/// as it is if it is of a kind that has no flags.
pub(super) fn relabelled(info: &str, flags: &FlagSet, known: &KeywordLetters) -> String {
    let letter = |keyword: &Keyword| match keyword.is_forwarded() {
        true => Some(PASSED),
        false => known.letter(keyword).map(char::from),
    };
    with_letters(info, flags.keywords.iter().filter_map(letter))
}

/// Returns the info with the keyword letters of `after`, and with P if only that has it, if it has the keyword letters of
/// `before`; `None` if it has others.
pub(super) fn relabelled_alike(info: &str, before: &str, after: &str) -> Option<String> {
    let of = |info| keyword_letters(info).collect::<BTreeSet<u8>>();
    let has_p = |info| letters_of(info).is_some_and(|(letters, _)| letters.contains(PASSED));
    let passed = (has_p(after) && !has_p(before)).then_some(PASSED);
    (of(info) == of(before)).then(|| with_letters(info, keyword_letters(after).map(char::from).chain(passed)))
}

fn with_letters(info: &str, wanted: impl Iterator<Item = char>) -> String {
    let wanted: BTreeSet<char> = wanted.collect();
    let Some((letters, behind)) = letters_of(if info.is_empty() { NO_FLAGS } else { info }) else {
        return info.to_owned();
    };
    if info.is_empty() && wanted.is_empty() {
        return String::new();
    }
    let others = letters.chars().filter(|letter| !letter.is_ascii_lowercase());
    let letters: BTreeSet<char> = others.chain(wanted).collect();
    format!("{NO_FLAGS}{}{behind}", letters.into_iter().collect::<String>())
}

/// Returns the info of a message with these flags; empty if no letter stands for any of them.
pub(super) fn info(flags: &FlagSet, known: &KeywordLetters) -> String {
    let letters: String = letters_for(flags, known).into_iter().collect();
    if letters.is_empty() { letters } else { format!("{NO_FLAGS}{letters}") }
}

/// Returns the letters to write for flags: one for each that has any.
fn letters_for(flags: &FlagSet, known: &KeywordLetters) -> BTreeSet<char> {
    let keyword = |keyword: &Keyword| match keyword.is_forwarded() {
        true => Some(PASSED),
        false => known.letter(keyword).map(char::from),
    };
    flags.system().map(letter_of).chain(flags.keywords.iter().filter_map(keyword)).collect()
}

/// Returns all letters that stand for flags; a keyword may have several.
fn letters_meant(flags: &FlagSet, known: &KeywordLetters) -> BTreeSet<char> {
    let all = known.iter().filter(|(_, keyword)| flags.keywords.contains(keyword));
    letters_for(flags, known).into_iter().chain(all.map(|(letter, _)| char::from(letter))).collect()
}

/// Makes unique names for new files: time, then microseconds, process, counter and a random number, then host.
#[derive(Debug)]
pub(super) struct UniqueNames {
    host: String,
    random: u32,
    count: u64,
}

impl UniqueNames {
    /// Starts a series that no other process's collides with.
    pub(super) fn new() -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        // Two containers may share host name, process id and clock.
        let random = RandomState::new().build_hasher().finish();
        Self { host: escaped(&host), random: u32::try_from(random >> 32).unwrap_or_default(), count: 0 }
    }

    /// Returns the next name.
    pub(super) fn next_name(&mut self) -> String {
        self.count += 1;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (seconds, micros) = (now.as_secs(), now.subsec_micros());
        let (process, count, random) = (std::process::id(), self.count, self.random);
        format!("{seconds}.M{micros}P{process}Q{count}R{random:x}.{}", self.host)
    }
}

/// Returns true for a name as [`UniqueNames::next_name`] makes them, on whatever machine.
pub(super) fn is_ours(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let middle = |text: &str| {
        let (micros, rest) = text.strip_prefix('M')?.split_once('P')?;
        let (process, rest) = rest.split_once('Q')?;
        let (count, random) = rest.split_once('R')?;
        Some([micros, process, count, random].into_iter().all(digits))
    };
    let mut parts = name.splitn(3, '.');
    parts.next().is_some_and(digits) && parts.next().and_then(middle) == Some(true) && parts.next().is_some()
}

/// Escapes a host name as the Maildir specification says; other control characters likewise.
fn escaped(host: &str) -> String {
    let host: String = host.chars().take(64).collect();
    let host = host.replace('/', "\\057").replace(':', "\\072").replace(char::is_control, "_");
    if host.is_empty() { "localhost".to_owned() } else { host }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn known() -> KeywordLetters {
        let mut known = KeywordLetters::new();
        for (letter, keyword) in [(b'a', "$Junk"), (b'b', "work"), (b'd', "$junk")] {
            known.assign(letter, Keyword::new(keyword).unwrap());
        }
        known
    }

    fn set(system: &[Flag], keywords: &[&str]) -> FlagSet {
        FlagSet::from_parts(FlagSet::of(system).bits(), keywords.iter().filter_map(|word| Keyword::new(word)))
    }

    fn any_set() -> impl Strategy<Value = FlagSet> {
        (0u8..32, proptest::sample::subsequence(vec!["$Junk", "work", "$Forwarded", "other"], 0..4))
            .prop_map(|(bits, words)| FlagSet::from_parts(bits, set(&[], &words).keywords.iter().cloned()))
    }

    proptest! {
        #[test]
        fn a_change_changes_what_it_says_and_nothing_else(
            letters in "[SRFTDPXab cde]{0,8}", behind in "(,[a-z]{0,3})?", add in any_set(), remove in any_set(),
        ) {
            let delta = FlagDelta { remove: remove.difference(&add), add };
            let info = format!("2,{letters}{behind}");
            let after = changed(&info, &delta, &known()).unwrap();
            let mut expected = delta.apply(&flags(&info, &known()));
            expected.keywords.retain(|keyword| keyword.as_str() != "other");
            prop_assert_eq!(flags(&after, &known()), expected);
            let (written, rest) = letters_of(&after).unwrap();
            for kept in letters.chars().filter(|letter| "X ce".contains(*letter)) {
                prop_assert!(written.contains(kept));
            }
            prop_assert_eq!(rest, behind);
            prop_assert!(written.as_bytes().windows(2).all(|pair| pair[0] < pair[1]), "{}", after);
        }

        #[test]
        fn a_name_comes_back_from_its_parts(file in "[0-9a-zA-Z.,=_:#~-]{1,20}") {
            if let Some((unique, info)) = parse(&file) {
                prop_assert_eq!(format(&unique, info), file);
            }
        }
    }

    #[test]
    fn what_is_no_message_is_told_by_its_name() {
        let foreign = [
            ".hidden",
            "#1.x#",
            "1.x~",
            "1.x:2,S~",
            "1.x:",
            "dovecot.index",
            "dovecot-uidlist",
            "maildirsize",
            ":2,S",
            "",
        ];
        for name in foreign {
            assert_eq!(parse(name), None, "{name}");
        }
        for name in ["1.x", "1.x,U=3:2,S", "1.x:1,odd", "#"] {
            assert!(parse(name).is_some(), "{name}");
        }
    }

    #[test]
    fn infos_are_read_and_written() {
        assert_eq!(flags("2,PSab", &known()), set(&[Flag::Seen], &["$Forwarded", "$Junk", "work"]));
        assert_eq!(flags("1,S", &known()), FlagSet::new());
        assert_eq!(info(&set(&[Flag::Draft], &["work", "$forwarded", "other"]), &known()), "2,DPb");
        assert_eq!(info(&set(&[], &["other"]), &known()), "");
        let junk = FlagDelta { add: FlagSet::of(&[Flag::Seen]), remove: set(&[], &["$Junk"]) };
        assert_eq!(changed("2,adz,x", &junk, &known()).unwrap(), "2,Sz,x");
        assert_eq!(changed("", &junk, &known()).unwrap(), "2,S");
        assert_eq!(changed("1,x", &junk, &known()), None);
    }

    #[test]
    fn labels_are_keyword_letters_and_a_p_that_was_left_out() {
        let meant = set(&[Flag::Seen], &["$Forwarded", "work"]);
        assert_eq!(relabelled("2,FRac,x", &meant, &known()), "2,FPRb,x");
        assert_eq!(relabelled("2,P", &set(&[], &["work"]), &known()), "2,Pb");
        assert_eq!(relabelled_alike("2,Sa", "2,a", "2,Pb").unwrap(), "2,PSb");
        assert_eq!(relabelled_alike("2,a", "2,Pa", "2,Pb").unwrap(), "2,b", "taken off since");
        assert_eq!(relabelled_alike("2,b", "2,a", "2,Pb"), None);
    }

    #[test]
    fn unique_names_are_names_and_never_come_twice() {
        let mut names = UniqueNames { host: escaped("a/b:c"), ..UniqueNames::new() };
        let made: BTreeSet<_> = (0..1000).map(|_| names.next_name()).collect();
        assert_eq!(made.len(), 1000);
        for name in made {
            assert!(name.ends_with(".a\\057b\\072c"));
            assert_eq!(parse(&name).unwrap().0.as_str(), name);
        }
    }
}

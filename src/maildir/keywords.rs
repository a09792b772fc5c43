//! `dovecot-keywords`: which letter of a maildir stands for which keyword. Lines of a number and a keyword, `0 $Junk`
//! for the letter `a`; replaced as a whole (Dovecot documentation, Maildir format).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use super::durable;
use super::error::{Reach, failed};
use super::lock::Dotlock;
use crate::model::{Keyword, KeywordLetters};
use crate::store::LocalError;

/// The file's name. No folder's directory is called so.
pub(super) const FILE: &str = "dovecot-keywords";

/// The file by which a local Dovecot at work shows.
const UIDLIST: &str = "dovecot-uidlist";

/// More than this is no keywords file.
const LARGEST: u64 = 1 << 20;

/// Returns true if a local Dovecot works on the maildir, too.
pub(super) fn is_used_by_dovecot(maildir: &Path) -> bool {
    maildir.join(UIDLIST).is_file()
}

/// A keywords file: what is understood of it, and the lines that are not, which stay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct KeywordsFile {
    letters: KeywordLetters,
    /// Letters given to something that is no keyword, such as Dovecot's `unknown-3`.
    occupied: BTreeSet<u8>,
    other_lines: Vec<String>,
}

impl KeywordsFile {
    /// Returns `None` if the text was cut short, or is no such file.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.contains('\0') || !text.ends_with('\n') {
            return None;
        }
        let mut file = Self::default();
        // What is not understood stays as it is, to the byte.
        for line in text.split('\n').filter(|line| !line.is_empty()) {
            if !file.take(line.strip_suffix('\r').unwrap_or(line)) {
                file.other_lines.push(line.to_owned());
            }
        }
        Some(file)
    }

    /// Takes a line in and returns true if it names a free letter's keyword.
    fn take(&mut self, line: &str) -> bool {
        let Some((number, word)) = line.split_once(' ') else { return false };
        let Some(letter) = number.parse::<u8>().ok().filter(|number| *number < 26).map(|number| b'a' + number) else {
            return false;
        };
        if self.letters.keyword(letter).is_some() || self.occupied.contains(&letter) {
            return false;
        }
        match Keyword::new(word).filter(|_| !word.starts_with("unknown-")) {
            Some(keyword) => self.letters.assign(letter, keyword),
            None => {
                self.occupied.insert(letter);
                return false;
            }
        }
        true
    }

    pub(super) fn format(&self) -> String {
        let mut text = String::new();
        for (letter, keyword) in self.letters.iter() {
            // Writing to a string can't fail.
            let _ = writeln!(text, "{} {keyword}", letter - b'a');
        }
        self.other_lines.iter().for_each(|line| {
            let _ = writeln!(text, "{line}");
        });
        text
    }

    fn is_free(&self, letter: u8) -> bool {
        self.letters.keyword(letter).is_none() && !self.occupied.contains(&letter)
    }

    /// Gives back the meanings that the file has lost of letters that files bear.
    fn restore(&mut self, known: &KeywordLetters, borne: &BTreeSet<u8>) {
        for (letter, keyword) in known.iter().filter(|(letter, _)| borne.contains(letter)) {
            if self.is_free(letter) {
                self.letters.assign(letter, keyword.clone());
            }
        }
    }

    /// Gives letters to keywords that have none, as far as there are free ones that no file bears.
    fn assign(&mut self, keywords: &BTreeSet<Keyword>, borne: &BTreeSet<u8>) {
        let taken: Vec<u8> = borne.union(&self.occupied).copied().collect();
        for keyword in keywords.iter().filter(|keyword| !keyword.is_forwarded()) {
            if self.letters.letter(keyword).is_none()
                && let Some(letter) = self.letters.free_letter(&taken)
            {
                self.letters.assign(letter, keyword.clone());
            }
        }
    }
}

/// Reads the file; `None` if it is missing or torn.
fn read(maildir: &Path) -> Result<Option<KeywordsFile>, LocalError> {
    let path = maildir.join(FILE);
    let content = durable::open(&path).and_then(|file| {
        let mut content = String::new();
        io::Read::read_to_string(&mut io::Read::take(file, LARGEST), &mut content).map(|_| content)
    });
    match content {
        Ok(content) => Ok(KeywordsFile::parse(&content)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => Ok(None),
        Err(error) => Err(failed("read", &path, Reach::One, error)),
    }
}

/// Returns the meanings of the letters that files bear: first what the flags are to be read with, then what is known
/// for certain, `None` if the file is missing, torn, or lacks a letter that had a meaning, while files bear such letters.
pub(super) fn meanings(
    maildir: &Path,
    known: &KeywordLetters,
    borne: &BTreeSet<u8>,
) -> Result<(KeywordLetters, Option<KeywordLetters>), LocalError> {
    let file = read(maildir)?;
    let Some(mut file) = file else {
        // Letters that never had a meaning have lost none.
        let certain = borne.iter().all(|letter| known.keyword(*letter).is_none());
        return Ok((known.clone(), certain.then(KeywordLetters::new)));
    };
    let complete = borne.iter().all(|letter| !file.is_free(*letter) || known.keyword(*letter).is_none());
    if complete {
        return Ok((file.letters.clone(), Some(file.letters)));
    }
    file.restore(known, borne);
    Ok((file.letters, None))
}

/// Makes sure that keywords have letters, durably, and returns all meanings. A letter among `borne`, those on files'
/// names, gets no new meaning. Where Dovecot is at work its lock is held.
pub(super) fn assign(
    maildir: &Path,
    temporary: &Path,
    known: &KeywordLetters,
    keywords: &BTreeSet<Keyword>,
    borne: &BTreeSet<u8>,
) -> Result<KeywordLetters, LocalError> {
    let lock = is_used_by_dovecot(maildir).then(|| Dotlock::take(&maildir.join("dovecot-uidlist.lock"))).transpose()?;
    let before = read(maildir)?;
    let mut after = before.clone().unwrap_or_default();
    after.restore(known, borne);
    after.assign(keywords, borne);
    if before.as_ref() != Some(&after) && !after.letters.is_empty() {
        durable::replace(&maildir.join(FILE), temporary, after.format().as_bytes())?;
    }
    lock.map_or(Ok(()), Dotlock::release)?;
    Ok(after.letters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    fn keywords(words: &[&str]) -> BTreeSet<Keyword> {
        words.iter().map(|word| Keyword::new(word).unwrap()).collect()
    }

    fn letters(pairs: &[(u8, &str)]) -> KeywordLetters {
        let mut letters = KeywordLetters::new();
        pairs.iter().for_each(|(letter, word)| letters.assign(*letter, Keyword::new(word).unwrap()));
        letters
    }

    fn assigned(dir: &Path, known: &KeywordLetters, words: &[&str], borne: &[u8]) -> KeywordLetters {
        assign(dir, &dir.join("temporary"), known, &keywords(words), &borne.iter().copied().collect()).unwrap()
    }

    fn content(dir: &Path) -> String {
        fs::read_to_string(dir.join(FILE)).unwrap()
    }

    #[test]
    fn letters_are_assigned_once_and_written_as_dovecot_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let none = KeywordLetters::new();
        assert_eq!(assigned(dir.path(), &none, &["$Forwarded"], &[]), none);
        assert!(!dir.path().join(FILE).exists());
        let both = letters(&[(b'a', "$Junk"), (b'b', "work")]);
        assert_eq!(assigned(dir.path(), &none, &["work", "$Junk"], &[]), both);
        assert_eq!(content(dir.path()), "0 $Junk\n1 work\n");
        assert_eq!(assigned(dir.path(), &none, &["WORK"], &[]), both);
        let more = assigned(dir.path(), &none, &["x"], b"ce");
        assert_eq!(more.letter(&Keyword::new("x").unwrap()), Some(b'd'), "c is on a file");
    }

    #[test]
    fn what_is_not_understood_stays_and_keeps_its_letter() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "0 unknown-0\n30 late\ncomment\n1 a b\n2 x\n2 y\n").unwrap();
        let got = assigned(dir.path(), &KeywordLetters::new(), &["new"], &[]);
        assert_eq!(got, letters(&[(b'c', "x"), (b'd', "new")]));
        assert_eq!(content(dir.path()), "2 x\n3 new\n0 unknown-0\n30 late\ncomment\n1 a b\n2 y\n");
    }

    #[test]
    fn more_than_26_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let words: Vec<String> = (0..30).map(|number| format!("k{number}")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_eq!(assigned(dir.path(), &KeywordLetters::new(), &words, &[]).iter().count(), KeywordLetters::CAPACITY);
    }

    #[test]
    fn a_missing_torn_or_incomplete_file_makes_borne_letters_unknown() {
        let dir = tempfile::tempdir().unwrap();
        let known = letters(&[(b'a', "$Junk"), (b'b', "work")]);
        let borne = BTreeSet::from([b'a', b'b']);
        let with = |borne: &BTreeSet<u8>| meanings(dir.path(), &known, borne).unwrap();
        assert_eq!(with(&borne), (known.clone(), None));
        assert_eq!(with(&BTreeSet::new()).1, Some(KeywordLetters::new()));
        assert_eq!(with(&BTreeSet::from([b'q'])).1, Some(KeywordLetters::new()), "it never had a meaning");
        for torn in ["", "0 $Ju", "0 $Junk\n1 wo", "\0\0\0\n", "0 $Junk\n"] {
            fs::write(dir.path().join(FILE), torn).unwrap();
            assert_eq!(with(&borne), (known.clone(), None), "{torn:?}");
        }
        fs::write(dir.path().join(FILE), [0xff, b'\n']).unwrap();
        assert_eq!(with(&borne).1, None);
        fs::write(dir.path().join(FILE), "0 other\n1 work\n").unwrap();
        assert_eq!(with(&BTreeSet::from([b'a', b'q'])).1, Some(letters(&[(b'a', "other"), (b'b', "work")])));
    }

    #[test]
    fn lines_that_are_not_understood_stay_to_the_byte() {
        let text = "0 work\nnot this\r\r\n";
        assert_eq!(KeywordsFile::parse(text).unwrap().format(), text);
        assert_eq!(KeywordsFile::parse("0 work\r\n").unwrap().format(), "0 work\n");
    }

    #[test]
    fn a_lost_file_comes_back_from_what_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let known = letters(&[(b'b', "work"), (b'c', "unused")]);
        let got = assigned(dir.path(), &known, &["new"], b"bz");
        assert_eq!(got, letters(&[(b'a', "new"), (b'b', "work")]));
        assert_eq!(content(dir.path()), "0 new\n1 work\n");
    }

    #[test]
    fn dovecots_lock_is_respected_and_released() {
        let dir = tempfile::tempdir().unwrap();
        let lock = dir.path().join("dovecot-uidlist.lock");
        fs::write(dir.path().join(UIDLIST), "").unwrap();
        assigned(dir.path(), &KeywordLetters::new(), &["x"], &[]);
        assert!(!lock.exists());
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_what_is_written_reads_the_same(lines in proptest::collection::vec(prop_oneof![
            (0u8..30, "[a-z$]{1,8}").prop_map(|(number, word)| format!("{number} {word}\n")),
            (0u8..30).prop_map(|number| format!("{number} unknown-{number}\n")),
            Just("\n".to_owned()),
            Just("x\r\r\n".to_owned()),
            "\\PC{0,20}\n?",
            any::<String>(),
        ], 0..40)) {
            if let Some(file) = KeywordsFile::parse(&lines.concat()) {
                let text = file.format();
                let again = if text.is_empty() { Some(KeywordsFile::default()) } else { KeywordsFile::parse(&text) };
                prop_assert_eq!(again, Some(file));
            }
        }
    }
}

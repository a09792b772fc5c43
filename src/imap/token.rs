//! Splits a response into tokens, taking what real servers send rather than what the grammar allows.

use std::borrow::Cow;

use super::wire::{Literal, Reply};

/// How deep parentheses may be nested before a response counts as garbled.
const MAX_DEPTH: usize = 100;

/// One token of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// `(`
    Open,
    /// `)`
    Close,
    /// Anything not quoted, up to a space or parenthesis; a section such as `BODY[HEADER.FIELDS (A B)]` is one.
    Atom(&'a [u8]),
    /// A quoted string, unescaped, or a literal.
    String(Cow<'a, [u8]>),
    /// A literal that went to the sink.
    Streamed,
}

impl<'a> Token<'a> {
    /// Returns the text of an atom or string; `None` for NIL, parentheses and what was streamed.
    pub(super) fn text(self) -> Option<Cow<'a, [u8]>> {
        match self {
            Token::Atom(atom) if atom.eq_ignore_ascii_case(b"NIL") => None,
            Token::Atom(atom) => Some(Cow::Borrowed(atom)),
            Token::String(text) => Some(text),
            Token::Open | Token::Close | Token::Streamed => None,
        }
    }

    /// Returns the number that an atom or string is, if it fits.
    pub(super) fn number<N: std::str::FromStr>(self) -> Option<N> {
        let text = self.text()?;
        std::str::from_utf8(&text).ok()?.parse().ok()
    }
}

/// The tokens of a response, or of a part of one.
#[derive(Debug, Clone)]
pub(super) struct Tokens<'a> {
    text: &'a [u8],
    literals: &'a [Literal],
    at: usize,
}

impl<'a> Tokens<'a> {
    /// Starts at the beginning of a response.
    pub(super) fn new(reply: &'a Reply) -> Self {
        Self { text: &reply.text, literals: &reply.literals, at: 0 }
    }

    /// Returns what is left, as it stands.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Takes a response code, if one stands here: its tokens, its end left out. The rest is prose.
    pub(super) fn take_code(&mut self) -> Option<Tokens<'a>> {
        self.skip_spaces();
        if self.peek() != Some(b'[') {
            return None;
        }
        let start = self.at + 1;
        let end = self.code_end(start)?;
        self.at = end + 1;
        Some(Tokens { text: self.text.get(..end)?, literals: self.literals, at: start })
    }

    /// Returns where the `]` stands that ends a response code: not one within parentheses, quotes or a literal.
    fn code_end(&self, start: usize) -> Option<usize> {
        let mut inside = Tokens { text: self.text, literals: self.literals, at: start };
        let mut depth = 0_usize;
        while let Some(byte) = inside.peek() {
            match byte {
                b']' if depth == 0 => return Some(inside.at),
                b'"' => {
                    inside.quoted();
                }
                b'{' if inside.literal_here().is_some() => {
                    inside.next();
                }
                _ => {
                    match byte {
                        b'(' => depth += 1,
                        b')' => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                    inside.at += 1;
                }
            }
        }
        let rest = self.text.get(start..)?;
        rest.iter().position(|&byte| byte == b']').map(|at| start + at)
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_spaces(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// Skips one value: an atom, a string, or a whole list. Returns false if there was none, or it never ends.
    pub(super) fn skip_value(&mut self) -> bool {
        let mut depth = 0_usize;
        loop {
            match self.peek_token() {
                None => return false,
                Some(Token::Close) if depth == 0 => return true,
                Some(Token::Open) => depth += 1,
                Some(Token::Close) => depth -= 1,
                Some(_) => {}
            }
            self.next();
            if depth == 0 {
                return true;
            }
            if depth > MAX_DEPTH {
                return false;
            }
        }
    }

    /// Returns the next token without taking it.
    pub(super) fn peek_token(&self) -> Option<Token<'a>> {
        self.clone().next()
    }

    fn literal_here(&self) -> Option<Literal> {
        let index = self.literals.partition_point(|literal| literal.at < self.at);
        self.literals.get(index).copied().filter(|literal| literal.at == self.at)
    }

    fn literal(&mut self, literal: Literal) -> Token<'a> {
        self.at = literal.start + literal.kept;
        match literal.streamed {
            true => Token::Streamed,
            false => Token::String(Cow::Borrowed(self.text.get(literal.start..self.at).unwrap_or_default())),
        }
    }

    /// A backslash escapes only `"` and `\`; before anything else it is a server's unescaped backslash.
    fn quoted(&mut self) -> Token<'a> {
        let start = self.at + 1;
        let mut escapes = false;
        self.at = start;
        while let Some(byte) = self.peek() {
            match (byte, self.text.get(self.at + 1)) {
                (b'\\', Some(b'"' | b'\\')) => {
                    escapes = true;
                    self.at += 2;
                }
                (b'"', _) => break,
                _ => self.at += 1,
            }
        }
        let raw = self.text.get(start..self.at).unwrap_or_default();
        self.at = (self.at + 1).min(self.text.len());
        Token::String(if escapes { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) })
    }

    fn atom(&mut self) -> Token<'a> {
        let start = self.at;
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'(' | b')' | b'\t' | b'\r' | b'\n' => break,
                b'[' if is_sectioned(self.text.get(start..self.at).unwrap_or_default()) => {
                    let rest = self.text.get(self.at..).unwrap_or_default();
                    self.at += rest.iter().position(|&byte| byte == b']').unwrap_or(0) + 1;
                }
                _ => self.at += 1,
            }
        }
        Token::Atom(self.text.get(start..self.at).unwrap_or_default())
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_spaces();
        let token = match self.peek()? {
            b'(' => {
                self.at += 1;
                Token::Open
            }
            b')' => {
                self.at += 1;
                Token::Close
            }
            b'"' => self.quoted(),
            b'~' if self.text.get(self.at + 1) == Some(&b'{') => {
                self.at += 1;
                match self.literal_here() {
                    Some(literal) => self.literal(literal),
                    None => self.atom(),
                }
            }
            b'{' => match self.literal_here() {
                Some(literal) => self.literal(literal),
                None => self.atom(),
            },
            _ => self.atom(),
        };
        Some(token)
    }
}

fn unescape(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.peek()) {
            (b'\\', Some(&escaped @ (b'"' | b'\\'))) => {
                out.push(escaped);
                bytes.next();
            }
            _ => out.push(byte),
        }
    }
    out
}

fn is_sectioned(name: &[u8]) -> bool {
    [&b"BODY"[..], b"BODY.PEEK", b"BINARY", b"BINARY.SIZE"].iter().any(|item| name.eq_ignore_ascii_case(item))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reply(text: &[u8]) -> Reply {
        Reply { text: text.to_vec(), literals: Vec::new() }
    }

    fn texts(text: &[u8]) -> Vec<String> {
        let reply = reply(text);
        Tokens::new(&reply).map(|token| format!("{token:?}")).collect()
    }

    #[test]
    fn odd_strings_and_atoms() {
        let reply = reply(br#"a  "b\"c\\d\e" BODY[HEADER.FIELDS (X Y)]<0> FLAGS(\Seen) a[b NIL "open"#);
        let tokens: Vec<Token<'_>> = Tokens::new(&reply).collect();
        let expected = [
            Token::Atom(b"a"),
            Token::String(Cow::Borrowed(br#"b"c\d\e"#)),
            Token::Atom(b"BODY[HEADER.FIELDS (X Y)]<0>"),
            Token::Atom(b"FLAGS"),
            Token::Open,
            Token::Atom(b"\\Seen"),
            Token::Close,
            Token::Atom(b"a[b"),
            Token::Atom(b"NIL"),
            Token::String(Cow::Borrowed(b"open")),
        ];
        assert_eq!(tokens, expected);
    }

    #[test]
    fn deep_nesting_is_an_end_and_no_overflow() {
        let text = vec![b'('; 1_000_000];
        let reply = reply(&text);
        assert!(!Tokens::new(&reply).skip_value());
        assert_eq!(texts(b"").len(), 0);
    }

    #[test]
    fn codes_end_where_they_should() {
        for (text, code, prose) in [
            (&b"[ALERT] x"[..], &b"ALERT"[..], &b" x"[..]),
            (br#"[PERMANENTFLAGS (a]b \*)] Ok"#, br"PERMANENTFLAGS (a]b \*)", b" Ok"),
            (br#"[X "a]b"] y]"#, br#"X "a]b""#, b" y]"),
            (b"[X (y] z", b"X (y", b" z"),
        ] {
            let reply = reply(text);
            let mut tokens = Tokens::new(&reply);
            assert_eq!(tokens.take_code().unwrap().rest(), code);
            assert_eq!(tokens.rest(), prose);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let reply = reply(&text);
            prop_assert!(Tokens::new(&reply).count() <= text.len());
            let mut tokens = Tokens::new(&reply);
            tokens.take_code();
            tokens.skip_value();
        }
    }
}

//! Lists of flags.

use std::borrow::Cow;

use super::{Token, Tokens};
use crate::model::{Flag, FlagSet, Keyword, PermanentFlags};

pub(super) fn permanent_flags(tokens: &mut Tokens<'_>) -> Option<PermanentFlags> {
    let mut permanent = PermanentFlags { flags: FlagSet::new(), new_keywords: false };
    flag_words(tokens, |word| match word {
        b"\\*" => permanent.new_keywords = true,
        _ => add_flag(&mut permanent.flags, word),
    })?;
    Some(permanent)
}

pub(super) fn flags(tokens: &mut Tokens<'_>) -> Option<FlagSet> {
    let mut set = FlagSet::new();
    flag_words(tokens, |word| add_flag(&mut set, word))?;
    Some(set)
}

/// Calls back for each word of a list. `None` if it is none or was cut off: then nothing is known.
pub(super) fn flag_words(tokens: &mut Tokens<'_>, mut each: impl FnMut(&[u8])) -> Option<()> {
    if tokens.peek_token()? != Token::Open {
        tokens.skip_value();
        return None;
    }
    tokens.next();
    loop {
        match tokens.peek_token()? {
            Token::Open => {
                tokens.skip_value().then_some(())?;
            }
            Token::Close => {
                tokens.next();
                return Some(());
            }
            token => {
                tokens.next();
                each(&token.text().unwrap_or(Cow::Borrowed(b"NIL")));
            }
        }
    }
}

fn add_flag(set: &mut FlagSet, word: &[u8]) {
    if let Some(flag) = Flag::ALL.into_iter().find(|flag| word.eq_ignore_ascii_case(flag.as_imap().as_bytes())) {
        set.set(flag, true);
    } else if let Some(keyword) = std::str::from_utf8(word).ok().and_then(Keyword::new) {
        set.keywords.insert(keyword);
    } else if !word.eq_ignore_ascii_case(b"\\Recent") {
        tracing::debug!(flag = %String::from_utf8_lossy(word), "a flag that is no keyword is ignored");
    }
}

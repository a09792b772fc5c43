//! FETCH, SEARCH and VANISHED.

use super::flags::flags;
use super::{Body, Fetch, Token, Tokens, Untagged, number, ranges, uid_set, words};
use crate::imap::date;
use crate::model::{Uid, UidSet};

pub(super) fn fetch(mut fetch: Fetch, tokens: &mut Tokens<'_>) -> Fetch {
    if tokens.peek_token() == Some(Token::Open) {
        tokens.next();
    }
    while let Some(token) = tokens.next() {
        let Token::Atom(name) = token else { break };
        match name {
            _ if name.eq_ignore_ascii_case(b"UID") => fetch.uid = number(tokens).and_then(Uid::new),
            _ if name.eq_ignore_ascii_case(b"FLAGS") => fetch.flags = flags(tokens),
            _ if name.eq_ignore_ascii_case(b"INTERNALDATE") => {
                fetch.date = Some(tokens.next().and_then(Token::text).and_then(|text| date::parse(&text)));
            }
            _ if name.eq_ignore_ascii_case(b"RFC822.SIZE") => fetch.size = number(tokens),
            // The first of several sections: it is the one that went to the sink.
            _ if name.contains(&b'[') => {
                let value = tokens.next();
                fetch.body = fetch.body.or_else(|| value.map(|value| (words(name), body(value))));
            }
            _ => {
                tokens.skip_value();
            }
        }
    }
    fetch
}

fn body(value: Token<'_>) -> Body {
    match value {
        Token::Streamed => Body::Streamed,
        Token::String(text) => Body::Inline(text.into_owned()),
        Token::Atom(_) | Token::Open | Token::Close => Body::Nil,
    }
}

pub(super) fn vanished(tokens: &mut Tokens<'_>) -> Untagged {
    let earlier = tokens.peek_token() == Some(Token::Open);
    if earlier {
        tokens.skip_value();
    }
    let uids = tokens.next().and_then(Token::text).map(|text| uid_set(&text)).unwrap_or_default();
    Untagged::Vanished { earlier, uids }
}

/// Reads what was found, up to `(MODSEQ n)`. `None` if a part of it can't be read: what is left out would count as not
/// found.
pub(super) fn searched(tokens: &mut Tokens<'_>) -> Option<UidSet> {
    let found: Option<Vec<u32>> = tokens.take_while(|token| *token != Token::Open).map(Token::number).collect();
    Some(found?.into_iter().filter_map(Uid::new).collect())
}

/// Reads what was found, under the same condition.
pub(super) fn extended_search(tokens: &mut Tokens<'_>) -> Option<UidSet> {
    while let Some(token) = tokens.peek_token() {
        if token == Token::Open {
            tokens.skip_value();
            continue;
        }
        tokens.next();
        if token == Token::Atom(b"ALL") {
            let text = tokens.next()?.text()?;
            return ranges(&text).all(|range| range.is_some()).then(|| uid_set(&text));
        }
    }
    Some(UidSet::new())
}

//! FETCH, SEARCH and VANISHED.

use super::flags::flags;
use super::{Body, Fetch, Token, Tokens, Untagged, number, ranges, uid_set, words};
use crate::imap::date;
use crate::model::{EmailId, Uid, UidSet};

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
            _ if name.eq_ignore_ascii_case(b"EMAILID") => fetch.email_id = email_id(tokens).or(fetch.email_id),
            _ if name.eq_ignore_ascii_case(b"X-GM-MSGID") => fetch.email_id = fetch.email_id.or(gmail_id(tokens)),
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

/// Reads `(id)` (RFC 8474 section 7); anything else is no id, and what follows is read as if it were not there.
fn email_id(tokens: &mut Tokens<'_>) -> Option<EmailId> {
    let mut inside = tokens.clone();
    match tokens.peek_token()? {
        Token::Open => drop(tokens.skip_value()),
        value => return no_id(&value, tokens),
    }
    inside.next();
    let id = inside.next()?.text()?;
    let is_object_id = (1..=255).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    (is_object_id && inside.next()? == Token::Close).then(|| EmailId::of(&id))
}

/// Reads Gmail's number. It is told apart from an EMAILID of the same digits.
fn gmail_id(tokens: &mut Tokens<'_>) -> Option<EmailId> {
    let value = tokens.peek_token()?;
    if !matches!(value, Token::Atom([b'0'..=b'9', ..])) {
        return no_id(&value, tokens);
    }
    let id: u64 = number(tokens)?;
    (id > 0).then(|| EmailId::of(format!("gmail:{id}").as_bytes()))
}

/// Passes over a value that is no id. An atom other than NIL is rather the next item's name: the value is missing.
fn no_id(value: &Token<'_>, tokens: &mut Tokens<'_>) -> Option<EmailId> {
    let is_nil = |atom: &[u8]| atom.eq_ignore_ascii_case(b"NIL");
    if !matches!(value, Token::Atom(atom) if !is_nil(atom)) {
        tokens.skip_value();
    }
    None
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

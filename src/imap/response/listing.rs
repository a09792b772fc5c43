//! LIST, STATUS, NAMESPACE and QUOTA.

use super::flags::flag_words;
use super::{Listed, MailboxStatus, Namespace, Namespaces, Token, Tokens, number, words};
use crate::model::{ModSeq, Quota, UidValidity, Usage, Watermark};

pub(super) fn listed(tokens: &mut Tokens<'_>) -> Option<Listed> {
    let mut attributes = Vec::new();
    flag_words(tokens, |word| attributes.push(String::from_utf8_lossy(word).to_ascii_lowercase()));
    let separator = tokens.next()?.text().and_then(|text| text.first().copied());
    Some(Listed { attributes, separator, name: mailbox(tokens)? })
}

/// Reads a mailbox name; one written as an atom may hold what no atom may, up to the end or an opening parenthesis.
fn mailbox(tokens: &mut Tokens<'_>) -> Option<Vec<u8>> {
    match tokens.next()? {
        Token::String(text) => Some(text.into_owned()),
        Token::Atom(start) => {
            let mut name = start.to_vec();
            while let Some(Token::Atom(more)) = tokens.peek_token() {
                tokens.next();
                name.push(b' ');
                name.extend_from_slice(more);
            }
            Some(name)
        }
        Token::Open | Token::Close | Token::Streamed => None,
    }
}

pub(super) fn mailbox_status(tokens: &mut Tokens<'_>) -> Option<MailboxStatus> {
    let name = mailbox(tokens)?;
    let (mut validity, mut messages, mut uid_next, mut mod_seq, mut object_id) = (None, None, 0, None, None);
    if tokens.next()? != Token::Open {
        return None;
    }
    while let Some(token) = tokens.next() {
        let Token::Atom(item) = token else { break };
        match words(item).as_str() {
            "UIDVALIDITY" => validity = number(tokens),
            "MESSAGES" => messages = number(tokens),
            "UIDNEXT" => uid_next = number(tokens).unwrap_or(0),
            "HIGHESTMODSEQ" => mod_seq = number(tokens).and_then(ModSeq::new),
            "MAILBOXID" => object_id = object(tokens),
            _ => {
                tokens.skip_value();
            }
        }
    }
    let watermark = validity.zip(messages).map(|(validity, messages)| Watermark {
        uid_validity: UidValidity(validity),
        uid_next,
        messages,
        mod_seq,
    });
    Some(MailboxStatus { name, watermark, mod_seq, object_id })
}

/// Reads `(id)`.
fn object(tokens: &mut Tokens<'_>) -> Option<String> {
    let mut id = None;
    flag_words(tokens, |word| id = Some(String::from_utf8_lossy(word).into_owned()))?;
    id
}

/// Reads QUOTA; `None` if it tells of nothing that is known here. Storage is counted in units of 1,024 bytes.
pub(super) fn quota(tokens: &mut Tokens<'_>) -> Option<Quota> {
    mailbox(tokens)?;
    if tokens.next()? != Token::Open {
        return None;
    }
    let mut quota = Quota::default();
    while let Some(Token::Atom(resource)) = tokens.next() {
        let usage = number(tokens).zip(number(tokens)).map(|(used, limit)| Usage { used, limit });
        match words(resource).as_str() {
            "STORAGE" => quota.storage = usage.map(in_bytes),
            "MESSAGE" => quota.messages = usage,
            _ => {}
        }
    }
    Some(quota).filter(|quota| *quota != Quota::default())
}

fn in_bytes(usage: Usage) -> Usage {
    Usage { used: usage.used.saturating_mul(1024), limit: usage.limit.saturating_mul(1024) }
}

pub(super) fn namespaces(tokens: &mut Tokens<'_>) -> Namespaces {
    let personal = namespace_group(tokens);
    let mut foreign = namespace_group(tokens);
    foreign.append(&mut namespace_group(tokens));
    Namespaces { personal, foreign }
}

/// Reads NIL or `((prefix separator extension…)…)`.
fn namespace_group(tokens: &mut Tokens<'_>) -> Vec<Namespace> {
    let mut group = Vec::new();
    if tokens.next() != Some(Token::Open) {
        return group;
    }
    while tokens.peek_token() == Some(Token::Open) {
        tokens.next();
        let prefix = tokens.next().and_then(Token::text).unwrap_or_default().into_owned();
        let separator = tokens.next().and_then(Token::text).and_then(|text| text.first().copied());
        group.push(Namespace { prefix, separator });
        while tokens.peek_token().is_some_and(|token| token != Token::Close) && tokens.skip_value() {}
        tokens.next();
    }
    tokens.next();
    group
}

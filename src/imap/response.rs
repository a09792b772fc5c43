//! What a response says. Anything not understood is `Other`, never an error: it is for the caller to see what is missing.

use std::borrow::Cow;
use std::fmt;

use super::date;
use super::token::{Token, Tokens};
use super::wire::Reply;
use crate::model::{Flag, FlagSet, Keyword, ModSeq, PermanentFlags, Timestamp, Uid, UidSet, UidValidity, Watermark};

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Response {
    /// `+`, with its text.
    Continue(Vec<u8>),
    /// The end of a command, by its tag.
    Tagged(Vec<u8>, Status),
    /// Data.
    Untagged(Untagged),
}

/// Untagged data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Untagged {
    /// OK, NO, BAD, BYE, PREAUTH.
    Status(Status),
    /// CAPABILITY.
    Capability(Vec<String>),
    /// ENABLED.
    Enabled(Vec<String>),
    /// NAMESPACE.
    Namespace(Namespaces),
    /// LIST.
    List(Listed),
    /// LSUB.
    Lsub(Listed),
    /// STATUS of a mailbox.
    MailboxStatus(MailboxStatus),
    /// SEARCH or ESEARCH: the UIDs found.
    Search(UidSet),
    /// EXISTS: how many messages the mailbox holds.
    Exists(u32),
    /// EXPUNGE of one message, by sequence number.
    Expunge,
    /// VANISHED (RFC 7162 section 3.2.10).
    Vanished {
        /// `(EARLIER)`: an answer about the past; does not change EXISTS.
        earlier: bool,
        /// The UIDs, perhaps of messages that never were.
        uids: UidSet,
    },
    /// FETCH of one message.
    Fetch(Fetch),
    /// Anything else.
    Other,
}

/// OK, NO, BAD, BYE or PREAUTH with its code and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Status {
    /// Which of them.
    pub(super) condition: Condition,
    /// The response code.
    pub(super) code: Option<Code>,
    /// The text for people, control characters left out.
    pub(super) text: String,
}

/// The condition that a status response reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// Done.
    Ok,
    /// Refused.
    No,
    /// Not understood.
    Bad,
    /// The server ends the connection.
    Bye,
    /// The connection needs no log-in.
    PreAuth,
}

/// A response code (RFC 9051 section 7.1, RFC 4315, RFC 5530, RFC 7162).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Code {
    /// CAPABILITY
    Capability(Vec<String>),
    /// UIDVALIDITY
    UidValidity(UidValidity),
    /// UIDNEXT
    UidNext(u32),
    /// HIGHESTMODSEQ; `None` if it is 0.
    HighestModSeq(Option<ModSeq>),
    /// PERMANENTFLAGS
    PermanentFlags(PermanentFlags),
    /// APPENDUID
    AppendUid(UidValidity, Uid),
    /// COPYUID
    CopyUid(CopyUid),
    /// Any other, in upper case.
    Word(String),
}

/// COPYUID: ranges as they were sent, for they are paired in that order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CopyUid {
    /// The target's UIDVALIDITY.
    pub(super) validity: UidValidity,
    /// UIDs in the source.
    pub(super) from: Vec<(Uid, Uid)>,
    /// UIDs in the target.
    pub(super) to: Vec<(Uid, Uid)>,
}

/// NAMESPACE (RFC 2342).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Namespaces {
    /// The user's own.
    pub(super) personal: Vec<Namespace>,
    /// Other users' and shared ones.
    pub(super) foreign: Vec<Namespace>,
}

/// One namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Namespace {
    /// What its names begin with.
    pub(super) prefix: Vec<u8>,
    /// The hierarchy separator.
    pub(super) separator: Option<u8>,
}

/// LIST or LSUB of one mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// Attributes in lower case, with their backslash.
    pub(super) attributes: Vec<String>,
    /// The hierarchy separator.
    pub(super) separator: Option<u8>,
    /// The name as the server spells it.
    pub(super) name: Vec<u8>,
}

/// STATUS of one mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MailboxStatus {
    /// The name as the server spells it.
    pub(super) name: Vec<u8>,
    /// The values, if the necessary ones are there.
    pub(super) watermark: Option<Watermark>,
    /// MAILBOXID.
    pub(super) object_id: Option<String>,
}

/// FETCH of one message: what was there and could be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fetch {
    /// UID.
    pub(super) uid: Option<Uid>,
    /// FLAGS; `None` is "not said", not "none".
    pub(super) flags: Option<FlagSet>,
    /// INTERNALDATE; `Some(None)` is one that can't be read.
    pub(super) date: Option<Option<Timestamp>>,
    /// RFC822.SIZE.
    pub(super) size: Option<u64>,
    /// The section sent, such as `BODY[]` or `BODY[HEADER]`, in upper case, with its bytes.
    pub(super) body: Option<(String, Body)>,
}

/// How a body section was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    /// NIL: there is none.
    Nil,
    /// As a literal, which went to the sink.
    Streamed,
    /// As a string within the line.
    Inline(Vec<u8>),
}

impl Status {
    /// Returns the response code's name if it is a plain word, else nothing.
    pub(super) fn code_name(&self) -> &str {
        match &self.code {
            Some(Code::Word(word)) => word,
            _ => "",
        }
    }

    /// Returns true for OK.
    pub(super) fn is_ok(&self) -> bool {
        self.condition == Condition::Ok
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let condition = match self.condition {
            Condition::Ok => "OK",
            Condition::No => "NO",
            Condition::Bad => "BAD",
            Condition::Bye => "BYE",
            Condition::PreAuth => "PREAUTH",
        };
        match self.code_name() {
            "" => write!(f, "{condition} {}", self.text),
            code => write!(f, "{condition} [{code}] {}", self.text),
        }
    }
}

/// Reads a response; `None` for a blank line or what can't be one.
pub(super) fn parse(reply: &Reply) -> Option<Response> {
    let mut tokens = Tokens::new(reply);
    let first = tokens.next()?;
    if first == Token::Atom(b"+") {
        return Some(Response::Continue(tokens.rest().trim_ascii().to_vec()));
    }
    let Token::Atom(tag) = first else { return None };
    if tag != b"*" {
        let condition = condition(&tokens.next()?.text()?)?;
        return Some(Response::Tagged(tag.to_vec(), status(condition, &mut tokens)));
    }
    Some(Response::Untagged(untagged(&mut tokens).unwrap_or(Untagged::Other)))
}

fn condition(word: &[u8]) -> Option<Condition> {
    Some(match word.to_ascii_uppercase().as_slice() {
        b"OK" => Condition::Ok,
        b"NO" => Condition::No,
        b"BAD" => Condition::Bad,
        b"BYE" => Condition::Bye,
        b"PREAUTH" => Condition::PreAuth,
        _ => return None,
    })
}

fn status(condition: Condition, tokens: &mut Tokens<'_>) -> Status {
    let code = tokens.take_code().and_then(|mut code| self::code(&mut code));
    let text = String::from_utf8_lossy(tokens.rest()).chars().filter(|c| !c.is_control()).collect::<String>();
    Status { condition, code, text: text.trim().to_owned() }
}

fn code(tokens: &mut Tokens<'_>) -> Option<Code> {
    let name = words(&tokens.next()?.text()?);
    let known = match name.as_str() {
        "CAPABILITY" => Some(Code::Capability(atoms(tokens))),
        "UIDVALIDITY" => number(tokens).map(|value| Code::UidValidity(UidValidity(value))),
        "UIDNEXT" => number(tokens).map(Code::UidNext),
        "HIGHESTMODSEQ" => number(tokens).map(|value| Code::HighestModSeq(ModSeq::new(value))),
        "PERMANENTFLAGS" => permanent_flags(tokens).map(Code::PermanentFlags),
        "APPENDUID" => append_uid(tokens),
        "COPYUID" => copy_uid(tokens).map(Code::CopyUid),
        _ => None,
    };
    Some(known.unwrap_or(Code::Word(name)))
}

/// Returns an upper-case word; Gmail and others write some in mixed case.
fn words(text: &[u8]) -> String {
    String::from_utf8_lossy(text).to_ascii_uppercase()
}

fn atoms(tokens: &mut Tokens<'_>) -> Vec<String> {
    tokens.by_ref().filter_map(Token::text).map(|word| words(&word)).collect()
}

fn number<N: std::str::FromStr>(tokens: &mut Tokens<'_>) -> Option<N> {
    tokens.next()?.number()
}

fn append_uid(tokens: &mut Tokens<'_>) -> Option<Code> {
    let validity = UidValidity(number(tokens)?);
    Some(Code::AppendUid(validity, Uid::new(number(tokens)?)?))
}

fn copy_uid(tokens: &mut Tokens<'_>) -> Option<CopyUid> {
    let validity = UidValidity(number(tokens)?);
    let from = ranges(&tokens.next()?.text()?).collect::<Option<Vec<_>>>()?;
    let to = ranges(&tokens.next()?.text()?).collect::<Option<Vec<_>>>()?;
    Some(CopyUid { validity, from, to })
}

/// Reads a sequence set's ranges in the order sent; `None` in place of what is none.
fn ranges(text: &[u8]) -> impl Iterator<Item = Option<(Uid, Uid)>> + '_ {
    text.split(|&byte| byte == b',').filter(|part| !part.is_empty()).map(|part| {
        let mut ends = part.splitn(2, |&byte| byte == b':').map(uid);
        let first = ends.next()??;
        let last = ends.next().unwrap_or(Some(first))?;
        Some((first.min(last), first.max(last)))
    })
}

fn uid(text: &[u8]) -> Option<Uid> {
    match text {
        b"*" => Uid::new(u32::MAX),
        _ => std::str::from_utf8(text).ok()?.parse().ok().and_then(Uid::new),
    }
}

/// Reads a sequence set. What can't be read in it is left out.
fn uid_set(text: &[u8]) -> UidSet {
    let mut set = UidSet::new();
    for (first, last) in ranges(text).flatten() {
        set.insert_range(first, last);
    }
    set
}

fn permanent_flags(tokens: &mut Tokens<'_>) -> Option<PermanentFlags> {
    let mut permanent = PermanentFlags { flags: FlagSet::new(), new_keywords: false };
    flag_words(tokens, |word| match word {
        b"\\*" => permanent.new_keywords = true,
        _ => add_flag(&mut permanent.flags, word),
    })?;
    Some(permanent)
}

fn flags(tokens: &mut Tokens<'_>) -> Option<FlagSet> {
    let mut set = FlagSet::new();
    flag_words(tokens, |word| add_flag(&mut set, word))?;
    Some(set)
}

/// Calls back for each word of a list. `None` if it is none or was cut off: then nothing is known.
fn flag_words(tokens: &mut Tokens<'_>, mut each: impl FnMut(&[u8])) -> Option<()> {
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

fn untagged(tokens: &mut Tokens<'_>) -> Option<Untagged> {
    let word = tokens.next()?.text()?;
    if let Some(number) = std::str::from_utf8(&word).ok().and_then(|text| text.parse::<u32>().ok()) {
        return numbered(number, tokens);
    }
    if let Some(condition) = condition(&word) {
        return Some(Untagged::Status(status(condition, tokens)));
    }
    Some(match words(&word).as_str() {
        "CAPABILITY" => Untagged::Capability(atoms(tokens)),
        "ENABLED" => Untagged::Enabled(atoms(tokens)),
        "NAMESPACE" => Untagged::Namespace(namespaces(tokens)),
        "LIST" => Untagged::List(listed(tokens)?),
        "LSUB" => Untagged::Lsub(listed(tokens)?),
        "STATUS" => Untagged::MailboxStatus(mailbox_status(tokens)?),
        "SEARCH" => Untagged::Search(searched(tokens)),
        "ESEARCH" => Untagged::Search(extended_search(tokens)),
        "VANISHED" => vanished(tokens),
        _ => Untagged::Other,
    })
}

fn numbered(number: u32, tokens: &mut Tokens<'_>) -> Option<Untagged> {
    Some(match words(&tokens.next()?.text()?).as_str() {
        "EXISTS" => Untagged::Exists(number),
        "EXPUNGE" => Untagged::Expunge,
        "FETCH" => Untagged::Fetch(fetch(Fetch::default(), tokens)),
        "UIDFETCH" => Untagged::Fetch(fetch(Fetch { uid: Uid::new(number), ..Fetch::default() }, tokens)),
        _ => Untagged::Other,
    })
}

fn fetch(mut fetch: Fetch, tokens: &mut Tokens<'_>) -> Fetch {
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
            _ if name.contains(&b'[') => fetch.body = tokens.next().map(|value| (words(name), body(value))),
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

fn vanished(tokens: &mut Tokens<'_>) -> Untagged {
    let earlier = tokens.peek_token() == Some(Token::Open);
    if earlier {
        tokens.skip_value();
    }
    let uids = tokens.next().and_then(Token::text).map(|text| uid_set(&text)).unwrap_or_default();
    Untagged::Vanished { earlier, uids }
}

fn searched(tokens: &mut Tokens<'_>) -> UidSet {
    tokens.map_while(Token::number::<u32>).filter_map(Uid::new).collect()
}

fn extended_search(tokens: &mut Tokens<'_>) -> UidSet {
    while let Some(token) = tokens.peek_token() {
        if token == Token::Open {
            tokens.skip_value();
            continue;
        }
        tokens.next();
        if token == Token::Atom(b"ALL") {
            return tokens.next().and_then(Token::text).map(|text| uid_set(&text)).unwrap_or_default();
        }
    }
    UidSet::new()
}

fn listed(tokens: &mut Tokens<'_>) -> Option<Listed> {
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

fn mailbox_status(tokens: &mut Tokens<'_>) -> Option<MailboxStatus> {
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
    Some(MailboxStatus { name, watermark, object_id })
}

/// Reads `(id)`.
fn object(tokens: &mut Tokens<'_>) -> Option<String> {
    let mut id = None;
    flag_words(tokens, |word| id = Some(String::from_utf8_lossy(word).into_owned()))?;
    id
}

fn namespaces(tokens: &mut Tokens<'_>) -> Namespaces {
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

//! What a response says. Anything not understood is `Other`, never an error: it is for the caller to see what is missing.

mod flags;
mod listing;
mod message;

use std::fmt;

use super::token::{Token, Tokens};
use super::wire::Reply;
use crate::model::{EmailId, FlagSet, ModSeq, PermanentFlags, Quota, Timestamp, Uid, UidSet, UidValidity, Watermark};
use flags::permanent_flags;
use listing::{listed, mailbox_status, namespaces, quota};
use message::{extended_search, fetch, searched, vanished};

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
    /// QUOTA of one quota root (RFC 9208 section 4.2.1).
    Quota(Quota),
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
    AppendUid(UidValidity, Vec<(Uid, Uid)>),
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

impl Listed {
    /// Returns true if the server says this of the mailbox; `attribute` in lower case.
    pub(super) fn has(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|other| other == attribute)
    }

    /// Returns true if the mailbox can hold messages.
    pub(super) fn is_selectable(&self) -> bool {
        !self.has("\\noselect") && !self.has("\\nonexistent")
    }
}

/// STATUS of one mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MailboxStatus {
    /// The name as the server spells it.
    pub(super) name: Vec<u8>,
    /// The values, if the necessary ones are there.
    pub(super) watermark: Option<Watermark>,
    /// HIGHESTMODSEQ, whatever else is there.
    pub(super) mod_seq: Option<ModSeq>,
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
    /// EMAILID (RFC 8474 section 5.1), else X-GM-MSGID.
    pub(super) email_id: Option<EmailId>,
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
    Some(Code::AppendUid(validity, ranges(&tokens.next()?.text()?).collect::<Option<Vec<_>>>()?))
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
        "SEARCH" => Untagged::Search(searched(tokens)?),
        "ESEARCH" => Untagged::Search(extended_search(tokens)?),
        "VANISHED" => vanished(tokens),
        "QUOTA" => Untagged::Quota(quota(tokens)?),
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

#[cfg(test)]
mod tests;

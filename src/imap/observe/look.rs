//! One look at one mailbox: what to ask, what was seen, and whether that is all.

use std::collections::BTreeMap;
use std::mem;

use litemap::LiteMap;

use super::Selection;
use crate::imap::error::{Error, refusal_kind};
use crate::imap::response::{Condition, Fetch, Status, Untagged};
use crate::model::{EmailId, FlagSet, PermanentFlags, Timestamp, Uid, UidSet, Watermark};
use crate::reconcile::snapshot::{Listed, RemoteMessage, RemoteMessages, RemoteRequest, RemoteSnapshot};
use crate::store::RemoteErrorKind;

/// How a mailbox is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The SELECT itself tells what changed (RFC 7162 section 3.2.5).
    QResync(Watermark),
    /// CHANGEDSINCE tells changed flags (RFC 7162 section 3.1.4); a search tells what is left.
    CondStore(Watermark),
    /// The flags of all known messages, which tells what is left too.
    Flags(Watermark),
    /// Everything.
    Full,
}

/// What to do after a look.
pub(super) enum Next<'a> {
    /// It is complete.
    Done(RemoteSnapshot),
    /// It has to be done over.
    Again(Box<Look<'a>>),
    /// It can't be done.
    Failed(Error),
}

/// What was said about one message.
#[derive(Debug, Default)]
struct Seen {
    flags: Option<FlagSet>,
    date: Option<Option<Timestamp>>,
    size: Option<u64>,
    email_id: Option<EmailId>,
}

/// One look at one mailbox.
pub(super) struct Look<'a> {
    /// Which request it is for.
    pub(super) at: usize,
    /// The request.
    pub(super) request: &'a RemoteRequest,
    /// How many full looks this is, earlier ones counted.
    pub(super) fulls: u8,
    /// What SELECT said.
    pub(super) selection: Selection,
    /// The item that tells email ids, if they are asked for.
    pub(super) email_id_item: Option<&'static str>,
    /// How many messages the server shows at most, if that is not all: of older ones nothing can be known.
    window: Option<u32>,
    way: Way,
    examine: bool,
    seen: LiteMap<Uid, Seen>,
    /// What a server lists out of order, until all is there.
    late: BTreeMap<Uid, Seen>,
    vanished: UidSet,
    searched: Option<UidSet>,
    disturbed: bool,
    refused: Option<Status>,
    /// EXISTS and UIDNEXT when the SELECT was answered.
    began: Option<(u32, u32)>,
}

impl<'a> Look<'a> {
    /// Prepares a look.
    pub(super) fn new(at: usize, request: &'a RemoteRequest, way: Way) -> Self {
        Self {
            at,
            request,
            fulls: u8::from(way == Way::Full),
            selection: Selection::default(),
            email_id_item: None,
            window: None,
            way,
            examine: false,
            seen: LiteMap::new(),
            late: BTreeMap::new(),
            vanished: UidSet::new(),
            searched: None,
            disturbed: false,
            refused: None,
            began: None,
        }
    }

    /// Asks for email ids too.
    pub(super) fn with(self, email_id_item: Option<&'static str>) -> Self {
        Self { email_id_item, ..self }
    }

    /// Takes into account that the server shows no more messages than this.
    pub(super) fn within(self, window: Option<u32>) -> Self {
        Self { window, ..self }
    }

    /// Returns the command that selects the mailbox. SELECT, although nothing is changed: an EXAMINE doesn't tell
    /// which flags can be stored. EXAMINE if SELECT was refused.
    pub(super) fn verb(&self) -> &'static str {
        if self.examine { "EXAMINE" } else { "SELECT" }
    }

    /// Returns the watermark that the SELECT itself should tell the changes since.
    pub(super) fn since(&self) -> Option<&Watermark> {
        match &self.way {
            Way::QResync(since) => Some(since),
            _ => None,
        }
    }

    fn base(&self) -> Option<&Watermark> {
        match &self.way {
            Way::QResync(since) | Way::CondStore(since) | Way::Flags(since) => Some(since),
            Way::Full => None,
        }
    }

    /// Returns the commands behind the SELECT. They are sent before it is answered, so they only look. Never `n:*`,
    /// which names the last message even if that is below n.
    pub(super) fn fetches(&self, esearch: bool) -> Vec<String> {
        let more = self.email_id_item.map(|item| format!(" {item}")).unwrap_or_default();
        let items = format!("(UID FLAGS INTERNALDATE RFC822.SIZE{more})");
        let Some(base) = self.base() else { return vec![format!("UID FETCH 1:4294967295 {items}")] };
        let (next, last) = (base.uid_next, base.uid_next.saturating_sub(1));
        let mut commands = Vec::new();
        match (&self.way, base.mod_seq) {
            _ if last == 0 => {}
            (Way::CondStore(_), Some(mod_seq)) => {
                commands.push(format!("UID FETCH 1:{last} (UID FLAGS) (CHANGEDSINCE {mod_seq})"));
                let all = if esearch { "RETURN (ALL) " } else { "" };
                commands.push(format!("UID SEARCH {all}UID 1:{last}"));
            }
            (Way::Flags(_), _) => commands.push(format!("UID FETCH 1:{last} (UID FLAGS)")),
            _ => {}
        }
        // What is told of the newest known shows another mailbox that has the name and all the numbers.
        let newest = self.request.known.ranges().last().filter(|_| matches!(self.way, Way::Flags(_)));
        let newest = newest.filter(|(_, newest)| *newest < next).map(|(_, newest)| format!("{newest},"));
        commands.push(format!("UID FETCH {}{next}:4294967295 {items}", newest.unwrap_or_default()));
        commands
    }

    /// Takes data. While the SELECT is not answered (`selecting`), `[CLOSED]` divides the last mailbox from this one.
    pub(super) fn take(&mut self, data: Untagged, selecting: bool) {
        match data {
            Untagged::Status(status) if selecting && status.code_name() == "CLOSED" => self.start_over(),
            Untagged::Status(_) if !selecting => {}
            Untagged::Fetch(fetch) => self.fetched(fetch),
            Untagged::Search(found) => self.searched.get_or_insert_default().union_with(&found),
            // Before the SELECT's answer it is the delta asked for. Heard in passing it counts only if another look
            // finds as few messages.
            Untagged::Vanished { earlier: true, uids } if selecting => self.vanished.union_with(&uids),
            Untagged::Vanished { .. } | Untagged::Expunge => self.disturbed = true,
            other => self.selection.take(&other),
        }
    }

    fn start_over(&mut self) {
        self.selection = Selection::default();
        self.seen.clear();
        self.late.clear();
        self.vanished = UidSet::new();
        self.searched = None;
        self.disturbed = false;
    }

    fn fetched(&mut self, fetch: Fetch) {
        let Some(uid) = fetch.uid else { return };
        let email_id = fetch.email_id.filter(|_| self.email_id_item.is_some());
        let seen = self.seen(uid);
        seen.flags = fetch.flags.or(seen.flags.take());
        seen.date = fetch.date.or(seen.date);
        seen.size = fetch.size.or(seen.size);
        seen.email_id = email_id.or(seen.email_id);
    }

    /// Returns what was said about a message. Servers list messages in order of UID; to put others where they belong one by
    /// one would take the square of their number.
    fn seen(&mut self, uid: Uid) -> &mut Seen {
        if self.seen.last().is_some_and(|(last, _)| uid < *last) && !self.seen.contains_key(&uid) {
            return self.late.entry(uid).or_default();
        }
        self.seen.entry(uid).or_default()
    }

    /// Hears a tagged answer.
    pub(super) fn completed(&mut self, status: &Status, selecting: bool) {
        if selecting {
            self.selection.answer = Some(status.clone());
            self.began = self.selection.exists.zip(self.selection.uid_next);
        } else if !status.is_ok() && self.refused.is_none() {
            self.refused = Some(status.clone());
        }
    }

    /// Returns true if the server does not know what its capabilities offer: proxies offer QRESYNC for servers behind them.
    pub(super) fn refuses_qresync(&self) -> bool {
        let is_bad = |answer: &Status| answer.condition == Condition::Bad;
        matches!(self.way, Way::QResync(_)) && self.selection.answer.as_ref().is_some_and(is_bad)
    }

    /// Decides whether the look is complete. `mod_seq`: HIGHESTMODSEQ can be relied on.
    pub(super) fn conclude(mut self, mod_seq: bool) -> Next<'a> {
        if self.refuses_qresync() {
            return self.again();
        }
        if let Some(answer) = self.selection.answer.take_if(|answer| !answer.is_ok()) {
            // What is refused for now may be written to later: taken for read-only, what was moved out of it would be copied.
            let says_why = matches!(refusal_kind(&answer), RemoteErrorKind::NoSuchMailbox | RemoteErrorKind::Busy);
            return match self.examine || says_why || answer.condition != Condition::No {
                true => Next::Failed(Error::Refused(answer)),
                false => Next::Again(Box::new(Look { examine: true, ..self.anew(self.way) })),
            };
        }
        self.seen.extend(mem::take(&mut self.late));
        let exists = match self.selection.verified() {
            Ok((_, exists)) => exists,
            Err(error) => return Next::Failed(error),
        };
        if !self.is_same_mailbox() || (self.way != Way::Full && self.is_window(exists)) {
            return self.again();
        }
        // Some servers refuse to fetch from an empty mailbox.
        if let Some(refused) = self.refused.take_if(|_| exists > 0) {
            return match self.way {
                // A server that says OBJECTID and means mailboxes only is no reason to see nothing.
                _ if refused.condition == Condition::Bad && self.email_id_item.is_some() => {
                    Next::Again(Box::new(Look { fulls: self.fulls, ..self.anew(self.way).with(None) }))
                }
                Way::Full => Next::Failed(Error::Refused(refused)),
                _ => self.again(),
            };
        }
        if !self.is_complete(exists) && !self.is_complete_without_arrivals() {
            tracing::debug!(mailbox = %self.request.mailbox, way = ?self.way, "a look did not add up");
            return self.again();
        }
        Next::Done(self.snapshot(mod_seq))
    }

    /// Returns true if the watermark asked about still means something here. A server value below ours means that the
    /// server has forgotten something; it would leave out changes without a word.
    fn is_same_mailbox(&self) -> bool {
        let Some(base) = self.base() else { return true };
        let selection = &self.selection;
        let by_mod_seq = !matches!(self.way, Way::Flags(_));
        selection.validity == Some(base.uid_validity)
            && selection.uid_next.is_none_or(|next| next >= base.uid_next)
            && (!by_mod_seq || selection.mod_seq >= base.mod_seq)
    }

    fn again(self) -> Next<'a> {
        Next::Again(Box::new(Look { fulls: self.fulls + 1, ..self.anew(Way::Full) }))
    }

    /// Begins the look anew.
    pub(super) fn afresh(self) -> Look<'a> {
        Look { fulls: self.fulls, ..self.anew(self.way) }
    }

    /// Returns the look that has seen nothing yet.
    fn anew(&self, way: Way) -> Look<'a> {
        let look = Look::new(self.at, self.request, way).with(self.email_id_item).within(self.window);
        Look { examine: self.examine, ..look }
    }

    /// Returns the known messages that are gone.
    fn gone(&self) -> UidSet {
        let known = &self.request.known;
        match self.way {
            Way::QResync(_) => self.reported_gone(),
            Way::CondStore(_) => {
                let mut gone = known.difference(self.searched.as_ref().unwrap_or(&UidSet::new()));
                gone.union_with(&self.reported_gone());
                gone.difference(&self.seen.keys().copied().collect())
            }
            Way::Flags(_) => known.difference(&self.seen.keys().copied().collect()),
            Way::Full => match self.seen.first() {
                // Those after the oldest shown are shown if they are there.
                Some((oldest, _)) => {
                    let mut older = UidSet::new();
                    older.insert_range(Uid::FIRST, *oldest);
                    known.difference(&older).difference(&self.seen.keys().copied().collect())
                }
                None => UidSet::new(),
            },
        }
    }

    /// Returns true if there are as many messages as the server shows at most.
    fn is_window(&self, exists: u32) -> bool {
        self.window.is_some_and(|window| exists >= window)
    }

    /// Returns the part of VANISHED that concerns known messages. What was fetched afterwards is there.
    fn reported_gone(&self) -> UidSet {
        self.request.known.intersection(&self.vanished).difference(&self.seen.keys().copied().collect())
    }

    /// Returns true if every message has what it needs and all messages are accounted for.
    fn is_complete(&self, exists: u32) -> bool {
        let is_known = |uid: Uid| self.way != Way::Full && self.request.known.contains(uid);
        let told = |(uid, seen): (&Uid, &Seen)| seen.flags.is_some() && (is_known(*uid) || seen.date.is_some());
        let is_searched = match self.way {
            Way::CondStore(base) => base.uid_next <= 1 || self.searched.is_some(),
            _ => true,
        };
        is_searched && !self.disturbed && self.seen.iter().all(told) && self.count() == u64::from(exists)
    }

    /// Leaves what came behind the SELECT's answer to the next look: where mail comes all the time, some of it may not have
    /// been listed.
    fn is_complete_without_arrivals(&mut self) -> bool {
        let Some((exists, uid_next)) = self.began else { return false };
        self.seen.retain(|uid, _| uid.get() < uid_next);
        self.is_complete(exists)
    }

    /// Returns how many messages there are by what was seen.
    fn count(&self) -> u64 {
        match self.way {
            Way::Full => self.seen.len() as u64,
            _ => {
                let new = self.seen.keys().filter(|uid| !self.request.known.contains(**uid)).count();
                self.request.known.difference(&self.gone()).len() + new as u64
            }
        }
    }

    fn snapshot(self, mod_seq: bool) -> RemoteSnapshot {
        let (messages, vanished) = (self.count(), self.gone());
        let is_all = self.way == Way::Full && !self.is_window(u32::try_from(messages).unwrap_or(u32::MAX));
        let watermark = Watermark {
            uid_validity: self.selection.validity.unwrap_or(crate::model::UidValidity(0)),
            uid_next: self.selection.uid_next.unwrap_or(0),
            messages: u32::try_from(messages).unwrap_or(u32::MAX),
            mod_seq: if mod_seq { self.selection.mod_seq } else { None },
        };
        let read_only = self.examine || self.selection.read_only();
        let permanent = self.selection.permanent.filter(|_| !self.examine);
        let messages = match is_all {
            true => RemoteMessages::Full(listed(self.seen)),
            false => RemoteMessages::Delta { changed: listed(self.seen), vanished },
        };
        let permanent = permanent.unwrap_or_else(PermanentFlags::all);
        RemoteSnapshot { watermark, permanent, read_only, messages }
    }
}

/// In the place that they take already, and in the order that they have.
fn listed(seen: LiteMap<Uid, Seen>) -> Listed {
    let message = |(uid, seen): (Uid, Seen)| {
        let Seen { flags, date, size, email_id } = seen;
        Some((uid, RemoteMessage { flags: flags?, date: date.flatten(), size, email_id }))
    };
    Listed::from_sorted_store_unchecked(seen.into_iter().filter_map(message).collect())
}

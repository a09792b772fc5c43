//! Fetches message bodies, streamed to a sink.

use std::collections::BTreeMap;

use super::ImapStore;
use super::command::{Command, Handler};
use super::error::Error;
use super::response::{Body, Fetch, Status, Untagged};
use super::select::Selection;
use crate::model::{MailboxName, Uid, UidSet, UidValidity};
use crate::store::{BodySink, FetchedMessage, LocalError};

/// How many messages, and how many ranges of UIDs, one command asks for: well below what servers take in a line.
const PER_COMMAND: (u32, usize) = (1000, 400);

/// What to fetch of messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// The items of UID FETCH. They never set `\Seen`.
    pub(super) items: &'static str,
    /// The body section that comes back, in upper case.
    pub(super) section: &'static str,
    /// A message without FLAGS in the answer can't be used.
    pub(super) flags: bool,
}

const WHOLE: Wanted = Wanted { items: "(UID FLAGS INTERNALDATE BODY.PEEK[])", section: "BODY[]", flags: true };

/// Takes bodies of messages that were asked for, each once, and drops all others.
pub(super) struct Bodies<'a> {
    sink: Begun<'a>,
    wanted: Wanted,
    asked_for: UidSet,
    delivered: UidSet,
    selection: Selection,
    asked: UidValidity,
    selecting: bool,
    verified: bool,
    flagless: Option<Uid>,
    sizes: BTreeMap<Uid, u64>,
}

/// A sink of which is known whether a body is being written.
struct Begun<'a> {
    inner: &'a mut dyn BodySink,
    open: bool,
}

impl BodySink for Begun<'_> {
    fn begin(&mut self) -> Result<(), LocalError> {
        self.discard()?;
        self.open = true;
        self.inner.begin()
    }

    fn write(&mut self, wire: &[u8]) -> Result<(), LocalError> {
        self.inner.write(wire)
    }

    fn finish(&mut self, message: FetchedMessage) -> Result<(), LocalError> {
        self.open = false;
        self.inner.finish(message)
    }

    fn discard(&mut self) -> Result<(), LocalError> {
        if std::mem::take(&mut self.open) { self.inner.discard() } else { Ok(()) }
    }
}

impl<'a> Bodies<'a> {
    fn new(sink: &'a mut dyn BodySink, wanted: Wanted, uids: &UidSet, asked: UidValidity) -> Self {
        Self {
            sink: Begun { inner: sink, open: false },
            wanted,
            asked_for: uids.clone(),
            delivered: UidSet::new(),
            selection: Selection::default(),
            asked,
            selecting: false,
            verified: true,
            flagless: None,
            sizes: BTreeMap::new(),
        }
    }

    fn arrived(&mut self, fetch: Fetch) -> Result<(), LocalError> {
        let Some((section, body)) = fetch.body else { return self.sink.discard() };
        let is_wanted = |&uid: &Uid| self.asked_for.contains(uid) && !self.delivered.contains(uid);
        let is_usable = section == self.wanted.section && self.verified && body != Body::Nil;
        let Some(uid) = fetch.uid.filter(is_wanted).filter(|_| is_usable) else { return self.sink.discard() };
        let Some(flags) = fetch.flags.or_else(|| (!self.wanted.flags).then(Default::default)) else {
            self.flagless = Some(uid);
            return self.sink.discard();
        };
        if let Body::Inline(bytes) = body {
            self.sink.begin()?;
            self.sink.write(&bytes)?;
        } else if !self.sink.open {
            return Ok(());
        }
        self.delivered.insert(uid);
        self.sizes.extend(fetch.size.filter(|_| !self.wanted.flags).map(|size| (uid, size)));
        self.sink.finish(FetchedMessage { uid, flags, date: fetch.date.flatten() })
    }
}

impl Handler for Bodies<'_> {
    fn untagged(&mut self, _: usize, data: Untagged) -> Result<(), Error> {
        match data {
            Untagged::Fetch(fetch) => self.arrived(fetch)?,
            other => {
                self.sink.discard()?;
                if self.selecting {
                    self.selection.take(&other);
                }
            }
        }
        Ok(())
    }

    fn completed(&mut self, _: usize, status: &Status) {
        if std::mem::take(&mut self.selecting) {
            self.selection.answer = Some(status.clone());
            self.verified = self.selection.check(self.asked).is_ok();
        }
    }

    fn sink(&mut self) -> Option<&mut (dyn BodySink + '_)> {
        if self.verified { Some(&mut self.sink) } else { None }
    }
}

impl ImapStore {
    /// Fetches whole messages.
    pub(super) async fn fetch_messages(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        uids: &UidSet,
        sink: &mut dyn BodySink,
    ) -> Result<(), Error> {
        self.fetch_bodies(mailbox, validity, uids, WHOLE, sink).await.map(drop)
    }

    /// Fetches bodies of messages, and returns the sizes that the server told besides. Where a whole command was
    /// refused its messages are asked for one by one, so that one that can't be read doesn't stop the others.
    pub(super) async fn fetch_bodies(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        uids: &UidSet,
        wanted: Wanted,
        sink: &mut dyn BodySink,
    ) -> Result<BTreeMap<Uid, u64>, Error> {
        self.introduce().await?;
        let mut bodies = Bodies::new(sink, wanted, uids, validity);
        let refused = self.fetch_parts(mailbox, &mut bodies, uids.chunks(PER_COMMAND.0, PER_COMMAND.1)).await?;
        let mut last = None;
        if !refused.is_empty() {
            let single = refused.iter().flat_map(|(part, _)| part.difference(&bodies.delivered).chunks(1, 1)).collect();
            last = self.fetch_parts(mailbox, &mut bodies, single).await?.pop();
        }
        match (last, bodies.flagless) {
            (Some((_, status)), _) => Err(Error::Refused(status)),
            (None, Some(uid)) => Err(Error::Unusable(format!("the server sent message {uid} without its flags"))),
            (None, None) => Ok(bodies.sizes),
        }
    }

    /// Sends one burst, behind a SELECT if need be, and returns the parts that were refused.
    async fn fetch_parts(
        &mut self,
        mailbox: &MailboxName,
        bodies: &mut Bodies<'_>,
        parts: Vec<UidSet>,
    ) -> Result<Vec<(UidSet, Status)>, Error> {
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        let mut commands = Vec::with_capacity(parts.len() + 1);
        bodies.selecting = !self.has_selected(mailbox, bodies.asked);
        bodies.verified = !bodies.selecting;
        if bodies.selecting {
            commands.push(self.select_command("SELECT", mailbox, None)?);
            self.selected = None;
        }
        let selecting = bodies.selecting;
        commands.extend(parts.iter().map(|part| Command::new(format!("UID FETCH {part} {}", bodies.wanted.items))));
        let run = self.connection.run(commands, bodies).await;
        let discarded = bodies.sink.discard();
        let answers = run?;
        discarded?;
        if selecting {
            self.selected(mailbox, &bodies.selection);
            bodies.selection.check(bodies.asked)?;
        }
        let answers = answers.into_iter().skip(usize::from(selecting));
        Ok(parts.into_iter().zip(answers).filter(|(_, answer)| is_refusal(answer)).collect())
    }
}

/// A refusal because messages are gone by now is none (RFC 5530).
fn is_refusal(answer: &Status) -> bool {
    !answer.is_ok() && answer.code_name() != "EXPUNGEISSUED"
}

//! Fetches message bodies, streamed to a sink.

mod withheld;

use std::collections::BTreeMap;
use std::task::{Context, Poll};

use super::ImapStore;
use super::command::{Command, Handler};
use super::error::Error;
use super::response::{Body, Fetch, Status, Untagged};
use super::select::Selection;
use super::wire::LiteralSink;
use crate::model::{Uid, UidSet};
use crate::store::{BodySink, FetchedMessage, LocalError, Messages};
use withheld::Withheld;

/// How many messages, and how many ranges of UIDs, one command asks for: well below what servers take in a line.
pub(super) const PER_COMMAND: (u32, usize) = (1000, 400);

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

/// Whole messages.
pub(super) const WHOLE: Wanted =
    Wanted { items: "(UID FLAGS INTERNALDATE BODY.PEEK[])", section: "BODY[]", flags: true };

/// The sizes that the server told besides the bodies.
pub(super) type Sizes = BTreeMap<Uid, u64>;

/// Takes bodies of messages that were asked for, each once, and drops all others. Data belongs to the mailbox whose
/// command is the oldest without an answer.
struct Bodies<'a> {
    sink: Begun<'a>,
    wanted: Wanted,
    parts: Vec<Part<'a>>,
    /// The burst.
    commands: Vec<Sent>,
}

/// A command of the burst.
struct Sent {
    /// The part it is for.
    of: usize,
    /// What it fetches; nothing if it is the SELECT.
    chunk: Option<UidSet>,
    /// What the server said to it.
    answer: Option<Status>,
}

/// What is asked of one mailbox, and what came of it.
struct Part<'a> {
    asked: &'a Messages,
    delivered: UidSet,
    /// What the server closes the connection over.
    left_out: UidSet,
    selection: Selection,
    /// The UIDs mean the messages asked for.
    verified: bool,
    flagless: Option<Uid>,
    sizes: Sizes,
    failed: Option<Error>,
}

impl<'a> Part<'a> {
    fn new(asked: &'a Messages) -> Self {
        let (delivered, left_out, selection, sizes) = Default::default();
        Self { asked, delivered, left_out, selection, verified: false, flagless: None, sizes, failed: None }
    }

    fn outcome(self) -> Result<Sizes, Error> {
        match (self.failed, self.flagless) {
            (Some(error), _) => Err(error),
            (None, Some(uid)) => Err(Error::Unusable(format!("the server sent message {uid} without its flags"))),
            (None, None) => Ok(self.sizes),
        }
    }
}

/// A sink of which is known whether a body is being written, and of which part.
struct Begun<'a> {
    inner: &'a mut dyn BodySink,
    part: usize,
    open: bool,
    /// Nothing of it was written yet.
    empty: bool,
}

impl LiteralSink for Begun<'_> {
    fn begin(&mut self) -> Result<(), LocalError> {
        self.discard()?;
        (self.open, self.empty) = (true, true);
        self.inner.begin(self.part)
    }

    fn write(&mut self, wire: &[u8]) -> Result<(), LocalError> {
        self.empty &= wire.is_empty();
        self.inner.write(wire)
    }
}

impl Begun<'_> {
    fn finish(&mut self, message: FetchedMessage) -> Result<(), LocalError> {
        self.open = false;
        self.inner.finish(self.part, message)
    }

    fn discard(&mut self) -> Result<(), LocalError> {
        if std::mem::take(&mut self.open) { self.inner.discard() } else { Ok(()) }
    }
}

impl Bodies<'_> {
    fn arrived(&mut self, owner: usize, fetch: Fetch) -> Result<(), LocalError> {
        let Some(part) = self.parts.get_mut(owner) else { return self.sink.discard() };
        let Some((section, body)) = fetch.body else { return self.sink.discard() };
        let is_wanted = |&uid: &Uid| part.asked.uids.contains(uid) && !part.delivered.contains(uid);
        let is_usable = section == self.wanted.section && part.verified && body != Body::Nil;
        let Some(uid) = fetch.uid.filter(is_wanted).filter(|_| is_usable) else { return self.sink.discard() };
        let Some(flags) = fetch.flags.or_else(|| (!self.wanted.flags).then(Default::default)) else {
            part.flagless = Some(uid);
            return self.sink.discard();
        };
        if let Body::Inline(bytes) = body {
            self.sink.part = owner;
            self.sink.begin()?;
            self.sink.write(&bytes)?;
        } else if !self.sink.open {
            return Ok(());
        }
        // No message is empty. Servers that can't read one just now may answer so; taken for it, it would never be had.
        if self.sink.empty && section == WHOLE.section {
            return self.sink.discard();
        }
        part.delivered.insert(uid);
        part.sizes.extend(fetch.size.filter(|_| !self.wanted.flags).map(|size| (uid, size)));
        self.sink.finish(FetchedMessage { uid, flags, date: fetch.date.flatten() })
    }
}

impl Handler for Bodies<'_> {
    fn untagged(&mut self, at: usize, data: Untagged) -> Result<(), Error> {
        let Some(&Sent { of, ref chunk, .. }) = self.commands.get(at) else { return Ok(()) };
        match data {
            Untagged::Fetch(fetch) => self.arrived(of, fetch)?,
            other => {
                let selecting = chunk.is_none();
                self.sink.discard()?;
                if let Some(part) = self.parts.get_mut(of).filter(|_| selecting) {
                    part.selection.take(&other);
                }
            }
        }
        Ok(())
    }

    fn completed(&mut self, at: usize, status: &Status) {
        let Some(sent) = self.commands.get_mut(at) else { return };
        sent.answer = Some(status.clone());
        if let Some(part) = self.parts.get_mut(sent.of).filter(|_| sent.chunk.is_none()) {
            part.selection.answer = Some(status.clone());
            part.verified = part.selection.check(part.asked.validity).is_ok();
        }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.sink.inner.poll_ready(cx)
    }

    fn sink(&mut self, at: usize) -> Option<&mut (dyn LiteralSink + '_)> {
        let of = self.commands.get(at)?.of;
        self.sink.part = of;
        if self.parts.get(of)?.verified { Some(&mut self.sink) } else { None }
    }
}

impl ImapStore {
    /// Fetches bodies of messages of all mailboxes in one burst, each behind its SELECT, and returns for each the sizes
    /// that the server told besides. A message that the server refuses, or closes the connection over, doesn't stop the
    /// others.
    pub(super) async fn fetch_bodies(
        &mut self,
        asked: &[Messages],
        wanted: Wanted,
        sink: &mut dyn BodySink,
    ) -> Result<Vec<Result<Sizes, Error>>, Error> {
        self.introduce().await?;
        let sink = Begun { inner: sink, part: 0, open: false, empty: true };
        let mut bodies = Bodies { sink, wanted, parts: asked.iter().map(Part::new).collect(), commands: Vec::new() };
        let mut withheld = Withheld::default();
        let mut chunks = asked.iter().map(|messages| messages.uids.chunks(PER_COMMAND.0, PER_COMMAND.1)).collect();
        loop {
            match self.fetch_chunks(&mut bodies, chunks).await {
                Err(Error::Lost(said)) => {
                    if !self.reconnect().await || !withheld.hang_up(&mut bodies, said.as_deref()) {
                        return Err(Error::Lost(said));
                    }
                }
                fetched => fetched?,
            }
            chunks = withheld.divide(&bodies);
            if chunks.iter().all(Vec::is_empty) {
                break;
            }
        }
        withheld.tell(&mut bodies);
        Ok(bodies.parts.into_iter().map(Part::outcome).collect())
    }

    /// Sends one burst.
    async fn fetch_chunks(&mut self, bodies: &mut Bodies<'_>, chunks: Vec<Vec<UidSet>>) -> Result<(), Error> {
        let mut commands = Vec::new();
        bodies.commands.clear();
        for (of, chunks) in chunks.into_iter().enumerate().filter(|(_, chunks)| !chunks.is_empty()) {
            let Some(part) = bodies.parts.get_mut(of) else { continue };
            part.verified = commands.is_empty() && self.has_selected(&part.asked.mailbox, part.asked.validity);
            if !part.verified {
                match self.select_command("SELECT", &part.asked.mailbox, None) {
                    Ok(select) => commands.push(select),
                    Err(error) => {
                        part.failed = Some(error);
                        continue;
                    }
                }
                part.selection = Selection::default();
                bodies.commands.push(Sent { of, chunk: None, answer: None });
            }
            for chunk in chunks {
                commands.push(Command::new(format!("UID FETCH {chunk} {}", bodies.wanted.items)));
                bodies.commands.push(Sent { of, chunk: Some(chunk), answer: None });
            }
        }
        if commands.is_empty() {
            return Ok(());
        }
        let last_selected = bodies.commands.iter().rev().find(|sent| sent.chunk.is_none()).map(|sent| sent.of);
        if last_selected.is_some() {
            self.about_to_select();
        }
        let run = self.connection.run(commands, bodies).await;
        // What the disk says outranks what the server does.
        bodies.sink.discard()?;
        run?;
        if let Some(part) = last_selected.and_then(|of| bodies.parts.get(of)) {
            self.selected(&part.asked.mailbox, &part.selection);
        }
        for part in bodies.parts.iter_mut().filter(|part| part.selection.answer.is_some()) {
            part.failed = part.selection.check(part.asked.validity).err();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

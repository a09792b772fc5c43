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
                    if !withheld.hang_up(&mut bodies, said.as_deref()) || !self.reconnect().await {
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
mod tests {
    use crate::imap::script::{Kept, Step, block_on, name, of_a, scripted};
    use crate::model::{FlagSet, UidValidity};
    use crate::store::{RemoteError, RemoteErrorKind, RemoteStore};

    const SELECTED: &str = "* 9 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n$ OK done\r\n";

    #[test]
    fn the_answer_to_a_fetch_is_not_taken_for_that_to_the_select() {
        block_on(async {
            let first = "* 9 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\nm2 OK done\r\nm1 NO [NONEXISTENT] x\r\n";
            let script = vec![("SELECT \"A\"", ""), ("UID FETCH 1 (UID FLAGS INTERNALDATE BODY.PEEK[])", first)];
            let (mut store, server) = scripted(&[], script);
            let error = store.fetch(&[of_a(&[1])], &mut Kept::default()).await.unwrap().remove(0).unwrap_err();
            server.await.unwrap();
            assert_eq!(error.kind, RemoteErrorKind::NoSuchMailbox);
            assert!(!store.has_selected(&name("A"), UidValidity(7)));
        });
    }

    #[test]
    fn a_part_of_a_message_is_never_taken_for_the_whole() {
        block_on(async {
            let body = "* 1 FETCH (UID 1 FLAGS () BODY[TEXT] {4}\r\ntext BODY[] {5}\r\nwhole)\r\n$ OK done\r\n";
            let script = vec![("SELECT \"A\"", SELECTED), ("UID FETCH 1 (UID FLAGS INTERNALDATE BODY.PEEK[])", body)];
            let mut sink = Kept::default();
            fetch(script, &[1], &mut sink).await.unwrap();
            assert_eq!(sink.messages, Vec::<(u32, Vec<u8>, FlagSet)>::new());
        });
    }

    async fn fetch(script: Vec<Step>, asked: &[u32], sink: &mut Kept) -> Result<(), RemoteError> {
        let (mut store, server) = scripted(&[], script);
        let outcome = store.fetch(&[of_a(asked)], sink).await.and_then(|mut answers| answers.remove(0));
        drop(store);
        if outcome.is_ok() {
            server.await.unwrap();
        }
        outcome
    }

    #[test]
    fn each_message_asked_for_arrives_once_and_no_other() {
        block_on(async {
            let bodies = "* 1 FETCH (BODY[] {3}\r\none UID 1 FLAGS (\\Seen))\r\n\
                * 1 FETCH (UID 1 FLAGS () BODY[] {3}\r\none)\r\n\
                * 2 FETCH (UID 2 FLAGS () BODY[] NIL)\r\n\
                * 3 FETCH (UID 3 FLAGS () BODY[] \"th\\\"ree\")\r\n\
                * 4 FETCH (UID 99 FLAGS () BODY[] {5}\r\nother)\r\n\
                * 5 FETCH (UID 5 FLAGS () BODY[TEXT] {4}\r\ntext)\r\n\
                * 6 FETCH (FLAGS ())\r\n* XYZ BODY[] {3}\r\nabc\r\n\
                * 7 FETCH (UID 6 FLAGS () INTERNALDATE NIL BODY[] {0}\r\n)\r\n$ OK done\r\n";
            let script =
                vec![("SELECT \"A\"", SELECTED), ("UID FETCH 1:6 (UID FLAGS INTERNALDATE BODY.PEEK[])", bodies)];
            let mut sink = Kept::default();
            fetch(script, &[1, 2, 3, 4, 5, 6], &mut sink).await.unwrap();
            let all: Vec<_> = sink.messages.iter().map(|(uid, body, _)| (*uid, body.as_slice())).collect();
            assert_eq!(all, [(1, &b"one"[..]), (3, b"th\"ree")]);
            assert_eq!(sink.open, None);
        });
    }

    #[test]
    fn nothing_arrives_from_another_mailbox_of_that_name() {
        block_on(async {
            for select in
                ["* 9 EXISTS\r\n* OK [UIDVALIDITY 8] x\r\n$ OK done\r\n", "* 9 EXISTS\r\n$ NO [NONEXISTENT] x\r\n"]
            {
                // As a literal, and within the line.
                for body in ["{3}\r\none", "\"one\""] {
                    let body: &'static str =
                        format!("* 1 FETCH (UID 1 FLAGS () BODY[] {body})\r\n$ OK done\r\n").leak();
                    let script =
                        vec![("SELECT \"A\"", select), ("UID FETCH 1 (UID FLAGS INTERNALDATE BODY.PEEK[])", body)];
                    let mut sink = Kept::default();
                    let error = fetch(script, &[1], &mut sink).await.unwrap_err();
                    let missing = select.contains("NONEXISTENT");
                    let kind =
                        if missing { RemoteErrorKind::NoSuchMailbox } else { RemoteErrorKind::UidValidityChanged };
                    assert_eq!((error.kind, sink.begun), (kind, 0), "{body}");
                }
            }
        });
    }

    #[test]
    fn a_message_that_cannot_be_read_does_not_stop_the_others() {
        block_on(async {
            let script = vec![
                ("SELECT \"A\"", SELECTED),
                (
                    "UID FETCH 1:3 (UID FLAGS INTERNALDATE BODY.PEEK[])",
                    "* 1 FETCH (UID 1 FLAGS () BODY[] {3}\r\none)\r\n$ NO [SERVERBUG] x\r\n",
                ),
                ("UID FETCH 2 (UID FLAGS INTERNALDATE BODY.PEEK[])", "$ NO [SERVERBUG] no 2\r\n"),
                (
                    "UID FETCH 3 (UID FLAGS INTERNALDATE BODY.PEEK[])",
                    "* 1 FETCH (UID 3 FLAGS () BODY[] {5}\r\nthree)\r\n$ OK x\r\n",
                ),
            ];
            let mut sink = Kept::default();
            fetch(script, &[1, 2, 3], &mut sink).await.unwrap();
            assert_eq!(sink.left_out, [(2, "it says: NO [SERVERBUG] no 2".to_owned())]);
            assert_eq!(sink.messages.len(), 2);
        });
    }

    #[test]
    fn where_nothing_comes_the_server_may_be_to_blame() {
        block_on(async {
            let refused = "$ NO [SERVERBUG] all\r\n";
            let script = vec![
                ("SELECT \"A\"", SELECTED),
                ("UID FETCH 1:2 (UID FLAGS INTERNALDATE BODY.PEEK[])", refused),
                ("UID FETCH 1 (UID FLAGS INTERNALDATE BODY.PEEK[])", refused),
                ("UID FETCH 2 (UID FLAGS INTERNALDATE BODY.PEEK[])", refused),
            ];
            let mut sink = Kept::default();
            let error = fetch(script, &[1, 2], &mut sink).await.unwrap_err();
            let words = "fetching messages from A: message 1: the server said: NO [SERVERBUG] all";
            assert_eq!((error.to_string().as_str(), error.kind), (words, RemoteErrorKind::Busy));
            assert_eq!(sink.left_out, []);
        });
    }

    #[test]
    fn a_full_disk_and_a_cut_connection_leave_no_half_message() {
        block_on(async {
            let both = "* 1 FETCH (UID 1 FLAGS () BODY[] {3}\r\none)\r\n* 2 FETCH (UID 2 FLAGS () BODY[] {9}\r\ntw";
            let script =
                || vec![("SELECT \"A\"", SELECTED), ("UID FETCH 1:2 (UID FLAGS INTERNALDATE BODY.PEEK[])", both)];
            let mut sink = Kept { fail_at: Some(2), ..Kept::default() };
            let error = fetch(script(), &[1, 2], &mut sink).await.unwrap_err();
            assert_eq!((error.kind, sink.open.take(), sink.messages.len()), (RemoteErrorKind::Local, None, 1));
            let mut sink = Kept::default();
            let error = fetch(script(), &[1, 2], &mut sink).await.unwrap_err();
            assert_eq!((error.kind, sink.open, sink.messages.len()), (RemoteErrorKind::Unreachable, None, 1));
        });
    }

    #[test]
    fn a_connection_kept_for_another_run_takes_nothing_for_selected_and_tells_of_that_run_only() {
        block_on(async {
            let body = |uid: u32| -> &'static str {
                format!("* 1 FETCH (UID {uid} FLAGS () BODY[] {{3}}\r\none)\r\n$ OK x\r\n").leak()
            };
            let script = vec![
                ("SELECT \"A\"", SELECTED),
                ("UID FETCH 1 (UID FLAGS INTERNALDATE BODY.PEEK[])", body(1)),
                ("NOOP", "* 3 EXPUNGE\r\n$ OK x\r\n"),
                ("SELECT \"A\"", SELECTED),
                ("UID FETCH 2 (UID FLAGS INTERNALDATE BODY.PEEK[])", body(2)),
                ("NOOP", "* BYE too long\r\n"),
            ];
            let (mut store, server) = scripted(&[], script);
            let mut sink = Kept::default();
            store.fetch(&[of_a(&[1])], &mut sink).await.unwrap().remove(0).unwrap();
            let first = store.traffic();
            store.renew().await.unwrap();
            store.fetch(&[of_a(&[2])], &mut sink).await.unwrap().remove(0).unwrap();
            let second = store.traffic();
            assert_eq!((first.round_trips, second.round_trips, sink.messages.len()), (1, 2, 2));
            assert!(second.bytes_in < first.bytes_in * 3 / 2, "{first:?} {second:?}");
            assert_eq!(store.renew().await.unwrap_err().kind, RemoteErrorKind::Unreachable);
            server.await.unwrap();
        });
    }

    #[test]
    fn a_body_without_its_flags_is_an_error_and_not_a_message_without_flags() {
        block_on(async {
            let body = "* 1 FETCH (UID 1 BODY[] {3}\r\none)\r\n$ OK x\r\n";
            let script = vec![("SELECT \"A\"", SELECTED), ("UID FETCH 1 (UID FLAGS INTERNALDATE BODY.PEEK[])", body)];
            let mut sink = Kept::default();
            assert_eq!(fetch(script, &[1], &mut sink).await.unwrap_err().kind, RemoteErrorKind::Refused);
            assert_eq!(sink.messages, Vec::<(u32, Vec<u8>, FlagSet)>::new());
        });
    }
}

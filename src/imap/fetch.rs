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

    fn completed(&mut self, at: usize, status: &Status) {
        if at == 0 && std::mem::take(&mut self.selecting) {
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
            self.about_to_select();
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

#[cfg(test)]
mod tests {
    use crate::imap::script::{Kept, Step, block_on, name, scripted, uids};
    use crate::model::{FlagSet, UidValidity};
    use crate::store::{RemoteError, RemoteErrorKind, RemoteStore};

    const SELECTED: &str = "* 9 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n$ OK done\r\n";

    #[test]
    fn the_answer_to_a_fetch_is_not_taken_for_that_to_the_select() {
        block_on(async {
            let first = "* 9 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\nm2 OK done\r\nm1 NO [NONEXISTENT] x\r\n";
            let script = vec![("SELECT \"A\"", ""), ("UID FETCH 1 (UID FLAGS INTERNALDATE BODY.PEEK[])", first)];
            let (mut store, server) = scripted(&[], script);
            let error = store.fetch(&name("A"), UidValidity(7), &uids(&[1]), &mut Kept::default()).await.unwrap_err();
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
        let outcome = store.fetch(&name("A"), UidValidity(7), &uids(asked), sink).await;
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
            assert_eq!(all, [(1, &b"one"[..]), (3, b"th\"ree"), (6, b"")]);
            assert_eq!(sink.open, None);
        });
    }

    #[test]
    fn nothing_arrives_from_another_mailbox_of_that_name() {
        block_on(async {
            for select in
                ["* 9 EXISTS\r\n* OK [UIDVALIDITY 8] x\r\n$ OK done\r\n", "* 9 EXISTS\r\n$ NO [NONEXISTENT] x\r\n"]
            {
                let body = "* 1 FETCH (UID 1 FLAGS () BODY[] {3}\r\none)\r\n$ OK done\r\n";
                let script = vec![("SELECT \"A\"", select), ("UID FETCH 1 (UID FLAGS INTERNALDATE BODY.PEEK[])", body)];
                let mut sink = Kept::default();
                let error = fetch(script, &[1], &mut sink).await.unwrap_err();
                let missing = select.contains("NONEXISTENT");
                let kind = if missing { RemoteErrorKind::NoSuchMailbox } else { RemoteErrorKind::UidValidityChanged };
                assert_eq!((error.kind, sink.begun), (kind, 0));
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
            let error = fetch(script, &[1, 2, 3], &mut sink).await.unwrap_err();
            assert_eq!(error.to_string(), "fetching messages from A: the server said: NO [SERVERBUG] no 2");
            assert_eq!(sink.messages.len(), 2);
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

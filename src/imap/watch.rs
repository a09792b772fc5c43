//! Listening for changes: NOTIFY for all mailboxes where it is offered (RFC 5465), else IDLE on one (RFC 2177).

use std::time::Duration;

use super::ImapStore;
use super::command::{Command, Handler};
use super::error::Error;
use super::names::Names;
use super::response::{Status, Untagged};
use super::select::Selection;
use crate::model::{MailboxName, ModSeq};
use crate::store::RemoteError;

/// IDLE is begun anew after this time at the latest: servers may end a connection that is silent for 30 minutes
/// (RFC 2177).
const LONGEST_IDLE: Duration = Duration::from_secs(28 * 60);

/// Events of NOTIFY that mean a change: messages, flags, folders (RFC 5465 section 5).
const EVENTS: &str = "NOTIFY SET (PERSONAL (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange))";

/// Without FlagChange, which servers need not know for mailboxes that are not selected.
const FEWER_EVENTS: &str = "NOTIFY SET (PERSONAL (MessageNew MessageExpunge MailboxName SubscriptionChange))";

/// Ends what was set.
const NO_EVENTS: &str = "NOTIFY NONE";

/// Dovecot 2.3 learns of a folder renamed by another client, and tells it, only once somebody asks for any folder.
const REFRESH: &str = "LIST \"\" INBOX";

/// Dovecot 2.3 keeps back for half a second what others do, unless it is asked whether there is anything.
const ASK: &str = "NOOP";

/// Where something was heard more may follow: it is asked that soon again,
const QUICK: Duration = Duration::from_millis(200);

/// until it has said so many times in a row that there is nothing.
const QUICK_TIMES: u32 = 25;

/// So many changes are told one by one; with more, something changed somewhere.
const MOST_HEARD: usize = 1000;

/// How far a [`Watch`] hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Every mailbox of the user.
    All,
    /// One mailbox.
    One,
    /// Nothing: the server has neither NOTIFY nor IDLE.
    Nothing,
}

/// What a server told of its own accord.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Something in this mailbox, or the mailbox itself; with its HIGHESTMODSEQ now, if that was told.
    Mailbox(MailboxName, Option<ModSeq>),
    /// Something somewhere: the server could not say all (NOTIFICATIONOVERFLOW), or named what is no mailbox.
    Somewhere,
}

/// What was agreed on with the server.
#[derive(Debug, Clone, Copy)]
enum Agreed {
    /// NOTIFY, by this command.
    Notify(&'static str),
    /// IDLE in the mailbox that is selected.
    Idle,
    /// Nothing.
    Nothing,
}

/// A connection that only listens.
#[derive(Debug)]
pub struct Watch {
    store: ImapStore,
    mailbox: MailboxName,
    agreed: Agreed,
    probe: Duration,
    pace: Pace,
    /// The server could not say all when it was last listened to.
    overflowed: bool,
}

impl ImapStore {
    /// Starts to listen: to all mailboxes if `all` is set and the server can do that, else to one. A silent connection
    /// is tried often enough for a broken one to be noticed within `patience`.
    ///
    /// # Errors
    /// The connection is lost, or the mailbox can't be opened.
    pub async fn watch(mut self, mailbox: MailboxName, all: bool, patience: Duration) -> Result<Watch, RemoteError> {
        let agreed = self.begin_watching(&mailbox, all).await;
        let agreed = agreed.map_err(|error| error.doing("starting to listen for changes"))?;
        // The other half is the answer's.
        self.connection.wire_mut().set_timeout(patience / 2);
        let probe = (patience / 2).min(LONGEST_IDLE);
        Ok(Watch { store: self, mailbox, agreed, probe, pace: Pace::default(), overflowed: false })
    }

    async fn begin_watching(&mut self, mailbox: &MailboxName, all: bool) -> Result<Agreed, Error> {
        self.introduce().await?;
        if !self.capabilities.has("IDLE") {
            return Ok(Agreed::Nothing);
        }
        if all && self.capabilities.has("NOTIFY") {
            let events: &[&str] = if self.capabilities.mod_seq() { &[EVENTS, FEWER_EVENTS] } else { &[FEWER_EVENTS] };
            for &events in events {
                let answers = self.connection.run(vec![Command::new(events)], &mut |_, _| {}).await?;
                if answers.iter().all(Status::is_ok) {
                    return Ok(Agreed::Notify(events));
                }
            }
            tracing::debug!("the server offers NOTIFY and refuses it");
        }
        let command = self.select_command("EXAMINE", mailbox, None)?;
        self.about_to_select();
        let mut selection = Selection::default();
        let answers = self.connection.run(vec![command], &mut |_, data: Untagged| selection.take(&data)).await?;
        selection.answer = answers.into_iter().next();
        selection.verified()?;
        Ok(Agreed::Idle)
    }
}

impl Watch {
    /// Returns how far it hears.
    pub fn reach(&self) -> Reach {
        match self.agreed {
            Agreed::Notify(_) => Reach::All,
            Agreed::Idle => Reach::One,
            Agreed::Nothing => Reach::Nothing,
        }
    }

    /// Returns true if changes of flags are told wherever it hears.
    pub fn hears_flags(&self) -> bool {
        !matches!(self.agreed, Agreed::Notify(FEWER_EVENTS))
    }

    /// Listens for a while, and makes sure then that the server is still there. Tells every change as it is heard; of all
    /// mailboxes once those that follow will be heard, too, and returns then.
    ///
    /// # Errors
    /// The connection is lost or silent, or can't listen. It is of no further use.
    pub async fn listen(&mut self, tell: &mut dyn FnMut(Change)) -> Result<(), RemoteError> {
        let listened = match self.agreed {
            Agreed::Notify(events) => self.listen_to_all(events, tell).await,
            Agreed::Idle | Agreed::Nothing => self.listen_to_one(tell).await,
        };
        listened.map_err(|error| error.doing("listening for changes"))
    }

    async fn listen_to_one(&mut self, tell: &mut dyn FnMut(Change)) -> Result<(), Error> {
        let (names, mailbox) = (&self.store.names, &self.mailbox);
        let mut hear = |_, data: Untagged| {
            if let Some(change) = change(&data, names, Some(mailbox)) {
                tell(change);
            }
        };
        accepted(self.store.connection.idle(self.probe, &mut hear).await?)
    }

    async fn listen_to_all(&mut self, events: &'static str, tell: &mut dyn FnMut(Change)) -> Result<(), Error> {
        let connection = &mut self.store.connection;
        let mut ear = Ear { names: &self.store.names, heard: Vec::new(), overflowed: false };
        accepted(connection.idle(self.pace.wait(self.probe), &mut ear).await?)?;
        if ear.heard.is_empty() {
            // In this order: the first lets it see what the second has it tell.
            connection.run([REFRESH, ASK].map(Command::new).into(), &mut ear).await?;
        }
        if ear.heard.is_empty() {
            // Between two quick questions nothing need happen.
            self.overflowed &= self.pace.is_quick();
            self.pace.slow_down();
            return Ok(());
        }
        self.pace.hurry();
        let overflowed = std::mem::take(&mut ear.overflowed);
        // Dovecot 2.3 hears by the log of its index, and goes on with the old file when that is rotated, which happens
        // together with some change: each that is heard may be the last. To set anew what is set would let go of the new
        // file as well; nor is anything set after an overflow (RFC 5465 section 5.8). What follows on the change begins
        // when all this is done, so that what happened in between is found by it.
        let again = [NO_EVENTS, events, REFRESH].map(Command::new).into();
        let answers = connection.run(again, &mut ear).await?;
        answers.into_iter().nth(1).map_or(Ok(()), accepted)?;
        if ear.overflowed || overflowed && self.overflowed {
            return Err(Error::Unusable("it can't tell as much as it was asked for, again and again".to_owned()));
        }
        self.overflowed = overflowed;
        ear.heard.into_iter().for_each(tell);
        Ok(())
    }

    /// Says goodbye.
    pub async fn close(self) {
        self.store.logout().await;
    }
}

/// How often a server is asked whether there is anything new.
#[derive(Debug, Default)]
struct Pace {
    /// So many more times it is asked soon.
    quick: u32,
}

impl Pace {
    /// Returns how long to listen before it is asked; `probe` where nothing was heard of late.
    fn wait(&self, probe: Duration) -> Duration {
        if self.is_quick() { QUICK.min(probe) } else { probe }
    }

    fn is_quick(&self) -> bool {
        self.quick > 0
    }

    fn hurry(&mut self) {
        self.quick = QUICK_TIMES;
    }

    fn slow_down(&mut self) {
        self.quick = self.quick.saturating_sub(1);
    }
}

fn accepted(status: Status) -> Result<(), Error> {
    if status.is_ok() { Ok(()) } else { Err(Error::Refused(status)) }
}

/// Hears what happens in all mailboxes, until it has heard something.
struct Ear<'a> {
    names: &'a Names,
    heard: Vec<Change>,
    /// The server could not say all, and says nothing any more.
    overflowed: bool,
}

impl Handler for Ear<'_> {
    fn untagged(&mut self, _at: usize, data: Untagged) -> Result<(), Error> {
        self.overflowed |= is_overflow(&data);
        if let Some(change) = change(&data, self.names, None) {
            if self.heard.len() == MOST_HEARD {
                self.heard = vec![Change::Somewhere];
            }
            self.heard.push(change);
        }
        Ok(())
    }

    fn has_enough(&self) -> bool {
        !self.heard.is_empty()
    }
}

fn is_overflow(data: &Untagged) -> bool {
    matches!(data, Untagged::Status(status) if status.code_name() == "NOTIFICATIONOVERFLOW")
}

fn inbox() -> Change {
    Change::Mailbox(MailboxName::inbox(), None)
}

/// Returns what changed according to untagged data; `selected` is the mailbox that is.
fn change(data: &Untagged, names: &Names, selected: Option<&MailboxName>) -> Option<Change> {
    let named = |raw: &[u8], now| names.find(raw).cloned().map_or(Change::Somewhere, |name| Change::Mailbox(name, now));
    match data {
        Untagged::Exists(_) | Untagged::Expunge | Untagged::Fetch(_) | Untagged::Vanished { .. } => {
            Some(selected.map_or(Change::Somewhere, |mailbox| Change::Mailbox(mailbox.clone(), None)))
        }
        Untagged::MailboxStatus(status) => Some(named(&status.name, status.mod_seq)),
        // The inbox neither comes nor goes: this answers us.
        Untagged::List(listed) => Some(named(&listed.name, None)).filter(|change| *change != inbox()),
        _ if is_overflow(data) => Some(Change::Somewhere),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::script::{Step, block_on, name, scripted};
    use crate::store::RemoteErrorKind;

    /// Listens once to a server that plays this script.
    fn listen(
        capabilities: &[&str],
        patience: Duration,
        script: Vec<Step>,
    ) -> (Reach, Vec<Change>, Option<RemoteError>) {
        listen_times(1, capabilities, patience, script)
    }

    /// Listens so often, or until it can't any more.
    fn listen_times(
        times: usize,
        capabilities: &[&str],
        patience: Duration,
        script: Vec<Step>,
    ) -> (Reach, Vec<Change>, Option<RemoteError>) {
        block_on(async {
            let (mut store, server) = scripted(capabilities, script);
            store.names = Names::read(None, &[listed("INBOX"), listed("a/b")]).0;
            let mut watch = store.watch(MailboxName::inbox(), true, patience).await.unwrap();
            let (mut heard, mut ended) = (Vec::new(), Ok(()));
            for _ in 0..times {
                ended = ended.and(watch.listen(&mut |change| heard.push(change)).await);
            }
            server.await.unwrap();
            (watch.reach(), heard, ended.err())
        })
    }

    fn listed(name: &str) -> super::super::response::Listed {
        super::super::response::Listed { attributes: Vec::new(), separator: Some(b'/'), name: name.as_bytes().to_vec() }
    }

    const SHORT: Duration = Duration::from_millis(100);

    /// Longer than a script takes.
    const LONG: Duration = Duration::from_secs(20);

    const OFFERED: [&str; 3] = ["IDLE", "NOTIFY", "CONDSTORE"];

    #[test]
    fn notify_tells_of_every_mailbox_and_what_it_can_not_name_is_somewhere() {
        let script = vec![
            (EVENTS, "m1 BAD no FlagChange\r\n"),
            (FEWER_EVENTS, "$ OK x\r\n"),
            (
                "IDLE",
                "+ idling\r\n* LIST () \"/\" INBOX\r\n* OK Still here\r\n* STATUS a/b (HIGHESTMODSEQ 9)\r\n\
                 * STATUS new (MESSAGES 1)\r\n* OK [NOTIFICATIONOVERFLOW] x\r\n",
            ),
            ("DONE", "m3 OK x\r\n"),
            (NO_EVENTS, "$ OK x\r\n"),
            (FEWER_EVENTS, "$ OK x\r\n"),
            (REFRESH, "* LIST () \"/\" INBOX\r\n$ OK x\r\n"),
        ];
        let (reach, heard, error) = listen(&OFFERED, LONG, script);
        assert!(error.is_none(), "{error:?}");
        let expected = [Change::Mailbox(name("a/b"), ModSeq::new(9)), Change::Somewhere, Change::Somewhere];
        assert_eq!((reach, heard.as_slice()), (Reach::All, &expected[..]));
    }

    #[test]
    fn after_whatever_was_heard_notify_is_set_anew_before_it_is_told() {
        let mailbox = |name_: &str, now| Change::Mailbox(name(name_), ModSeq::new(now));
        let heard_at = |place: usize| {
            let mut script = vec![
                (EVENTS, "$ OK x\r\n"),
                ("IDLE", "+ idling\r\n* STATUS a/b (HIGHESTMODSEQ 9)\r\n"),
                ("DONE", "* STATUS INBOX (HIGHESTMODSEQ 3)\r\nm2 OK x\r\n"),
                (NO_EVENTS, "* STATUS INBOX (HIGHESTMODSEQ 4)\r\n$ OK x\r\n"),
                (EVENTS, "* STATUS INBOX (HIGHESTMODSEQ 5)\r\n$ OK x\r\n"),
                (REFRESH, "* LIST () \"/\" a/b\r\n$ OK x\r\n"),
            ];
            // The last answer never comes.
            script.truncate(place);
            let (_, heard, error) = listen(&OFFERED, LONG, script);
            (heard, error.map(|error| error.kind))
        };
        let all = [mailbox("a/b", 9), mailbox("INBOX", 3), mailbox("INBOX", 4), mailbox("INBOX", 5)];
        let all = all.into_iter().chain([Change::Mailbox(name("a/b"), None)]).collect();
        assert_eq!(heard_at(6), (all, None));
        assert_eq!(heard_at(5), (Vec::new(), Some(RemoteErrorKind::Unreachable)));
    }

    #[test]
    fn a_quiet_server_is_asked_now_and_then_and_what_that_brings_is_heard() {
        for (listed, expected) in [("INBOX", vec![]), ("a/b", vec![Change::Mailbox(name("a/b"), None)])] {
            let listing: &str = format!("* LIST () \"/\" {listed}\r\n$ OK x\r\n").leak();
            let mut script = vec![
                (EVENTS, "$ OK x\r\n"),
                ("IDLE", "+ idling\r\n"),
                ("DONE", "m2 OK x\r\n"),
                (REFRESH, listing),
                (ASK, "$ OK x\r\n"),
            ];
            if !expected.is_empty() {
                script.extend([(NO_EVENTS, "$ OK x\r\n"), (EVENTS, "$ OK x\r\n"), (REFRESH, "$ OK x\r\n")]);
            }
            let (_, heard, error) = listen(&OFFERED, SHORT, script);
            assert!(error.is_none(), "{error:?}");
            assert_eq!(heard, expected);
        }
    }

    #[test]
    fn a_server_that_said_something_is_asked_for_more_soon() {
        let changed = "* STATUS a/b (HIGHESTMODSEQ 9)\r\n";
        let (idle, more): (&str, &str) =
            (format!("+ idling\r\n{changed}").leak(), format!("{changed}$ OK x\r\n").leak());
        let again = [(NO_EVENTS, "$ OK x\r\n"), (EVENTS, "$ OK x\r\n"), (REFRESH, "$ OK x\r\n")];
        let first = [&[(EVENTS, "$ OK x\r\n"), ("IDLE", idle), ("DONE", "m2 OK x\r\n")][..], &again].concat();
        let second = [("IDLE", "+ idling\r\n"), ("DONE", "m6 OK x\r\n"), (REFRESH, "$ OK x\r\n"), (ASK, more)];
        let begun = std::time::Instant::now();
        let (_, heard, error) = listen_times(2, &OFFERED, LONG, [&first[..], &second, &again].concat());
        assert!(error.is_none(), "{error:?}");
        assert_eq!(heard, vec![Change::Mailbox(name("a/b"), ModSeq::new(9)); 2]);
        assert!(begun.elapsed() < LONG / 4, "asked as if nothing had been heard");
    }

    #[test]
    fn a_server_that_has_nothing_to_say_for_a_while_is_left_in_peace() {
        let mut pace = Pace::default();
        assert_eq!(pace.wait(LONG), LONG);
        pace.hurry();
        assert_eq!(pace.wait(SHORT), SHORT, "never less often than a broken connection asks for");
        for _ in 0..QUICK_TIMES {
            assert_eq!(pace.wait(LONG), QUICK);
            pace.slow_down();
        }
        pace.slow_down();
        assert_eq!(pace.wait(LONG), LONG);
    }

    #[test]
    fn a_server_that_can_not_say_all_is_asked_anew_and_one_that_never_can_is_left_alone() {
        let overflow = "* OK [NOTIFICATIONOVERFLOW] x\r\n";
        let idle: &str = format!("+ idling\r\n{overflow}").leak();
        let at_once: &str = format!("{overflow}$ OK x\r\n").leak();
        let again = |done, set| {
            [("IDLE", idle), ("DONE", done), (NO_EVENTS, "$ OK x\r\n"), (EVENTS, set), (REFRESH, "$ OK x\r\n")]
        };
        let set = [(EVENTS, "$ OK x\r\n")];
        let once = [&set[..], &again("m2 OK x\r\n", "$ OK x\r\n")].concat();
        let (_, heard, error) = listen(&OFFERED, LONG, once.clone());
        assert_eq!((heard, error.is_none()), (vec![Change::Somewhere], true));
        let meanwhile = [&set[..], &again("m2 OK x\r\n", at_once)].concat();
        let refused = |times, script| listen_times(times, &OFFERED, LONG, script).2.map(|error| error.kind);
        assert_eq!(refused(1, meanwhile), Some(RemoteErrorKind::Refused));
        let twice = [&once[..], &again("m6 OK x\r\n", "$ OK x\r\n")].concat();
        assert_eq!(refused(2, twice), Some(RemoteErrorKind::Refused));
        let between = [("IDLE", "+ idling\r\n"), ("DONE", "m6 OK x\r\n"), (REFRESH, "$ OK x\r\n"), (ASK, "$ OK x\r\n")];
        let soon = [&once[..], &between, &again("m9 OK x\r\n", "$ OK x\r\n")].concat();
        assert_eq!(refused(3, soon), Some(RemoteErrorKind::Refused), "a fifth of a second of silence changes nothing");
        let not_again = [&set[..], &again("m2 OK x\r\n", "$ NO x\r\n")].concat();
        assert_eq!(refused(1, not_again), Some(RemoteErrorKind::Refused));
    }

    #[test]
    fn it_is_known_whether_flags_are_told() {
        let hears_flags = |capabilities: &[&str], script| {
            block_on(async {
                let (store, server) = scripted(capabilities, script);
                let watch = store.watch(MailboxName::inbox(), true, SHORT).await.unwrap();
                server.await.unwrap();
                watch.hears_flags()
            })
        };
        assert!(hears_flags(&OFFERED, vec![(EVENTS, "$ OK x\r\n")]));
        assert!(!hears_flags(&OFFERED, vec![(EVENTS, "$ BAD x\r\n"), (FEWER_EVENTS, "$ OK x\r\n")]));
    }

    #[test]
    fn without_notify_one_mailbox_is_heard() {
        let selected = "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n$ OK x\r\n";
        let script = vec![
            ("EXAMINE \"INBOX\"", selected),
            ("IDLE", "+ idling\r\n* 4 EXISTS\r\n* 1 EXPUNGE\r\n* 1 RECENT\r\n"),
            ("DONE", "m2 OK x\r\n"),
        ];
        let (reach, heard, error) = listen(&["IDLE"], SHORT, script);
        assert!(error.is_none(), "{error:?}");
        assert_eq!((reach, heard.len()), (Reach::One, 2));
        assert_eq!(heard[0], inbox());
    }

    #[test]
    fn a_server_that_does_not_answer_done_or_refuses_to_idle_is_an_error() {
        let selected = "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n$ OK x\r\n";
        for (begin, end, kind) in [
            ("+ idling\r\n", "", RemoteErrorKind::Unreachable),
            ("+ idling\r\n* BYE restart\r\n", "", RemoteErrorKind::Unreachable),
            ("$ NO not now\r\n", "never", RemoteErrorKind::Refused),
            ("$ OK that was short\r\n", "never", RemoteErrorKind::Refused),
            ("+ idling\r\n$ OK that was short\r\n", "never", RemoteErrorKind::Refused),
        ] {
            let mut script = vec![("EXAMINE \"INBOX\"", selected), ("IDLE", begin)];
            script.extend((end != "never").then_some(("DONE", end)));
            let (_, _, error) = listen(&["IDLE"], SHORT, script);
            assert_eq!(error.unwrap().kind, kind, "{begin:?}");
        }
    }
}

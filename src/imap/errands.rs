//! STOREs in one or many mailboxes in one burst, each behind the SELECT of its mailbox.
//!
//! As with MOVEs (see `moves`), nothing waits for the SELECT, and what was not meant is undone: in front of each STORE
//! the flags are fetched as they are before it. What can't be undone, as EXPUNGE, follows in the same burst once the STOREs of
//! its mailbox are answered, while the server works on those of others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::ImapStore;
use super::command::{Command, Handler};
use super::error::Error;
use super::modify::{RANGES, hear, require};
use super::quirk;
use super::response::{Status, Untagged};
use super::select::Selection;
use crate::model::{FlagDelta, FlagSet, MailboxName, Uid, UidSet, UidValidity};
use crate::store::{Expunged, Messages};

/// STOREs in one mailbox.
pub(super) struct Errand {
    /// What they are about.
    pub(super) messages: Messages,
    /// The commands.
    pub(super) stores: Vec<Command>,
    /// What follows if they are carried out, and the mailbox is the one that was meant.
    pub(super) then: Vec<Command>,
}

/// What came of an errand.
#[derive(Debug, Default)]
pub(super) struct Told {
    selection: Selection,
    failed: Option<Error>,
    /// The flags that the messages had.
    pub(super) before: BTreeMap<Uid, FlagSet>,
    /// The flags that they have, as far as it was told.
    pub(super) now: BTreeMap<Uid, FlagSet>,
    /// The answers to the STOREs.
    pub(super) answers: Vec<Status>,
    /// What came of the SELECT in front of what followed them,
    reselection: Selection,
    /// and the answers to that.
    last: Vec<Status>,
}

impl Told {
    /// Returns the flags that the messages have now. `None` if something was refused, or it was not told of all.
    pub(super) fn stored(self, changes: &[(FlagDelta, UidSet)]) -> Option<BTreeMap<Uid, FlagSet>> {
        let Told { before, mut now, answers, .. } = self;
        for (uid, flags) in before {
            let mut deltas = changes.iter().filter(|(_, uids)| uids.contains(uid)).map(|(delta, _)| delta);
            // Some servers don't report what was so already.
            match now.contains_key(&uid) || deltas.all(|delta| delta.apply(&flags) == flags) {
                true => drop(now.entry(uid).or_insert(flags)),
                false => return None,
            }
        }
        answers.iter().all(Status::is_ok).then_some(now)
    }

    /// Returns what came of what was to follow the STOREs.
    fn followed(self, validity: UidValidity) -> Result<(), Error> {
        require(self.answers)?;
        self.reselection.check(validity)?;
        require(self.last)
    }
}

/// What a command of the burst is.
#[derive(Debug, Clone, Copy)]
enum Part {
    Select,
    Before,
    Store,
    Reselect,
    Then,
}

#[derive(Default)]
struct Burst {
    /// Of which errand each command is, and which part of it.
    uses: Vec<(usize, Part)>,
    messages: Vec<Messages>,
    told: Vec<Told>,
    /// What follows the STOREs of each errand, a SELECT in front of it, and how many STOREs are not answered yet.
    then: Vec<(Vec<Command>, usize)>,
    /// The errands whose STOREs are answered, and of which nothing was sent since.
    ready: VecDeque<usize>,
}

impl Burst {
    /// Hears that a STORE was answered.
    fn stored(&mut self, of: usize) {
        let Some((then, left)) = self.then.get_mut(of) else { return };
        *left = left.saturating_sub(1);
        if *left == 0 && !then.is_empty() {
            self.ready.push_back(of);
        }
    }

    /// Returns true if what follows the STOREs of an errand may be sent.
    fn may_follow(&self, of: usize) -> bool {
        let all = self.told.get(of).zip(self.messages.get(of));
        all.is_some_and(|(told, messages)| {
            told.answers.iter().all(Status::is_ok) && told.selection.check(messages.validity).is_ok()
        })
    }
}

impl Handler for Burst {
    fn untagged(&mut self, at: usize, data: Untagged) -> Result<(), Error> {
        let Some((of, part)) = self.uses.get(at) else { return Ok(()) };
        if let (Some(told), Some(messages)) = (self.told.get_mut(*of), self.messages.get(*of)) {
            match part {
                Part::Select => told.selection.take(&data),
                Part::Before => hear(data, &messages.uids, &mut told.before),
                Part::Store => hear(data, &messages.uids, &mut told.now),
                Part::Reselect => told.reselection.take(&data),
                Part::Then => {}
            }
        }
        Ok(())
    }

    fn completed(&mut self, at: usize, status: &Status) {
        let Some(&(of, part)) = self.uses.get(at) else { return };
        let Some(told) = self.told.get_mut(of) else { return };
        match part {
            Part::Select => told.selection.answer = Some(status.clone()),
            Part::Before => {}
            Part::Store => {
                told.answers.push(status.clone());
                self.stored(of);
            }
            Part::Reselect => told.reselection.answer = Some(status.clone()),
            Part::Then => told.last.push(status.clone()),
        }
    }

    fn more(&mut self) -> Vec<Command> {
        let mut commands = Vec::new();
        while let Some(of) = self.ready.pop_front() {
            let may_follow = self.may_follow(of);
            let then = self.then.get_mut(of).map(|(then, _)| std::mem::take(then)).filter(|_| may_follow);
            for (at, command) in then.into_iter().flatten().enumerate() {
                self.uses.push((of, if at == 0 { Part::Reselect } else { Part::Then }));
                commands.push(command);
            }
        }
        commands
    }

    fn is_over(&self) -> bool {
        self.then.iter().all(|(then, _)| then.is_empty())
    }
}

impl ImapStore {
    /// Returns true if STOREs may go out before the SELECTs in front of them are answered. Where a SELECT fails no mailbox is
    /// selected, and they are refused (RFC 9051 section 6.3.2); servers that know neither CONDSTORE nor UIDPLUS may be too
    /// old to rely on that.
    pub(super) fn stores_in_one_burst(&self) -> bool {
        self.capabilities.mod_seq() && self.capabilities.has("UIDPLUS")
    }

    /// Expunging in one burst marks messages first, which must be possible to undo, and selects each mailbox twice, which
    /// takes a near server longer than to answer the first SELECT before anything else is sent.
    pub(super) fn expunges_in_one_burst(&self) -> bool {
        let is_near = self.connection.wire().is_near();
        self.stores_in_one_burst() && !quirk::deleted_is_final(&self.capabilities) && !is_near
    }

    /// Runs errands in one burst.
    pub(super) async fn run_errands(&mut self, errands: Vec<Errand>) -> Result<Vec<Result<Told, Error>>, Error> {
        self.introduce().await?;
        self.upcoming.clear();
        let (mut burst, mut commands) = (Burst::default(), Vec::new());
        for errand in errands {
            self.add(errand, &mut burst, &mut commands);
        }
        if !commands.is_empty() {
            self.about_to_select();
            self.run_then_look(commands, &mut burst).await?;
        }
        let last = burst.uses.last();
        let last = last.and_then(|(of, part)| Some((part, burst.messages.get(*of)?, burst.told.get(*of)?)));
        if let Some((part, messages, told)) = last {
            let again = matches!(part, Part::Reselect | Part::Then);
            self.selected(&messages.mailbox, if again { &told.reselection } else { &told.selection });
        }
        let mut results = Vec::with_capacity(burst.told.len());
        for (mut told, messages) in burst.told.into_iter().zip(burst.messages) {
            let wrong = told.failed.take().or_else(|| told.selection.check(messages.validity).err());
            // One whose flags can't be put back keeps none of the others from getting theirs.
            let restored = match &wrong {
                Some(Error::UidValidity { now, .. }) => self.put_back(&messages.mailbox, *now, &told).await,
                _ => Ok(()),
            };
            results.push(restored.and(wrong.map_or(Ok(told), Err)));
        }
        Ok(results)
    }

    /// Adds an errand to the burst. One whose name can't be sent fails alone.
    fn add(&self, Errand { messages, stores, mut then }: Errand, burst: &mut Burst, commands: &mut Vec<Command>) {
        let (at, mut told) = (burst.told.len(), Told::default());
        let ask = |part| Command::new(format!("UID FETCH {part} (UID FLAGS)"));
        let select = || self.select_command("SELECT", &messages.mailbox, None);
        let again = if then.is_empty() { Ok(None) } else { select().map(Some) };
        let count = stores.len();
        match select().and_then(|first| Ok((first, again?))) {
            Ok((select, again)) => {
                then.splice(0..0, again);
                let asks = messages.uids.chunks(u32::MAX, RANGES).into_iter().map(ask).collect();
                for (part, kind) in [(vec![select], Part::Select), (asks, Part::Before), (stores, Part::Store)] {
                    burst.uses.extend(part.iter().map(|_| (at, kind)));
                    commands.extend(part);
                }
            }
            Err(error) => {
                told.failed = Some(error);
                then.clear();
            }
        }
        burst.messages.push(messages);
        burst.told.push(told);
        burst.then.push((then, count));
    }

    /// Gives messages of another mailbox of that name the flags that they had.
    async fn put_back(&mut self, mailbox: &MailboxName, validity: UidValidity, told: &Told) -> Result<(), Error> {
        let mut sets: BTreeMap<&FlagSet, BTreeSet<Uid>> = BTreeMap::new();
        if told.answers.iter().any(Status::is_ok) {
            for (uid, flags) in &told.before {
                sets.entry(flags).or_default().insert(*uid);
            }
        }
        let mut commands = Vec::new();
        for (flags, uids) in sets {
            let parts = uids.into_iter().collect::<UidSet>().chunks(u32::MAX, RANGES);
            commands.extend(parts.iter().map(|part| Command::new(format!("UID STORE {part} FLAGS.SILENT ({flags})"))));
        }
        if commands.is_empty() {
            return Ok(());
        }
        tracing::warn!(%mailbox, "it was replaced a moment ago; what was flagged in it gets the flags that it had");
        self.select(mailbox, validity).await?;
        require(self.connection.run(commands, &mut |_, _| {}).await?)
    }

    /// Expunges messages from many mailboxes: they are flagged first, and only in mailboxes that are the ones that were meant
    /// is anything expunged. Should one be replaced between the two, `UID EXPUNGE` takes nothing in it that was not flagged
    /// there.
    pub(super) async fn expunge_all_messages(
        &mut self,
        orders: &[Messages],
    ) -> Result<Vec<Result<Expunged, Error>>, Error> {
        let delete = |part: &UidSet| Command::new(format!("UID STORE {part} +FLAGS.SILENT (\\Deleted)"));
        let expunge = |part: &UidSet| Command::new(format!("UID EXPUNGE {part}"));
        let errand = |messages: &Messages| {
            let parts = messages.uids.chunks(u32::MAX, RANGES);
            let (stores, then) = (parts.iter().map(delete).collect(), parts.iter().map(expunge).collect());
            Errand { messages: messages.clone(), stores, then }
        };
        let told = self.run_errands(orders.iter().map(errand).collect()).await?;
        let answer = |(told, messages): (Result<Told, Error>, &Messages)| {
            told?.followed(messages.validity).map(|()| Expunged::Done)
        };
        Ok(told.into_iter().zip(orders).map(answer).collect())
    }
}

#[cfg(test)]
mod tests {
    use crate::imap::script::{Step, block_on, name, of_a, of_b, scripted, uids};
    use crate::model::{Flag, FlagDelta, FlagSet, UidSet, UidValidity};
    use crate::store::{Expunged, FlagChanges, RemoteError, RemoteErrorKind, RemoteStore};

    const A: &str = "* 9 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n$ OK x\r\n";
    const B: &str = "* OK [CLOSED] x\r\n* 9 EXISTS\r\n* OK [UIDVALIDITY 5] x\r\n$ OK x\r\n";
    const OTHER: &str = "* OK [CLOSED] x\r\n* 9 EXISTS\r\n* OK [UIDVALIDITY 99] x\r\n$ OK x\r\n";

    fn kinds(done: Vec<Result<Expunged, RemoteError>>) -> Vec<Result<Expunged, RemoteErrorKind>> {
        done.into_iter().map(|one| one.map_err(|error| error.kind)).collect()
    }

    #[test]
    fn what_is_flagged_in_one_of_many_mailboxes_is_expunged_while_the_server_flags_in_others() {
        block_on(async {
            let last =
                "m6 NO read-only\r\n* 9 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\nm7 OK x\r\n* 1 EXPUNGE\r\n$ OK x\r\n";
            let script: Vec<Step> = vec![
                ("SELECT \"A\" (CONDSTORE)", A),
                ("UID FETCH 1:2 (UID FLAGS)", "* 1 FETCH (UID 1 FLAGS ())\r\n$ OK x\r\n"),
                ("UID STORE 1:2 +FLAGS.SILENT (\\Deleted)", "$ OK x\r\n"),
                ("SELECT \"B\" (CONDSTORE)", B),
                ("UID FETCH 4 (UID FLAGS)", "$ OK x\r\n"),
                ("UID STORE 4 +FLAGS.SILENT (\\Deleted)", ""),
                ("SELECT \"A\" (CONDSTORE)", ""),
                ("UID EXPUNGE 1:2", last),
            ];
            let (mut store, server) = scripted(&["UIDPLUS", "CONDSTORE"], script);
            let done = store.expunge_all(&[of_a(&[1, 2]), of_b(&[4])]).await;
            server.await.unwrap();
            assert_eq!(kinds(done), [Ok(Expunged::Done), Err(RemoteErrorKind::Refused)]);
            assert_eq!(store.traffic().round_trips, 1);
            assert!(store.has_selected(&name("A"), UidValidity(7)));
        });
    }

    fn seen(mailbox: &str, validity: u64, numbers: &[u32]) -> FlagChanges {
        let delta = FlagDelta { add: FlagSet::of(&[Flag::Seen]), remove: FlagSet::new() };
        let (mailbox, validity) = (name(mailbox), UidValidity(validity));
        FlagChanges { mailbox, validity, changes: vec![(delta, uids(numbers))] }
    }

    #[test]
    fn flags_in_many_mailboxes_take_one_round_trip() {
        block_on(async {
            let before = "* 1 FETCH (UID 1 FLAGS ())\r\n* 2 FETCH (UID 2 FLAGS (\\Seen))\r\n$ OK x\r\n";
            let script: Vec<Step> = vec![
                ("SELECT \"A\" (CONDSTORE)", A),
                ("UID FETCH 1:3 (UID FLAGS)", before),
                // Nothing is said of what was so already, and the third is gone.
                ("UID STORE 1:3 +FLAGS (\\Seen)", "* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n$ OK x\r\n"),
                ("SELECT \"B\" (CONDSTORE)", "$ NO [NONEXISTENT] x\r\n"),
                ("UID FETCH 4 (UID FLAGS)", "$ BAD no mailbox\r\n"),
                ("UID STORE 4 +FLAGS (\\Seen)", "$ BAD no mailbox\r\n"),
            ];
            let (mut store, server) = scripted(&["UIDPLUS", "CONDSTORE"], script);
            let mut done = store.store_all(&[seen("A", 7, &[1, 2, 3]), seen("B", 5, &[4])]).await;
            server.await.unwrap();
            assert_eq!(done.pop().unwrap().unwrap_err().kind, RemoteErrorKind::NoSuchMailbox);
            let now = done.pop().unwrap().unwrap().now;
            assert_eq!(now.keys().copied().collect::<UidSet>(), uids(&[1, 2]));
            assert!(now.values().all(|flags| flags.has(Flag::Seen)));
            assert_eq!(store.traffic().round_trips, 1);
        });
    }

    #[test]
    fn what_is_refused_or_not_told_in_one_of_many_mailboxes_is_asked_for_again_there() {
        block_on(async {
            let unseen = "* 4 FETCH (UID 4 FLAGS ())\r\n$ OK x\r\n";
            let script: Vec<Step> = vec![
                ("SELECT \"A\" (CONDSTORE)", A),
                ("UID FETCH 1 (UID FLAGS)", "* 1 FETCH (UID 1 FLAGS ())\r\n$ OK x\r\n"),
                ("UID STORE 1 +FLAGS (\\Seen)", "$ NO not here\r\n"),
                ("SELECT \"B\" (CONDSTORE)", B),
                ("UID FETCH 4 (UID FLAGS)", unseen),
                ("UID STORE 4 +FLAGS (\\Seen)", "$ OK x\r\n"),
                ("SELECT \"A\" (CONDSTORE)", A),
                ("UID STORE 1 +FLAGS (\\Seen)", "$ NO not here\r\n"),
                ("UID FETCH 1 (UID FLAGS)", "* 1 FETCH (UID 1 FLAGS ())\r\n$ OK x\r\n"),
                ("SELECT \"B\" (CONDSTORE)", B),
                ("UID STORE 4 +FLAGS (\\Seen)", "$ OK x\r\n"),
                ("UID FETCH 4 (UID FLAGS)", unseen),
            ];
            let (mut store, server) = scripted(&["UIDPLUS", "CONDSTORE"], script);
            let mut done = store.store_all(&[seen("A", 7, &[1]), seen("B", 5, &[4])]).await;
            server.await.unwrap();
            let [b, a] = [done.pop(), done.pop()].map(|one| one.unwrap().unwrap());
            assert_eq!((a.refusal.as_deref(), b.refusal), (Some("not here"), None));
            assert!([a.now, b.now].iter().all(|now| now.values().all(FlagSet::is_empty)));
        });
    }

    #[test]
    fn what_was_flagged_in_another_mailbox_of_that_name_gets_its_flags_back() {
        block_on(async {
            let before = "* 4 FETCH (UID 4 FLAGS (\\Seen))\r\n* 5 FETCH (UID 5 FLAGS (\\Deleted))\r\n$ OK x\r\n";
            let script: Vec<Step> = vec![
                ("SELECT \"A\" (CONDSTORE)", A),
                ("UID FETCH 1 (UID FLAGS)", "* 1 FETCH (UID 1 FLAGS ())\r\n$ OK x\r\n"),
                ("UID STORE 1 +FLAGS.SILENT (\\Deleted)", "$ OK x\r\n"),
                ("SELECT \"B\" (CONDSTORE)", OTHER),
                ("UID FETCH 4:5 (UID FLAGS)", before),
                ("UID STORE 4:5 +FLAGS.SILENT (\\Deleted)", "$ OK x\r\n"),
                ("SELECT \"A\" (CONDSTORE)", A),
                ("UID EXPUNGE 1", "* 1 EXPUNGE\r\n$ OK x\r\n"),
                ("SELECT \"B\" (CONDSTORE)", OTHER),
                ("UID STORE 4 FLAGS.SILENT (\\Seen)", "$ OK x\r\n"),
                ("UID STORE 5 FLAGS.SILENT (\\Deleted)", "$ OK x\r\n"),
            ];
            let (mut store, server) = scripted(&["UIDPLUS", "CONDSTORE"], script);
            let done = store.expunge_all(&[of_a(&[1]), of_b(&[4, 5])]).await;
            server.await.unwrap();
            assert_eq!(kinds(done), [Ok(Expunged::Done), Err(RemoteErrorKind::UidValidityChanged)]);
        });
    }

    #[test]
    fn what_cannot_get_its_flags_back_keeps_no_other_from_getting_them() {
        block_on(async {
            let seen = "* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n$ OK x\r\n";
            let script: Vec<Step> = vec![
                ("SELECT \"A\" (CONDSTORE)", OTHER),
                ("UID FETCH 1 (UID FLAGS)", seen),
                ("UID STORE 1 +FLAGS.SILENT (\\Deleted)", "$ OK x\r\n"),
                ("SELECT \"B\" (CONDSTORE)", OTHER),
                ("UID FETCH 1 (UID FLAGS)", seen),
                ("UID STORE 1 +FLAGS.SILENT (\\Deleted)", "$ OK x\r\n"),
                ("SELECT \"A\" (CONDSTORE)", OTHER),
                ("UID STORE 1 FLAGS.SILENT (\\Seen)", "$ NO not now\r\n"),
                ("SELECT \"B\" (CONDSTORE)", OTHER),
                ("UID STORE 1 FLAGS.SILENT (\\Seen)", "$ OK x\r\n"),
            ];
            let (mut store, server) = scripted(&["UIDPLUS", "CONDSTORE"], script);
            let done = kinds(store.expunge_all(&[of_a(&[1]), of_b(&[1])]).await);
            server.await.unwrap();
            assert_eq!(done, [Err(RemoteErrorKind::Refused), Err(RemoteErrorKind::UidValidityChanged)]);
        });
    }

    #[test]
    fn a_near_server_selects_each_mailbox_once() {
        block_on(async {
            // One of so many answers comes soon, however busy this machine is.
            let mut script: Vec<Step> = vec![("NOOP", "$ OK x\r\n"); 20];
            script.extend([
                ("SELECT \"A\" (CONDSTORE)", A),
                ("UID STORE 1:2 +FLAGS.SILENT (\\Deleted)", "$ OK x\r\n"),
                ("UID EXPUNGE 1:2", "* 1 EXPUNGE\r\n* 1 EXPUNGE\r\n$ OK x\r\n"),
                ("SELECT \"B\" (CONDSTORE)", B),
                ("UID STORE 4 +FLAGS.SILENT (\\Deleted)", "$ OK x\r\n"),
                ("UID EXPUNGE 4", "* 4 EXPUNGE\r\n$ OK x\r\n"),
            ]);
            let (mut store, server) = scripted(&["UIDPLUS", "CONDSTORE"], script);
            for _ in 0..20 {
                store.renew().await.unwrap();
            }
            store.about_to_change(vec![name("A"), name("B")]);
            let done = store.expunge_all(&[of_a(&[1, 2]), of_b(&[4])]).await;
            server.await.unwrap();
            assert_eq!(kinds(done), [Ok(Expunged::Done), Ok(Expunged::Done)]);
            assert_eq!(store.traffic().round_trips, 4, "NOOP, SELECT, and one for each mailbox");
        });
    }

    #[test]
    fn where_deleted_cannot_be_undone_each_select_is_answered_first() {
        block_on(async {
            let script: Vec<Step> = vec![("SELECT \"A\" (CONDSTORE)", OTHER), ("SELECT \"B\" (CONDSTORE)", OTHER)];
            let (mut store, server) = scripted(&["UIDPLUS", "CONDSTORE", "X-GM-EXT-1"], script);
            let done = kinds(store.expunge_all(&[of_a(&[1]), of_b(&[4])]).await);
            server.await.unwrap();
            assert_eq!(done, [Err(RemoteErrorKind::UidValidityChanged), Err(RemoteErrorKind::UidValidityChanged)]);
        });
    }
}

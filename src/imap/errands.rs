//! STOREs in one or many mailboxes in one burst, each behind the SELECT of its mailbox.
//!
//! As with MOVEs (see `moves`), nothing waits for the SELECT, and what was not meant is undone: in front of each STORE
//! the flags are fetched as they are before it.

use std::collections::{BTreeMap, BTreeSet};

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
}

/// What a command of the burst is.
#[derive(Debug, Clone, Copy)]
enum Part {
    Select,
    Before,
    Store,
}

#[derive(Default)]
struct Burst {
    /// Of which errand each command is, and which part of it.
    uses: Vec<(usize, Part)>,
    messages: Vec<Messages>,
    told: Vec<Told>,
}

impl Handler for Burst {
    fn untagged(&mut self, at: usize, data: Untagged) -> Result<(), Error> {
        let Some((of, part)) = self.uses.get(at) else { return Ok(()) };
        if let (Some(told), Some(messages)) = (self.told.get_mut(*of), self.messages.get(*of)) {
            match part {
                Part::Select => told.selection.take(&data),
                Part::Before => hear(data, &messages.uids, &mut told.before),
                Part::Store => hear(data, &messages.uids, &mut told.now),
            }
        }
        Ok(())
    }

    fn completed(&mut self, at: usize, status: &Status) {
        let Some((of, part)) = self.uses.get(at) else { return };
        match (self.told.get_mut(*of), part) {
            (Some(told), Part::Select) => told.selection.answer = Some(status.clone()),
            (Some(told), Part::Store) => told.answers.push(status.clone()),
            (_, Part::Before) | (None, _) => {}
        }
    }
}

impl ImapStore {
    /// Returns true if STOREs may go out before the SELECTs in front of them are answered. Where a SELECT fails no mailbox is
    /// selected, and they are refused (RFC 9051 section 6.3.2); servers that know neither CONDSTORE nor UIDPLUS may be too
    /// old to rely on that.
    pub(super) fn stores_in_one_burst(&self) -> bool {
        self.capabilities.mod_seq() && self.capabilities.has("UIDPLUS")
    }

    /// Expunging in one burst marks messages first, which must be possible to undo.
    pub(super) fn expunges_in_one_burst(&self) -> bool {
        self.stores_in_one_burst() && !quirk::deleted_is_final(&self.capabilities)
    }

    /// Runs errands in one burst, the last for now or not.
    pub(super) async fn run_errands(
        &mut self,
        errands: Vec<Errand>,
        last: bool,
    ) -> Result<Vec<Result<Told, Error>>, Error> {
        self.introduce().await?;
        self.upcoming.clear();
        let (mut burst, mut commands) = (Burst::default(), Vec::new());
        for errand in errands {
            self.add(errand, &mut burst, &mut commands);
        }
        if !commands.is_empty() {
            self.about_to_select();
            match last {
                true => self.run_then_look(commands, &mut burst).await?,
                false => self.connection.run(commands, &mut burst).await?,
            };
        }
        let last = burst.uses.last().and_then(|(of, _)| burst.messages.get(*of).zip(burst.told.get(*of)));
        if let Some((messages, told)) = last {
            self.selected(&messages.mailbox, &told.selection);
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
    fn add(&self, Errand { messages, stores }: Errand, burst: &mut Burst, commands: &mut Vec<Command>) {
        let (at, mut told) = (burst.told.len(), Told::default());
        let ask = |part| Command::new(format!("UID FETCH {part} (UID FLAGS)"));
        match self.select_command("SELECT", &messages.mailbox, None) {
            Ok(select) => {
                let asks = messages.uids.chunks(u32::MAX, RANGES).into_iter().map(ask).collect();
                for (part, kind) in [(vec![select], Part::Select), (asks, Part::Before), (stores, Part::Store)] {
                    burst.uses.extend(part.iter().map(|_| (at, kind)));
                    commands.extend(part);
                }
            }
            Err(error) => told.failed = Some(error),
        }
        burst.messages.push(messages);
        burst.told.push(told);
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

    /// Expunges messages from many mailboxes, in two bursts: all are flagged first, and only in mailboxes that are the ones
    /// that were meant is anything expunged. Should one be replaced between the two, `UID EXPUNGE` takes nothing in it that
    /// was not flagged there.
    pub(super) async fn expunge_all_messages(
        &mut self,
        orders: &[Messages],
    ) -> Result<Vec<Result<Expunged, Error>>, Error> {
        let delete = |part| Command::new(format!("UID STORE {part} +FLAGS.SILENT (\\Deleted)"));
        let errand = |messages: &Messages| Errand {
            messages: messages.clone(),
            stores: messages.uids.chunks(u32::MAX, RANGES).into_iter().map(delete).collect(),
        };
        let errands: Vec<Errand> = orders.iter().map(errand).collect();
        let told = self.run_errands(errands, false).await?;
        let flagged: Vec<Result<(), Error>> = told.into_iter().map(|told| require(told?.answers)).collect();
        let expunge = |part| Command::new(format!("UID EXPUNGE {part}"));
        let ready = orders.iter().zip(&flagged).filter(|(_, flagged)| flagged.is_ok());
        let errands: Vec<Errand> = ready
            .map(|(messages, _)| Errand {
                messages: Messages { uids: UidSet::new(), ..messages.clone() },
                stores: messages.uids.chunks(u32::MAX, RANGES).into_iter().map(expunge).collect(),
            })
            .collect();
        let mut expunged = self.run_errands(errands, true).await?.into_iter();
        let answer = |flagged: Result<(), Error>| {
            flagged?;
            let told = expunged.next().unwrap_or_else(|| Err(Error::Unusable("nothing was expunged".to_owned())))?;
            require(told.answers).map(|()| Expunged::Done)
        };
        Ok(flagged.into_iter().map(answer).collect())
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
    fn expunging_from_many_mailboxes_takes_two_round_trips() {
        block_on(async {
            let script: Vec<Step> = vec![
                ("SELECT \"A\" (CONDSTORE)", A),
                ("UID FETCH 1:2 (UID FLAGS)", "* 1 FETCH (UID 1 FLAGS ())\r\n$ OK x\r\n"),
                ("UID STORE 1:2 +FLAGS.SILENT (\\Deleted)", "$ OK x\r\n"),
                ("SELECT \"B\" (CONDSTORE)", B),
                ("UID FETCH 4 (UID FLAGS)", "$ OK x\r\n"),
                ("UID STORE 4 +FLAGS.SILENT (\\Deleted)", "$ NO read-only\r\n"),
                ("SELECT \"A\" (CONDSTORE)", A),
                ("UID EXPUNGE 1:2", "* 1 EXPUNGE\r\n$ OK x\r\n"),
            ];
            let (mut store, server) = scripted(&["UIDPLUS", "CONDSTORE"], script);
            let done = store.expunge_all(&[of_a(&[1, 2]), of_b(&[4])]).await;
            server.await.unwrap();
            assert_eq!(kinds(done), [Ok(Expunged::Done), Err(RemoteErrorKind::Refused)]);
            assert_eq!(store.traffic().round_trips, 2);
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
                ("UID STORE 4 FLAGS.SILENT (\\Seen)", "$ OK x\r\n"),
                ("UID STORE 5 FLAGS.SILENT (\\Deleted)", "$ OK x\r\n"),
                ("SELECT \"A\" (CONDSTORE)", A),
                ("UID EXPUNGE 1", "* 1 EXPUNGE\r\n$ OK x\r\n"),
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

//! STORE and EXPUNGE. Sent only to a mailbox whose SELECT was answered and whose UIDVALIDITY was checked.

use std::collections::BTreeMap;

use super::ImapStore;
use super::command::Command;
use super::errands::Errand;
use super::error::{Error, refusal_kind};
use super::response::{Status, Untagged};
use crate::model::{FlagDelta, FlagSet, MailboxName, Uid, UidSet, UidValidity};
use crate::store::{Expunged, FlagChanges, Messages, RemoteErrorKind, StoredFlags};

/// How many ranges of UIDs one command names: well below what servers take in a line.
pub(super) const RANGES: usize = 400;

impl ImapStore {
    /// Changes flags and returns what they are now. An OK is no proof and some servers don't report what was so
    /// already, so messages not heard of are asked about. A command refused is repeated flag by flag, so that only what
    /// the server does not want is left out.
    pub(super) async fn change_flags(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        changes: &[(FlagDelta, UidSet)],
    ) -> Result<StoredFlags, Error> {
        let (wanted, orders) = orders(changes);
        let mut now = BTreeMap::new();
        let refused = self.give(mailbox, validity, orders, (&wanted, &mut now)).await?;
        let mut unsure = UidSet::new();
        refused.iter().for_each(|(order, _)| unsure.union_with(&order.part));
        let again = refused.iter().flat_map(|(order, _)| order.one_by_one()).collect();
        let mut refusal = refused.iter().find(|(order, _)| order.is_single()).map(|(_, text)| text.clone());
        let still = self.give(mailbox, validity, again, (&wanted, &mut now)).await?;
        refusal = refusal.or_else(|| still.into_iter().next().map(|(_, text)| text));
        unsure.union_with(&wanted.difference(&now.keys().copied().collect()));
        if !unsure.is_empty() {
            self.select(mailbox, validity).await?;
            self.ask_flags(&unsure, &wanted, &mut now).await?;
        }
        Ok(StoredFlags { now, refusal })
    }

    /// Changes flags in many mailboxes. One in which something is refused, or not told, is dealt with alone once more.
    pub(super) async fn change_flags_in_all(
        &mut self,
        all: &[FlagChanges],
    ) -> Result<Vec<Result<StoredFlags, Error>>, Error> {
        let errand = |FlagChanges { mailbox, validity, changes }: &FlagChanges| {
            let (uids, orders) = orders(changes);
            let messages = Messages { mailbox: mailbox.clone(), validity: *validity, uids };
            Errand { messages, stores: orders.iter().map(Order::command).collect(), then: Vec::new() }
        };
        let told = self.run_errands(all.iter().map(errand).collect()).await?;
        let mut results = Vec::with_capacity(all.len());
        for (told, FlagChanges { mailbox, validity, changes }) in told.into_iter().zip(all) {
            results.push(match told.map(|told| told.stored(changes)) {
                Ok(Some(now)) => Ok(StoredFlags { now, refusal: None }),
                Ok(None) => self.change_flags(mailbox, *validity, changes).await,
                Err(error) => Err(error),
            });
        }
        Ok(results)
    }

    /// Gives orders in one burst and returns those that were refused for good, with the server's words.
    async fn give(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        orders: Vec<Order>,
        (wanted, now): (&UidSet, &mut BTreeMap<Uid, FlagSet>),
    ) -> Result<Vec<(Order, String)>, Error> {
        if orders.is_empty() {
            return Ok(Vec::new());
        }
        self.select(mailbox, validity).await?;
        let commands = orders.iter().map(Order::command).collect();
        let answers = self.run_last(commands, &mut |_: usize, data: Untagged| hear(data, wanted, now)).await?;
        let mut refused = Vec::new();
        for (order, answer) in orders.into_iter().zip(answers) {
            match refusal_kind(&answer) {
                _ if answer.is_ok() => {}
                RemoteErrorKind::Refused => refused.push((order, answer.text)),
                _ => return Err(Error::Refused(answer)),
            }
        }
        Ok(refused)
    }

    async fn ask_flags(
        &mut self,
        unsure: &UidSet,
        wanted: &UidSet,
        now: &mut BTreeMap<Uid, FlagSet>,
    ) -> Result<(), Error> {
        let ask = |part: UidSet| Command::new(format!("UID FETCH {part} (UID FLAGS)"));
        let questions: Vec<Command> = unsure.chunks(u32::MAX, RANGES).into_iter().map(ask).collect();
        if questions.is_empty() {
            return Ok(());
        }
        now.retain(|uid, _| !unsure.contains(*uid));
        let answers = self.connection.run(questions, &mut |_: usize, data: Untagged| hear(data, wanted, now)).await?;
        require(answers.into_iter().filter(|answer| answer.code_name() != "EXPUNGEISSUED"))
    }

    /// Flags messages `\Deleted` and expunges them. Without UIDPLUS there is only EXPUNGE for all that are flagged, so
    /// it is sent only if none but these are.
    pub(super) async fn expunge_messages(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        uids: &UidSet,
    ) -> Result<Expunged, Error> {
        self.select(mailbox, validity).await?;
        let parts = uids.chunks(u32::MAX, RANGES);
        let delete = |part: &UidSet| Command::new(format!("UID STORE {part} +FLAGS.SILENT (\\Deleted)"));
        let mut commands: Vec<Command> = parts.iter().map(delete).collect();
        if commands.is_empty() {
            return Ok(Expunged::Done);
        }
        if self.capabilities.has("UIDPLUS") {
            commands.extend(parts.iter().map(|part| Command::new(format!("UID EXPUNGE {part}"))));
            require(self.run_last(commands, &mut |_, _| {}).await?)?;
            return Ok(Expunged::Done);
        }
        commands.push(Command::new("UID SEARCH DELETED"));
        let mut deleted: Option<UidSet> = None;
        let mut hear = |_: usize, data: Untagged| {
            if let Untagged::Search(found) = data {
                deleted.get_or_insert_default().union_with(&found);
            }
        };
        require(self.connection.run(commands, &mut hear).await?)?;
        match deleted {
            None => Err(Error::Unusable("the server did not say which messages are flagged \\Deleted".to_owned())),
            Some(deleted) if deleted.is_empty() => Ok(Expunged::Done),
            Some(deleted) if !deleted.difference(uids).is_empty() => Ok(Expunged::Flagged),
            Some(_) => {
                require(self.connection.run(vec![Command::new("EXPUNGE")], &mut |_, _| {}).await?)?;
                Ok(Expunged::Done)
            }
        }
    }
}

/// Returns which messages are to be changed, and the orders that do it. What is done to the same messages comes one after the
/// other: Dovecot works on some commands together, and renames the file of each message once for all of them.
fn orders(changes: &[(FlagDelta, UidSet)]) -> (UidSet, Vec<Order>) {
    let (mut wanted, mut orders) = (UidSet::new(), Vec::new());
    for (delta, uids) in changes {
        wanted.union_with(uids);
        for part in uids.chunks(u32::MAX, RANGES) {
            let both = [('+', &delta.add), ('-', &delta.remove)].into_iter().filter(|(_, flags)| !flags.is_empty());
            orders.extend(both.map(|(sign, flags)| Order { part: part.clone(), sign, flags: flags.clone() }));
        }
    }
    (wanted, orders)
}

/// Notes the flags of these messages that the server tells.
pub(super) fn hear(data: Untagged, wanted: &UidSet, now: &mut BTreeMap<Uid, FlagSet>) {
    match data {
        Untagged::Fetch(fetch) => {
            if let (Some(uid), Some(flags)) = (fetch.uid.filter(|uid| wanted.contains(*uid)), fetch.flags) {
                now.insert(uid, flags);
            }
        }
        Untagged::Vanished { uids, .. } => now.retain(|uid, _| !uids.contains(*uid)),
        _ => {}
    }
}

/// One STORE.
struct Order {
    part: UidSet,
    sign: char,
    flags: FlagSet,
}

impl Order {
    fn command(&self) -> Command {
        let Order { part, sign, flags } = self;
        Command::new(format!("UID STORE {part} {sign}FLAGS ({flags})"))
    }

    fn is_single(&self) -> bool {
        self.flags.system().count() + self.flags.keywords.len() == 1
    }

    /// Returns the same order for each flag alone; nothing if there is only one.
    fn one_by_one(&self) -> Vec<Order> {
        if self.is_single() {
            return Vec::new();
        }
        let system = self.flags.system().map(|flag| FlagSet::of(&[flag]));
        let keywords = self.flags.keywords.iter().map(|word| FlagSet::from_parts(0, [word.clone()]));
        let order = |flags| Order { part: self.part.clone(), sign: self.sign, flags };
        system.chain(keywords).map(order).collect()
    }
}

/// Fails with the first refusal.
pub(super) fn require(answers: impl IntoIterator<Item = Status>) -> Result<(), Error> {
    answers.into_iter().find(|answer| !answer.is_ok()).map_or(Ok(()), |refused| Err(Error::Refused(refused)))
}

#[cfg(test)]
mod tests {
    use super::{RANGES, orders};
    use crate::imap::script::{Step, block_on, name, scripted, uid, uids};
    use crate::imap::select::Selected;
    use crate::model::{Flag, FlagDelta, FlagSet, Uid, UidSet, UidValidity};
    use crate::store::{Expunged, RemoteErrorKind, RemoteStore, StoredFlags};

    #[test]
    fn what_is_done_to_the_same_messages_comes_one_after_the_other() {
        let odd: UidSet = (1..=2 * RANGES as u32 + 1).step_by(2).filter_map(Uid::new).collect();
        let (add, remove) = (FlagSet::of(&[Flag::Seen]), FlagSet::of(&[Flag::Flagged]));
        let changes = [(FlagDelta { add, remove }, odd.clone())];
        let (wanted, orders) = orders(&changes);
        assert_eq!(wanted, odd);
        let signs: String = orders.iter().map(|order| order.sign).collect();
        assert_eq!(signs, "+-+-");
        assert!(orders.chunks(2).all(|both| both[0].part == both[1].part));
    }

    fn add(flags: &[Flag]) -> FlagDelta {
        FlagDelta { add: FlagSet::of(flags), remove: FlagSet::new() }
    }

    #[test]
    fn flags_returned_are_those_the_server_tells_of_every_message() {
        block_on(async {
            let script: Vec<Step> = vec![
                ("SELECT \"A\"", "* 9 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n$ OK done\r\n"),
                (
                    "UID STORE 1:3 +FLAGS (\\Seen)",
                    "* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n* 9 FETCH (UID 9 FLAGS ())\r\n$ OK x\r\n",
                ),
                ("UID STORE 4 +FLAGS (\\Draft)", "$ NO not here\r\n"),
                ("UID STORE 4 -FLAGS (\\Seen)", "* 4 FETCH (UID 4 FLAGS (\\Seen))\r\n$ OK x\r\n"),
                (
                    "UID FETCH 2:4 (UID FLAGS)",
                    "* 2 FETCH (UID 2 FLAGS (\\Seen))\r\n* 4 FETCH (UID 4 FLAGS ())\r\n$ OK x\r\n",
                ),
            ];
            let (mut store, server) = scripted(&[], script);
            let both = FlagDelta { add: FlagSet::of(&[Flag::Draft]), remove: FlagSet::of(&[Flag::Seen]) };
            let changes = [(add(&[Flag::Seen]), uids(&[1, 2, 3])), (both, uids(&[4]))];
            let StoredFlags { now, refusal } = store.store_flags(&name("A"), UidValidity(7), &changes).await.unwrap();
            server.await.unwrap();
            assert_eq!(refusal.as_deref(), Some("not here"));
            assert_eq!(now.keys().copied().collect::<Vec<_>>(), [uid(1), uid(2), uid(4)]);
            assert!(now[&uid(2)].has(Flag::Seen) && now[&uid(4)].is_empty());
        });
    }

    #[test]
    fn what_is_refused_keeps_no_other_flag_away() {
        block_on(async {
            let script: Vec<Step> = vec![
                ("SELECT \"A\"", "* 9 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n$ OK done\r\n"),
                ("UID STORE 1 +FLAGS (\\Seen work)", "$ NO too many keywords\r\n"),
                ("UID STORE 1 +FLAGS (\\Seen)", "* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n$ OK x\r\n"),
                ("UID STORE 1 +FLAGS (work)", "$ NO too many keywords\r\n"),
                ("UID FETCH 1 (UID FLAGS)", "* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n$ OK x\r\n"),
            ];
            let (mut store, server) = scripted(&[], script);
            let mut both = FlagSet::of(&[Flag::Seen]);
            both.keywords.extend(crate::model::Keyword::new("work"));
            let changes = [(FlagDelta { add: both, remove: FlagSet::new() }, uids(&[1]))];
            let stored = store.store_flags(&name("A"), UidValidity(7), &changes).await.unwrap();
            server.await.unwrap();
            assert_eq!(stored.now[&uid(1)], FlagSet::of(&[Flag::Seen]));
            assert_eq!(stored.refusal.as_deref(), Some("too many keywords"));
        });
    }

    #[test]
    fn a_server_too_busy_for_flags_has_refused_none() {
        block_on(async {
            let script: Vec<Step> = vec![
                ("SELECT \"A\"", "* 9 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n$ OK done\r\n"),
                ("UID STORE 1 +FLAGS (\\Seen)", "$ NO [INUSE] later\r\n"),
            ];
            let (mut store, server) = scripted(&[], script);
            let changes = [(add(&[Flag::Seen]), uids(&[1]))];
            let error = store.store_flags(&name("A"), UidValidity(7), &changes).await.unwrap_err();
            server.await.unwrap();
            assert_eq!(error.kind, RemoteErrorKind::Busy);
        });
    }

    #[test]
    fn nothing_is_changed_in_another_mailbox_of_that_name() {
        block_on(async {
            let script = vec![("SELECT \"A\"", "* 9 EXISTS\r\n* OK [UIDVALIDITY 8] x\r\n$ OK done\r\n")];
            let (mut store, server) = scripted(&["UIDPLUS"], script);
            let error = store.expunge(&name("A"), UidValidity(7), &uids(&[1])).await.unwrap_err();
            server.await.unwrap();
            assert_eq!(error.kind, RemoteErrorKind::UidValidityChanged);
        });
    }

    async fn expunge(capabilities: &[&str], script: Vec<Step>) -> Result<Expunged, RemoteErrorKind> {
        let (mut store, server) = scripted(capabilities, script);
        store.selected = Some(Selected { mailbox: name("A"), validity: UidValidity(7) });
        let outcome = store.expunge(&name("A"), UidValidity(7), &uids(&[1, 2])).await;
        server.await.unwrap();
        outcome.map_err(|error| error.kind)
    }

    #[test]
    fn expunging_never_takes_along_what_is_not_ours() {
        const STORE: Step = ("UID STORE 1:2 +FLAGS.SILENT (\\Deleted)", "$ OK x\r\n");
        block_on(async {
            let uid_expunge = ("UID EXPUNGE 1:2", "* VANISHED 1:2\r\n$ OK x\r\n");
            assert_eq!(expunge(&["UIDPLUS"], vec![STORE, uid_expunge]).await, Ok(Expunged::Done));
            let search = |answer| vec![STORE, ("UID SEARCH DELETED", answer)];
            assert_eq!(expunge(&[], search("* SEARCH 1 2 5\r\n$ OK x\r\n")).await, Ok(Expunged::Flagged));
            assert_eq!(expunge(&[], search("* SEARCH\r\n$ OK x\r\n")).await, Ok(Expunged::Done));
            assert_eq!(expunge(&[], search("$ OK x\r\n")).await, Err(RemoteErrorKind::Refused));
            assert_eq!(expunge(&[], search("* SEARCH 1 2\r\n$ NO x\r\n")).await, Err(RemoteErrorKind::Refused));
            let mut alone = search("* SEARCH 1 2\r\n$ OK x\r\n");
            alone.push(("EXPUNGE", "* 1 EXPUNGE\r\n* 1 EXPUNGE\r\n$ OK x\r\n"));
            assert_eq!(expunge(&[], alone).await, Ok(Expunged::Done));
        });
    }
}

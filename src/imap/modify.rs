//! STORE and EXPUNGE. Sent only to a mailbox whose SELECT was answered and whose UIDVALIDITY was checked.

use std::collections::BTreeMap;

use super::ImapStore;
use super::command::Command;
use super::error::Error;
use super::response::{Status, Untagged};
use crate::model::{FlagDelta, FlagSet, MailboxName, Uid, UidSet, UidValidity};
use crate::store::Expunged;

/// How many ranges of UIDs one command names: well below what servers take in a line.
pub(super) const RANGES: usize = 400;

impl ImapStore {
    /// Changes flags and returns what they are now. An OK is no proof and some servers don't report what was so
    /// already, so messages not heard of are asked about.
    pub(super) async fn change_flags(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        changes: &[(FlagDelta, UidSet)],
    ) -> Result<BTreeMap<Uid, FlagSet>, Error> {
        self.select(mailbox, validity).await?;
        let mut wanted = UidSet::new();
        let (mut commands, mut parts) = (Vec::new(), Vec::new());
        for (delta, uids) in changes {
            wanted.union_with(uids);
            for (sign, flags) in [('+', &delta.add), ('-', &delta.remove)] {
                for part in uids.chunks(u32::MAX, RANGES).into_iter().filter(|_| !flags.is_empty()) {
                    commands.push(Command::new(format!("UID STORE {part} {sign}FLAGS ({flags})")));
                    parts.push(part);
                }
            }
        }
        let mut now = BTreeMap::new();
        let mut unsure = UidSet::new();
        if !commands.is_empty() {
            let answers = self.hear_flags(commands, &wanted, &mut now).await?;
            let mut refused = answers.iter().zip(&parts).filter(|(answer, _)| !answer.is_ok()).peekable();
            if let (Some((answer, _)), true) = (refused.peek(), answers.iter().all(|answer| !answer.is_ok())) {
                return Err(Error::Refused((*answer).clone()));
            }
            refused.for_each(|(_, part)| unsure.union_with(part));
        }
        unsure.union_with(&wanted.difference(&now.keys().copied().collect()));
        let ask = |part: UidSet| Command::new(format!("UID FETCH {part} (UID FLAGS)"));
        let questions: Vec<Command> = unsure.chunks(u32::MAX, RANGES).into_iter().map(ask).collect();
        if !questions.is_empty() {
            now.retain(|uid, _| !unsure.contains(*uid));
            let answers = self.hear_flags(questions, &wanted, &mut now).await?;
            require(answers.into_iter().filter(|answer| answer.code_name() != "EXPUNGEISSUED"))?;
        }
        Ok(now)
    }

    /// Runs commands and notes the flags of these messages that the server tells meanwhile.
    async fn hear_flags(
        &mut self,
        commands: Vec<Command>,
        wanted: &UidSet,
        now: &mut BTreeMap<Uid, FlagSet>,
    ) -> Result<Vec<Status>, Error> {
        let mut hear = |_: usize, data: Untagged| match data {
            Untagged::Fetch(fetch) => {
                if let (Some(uid), Some(flags)) = (fetch.uid.filter(|uid| wanted.contains(*uid)), fetch.flags) {
                    now.insert(uid, flags);
                }
            }
            Untagged::Vanished { uids, .. } => now.retain(|uid, _| !uids.contains(*uid)),
            _ => {}
        };
        self.connection.run(commands, &mut hear).await
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
            require(self.connection.run(commands, &mut |_, _| {}).await?)?;
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

/// Fails with the first refusal.
fn require(answers: impl IntoIterator<Item = Status>) -> Result<(), Error> {
    answers.into_iter().find(|answer| !answer.is_ok()).map_or(Ok(()), |refused| Err(Error::Refused(refused)))
}

#[cfg(test)]
mod tests {
    use crate::imap::script::{Step, block_on, name, scripted, uid, uids};
    use crate::imap::select::Selected;
    use crate::model::{Flag, FlagDelta, FlagSet, UidValidity};
    use crate::store::{Expunged, RemoteErrorKind, RemoteStore};

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
            let now = store.store_flags(&name("A"), UidValidity(7), &changes).await.unwrap();
            server.await.unwrap();
            assert_eq!(now.keys().copied().collect::<Vec<_>>(), [uid(1), uid(2), uid(4)]);
            assert!(now[&uid(2)].has(Flag::Seen) && now[&uid(4)].is_empty());
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

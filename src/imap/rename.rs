//! RENAME with what goes with it.

use super::ImapStore;
use super::command::Command;
use super::error::{Error, refusal_kind};
use super::names::Move;
use super::response::Status;
use crate::model::MailboxName;
use crate::store::RemoteErrorKind;

impl ImapStore {
    /// Renames a mailbox and those below it, and carries subscriptions over. The inbox is none that can be renamed: what
    /// RENAME does with it is to move its messages.
    pub(super) async fn rename_mailbox(
        &mut self,
        from: &MailboxName,
        to: &MailboxName,
        subscribed: &[MailboxName],
    ) -> Result<(), Error> {
        if from.is_inbox() {
            return Err(Error::Unusable("the inbox can't be renamed".to_owned()));
        }
        self.introduce().await?;
        self.leave().await?;
        let moves = self.names.moves(from, to)?;
        let carried: Vec<&Move> = moves.iter().filter(|one| subscribed.contains(&one.from)).collect();
        self.rename_subscribed(to, &moves, &carried).await?;
        self.names.take(&moves);
        self.unsubscribe(carried.iter().map(|one| one.from_raw.as_slice())).await
    }

    /// Renames, with the missing parent made first where the server wants that.
    async fn rename_subscribed(&mut self, to: &MailboxName, moves: &[Move], carried: &[&Move]) -> Result<(), Error> {
        let Some(top) = moves.first() else { return Ok(()) };
        let mut answer = self.rename_once(top, carried).await?;
        if let Some(parent) = self.wanted_parent(to, &answer)
            && self.exists(&top.from_raw).await?
        {
            self.create_parent(&parent).await?;
            answer = self.rename_once(top, carried).await?;
        }
        if answer.is_ok() { Ok(()) } else { Err(Error::Refused(answer)) }
    }

    fn wanted_parent(&self, to: &MailboxName, answer: &Status) -> Option<MailboxName> {
        let missing = !answer.is_ok() && refusal_kind(answer) == RemoteErrorKind::NoSuchMailbox;
        to.parent().filter(|parent| missing && !self.names.knows(parent))
    }

    /// Sends RENAME and the new subscriptions in one burst, so that a connection lost meanwhile doesn't part them. Some
    /// servers let anybody subscribe to what does not exist: after a refusal, that is taken back.
    async fn rename_once(&mut self, top: &Move, carried: &[&Move]) -> Result<Status, Error> {
        let rename = Command::new("RENAME").string(&top.from_raw, &self.capabilities);
        let mut commands = vec![rename.string(&top.to_raw, &self.capabilities)];
        let subscribe = |one: &&Move| Command::new("SUBSCRIBE").string(&one.to_raw, &self.capabilities);
        commands.extend(carried.iter().map(subscribe));
        let mut answers = self.connection.run(commands, &mut |_, _| {}).await?.into_iter();
        let renamed = answers.next().ok_or(Error::Garbled("no answer"))?;
        let subscribed: Vec<(&Move, Status)> = carried.iter().copied().zip(answers).collect();
        match renamed.is_ok() {
            true => subscribed.iter().for_each(note_refusal),
            false => {
                let stray = subscribed.iter().filter(|(one, answer)| answer.is_ok() && !self.names.knows(&one.to));
                let stray: Vec<&[u8]> = stray.map(|(one, _)| one.to_raw.as_slice()).collect();
                self.unsubscribe(stray.into_iter()).await?;
            }
        }
        Ok(renamed)
    }

    async fn unsubscribe(&mut self, names: impl Iterator<Item = &[u8]>) -> Result<(), Error> {
        let command = |raw| Command::new("UNSUBSCRIBE").string(raw, &self.capabilities);
        let commands: Vec<Command> = names.map(command).collect();
        if commands.is_empty() {
            return Ok(());
        }
        let answers = self.connection.run(commands, &mut |_, _| {}).await?;
        let refused = answers.iter().filter(|answer| !answer.is_ok()).count();
        if refused > 0 {
            tracing::debug!(refused, "the server does not unsubscribe from names that are gone");
        }
        Ok(())
    }
}

fn note_refusal((one, answer): &(&Move, Status)) {
    if !answer.is_ok() {
        tracing::warn!(mailbox = %one.to, %answer, "the server does not subscribe to the renamed folder");
    }
}

#[cfg(test)]
mod tests {
    use crate::imap::ImapStore;
    use crate::imap::names::Names;
    use crate::imap::response::Listed;
    use crate::imap::script::{Step, block_on, name, scripted};
    use crate::imap::select::Selected;
    use crate::model::UidValidity;
    use crate::store::{RemoteErrorKind, RemoteStore};

    const OK: &str = "$ OK x\r\n";

    fn listed(raw: &[u8]) -> Listed {
        Listed { attributes: vec![], separator: Some(b'.'), name: raw.to_vec() }
    }

    /// Renames `a`, below which are `b` and one spelled oddly.
    async fn rename(
        capabilities: &[&str],
        to: &str,
        subscribed: &[&str],
        selected: bool,
        script: Vec<Step>,
    ) -> (ImapStore, Result<(), RemoteErrorKind>) {
        let (mut store, server) = scripted(capabilities, script);
        let all: [&[u8]; 5] = [b"INBOX", b"a", b"a.b", b"a.x&y", b"ab"];
        store.names = Names::read(None, &all.map(listed)).0;
        if selected {
            store.about_to_select();
            store.selected = Some(Selected { mailbox: name("a"), validity: UidValidity(1) });
        }
        let subscribed: Vec<_> = subscribed.iter().map(|text| name(text)).collect();
        let outcome = store.rename(&name("a"), &name(to), &subscribed).await;
        server.await.unwrap();
        assert_eq!(store.selected, None);
        (store, outcome.map_err(|error| error.kind))
    }

    #[test]
    fn names_and_subscriptions_follow() {
        block_on(async {
            let script = vec![
                ("UNSELECT", OK),
                ("RENAME \"a\" \"new.c\"", OK),
                ("SUBSCRIBE \"new.c\"", OK),
                ("SUBSCRIBE \"new.c.x&y\"", "$ NO x\r\n"),
                ("UNSUBSCRIBE \"a\"", "$ NO x\r\n"),
                ("UNSUBSCRIBE \"a.x&y\"", OK),
            ];
            let (store, outcome) = rename(&["UNSELECT"], "new/c", &["a", "a/x&y", "ab"], true, script).await;
            assert_eq!(outcome, Ok(()));
            let names: Vec<_> = store.names.iter().map(|(name, raw)| (name.as_str(), raw)).collect();
            let expected: [(&str, &[u8]); 5] = [
                ("INBOX", b"INBOX"),
                ("ab", b"ab"),
                ("new/c", b"new.c"),
                ("new/c/b", b"new.c.b"),
                ("new/c/x&y", b"new.c.x&y"),
            ];
            assert_eq!(names, expected);
            assert_eq!((store.names.find(b"a.b"), store.names.find(b"new.c.b")), (None, Some(&name("new/c/b"))));
        });
    }

    #[test]
    fn only_what_is_selected_is_left() {
        block_on(async {
            let leave = ("EXAMINE INBOX", "* 5 EXISTS\r\n* OK [UIDVALIDITY 1] x\r\n$ OK x\r\n");
            let script = vec![leave, ("RENAME \"a\" \"c\"", OK)];
            assert_eq!(rename(&[], "c", &[], true, script).await.1, Ok(()));
            assert_eq!(rename(&[], "c", &[], false, vec![("RENAME \"a\" \"c\"", OK)]).await.1, Ok(()));
        });
    }

    #[test]
    fn a_missing_parent_is_made_only_if_the_server_asks_for_it() {
        block_on(async {
            let script = vec![
                ("RENAME \"a\" \"new.c\"", "$ NO [TRYCREATE] x\r\n"),
                ("SUBSCRIBE \"new.c\"", OK),
                ("UNSUBSCRIBE \"new.c\"", OK),
                ("LIST \"\" \"a\"", "* LIST () \".\" a\r\n$ OK x\r\n"),
                ("CREATE \"new\"", OK),
                ("RENAME \"a\" \"new.c\"", OK),
                ("SUBSCRIBE \"new.c\"", OK),
                ("UNSUBSCRIBE \"a\"", OK),
            ];
            let (store, outcome) = rename(&[], "new/c", &["a"], false, script).await;
            assert_eq!((outcome, store.names.knows(&name("new"))), (Ok(()), true));
            let gone = vec![("RENAME \"a\" \"new.c\"", "$ NO [NONEXISTENT] x\r\n"), ("LIST \"\" \"a\"", OK)];
            assert_eq!(rename(&[], "new/c", &[], false, gone).await.1, Err(RemoteErrorKind::NoSuchMailbox));
        });
    }

    #[test]
    fn a_refusal_changes_nothing() {
        block_on(async {
            let script = vec![
                ("RENAME \"a\" \"ab\"", "$ NO [ALREADYEXISTS] x\r\n"),
                ("SUBSCRIBE \"ab\"", OK),
                ("SUBSCRIBE \"ab.b\"", OK),
                ("UNSUBSCRIBE \"ab.b\"", OK),
            ];
            let (store, outcome) = rename(&[], "ab", &["a", "a/b"], false, script).await;
            assert_eq!(outcome, Err(RemoteErrorKind::Refused));
            assert!(store.names.knows(&name("a")) && store.names.knows(&name("a/b")));
            let (mut store, server) = scripted(&[], vec![]);
            let refused = store.rename(&name("INBOX"), &name("c"), &[]).await.unwrap_err();
            assert_eq!(refused.kind, RemoteErrorKind::Refused);
            server.await.unwrap();
        });
    }
}

//! CREATE with what goes with it.

use super::ImapStore;
use super::command::Command;
use super::error::Error;
use super::response::{Status, Untagged};
use crate::model::{MailboxName, Role};

impl ImapStore {
    /// Creates a mailbox, its parents where the server doesn't do that by itself, and subscribes to it.
    pub(super) async fn create_mailbox(&mut self, mailbox: &MailboxName, role: Option<Role>) -> Result<(), Error> {
        self.introduce().await?;
        self.create_one(mailbox, role).await?;
        let raw = self.names.wire(mailbox)?;
        let subscribed = self.one("SUBSCRIBE", &raw, "").await?;
        if !subscribed.is_ok() {
            tracing::warn!(%mailbox, answer = %subscribed, "the server does not subscribe to the new folder");
        }
        self.names.remember(mailbox.clone(), raw);
        Ok(())
    }

    async fn create_one(&mut self, mailbox: &MailboxName, role: Option<Role>) -> Result<(), Error> {
        let raw = self.names.wire(mailbox)?;
        let mut role = role.filter(|_| self.capabilities.has("CREATE-SPECIAL-USE"));
        loop {
            let special = role.map(|role| format!(" (USE (\\{}))", attribute(role))).unwrap_or_default();
            let answer = self.one("CREATE", &raw, &special).await?;
            if answer.is_ok() {
                return Ok(());
            }
            // A role that the server can't give, or that another mailbox has, is no reason to go without the mailbox.
            if answer.code_name() == "ALREADYEXISTS" || role.take().is_none() {
                return self.create_otherwise(mailbox, &raw, answer).await;
            }
        }
    }

    /// Finds out whether a refused mailbox is there already, or wants its parents first.
    async fn create_otherwise(&mut self, mailbox: &MailboxName, raw: &[u8], answer: Status) -> Result<(), Error> {
        if self.exists(raw).await? {
            return Ok(());
        }
        match mailbox.parent().filter(|parent| !self.names.knows(parent)) {
            None => Err(Error::Refused(answer)),
            Some(parent) => {
                self.create_parent(&parent).await?;
                let again = self.one("CREATE", raw, "").await?;
                if again.is_ok() { Ok(()) } else { Err(Error::Refused(again)) }
            }
        }
    }

    /// Creates a mailbox for others to lie in.
    pub(super) async fn create_parent(&mut self, parent: &MailboxName) -> Result<(), Error> {
        Box::pin(self.create_one(parent, None)).await?;
        let raw = self.names.wire(parent)?;
        self.names.remember(parent.clone(), raw);
        Ok(())
    }

    /// Asks whether a mailbox of exactly this name can be selected. `%` and `*` in a name would match others too, and to a
    /// server without case `lists` exists where `Lists` does: two folders here must not share that.
    pub(super) async fn exists(&mut self, raw: &[u8]) -> Result<bool, Error> {
        let mut found = false;
        let command = Command::new("LIST \"\"").string(raw, &self.capabilities);
        let mut see = |_: usize, data: Untagged| {
            if let Untagged::List(entry) = data {
                found |= entry.name == raw && entry.is_selectable();
            }
        };
        let answers = self.connection.run(vec![command], &mut see).await?;
        Ok(found && answers.iter().all(Status::is_ok))
    }

    /// Runs one command on a mailbox name.
    pub(super) async fn one(&mut self, verb: &str, raw: &[u8], rest: &str) -> Result<Status, Error> {
        let command = Command::new(verb).string(raw, &self.capabilities).text(rest);
        let answers = self.connection.run(vec![command], &mut |_, _| {}).await?;
        answers.into_iter().next().ok_or(Error::Garbled("no answer"))
    }
}

/// Returns the role as RFC 6154 and RFC 8457 write it.
fn attribute(role: Role) -> &'static str {
    match role {
        Role::All => "All",
        Role::Archive => "Archive",
        Role::Drafts => "Drafts",
        Role::Flagged => "Flagged",
        Role::Important => "Important",
        Role::Junk => "Junk",
        Role::Sent => "Sent",
        Role::Trash => "Trash",
    }
}

#[cfg(test)]
mod tests {
    use crate::imap::script::{Step, block_on, name, scripted};
    use crate::model::Role;
    use crate::store::{RemoteErrorKind, RemoteStore};

    async fn create(capabilities: &[&str], script: Vec<Step>, role: Option<Role>) -> Result<(), RemoteErrorKind> {
        let (mut store, server) = scripted(capabilities, script);
        store.names = crate::imap::names::Names::read(None, &[listed()]).0;
        let outcome = store.create(&name("a/b"), role).await;
        server.await.unwrap();
        outcome.map_err(|error| error.kind)
    }

    fn listed() -> crate::imap::response::Listed {
        crate::imap::response::Listed { attributes: vec![], separator: Some(b'.'), name: b"INBOX".to_vec() }
    }

    #[test]
    fn a_mailbox_that_exists_is_no_error_and_one_that_cannot_be_is() {
        const SUBSCRIBE: Step = ("SUBSCRIBE \"a.b\"", "$ NO not that either\r\n");
        block_on(async {
            let script = vec![
                ("CREATE \"a.b\" (USE (\\Sent))", "$ NO [ALREADYEXISTS] x\r\n"),
                ("LIST \"\" \"a.b\"", "* LIST () \".\" a.b\r\n$ OK x\r\n"),
                SUBSCRIBE,
            ];
            assert_eq!(create(&["CREATE-SPECIAL-USE"], script, Some(Role::Sent)).await, Ok(()));
            let script = vec![
                ("CREATE \"a.b\" (USE (\\Sent))", "$ NO [USEATTR] x\r\n"),
                ("CREATE \"a.b\"", "$ NO x\r\n"),
                ("LIST \"\" \"a.b\"", "* LIST () \".\" a.b\r\n$ OK x\r\n"),
                SUBSCRIBE,
            ];
            assert_eq!(create(&["CREATE-SPECIAL-USE"], script, Some(Role::Sent)).await, Ok(()));
            let script = vec![
                ("CREATE \"a.b\"", "$ NO no parent\r\n"),
                ("LIST \"\" \"a.b\"", "$ OK x\r\n"),
                ("CREATE \"a\"", "$ OK x\r\n"),
                ("CREATE \"a.b\"", "$ OK x\r\n"),
                SUBSCRIBE,
            ];
            assert_eq!(create(&[], script, None).await, Ok(()));
            let script = vec![
                ("CREATE \"a.b\"", "$ NO x\r\n"),
                ("LIST \"\" \"a.b\"", "$ OK x\r\n"),
                ("CREATE \"a\"", "$ NO [NOPERM] x\r\n"),
                ("LIST \"\" \"a\"", "$ OK x\r\n"),
            ];
            assert_eq!(create(&[], script, None).await, Err(RemoteErrorKind::Refused));
        });
    }
    #[test]
    fn a_mailbox_that_exists_in_another_case_is_not_taken_for_this_one() {
        block_on(async {
            let script = vec![
                ("CREATE \"a.b\"", "$ NO [ALREADYEXISTS] x\r\n"),
                ("LIST \"\" \"a.b\"", "* LIST () \".\" A.B\r\n$ OK x\r\n"),
                ("CREATE \"a\"", "$ NO [ALREADYEXISTS] x\r\n"),
                ("LIST \"\" \"a\"", "* LIST () \".\" A\r\n$ OK x\r\n"),
            ];
            assert_eq!(create(&[], script, None).await, Err(RemoteErrorKind::Refused));
        });
    }
}

//! DELETE, of what is empty only.

use super::ImapStore;
use super::error::{Error, refusal_kind};
use super::response::{Status, Untagged};
use super::select::Selection;
use crate::model::MailboxName;
use crate::store::RemoteErrorKind;

impl ImapStore {
    /// Deletes a mailbox if it holds no message. DELETE takes along whatever it does hold, so the look comes right before.
    pub(super) async fn delete_mailbox(&mut self, mailbox: &MailboxName) -> Result<bool, Error> {
        self.introduce().await?;
        match self.count(mailbox).await {
            Ok(0) => self.delete_empty(mailbox).await.map(|()| true),
            Ok(_) => Ok(false),
            Err(error) if error.kind() == RemoteErrorKind::NoSuchMailbox => Ok(true),
            Err(error) => Err(error),
        }
    }

    async fn count(&mut self, mailbox: &MailboxName) -> Result<u32, Error> {
        let command = self.select_command("EXAMINE", mailbox, None)?;
        self.about_to_select();
        let mut selection = Selection::default();
        let answers = self.connection.run(vec![command], &mut |_, data: Untagged| selection.take(&data)).await?;
        selection.answer = answers.into_iter().next();
        selection.verified().map(|(_, exists)| exists)
    }

    async fn delete_empty(&mut self, mailbox: &MailboxName) -> Result<(), Error> {
        self.leave().await?;
        let raw = self.names.wire(mailbox)?;
        let deleted = self.one("DELETE", &raw, "").await?;
        if !deleted.is_ok() && refusal_kind(&deleted) != RemoteErrorKind::NoSuchMailbox {
            return Err(Error::Refused(deleted));
        }
        let unsubscribed = self.one("UNSUBSCRIBE", &raw, "").await?;
        if !Status::is_ok(&unsubscribed) {
            tracing::debug!(%mailbox, answer = %unsubscribed, "the server does not unsubscribe from the deleted folder");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::imap::script::{Step, block_on, name, scripted};
    use crate::store::{RemoteErrorKind, RemoteStore};

    fn delete(capabilities: &[&str], script: Vec<Step>) -> Result<bool, RemoteErrorKind> {
        block_on(async {
            let (mut store, server) = scripted(capabilities, script);
            let outcome = store.delete(&name("a")).await;
            server.await.unwrap();
            outcome.map_err(|error| error.kind)
        })
    }

    const EMPTY: Step = ("EXAMINE \"a\"", "* 0 EXISTS\r\n* OK [UIDVALIDITY 1] x\r\n$ OK [READ-ONLY] x\r\n");

    #[test]
    fn only_what_is_empty_is_deleted() {
        let full = ("EXAMINE \"a\"", "* 1 EXISTS\r\n* OK [UIDVALIDITY 1] x\r\n$ OK [READ-ONLY] x\r\n");
        assert_eq!(delete(&[], vec![full]), Ok(false));
        let leave = ("EXAMINE INBOX", "* 5 EXISTS\r\n* OK [UIDVALIDITY 1] x\r\n$ OK x\r\n");
        let script = vec![EMPTY, leave, ("DELETE \"a\"", "$ OK x\r\n"), ("UNSUBSCRIBE \"a\"", "$ NO x\r\n")];
        assert_eq!(delete(&[], script), Ok(true));
    }

    #[test]
    fn what_cannot_be_looked_at_stays_and_what_is_gone_is_no_error() {
        assert_eq!(delete(&[], vec![("EXAMINE \"a\"", "$ NO [UNAVAILABLE] x\r\n")]), Err(RemoteErrorKind::Busy));
        assert_eq!(delete(&[], vec![("EXAMINE \"a\"", "$ NO [NONEXISTENT] x\r\n")]), Ok(true));
        let script = vec![EMPTY, ("UNSELECT", "$ OK x\r\n"), ("DELETE \"a\"", "$ NO [HASCHILDREN] x\r\n")];
        assert_eq!(delete(&["UNSELECT"], script), Err(RemoteErrorKind::Refused));
    }
}

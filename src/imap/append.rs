//! APPEND, in one burst.

use super::ImapStore;
use super::command::Command;
use super::date;
use super::error::Error;
use super::response::{Code, Status};
use crate::model::MailboxName;
use crate::store::{Append, Appended};

impl ImapStore {
    /// Appends messages. One that the server can't take is refused alone, without being sent where that is known.
    pub(super) async fn append_messages(
        &mut self,
        mailbox: &MailboxName,
        messages: Vec<Append>,
    ) -> Result<Vec<Appended>, Error> {
        self.introduce().await?;
        let raw = self.names.wire(mailbox)?;
        let refused: Vec<Option<Error>> = messages.iter().map(|message| self.unsendable(message)).collect();
        let sent = messages.into_iter().zip(&refused).filter(|(_, refused)| refused.is_none());
        let commands: Vec<Command> = sent.map(|(message, _)| self.append_command(&raw, message)).collect();
        let mut answers = match commands.is_empty() {
            true => Vec::new(),
            false => self.connection.run(commands, &mut |_, _| {}).await?,
        }
        .into_iter();
        let doing = || format!("uploading a message to {mailbox}");
        let outcome = |refused: Option<Error>| match (refused, answers.by_ref()) {
            (Some(error), _) => Appended::Refused(error.doing(doing())),
            (None, answers) => match answers.next().map(appended) {
                Some(Ok(appended)) => appended,
                Some(Err(error)) => Appended::Refused(error.doing(doing())),
                None => Appended::Refused(Error::Garbled("no answer").doing(doing())),
            },
        };
        Ok(refused.into_iter().map(outcome).collect())
    }

    /// Returns why a message need not even be sent.
    fn unsendable(&self, message: &Append) -> Option<Error> {
        let size = message.body.size();
        let limit = self.capabilities.value("APPENDLIMIT").and_then(|value| value.parse().ok());
        match limit {
            Some(limit) if size > limit => Some(Error::TooLarge { size, limit }),
            _ if message.body.has_nul() && !self.capabilities.has("BINARY") => Some(Error::Nul),
            _ => None,
        }
    }

    fn append_command(&self, raw: &[u8], message: Append) -> Command {
        let mut head = String::new();
        if !message.flags.is_empty() {
            head.push_str(&format!(" ({})", message.flags));
        }
        if let Some(date) = message.date.and_then(date::format) {
            head.push_str(&format!(" \"{date}\""));
        }
        let prefix = if message.body.has_nul() { " ~" } else { " " };
        let command = Command::new("APPEND").string(raw, &self.capabilities).text(&head);
        command.body(message.body, prefix, &self.capabilities)
    }
}

fn appended(answer: Status) -> Result<Appended, Error> {
    match &answer.code {
        Some(Code::AppendUid(validity, uid)) if answer.is_ok() => Ok(Appended::As(*validity, *uid)),
        _ if answer.is_ok() => Ok(Appended::Somewhere),
        _ => Err(Error::Refused(answer)),
    }
}

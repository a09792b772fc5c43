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

#[cfg(test)]
mod tests {
    use crate::imap::script::{Step, block_on, name, scripted, uid};
    use crate::model::{Flag, FlagSet, Timestamp, UidValidity};
    use crate::store::{Append, Appended, BodySource, LocalError, RemoteError, RemoteErrorKind, RemoteStore};
    use std::io::Read as _;

    #[derive(Debug)]
    struct Bytes(&'static [u8], u64);

    impl BodySource for Bytes {
        fn size(&self) -> u64 {
            self.1
        }

        fn has_nul(&self) -> bool {
            self.0.contains(&0)
        }

        fn read(&mut self, buffer: &mut [u8]) -> Result<usize, LocalError> {
            Ok(self.0.read(buffer).unwrap())
        }
    }

    fn message(body: &'static [u8]) -> Append {
        Append { flags: FlagSet::new(), date: None, body: Box::new(Bytes(body, body.len() as u64)) }
    }

    async fn append(
        capabilities: &[&str],
        script: Vec<Step>,
        messages: Vec<Append>,
    ) -> Result<Vec<Appended>, RemoteError> {
        let (mut store, server) = scripted(capabilities, script);
        let appended = store.append(&name("A"), messages).await;
        drop(store);
        if appended.is_ok() {
            server.await.unwrap();
        }
        appended
    }

    fn summary(appended: Vec<Appended>) -> Vec<Result<Option<u32>, RemoteErrorKind>> {
        let one = |appended| match appended {
            Appended::As(validity, uid) => {
                assert_eq!(validity, UidValidity(7));
                Ok(Some(uid.get()))
            }
            Appended::Somewhere => Ok(None),
            Appended::Refused(error) => Err(error.kind),
        };
        appended.into_iter().map(one).collect()
    }

    #[test]
    fn each_message_has_its_own_answer() {
        block_on(async {
            let mut first = message(b"one");
            first.flags = FlagSet::of(&[Flag::Seen, Flag::Draft]);
            first.date = Some(Timestamp(0));
            let script = vec![
                (
                    "APPEND \"A\" (\\Seen \\Draft) \"01-Jan-1970 00:00:00 +0000\" {3+}\r\none",
                    "* 4 EXISTS\r\n$ OK [APPENDUID 7 12] x\r\n",
                ),
                ("APPEND \"A\" {3+}\r\ntwo", "$ NO [OVERQUOTA] x\r\n"),
                ("APPEND \"A\" {5+}\r\nthree", "$ NO [TRYCREATE] x\r\n"),
                ("APPEND \"A\" {4+}\r\nfour", "$ OK x\r\n"),
                ("APPEND \"A\" {4+}\r\nfive", "$ NO [LIMIT] not so fast\r\n"),
            ];
            let nul = message(b"a\0");
            let large = Append { body: Box::new(Bytes(b"", 101)), ..message(b"") };
            let messages =
                vec![first, message(b"two"), nul, message(b"three"), large, message(b"four"), message(b"five")];
            let appended = append(&["LITERAL+", "APPENDLIMIT=100"], script, messages).await.unwrap();
            use RemoteErrorKind::{Busy, NoSuchMailbox, TooLarge, Unrepresentable};
            let (nul, three, large) = (Err(Unrepresentable), Err(NoSuchMailbox), Err(TooLarge));
            let expected = [Ok(Some(12)), Err(TooLarge), nul, three, large, Ok(None), Err(Busy)];
            assert_eq!(summary(appended), expected);
            assert_eq!(uid(12).get(), 12);
        });
    }

    #[test]
    fn without_literal_plus_each_literal_waits_and_a_nul_needs_binary() {
        block_on(async {
            let script = vec![("APPEND \"A\" {3}\r\none", "$ OK x\r\n"), ("APPEND \"A\" ~{2}\r\na\0", "$ OK x\r\n")];
            let appended = append(&["BINARY"], script, vec![message(b"one"), message(b"a\0")]).await.unwrap();
            assert_eq!(summary(appended), [Ok(None), Ok(None)]);
        });
    }

    #[test]
    fn a_message_that_shrank_is_never_completed() {
        block_on(async {
            let shrunk = Append { body: Box::new(Bytes(b"one", 9)), ..message(b"") };
            let error = append(&["LITERAL+"], vec![], vec![shrunk]).await.unwrap_err();
            assert!(error.to_string().contains("became shorter"), "{error}");
        });
    }
}

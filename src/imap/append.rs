//! APPEND: all in one burst, and several messages with one command where the server can (MULTIAPPEND, RFC 3502).

use super::ImapStore;
use super::command::Command;
use super::date;
use super::error::Error;
use super::response::{Code, Status};
use crate::model::{MailboxName, Uid};
use crate::store::{Append, Appended};

/// How many messages go in one command (RFC 3502), and how many bytes: what is refused is refused as a whole, and sent
/// again one by one.
const TOGETHER: (usize, u64) = (50, 8 << 20);

/// An APPEND: which of a parcel's messages it holds.
struct Order {
    parcel: usize,
    messages: Vec<usize>,
}

impl ImapStore {
    /// Appends messages to several mailboxes in one burst. One that the server can't take is refused alone, without being
    /// sent where that is known.
    pub(super) async fn append_messages(
        &mut self,
        parcels: Vec<(MailboxName, Vec<Append>)>,
    ) -> Result<Vec<Vec<Appended>>, Error> {
        self.introduce().await?;
        let mut outcomes: Vec<Vec<Option<Appended>>> =
            parcels.iter().map(|(_, messages)| messages.iter().map(|_| None).collect()).collect();
        let names: Vec<MailboxName> = parcels.iter().map(|(name, _)| name.clone()).collect();
        let (mut orders, mut commands) = (Vec::new(), Vec::new());
        for (parcel, ((mailbox, messages), outcomes)) in parcels.into_iter().zip(&mut outcomes).enumerate() {
            let mut sendable = Vec::new();
            for (at, (message, outcome)) in messages.into_iter().zip(outcomes.iter_mut()).enumerate() {
                match self.unsendable(&mailbox, &message) {
                    Some(error) => *outcome = Some(Appended::Refused(error.doing(doing(&mailbox)))),
                    None => sendable.push((at, message)),
                }
            }
            let Ok(raw) = self.names.wire(&mailbox) else { continue };
            for group in self.together(sendable) {
                let (messages, group): (Vec<usize>, Vec<Append>) = group.into_iter().unzip();
                orders.push(Order { parcel, messages });
                commands.push(self.append_command(&raw, group));
            }
        }
        let answers = match commands.is_empty() {
            true => Vec::new(),
            false => self.connection.run(commands, &mut |_, _| {}).await?,
        };
        for (order, answer) in orders.into_iter().zip(answers) {
            let (Some(outcomes), Some(mailbox)) = (outcomes.get_mut(order.parcel), names.get(order.parcel)) else {
                continue;
            };
            let appended = appended(answer, order.messages.len(), mailbox);
            for (at, appended) in order.messages.into_iter().zip(appended) {
                if let Some(outcome) = outcomes.get_mut(at) {
                    *outcome = Some(appended);
                }
            }
        }
        let lost = |mailbox: &MailboxName| Appended::Refused(Error::Garbled("no answer").doing(doing(mailbox)));
        let complete = |(outcomes, mailbox): (Vec<Option<Appended>>, &MailboxName)| {
            outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| lost(mailbox))).collect()
        };
        Ok(outcomes.into_iter().zip(&names).map(complete).collect())
    }

    /// Returns why a message need not even be sent.
    fn unsendable(&self, mailbox: &MailboxName, message: &Append) -> Option<Error> {
        let size = message.body.size();
        let limit = self.capabilities.value("APPENDLIMIT").and_then(|value| value.parse().ok());
        match limit {
            Some(limit) if size > limit => Some(Error::TooLarge { size, limit }),
            _ if message.body.has_nul() && !self.capabilities.has("BINARY") => Some(Error::Nul),
            _ => self.names.wire(mailbox).err(),
        }
    }

    /// Divides messages into those that go with one command. Where each literal has to be waited for that gains nothing.
    fn together(&self, messages: Vec<(usize, Append)>) -> Vec<Vec<(usize, Append)>> {
        let able = self.capabilities.has("MULTIAPPEND") && self.capabilities.has("LITERAL+");
        let mut groups: Vec<Vec<(usize, Append)>> = Vec::new();
        let mut room: (usize, u64) = (0, 0);
        for (at, message) in messages {
            let (size, alone) = (message.body.size(), !able || message.alone || message.body.has_nul());
            match groups.last_mut() {
                Some(group) if !alone && room.0 > 0 && room.1 >= size => {
                    group.push((at, message));
                    room = (room.0 - 1, room.1 - size);
                }
                _ => {
                    groups.push(vec![(at, message)]);
                    room = if alone { (0, 0) } else { (TOGETHER.0 - 1, TOGETHER.1.saturating_sub(size)) };
                }
            }
        }
        groups
    }

    fn append_command(&self, raw: &[u8], messages: Vec<Append>) -> Command {
        let mut command = Command::new("APPEND").string(raw, &self.capabilities);
        for message in messages {
            let mut head = String::new();
            if !message.flags.is_empty() {
                head.push_str(&format!(" ({})", message.flags));
            }
            if let Some(date) = message.date.and_then(date::format) {
                head.push_str(&format!(" \"{date}\""));
            }
            let prefix = if message.body.has_nul() { " ~" } else { " " };
            command = command.text(&head).body(message.body, prefix, &self.capabilities);
        }
        command
    }
}

fn doing(mailbox: &MailboxName) -> String {
    format!("uploading a message to {mailbox}")
}

/// Returns what the answer means for each of so many messages. UIDs that don't add up prove nothing.
fn appended(answer: Status, count: usize, mailbox: &MailboxName) -> Vec<Appended> {
    let proof = match &answer.code {
        Some(Code::AppendUid(validity, ranges)) if answer.is_ok() => {
            expand(ranges, count).map(|uids| (*validity, uids))
        }
        _ => None,
    };
    if let Some((validity, uids)) = proof {
        return uids.into_iter().map(|uid| Appended::As(validity, uid)).collect();
    }
    if answer.is_ok() {
        return (0..count).map(|_| Appended::Somewhere).collect();
    }
    match count {
        1 => vec![Appended::Refused(Error::Refused(answer).doing(doing(mailbox)))],
        _ => (0..count).map(|_| Appended::RefusedTogether).collect(),
    }
}

/// Returns the UIDs in the order given, if they are as many. Counted before they are expanded: a server may name enormous
/// ranges.
fn expand(ranges: &[(Uid, Uid)], count: usize) -> Option<Vec<Uid>> {
    let named: u64 = ranges.iter().map(|(first, last)| u64::from(last.get() - first.get()) + 1).sum();
    let uids = || ranges.iter().flat_map(|(first, last)| (first.get()..=last.get()).filter_map(Uid::new));
    (named == count as u64).then(|| uids().collect())
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
        Append { flags: FlagSet::new(), date: None, body: Box::new(Bytes(body, body.len() as u64)), alone: false }
    }

    async fn append(
        capabilities: &[&str],
        script: Vec<Step>,
        messages: Vec<Append>,
    ) -> Result<Vec<Appended>, RemoteError> {
        let (mut store, server) = scripted(capabilities, script);
        let appended = store.append(vec![(name("A"), messages)]).await.map(|mut parcels| parcels.remove(0));
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
            Appended::RefusedTogether => Err(RemoteErrorKind::Busy),
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
    fn what_was_refused_has_no_uid_whatever_the_answer_names() {
        block_on(async {
            let script = vec![("APPEND \"A\" {3+}\r\none", "$ NO [APPENDUID 7 12] x\r\n")];
            let appended = append(&["LITERAL+"], script, vec![message(b"one")]).await.unwrap();
            assert_eq!(summary(appended), [Err(RemoteErrorKind::Refused)]);
        });
    }

    #[test]
    fn several_messages_go_with_one_command_and_are_refused_together() {
        block_on(async {
            let script = vec![
                ("APPEND \"A\" {3+}\r\none {3+}\r\ntwo (\\Seen) {5+}\r\nthree", "$ OK [APPENDUID 7 12,20:21] x\r\n"),
                ("APPEND \"A\" {4+}\r\nfour", "$ NO [OVERQUOTA] x\r\n"),
                ("APPEND \"A\" {4+}\r\nfive {3+}\r\nsix", "$ NO x\r\n"),
            ];
            let third = Append { flags: FlagSet::of(&[Flag::Seen]), ..message(b"three") };
            let alone = Append { alone: true, ..message(b"four") };
            let messages = vec![message(b"one"), message(b"two"), third, alone, message(b"five"), message(b"six")];
            let appended = append(&["LITERAL+", "MULTIAPPEND"], script, messages).await.unwrap();
            assert!(matches!(appended[4..], [Appended::RefusedTogether, Appended::RefusedTogether]));
            use RemoteErrorKind::{Busy, TooLarge};
            assert_eq!(
                summary(appended),
                [Ok(Some(12)), Ok(Some(20)), Ok(Some(21)), Err(TooLarge), Err(Busy), Err(Busy)]
            );
        });
    }

    #[test]
    fn uids_that_do_not_add_up_prove_nothing() {
        block_on(async {
            for answer in ["$ OK [APPENDUID 7 12:14] x\r\n", "$ OK [APPENDUID 7 1:4294967295] x\r\n", "$ OK x\r\n"] {
                let script = vec![("APPEND \"A\" {3+}\r\none {3+}\r\ntwo", answer)];
                let messages = vec![message(b"one"), message(b"two")];
                let appended = append(&["LITERAL+", "MULTIAPPEND"], script, messages).await.unwrap();
                assert_eq!(summary(appended), [Ok(None), Ok(None)]);
            }
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

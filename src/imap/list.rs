//! LIST with STATUS, and what goes with it in the first burst: ENABLE, ID, NAMESPACE, GETQUOTAROOT.

use std::collections::{BTreeMap, BTreeSet};

use super::ImapStore;
use super::ahead::NOT_AHEAD;
use super::capability::Capabilities;
use super::command::Command;
use super::error::{Error, refusal_kind};
use super::names::Names;
use super::quirk;
use super::response::{Listed, MailboxStatus, Namespaces, Status, Untagged};
use crate::model::{MailboxName, Quota, Role};
use crate::reconcile::snapshot::{Abilities, ListedMailbox, RemoteListing};
use crate::store::RemoteErrorKind;

/// What the server said in a listing burst.
#[derive(Debug, Default)]
pub(super) struct Heard {
    namespaces: Option<Namespaces>,
    listed: Vec<Listed>,
    subscribed: Vec<Listed>,
    statuses: Vec<MailboxStatus>,
    enabled: Vec<String>,
    quota: Quota,
    /// Listed, and not there when asked for.
    missing: BTreeSet<MailboxName>,
}

impl Heard {
    /// Returns true for what a listing says, and a look does not.
    pub(super) fn wants(data: &Untagged) -> bool {
        matches!(data, Untagged::Namespace(_) | Untagged::List(_) | Untagged::Lsub(_) | Untagged::MailboxStatus(_))
    }

    /// Takes what is said.
    pub(super) fn take(&mut self, data: Untagged) {
        match data {
            Untagged::Namespace(namespaces) => self.namespaces = Some(namespaces),
            Untagged::List(listed) => self.listed.push(listed),
            Untagged::Lsub(listed) => self.subscribed.push(listed),
            Untagged::MailboxStatus(status) => self.statuses.push(status),
            Untagged::Enabled(words) => self.enabled.extend(words),
            Untagged::Quota(quota) => self.quota.merge(quota),
            _ => {}
        }
    }

    fn enables_qresync(&self) -> bool {
        self.enabled.iter().any(|word| word == "QRESYNC")
    }
}

impl ImapStore {
    /// Sends the first burst, if that has not been done yet.
    pub(super) async fn introduce(&mut self) -> Result<(), Error> {
        if !self.introduced {
            self.list_mailboxes().await?;
        }
        Ok(())
    }

    /// Introduces a further connection to an account whose mailboxes another has listed.
    pub(super) async fn introduce_with(&mut self, names: Names) -> Result<(), Error> {
        let mut heard = Heard::default();
        let commands = introduction(&self.capabilities);
        if !commands.is_empty() {
            self.connection.run(commands, &mut |_, data| heard.take(data)).await?;
        }
        (self.introduced, self.qresync, self.names) = (true, heard.enables_qresync(), names);
        Ok(())
    }

    /// Lists all mailboxes. The first time, what introduces us goes in the same burst. Where that went behind the log-in and
    /// the connection ends over it, it goes over another, behind the answer.
    pub(super) async fn list_mailboxes(&mut self) -> Result<RemoteListing, Error> {
        let went_ahead = self.connection.has_ahead();
        // If anything was sent since, it is old.
        let along = self.went_along.take().filter(|(.., sent)| *sent == self.connection.sent());
        let (asked, heard) = along.map(|(asked, heard, _)| (asked, heard)).unzip();
        let mut heard: Heard = heard.unwrap_or_default();
        let mut asked = match asked {
            Some(asked) => Ok(asked),
            None => self.ask(&mut heard).await,
        };
        if went_ahead && asked.is_err() && Box::pin(self.reconnect()).await {
            (self.introduced, self.not_ahead, heard) = (true, true, Heard::default());
            asked = self.ask(&mut heard).await;
        }
        self.not_ahead |= self.connection.has_dropped();
        let Asked { answers, list_at, lsub_at } = asked?;
        if !std::mem::replace(&mut self.introduced, true) {
            self.qresync = heard.enables_qresync();
        }
        let answer = |at: usize| answers.get(at).filter(|answer| !answer.is_ok());
        if let Some(refused) = answer(list_at) {
            return Err(Error::Refused(refused.clone()));
        }
        if lsub_at.is_some_and(|at| answer(at).is_some()) {
            // The server doesn't tell, so nothing counts as unsubscribed.
            heard.subscribed.clone_from(&heard.listed);
        }
        let (names, rejected) = Names::read(heard.namespaces.as_ref(), &heard.listed);
        self.names = names;
        self.ask_statuses(&mut heard).await?;
        Ok(RemoteListing {
            mailboxes: self.mailboxes(&heard),
            rejected,
            abilities: self.abilities(),
            capabilities: self.recorded_capabilities(),
        })
    }

    /// Returns what a listing asks now.
    pub(super) fn questions(&self) -> Questions {
        Questions::new(&self.capabilities, !self.introduced, self.asks_quota)
    }

    async fn ask(&mut self, heard: &mut Heard) -> Result<Asked, Error> {
        let mut questions = self.questions();
        let commands = std::mem::take(&mut questions.commands);
        let answers = self.connection.run(commands, &mut |_, data| heard.take(data)).await?;
        if std::mem::take(&mut self.asks_quota) {
            self.quota = Some(heard.quota);
        }
        Ok(questions.asked(answers))
    }

    /// Returns what the next run is to know of the server before it says so itself.
    pub(super) fn recorded_capabilities(&self) -> String {
        let not_ahead = self.not_ahead.then_some(NOT_AHEAD);
        self.capabilities.words().chain(not_ahead).collect::<Vec<_>>().join(" ")
    }

    /// Asks for the STATUS of each mailbox. A refusal leaves that mailbox without one. Where LIST brings them, only those
    /// are asked about that it left out and that others lie below: Dovecot 2.3 lists what is below one that was deleted, and
    /// that one without `\Noselect`.
    async fn ask_statuses(&mut self, heard: &mut Heard) -> Result<(), Error> {
        let find = |raw: &[u8]| self.names.find(raw);
        let selectable = heard.listed.iter().filter(|entry| entry.is_selectable());
        let selectable: BTreeSet<&MailboxName> = selectable.filter_map(|entry| find(&entry.name)).collect();
        let told: BTreeSet<&MailboxName> = heard.statuses.iter().filter_map(|status| find(&status.name)).collect();
        let parents: BTreeSet<MailboxName> = self.names.iter().filter_map(|(name, _)| name.parent()).collect();
        let is_asked = |name: &MailboxName| match status_in_list(&self.capabilities) {
            true => selectable.contains(name) && !told.contains(name) && parents.contains(name),
            false => selectable.contains(name) || name.is_inbox(),
        };
        let items = format!(" {}", status_items(&self.capabilities));
        let ask = |raw| Command::new("STATUS").string(raw, &self.capabilities).text(&items);
        let (names, commands): (Vec<MailboxName>, Vec<Command>) =
            self.names.iter().filter(|(name, _)| is_asked(name)).map(|(name, raw)| (name.clone(), ask(raw))).unzip();
        if commands.is_empty() {
            return Ok(());
        }
        let answers = self.connection.run(commands, &mut |_, data| heard.take(data)).await?;
        for (name, answer) in names.into_iter().zip(answers).filter(|(_, answer)| !answer.is_ok()) {
            tracing::debug!(%name, answer = answer.text, "a mailbox without STATUS");
            if refusal_kind(&answer) == RemoteErrorKind::NoSuchMailbox && !name.is_inbox() {
                heard.missing.insert(name);
            }
        }
        Ok(())
    }

    /// Puts together what was said about each mailbox. A mailbox may be listed more than once.
    fn mailboxes(&self, heard: &Heard) -> BTreeMap<MailboxName, ListedMailbox> {
        let mut mailboxes: BTreeMap<MailboxName, ListedMailbox> = BTreeMap::new();
        for entry in &heard.listed {
            let Some(name) = self.names.find(&entry.name) else { continue };
            let mailbox = mailboxes.entry(name.clone()).or_insert_with(unknown);
            mailbox.selectable &= entry.is_selectable() && !heard.missing.contains(name);
            mailbox.subscribed |= entry.has("\\subscribed");
            mailbox.role = mailbox.role.or_else(|| role(entry)).filter(|_| !name.is_inbox());
        }
        for entry in &heard.subscribed {
            if let Some(mailbox) = self.names.find(&entry.name).and_then(|name| mailboxes.get_mut(name)) {
                mailbox.subscribed = true;
            }
        }
        for status in &heard.statuses {
            if let Some(mailbox) = self.names.find(&status.name).and_then(|name| mailboxes.get_mut(name)) {
                let mod_seq = |value| if self.capabilities.mod_seq() { value } else { None };
                mailbox.status =
                    status.watermark.map(|mark| crate::model::Watermark { mod_seq: mod_seq(mark.mod_seq), ..mark });
                mailbox.object_id.clone_from(&status.object_id);
            }
        }
        mailboxes
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            mod_seq: self.capabilities.mod_seq(),
            moves: self.capabilities.has("MOVE"),
            uid_plus: self.capabilities.has("UIDPLUS"),
            deleted_is_final: quirk::deleted_is_final(&self.capabilities),
        }
    }
}

/// The commands of a listing.
pub(super) struct Questions {
    /// What they are.
    pub(super) commands: Vec<Command>,
    list_at: usize,
    lsub_at: Option<usize>,
}

/// What came of them.
#[derive(Debug)]
pub(super) struct Asked {
    answers: Vec<Status>,
    list_at: usize,
    lsub_at: Option<usize>,
}

impl Questions {
    fn new(capabilities: &Capabilities, introduce: bool, asks_quota: bool) -> Self {
        let mut commands = if introduce { introduction(capabilities) } else { Vec::new() };
        commands.extend(capabilities.has("NAMESPACE").then(|| Command::new("NAMESPACE")));
        let list_at = commands.len();
        commands.push(Command::new(format!("LIST \"\" \"*\"{}", list_options(capabilities))));
        let lsub_at = (!capabilities.has("LIST-EXTENDED")).then_some(commands.len());
        commands.extend(lsub_at.map(|_| Command::new("LSUB \"\" \"*\"")));
        let asks_quota = asks_quota && capabilities.has("QUOTA");
        commands.extend(asks_quota.then(|| Command::new("GETQUOTAROOT \"INBOX\"")));
        Self { commands, list_at, lsub_at }
    }

    /// Goes with the answers.
    pub(super) fn asked(self, answers: Vec<Status>) -> Asked {
        Asked { answers, list_at: self.list_at, lsub_at: self.lsub_at }
    }
}

/// Returns what is asked first on a connection.
pub(super) fn first_questions(capabilities: &Capabilities, asks_quota: bool) -> Vec<Command> {
    Questions::new(capabilities, true, asks_quota).commands
}

/// Returns ENABLE and ID. Some servers (163.com) let nobody select a mailbox who has not said who they are.
pub(super) fn introduction(capabilities: &Capabilities) -> Vec<Command> {
    let mut commands = Vec::new();
    if capabilities.has("ENABLE") && capabilities.mod_seq() {
        let extension = if capabilities.has("QRESYNC") { "QRESYNC" } else { "CONDSTORE" };
        commands.push(Command::new(format!("ENABLE {extension}")));
    }
    if capabilities.has("ID") {
        let version = env!("CARGO_PKG_VERSION");
        commands.push(Command::new(format!("ID (\"name\" \"mailtide\" \"version\" \"{version}\")")));
    }
    commands
}

/// Returns LIST's RETURN options; only what is advertised, for one unknown word makes servers refuse all of it.
fn list_options(capabilities: &Capabilities) -> String {
    if !capabilities.has("LIST-EXTENDED") {
        return String::new();
    }
    let mut options = vec!["SUBSCRIBED".to_owned()];
    options.extend(capabilities.has("SPECIAL-USE").then(|| "SPECIAL-USE".to_owned()));
    options.extend(status_in_list(capabilities).then(|| format!("STATUS {}", status_items(capabilities))));
    format!(" RETURN ({})", options.join(" "))
}

/// LIST-STATUS is an option of the extended LIST, and nothing without it.
fn status_in_list(capabilities: &Capabilities) -> bool {
    capabilities.has("LIST-EXTENDED") && capabilities.has("LIST-STATUS")
}

fn status_items(capabilities: &Capabilities) -> String {
    let mut items = vec!["MESSAGES", "UIDNEXT", "UIDVALIDITY"];
    items.extend(capabilities.mod_seq().then_some("HIGHESTMODSEQ"));
    items.extend(capabilities.has("OBJECTID").then_some("MAILBOXID"));
    format!("({})", items.join(" "))
}

fn unknown() -> ListedMailbox {
    ListedMailbox { role: None, selectable: true, subscribed: false, object_id: None, status: None }
}

fn role(entry: &Listed) -> Option<Role> {
    entry.attributes.iter().find_map(|attribute| Role::parse(attribute.strip_prefix('\\')?))
}

#[cfg(test)]
mod tests {
    use crate::imap::script::{block_on, name, serve, store};
    use crate::model::{MailboxName, ModSeq, Quota, Role, Usage};
    use crate::store::{RemoteErrorKind, RemoteStore};

    #[test]
    fn with_every_extension_one_burst_tells_all() {
        block_on(async {
            let (client, server) = tokio::io::duplex(4096);
            let capabilities = [
                "ENABLE",
                "QRESYNC",
                "CONDSTORE",
                "ID",
                "NAMESPACE",
                "LIST-EXTENDED",
                "LIST-STATUS",
                "SPECIAL-USE",
                "OBJECTID",
                "MOVE",
                "X-GM-EXT-1",
                "QUOTA",
            ];
            let mut store = store(client, &capabilities);
            store.ask_quota();
            let script = vec![
                ("ENABLE QRESYNC", "* ENABLED QRESYNC\r\n$ OK x\r\n"),
                (
                    concat!("ID (\"name\" \"mailtide\" \"version\" \"", env!("CARGO_PKG_VERSION"), "\")"),
                    "* ID NIL\r\n$ OK x\r\n",
                ),
                ("NAMESPACE", "* NAMESPACE ((\"\" \"/\")) ((\"~\" \"/\")) NIL\r\n$ OK x\r\n"),
                (
                    "LIST \"\" \"*\" RETURN (SUBSCRIBED SPECIAL-USE STATUS (MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ MAILBOXID))",
                    "* LIST (\\Subscribed \\Sent) \"/\" Inbox\r\n* LIST (\\Sent) \"/\" &AOk-\r\n* LIST (\\NonExistent) \"/\" gone\r\n\
                     * LIST () \"/\" ~bob/x\r\n* LIST () \"/\" a//b\r\n* LIST () \"/\" \"no status\" (\"OLDNAME\" (\"x\"))\r\n\
                     * STATUS {5}\r\nINBOX (MESSAGES 3 UIDNEXT 9 UIDVALIDITY 7 HIGHESTMODSEQ 5 MAILBOXID (F1))\r\n$ OK x\r\n",
                ),
                (
                    "GETQUOTAROOT \"INBOX\"",
                    "* QUOTAROOT INBOX \"\" shared\r\n* QUOTA \"\" (STORAGE 3 10 MESSAGE 7 9 X 1 2)\r\n\
                     * QUOTA shared (STORAGE 9 10)\r\n$ OK x\r\n",
                ),
                // Later listings need no introduction.
                ("NAMESPACE", "$ OK x\r\n"),
                (
                    "LIST \"\" \"*\" RETURN (SUBSCRIBED SPECIAL-USE STATUS (MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ MAILBOXID))",
                    "* LIST () \"/\" INBOX\r\n$ NO [SERVERBUG] half of it\r\n",
                ),
            ];
            let server = tokio::spawn(serve(server, script));
            let listing = store.list().await.unwrap();
            assert!(store.qresync);
            assert_eq!(store.traffic().round_trips, 1);
            let names: Vec<&str> = listing.mailboxes.keys().map(MailboxName::as_str).collect();
            assert_eq!(names, ["INBOX", "gone", "no status", "é"]);
            let inbox = &listing.mailboxes[&name("INBOX")];
            assert_eq!((inbox.role, inbox.subscribed, inbox.object_id.as_deref()), (None, true, Some("F1")));
            assert_eq!(inbox.status.unwrap().mod_seq, ModSeq::new(5));
            assert_eq!(listing.mailboxes[&name("é")].role, Some(Role::Sent));
            assert!(!listing.mailboxes[&name("gone")].selectable);
            assert_eq!(listing.mailboxes[&name("no status")].status, None);
            assert_eq!(listing.rejected.len(), 1);
            let usage = |used, limit| Some(Usage { used, limit });
            let quota = Quota { storage: usage(9 << 10, 10 << 10), messages: usage(7, 9) };
            assert_eq!(store.quota(), Some(quota));
            let abilities = listing.abilities;
            assert!(abilities.moves && abilities.mod_seq && abilities.deleted_is_final && !abilities.uid_plus);
            assert_eq!(store.list().await.unwrap_err().kind, RemoteErrorKind::Busy, "never a shorter list");
            server.await.unwrap();
        });
    }

    #[test]
    fn what_is_listed_only_for_what_lies_below_it_holds_no_mail() {
        block_on(async {
            let (client, server) = tokio::io::duplex(4096);
            let mut store = store(client, &["IMAP4REV1", "LIST-EXTENDED", "LIST-STATUS"]);
            let script = vec![
                (
                    "LIST \"\" \"*\" RETURN (SUBSCRIBED STATUS (MESSAGES UIDNEXT UIDVALIDITY))",
                    "* LIST () \"/\" INBOX\r\n* LIST (\\HasChildren) \"/\" gone\r\n* NO Mailbox doesn't exist: gone\r\n\
                     * LIST () \"/\" gone/a\r\n* LIST (\\HasChildren) \"/\" closed\r\n* LIST () \"/\" closed/a\r\n\
                     * STATUS gone/a (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 3)\r\n$ OK x\r\n",
                ),
                ("STATUS \"closed\" (MESSAGES UIDNEXT UIDVALIDITY)", "$ NO [NOPERM] x\r\n"),
                ("STATUS \"gone\" (MESSAGES UIDNEXT UIDVALIDITY)", "$ NO Mailbox doesn't exist: gone\r\n"),
            ];
            let server = tokio::spawn(serve(server, script));
            let listing = store.list().await.unwrap();
            server.await.unwrap();
            let all = listing.mailboxes.iter().map(|(name, listed)| (name.as_str(), listed.selectable));
            let some = [("INBOX", true), ("closed", true), ("closed/a", true), ("gone", false), ("gone/a", true)];
            assert_eq!(all.collect::<Vec<_>>(), some);
        });
    }

    #[test]
    fn with_no_extension_or_one_that_hangs_in_the_air_lsub_and_status_tell_the_same() {
        for capabilities in [&["IMAP4REV1"][..], &["IMAP4REV1", "LIST-STATUS"]] {
            lsub_and_status(capabilities);
        }
    }

    fn lsub_and_status(capabilities: &[&str]) {
        block_on(async {
            let (client, server) = tokio::io::duplex(4096);
            let mut store = store(client, capabilities);
            let script = vec![
                (
                    "LIST \"\" \"*\"",
                    "* LIST () \".\" INBOX\r\n* LIST (\\Noselect) \".\" INBOX.a\r\n* LIST () \".\" INBOX.a.b\r\n$ OK x\r\n",
                ),
                ("LSUB \"\" \"*\"", "* LSUB () \".\" INBOX.a.b\r\n$ OK x\r\n"),
                (
                    "STATUS \"INBOX\" (MESSAGES UIDNEXT UIDVALIDITY)",
                    "* STATUS INBOX (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 3 HIGHESTMODSEQ 4)\r\n$ OK x\r\n",
                ),
                ("STATUS \"INBOX.a.b\" (MESSAGES UIDNEXT UIDVALIDITY)", "$ NO [NOPERM] x\r\n"),
            ];
            let server = tokio::spawn(serve(server, script));
            let listing = store.list().await.unwrap();
            server.await.unwrap();
            let all: Vec<_> =
                listing.mailboxes.iter().map(|(name, m)| (name.as_str(), m.selectable, m.subscribed)).collect();
            assert_eq!(all, [("INBOX", true, false), ("a", false, false), ("a/b", true, true)]);
            let status = listing.mailboxes[&name("INBOX")].status.unwrap();
            assert_eq!((status.messages, status.uid_next, status.mod_seq), (1, 2, None), "CONDSTORE is not advertised");
            assert_eq!(listing.mailboxes[&name("a/b")].status, None);
        });
    }
}

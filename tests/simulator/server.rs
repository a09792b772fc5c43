//! An IMAP server: UIDs, UIDVALIDITY, mod-sequences, expunged history, and abilities that can be missing.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use mailtide::model::{
    EmailId, Flag, FlagDelta, FlagSet, MailboxName, ModSeq, PermanentFlags, Quota, Role, Timestamp, Uid, UidSet,
    UidValidity, Usage, Watermark,
};
use mailtide::reconcile::snapshot::{
    Abilities, Listed, ListedMailbox, RemoteListing, RemoteMessage, RemoteMessages, RemoteRequest, RemoteSnapshot,
};
use mailtide::store::{RemoteError, RemoteErrorKind, Transfer};

use super::mail::Bytes;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) bytes: Bytes,
    pub(super) flags: FlagSet,
    pub(super) date: Timestamp,
    /// Goes along with it wherever it is copied or moved.
    email_id: u64,
    mod_seq: u64,
}

/// What the server calls the contents of messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum EmailIds {
    /// It has no names for them.
    #[default]
    None,
    /// Each that is appended gets a name of its own.
    Each,
    /// Equal contents have equal names.
    Content,
    /// All have the same name: it lies.
    Lie,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mailbox {
    pub(super) role: Option<Role>,
    pub(super) selectable: bool,
    pub(super) permanent: PermanentFlags,
    /// Its mailbox id, which stays with it under any name.
    id: u64,
    uid_validity: UidValidity,
    uid_next: u32,
    mod_seq: u64,
    pub(super) messages: BTreeMap<Uid, Message>,
    expunged: Vec<(Uid, u64)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) mailboxes: BTreeMap<MailboxName, Mailbox>,
    pub(super) abilities: Abilities,
    /// LIST brings STATUS.
    pub(super) status: bool,
    /// It shows no more than the newest so many messages of a mailbox, as Yahoo does.
    pub(super) window: Option<usize>,
    /// CREATE can give a mailbox a role.
    pub(super) special_use: bool,
    /// What new mailboxes let be stored.
    pub(super) permanent: PermanentFlags,
    /// LIST brings mailbox ids.
    pub(super) object_ids: bool,
    /// FETCH brings email ids.
    pub(super) email_ids: EmailIds,
    /// New mailboxes all get one UIDVALIDITY, as those created within a second do; under a name that was in use, one of
    /// their own.
    pub(super) same_second: bool,
    used_names: BTreeSet<MailboxName>,
    numbers: u64,
}

/// The UIDVALIDITY of all mailboxes created within [`Server::same_second`], which never is long ago.
const THE_SECOND: UidValidity = UidValidity(4_000_000_000);

pub(super) fn refuse(kind: RemoteErrorKind, words: &str) -> RemoteError {
    RemoteError::new(kind, words)
}

impl Mailbox {
    fn watermark(&self, mod_seq: bool) -> Watermark {
        Watermark {
            uid_validity: self.uid_validity,
            uid_next: self.uid_next,
            messages: u32::try_from(self.messages.len()).unwrap(),
            mod_seq: mod_seq.then(|| ModSeq::new(self.mod_seq)).flatten(),
        }
    }

    fn bump(&mut self) -> u64 {
        self.mod_seq += 1;
        self.mod_seq
    }

    pub(super) fn put(&mut self, bytes: Bytes, flags: FlagSet, date: Timestamp) -> Uid {
        // With the content, so that a server put back to an earlier time gives no name twice.
        let email_id = hash(&(self.id, self.uid_validity, self.uid_next, &bytes));
        self.take_over(Message { bytes, flags, date, email_id, mod_seq: 0 })
    }

    /// Returns the UID of the message with this content, if there is one.
    pub(super) fn uid_of(&self, bytes: &[u8]) -> Option<Uid> {
        self.messages.iter().find(|(_, message)| *message.bytes == *bytes).map(|(uid, _)| *uid)
    }

    /// Takes a message that was on the server before.
    pub(super) fn take_over(&mut self, message: Message) -> Uid {
        let uid = Uid::new(self.uid_next).unwrap();
        self.uid_next += 1;
        let mod_seq = self.bump();
        self.messages.insert(uid, Message { mod_seq, ..message });
        uid
    }

    /// Removes a message; one that is gone is no error, as in IMAP.
    /// Becomes the mailbox of another server: same mail, other UIDs, no past.
    pub(super) fn begin_anew(&mut self) {
        (self.uid_next, self.mod_seq) = (1, 1);
        self.expunged.clear();
        for message in std::mem::take(&mut self.messages).into_values().rev() {
            self.put(message.bytes, message.flags, message.date);
        }
    }

    pub(super) fn expunge(&mut self, uid: Uid) {
        if self.messages.remove(&uid).is_some() {
            let mod_seq = self.bump();
            self.expunged.push((uid, mod_seq));
        }
    }

    /// Changes a message's flags as far as the mailbox lets it.
    pub(super) fn store(&mut self, uid: Uid, delta: &FlagDelta) {
        let delta = FlagDelta { add: self.permanent.storable(&delta.add), remove: delta.remove.clone() };
        let Some(message) = self.messages.get_mut(&uid) else { return };
        let flags = delta.apply(&message.flags);
        if flags != message.flags {
            message.flags = flags;
            self.mod_seq += 1;
            message.mod_seq = self.mod_seq;
        }
    }

    pub(super) fn flagged_deleted(&self) -> UidSet {
        self.messages.iter().filter(|(_, message)| message.flags.has(Flag::Deleted)).map(|(uid, _)| *uid).collect()
    }

    fn delta(&self, request: &RemoteRequest, since: &Watermark, from: ModSeq, email_ids: EmailIds) -> RemoteMessages {
        let newer = |(uid, message): &(&Uid, &Message)| message.mod_seq > from.get() || uid.get() >= since.uid_next;
        let told = |uid: &Uid| uid.get() >= since.uid_next;
        let seen = |uid, message| RemoteMessage {
            email_id: told(uid).then(|| email_ids.of(message)).flatten(),
            ..seen(*uid, message, request)
        };
        let changed = self.messages.iter().filter(newer).map(|(uid, message)| (*uid, seen(uid, message)));
        let vanished = self.expunged.iter().filter(|(_, at)| *at > from.get()).map(|(uid, _)| *uid);
        RemoteMessages::Delta { changed: changed.collect(), vanished: vanished.collect() }
    }

    fn all(&self, request: &RemoteRequest, email_ids: EmailIds) -> RemoteMessages {
        let seen = |uid, message| RemoteMessage { email_id: email_ids.of(message), ..seen(uid, message, request) };
        RemoteMessages::Full(self.messages.iter().map(|(uid, message)| (*uid, seen(*uid, message))).collect())
    }

    /// Answers as SELECT (QRESYNC) does where the server can and the client's watermark is of this mailbox.
    /// Of what is older than the oldest that is shown nothing can be known.
    fn newest(&self, window: usize, request: &RemoteRequest, email_ids: EmailIds) -> RemoteMessages {
        let all = self.all(&RemoteRequest { known: UidSet::new(), ..request.clone() }, email_ids);
        let hidden = self.messages.len() - window;
        let changed: Listed = all.listed().iter().skip(hidden).map(|(uid, message)| (*uid, message.clone())).collect();
        let oldest = changed.keys().next().copied();
        let is_gone = |uid: &Uid| oldest.is_some_and(|oldest| *uid >= oldest) && !changed.contains_key(uid);
        let vanished = request.known.iter().filter(is_gone).collect();
        RemoteMessages::Delta { changed, vanished }
    }

    fn look(&self, request: &RemoteRequest, mod_seq: bool, email_ids: EmailIds) -> RemoteMessages {
        let is_past =
            |since: &Watermark| since.uid_validity == self.uid_validity && since.uid_next <= self.uid_next && mod_seq;
        match request.since.filter(is_past).and_then(|since| Some((since, since.mod_seq?))) {
            Some((since, from)) if from.get() <= self.mod_seq => self.delta(request, &since, from, email_ids),
            _ => self.all(&RemoteRequest { known: UidSet::new(), ..request.clone() }, email_ids),
        }
    }
}

impl EmailIds {
    fn of(self, message: &Message) -> Option<EmailId> {
        let number = match self {
            EmailIds::None => return None,
            EmailIds::Each => message.email_id,
            EmailIds::Content => hash(&message.bytes),
            EmailIds::Lie => 1,
        };
        Some(EmailId::of(&number.to_le_bytes()))
    }
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

fn seen(uid: Uid, message: &Message, request: &RemoteRequest) -> RemoteMessage {
    let unknown = !request.known.contains(uid);
    RemoteMessage {
        flags: message.flags.clone(),
        date: unknown.then_some(message.date),
        size: unknown.then_some(message.bytes.len() as u64),
        email_id: None,
    }
}

impl Server {
    pub(super) fn new(abilities: Abilities) -> Self {
        let mut server = Server {
            mailboxes: BTreeMap::new(),
            abilities,
            status: true,
            window: None,
            special_use: true,
            permanent: PermanentFlags::all(),
            object_ids: false,
            email_ids: EmailIds::None,
            same_second: false,
            used_names: BTreeSet::new(),
            numbers: 100,
        };
        server.create(&MailboxName::inbox(), None);
        server
    }

    /// Creates a mailbox; its missing parents become names that only hold others.
    pub(super) fn create(&mut self, name: &MailboxName, role: Option<Role>) {
        self.add_parents(name);
        match self.mailboxes.get_mut(name) {
            Some(mailbox) => mailbox.selectable = true,
            None => self.add(name, role.filter(|_| self.special_use), true),
        }
    }

    /// Deletes a mailbox with all that is in it; with folders below it the name stays.
    pub(super) fn delete(&mut self, name: &MailboxName) {
        let parent = self.mailboxes.keys().any(|other| other.is_below(name));
        match self.mailboxes.remove(name) {
            Some(mailbox) if parent => self.add(name, mailbox.role, false),
            Some(_) | None => {}
        }
    }

    /// Returns false if there is mail in it.
    pub(super) fn delete_empty(&mut self, name: &MailboxName) -> bool {
        let empty = self.mailboxes.get(name).is_none_or(|mailbox| mailbox.messages.is_empty());
        if empty {
            self.delete(name);
        }
        empty
    }

    /// Gives a mailbox another name, and those below it with it; each keeps all its numbers. Returns false if nothing was
    /// done.
    pub(super) fn rename(&mut self, from: &MailboxName, to: &MailboxName) -> bool {
        let taken = to.is_below(from) || self.mailboxes.keys().any(|name| name == to || name.is_below(to));
        if from.is_inbox() || taken || !self.mailboxes.contains_key(from) {
            return false;
        }
        self.add_parents(to);
        for name in self.mailboxes.keys().cloned().collect::<Vec<_>>() {
            let Some(new) = name.rebased(from, to) else { continue };
            let mailbox = self.mailboxes.remove(&name);
            self.used_names.insert(new.clone());
            self.mailboxes.extend(mailbox.map(|mailbox| (new, mailbox)));
        }
        true
    }

    fn add_parents(&mut self, name: &MailboxName) {
        if let Some(parent) = name.parent().filter(|parent| !self.mailboxes.contains_key(parent)) {
            self.add_parents(&parent);
            self.add(&parent, None, false);
        }
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn add(&mut self, name: &MailboxName, role: Option<Role>, selectable: bool) {
        let id = self.number();
        let fresh = self.used_names.insert(name.clone());
        let mailbox = Mailbox {
            role,
            selectable,
            permanent: self.permanent.clone(),
            id,
            uid_validity: if self.same_second && fresh { THE_SECOND } else { UidValidity(id) },
            uid_next: 1,
            mod_seq: 1,
            messages: BTreeMap::new(),
            expunged: Vec::new(),
        };
        self.mailboxes.insert(name.clone(), mailbox);
    }

    /// Gives a mailbox another UIDVALIDITY and its messages other UIDs.
    pub(super) fn renumber(&mut self, name: &MailboxName) {
        let validity = UidValidity(self.number());
        let Some(mailbox) = self.mailboxes.get_mut(name) else { return };
        mailbox.uid_validity = validity;
        mailbox.uid_next = 1;
        mailbox.expunged.clear();
        for message in std::mem::take(&mut mailbox.messages).into_values() {
            mailbox.take_over(message);
        }
    }

    /// Puts a mailbox back as it was, its numbers included.
    pub(super) fn restore(&mut self, name: &MailboxName, backup: Mailbox) {
        self.mailboxes.insert(name.clone(), backup);
    }

    /// Lies about a mailbox's UIDVALIDITY.
    pub(super) fn claim(&mut self, name: &MailboxName, uid_validity: u64) {
        if let Some(mailbox) = self.mailboxes.get_mut(name) {
            mailbox.uid_validity = UidValidity(uid_validity);
        }
    }

    /// Returns a mailbox's UIDVALIDITY.
    pub(super) fn uid_validity(&self, name: &MailboxName) -> Option<UidValidity> {
        self.mailboxes.get(name).map(|mailbox| mailbox.uid_validity)
    }

    /// Returns a mailbox that can be selected.
    pub(super) fn open(&mut self, name: &MailboxName) -> Result<&mut Mailbox, RemoteError> {
        let found = self.mailboxes.get_mut(name).filter(|mailbox| mailbox.selectable);
        found.ok_or_else(|| refuse(RemoteErrorKind::NoSuchMailbox, "NO [NONEXISTENT] no such mailbox"))
    }

    /// Returns a mailbox if its UIDVALIDITY is still this.
    pub(super) fn select(&mut self, name: &MailboxName, validity: UidValidity) -> Result<&mut Mailbox, RemoteError> {
        let mailbox = self.open(name)?;
        match mailbox.uid_validity == validity {
            true => Ok(mailbox),
            false => Err(refuse(RemoteErrorKind::UidValidityChanged, "UIDVALIDITY changed")),
        }
    }

    pub(super) fn list(&self) -> RemoteListing {
        let listed = |mailbox: &Mailbox| ListedMailbox {
            role: mailbox.role,
            selectable: mailbox.selectable,
            subscribed: true,
            object_id: self.object_ids.then(|| format!("F{}", mailbox.id)),
            status: (self.status && mailbox.selectable).then(|| self.shown(mailbox.watermark(self.abilities.mod_seq))),
        };
        RemoteListing {
            mailboxes: self.mailboxes.iter().map(|(name, mailbox)| (name.clone(), listed(mailbox))).collect(),
            rejected: Vec::new(),
            abilities: self.abilities,
            capabilities: String::new(),
        }
    }

    /// Returns how full the account is.
    pub(super) fn usage(&self) -> Quota {
        let used = self.mailboxes.values().map(|mailbox| mailbox.messages.len() as u64).sum();
        Quota { storage: None, messages: Some(Usage { used, limit: 1_000_000 }) }
    }

    /// Returns the watermark that a SELECT would bring.
    pub(super) fn watermark(&mut self, name: &MailboxName) -> Result<Watermark, RemoteError> {
        let mod_seq = self.abilities.mod_seq;
        let watermark = self.open(name)?.watermark(mod_seq);
        Ok(self.shown(watermark))
    }

    /// Returns what the server says of a mailbox: what is out of sight does not count.
    fn shown(&self, watermark: Watermark) -> Watermark {
        let most = self.window.map_or(u32::MAX, |window| u32::try_from(window).unwrap());
        Watermark { messages: watermark.messages.min(most), ..watermark }
    }

    /// Observes a mailbox with the given ability to answer with a delta, under a watermark taken earlier.
    pub(super) fn observe(
        &mut self,
        request: &RemoteRequest,
        watermark: Watermark,
        deltas: bool,
    ) -> Result<RemoteSnapshot, RemoteError> {
        let (mod_seq, email_ids, window) = (self.abilities.mod_seq && deltas, self.email_ids, self.window);
        let mailbox = self.open(&request.mailbox)?;
        let messages = match window {
            Some(window) if mailbox.messages.len() >= window => mailbox.newest(window, request, email_ids),
            _ => mailbox.look(request, mod_seq, email_ids),
        };
        Ok(RemoteSnapshot { watermark, permanent: mailbox.permanent.clone(), read_only: false, messages })
    }

    /// Changes flags; where `\Deleted` is final, what gets it is gone.
    pub(super) fn store(&mut self, name: &MailboxName, uid: Uid, delta: &FlagDelta) {
        let is_final = self.abilities.deleted_is_final;
        let Some(mailbox) = self.mailboxes.get_mut(name) else { return };
        mailbox.store(uid, delta);
        if is_final && mailbox.messages.get(&uid).is_some_and(|message| message.flags.has(Flag::Deleted)) {
            mailbox.expunge(uid);
        }
    }

    pub(super) fn copy(
        &mut self,
        name: &MailboxName,
        validity: UidValidity,
        uids: &UidSet,
        (target, merges): (&MailboxName, bool),
    ) -> Result<Transfer, RemoteError> {
        let mailbox = self.select(name, validity)?;
        let found: Vec<_> = mailbox.messages.iter().filter(|(uid, _)| uids.contains(**uid)).collect();
        let found: Vec<(Uid, Message)> = found.into_iter().map(|(uid, message)| (*uid, message.clone())).collect();
        let proven = self.abilities.uid_plus;
        let into = self.open(target)?;
        let put = |(uid, message): (Uid, Message)| {
            let known = into.uid_of(&message.bytes).filter(|_| merges);
            (uid, known.unwrap_or_else(|| into.take_over(message)))
        };
        let pairs: Vec<_> = found.into_iter().map(put).collect();
        match proven {
            true => Ok(Transfer::Proven(into.uid_validity, pairs)),
            false => Ok(Transfer::Unproven),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::mail::{Kind, compose};
    use super::super::rng::Rng;
    use super::*;

    fn request(since: Option<Watermark>, known: UidSet) -> RemoteRequest {
        RemoteRequest { mailbox: MailboxName::inbox(), since, known }
    }

    fn flags_of(server: &Server) -> BTreeMap<Uid, FlagSet> {
        let messages = &server.mailboxes[&MailboxName::inbox()].messages;
        messages.iter().map(|(uid, message)| (*uid, message.flags.clone())).collect()
    }

    fn edit(server: &mut Server, rng: &mut Rng, id: u32) {
        let mailbox = server.open(&MailboxName::inbox()).unwrap();
        let uids: Vec<Uid> = mailbox.messages.keys().copied().collect();
        let flags = FlagSet::of(&[Flag::ALL[rng.below(5)]]);
        match (rng.below(3), rng.pick(&uids)) {
            (1, Some(uid)) => mailbox.store(uid, &FlagDelta { add: flags, remove: FlagSet::new() }),
            (2, Some(uid)) => mailbox.expunge(uid),
            _ => drop(mailbox.put(compose(id, Kind::Ordinary), flags, Timestamp(1))),
        }
    }

    #[test]
    fn a_delta_leads_to_what_a_full_look_shows() {
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let mut server = Server::new(Abilities { mod_seq: true, ..Abilities::default() });
            let inbox = MailboxName::inbox();
            (0..10).for_each(|id| edit(&mut server, &mut rng, id));
            let mut state = flags_of(&server);
            let since = server.watermark(&inbox).unwrap();
            (10..20).for_each(|id| edit(&mut server, &mut rng, id));
            let now = server.watermark(&inbox).unwrap();
            let asked = request(Some(since), state.keys().copied().collect());
            let RemoteMessages::Delta { changed, vanished } = server.observe(&asked, now, true).unwrap().messages
            else {
                panic!("seed {seed}: no delta")
            };
            state.retain(|uid, _| !vanished.contains(*uid));
            state.extend(changed.into_iter().map(|(uid, message)| (uid, message.flags)));
            assert_eq!(state, flags_of(&server), "seed {seed}");
            assert_eq!(now.messages as usize, state.len());
        }
    }

    #[test]
    fn without_mod_seq_or_under_another_uidvalidity_the_answer_is_full() {
        let mut server = Server::new(Abilities::default());
        let inbox = MailboxName::inbox();
        let uid = server.open(&inbox).unwrap().put(compose(1, Kind::Ordinary), FlagSet::new(), Timestamp(5));
        let mark = server.watermark(&inbox).unwrap();
        let known: UidSet = [uid].into_iter().collect();
        let full = server.observe(&request(Some(mark), known.clone()), mark, true).unwrap();
        assert!(matches!(full.messages, RemoteMessages::Full(_)));
        server.abilities.mod_seq = true;
        let other = Watermark { uid_validity: UidValidity(1), mod_seq: ModSeq::new(1), ..mark };
        let full = server.observe(&request(Some(other), known), mark, true).unwrap();
        let RemoteMessages::Full(messages) = full.messages else { panic!("a delta across UIDVALIDITY") };
        assert_eq!(messages[&uid].date, Some(Timestamp(5)), "a UID known under another UIDVALIDITY is unknown");
    }

    #[test]
    fn a_renamed_mailbox_keeps_its_numbers_and_takes_those_below_it_along() {
        let name = |text: &str| MailboxName::parse(text).unwrap();
        let mut server = Server::new(Abilities::default());
        (server.object_ids, server.same_second) = (true, true);
        ["a", "a/x", "b"].iter().for_each(|text| server.create(&name(text), None));
        let numbers = |server: &Server, text: &str| {
            let id = server.list().mailboxes[&name(text)].object_id.clone();
            (id, server.uid_validity(&name(text)))
        };
        let before = (numbers(&server, "a"), numbers(&server, "a/x"));
        assert!(before.0.1 == before.1.1 && before.0.0 != before.1.0 && before.0.0.is_some());
        for (from, to) in [("INBOX", "y"), ("a", "b"), ("gone", "y"), ("a", "a/y"), ("a", "a")] {
            assert!(!server.rename(&name(from), &name(to)), "{from} {to}");
        }
        assert!(server.rename(&name("a"), &name("c/d/e")));
        assert_eq!((numbers(&server, "c/d/e"), numbers(&server, "c/d/e/x")), before);
        let holders: Vec<_> = server.mailboxes.iter().filter(|(_, mailbox)| !mailbox.selectable).collect();
        assert_eq!(holders.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["c", "c/d"]);
        assert_eq!(server.mailboxes.len(), 6, "the old names are gone");
        server.create(&name("a"), None);
        assert_ne!(numbers(&server, "a").1, before.0.1, "nor does a new mailbox of the old name pass for it");
    }
}

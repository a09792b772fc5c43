//! The way to the server: [`RemoteStore`] with faults.

use std::collections::BTreeMap;
use std::future::pending;

use mailtide::apply::is_fatal;
use mailtide::model::{FlagDelta, FlagSet, MailboxName, Role, Uid, UidSet, UidValidity};
use mailtide::reconcile::snapshot::{RemoteListing, RemoteRequest, RemoteSnapshot};
use mailtide::store::{
    Append, Appended, BodySink, Expunged, FetchedMessage, Identities, Messages, Observed, RemoteError, RemoteErrorKind,
    RemoteStore, StoredFlags, Traffic, Transfer,
};

use super::mail;
use super::server::{Message, refuse};
use super::world::{Shared, Verdict, World};

impl World {
    /// Passes a call on its way to the server.
    fn sent(&mut self, call: impl FnOnce() -> String) -> Result<(), Option<RemoteError>> {
        if self.cut && !self.is_dead() {
            return Err(Some(lost()));
        }
        match self.before(call) {
            Verdict::Go => Ok(()),
            Verdict::Dead => Err(None),
            Verdict::Fail if self.rng.chance(500) => Err(Some(refuse(RemoteErrorKind::Refused, "NO not now"))),
            Verdict::Fail => Err(Some(self.lose_connection())),
        }
    }

    /// Passes the server's answer on its way back.
    fn answered(&mut self) -> Result<(), Option<RemoteError>> {
        match self.after() {
            Verdict::Go => Ok(()),
            Verdict::Dead => Err(None),
            Verdict::Fail => Err(Some(self.lose_connection())),
        }
    }

    fn lose_connection(&mut self) -> RemoteError {
        self.cut = true;
        lost()
    }
}

fn lost() -> RemoteError {
    refuse(RemoteErrorKind::Unreachable, "connection lost")
}

/// Ends a call with its error; a dead run waits for ever, to be dropped.
async fn end<T>(stop: Option<RemoteError>) -> Result<T, RemoteError> {
    match stop {
        Some(error) => Err(error),
        None => pending().await,
    }
}

impl World {
    /// Notes a message sent to a mailbox that is not the one which the database knows under that name.
    fn note_astray(&mut self, target: &MailboxName, id: u32) {
        let known = self.book.knows_numbers(target, self.server.uid_validity(target));
        if let Some(story) = self.ledger.stories.get_mut(&id).filter(|_| self.ledger.renamed && !known) {
            story.astray += 1;
        }
    }
}

impl World {
    fn writable(&self, mailbox: &MailboxName) -> Result<(), RemoteError> {
        match self.mishaps.read_only.contains(mailbox) {
            true => Err(refuse(RemoteErrorKind::Refused, "NO [NOPERM] read-only")),
            false => Ok(()),
        }
    }
}

impl World {
    fn transferable(&self, target: &MailboxName) -> Result<(), RemoteError> {
        match self.mishaps.transfers {
            true => Err(refuse(RemoteErrorKind::Refused, "NO [CANNOT] never")),
            false => self.writable(target),
        }
    }
}

impl Shared {
    async fn ask<T>(
        &self,
        call: impl FnOnce() -> String,
        deed: impl FnOnce(&mut World) -> Result<T, RemoteError>,
    ) -> Result<T, RemoteError> {
        let outcome = {
            let mut world = self.world();
            match world.sent(call) {
                Ok(()) => {
                    let done = deed(&mut world);
                    world.answered().map(|()| done)
                }
                Err(stop) => Err(stop),
            }
        };
        match outcome {
            Ok(done) => done,
            Err(stop) => end(stop).await,
        }
    }

    /// Looks at one mailbox. In a blur its watermark is older than what is seen, or the answer full where it need not be.
    async fn look(&self, request: &RemoteRequest) -> Result<Observed, RemoteError> {
        let mailbox = request.mailbox.clone();
        let seen = self.ask(
            || format!("observe {mailbox} since {:?}", request.since),
            |world| {
                if world.mishaps.unlooked.as_ref() == Some(&request.mailbox) {
                    return Ok(Err(refuse(RemoteErrorKind::Busy, "NO [INUSE] later")));
                }
                let mut watermark = match world.server.watermark(&request.mailbox) {
                    Ok(watermark) => watermark,
                    Err(error) => return Ok(Err(error)),
                };
                if world.is_blurred() {
                    super::users::edit(world);
                    // As long as a mailbox is selected its UIDs mean what they meant: it was selected after that.
                    match world.server.watermark(&request.mailbox) {
                        Ok(now) if now.uid_validity != watermark.uid_validity => watermark = now,
                        Ok(_) | Err(_) => {}
                    }
                }
                let deltas = !world.is_blurred();
                let read_only = world.mishaps.read_only.contains(&request.mailbox);
                let snapshot = world.server.observe(request, watermark, deltas);
                Ok(snapshot.map(|snapshot| RemoteSnapshot { read_only, ..snapshot }))
            },
        );
        let outcome = match seen.await {
            Err(error) if error.kind != RemoteErrorKind::Refused => return Err(error),
            Err(error) => Err(error),
            Ok(outcome) => outcome,
        };
        Ok(Observed { mailbox, outcome })
    }

    async fn append_one(&self, mailbox: &MailboxName, message: Append) -> Result<Appended, RemoteError> {
        let bytes = read_all(message.body)?;
        let deed = |world: &mut World| {
            if world.mishaps.appends {
                return Err(refuse(RemoteErrorKind::Refused, "NO never"));
            }
            world.writable(mailbox)?;
            if world.mishaps.renumbers.take_if(|name| name == mailbox).is_some() {
                world.server.renumber(mailbox);
                world.ledger.renumber(mailbox, &[]);
            }
            let (proven, now, drops) = (world.server.abilities.uid_plus, world.now, world.mishaps.drops.clone());
            let into = world.server.open(mailbox)?;
            if into.permanent.storable(&message.flags) != message.flags {
                let words = format!("APPEND to {mailbox} with flags it can't store: {}", message.flags);
                world.complain(words);
                return Ok(Appended::Somewhere);
            }
            let kept = message.flags.difference(&drops);
            if world.mishaps.merges
                && let Some(uid) = world.server.open(mailbox)?.uid_of(&bytes)
            {
                return Ok(Appended::As(world.server.watermark(mailbox)?.uid_validity, uid));
            }
            *world.carried.entry(mail::id_of(&bytes)).or_default() += 1;
            let into = world.server.open(mailbox)?;
            let uid = into.put(bytes.clone().into(), kept, message.date.unwrap_or(now));
            world.note_astray(mailbox, mail::id_of(&bytes));
            match proven {
                true => Ok(Appended::As(world.server.watermark(mailbox)?.uid_validity, uid)),
                false => Ok(Appended::Somewhere),
            }
        };
        match self.ask(|| format!("append {} to {mailbox}", mail::id_of(&bytes)), deed).await {
            Err(error) if error.kind == RemoteErrorKind::Refused => {
                let words = "NO [TOOBIG] this message is too large";
                Ok(Appended::Refused(refuse(RemoteErrorKind::TooLarge, words)))
            }
            other => other,
        }
    }
}

fn read_all(mut body: Box<dyn mailtide::store::BodySource>) -> Result<Vec<u8>, RemoteError> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 64]);
    loop {
        match body.read(&mut buffer)? {
            0 => return Ok(bytes),
            some => bytes.extend_from_slice(&buffer[..some]),
        }
    }
}

fn pass_on(sink: &mut dyn BodySink, of: usize, uid: Uid, message: &Message) -> Result<(), RemoteError> {
    sink.begin(of)?;
    for part in message.bytes.chunks(40) {
        sink.write(part)?;
    }
    Ok(sink.finish(of, FetchedMessage { uid, flags: message.flags.clone(), date: Some(message.date) })?)
}

/// What the server refuses of one mailbox keeps nothing of another away.
fn alone<T>(answer: Result<T, RemoteError>) -> Result<Result<T, RemoteError>, RemoteError> {
    match answer {
        Err(error) if is_fatal(&error) => Err(error),
        answer => Ok(answer),
    }
}

impl Shared {
    async fn fetch_from(
        &self,
        of: usize,
        Messages { mailbox, validity, uids }: &Messages,
        sink: &mut dyn BodySink,
    ) -> Result<(), RemoteError> {
        for uid in uids.iter() {
            let deed = |world: &mut World| Ok(world.server.select(mailbox, *validity)?.messages.get(&uid).cloned());
            match self.ask(|| format!("fetch {mailbox} {uid}"), deed).await {
                Ok(Some(message)) => {
                    *self.world().carried.entry(mail::id_of(&message.bytes)).or_default() += 1;
                    pass_on(sink, of, uid, &message)?;
                }
                Ok(None) => {}
                Err(error) => {
                    if self.world().cut {
                        sink.begin(of)?;
                        sink.write(b"Subject: torn\r\n")?;
                        sink.discard()?;
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

impl RemoteStore for Shared {
    async fn list(&mut self) -> Result<RemoteListing, RemoteError> {
        let listing = |world: &mut World| {
            let mut listing = world.server.list();
            listing.mailboxes.retain(|name, _| world.mishaps.unlisted.as_ref() != Some(name));
            if world.is_blurred() {
                let names: Vec<_> = listing.mailboxes.keys().cloned().collect();
                listing.mailboxes.remove(&world.rng.pick(&names).unwrap());
            }
            for mailbox in listing.mailboxes.values_mut() {
                mailbox.status = mailbox.status.filter(|_| !world.is_blurred());
            }
            Ok(listing)
        };
        self.ask(|| "list".to_owned(), listing).await
    }

    async fn observe(&mut self, requests: &[RemoteRequest]) -> Result<Vec<Observed>, RemoteError> {
        let mut all = Vec::new();
        for request in requests {
            all.push(self.look(request).await?);
        }
        Ok(all)
    }

    async fn identify_all(
        &mut self,
        messages: &[Messages],
        whole: bool,
    ) -> Result<Vec<Result<Identities, RemoteError>>, RemoteError> {
        let mut all = Vec::new();
        for Messages { mailbox, validity, uids } in messages {
            let deed = |world: &mut World| {
                let messages = &world.server.select(mailbox, *validity)?.messages;
                let found = messages.iter().filter(|(uid, _)| uids.contains(**uid));
                let told =
                    |(uid, message): (&Uid, &Message)| (*uid, mail::identity(&message.bytes, message.date, whole));
                let found: Identities = found.map(told).collect();
                world.identified += found.len();
                Ok(found)
            };
            let answer = self.ask(|| format!("identify {mailbox} {uids} whole {whole}"), deed).await;
            all.push(alone(answer)?);
        }
        Ok(all)
    }

    async fn fetch(
        &mut self,
        messages: &[Messages],
        sink: &mut dyn BodySink,
    ) -> Result<Vec<Result<(), RemoteError>>, RemoteError> {
        let mut all = Vec::new();
        for (of, messages) in messages.iter().enumerate() {
            all.push(alone(self.fetch_from(of, messages, sink).await)?);
        }
        Ok(all)
    }

    async fn append(&mut self, parcels: Vec<(MailboxName, Vec<Append>)>) -> Result<Vec<Vec<Appended>>, RemoteError> {
        let mut all = Vec::new();
        for (mailbox, messages) in parcels {
            let mut answers = Vec::new();
            let together = messages.iter().filter(|message| !message.alone).count() > 1;
            for message in messages {
                answers.push(match self.append_one(&mailbox, message).await? {
                    Appended::Refused(_) if together => Appended::RefusedTogether,
                    answer => answer,
                });
            }
            all.push(answers);
        }
        Ok(all)
    }

    async fn store_flags(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        changes: &[(FlagDelta, UidSet)],
    ) -> Result<StoredFlags, RemoteError> {
        let deed = |world: &mut World| {
            world.writable(mailbox)?;
            let refusal = world.mishaps.stores.then(|| "never".to_owned());
            let mut now = BTreeMap::new();
            for (delta, uids) in changes {
                for uid in uids.iter() {
                    let permanent = &world.server.select(mailbox, validity)?.permanent;
                    if permanent.storable(&delta.add) != delta.add {
                        world.complain(format!("STORE in {mailbox} of flags it can't store: {}", delta.add));
                    }
                    if refusal.is_none() {
                        let add = delta.add.difference(&world.mishaps.drops);
                        world.server.store(mailbox, uid, &FlagDelta { add, remove: delta.remove.clone() });
                    }
                    let messages = &world.server.select(mailbox, validity)?.messages;
                    now.extend(messages.get(&uid).map(|message| (uid, message.flags.clone())));
                }
            }
            Ok(StoredFlags { now, refusal })
        };
        self.ask(|| format!("store_flags {mailbox} {changes:?}"), deed).await
    }

    async fn copy(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        uids: &UidSet,
        target: &MailboxName,
    ) -> Result<Transfer, RemoteError> {
        let deed = |world: &mut World| {
            world.transferable(target)?;
            world.server.copy(mailbox, validity, uids, target)
        };
        self.ask(|| format!("copy {mailbox} {uids} to {target}"), deed).await
    }

    async fn move_to(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        uids: &UidSet,
        target: &MailboxName,
    ) -> Result<Transfer, RemoteError> {
        let deed = |world: &mut World| {
            if !world.server.abilities.moves {
                world.complain("MOVE where there is none".to_owned());
            }
            world.writable(mailbox)?;
            world.transferable(target)?;
            let moved = world.server.copy(mailbox, validity, uids, target)?;
            let source = world.server.select(mailbox, validity)?;
            uids.iter().for_each(|uid| source.expunge(uid));
            Ok(moved)
        };
        self.ask(|| format!("move {mailbox} {uids} to {target}"), deed).await
    }

    async fn expunge(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        uids: &UidSet,
    ) -> Result<Expunged, RemoteError> {
        let deed = |world: &mut World| {
            world.writable(mailbox)?;
            let alone = world.server.abilities.uid_plus;
            let delta = FlagDelta { add: FlagSet::of(&[mailtide::model::Flag::Deleted]), remove: FlagSet::new() };
            let source = world.server.select(mailbox, validity)?;
            uids.iter().for_each(|uid| source.store(uid, &delta));
            if !alone && !source.flagged_deleted().difference(uids).is_empty() {
                return Ok(Expunged::Flagged);
            }
            uids.iter().for_each(|uid| source.expunge(uid));
            Ok(Expunged::Done)
        };
        self.ask(|| format!("expunge {mailbox} {uids}"), deed).await
    }

    async fn create(&mut self, mailbox: &MailboxName, role: Option<Role>) -> Result<(), RemoteError> {
        let deed = |world: &mut World| {
            if world.mishaps.creates {
                return Err(refuse(RemoteErrorKind::Refused, "NO never"));
            }
            world.server.create(mailbox, role);
            Ok(())
        };
        self.ask(|| format!("create {mailbox} {role:?}"), deed).await
    }

    async fn delete(&mut self, mailbox: &MailboxName) -> Result<bool, RemoteError> {
        let deed = |world: &mut World| Ok(world.server.delete_empty(mailbox));
        self.ask(|| format!("delete {mailbox}"), deed).await
    }

    async fn rename(
        &mut self,
        from: &MailboxName,
        to: &MailboxName,
        _subscribed: &[MailboxName],
    ) -> Result<(), RemoteError> {
        let deed = |world: &mut World| {
            if world.mishaps.renames {
                return Err(refuse(RemoteErrorKind::Refused, "NO never"));
            }
            if from.is_inbox() {
                world.complain(format!("RENAME of the inbox to {to}, which would only move its messages"));
            }
            if !world.server.mailboxes.contains_key(from) {
                return Err(refuse(RemoteErrorKind::NoSuchMailbox, "NO [NONEXISTENT] no such mailbox"));
            }
            match world.server.rename(from, to) {
                true => Ok(()),
                false => Err(refuse(RemoteErrorKind::Refused, "NO [ALREADYEXISTS] there is one")),
            }
        };
        self.ask(|| format!("rename {from} to {to}"), deed).await
    }

    async fn linger(&mut self) -> Result<(), RemoteError> {
        Ok(())
    }

    fn traffic(&self) -> Traffic {
        Traffic::default()
    }
}

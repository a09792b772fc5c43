//! The way to the server: [`RemoteStore`] with faults.

use std::collections::BTreeMap;
use std::future::pending;

use mailtide::apply::is_fatal;
use mailtide::model::{Flag, FlagDelta, FlagSet, MailboxName, Quota, Role, Uid, UidSet, UidValidity, Watermark};
use mailtide::reconcile::snapshot::{Abilities, RemoteListing, RemoteRequest, RemoteSnapshot};
use mailtide::store::{
    Append, Appended, BodySink, Expunged, FetchedMessage, FlagChanges, Identities, Lane, Messages, Observed,
    RemoteError, RemoteErrorKind, RemoteStore, StoredFlags, Traffic, Transfer, Uploads, expunge_one_by_one,
    move_one_by_one, store_one_by_one,
};

use super::mail;
use super::rng::Rng;
use super::schedule::{Heard, Schedule};
use super::server::{Message, Server, refuse};
use super::world::{Shared, Verdict, World};

/// What NO may mean to the engine where nothing is said of a mailbox: BAD means no more anywhere.
const PLAIN: &[RemoteErrorKind] = &[RemoteErrorKind::Refused, RemoteErrorKind::Busy];
/// Where a mailbox is named that is opened or written to.
const NAMED: &[RemoteErrorKind] = &[RemoteErrorKind::Refused, RemoteErrorKind::Busy, RemoteErrorKind::NoSuchMailbox];
/// Where something is to be stored in it.
const STORED: &[RemoteErrorKind] =
    &[RemoteErrorKind::Refused, RemoteErrorKind::Busy, RemoteErrorKind::NoSuchMailbox, RemoteErrorKind::TooLarge];

impl World {
    /// Passes a call on its way to the server, does it, and passes the answer on its way back. What NO may mean before
    /// that is not what it may mean after it: nothing, where who says NO has not done it.
    fn pass<T>(
        &mut self,
        (before, after): (&[RemoteErrorKind], &[RemoteErrorKind]),
        call: impl FnOnce() -> String,
        deed: impl FnOnce(&mut World) -> T,
    ) -> Result<T, Option<RemoteError>> {
        if self.cut && !self.is_dead() {
            return Err(Some(lost()));
        }
        self.asked += 1;
        (self.then, self.listed) = (None, None);
        let verdict = self.before(call);
        self.obey(verdict, before, false)?;
        let done = deed(self);
        let verdict = self.after();
        self.obey(verdict, after, true).map(|()| done)
    }

    fn obey(&mut self, verdict: Verdict, kinds: &[RemoteErrorKind], after: bool) -> Result<(), Option<RemoteError>> {
        match verdict {
            Verdict::Go if !self.is_refused(after) => Ok(()),
            Verdict::Dead => Err(None),
            Verdict::Go | Verdict::Fail => {
                let heard = self.what_is_heard(kinds);
                let error = self.hear(heard);
                self.say(|| format!("   heard: {error}"));
                Err(Some(error))
            }
        }
    }

    /// By chances of its own, so that leaving it out changes nothing else. Of a call that has done its work and can't
    /// be said not to have, nothing is heard.
    fn what_is_heard(&self, kinds: &[RemoteErrorKind]) -> Heard {
        let mut rng = Rng::new(!self.rng.state());
        let heard = match (self.schedule, rng.below(4)) {
            (Schedule::Refuse(at), _) => at.heard,
            (_, 0) => rng.pick(kinds).map_or(Heard::Nothing, Heard::No),
            (_, 1) => Heard::Bad(rng.pick(PLAIN).unwrap()),
            (_, 2) => Heard::Bye,
            _ => Heard::Nothing,
        };
        if matches!(heard, Heard::No(_) | Heard::Bad(_)) && kinds.is_empty() { Heard::Nothing } else { heard }
    }

    fn hear(&mut self, heard: Heard) -> RemoteError {
        self.cut = matches!(heard, Heard::Bye | Heard::Nothing);
        let told = &mut self.tally.told;
        match heard {
            Heard::No(kind) => {
                told.no += 1;
                refusal("NO", kind)
            }
            Heard::Bad(kind) => {
                told.bad += 1;
                refusal("BAD", kind)
            }
            Heard::Bye => {
                told.bye += 1;
                refuse(RemoteErrorKind::Unreachable, BYE)
            }
            Heard::Nothing => lost(),
        }
    }
}

const BYE: &str = "BYE the server goes down";

fn lost() -> RemoteError {
    refuse(RemoteErrorKind::Unreachable, "connection lost")
}

fn refusal(condition: &str, kind: RemoteErrorKind) -> RemoteError {
    let code = match kind {
        RemoteErrorKind::Busy => " [UNAVAILABLE]",
        RemoteErrorKind::NoSuchMailbox => " [TRYCREATE]",
        RemoteErrorKind::TooLarge => " [OVERQUOTA]",
        _ => "",
    };
    refuse(kind, &format!("{condition}{code} not now"))
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
    /// What was announced is looked at right behind what has just been changed.
    fn look_ahead(&mut self) {
        let looks = std::mem::take(&mut self.announced);
        if self.server.abilities.mod_seq && !looks.is_empty() {
            self.then = Some((looks, self.server.clone()));
        }
    }

    /// Returns the server as these looks saw it, if they were sent before they were asked for.
    fn seen_ahead(&mut self, requests: &[RemoteRequest]) -> Option<Server> {
        self.announced.clear();
        let (looks, then) = self.then.take()?;
        let asked = requests.iter().map(|request| Some((request.mailbox.clone(), request.since?)));
        (asked.collect::<Option<Vec<_>>>()? == looks).then_some(then)
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
    fn copy(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        uids: &UidSet,
        target: &MailboxName,
    ) -> Result<Transfer, RemoteError> {
        self.server.copy(mailbox, validity, uids, (target, self.mishaps.merges))
    }

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
        kinds: &[RemoteErrorKind],
        call: impl FnOnce() -> String,
        deed: impl FnOnce(&mut World) -> Result<T, RemoteError>,
    ) -> Result<T, RemoteError> {
        let outcome = self.world().pass((kinds, kinds), call, deed);
        match outcome {
            Ok(done) => done,
            Err(stop) => end(stop).await,
        }
    }

    /// Where APPEND is refused, nothing was appended (RFC 9051 section 6.3.12).
    async fn ask_to_append<T>(
        &self,
        call: impl FnOnce() -> String,
        deed: impl FnOnce(&mut World) -> Result<T, RemoteError>,
    ) -> Result<T, RemoteError> {
        let outcome = self.world().pass((STORED, &[]), call, deed);
        match outcome {
            Ok(done) => done,
            Err(stop) => end(stop).await,
        }
    }

    async fn dawdle(&self) {
        let turns = self.world().mishaps.dawdles;
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }

    /// Looks at one mailbox. In a blur its watermark is older than what is seen, or the answer full where it need not
    /// be.
    async fn look(&self, request: &RemoteRequest, then: &mut Option<Server>) -> Result<Observed, RemoteError> {
        let mailbox = request.mailbox.clone();
        let seen = self.ask(
            PLAIN,
            || format!("observe {mailbox} since {:?}", request.since),
            |world| {
                if world.mishaps.unlooked.as_ref() == Some(&request.mailbox) {
                    return Ok(Err(refuse(RemoteErrorKind::Busy, "NO [INUSE] later")));
                }
                let now = then.as_mut().unwrap_or(&mut world.server);
                let mut watermark = match now.watermark(&request.mailbox) {
                    Ok(watermark) => watermark,
                    Err(error) => return Ok(Err(error)),
                };
                if then.is_none() && world.is_blurred() {
                    super::users::edit(world);
                    // As long as a mailbox is selected its UIDs mean what they meant: it was selected after that.
                    match world.server.watermark(&request.mailbox) {
                        Ok(now) if now.uid_validity != watermark.uid_validity => watermark = now,
                        Ok(_) | Err(_) => {}
                    }
                }
                let deltas = !world.is_blurred();
                let read_only = world.mishaps.read_only.contains(&request.mailbox);
                let now = then.as_mut().unwrap_or(&mut world.server);
                let snapshot = now.observe(request, watermark, deltas);
                Ok(snapshot.map(|snapshot| RemoteSnapshot { read_only, ..snapshot }))
            },
        );
        let outcome = match seen.await {
            Err(error) if is_fatal(&error) => return Err(error),
            Err(error) => Err(error),
            Ok(outcome) => outcome,
        };
        Ok(Observed { mailbox, outcome })
    }

    /// Appends a lane's next part, and passes on what came of the one before it; returns false if there is no more.
    async fn append_next(
        &self,
        uploads: &mut dyn Uploads,
        lane: Lane,
        unanswered: &mut Option<Vec<Vec<Appended>>>,
    ) -> Result<bool, RemoteError> {
        let parcels = uploads.next(lane)?;
        let over = parcels.is_empty();
        let answers = if over { None } else { Some(self.append_part(parcels).await?) };
        if let Some(answers) = std::mem::replace(unanswered, answers) {
            uploads.answered(lane, answers)?;
        }
        Ok(!over)
    }

    async fn append_part(&self, parcels: Vec<(MailboxName, Vec<Append>)>) -> Result<Vec<Vec<Appended>>, RemoteError> {
        let (mut all, mut left) = (Vec::new(), parcels.iter().map(|(_, messages)| messages.len()).sum::<usize>());
        for (mailbox, messages) in parcels {
            let mut answers = Vec::new();
            let together = messages.iter().filter(|message| !message.alone).count() > 1;
            for message in messages {
                left -= 1;
                answers.push(match self.append_one(&mailbox, message, left == 0).await? {
                    Appended::Refused(error) if together && !is_fatal(&error) => Appended::RefusedTogether,
                    answer => answer,
                });
            }
            all.push(answers);
        }
        Ok(all)
    }

    /// `last`: nothing is waited for behind it, so that the connection may end with its answer.
    async fn append_one(&self, mailbox: &MailboxName, message: Append, last: bool) -> Result<Appended, RemoteError> {
        let bytes = read_all(message.body)?;
        let deed = |world: &mut World| {
            if world.mishaps.appends {
                return Err(refuse(RemoteErrorKind::TooLarge, "NO [TOOBIG] this message is too large"));
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
        match self.ask_to_append(|| format!("append {} to {mailbox}", mail::id_of(&bytes)), deed).await {
            Err(error) if !is_fatal(&error) || (last && error.to_string() == BYE) => Ok(Appended::Refused(error)),
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
        let mut refused = None;
        for uid in uids.iter() {
            let deed = |world: &mut World| Ok(world.server.select(mailbox, *validity)?.messages.get(&uid).cloned());
            match self.ask(NAMED, || format!("fetch {mailbox} {uid}"), deed).await {
                Ok(Some(message)) => {
                    *self.world().carried.entry(mail::id_of(&message.bytes)).or_default() += 1;
                    pass_on(sink, of, uid, &message)?;
                }
                Ok(None) => {}
                Err(error) if !is_fatal(&error) => refused = refused.or(Some(error)),
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
        refused.map_or(Ok(()), Err)
    }

    /// Changes flags, and returns what they are then.
    async fn store(
        &self,
        Messages { mailbox, validity, uids }: &Messages,
        delta: &FlagDelta,
    ) -> Result<BTreeMap<Uid, FlagSet>, RemoteError> {
        let deed = |world: &mut World| {
            if world.mishaps.stores {
                return Err(refuse(RemoteErrorKind::Refused, "NO never"));
            }
            let permanent = &world.server.select(mailbox, *validity)?.permanent;
            if permanent.storable(&delta.add) != delta.add {
                world.complain(format!("STORE in {mailbox} of flags it can't store: {}", delta.add));
            }
            let add = delta.add.difference(&world.mishaps.drops);
            let delta = FlagDelta { add, remove: delta.remove.clone() };
            uids.iter().for_each(|uid| world.server.store(mailbox, uid, &delta));
            world.flags_of(mailbox, *validity, uids)
        };
        self.ask(STORED, || format!("store {mailbox} {uids} +{} -{}", delta.add, delta.remove), deed).await
    }

    /// Copies or moves, with a command for every few messages: each may be refused alone.
    async fn transfer(
        &self,
        verb: &str,
        Messages { mailbox, validity, uids }: &Messages,
        target: &MailboxName,
        deed: impl Fn(&mut World, &UidSet) -> Result<Transfer, RemoteError>,
    ) -> Result<Transfer, RemoteError> {
        let (mut told, mut refused) = (Vec::new(), None);
        for part in uids.chunks(IN_ONE_COMMAND, usize::MAX) {
            let deed = |world: &mut World| {
                world.transferable(target)?;
                world.server.select(mailbox, *validity)?;
                deed(world, &part)
            };
            match self.ask(STORED, || format!("{verb} {mailbox} {part} to {target}"), deed).await {
                Ok(transfer) => told.push(transfer),
                Err(error) if is_fatal(&error) => return Err(error),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        refused.map_or(Ok(in_all(told)), Err)
    }

    async fn flag_deleted(&self, Messages { mailbox, validity, uids }: &Messages) -> Result<(), RemoteError> {
        let deed = |world: &mut World| {
            world.writable(mailbox)?;
            world.server.select(mailbox, *validity)?;
            let delta = FlagDelta { add: FlagSet::of(&[Flag::Deleted]), remove: FlagSet::new() };
            uids.iter().for_each(|uid| world.server.store(mailbox, uid, &delta));
            Ok(())
        };
        self.ask(NAMED, || format!("expunge {mailbox} {uids}"), deed).await
    }

    /// Expunges from one of many mailboxes, if it is flagged there. An error concerns the whole account.
    async fn expunge_next(
        &self,
        messages: &[Messages],
        answers: &mut [Result<Expunged, RemoteError>],
        at: usize,
    ) -> Result<(), RemoteError> {
        if answers[at].is_ok() {
            answers[at] = match self.expunge_flagged(&messages[at]).await {
                Err(error) if is_fatal(&error) => return Err(error),
                answer => answer,
            };
        }
        Ok(())
    }

    async fn expunge_flagged(&self, Messages { mailbox, validity, uids }: &Messages) -> Result<Expunged, RemoteError> {
        let deed = |world: &mut World| {
            let alone = world.server.abilities.uid_plus;
            let source = world.server.select(mailbox, *validity)?;
            let flagged = source.flagged_deleted();
            if !alone && !flagged.difference(uids).is_empty() {
                return Ok(Expunged::Flagged);
            }
            flagged.intersection(uids).iter().for_each(|uid| source.expunge(uid));
            Ok(Expunged::Done)
        };
        self.ask(NAMED, || format!("expunge flagged {mailbox} {uids}"), deed).await
    }
}

/// How many messages one COPY or MOVE names at most: few, so that there are several.
const IN_ONE_COMMAND: u32 = 2;

/// Returns what several commands did.
fn in_all(told: Vec<Transfer>) -> Transfer {
    let Some(Transfer::Proven(validity, _)) = told.first() else { return Transfer::Unproven };
    let (validity, mut all) = (*validity, Vec::new());
    for transfer in told {
        match transfer {
            Transfer::Proven(now, pairs) if now == validity => all.extend(pairs),
            Transfer::Proven(..) | Transfer::Unproven => return Transfer::Unproven,
        }
    }
    Transfer::Proven(validity, all)
}

/// Of a burst that the end of the connection cut short no answer is known.
fn in_one_burst<T>(mut answers: Vec<Result<T, RemoteError>>) -> Vec<Result<T, RemoteError>> {
    match answers.pop_if(|last| last.as_ref().is_err_and(is_fatal)) {
        Some(lost) => vec![lost],
        None => answers,
    }
}

impl World {
    fn flags_of(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        uids: &UidSet,
    ) -> Result<BTreeMap<Uid, FlagSet>, RemoteError> {
        let messages = &self.server.select(mailbox, validity)?.messages;
        Ok(uids.iter().filter_map(|uid| Some((uid, messages.get(&uid)?.flags.clone()))).collect())
    }
}

impl RemoteStore for Shared {
    async fn list(&mut self) -> Result<RemoteListing, RemoteError> {
        let ahead = self.world().listed.take();
        let listing = |world: &mut World| {
            let mut listing = ahead.as_ref().unwrap_or(&world.server).list();
            if std::mem::take(&mut world.asks_quota) {
                world.quota = Some(world.server.usage());
            }
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
        self.ask(PLAIN, || "list".to_owned(), listing).await
    }

    async fn observe(&mut self, requests: &[RemoteRequest]) -> Result<Vec<Observed>, RemoteError> {
        self.dawdle().await;
        let (mut all, mut then) = (Vec::new(), self.world().seen_ahead(requests));
        for request in requests {
            all.push(self.look(request, &mut then).await?);
        }
        let world = &mut *self.world();
        world.listed = std::mem::take(&mut world.lists_next).then(|| world.server.clone());
        Ok(all)
    }

    fn about_to_look(&mut self, looks: Vec<(MailboxName, Watermark)>) {
        self.world().announced = looks;
    }

    fn about_to_list(&mut self) {
        self.world().lists_next = true;
    }

    fn ask_quota(&mut self) {
        self.world().asks_quota = true;
    }

    fn quota(&self) -> Option<Quota> {
        self.world().quota
    }

    async fn identify_all(
        &mut self,
        messages: &[Messages],
        whole: bool,
    ) -> Result<Vec<Result<Identities, RemoteError>>, RemoteError> {
        let mut all = Vec::new();
        for Messages { mailbox, validity, uids } in messages {
            let deed = |world: &mut World| {
                if world.mishaps.headless.as_ref() == Some(mailbox) {
                    return Err(RemoteError::new(RemoteErrorKind::Busy, "not now"));
                }
                let messages = &world.server.select(mailbox, *validity)?.messages;
                let found = messages.iter().filter(|(uid, _)| uids.contains(**uid));
                let told =
                    |(uid, message): (&Uid, &Message)| (*uid, mail::identity(&message.bytes, message.date, whole));
                let found: Identities = found.map(told).collect();
                world.identified += found.len();
                Ok(found)
            };
            let answer = self.ask(NAMED, || format!("identify {mailbox} {uids} whole {whole}"), deed).await;
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

    const PART: usize = 3;

    async fn append(&mut self, uploads: &mut dyn Uploads) -> Result<(), RemoteError> {
        let mut open = vec![(Lane::First, None)];
        open.extend(uploads.is_large().then_some((Lane::Second, None)));
        let (mut done, mut looked) = (Ok(()), false);
        while !open.is_empty() {
            let at = if open.len() > 1 { self.world().rng.below(2) } else { 0 };
            let (lane, unanswered) = &mut open[at];
            match self.append_next(uploads, *lane, unanswered).await {
                Ok(true) if looked => self.world().complain("something is sent behind the look".to_owned()),
                Ok(true) => {}
                Ok(false) => {
                    let (lane, _) = open.remove(at);
                    looked |= lane == Lane::First && uploads.is_over(Lane::First);
                    if looked && open.iter().any(|(_, unanswered)| unanswered.is_some()) {
                        self.world().complain("the look does not see what is out".to_owned());
                    }
                }
                // The other lane goes on.
                Err(error) => {
                    done = done.and(Err(error));
                    open.remove(at);
                }
            }
        }
        if looked {
            self.world().look_ahead();
        }
        done
    }

    async fn store_flags(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        changes: &[(FlagDelta, UidSet)],
    ) -> Result<StoredFlags, RemoteError> {
        let select = |world: &mut World| {
            world.writable(mailbox)?;
            world.server.select(mailbox, validity).map(drop)
        };
        self.ask(NAMED, || format!("store_flags {mailbox} {changes:?}"), select).await?;
        let (mut now, mut refusal) = (BTreeMap::new(), None);
        for (delta, uids) in changes {
            let messages = Messages { mailbox: mailbox.clone(), validity, uids: uids.clone() };
            match self.store(&messages, delta).await {
                Ok(told) => now.extend(told),
                Err(error) if error.kind == RemoteErrorKind::Refused => refusal = Some(error.to_string()),
                Err(error) => return Err(error),
            }
        }
        if refusal.is_some() {
            let mut all = UidSet::new();
            changes.iter().for_each(|(_, uids)| all.union_with(uids));
            let look = |world: &mut World| world.flags_of(mailbox, validity, &all);
            now = self.ask(NAMED, || format!("flags of {mailbox} {all}"), look).await?;
        }
        Ok(StoredFlags { now, refusal })
    }

    async fn store_all(&mut self, all: &[FlagChanges]) -> Vec<Result<StoredFlags, RemoteError>> {
        let Abilities { mod_seq, uid_plus, .. } = self.world().server.abilities;
        let stored = store_one_by_one(self, all).await;
        self.world().look_ahead();
        if mod_seq && uid_plus { in_one_burst(stored) } else { stored }
    }

    async fn copy(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        uids: &UidSet,
        target: &MailboxName,
    ) -> Result<Transfer, RemoteError> {
        let messages = Messages { mailbox: mailbox.clone(), validity, uids: uids.clone() };
        let deed = |world: &mut World, part: &UidSet| world.copy(mailbox, validity, part, target);
        self.transfer("copy", &messages, target, deed).await
    }

    async fn move_to(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        uids: &UidSet,
        target: &MailboxName,
    ) -> Result<Transfer, RemoteError> {
        let messages = Messages { mailbox: mailbox.clone(), validity, uids: uids.clone() };
        let deed = |world: &mut World, part: &UidSet| {
            if !world.server.abilities.moves {
                world.complain("MOVE where there is none".to_owned());
            }
            world.writable(mailbox)?;
            let moved = world.copy(mailbox, validity, part, target)?;
            let source = world.server.select(mailbox, validity)?;
            part.iter().for_each(|uid| source.expunge(uid));
            Ok(moved)
        };
        self.transfer("move", &messages, target, deed).await
    }

    async fn move_all(&mut self, moves: &[(Messages, MailboxName)]) -> Vec<Result<Transfer, RemoteError>> {
        let Abilities { moves: able, uid_plus, .. } = self.world().server.abilities;
        let moved = move_one_by_one(self, moves).await;
        self.world().look_ahead();
        if able && uid_plus { in_one_burst(moved) } else { moved }
    }

    async fn expunge(
        &mut self,
        mailbox: &MailboxName,
        validity: UidValidity,
        uids: &UidSet,
    ) -> Result<Expunged, RemoteError> {
        let messages = Messages { mailbox: mailbox.clone(), validity, uids: uids.clone() };
        self.flag_deleted(&messages).await?;
        let expunged = self.expunge_flagged(&messages).await;
        self.world().look_ahead();
        expunged
    }

    /// All are flagged first. What is flagged in one mailbox may be expunged before the others are dealt with.
    async fn expunge_all(&mut self, messages: &[Messages]) -> Vec<Result<Expunged, RemoteError>> {
        let Abilities { mod_seq, uid_plus, deleted_is_final, .. } = self.world().server.abilities;
        if !(mod_seq && uid_plus) || deleted_is_final {
            return expunge_one_by_one(self, messages).await;
        }
        let (mut expunged, mut at_once) = (Vec::new(), 0);
        for one in messages {
            match self.flag_deleted(one).await {
                Err(error) if is_fatal(&error) => return vec![Err(error)],
                flagged => expunged.push(flagged.map(|()| Expunged::Flagged)),
            }
            if at_once + 1 < expunged.len() && self.world().rng.chance(300) {
                if let Err(error) = self.expunge_next(messages, &mut expunged, at_once).await {
                    return vec![Err(error)];
                }
                at_once += 1;
            }
        }
        // Other things are done here meanwhile.
        self.dawdle().await;
        for at in at_once..messages.len() {
            if let Err(error) = self.expunge_next(messages, &mut expunged, at).await {
                return vec![Err(error)];
            }
        }
        self.world().look_ahead();
        expunged
    }

    async fn create(&mut self, mailbox: &MailboxName, role: Option<Role>) -> Result<(), RemoteError> {
        let deed = |world: &mut World| {
            if world.mishaps.creates {
                return Err(refuse(RemoteErrorKind::Refused, "NO never"));
            }
            world.server.create(mailbox, role);
            Ok(())
        };
        match self.ask(STORED, || format!("create {mailbox} {role:?}"), deed).await {
            Err(error) if !is_fatal(&error) => {
                let look = |world: &mut World| Ok(world.server.open(mailbox).is_ok());
                let is_there = alone(self.ask(PLAIN, || format!("list {mailbox}"), look).await)?;
                if is_there.unwrap_or_default() { Ok(()) } else { Err(error) }
            }
            created => created,
        }
    }

    async fn delete(&mut self, mailbox: &MailboxName) -> Result<bool, RemoteError> {
        let deed = |world: &mut World| Ok(world.server.delete_empty(mailbox));
        self.ask(PLAIN, || format!("delete {mailbox}"), deed).await
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
        self.ask(NAMED, || format!("rename {from} to {to}"), deed).await
    }

    async fn linger(&mut self) -> Result<(), RemoteError> {
        Ok(())
    }

    fn traffic(&self) -> Traffic {
        Traffic::default()
    }
}

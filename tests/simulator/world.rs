//! Everything there is: both sides, the database, the users, and the gate that every call of the engine passes.

use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use mailtide::cycle::restore::{Restoration, bring_back};
use mailtide::cycle::{self, Account, Compared, Outcome};
use mailtide::model::{FlagSet, MailboxName, Quota, Stamp, Timestamp, UniqueName, Watermark};
use mailtide::reconcile::policy::{KeepDeleted, Options, Policy};
use mailtide::store::{LocalError, LocalErrorKind, Staged, Trashed};

use super::book::Book;
use super::ledger::Ledger;
use super::maildir::Maildir;
use super::rng::Rng;
use super::scenarios::Act;
use super::schedule::{Chances, CrashAt, Schedule, Tally};
use super::server::{Mailbox, Server};
use super::users::{self, Habits};

/// What the gate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Go,
    /// The run is dead: nothing it does has any effect any more.
    Dead,
    Fail,
}

/// What goes wrong every time.
#[derive(Debug, Default)]
pub(super) struct Mishaps {
    /// How often the engine gets to do something else before the server looks at mailboxes.
    pub(super) dawdles: usize,
    /// The server refuses every STORE.
    pub(super) stores: bool,
    /// The server refuses every APPEND.
    pub(super) appends: bool,
    /// The server keeps equal messages of a mailbox once, and answers APPEND, COPY and MOVE with the UID of the one it has.
    pub(super) merges: bool,
    /// The server refuses every COPY and MOVE.
    pub(super) transfers: bool,
    /// No maildir's keyword file can be read or written.
    pub(super) letters: bool,
    /// This file can't be renamed.
    pub(super) stuck: Option<UniqueName>,
    /// What the server drops without a word when it is to store it.
    pub(super) drops: FlagSet,
    /// Mailboxes in which nothing can be changed by IMAP.
    pub(super) read_only: BTreeSet<MailboxName>,
    /// The server refuses every CREATE.
    pub(super) creates: bool,
    /// The server refuses every RENAME.
    pub(super) renames: bool,
    /// This maildir can't be read.
    pub(super) unreadable: Option<MailboxName>,
    /// This file can't be read.
    pub(super) closed: Option<UniqueName>,
    /// This maildir keeps changing while it is read, and none of its files is seen.
    pub(super) restless: Option<MailboxName>,
    /// This mailbox can't be looked at.
    pub(super) unlooked: Option<MailboxName>,
    /// No header of this mailbox can be fetched.
    pub(super) headless: Option<MailboxName>,
    /// This mailbox gets another UIDVALIDITY when a message is sent to it.
    pub(super) renumbers: Option<MailboxName>,
    /// This mailbox is missing from the list.
    pub(super) unlisted: Option<MailboxName>,
    /// The file system takes no name of more bytes, as one that encrypts them may.
    pub(super) longest: Option<usize>,
    /// The file system takes two names that differ by case only for the same.
    pub(super) folds_case: bool,
}

impl Mishaps {
    /// Fails if the name of a folder or of a file is too long.
    pub(super) fn take_name(&self, name: &str) -> Result<(), LocalError> {
        let is_too_long = |part: &str| self.longest.is_some_and(|longest| part.len() > longest);
        match name.split('/').any(is_too_long) {
            true => Err(LocalError { kind: LocalErrorKind::Item, cause: "File name too long".into() }),
            false => Ok(()),
        }
    }
}

impl World {
    /// Fails if no maildir can have the name: too long, or another has it for this file system.
    pub(super) fn take_folder_name(&self, name: &MailboxName, from: Option<&MailboxName>) -> Result<(), LocalError> {
        self.mishaps.take_name(name.as_str())?;
        let is_taken = |other: &MailboxName| {
            other != name && Some(other) != from && other.as_str().eq_ignore_ascii_case(name.as_str())
        };
        match self.mishaps.folds_case && self.maildir.folders.keys().any(is_taken) {
            true => Err(LocalError { kind: LocalErrorKind::Item, cause: "another folder has this directory".into() }),
            false => Ok(()),
        }
    }
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) server: Server,
    pub(super) maildir: Maildir,
    pub(super) book: Book,
    pub(super) ledger: Ledger,
    pub(super) policy: Policy,
    pub(super) now: Timestamp,
    pub(super) rng: Rng,
    pub(super) habits: Habits,
    pub(super) schedule: Schedule,
    pub(super) mishaps: Mishaps,
    /// What others do once, just before the first call that begins so.
    pub(super) meanwhile: Option<(&'static str, Act)>,
    /// A mailbox as it was some time ago.
    pub(super) backup: Option<(MailboxName, Mailbox)>,
    /// How many calls the present run has made.
    pub(super) step: u64,
    /// How many of them went to the server.
    pub(super) asked: u64,
    /// The connection is lost: every further call of this run fails.
    pub(super) cut: bool,
    dead: Option<CrashAt>,
    /// The message being staged: it is lost with the process.
    pub(super) staging: Option<(MailboxName, Vec<u8>)>,
    /// Messages written since the last `seal`,
    pub(super) staged: Vec<(MailboxName, Staged)>,
    /// and those of each batch that is not waited for yet.
    pub(super) sealed: VecDeque<Vec<(MailboxName, Staged)>>,
    /// The maildirs as last listed or scanned.
    pub(super) seen: BTreeMap<MailboxName, Stamp>,
    /// A run died, or a call failed.
    pub(super) struck: bool,
    pub(super) chances: Chances,
    pub(super) tally: Tally,
    /// How often each message's body travelled.
    pub(super) carried: BTreeMap<u32, usize>,
    /// How many headers and bodies were looked at on the server to tell messages apart.
    pub(super) identified: usize,
    /// What the engine did that it must never do.
    pub(super) complaints: Vec<String>,
    /// What happened, if anybody wants to know.
    pub(super) log: Option<Vec<String>>,
    /// The looks that are to come, and the server as it was when they were sent behind the last change.
    pub(super) announced: Vec<(MailboxName, Watermark)>,
    pub(super) then: Option<(Vec<(MailboxName, Watermark)>, Server)>,
    /// A listing is to come, and what it was when it was sent behind the last look.
    pub(super) lists_next: bool,
    pub(super) listed: Option<Server>,
    /// The next listing asks how full the account is, and what was said of that in this run.
    pub(super) asks_quota: bool,
    pub(super) quota: Option<Quota>,
}

/// Both sides and the database as far as anybody can see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Picture {
    server: Server,
    maildir: Maildir,
}

impl World {
    pub(super) fn new(server: Server, policy: Policy, rng: Rng) -> Self {
        World {
            server,
            maildir: Maildir::default(),
            book: Book::default(),
            ledger: Ledger::default(),
            policy,
            now: Timestamp(1_700_000_000),
            rng,
            habits: Habits::default(),
            schedule: Schedule::Calm,
            mishaps: Mishaps::default(),
            meanwhile: None,
            backup: None,
            step: 0,
            asked: 0,
            cut: false,
            dead: None,
            staging: None,
            staged: Vec::new(),
            sealed: VecDeque::new(),
            seen: BTreeMap::new(),
            struck: false,
            chances: Chances::default(),
            tally: Tally::default(),
            carried: BTreeMap::new(),
            identified: 0,
            complaints: Vec::new(),
            log: None,
            announced: Vec::new(),
            then: None,
            lists_next: false,
            listed: None,
            asks_quota: false,
            quota: None,
        }
    }

    pub(super) fn say(&mut self, what: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(what());
        }
    }

    pub(super) fn complain(&mut self, what: String) {
        self.say(|| format!("!! {what}"));
        self.complaints.push(what);
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead.is_some()
    }

    /// Returns true so many times in a thousand, unless that is to be left out.
    fn happens(&mut self, per_mille: u32) -> bool {
        let id = self.rng.state();
        self.rng.chance(per_mille) && self.chances.allow(id)
    }

    /// Does something with chances of its own, so that leaving it out changes nothing else that happens.
    pub(super) fn apart<T>(&mut self, what: impl FnOnce(&mut World) -> T) -> Option<T> {
        let outer = self.begin()?;
        let done = what(self);
        self.rng = outer;
        Some(done)
    }

    /// Begins such a thing, and returns the chances to go on with after it; `None` if it is to be left out.
    pub(super) fn begin(&mut self) -> Option<Rng> {
        let id = self.rng.state();
        let own = Rng::new(self.rng.next());
        self.chances.allow(id).then(|| std::mem::replace(&mut self.rng, own))
    }

    fn strike(&mut self, after: bool, call: &str) -> Verdict {
        let rates = self.schedule.rates();
        let crash = match self.schedule {
            Schedule::Crash(at) => (at.step == self.step && at.after == after).then_some(at),
            Schedule::Random(_) | Schedule::Calm | Schedule::Refuse(_) => {
                let dies = self.happens(rates.crash);
                dies.then(|| CrashAt { step: self.step, after, power: self.rng.chance(500) })
            }
        };
        if let Some(at) = crash {
            self.struck = true;
            self.tally.crashes += 1;
            self.dead = Some(at);
            self.say(|| format!("   crash {} {call}, power cut: {}", if after { "after" } else { "before" }, at.power));
            return Verdict::Dead;
        }
        match self.happens(rates.fail) {
            true => {
                self.struck = true;
                self.tally.failures += 1;
                self.say(|| format!("   failure {} {call}", if after { "after" } else { "before" }));
                Verdict::Fail
            }
            false => Verdict::Go,
        }
    }

    /// Passes a call that is about to do its work.
    pub(super) fn before(&mut self, call: impl FnOnce() -> String) -> Verdict {
        if self.is_dead() {
            return Verdict::Dead;
        }
        self.tally.steps += 1;
        let call = if self.log.is_some() || self.meanwhile.is_some() { call() } else { String::new() };
        if let Some((_, act)) = self.meanwhile.take_if(|(begin, _)| call.starts_with(*begin)) {
            act(self);
        }
        if self.rng.chance(self.schedule.rates().edit) {
            users::edit(self);
        }
        let verdict = self.strike(false, &call);
        if verdict == Verdict::Go {
            let step = self.step;
            self.say(|| format!("   {step} {call}"));
        }
        verdict
    }

    /// Passes a call that has done its work.
    pub(super) fn after(&mut self) -> Verdict {
        let verdict = self.strike(true, "the last call");
        self.step += 1;
        verdict
    }

    pub(super) fn is_refused(&mut self, after: bool) -> bool {
        let refused = match self.schedule {
            Schedule::Refuse(at) => at.call == self.asked && at.after == after,
            Schedule::Random(rates) => self.happens(rates.refuse),
            Schedule::Calm | Schedule::Crash(_) => false,
        };
        self.struck |= refused;
        self.tally.failures += u64::from(refused);
        refused
    }

    pub(super) fn is_blurred(&mut self) -> bool {
        let rate = self.schedule.rates().blur;
        let blurred = self.happens(rate);
        self.tally.blurs += u64::from(blurred);
        blurred
    }

    /// Ends the process: what it held in memory is gone, after a power cut also what it did not sync.
    fn end_run(&mut self) {
        let power = self.dead.take().is_some_and(|at| at.power);
        (self.announced, self.then, self.lists_next, self.listed) = (Vec::new(), None, false, None);
        (self.asks_quota, self.quota) = (false, None);
        if power {
            self.maildir.power_cut(&mut self.rng);
        }
        self.cut = false;
        self.step = 0;
        self.staged.clear();
        self.sealed.clear();
        if let Some((mailbox, bytes)) = self.staging.take() {
            drop(self.maildir.stage(&mailbox, bytes.into(), Timestamp(0)));
        }
    }

    /// Says if a file that is about to leave the Maildir could not be brought back.
    pub(super) fn check_kept(&mut self, unique: &UniqueName) {
        if self.policy.keep_deleted != KeepDeleted::None && !self.maildir.is_kept(unique) {
            self.complain(format!("{unique} unlinked, and not durably in the recoverable trash"));
        }
    }

    pub(super) fn picture(&self) -> Picture {
        let mut maildir = self.maildir.clone();
        maildir.marker = None;
        Picture { server: self.server.clone(), maildir }
    }
}

/// The way to the world for whoever lives in it.
#[derive(Debug, Clone)]
pub(super) struct Shared(Rc<RefCell<World>>);

impl Shared {
    pub(super) fn new(world: World) -> Self {
        Shared(Rc::new(RefCell::new(world)))
    }

    pub(super) fn world(&self) -> RefMut<'_, World> {
        self.0.borrow_mut()
    }

    /// Runs the engine once. Returns `None` if it died.
    pub(super) fn run(&self, schedule: Schedule, options: &Options) -> Option<Outcome> {
        let (policy, now) = {
            let mut world = self.world();
            world.schedule = schedule;
            (world.step, world.asked) = (0, 0);
            (world.policy.clone(), world.now)
        };
        let mut account = Account { remote: self.clone(), local: self.clone(), journal: self.clone() };
        let progress = |_| ();
        let outcome = self.drive(cycle::run(&mut account, &policy, options, now, &progress));
        let mut world = self.world();
        let outcome = outcome.filter(|_| !world.is_dead());
        world.say(|| format!("   = {}", outcome.as_ref().map_or("dead".to_owned(), words)));
        world.end_run();
        world.schedule = Schedule::Calm;
        outcome
    }

    /// Compares both sides and the database, without trouble.
    pub(super) fn compare(&self, repair: bool) -> Compared {
        self.compare_struck(repair, Schedule::Calm).expect("nothing strikes")
    }

    /// Compares both sides and the database. Returns `None` if that died.
    pub(super) fn compare_struck(&self, repair: bool, schedule: Schedule) -> Option<Compared> {
        let (policy, now) = {
            let mut world = self.world();
            world.schedule = schedule;
            world.step = 0;
            (world.policy.clone(), world.now)
        };
        let mut account = Account { remote: self.clone(), local: self.clone(), journal: self.clone() };
        let compared = self.drive(cycle::compare(&mut account, &policy, repair, now));
        let mut world = self.world();
        let compared = compared.filter(|_| !world.is_dead());
        world.end_run();
        world.schedule = Schedule::Calm;
        compared.map(|compared| compared.expect("nothing fails"))
    }

    /// Brings back all that the index of the recoverable trash names. Returns `None` if that died.
    pub(super) fn restore(&self, schedule: Schedule) -> Option<Restoration> {
        let wanted: Vec<Trashed> = {
            let mut world = self.world();
            world.schedule = schedule;
            world.step = 0;
            world.book.kept.iter().map(|(_, row)| row.kept.clone()).collect()
        };
        let done = bring_back(&mut self.clone(), &mut self.clone(), &wanted);
        let mut world = self.world();
        let done = Some(done).filter(|_| !world.is_dead());
        world.say(|| format!("   = restored {done:?}"));
        world.end_run();
        world.schedule = Schedule::Calm;
        done
    }

    /// Polls the run until it is over or dead. Nothing waits for long here, so a future that stays pending is one that died.
    fn drive<T>(&self, run: impl Future<Output = T>) -> Option<T> {
        let mut run = pin!(run);
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..1000 {
            match run.as_mut().poll(&mut context) {
                Poll::Ready(outcome) => return Some(outcome),
                Poll::Pending if self.world().is_dead() => return None,
                Poll::Pending => {}
            }
        }
        panic!("the run waits for nothing");
    }
}

fn words(outcome: &Outcome) -> String {
    let report = &outcome.report;
    let failure = outcome.failure.as_ref().map(ToString::to_string);
    let problems: Vec<_> = report.problems.iter().map(|problem| (problem.code, &problem.message)).collect();
    format!(
        "local {:?}\n     remote {:?}\n     adopted {} held {:?} problems {problems:?} failure {failure:?}",
        report.local, report.remote, report.adopted, report.held
    )
}

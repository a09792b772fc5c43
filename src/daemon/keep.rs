//! Keeps one account in step: syncs it when the schedule says so, and listens meanwhile to the server, by a connection
//! of its own, and to the Maildir.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::backoff::{Backoff, Ended};
use super::ears::Ears;
use super::local::Local;
use super::others;
use super::schedule::{About, Schedule, Why};
use crate::imap::{Change, ImapStore, Reach, Watch};
use crate::maildir::{self, Diary, WatchError};
use crate::model::{MailboxName, ModSeq};
use crate::reconcile::scope::{Pattern, Scope};
use crate::store::{RemoteError, RemoteErrorKind};

/// A connection that lasted this long was no failure.
pub(super) const LASTING: Duration = Duration::from_secs(60);

/// What is to be kept in step, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The Maildir.
    pub maildir: maildir::Settings,
    /// In which syncs note what they do to its files.
    pub diary: Diary,
    /// Which folders take part.
    pub scope: Scope,
    /// Which of the server's folders are acted on at once.
    pub folders: Vec<Pattern>,
    /// How often everything is looked at, whatever was heard.
    pub poll: Duration,
    /// At most so many connections at once.
    pub connections: u8,
    /// How long a server may be silent that owes us something.
    pub patience: Duration,
}

impl Plan {
    /// Returns true if a change in a folder of the server is to be acted on at once. Roles are not known here: a pattern
    /// that needs one counts as met, which costs no more than a sync.
    fn concerns(&self, mailbox: &MailboxName) -> bool {
        let watched = |pattern: &Pattern| matches!(pattern, Pattern::Role(_)) || pattern.matches(mailbox, None);
        self.folders.iter().any(watched) && self.scope.may_take_part(mailbox)
    }

    /// Returns how many connections a sync may make: those that nobody listens with.
    pub fn left_for_syncs(&self) -> u8 {
        let listening = u8::try_from(self.named().len()).unwrap_or(u8::MAX).saturating_add(1);
        self.connections.saturating_sub(listening).max(1)
    }

    /// Returns the folders that get a connection of their own where one tells of one folder only: those named in full, as
    /// far as there are connections left.
    pub(super) fn named(&self) -> Vec<MailboxName> {
        let named = self.folders.iter().filter_map(Pattern::literal);
        let named = named.filter(|name| !name.is_inbox() && self.concerns(name));
        named.take(usize::from(self.connections.saturating_sub(2))).collect()
    }
}

/// What comes from outside while an account is kept in step.
#[derive(Debug, Clone)]
pub struct Orders {
    /// Becomes true when it is to end. A sync that is under way is waited for.
    pub stop: watch::Receiver<bool>,
    /// Changes whenever the machine was suspended: connections are made anew.
    pub resumed: watch::Receiver<u64>,
    /// Changes whenever the machine got an address or a route: a server that could not be reached is tried at once.
    pub online: watch::Receiver<u64>,
}

impl Orders {
    /// Waits for what makes a server worth another try before its time, after an attempt that ended so. A network that
    /// comes and goes helps with nothing but a server out of reach: to be refused each time may lock the account.
    pub(super) async fn hope(&mut self, ended: Ended) {
        tokio::select! {
            () = told(&mut self.resumed) => {}
            () = told(&mut self.online), if ended == Ended::Unreachable => {}
        }
    }
}

/// Something to tell the user.
#[derive(Debug)]
pub enum Told<'a> {
    /// The server is listened to.
    Listening(Reach),
    /// The server is listened to no longer.
    Lost,
    /// The server can't be listened to; it is tried again after this time.
    Deaf(&'a RemoteError, Duration),
    /// The server offers NOTIFY and does not tell everything: from now on only one folder is listened to.
    Untold,
    /// The server offers NOTIFY and can't keep it up: until the next connection breaks only one folder is listened to.
    Unable(&'a RemoteError),
    /// The server told of a change; in this folder, if it said so.
    Server(Option<&'a MailboxName>),
    /// Something changed in the Maildir.
    Local,
    /// Unless something happens before, the next sync is after this time.
    Next(Duration),
    /// The Maildir can't be watched: its changes are found by looking now and then.
    Unwatched(&'a WatchError),
}

/// What a sync brought from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Nothing.
    Nothing,
    /// Changes of flags only.
    Flags,
    /// Messages or folders that came, went or moved.
    More,
}

/// What the loop needs from outside.
pub trait Keeper {
    /// What somebody asks for.
    type Asked;

    /// Syncs once; returns how it ended, and what it brought from the server.
    fn sync(&self, why: Why, about: &About) -> impl Future<Output = (Ended, News)>;

    /// Waits until somebody asks for a sync; returns also what it is to be about.
    fn asked(&self) -> impl Future<Output = (About, Self::Asked)>;

    /// Syncs as somebody asked for, and answers; returns the same as of any sync.
    fn serve(&self, asked: Self::Asked, about: &About) -> impl Future<Output = (Ended, News)>;

    /// Returns true if a sync about some folders spares much, and leaves nothing waiting in others.
    fn is_choosy(&self) -> bool;

    /// Returns true if this state of a mailbox, by its HIGHESTMODSEQ, is the one in which the last sync left it.
    fn knows(&self, mailbox: &MailboxName, now: ModSeq) -> bool;

    /// Connects to the server and logs in. Tells what went wrong itself.
    fn connect(&self) -> impl Future<Output = Result<ImapStore, Ended>>;

    /// Takes note of something.
    fn tell(&self, told: Told<'_>);
}

/// Keeps an account in step until it is told to stop.
pub async fn keep<K: Keeper>(keeper: &K, plan: &Plan, orders: Orders) {
    let ears = Ears::default();
    let listening = Box::pin(listen(keeper, plan, &ears, orders.clone()));
    let others = Box::pin(others::listen(keeper, plan, &ears, orders.clone()));
    let working = Box::pin(work(keeper, plan, &ears, orders));
    tokio::select! {
        () = working => {}
        () = listening => {}
        () = others => {}
    }
}

async fn listen<K: Keeper>(keeper: &K, plan: &Plan, ears: &Ears, mut orders: Orders) {
    let (mut backoff, mut trusted, mut able) = (Backoff::default(), true, true);
    loop {
        let begun = Instant::now();
        let ended = tokio::select! {
            ended = session(keeper, plan, ears, trusted && able) => ended,
            () = ears.distrusted.notified() => {
                ears.reach.send_replace(None);
                // What went deaf may hear again by another connection; what hears nothing there either never will.
                trusted = ears.doubt();
                keeper.tell(if trusted { Told::Lost } else { Told::Untold });
                continue;
            }
            () = told(&mut orders.resumed) => {
                ears.reach.send_replace(None);
                keeper.tell(Told::Lost);
                backoff.forget();
                continue;
            }
        };
        let reach = ears.reach.send_replace(None);
        if begun.elapsed() >= LASTING {
            backoff.forget();
        }
        let ended = match ended {
            Ok(never) => match never {},
            Err(Missed::Connect(ended)) => (ended, None),
            Err(Missed::Listen(error)) => (of_error(&error), Some(error)),
            Err(Missed::Mute) => {
                // Nothing to listen to: the schedule polls.
                told(&mut orders.resumed).await;
                continue;
            }
        };
        // What is too much for a server now need not be the next time.
        able = !(reach == Some(Reach::All) && ended.0 == Ended::Refused);
        if let (false, Some(error)) = (able, &ended.1) {
            keeper.tell(Told::Unable(error));
            continue;
        }
        keeper.tell(Told::Lost);
        let wait = backoff.note(ended.0, chance()).unwrap_or_default();
        if let Some(error) = &ended.1 {
            keeper.tell(Told::Deaf(error, wait));
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = orders.hope(ended.0) => backoff.forget(),
        }
    }
}

/// Waits for a change; where none can come any more, for ever.
pub(super) async fn told(resumed: &mut watch::Receiver<u64>) {
    if resumed.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Why a session of listening ended.
pub(super) enum Missed {
    /// There was no connection, which the keeper has told.
    Connect(Ended),
    /// The connection was lost.
    Listen(RemoteError),
    /// The server can't be listened to.
    Mute,
}

/// Returns what an error of a connection that listens means for the next.
pub(super) fn of_error(error: &RemoteError) -> Ended {
    if let Some(wait) = error.wait {
        return Ended::Asked(wait);
    }
    match error.kind {
        RemoteErrorKind::Unreachable => Ended::Unreachable,
        RemoteErrorKind::Login => Ended::Login,
        RemoteErrorKind::Local => Ended::Machine,
        _ => Ended::Refused,
    }
}

async fn session<K: Keeper>(
    keeper: &K,
    plan: &Plan,
    ears: &Ears,
    all: bool,
) -> Result<std::convert::Infallible, Missed> {
    // A sync needs one, too.
    if plan.connections < 2 {
        keeper.tell(Told::Listening(Reach::Nothing));
        return Err(Missed::Mute);
    }
    let store = keeper.connect().await.map_err(Missed::Connect)?;
    let watch = store.watch(MailboxName::inbox(), all, plan.patience).await.map_err(Missed::Listen)?;
    keeper.tell(Told::Listening(watch.reach()));
    ears.hears_flags.set(watch.hears_flags());
    ears.reach.send_replace(Some(watch.reach()));
    ears.connect();
    hear(watch, plan, ears).await
}

/// Passes on what a connection hears, for as long as it lasts.
pub(super) async fn hear(mut watch: Watch, plan: &Plan, ears: &Ears) -> Result<std::convert::Infallible, Missed> {
    if watch.reach() == Reach::Nothing {
        watch.close().await;
        return Err(Missed::Mute);
    }
    let mut hear = |change: Change| {
        ears.trust();
        match change {
            Change::Mailbox(mailbox, now) if plan.concerns(&mailbox) => ears.hear(Some(mailbox), now),
            Change::Mailbox(..) => {}
            Change::Somewhere => ears.hear(None, None),
        }
    };
    loop {
        watch.listen(&mut hear).await.map_err(Missed::Listen)?;
    }
}

async fn work<K: Keeper>(keeper: &K, plan: &Plan, ears: &Ears, mut orders: Orders) {
    let begun = Instant::now();
    let mut schedule = Schedule::new(plan.poll, Duration::ZERO);
    let mut local = Local::new(plan);
    while !*orders.stop.borrow() {
        if let Some((why, about)) = schedule.begin(begun.elapsed()) {
            let about = Some(about).filter(|_| keeper.is_choosy()).unwrap_or(About::Everything);
            let about = about.or(local.prepare(keeper)).or(ears.take());
            let told_before = ears.told.take();
            let (ended, news) = keeper.sync(why, &about).await;
            let untold = !told_before && ears.is_untold(news);
            schedule.ended((why, &about), ended, untold, begun.elapsed(), chance());
            rest(keeper, &mut schedule, &mut local, begun.elapsed());
            continue;
        }
        if schedule.is_untold(begun.elapsed()) && !ears.told.get() && *ears.reach.borrow() == Some(Reach::All) {
            ears.distrusted.notify_one();
        }
        let sleep = tokio::time::sleep_until(begun + schedule.next());
        tokio::select! {
            biased;
            () = async { drop(orders.stop.wait_for(|stop| *stop).await) } => {}
            (about, asked) = keeper.asked() => {
                // What was heard of other folders is left for the next.
                let about = match about {
                    About::Everything => local.prepare(keeper).or(ears.take()).or(About::Everything),
                    only @ About::Only(_) => only,
                };
                let (ended, _) = keeper.serve(asked, &about).await;
                schedule.ended((Why::Asked, &about), ended, false, begun.elapsed(), chance());
                rest(keeper, &mut schedule, &mut local, begun.elapsed());
            }
            () = told(&mut orders.resumed) => schedule.resumed(begun.elapsed()),
            () = told(&mut orders.online) => schedule.online(begun.elapsed()),
            () = ears.rung.notified() => {
                if ears.connected.take() {
                    schedule.connected(begun.elapsed());
                }
                if let Some(about) = ears.news(keeper) {
                    schedule.server(about, begun.elapsed());
                }
            }
            about = local.changed() => {
                keeper.tell(Told::Local);
                schedule.local(about, begun.elapsed());
            }
            () = sleep => {}
        }
    }
}

/// Tells when the next sync is, now that one is over.
fn rest<K: Keeper>(keeper: &K, schedule: &mut Schedule, local: &mut Local, now: Duration) {
    keeper.tell(Told::Next(schedule.next().saturating_sub(now)));
    if local.is_late(keeper) {
        schedule.local(About::Everything, now);
    }
}

/// Returns a number from 0 to 1 by chance.
pub(super) fn chance() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 32;
    f64::from(u32::try_from(bits).unwrap_or(0)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_network_helps_with_nothing_but_a_server_out_of_reach_and_waking_up_with_all() {
        let (_stopping, stop) = watch::channel(false);
        for (ended, by_network) in
            [(Ended::Unreachable, true), (Ended::Login, false), (Ended::Refused, false), (Ended::Machine, false)]
        {
            let ((waking, resumed), (network, online)) = (watch::channel(0), watch::channel(0));
            let mut orders = Orders { stop: stop.clone(), resumed, online };
            let mut hopes = || orders.hope(ended).now_or_never().is_some();
            assert!(!hopes(), "{ended:?}");
            network.send_replace(1);
            assert_eq!(hopes(), by_network, "{ended:?}");
            waking.send_replace(1);
            assert!(hopes(), "{ended:?}");
        }
    }

    #[test]
    fn a_server_that_says_how_long_to_wait_is_waited_for() {
        let wait = Duration::from_secs(300);
        let error = RemoteError { wait: Some(wait), ..RemoteError::new(RemoteErrorKind::Busy, "x") };
        assert_eq!(of_error(&error), Ended::Asked(wait));
    }

    #[test]
    fn a_server_that_refuses_to_be_listened_to_is_not_taken_for_one_out_of_reach() {
        for (kind, ended) in [
            (RemoteErrorKind::Unreachable, Ended::Unreachable),
            (RemoteErrorKind::Refused, Ended::Refused),
            (RemoteErrorKind::Busy, Ended::Refused),
            (RemoteErrorKind::Local, Ended::Machine),
        ] {
            assert_eq!(of_error(&RemoteError::new(kind, "x")), ended, "{kind:?}");
        }
    }
}

//! When an account is synced. Pure: the time, and what chance has to decide, are arguments, so that days pass in a test
//! in no time.

use std::time::Duration;

use super::backoff::{Backoff, Ended};

/// A local change is acted on once nothing followed it for this long: a program that moves a message makes two of it,
/// and one that saves a draft three.
const LOCAL_QUIET: Duration = Duration::from_millis(40);

/// Changes that never stop are acted on after this time.
const LOCAL_PATIENCE: Duration = Duration::from_millis(400);

/// What a server tells of one change comes in several lines.
const SERVER_QUIET: Duration = Duration::from_millis(10);

/// What could not be followed in one place keeps what is new in another waiting no longer than this.
const UNFINISHED_REST: Duration = Duration::from_secs(1);

/// If a poll finds what the server should have told, it gets this long to tell it after all.
const GRACE: Duration = Duration::from_secs(10);

/// Why an account is synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The daemon has started.
    Start,
    /// Something changed in the Maildir.
    Local,
    /// The server told of a change, or can be listened to again after it could not.
    Server,
    /// It is time to look at everything.
    Poll,
    /// The last sync failed.
    Retry,
    /// The machine was suspended.
    Resumed,
}

impl Why {
    /// Returns the word for it in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Why::Start => "start",
            Why::Local => "local",
            Why::Server => "server",
            Why::Poll => "poll",
            Why::Retry => "retry",
            Why::Resumed => "resumed",
        }
    }
}

/// A sync that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted {
    why: Why,
    /// When it was first wanted.
    since: Duration,
    /// When it may begin.
    at: Duration,
}

/// When an account is to be synced next. Times are since any beginning, the same in all calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    poll: Duration,
    next_poll: Duration,
    wanted: Option<Wanted>,
    /// Nothing begins before this.
    not_before: Duration,
    backoff: Backoff,
    /// How the last sync ended.
    last: Ended,
    /// A poll found what the server did not tell: when it will be too late for it.
    untold: Option<Duration>,
}

impl Schedule {
    /// Begins with a sync at once; later one every `poll` at least.
    pub fn new(poll: Duration, now: Duration) -> Self {
        let wanted = Some(Wanted { why: Why::Start, since: now, at: now });
        let (backoff, last) = (Backoff::default(), Ended::Done);
        Self { poll, next_poll: now + poll, wanted, not_before: now, backoff, last, untold: None }
    }

    /// Something changed in the Maildir.
    pub fn local(&mut self, now: Duration) {
        let since = self.wanted.filter(|wanted| wanted.why != Why::Retry).map_or(now, |wanted| wanted.since);
        let at = (now + LOCAL_QUIET).min(since + LOCAL_PATIENCE);
        self.want(Why::Local, now, at);
    }

    /// The server told of a change.
    pub fn server(&mut self, now: Duration) {
        self.untold = None;
        self.want(Why::Server, now, now + SERVER_QUIET);
    }

    /// The server can be listened to from now on: what it did before is unknown, and that it could not be reached is
    /// over.
    pub fn connected(&mut self, now: Duration) {
        if self.last == Ended::Unreachable {
            self.renew(now);
        }
        self.want(Why::Server, now, now);
    }

    /// The machine got an address or a route: a server that could not be reached may be within reach now.
    pub fn online(&mut self, now: Duration) {
        if self.last == Ended::Unreachable {
            self.renew(now);
            self.want(Why::Retry, now, now);
        }
    }

    /// The machine was suspended: whatever was true of the network before need not be now.
    pub fn resumed(&mut self, now: Duration) {
        self.renew(now);
        self.want(Why::Resumed, now, now);
    }

    fn renew(&mut self, now: Duration) {
        self.backoff.forget();
        self.not_before = now;
    }

    /// What was wanted first keeps its reason, but for what is only to be tried again; changes in the Maildir that go on
    /// put it off.
    fn want(&mut self, why: Why, now: Duration, at: Duration) {
        self.wanted = Some(match self.wanted {
            Some(before) if before.why == Why::Local && why == Why::Local => Wanted { at, ..before },
            Some(before) if before.why == Why::Retry && at < before.at => Wanted { why, since: now, at },
            Some(before) => Wanted { at: before.at.min(at), ..before },
            None => Wanted { why, since: now, at },
        });
    }

    /// Returns when to look again.
    pub fn next(&self) -> Duration {
        let wanted = self.wanted.map_or(self.next_poll, |wanted| wanted.at.min(self.next_poll));
        let run = wanted.max(self.not_before);
        self.untold.map_or(run, |late| run.min(late))
    }

    /// Returns why a sync is to begin now, if one is, and counts it as begun: what comes from now on wants another.
    pub fn begin(&mut self, now: Duration) -> Option<Why> {
        if now < self.not_before {
            return None;
        }
        let wanted = self.wanted.filter(|wanted| wanted.at <= now).map(|wanted| wanted.why);
        let why = wanted.or((self.next_poll <= now).then_some(Why::Poll))?;
        self.wanted = None;
        Some(why)
    }

    /// A sync has ended. `untold` says that it brought changes from the server of which that has told nothing; `jitter`
    /// from 0 to 1 is left to chance.
    pub fn ended(&mut self, why: Why, ended: Ended, untold: bool, now: Duration, jitter: f64) {
        self.last = ended;
        match self.backoff.note(ended, jitter) {
            None => {
                self.not_before = now;
                self.next_poll = now + self.poll;
                self.untold = (why == Why::Poll && untold).then_some(now + GRACE);
            }
            Some(wait) if ended == Ended::Unfinished => {
                self.not_before = now + wait.min(UNFINISHED_REST);
                self.next_poll = now + self.poll;
                self.want(Why::Retry, now, now + wait);
            }
            Some(wait) => {
                self.not_before = now + wait;
                self.want(Why::Retry, now, self.not_before);
            }
        }
    }

    /// Returns true, once, if the server kept a change to itself that it should have told.
    pub fn is_untold(&mut self, now: Duration) -> bool {
        let late = self.untold.is_some_and(|late| late <= now);
        self.untold = self.untold.filter(|_| !late);
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLL: Duration = Duration::from_secs(300);

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// A schedule whose first sync went well at 0.
    fn settled() -> Schedule {
        let mut schedule = Schedule::new(POLL, Duration::ZERO);
        assert_eq!(schedule.begin(Duration::ZERO), Some(Why::Start));
        schedule.ended(Why::Start, Ended::Done, true, Duration::ZERO, 0.0);
        schedule
    }

    #[test]
    fn a_quiet_day_is_one_sync_every_five_minutes() {
        let mut schedule = settled();
        let mut now = Duration::ZERO;
        let mut runs = 0;
        while now < Duration::from_secs(24 * 3600) {
            assert!(schedule.next() > now, "it waits for something to come");
            now = schedule.next();
            if let Some(why) = schedule.begin(now) {
                assert_eq!(why, Why::Poll);
                runs += 1;
                schedule.ended(why, Ended::Done, false, now, 0.0);
            }
            assert!(!schedule.is_untold(now));
        }
        assert_eq!(runs, 288);
    }

    #[test]
    fn both_halves_of_a_local_move_are_one_sync_and_endless_changes_are_not_waited_for() {
        let mut schedule = settled();
        schedule.local(ms(1000));
        schedule.local(ms(1030));
        assert_eq!(schedule.begin(ms(1045)), None);
        assert_eq!((schedule.next(), schedule.begin(ms(1070))), (ms(1070), Some(Why::Local)));
        schedule.ended(Why::Local, Ended::Done, false, ms(1100), 0.0);
        let mut now = ms(2000);
        while schedule.begin(now).is_none() {
            schedule.local(now);
            now += ms(1);
        }
        assert_eq!(now, ms(2400));
    }

    #[test]
    fn what_comes_during_a_sync_wants_another_and_nothing_wants_none() {
        let mut schedule = settled();
        schedule.server(ms(500));
        assert_eq!(schedule.begin(ms(510)), Some(Why::Server));
        schedule.server(ms(520));
        schedule.local(ms(530));
        schedule.ended(Why::Server, Ended::Done, true, ms(600), 0.0);
        assert_eq!(schedule.begin(ms(600)), Some(Why::Server), "it need not wait for the Maildir to be quiet");
        schedule.ended(Why::Server, Ended::Done, false, ms(650), 0.0);
        assert_eq!(schedule.begin(ms(200_000)), None);
        assert_eq!(schedule.next(), ms(650) + POLL);
    }

    #[test]
    fn what_could_not_be_followed_is_soon_gone_on_with() {
        let mut schedule = settled();
        schedule.local(ms(1000));
        assert_eq!(schedule.begin(ms(1040)), Some(Why::Local));
        schedule.ended(Why::Local, Ended::Unfinished, true, ms(1500), 0.0);
        assert_eq!((schedule.begin(ms(2499)), schedule.next()), (None, ms(2500)));
        assert_eq!(schedule.begin(ms(2500)), Some(Why::Retry));
    }

    #[test]
    fn what_can_never_be_followed_keeps_nothing_new_waiting() {
        let mut schedule = settled();
        schedule.local(ms(0));
        let mut now = ms(40);
        for _ in 0..10 {
            assert!(schedule.begin(now).is_some());
            schedule.ended(Why::Retry, Ended::Unfinished, false, now, 0.0);
            now = schedule.next();
        }
        assert!(schedule.begin(now).is_some());
        schedule.ended(Why::Retry, Ended::Unfinished, false, now, 0.0);
        assert_eq!(schedule.next(), now + Duration::from_secs(60));
        schedule.server(now + ms(100));
        assert_eq!(schedule.next(), now + ms(1000));
        assert_eq!(schedule.begin(now + ms(1000)), Some(Why::Server));
        schedule.ended(Why::Server, Ended::Unfinished, true, now + ms(1200), 0.0);
        schedule.local(now + ms(5000));
        schedule.local(now + ms(5010));
        assert_eq!(schedule.next(), now + ms(5050));
        assert_eq!(schedule.begin(now + ms(5050)), Some(Why::Local));
    }

    #[test]
    fn an_hour_without_network_is_tried_about_once_a_minute_whatever_changes_meanwhile() {
        let mut schedule = settled();
        let (mut now, mut tries) = (ms(1000), 0);
        while now < Duration::from_secs(3600) {
            schedule.local(now);
            if let Some(why) = schedule.begin(now) {
                tries += 1;
                schedule.ended(why, Ended::Unreachable, false, now, 0.5);
            }
            now += ms(100);
        }
        assert!((60..100).contains(&tries), "{tries}");
        schedule.connected(now);
        assert!(schedule.begin(now).is_some(), "the way back is not waited for");
    }

    #[test]
    fn after_a_suspension_it_goes_on_at_once_and_a_refused_login_is_not_hammered() {
        let mut schedule = settled();
        schedule.server(ms(0));
        assert!(schedule.begin(ms(100)).is_some());
        schedule.ended(Why::Server, Ended::Login, false, ms(100), 0.0);
        schedule.connected(ms(200));
        schedule.local(ms(300));
        assert_eq!(schedule.begin(ms(50_000)), None);
        assert_eq!(schedule.next(), ms(60_100));
        schedule.resumed(ms(50_000));
        assert!(schedule.begin(ms(50_000)).is_some());
    }

    #[test]
    fn once_online_an_unreachable_server_is_tried_at_once_and_no_other() {
        for (ended, tried) in [(Ended::Unreachable, true), (Ended::Login, false), (Ended::Done, false)] {
            let mut schedule = settled();
            schedule.server(ms(0));
            assert!(schedule.begin(ms(100)).is_some());
            schedule.ended(Why::Server, ended, false, ms(100), 0.0);
            schedule.online(ms(200));
            assert_eq!(schedule.begin(ms(200)), tried.then_some(Why::Retry), "{ended:?}");
        }
    }

    #[test]
    fn a_server_that_does_not_tell_what_it_should_is_found_out() {
        let mut schedule = settled();
        let at = POLL;
        assert_eq!(schedule.begin(at), Some(Why::Poll));
        schedule.ended(Why::Poll, Ended::Done, true, at, 0.0);
        assert_eq!((schedule.next(), schedule.is_untold(at + ms(9_999))), (at + GRACE, false));
        assert!(schedule.is_untold(at + GRACE) && !schedule.is_untold(at + GRACE));
        assert_eq!(schedule.begin(at + POLL), Some(Why::Poll));
        schedule.ended(Why::Poll, Ended::Done, true, at + POLL, 0.0);
        schedule.server(at + POLL + ms(400));
        assert!(!schedule.is_untold(at + POLL + GRACE), "it was only late");
    }
}

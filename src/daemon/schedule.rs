//! When an account is synced. Pure: the time, and what chance has to decide, are arguments, so that days pass in a test
//! in no time.

use std::collections::BTreeSet;
use std::time::Duration;

use super::backoff::{Backoff, Ended};
use crate::model::MailboxName;

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
    /// Somebody asked for it.
    Asked,
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
            Why::Asked => "asked",
        }
    }
}

/// What a sync is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// Every folder.
    Everything,
    /// These folders.
    Only(BTreeSet<MailboxName>),
}

impl About {
    /// Returns what is about one or the other.
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Only(mut one), Self::Only(mut other)) => {
                one.append(&mut other);
                Self::Only(one)
            }
            _ => Self::Everything,
        }
    }
}

/// Where something changed; everywhere, where one is not known.
impl FromIterator<Option<MailboxName>> for About {
    fn from_iter<T: IntoIterator<Item = Option<MailboxName>>>(names: T) -> Self {
        names.into_iter().collect::<Option<_>>().map_or(Self::Everything, Self::Only)
    }
}

/// A sync that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    why: Why,
    about: About,
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
        let wanted = Some(Wanted { why: Why::Start, about: About::Everything, since: now, at: now });
        let (backoff, last) = (Backoff::default(), Ended::Done);
        Self { poll, next_poll: now + poll, wanted, not_before: now, backoff, last, untold: None }
    }

    /// Something changed in the Maildir.
    pub fn local(&mut self, about: About, now: Duration) {
        let before = self.wanted.as_ref().filter(|wanted| wanted.why != Why::Retry);
        let since = before.map_or(now, |wanted| wanted.since);
        let at = (now + LOCAL_QUIET).min(since + LOCAL_PATIENCE);
        self.want(Why::Local, about, now, at);
    }

    /// The server told of a change.
    pub fn server(&mut self, about: About, now: Duration) {
        self.untold = None;
        self.want(Why::Server, about, now, now + SERVER_QUIET);
    }

    /// The server can be listened to from now on: what it did before is unknown, and that it could not be reached is
    /// over.
    pub fn connected(&mut self, now: Duration) {
        if self.last == Ended::Unreachable {
            self.renew(now);
        }
        self.want(Why::Server, About::Everything, now, now);
    }

    /// The machine got an address or a route: a server that could not be reached may be within reach now.
    pub fn online(&mut self, now: Duration) {
        if self.last == Ended::Unreachable {
            self.renew(now);
            self.want(Why::Retry, About::Everything, now, now);
        }
    }

    /// The machine was suspended: whatever was true of the network before need not be now.
    pub fn resumed(&mut self, now: Duration) {
        self.renew(now);
        self.want(Why::Resumed, About::Everything, now, now);
    }

    fn renew(&mut self, now: Duration) {
        self.backoff.forget();
        self.not_before = now;
    }

    /// What was wanted first keeps its reason, but for what is only to be tried again; changes in the Maildir that go on
    /// put it off.
    fn want(&mut self, why: Why, about: About, now: Duration, at: Duration) {
        let Some(before) = self.wanted.take() else {
            self.wanted = Some(Wanted { why, about, since: now, at });
            return;
        };
        let about = about.or(before.about);
        self.wanted = Some(match before.why {
            Why::Local if why == Why::Local => Wanted { at, about, ..before },
            Why::Retry if at < before.at => Wanted { why, about, since: now, at },
            _ => Wanted { at: before.at.min(at), about, ..before },
        });
    }

    /// Returns when to look again.
    pub fn next(&self) -> Duration {
        let wanted = self.wanted.as_ref().map_or(self.next_poll, |wanted| wanted.at.min(self.next_poll));
        let run = wanted.max(self.not_before);
        self.untold.map_or(run, |late| run.min(late))
    }

    /// Returns why a sync is to begin now, if one is, and what it is about, and counts it as begun: what comes from now
    /// on wants another.
    pub fn begin(&mut self, now: Duration) -> Option<(Why, About)> {
        if now < self.not_before {
            return None;
        }
        let is_due = |wanted: &Wanted| wanted.at <= now;
        let poll = self.next_poll <= now;
        if !poll && !self.wanted.as_ref().is_some_and(is_due) {
            return None;
        }
        match self.wanted.take().filter(is_due) {
            Some(wanted) if poll => Some((wanted.why, About::Everything)),
            Some(wanted) => Some((wanted.why, wanted.about)),
            None => Some((Why::Poll, About::Everything)),
        }
    }

    /// A sync has ended. `untold` says that it brought changes from the server of which that has told nothing; `jitter`
    /// from 0 to 1 is left to chance.
    pub fn ended(&mut self, (why, about): (Why, &About), ended: Ended, untold: bool, now: Duration, jitter: f64) {
        self.last = ended;
        match self.backoff.note(ended, jitter) {
            None => {
                self.not_before = now;
                if *about == About::Everything {
                    self.next_poll = now + self.poll;
                }
                self.untold = (why == Why::Poll && untold).then_some(now + GRACE);
            }
            Some(wait) if ended == Ended::Unfinished => {
                self.not_before = now + wait.min(UNFINISHED_REST);
                self.next_poll = now + self.poll;
                self.want(Why::Retry, About::Everything, now, now + wait);
            }
            Some(wait) => {
                self.not_before = now + wait;
                self.want(Why::Retry, About::Everything, now, self.not_before);
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
        assert_eq!(begin(&mut schedule, Duration::ZERO), Some(Why::Start));
        schedule.ended((Why::Start, &About::Everything), Ended::Done, true, Duration::ZERO, 0.0);
        schedule
    }

    fn begin(schedule: &mut Schedule, now: Duration) -> Option<Why> {
        schedule.begin(now).map(|(why, _)| why)
    }

    fn only(names: &[&str]) -> About {
        names.iter().map(|name| MailboxName::parse(name)).collect()
    }

    #[test]
    fn a_quiet_day_is_one_sync_every_five_minutes() {
        let mut schedule = settled();
        let mut now = Duration::ZERO;
        let mut runs = 0;
        while now < Duration::from_secs(24 * 3600) {
            assert!(schedule.next() > now, "it waits for something to come");
            now = schedule.next();
            if let Some(why) = begin(&mut schedule, now) {
                assert_eq!(why, Why::Poll);
                runs += 1;
                schedule.ended((why, &About::Everything), Ended::Done, false, now, 0.0);
            }
            assert!(!schedule.is_untold(now));
        }
        assert_eq!(runs, 288);
    }

    #[test]
    fn both_halves_of_a_local_move_are_one_sync_and_endless_changes_are_not_waited_for() {
        let mut schedule = settled();
        schedule.local(About::Everything, ms(1000));
        schedule.local(About::Everything, ms(1030));
        assert_eq!(begin(&mut schedule, ms(1045)), None);
        assert_eq!((schedule.next(), begin(&mut schedule, ms(1070))), (ms(1070), Some(Why::Local)));
        schedule.ended((Why::Local, &About::Everything), Ended::Done, false, ms(1100), 0.0);
        let mut now = ms(2000);
        while begin(&mut schedule, now).is_none() {
            schedule.local(About::Everything, now);
            now += ms(1);
        }
        assert_eq!(now, ms(2400));
    }

    #[test]
    fn what_comes_during_a_sync_wants_another_and_nothing_wants_none() {
        let mut schedule = settled();
        schedule.server(About::Everything, ms(500));
        assert_eq!(begin(&mut schedule, ms(510)), Some(Why::Server));
        schedule.server(About::Everything, ms(520));
        schedule.local(About::Everything, ms(530));
        schedule.ended((Why::Server, &About::Everything), Ended::Done, true, ms(600), 0.0);
        assert_eq!(begin(&mut schedule, ms(600)), Some(Why::Server), "it need not wait for the Maildir to be quiet");
        schedule.ended((Why::Server, &About::Everything), Ended::Done, false, ms(650), 0.0);
        assert_eq!(begin(&mut schedule, ms(200_000)), None);
        assert_eq!(schedule.next(), ms(650) + POLL);
    }

    #[test]
    fn what_could_not_be_followed_is_soon_gone_on_with() {
        let mut schedule = settled();
        schedule.local(About::Everything, ms(1000));
        assert_eq!(begin(&mut schedule, ms(1040)), Some(Why::Local));
        schedule.ended((Why::Local, &About::Everything), Ended::Unfinished, true, ms(1500), 0.0);
        assert_eq!((begin(&mut schedule, ms(2499)), schedule.next()), (None, ms(2500)));
        assert_eq!(begin(&mut schedule, ms(2500)), Some(Why::Retry));
    }

    #[test]
    fn what_can_never_be_followed_keeps_nothing_new_waiting() {
        let mut schedule = settled();
        schedule.local(About::Everything, ms(0));
        let mut now = ms(40);
        for _ in 0..10 {
            assert!(begin(&mut schedule, now).is_some());
            schedule.ended((Why::Retry, &About::Everything), Ended::Unfinished, false, now, 0.0);
            now = schedule.next();
        }
        assert!(begin(&mut schedule, now).is_some());
        schedule.ended((Why::Retry, &About::Everything), Ended::Unfinished, false, now, 0.0);
        assert_eq!(schedule.next(), now + Duration::from_secs(60));
        schedule.server(About::Everything, now + ms(100));
        assert_eq!(schedule.next(), now + ms(1000));
        assert_eq!(begin(&mut schedule, now + ms(1000)), Some(Why::Server));
        schedule.ended((Why::Server, &About::Everything), Ended::Unfinished, true, now + ms(1200), 0.0);
        schedule.local(About::Everything, now + ms(5000));
        schedule.local(About::Everything, now + ms(5010));
        assert_eq!(schedule.next(), now + ms(5050));
        assert_eq!(begin(&mut schedule, now + ms(5050)), Some(Why::Local));
    }

    #[test]
    fn an_hour_without_network_is_tried_about_once_a_minute_whatever_changes_meanwhile() {
        let mut schedule = settled();
        let (mut now, mut tries) = (ms(1000), 0);
        while now < Duration::from_secs(3600) {
            schedule.local(About::Everything, now);
            if let Some(why) = begin(&mut schedule, now) {
                tries += 1;
                schedule.ended((why, &About::Everything), Ended::Unreachable, false, now, 0.5);
            }
            now += ms(100);
        }
        assert!((60..100).contains(&tries), "{tries}");
        schedule.connected(now);
        assert!(begin(&mut schedule, now).is_some(), "the way back is not waited for");
    }

    #[test]
    fn after_a_suspension_it_goes_on_at_once_and_a_refused_login_is_not_hammered() {
        let mut schedule = settled();
        schedule.server(About::Everything, ms(0));
        assert!(begin(&mut schedule, ms(100)).is_some());
        schedule.ended((Why::Server, &About::Everything), Ended::Login, false, ms(100), 0.0);
        schedule.connected(ms(200));
        schedule.local(About::Everything, ms(300));
        assert_eq!(begin(&mut schedule, ms(50_000)), None);
        assert_eq!(schedule.next(), ms(60_100));
        schedule.resumed(ms(50_000));
        assert!(begin(&mut schedule, ms(50_000)).is_some());
    }

    #[test]
    fn once_online_an_unreachable_server_is_tried_at_once_and_no_other() {
        for (ended, tried) in [(Ended::Unreachable, true), (Ended::Login, false), (Ended::Done, false)] {
            let mut schedule = settled();
            schedule.server(About::Everything, ms(0));
            assert!(begin(&mut schedule, ms(100)).is_some());
            schedule.ended((Why::Server, &About::Everything), ended, false, ms(100), 0.0);
            schedule.online(ms(200));
            assert_eq!(begin(&mut schedule, ms(200)), tried.then_some(Why::Retry), "{ended:?}");
        }
    }

    #[test]
    fn a_server_that_does_not_tell_what_it_should_is_found_out() {
        let mut schedule = settled();
        let at = POLL;
        assert_eq!(begin(&mut schedule, at), Some(Why::Poll));
        schedule.ended((Why::Poll, &About::Everything), Ended::Done, true, at, 0.0);
        assert_eq!((schedule.next(), schedule.is_untold(at + ms(9_999))), (at + GRACE, false));
        assert!(schedule.is_untold(at + GRACE) && !schedule.is_untold(at + GRACE));
        assert_eq!(begin(&mut schedule, at + POLL), Some(Why::Poll));
        schedule.ended((Why::Poll, &About::Everything), Ended::Done, true, at + POLL, 0.0);
        schedule.server(About::Everything, at + POLL + ms(400));
        assert!(!schedule.is_untold(at + POLL + GRACE), "it was only late");
    }

    #[test]
    fn a_sync_is_about_all_that_changed_since_the_last_and_about_everything_where_that_is_not_known() {
        let mut schedule = settled();
        schedule.local(only(&["a"]), ms(1000));
        schedule.local(only(&["b"]), ms(1010));
        schedule.server(only(&["c"]), ms(1020));
        assert_eq!(schedule.begin(ms(1030)), Some((Why::Local, only(&["a", "b", "c"]))));
        schedule.ended((Why::Local, &only(&["a"])), Ended::Done, false, ms(1100), 0.0);
        schedule.local(only(&["a"]), ms(1200));
        schedule.server([MailboxName::parse("b"), None].into_iter().collect(), ms(1200));
        assert_eq!(schedule.begin(ms(1300)), Some((Why::Local, About::Everything)));
    }

    #[test]
    fn what_failed_is_made_up_for_by_a_sync_of_everything() {
        let mut schedule = settled();
        schedule.local(only(&["a"]), ms(1000));
        assert!(schedule.begin(ms(1100)).is_some());
        schedule.ended((Why::Local, &only(&["a"])), Ended::Unreachable, false, ms(1200), 0.0);
        schedule.local(only(&["b"]), ms(1300));
        assert_eq!(schedule.begin(schedule.next()), Some((Why::Local, About::Everything)));
    }

    #[test]
    fn syncs_about_some_folders_put_off_none_about_everything() {
        let mut schedule = settled();
        let mut now = ms(0);
        while now < POLL - ms(500) {
            schedule.server(only(&["a"]), now);
            now += ms(10);
            assert_eq!(schedule.begin(now), Some((Why::Server, only(&["a"]))));
            schedule.ended((Why::Server, &only(&["a"])), Ended::Done, false, now, 0.0);
            now += ms(200);
        }
        schedule.server(only(&["a"]), now);
        assert_eq!(schedule.begin(POLL), Some((Why::Server, About::Everything)));
    }
}

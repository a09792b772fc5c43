//! How long to wait after a failure: exponential, with jitter.

use std::time::Duration;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was carried out, perhaps but for parts that are held or failed alone.
    Done,
    /// Mail changed faster than it could be followed; the rest is to be done soon.
    Unfinished,
    /// Another mailtide is at work on the account.
    Busy,
    /// There is no way to the server.
    Unreachable,
    /// The server asks to be left alone,
    Refused,
    /// and says for how long.
    Asked(Duration),
    /// The server does not let the user in: trying often may lock the account.
    Login,
    /// This machine, or the configuration, is in the way.
    Machine,
}

impl Ended {
    /// Returns how long to wait after the first failure, and at most. `None` if it is none.
    fn limits(self) -> Option<(Duration, Duration)> {
        let (first, most) = match self {
            Ended::Done => return None,
            Ended::Busy => (1, 5),
            Ended::Unfinished => (1, 60),
            Ended::Unreachable => (2, 60),
            Ended::Machine => (5, 300),
            Ended::Asked(wait) => return Some((wait, wait)),
            Ended::Refused => (30, 900),
            Ended::Login => (60, 3600),
        };
        Some((Duration::from_secs(first), Duration::from_secs(most)))
    }
}

/// Counts failures in a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Takes note of how an attempt ended, and returns how long to wait before the next; `None` if it did not fail. The
    /// time doubles from failure to failure. `jitter` from 0 to 1 makes it up to a half shorter, so that many who lost
    /// the same server don't come back all at once; what was asked for a little longer.
    pub fn note(&mut self, ended: Ended, jitter: f64) -> Option<Duration> {
        let Some((first, most)) = ended.limits() else {
            self.failures = 0;
            return None;
        };
        let whole = first.saturating_mul(1 << self.failures.min(16)).min(most);
        self.failures = self.failures.saturating_add(1);
        let part = jitter.clamp(0.0, 1.0);
        Some(match ended {
            Ended::Asked(_) => whole.mul_f64(1.0 + part / 10.0),
            _ => whole.mul_f64(1.0 - part / 2.0),
        })
    }

    /// Forgets the failures: circumstances have changed.
    pub fn forget(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(ended: Ended, jitter: f64, times: usize) -> Vec<u64> {
        let mut backoff = Backoff::default();
        (0..times).map(|_| backoff.note(ended, jitter).unwrap().as_millis().try_into().unwrap()).collect()
    }

    #[test]
    fn waits_double_up_to_a_limit_and_jitter_shortens_only_what_nobody_asked_for() {
        assert_eq!(waits(Ended::Unreachable, 0.0, 7), [2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(waits(Ended::Unreachable, 1.0, 3), [1000, 2000, 4000]);
        assert_eq!(waits(Ended::Login, 0.5, 2), [45_000, 90_000]);
        assert_eq!(*waits(Ended::Login, 0.0, 100).last().unwrap(), 3_600_000);
        let asked = Ended::Asked(Duration::from_secs(300));
        assert_eq!([waits(asked, 0.0, 2), waits(asked, 1.0, 2)].concat(), [300_000, 300_000, 330_000, 330_000]);
    }

    #[test]
    fn a_success_or_new_circumstances_begin_anew() {
        let mut backoff = Backoff::default();
        for forget in [false, true] {
            for _ in 0..3 {
                backoff.note(Ended::Machine, 0.0);
            }
            match forget {
                true => backoff.forget(),
                false => assert_eq!(backoff.note(Ended::Done, 0.0), None),
            }
            assert_eq!(backoff.note(Ended::Machine, 0.0), Some(Duration::from_secs(5)));
            backoff.forget();
        }
    }
}

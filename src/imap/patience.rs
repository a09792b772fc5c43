//! Waits with a deadline, which comes sooner where the machine was suspended: the connection is hardly there any more.

use std::pin::pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::model::Clock;

/// How often a wait looks at the clocks.
const TICK: Duration = Duration::from_secs(5);

/// How long a connection that went through a suspension is waited for: few outlive it, and nothing tells that one did not.
const AFTER_SLEEP: Duration = Duration::from_secs(5);

/// Waits for one connection. What was slept through between two waits counts for the later one, and for those that begin soon
/// after: what is heard first may have come before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    born: Instant,
    clock: Clock,
    /// When it was last seen that the machine had slept.
    woken: Option<Instant>,
    tick: Duration,
    after_sleep: Duration,
}

impl Patience {
    pub(super) fn new() -> Self {
        let clock = Clock::default();
        Self { born: Instant::now(), clock, woken: None, tick: TICK, after_sleep: AFTER_SLEEP }
    }

    /// Waits for something at most so long. Suspended time does not count, and leaves little more.
    ///
    /// # Errors
    /// How long was waited in vain; since the machine woke up, if it slept.
    pub(super) async fn wait<T>(&mut self, limit: Duration, future: impl Future<Output = T>) -> Result<T, Duration> {
        self.wait_by(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(), limit, future).await
    }

    /// The same by another wall clock.
    async fn wait_by<T>(
        &mut self,
        wall: impl Fn() -> Duration,
        limit: Duration,
        future: impl Future<Output = T>,
    ) -> Result<T, Duration> {
        let (begun, mut future) = (Instant::now(), pin!(future));
        let (mut until, mut told) = (limit, limit);
        loop {
            if self.clock.jumped(self.born.elapsed(), wall()) {
                self.woken = Some(Instant::now());
            }
            let just = self.woken.filter(|woken| begun.saturating_duration_since(*woken) < self.tick);
            let soon = just.map(|woken| woken.saturating_duration_since(begun) + self.after_sleep);
            if let Some(soon) = soon.filter(|soon| *soon < until) {
                (until, told) = (soon, self.after_sleep);
            }
            let next = (begun.elapsed() + self.tick).min(until);
            if let Ok(done) = tokio::time::timeout_at(begun + next, &mut future).await {
                return Ok(done);
            }
            if begun.elapsed() >= until {
                return Err(told);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    const SOON: Duration = Duration::from_millis(20);
    const LATE: Duration = Duration::from_secs(10);

    /// Waits in vain, at most so long, by two waits; the machine sleeps for an hour once so long has gone by since the first
    /// began. Returns what the second one tells.
    fn in_vain(limit: Duration, sleeps_after: Duration) -> Duration {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut patience = Patience { tick: SOON / 4, after_sleep: SOON, ..Patience::new() };
            let begun = Instant::now();
            let wall = || begun.elapsed() + if begun.elapsed() >= sleeps_after { LATE * 360 } else { Duration::ZERO };
            assert_eq!(patience.wait_by(wall, limit, ready(7)).await, Ok(7));
            std::thread::sleep(SOON);
            patience.wait_by(wall, limit, pending::<()>()).await.unwrap_err()
        })
    }

    #[test]
    fn what_had_come_before_a_suspension_and_is_heard_after_it_makes_no_later_wait_longer() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut patience = Patience { tick: LATE, after_sleep: SOON, ..Patience::new() };
            let born = patience.born;
            for slept in [Duration::ZERO, LATE * 360] {
                assert_eq!(patience.wait_by(|| born.elapsed() + slept, LATE, ready(7)).await, Ok(7));
            }
            let wall = || born.elapsed() + LATE * 360;
            assert_eq!(patience.wait_by(wall, LATE, pending::<()>()).await, Err(SOON));
        });
    }

    #[test]
    fn a_wait_ends_at_its_limit_or_soon_after_a_suspension() {
        let never = LATE * 2;
        assert_eq!(in_vain(SOON * 3, never), SOON * 3);
        assert_eq!(in_vain(SOON / 10, never), SOON / 10);
        assert_eq!(in_vain(LATE, SOON * 3), SOON, "suspended while it waits");
        assert_eq!(in_vain(LATE, SOON / 2), SOON, "suspended before it waits");
    }
}

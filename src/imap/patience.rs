//! Waits with a deadline, which comes sooner where the machine was suspended meanwhile.

use std::pin::pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::model::Clock;

/// How often a wait looks at the clocks.
const TICK: Duration = Duration::from_secs(5);

/// How long a connection that went through a suspension is waited for: few outlive it, and nothing tells that one did not.
const AFTER_SLEEP: Duration = Duration::from_secs(5);

/// Waits for something at most so long. Suspended time does not count, and leaves little more.
///
/// # Errors
/// How long was waited in vain; since the machine woke up, if it slept.
pub(super) async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Result<T, Duration> {
    let wall = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Patience { limit, tick: TICK, after_sleep: AFTER_SLEEP }.wait(wall, future).await
}

/// How long a wait may take.
#[derive(Debug, Clone, Copy)]
struct Patience {
    limit: Duration,
    tick: Duration,
    after_sleep: Duration,
}

impl Patience {
    async fn wait<T>(self, wall: impl Fn() -> Duration, future: impl Future<Output = T>) -> Result<T, Duration> {
        let Patience { limit, tick, after_sleep } = self;
        let (begun, mut clock, mut future) = (Instant::now(), Clock::default(), pin!(future));
        clock.jumped(Duration::ZERO, wall());
        let (mut until, mut told) = (limit, limit);
        loop {
            let next = (begun.elapsed() + tick).min(until);
            if let Ok(done) = tokio::time::timeout_at(begun + next, &mut future).await {
                return Ok(done);
            }
            let waited = begun.elapsed();
            if clock.jumped(waited, wall()) && waited + after_sleep < until {
                (until, told) = (waited + after_sleep, after_sleep);
            }
            if waited >= until {
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
    const LATE: Duration = Duration::from_secs(600);

    /// Waits in vain, at most so long; the machine sleeps for an hour once it has waited for so long. Returns what is told.
    async fn in_vain(limit: Duration, sleeps_after: Duration) -> Duration {
        let begun = Instant::now();
        let wall = || {
            let slept = if begun.elapsed() >= sleeps_after { Duration::from_secs(3600) } else { Duration::ZERO };
            begun.elapsed() + slept
        };
        let patience = Patience { limit, tick: SOON / 4, after_sleep: SOON };
        let told = patience.wait(wall, pending::<()>()).await.unwrap_err();
        assert!(begun.elapsed() >= limit.min(sleeps_after));
        told
    }

    #[test]
    fn a_wait_ends_at_its_limit_or_soon_after_a_suspension() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            assert_eq!(in_vain(SOON * 3, LATE).await, SOON * 3);
            assert_eq!(in_vain(SOON / 10, LATE).await, SOON / 10);
            assert_eq!(in_vain(LATE, SOON).await, SOON);
            assert_eq!(within(LATE, ready(7)).await, Ok(7));
        });
    }
}

//! Many things done by several threads.

use std::thread;

/// Does something with each thing, by so many threads at most, and returns what came of each, in order. What a thread was to
/// do that can't be had, or that panicked, is done by this one.
pub(super) fn each<T: Sync, D: Send>(things: &[T], threads: usize, act: impl Fn(&T) -> D + Sync) -> Vec<D> {
    let share = things.len().div_ceil(threads.max(1)).max(1);
    let act = |share: &[T]| share.iter().map(&act).collect::<Vec<D>>();
    let act = &act;
    thread::scope(|scope| {
        let mut shares = things.chunks(share);
        let own = shares.next();
        let others: Vec<_> =
            shares.map(|share| (share, thread::Builder::new().spawn_scoped(scope, move || act(share)))).collect();
        let mut done: Vec<D> = own.map(act).unwrap_or_default();
        for (share, other) in others {
            let of_other = other.ok().and_then(|other| other.join().ok());
            done.extend(of_other.unwrap_or_else(|| act(share)));
        }
        done
    })
}

#[cfg(test)]
mod tests {
    use super::each;

    #[test]
    fn everything_is_done_once_and_in_order() {
        for (count, threads) in [(0, 4), (1, 4), (3, 4), (4, 4), (103, 4), (9, 1), (9, 0)] {
            let things: Vec<usize> = (0..count).collect();
            assert_eq!(each(&things, threads, |thing| *thing), things, "{count} {threads}");
        }
    }
}

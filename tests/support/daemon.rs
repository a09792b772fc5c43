//! `mailtide watch --json`, running: what it tells, one event after the other.

use std::io::{BufRead, BufReader, Read};
use std::process::Child;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::setup::Setup;

/// How long anything that must happen is waited for.
const DEADLINE: Duration = Duration::from_secs(30);

/// The daemon; killed if it is still running at the end.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    events: Receiver<Value>,
    /// What it told so far.
    pub(crate) told: Vec<Value>,
}

impl Daemon {
    /// Starts it.
    pub(crate) fn start(setup: &Setup) -> Daemon {
        let mut child = setup.command(&["watch", "--json"]).spawn().unwrap();
        let (sender, events) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        Daemon { child, events, told: Vec::new() }
    }

    /// Starts it, and waits until it listens and its first sync is over.
    pub(crate) fn settled(setup: &Setup) -> Daemon {
        let mut daemon = Daemon::start(setup);
        daemon.wait_for("its first sync", |event| event["event"] == "sync" && event["why"] == "start");
        if !daemon.told.iter().any(|event| event["event"] == "listening") {
            daemon.wait_for("listening", |event| event["event"] == "listening");
        }
        daemon
    }

    /// Waits for an event that has not been looked at yet, and returns it.
    pub(crate) fn wait_for(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        self.within(DEADLINE, what, is_it)
    }

    /// As [`Daemon::wait_for`], within this time.
    pub(crate) fn within(&mut self, time: Duration, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + time;
        loop {
            match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(event) => {
                    self.told.push(event.clone());
                    if is_it(&event) {
                        return event;
                    }
                }
                Err(error) => panic!("no {what} ({error}): {}", self.so_far()),
            }
        }
    }

    /// Waits for a sync that did this, a count such as `local` `added`.
    pub(crate) fn wait_for_sync(&mut self, side: &str, what: &str, count: u64) -> Value {
        self.wait_for(&format!("sync with {side} {what} {count}"), |event| {
            event["event"] == "sync" && event["result"][side][what] == count
        })
    }

    /// Waits until nothing was told for this long.
    pub(crate) fn wait_until_quiet(&mut self, time: Duration) {
        let end = Instant::now() + DEADLINE;
        while let Ok(event) = self.events.recv_timeout(time) {
            self.told.push(event);
            assert!(Instant::now() < end, "it never comes to rest: {}", self.so_far());
        }
    }

    /// How many syncs it told of.
    pub(crate) fn syncs(&self) -> usize {
        self.told.iter().filter(|event| event["event"] == "sync").count()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Kills it, without a chance to do anything about it.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end; demands that it does so in time and well.
    pub(crate) fn stop(mut self) {
        let begun = Instant::now();
        self.signal(Signal::TERM);
        let code = self.wait();
        assert_eq!(code, Some(0), "{}", self.so_far());
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }

    /// Waits for its end and returns the exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let end = Instant::now() + DEADLINE;
        // Its standard output ends when it does.
        loop {
            match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(event) => self.told.push(event),
                Err(RecvTimeoutError::Disconnected) => return self.child.wait().unwrap().code(),
                Err(RecvTimeoutError::Timeout) => panic!("it does not end: {}", self.so_far()),
            }
        }
    }

    fn so_far(&mut self) -> String {
        self.child.kill().ok();
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).ok();
        let lines: Vec<String> = self.told.iter().map(Value::to_string).collect();
        format!("told so far:\n{}\nstderr:\n{stderr}", lines.join("\n"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

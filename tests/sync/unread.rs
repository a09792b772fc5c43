//! Output that nobody reads keeps nobody from working or from ending.

use std::io::{PipeReader, PipeWriter, Write};
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::corpus;
use crate::support::dovecot::Kind;
use crate::support::setup::Setup;

/// How long anything that must happen is waited for.
const DEADLINE: Duration = Duration::from_secs(30);

/// Returns a pipe that takes nothing more until it is read.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&[b'\n'; 65536]).unwrap();
    (reader, writer)
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Sends the signal until the process ends, and returns how it did and how many it took.
fn end(child: &mut Child, signal: Signal, pause: Duration) -> (ExitStatus, usize) {
    for sent in 1..10 {
        kill_process(Pid::from_child(child), signal).unwrap();
        let end = Instant::now() + pause;
        while Instant::now() < end {
            if let Some(status) = child.try_wait().unwrap() {
                return (status, sent);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
    child.kill().unwrap();
    panic!("it does not end");
}

#[test]
fn a_daemon_to_which_nobody_listens_goes_on_and_ends() {
    let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(1));
    for arguments in [&["watch", "--json"][..], &["-vvv", "watch"]] {
        let (reader, writer) = full_pipe();
        let mut command = setup.command(arguments);
        command.stdout(writer.try_clone().unwrap()).stderr(writer);
        let mut daemon = command.spawn().unwrap();
        drop(command);
        for _ in 0..3 {
            let (there, inbox) = (setup.imap().messages(&["INBOX"]).len(), setup.root.inbox());
            setup.append(&["INBOX"], &corpus::ordinary(1));
            wait_until("new mail does not arrive", || inbox.messages().len() > there);
        }
        // A sync beside it waits for nobody either.
        setup.sync().expect(0);
        let (status, signals) = end(&mut daemon, Signal::TERM, Duration::from_secs(8));
        assert_eq!((status.code(), signals), (Some(0), 1));
        drop(reader);
    }
}

#[test]
fn a_sync_that_waits_for_its_reader_can_be_ended() {
    let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(1));
    for (arguments, signal) in [(&["sync"][..], Signal::INT), (&["sync", "--json"], Signal::TERM)] {
        let (reader, writer) = full_pipe();
        setup.append(&["INBOX"], &corpus::ordinary(1));
        let (there, inbox) = (setup.imap().messages(&["INBOX"]).len(), setup.root.inbox());
        let mut child = setup.command(arguments).stdout(writer).spawn().unwrap();
        wait_until("new mail does not arrive", || inbox.messages().len() == there);
        let (status, signals) = end(&mut child, signal, Duration::from_secs(2));
        assert!(!status.success() && signals <= 2, "{status:?} after {signals}");
        drop(reader);
    }
    setup.sync_in_step();
}

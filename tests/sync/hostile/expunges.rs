//! Messages that go or come in the middle of a run, told in the answer to any command: the one that is gone is gone,
//! and no other takes its place.

use std::collections::BTreeMap;
use std::fs;

use crate::support::corpus::{self, DATE};
use crate::support::dovecot::Kind;
use crate::support::imap::Imap;
use crate::support::meddler::{Meddler, Plan};
use crate::support::setup::Setup;

/// With VANISHED and many mailboxes in one burst; with EXPUNGE and one after the other.
const EXTENSIONS: [&str; 2] = ["", "disable = [\"QRESYNC\", \"CONDSTORE\"]"];

/// Every kind of command of a run with something of everything to do.
const COMMANDS: [&str; 11] = [
    "LIST",
    "SELECT",
    "UID STORE",
    "UID MOVE",
    "UID COPY",
    "UID EXPUNGE",
    "APPEND",
    "CREATE",
    "RENAME",
    "BODY.PEEK[]",
    "LOGOUT",
];

/// The subjects in each folder.
type Mail = BTreeMap<&'static str, Vec<String>>;

const FOLDERS: [&str; 4] = ["INBOX", "Work", "Older", "New"];

/// An account that has been in step, and since then something of everything to do.
fn with_work(extensions: &str) -> (Setup, Meddler) {
    let mut setup = Setup::new(Kind::Full);
    let meddler = Meddler::start(setup.server.port);
    (setup.port, setup.tls) = (meddler.port, "none");
    setup.keys = extensions.to_owned();
    setup.sync = "delete = \"expunge\"".to_owned();
    let mut imap = setup.imap();
    for (folder, subjects) in [
        ("INBOX", &["bystander", "flagged", "moved", "copied", "deleted", "kept", "left"][..]),
        ("Work", &["first", "second"]),
        ("Old", &["third", "fourth"]),
    ] {
        if folder != "INBOX" {
            imap.create(&[folder]);
        }
        for subject in subjects {
            imap.append(&[folder], &corpus::plain(subject), "\\Seen", Some(DATE));
        }
    }
    setup.sync_in_step();
    let (inbox, work, new) = (setup.root.inbox(), setup.root.folder(&["Work"]), setup.root.folder(&["New"]));
    inbox.set_flags(&inbox.find("is flagged"), "FS");
    let moved = inbox.find("is moved").path;
    fs::rename(&moved, work.0.join("cur").join(moved.file_name().unwrap())).unwrap();
    work.deliver(&inbox.find("is copied").content, Some("S"), Some(DATE));
    fs::remove_file(inbox.find("is deleted").path).unwrap();
    inbox.deliver(&corpus::plain("uploaded"), Some("S"), Some(DATE));
    new.create();
    new.deliver(&corpus::plain("fifth"), Some("S"), Some(DATE));
    fs::rename(setup.root.folder(&["Old"]).0, setup.root.folder(&["Older"]).0).unwrap();
    imap.append(&["INBOX"], &corpus::plain("downloaded"), "", Some(DATE));
    (setup, meddler)
}

/// Where everything is once that is done.
fn done() -> Mail {
    let of = |(folder, subjects): (_, &str)| (folder, subjects.split(' ').map(str::to_owned).collect());
    let all = [
        ("INBOX", "bystander copied downloaded flagged kept left uploaded"),
        ("Work", "copied first moved second"),
        ("Older", "fourth third"),
        ("New", "fifth"),
    ];
    all.map(of).into()
}

fn without(mut mail: Mail, folder: &str, subject: &str) -> Mail {
    mail.get_mut(folder).unwrap().retain(|other| *other != subject);
    mail
}

/// What is on the server, in the same form.
fn on_server(imap: &mut Imap) -> Mail {
    let subject = |body: &[u8]| {
        let text = String::from_utf8_lossy(body).into_owned();
        let line = text.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap();
        line.trim_end().to_owned()
    };
    let of = |folder| {
        let mut subjects: Vec<String> = imap.messages(&[folder]).iter().map(|message| subject(&message.body)).collect();
        subjects.sort();
        (folder, subjects)
    };
    FOLDERS.map(of).into()
}

/// Syncs while somebody meddles with a command, and until nothing is left to do; demands that both sides hold one of
/// these then.
fn ends_with(
    extensions: &str,
    on: &'static str,
    before: impl FnOnce(&mut Imap) + Send + 'static,
    ends: &[Mail],
) -> Meddler {
    meddled(extensions, (on, ""), before, ends)
}

fn meddled(
    extensions: &str,
    (on, lies): (&'static str, &'static str),
    before: impl FnOnce(&mut Imap) + Send + 'static,
    ends: &[Mail],
) -> Meddler {
    let what = format!("{on:?} {lies:?} {extensions:?}");
    let (setup, meddler) = with_work(extensions);
    let mut other = setup.imap();
    meddler.plan(Plan { on, before: Box::new(move || before(&mut other)), lies });
    let run = setup.sync();
    assert!(matches!(run.code, Some(0 | 1)), "{what}: {run:?}");
    assert!(meddler.is_done(), "{what}: no such command");
    // What the first run could not decide the next one does.
    setup.sync().expect(0);
    setup.sync_in_step();
    let found = on_server(&mut setup.imap());
    assert!(ends.contains(&found), "{what}: {found:?}\nfirst: {}", run.stdout);
    meddler
}

/// The UID of a message of the INBOX.
fn uid_of(subject: &str) -> &'static str {
    match subject {
        "bystander" => "1",
        "flagged" => "2",
        "moved" => "3",
        "copied" => "4",
        "deleted" => "5",
        "downloaded" => "8",
        other => panic!("{other} has no UID yet"),
    }
}

fn expunge(subject: &'static str) -> impl FnOnce(&mut Imap) + Send {
    move |imap| imap.expunge(&["INBOX"], uid_of(subject))
}

#[test]
fn another_message_that_goes_at_any_command_is_gone_alone() {
    for extensions in EXTENSIONS {
        let mut told = Vec::new();
        for on in COMMANDS {
            let end = without(done(), "INBOX", "bystander");
            let meddler = ends_with(extensions, on, expunge("bystander"), &[end]);
            told.extend(meddler.told());
        }
        let word = if extensions.is_empty() { "VANISHED 1" } else { "* 1 EXPUNGE" };
        assert!(told.iter().any(|line| line.contains(word)), "{extensions:?}: {told:?}");
    }
}

#[test]
fn another_message_that_comes_at_any_command_is_there_once() {
    for extensions in EXTENSIONS {
        for on in COMMANDS {
            let mut end = done();
            end.get_mut("INBOX").unwrap().insert(3, "extra".to_owned());
            let deliver = |imap: &mut Imap| imap.append(&["INBOX"], &corpus::plain("extra"), "", Some(DATE));
            ends_with(extensions, on, deliver, &[end]);
        }
    }
}

#[test]
fn the_very_message_that_goes_at_its_command_is_not_another() {
    for extensions in EXTENSIONS {
        let gone = |subject| without(done(), "INBOX", subject);
        ends_with(extensions, "UID STORE", expunge("flagged"), &[gone("flagged"), done()]);
        // Moved here and deleted there, it is kept.
        ends_with(extensions, "UID MOVE", expunge("moved"), &[done()]);
        ends_with(extensions, "UID COPY", expunge("copied"), &[gone("copied")]);
        ends_with(extensions, "UID EXPUNGE", expunge("deleted"), &[done()]);
        ends_with(extensions, "BODY.PEEK[]", expunge("downloaded"), &[gone("downloaded")]);
    }
}

/// Nothing of it is true.
#[test]
fn expunges_made_up_in_the_answer_to_any_command_cost_nothing() {
    for extensions in EXTENSIONS {
        for on in COMMANDS {
            meddled(extensions, (on, "* 1 EXPUNGE\r\n* VANISHED 1:3\r\n* 0 EXISTS\r\n"), |_| {}, &[done()]);
        }
    }
}

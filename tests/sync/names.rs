//! Awkward folder names, one to one between both sides: every hierarchy separator, both layouts.

use std::collections::BTreeSet;
use std::fs;

use crate::support::corpus::{self, DATE, Mail};
use crate::support::dovecot::Kind;
use crate::support::imap::to_utf7;
use crate::support::maildir::Layout;
use crate::support::scripted::{Rule, Scripted};
use crate::support::setup::Setup;

const SEPARATORS: [&str; 4] = ["/", ".", "\\", "^"];

const LAYOUTS: [Layout; 2] = [Layout::Fs, Layout::PlusPlus];

/// Names and their directories in the layouts `fs` and `maildir++`.
const AWKWARD: [(&[&str], &str, &str); 42] = [
    (&["cur"], "%63ur", ".cur"),
    (&["Work", "new", "tmp"], "Work/%6Eew/%74mp", ".Work.new.tmp"),
    (&["INBOX", "cur"], "INBOX/%63ur", ".INBOX.cur"),
    (&["New"], "New", ".New"),
    (&[".."], "%2E%2E", ".%2E%2E"),
    (&["../../up"], "%2E.%2F..%2Fup", ".%2E%2E%2F%2E%2E%2Fup"),
    (&["/etc/cron.d"], "%2Fetc%2Fcron.d", ".%2Fetc%2Fcron%2Ed"),
    (&["~root"], "~root", ".~root"),
    (&[".hidden"], "%2Ehidden", ".%2Ehidden"),
    (&["dots.and."], "dots.and%2E", ".dots%2Eand%2E"),
    (&[" lead"], " lead", ". lead"),
    (&["trail "], "trail%20", ".trail%20"),
    (&["trail ", "x"], "trail%20/x", ".trail%20.x"),
    (&["100%"], "100%", ".100%"),
    (&["%2F"], "%252F", ".%252F"),
    (&["%25"], "%2525", ".%2525"),
    (&["%41"], "%2541", ".%2541"),
    (&["long%+"], "long%25+", ".long%25+"),
    (&["INBOX", "INBOX"], "INBOX/INBOX", ".INBOX.INBOX"),
    (&["INBOX", "inbox"], "INBOX/inbox", ".INBOX.inbox"),
    (&["Work", "INBOX"], "Work/INBOX", ".Work.INBOX"),
    (&["INBOXES"], "INBOXES", ".INBOXES"),
    (&[".mailtide"], "%2Emailtide", ".%2Emailtide"),
    (&["mailtide"], "mailtide", ".%6Dailtide"),
    (&["Mailtide"], "Mailtide", ".%4Dailtide"),
    (&[".mailtide..tmp"], "%2Emailtide..tmp", ".%2Emailtide%2E%2Etmp"),
    (&["INBOX", "dovecot-keywords"], "INBOX/%64ovecot-keywords", ".INBOX.dovecot-keywords"),
    (&["Work", "maildirfolder"], "Work/maildirfolder", ".Work.maildirfolder"),
    (&["Case"], "Case", ".Case"),
    (&["case"], "case", ".case"),
    (&["caf\u{e9}"], "caf\u{e9}", ".caf\u{e9}"),
    (&["cafe\u{301}"], "cafe%CC%81", ".cafe%CC%81"),
    (&["\u{7f}"], "%7F", ".%7F"),
    (&["a\\b"], "a\\b", ".a\\b"),
    (&["a^b"], "a^b", ".a^b"),
    (&["a\"b"], "a\"b", ".a\"b"),
    (&["a&b", "&AOk-"], "a&b/&AOk-", ".a&b.&AOk-"),
    (&["star*"], "star*", ".star*"),
    (&["colon:2,S"], "colon:2,S", ".colon:2,S"),
    (&["-option"], "-option", ".-option"),
    (&["日本語"], "日本語", ".日本語"),
    (&["role:sent"], "role:sent", ".role:sent"),
];

/// Returns those that a server with this separator can have.
fn possible(separator: &str) -> impl Iterator<Item = &'static (&'static [&'static str], &'static str, &'static str)> {
    AWKWARD.iter().filter(move |(name, ..)| !name.iter().any(|part| part.contains(separator)))
}

fn setup(separator: &'static str, layout: Layout) -> Setup {
    let mut setup = Setup::new(Kind::Separated(separator));
    setup.root.layout = layout;
    setup
}

/// Mail with a keyword, for which a file is written beside the maildirs of folders below.
fn mail(subject: &str) -> [Mail; 1] {
    [Mail { body: corpus::plain(subject), flags: "\\Seen work", date: DATE }]
}

fn directory(setup: &Setup, (_, fs, plus_plus): &(&[&str], &str, &str)) -> std::path::PathBuf {
    setup.root.path.join(if setup.root.layout == Layout::Fs { fs } else { plus_plus })
}

fn assert_nothing_outside(setup: &Setup) {
    let outside: Vec<_> = fs::read_dir(setup.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(outside.len(), 4, "only the root, the state, the configuration and the authority: {outside:?}");
}

/// Adds mail on both sides to every folder there should be, and syncs.
fn fill_on_both_sides(setup: &Setup, separator: &str) {
    for awkward in possible(separator) {
        setup.append(awkward.0, &mail("from there"));
        let folder = setup.root.folders().remove(&*awkward.0.iter().map(|&part| part.to_owned()).collect::<Vec<_>>());
        let folder = folder.unwrap_or_else(|| panic!("no {:?}", awkward.0));
        assert_eq!(folder.0, directory(setup, awkward));
        folder.deliver(&corpus::plain("from here"), Some("S"), Some(DATE));
    }
    setup.sync_in_step();
    for (name, ..) in possible(separator) {
        let subjects: BTreeSet<Vec<u8>> = setup.imap().messages(name).into_iter().map(|message| message.body).collect();
        assert_eq!(subjects.len(), 3, "{name:?} has its own mail and no other's");
    }
    assert_nothing_outside(setup);
}

fn made_there(separator: &'static str) {
    for layout in LAYOUTS {
        let setup = setup(separator, layout);
        for (name, ..) in possible(separator) {
            setup.imap().create(name);
            setup.append(name, &mail(&name.join(" ")));
        }
        setup.append(&["INBOX"], &mail("inbox"));
        setup.sync_in_step();
        fill_on_both_sides(&setup, separator);
    }
}

fn made_here(separator: &'static str) {
    for layout in LAYOUTS {
        let setup = setup(separator, layout);
        setup.append(&["INBOX"], &mail("inbox"));
        setup.sync_in_step();
        for awkward in possible(separator) {
            let folder = crate::support::maildir::Maildir(directory(&setup, awkward));
            folder.create();
            folder.deliver(&corpus::plain(&awkward.0.join(" ")), Some("S"), Some(DATE));
        }
        setup.sync_in_step();
        fill_on_both_sides(&setup, separator);
    }
}

#[test]
fn awkward_names_of_a_server_with_slashes() {
    made_there("/");
}

#[test]
fn awkward_names_of_a_server_with_dots() {
    made_there(".");
}

#[test]
fn awkward_names_of_a_server_with_backslashes() {
    made_there("\\");
}

#[test]
fn awkward_names_of_a_server_with_carets() {
    made_there("^");
}

#[test]
fn awkward_names_made_here_for_slashes() {
    made_here("/");
}

#[test]
fn awkward_names_made_here_for_dots() {
    made_here(".");
}

#[test]
fn awkward_names_made_here_for_backslashes() {
    made_here("\\");
}

#[test]
fn awkward_names_made_here_for_carets() {
    made_here("^");
}

#[test]
fn a_name_with_the_servers_separator_in_it_is_refused_alone() {
    for (separator, directory) in [("/", "a%2Fb"), (".", "a.b"), ("\\", "a\\b"), ("^", "a^b")] {
        let setup = setup(separator, Layout::Fs);
        setup.sync_in_step();
        for name in [directory, "plain"] {
            let folder = setup.root.folder(&[name]);
            folder.create();
            folder.deliver(&corpus::plain("made here"), Some("S"), Some(DATE));
        }
        let run = setup.sync().expect(1);
        assert_eq!(run.account()["errors"].as_array().unwrap().len(), 1, "{}", run.stdout);
        assert_eq!(run.count("remote", "folders_created"), 1, "{}", run.stdout);
        assert_eq!(setup.imap().messages(&["plain"]).len(), 1);
        let folders = setup.imap().folders();
        assert!(!folders.iter().any(|name| name[0] == "a"), "{folders:?}");
        assert_eq!(setup.root.folder(&[directory]).messages().len(), 1);
    }
}

#[test]
fn a_name_too_long_for_one_directory_is_spread_over_several() {
    let setup = setup("/", Layout::Fs);
    // Each two bytes of the accent become six on disk.
    let long = "e".to_owned() + &"\u{301}".repeat(80);
    for name in [&[&*long][..], &[&long, &long, "x"]] {
        setup.imap().create(name);
        setup.append(name, &mail("long"));
    }
    setup.sync_in_step();
    for folder in setup.root.folders().into_iter().filter(|(name, _)| name[0] == long).map(|(_, folder)| folder) {
        folder.deliver(&corpus::plain("from here"), Some("S"), Some(DATE));
    }
    setup.sync_in_step();
    assert_eq!(setup.imap().messages(&[&long]).len(), 2);
    assert_eq!(setup.imap().messages(&[&long, &long, "x"]).len(), 2);
}

/// What Dovecot lets nobody create.
fn forbidden(separator: &str, layout: Layout) -> Vec<String> {
    let mut names =
        ["\0", "a\r\nb", "\u{1b}[2J", "\u{1}cur", "\u{85}", "..\0", "\t", "\u{202e}x"].map(str::to_owned).to_vec();
    if layout == Layout::Fs {
        names.extend(["x".repeat(300), "日".repeat(300), "\u{1}".repeat(300)]);
    }
    names.retain(|name| !name.contains(separator));
    names
}

#[test]
fn names_that_dovecot_would_not_have_come_down_and_are_asked_for_as_the_server_spells_them() {
    for (separator, layout) in SEPARATORS.into_iter().flat_map(|separator| LAYOUTS.map(|layout| (separator, layout))) {
        let crlf = String::from_utf8(corpus::plain("message")).unwrap().replace('\n', "\r\n").into_bytes();
        let server = Scripted::start(vec![crlf]);
        let mut setup = Setup::new(Kind::Full);
        setup.port = server.port;
        setup.root.layout = layout;
        let mut expected: BTreeSet<Vec<String>> =
            forbidden(separator, layout).into_iter().map(|name| vec![name]).collect();
        let some = possible(separator).step_by(4);
        expected.extend(some.map(|(name, ..)| name.iter().map(|&part| part.to_owned()).collect()));
        let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let spelled: Vec<String> = expected.iter().map(|name| quoted(&to_utf7(&name.join(separator)))).collect();
        let lines: String = spelled.iter().map(|name| format!("* LIST () {} {name}\r\n", quoted(separator))).collect();
        let answer = format!("{lines}* LIST () {} INBOX\r\n{{tag}} OK done\r\n", quoted(separator));
        let answer: &'static [u8] = answer.leak().as_bytes();
        server.set_rules(vec![Rule { on: "LIST ", answer, close: false }]);
        setup.sync().expect(0);
        let commands = server.commands();
        for name in &spelled {
            let asked = |command: &String| command.ends_with(&name.to_uppercase()) && !command.starts_with("STATUS");
            assert!(commands.iter().any(asked), "{name} was not opened: {commands:?}");
        }
        expected.insert(vec!["INBOX".to_owned()]);
        let folders = setup.root.folders();
        assert_eq!(folders.keys().cloned().collect::<BTreeSet<_>>(), expected, "{separator} {layout:?}");
        assert!(folders.values().all(|folder| folder.messages().len() == 1));
        setup.sync().expect(0).expect_nothing_done();
        assert_nothing_outside(&setup);
    }
}

//! The tests' own tools, tried on each other: a check that can't fail proves nothing.

use std::fs;
use std::io::Read;
use std::net::TcpStream;

use crate::support::compare;
use crate::support::corpus::{self, DATE};
use crate::support::disk::Disk;
use crate::support::dovecot::{Kind, Server};
use crate::support::imap::Imap;
use crate::support::maildir::Layout;
use crate::support::proxy::{Fault, Proxy};
use crate::support::setup::Setup;

/// Copies everything from the server into the Maildir, the simplest way.
fn copy_by_hand(setup: &Setup) {
    let mut imap = setup.imap();
    for folder in imap.folders() {
        let components: Vec<&str> = folder.iter().map(String::as_str).collect();
        let maildir = setup.root.folder(&components);
        maildir.create();
        maildir.write_keywords(&["work", "todo", "$Junk"]);
        for message in imap.messages(&components) {
            let letters = message.flags.iter().map(|flag| match flag.as_str() {
                "\\Seen" => 'S',
                "\\Answered" => 'R',
                "\\Flagged" => 'F',
                "\\Draft" => 'D',
                "\\Deleted" => 'T',
                "$Forwarded" => 'P',
                "work" => 'a',
                "todo" => 'b',
                "$Junk" => 'c',
                other => panic!("{other}"),
            });
            maildir.deliver(&message.body, Some(&letters.collect::<String>()), Some(message.date));
        }
    }
}

#[test]
fn equal_sides_compare_equal_and_every_difference_is_found() {
    for kind in [Kind::Full, Kind::AnyName, Kind::Bare, Kind::NoUidplus] {
        let setup = Setup::with_mail(kind, &corpus::ordinary(10));
        setup.append(&["INBOX"], &corpus::odd(34));
        setup.imap().create(&["Projekte", "Büro & Co"]);
        copy_by_hand(&setup);
        setup.assert_equal();
        let changes: [&dyn Fn(); 5] = [
            &|| setup.imap().store(&["INBOX"], "3", "+FLAGS (\\Flagged)"),
            &|| setup.imap().store(&["INBOX"], "4", "+FLAGS (later)"),
            &|| setup.imap().create(&["Another"]),
            &|| setup.append(&["Sent"], &corpus::ordinary(1)),
            &|| fs::remove_file(&setup.root.inbox().messages()[5].path).unwrap(),
        ];
        let mut before = 0;
        for change in changes {
            change();
            let found = compare::compare(&mut setup.imap(), &setup.root).len();
            assert!(found > before, "{kind:?}: {found} differences");
            before = found;
        }
    }
}

#[test]
fn maildir_plus_plus_folders_are_found() {
    let mut setup = Setup::new(Kind::Full);
    setup.root.layout = Layout::PlusPlus;
    setup.root.inbox().create();
    setup.root.folder(&["Archive", "2025"]).create();
    let names: Vec<Vec<String>> = setup.root.folders().into_keys().collect();
    assert_eq!(names, [vec!["Archive".to_owned(), "2025".to_owned()], vec!["INBOX".to_owned()]]);
}

#[test]
fn the_bare_server_advertises_nothing_and_prefixes_its_folders() {
    let server = Server::get(Kind::Bare);
    let mut greeting = [0; 400];
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let size = stream.read(&mut greeting).unwrap();
    let greeting = str::from_utf8(&greeting[..size]).unwrap();
    assert!(!greeting.contains("LITERAL+") && !greeting.contains("SASL-IR"), "{greeting}");
    let mut imap = Imap::login(server, &server.new_user());
    imap.create(&["Archiv", "日本"]);
    assert!(imap.folders().contains(&vec!["Archiv".to_owned(), "日本".to_owned()]));
}

#[test]
fn dates_survive_both_directions() {
    let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(3));
    let dates: Vec<i64> = setup.imap().messages(&["INBOX"]).iter().map(|message| message.date).collect();
    assert_eq!(dates, [DATE, DATE + 86_461, DATE + 2 * 86_461]);
    setup.root.inbox().create();
    setup.root.inbox().deliver(b"x\n", None, Some(DATE));
    assert_eq!(setup.root.inbox().messages()[0].date, DATE);
}

#[test]
fn the_proxy_cuts_at_the_byte_and_heals() {
    let server = Server::get(Kind::Full);
    let proxy = Proxy::start(server.port);
    proxy.allow(10, Fault::Cut);
    let mut heard = Vec::new();
    TcpStream::connect(("127.0.0.1", proxy.port)).unwrap().read_to_end(&mut heard).ok();
    assert_eq!((heard.len(), proxy.passed()), (10, 10));
    proxy.heal();
    let mut one = [0; 20];
    TcpStream::connect(("127.0.0.1", proxy.port)).unwrap().read_exact(&mut one).unwrap();
    assert!(one.starts_with(b"* OK "));
}

#[test]
fn a_mounted_file_system_fills_up_and_turns_read_only() {
    let setup = Setup::new(Kind::Full);
    let Some(mut disk) = Disk::mount("64k", setup.path()) else { return };
    let file = disk.path().join("file");
    assert!(fs::write(&file, vec![1; 100_000]).is_err());
    disk.resize("1m");
    fs::write(&file, vec![1; 100_000]).unwrap();
    disk.set_read_only(true);
    assert!(fs::write(&file, b"x").is_err());
    let entrance = disk.entrance();
    let seen = setup.path().join("file");
    let status = std::process::Command::new(&entrance[0]).args(&entrance[1..]).arg("test").arg("-s").arg(seen).status();
    assert!(status.unwrap().success());
}

//! A sync of some folders only: what may have moved to one that was not named is not taken for removed.

use std::fs;

use crate::support::corpus;
use crate::support::dovecot::Kind;
use crate::support::setup::Setup;

fn in_step(kind: Kind) -> Setup {
    let setup = Setup::with_mail(kind, &corpus::ordinary(20));
    setup.imap().create(&["Archive"]);
    setup.append(&["Archive"], &corpus::odd(3));
    setup.sync_in_step();
    setup
}

fn move_three_to_archive(setup: &Setup) {
    let archive = setup.root.folder(&["Archive"]);
    let files = setup.root.inbox().messages().into_iter();
    // A letter means a keyword in its folder only.
    for entry in files.filter(|entry| entry.keywords.is_empty()).take(3) {
        fs::rename(&entry.path, archive.0.join("cur").join(entry.path.file_name().unwrap())).unwrap();
    }
}

#[test]
fn a_message_moved_on_the_server_to_a_folder_not_named_stays_here() {
    for kind in [Kind::Full, Kind::Bare] {
        let setup = in_step(kind);
        setup.imap().transfer(&["INBOX"], "3:5", &["Archive"]);
        for _ in 0..2 {
            let run = setup.run(&["sync", "--json", "test/INBOX"]).expect(1);
            assert!(run.stdout.contains("folder-unfinished"), "{kind:?}: {}", run.stdout);
            assert_eq!(setup.root.inbox().messages().len(), 20, "{kind:?}");
        }
        assert!(setup.recoverable().is_empty());
        setup.sync_in_step();
        assert_eq!(setup.root.folder(&["Archive"]).messages().len(), 6);
    }
}

#[test]
fn a_message_moved_here_to_a_folder_not_named_stays_on_the_server() {
    for kind in [Kind::Full, Kind::Bare] {
        let setup = in_step(kind);
        move_three_to_archive(&setup);
        for _ in 0..2 {
            setup.run(&["sync", "--json", "test/INBOX"]).expect(1);
            assert_eq!(setup.imap().messages(&["INBOX"]).len(), 20, "{kind:?}");
        }
        setup.sync_in_step();
        assert_eq!(setup.imap().messages(&["Archive"]).len(), 6);
        assert!(setup.imap().messages(&["Trash"]).is_empty());
    }
}

#[test]
fn a_message_moved_here_from_a_folder_not_named_is_not_copied() {
    for kind in [Kind::Full, Kind::Bare] {
        let setup = in_step(kind);
        move_three_to_archive(&setup);
        for _ in 0..2 {
            let run = setup.run(&["sync", "--json", "test/Archive"]).expect(1);
            assert!(run.stdout.contains("folder-unfinished"), "{kind:?}: {}", run.stdout);
            assert_eq!(setup.imap().messages(&["Archive"]).len(), 3, "{kind:?}");
        }
        setup.sync_in_step();
        assert_eq!((setup.imap().messages(&["INBOX"]).len(), setup.imap().messages(&["Archive"]).len()), (17, 6));
        assert!(setup.imap().messages(&["Trash"]).is_empty());
    }
}

#[test]
fn what_did_not_move_is_carried_over() {
    let setup = in_step(Kind::Full);
    setup.imap().expunge(&["INBOX"], "3");
    fs::remove_file(&setup.root.inbox().messages()[5].path).unwrap();
    setup.run(&["sync", "--json", "test/INBOX"]).expect(0);
    assert_eq!((setup.root.inbox().messages().len(), setup.imap().messages(&["INBOX"]).len()), (18, 18));
    setup.sync_in_step();
}

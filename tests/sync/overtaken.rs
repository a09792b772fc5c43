//! Folders that others rename on both sides while a sync is at work.

use std::fs;

use crate::support::compare;
use crate::support::corpus;
use crate::support::dovecot::Kind;
use crate::support::meddler::{Meddler, Plan};
use crate::support::setup::Setup;

/// CREATE found it there already: it was fetched as a new folder, and what the renamed maildir held was sent by the next
/// sync.
#[test]
fn a_folder_that_gets_the_name_of_one_about_to_be_created_is_not_doubled() {
    for (kind, extensions) in
        [(Kind::Full, ""), (Kind::Full, "disable = [\"QRESYNC\", \"LIST-STATUS\"]"), (Kind::Bare, "")]
    {
        let mut setup = Setup::new(kind);
        let meddler = Meddler::start(setup.server.port);
        (setup.port, setup.tls) = (meddler.port, "none");
        setup.keys = extensions.to_owned();
        let mut other = setup.imap();
        other.create(&["Work"]);
        setup.append(&["Work"], &corpus::ordinary(5));
        setup.sync().expect(0);
        setup.root.folder(&["New"]).create();
        let (from, to) = (setup.root.folder(&["Work"]).0, setup.root.folder(&["Mine"]).0);
        let before = Box::new(move || {
            other.rename(&["Work"], &["New"]);
            fs::rename(from, to).unwrap();
        });
        meddler.plan(Plan { on: "CREATE", before, lies: "" });
        let run = setup.sync().expect(1);
        assert!(meddler.is_done(), "{kind:?} {extensions:?}");
        assert!(run.stdout.contains("Work got this name on the server"), "{}", run.stdout);
        setup.sync().expect(0);
        setup.sync_in_step();
        let mail = |(name, mails): (Vec<String>, Vec<_>)| (!mails.is_empty()).then(|| (name.concat(), mails.len()));
        let found: Vec<_> = compare::of_server(&mut setup.imap()).into_iter().filter_map(mail).collect();
        assert_eq!(found, [("New".to_owned(), 5)], "{kind:?} {extensions:?}");
    }
}

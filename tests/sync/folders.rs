//! Folders made on either side, whatever their names.

use std::fs;

use crate::support::corpus::{self, DATE};
use crate::support::dovecot::Kind;
use crate::support::setup::Setup;

/// Names that are safe on every server and yet not plain.
const ODD: [&[&str]; 6] = [
    &["Projekte"],
    &["Projekte", "2025", "Büro"],
    &["日本語"],
    &["a&b"],
    &["[Mail] (old)"],
    &["with space", "and more"],
];

/// Names that some servers or file systems can't have as they are.
const AWKWARD: [&[&str]; 16] = [
    &["dotted.name"],
    &["cur"],
    &["Archive", "new", "tmp"],
    &["100%"],
    &["%2F"],
    &["%41"],
    &["Quote\"d"],
    &["Back\\slash"],
    &["star*"],
    &["colon:2,S"],
    &["Case"],
    &["case"],
    &[".hidden"],
    &["trailing."],
    &["dovecot-keywords"],
    &["-option"],
];

#[test]
fn folders_made_on_the_server_appear_here() {
    for kind in [Kind::Full, Kind::Bare] {
        let setup = Setup::with_mail(kind, &corpus::ordinary(2));
        for folder in ODD {
            setup.imap().create(folder);
            setup.append(folder, &corpus::ordinary(2));
        }
        if kind == Kind::Full {
            setup.imap().create(&["INBOX", "below the inbox"]);
        }
        setup.sync_in_step();
        assert!(setup.root.folder(&["Projekte", "2025", "Büro"]).messages().len() == 2, "{kind:?}");
    }
}

#[test]
fn folders_made_here_appear_on_the_server() {
    for kind in [Kind::Full, Kind::Bare, Kind::AnyName] {
        let setup = Setup::with_mail(kind, &corpus::ordinary(2));
        setup.sync_in_step();
        for (at, folder) in ODD.iter().enumerate() {
            let made = setup.root.folder(folder);
            made.create();
            if at % 2 == 0 {
                made.deliver(&corpus::plain("made here"), Some("S"), Some(DATE));
            }
        }
        let run = setup.sync_in_step();
        assert!(run.count("remote", "folders_created") >= ODD.len() as u64, "{kind:?}: {}", run.stdout);
        let folders = setup.imap().folders();
        for folder in ODD {
            let name: Vec<String> = folder.iter().map(|&part| part.to_owned()).collect();
            assert!(folders.contains(&name), "{kind:?}: {name:?} not in {folders:?}");
        }
    }
}

#[test]
fn awkward_names_of_the_server_neither_collide_nor_escape() {
    let setup = Setup::new(Kind::AnyName);
    for (at, folder) in AWKWARD.iter().enumerate() {
        setup.imap().create(folder);
        setup.append(folder, &corpus::ordinary(at.try_into().unwrap()));
    }
    setup.sync_in_step();
    for folder in AWKWARD {
        let path = setup.root.folders().into_iter().find(|(name, _)| name.iter().eq(folder)).unwrap().1;
        path.deliver(&corpus::plain("from here"), Some("S"), Some(DATE));
    }
    setup.sync_in_step();
    assert_eq!(setup.imap().messages(&["colon:2,S"]).len(), 10);
    let outside: Vec<_> = fs::read_dir(setup.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(outside.len(), 4, "only the root, the state, the configuration and the authority: {outside:?}");
}

#[test]
fn patterns_that_leave_out_everything_are_told_of() {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(2));
    setup.extra = "[accounts.test.folders]\ninclude = [\"Inbx\"]\n".to_owned();
    let run = setup.sync().expect(1);
    assert_eq!(run.account()["errors"][0]["code"], "no-folders", "{}", run.stdout);
    setup.extra.clear();
    setup.sync_in_step();
}

#[test]
fn what_can_be_no_folder_is_told_of_until_it_is_excluded() {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(2));
    setup.sync_in_step();
    for odd in ["Lists/.odd", "a%41"] {
        setup.root.folder(&[odd]).create();
        fs::create_dir_all(setup.root.path.join(odd).join("cur")).unwrap();
    }
    let run = setup.sync().expect(1);
    let errors = run.account()["errors"].as_array().unwrap().clone();
    assert!(errors.iter().all(|error| error["code"] == "folder-name") && errors.len() == 2, "{errors:?}");
    setup.extra = "[accounts.test.folders]\nexclude = [\"Lists/.*\", \"a%41\"]\n".to_owned();
    setup.sync().expect(0);
}

/// Servers that don't tell them have folders of the usual names.
#[test]
fn roles_that_the_server_does_not_tell_decide_for_what_is_shown_as_well() {
    let mut setup = Setup::new(Kind::Bare);
    setup.imap().create(&["Spam"]);
    setup.extra = "[accounts.test.folders]\nexclude = [\"role:junk\"]\n".to_owned();
    setup.sync().expect(0);
    assert!(!setup.root.folder(&["Spam"]).0.exists());
    let shown = setup.run(&["folders", "--json"]).expect(0);
    let mapping = shown.account()["mapping"].as_array().unwrap().clone();
    let spam = mapping.iter().find(|folder| folder["server"] == "Spam").unwrap();
    assert_eq!((&spam["takes_part"], &spam["role"]), (&false.into(), &"junk".into()), "{spam}");
}

#[test]
fn folders_left_out_are_left_alone_on_both_sides() {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(2));
    for folder in [&["Lists", "rust"], &["Lists", "go"], &["Keep", "this"]] {
        setup.imap().create(folder);
        setup.append(folder, &corpus::ordinary(2));
    }
    setup.extra = "[accounts.test.folders]\nexclude = [\"Lists/*\", \"role:drafts\"]\n".to_owned();
    setup.sync().expect(0);
    assert!(!setup.root.path.join("Lists/rust").exists() && !setup.root.path.join("Drafts").exists());
    assert_eq!(setup.root.folder(&["Keep", "this"]).messages().len(), 2);
    setup.extra = "[accounts.test.folders]\nexclude = [\"Keep/*\"]\n".to_owned();
    setup.sync().expect(0);
    assert_eq!(setup.root.folder(&["Lists", "go"]).messages().len(), 2);
    assert_eq!(setup.root.folder(&["Keep", "this"]).messages().len(), 2, "a folder that stops matching stays");
    assert_eq!(setup.imap().messages(&["Keep", "this"]).len(), 2);
    for folder in ["test/Keep/this", "test/Nowhere"] {
        let ran = setup.run(&["sync", "--json", folder]).expect(1);
        assert!(ran.stdout.contains("no such folder takes part"), "one known from before is no exception: {ran:?}");
        setup.run(&["sync", "--json", "--dry-run", folder]).expect(1);
    }
}

#[test]
fn a_local_name_maps_a_role_and_what_lies_below() {
    let mut setup = Setup::new(Kind::Full);
    setup.append(&["Sent"], &corpus::ordinary(3));
    setup.imap().create(&["Sent", "2024"]);
    setup.append(&["Sent", "2024"], &corpus::ordinary(2));
    setup.extra = "[accounts.test.folders]\nlocal_names = { \"role:sent\" = \"Outgoing\" }\n".to_owned();
    setup.sync().expect(0);
    setup.sync().expect(0).expect_nothing_done();
    assert_eq!(setup.root.folder(&["Outgoing"]).messages().len(), 3);
    assert_eq!(setup.root.folder(&["Outgoing", "2024"]).messages().len(), 2);
    setup.root.folder(&["Outgoing"]).deliver(&corpus::plain("sent"), Some("S"), Some(DATE));
    setup.sync().expect(0);
    assert_eq!(setup.imap().messages(&["Sent"]).len(), 4);
}

//! A database that is damaged or gone: both sides are united, nothing is removed, nothing doubled, and the user is told.

use std::fs;
use std::path::PathBuf;

use crate::support::compare::{self, Contents};
use crate::support::corpus;
use crate::support::dovecot::Kind;
use crate::support::setup::{Run, Setup};

const PAGE: usize = 4096;

/// Two folders in step, and two messages in the recoverable trash.
fn in_step(kind: Kind) -> Setup {
    let setup = Setup::with_mail(kind, &corpus::ordinary(60));
    setup.imap().create(&["Lists", "rust"]);
    setup.append(&["Lists", "rust"], &corpus::odd(8));
    setup.sync_in_step();
    setup.imap().expunge(&["INBOX"], "7:8");
    setup.sync_in_step();
    setup
}

/// The messages that both sides have.
const ALL: u64 = 58 + 8;

fn beside(setup: &Setup) -> Vec<PathBuf> {
    let entries = fs::read_dir(setup.path().join("state")).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = entries.filter(|path| path.to_string_lossy().contains(".damaged-")).collect();
    found.sort();
    found
}

fn errors(run: &Run) -> Vec<String> {
    let errors = run.account()["errors"].as_array().unwrap().clone();
    errors.iter().map(|error| error["code"].as_str().unwrap().to_owned()).collect()
}

/// Demands that nothing is lost or doubled on either side, and that nothing is left to do.
fn assert_as_before(setup: &Setup, before: &Contents, context: &str) {
    let after = compare::of_root(&setup.root);
    let found = compare::differences(before, "before", &after, "after");
    assert!(found.is_empty(), "{context}: {}", found.join("\n"));
    let found = compare::compare(&mut setup.imap(), &setup.root);
    assert!(found.is_empty(), "{context}: {}", found.join("\n"));
    setup.sync().expect(0).expect_nothing_done();
}

/// Makes of a whole file a damaged one.
type Damage = fn(&[u8]) -> Vec<u8>;

#[test]
fn a_damaged_database_is_set_aside_and_both_sides_are_united() {
    let damages: [(&str, Damage); 6] = [
        ("truncated", |whole| whole[..whole.len() / 2].to_vec()),
        ("cut in a page", |whole| whole[..whole.len() - 1].to_vec()),
        ("garbage header", |whole| [&[b'#'; 100], &whole[100..]].concat()),
        ("all zeros", |whole| vec![0; whole.len()]),
        ("text", |_| b"no database at all\n".to_vec()),
        ("first page overwritten", |whole| [&whole[..100], &[0xff; PAGE - 100], &whole[PAGE..]].concat()),
    ];
    for kind in [Kind::Full, Kind::Bare] {
        let setup = in_step(kind);
        let before = compare::of_root(&setup.root);
        for (number, (damage, change)) in damages.iter().enumerate() {
            let bytes = change(&fs::read(setup.database()).unwrap());
            fs::write(setup.database(), &bytes).unwrap();
            for arguments in [&["sync", "--json", "--dry-run"][..], &["check", "--json"], &["restore", "--json"]] {
                let run = setup.run(arguments);
                assert_ne!(run.code, Some(0), "{damage}: {}", run.stdout);
                assert_eq!(errors(&run), ["database-corrupt"], "{damage}: {}", run.stdout);
                assert_eq!(fs::read(setup.database()).unwrap(), bytes, "{damage}: only looked at");
                assert_eq!(beside(&setup).len(), number);
            }
            let run = setup.sync().expect(1);
            assert_eq!(errors(&run), ["database-rebuilt"], "{damage}: {}", run.stdout);
            assert_eq!(run.account()["adopted"], ALL, "{damage}: {}", run.stdout);
            for side in ["local", "remote"] {
                assert_eq!((run.count(side, "added"), run.count(side, "removed")), (0, 0), "{damage}: {}", run.stdout);
            }
            let aside = beside(&setup);
            assert_eq!(aside.len(), number + 1, "{aside:?}");
            assert!(aside.iter().any(|path| fs::read(path).unwrap() == bytes), "{damage}: kept as it was");
            let path = run.account()["errors"][0]["path"].as_str().unwrap().to_owned();
            assert_eq!(fs::read(path).unwrap(), bytes);
            assert_as_before(&setup, &before, damage);
        }
    }
}

#[test]
fn a_database_that_is_gone_or_empty_is_made_anew() {
    let setup = in_step(Kind::Full);
    let before = compare::of_root(&setup.root);
    for empty in [false, true] {
        fs::remove_file(setup.database()).unwrap();
        if empty {
            fs::write(setup.database(), "").unwrap();
        }
        let run = setup.sync().expect(0);
        assert_eq!(run.account()["adopted"], ALL, "{}", run.stdout);
        assert_as_before(&setup, &before, "gone");
        assert!(beside(&setup).is_empty());
    }
}

/// Damage behind the first page is found when the run is under way, if at all.
#[test]
fn whichever_page_is_damaged_nothing_is_lost_or_doubled() {
    let setup = in_step(Kind::Full);
    let mut before = compare::of_root(&setup.root);
    let (mut page, mut rebuilt) = (1, 0);
    loop {
        let mut bytes = fs::read(setup.database()).unwrap();
        let Some(victim) = bytes.get_mut(page * PAGE..(page + 1) * PAGE) else { break };
        victim.fill(if page % 2 == 0 { 0xff } else { 0 });
        fs::write(setup.database(), bytes).unwrap();
        // Something to do on each side, so that the run has begun to change things when it comes across the damage.
        let new = [corpus::plain(&format!("from here {page}")), corpus::plain(&format!("from there {page}"))];
        setup.root.inbox().deliver(&new[0], Some("S"), Some(corpus::DATE));
        setup.imap().append(&["Lists", "rust"], &new[1], "", Some(corpus::DATE));
        let run = setup.run(&["sync", "--json", "--full"]);
        assert!(matches!(run.code, Some(0 | 1)), "page {page}: {} {}", run.stdout, run.stderr);
        match run.code {
            Some(0) => assert!(errors(&run).is_empty()),
            _ => {
                assert_eq!(errors(&run), ["database-rebuilt"], "page {page}: {}", run.stdout);
                rebuilt += 1;
            }
        }
        let sum: usize = before.values().map(Vec::len).sum();
        before = compare::of_root(&setup.root);
        assert_eq!(before.values().map(Vec::len).sum::<usize>(), sum + 2, "page {page}: {}", run.stdout);
        assert_as_before(&setup, &before, &format!("page {page}"));
        page += 1;
    }
    assert!(rebuilt > 3 && beside(&setup).len() == rebuilt, "{rebuilt} of {page}");
}

/// The damage shows when it is noted down what is about to come: by then more than a batch of messages lies in `tmp`.
#[test]
fn messages_on_their_way_when_the_damage_shows_are_not_taken_for_those_that_come_again() {
    let setup = in_step(Kind::Full);
    setup.append(&["INBOX"], &corpus::ordinary(1_070)[60..]);
    let database = rusqlite::Connection::open(setup.database()).unwrap();
    let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'intent'";
    let page = usize::try_from(database.query_row(root, [], |row| row.get::<_, i64>(0)).unwrap()).unwrap();
    database.close().unwrap();
    let mut bytes = fs::read(setup.database()).unwrap();
    // The page's first free block (sqlite.org/fileformat2.html, 1.6): only who writes to the page looks at it.
    bytes[(page - 1) * PAGE + 1..][..2].copy_from_slice(&[0, 1]);
    fs::write(setup.database(), bytes).unwrap();
    let run = setup.sync().expect(1);
    assert_eq!(errors(&run), ["database-rebuilt"], "{}", run.stdout);
    assert_eq!(run.count("local", "added"), 1_010, "{}", run.stdout);
    setup.assert_equal();
    setup.sync_in_step();
    setup.sync().expect(0).expect_nothing_done();
    setup.run(&["check", "--compare", "--json"]).expect(0);
}

#[test]
fn what_can_be_read_of_the_trash_index_is_taken_over() {
    let setup = in_step(Kind::Full);
    let list = || setup.run(&["restore", "--json"]).account()["items"].clone();
    let before = list();
    assert_eq!(before.as_array().unwrap().len(), 2);
    let mut bytes = fs::read(setup.database()).unwrap();
    // Cut off behind what is read: a damage that leaves most of it.
    bytes.pop();
    fs::write(setup.database(), bytes).unwrap();
    setup.sync().expect(1);
    assert_eq!(list(), before, "the same numbers, folders, runs and times");
    setup.imap().expunge(&["INBOX"], "1");
    setup.sync_in_step();
    let after = list();
    assert!(after[0]["run"].as_u64() > before[0]["run"].as_u64(), "{after}");
    setup.run(&["restore", "--json", "all"]).expect(0);
    setup.sync().expect(0);
    setup.sync_in_step();
    assert_eq!(setup.root.inbox().messages().len(), 60);
}

#[test]
fn another_programs_database_and_a_missing_root_are_left_alone() {
    let setup = in_step(Kind::Full);
    let whole = fs::read(setup.database()).unwrap();
    let other = rusqlite::Connection::open(setup.database()).unwrap();
    other.pragma_update(None, "application_id", 5).unwrap();
    drop(other);
    let run = setup.sync().expect(7);
    assert_eq!(errors(&run), ["database-corrupt"]);
    assert!(beside(&setup).is_empty());

    fs::write(setup.database(), &whole[..whole.len() - 1]).unwrap();
    fs::rename(&setup.root.path, setup.path().join("away")).unwrap();
    let run = setup.sync().expect(5);
    assert_eq!(run.account()["held"][0]["reason"], "root-missing", "{}", run.stdout);
    assert_eq!(errors(&run), ["database-rebuilt"]);
    assert!(!setup.root.path.exists());
    fs::rename(setup.path().join("away"), &setup.root.path).unwrap();
    let run = setup.sync().expect(0);
    assert_eq!(run.account()["adopted"], ALL);
    setup.sync_in_step();
}

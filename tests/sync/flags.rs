//! Flags and keywords, each way.

use std::collections::BTreeSet;

use crate::support::corpus::{self, Mail};
use crate::support::dovecot::Kind;
use crate::support::setup::Setup;

fn mails(flags: &[&'static str]) -> Vec<Mail> {
    let mails = corpus::ordinary(flags.len().try_into().unwrap()).into_iter().zip(flags);
    mails.map(|(mail, flags)| Mail { flags, ..mail }).collect()
}

/// Returns the flags that the server has for the message whose body holds a text.
fn flags_there(setup: &Setup, text: &str) -> BTreeSet<String> {
    let messages = setup.imap().messages(&["INBOX"]);
    let found = messages.into_iter().find(|message| String::from_utf8_lossy(&message.body).contains(text));
    found.unwrap().flags
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[test]
fn every_system_flag_travels_each_way_both_set_and_cleared() {
    for kind in [Kind::Full, Kind::Bare, Kind::NoUidplus] {
        let setup = Setup::with_mail(kind, &mails(&["", "\\Seen \\Flagged", "", "\\Seen"]));
        setup.sync_in_step();
        setup.imap().store(&["INBOX"], "1", "+FLAGS (\\Seen \\Answered \\Flagged \\Draft \\Deleted $Forwarded)");
        setup.imap().store(&["INBOX"], "2", "-FLAGS (\\Seen \\Flagged)");
        let inbox = setup.root.inbox();
        inbox.set_flags(&inbox.find("message 2."), "DFPRST");
        inbox.set_flags(&inbox.find("message 3."), "");
        let run = setup.sync_in_step();
        assert_eq!((run.count("local", "flags"), run.count("remote", "flags")), (2, 2), "{kind:?}: {}", run.stdout);
        assert_eq!(inbox.find("message 0.").flags, "DFPRST".chars().collect());
        assert_eq!(inbox.find("message 1.").flags, BTreeSet::new());
        let all = ["$Forwarded", "\\Answered", "\\Deleted", "\\Draft", "\\Flagged", "\\Seen"];
        assert_eq!(flags_there(&setup, "message 2."), set(&all));
        assert_eq!(flags_there(&setup, "message 3."), set(&[]));
    }
}

#[test]
fn changes_of_both_sides_to_one_message_are_merged() {
    let setup = Setup::with_mail(Kind::Full, &mails(&["\\Seen work"]));
    setup.sync_in_step();
    setup.imap().store(&["INBOX"], "1", "-FLAGS (\\Seen)");
    setup.imap().store(&["INBOX"], "1", "+FLAGS (\\Answered todo)");
    let inbox = setup.root.inbox();
    let work = inbox.letter("work");
    inbox.set_flags(&inbox.find("message 0."), &format!("FS{work}"));
    setup.sync_in_step();
    assert_eq!(flags_there(&setup, "message 0."), set(&["\\Answered", "\\Flagged", "todo", "work"]));
}

#[test]
fn keywords_travel_each_way_through_dovecot_keywords() {
    for kind in [Kind::Full, Kind::Bare] {
        let setup = Setup::with_mail(kind, &mails(&["work todo", "$Junk", ""]));
        setup.sync_in_step();
        let inbox = setup.root.inbox();
        assert_eq!(inbox.find("message 0.").keywords, set(&["work", "todo"]));
        let (work, todo) = (inbox.letter("work"), inbox.letter("todo"));
        inbox.set_flags(&inbox.find("message 0."), &todo.to_string());
        inbox.set_flags(&inbox.find("message 2."), &work.to_string());
        setup.imap().store(&["INBOX"], "2", "+FLAGS (later)");
        setup.sync_in_step();
        assert_eq!(flags_there(&setup, "message 0."), set(&["todo"]), "{kind:?}");
        assert_eq!(flags_there(&setup, "message 2."), set(&["work"]));
        assert_eq!(inbox.find("message 1.").keywords, set(&["$Junk", "later"]));
    }
}

#[test]
fn a_keyword_made_on_disk_reaches_the_server() {
    let setup = Setup::with_mail(Kind::Full, &mails(&["work", ""]));
    setup.sync_in_step();
    let inbox = setup.root.inbox();
    let old = std::fs::read_to_string(inbox.0.join("dovecot-keywords")).unwrap();
    std::fs::write(inbox.0.join("dovecot-keywords"), format!("{old}9 brand-new\n")).unwrap();
    inbox.set_flags(&inbox.find("message 1."), "Sj");
    setup.sync_in_step();
    assert_eq!(flags_there(&setup, "message 1."), set(&["\\Seen", "brand-new"]));
}

#[test]
fn a_letter_without_meaning_is_neither_uploaded_nor_taken_away() {
    let setup = Setup::with_mail(Kind::Full, &mails(&["work"]));
    setup.sync_in_step();
    let inbox = setup.root.inbox();
    let path = inbox.set_flags(&inbox.find("message 0."), &format!("S{}x", inbox.letter("work")));
    setup.sync().expect(0);
    assert_eq!(flags_there(&setup, "message 0."), set(&["\\Seen", "work"]));
    assert!(path.exists());
    std::fs::remove_file(inbox.0.join("dovecot-keywords")).unwrap();
    inbox.set_flags(&inbox.messages()[0].clone(), "FSax");
    setup.sync().expect(0);
    assert_eq!(flags_there(&setup, "message 0."), set(&["\\Flagged", "\\Seen", "work"]), "a lost file removes nothing");
}

#[test]
fn keywords_beyond_the_26_letters_stay_on_the_server() {
    let setup = Setup::with_mail(Kind::Full, &mails(&[""]));
    let keywords: Vec<String> = (0..30).map(|number| format!("keyword{number:02}")).collect();
    setup.imap().store(&["INBOX"], "1", &format!("+FLAGS ({})", keywords.join(" ")));
    setup.sync().expect(0);
    setup.sync().expect(0).expect_nothing_done();
    let inbox = setup.root.inbox();
    let entry = inbox.find("message 0.");
    assert_eq!(entry.keywords.len(), 26);
    let name = entry.path.file_name().unwrap().to_str().unwrap().to_owned();
    let (_, letters) = name.split_once(":2,").unwrap();
    inbox.set_flags(&entry, &format!("S{letters}"));
    setup.sync().expect(0);
    let there = flags_there(&setup, "message 0.");
    assert_eq!(there.len(), 31, "{there:?}");
    setup.sync().expect(0).expect_nothing_done();
}

#[test]
fn a_reader_that_strips_keywords_takes_none_away() {
    let setup = Setup::with_mail(Kind::Full, &mails(&["work todo", "work todo"]));
    setup.sync_in_step();
    let inbox = setup.root.inbox();
    inbox.set_flags(&inbox.find("message 0."), "FS");
    inbox.set_flags(&inbox.find("message 1."), "");
    setup.sync_in_step();
    assert_eq!(flags_there(&setup, "message 0."), set(&["\\Flagged", "\\Seen", "todo", "work"]));
    assert_eq!(inbox.find("message 0.").keywords, set(&["work", "todo"]));
    assert_eq!(flags_there(&setup, "message 1."), set(&[]), "letters alone taken off: meant");
}

//! Names and numbers of folders.

use std::time::Instant;

use super::{TIME, made, pulled, pulled_from, rule};

/// A hundred thousand take longer than a test may, on a busy disk by far.
const FOLDERS: usize = 1000;

#[test]
fn folder_names_of_a_liar_stay_inside_the_root() {
    let (setup, server) = pulled();
    let before = setup.root.inbox().messages();
    let names = b"* LIST (\\HasNoChildren) NIL \"../../escape\"\r\n* LIST () \"/\" \"../up\"\r\n\
        * LIST () \"/\" {5}\r\na\r\nb/\r\n* LIST () \"/\" \"/etc/cron.d\"\r\n* LIST () \"/\" \"INBOX/cur\"\r\n\
        * LIST () \"/\" \"&bad-utf7\" (CHILDINFO (\"SUBSCRIBED\"))\r\n{honest}";
    server.set_rules(vec![rule("LIST ", names)]);
    let run = setup.sync();
    assert!(matches!(run.code, Some(0 | 1)), "{run:?}");
    assert_eq!(setup.root.inbox().messages(), before);
    let outside: Vec<_> = std::fs::read_dir(setup.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(outside.len(), 4, "only the root, the state, the configuration and the authority: {outside:?}");
    assert!(!setup.path().parent().unwrap().join("escape").exists());
}

#[test]
fn names_that_would_leave_the_root_or_take_what_is_in_it_make_no_folder_elsewhere() {
    let (setup, server) = pulled();
    let before = setup.root.inbox().messages();
    let long = format!("* LIST () \"/\" \"{}\"\r\n", "long/".repeat(3000));
    let names = [
        "* LIST () \"/\" \"..\"\r\n* LIST () \"/\" \".\"\r\n* LIST () \"/\" \"\"\r\n* LIST () \"/\" \"//\"\r\n",
        "* LIST () \"/\" \"INBOX/..\"\r\n* LIST () \"/\" \"INBOX/../../escape\"\r\n* LIST () \"/\" \"a/./b\"\r\n",
        "* LIST () \".\" \"...\"\r\n* LIST () \".\" \"a/../../../escape\"\r\n* LIST () NIL \"/tmp/escape\"\r\n",
        "* LIST () \"/\" \"INBOX/new\"\r\n* LIST () \"/\" \"INBOX/tmp/x\"\r\n* LIST () \"/\" \".mailtide\"\r\n",
        "* LIST () \"/\" {3}\r\na\0b\r\n* LIST () \"/\" &AC4-&AC4-/escape\r\n* LIST () \"/\" &AC8-etc\r\n",
        "* LIST () \"/\" \"~root\"\r\n* LIST () \"/\" \"$(touch escape)\"\r\n* LIST () \"/\" \"a\\\\..\\\\b\"\r\n",
        "* LIST () \"\\\\\" \"..\\\\escape\"\r\n* LIST () \"\\\\\" \"dovecot-keywords\"\r\n",
        &long,
    ];
    for lines in names {
        server.set_rules(vec![made("LIST ", format!("{lines}{{honest}}"))]);
        let run = setup.sync();
        assert!(matches!(run.code, Some(0 | 1)), "{lines:.300}: {run:?}");
        assert_eq!(setup.root.inbox().messages(), before, "{lines:.300}");
        let outside = std::fs::read_dir(setup.path()).unwrap().count();
        assert_eq!(outside, 4, "{lines:.300}: only the root, the state, the configuration and the authority");
        let inside = setup.root.inbox().0;
        let inside = std::fs::read_dir(inside).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(inside.filter(|name| name.contains("escape") || name.contains("..")).count() == 0, "{lines:.300}");
    }
    for place in ["/tmp/escape", "/escape", "escape"] {
        assert!(!std::path::Path::new(place).exists(), "{place}");
    }
}

#[test]
fn a_hundred_thousand_folders_are_listed_in_time_and_in_little_memory() {
    let (mut setup, server) = pulled_from(3, "IMAP4rev1 SASL-IR AUTH=PLAIN UIDPLUS UNSELECT LIST-EXTENDED LIST-STATUS");
    setup.extra = "[accounts.test.folders]\ninclude = [\"INBOX\"]\n".to_owned();
    let line = |number| {
        format!(
            "* LIST () \"/\" \"archive {}/folder {number}\"\r\n* STATUS \"archive {0}/folder {number}\" (MESSAGES 5 \
             UIDNEXT 6 UIDVALIDITY 7)\r\n",
            number % 300
        )
    };
    let lines: String = (0..100_000).map(line).collect();
    server.set_rules(vec![made("LIST ", lines + "{honest}")]);
    let started = Instant::now();
    setup.sync().expect(0).expect_nothing_done();
    let folders = setup.run(&["folders", "--json"]);
    assert_eq!(folders.code, Some(0), "{}", folders.stderr);
    assert!(folders.stdout.matches("archive ").count() >= 100_000);
    assert!(started.elapsed() < TIME, "{:?}", started.elapsed());
    server.set_rules(vec![rule("LIST ", b"{honest}")]);
    setup.sync().expect(0).expect_nothing_done();
}

/// Each is made in the Maildir and looked at. That takes most of the time, and nearly all of it for the disk's sake.
#[test]
fn a_thousand_empty_folders_are_synced_in_little_memory() {
    let (setup, server) =
        pulled_from(3, "IMAP4rev1 SASL-IR AUTH=PLAIN UIDPLUS UNSELECT CONDSTORE LIST-EXTENDED LIST-STATUS");
    server.empty_others();
    let name = |number: usize| format!("archive {}/folder {number}", number % 300);
    let line = |number| {
        let name = name(number);
        format!(
            "* LIST () \"/\" \"{name}\"\r\n* STATUS \"{name}\" (MESSAGES 0 UIDNEXT 1 UIDVALIDITY 7 HIGHESTMODSEQ 5)\r\n"
        )
    };
    let lines: String = (0..FOLDERS).map(line).collect();
    server.set_rules(vec![made("LIST ", lines + "{honest}")]);
    setup.sync().expect(0).expect_only(&[("local", "folders_created", FOLDERS as u64)]);
    assert!(setup.root.folder(&[&name(FOLDERS - 1)]).0.join("cur").is_dir());
    server.set_rules(server.rules());
    setup.sync().expect(0).expect_nothing_done();
    assert!(!server.commands().iter().any(|command| command.contains("ARCHIVE")), "nothing has changed");
    assert_eq!(setup.root.inbox().messages().len(), 3);
}

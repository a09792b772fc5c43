//! What servers say, as it is understood.

use super::*;
use crate::model::Flag;
use proptest::prelude::*;

fn reply(text: &[u8]) -> Reply {
    Reply { text: text.to_vec(), literals: Vec::new() }
}

fn data(text: &str) -> Untagged {
    match parse(&reply(text.as_bytes())) {
        Some(Response::Untagged(data)) => data,
        other => panic!("{text}: {other:?}"),
    }
}

fn fetch(text: &str) -> Fetch {
    match data(text) {
        Untagged::Fetch(fetch) => fetch,
        other => panic!("{text}: {other:?}"),
    }
}

fn code(text: &str) -> Option<Code> {
    match parse(&reply(text.as_bytes())) {
        Some(Response::Tagged(_, status) | Response::Untagged(Untagged::Status(status))) => status.code,
        other => panic!("{text}: {other:?}"),
    }
}

fn set(text: &str) -> UidSet {
    uid_set(text.as_bytes())
}

#[test]
fn odd_fetches_say_what_they_say_and_no_more() {
    let whole = fetch("* 9 FETCH (UID 7 FLAGS (\\Seen $Junk \\Recent b\u{e4}d) MODSEQ (12) RFC822.SIZE 5)");
    assert_eq!(whole.flags.unwrap().to_string(), "\\Seen $Junk");
    assert_eq!((whole.uid, whole.size, whole.date), (Uid::new(7), Some(5), None));
    assert_eq!(fetch("* 1 FETCH ()"), Fetch::default());
    assert_eq!(fetch("* 1 FETCH ( UID 3 FLAGS(\\Seen))").uid, Uid::new(3));
    assert!(fetch("* 1 FETCH (UID 3  FLAGS(\\Seen))").flags.unwrap().has(Flag::Seen));
    assert_eq!(fetch("* 1 FETCH (FLAGS NIL UID 3)"), Fetch { uid: Uid::new(3), ..Fetch::default() });
    assert_eq!(fetch("* 1 FETCH (UID 3 FLAGS (\\Seen").flags, None, "cut off is not known");
    assert!(fetch("* 1 FETCH (FLAGS (\"\\\\Seen\" a%b (x)) UID 3)").flags.unwrap().has(Flag::Seen));
    assert_eq!(fetch("* 1 FETCH (INTERNALDATE NIL MODSEQ 12 UID 3)").date, Some(None));
    assert_eq!(fetch("* 1 FETCH (UID 99999999999 RFC822.SIZE 99999999999)").uid, None);
    assert_eq!(fetch("* 1 FETCH (RFC822.SIZE 99999999999)").size, Some(99_999_999_999));
    assert_eq!(fetch("* 5 UIDFETCH (FLAGS ())").uid, Uid::new(5));
    assert_eq!(fetch("* 1 FETCH (BODY[] NIL UID 3)").body, Some(("BODY[]".to_owned(), Body::Nil)));
    assert_eq!(fetch("* 1 FETCH (body[] \"hi\" UID 3)").body, Some(("BODY[]".to_owned(), Body::Inline(b"hi".into()))));
    let nested = format!("* 1 FETCH (UID 3 BODYSTRUCTURE {} FLAGS ())", "(".repeat(100_000));
    assert_eq!(fetch(&nested).flags, None);
}

#[test]
fn email_ids_of_both_forms_and_nothing_that_is_none() {
    let id = |value: &str| {
        let fetch = fetch(&format!("* 1 FETCH (UID 3 {value} FLAGS (\\Seen))"));
        assert_eq!(fetch.uid, Uid::new(3), "{value}");
        fetch.flags.map(|_| fetch.email_id)
    };
    let (email, gmail) = (EmailId::of(b"M6d99ac3275bb4e"), EmailId::of(b"gmail:1278455344230334865"));
    assert_eq!(id("EMAILID (M6d99ac3275bb4e)"), Some(Some(email)));
    assert_eq!(id("emailid ( \"M6d99ac3275bb4e\" )"), Some(Some(email)));
    assert_eq!(id("X-GM-MSGID 1278455344230334865"), Some(Some(gmail)));
    for both in ["EMAILID (M6d99ac3275bb4e) X-GM-MSGID 5", "X-GM-MSGID 5 EMAILID (M6d99ac3275bb4e) THREADID NIL"] {
        assert_eq!(id(both), Some(Some(email)), "{both}");
    }
    assert_ne!(id("EMAILID (1278455344230334865)"), Some(Some(gmail)), "a word of another language");
    assert_ne!(id("EMAILID (m6d99ac3275bb4e)"), Some(Some(email)), "case counts");
    let long = format!("EMAILID ({})", "x".repeat(256));
    for none in ["NIL", "()", "(a b)", "((a))", "(NIL)", "(a.b)", "(\"\")", "\"a\"", ""] {
        assert_eq!(id(&format!("EMAILID {none}")), Some(None), "{none}");
    }
    for none in [&long, "X-GM-MSGID NIL", "X-GM-MSGID (5)", "X-GM-MSGID 0", "X-GM-MSGID 99999999999999999999"] {
        assert_eq!(id(none), Some(None), "{none}");
    }
    assert_eq!(id("X-GM-MSGID \"x\" X-GM-MSGID"), Some(None));
    for cut in ["* 1 FETCH (UID 3 EMAILID (a", "* 1 FETCH (UID 3 EMAILID", "* 1 FETCH (UID 3 X-GM-MSGID)"] {
        assert_eq!(fetch(cut), Fetch { uid: Uid::new(3), ..Fetch::default() }, "{cut}");
    }
}

#[test]
fn searches_and_vanished_of_every_form() {
    assert_eq!(data("* SEARCH"), Untagged::Search(UidSet::new()));
    assert_eq!(data("* SEARCH 3 1 2 (MODSEQ 9)"), Untagged::Search(set("1:3")));
    assert_eq!(data("* ESEARCH (TAG \"m1\") UID COUNT 4 ALL 1:3,5"), Untagged::Search(set("1:3,5")));
    assert_eq!(data("* ESEARCH (TAG \"m1\") UID"), Untagged::Search(UidSet::new()));
    for garbled in ["* SEARCH 1 2 x 5", "* SEARCH 1 99999999999", "* ESEARCH UID ALL 1,x", "* ESEARCH UID ALL"] {
        assert_eq!(data(garbled), Untagged::Other, "{garbled}");
    }
    assert_eq!(data("* VANISHED (EARLIER) 1:*"), Untagged::Vanished { earlier: true, uids: set("1:4294967295") });
    assert_eq!(data("* VANISHED 5:3,x,0"), Untagged::Vanished { earlier: false, uids: set("3:5") });
    assert_eq!(data("* VANISHED"), Untagged::Vanished { earlier: false, uids: UidSet::new() });
}

#[test]
fn listings_of_every_form() {
    let listed = |text: &str| match data(text) {
        Untagged::List(listed) => (listed.separator, String::from_utf8_lossy(&listed.name).into_owned()),
        other => panic!("{other:?}"),
    };
    assert_eq!(listed("* LIST (\\HasChildren) \"/\" \"a\\b\""), (Some(b'/'), "a\\b".to_owned()));
    assert_eq!(listed("* LIST () \"\\\\\" a*b"), (Some(b'\\'), "a*b".to_owned()));
    assert_eq!(listed("* LIST () . a b c (\"CHILDINFO\" (\"SUBSCRIBED\"))"), (Some(b'.'), "a b c".to_owned()));
    assert_eq!(listed("* LIST NIL NIL INBOX"), (None, "INBOX".to_owned()));
    assert_eq!(data("* LIST () \"/\""), Untagged::Other);
    let Untagged::MailboxStatus(status) = data(
        "* STATUS a (MESSAGES 3 SIZE 9 DELETED 1 MAILBOXID (F1) X (y (z)) UIDVALIDITY 9999999999 HIGHESTMODSEQ 0)",
    ) else {
        panic!()
    };
    let mark = status.watermark.unwrap();
    assert_eq!((mark.uid_validity.0, mark.messages, mark.uid_next, mark.mod_seq), (9_999_999_999, 3, 0, None));
    assert_eq!(status.object_id.as_deref(), Some("F1"));
    let Untagged::Namespace(all) =
        data("* NAMESPACE ((\"INBOX.\" \".\" \"X\" (\"y\"))(\"b\" NIL)) NIL ((\"#s.\" \".\"))")
    else {
        panic!()
    };
    assert_eq!((all.personal.len(), all.foreign.len(), all.personal[1].separator), (2, 1, None));
}

#[test]
fn status_responses_keep_their_code_and_survive_any_text() {
    assert_eq!(code("* OK [ALERT]\u{e9}"), Some(Code::Word("ALERT".to_owned())));
    assert_eq!(code("m1 OK [HIGHESTMODSEQ 0]"), Some(Code::HighestModSeq(None)));
    assert_eq!(code("m1 NO [TryCreate] no"), Some(Code::Word("TRYCREATE".to_owned())));
    assert_eq!(code("m1 OK [COPYUID 1 2"), None);
    let Some(Code::CopyUid(copy)) = code("m1 OK [COPYUID 9999999999 5,3 8:9] done") else { panic!() };
    let pair = |a, b| (Uid::new(a).unwrap(), Uid::new(b).unwrap());
    assert_eq!((copy.validity.0, copy.from, copy.to), (9_999_999_999, vec![pair(5, 5), pair(3, 3)], vec![pair(8, 9)]));
    let Some(Code::PermanentFlags(permanent)) = code("* OK [PERMANENTFLAGS (\\Seen a] \\*)] x") else { panic!() };
    assert!(permanent.new_keywords && permanent.flags.has(Flag::Seen) && !permanent.flags.has(Flag::Draft));
    assert_eq!(parse(&reply(b"")), None);
    assert_eq!(parse(&reply(b"m1 WHAT")), None);
    assert_eq!(data("* XYZ 5"), Untagged::Other);
    assert_eq!(data("* QUOTA \"\" (STORAGE -1)"), Untagged::Other);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        let _response = parse(&reply(&bytes));
    }

    #[test]
    fn any_mixture_of_words_is_read_without_panic(words in proptest::collection::vec(prop_oneof![
        Just("*"), Just("1"), Just("FETCH"), Just("("), Just(")"), Just("FLAGS"), Just("UID"), Just("BODY[]"), Just("LIST"),
        Just("STATUS"), Just("NAMESPACE"), Just("OK"), Just("["), Just("]"), Just("COPYUID"), Just("1:*"), Just("\""),
        Just("NIL"), Just("VANISHED"), Just("ESEARCH"), Just("ALL"), Just("INTERNALDATE"), Just("EMAILID"), Just("X-GM-MSGID"), Just("é"), Just("\\"),
    ], 0..14)) {
        let _response = parse(&reply(format!("* {}", words.join(" ")).as_bytes()));
    }
}

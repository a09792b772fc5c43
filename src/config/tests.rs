//! The configuration from text to meaning, and every way it can be wrong.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use super::paths::Places;
use super::raw::Command;
use super::{Account, Config, ConfigError, Secret};
use crate::imap::{Compress, Tls};
use crate::maildir::Layout;
use crate::model::{MailboxName, Role};
use crate::reconcile::policy::{Delete, KeepDeleted, MaxDelete};
use crate::reconcile::scope::{Pattern, Scope};

fn load_with(text: &str, mode: u32) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
    let places = Places { home: "/home/me".into(), config: file.clone(), state: "/home/me/state".into() };
    Config::load(&file, &places)
}

fn load(text: &str) -> Result<Config, String> {
    load_with(text, 0o600).map_err(|error| {
        let at = error.at.map(|at| format!("{}:{}: ", at.line, at.column)).unwrap_or_default();
        format!("{at}{}", error.message)
    })
}

fn only(text: &str) -> Account {
    load(text).unwrap().accounts.remove(0)
}

/// An account with further lines; these start at line 5.
fn with(lines: &str) -> Result<Config, String> {
    load(&format!("[accounts.a]\nhost = \"h\"\nuser = \"u\"\npassword_command = \"p\"\n{lines}"))
}

#[test]
fn the_shortest_account_has_every_default() {
    let config =
        load("[accounts.work]\nhost = \"imap.example.org\"\nuser = \"me\"\npassword_command = \"pass x\"").unwrap();
    assert_eq!(config.state_dir, PathBuf::from("/home/me/state"));
    let account = &config.accounts[0];
    assert!(account.enabled);
    assert_eq!((account.server.port, account.server.tls, account.server.connections), (993, Tls::Implicit, 4));
    assert_eq!((account.server.timeout, account.server.compress), (Duration::from_secs(60), Compress::Auto));
    assert_eq!(account.maildir.root, PathBuf::from("/home/me/Mail/work"));
    assert_eq!(account.maildir.layout, Layout::Fs);
    assert_eq!(account.maildir.trash, PathBuf::from("/home/me/state/trash/work"));
    assert_eq!(account.database, PathBuf::from("/home/me/state/work.sqlite3"));
    assert_eq!(account.lock, PathBuf::from("/home/me/state/work.lock"));
    assert_eq!(account.policy.scope, Scope::default());
    assert_eq!(account.policy.delete, Delete::Trash);
    assert_eq!(account.policy.max_delete, MaxDelete::default());
    assert_eq!(account.policy.keep_deleted, KeepDeleted::For(Duration::from_secs(14 * 86_400)));
    assert!(matches!(&account.secret, Secret::PasswordCommand(Command::Shell(line)) if line == "pass x"));
}

#[test]
fn every_key_means_what_it_says() {
    let account = only(
        r#"
        state_dir = "~/st"
        [accounts.w]
        protocol = "imap"
        host = "h"
        tls = "starttls"
        user = "u"
        oauth2.token_command = ["pizauth", "show", "w"]
        enabled = false
        ca_file = "/dev/null"
        tls_fingerprint = "sha256:00:01:02:03:04:05:06:07:08:09:0a:0b:0c:0d:0e:0f:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F"
        insecure_plaintext = true
        timeout = "2min"
        connections = 2
        compress = "off"
        disable = ["QRESYNC", "list-status"]
        [accounts.w.maildir]
        path = "/mail"
        layout = "maildir++"
        [accounts.w.folders]
        include = ["a*", "role:sent"]
        exclude = ["b"]
        subscribed_only = true
        local_names = { "role:sent" = "Sent", "Inbox" = "In" }
        [accounts.w.sync]
        mode = "both"
        delete = "flag"
        keep_deleted = "forever"
        max_delete = { at_most = 7 }
        "#,
    );
    assert!(!account.enabled);
    assert_eq!((account.server.port, account.server.tls, account.server.connections), (143, Tls::StartTls, 2));
    assert_eq!(account.server.ca_file, Some("/dev/null".into()));
    assert_eq!(account.server.tls_fingerprint, Some(std::array::from_fn(|n| u8::try_from(n).unwrap())));
    assert!(account.server.insecure_plaintext);
    assert_eq!(account.server.timeout, Duration::from_secs(120));
    assert_eq!(account.server.compress, Compress::Off);
    assert_eq!(account.server.disable, ["QRESYNC", "LIST-STATUS"]);
    assert_eq!((account.maildir.root, account.maildir.layout), ("/mail".into(), Layout::MaildirPlusPlus));
    assert_eq!(account.database, PathBuf::from("/home/me/st/w.sqlite3"));
    assert!(matches!(&account.secret, Secret::TokenCommand(Command::Argv(words)) if words.len() == 3));
    let scope = account.policy.scope;
    assert_eq!(scope.include, [Pattern::Glob("a*".into()), Pattern::Role(Role::Sent)]);
    assert_eq!(scope.exclude, [Pattern::Glob("b".into())]);
    assert!(scope.subscribed_only);
    let name = |text| MailboxName::parse(text).unwrap();
    assert_eq!(
        scope.local_names,
        [(Pattern::Glob("INBOX".into()), name("In")), (Pattern::Role(Role::Sent), name("Sent"))]
    );
    assert_eq!(account.policy.delete, Delete::Flag);
    assert_eq!(account.policy.max_delete, MaxDelete { at_most: 7, ..MaxDelete::default() });
    assert_eq!(account.policy.keep_deleted, KeepDeleted::Forever);
}

#[test]
fn defaults_merge_tables_and_give_way_to_arrays_and_values() {
    let config = load(
        r#"
        [defaults]
        connections = 2
        password_command = "shared"
        folders.exclude = ["x", "y"]
        folders.subscribed_only = true
        folders.local_names = { "A" = "B", "C" = "D" }
        sync.max_delete = { percent = 10, at_least = 5 }
        [accounts.a]
        host = "h"
        user = "u"
        folders.exclude = ["z"]
        folders.local_names = { "A" = "E" }
        sync.max_delete = { percent = 20 }
        [accounts.b]
        host = "h"
        user = "u"
        connections = 9
        password = "own"
        "#,
    )
    .unwrap();
    let [a, b] = &config.accounts[..] else { panic!("two accounts") };
    assert_eq!((a.server.connections, b.server.connections), (2, 9));
    assert!(matches!(&a.secret, Secret::PasswordCommand(_)));
    assert!(matches!(&b.secret, Secret::Password(_)), "an account's own secret replaces the shared one");
    assert_eq!(a.policy.scope.exclude, [Pattern::Glob("z".into())]);
    assert_eq!(b.policy.scope.exclude.len(), 2);
    assert!(a.policy.scope.subscribed_only);
    let names = |account: &Account| -> Vec<String> {
        account.policy.scope.local_names.iter().map(|(from, to)| format!("{from}={to}")).collect()
    };
    assert_eq!((names(a), names(b)), (vec!["A=E".into(), "C=D".into()], vec!["A=B".into(), "C=D".into()]));
    assert_eq!(a.policy.max_delete, MaxDelete { percent: 20, at_least: 5, at_most: 2000 });
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (lines, expected) in [
        ("hots = 1", "5:1: unknown key `hots`"),
        ("[accounts.a.sync]\ndelte = \"trash\"", "6:1: unknown key `delte`"),
        ("port = \"993\"", "5:8: invalid type: string \"993\", expected u16"),
        ("port = 70000", "5:8: invalid value: integer `70000`, expected u16"),
        ("port = 0", "5:8: port can't be 0"),
        ("disable = \"QRESYNC\"", "5:11: invalid type: string \"QRESYNC\", expected a sequence"),
        ("connections = 0", "5:15: connections can't be 0"),
        ("tls = \"ssl\"", "5:7: tls can't be \"ssl\""),
        ("protocol = \"jmap\"", "5:12: protocol can't be \"jmap\""),
        ("timeout = \"soon\"", "5:11: timeout can't be \"soon\""),
        ("timeout = \"0s\"", "5:11: timeout can't be 0"),
        ("ca_file = \"ca.pem\"", "5:11: \"ca.pem\" is neither an absolute path nor one that starts with ~/"),
        (
            "ca_file = \"~/none.pem\"",
            "5:11: ca_file /home/me/none.pem can't be read: No such file or directory (os error 2)",
        ),
        ("tls = \"none\"", "5:7: the connection to h would not be protected"),
        ("compress = \"yes\"", "5:12: compress can't be \"yes\""),
        ("compress = true", "5:12: invalid type: boolean `true`, expected a string"),
        ("tls_fingerprint = \"sha256:00\"", "5:19: this is no certificate fingerprint"),
        ("tls_fingerprint = \"sha1:00\"", "5:19: this is no certificate fingerprint"),
        ("password = \"x\"", "4:20: this account has more than one secret"),
        ("oauth2.token_command = \"x\"", "5:8: this account has more than one secret"),
        ("maildir.path = \"Mail\"", "5:16: \"Mail\" is neither an absolute path nor one that starts with ~/"),
        ("maildir.layout = \"mbox\"", "5:18: maildir.layout can't be \"mbox\""),
        ("folders.include = [\"a\", \"\"]", "5:25: an empty pattern matches no folder"),
        (
            "folders.exclude = [\"role:spam\"]",
            "5:20: \"spam\" is no role; the roles are all, archive, drafts, flagged, important, junk, sent and trash",
        ),
        ("folders.local_names = { \"A\" = \"C\", \"B\" = \"C\" }", "5:42: \"A\" and \"B\" would both be called \"C\""),
        ("folders.local_names = { \"A\" = \"x//y\" }", "5:31: \"x//y\" can't be the name of a folder"),
        ("sync.delete = \"always\"", "5:15: sync.delete can't be \"always\""),
        ("sync.keep_deleted = \"14\"", "5:21: sync.keep_deleted can't be \"14\""),
        ("sync.max_delete = { percent = 101 }", "5:31: max_delete.percent is at most 100"),
        ("host = \"again\"", "5:1: duplicate key"),
        ("enabled = yes", "5:11: string values must be quoted, expected literal string"),
    ] {
        assert_eq!(with(lines).unwrap_err(), expected, "{lines}");
    }
}

#[test]
fn keys_of_later_work_are_refused_by_name() {
    for (lines, expected) in [
        ("keyring = true", "5:11: keyring is not supported yet"),
        ("protocol = \"pop3\"", "5:12: protocol = \"pop3\" is not supported yet"),
        ("pop3.folder = \"INBOX\"", "5:1: pop3 is not supported yet"),
        ("oauth2.client_id = \"x\"", "5:8: oauth2.client_id is not supported yet"),
        ("sync.mode = \"pull\"", "5:13: sync.mode = \"pull\" is not supported yet"),
        ("sync.max_message_size = \"5MB\"", "5:25: sync.max_message_size is not supported yet"),
        ("sync.bodies = \"full\"", "5:15: sync.bodies is not supported yet"),
        ("sync.keep_local = \"all\"", "5:19: sync.keep_local is not supported yet"),
        ("watch.poll = \"1s\"", "5:14: watch.poll can't be less than 10s"),
        ("watch.poll = \"2y\"", "5:14: watch.poll can't be more than a year"),
        ("watch.poll = \"300000000000y\"", "5:14: watch.poll can't be more than a year"),
        ("watch.poll = \"often\"", "5:14: watch.poll can't be \"often\""),
        ("[[accounts.a.rules]]\nfolders = []", "5:1: rules is not supported yet"),
        ("[hooks]\non_change = []", "6:13: this command is empty"),
        ("[hooks]\nafter = \"x\"", "6:1: unknown key `after`"),
        ("[groups]\nx = [\"a\"]", "5:1: groups is not supported yet"),
        ("[defaults]\nkeyring = true", "6:11: keyring is not supported yet"),
    ] {
        assert_eq!(with(lines).unwrap_err(), expected, "{lines}");
    }
}

#[test]
fn an_account_is_complete_and_well_named() {
    for (text, expected) in [
        ("", "1:1: there is no account"),
        ("[accounts.a]\nuser = \"u\"\npassword = \"p\"", "1:11: this account has no host"),
        ("[accounts.a]\nhost = \"h\"\npassword = \"p\"", "1:11: this account has no user"),
        ("[accounts.a]\nhost = \"h\"\nuser = \"u\"", "1:11: this account has no password_command"),
        ("[accounts.a]\nhost = \"a b\"\nuser = \"u\"", "2:8: \"a b\" can't be a host"),
        ("[accounts.a]\nhost = \"h\"\nuser = \"u\"\npassword_command = []", "4:20: this command is empty"),
        ("[accounts.\".a\"]", "1:11: \".a\" can't be the name of an account"),
        ("[accounts.\"a/b\"]", "1:11: \"a/b\" can't be the name of an account"),
        ("[defaults]\nhost = \"h\"", "2:8: host can't have a default"),
    ] {
        assert_eq!(load(text).unwrap_err(), expected, "{text}");
    }
}

#[test]
fn roots_are_kept_apart_across_accounts() {
    let two = |a: &str, b: &str| {
        let account = |name, path| {
            format!(
                "[accounts.{name}]\nhost = \"h\"\nuser = \"u\"\npassword_command = \"p\"\nmaildir.path = \"{path}\"\n"
            )
        };
        load(&(account("a", a) + &account("b", b))).map(|_| ())
    };
    assert_eq!(two("~/Mail/a", "~/Mail/b"), Ok(()));
    assert_eq!(
        two("~/Mail/a", "/home/me/Mail/a").unwrap_err(),
        "10:16: the Maildir root /home/me/Mail/a of account b is also the root of account a"
    );
    assert_eq!(
        two("~/Mail/a/b", "~/Mail").unwrap_err(),
        "10:16: the Maildir root /home/me/Mail of account b and the root of account a lie in one another"
    );
    assert_eq!(
        two("~/Mail/a", "~/state/x").unwrap_err(),
        "10:16: the Maildir root /home/me/state/x of account b and the state directory lie in one another"
    );
}

#[test]
fn a_password_is_only_read_from_a_private_file_and_never_repeated() {
    let text = "[accounts.a]\nhost = \"h\"\nuser = \"u\"\npassword = \"s3cret\"";
    for mode in [0o640, 0o604, 0o660] {
        let error = load_with(text, mode).unwrap_err();
        assert!(error.to_string().ends_with(":4:12: others can read this file, and it holds a password"), "{error}");
    }
    assert!(load_with(text, 0o600).is_ok());
    assert!(load_with(&text.replace("password =", "password_command ="), 0o644).is_ok());
    for value in ["12345", "1.2345", "[12345]", "12345", "\"12345", "12345x", "{ x = 12345 }", "true"] {
        let error = load(&text.replace("\"s3cret\"", value)).unwrap_err();
        assert!(!error.contains("2345") && error.starts_with("4:"), "{error}");
    }
}

#[test]
fn a_missing_file_says_how_to_begin() {
    let places = Places { home: "/home/me".into(), config: "/nonexistent/c".into(), state: "/s".into() };
    let error = Config::load(&places.config, &places).unwrap_err();
    assert!(error.missing);
    assert_eq!(error.to_string(), "/nonexistent/c: there is no such configuration file");
    assert!(error.hint.contains("[accounts.work]\nhost = "), "{}", error.hint);
}

#[test]
fn the_example_is_a_configuration() {
    let (_, example) = super::read::EXAMPLE.split_once('\n').unwrap();
    assert_eq!(example.lines().count(), 5);
    assert_eq!(only(example).name, "work");
}

/// Pieces of which configurations are made, and of what they are not.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "[accounts.a]\n",
        "[defaults]\n",
        "[accounts.a.sync]\n",
        "[[accounts.a.rules]]\n",
        "host = \"h\"\n",
        "user = 'u'\n",
        "password = \"Zq9\"\n",
        "password_command = [\"p\"]\n",
        "port = 99999\n",
        "timeout = \"1s\"\n",
        "disable = []\n",
        "max_delete = { percent = 5 }\n",
        "folders.include = [\"*\", \"role:\"]\n",
        "maildir.path = \"~/x\"\n",
        "state_dir = \"/\"\n",
        "folders.local_names = { \"A\" = \"B\" }\n",
        "oauth2.token_command = \"t\"\n",
        "tls_fingerprint = \"sha256:é\"\n",
    ];
    prop_oneof![8 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => any::<String>(), 1 => "[\\[\\]{}=\"'.#\n ]{0,6}"]
}

proptest! {
    #[test]
    fn any_text_is_a_configuration_or_told_with_its_place(pieces in proptest::collection::vec(piece(), 0..12)) {
        let text = pieces.concat();
        if let Err(error) = load_with(&text, 0o600) {
            prop_assert!(!error.message.is_empty());
            let at = error.at.expect("a place in the file");
            prop_assert!(at.line >= 1 && at.line <= text.split('\n').count(), "{error} in {text:?}");
            prop_assert!(text.matches("password").count() != 1 || !error.to_string().contains("Zq9"), "{error}");
        }
    }
}

#[test]
fn watching_and_hooks_have_their_defaults_and_values() {
    let config = with("").unwrap();
    assert_eq!(config.accounts[0].watch.poll, Duration::from_secs(300));
    assert_eq!(config.accounts[0].watch.folders, [Pattern::Glob("*".to_owned())]);
    assert_eq!(config.hooks, super::Hooks::default());
    let config = with("watch = { poll = \"1h\", folders = [\"Work/*\"] }\n[hooks]\nbefore_sync = \"\"\non_new_mail = \"notmuch new\"\non_change = [\"a\", \"b\"]").unwrap();
    assert_eq!(config.accounts[0].watch.poll, Duration::from_secs(3600));
    assert_eq!(config.accounts[0].watch.folders, [Pattern::Glob("Work/*".to_owned())]);
    assert_eq!(config.hooks.before_sync, None);
    assert_eq!(config.hooks.on_new_mail, Some(Command::Shell("notmuch new".to_owned())));
    assert_eq!(config.hooks.on_change, Some(Command::Argv(vec!["a".to_owned(), "b".to_owned()])));
}

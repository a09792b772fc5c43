//! The command line from outside: exact words, JSON, exit codes.
#![cfg(test)]

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use mailtide::model::{MailboxId, MailboxName, Timestamp};
use mailtide::state::{Database, Lock};
use mailtide::store::{Journal, Record, Trashed};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Nothing listens on this port of loopback.
const REFUSED: &str =
    "[accounts.work]\nhost = \"127.0.0.1\"\nport = 1\ntls = \"none\"\nuser = \"me\"\npassword_command = \"echo x\"\n";

/// A home directory of its own with a configuration at the usual place.
struct Home {
    dir: TempDir,
}

impl Home {
    fn new(config: &str) -> Self {
        let home = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir_all(home.config().parent().unwrap()).unwrap();
        fs::write(home.config(), config).unwrap();
        fs::set_permissions(home.config(), Permissions::from_mode(0o600)).unwrap();
        home
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn config(&self) -> PathBuf {
        self.path(".config/mailtide/config.toml")
    }

    fn state_dir(&self) -> PathBuf {
        let dir = self.path(".local/state/mailtide");
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailtide"));
        command.args(arguments).env_clear().env("HOME", self.dir.path()).env("PATH", std::env::var_os("PATH").unwrap());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().unwrap())
    }
}

#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    /// The one object of `--json`; anything else on either stream fails the test.
    fn json(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "{self:?}");
        assert_eq!(self.stderr, "");
        let value: Value = serde_json::from_str(&self.stdout).unwrap();
        assert_eq!(value["version"], 1);
        assert_eq!(value["mailtide"], env!("CARGO_PKG_VERSION"));
        assert_eq!(value["exit_code"].as_i64(), self.code.map(i64::from));
        assert_eq!(value["started"].as_str().unwrap().len(), "2026-11-22T01:02:03Z".len());
        value
    }
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn help_and_version_go_to_stdout() {
    let home = Home::new("");
    let version = home.run(&["-V"]);
    assert_eq!(
        (version.code, version.stdout.as_str()),
        (Some(0), concat!("mailtide ", env!("CARGO_PKG_VERSION"), "\n"))
    );
    let help = home.run(&["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    let commands: Vec<&str> = help
        .stdout
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .map_while(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(commands, ["sync", "watch", "status", "folders", "check", "restore", "help"], "only what there is");
}

#[test]
fn usage_errors_exit_2_and_print_nothing_on_stdout() {
    let home = Home::new(REFUSED);
    for arguments in [
        &["sink"][..],
        &[],
        &["sync", "--accept-held"],
        &["sync", "--undo-held"],
        &["sync", "--accept-held", "--undo-held", "work"],
        &["sync", "--wait=soon"],
        &["-q", "-v", "sync"],
        &["-q", "sync", "--json"],
        &["-q", "watch", "--json"],
        &["restore", "run-x"],
        &["restore", "../x"],
        &["restore", "--since", "yesterday"],
        &["restore", "--folder", "a//b"],
        &["restore", "--wait", "all"],
        &["-q", "restore", "--json"],
    ] {
        let ran = home.run(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(!ran.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_missing_configuration_says_where_and_how_to_begin() {
    let home = Home::new("");
    fs::remove_file(home.config()).unwrap();
    let ran = home.run(&["sync"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    let expected = format!(
        "error: {}: there is no such configuration file\n\
         hint: write it; an account takes these five lines:\n  \
         [accounts.work]\n  host = \"imap.example.org\"\n  user = \"me@example.org\"\n  \
         password_command = \"pass show mail/work\"\n  maildir.path = \"~/Mail/work\"\n",
        home.config().display()
    );
    assert_eq!(ran.stderr, expected);
    assert_eq!(home.run(&["sync", "--json"]).json()["errors"][0]["code"], "config-missing");
}

#[test]
fn the_configuration_comes_from_the_option_or_the_environment() {
    let home = Home::new(REFUSED);
    for (name, text) in [("option", "a = 1"), ("environment", "b = 1")] {
        fs::write(home.path(name), text).unwrap();
    }
    let environment = |arguments: &[&str]| {
        Ran::from(home.command(arguments).env("MAILTIDE_CONFIG", home.path("environment")).output().unwrap()).stderr
    };
    assert!(environment(&["sync"]).contains("environment:1:1: unknown key `b`"));
    let option = home.path("option");
    assert!(environment(&["-c", option.to_str().unwrap(), "sync"]).contains("option:1:1: unknown key `a`"));
    let elsewhere = home.command(&["sync"]).env("XDG_CONFIG_HOME", home.path("xdg")).output().unwrap();
    let expected = home.path("xdg/mailtide/config.toml");
    assert!(Ran::from(elsewhere).stderr.starts_with(&format!("error: {}: there is no such", expected.display())));
}

#[test]
fn configuration_errors_are_told_with_line_and_column_before_anything_is_touched() {
    for (config, expected) in [
        ("[accounts.work]\nhots = \"h\"\n", "2:1: unknown key `hots`\nhint: correct its spelling or remove it\n"),
        (
            "[accounts.work]\nhost = \"h\"\nuser = \"u\"\npassword_command = \"p\"\nport = \"993\"\n",
            "5:8: invalid type: string \"993\", expected u16\nhint: correct the file\n",
        ),
        (
            "[accounts.work]\nhost = \"h\"\n[groups]\n",
            "3:1: groups is not supported yet\nhint: remove it; this version can't do what it asks for\n",
        ),
        (
            "[accounts.work]\nhost = \"h\"\nuser = \"u\"\n",
            "1:11: this account has no password_command\n\
             hint: give it exactly one of password_command, password and oauth2.token_command\n",
        ),
        ("[accounts.work]\nhost = \"h\n", "2:10: invalid basic string, expected `\"`\nhint: correct the file\n"),
    ] {
        let home = Home::new(config);
        for arguments in [&["sync"][..], &["check", "--offline"], &["folders"]] {
            let ran = home.run(arguments);
            assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
            assert_eq!(ran.stderr, format!("error: {}:{expected}", home.config().display()));
        }
        assert!(!home.path(".local").exists() && !home.path("Mail").exists());
    }
}

#[test]
fn a_password_that_others_can_read_is_refused() {
    let home = Home::new(&REFUSED.replace("password_command = \"echo x\"", "password = \"s3cret\""));
    fs::set_permissions(home.config(), Permissions::from_mode(0o644)).unwrap();
    let ran = home.run(&["sync"]);
    let expected = format!(
        "error: {}:6:12: others can read this file, and it holds a password\n\
         hint: chmod 600 the file, or use password_command\n",
        home.config().display()
    );
    assert_eq!((ran.code, ran.stderr), (Some(2), expected));
}

#[test]
fn a_configuration_error_is_one_json_object() {
    let home = Home::new("x = 1\n");
    for arguments in [&["sync", "--json"][..], &["folders", "--json"], &["check", "--json"]] {
        let json = home.run(arguments).json();
        assert_eq!(keys(&json), ["accounts", "errors", "exit_code", "mailtide", "started", "version"]);
        assert_eq!((&json["exit_code"], &json["accounts"]), (&2.into(), &Value::Array(Vec::new())));
        let error = &json["errors"][0];
        assert_eq!(keys(error), ["code", "folder", "hint", "message", "path", "retry_at", "uid"]);
        assert_eq!(error["code"], "config");
        assert_eq!(error["message"], format!("{}:1:1: unknown key `x`", home.config().display()));
    }
}

#[test]
fn what_cannot_be_said_is_no_success_and_a_reader_that_has_gone_away_has_seen_enough() {
    let home = Home::new(REFUSED);
    for arguments in [&["status"][..], &["status", "--json"]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let ran = Ran::from(home.command(arguments).stdout(full).output().unwrap());
        assert_eq!(ran.code, Some(7), "{ran:?}");
        assert!(ran.stderr.starts_with("error: writing to standard output: No space left on device"), "{ran:?}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran = Ran::from(home.command(arguments).stdout(writer).output().unwrap());
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    }
}

#[test]
fn an_unknown_account_is_told_with_those_there_are() {
    let home = Home::new(&(REFUSED.to_owned() + &REFUSED.replace("work", "home")));
    for arguments in [&["sync", "wrk"][..], &["sync", "wrk/INBOX"], &["folders", "wrk"], &["check", "wrk"]] {
        let ran = home.run(arguments);
        let expected = "error: there is no account \"wrk\" in the configuration\nhint: the accounts are: work, home\n";
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(2), "", expected));
    }
    let ran = home.run(&["sync", "work//x"]);
    assert!(ran.stderr.starts_with("error: \"work//x\" names no folder\nhint: "), "{ran:?}");
    assert_eq!(ran.code, Some(2));
}

#[test]
fn a_refused_connection_exits_4_in_words_and_in_json() {
    let home = Home::new(REFUSED);
    let ran = home.run(&["sync"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(4), "work: failed: nothing done\n"));
    assert!(ran.stderr.starts_with("error: work: ") && ran.stderr.contains("refused"), "{ran:?}");
    assert!(ran.stderr.contains("; nothing was changed\nhint: check the network"), "{ran:?}");

    let json = home.run(&["sync", "--json"]).json();
    let account = &json["accounts"][0];
    assert_eq!(
        keys(account),
        [
            "adopted",
            "bytes_in",
            "bytes_out",
            "duration_ms",
            "errors",
            "exit_code",
            "folders",
            "held",
            "last_success",
            "local",
            "name",
            "remote",
            "round_trips",
            "status",
            "waiting"
        ]
    );
    let counts = [
        "added",
        "copied",
        "flags",
        "folders_created",
        "folders_removed",
        "folders_renamed",
        "moved",
        "removed",
        "replaced",
    ];
    assert_eq!((keys(&account["local"]), keys(&account["remote"])), (counts.to_vec(), counts.to_vec()));
    assert_eq!((&account["status"], &account["exit_code"]), (&"failed".into(), &4.into()));
    assert_eq!((&account["last_success"], &account["errors"][0]["code"]), (&Value::Null, &"unreachable".into()));
}

#[test]
fn quiet_is_quiet_on_stdout_and_tells_what_is_wrong() {
    let ran = Home::new(REFUSED).run(&["-q", "sync"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(4), ""));
    assert!(ran.stderr.starts_with("error: work: "), "{ran:?}");
}

#[test]
fn accounts_fail_apart_and_share_an_exit_code_only_if_it_is_the_same() {
    let refused = |name| REFUSED.replace("work", name);
    let same = Home::new(&(refused("a") + &refused("b"))).run(&["sync", "--json"]).json();
    assert_eq!(same["exit_code"], 4);
    let secret = refused("b").replace("echo x", "echo locked >&2; exit 2");
    let mixed = Home::new(&(refused("a") + &secret)).run(&["sync", "--json"]).json();
    assert_eq!(mixed["exit_code"], 1);
    let codes: Vec<&Value> =
        mixed["accounts"].as_array().unwrap().iter().map(|account| &account["exit_code"]).collect();
    assert_eq!(codes, [4, 3]);
    let message = "password_command failed (exit status: 2): locked; nothing was changed";
    assert_eq!(mixed["accounts"][1]["errors"][0]["message"], message);
}

#[test]
fn disabled_accounts_run_only_when_named() {
    let home = Home::new(&(REFUSED.to_owned() + "enabled = false\n"));
    let ran = home.run(&["sync"]);
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (Some(2), "error: no account is enabled\nhint: name one, or remove enabled = false\n")
    );
    assert_eq!(home.run(&["sync", "work"]).code, Some(4));
}

#[test]
fn an_account_held_by_another_run_is_busy() {
    let home = Home::new(REFUSED);
    let _lock = Lock::acquire(&home.state_dir().join("work.lock")).unwrap().unwrap();
    let json = home.run(&["sync", "--json"]).json();
    assert_eq!((&json["exit_code"], &json["accounts"][0]["status"]), (&6.into(), &"busy".into()));
    let ran = home.run(&["sync", "--wait=10ms"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(6), "work: busy: nothing done\n"));
    let words = "error: work: another mailtide is at work on this account; nothing was changed\n";
    assert!(ran.stderr.starts_with(words), "{ran:?}");
}

#[test]
fn a_damaged_database_is_left_as_it_is_unless_a_sync_can_begin() {
    let home = Home::new(REFUSED);
    let database = home.state_dir().join("work.sqlite3");
    fs::write(&database, "garbage ".repeat(1000)).unwrap();
    assert_eq!(home.run(&["sync"]).code, Some(4));
    for arguments in [&["check", "--offline"][..], &["restore"], &["restore", "all"]] {
        let ran = home.run(arguments);
        assert_eq!(ran.code, Some(7), "{ran:?}");
        assert!(ran.stderr.contains("work.sqlite3 is damaged"), "{ran:?}");
        assert!(ran.stderr.contains("hint: mailtide sync sets it aside"), "{ran:?}");
    }
    let ran = home.run(&["sync", "--dry-run"]);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert_eq!(fs::read(&database).unwrap().len(), 8000);
}

#[test]
fn with_nothing_to_restore_nothing_is_touched() {
    let home = Home::new(REFUSED);
    let ran = home.run(&["restore"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "work: nothing to bring back\n", ""));
    let json = home.run(&["restore", "--json", "--since", "2d", "--folder", "INBOX"]).json();
    let account = &json["accounts"][0];
    assert_eq!(keys(account), ["errors", "exit_code", "items", "name", "status"]);
    assert_eq!((&account["status"], &account["items"]), (&"ok".into(), &Value::Array(Vec::new())));
    for arguments in [&["restore", "5"][..], &["restore", "run-3"], &["restore", "all"], &["restore", "1.M2P3Q4R5.x"]] {
        let ran = home.run(arguments);
        let expected = format!(
            "error: there is nothing to bring back as {}; nothing was changed\n\
             hint: mailtide restore lists what there is; what is older than sync.keep_deleted is gone\n",
            arguments[1]
        );
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr), (Some(2), "", expected));
    }
    let ran = home.run(&["restore", "5", "--since", "2d"]);
    assert!(ran.stderr.contains("as 5 among what --folder and --since select;"), "{ran:?}");
    assert_eq!(home.run(&["restore", "--account", "wrk"]).code, Some(2));
    assert!(!home.path(".local").exists() && !home.path("Mail").exists());
}

/// Puts a message into an account's recoverable trash, as number 1.
fn keep(home: &Home, account: &str) {
    let mut database = Database::open(&home.state_dir().join(format!("{account}.sqlite3"))).unwrap();
    let kept = Trashed {
        mailbox: MailboxName::inbox(),
        file: "1.x:2,S".to_owned(),
        kept_as: "k".to_owned(),
        at: Timestamp(1_795_309_323),
        keywords: None,
    };
    database.commit(&[Record::Run(4), Record::Kept(MailboxId(1), kept)]).unwrap();
    let trash = home.state_dir().join("trash").join(account);
    fs::create_dir_all(&trash).unwrap();
    fs::write(trash.join("k"), format!("From: {account}\nSubject: =?utf-8?Q?a=1b[2J?=\n\nx\n")).unwrap();
}

#[test]
fn an_id_that_several_accounts_have_needs_the_account() {
    let home = Home::new(&(REFUSED.to_owned() + &REFUSED.replace("work", "home")));
    ["work", "home"].iter().for_each(|account| keep(&home, account));
    let listed = home.run(&["restore"]);
    let expected = "work: 1 message can be brought back\n  \
        ID  RUN    REMOVED               FOLDER  FROM  SUBJECT\n  \
        1   run-4  2026-11-22T01:02:03Z  INBOX   work  a [2J\n\
        home: 1 message can be brought back\n  \
        ID  RUN    REMOVED               FOLDER  FROM  SUBJECT\n  \
        1   run-4  2026-11-22T01:02:03Z  INBOX   home  a [2J\n";
    assert_eq!((listed.code, listed.stdout.as_str(), listed.stderr.as_str()), (Some(0), expected, ""));
    for id in ["1", "run-4"] {
        let ran = home.run(&["restore", id]);
        let expected = format!(
            "error: several accounts have something called {id}: work, home; nothing was changed\n\
             hint: say which is meant with --account\n"
        );
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr), (Some(2), "", expected));
    }
    let named = home.run(&["restore", "1", "--account", "home", "--json"]).json();
    assert_eq!((&named["exit_code"], &named["accounts"][0]["errors"][0]["code"]), (&5.into(), &"root-missing".into()));
    assert!(!home.path("Mail").exists());
    let _lock = Lock::acquire(&home.state_dir().join("work.sqlite3")).unwrap().unwrap();
    let busy = home.run(&["restore", "--json"]).json();
    assert_eq!((&busy["exit_code"], busy["accounts"].as_array().unwrap().len()), (&6.into(), 2));
    let busy = home.run(&["restore", "all", "--json"]).json();
    assert_eq!((&busy["exit_code"], &busy["errors"][0]["code"]), (&6.into(), &"not-begun".into()));
}

#[test]
fn an_unusable_state_directory_exits_7() {
    let home = Home::new(&format!("state_dir = \"/dev/null/state\"\n{REFUSED}"));
    let json = home.run(&["sync", "--json"]).json();
    assert_eq!((&json["exit_code"], &json["accounts"][0]["errors"][0]["code"]), (&7.into(), &"state-dir".into()));
}

#[test]
fn a_dry_run_leaves_no_trace() {
    let home = Home::new(REFUSED);
    let json = home.run(&["sync", "--dry-run", "--json"]).json();
    assert_eq!(json["accounts"][0]["plan"], Value::Array(Vec::new()));
    assert!(!home.path(".local").exists() && !home.path("Mail").exists());
}

#[test]
fn check_offline_touches_neither_server_nor_disk() {
    let home = Home::new(REFUSED);
    let ran = home.run(&["check", "--offline"]);
    let expected = format!(
        "work:\n  configuration    ok  {}\n  Maildir          ok  {} is not there; a first sync creates it\n  \
         state directory  ok  {} is not there; a first sync creates it\n  \
         database         ok  {} is not there; a first sync creates it\n",
        home.config().display(),
        home.path("Mail/work").display(),
        home.path(".local/state/mailtide").display(),
        home.path(".local/state/mailtide/work.sqlite3").display(),
    );
    assert_eq!((ran.code, ran.stdout, ran.stderr.as_str()), (Some(0), expected, ""));
    assert!(!home.path(".local").exists() && !home.path("Mail").exists());
    let json = home.run(&["check", "--json"]).json();
    let account = &json["accounts"][0];
    assert_eq!(keys(account), ["capabilities", "checks", "errors", "exit_code", "name", "status", "waiting"]);
    assert_eq!((&account["exit_code"], &account["checks"][4]["ok"]), (&4.into(), &false.into()));
}

#[test]
fn a_comparison_needs_the_server_and_leaves_the_disk_alone() {
    let home = Home::new(REFUSED);
    for option in ["--compare", "--repair"] {
        assert_eq!(home.run(&["check", option, "--offline"]).code, Some(2));
        let account = home.run(&["check", option, "--json"]).json()["accounts"][0].clone();
        assert_eq!((&account["exit_code"], account.get("compared")), (&4.into(), None), "nothing is said to be equal");
        assert!(!home.path(".local").exists() && !home.path("Mail").exists());
    }
}

#[test]
fn colour_is_used_only_on_request_when_piped() {
    let home = Home::new(REFUSED);
    assert!(!home.run(&["sync"]).stderr.contains('\x1b'));
    for arguments in [&["--color", "always", "sync"][..], &["sync", "--color=always", "-v"]] {
        let ran = home.run(arguments);
        assert!(ran.code == Some(4) && ran.stderr.contains("\x1b["), "{ran:?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let home = Home::new(REFUSED);
    for arguments in [&["sync"][..], &["sync", "--json"], &["--help"], &["check"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = home.command(arguments).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let ran = Ran::from(child.wait_with_output().unwrap());
        assert_eq!(ran.code, Some(if arguments == ["--help"] { 0 } else { 4 }), "{ran:?}");
        assert!(!ran.stderr.contains("panicked"), "{ran:?}");
    }
}

/// Starts a command that waits for its secret, and returns once it does.
fn waiting(home: &Home, arguments: &[&str]) -> Child {
    let child = home.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    assert_eq!(fs::read_to_string(home.path("ready")).unwrap(), "ready\n");
    child
}

#[test]
fn signals_end_a_run_in_order() {
    let home = Home::new("");
    let fifo = home.path("ready");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let command = format!("echo ready > {}; exec sleep 600", fifo.display());
    fs::write(home.config(), REFUSED.replace("echo x", &command)).unwrap();
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        for arguments in [&["sync", "--json"][..], &["check", "--json"], &["folders", "--json"]] {
            let child = waiting(&home, arguments);
            kill_process(Pid::from_child(&child), signal).unwrap();
            let json = Ran::from(child.wait_with_output().unwrap()).json();
            assert_eq!(json["exit_code"], code);
            let account = &json["accounts"][0];
            assert_eq!((&account["status"], &account["exit_code"]), (&"interrupted".into(), &code.into()));
        }
    }
}

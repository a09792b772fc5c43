//! What nobody else may see or reach: secrets in no log, files for the user alone, nothing outside of the root.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::certs::Authority;
use crate::support::corpus::{self, DATE};
use crate::support::dovecot::{Kind, PASSWORD};
use crate::support::maildir::Layout;
use crate::support::scripted::{Rule, Scripted};
use crate::support::setup::Setup;

const SECRET: &str = "Zq9-correct-horse-battery";

/// Every form in which a secret goes over the wire.
fn forms(user: &str, secret: &str) -> Vec<Vec<u8>> {
    let plain = format!("\0{user}\0{secret}");
    let xoauth2 = format!("user={user}\x01auth=Bearer {secret}\x01\x01");
    let bearer = format!("n,,\x01auth=Bearer {secret}\x01\x01");
    let encoded = [secret, &plain, &xoauth2, &bearer].map(|text| STANDARD.encode(text).into_bytes());
    let mut forms = vec![secret.as_bytes().to_vec()];
    // What an encoding of other text around it would share with these.
    forms.extend(encoded.into_iter().map(|text| text[text.len() / 2 - 8..text.len() / 2 + 8].to_vec()));
    forms
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

/// Runs every command with the most talkative log, the daemon among them, and demands that the secret is in nothing
/// that is printed or left. Returns the log of the daemon.
fn says_nothing(setup: &Setup, config: &Path, start: impl Fn() -> Command, forms: &[Vec<u8>], code: i32) -> String {
    let find = |bytes: &[u8]| forms.iter().find(|form| bytes.windows(form.len()).any(|window| window == &form[..]));
    let run = |arguments: &[&str]| {
        let mut command = start();
        command.arg("-vvvvv").args(arguments);
        command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full").env("ASYNC_IMAP_DEBUG", "1");
        command
    };
    let print = |arguments: &[&str]| {
        let output = run(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        for printed in [&output.stdout, &output.stderr] {
            assert_eq!(find(printed), None, "{arguments:?}: {}", String::from_utf8_lossy(printed));
        }
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {log}");
        log
    };
    for arguments in [&["sync"][..], &["sync", "--json", "--full"], &["check"], &["folders", "--json"]] {
        let log = print(arguments);
        assert!(log.contains("logging in"), "no log: {log}");
    }
    let (told, log) = (setup.path().join("told"), setup.path().join("log"));
    let (told_to, log_to) = (fs::File::create(&told).unwrap(), fs::File::create(&log).unwrap());
    let mut daemon = run(&["watch", "--json"]).stdout(told_to).stderr(log_to).spawn().unwrap();
    wait_until_told(&told, &format!("\"exit_code\":{code}"));
    print(&["status"]);
    print(&["status", "--json"]);
    kill_process(Pid::from_child(&daemon), Signal::TERM).unwrap();
    assert_eq!(daemon.wait().unwrap().code(), Some(0));
    for file in files(setup.path()).into_iter().filter(|file| file != config) {
        assert_eq!(find(&fs::read(&file).unwrap()), None, "{}", file.display());
    }
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("logging in"), "no log: {log}");
    log
}

fn wait_until_told(told: &Path, what: &str) {
    let end = Instant::now() + Duration::from_secs(30);
    while !fs::read_to_string(told).unwrap().contains(what) {
        assert!(Instant::now() < end, "no {what} in {}", fs::read_to_string(told).unwrap());
        thread::sleep(Duration::from_millis(20));
    }
}

/// Demands that all of that is so with this credential, on a server with these capabilities.
fn keeps_its_secret(credential: &str, capabilities: &'static str, rules: Vec<Rule>, code: i32) {
    let body = String::from_utf8(corpus::plain("one")).unwrap().replace('\n', "\r\n").into_bytes();
    let server = Scripted::start_with(vec![body], capabilities);
    server.set_rules(rules);
    let setup = Setup::new(Kind::Full);
    let config = setup.path().join("secret.toml");
    let text = format!(
        "state_dir = {:?}\n[accounts.test]\nhost = \"127.0.0.1\"\nport = {}\nuser = \"me\"\nca_file = {:?}\n{credential}\n\
         maildir.path = {:?}\n",
        setup.path().join("state"),
        server.port,
        setup.path().join("ca.pem"),
        setup.root.path
    );
    fs::write(setup.path().join("ca.pem"), &Authority::get().certificate).unwrap();
    fs::write(&config, text).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    let forms = forms("me", SECRET);
    let command = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailtide"));
        command.arg("-c").arg(&config).env("HOME", setup.path());
        command
    };
    says_nothing(&setup, &config, command, &forms, code);
    // The server notes what it hears in capitals.
    let heard = server.commands().concat().into_bytes();
    let was_sent = |form: &Vec<u8>| heard.windows(form.len()).any(|window| window == form.to_ascii_uppercase());
    assert!(forms.iter().any(was_sent), "{credential} {capabilities}: it was sent in a form that was not looked for");
}

#[test]
fn no_secret_is_in_any_log_at_any_level() {
    let password = format!("password = \"{SECRET}\"");
    let command = format!("password_command = \"echo {SECRET}\"");
    let token = format!("oauth2.token_command = [\"echo\", \"{SECRET}\"]");
    for (credential, capabilities) in [
        (&password, "IMAP4rev1 SASL-IR AUTH=PLAIN"),
        (&command, "IMAP4rev1 SASL-IR AUTH=PLAIN UIDPLUS"),
        (&password, "IMAP4rev1"),
        (&password, "IMAP4rev1 LOGINDISABLED AUTH=LOGIN"),
        (&token, "IMAP4rev1 SASL-IR AUTH=XOAUTH2"),
        (&token, "IMAP4rev1 SASL-IR AUTH=OAUTHBEARER"),
    ] {
        keeps_its_secret(credential, capabilities, Vec::new(), 0);
        let on = if capabilities == "IMAP4rev1" { "LOGIN" } else { "AUTHENTICATE" };
        let refused = Rule { on, answer: b"{tag} NO [AUTHENTICATIONFAILED] not you\r\n", close: false };
        keeps_its_secret(credential, capabilities, vec![refused], 3);
    }
}

/// With SCRAM the secret is never sent.
#[test]
fn no_secret_is_in_any_log_if_it_is_only_proven() {
    let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(1));
    setup.sync().expect(0);
    for (password, code) in [(PASSWORD, 0), (SECRET, 3)] {
        setup.password = password;
        let config = setup.path().join("config.toml");
        let forms = forms(&setup.user, password);
        let log = says_nothing(&setup, &config, || setup.command(&[]), &forms, code);
        assert!(log.contains("SCRAM-SHA-256"), "{log}");
    }
}

/// Returns what others could read or write below a directory, itself included.
fn open_to_others(directory: &Path) -> Vec<String> {
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
    let mut found = Vec::new();
    let mut all = vec![directory.to_owned()];
    while let Some(path) = all.pop() {
        let is_directory = path.is_dir();
        let expected = if is_directory { 0o700 } else { 0o600 };
        if mode(&path) != expected {
            found.push(format!("{} {:o}", path.display(), mode(&path)));
        }
        if is_directory {
            all.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found
}

#[test]
fn what_is_created_is_for_the_user_alone_whatever_the_umask() {
    for layout in [Layout::Fs, Layout::PlusPlus] {
        for umask in ["0", "022"] {
            let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(12));
            setup.root.layout = layout;
            setup.entrance = ["sh", "-c", &format!("umask {umask}; exec \"$@\""), "sh"].map(str::to_owned).to_vec();
            setup.imap().create(&["Lists", "rust"]);
            setup.append(&["Lists", "rust"], &corpus::odd(6));
            setup.sync_in_step();
            // Something in the recoverable trash, and a folder gone from there.
            setup.imap().expunge(&["INBOX"], "1:3");
            setup.imap().delete(&["Lists", "rust"]);
            setup.sync_in_step();
            assert_eq!(setup.recoverable().len(), 9);
            for place in [&setup.root.path, &setup.path().join("state")] {
                assert!(open_to_others(place).is_empty(), "{layout:?} {umask}: {:?}", open_to_others(place));
            }
        }
    }
}

/// A directory outside of the root, made as a maildir, with one message that is no mail of the account.
fn outside(setup: &Setup) -> PathBuf {
    let outside = setup.path().join("outside");
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(outside.join(part)).unwrap();
    }
    fs::write(outside.join("cur/1.outside:2,S"), corpus::plain("private")).unwrap();
    outside
}

fn contents(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all: Vec<_> = files(directory).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    all.sort();
    all
}

#[test]
fn links_inside_the_root_lead_nowhere() {
    for layout in [Layout::Fs, Layout::PlusPlus] {
        let mut setup = Setup::with_mail(Kind::Full, &corpus::ordinary(3));
        setup.root.layout = layout;
        setup.sync_in_step();
        let outside = outside(&setup);
        let before = contents(&outside);
        // A folder, a folder that the server has too, and messages.
        let evil = setup.root.folder(&["Evil"]).0;
        symlink(&outside, setup.root.folder(&["Link"]).0).unwrap();
        symlink(&outside, &evil).unwrap();
        setup.imap().create(&["Evil"]);
        setup.append(&["Evil"], &corpus::ordinary(2));
        let inbox = setup.root.inbox().0;
        symlink(outside.join("cur/1.outside:2,S"), inbox.join("cur/2.link:2,S")).unwrap();
        symlink("/etc/passwd", inbox.join("new/3.link")).unwrap();
        for arguments in [&["sync", "--json"][..], &["sync", "--json", "--full"]] {
            let run = setup.run(arguments);
            assert!(matches!(run.code, Some(0 | 1 | 5)), "{layout:?}: {run:?}");
            assert_eq!(contents(&outside), before, "{layout:?}: {}", run.stdout);
            let mut imap = setup.imap();
            assert_eq!(imap.messages(&["INBOX"]).len(), 3, "{layout:?}: {}", run.stdout);
            assert_eq!(imap.messages(&["Evil"]).len(), 2, "{layout:?}: {}", run.stdout);
            assert!(!imap.folders().contains(&vec!["Link".to_owned()]), "{layout:?}: {}", run.stdout);
            assert!(fs::symlink_metadata(&evil).unwrap().is_symlink());
        }
    }
}

#[test]
fn a_link_in_place_of_a_maildirs_part_leads_nowhere() {
    for part in ["cur", "new", "tmp"] {
        let setup = Setup::with_mail(Kind::Full, &corpus::ordinary(3));
        setup.sync_in_step();
        let outside = outside(&setup);
        let before = contents(&outside);
        let (place, away) = (setup.root.inbox().0.join(part), setup.path().join("away"));
        fs::rename(&place, &away).unwrap();
        symlink(outside.join(part), &place).unwrap();
        setup.append(&["INBOX"], &corpus::ordinary(5)[4..]);
        for arguments in [&["sync", "--json"][..], &["sync", "--json", "--full"]] {
            let run = setup.run(arguments);
            assert!(matches!(run.code, Some(0 | 1 | 5 | 7)), "{part}: {run:?}");
            assert_eq!(contents(&outside), before, "{part}: {}", run.stdout);
            assert_eq!(setup.imap().messages(&["INBOX"]).len(), 4, "{part}: {}", run.stdout);
        }
        fs::remove_file(&place).unwrap();
        fs::rename(away, &place).unwrap();
        setup.root.inbox().deliver(&corpus::plain("later"), Some("S"), Some(DATE));
        setup.sync_in_step();
    }
}

/// What others choose is data for a hook, however it looks to a shell.
#[test]
fn names_that_others_choose_are_no_commands_in_a_hook() {
    let mut setup = Setup::new(Kind::Full);
    let (told, pwned) = (setup.path().join("told.json"), setup.path().join("pwned"));
    let evil = format!("$(touch {0});`touch {0}`;'\"; touch {0}; #", pwned.display()).replace('/', "\u{2215}");
    let shell = format!("cat >> {}", told.display());
    for hook in [format!("{shell:?}"), format!("[\"sh\", \"-c\", {shell:?}]")] {
        setup.extra = format!("[hooks]\non_new_mail = {hook}\non_change = {hook}\n");
        fs::remove_file(&told).ok();
        let folder = format!("{evil}{}", hook.len());
        setup.imap().create(&[&folder]);
        let mut mail = corpus::ordinary(1);
        mail[0].body = format!("Message-ID: <$(touch {})@x>\n\n{hook}\n", pwned.display()).into_bytes();
        setup.append(&[&folder], &mail);
        setup.sync().expect(0);
        let said = fs::read_to_string(&told).unwrap();
        let first: serde_json::Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
        assert_eq!(first["mail"][0]["folder"], folder.as_str(), "{said}");
        assert!(!pwned.exists());
    }
}

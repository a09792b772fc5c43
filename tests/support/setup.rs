//! One account as a user sets it up: a server, a Maildir, a configuration file, and the binary run on them.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::certs::Authority;
use super::compare;
use super::corpus::Mail;
use super::dovecot::{Kind, PASSWORD, Server};
use super::imap::Imap;
use super::maildir::{Layout, Root};

/// The account. Everything but the server is in a directory of its own, removed at the end.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) server: &'static Server,
    pub(crate) user: String,
    pub(crate) root: Root,
    /// The account's name, and so its database's.
    pub(crate) name: &'static str,
    /// Where mailtide connects to; another than the server's where a proxy stands between.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: &'static str,
    pub(crate) password: &'static str,
    pub(crate) trusted: bool,
    /// Further keys of the account, and lines of its `sync` table.
    pub(crate) keys: String,
    pub(crate) sync: String,
    /// Further text at the end of the configuration.
    pub(crate) extra: String,
    /// A command in front of the binary.
    pub(crate) entrance: Vec<String>,
    directory: TempDir,
}

/// How a run of the binary ended.
#[derive(Debug)]
pub(crate) struct Run {
    /// The exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Setup {
    /// A new user on a server of this kind, an empty Maildir, implicit TLS.
    pub(crate) fn new(kind: Kind) -> Setup {
        let server = Server::get(kind);
        let directory = tempfile::Builder::new().prefix("mailtide-").tempdir().unwrap();
        let path = directory.path();
        fs::write(path.join("ca.pem"), &Authority::get().certificate).unwrap();
        Setup {
            server,
            user: server.new_user(),
            root: Root { path: path.join("Mail"), layout: Layout::Fs },
            name: "test",
            host: "127.0.0.1".to_owned(),
            port: server.tls_port,
            tls: "implicit",
            password: PASSWORD,
            trusted: true,
            keys: String::new(),
            sync: String::new(),
            extra: String::new(),
            entrance: Vec::new(),
            directory,
        }
    }

    /// A new user whose INBOX holds these messages.
    pub(crate) fn with_mail(kind: Kind, mails: &[Mail]) -> Setup {
        let setup = Setup::new(kind);
        setup.append(&["INBOX"], mails);
        setup
    }

    /// Puts messages into a folder on the server.
    pub(crate) fn append(&self, folder: &[&str], mails: &[Mail]) {
        let mut imap = self.imap();
        for mail in mails {
            imap.append(folder, &mail.body, mail.flags, Some(mail.date));
        }
    }

    /// Another client's connection to the same account.
    pub(crate) fn imap(&self) -> Imap {
        Imap::login(self.server, &self.user)
    }

    /// The directory that holds all of this.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The account's database.
    pub(crate) fn database(&self) -> PathBuf {
        self.path().join("state").join(format!("{}.sqlite3", self.name))
    }

    /// The files in the recoverable trash.
    pub(crate) fn recoverable(&self) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let mut directories = vec![self.path().join("state/trash")];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten().map(Result::unwrap) {
                match entry.file_type().unwrap().is_dir() {
                    true => directories.push(entry.path()),
                    false => found.push(fs::read(entry.path()).unwrap()),
                }
            }
        }
        found
    }

    /// The account's part of the configuration.
    pub(crate) fn account(&self) -> String {
        let Setup { name, host, port, tls, user, password, keys, sync, .. } = self;
        let layout = match self.root.layout {
            Layout::Fs => "fs",
            Layout::PlusPlus => "maildir++",
        };
        let ca_file = match self.trusted {
            true => format!("ca_file = {:?}", self.path().join("ca.pem")),
            false => String::new(),
        };
        format!(
            "[accounts.{name}]\nhost = \"{host}\"\nport = {port}\ntls = \"{tls}\"\nuser = \"{user}\"\n\
             password = \"{password}\"\n{ca_file}\n{keys}\n[accounts.{name}.maildir]\npath = {path:?}\n\
             layout = \"{layout}\"\n[accounts.{name}.sync]\n{sync}\n",
            path = self.root.path,
        )
    }

    /// Returns the command that runs the binary, its configuration written.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let config = self.path().join("config.toml");
        let text = format!("state_dir = {:?}\n{}{}", self.path().join("state"), self.account(), self.extra);
        fs::write(&config, text).unwrap();
        fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
        let mut words = self.entrance.clone();
        words.push(env!("CARGO_BIN_EXE_mailtide").to_owned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg("-c").arg(config).args(arguments);
        command.env("HOME", self.path()).env_remove("XDG_STATE_HOME").env_remove("MAILTIDE_CONFIG");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the binary. One that doesn't end is killed after two minutes, and its code is then `None`.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        let inner = self.command(arguments);
        let mut command = Command::new("timeout");
        command.args(["--foreground", "--signal=KILL", "120"]).arg(inner.get_program()).args(inner.get_args());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let output = command.stdin(Stdio::null()).output().unwrap();
        Run {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs `sync --json`.
    pub(crate) fn sync(&self) -> Run {
        self.run(&["sync", "--json"])
    }

    /// Syncs, and demands that both sides are in step afterwards and that another run finds nothing to do.
    pub(crate) fn sync_in_step(&self) -> Run {
        let run = self.sync().expect(0);
        self.assert_equal();
        self.sync().expect(0).expect_nothing_done();
        run
    }

    /// Demands that both sides hold the same.
    pub(crate) fn assert_equal(&self) {
        let found = compare::compare(&mut self.imap(), &self.root);
        assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.server.log_of(&self.user);
            let user = &self.user;
            // What can't be printed while failing can't be helped either.
            std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("{user} in the server's log:\n{log}\n").as_bytes(),
            )
            .ok();
        }
    }
}

impl Run {
    /// Demands this exit code, and the same in the JSON if there is any.
    pub(crate) fn expect(self, code: i32) -> Run {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        if self.stdout.starts_with('{') {
            assert_eq!(self.json()["exit_code"], code, "{}", self.stdout);
        }
        self
    }

    /// Returns the JSON object printed.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {:?}\n{}", self.stdout, self.stderr))
    }

    /// Returns the first account's part of the JSON.
    pub(crate) fn account(&self) -> Value {
        self.json()["accounts"][0].clone()
    }

    /// Returns a count such as `local` `added`.
    pub(crate) fn count(&self, side: &str, what: &str) -> u64 {
        self.account()[side][what].as_u64().unwrap_or_else(|| panic!("no {side} {what} in {}", self.stdout))
    }

    /// Returns how many bytes went over the wire, both ways.
    pub(crate) fn bytes(&self) -> u64 {
        self.account()["bytes_in"].as_u64().unwrap() + self.bytes_out()
    }

    /// Returns how many bytes were sent. Those that come vary: Dovecot's answers tell how long they took.
    pub(crate) fn bytes_out(&self) -> u64 {
        self.account()["bytes_out"].as_u64().unwrap()
    }

    /// Demands that nothing was done on either side.
    pub(crate) fn expect_nothing_done(self) -> Run {
        self.expect_only(&[])
    }

    /// Demands that this was done, each a side, what, and how often, and nothing else.
    pub(crate) fn expect_only(self, done: &[(&str, &str, u64)]) -> Run {
        for side in ["local", "remote"] {
            for (what, count) in self.account()[side].as_object().unwrap() {
                let expected = done.iter().find(|one| (one.0, one.1) == (side, what)).map_or(0, |one| one.2);
                assert_eq!(*count, expected, "{side} {what}: {}", self.stdout);
            }
        }
        assert_eq!(self.account()["adopted"], 0, "{}", self.stdout);
        self
    }
}

/// An address of this machine other than loopback. Nothing is sent to find it.
pub(crate) fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

//! Private Dovecot servers on loopback, started when a test first asks for one and shared by all tests of the process.
//!
//! Any user logs in with [`PASSWORD`] and starts empty, so tests that take a user each don't see one another. A shell
//! stands between the tests and Dovecot and waits for its standard input to end: however this process ends, by `SIGKILL`
//! too, the server stops and its files are removed.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::certs::Authority;

/// Every user's password.
pub(crate) const PASSWORD: &str = "Rx7-open-sesame";

/// The kinds of server that tests ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Every extension that Dovecot has; Maildir storage; separator `/`.
    Full,
    /// As `Full`, but its storage allows any folder name.
    AnyName,
    /// As `Full`, with a file for each message that the server alone understands.
    Sdbox,
    /// Advertises `IMAP4rev1` and nothing else; all folders below `INBOX.`, separator `.`.
    Bare,
    /// Everything but UIDPLUS, MOVE and what implies them.
    NoUidplus,
    /// As `Full`, with a certificate for another host.
    WrongHost,
    /// As `Full` with this separator; its storage keeps names apart from files, so they may hold anything but that.
    Separated(&'static str),
}

impl Kind {
    fn capability(self) -> &'static str {
        match self {
            Kind::Full | Kind::AnyName | Kind::Sdbox | Kind::WrongHost | Kind::Separated(_) => "",
            Kind::Bare => "imap_capability = IMAP4rev1",
            Kind::NoUidplus => {
                "imap_capability = IMAP4rev1 SASL-IR LITERAL+ ENABLE IDLE NAMESPACE UNSELECT ESEARCH CONDSTORE \
                 LIST-EXTENDED LIST-STATUS SPECIAL-USE BINARY"
            }
        }
    }

    fn storage(self) -> &'static str {
        match self {
            Kind::AnyName => "mdbox:~/mdbox",
            Kind::Sdbox => "sdbox:~/sdbox",
            Kind::Separated(_) => "mdbox:~/mdbox:LAYOUT=index",
            Kind::Full | Kind::Bare | Kind::NoUidplus | Kind::WrongHost => "maildir:~/Maildir",
        }
    }

    /// Returns the prefix of the personal namespace and its separator.
    pub(crate) fn namespace(self) -> (&'static str, &'static str) {
        match self {
            Kind::Bare => ("INBOX.", "."),
            Kind::Separated(separator) => ("", separator),
            Kind::Full | Kind::AnyName | Kind::Sdbox | Kind::NoUidplus | Kind::WrongHost => ("", "/"),
        }
    }

    fn certificate_names(self) -> &'static [&'static str] {
        match self {
            Kind::WrongHost => &["mail.example.org"],
            Kind::Full | Kind::AnyName | Kind::Sdbox | Kind::Bare | Kind::NoUidplus | Kind::Separated(_) => {
                &["localhost", "127.0.0.1"]
            }
        }
    }
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) kind: Kind,
    /// The port for plain connections and STARTTLS.
    pub(crate) port: u16,
    /// The port for implicit TLS.
    pub(crate) tls_port: u16,
    directory: PathBuf,
    /// Holds the shell's standard input open.
    _keeper: Child,
}

impl Server {
    /// Returns the server of this kind, started if this is the first call.
    pub(crate) fn get(kind: Kind) -> &'static Server {
        static SERVERS: Mutex<BTreeMap<Kind, Result<&'static Server, String>>> = Mutex::new(BTreeMap::new());
        let mut servers = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
        let server =
            servers.entry(kind).or_insert_with(|| Server::start(kind).map(|server| &*Box::leak(Box::new(server))));
        server.as_ref().unwrap_or_else(|log| panic!("no Dovecot (contrib/test installs what is missing): {log}"))
    }

    /// Starts a server; once more on other ports where another process took the chosen ones.
    fn start(kind: Kind) -> Result<Server, String> {
        Server::try_start(kind).or_else(|_| Server::try_start(kind)).or_else(|_| Server::try_start(kind))
    }

    fn try_start(kind: Kind) -> Result<Server, String> {
        let owner = Owner::find();
        let directory =
            tempfile::Builder::new().prefix("mailtide-").tempdir().map_err(|error| error.to_string())?.keep();
        let (port, tls_port) = (free_port(), free_port());
        write_files(&directory, kind, &owner, port, tls_port);
        let mut keeper = owner.run(&directory).map_err(|error| error.to_string())?;
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(10) {
            if TcpStream::connect(("127.0.0.1", tls_port)).is_ok() && TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(Server { kind, port, tls_port, directory, _keeper: keeper });
            }
            if keeper.try_wait().is_ok_and(|ended| ended.is_some()) {
                break;
            }
            sleep(Duration::from_millis(10));
        }
        let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
        drop(keeper.stdin.take());
        keeper.wait().map_err(|error| error.to_string())?;
        fs::remove_dir_all(&directory).ok();
        Err(log)
    }

    /// Returns a user name that no other test has.
    pub(crate) fn new_user(&self) -> String {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        format!("user{}", COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    }

    /// The directory that holds a user's mail.
    pub(crate) fn home(&self, user: &str) -> PathBuf {
        self.directory.join("mail").join(user)
    }

    /// Makes the server number a user's messages anew, with another UIDVALIDITY for each folder. Only while nobody is
    /// connected, and only where the storage is Maildir.
    pub(crate) fn forget_numbers(&self, user: &str) {
        let mut directories = vec![self.home(user).join("Maildir")];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
                let name = entry.file_name().into_string().unwrap();
                match entry.file_type().unwrap().is_dir() {
                    true => directories.push(entry.path()),
                    false if name == "dovecot-uidlist" || name.contains(".index") => {
                        fs::remove_file(entry.path()).unwrap();
                    }
                    false => {}
                }
            }
        }
    }

    /// Returns the lines of the server's log that name a user.
    pub(crate) fn log_of(&self, user: &str) -> String {
        let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        let name = format!("({user})");
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(&name) || line.contains(" Error: ")).collect();
        lines.join("\n")
    }
}

/// Runs Dovecot in a directory, stops it when standard input ends, and then removes the directory.
const KEEPER: &str = r#"
exec 3<&0
dovecot -F -c "$1/conf" </dev/null 2>>"$1/log" &
server=$!
{ read -r _; kill -TERM $server; } <&3 &
wait $server && rm -rf "$1"
"#;

/// Who Dovecot runs as: whoever runs the tests, but not root, as which it would not serve mail.
struct Owner {
    name: String,
    ids: Option<(u32, u32)>,
}

impl Owner {
    /// As root, takes the user that the Dovecot package made.
    fn find() -> Owner {
        let wanted = if rustix::process::getuid().is_root() { None } else { Some(rustix::process::getuid().as_raw()) };
        let passwd = fs::read_to_string("/etc/passwd").unwrap();
        for line in passwd.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, ..] = fields[..] else { continue };
            let (uid, gid): (u32, u32) = (uid.parse().unwrap(), gid.parse().unwrap());
            match wanted {
                None if name == "dovecot" => return Owner { name: name.to_owned(), ids: Some((uid, gid)) },
                Some(wanted) if wanted == uid => return Owner { name: name.to_owned(), ids: None },
                _ => {}
            }
        }
        panic!("no user to run Dovecot as in /etc/passwd: is dovecot-imapd installed?");
    }

    fn give(&self, path: &Path) {
        if let Some((uid, gid)) = self.ids {
            chown(path, Some(uid), Some(gid)).unwrap();
        }
    }

    fn run(&self, directory: &Path) -> std::io::Result<Child> {
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "sh"]).arg(directory).current_dir("/").process_group(0);
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some((uid, gid)) = self.ids {
            command.uid(uid).gid(gid);
        }
        command.spawn()
    }
}

fn write_files(directory: &Path, kind: Kind, owner: &Owner, port: u16, tls_port: u16) {
    for name in ["run", "mail"] {
        fs::create_dir(directory.join(name)).unwrap();
        owner.give(&directory.join(name));
    }
    let certificate = Authority::get().issue(kind.certificate_names());
    let (prefix, separator) = kind.namespace();
    let config = CONFIG
        .replace("@DIR@", directory.to_str().unwrap())
        .replace("@USER@", &owner.name)
        .replace("@PASSWORD@", PASSWORD)
        .replace("@GROUP@", &group_of(owner))
        .replace("@STORAGE@", kind.storage())
        .replace("@PREFIX@", prefix)
        .replace("@SEPARATOR@", &format!("{separator:?}"))
        .replace("@PORT@", &port.to_string())
        .replace("@TLS_PORT@", &tls_port.to_string())
        .replace("@CAPABILITY@", kind.capability());
    let files = [("conf", config), ("cert.pem", certificate.certificate), ("key.pem", certificate.key)];
    for (name, text) in files {
        fs::write(directory.join(name), text).unwrap();
        fs::set_permissions(directory.join(name), fs::Permissions::from_mode(0o600)).unwrap();
        owner.give(&directory.join(name));
    }
    owner.give(directory);
}

fn group_of(owner: &Owner) -> String {
    let id = owner.ids.map_or_else(|| rustix::process::getgid().as_raw(), |(_, gid)| gid).to_string();
    let groups = fs::read_to_string("/etc/group").unwrap();
    let found = groups.lines().find(|line| line.split(':').nth(2) == Some(&id));
    found.and_then(|line| line.split(':').next()).unwrap().to_owned()
}

/// Returns a port that nothing listens on, below the range from which outgoing connections take theirs.
fn free_port() -> u16 {
    let random = RandomState::new();
    for attempt in 0u64.. {
        let port = 20_000 + u16::try_from(random.hash_one(attempt) % 12_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}

const CONFIG: &str = r#"
base_dir = @DIR@/run
state_dir = @DIR@/run
log_path = @DIR@/log
listen = 127.0.0.1
protocols = imap
default_internal_user = @USER@
default_internal_group = @GROUP@
default_login_user = @USER@
default_client_limit = 1000
first_valid_uid = 1
mail_uid = @USER@
mail_gid = @GROUP@

ssl = yes
ssl_cert = <@DIR@/cert.pem
ssl_key = <@DIR@/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain login scram-sha-256
auth_failure_delay = 0 secs
login_trusted_networks = 127.0.0.0/8
passdb {
  driver = static
  args = password=@PASSWORD@
}
userdb {
  driver = static
  args = uid=@USER@ gid=@GROUP@ home=@DIR@/mail/%u
}

mail_location = @STORAGE@
mailbox_list_index = yes
mail_fsync = never
mail_max_userip_connections = 100
mail_plugins = zlib quota
protocol imap {
  mail_plugins = zlib imap_zlib quota imap_quota
}
plugin {
  quota = count:User quota
  quota_vsizes = yes
  quota_rule = *:storage=1G:messages=100000
}
@CAPABILITY@
namespace inbox {
  inbox = yes
  prefix = @PREFIX@
  separator = @SEPARATOR@
  mailbox Drafts {
    special_use = \Drafts
    auto = create
  }
  mailbox Sent {
    special_use = \Sent
    auto = create
  }
  mailbox Trash {
    special_use = \Trash
    auto = create
  }
}
service anvil {
  chroot =
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service imap-login {
  chroot =
  # One process for each connection: the one that relays TLS can panic when a client is killed.
  service_count = 1
  process_min_avail = 2
  inet_listener imap {
    port = @PORT@
  }
  inet_listener imaps {
    port = @TLS_PORT@
    ssl = yes
  }
}
"#;

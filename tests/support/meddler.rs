//! A proxy in front of a server's plain port that meddles with one command: something is done just before the server
//! hears it, or its answer holds lines that the server never said. Or it ends connections that carry too much.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// The proxy. Its threads end with the process.
#[derive(Debug)]
pub(crate) struct Meddler {
    pub(crate) port: u16,
    shared: Arc<Mutex<Shared>>,
}

/// How to meddle, once.
pub(crate) struct Plan {
    /// With the first command that holds this text, in capitals.
    pub(crate) on: &'static str,
    /// Done before the server hears it.
    pub(crate) before: Box<dyn FnOnce() + Send>,
    /// Put in front of the tagged answer.
    pub(crate) lies: &'static str,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("on", &self.on).field("lies", &self.lies).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Shared {
    plan: Option<Plan>,
    /// Connections end over a literal longer than this.
    limit: Option<u64>,
    /// What the server itself said of messages that are gone.
    told: Vec<String>,
}

/// What the answer to a command with this tag is to be preceded by.
type Lie = Arc<Mutex<Option<(String, &'static str)>>>;

impl Meddler {
    /// Starts a proxy to a port on this machine, that meddles with nothing.
    pub(crate) fn start(target: u16) -> Meddler {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Mutex::new(Shared::default()));
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(("127.0.0.1", target)).unwrap();
                for stream in [&client, &server] {
                    stream.set_nodelay(true).unwrap();
                }
                let lie = Lie::default();
                let (heard, said) = ((client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client));
                let (shared, lies) = (Arc::clone(&accepting), Arc::clone(&lie));
                // What ends a connection is no failure of the proxy.
                thread::spawn(move || drop(forward_commands(heard.0, heard.1, &shared, &lies)));
                let shared = Arc::clone(&accepting);
                thread::spawn(move || drop(forward_answers(said.0, said.1, &shared, &lie)));
            }
        });
        Meddler { port, shared }
    }

    /// Meddles as planned, and forgets what was told.
    pub(crate) fn plan(&self, plan: Plan) {
        *self.shared.lock().unwrap() = Shared { plan: Some(plan), ..Shared::default() };
    }

    /// Ends each connection over which the client sends a literal longer than this.
    pub(crate) fn limit(&self, bytes: Option<u64>) {
        self.shared.lock().unwrap().limit = bytes;
    }

    /// Returns true if the plan was carried out.
    pub(crate) fn is_done(&self) -> bool {
        self.shared.lock().unwrap().plan.is_none()
    }

    /// Returns the EXPUNGE and VANISHED that the server said since the plan was made.
    pub(crate) fn told(&self) -> Vec<String> {
        self.shared.lock().unwrap().told.clone()
    }
}

fn forward_commands(
    client: TcpStream,
    mut server: TcpStream,
    shared: &Mutex<Shared>,
    lie: &Mutex<Option<(String, &'static str)>>,
) -> std::io::Result<()> {
    let mut client = BufReader::new(client);
    let mut line = Vec::new();
    while client.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line).trim_end().to_uppercase();
        let plan = shared.lock().unwrap().plan.take_if(|plan| text.contains(plan.on));
        if let Some(plan) = plan {
            let tag = line.split(|&byte| byte == b' ').next().unwrap_or_default();
            *lie.lock().unwrap() = Some((String::from_utf8_lossy(tag).into_owned() + " ", plan.lies));
            (plan.before)();
        }
        server.write_all(&line)?;
        let literal = text.rsplit_once('{').and_then(|(_, size)| size.strip_suffix('}'));
        if let Some(size) = literal.and_then(|size| size.trim_end_matches('+').parse().ok()) {
            if shared.lock().unwrap().limit.is_some_and(|limit| size > limit) {
                server.shutdown(Shutdown::Both)?;
                return client.get_ref().shutdown(Shutdown::Both);
            }
            std::io::copy(&mut client.by_ref().take(size), &mut server)?;
        }
        if text.ends_with("STARTTLS") {
            std::io::copy(&mut client, &mut server)?;
        }
        line.clear();
    }
    server.shutdown(Shutdown::Write)
}

fn forward_answers(
    server: TcpStream,
    mut client: TcpStream,
    shared: &Mutex<Shared>,
    lie: &Mutex<Option<(String, &'static str)>>,
) -> std::io::Result<()> {
    let mut server = BufReader::new(server);
    let mut line = Vec::new();
    while server.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if text.starts_with("* ") && (text.ends_with(" EXPUNGE") || text.contains("VANISHED ")) {
            shared.lock().unwrap().told.push(text.clone());
        }
        let lie = lie.lock().unwrap().take_if(|(tag, _)| text.starts_with(&*tag));
        if let Some((_, lies)) = lie {
            line.splice(0..0, lies.bytes());
        }
        client.write_all(&line)?;
        if text.contains("Begin TLS negotiation") {
            std::io::copy(&mut server, &mut client)?;
        }
        line.clear();
    }
    client.shutdown(Shutdown::Write)
}

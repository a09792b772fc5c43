//! A TCP proxy in front of a server, that breaks connections at a chosen byte, or is slow.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// What becomes of connections when the allowance is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// They are closed, and so is every new one.
    Cut,
    /// They stay open and silent.
    Stall,
}

/// The proxy. Its threads end with the process.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Bytes that may still pass, either way.
    left: usize,
    fault: Fault,
    /// Counts the calls of [`Proxy::allow`]: connections made before the last one are over.
    epoch: u64,
    /// Bytes that passed.
    passed: usize,
    /// How often the client sent something after having heard something.
    turns: usize,
    client_spoke_last: bool,
    /// How long so much of what the server says is held back, and each part besides.
    delay: Duration,
    lag: Duration,
    /// How many connections were made,
    made: usize,
    /// and how many the client has not ended, of all.
    kept: usize,
    /// How many bytes each connection after the first may carry of what the server says, then it breaks alone.
    further: usize,
    open: Vec<TcpStream>,
}

/// How many bytes pass at once.
const PART: usize = 16_384;

impl Proxy {
    /// Starts a proxy to a port on this machine, that breaks nothing.
    pub(crate) fn start(target: u16) -> Proxy {
        Proxy::start_on("127.0.0.1".parse().unwrap(), target)
    }

    /// The same on another address of this machine.
    pub(crate) fn start_on(address: IpAddr, target: u16) -> Proxy {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = Vec::new();
        let state = State {
            left: usize::MAX,
            fault: Fault::Cut,
            epoch: 0,
            passed: 0,
            turns: 0,
            client_spoke_last: false,
            delay: Duration::ZERO,
            lag: Duration::ZERO,
            made: 0,
            kept: 0,
            further: usize::MAX,
            open,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                accepting.accept(client, target);
            }
        });
        Proxy { port, shared }
    }

    /// Lets so many more bytes pass, both ways together, then breaks all connections.
    pub(crate) fn allow(&self, bytes: usize, fault: Fault) {
        let mut state = self.shared.state.lock().unwrap();
        (state.left, state.fault, state.passed, state.turns, state.made) = (bytes, fault, 0, 0, 0);
        state.epoch += 1;
        for stream in state.open.drain(..) {
            // One that the peer has closed already is closed enough.
            stream.shutdown(Shutdown::Both).ok();
        }
    }

    /// Lets the server say no more than so many bytes a second.
    pub(crate) fn slow_down(&self, rate: u32) {
        self.shared.state.lock().unwrap().delay = Duration::from_secs(PART as u64) / rate;
    }

    /// Holds back each part of what the server says for so long, as if it were far away.
    pub(crate) fn move_away(&self, lag: Duration) {
        self.shared.state.lock().unwrap().lag = lag;
    }

    /// Breaks each connection but the first once the server has said so many bytes over it.
    pub(crate) fn break_further(&self, bytes: usize) {
        self.shared.state.lock().unwrap().further = bytes;
    }

    /// Returns how many connections were made since the last [`Proxy::allow`].
    pub(crate) fn connections(&self) -> usize {
        self.shared.state.lock().unwrap().made
    }

    /// Returns how many connections the client keeps.
    pub(crate) fn kept(&self) -> usize {
        self.shared.state.lock().unwrap().kept
    }

    /// Lets nothing pass any more, and leaves open what is open.
    pub(crate) fn stall(&self) {
        let mut state = self.shared.state.lock().unwrap();
        (state.left, state.fault) = (0, Fault::Stall);
    }

    /// Lets everything pass from now on.
    pub(crate) fn heal(&self) {
        self.allow(usize::MAX, Fault::Cut);
    }

    /// Waits until the server has ended all connections, whose clients are no more: it has carried out what it had begun.
    pub(crate) fn wait_for_the_server(&self) {
        let open = std::mem::take(&mut self.shared.state.lock().unwrap().open);
        for mut stream in open {
            // One that the peer has closed already is closed enough.
            stream.shutdown(Shutdown::Write).ok();
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            match io::copy(&mut stream, &mut io::sink()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    panic!("a connection goes on without a client")
                }
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// Returns how many bytes passed since the last [`Proxy::allow`].
    pub(crate) fn passed(&self) -> usize {
        self.shared.state.lock().unwrap().passed
    }

    /// Returns how often the client waited for the server, at most, since the last [`Proxy::allow`].
    pub(crate) fn turns(&self) -> usize {
        self.shared.state.lock().unwrap().turns
    }

    /// Waits until the allowance is used up, or `alive` says no.
    pub(crate) fn wait_until_used_up(&self, mut alive: impl FnMut() -> bool) {
        let mut state = self.shared.state.lock().unwrap();
        while state.left > 0 && alive() {
            state = self.shared.changed.wait_timeout(state, Duration::from_millis(20)).unwrap().0;
        }
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, client: TcpStream, target: u16) {
        let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { return };
        let (epoch, limit) = {
            let mut state = self.state.lock().unwrap();
            if state.left == 0 && state.fault == Fault::Cut {
                return;
            }
            for stream in [&client, &server] {
                stream.set_nodelay(true).unwrap();
                state.open.push(stream.try_clone().unwrap());
            }
            state.made += 1;
            state.kept += 1;
            (state.epoch, if state.made > 1 { state.further } else { usize::MAX })
        };
        let (client_read, server_write) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let shared = Arc::clone(self);
        thread::spawn(move || {
            shared.forward(client_read, server_write, usize::MAX, true, epoch);
            shared.state.lock().unwrap().kept -= 1;
        });
        let shared = Arc::clone(self);
        thread::spawn(move || shared.forward(server, client, limit, false, epoch));
    }

    fn forward(&self, mut from: TcpStream, mut to: TcpStream, mut limit: usize, client_speaks: bool, epoch: u64) {
        let mut buffer = [0; PART];
        while let Ok(size @ 1..) = from.read(&mut buffer) {
            if limit < size {
                break;
            }
            limit -= if limit == usize::MAX { 0 } else { size };
            let Some(allowed) = self.take(size, client_speaks, epoch) else { return };
            if !client_speaks {
                thread::sleep(self.delay(allowed));
            }
            if to.write_all(&buffer[..allowed]).is_err() {
                break;
            }
            if allowed < size {
                return self.break_connections(epoch);
            }
        }
        to.shutdown(if client_speaks { Shutdown::Write } else { Shutdown::Both }).ok();
    }

    fn delay(&self, bytes: usize) -> Duration {
        let state = self.state.lock().unwrap();
        state.lag + state.delay * u32::try_from(bytes).unwrap() / PART as u32
    }

    /// Returns how many of so many bytes may pass; `None` if the connection is over.
    fn take(&self, size: usize, client_speaks: bool, epoch: u64) -> Option<usize> {
        let mut state = self.state.lock().unwrap();
        if state.epoch != epoch {
            return None;
        }
        state.turns += usize::from(client_speaks && !state.client_spoke_last);
        state.client_spoke_last = client_speaks;
        let allowed = size.min(state.left);
        state.passed += allowed;
        if state.left != usize::MAX {
            state.left -= allowed;
        }
        self.changed.notify_all();
        Some(allowed)
    }

    /// Breaks what is open, unless it is to stay open and silent.
    fn break_connections(&self, epoch: u64) {
        let mut state = self.state.lock().unwrap();
        if state.fault == Fault::Cut && state.epoch == epoch {
            for stream in state.open.drain(..) {
                stream.shutdown(Shutdown::Both).ok();
            }
        }
    }
}

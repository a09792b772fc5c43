//! `mailtide watch`: keeps accounts in step until it is stopped.
//!
//! Each account has a thread, so that a slow disk or server of one delays no other. This one waits for signals and the
//! clock, and tells the service manager how it goes.

mod bell;
pub(in crate::cli) mod desk;
mod keeper;
mod kept;
pub(in crate::cli) mod table;
mod tell;

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use bell::Bell;
use desk::Desk;
use keeper::AccountKeeper;
pub(in crate::cli) use kept::Kept;
use table::Table;
use tell::Teller;

use super::account::create_private;
use super::args::{self, Globals};
use super::error::Trouble;
use super::exit::Exit;
use super::output::Output;
use super::stop::Stop;
use super::{configuration, select};
use crate::config::{Account, Config, Hooks};
use crate::daemon::control::Control;
use crate::daemon::{Network, Orders, keep};
use crate::model::Clock;
use crate::state::Lock;

/// How often the clocks are compared.
const TICK: Duration = Duration::from_secs(5);

/// How long a sync that is under way may take to finish once it is to stop; then it is broken off.
const LAST_STEPS: Duration = Duration::from_secs(3);

/// How long one that was broken off is waited for.
const LAST_BREATH: Duration = Duration::from_secs(1);

/// Runs the command.
pub(super) fn main(args: &args::Watch, globals: &Globals, output: &Output) -> Exit {
    let teller = Teller::new(output.clone(), args.json);
    match run(args, globals, &teller) {
        Ok(()) => Exit::InStep,
        Err(trouble) => {
            teller.trouble(None, &trouble);
            trouble.exit
        }
    }
}

fn run(args: &args::Watch, globals: &Globals, teller: &Teller) -> Result<(), Trouble> {
    let config = configuration(globals)?;
    let accounts = chosen(&config, args)?;
    let _lock = lock(&config.state_dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Trouble::machine("starting the runtime", &error))?;
    let shared = Shared {
        state_dir: config.state_dir,
        teller: teller.clone(),
        table: Table::default(),
        desk: Desk::default(),
        hooks: Bell::new(config.hooks),
    };
    runtime.block_on(Box::pin(serve(args, globals, shared, accounts)))
}

fn chosen(config: &Config, args: &args::Watch) -> Result<Vec<Account>, Trouble> {
    Ok(select::accounts(config, &args.accounts)?.into_iter().cloned().collect())
}

/// Makes sure that this is the only one. No account's name starts with a dot, so the lock is none of theirs.
fn lock(state_dir: &Path) -> Result<Lock, Trouble> {
    create_private(state_dir).map_err(|error| Trouble::state_dir(state_dir, &error))?;
    let lock = Lock::acquire(&state_dir.join(".watch.sqlite3")).map_err(|error| Trouble::machine("locking", &error))?;
    lock.ok_or_else(|| Trouble::watched_already(state_dir))
}

/// The signals that a daemon obeys.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }
}

/// What all accounts share.
#[derive(Debug, Clone)]
struct Shared {
    state_dir: PathBuf,
    teller: Teller,
    table: Table,
    desk: Desk,
    hooks: Bell,
}

impl Shared {
    /// Answers a question of another process; with nothing if it is none that can be answered.
    async fn answer(&self, question: &str) -> String {
        match self.table.answer(question) {
            Some(answer) => answer,
            None => self.desk.answer(question).await.unwrap_or_default(),
        }
    }
}

async fn serve(
    args: &args::Watch,
    globals: &Globals,
    shared: Shared,
    mut accounts: Vec<Account>,
) -> Result<(), Trouble> {
    let mut signals = Signals::new().map_err(|error| Trouble::machine("watching for signals", &error))?;
    let socket = table::socket(&shared.state_dir);
    let control = Control::bind(&socket).map_err(|error| Trouble::no_socket(&socket, &error))?;
    let (teller, hooks) = (shared.teller.clone(), shared.hooks.clone());
    // A hook that is running outlives a new configuration.
    let mut attending = pin!(hooks.attend(&teller));
    loop {
        shared.table.reset(accounts.iter().map(|account| account.name.as_str()));
        let mut keepers = Keepers::start(accounts, &shared)?;
        notify(&[NotifyState::Ready]);
        teller.event(None, "started", &tell::Nothing {});
        let next = tokio::select! {
            next = keepers.until_reread(&mut signals, &teller, || reread(args, globals, &shared.state_dir)) => next,
            () = control.serve(async |question| shared.answer(question).await) => Ok(None),
            () = &mut attending => Ok(None),
        };
        if !matches!(next, Ok(Some(_))) {
            notify(&[NotifyState::Stopping]);
        }
        tokio::select! {
            () = keepers.end() => {}
            () = &mut attending => {}
        }
        let Some(next) = next? else {
            teller.event(None, "stopped", &tell::Nothing {});
            return Ok(());
        };
        accounts = next.0;
        hooks.replace(next.1);
    }
}

/// Reads the configuration again.
fn reread(args: &args::Watch, globals: &Globals, state_dir: &Path) -> Result<(Vec<Account>, Hooks), Trouble> {
    let config = configuration(globals)?;
    // The lock and the socket are in the directory of before.
    if config.state_dir != state_dir {
        return Err(Trouble::moved_state_dir(state_dir));
    }
    Ok((chosen(&config, args)?, config.hooks))
}

/// Without a service manager nobody listens.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager can't be told");
    }
}

/// The accounts' threads.
struct Keepers {
    threads: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
    resumed: watch::Sender<u64>,
    online: watch::Sender<u64>,
    /// Breaks off what is under way.
    cut: watch::Sender<Option<Exit>>,
    ended: mpsc::UnboundedReceiver<String>,
}

/// Tells that a thread has ended, however it does.
struct Farewell(mpsc::UnboundedSender<String>, String);

impl Drop for Farewell {
    fn drop(&mut self) {
        // Nobody waits for it once all is over.
        self.0.send(std::mem::take(&mut self.1)).ok();
    }
}

impl Keepers {
    fn start(accounts: Vec<Account>, shared: &Shared) -> Result<Self, Trouble> {
        let (stop, stopped) = watch::channel(false);
        let (resumed, resumptions) = watch::channel(0);
        let (online, connections) = watch::channel(0);
        let (cut, cutting) = Stop::on_demand();
        let (farewells, ended) = mpsc::unbounded_channel();
        let mut threads = Vec::new();
        for account in accounts {
            let orders = Orders { stop: stopped.clone(), resumed: resumptions.clone(), online: connections.clone() };
            let farewell = Farewell(farewells.clone(), account.name.clone());
            let keeper = AccountKeeper::new(account, shared, cutting.clone());
            let thread = thread::Builder::new().name(farewell.1.clone()).spawn(move || {
                let _farewell = farewell;
                live(&keeper, orders);
            });
            threads.push(thread.map_err(|error| Trouble::machine("starting a thread", &error))?);
        }
        Ok(Self { threads, stop, resumed, online, cut, ended })
    }

    /// Waits for a signal; returns true if the configuration is to be read again.
    async fn attend(&mut self, signals: &mut Signals, teller: &Teller) -> Result<bool, Trouble> {
        let (begun, mut clock) = (Instant::now(), Clock::default());
        let mut network = Network::new()
            .inspect_err(|error| tracing::debug!(%error, "the system won't tell when it gets online"))
            .ok();
        let watchdog = sd_notify::watchdog_enabled();
        let mut tick = tokio::time::interval(watchdog.map_or(TICK, |limit| TICK.min(limit / 2)));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = signals.interrupt.recv() => return Ok(false),
                _ = signals.terminate.recv() => return Ok(false),
                _ = signals.hang_up.recv() => return Ok(true),
                () = online(&mut network) => self.online.send_modify(|count| *count += 1),
                Some(account) = self.ended.recv() => return Err(Trouble::keeper_ended(&account)),
                _ = tick.tick() => {
                    if watchdog.is_some() {
                        notify(&[NotifyState::Watchdog]);
                    }
                    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                    if clock.jumped(begun.elapsed(), wall) {
                        teller.event(None, "resumed", &tell::Nothing {});
                        self.resumed.send_modify(|count| *count += 1);
                    }
                }
            }
        }
    }

    /// Waits until it is to end, `None`, or there is a new configuration. One that can't be used changes nothing.
    async fn until_reread<T>(
        &mut self,
        signals: &mut Signals,
        teller: &Teller,
        reread: impl Fn() -> Result<T, Trouble>,
    ) -> Result<Option<T>, Trouble> {
        while self.attend(signals, teller).await? {
            match reread() {
                Ok(next) => return Ok(Some(next)),
                Err(trouble) => teller.trouble(None, &trouble),
            }
        }
        Ok(None)
    }

    /// Lets what is under way finish, and breaks it off where that takes too long.
    async fn end(mut self) {
        self.stop.send_replace(true);
        if tokio::time::timeout(LAST_STEPS, self.all_ended()).await.is_err() {
            self.cut.send_replace(Some(Exit::Terminated));
            // Who does not end then hangs in a system call; the process ends without it.
            tokio::time::timeout(LAST_BREATH, self.all_ended()).await.ok();
        }
    }

    async fn all_ended(&mut self) {
        while !self.threads.iter().all(JoinHandle::is_finished) {
            if self.ended.recv().await.is_none() {
                return;
            }
        }
    }
}

/// Waits until the machine may be online again.
async fn online(network: &mut Option<Network>) {
    match network {
        Some(network) => network.changed().await,
        None => std::future::pending().await,
    }
}

fn live(keeper: &AccountKeeper, orders: Orders) {
    let plan = keeper.plan();
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            runtime.block_on(Box::pin(keep(keeper, &plan, orders)));
            // A thread that still waits for a lock must not delay the end.
            runtime.shutdown_background();
        }
        Err(error) => keeper.complain(&Trouble::machine("starting the runtime", &error)),
    }
}

//! How `mailtide sync` has the daemon do what it is asked for: in its turn, by the connection that it has, and with the
//! same outcome.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::table::socket;
use crate::cli::account::Run;
use crate::cli::args;
use crate::config::{Account, Secret};
use crate::daemon::control;
use crate::model::MailboxName;

/// The word with which a request begins.
const VERB: &str = "sync ";

/// What the daemon is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::cli) struct Request {
    /// The version of who asks: another's answer need not be understood.
    version: String,
    account: String,
    /// The account's settings, as who asks has read them. A daemon that has others would do something else.
    settings: u64,
    /// Only these folders; all if empty.
    pub(super) only: Vec<MailboxName>,
    full: bool,
    accept_held: bool,
    undo_held: bool,
}

impl Request {
    /// Returns a request to sync an account.
    pub(in crate::cli) fn new(account: &Account, only: &[MailboxName], args: &args::Sync) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            account: account.name.clone(),
            settings: digest(account),
            only: only.to_vec(),
            full: args.full,
            accept_held: args.accept_held,
            undo_held: args.undo_held,
        }
    }

    /// Returns what it asks for, as on the command line.
    pub(super) fn args(&self) -> args::Sync {
        let Self { full, accept_held, undo_held, .. } = *self;
        args::Sync { full, accept_held, undo_held, ..args::Sync::default() }
    }
}

/// Has the daemon do it. `None` if there is none, if it has other settings, or if it ended over it: then what it did is
/// found done. Blocks the thread until it is done.
pub(in crate::cli) fn request(state_dir: &Path, request: &Request) -> Option<Run> {
    let question = format!("{VERB}{}", serde_json::to_string(request).ok()?);
    let answer = control::ask(&socket(state_dir), &question, None).ok().flatten()?;
    // One for each account that this process syncs: the words in it live as long as those of its own.
    serde_json::from_str(Box::leak(answer.into_boxed_str())).ok()
}

fn digest(account: &Account) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{account:?}").hash(&mut hasher);
    if let Secret::Password(password) = &account.secret {
        password.expose_secret().hash(&mut hasher);
    }
    hasher.finish()
}

/// A request, and where the answer is waited for.
#[derive(Debug)]
pub(super) struct Asked {
    /// What for.
    pub(super) request: Request,
    answer: oneshot::Sender<String>,
}

impl Asked {
    /// Returns true if nobody waits for the answer any more.
    pub(super) fn is_given_up(&self) -> bool {
        self.answer.is_closed()
    }

    /// Answers. Without an answer, who asked does it instead. Returns false if nobody is there to hear it.
    pub(super) fn answer(self, run: &Run) -> bool {
        serde_json::to_string(run).is_ok_and(|text| self.answer.send(text).is_ok())
    }
}

/// Where requests are passed on to the accounts' threads.
#[derive(Debug, Clone, Default)]
pub(super) struct Desk(Arc<Mutex<BTreeMap<String, Place>>>);

#[derive(Debug)]
struct Place {
    settings: u64,
    requests: mpsc::UnboundedSender<Asked>,
}

impl Desk {
    /// Returns where the requests about an account arrive.
    pub(super) fn take_place(&self, account: &Account) -> mpsc::UnboundedReceiver<Asked> {
        let (requests, arriving) = mpsc::unbounded_channel();
        let place = Place { settings: digest(account), requests };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(account.name.clone(), place);
        arriving
    }

    /// Passes a request on and waits for the answer; `None` if the question is none, or there will be no answer.
    pub(super) async fn answer(&self, question: &str) -> Option<String> {
        let request: Request = serde_json::from_str(question.strip_prefix(VERB)?).ok()?;
        let (answer, answered) = oneshot::channel();
        self.place(&request)?.send(Asked { request, answer }).ok()?;
        answered.await.ok()
    }

    fn place(&self, request: &Request) -> Option<mpsc::UnboundedSender<Asked>> {
        let places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.get(&request.account)?;
        let is_ours = request.version == env!("CARGO_PKG_VERSION") && request.settings == place.settings;
        is_ours.then(|| place.requests.clone())
    }
}

//! One account's part of `mailtide watch`: what the daemon needs of the command line.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use chrono::Utc;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::sync::mpsc::UnboundedReceiver;

use super::Shared;
use super::bell::Bell;
use super::desk::Asked;
use super::kept::Kept;
use super::table::{Live, Table};
use super::tell::{Nothing, Teller};
use crate::cli::account::{self, Job, Run};
use crate::cli::args;
use crate::cli::connect::{Memory, connect_remembering};
use crate::cli::error::{Rest, Trouble};
use crate::cli::exit::Exit;
use crate::cli::hooks;
use crate::cli::json::ErrorJson;
use crate::cli::progress::Progress;
use crate::cli::render::moment;
use crate::cli::select::Selected;
use crate::cli::stop::Stop;
use crate::config::Account;
use crate::daemon::{About, Ended, Keeper, News, Plan, Told, Why};
use crate::imap::{ImapStore, Reach, Recalled};
use crate::maildir::Diary;
use crate::model::{MailboxName, ModSeq, Timestamp};
use crate::reconcile::report::{Counts, Report};

/// How long a sync waits while another mailtide is at work on the account.
const POLITENESS: Duration = Duration::from_secs(2);

/// The code of what a sync could not follow because it kept changing.
const UNFINISHED: &str = "folder-unfinished";

/// Keeps an account in step.
#[derive(Debug)]
pub(super) struct AccountKeeper {
    account: Account,
    state_dir: PathBuf,
    teller: Teller,
    table: Table,
    hooks: Bell,
    cut: Stop,
    requests: Mutex<UnboundedReceiver<Asked>>,
    args: args::Sync,
    diary: Diary,
    memory: Memory,
    kept: Kept,
    /// The states in which the last sync left the server's folders.
    left: RefCell<BTreeMap<MailboxName, ModSeq>>,
    /// What was wrong last time: it is told once.
    wrong: RefCell<Vec<Trouble>>,
    /// Why the server could not be listened to last time.
    deaf: RefCell<Option<&'static str>>,
}

#[derive(Debug, Serialize)]
struct FolderJson {
    folder: Option<String>,
}

#[derive(Debug, Serialize)]
struct ReachJson {
    reach: &'static str,
}

impl AccountKeeper {
    /// Returns what keeps an account in step. `cut` breaks off what is under way.
    pub(super) fn new(account: Account, shared: &Shared, cut: Stop) -> Self {
        let args = patient(args::Sync::default());
        let (wrong, deaf, left, diary) = (RefCell::default(), RefCell::default(), RefCell::default(), Diary::kept());
        let Shared { state_dir, teller, table, desk, hooks } = shared.clone();
        let requests = Mutex::new(desk.take_place(&account));
        Self {
            account,
            state_dir,
            teller,
            table,
            hooks,
            cut,
            requests,
            args,
            diary,
            memory: Memory::default(),
            kept: Kept::default(),
            left,
            wrong,
            deaf,
        }
    }

    /// Returns what is to be kept in step, and how.
    pub(super) fn plan(&self) -> Plan {
        let account = &self.account;
        Plan {
            maildir: account.maildir.clone(),
            diary: self.diary.clone(),
            scope: account.policy.scope.clone(),
            folders: account.watch.folders.clone(),
            poll: account.watch.poll,
            connections: account.server.connections,
            patience: account.server.timeout,
        }
    }

    /// Tells what is wrong.
    pub(super) fn complain(&self, trouble: &Trouble) {
        self.teller.trouble(Some(&self.account.name), trouble);
        self.update(|live| live.last_error = Some(with_time(trouble)));
    }

    fn update(&self, change: impl FnOnce(&mut Live)) {
        self.table.update(&self.account.name, change);
    }

    fn event(&self, event: &'static str, details: &impl Serialize) {
        self.teller.event(Some(&self.account.name), event, details);
    }

    /// Runs the hook that comes before a sync; an error is how the sync ends without beginning.
    async fn prepare(&self) -> Result<(), Run> {
        let (hooks, accounts) = (self.hooks.hooks(), [self.account.name.as_str()]);
        let trouble = match self.cut.guard(hooks::before(&hooks, &accounts)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(forbidden)) => forbidden,
            Err(exit) => Trouble::stopped(exit, Rest::Untouched),
        };
        let exit = trouble.exit;
        Err(Run { exit, troubles: vec![trouble], ..Run::new(&self.account.name) })
    }

    /// Syncs once, whatever hooks there are.
    async fn run(&self, why: Why, about: &About, args: &args::Sync) -> Run {
        let mut account = self.account.clone();
        account.server.connections = self.plan().left_for_syncs();
        let only = match about {
            About::Everything => Vec::new(),
            About::Only(folders) => folders.iter().cloned().collect(),
        };
        let job = Job {
            selected: Selected { account: &account, only },
            state_dir: &self.state_dir,
            args,
            stop: self.cut.clone(),
            progress: Progress::told(self.table.clone(), &self.account.name),
            diary: self.diary.clone(),
            memory: Some(&self.memory),
            // With one connection there is none but while it syncs.
            kept: Some(&self.kept).filter(|_| self.account.server.connections > 1),
        };
        let now = Utc::now().timestamp();
        self.update(|live| (live.syncing_since, live.planned, live.done) = (Some(now), 0, 0));
        let run = account::sync(job, Timestamp(now)).await;
        self.update(|live| live.syncing_since = None);
        if why == Why::Poll && !run.report.did_anything() {
            self.kept.dismiss();
        }
        self.take_note(why, &run);
        run
    }

    fn take_note(&self, why: Why, run: &Run) {
        let new = *self.wrong.borrow() != run.troubles;
        // That another one is at work is nothing wrong, and passes.
        if run.exit != Exit::Busy {
            self.update(|live| take_down(live, run));
            self.teller.synced(why.as_str(), run, new);
            self.wrong.replace(run.troubles.clone());
        }
        if !run.left.is_empty() {
            self.left.replace(run.left.iter().cloned().collect());
        }
    }

    /// Complains once about each kind of reason why the server can't be listened to, until it can again.
    fn complain_of_deafness(&self, trouble: &Trouble) {
        if self.deaf.replace(Some(trouble.code)) != Some(trouble.code) {
            self.complain(trouble);
        }
    }
}

impl Keeper for AccountKeeper {
    type Asked = Asked;

    async fn sync(&self, why: Why, about: &About) -> (Ended, News) {
        if why == Why::Resumed {
            self.kept.let_go();
        }
        let run = match self.prepare().await {
            Ok(()) => self.run(why, about, &self.args).await,
            Err(run) => {
                self.take_note(why, &run);
                run
            }
        };
        self.hooks.add(&self.account, &run);
        (ended(&run), news(&run.report))
    }

    async fn asked(&self) -> (About, Asked) {
        let mut requests = self.requests.lock().await;
        loop {
            match requests.recv().await {
                // What was accepted by one who did not wait for it was not meant for what is held later.
                Some(asked) if asked.is_given_up() => {}
                Some(asked) => return (about(&asked.request.only), asked),
                None => std::future::pending().await,
            }
        }
    }

    /// Who asked calls the hooks around it. Who gets no answer does it instead, and waits for whoever is at work.
    async fn serve(&self, asked: Asked, about: &About) -> (Ended, News) {
        let run = self.run(Why::Asked, about, &patient(asked.request.args())).await;
        let is_over = run.exit != Exit::Busy && !run.exit.by_signal();
        if !(is_over && asked.answer(&run)) {
            self.hooks.add(&self.account, &run);
        }
        (ended(&run), news(&run.report))
    }

    /// Where mailboxes have no states, each that takes part is looked at to find out whether it changed. What was wrong
    /// somewhere a sync of everything has to find mended: one about other folders would not tell of it.
    fn is_choosy(&self) -> bool {
        self.left.borrow().is_empty() && self.wrong.borrow().is_empty()
    }

    fn knows(&self, mailbox: &MailboxName, now: ModSeq) -> bool {
        self.left.borrow().get(mailbox) == Some(&now)
    }

    async fn connect(&self) -> Result<ImapStore, Ended> {
        connect_remembering(&self.account, Some(&self.memory), &Recalled::default()).await.map_err(|trouble| {
            self.complain_of_deafness(&trouble);
            of_trouble(&trouble)
        })
    }

    fn tell(&self, told: Told<'_>) {
        match told {
            Told::Next(after) => {
                let next = Utc::now().timestamp().saturating_add_unsigned(after.as_secs());
                self.update(|live| live.next = Some(next));
            }
            Told::Listening(reach) => {
                self.deaf.replace(None);
                self.update(|live| live.listening = Some(reach_word(reach).to_owned()));
                self.event("listening", &ReachJson { reach: reach_word(reach) });
            }
            Told::Lost => self.update(|live| live.listening = None),
            Told::Deaf(error, wait) => self.complain_of_deafness(&Trouble::deaf(&self.account, error, wait)),
            Told::Untold => self.complain(&Trouble::untold()),
            Told::Unable(error) => self.complain(&Trouble::unable(error)),
            Told::Server(folder) => self.event("server", &FolderJson { folder: folder.map(ToString::to_string) }),
            Told::Local => self.event("local", &Nothing {}),
            Told::Unwatched(error) => self.complain(&Trouble::unwatched(&self.account, error)),
        }
    }
}

/// Returns what is asked for with a little patience for another mailtide that is at work.
fn patient(args: args::Sync) -> args::Sync {
    args::Sync { wait: Some(Some(POLITENESS.into())), ..args }
}

/// Returns what a sync of only these folders is about; of none, everything.
fn about(only: &[MailboxName]) -> About {
    match only {
        [] => About::Everything,
        only => About::Only(only.iter().cloned().collect()),
    }
}

/// Takes down how a sync went.
fn take_down(live: &mut Live, run: &Run) {
    live.exit_code = Some(run.exit.code());
    let wrong = run.troubles.iter().filter(|trouble| !trouble.is_hold());
    live.errors = wrong.filter_map(|trouble| serde_json::to_value(ErrorJson::of(trouble)).ok()).collect();
    if let Some(last) = run.troubles.iter().rfind(|trouble| !trouble.is_hold()) {
        live.last_error = Some(with_time(last));
    }
}

/// Returns an error as in `--json`, with the time of now.
fn with_time(trouble: &Trouble) -> Value {
    let mut error = serde_json::to_value(ErrorJson::of(trouble)).unwrap_or_default();
    if let Some(fields) = error.as_object_mut() {
        fields.insert("at".to_owned(), moment(Timestamp(Utc::now().timestamp())).into());
    }
    error
}

fn reach_word(reach: Reach) -> &'static str {
    match reach {
        Reach::All => "all",
        Reach::One => "inbox",
        Reach::Nothing => "nothing",
    }
}

/// Returns what came from the server.
fn news(report: &Report) -> News {
    let but_flags = Counts { flags: 0, ..report.local };
    match report.has_news() {
        false => News::Nothing,
        true if but_flags == Counts::default() => News::Flags,
        true => News::More,
    }
}

/// Returns what a run's end means for the next.
fn ended(run: &Run) -> Ended {
    match run.exit {
        _ if run.troubles.iter().any(Trouble::is_forbidden) => Ended::Machine,
        Exit::InStep | Exit::Partial | Exit::Held | Exit::Interrupted | Exit::Terminated => {
            let is_unfinished = run.troubles.iter().any(|trouble| trouble.code == UNFINISHED);
            if is_unfinished { Ended::Unfinished } else { Ended::Done }
        }
        Exit::Busy => Ended::Busy,
        Exit::Config | Exit::Login | Exit::Network | Exit::Machine => {
            run.troubles.last().map_or(Ended::Machine, of_trouble)
        }
    }
}

fn of_trouble(trouble: &Trouble) -> Ended {
    if let Some(wait) = trouble.wait {
        return Ended::Asked(wait);
    }
    match trouble.exit {
        Exit::Login => Ended::Login,
        Exit::Network if trouble.code == "unreachable" => Ended::Unreachable,
        Exit::Network => Ended::Refused,
        _ => Ended::Machine,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_alone_are_told_from_everything_else() {
        let nothing = Counts::default();
        for (local, expected) in [
            (nothing, News::Nothing),
            (Counts { flags: 3, ..nothing }, News::Flags),
            (Counts { flags: 3, added: 1, ..nothing }, News::More),
            (Counts { folders_renamed: 1, ..nothing }, News::More),
        ] {
            let remote = Counts { added: 1, ..nothing };
            assert_eq!(news(&Report { local, remote, ..Report::default() }), expected, "{local:?}");
        }
    }
}

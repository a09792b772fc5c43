//! `[hooks]`: commands run around a sync.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt;
use toml::Spanned;

use super::error::Flaw;
use super::raw::{self, Command};
use super::secret::{listen, runnable};

/// Commands run around a sync. An empty string is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Before it; if it fails, nothing is touched.
    pub before_sync: Option<Command>,
    /// After one that brought messages into the Maildir.
    pub on_new_mail: Option<Command>,
    /// After one that changed anything on either side.
    pub on_change: Option<Command>,
}

/// Checks the hooks.
pub(super) fn check(raw: raw::Hooks) -> Result<Hooks, Flaw> {
    Ok(Hooks {
        before_sync: hook(raw.before_sync)?,
        on_new_mail: hook(raw.on_new_mail)?,
        on_change: hook(raw.on_change)?,
    })
}

fn hook(value: Option<Spanned<Command>>) -> Result<Option<Command>, Flaw> {
    match value {
        Some(value) if matches!(value.get_ref(), Command::Shell(line) if line.is_empty()) => Ok(None),
        Some(value) => runnable(value.span(), value.into_inner()).map(Some),
        None => Ok(None),
    }
}

/// Why a hook did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// It could not be started.
    #[error("could not be run: {0}")]
    Run(#[from] io::Error),
    /// It failed.
    #[error("failed ({status}){said}")]
    Failed {
        /// Its exit status.
        status: ExitStatus,
        /// What it printed on stderr, after a colon.
        said: String,
    },
    /// It took too long, and was killed.
    #[error("did not end within {} s", .0.as_secs())]
    TimedOut(Duration),
}

/// Runs a hook, with `input` on its standard input, and waits until it has ended. One that takes longer than `limit` is
/// killed with what it has started, and so it is when the future is dropped.
///
/// # Errors
/// It can't be run, takes too long, or ends with another exit status than 0.
pub async fn run(command: &Command, input: &[u8], limit: Duration) -> Result<(), HookError> {
    let mut process = command.process()?;
    process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).process_group(0);
    let mut child = process.spawn()?;
    let group = Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw));
    let stdin = child.stdin.take();
    let feed = async {
        if let Some(mut stdin) = stdin {
            // One that does not read it does not want it.
            stdin.write_all(input).await.ok();
        }
    };
    let ended = tokio::time::timeout(limit, async { tokio::join!(listen(child), feed).0 }).await;
    let (_, said, status) = ended.map_err(|_| HookError::TimedOut(limit))??;
    group.forget();
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said);
    let said = if said.trim().is_empty() { String::new() } else { format!(": {}", said.trim()) };
    Err(HookError::Failed { status, said })
}

/// A process group, killed when dropped.
struct Group(Option<Pid>);

impl Group {
    /// Leaves alone what the hook left running in the background.
    fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended by itself.
            kill_process_group(group, Signal::KILL).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn shell(line: &str) -> Command {
        Command::Shell(line.to_owned())
    }

    #[tokio::test]
    async fn a_hook_gets_its_input_and_its_failure_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("out");
        let limit = Duration::from_secs(20);
        run(&shell(&format!("cat > {}", file.display())), b"{}\n", limit).await.unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"{}\n");
        let failed = run(&shell("echo no >&2; exit 3"), &[b'x'; 200_000], limit).await.unwrap_err();
        assert_eq!(failed.to_string(), "failed (exit status: 3): no");
        let missing = Command::Argv(vec!["/nonexistent/hook".to_owned()]);
        assert!(matches!(run(&missing, b"", limit).await, Err(HookError::Run(_))));
    }

    #[tokio::test]
    async fn one_that_takes_too_long_is_killed_with_what_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let line = format!("sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait", file.display());
        let begun = Instant::now();
        let late = run(&shell(&line), b"", Duration::from_millis(500)).await;
        assert!(matches!(late, Err(HookError::TimedOut(_))) && begun.elapsed() < Duration::from_secs(10), "{late:?}");
        let pid: i32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        let state = format!("/proc/{pid}/stat");
        let gone = || std::fs::read_to_string(&state).map_or(true, |stat| stat.contains(") Z "));
        let deadline = Instant::now() + Duration::from_secs(10);
        while !gone() {
            assert!(Instant::now() < deadline, "it is still running");
            tokio::task::yield_now().await;
        }
    }
}

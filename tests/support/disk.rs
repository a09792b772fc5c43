//! A file system of a chosen size, mounted where only this test and the binary it runs can see it.
//!
//! It lives in a mount namespace of its own, held by a shell, and is gone when the shell ends; the shell ends with the
//! test process, however that ends. Root may do this, and others where the kernel lets them.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The mounted file system.
#[derive(Debug)]
pub(crate) struct Disk {
    holder: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    mounted_on: PathBuf,
}

impl Disk {
    /// Mounts a file system of a size such as `2m` on an existing directory. Returns `None`, and says so, where this is
    /// not allowed.
    pub(crate) fn mount(size: &str, on: &Path) -> Option<Disk> {
        const HOLD: &str = "while read -r order; do eval \"$order\" && echo done || echo failed; done";
        let mut command = Command::new("unshare");
        command.arg("--mount").args(if is_root() { &[][..] } else { &["--user", "--map-root-user"] });
        command.args(["sh", "-c", HOLD, "sh"]).arg(on);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut holder = command.spawn().ok()?;
        let orders = holder.stdin.take()?;
        let answers = BufReader::new(holder.stdout.take()?);
        let mut disk = Disk { holder, orders, answers, mounted_on: on.to_owned() };
        if disk.order(&format!("mount -t tmpfs -o size={size},mode=0700 none \"$1\"")) {
            return Some(disk);
        }
        writeln!(std::io::stderr(), "skipped: can't mount a file system here").unwrap();
        None
    }

    /// Makes it read-only, or writable again.
    pub(crate) fn set_read_only(&mut self, read_only: bool) {
        let mode = if read_only { "ro" } else { "rw" };
        assert!(self.order(&format!("mount -o remount,{mode} none \"$1\"")), "remount {mode}");
    }

    /// Changes its size.
    pub(crate) fn resize(&mut self, size: &str) {
        assert!(self.order(&format!("mount -o remount,size={size} none \"$1\"")), "remount size={size}");
    }

    /// Returns the command in front of another that makes it see the file system.
    pub(crate) fn entrance(&self) -> Vec<String> {
        let user = if is_root() { &[][..] } else { &["--user", "--preserve-credentials"] };
        let words = ["nsenter", "--target", &self.holder.id().to_string(), "--mount"].map(str::to_owned);
        words.into_iter().chain(user.iter().map(|&word| word.to_owned())).collect()
    }

    /// Returns the path by which this process sees its directory.
    pub(crate) fn path(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.mounted_on.strip_prefix("/").unwrap())
    }

    fn order(&mut self, order: &str) -> bool {
        let mut answer = String::new();
        // A shell that could not start has closed its pipe: that is the answer.
        writeln!(self.orders, "{order}").ok();
        self.answers.read_line(&mut answer).unwrap();
        answer == "done\n"
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

//! How other processes of the same user ask the daemon: a Unix socket, one line there and two back, the first at once and
//! empty, so that one who must wait for the other knows that he was heard.

use std::fs::{self, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketType};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// How long one who asks may take, and how long what can be answered at once is waited for.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// How long to wait before hearing again, once that failed.
const BREATH: Duration = Duration::from_millis(50);

/// The longest question, in bytes.
const LONGEST_QUESTION: u64 = 1 << 20;

/// The longest answer, in bytes.
const LONGEST_ANSWER: u64 = 16 << 20;

/// The daemon's end of the socket. The file is removed when this is dropped.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Makes the socket, for this user alone. One that is there is a dead daemon's: the caller has made sure that no
    /// other is alive.
    ///
    /// # Errors
    /// It can't be made; a path of more than about 100 bytes is too long for a socket.
    pub fn bind(path: &Path) -> io::Result<Control> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        Ok(Control { listener, path: path.to_owned() })
    }

    /// Answers questions for ever, several at a time, however long an answer takes. Another user's are not heard.
    pub async fn serve(&self, answer: impl AsyncFn(&str) -> String) {
        let mut open = FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => open.push(serve_one(stream, &answer)),
                    Err(error) => {
                        tracing::debug!(%error, "no question can be heard");
                        // Out of files, accepting fails at once, again and again.
                        tokio::time::sleep(BREATH).await;
                    }
                },
                Some(served) = open.next() => {
                    if let Err(error) = served {
                        tracing::debug!(%error, "a question was not answered");
                    }
                }
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // A file that is left behind is removed by the next daemon.
        fs::remove_file(&self.path).ok();
    }
}

async fn serve_one(mut stream: UnixStream, answer: impl AsyncFn(&str) -> String) -> io::Result<()> {
    if stream.peer_cred()?.uid() != rustix::process::getuid().as_raw() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let mut question = String::new();
    let (reading, mut writing) = stream.split();
    let mut reading = tokio::io::BufReader::new(reading.take(LONGEST_QUESTION));
    tokio::time::timeout(PATIENCE, reading.read_line(&mut question)).await??;
    writing.write_all(b"\n").await?;
    let answer = tokio::select! {
        biased;
        // Who has gone away, perhaps long before this process woke up, asks for nothing any more.
        _ = reading.read_u8() => return Err(io::ErrorKind::BrokenPipe.into()),
        answer = answer(question.trim_end()) => answer + "\n",
    };
    tokio::time::timeout(PATIENCE, writing.write_all(answer.as_bytes())).await??;
    writing.shutdown().await
}

/// Asks the daemon; `None` if none is running. Blocks the thread: a few seconds until it is heard, and then for as long as
/// there is patience, for ever without a limit to it.
///
/// # Errors
/// There is a daemon, and it gives no answer.
pub fn ask(path: &Path, question: &str, patience: Option<Duration>) -> io::Result<Option<String>> {
    let mut stream = match connect(path) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{question}\n").as_bytes())?;
    let mut reading = BufReader::new(stream.take(LONGEST_ANSWER));
    line(&mut reading)?;
    reading.get_ref().get_ref().set_read_timeout(patience)?;
    line(&mut reading).map(Some)
}

/// Reads a whole line.
fn line(reading: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    reading.read_line(&mut line)?;
    match line.strip_suffix('\n') {
        Some(line) => Ok(line.to_owned()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Connects; one that hears nobody any more is not waited for without end.
fn connect(path: &Path) -> io::Result<BlockingStream> {
    let socket = net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
    net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn questions_are_answered_and_an_end_leaves_nobody_to_ask() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.socket");
        assert_eq!(ask(&path, "x", Some(PATIENCE)).unwrap(), None);
        // A dead one's.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert_eq!(ask(&path, "x", Some(PATIENCE)).unwrap(), None);
        let control = Control::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let asking = path.clone();
        let asked = tokio::task::spawn_blocking(move || {
            // One who says nothing does not keep others from asking.
            let silent = BlockingStream::connect(&asking).unwrap();
            let answers = ["a", "b"].map(|question| ask(&asking, question, Some(PATIENCE)).unwrap());
            drop(silent);
            answers
        });
        let answers = tokio::select! {
            answers = asked => answers.unwrap(),
            () = control.serve(async |question| format!("<{question}>")) => panic!("it serves for ever"),
        };
        assert_eq!(answers, [Some("<a>".to_owned()), Some("<b>".to_owned())]);
        drop(control);
        assert_eq!(ask(&path, "x", Some(PATIENCE)).unwrap(), None);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn who_has_gone_away_asks_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.socket");
        let control = Control::bind(&path).unwrap();
        BlockingStream::connect(&path).unwrap().write_all(b"gone\n").unwrap();
        let asked = tokio::task::spawn_blocking(move || ask(&path, "there", Some(PATIENCE)).unwrap());
        let heard = std::cell::RefCell::new(Vec::new());
        let answer = tokio::select! {
            answer = asked => answer.unwrap(),
            () = control.serve(async |question| {
                heard.borrow_mut().push(question.to_owned());
                "yes".to_owned()
            }) => panic!("it serves for ever"),
        };
        assert_eq!((answer.as_deref(), heard.into_inner()), (Some("yes"), vec!["there".to_owned()]));
    }

    #[test]
    fn one_that_hears_nobody_any_more_is_not_waited_for_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.socket");
        let deaf = net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        net::bind(&deaf, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        net::listen(&deaf, 0).unwrap();
        // As many as wait to be heard; the next waits for that.
        let _waiting = connect(&path).unwrap();
        let (sender, asked) = std::sync::mpsc::channel();
        std::thread::spawn(move || sender.send(ask(&path, "x", Some(PATIENCE)).is_err()));
        assert_eq!(asked.recv_timeout(PATIENCE * 5), Ok(true));
    }
}

//! What `contrib/fuzz` feeds: whatever a server sends, nothing panics, hangs or grows, and names are spelled back exactly.

use std::time::Duration;

use tokio::io::{empty, join};

use super::names::Names;
use super::response::{Listed, Namespace, Namespaces, Response, parse};
use super::wire::Wire;
use crate::model::MailboxName;
use crate::store::Traffic;

/// Reads bytes as a connection brings them: framing, literals, tokens, responses. Returns how many responses there were.
pub fn replies(bytes: &[u8]) -> usize {
    let stream = join(std::io::Cursor::new(bytes.to_vec()), empty());
    let mut wire = Wire::new(Box::new(stream), Duration::from_secs(1), Traffic::default());
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else { return 0 };
    runtime.block_on(async {
        let mut count = 0;
        loop {
            match wire.next(None) {
                Ok(true) => {
                    let reply = wire.take_reply();
                    count += usize::from(!matches!(parse(&reply), None | Some(Response::Untagged(_))));
                    wire.recycle(reply);
                }
                Ok(false) if wire.progress().await.is_ok() => {}
                Ok(false) | Err(_) => return count,
            }
        }
    })
}

/// Reads lines as names that a server lists, in every way that servers separate them.
///
/// # Panics
///
/// If a name is not found by its spelling, or not spelled as it was listed.
pub fn mailbox_names(bytes: &[u8]) {
    for (separator, prefix) in [(b'/', ""), (b'.', "INBOX."), (b'\\', "Mail\\"), (b'^', "")] {
        let personal = vec![Namespace { prefix: prefix.into(), separator: Some(separator) }];
        let namespaces = Namespaces { personal, foreign: Vec::new() };
        let listed = |name: &[u8]| Listed { attributes: Vec::new(), separator: Some(separator), name: name.to_vec() };
        let listed: Vec<Listed> = bytes.split(|byte| *byte == b'\n').take(64).map(listed).collect();
        let (names, _) = Names::read(Some(&namespaces), &listed);
        for (name, raw) in names.iter() {
            assert_eq!(MailboxName::parse(name.as_str()).as_ref(), Some(name));
            assert_eq!(names.find(raw), Some(name));
            assert_eq!(names.wire(name).ok().as_deref(), Some(raw));
        }
    }
}

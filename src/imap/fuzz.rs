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

/// The same with whatever proptest thinks of, and with what the fuzzer starts from.
#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WORDS: [&str; 12] =
        ["* ", "a OK ", "FETCH (", "UID 1 ", "{3}\r\n", "{3+}\r\n", "\"", "\\", ")", "\r\n", "NIL", "[ALERT]"];

    /// Bytes of which some mean something to the tokenizer.
    fn talk() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            proptest::sample::select(&WORDS[..]).prop_map(|word| word.as_bytes().to_vec()),
            proptest::collection::vec(any::<u8>(), 0..8),
        ];
        proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn whatever_is_sent_is_read_to_its_end(bytes in talk()) {
            replies(&bytes);
        }

        #[test]
        fn whatever_is_listed_is_spelled_back(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            mailbox_names(&bytes);
        }
    }

    #[test]
    fn what_the_fuzzer_starts_from_is_read() {
        let corpus = |part: &str| {
            let directory = format!("{}/contrib/fuzz/corpus/{part}", env!("CARGO_MANIFEST_DIR"));
            let files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
            assert!(!files.is_empty(), "{part}");
            files.into_iter().map(|file| std::fs::read(file).unwrap())
        };
        corpus("replies").for_each(|bytes| {
            replies(&bytes);
        });
        corpus("mailbox_names").for_each(|bytes| mailbox_names(&bytes));
    }
}

//! Deviations of single servers, each with a name and a reason.

use super::capability::Capabilities;
use super::response::{Condition, Status};

/// Gmail archives or purges at once what gets `\Deleted`, according to the user's settings there.
pub(super) fn deleted_is_final(capabilities: &Capabilities) -> bool {
    capabilities.has("X-GM-EXT-1")
}

/// Dovecot 2.3 and Cyrus refuse to select a mailbox that does not exist without the code `[NONEXISTENT]`; these words
/// are theirs. Another code (`[NOPERM]`, `[UNAVAILABLE]`, `[SERVERBUG]`) always means something else.
pub(super) fn says_nonexistent(status: &Status) -> bool {
    let said = |words: &str| status.text.get(..words.len()).is_some_and(|start| start.eq_ignore_ascii_case(words));
    status.condition == Condition::No
        && status.code.is_none()
        && (said("Mailbox doesn't exist") || said("Mailbox does not exist"))
}

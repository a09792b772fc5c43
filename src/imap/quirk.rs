//! Deviations of single servers, each with a name and a reason.

use std::time::Duration;

use super::capability::Capabilities;
use super::response::{Condition, Status};

/// Gmail archives or purges at once what gets `\Deleted`, according to the user's settings there.
pub(super) fn deleted_is_final(capabilities: &Capabilities) -> bool {
    capabilities.has("X-GM-EXT-1")
}

/// Yahoo, and those it keeps mail for, show the newest so many messages of a mailbox: with each that comes one more is out
/// of sight, and still there. Their export hosts show all.
const WINDOW: u32 = 10_000;
const WINDOWED: [&str; 3] = [".mail.yahoo.com", ".aol.com", ".mail.att.net"];

/// Returns how many messages of a mailbox a host shows at most, if that is not all.
pub(super) fn window(host: &str) -> Option<u32> {
    let host = host.to_ascii_lowercase();
    let is_windowed = !host.contains("export") && WINDOWED.iter().any(|end| host.ends_with(end));
    is_windowed.then_some(WINDOW)
}

/// Zoho closes the connection when a command comes before the one in front of it is answered.
const ONE_AT_A_TIME: [&str; 2] = ["zoho", "zohocloud"];

/// Returns true if a host can't stand pipelining (RFC 9051 section 5.5).
pub(super) fn one_at_a_time(host: &str) -> bool {
    host.split('.').any(|label| ONE_AT_A_TIME.iter().any(|name| label.eq_ignore_ascii_case(name)))
}

/// Dovecot takes what comes behind AUTHENTICATE or LOGIN for what it is: of 2,080 log-ins to 2.3.19, with TLS and without,
/// the commands in the same write or up to 10 ms later, none lost any. Others were not tried.
const HEARS_AHEAD: &str = "Dovecot";

/// Returns true if a server with this greeting hears commands that are sent behind the log-in.
pub(super) fn hears_ahead(greeting: &Status) -> bool {
    greeting.text.contains(HEARS_AHEAD)
}

/// iCloud's VANISHED and ESEARCH are malformed: asked without, no look need be done twice.
const ICLOUD: &str = ".mail.me.com";

/// Returns the extensions that a host offers and does not know.
pub(super) fn broken(host: &str) -> &'static [&'static str] {
    if host.to_ascii_lowercase().ends_with(ICLOUD) { &["ESEARCH", "QRESYNC"] } else { &[] }
}

/// Dovecot 2.3 and Cyrus refuse to select a mailbox that does not exist without the code `[NONEXISTENT]`; these words
/// are theirs. Another code (`[NOPERM]`, `[UNAVAILABLE]`, `[SERVERBUG]`) always means something else.
pub(super) fn says_nonexistent(status: &Status) -> bool {
    let said = |words: &str| status.text.get(..words.len()).is_some_and(|start| start.eq_ignore_ascii_case(words));
    status.condition == Condition::No
        && status.code.is_none()
        && (said("Mailbox doesn't exist") || said("Mailbox does not exist"))
}

/// Exchange lets users in whose mailbox it can't reach, for now or for want of permission, and answers all commands so.
const NOT_CONNECTED: &str = "User is authenticated but not connected";

/// Returns true if a refusal has nothing to do with what was asked for.
pub(super) fn is_not_connected(status: &Status) -> bool {
    status.text.starts_with(NOT_CONNECTED)
}

/// Exchange says in the text of a refusal how long it wants to be left alone.
const WAIT: &str = "Suggested Backoff Time: ";

/// However long it asks for, it is asked again after this time.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Returns how long a server asks to be left alone, in the words of a refusal: `… 299962 milliseconds`.
pub(super) fn wait(words: &str) -> Option<Duration> {
    let (_, rest) = words.split_once(WAIT)?;
    let (number, _) = rest.split_once(" milliseconds")?;
    Some(Duration::from_millis(number.parse().ok()?).min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::error::refusal_kind;
    use crate::store::RemoteErrorKind;

    #[test]
    fn only_yahoos_ordinary_hosts_show_a_window() {
        assert_eq!(["imap.mail.yahoo.com", "IMAP.AOL.com"].map(window), [Some(WINDOW); 2]);
        let others = ["export.imap.mail.yahoo.com", "imap.gmail.com", "mail.yahoo.com.example.org", "notaol.com"];
        assert_eq!(others.map(window), [None; 4]);
    }

    #[test]
    fn how_long_to_wait_is_read_from_the_words_of_a_refusal() {
        let told = |words| wait(words).map(|wait| wait.as_millis());
        assert_eq!(told("Request is throttled. Suggested Backoff Time: 299962 milliseconds"), Some(299_962));
        assert_eq!(told("Suggested Backoff Time: 18446744073709551615 milliseconds"), Some(3_600_000));
        for none in ["", "Suggested Backoff Time: soon milliseconds", "Suggested Backoff Time: 5 s"] {
            assert_eq!(told(none), None, "{none}");
        }
        let refusal = |text: &str| Status { condition: Condition::Bad, code: None, text: text.to_owned() };
        let kind = |text| refusal_kind(&refusal(text));
        assert_eq!(kind("Suggested Backoff Time: 5 milliseconds"), RemoteErrorKind::Busy, "it will not last");
        assert_eq!(kind("throttled"), RemoteErrorKind::Refused);
        assert_eq!(kind("User is authenticated but not connected."), RemoteErrorKind::Busy);
    }

    #[test]
    fn hosts_are_known_by_whole_labels() {
        assert_eq!(["imap.zoho.com", "imappro.ZOHO.eu", "imap.zohocloud.ca"].map(one_at_a_time), [true; 3]);
        assert_eq!(["imap.notzoho.com", "imap.example.org"].map(one_at_a_time), [false; 2]);
        assert_eq!(["imap.mail.me.com", "P01-imap.mail.me.com"].map(broken), [["ESEARCH", "QRESYNC"]; 2]);
        assert!(["mail.me.com.example.org", "imap.notmail.me.com"].map(broken).iter().all(|none| none.is_empty()));
    }
}

//! INTERNALDATE (RFC 9051 section 9, `date-time`).

use chrono::DateTime;

use crate::model::Timestamp;

/// Reads a date such as `17-Jul-1996 02:44:25 -0700`, the day perhaps padded with a space.
pub(super) fn parse(text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?.trim();
    DateTime::parse_from_str(text, "%d-%b-%Y %H:%M:%S %z").ok().map(|date| Timestamp(date.timestamp()))
}

/// Writes a date in UTC; `None` for years that IMAP can't write.
pub(super) fn format(at: Timestamp) -> Option<String> {
    let date = DateTime::from_timestamp(at.0, 0)?;
    let text = date.format("%d-%b-%Y %H:%M:%S +0000").to_string();
    (text.len() == "17-Jul-1996 02:44:25 +0000".len() && !text.contains("--")).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_round_trip() {
        for (text, seconds) in [("17-Jul-1996 02:44:25 -0700", 837_596_665), (" 1-Jan-1970 00:00:09 +0000", 9)] {
            assert_eq!(parse(text.as_bytes()), Some(Timestamp(seconds)));
            let written = format(Timestamp(seconds)).unwrap();
            assert_eq!(parse(written.as_bytes()), Some(Timestamp(seconds)));
        }
        assert_eq!(format(Timestamp(9)).unwrap(), "01-Jan-1970 00:00:09 +0000");
        assert_eq!(format(Timestamp(i64::MAX)), None);
        assert_eq!(format(Timestamp(-99_999_999_999)), None);
        assert_eq!(parse(b"NIL"), None);
        assert_eq!(parse(b"99-Foo-2020"), None);
    }
}

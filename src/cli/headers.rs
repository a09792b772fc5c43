//! What a message says of itself, for lists: three header fields, in words a terminal can show.

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Some programs leave out the padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Header fields of a message; `None` where it has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Headers {
    /// Subject.
    pub(super) subject: Option<String>,
    /// From.
    pub(super) from: Option<String>,
    /// Date, as it is written.
    pub(super) date: Option<String>,
}

impl Headers {
    /// Reads the fields from a message's beginning.
    pub(super) fn of(beginning: &[u8]) -> Self {
        let text = String::from_utf8_lossy(beginning);
        let mut headers = Headers::default();
        for (name, value) in fields(&text) {
            let place = match name.to_ascii_lowercase().as_str() {
                "subject" => &mut headers.subject,
                "from" => &mut headers.from,
                "date" => &mut headers.date,
                _ => continue,
            };
            place.get_or_insert_with(|| shown(&decoded(&value)));
        }
        headers
    }
}

/// Returns the Message-ID of a message, from its beginning; without white space around it.
pub(super) fn message_id(beginning: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(beginning);
    let id = fields(&text).into_iter().find(|(name, _)| name.eq_ignore_ascii_case("message-id"))?.1;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

/// Returns the fields of a header block, unfolded.
fn fields(text: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines().take_while(|line| !line.is_empty()) {
        match (line.starts_with([' ', '\t']), fields.last_mut(), line.split_once(':')) {
            (true, Some((_, value)), _) => value.push_str(line),
            (false, _, Some((name, value))) => fields.push((name.trim_end().to_owned(), value.to_owned())),
            _ => {}
        }
    }
    fields
}

/// Makes one line of it.
fn shown(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Decodes encoded-words (RFC 2047) in the charsets that need no tables; the others stay as they are.
fn decoded(value: &str) -> String {
    let (mut out, mut rest) = (String::new(), value);
    let mut after_word = false;
    while let Some((before, behind)) = rest.split_once("=?") {
        let word = word(behind);
        // White space between two encoded-words is none.
        if !(after_word && word.is_some() && before.trim().is_empty()) {
            out.push_str(before);
        }
        after_word = word.is_some();
        rest = match word {
            Some((text, behind)) => {
                out.push_str(&text);
                behind
            }
            None => {
                out.push_str("=?");
                behind
            }
        };
    }
    out + rest
}

/// Decodes what follows a `=?`, and returns what comes behind it.
fn word(text: &str) -> Option<(String, &str)> {
    let mut parts = text.splitn(3, '?');
    let (charset, encoding, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let (content, behind) = rest.split_once("?=")?;
    let bytes = match encoding {
        "B" | "b" => LENIENT.decode(content).ok()?,
        "Q" | "q" => unquoted(content)?,
        _ => return None,
    };
    // A language may follow the charset (RFC 2231).
    let charset = charset.split('*').next()?.to_ascii_lowercase();
    let decoded = match charset.as_str() {
        "utf-8" | "us-ascii" | "ascii" => String::from_utf8_lossy(&bytes).into_owned(),
        "iso-8859-1" | "latin1" => bytes.iter().copied().map(char::from).collect(),
        _ => return None,
    };
    Some((decoded, behind))
}

fn unquoted(content: &str) -> Option<Vec<u8>> {
    let mut bytes = content.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'_' => b' ',
            b'=' => {
                let pair = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_unfolded_decoded_and_harmless() {
        let text = "Received: x\nSUBJECT: =?utf-8?B?R3LDvMOfZQ==?=\r\n =?UTF-8?q?_aus?= =?utf-8*de?Q?_K=C3=B6ln?= =?x?= end\r\n\
                    From: \x1b[31mA\u{7}da\t<a@b>\r\nSubject: second\r\nno field\n\nDate: in the body\n";
        let headers = Headers::of(text.as_bytes());
        assert_eq!(headers.subject.as_deref(), Some("Grüße aus Köln =?x?= end"));
        assert_eq!(headers.from.as_deref(), Some("[31mA da <a@b>"));
        assert_eq!(headers.date, None);
    }

    #[test]
    fn words_that_cannot_be_decoded_stay() {
        for (text, expected) in [
            ("=?iso-8859-1?Q?=FCber?=", "über"),
            ("=?koi8-r?B?8NLJ18XU?=", "=?koi8-r?B?8NLJ18XU?="),
            ("=?utf-8?B?****?=", "=?utf-8?B?****?="),
            ("=?utf-8?Q?a=?= b", "=?utf-8?Q?a=?= b"),
            ("=?utf-8?Q?=ff=20?=.", "\u{fffd} ."),
            ("=?utf-8?X?a?=", "=?utf-8?X?a?="),
            ("=?utf-8?Q?unfinished", "=?utf-8?Q?unfinished"),
            ("=?utf-8?B?YQ?=", "a"),
            ("=?", "=?"),
        ] {
            assert_eq!(decoded(text), expected);
        }
        assert_eq!(Headers::of(&[0xff, b'\n', b'S']), Headers::default());
    }
}

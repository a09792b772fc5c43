//! Mail: ordinary, and odd in every way that real mail is.

/// A message to be put somewhere.
#[derive(Debug, Clone)]
pub(crate) struct Mail {
    pub(crate) body: Vec<u8>,
    /// Flags and keywords as IMAP writes them.
    pub(crate) flags: &'static str,
    /// Its date, seconds since 1970.
    pub(crate) date: i64,
}

/// 2 March 2020, 08:00:00 UTC.
pub(crate) const DATE: i64 = 1_583_136_000;

const FLAGS: [&str; 8] = [
    "",
    "\\Seen",
    "\\Seen \\Answered",
    "\\Flagged",
    "\\Seen $Forwarded",
    "\\Seen work todo",
    "\\Draft",
    "\\Answered \\Flagged \\Seen $Junk",
];

/// Returns a plain message with LF line ends.
pub(crate) fn plain(subject: &str) -> Vec<u8> {
    format!("From: Ada <ada@example.org>\nTo: Bob <bob@example.org>\nSubject: {subject}\nDate: Mon, 02 Mar 2020 08:00:00 +0000\nMessage-ID: <{}@example.org>\n\nThis is {subject}.\n", subject.replace(' ', "-"))
        .into_bytes()
}

/// Returns so many ordinary messages, each with its own flags and date.
pub(crate) fn ordinary(count: i64) -> Vec<Mail> {
    let mails = (0..count).map(|number| mail(number, plain(&format!("message {number}"))));
    mails.collect()
}

/// So many messages of so many bytes of text, which deflate shrinks a lot.
pub(crate) fn long(count: i64, size: usize) -> Vec<Mail> {
    let lengthen = |mail: Mail| {
        let lines = (0..size / 40).flat_map(|line| format!("This is line {line} of a long message.\n").into_bytes());
        Mail { body: mail.body.iter().copied().chain(lines).collect(), ..mail }
    };
    ordinary(count).into_iter().map(lengthen).collect()
}

/// Returns so many messages, each of a different or differently repeated oddness.
pub(crate) fn odd(count: i64) -> Vec<Mail> {
    (0..count).map(|number| mail(number, odd_body(number))).collect()
}

fn mail(number: i64, lf: Vec<u8>) -> Mail {
    let kind = usize::try_from(number).unwrap();
    Mail { body: lf, flags: FLAGS[kind % FLAGS.len()], date: DATE + number * 86_461 }
}

fn odd_body(number: i64) -> Vec<u8> {
    let head = format!("From: a{number}@example.org\r\nSubject: odd {number}\r\n");
    let id = format!("Message-ID: <odd{number}@example.org>\r\n");
    let text = |parts: &[&str]| parts.concat().into_bytes();
    match number % 17 {
        0 => text(&[&head, &id, "\r\nbare LF\nin\nsome lines\r\nonly\n"]),
        1 => text(&[&head, &id, "\r\nNUL: \0 and \0\0 in the text\r\n"]),
        2 => text(&[&head, "\r\nno Message-ID\r\n"]),
        3 => text(&[&head, "Message-ID: <the-same@example.org>\r\n\r\nrepeated Message-ID\r\n"]),
        4 => [text(&[&head, &id, "\r\n8 bit: "]), b"\xe4\xf6\xfc \xff\xfe\x80\x01\r\n".to_vec()].concat(),
        5 => text(&[&head, &id, "\r\n", &"a very long line ".repeat(20_000), "\r\n"]),
        6 => text(&[&head, &id, "\r\n"]),
        7 => text(&[&head, &id, "\r\nno final newline"]),
        8 => text(&[&head, &id, "\r\nbare CR\rin the\rmiddle\r\n"]),
        9 => [text(&[&head, &id, "X-Raw: "]), b"\xe9\xe8 raw 8 bit header\r\n\r\nbody\r\n".to_vec()].concat(),
        10 => text(&[&head, &id, "References:", &" <ref@example.org>\r\n".repeat(400), "\r\nlong header\r\n"]),
        11 => text(&["no header at all, and nothing like one\r\n", &number.to_string(), "\r\n"]),
        12 => text(&[
            "From mbox@example.org Mon Mar  2 08:00:00 2020\r\n",
            &head,
            &id,
            "\r\n>From the mbox\r\n.\r\n..\r\n",
        ]),
        13 => text(&[&head, &id, "Date: yesterday, or so\r\n\r\nbad date\r\n"]),
        14 => text(&[&head, &id, "\r\n\r\n\r\nblank lines\r\n\r\n\r\n"]),
        15 => text(&[
            &head,
            &id,
            "\r\n",
            &"line of a large message, 64 bytes with its two at the very end\r\n".repeat(8_000),
        ]),
        _ => text(&[&head, "Message-ID: <twins@example.org>\r\n\r\nexactly alike but for the number\r\n"]),
    }
}

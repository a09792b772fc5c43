//! Another client: a minimal blocking IMAP client, to edit and look at the server's side behind mailtide's back.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::NO_PAD;

use super::dovecot::{PASSWORD, Server};

/// A message as the server has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) uid: u32,
    /// Flags and keywords as the server writes them, `\Recent` left out.
    pub(crate) flags: BTreeSet<String>,
    /// INTERNALDATE, seconds since 1970.
    pub(crate) date: i64,
    pub(crate) body: Vec<u8>,
}

/// A connection logged in. Folder names are given and returned as components, the namespace taken off.
#[derive(Debug)]
pub(crate) struct Imap {
    stream: BufReader<TcpStream>,
    tags: u32,
    prefix: &'static str,
    separator: &'static str,
}

/// A part of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Atom(String),
    Text(Vec<u8>),
    List(Vec<Item>),
}

impl Item {
    fn list(&self) -> &[Item] {
        match self {
            Item::List(items) => items,
            other => panic!("a list expected, not {other:?}"),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Item::Text(bytes) => bytes,
            Item::Atom(atom) => atom.as_bytes(),
            Item::List(_) => panic!("a string expected, not {self:?}"),
        }
    }

    fn text(&self) -> &str {
        str::from_utf8(self.bytes()).unwrap()
    }
}

impl Imap {
    /// Logs in over a plain connection.
    pub(crate) fn login(server: &Server, user: &str) -> Imap {
        let stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.set_nodelay(true).unwrap();
        let (prefix, separator) = server.kind.namespace();
        let mut imap = Imap { stream: BufReader::new(stream), tags: 0, prefix, separator };
        imap.reply();
        imap.run(&format!("LOGIN {user} {PASSWORD}"));
        imap
    }

    /// Runs a command and returns its untagged replies. Panics unless the server says OK.
    fn run(&mut self, command: &str) -> Vec<Vec<Item>> {
        self.try_run(command).unwrap_or_else(|answer| panic!("{command}: {answer}"))
    }

    fn try_run(&mut self, command: &str) -> Result<Vec<Vec<Item>>, String> {
        let tag = self.send(command);
        self.finish(&tag)
    }

    fn send(&mut self, command: &str) -> String {
        self.tags += 1;
        let tag = format!("t{}", self.tags);
        self.stream.get_mut().write_all(format!("{tag} {command}\r\n").as_bytes()).unwrap();
        tag
    }

    fn finish(&mut self, tag: &str) -> Result<Vec<Vec<Item>>, String> {
        let mut replies = Vec::new();
        loop {
            let reply = self.reply();
            if reply.first() != Some(&Item::Atom(tag.to_owned())) {
                replies.push(reply);
            } else if reply.get(1) == Some(&Item::Atom("OK".to_owned())) {
                return Ok(replies);
            } else {
                return Err(format!("{reply:?}"));
            }
        }
    }

    /// Reads one reply with its literals.
    fn reply(&mut self) -> Vec<Item> {
        let mut open = vec![Vec::new()];
        loop {
            let mut line = Vec::new();
            assert_ne!(self.stream.read_until(b'\n', &mut line).unwrap(), 0, "the server closed the connection");
            let (line, literal) = split_literal(line.trim_ascii_end());
            tokenise(line, &mut open);
            let Some(size) = literal else { break };
            let mut bytes = vec![0; size];
            self.stream.read_exact(&mut bytes).unwrap();
            open.last_mut().unwrap().push(Item::Text(bytes));
        }
        open.swap_remove(0)
    }

    /// Runs a command that ends with a folder's name and may be refused. Returns true if the server says OK.
    pub(crate) fn ask(&mut self, command: &str, folder: &[&str]) -> bool {
        self.try_run(&format!("{command} {}", self.quoted(folder))).is_ok()
    }

    fn quoted(&self, folder: &[&str]) -> String {
        let name = match folder {
            ["INBOX"] => "INBOX".to_owned(),
            _ => format!("{}{}", self.prefix, folder.join(self.separator)),
        };
        format!("\"{}\"", to_utf7(&name).replace('\\', "\\\\").replace('"', "\\\""))
    }

    /// Returns all folders that can hold messages.
    pub(crate) fn folders(&mut self) -> BTreeSet<Vec<String>> {
        let listed = self.listed("LIST");
        let is_above = |folder: &Vec<String>| listed.iter().any(|other| other != folder && other.starts_with(folder));
        // One that was deleted is listed as long as others lie below it.
        let mut is_there = |folder: &Vec<String>| {
            let components: Vec<&str> = folder.iter().map(String::as_str).collect();
            self.try_run(&format!("STATUS {} (MESSAGES)", self.quoted(&components))).is_ok()
        };
        listed.iter().filter(|folder| !is_above(folder) || is_there(folder)).cloned().collect()
    }

    /// Returns the folders subscribed to.
    pub(crate) fn subscriptions(&mut self) -> BTreeSet<Vec<String>> {
        self.listed("LSUB")
    }

    fn listed(&mut self, command: &str) -> BTreeSet<Vec<String>> {
        let mut folders = BTreeSet::new();
        for reply in self.run(&format!("{command} \"\" \"*\"")) {
            let [_, Item::Atom(kind), flags, _, name] = &reply[..] else { continue };
            let selectable = !flags.list().iter().any(|flag| flag.text().eq_ignore_ascii_case("\\Noselect"));
            if kind == command && selectable {
                let name = from_utf7(name.text());
                let bare = name.strip_prefix(self.prefix).unwrap_or(&name);
                folders.insert(bare.split(self.separator).map(str::to_owned).collect());
            }
        }
        folders
    }

    /// Returns every message of a folder, in order of UID.
    pub(crate) fn messages(&mut self, folder: &[&str]) -> Vec<Message> {
        self.run(&format!("EXAMINE {}", self.quoted(folder)));
        let replies = self.run("UID FETCH 1:* (FLAGS INTERNALDATE BODY.PEEK[])");
        let mut found: Vec<Message> = replies.iter().filter_map(|reply| message(reply)).collect();
        found.sort_by_key(|message| message.uid);
        found
    }

    /// Returns a folder's UIDVALIDITY.
    pub(crate) fn uid_validity(&mut self, folder: &[&str]) -> u32 {
        let replies = self.run(&format!("STATUS {} (UIDVALIDITY)", self.quoted(folder)));
        replies.iter().find_map(|reply| reply.last()?.list().get(1)?.text().parse().ok()).unwrap()
    }

    /// Appends a message.
    pub(crate) fn append(&mut self, folder: &[&str], body: &[u8], flags: &str, date: Option<i64>) {
        let date = date.map(|seconds| format!(" \"{}\"", internal_date(seconds))).unwrap_or_default();
        let (binary, size) = (if body.contains(&0) { "~" } else { "" }, body.len());
        let command = format!("APPEND {} ({flags}){date} {binary}{{{size}}}", self.quoted(folder));
        let tag = self.send(&command);
        while self.reply().first() != Some(&Item::Atom("+".to_owned())) {}
        self.stream.get_mut().write_all(&[body, b"\r\n"].concat()).unwrap();
        self.finish(&tag).unwrap();
    }

    /// Changes flags of messages: `uids` is a set such as `1:*`, `change` such as `+FLAGS (\Seen)`.
    pub(crate) fn store(&mut self, folder: &[&str], uids: &str, change: &str) {
        self.run(&format!("SELECT {}", self.quoted(folder)));
        self.run(&format!("UID STORE {uids} {change}"));
        self.leave();
    }

    /// Expunges messages.
    pub(crate) fn expunge(&mut self, folder: &[&str], uids: &str) {
        self.run(&format!("SELECT {}", self.quoted(folder)));
        self.run(&format!("UID STORE {uids} +FLAGS (\\Deleted)"));
        self.run(&format!("UID EXPUNGE {uids}"));
        self.leave();
    }

    /// Moves messages to another folder, as clients do where there is no MOVE.
    pub(crate) fn transfer(&mut self, folder: &[&str], uids: &str, target: &[&str]) {
        self.copy(folder, uids, target);
        self.expunge(folder, uids);
    }

    /// Copies messages to another folder.
    pub(crate) fn copy(&mut self, folder: &[&str], uids: &str, target: &[&str]) {
        self.run(&format!("SELECT {}", self.quoted(folder)));
        self.run(&format!("UID COPY {uids} {}", self.quoted(target)));
    }

    /// Moves messages with MOVE.
    pub(crate) fn move_to(&mut self, folder: &[&str], uids: &str, target: &[&str]) {
        self.run(&format!("SELECT {}", self.quoted(folder)));
        self.run(&format!("UID MOVE {uids} {}", self.quoted(target)));
        self.leave();
    }

    /// Leaves the folder without expunging anything.
    fn leave(&mut self) {
        self.run("UNSELECT");
    }

    /// Deletes a folder with its messages.
    pub(crate) fn delete(&mut self, folder: &[&str]) {
        self.run(&format!("DELETE {}", self.quoted(folder)));
    }

    /// Renames a folder with those below it. Subscriptions are left as they are.
    pub(crate) fn rename(&mut self, folder: &[&str], new: &[&str]) {
        self.run(&format!("RENAME {} {}", self.quoted(folder), self.quoted(new)));
    }

    /// Subscribes to a folder.
    pub(crate) fn subscribe(&mut self, folder: &[&str]) {
        self.run(&format!("SUBSCRIBE {}", self.quoted(folder)));
    }

    /// Creates a folder.
    pub(crate) fn create(&mut self, folder: &[&str]) {
        self.run(&format!("CREATE {}", self.quoted(folder)));
    }
}

fn message(reply: &[Item]) -> Option<Message> {
    let [_, _, Item::Atom(kind), Item::List(items)] = reply else { return None };
    assert_eq!(kind, "FETCH", "{reply:?}");
    let get = |name: &str| items.chunks(2).find(|pair| pair[0].text() == name).map(|pair| &pair[1]);
    let flags = get("FLAGS")?.list().iter().map(|flag| flag.text().to_owned());
    let date = chrono::DateTime::parse_from_str(get("INTERNALDATE")?.text().trim(), "%e-%b-%Y %H:%M:%S %z");
    Some(Message {
        uid: get("UID")?.text().parse().unwrap(),
        flags: flags.filter(|flag| flag != "\\Recent").collect(),
        date: date.unwrap().timestamp(),
        body: get("BODY[]")?.bytes().to_vec(),
    })
}

fn internal_date(seconds: i64) -> String {
    chrono::DateTime::from_timestamp(seconds, 0).unwrap().format("%d-%b-%Y %H:%M:%S %z").to_string()
}

fn split_literal(line: &[u8]) -> (&[u8], Option<usize>) {
    let size = line.strip_suffix(b"}").and_then(|rest| {
        let at = rest.iter().rposition(|&byte| byte == b'{')?;
        let digits = str::from_utf8(&rest[at + 1..]).ok()?.parse().ok()?;
        Some((at, digits))
    });
    match size {
        Some((at, size)) => (&line[..at], Some(size)),
        None => (line, None),
    }
}

fn tokenise(line: &[u8], open: &mut Vec<Vec<Item>>) {
    let mut rest = line.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        match byte {
            b' ' => {}
            b'(' => open.push(Vec::new()),
            b')' if open.len() > 1 => {
                let list = Item::List(open.pop().unwrap());
                open.last_mut().unwrap().push(list);
            }
            b'"' => {
                let mut text = Vec::new();
                while let Some(byte) = rest.next().filter(|&byte| byte != b'"') {
                    text.push(if byte == b'\\' { rest.next().unwrap() } else { byte });
                }
                open.last_mut().unwrap().push(Item::Text(text));
            }
            first => {
                let mut atom = vec![first];
                while let Some(byte) = rest.next_if(|byte| !b" ()".contains(byte)) {
                    atom.push(byte);
                }
                open.last_mut().unwrap().push(Item::Atom(String::from_utf8_lossy(&atom).into_owned()));
            }
        }
    }
}

const UTF7: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::IMAP_MUTF7, NO_PAD);

/// Encodes a folder name (RFC 3501 section 5.1.3).
pub(crate) fn to_utf7(name: &str) -> String {
    let mut out = String::new();
    let mut shifted: Vec<u8> = Vec::new();
    let flush = |shifted: &mut Vec<u8>, out: &mut String| {
        if !shifted.is_empty() {
            out.push_str(&format!("&{}-", UTF7.encode(&shifted)));
            shifted.clear();
        }
    };
    for letter in name.chars() {
        if letter == ' ' || letter.is_ascii_graphic() {
            flush(&mut shifted, &mut out);
            out.push(letter);
            if letter == '&' {
                out.push('-');
            }
        } else {
            shifted.extend(letter.encode_utf16(&mut [0; 2]).iter().flat_map(|unit| unit.to_be_bytes()));
        }
    }
    flush(&mut shifted, &mut out);
    out
}

fn from_utf7(name: &str) -> String {
    let mut out = String::new();
    let mut rest = name;
    while let Some((plain, shifted)) = rest.split_once('&') {
        let (encoded, after) = shifted.split_once('-').unwrap();
        out.push_str(plain);
        if encoded.is_empty() {
            out.push('&');
        } else {
            let bytes = UTF7.decode(encoded).unwrap();
            let units: Vec<u16> = bytes.chunks_exact(2).map(|unit| u16::from_be_bytes([unit[0], unit[1]])).collect();
            out.push_str(&String::from_utf16(&units).unwrap());
        }
        rest = after;
    }
    out + rest
}

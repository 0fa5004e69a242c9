//! The answer to a handshake, from the server or from a proxy in front of it: how it is read, and
//! what to do if it is not the right answer.

use std::io::{self, ErrorKind, Read};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use longlink::shared::{Fields, media_type};

use crate::cli::client::answer::{self, Flaw, MAX_FIELDS};
use crate::cli::client::stream::Stream;
use crate::cli::client::url::Url;

/// The length of the longest head in bytes.
const MAX_HEAD: usize = 16 * 1024;
/// How many bytes of a body, or of an answer that is not HTTP, are read.
const MAX_BODY: usize = 512;
/// How long the doctor waits for a body. The bytes that it needs usually come with the head.
const BODY_WAIT: Duration = Duration::from_secs(1);
/// How many characters of a body are shown.
const MAX_SHOWN: usize = 80;

/// The head of an HTTP answer, and the beginning of its body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    reason: String,
    fields: Vec<(String, String)>,
    body: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum NoAnswer {
    /// There is no connection.
    Connect(io::Error),
    Silent,
    Ended,
    Failed(io::Error),
    /// The port speaks TLS: its answer is a TLS record.
    Tls,
    /// The answer is not HTTP; this is its beginning.
    Foreign(String),
    Endless,
}

impl Answer {
    /// Reads an answer to the end of its head; bytes after it stay in `input`. If the answer is a
    /// refusal, the beginning of its body is read, too.
    pub fn read(stream: &mut Stream, input: &mut Vec<u8>) -> Result<Self, NoAnswer> {
        loop {
            if let Some((mut answer, length)) = Self::parse(input)? {
                input.drain(..length);
                if answer.status != 101 {
                    answer.read_body(stream, input);
                }
                return Ok(answer);
            }
            match read_some(stream, input) {
                Ok(0) if input.is_empty() => return Err(NoAnswer::Ended),
                Ok(0) => return Err(NoAnswer::Foreign(shown(input))),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    return Err(match input.is_empty() {
                        true => NoAnswer::Silent,
                        false => NoAnswer::Endless,
                    });
                }
                Err(error) => return Err(NoAnswer::Failed(error)),
            }
        }
    }

    /// Returns the head at the start of `input` and its length; `None` if it is not complete.
    fn parse(input: &[u8]) -> Result<Option<(Self, usize)>, NoAnswer> {
        // A TLS record: an alert or a handshake (RFC 8446, section 5.1).
        if let [0x15 | 0x16, 0x03, ..] = input {
            return Err(NoAnswer::Tls);
        }
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        match response.parse(input) {
            Ok(httparse::Status::Complete(length)) => {
                let text = |value: &[u8]| String::from_utf8_lossy(value).trim().to_owned();
                let answer = Answer {
                    status: response.code.unwrap_or_default(),
                    reason: response.reason.unwrap_or_default().to_owned(),
                    fields: response
                        .headers
                        .iter()
                        .map(|field| (field.name.to_owned(), text(field.value)))
                        .collect(),
                    body: String::new(),
                };
                Ok(Some((answer, length)))
            }
            Ok(httparse::Status::Partial) if input.len() < MAX_HEAD => Ok(None),
            Ok(httparse::Status::Partial) => Err(NoAnswer::Endless),
            Err(_) => Err(NoAnswer::Foreign(shown(input))),
        }
    }

    fn read_body(&mut self, stream: &mut Stream, input: &mut Vec<u8>) {
        let length = self.with_fields(|fields| fields.content_length()).ok().flatten();
        let length = length.map_or(MAX_BODY, |length| length.min(MAX_BODY as u64) as usize);
        stream.set_deadline(Instant::now() + BODY_WAIT);
        while input.len() < length && matches!(read_some(stream, input), Ok(1..)) {}
        input.truncate(length);
        self.body = String::from_utf8_lossy(input).into_owned();
    }

    /// Returns the value of the first field with this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Returns what is wrong with a 101 answer and what to do; `None` if the answer is right.
    pub fn flaw(&self, accept: &str) -> Option<(&'static str, &'static str)> {
        let flaw = self.with_fields(|fields| answer::flaw(fields, accept))?;
        Some(match flaw {
            Flaw::Upgrade => (
                "101 without Upgrade: websocket and Connection: Upgrade",
                "the proxy takes fields out of the answer: look at proxy_hide_header and the like",
            ),
            Flaw::Accept => (
                "101 whose Sec-WebSocket-Accept does not answer the key",
                "something between answers by itself or from a cache: no caching on this path",
            ),
            Flaw::Extension => (
                "101 with an extension that was not offered",
                "clients close such a connection: have the proxy leave that field out",
            ),
            Flaw::Protocol => (
                "101 with more than one subprotocol",
                "clients close such a connection: has the proxy added one?",
            ),
        })
    }

    /// Gives the fields to `read`, which reads them by their grammar.
    fn with_fields<T>(&self, read: impl FnOnce(Fields<'_>) -> T) -> T {
        let fields = self.fields.iter();
        let fields = fields.map(|(name, value)| httparse::Header { name, value: value.as_bytes() });
        read(Fields::new(&fields.collect::<Vec<_>>()))
    }

    /// Describes the answer: the status line, the server's name, and the first line of a text.
    pub fn tell(&self) -> String {
        let mut text = format!("{} {}", self.status, self.reason).trim_end().to_owned();
        if let Some(server) = self.field("Server") {
            text += &format!(", from {}", cut(server));
        }
        if let Some(place) = self.field("Location") {
            // The query is left out, because it may contain a ticket.
            text += &format!(", to {}", cut(place.split('?').next().unwrap_or_default()));
        }
        let media = self.field("Content-Type").and_then(|it| media_type(it.as_bytes()));
        let is_text = media.is_some_and(|it| it.eq_ignore_ascii_case("text/plain"));
        match self.body.lines().next().map(str::trim) {
            Some(line) if is_text && !line.is_empty() => text + &format!(": {}", cut(line)),
            _ if self.is_page() => text + ", an HTML page",
            _ => text,
        }
    }

    fn is_page(&self) -> bool {
        self.field("Content-Type").is_some_and(|it| it.to_ascii_lowercase().contains("html"))
    }

    /// Returns what to do about an answer that is not 101.
    pub fn remedy(&self, url: &Url, has_ticket: bool) -> String {
        const UPGRADE: &str = "the proxy does not pass the upgrade on; in nginx: \
            proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; \
            proxy_set_header Connection \"upgrade\";";
        let says = |word: &str| self.body.contains(word);
        match self.status {
            200..=299 => "a web site answers on this path, not longlink: check the proxy's \
                location and proxy_pass, and that its server_name is this host"
                .to_owned(),
            300..=399 if !url.tls && self.leads_to_tls() => {
                format!("use wss://{}: clients of WebSockets follow no redirect", url.host)
            }
            300..=399 => "clients of WebSockets follow no redirect: use the address it leads to, \
                or have the proxy not redirect this path"
                .to_owned(),
            400 if says("HTTPS") || says("speaks TLS") => {
                "this port speaks TLS: use wss://".to_owned()
            }
            400 if self.is_page() || self.field("Server").is_some() => UPGRADE.to_owned(),
            400 => "check the user in the path; behind a proxy, that it passes Upgrade and \
                Connection on"
                .to_owned(),
            401 if says("has expired") || says("not valid yet") => "sign a new one, and look at \
                both machines' clocks: more than 5 s apart is too much"
                .to_owned(),
            401 if says("another user") => {
                "the ticket's sub has to be the last part of the URL's path".to_owned()
            }
            401 if says("another device") => {
                "the URL's ?device= has to be the device that the ticket names".to_owned()
            }
            401 if has_ticket => "the ticket is refused: is it whole, HS256, with sub and exp, \
                and signed with this server's secret?"
                .to_owned(),
            401 => "the server wants a ticket: --ticket T; longlink ticket signs one".to_owned(),
            // An address or `localhost` needs no permission.
            403 if url.host == "localhost" || url.host.parse::<IpAddr>().is_ok() => {
                "longlink's log says why, if it was longlink that has answered".to_owned()
            }
            403 => format!(
                "longlink's log says why; usually --allow-host {} is missing, or the proxy does \
                 not pass Host on (proxy_set_header Host $host;). A firewall for web sites may \
                 also refuse upgrades",
                url.host
            ),
            404 => "longlink's path is /websocket/USER; in nginx the location has to match it, \
                and proxy_pass has to be an address without a path"
                .to_owned(),
            426 => UPGRADE.to_owned(),
            429 => "too many connections or requests: wait, or raise the limit".to_owned(),
            502 => "the proxy does not reach longlink: is it running, and is proxy_pass its \
                --listen address?"
                .to_owned(),
            503 => "the server is full or stopping, or this user has too many connections; if a proxy \
                answers, it reaches no server"
                .to_owned(),
            504 => "longlink does not answer the proxy in time: check proxy_pass and a firewall between"
                .to_owned(),
            _ => "longlink's or the proxy's log says why".to_owned(),
        }
    }

    fn leads_to_tls(&self) -> bool {
        let place = self.field("Location").unwrap_or_default();
        place.starts_with("https:") || place.starts_with("wss:")
    }
}

impl NoAnswer {
    /// Returns what was seen, and what to do.
    pub fn tell(&self, url: &Url) -> (String, &'static str) {
        const LOOK: &str = "is it a web server or longlink that listens there?";
        match self {
            NoAnswer::Connect(error) => (
                format!("cannot connect again: {error}"),
                "it did before: a limit of connections, or a server that goes down",
            ),
            NoAnswer::Silent => (
                "connected, but the handshake is not answered".to_owned(),
                match url.tls {
                    true => "TLS works, what is behind it does not: check proxy_pass and longlink",
                    false => {
                        "does the port speak TLS (then wss://), or does the program that listens there hang?"
                    }
                },
            ),
            NoAnswer::Ended => ("the connection ends without an answer".to_owned(), LOOK),
            NoAnswer::Failed(error) => (format!("no answer: {error}"), LOOK),
            NoAnswer::Tls => ("the port answers in TLS".to_owned(), "it is a TLS port: use wss://"),
            NoAnswer::Foreign(start) => (format!("no HTTP answer, it begins with {start}"), LOOK),
            NoAnswer::Endless => ("the answer does not end".to_owned(), LOOK),
        }
    }
}

fn read_some(stream: &mut Stream, input: &mut Vec<u8>) -> io::Result<usize> {
    let mut bytes = [0; 4096];
    let length = stream.read(&mut bytes)?;
    input.extend_from_slice(&bytes[..length]);
    Ok(length)
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_SHOWN).collect()
}

fn shown(input: &[u8]) -> String {
    format!("{:?}", cut(&String::from_utf8_lossy(&input[..input.len().min(MAX_BODY)])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(head: &str, body: &str) -> Answer {
        let (answer, length) = Answer::parse(head.as_bytes()).unwrap().unwrap();
        assert_eq!(length, head.len());
        Answer { body: body.to_owned(), ..answer }
    }

    fn remedy(head: &str, body: &str) -> String {
        let url = Url::parse("ws://chat.example.com/websocket/a").unwrap();
        answer(&format!("HTTP/1.1 {head}\r\n\r\n"), body).remedy(&url, false)
    }

    #[test]
    fn doctor_knows_a_remedy_for_each_status() {
        for (head, body, word) in [
            ("200 OK\r\nContent-Type: text/html", "<html>", "web site"),
            ("301 Moved\r\nLocation: https://chat.example.com/", "", "wss://chat.example.com"),
            ("302 Found\r\nLocation: /login", "", "no redirect"),
            ("400 Bad Request\r\nServer: nginx", "", "proxy_set_header Upgrade"),
            ("400 Bad Request\r\nServer: nginx", "plain HTTP to HTTPS port", "use wss://"),
            ("400 Bad Request", "Client sent an HTTP request to an HTTPS server.", "use wss://"),
            ("400 Bad Request", "this port speaks TLS: https or wss", "use wss://"),
            ("400 Bad Request", "bad user id", "the user in the path"),
            ("401 Unauthorized", "", "--ticket"),
            ("403 Forbidden", "", "--allow-host chat.example.com"),
            ("404 Not Found", "", "/websocket/USER"),
            ("426 Upgrade Required", "", "proxy_set_header Connection"),
            ("429 Too Many Requests", "", "limit"),
            ("502 Bad Gateway", "", "proxy_pass"),
            ("503 Service Unavailable", "", "full"),
            ("504 Gateway Timeout", "", "does not answer the proxy"),
            ("418 I'm a teapot", "", "log"),
        ] {
            assert!(remedy(head, body).contains(word), "{head}: {}", remedy(head, body));
        }
    }

    #[test]
    fn doctor_finds_each_flaw_of_the_answer_to_an_upgrade() {
        let good = "HTTP/1.1 101 X\r\nUPGRADE: WebSocket\r\nconnection: keep-alive, upgrade\r\n\
            Sec-WebSocket-Accept: k\r\n\r\n";
        let flaw = |head: &str| answer(head, "").flaw("k").map(|(seen, _)| seen);
        assert_eq!(flaw(good), None);
        assert!(flaw(&good.replace("UPGRADE", "X")).unwrap().contains("Upgrade"));
        assert!(flaw(&good.replace(", upgrade", "")).unwrap().contains("Upgrade"));
        assert!(flaw(&good.replace(": k\r", ": K\r")).unwrap().contains("Accept"));
        let extended = good.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: x\r\n\r\n");
        assert!(flaw(&extended).unwrap().contains("extension"));
    }

    #[test]
    fn doctor_tells_a_partial_answer_from_bytes_that_are_no_answer() {
        assert!(matches!(Answer::parse(b"HTTP/1.1 101"), Ok(None)));
        assert!(matches!(Answer::parse(&[0x15, 0x03, 0x01]), Err(NoAnswer::Tls)));
        assert!(matches!(Answer::parse(b"SSH-2.0-x\r\n"), Err(NoAnswer::Foreign(_))));
        let long = [&b"HTTP/1.1 200 OK\r\nA: "[..], &[b'x'; MAX_HEAD]].concat();
        assert!(matches!(Answer::parse(&long), Err(NoAnswer::Endless)));
    }

    #[test]
    fn the_target_of_a_redirect_is_printed_without_its_query() {
        let moved = answer("HTTP/1.1 301 Moved\r\nLocation: /x?ticket=s3cr3t\r\n\r\n", "");
        assert_eq!(moved.tell(), "301 Moved, to /x");
    }
}

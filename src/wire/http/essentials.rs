//! The header fields that decide what a request is, read in one pass over its head: whom it is
//! for, where its body ends, whether the connection is kept, and whether it asks for a WebSocket.
//! What their grammar does not allow is refused here, for every request alike.

use super::body::Told;
use super::fields::{Authority, elements, is_extension, is_protocol, is_token};
use super::head::HeadError;

/// What these fields say. A list may be spread over several fields of one name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Essentials<'a> {
    /// `Host`; `None` when an HTTP/1.0 client leaves it out.
    pub host: Option<Authority<'a>>,
    /// Options in `Connection`.
    pub close: bool,
    pub keep_alive: bool,
    pub upgrade: bool,
    /// Whether `Upgrade` has `websocket` among its protocols.
    pub websocket: bool,
    pub version: Option<&'a [u8]>,
    pub key: Option<&'a [u8]>,
    pub origin: Option<&'a [u8]>,
    pub authorization: Option<&'a [u8]>,
    /// Whether there is a `Sec-WebSocket-Protocol`.
    pub protocols: bool,
    /// Whether `Expect` has `100-continue` among its expectations.
    pub expects_continue: bool,
    pub body: Told,
}

impl<'a> Essentials<'a> {
    /// Reads the fields of a head.
    pub fn read(fields: &[httparse::Header<'a>], http10: bool) -> Result<Self, HeadError> {
        let mut found = Essentials::default();
        for field in fields {
            found.take(field.name, field.value, http10)?;
        }
        if found.host.is_none() && !http10 {
            return Err(HeadError::Malformed("Host is missing"));
        }
        Ok(found)
    }

    fn take(&mut self, name: &str, value: &'a [u8], http10: bool) -> Result<(), HeadError> {
        // Nearly all clients write a name as it is written here, which is a few comparisons of
        // whole words; without letter case each byte is compared.
        let is = |other: &str| name == other || name.eq_ignore_ascii_case(other);
        // The length tells nearly all of them apart.
        match name.len() {
            4 if is("Host") => {
                if self.host.is_some() {
                    return malformed("more than one Host");
                }
                self.host = Authority::parse(value);
                if self.host.is_none() {
                    return malformed("Host is not a host, or a host and a port");
                }
            }
            6 if is("Origin") => {
                once(&mut self.origin, value, "more than one Origin")?;
            }
            6 if is("Expect") => {
                let mut expected = elements(value);
                self.expects_continue |=
                    expected.any(|it| it.eq_ignore_ascii_case(b"100-continue"));
            }
            7 if is("Upgrade") => {
                for protocol in elements(value) {
                    if protocol.eq_ignore_ascii_case(b"websocket") {
                        self.websocket = true;
                    } else if !is_protocol(protocol) {
                        return malformed("Upgrade is not a list of protocols");
                    }
                }
            }
            10 if is("Connection") => {
                for option in elements(value) {
                    match option.len() {
                        5 if option.eq_ignore_ascii_case(b"close") => self.close = true,
                        7 if option.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
                        10 if option.eq_ignore_ascii_case(b"keep-alive") => self.keep_alive = true,
                        _ if is_token(option) => {}
                        _ => return malformed("Connection is not a list of words"),
                    }
                }
            }
            13 if is("Authorization") => {
                once(&mut self.authorization, value, "more than one Authorization")?;
            }
            14 if is("Content-Length") => self.body.take_length(value)?,
            17 if is("Transfer-Encoding") => self.body.take_coding(value, http10)?,
            17 if is("Sec-WebSocket-Key") => {
                once(&mut self.key, value, "more than one Sec-WebSocket-Key")?;
            }
            21 if is("Sec-WebSocket-Version") => {
                once(&mut self.version, value, "more than one Sec-WebSocket-Version")?;
            }
            22 if is("Sec-WebSocket-Protocol") => {
                self.protocols = true;
                if !elements(value).all(is_token) {
                    return malformed("Sec-WebSocket-Protocol is not a list of words");
                }
            }
            24 if is("Sec-WebSocket-Extensions") && !elements(value).all(is_extension) => {
                return malformed("Sec-WebSocket-Extensions is not a list of extensions");
            }
            _ => {}
        }
        Ok(())
    }
}

fn once<'a>(
    place: &mut Option<&'a [u8]>,
    value: &'a [u8],
    repeated: &'static str,
) -> Result<(), HeadError> {
    if place.replace(value).is_some() { malformed(repeated) } else { Ok(()) }
}

fn malformed<T>(why: &'static str) -> Result<T, HeadError> {
    Err(HeadError::Malformed(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONSENSE: &[u8] = b"\xFF;\"=,/ :";

    /// What is read beside `Host` from two lines of a field.
    fn twice(name: &str) -> Result<Essentials<'_>, HeadError> {
        let line = |name, value| httparse::Header { name, value };
        Essentials::read(&[line("Host", b"a"), line(name, NONSENSE), line(name, NONSENSE)], false)
    }

    #[test]
    fn a_field_is_known_by_its_name_and_not_by_the_length_of_its_name() {
        for known in [
            "Host",
            "Origin",
            "Upgrade",
            "Connection",
            "Authorization",
            "Content-Length",
            "Transfer-Encoding",
            "Sec-WebSocket-Key",
            "Sec-WebSocket-Version",
            "Sec-WebSocket-Protocol",
            "Sec-WebSocket-Extensions",
        ] {
            assert!(twice(known).is_err(), "{known} has a grammar, or comes once");
            let unknown = known.replace(['e', 'g', 'o'], "x");
            let found = twice(&unknown).unwrap_or_else(|error| panic!("{unknown}: {error:?}"));
            let alone = twice("X-Else").unwrap();
            assert_eq!(format!("{found:?}"), format!("{alone:?}"), "{unknown} says nothing");
        }
    }

    #[test]
    fn expect_and_connection_are_read_by_their_exact_words() {
        let read = |name, value: &'static [u8]| {
            let line = |name, value| httparse::Header { name, value };
            Essentials::read(&[line("Host", b"a"), line(name, value)], false).unwrap()
        };
        assert!(read("expect", b"x, 100-Continue").expects_continue);
        assert!(!read("Accept", b"100-continue").expects_continue, "another name of six letters");
        for (option, expected) in [
            (&b"Close"[..], [true, false, false]),
            (b"cloze", [false; 3]),
            (b"x, Upgrade", [false, true, false]),
            (b"upgrape", [false; 3]),
            (b"Keep-Alive", [false, false, true]),
            (b"keep-alixe", [false; 3]),
        ] {
            let Essentials { close, upgrade, keep_alive, .. } = read("Connection", option);
            assert_eq!([close, upgrade, keep_alive], expected, "{}", option.escape_ascii());
        }
    }
}

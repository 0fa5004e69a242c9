//! From the URL to an address that answers: all checks that need no bytes to be sent to the server.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::args::Options;
use super::report::{Check, Ms, Report};
use crate::cli::client::stream::Timed;
use crate::cli::client::url::Url;

/// How many addresses of a host are tried; further addresses are left out.
const MAX_ADDRESSES: usize = 8;

/// Reads the URL, and says whether a released mini-program may use it.
pub fn url(options: &Options, report: &mut Report) -> Option<Url> {
    const STEP: &str = "url";
    let url = match Url::parse(&options.url) {
        Ok(url) => url,
        Err(why) => {
            let remedy = "write it as in wss://chat.example.com/websocket/doctor";
            report.add(Check::fail(STEP, why, remedy));
            return None;
        }
    };
    let scheme = if url.tls { "wss" } else { "ws" };
    // The query is not shown, because it may contain a ticket.
    let seen = format!("{scheme}, host {}, port {}, path {}", url.host, url.port, url.path());
    let released = "a released mini-program connects only by wss:// to a registered domain";
    if url.tls && !cfg!(feature = "tls") {
        let remedy = "build it with --features tls";
        report.add(Check::fail(STEP, format!("{seen}; this build has no TLS"), remedy));
        return None;
    }
    report.add(if user_of(&url).is_none() {
        Check::warn(STEP, seen, "longlink's path is /websocket/USER, the user percent-encoded")
    } else if !url.tls {
        let remedy = format!("{released}; ws:// is for development tools and a local network");
        Check::warn(STEP, seen, remedy)
    } else if url.host.parse::<IpAddr>().is_ok() || url.host == "localhost" {
        Check::warn(STEP, seen, format!("{released}, not to an address"))
    } else {
        Check::ok(STEP, seen)
    });
    Some(url)
}

/// Returns the decoded user in the path; `None` if the path is not longlink's, even after a proxy
/// has removed its beginning.
pub fn user_of(url: &Url) -> Option<String> {
    let (_, id) = url.path().rsplit_once("/websocket/")?;
    let mut bytes = Vec::with_capacity(id.len());
    let mut rest = id.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                (digit(rest.next())? * 16 + digit(rest.next())?) as u8
            }
            b'/' => return None,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok().filter(|user| !user.is_empty())
}

/// Looks up the addresses of the host.
pub fn resolve(url: &Url, options: &Options, report: &mut Report) -> Option<Vec<SocketAddr>> {
    const STEP: &str = "resolve";
    if let Some(address) = options.address {
        report.add(Check::ok(STEP, format!("{address}, by --address")));
        return Some(vec![SocketAddr::new(address, url.port)]);
    }
    if let Ok(address) = url.host.parse::<IpAddr>() {
        report.add(Check::ok(STEP, "the URL has an address, nothing to look up"));
        return Some(vec![SocketAddr::new(address, url.port)]);
    }
    let began = Instant::now();
    let found = look_up(&url.host, url.port, options.timeout);
    let time = began.elapsed();
    let remedy = "check the name, and its A record at the domain's DNS";
    let mut addresses = match found {
        None => {
            let seen = format!("no answer about {} in {:?}", url.host, options.timeout);
            report.add(Check::fail(STEP, seen, "this machine's resolver does not answer"));
            return None;
        }
        Some(Err(why)) => {
            report.add(Check::fail(STEP, format!("{}: {why}", url.host), remedy));
            return None;
        }
        Some(Ok(found)) if found.is_empty() => {
            report.add(Check::fail(STEP, format!("{} has no address", url.host), remedy));
            return None;
        }
        Some(Ok(found)) => found,
    };
    let left_out = addresses.len().saturating_sub(MAX_ADDRESSES);
    addresses.truncate(MAX_ADDRESSES);
    let shown = addresses.iter().map(|address| match address {
        SocketAddr::V4(v4) => format!("A {}", v4.ip()),
        SocketAddr::V6(v6) => format!("AAAA {}", v6.ip()),
    });
    let mut seen = format!("{} in {}", shown.collect::<Vec<_>>().join(", "), Ms(time));
    if left_out > 0 {
        seen += &format!(", and {left_out} more that are not looked at");
    }
    let private = addresses.iter().find(|address| is_private(address.ip()));
    let check = match private {
        Some(address) => Check::warn(
            STEP,
            seen,
            format!("{} is reached from this network only, not by phones", address.ip()),
        ),
        None => Check::ok(STEP, seen),
    };
    report.add(check.took(time));
    Some(addresses)
}

/// Looks up a host in a thread of its own, because the system's resolver has no deadline. A thread
/// that does not finish is left behind.
fn look_up(host: &str, port: u16, timeout: Duration) -> Option<Result<Vec<SocketAddr>, String>> {
    let (tell, told) = mpsc::channel();
    let host = host.to_owned();
    let look = move || {
        let found = (host.as_str(), port).to_socket_addrs();
        let _ = tell.send(found.map(Vec::from_iter).map_err(|error| error.to_string()));
    };
    if let Err(error) = thread::Builder::new().name("resolver".to_owned()).spawn(look) {
        return Some(Err(error.to_string()));
    }
    told.recv_timeout(timeout).ok()
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_loopback() || v6.is_unicast_link_local(),
    }
}

/// Connects to each address, because every client chooses one itself. The other steps use the first
/// address that answers.
pub fn connect(
    addresses: &[SocketAddr],
    options: &Options,
    report: &mut Report,
) -> Option<SocketAddr> {
    const STEP: &str = "tcp";
    let mut first = None;
    let mut failed = Vec::new();
    for address in addresses {
        let began = Instant::now();
        match Timed::connect(*address, options.timeout) {
            Ok(_) => {
                let time = began.elapsed();
                let seen = format!("{address} connected in {}", Ms(time));
                report.add(Check::ok(STEP, seen).took(time));
                first = first.or(Some(*address));
            }
            Err(error) => failed.push((address, error)),
        }
    }
    for (address, error) in failed {
        let (seen, remedy) = match error.kind() {
            ErrorKind::ConnectionRefused => (
                "refused".to_owned(),
                "nothing listens there: start the proxy or longlink, and look at --listen: \
                 127.0.0.1 is reached from its own machine only",
            ),
            ErrorKind::TimedOut | ErrorKind::WouldBlock => (
                format!("no answer in {:?}", options.timeout),
                "a firewall or the provider's security group drops it: open the port",
            ),
            ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => (
                error.to_string(),
                "this machine has no way there: try another network before you blame the server",
            ),
            _ => (error.to_string(), "the address does not take connections"),
        };
        let seen = format!("{address}: {seen}");
        // Phones may still connect over another address, by chance or slowly.
        report.add(match first {
            Some(_) => Check::warn(STEP, seen, format!("{remedy}; or take its record out")),
            None => Check::fail(STEP, seen, remedy),
        });
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_of_a_url_is_the_decoded_segment() {
        let user = |path: &str| user_of(&Url::parse(&format!("ws://a{path}")).unwrap());
        assert_eq!(user("/websocket/doctor?device=x").as_deref(), Some("doctor"));
        assert_eq!(user("/im/websocket/%E5%BC%A0%2d1").as_deref(), Some("张-1"));
        for path in
            ["/", "/websocket/", "/websocket/a/b", "/ws/a", "/websocket/%", "/websocket/%ff"]
        {
            assert_eq!(user(path), None, "{path}");
        }
    }
}

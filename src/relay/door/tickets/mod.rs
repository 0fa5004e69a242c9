//! Tickets: signed claims (JWT, RFC 7519, with HS256) by which a backend says
//! who a client is. Whoever has one is its user until it expires.
//!
//! Must not know: what a page may do with it. Nothing here prints a ticket, a
//! secret, or a part of one.

mod admit;
mod claims;
mod hmac;

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, crypto, dangerous};

pub use claims::Ticket;

use crate::relay::object::Object;

/// Clocks of different machines may differ by this much.
const LEEWAY: Duration = Duration::from_secs(5);

/// The wall clock's time at a time of the loop.
type Clock = Box<dyn Fn(Instant) -> SystemTime + Send>;

/// Checks tickets, and signs them.
///
/// A ticket is a JWT signed with HS256, whatever its header says, with the
/// claims `sub` (the user id) and `exp`, and optionally `nbf`, `device`,
/// `groups` and `broadcast`; others, `aud` among them, are not looked at. A
/// clock may be wrong by 5 s.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use longlink::tickets::{Ticket, Tickets};
/// use longlink::{Relay, RelayConfig};
///
/// let secret = b"0123456789abcdef0123456789abcdef"; // openssl rand -hex 32
/// let tickets = Tickets::new(&[secret], |_| SystemTime::now())?;
/// let ticket = tickets.sign(&Ticket::new("alice", SystemTime::now() + Duration::from_secs(7_200)))?;
/// assert_eq!(ticket.split('.').count(), 3);
/// let relay = Relay::new(RelayConfig::default()).with_tickets(tickets);
/// # Ok::<(), longlink::tickets::TicketError>(())
/// ```
pub struct Tickets {
    keys: Vec<DecodingKey>,
    signing: EncodingKey,
    clock: Clock,
    at_door_only: bool,
}

/// Why tickets cannot be checked or signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TicketError {
    /// There is no secret, or there are more than [`Tickets::MAX_SECRETS`].
    SecretCount,
    /// A secret is shorter than [`Tickets::MIN_SECRET`].
    ShortSecret,
    /// A name is empty, too long or has control characters; there are too many
    /// groups; a time cannot be told.
    BadClaims,
    /// It is longer than [`Tickets::MAX_TICKET`].
    TooLong,
}

impl fmt::Display for TicketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TicketError::SecretCount => "one secret is needed, or two while they are changed",
            TicketError::ShortSecret => "a secret needs at least 32 bytes",
            TicketError::BadClaims => "a claim of the ticket is not within its limits",
            TicketError::TooLong => "the ticket is longer than 4096 bytes",
        })
    }
}

impl std::error::Error for TicketError {}

/// Why a ticket does not let its bearer in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// Too long, unreadable, signed with another algorithm or secret, or with
    /// claims that are missing or out of their limits.
    Bad,
    Expired,
    NotYet,
    OtherUser,
    OtherDevice,
}

impl Refused {
    /// For the client's developer. Only the owner of a secret can make a
    /// ticket that is told more than "bad".
    fn text(self) -> &'static str {
        match self {
            Refused::Bad => "bad ticket",
            Refused::Expired => "the ticket has expired",
            Refused::NotYet => "the ticket is not valid yet",
            Refused::OtherUser => "the ticket is for another user",
            Refused::OtherDevice => "the ticket is for another device",
        }
    }
}

impl Tickets {
    /// The shortest secret in bytes: as long as the signature (RFC 7518,
    /// section 3.2).
    pub const MIN_SECRET: usize = 32;
    /// The most secrets that are valid at once.
    pub const MAX_SECRETS: usize = 2;
    /// The longest ticket in bytes; a longer one is not decoded.
    pub const MAX_TICKET: usize = 4_096;

    /// Tickets signed with one of these secrets; new ones are signed with the
    /// first. `clock` tells the wall clock's time, given the loop's; it is
    /// asked once for a ticket.
    ///
    /// Unless the process has a `CryptoProvider` of the crate `jsonwebtoken`
    /// installed, this installs one that knows HS256 alone.
    ///
    /// # Errors
    /// When there are no secrets, too many, or too short ones.
    pub fn new(
        secrets: &[impl AsRef<[u8]>],
        clock: impl Fn(Instant) -> SystemTime + Send + 'static,
    ) -> Result<Self, TicketError> {
        if secrets.is_empty() || secrets.len() > Self::MAX_SECRETS {
            return Err(TicketError::SecretCount);
        }
        if secrets.iter().any(|secret| secret.as_ref().len() < Self::MIN_SECRET) {
            return Err(TicketError::ShortSecret);
        }
        hmac::install();
        Ok(Tickets {
            keys: secrets.iter().map(|secret| DecodingKey::from_secret(secret.as_ref())).collect(),
            signing: EncodingKey::from_secret(secrets[0].as_ref()),
            clock: Box::new(clock),
            at_door_only: false,
        })
    }

    /// Lets a connection live on after its ticket has expired: for pages that
    /// cannot get a new one. Default false.
    pub fn at_door_only(mut self, yes: bool) -> Self {
        self.at_door_only = yes;
        self
    }

    /// When a ticket has to end that is valid for so long from `now` on, by the
    /// wall clock it was given.
    pub fn until(&self, now: Instant, ttl: Duration) -> SystemTime {
        let wall = (self.clock)(now);
        wall.checked_add(ttl).unwrap_or(wall)
    }

    /// Signs a ticket.
    ///
    /// ```
    /// # use std::time::{Duration, Instant, SystemTime};
    /// # use longlink::tickets::{Ticket, Tickets};
    /// # let tickets = Tickets::new(&[[7; 32]], |_| SystemTime::now())?;
    /// let until = tickets.until(Instant::now(), Duration::from_secs(7_200));
    /// let ticket = tickets.sign(&Ticket::new("alice", until).device("phone").group("room-7"))?;
    /// # Ok::<(), longlink::tickets::TicketError>(())
    /// ```
    ///
    /// # Errors
    /// When it says what a client could not use: see [`TicketError`].
    pub fn sign(&self, ticket: &Ticket) -> Result<String, TicketError> {
        if !ticket.is_sound() {
            return Err(TicketError::BadClaims);
        }
        let signed = jsonwebtoken::encode(&Header::new(Algorithm::HS256), ticket, &self.signing)
            .map_err(|_| TicketError::BadClaims)?;
        if signed.len() > Self::MAX_TICKET {
            return Err(TicketError::TooLong);
        }
        Ok(signed)
    }

    /// Whether this ticket lets in this user, and what it allows. `device` is
    /// the one the client has named.
    fn check(
        &self,
        ticket: &str,
        user: &str,
        device: Option<&str>,
        now: Instant,
    ) -> Result<(Ticket, Option<Instant>), Refused> {
        if ticket.len() > Self::MAX_TICKET {
            return Err(Refused::Bad);
        }
        let ticket = self.open(ticket).filter(Ticket::is_sound).ok_or(Refused::Bad)?;
        let wall = (self.clock)(now);
        if ticket.begins().is_some_and(|begins| begins > wall + LEEWAY) {
            return Err(Refused::NotYet);
        }
        let left = (ticket.expires() + LEEWAY).duration_since(wall).unwrap_or_default();
        if left.is_zero() {
            return Err(Refused::Expired);
        }
        if ticket.sub != user {
            return Err(Refused::OtherUser);
        }
        if let (Some(theirs), Some(named)) = (&ticket.device, device)
            && theirs != named
        {
            return Err(Refused::OtherDevice);
        }
        let end = if self.at_door_only { None } else { now.checked_add(left) };
        Ok((ticket, end))
    }

    /// Reads a ticket that one of the secrets has signed.
    ///
    /// The library's `decode` would read the claims a second time for checks of its own, which are
    /// all switched off here, and would refuse a ticket for an `aud` or `iss` that it cannot read.
    fn open(&self, ticket: &str) -> Option<Ticket> {
        let (signed, signature) = ticket.rsplit_once('.')?;
        let is_signed_with = |key: &DecodingKey| {
            let verified = crypto::verify(signature, signed.as_bytes(), key, Algorithm::HS256);
            verified.unwrap_or(false)
        };
        if !self.keys.iter().any(is_signed_with) {
            return None;
        }
        // The signature has been verified above, whatever algorithm the header names.
        let token = dangerous::insecure_decode::<Object<Ticket>>(ticket).ok()?;
        // What an unknown extension asks for may not be ignored (RFC 7515, section 4.1.11).
        let is_readable = token.header.alg == Algorithm::HS256 && token.header.crit.is_none();
        is_readable.then_some(token.claims.0)
    }
}

impl fmt::Debug for Tickets {
    /// Without the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets")
            .field("secrets", &self.keys.len())
            .field("at_door_only", &self.at_door_only)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

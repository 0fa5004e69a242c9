//! Tickets: signed claims (JWT, RFC 7519, with HS256) with which a backend says which user a client
//! is. Whoever has a ticket can connect as its user until it expires.
//!
//! This module must not know what a page may do with a ticket. It prints no ticket, no secret, and
//! no part of either.

mod admit;
mod claims;
mod hmac;

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, crypto, dangerous};

pub use claims::Ticket;

use crate::relay::object::Object;

/// The clocks of two machines may differ by this much.
const LEEWAY: Duration = Duration::from_secs(5);

/// A function that converts a time of the loop to the time of the wall clock.
type Clock = Box<dyn Fn(Instant) -> SystemTime + Send>;

/// Checks and signs tickets.
///
/// A ticket is a JWT signed with HS256, whatever algorithm its header names. It has the claims
/// `sub` (the user id) and `exp`, and optionally `nbf`, `device`, `groups` and `broadcast`. Other
/// claims, such as `aud`, are ignored. The clocks of the signer and of the server may differ by 5
/// s.
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
    /// A name is empty, too long or has control characters; or there are too many groups; or a time
    /// cannot be represented.
    BadClaims,
    /// The ticket is longer than [`Tickets::MAX_TICKET`].
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

/// Why a ticket is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// The ticket is too long, unreadable, or signed with another algorithm or secret.
    Bad,
    /// The ticket is signed, but this claim is missing or beyond its limits.
    Claim(&'static str),
    Expired,
    NotYet,
    OtherUser,
    OtherDevice,
}

impl Refused {
    /// The text for the developer of the client and for the log. It names the claim that is wrong,
    /// and never what the claim says. Only a ticket that was signed with a valid secret gets a text
    /// other than "bad ticket".
    fn text(self) -> &'static str {
        match self {
            Refused::Bad => "bad ticket",
            Refused::Claim("sub") => "bad ticket (claim sub)",
            Refused::Claim("exp") => "bad ticket (claim exp)",
            Refused::Claim("nbf") => "bad ticket (claim nbf)",
            Refused::Claim("device") => "bad ticket (claim device)",
            Refused::Claim("groups") => "bad ticket (claim groups)",
            Refused::Claim("broadcast") => "bad ticket (claim broadcast)",
            Refused::Claim(_) => "bad ticket (claims)",
            Refused::Expired => "the ticket has expired (claim exp)",
            Refused::NotYet => "the ticket is not valid yet (claim nbf)",
            Refused::OtherUser => "the ticket is for another user (claim sub)",
            Refused::OtherDevice => "the ticket is for another device (claim device)",
        }
    }
}

impl Tickets {
    /// The length of the shortest secret in bytes: as long as the signature (RFC 7518, section
    /// 3.2).
    pub const MIN_SECRET: usize = 32;
    /// The largest number of secrets that are valid at once.
    pub const MAX_SECRETS: usize = 2;
    /// The length of the longest ticket in bytes; a longer one is not decoded.
    pub const MAX_TICKET: usize = 4_096;

    /// Accepts tickets that are signed with one of these secrets; new tickets are signed with the
    /// first. `clock` converts a time of the loop to the time of the wall clock; it is called once
    /// for each ticket.
    ///
    /// If the process has no `CryptoProvider` of the crate `jsonwebtoken`, this function installs
    /// one that knows only HS256.
    ///
    /// # Errors
    /// If there are no secrets, too many, or too short ones.
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

    /// Sets whether a connection stays open after its ticket has expired, for pages that cannot get
    /// a new ticket. Default false.
    pub fn at_door_only(mut self, yes: bool) -> Self {
        self.at_door_only = yes;
        self
    }

    /// Returns the time at which a ticket ends that is valid for `ttl` from `now` on, by the wall
    /// clock given to [`Tickets::new`].
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
    /// If the ticket has claims that no client could use; see [`TicketError`].
    pub fn sign(&self, ticket: &Ticket) -> Result<String, TicketError> {
        if ticket.unsound().is_some() {
            return Err(TicketError::BadClaims);
        }
        let signed = jsonwebtoken::encode(&Header::new(Algorithm::HS256), ticket, &self.signing)
            .map_err(|_| TicketError::BadClaims)?;
        if signed.len() > Self::MAX_TICKET {
            return Err(TicketError::TooLong);
        }
        Ok(signed)
    }

    /// Whether this ticket is for this user, and what it allows. `device` is the device that the
    /// client has named.
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
        let ticket = self.open(ticket)?;
        if let Some(claim) = ticket.unsound() {
            return Err(Refused::Claim(claim));
        }
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

    /// Returns the claims of a ticket that was signed with one of the secrets.
    ///
    /// The library's `decode` is not used: it reads the claims a second time for checks that are not
    /// needed here, and refuses a ticket with an `aud` or `iss` that it cannot read.
    fn open(&self, ticket: &str) -> Result<Ticket, Refused> {
        let (signed, signature) = ticket.rsplit_once('.').ok_or(Refused::Bad)?;
        let is_signed_with = |key: &DecodingKey| {
            let verified = crypto::verify(signature, signed.as_bytes(), key, Algorithm::HS256);
            verified.unwrap_or(false)
        };
        if !self.keys.iter().any(is_signed_with) {
            return Err(Refused::Bad);
        }
        // The signature has been verified above, whatever algorithm the header names.
        let token = dangerous::insecure_decode::<Object<Ticket>>(ticket).map_err(|_| {
            let claims = dangerous::insecure_decode::<serde_json::Value>(ticket);
            claims.map_or(Refused::Bad, |it| Refused::Claim(claims::unreadable(&it.claims)))
        })?;
        // An unknown extension that the header marks as critical must not be ignored (RFC 7515,
        // section 4.1.11).
        let is_readable = token.header.alg == Algorithm::HS256 && token.header.crit.is_none();
        if is_readable { Ok(token.claims.0) } else { Err(Refused::Bad) }
    }
}

impl fmt::Debug for Tickets {
    /// Does not print the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets")
            .field("secrets", &self.keys.len())
            .field("at_door_only", &self.at_door_only)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

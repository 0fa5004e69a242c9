//! What a ticket says: its claims (RFC 7519, section 4).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::hub::{MAX_GROUP_NAME, MAX_GROUPS};
use crate::relay::door::{MAX_DEVICE, is_name};
use crate::relay::v1::MAX_ID;

/// What a ticket lets its bearer do, to be [signed](super::Tickets::sign).
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use longlink::tickets::Ticket;
///
/// let until = SystemTime::now() + Duration::from_secs(7_200);
/// let ticket = Ticket::new("alice", until).device("phone").group("room-7").broadcast(true);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ticket {
    pub(in crate::relay) sub: String,
    /// Seconds since 1970; fractions are allowed (RFC 7519, section 2), but not
    /// every library reads them.
    #[serde(serialize_with = "whole")]
    exp: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::relay) device: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::relay) groups: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::relay) broadcast: bool,
}

impl Ticket {
    /// A ticket for this user, valid until then, to the second.
    pub fn new(user: &str, until: SystemTime) -> Self {
        let exp = until.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as f64;
        Ticket {
            sub: user.to_owned(),
            exp,
            nbf: None,
            device: None,
            groups: Vec::new(),
            broadcast: false,
        }
    }

    /// For this device alone; a client that names none becomes it. Without, the
    /// client names its device.
    pub fn device(mut self, name: &str) -> Self {
        self.device = Some(name.to_owned());
        self
    }

    /// Adds a group that the connection is put into when it opens; at most
    /// [`MAX_GROUPS`](crate::limits::MAX_GROUPS).
    pub fn group(mut self, name: &str) -> Self {
        self.groups.push(name.to_owned());
        self
    }

    /// Whether its bearer may send to everyone.
    pub fn broadcast(mut self, yes: bool) -> Self {
        self.broadcast = yes;
        self
    }

    /// Whether all it says is within the protocol's limits.
    pub(super) fn is_sound(&self) -> bool {
        let device = self.device.as_deref().unwrap_or_default();
        let is_group = |name: &String| !name.is_empty() && name.len() <= MAX_GROUP_NAME;
        !self.sub.is_empty()
            && is_name(&self.sub, MAX_ID)
            && is_name(device, MAX_DEVICE)
            && self.groups.len() <= MAX_GROUPS
            && self.groups.iter().all(is_group)
            && instant(self.exp).is_some()
            && self.nbf.is_none_or(|nbf| instant(nbf).is_some())
    }

    /// When it ends; the distant past for what is no time.
    pub(super) fn expires(&self) -> SystemTime {
        instant(self.exp).unwrap_or(UNIX_EPOCH)
    }

    /// When it begins, if it says so.
    pub(super) fn begins(&self) -> Option<SystemTime> {
        self.nbf.and_then(instant)
    }
}

fn whole<S: serde::Serializer>(seconds: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(*seconds as u64)
}

/// `None` for what is no time, or none that one can reckon with.
fn instant(seconds: f64) -> Option<SystemTime> {
    const FAR: f64 = 1e12;
    let since = Duration::try_from_secs_f64(seconds).ok().filter(|_| seconds <= FAR)?;
    UNIX_EPOCH.checked_add(since)
}

//! The claims of a ticket (RFC 7519, section 4).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::hub::{MAX_GROUP_NAME, MAX_GROUPS};
use crate::relay::door::{MAX_DEVICE, is_name};
use crate::relay::v1::MAX_ID;

/// What the owner of a ticket may do. A backend [signs](super::Tickets::sign) it.
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
    /// Seconds since 1970. Fractions are allowed (RFC 7519, section 2), but some libraries cannot
    /// read them.
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
    /// A ticket for this user that is valid until the time `until`, which is rounded to a whole
    /// second.
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

    /// Restricts the ticket to this device. A client that names no device becomes this device.
    /// Without this call the client chooses its device.
    pub fn device(mut self, name: &str) -> Self {
        self.device = Some(name.to_owned());
        self
    }

    /// Adds a group that the connection is put into when it opens; at most
    /// [`MAX_GROUPS`](crate::limits::MAX_GROUPS) groups. The limit is checked when the ticket is
    /// signed.
    pub fn group(mut self, name: &str) -> Self {
        self.groups.push(name.to_owned());
        self
    }

    /// Sets whether the owner of the ticket may send to everyone. Default false.
    pub fn broadcast(mut self, yes: bool) -> Self {
        self.broadcast = yes;
        self
    }

    /// Returns a claim that is not within the protocol's limits, if there is one.
    pub(super) fn unsound(&self) -> Option<&'static str> {
        let device = self.device.as_deref().unwrap_or_default();
        let is_group = |name: &String| !name.is_empty() && name.len() <= MAX_GROUP_NAME;
        if self.sub.is_empty() || !is_name(&self.sub, MAX_ID) {
            Some("sub")
        } else if !is_name(device, MAX_DEVICE) {
            Some("device")
        } else if self.groups.len() > MAX_GROUPS || !self.groups.iter().all(is_group) {
            Some("groups")
        } else if instant(self.exp).is_none() {
            Some("exp")
        } else if self.nbf.is_some_and(|nbf| instant(nbf).is_none()) {
            Some("nbf")
        } else {
            None
        }
    }

    /// Returns when the ticket expires; a time far in the past if the claim is no valid time.
    pub(super) fn expires(&self) -> SystemTime {
        instant(self.exp).unwrap_or(UNIX_EPOCH)
    }

    /// Returns when the ticket becomes valid, if it says so.
    pub(super) fn begins(&self) -> Option<SystemTime> {
        self.nbf.and_then(instant)
    }
}

/// Returns the claim because of which claims cannot be read: one that is missing or of a wrong type.
/// Empty if none of them is wrong by itself.
pub(super) fn unreadable(claims: &serde_json::Value) -> &'static str {
    let claim = |name: &str| claims.get(name).filter(|it| !it.is_null());
    let is_names = |it: &serde_json::Value| {
        it.as_array().is_some_and(|names| names.iter().all(serde_json::Value::is_string))
    };
    if !claims.is_object() {
        ""
    } else if !claim("sub").is_some_and(serde_json::Value::is_string) {
        "sub"
    } else if !claim("exp").is_some_and(serde_json::Value::is_number) {
        "exp"
    } else if claim("nbf").is_some_and(|it| !it.is_number()) {
        "nbf"
    } else if claim("device").is_some_and(|it| !it.is_string()) {
        "device"
    } else if claims.get("groups").is_some_and(|it| !is_names(it)) {
        "groups"
    } else if claims.get("broadcast").is_some_and(|it| !it.is_boolean()) {
        "broadcast"
    } else {
        ""
    }
}

fn whole<S: serde::Serializer>(seconds: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(*seconds as u64)
}

/// Converts a claim to a time; `None` if it is no time, or one that is too far away to calculate
/// with.
fn instant(seconds: f64) -> Option<SystemTime> {
    const FAR: f64 = 1e12;
    let since = Duration::try_from_secs_f64(seconds).ok().filter(|_| seconds <= FAR)?;
    UNIX_EPOCH.checked_add(since)
}

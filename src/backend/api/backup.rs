//! A copy of the file in which messages are kept: `POST /api/store/backup` begins it, and
//! `GET /api/store/backup` says how far it is. A copy of a large file takes longer than an answer
//! may.

use serde::{Deserialize, Serialize};

use crate::relay::{Copying, NoCopy};

use super::failure::Failure;
use super::{Answer, Call, body, json};

/// The body of the request, which has no field. Where the copy is put is not for a caller to say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Serialize)]
struct State<'a> {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

/// `POST /api/store/backup`
pub fn begin(call: &mut Call<'_>) -> Answer {
    let Nothing {} = body::read(call.request)?;
    call.relay.begin_backup(call.cx).map_err(|why| match why {
        NoCopy::Running => {
            Failure::new(409, "backup_running", "the earlier copy is not complete: ask for it")
        }
        NoCopy::NoFile => off(),
        NoCopy::Unavailable => Failure::new(503, "unavailable", "the store was given up"),
    })?;
    state(call)
}

/// `GET /api/store/backup`
pub fn state(call: &mut Call<'_>) -> Answer {
    if call.relay.numbers().is_none() {
        return Err(off());
    }
    let (state, path, bytes, why) = match call.relay.backup() {
        Copying::Never => ("never", None, None, None),
        Copying::Running => ("running", None, None, None),
        Copying::Done(backup) => ("done", Some(&*backup.path), Some(backup.bytes), None),
        Copying::Failed(why) => ("failed", None, None, Some(&**why)),
    };
    json(&State { state, path, bytes, why })
}

fn off() -> Failure {
    Failure::new(404, "store_off", "this server keeps messages in its memory alone")
}

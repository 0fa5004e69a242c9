//! The scripts that run in Redis. Each is called by its hash, and is loaded first of all on each
//! connection. All have the prefix of the keys as their first argument.

use redis::Script as Hashed;

/// A script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)] // of the variants, which have the names of their files
pub enum Script {
    Epoch,
    Send,
    SendAndTell,
    Ack,
    Load,
    Missing,
    Forget,
    Due,
    Enter,
    Leave,
    Away,
    Absent,
    Sweep,
    Register,
    Renew,
    Presence,
    Member,
    Tell,
    Move,
    Teller,
    Read,
    Accept,
    Listing,
    Claim,
    Finish,
    Block,
    Blocks,
}

macro_rules! script {
    ($($part:literal),*) => {
        concat!($(include_str!(concat!("../scripts/", $part, ".lua"))),*)
    };
}

/// Every script with its text, in the order of [`Script`].
const ALL: &[(Script, &str)] = &[
    (Script::Epoch, script!("epoch")),
    (Script::Send, script!("send")),
    (Script::SendAndTell, script!("send")),
    (Script::Ack, script!("events", "routes", "devices", "ack")),
    (Script::Load, script!("events", "routes", "devices", "load")),
    (Script::Missing, script!("events", "routes", "missing")),
    (Script::Forget, script!("events", "routes", "devices", "forget")),
    (Script::Due, script!("events", "routes", "devices", "due")),
    (Script::Enter, script!("events", "routes", "devices", "enter")),
    (Script::Leave, script!("events", "routes", "devices", "leave")),
    (Script::Away, script!("events", "routes", "devices", "away")),
    (Script::Absent, script!("events", "routes", "devices", "left", "absent")),
    (Script::Sweep, script!("events", "routes", "devices", "left", "sweep")),
    (Script::Register, script!("events", "routes", "register")),
    (Script::Renew, script!("events", "routes", "renew")),
    (Script::Presence, script!("events", "routes", "presence")),
    (Script::Member, script!("events", "routes", "devices", "member")),
    (Script::Tell, script!("events", "tell")),
    (Script::Move, script!("events", "move")),
    (Script::Teller, script!("events", "teller")),
    (Script::Read, script!("events", "read")),
    (Script::Accept, script!("events", "accept")),
    (Script::Listing, script!("events", "listing")),
    (Script::Claim, script!("claim")),
    (Script::Finish, script!("finish")),
    (Script::Block, script!("ended", "block")),
    (Script::Blocks, script!("ended", "blocks")),
];

/// In the text of a script, the place of the functions that it needs only in rare cases. There they cost
/// nothing in the others, because Lua makes each function anew in each call.
const PLACE: &str = "--[[LIBRARY]]";
const LIBRARY: &str = script!("events", "routes", "devices");

/// The places in the text of `send.lua` where the script that tells the backend of events has more, and what it has
/// there. The script without events is not one instruction longer for it.
const MORE: &[(&str, &str)] = &[
    ("--[[EVENTS]]", script!("events", "reports")),
    ("--[[REPORT OF A SEND]]", include_str!("../scripts/report.lua")),
    ("--[[REPORT OF A RECEIPT]]", "if about ~= '' then report(P, reports) end"),
];

fn text_of(script: Script, text: &str) -> String {
    let mut text = text.to_owned();
    for (place, more) in MORE {
        text = text.replace(place, if script == Script::SendAndTell { more } else { "" });
    }
    text.replace(PLACE, LIBRARY)
}

/// The scripts with their hashes.
#[derive(Debug)]
pub struct Hashes(Vec<(String, Hashed)>);

impl Hashes {
    pub fn new() -> Self {
        debug_assert!(ALL.iter().enumerate().all(|(at, (script, _))| *script as usize == at));
        let texts = ALL.iter().map(|(script, text)| text_of(*script, text));
        Hashes(texts.map(|text| (text.clone(), Hashed::new(&text))).collect())
    }

    /// The hash by which a script is called.
    #[inline]
    pub fn of(&self, script: Script) -> &[u8] {
        self.0.get(script as usize).map_or(b"", |(_, script)| script.get_hash().as_bytes())
    }

    /// The text of each script.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(text, _)| &**text)
    }
}

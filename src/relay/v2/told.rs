//! The events of this dialect in the trace of a user: which messages a device has, which are lost,
//! and how its sends were answered. The hub reports each frame, but not what the frame means.

use crate::hub::Detail::{Flag, Number, Word};
use crate::hub::{ConnId, Context};
use crate::mailbox::Welcome;

use super::frames::{Answer, Code};

/// Reports that a device has connected, and that the replay begins.
pub fn welcome(cx: &mut Context, conn: ConnId, welcome: &Welcome) {
    let Welcome { cursor, seq, resumed, .. } = *welcome;
    let details = [("cursor", Number(cursor)), ("seq", Number(seq)), ("resumed", Flag(resumed))];
    cx.tell_trace(conn, "welcome", &details);
}

/// Reports a `gap` frame: the messages with these numbers will not come.
pub fn gap(cx: &mut Context, conn: ConnId, from: Option<u64>, to: u64, reason: &'static str) {
    match from {
        Some(from) => {
            let details = [("from", Number(from)), ("to", Number(to)), ("reason", Word(reason))];
            cx.tell_trace(conn, "gap", &details);
        }
        None => cx.tell_trace(conn, "gap", &[("to", Number(to)), ("reason", Word(reason))]),
    }
}

/// Reports that the replay is over.
pub fn live(cx: &mut Context, conn: ConnId, seq: u64) {
    cx.tell_trace(conn, "live", &[("seq", Number(seq))]);
}

/// Reports that the device has acknowledged all messages up to a number.
pub fn ack(cx: &mut Context, conn: ConnId, seq: u64) {
    cx.tell_trace(conn, "ack", &[("seq", Number(seq))]);
}

/// Reports the answer to a send.
pub fn answer(cx: &mut Context, conn: ConnId, answer: &Answer<'_>) {
    let state = match answer {
        Answer::State(state) | Answer::Results(state, _) | Answer::Receivers(state, _) => {
            state.name()
        }
        Answer::Duplicate { .. } => "duplicate",
    };
    cx.tell_trace(conn, "answer", &[("state", Word(state))]);
}

/// Reports that a frame was refused.
pub fn refused(cx: &mut Context, conn: ConnId, code: Code, retry: bool) {
    cx.tell_trace(conn, "refused", &[("code", Word(code.name())), ("retry", Flag(retry))]);
}

/// Reports that the app was hidden, or is shown again.
pub fn shown(cx: &mut Context, conn: ConnId, is_shown: bool) {
    cx.tell_trace(conn, if is_shown { "shown" } else { "hidden" }, &[]);
}

/// Reports that the server ends the connection, and that the client must not reconnect by itself.
pub fn kick(cx: &mut Context, conn: ConnId, code: u16) {
    cx.tell_trace(conn, "kick", &[("code", Number(code.into()))]);
}

/// Reports that the server is stopping.
pub fn bye(cx: &mut Context, conn: ConnId) {
    cx.tell_trace(conn, "bye", &[]);
}

//! Answers that wait until the journal has kept the messages of their requests.

use slab::Slab;

use crate::hub::{ConnId, Context};
use crate::relay::{Pushed, Reached};

use super::replay::Replays;
use super::send::{name_of, write_group};

/// An answer in which some states are missing.
#[derive(Debug, Default)]
pub struct Unfinished {
    /// The JSON text without them.
    text: String,
    holes: Vec<Hole>,
    left: usize,
    /// The key of a request that may be repeated.
    pub key: Option<String>,
}

/// A state that is missing.
#[derive(Debug)]
struct Hole {
    /// Where it belongs in the text.
    at: usize,
    /// Which message of the request it is.
    message: usize,
    state: Pushed,
    /// For a message to a group, how many connections get it if it is kept.
    connections: Option<usize>,
}

impl Unfinished {
    /// Adds a state that is missing at the end of what was written so far.
    pub fn miss(&mut self, at: usize, message: usize) {
        self.holes.push(Hole { at, message, state: Pushed::Later, connections: None });
        self.left += 1;
    }

    /// Adds the result of a message to a group, which is missing at the end of what was written so
    /// far.
    pub fn miss_group(&mut self, at: usize, reached: Reached) {
        let Reached { state, connections } = reached;
        self.holes.push(Hole { at, message: 0, state, connections: Some(connections) });
        self.left += 1;
    }

    /// The place of the next state that will be missing.
    pub fn next_place(&self) -> u32 {
        self.holes.len() as u32
    }

    pub fn is_empty(&self) -> bool {
        self.holes.is_empty()
    }

    /// Sets the text, in which the states are missing.
    pub fn set_text(&mut self, text: String) {
        self.text = text;
    }

    fn finish(&mut self) -> Vec<u8> {
        let mut text = std::mem::take(&mut self.text);
        for hole in self.holes.iter().rev() {
            match hole.connections {
                None => text.insert_str(hole.at, name_of(hole.state)),
                Some(connections) => {
                    let mut result = String::new();
                    write_group(Reached { state: hole.state, connections }, &mut result);
                    text.insert_str(hole.at, &result);
                }
            }
        }
        text.into_bytes()
    }
}

/// All answers that wait.
#[derive(Debug, Default)]
pub struct Late(Slab<(ConnId, Unfinished)>);

impl Late {
    /// The name of the next answer that will wait.
    pub fn next_request(&self) -> u32 {
        self.0.vacant_key() as u32
    }

    /// An answer waits.
    pub fn insert(&mut self, conn: ConnId, unfinished: Unfinished) {
        self.0.insert((conn, unfinished));
    }

    /// The journal has said what became of one message. The answer is sent with the last of them.
    pub fn complete(
        &mut self,
        cx: &mut Context,
        replays: &mut Replays,
        (request, place): (u32, u32),
        state: Pushed,
    ) {
        let Some((_, unfinished)) = self.0.get_mut(request as usize) else { return };
        let Some(hole) = unfinished.holes.get_mut(place as usize) else { return };
        hole.state = state;
        if let Some(key) = &unfinished.key {
            replays.note(key, hole.message, state);
        }
        unfinished.left -= 1;
        if unfinished.left == 0 {
            let (conn, mut unfinished) = self.0.remove(request as usize);
            cx.respond_to(conn, &super::ok(unfinished.finish()).keep());
        }
    }
}

//! The commands for one Redis that wait, and those that were sent and are not answered.

use std::collections::VecDeque;

use super::{Batch, Then};

/// The most commands that are sent at once. Longer pipelines cost latency and save nothing.
pub const MOST_COMMANDS: usize = 128;
/// A batch ends behind the command with which it has so many bytes.
const MOST_BYTES: usize = 1 << 20;
/// How often a command is sent again because Redis did not know its script.
const MOST_TRIES: u8 = 3;

/// A command, whose bytes are in the buffer beside it.
#[derive(Debug)]
pub struct Command {
    pub then: Then,
    len: u32,
    tries: u8,
}

/// The commands for one Redis.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<Command>,
    /// The bytes of the commands that wait, behind those that were sent.
    bytes: Vec<u8>,
    /// Where the bytes of the commands begin that wait.
    start: usize,
    sent: VecDeque<Command>,
    sent_bytes: Vec<u8>,
    /// Where the bytes of the first command begin that is not answered.
    answered: usize,
}

impl Queue {
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many commands wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether commands were sent that are not answered.
    pub fn is_in_flight(&self) -> bool {
        !self.sent.is_empty()
    }

    /// Adds a command, which `write` writes.
    #[inline]
    pub fn push(&mut self, then: Then, write: impl FnOnce(&mut Vec<u8>)) {
        if self.waiting.is_empty() {
            self.bytes.clear();
            self.start = 0;
        }
        let before = self.bytes.len();
        write(&mut self.bytes);
        let len = (self.bytes.len() - before) as u32;
        self.waiting.push_back(Command { then, len, tries: 0 });
    }

    /// Takes the commands that are sent now. Nothing may be in flight.
    pub fn take(&mut self, batch: &mut Batch) {
        debug_assert!(!self.is_in_flight());
        self.sent_bytes.clear();
        self.answered = 0;
        let end_of = |bytes: usize| bytes < MOST_BYTES;
        let mut taken = 0;
        while self.sent.len() < MOST_COMMANDS
            && end_of(taken)
            && let Some(command) = self.waiting.pop_front()
        {
            taken += command.len as usize;
            self.sent.push_back(command);
        }
        let end = self.start + taken;
        self.sent_bytes.extend_from_slice(&self.bytes[self.start..end]);
        batch.bytes.extend_from_slice(&self.sent_bytes);
        batch.count += self.sent.len();
        self.start = end;
        // What was sent is removed when it is most of the buffer, so each byte is moved once on average.
        if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    /// Takes the command that is answered next.
    #[inline]
    pub fn pop_sent(&mut self) -> Option<Command> {
        let command = self.sent.pop_front()?;
        self.answered += command.len as usize;
        Some(command)
    }

    /// Sends a command again, the one that was taken last, before all that wait. Returns what is to be
    /// done with its reply if it was sent too often.
    pub fn again(
        &mut self,
        mut command: Command,
        again: &mut Vec<(Command, Vec<u8>)>,
    ) -> Option<Then> {
        command.tries += 1;
        if command.tries >= MOST_TRIES {
            return Some(command.then);
        }
        let start = self.answered - command.len as usize;
        again.push((command, self.sent_bytes[start..self.answered].to_vec()));
        None
    }

    /// Puts commands in front of all that wait.
    pub fn put_in_front(&mut self, commands: Vec<(Command, Vec<u8>)>) {
        let mut bytes = Vec::new();
        for (_, its) in &commands {
            bytes.extend_from_slice(its);
        }
        bytes.extend_from_slice(&self.bytes[self.start..]);
        (self.bytes, self.start) = (bytes, 0);
        for (command, _) in commands.into_iter().rev() {
            self.waiting.push_front(command);
        }
    }

    /// Puts commands without a meaning of their own, such as the loading of scripts, in front of all that
    /// wait.
    pub fn push_first(&mut self, commands: impl Iterator<Item = Vec<u8>>) {
        let command = |len| Command { then: Then::Loaded, len, tries: 0 };
        let all = commands.map(|bytes| (command(bytes.len() as u32), bytes)).collect();
        self.put_in_front(all);
    }

    /// Takes all commands, because the connection is lost: first those that were sent, then those that
    /// were not, and for each whether it was sent.
    pub fn take_all(&mut self) -> Vec<(Then, bool)> {
        let sent = self.sent.drain(..).map(|command| (command.then, true));
        let waiting = self.waiting.drain(..).map(|command| (command.then, false));
        let all = sent.chain(waiting).collect();
        (self.bytes, self.start, self.answered) = (Vec::new(), 0, 0);
        self.sent_bytes = Vec::new();
        all
    }
}

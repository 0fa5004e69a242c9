//! Handles what arrives: reads, takes whole messages out of frames, handles control frames.

use std::io::ErrorKind;
use std::mem;
use std::time::Instant;

use mio::event::Event;

use super::{Clients, Load};
use crate::cli::client::frame::{self, Parsed};
use crate::cli::commands::bench::client::{End, Phase};
#[cfg(feature = "tls")]
use crate::cli::commands::bench::stream::Stream;
use crate::cli::commands::bench::{handshake, http};

/// The length of the longest message in bytes, all fragments together.
const MAX_MESSAGE: usize = 64 << 20;
/// How often a full buffer is read from one connection before other connections have their turn.
const MAX_READS: usize = 16;

impl Clients {
    pub(super) fn handle_event<L: Load>(&mut self, event: &Event, buffer: &mut [u8], load: &mut L) {
        let id = event.token().0;
        if event.is_writable() && self.clients[id].awaits_writing {
            match self.clients[id].flush() {
                Ok(()) => self.await_writing(id),
                Err(error) => return self.lose_failed(id, error),
            }
        }
        let over = event.is_error() || event.is_read_closed();
        if self.clients[id].deaf && self.clients[id].phase == Phase::Open {
            if over {
                let stream = self.clients[id].stream.as_mut();
                let error = stream.and_then(|stream| stream.tcp().take_error().ok().flatten());
                self.lose(id, error.map_or(End::Eof, End::Failed));
            }
            return;
        }
        if over || event.is_readable() {
            self.read(id, over, buffer, load);
        }
    }

    /// Reads until there is no more. After a short read there is no more, unless the stream is at
    /// its end.
    fn read<L: Load>(&mut self, id: usize, over: bool, buffer: &mut [u8], load: &mut L) {
        for _ in 0..MAX_READS {
            let client = &mut self.clients[id];
            let Some(stream) = &mut client.stream else { return };
            match stream.read(buffer) {
                Ok((0, _)) => {
                    let why = match (client.phase, client.close_code) {
                        (Phase::Closing, Some(code)) => End::Closed(code),
                        _ => End::Eof,
                    };
                    return self.lose(id, why);
                }
                Ok((size, more)) => {
                    self.receive(id, &buffer[..size], load);
                    let deaf = self.clients[id].deaf && self.clients[id].phase == Phase::Open;
                    if deaf || !(more || over) {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A handshake may have bytes to write that the socket did not take.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return self.await_writing(id);
                }
                Err(error) => return self.lose_failed(id, error),
            }
        }
        self.arm(id);
    }

    /// Handles the bytes that were read. Bytes of a frame that is not complete are kept.
    fn receive<L: Load>(&mut self, id: usize, bytes: &[u8], load: &mut L) {
        let now = Instant::now();
        let mut held = mem::take(&mut self.clients[id].partial);
        let used = if held.is_empty() {
            self.consume(id, bytes, load, now)
        } else {
            held.extend_from_slice(bytes);
            self.consume(id, &held, load, now)
        };
        // `None` means that the connection has ended and its bytes were discarded.
        if let Some(used) = used {
            match held.is_empty() {
                true => held.extend_from_slice(&bytes[used..]),
                false => drop(held.drain(..used)),
            }
            self.clients[id].partial = held;
        }
    }

    /// Gives every whole message to the load; returns how many bytes the messages took.
    fn consume<L: Load>(
        &mut self,
        id: usize,
        input: &[u8],
        load: &mut L,
        now: Instant,
    ) -> Option<usize> {
        let mut used = 0;
        if self.clients[id].phase == Phase::Handshake {
            let answer = match self.clients[id].http {
                Some(_) => http::answer(input).map(|it| it.map(|(_, size)| size)),
                None => handshake::answer(input, self.protocol),
            };
            match answer {
                Ok(None) => return Some(0),
                Ok(Some(size)) => used = size,
                Err(why) => {
                    self.lose(id, End::Handshake(why));
                    return None;
                }
            }
            let client = &mut self.clients[id];
            client.phase = Phase::Open;
            #[cfg(feature = "tls")]
            if let Some(Stream::Tls(tls)) = &client.stream {
                self.tally.shook_hands(tls.agreed());
            }
            self.handshaking -= 1;
            self.open += 1;
            load.on_open(self, id, now);
        }
        if self.clients[id].http.is_some() {
            used += self.consume_answers(id, &input[used..], load, now)?;
            load.on_read(self, id, now);
            return self.clients[id].stream.is_some().then_some(used);
        }
        loop {
            match frame::parse(&input[used..]) {
                Parsed::Frame { fin: true, opcode: frame::TEXT | frame::BINARY, payload, size }
                    if self.clients[id].fragments.is_none() =>
                {
                    load.on_message(&mut self.tally, id, payload, now);
                    used += size;
                }
                Parsed::Frame { fin, opcode, payload, size } => {
                    used += size;
                    let handled = match opcode {
                        frame::CLOSE | frame::PING | frame::PONG => {
                            self.handle_control(id, opcode, payload)
                        }
                        _ => self.handle_fragment(id, fin, opcode, payload, load, now),
                    };
                    if let Err(why) = handled {
                        self.lose(id, why);
                        return None;
                    }
                }
                Parsed::Partial => break,
                Parsed::Bad(why) => {
                    self.lose(id, End::Protocol(why));
                    return None;
                }
            }
        }
        load.on_read(self, id, now);
        self.clients[id].stream.is_some().then_some(used)
    }

    fn consume_answers<L: Load>(
        &mut self,
        id: usize,
        input: &[u8],
        load: &mut L,
        now: Instant,
    ) -> Option<usize> {
        let mut used = 0;
        loop {
            match http::answer(&input[used..]) {
                Ok(Some((body, size))) => {
                    load.on_message(&mut self.tally, id, body, now);
                    used += size;
                }
                Ok(None) => return Some(used),
                Err(why) => {
                    self.lose(id, End::Refused(why));
                    return None;
                }
            }
        }
    }

    fn handle_control(&mut self, id: usize, opcode: u8, payload: &[u8]) -> Result<(), End> {
        match (opcode, self.clients[id].phase) {
            (frame::PING, Phase::Open) => self.send_control(id, frame::PONG, payload),
            (frame::CLOSE, phase) => {
                let code = frame::close_code(payload).map_err(End::Protocol)?;
                if phase != Phase::Closing {
                    self.send_control(id, frame::CLOSE, &payload[..payload.len().min(2)]);
                    return Err(End::Closed(code));
                }
                self.clients[id].close_code = Some(code);
            }
            _ => {}
        }
        Ok(())
    }

    fn handle_fragment<L: Load>(
        &mut self,
        id: usize,
        fin: bool,
        opcode: u8,
        payload: &[u8],
        load: &mut L,
        now: Instant,
    ) -> Result<(), End> {
        let fragments = &mut self.clients[id].fragments;
        let mut message = match (opcode, fragments.take()) {
            (frame::CONTINUATION, Some(message)) => message,
            (frame::TEXT | frame::BINARY, None) => Vec::new(),
            _ => return Err(End::Protocol("fragments are out of order")),
        };
        if message.len() + payload.len() > MAX_MESSAGE {
            return Err(End::Protocol("a message is longer than 64 MiB"));
        }
        message.extend_from_slice(payload);
        match fin {
            true => load.on_message(&mut self.tally, id, &message, now),
            false => *fragments = Some(message),
        }
        Ok(())
    }
}

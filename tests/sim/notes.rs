//! What the hub notes while it works: each note changes the shadow, or is compared with it.

use longlink::sim::{Note, Watch, owner};
use longlink::{CloseReason, ConnId, Context};

use super::shadow::{Conn, State, TICK};
use super::watch::{During, Watched};

/// What the hub holds for one chunk of fan-outs that several connections share.
const CHUNK: usize = 4 * 1024 + 64;
/// The bytes of the longest close frame of a server.
const LONGEST_CLOSE: usize = 2 + 125;

impl Watch for Watched {
    fn note(&mut self, hub: &Context, now: u64, note: Note<'_>) {
        let _test = owner::test();
        self.shadow.now = now;
        match note {
            Note::Opened(id) => {
                assert_ne!(self.gone.get(&id.index()), Some(&id), "an id was given twice");
                let reused = self.gone.contains_key(&id.index());
                self.shadow.cover.add("slots reused", u64::from(reused));
                self.shadow.take_in(id);
                self.shadow.tally.accepted += 1;
                let surplus = self.shadow.conn(id).surplus;
                self.shadow.cover.add("surplus", u64::from(surplus));
            }
            Note::Arrived(id, length) => self.shadow.conn_mut(id).sent += length as u64,
            Note::Lost(id) => {
                let conn = self.shadow.conn_mut(id);
                conn.sent = conn.received;
            }
            Note::Receiving(id, length) => {
                self.sync(hub);
                self.during = During::Events;
                self.shadow.tally.bytes_in += length as u64;
                let conn = self.shadow.conn_mut(id);
                conn.heard = now;
                conn.note_life(now, true);
                conn.fresh = true;
                conn.received += length as u64;
                for item in &mut conn.inbound {
                    if item.start < conn.received {
                        item.begun.get_or_insert(now);
                    }
                }
            }
            Note::Received(_) => {
                self.sync(hub);
                if self.ticking {
                    // The connection was read because its deadline has passed.
                    self.during = During::Tick;
                }
            }
            Note::Ending(id) => {
                self.sync(hub);
                let conn = self.shadow.conn_mut(id);
                conn.eof = true;
                let flush = !conn.expected.is_empty() && !conn.blocked;
                match conn.state.clone() {
                    State::Open if flush => self.shadow.start_closing(id, CloseReason::Eof),
                    State::Draining(reason, _) => self.shadow.end(id, reason),
                    State::Closing(..) => {}
                    // A refusal that was held back is given at once.
                    State::Held(_) => conn.state = State::Refused,
                    State::Head | State::Refused => {}
                    _ => self.shadow.end(id, CloseReason::Eof),
                }
            }
            Note::Failing(id, kind) => {
                let conn = self.shadow.conn_mut(id);
                conn.eof = true;
                match conn.state.clone() {
                    State::Closing(reason, _) | State::Draining(reason, _) => {
                        self.shadow.end(id, reason)
                    }
                    State::Head | State::Held(_) | State::Refused => {}
                    _ => self.shadow.end(id, CloseReason::Io(kind)),
                }
            }
            Note::Writing(id, bytes) => {
                self.shadow.tally.bytes_out += bytes.len() as u64;
                let conn = self.shadow.conn_mut(id);
                if conn.told {
                    assert!(
                        bytes.len() <= conn.expected.len(),
                        "{id:?}: more than expected: {conn:?}"
                    );
                    let due: Vec<u8> = conn.expected.drain(..bytes.len()).collect();
                    assert!(due == bytes, "{id:?}: {bytes:?} instead of {due:?}");
                }
            }
            Note::Wrote(id, sent) => {
                if self.shadow.conn(id).told {
                    self.flushed(id, sent);
                }
            }
            Note::Blocked(id) => {
                let most = self.shadow.config.max_queue;
                let conn = self.shadow.conn_mut(id);
                conn.blocked = true;
                if conn.state == State::Open && conn.expected.len() > most {
                    self.shadow.end(id, CloseReason::SlowReader);
                }
            }
            Note::Writable(id) => {
                let conn = self.shadow.conn_mut(id);
                conn.was_blocked |= std::mem::take(&mut conn.blocked);
            }
            Note::Postponed(id) => {
                let now = self.shadow.now;
                self.shadow.conn_mut(id).looked_at_again = now + 100 + TICK;
            }
            Note::Ticking => {
                self.during = During::Tick;
                self.ticking = true;
                // A connection whose input may wait in the hub is neither silent nor late.
                let idle = self.shadow.config.idle_timeout.as_millis() as u64;
                for conn in self.shadow.conns.values_mut().filter(|conn| conn.fresh) {
                    if now >= conn.alive + idle {
                        conn.maybe_heard = now;
                    }
                    conn.note_life(now, false);
                    conn.held_at = now;
                }
                self.note_held();
                self.time_ends();
            }
            Note::Ticked => {
                self.sync(hub);
                self.check_timers();
                self.refuse_held(hub);
                self.during = During::Events;
                self.ticking = false;
                let open = |id: &ConnId| hub.is_open(*id);
                assert!(!self.shadow.drained.iter().any(open), "on_drain was not called");
            }
            Note::Flushing => {
                self.sync(hub);
                self.most_waiting = self.most_waiting.max(hub.waiting_for_writes());
            }
            Note::EndingTurn => {
                self.sync(hub);
                self.during = During::EndTurn;
                self.over = hub.buffered() > self.shadow.config.max_buffered;
            }
            Note::EndedTurn => {
                self.sync(hub);
                let most = self.shadow.config.max_buffered;
                // What waits for writes is bounded by itself, and ends nobody.
                let waiting = hub.waiting_for_writes();
                let held = hub.buffered() - waiting;
                // What is left of a fan-out for connections that read again is written next, and
                // nobody can be ended for it. It was within the bound before, but the smallest
                // piece of memory for it is one chunk.
                let can_end = hub.waiting_for_peers() > 0 || hub.buffered_input() > 0;
                let more = if can_end { waiting.min(most / 2) } else { 0 };
                let most = if can_end { most } else { most.max(CHUNK) };
                // Close frames that were queued at the end of this turn are looked at in the next.
                let closes = |it: &&Conn| matches!(it.state, State::Closing(_, at) if at == now);
                let closing = self.shadow.conns.values().filter(closes).count();
                let most = most + LONGEST_CLOSE * closing;
                assert!(held + more <= most, "{held} and {waiting} bytes");
            }
            Note::Reaped(id) => self.reaped(id),
            Note::ShuttingDown => self.shadow.shut_down(),
            Note::TurnDone => {
                self.over = false;
                self.during = During::Events;
                self.check_ends();
                self.check_plain(hub);
                self.check_shutdown(hub);
                self.check_gone();
                self.check_agreement(hub);
                self.check_memory(hub);
            }
        }
    }
}

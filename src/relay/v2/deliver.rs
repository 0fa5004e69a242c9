//! The loop that writes the messages of a mailbox to a device, from its next number on, as long as
//! its window is open. Nothing else writes them: both replay and live delivery are this loop.

use crate::hub::{ConnId, Context};
use crate::mailbox::{Key, MAX_DEVICES, Next};

use super::frames;
use super::{TIMER_WAITING, V2, second, told};

impl V2 {
    /// Writes messages and gaps of its mailbox to a link, as far as the window and the queue allow.
    pub(super) fn deliver(&mut self, cx: &mut Context, key: u32) {
        let now = second(cx);
        // Senders wait when a connection has more than half of a queue to write, so a replay stays
        // below that.
        let most_queued = cx.config().max_queue / 4;
        loop {
            let Some(link) = self.links.get(key) else { return };
            let (Some(mailbox), Some(conn)) = (link.mailbox(), link.open_conn()) else { return };
            let next = match link.next <= self.boxes.top(mailbox) {
                true => self.boxes.next(mailbox, usize::from(link.slot), link.next),
                false => None,
            };
            let Some(next) = next else {
                return self.say_live(cx, key, mailbox);
            };
            if cx.queued(conn) > most_queued {
                return self.wait(cx, key);
            }
            // A gap waits for the window, too. More messages may be lost until then, and one frame
            // reports all of them.
            if !link.has_window() || link.is_stalled(now) {
                self.counters.full_windows += 1;
                return;
            }
            match next {
                Next::Message(held) if held.is_stub() => {
                    let from = held.seq;
                    return self.load_next(cx, mailbox, from);
                }
                Next::Message(held) => {
                    self.scratch.clear();
                    frames::write_prefix(held, &mut self.scratch);
                    let (seq, size) = (held.seq, self.scratch.len() + held.text().len());
                    if !cx.send_with_prefix(conn, &self.scratch, held.text()) {
                        return self.wait_if_open(cx, key, conn);
                    }
                    self.counters.delivered += 1;
                    self.links.note_written(key, seq, size, now);
                    if seq == self.boxes.top(mailbox) {
                        // Nothing follows, which need not be looked for.
                        return self.say_live(cx, key, mailbox);
                    }
                }
                Next::Gap(lost) => {
                    self.scratch.clear();
                    frames::write_lost(&lost, &mut self.scratch);
                    if !cx.send(conn, &self.scratch) {
                        return self.wait_if_open(cx, key, conn);
                    }
                    told::gap(cx, conn, Some(lost.from), lost.to, lost.reason.name());
                    self.counters.count_gap(lost.reason);
                    if let Some(link) = self.links.get_mut(key) {
                        link.next = lost.to + 1;
                    }
                }
            }
        }
    }

    /// Sends `live`, once, when the device has all messages.
    fn say_live(&mut self, cx: &mut Context, key: u32, mailbox: Key) {
        let Some(link) = self.links.get_mut(key) else { return };
        let Some(conn) = link.conn.filter(|_| !link.is_live) else { return };
        let top = self.boxes.settled_top(mailbox);
        if !self.say(cx, key, |out| frames::write_live(top, out)) {
            return self.wait_if_open(cx, key, conn);
        }
        if let Some(link) = self.links.get_mut(key) {
            link.is_live = true;
        }
        told::live(cx, conn, top);
    }

    fn wait_if_open(&mut self, cx: &mut Context, key: u32, conn: ConnId) {
        if cx.is_open(conn) {
            self.wait(cx, key);
        }
    }

    /// Notes that a link has to wait until its long queue is written. If its socket has blocked,
    /// `on_drain` continues the delivery; otherwise the timer does at the next tick.
    fn wait(&mut self, cx: &mut Context, key: u32) {
        if self.waiting.is_empty() {
            cx.set_timer(TIMER_WAITING, cx.now());
        }
        if !self.waiting.contains(&key) {
            self.waiting.push(key);
        }
    }

    /// Continues the delivery to the links that waited for their queues.
    pub(super) fn deliver_waiting(&mut self, cx: &mut Context) {
        for key in std::mem::take(&mut self.waiting) {
            self.deliver(cx, key);
        }
    }

    /// Continues the delivery to a link whose queue has been written.
    pub(crate) fn drained(&mut self, cx: &mut Context, key: u32) {
        self.deliver(cx, key);
    }

    /// Writes the newest message of a mailbox to a link, which nearly always has all others. It does
    /// what [`V2::deliver`] does, without what other cases need.
    #[inline]
    pub(super) fn deliver_newest(&mut self, cx: &mut Context, key: u32, mailbox: Key, now: u32) {
        if let Some(link) = self.links.get(key)
            && link.is_live
            && link.mailbox() == Some(mailbox)
            && let Some(conn) = link.open_conn()
            && link.has_window()
            && !link.is_stalled(now)
            && let Some(held) = self.boxes.newest(mailbox, usize::from(link.slot), link.next)
            && cx.has_short_queue(conn)
        {
            let mut number = itoa::Buffer::new();
            let (seq, number) = (held.seq, number.format(held.seq));
            let pieces =
                [frames::start_of(held.marks.has(frames::RECEIPT)), number, ",", held.text()];
            let size = pieces.iter().map(|piece| piece.len()).sum();
            // Several mailboxes share the body of a message to a group.
            if !cx.send_pieces(conn, !held.is_last(), &pieces) {
                return self.wait_if_open(cx, key, conn);
            }
            self.counters.delivered += 1;
            self.links.note_written(key, seq, size, now);
            return;
        }
        self.deliver(cx, key);
    }

    /// Writes to all connected devices of a mailbox what they have yet to get.
    pub(super) fn deliver_to_all(&mut self, cx: &mut Context, mailbox: Key) {
        let (keys, count) = self.connections(mailbox);
        for key in &keys[..count] {
            self.deliver(cx, *key);
        }
    }

    /// The links of the connected devices of a mailbox, and how many there are.
    #[inline]
    pub(super) fn connections(&self, mailbox: Key) -> ([u32; MAX_DEVICES], usize) {
        let mut keys = [0; MAX_DEVICES];
        let mut count = 0;
        for key in self.boxes.connections(mailbox) {
            keys[count] = key;
            count += 1;
        }
        (keys, count)
    }
}

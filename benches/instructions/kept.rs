//! The hot paths of the dialect v2: messages that are taken, delivered and acknowledged, and clients
//! that come back.

use mio::Token;

use super::paths::{CLIENTS, READY, RECEIVERS, measure, unpaced};
use crate::support::{Input, frames};

/// How many messages wait for a client that comes back.
const WAITING: u32 = 3;
/// How many clients come back, one after another. What they left is done before the next round.
const AWAY: u32 = 100;

/// How many messages the members of a group acknowledge at once, as our own client does.
const ACK_AFTER: u32 = 16;

/// The most messages of [`one_to_one`]. The frames of so many are made in a short run and in a long
/// one, so making them, which is the work of clients, is not counted.
pub const MOST: u32 = 33_600;

/// A message from one user to another: the server takes it, answers the sender, delivers it, and is
/// told by the receiver. Sixteen messages are in flight.
pub fn one_to_one(operations: u32) {
    // Each user gets the messages of one other user, so their numbers are known.
    let parties = |cid: u32| (cid % CLIENTS, (cid + 1) % CLIENTS, cid / CLIENTS + 1);
    let frames: Vec<[Input; 2]> = (0..MOST)
        .map(|cid| {
            let (_, to, seq) = parties(cid);
            [
                Input::Bytes(frames::leak(|buffer| frames::put_send(cid, to, buffer))),
                Input::Bytes(frames::leak(|buffer| frames::put_ack(seq, buffer))),
            ]
        })
        .collect();
    let mut world = unpaced(CLIENTS);
    let clients: Vec<Token> = (0..CLIENTS).map(|user| world.connect_v2(user)).collect();
    let written = measure(&mut world, |world| {
        for first in (0..operations).step_by(READY) {
            let numbers = first..operations.min(first + READY as u32);
            for cid in numbers.clone() {
                let [send, _] = frames[cid as usize];
                world.read(clients[parties(cid).0 as usize], send);
            }
            world.turn();
            for cid in numbers {
                let [_, ack] = frames[cid as usize];
                world.read(clients[parties(cid).1 as usize], ack);
            }
            world.turn();
        }
    });
    let counters = world.driver.parts().1.mailbox_counters();
    let all = u64::from(operations);
    assert_eq!((counters.kept, counters.delivered, counters.acknowledged), (all, all, all));
    assert_eq!(world.driver.parts().1.mailbox_gauges().waiting, 0);
    // A client that gets a message and an answer in one turn is written both at once.
    assert!(written.writes <= 2 * all);
}

/// A message to a group whose members are all connected; an operation is one delivery. A member
/// acknowledges every sixteenth message.
pub fn fan_out(operations: u32) {
    let mut world = unpaced(RECEIVERS);
    let clients: Vec<Token> = (0..RECEIVERS).map(|user| world.connect_v2(user)).collect();
    let join = frames::texts([r#"{"type":"join","group":"room"}"#]);
    for client in &clients {
        world.read(*client, Input::Bytes(join));
        world.turn();
    }
    // The member that sends a message does not get it.
    let receivers = RECEIVERS - 1;
    let messages = operations / receivers;
    let written = measure(&mut world, |world| {
        for cid in 0..messages {
            world.read(clients[0], Input::SendToGroup { cid });
            world.settle();
            let seq = cid + 1;
            if seq % ACK_AFTER == 0 {
                for ready in clients[1..].chunks(READY) {
                    for client in ready {
                        world.read(*client, Input::Ack(seq));
                    }
                    world.turn();
                }
            }
        }
        world.settle();
    });
    let counters = world.driver.parts().1.mailbox_counters();
    let deliveries = u64::from(messages * receivers);
    assert_eq!((counters.kept, counters.delivered), (deliveries, deliveries));
    assert_eq!(counters.acknowledged, deliveries / u64::from(ACK_AFTER));
    assert_eq!(written.writes, deliveries + u64::from(messages), "a delivery to each, and answers");
}

/// A client with three messages waiting comes back: it connects, is welcomed, gets its messages and
/// `live`, acknowledges, and closes. The operation includes the three sends of a client that stays. That
/// client remembers 1,024 sends at most, and has sent more of them in the short run already.
pub fn come_back(operations: u32) {
    let mut world = unpaced(AWAY + 1);
    let sender = world.connect_v2(AWAY);
    let close = frames::close();
    for user in 0..AWAY {
        let token = world.connect_v2(user);
        world.read(token, Input::Bytes(close));
        world.settle();
    }
    let before = world.driver.hub().stats().closed;
    measure(&mut world, |world| {
        for operation in 0..operations {
            let user = operation % AWAY;
            for waiting in 0..WAITING {
                world.read(sender, Input::Send { cid: operation * WAITING + waiting, to: user });
            }
            world.turn();
            let token = world.connect_v2(user);
            // A user has been sent three messages in each round.
            world.read(token, Input::Ack((operation / AWAY + 1) * WAITING));
            world.turn();
            world.read(token, Input::Bytes(close));
            world.turn();
        }
        world.settle();
    });
    let (counters, gauges) = {
        let relay = world.driver.parts().1;
        (relay.mailbox_counters(), relay.mailbox_gauges())
    };
    let all = u64::from(operations);
    let messages = all * u64::from(WAITING);
    assert_eq!((counters.kept, counters.delivered), (messages, messages));
    assert_eq!((counters.acknowledged, gauges.waiting), (all, 0));
    assert_eq!(world.driver.hub().stats().closed - before, all);
}

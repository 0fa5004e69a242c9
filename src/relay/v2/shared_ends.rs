//! What becomes of sends that a shared journal has completed: their answers, and what is delivered on this node
//! alone because it is not kept. The file `reported.rs` tells those who watch events.

use compact_str::CompactString;

use crate::engine::{Post, Request};
use crate::hub::Context;
use crate::journal::{self, Kept};
use crate::mailbox::Key;
use crate::relay::{Relay, SCRATCH, v1};

use super::frames::{self, Answer, Code, State, To};
use super::shared::{Sending, Whom, state_of};
use super::take::{AFTER, Sender};
use super::taken::{Asked, Origin};
use super::{NO_TICKET, second};

impl Relay {
    /// Answers a send that the journal has carried out. Returns the best of its states.
    pub(super) fn finish_sending(
        &mut self,
        cx: &mut Context,
        sending: Sending,
        kept: &Kept,
    ) -> State {
        let mut fates = kept.fates.iter().map(|fate| state_of(*fate, kept.is_stored));
        if sending.kind == journal::Kind::Receipt {
            return fates.next().unwrap_or(State::Queued);
        }
        match &sending.to {
            Whom::Users(users) => {
                let mut results = Vec::with_capacity(users.len());
                for (user, is_known) in users {
                    let fate = if *is_known { fates.next() } else { Some(State::Offline) };
                    results.push((user.clone(), fate.unwrap_or(State::Queued)));
                }
                drop(fates);
                self.answer_users(cx, &sending, &results)
            }
            Whom::All => self.send_to_all(cx, &sending),
            Whom::Group(..) => {
                let Some((users, _)) = kept.members else {
                    return self.pass_to_large_group(cx, &sending);
                };
                let best = fates.min().unwrap_or(State::Offline);
                let state = if users > 0 { best.min(State::Sent) } else { State::Offline };
                self.finish_group_send(cx, &sending);
                self.answer_sending(cx, &sending, Answer::Receivers(state, users));
                state
            }
        }
    }

    fn answer_users(
        &mut self,
        cx: &mut Context,
        sending: &Sending,
        results: &[(CompactString, State)],
    ) -> State {
        let best = results.iter().map(|(_, state)| *state).min().unwrap_or(State::Offline);
        let offline = results.iter().filter(|(_, state)| *state == State::Offline);
        self.counters.offline += offline.count() as u64;
        self.tell_of_send(cx, sending, results);
        let is_many = matches!(&sending.origin, Origin::Link(asked) if asked.is_many);
        let answer = match is_many {
            true => Answer::Results(best, results),
            false => Answer::State(best),
        };
        self.answer_sending(cx, sending, answer);
        best
    }

    /// Sends the answer to a send, unless its connection has gone.
    fn answer_sending(&mut self, cx: &mut Context, sending: &Sending, answer: Answer<'_>) {
        let Origin::Link(Asked { link, conn, cid, .. }) = &sending.origin else { return };
        let is_there = self.v2.links.get(*link).is_some_and(|link| link.conn == Some(*conn));
        // A volatile message may have no `cid`, and then it has no answer.
        if is_there && !cid.is_empty() {
            self.v2.answer_send(cx, *link, (cid, sending.id), answer);
        }
    }

    /// Ends a send that the journal could not carry out. What is not kept goes to the connections of this
    /// node; anything else is refused, and has to come again. `told` has the links whose clients got that
    /// error for an earlier send.
    pub(super) fn fail_sending(
        &mut self,
        cx: &mut Context,
        sending: Sending,
        told: &mut Vec<u32>,
    ) -> Option<State> {
        let is_of_page = matches!(sending.origin, Origin::Nobody(Some(_)));
        if sending.kind == journal::Kind::Receipt {
            // The receipt waits until the journal keeps messages again.
            if let Whom::Users(users) = &sending.to {
                for (user, _) in users {
                    let of = (&*sending.from, &*sending.device);
                    self.v2.wait_with_receipt(user, of, &sending.message);
                }
            }
            return None;
        }
        if sending.is_passing || is_of_page {
            return Some(self.deliver_here(cx, sending));
        }
        self.v2.counters.unavailable += 1;
        let Origin::Link(Asked { link, conn, cid, .. }) = sending.origin else { return None };
        let found = self.v2.links.get_mut(link);
        let found = found.filter(|link| link.conn == Some(conn))?;
        let why = match told.contains(&link) {
            true => (Code::After, AFTER),
            false => {
                // This send came before all that were refused at once, so it has to come again first.
                found.make_more().refused = Some(cid.clone());
                told.push(link);
                (Code::Unavailable, "messages cannot be kept just now")
            }
        };
        self.v2.refuse(cx, link, why, true, Some(&cid));
        None
    }

    /// Delivers a message that is not kept to the connections of this node, because the others cannot be
    /// reached, and answers it.
    pub(super) fn deliver_here(&mut self, cx: &mut Context, sending: Sending) -> State {
        let Sending { from, device, id, message, .. } = &sending;
        let ts = (*id >> 80) as u64;
        let has_own = matches!(sending.origin, Origin::Link(_));
        match &sending.to {
            Whom::Users(users) => {
                let mut results = Vec::with_capacity(users.len());
                for (user, _) in users {
                    let v2 = &mut self.v2;
                    v2.rest.clear();
                    frames::write_rest(*id, from, To::User(user), message, ts, &mut v2.rest);
                    let frame = [frames::VOLATILE, frames::v1_part(&v2.rest), "}"];
                    let pages = cx.send_parts_to_user(user, &frame);
                    let devices = pages + v2.pass_to_links(cx, user, None);
                    if has_own && *user != *from {
                        frames::mark_own(&mut v2.rest);
                        v2.pass_to_other_devices(cx, from, device);
                    }
                    self.counters.delivered += u64::from(devices > 0);
                    let state = if devices > 0 { State::Sent } else { State::Offline };
                    results.push((user.clone(), state));
                }
                self.v2.rest.shrink_to(SCRATCH);
                self.answer_users(cx, &sending, &results)
            }
            Whom::Group(..) => self.pass_to_large_group(cx, &sending),
            Whom::All => self.send_to_all(cx, &sending),
        }
    }

    /// Sends a message to everyone, which was not sent before.
    fn send_to_all(&mut self, cx: &mut Context, sending: &Sending) -> State {
        let Sending { from, device, id, message, origin, .. } = sending;
        let Origin::Link(Asked { link, conn, .. }) = origin else { return State::Offline };
        let sender = Sender {
            link: *link,
            conn: *conn,
            user: from.clone(),
            device: device.clone(),
            mailbox: self.v2.boxes.find(from).unwrap_or(Key::NONE),
            slot: 0,
        };
        let at = (*id, (*id >> 80) as u64);
        let receivers = self.pass_to_all(cx, &sender, at, message, sending.is_named());
        let state = if receivers > 0 { State::Sent } else { State::Offline };
        self.answer_sending(cx, sending, Answer::Receivers(state, receivers));
        state
    }

    /// Sends a message to a group to the connections of this node, and posts it to the other nodes,
    /// because it is not kept.
    fn pass_to_large_group(&mut self, cx: &mut Context, sending: &Sending) -> State {
        let Sending { from, device, id, message, to, origin, .. } = sending;
        let Whom::Group(group, except) = to else { return State::Offline };
        if let Origin::Backend { .. } = origin {
            // The backend reaches the members by itself.
            return State::Offline;
        }
        let except: Vec<&str> = except.iter().map(CompactString::as_str).collect();
        let own = matches!(origin, Origin::Link(_)).then_some(device.as_str());
        self.scratch.clear();
        v1::write_broadcast(&mut self.scratch, from, Some(group), message);
        self.counters.broadcasts += 1;
        cx.send_to_group_except(group, &self.scratch, &except);
        if let Origin::Link(Asked { conn, .. }) | Origin::Nobody(Some(conn)) = origin {
            cx.charge_broadcast(*conn);
            if sending.is_named() {
                // The journal has done nothing, so it has told nobody.
                self.tell_of_group(cx, (from, device));
            }
        }
        let receivers = self.pass_to_members_here(cx, (from, *id), group, message, own, &except);
        if let Some(engine) = &mut self.engine {
            let post = Post {
                from,
                device,
                group,
                id: *id,
                frame: "",
                message,
                except: &except,
                has_own: own.is_some(),
            };
            engine.ask(NO_TICKET, Request::Post(post));
        }
        self.scratch.shrink_to(SCRATCH);
        let state = if receivers > 0 { State::Sent } else { State::Offline };
        if let Origin::Link(asked) = origin
            && let Some(mailbox) = self.v2.boxes.find(from)
            && !asked.cid.is_empty()
            && !sending.is_passing
        {
            let name = self.v2.boxes.name_of(&asked.device, &asked.cid);
            let sent = (*id, state as u8);
            self.v2.boxes.keep_cid(mailbox, name, asked.content, sent, second(cx));
            self.v2.arm(cx);
        }
        self.answer_sending(cx, sending, Answer::Receivers(state, receivers));
        state
    }

    /// Sends a message that is not kept to the v2 connections of the members of a group who are here, and to those of the
    /// sender, except the device `own`, if there is one. Returns how many users get it, without the sender.
    fn pass_to_members_here(
        &mut self,
        cx: &mut Context,
        (from, id): (&str, u128),
        group: &str,
        message: &str,
        own: Option<&str>,
        except: &[&str],
    ) -> u64 {
        let mut receivers = self.guests_of(cx, group, from);
        let v2 = &mut self.v2;
        v2.rest.clear();
        let ts = (id >> 80) as u64;
        frames::write_rest(id, from, To::Group(group), message, ts, &mut v2.rest);
        let is_meant = |user: &&CompactString| *user != from && !except.contains(&user.as_str());
        for user in self.groups.members.of(group).filter(is_meant) {
            v2.pass_to_links(cx, user, None);
            receivers += u64::from(cx.is_online(user));
        }
        if let Some(device) = own {
            frames::mark_own(&mut v2.rest);
            v2.pass_to_other_devices(cx, from, device);
        }
        v2.rest.shrink_to(SCRATCH);
        receivers
    }

    /// Posts a message for everyone to the other nodes. Returns how many users are online there.
    pub(super) fn post_to_all(&mut self, sender: &Sender, id: u128, message: &str) -> u64 {
        let Some(engine) = &mut self.engine else { return 0 };
        let (from, device, has_own) = (&*sender.user, &*sender.device, true);
        let post = Post { from, device, group: "", id, frame: "", message, except: &[], has_own };
        engine.ask(NO_TICKET, Request::Post(post));
        engine.online_elsewhere()
    }
}

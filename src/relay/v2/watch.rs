//! Answers the questions of clients about presence, and reports changes of it to watchers.

use std::borrow::Cow;
use std::collections::HashMap;

use compact_str::CompactString;
use foldhash::quality::RandomState;

use crate::engine::{Refused, Request};
use crate::hub::{ConnId, Context};
use crate::journal::Ticket;
use crate::relay::Relay;

use super::frames::{self, Code};
use super::presence::MOST_WATCHED;
use super::{NO_TICKET, TIMER_PRESENCE, V2, kept};

impl Relay {
    /// Handles a `presence` frame of a client.
    pub(super) fn take_presence(
        &mut self,
        cx: &mut Context,
        key: u32,
        users: &[Cow<'_, str>],
        watch: Option<bool>,
    ) {
        if !self.config.presence {
            let why = (Code::Forbidden, "presence is switched off");
            return self.v2.refuse(cx, key, why, false, None);
        }
        if watch == Some(true) && !self.v2.watch_all(cx, key, users) {
            let why = (Code::Full, "a connection watches 100 users at most");
            return self.v2.refuse(cx, key, why, false, None);
        }
        if watch == Some(false) {
            self.v2.unwatch(key, users);
        }
        if self.engine.is_some() {
            return self.ask_presence(cx, key, users);
        }
        self.v2.tell_presence(cx, key, users);
    }

    /// Tells the other nodes whom this one watches from now on, and whom it does not watch any more.
    #[cold]
    pub(in crate::relay) fn send_watches(&mut self) {
        for (user, on) in self.v2.presence.take_changes() {
            self.ask_engine(NO_TICKET, Request::Watch { user: &user, on });
        }
    }

    /// Asks the other nodes which users are online, on behalf of a client.
    fn ask_presence(&mut self, cx: &mut Context, key: u32, users: &[Cow<'_, str>]) {
        self.send_watches();
        let Some(conn) = self.v2.links.get(key).and_then(|link| link.conn) else { return };
        let questions = &mut self.v2.questions;
        let of_client = questions.waiting.values().filter(|it| it.link == key).count();
        if questions.waiting.len() >= MOST_QUESTIONS || of_client >= MOST_OF_CLIENT {
            let why = (Code::Rate, "too many questions wait for an answer");
            return self.v2.refuse(cx, key, why, true, None);
        }
        questions.last = (questions.last + 1) % TICKETS;
        let ticket = questions.last;
        let names: Vec<CompactString> = users.iter().map(|user| kept(user)).collect();
        questions.waiting.insert(ticket, Question { link: key, conn, users: names });
        let users: Vec<&str> = users.iter().map(|user| &**user).collect();
        self.ask_engine(ticket, Request::AreOnline { users: &users, now: false });
    }

    /// Handles the answer of the other nodes to a question about presence. If they cannot be reached, the client
    /// is told who is online on this node.
    pub(in crate::relay) fn answer_presence(
        &mut self,
        cx: &mut Context,
        ticket: Ticket,
        result: Result<Vec<bool>, Refused>,
    ) {
        let Some(Question { link, conn, users }) = self.v2.questions.waiting.remove(&ticket) else {
            return;
        };
        if self.v2.links.get(link).is_none_or(|it| it.conn != Some(conn)) {
            return;
        }
        let now = millis(cx);
        let mut states = Vec::with_capacity(users.len());
        for (at, user) in users.iter().enumerate() {
            let answered = result.as_ref().ok().and_then(|states| states.get(at).copied());
            // What was heard of a watched user is as new as the answer, or newer.
            let known = self.v2.presence.known(user).or(answered);
            let is_online = known.unwrap_or_else(|| cx.is_online(user));
            self.v2.presence.answered(user, is_online, now);
            states.push((user.as_str(), is_online));
        }
        self.v2.tell(cx, link, |out| frames::write_presence(states.into_iter(), out));
        self.v2.arm_presence(cx);
    }

    /// Handles that the presence of a watched user has changed on whichever node.
    pub(in crate::relay) fn hear_of_presence(
        &mut self,
        cx: &mut Context,
        user: &str,
        is_online: bool,
    ) {
        self.v2.presence.heard(user, is_online, millis(cx));
        self.v2.arm_presence(cx);
    }
}

/// The most questions about presence that wait for the other nodes.
const MOST_QUESTIONS: usize = 16_384;
/// The most of them of one client.
const MOST_OF_CLIENT: usize = 64;
/// How many tickets there are.
const TICKETS: Ticket = 1 << 30;

/// The questions about presence that wait for the other nodes.
#[derive(Debug, Default)]
pub(super) struct Questions {
    waiting: HashMap<Ticket, Question, RandomState>,
    last: Ticket,
}

/// A question of a client.
#[derive(Debug)]
struct Question {
    link: u32,
    conn: ConnId,
    users: Vec<CompactString>,
}

impl V2 {
    /// Users may be on other nodes, which have to be asked.
    pub(in crate::relay) fn share_presence(&mut self) {
        self.presence.is_shared = true;
    }

    fn is_present(&mut self, cx: &Context, user: &str) -> bool {
        if self.presence.is_shared {
            return self.presence.known(user).unwrap_or_else(|| cx.is_online(user));
        }
        cx.is_online(user) || self.presence.has_just_left(user, millis(cx))
    }

    fn tell_presence(&mut self, cx: &mut Context, key: u32, users: &[Cow<'_, str>]) {
        let states: Vec<bool> = users.iter().map(|user| self.is_present(cx, user)).collect();
        let states = users.iter().map(|user| &**user).zip(states);
        self.tell(cx, key, |out| frames::write_presence(states, out));
    }

    /// Makes a link watch all of these users. Returns false if there is no room for one of them.
    fn watch_all(&mut self, cx: &Context, key: u32, users: &[Cow<'_, str>]) -> bool {
        let Some(link) = self.links.get_mut(key) else { return false };
        let known = &link.make_more().watched;
        let new: Vec<CompactString> = users
            .iter()
            .filter(|user| !known.iter().any(|it| it == &***user))
            .map(|it| kept(it))
            .collect();
        if known.len() + new.len() > MOST_WATCHED {
            return false;
        }
        for user in new {
            let online = self.is_present(cx, &user);
            if !self.presence.watch(&user, key, online, millis(cx)) {
                return false;
            }
            if let Some(link) = self.links.get_mut(key) {
                link.make_more().watched.push(user);
            }
        }
        true
    }

    fn unwatch(&mut self, key: u32, users: &[Cow<'_, str>]) {
        let Some(more) = self.links.get_mut(key).and_then(|link| link.more_mut()) else {
            return;
        };
        for user in users {
            if let Some(at) = more.watched.iter().position(|known| known == &**user) {
                more.watched.swap_remove(at);
                self.presence.unwatch(user, key);
            }
        }
    }

    /// Makes a link that has ended watch nobody.
    pub(super) fn unwatch_all(&mut self, key: u32) {
        let Some(more) = self.links.get_mut(key).and_then(|link| link.more_mut()) else {
            return;
        };
        for user in std::mem::take(&mut more.watched) {
            self.presence.unwatch(&user, key);
        }
    }

    /// Notes that a connection of a user, in any dialect, has opened.
    pub(crate) fn note_came(&mut self, cx: &mut Context, conn: ConnId) {
        if self.presence.is_shared {
            return;
        }
        if let Some(user) = cx.user(conn).filter(|user| !user.is_empty()) {
            self.presence.came(user, millis(cx));
        }
        self.arm_presence(cx);
    }

    /// Notes that a connection of a user, in any dialect, has ended.
    pub(crate) fn note_went(&mut self, cx: &mut Context, conn: ConnId) {
        if self.presence.is_shared {
            return;
        }
        if let Some(user) = cx.user(conn).filter(|user| !user.is_empty())
            && !cx.is_online(user)
        {
            self.presence.left(user, millis(cx));
        }
        self.arm_presence(cx);
    }

    fn arm_presence(&mut self, cx: &mut Context) {
        match self.presence.next_due() {
            Some(at) => drop(cx.set_timer(TIMER_PRESENCE, cx.at_millis(at))),
            None => cx.clear_timer(TIMER_PRESENCE),
        }
    }

    /// Reports the changes that are due to the watchers.
    pub(super) fn tell_watchers(&mut self, cx: &mut Context) {
        let now = millis(cx);
        while let Some(change) = self.presence.pop_due(now, |user| cx.is_online(user)) {
            for key in change.links {
                let Some(link) = self.links.get_mut(key) else { continue };
                if link.is_hidden {
                    link.make_more().missed_presence = true;
                } else {
                    let state = [(&*change.user, change.online)];
                    self.tell(cx, key, |out| frames::write_presence(state.into_iter(), out));
                }
            }
        }
        self.arm_presence(cx);
    }

    /// Sends an app that is shown again the presence of its watched users, if it has changed
    /// meanwhile.
    pub(super) fn catch_up_presence(&mut self, cx: &mut Context, key: u32) {
        let Some(more) = self.links.get_mut(key).and_then(|link| link.more_mut()) else {
            return;
        };
        if std::mem::take(&mut more.missed_presence) && !more.watched.is_empty() {
            let users: Vec<Cow<'_, str>> =
                more.watched.iter().map(|user| Cow::Owned(user.to_string())).collect();
            self.tell_presence(cx, key, &users);
        }
    }
}

fn millis(cx: &Context) -> u64 {
    cx.millis()
}

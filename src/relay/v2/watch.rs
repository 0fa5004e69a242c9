//! Answers the questions of clients about presence, and reports changes of it to watchers.

use std::borrow::Cow;

use compact_str::CompactString;

use crate::hub::{ConnId, Context};
use crate::relay::Relay;

use super::frames::{self, Code};
use super::presence::MOST_WATCHED;
use super::{TIMER_PRESENCE, V2, kept};

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
        self.v2.tell_presence(cx, key, users);
    }
}

impl V2 {
    fn is_present(&mut self, cx: &Context, user: &str) -> bool {
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
        if let Some(user) = cx.user(conn).filter(|user| !user.is_empty()) {
            self.presence.came(user, millis(cx));
        }
        self.arm_presence(cx);
    }

    /// Notes that a connection of a user, in any dialect, has ended.
    pub(crate) fn note_went(&mut self, cx: &mut Context, conn: ConnId) {
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

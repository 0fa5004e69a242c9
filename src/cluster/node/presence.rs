//! The presence of users: questions, among them how many messages wait, and users whom this node watches.
//!
//! Nothing is asked about a user while nothing changes: the script that changes whether a user is online tells
//! the nodes that watch.

use std::collections::HashMap;

use compact_str::CompactString;
use foldhash::quality::RandomState;
use redis::Value;

use crate::engine::{Refused, Told};
use crate::journal::Ticket;

use super::core::Core;
use super::parts::PartThen;
use super::{Script, reply};

/// The most users of one command.
const AT_ONCE: usize = 100;
/// After so many milliseconds a command that Redis has refused is sent again.
const AGAIN_AFTER_MS: u64 = 1_000;

/// Who is watched, and which questions are open.
#[derive(Debug, Default)]
pub struct Presence {
    watched: HashMap<CompactString, Watch, RandomState>,
    /// The users who are to be watched, or not any more, for whom nothing was sent.
    changed: Vec<CompactString>,
    not_before: u64,
    questions: HashMap<u64, Question, RandomState>,
    last: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Watch {
    is_wanted: bool,
    /// Whether Redis may have noted that this node watches the user.
    is_noted: bool,
    is_changed: bool,
    /// A change was published since Redis was asked, so the answer may be older.
    is_heard: bool,
}

/// What a node asks Redis about a list of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// Whether the users are online. A user is for five seconds after the last connection has ended.
    Online,
    /// Whether the users have a connection now.
    Here,
    /// How many messages wait for each of the users.
    Waiting,
}

impl About {
    /// The word for it in the script.
    fn word(self) -> &'static str {
        match self {
            About::Online => "ask",
            About::Here => "here",
            About::Waiting => "count",
        }
    }

    /// What the loop is told, with a number for each user.
    fn told(self, ticket: Ticket, result: Result<Vec<u64>, Refused>) -> Told {
        match self {
            About::Online | About::Here => {
                let is_online = |numbers: Vec<u64>| numbers.into_iter().map(|it| it == 1).collect();
                Told::Online(ticket, result.map(is_online))
            }
            About::Waiting => Told::Waiting(ticket, result),
        }
    }
}

/// A question about users, until all shards have answered.
#[derive(Debug)]
struct Question {
    ticket: Ticket,
    about: About,
    /// The answer for each user.
    numbers: Vec<u64>,
    /// How many commands are not answered.
    open: usize,
    has_failed: bool,
}

/// What the reply to one of these commands is for.
#[derive(Debug)]
pub enum PresenceThen {
    /// The users with these places in a question.
    Asked { question: u64, places: Vec<usize> },
    /// These users are watched from now on.
    Watched(Vec<CompactString>),
    /// These users are not watched any more.
    Unwatched(Vec<CompactString>),
}

impl Presence {
    /// Asks something about users.
    pub fn ask(&mut self, core: &mut Core, ticket: Ticket, users: &[Box<str>], about: About) {
        let mut parts: Vec<Vec<usize>> = vec![Vec::new(); core.shards.len()];
        for (place, user) in users.iter().enumerate() {
            parts[core.shard_of(user)].push(place);
        }
        let is_away = |(shard, part): (usize, &Vec<usize>)| !part.is_empty() && !core.is_up(shard);
        if parts.iter().enumerate().any(is_away) {
            return core.say(about.told(ticket, Err(Refused::Unavailable)));
        }
        self.last += 1;
        let question = self.last;
        let numbers = vec![0; users.len()];
        let mut open = 0;
        let life = core.life.to_string();
        for (shard, part) in parts.iter().enumerate() {
            for places in part.chunks(AT_ONCE) {
                let mut words: Vec<&str> = vec![&life, about.word()];
                words.extend(places.iter().map(|place| &*users[*place]));
                let then = PresenceThen::Asked { question, places: places.to_vec() };
                core.run_words(shard, Script::Presence, &words, PartThen::Presence(then).into());
                open += 1;
            }
        }
        if open == 0 {
            return core.say(about.told(ticket, Ok(numbers)));
        }
        let has_failed = false;
        self.questions.insert(question, Question { ticket, about, numbers, open, has_failed });
    }

    /// A user is to be watched, or not any more.
    pub fn watch(&mut self, user: &str, on: bool) {
        let user = CompactString::from(user);
        if !on && !self.watched.contains_key(&user) {
            return;
        }
        let watch = self.watched.entry(user.clone()).or_default();
        watch.is_wanted = on;
        if !std::mem::replace(&mut watch.is_changed, true) {
            self.changed.push(user);
        }
    }

    /// Sends which users are watched.
    pub fn pump(&mut self, core: &mut Core) {
        if self.changed.is_empty() || core.now < self.not_before {
            return;
        }
        let mut parts: Vec<[Vec<CompactString>; 2]> = vec![Default::default(); core.shards.len()];
        let mut later = Vec::new();
        for user in std::mem::take(&mut self.changed) {
            let shard = core.shard_of(&user);
            let Some(watch) = self.watched.get_mut(&user) else { continue };
            if !core.is_ready(shard) || core.queued(shard) >= AT_ONCE {
                later.push(user);
                continue;
            }
            watch.is_changed = false;
            match (watch.is_wanted, watch.is_noted) {
                (true, _) => {
                    (watch.is_noted, watch.is_heard) = (true, false);
                    parts[shard][1].push(user);
                }
                (false, true) => parts[shard][0].push(user),
                (false, false) => drop(self.watched.remove(&user)),
            }
        }
        self.changed = later;
        let life = core.life.to_string();
        for (shard, part) in parts.iter().enumerate() {
            for (users, wish) in part.iter().zip(["unwatch", "watch"]) {
                for users in users.chunks(AT_ONCE) {
                    let mut words: Vec<&str> = vec![&life, wish];
                    words.extend(users.iter().map(CompactString::as_str));
                    let then = match wish {
                        "watch" => PresenceThen::Watched(users.to_vec()),
                        _ => PresenceThen::Unwatched(users.to_vec()),
                    };
                    core.run_words(
                        shard,
                        Script::Presence,
                        &words,
                        PartThen::Presence(then).into(),
                    );
                }
            }
        }
    }

    /// When something has to be sent that could not be sent yet.
    pub fn next_due(&self, now: u64) -> Option<u64> {
        (!self.changed.is_empty() && self.not_before > now).then_some(self.not_before)
    }

    /// Redis has answered; `None` if the outcome is unknown, or if Redis has refused it.
    pub fn replied(&mut self, core: &mut Core, then: PresenceThen, value: Option<&Value>) {
        let states = match value {
            Some(Value::Array(states)) => Some(states),
            _ => {
                self.not_before = core.now + AGAIN_AFTER_MS;
                None
            }
        };
        match then {
            PresenceThen::Asked { question, places } => {
                let Some(asked) = self.questions.get_mut(&question) else { return };
                asked.open -= 1;
                match states {
                    Some(states) if states.len() == places.len() => {
                        for (place, state) in places.into_iter().zip(states) {
                            asked.numbers[place] = reply::int(state).unwrap_or(0).max(0) as u64;
                        }
                    }
                    _ => asked.has_failed = true,
                }
                if asked.open == 0
                    && let Some(asked) = self.questions.remove(&question)
                {
                    let result = match asked.has_failed {
                        true => Err(Refused::Unavailable),
                        false => Ok(asked.numbers),
                    };
                    core.say(asked.about.told(asked.ticket, result));
                }
            }
            PresenceThen::Watched(users) => match states {
                Some(states) => {
                    for (user, state) in users.iter().zip(states) {
                        match self.watched.get(user).is_some_and(|watch| watch.is_heard) {
                            true => self.again(user),
                            false => self.tell(core, user, reply::int(state) == Some(1)),
                        }
                    }
                }
                None => users.iter().for_each(|user| self.again(user)),
            },
            PresenceThen::Unwatched(users) => match states {
                Some(_) => users.iter().for_each(|user| self.forget(user)),
                None => users.iter().for_each(|user| self.again(user)),
            },
        }
    }

    fn again(&mut self, user: &CompactString) {
        let Some(watch) = self.watched.get_mut(user) else { return };
        if !std::mem::replace(&mut watch.is_changed, true) {
            self.changed.push(user.clone());
        }
    }

    fn forget(&mut self, user: &CompactString) {
        if self.watched.get(user).is_some_and(|watch| !watch.is_wanted && !watch.is_changed) {
            self.watched.remove(user);
        }
    }

    /// It was published that the presence of a user has changed.
    pub fn changed(&mut self, core: &mut Core, user: &str, is_online: bool) {
        if let Some(watch) = self.watched.get_mut(user) {
            watch.is_heard = true;
        }
        self.tell(core, user, is_online);
    }

    fn tell(&self, core: &mut Core, user: &str, is_online: bool) {
        if self.watched.get(user).is_some_and(|watch| watch.is_wanted) {
            core.say(Told::Presence { user: user.into(), is_online });
        }
    }

    /// Redis may have lost which users this node watches at one shard, or everywhere if none is named,
    /// because a new life has begun.
    pub fn watch_again(&mut self, core: &Core, shard: Option<usize>) {
        for (user, watch) in &mut self.watched {
            if shard.is_some_and(|shard| core.shard_of(user) != shard) {
                continue;
            }
            watch.is_noted = false;
            if !std::mem::replace(&mut watch.is_changed, true) {
                self.changed.push(user.clone());
            }
        }
        self.not_before = core.now;
    }
}

//! Routes: which connections of this node the others know of.
//!
//! A connection enters when it has opened, and leaves when it is gone. A script carries out each of them, and
//! can be repeated: it says how many connections of the user there are on this node, not by how many they
//! have changed. So a command whose outcome is unknown is sent again.

use std::collections::{BTreeSet, HashMap, VecDeque};

use compact_str::CompactString;
use foldhash::quality::RandomState;
use redis::Value;

use crate::engine::{Entered, Told};
use crate::journal::Ticket;

use super::core::Core;
use super::parts::PartThen;
use super::{Reply, Script, Then, reply};

/// A request to enter is completed after so many milliseconds, also if Redis cannot be reached.
const ENTERED_AFTER_MS: u64 = 5_000;
/// A user is offline so many milliseconds after the last connection has ended.
const OFFLINE_AFTER_MS: u64 = 5_000;
/// After so many milliseconds a script that Redis has refused is tried again.
const AGAIN_AFTER_MS: u64 = 1_000;
/// The most commands of this kind that wait at once, and the most users of one command.
const AT_ONCE: usize = 100;
/// About how many users are read at once of those whom Redis takes for connected to this node.
const SCANNED: &[u8] = b"100";
/// The most devices of a user that are connected at once.
const MOST_DEVICES: &str = "5";
/// The most groups of a user.
pub const MOST_GROUPS: &str = "64";

/// The connections of this node, and the users who have just left it.
#[derive(Debug, Default)]
pub struct Routes {
    users: HashMap<CompactString, Vec<Here>, RandomState>,
    connections: u64,
    /// The requests to enter, by their deadlines. A request may have been completed.
    waiting: VecDeque<(u64, CompactString, u64)>,
    shards: Vec<OfShard>,
    /// The users whose last connection has ended, and when somebody has to ask whether they are offline.
    away: BTreeSet<(u64, CompactString)>,
    /// How many commands for connections that leave are not answered.
    open: usize,
}

/// What has to be sent to one Redis.
#[derive(Debug, Default)]
struct OfShard {
    /// Users with a connection that has to enter.
    again: VecDeque<CompactString>,
    /// Nothing of this is sent before this time, because Redis has refused it.
    not_before: u64,
    /// Connections that are gone.
    gone: VecDeque<Box<Gone>>,
    /// Where the list of users whom Redis takes for connected to this node is read on; `None` if it is not read.
    scan: Option<Box<str>>,
}

/// A connection of this node.
#[derive(Debug)]
struct Here {
    conn: u64,
    device: CompactString,
    has_mailbox: bool,
    visits: bool,
    alone: bool,
    /// Since when it may have been open.
    since: u64,
    /// By how many seconds it may be younger, until it has entered.
    doubt: u16,
    /// The groups that its ticket names, until it has entered.
    groups: Vec<Box<str>>,
    /// The request that is completed when it has entered.
    ticket: Option<Ticket>,
    /// Whether it has to enter, for the first time or again.
    has_to_enter: bool,
    /// Whether Redis may know of it in this life, so that it has to leave.
    may_be_known: bool,
}

/// A connection that has opened.
#[derive(Debug)]
#[allow(missing_docs)] // of the fields, which are those of `Enter`
pub struct Entering {
    pub user: Box<str>,
    pub device: Box<str>,
    pub conn: u64,
    pub has_mailbox: bool,
    pub visits: bool,
    pub groups: Vec<Box<str>>,
    pub alone: bool,
}

/// A connection that is gone.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // of the fields, which are those of `Leave`
pub struct Leaving {
    pub user: Box<str>,
    pub device: Box<str>,
    pub conn: u64,
    pub cursor: u64,
    pub hung_at: Option<u64>,
}

/// What is sent for a connection that is gone.
#[derive(Debug)]
pub struct Gone {
    leaving: Leaving,
    /// The life in which it has entered. When this life is over, others find out that it is gone.
    life: u64,
}

/// What the reply to one of these commands is for.
#[derive(Debug)]
pub enum RouteThen {
    /// A connection enters, in this life.
    Enter { user: CompactString, conn: u64, life: u64 },
    /// A connection leaves.
    Leave(Box<Gone>),
    /// These users may be offline now.
    Away(Vec<CompactString>),
    /// A part of the list of users whom Redis takes for connected to this node, in this life.
    Scanned(u64),
}

/// A connection has entered.
#[derive(Debug)]
pub struct Arrival {
    pub user: CompactString,
    /// The request that it completes; `None` if the connection has entered again.
    pub ticket: Option<Ticket>,
    /// All groups of the user.
    pub groups: Vec<Box<str>>,
    /// What the journal reads of the mailbox.
    pub mailbox: Value,
    /// The connections of this node that have lost their places.
    pub displaced: Vec<u64>,
    /// Another connection of the device has its place, and nobody knows which one is newer. The one that enters has to
    /// make way, because nobody waits for an answer on it if its client has given up while this node stood still.
    pub is_refused: bool,
}

impl Routes {
    pub fn new(shards: usize) -> Self {
        Routes { shards: (0..shards).map(|_| OfShard::default()).collect(), ..Routes::default() }
    }

    /// How many connections there are on this node.
    pub fn connections(&self) -> u64 {
        self.connections
    }

    /// How many users are on this node.
    pub fn users(&self) -> u64 {
        self.users.len() as u64
    }

    /// Whether a user has a connection on this node.
    pub fn has(&self, user: &str) -> bool {
        self.users.contains_key(user)
    }

    /// Whether a user has a connection on this node for which messages have numbers.
    pub fn needs_mailbox(&self, user: &str) -> bool {
        let all = self.users.get(user).map_or(&[][..], |all| all);
        all.iter().any(|here| here.has_mailbox || here.visits)
    }

    /// A connection has opened.
    pub fn enter(&mut self, core: &mut Core, ticket: Ticket, entering: Entering) {
        let Entering { user, device, conn, has_mailbox, visits, groups, alone } = entering;
        let user = CompactString::from(&*user);
        self.waiting.push_back((core.now + ENTERED_AFTER_MS, user.clone(), conn));
        let since = core.since();
        let here = Here {
            conn,
            device: CompactString::from(&*device),
            has_mailbox,
            visits,
            alone,
            since,
            doubt: u16::try_from((core.now - since).div_ceil(1_000)).unwrap_or(u16::MAX),
            groups,
            ticket: Some(ticket),
            has_to_enter: true,
            may_be_known: false,
        };
        self.users.entry(user.clone()).or_default().push(here);
        self.connections += 1;
        let shard = core.shard_of(&user);
        if core.is_ready(shard) && self.shards[shard].again.is_empty() {
            self.send_enters(core, shard, &user);
        } else {
            self.shards[shard].again.push_back(user);
        }
    }

    /// Sends what makes the connections of a user known that are not.
    fn send_enters(&mut self, core: &mut Core, shard: usize, user: &CompactString) {
        let Some(all) = self.users.get_mut(user) else { return };
        let count = all.len().to_string();
        for here in all.iter_mut().filter(|here| here.has_to_enter) {
            (here.has_to_enter, here.may_be_known) = (false, true);
            let life = core.life.to_string();
            let conn = here.conn.to_string();
            let age = core.now - here.since;
            let doubt = age.min(u64::from(here.doubt) * 1_000).to_string();
            let (age, time) = (age.to_string(), core.time_of(shard).to_string());
            let most = if here.alone { "1" } else { MOST_DEVICES };
            let epoch = core.ordinal(shard).to_string();
            let flag = |on: bool, yes: &'static str, no: &'static str| if on { yes } else { no };
            let dialect = flag(here.has_mailbox, "2", "1");
            let mut words: Vec<&str> = vec![user, &life, &count, dialect, &here.device, &conn];
            words.extend([
                &*age,
                &doubt,
                &time,
                most,
                flag(here.visits, "1", "0"),
                &epoch,
                MOST_GROUPS,
            ]);
            for group in &here.groups {
                words.push(group);
                words.push(flag(core.shard_of(group) == shard, "1", "0"));
            }
            let then = RouteThen::Enter { user: user.clone(), conn: here.conn, life: core.life };
            core.run_words(shard, Script::Enter, &words, PartThen::Route(then).into());
        }
    }

    /// A connection is gone.
    pub fn leave(&mut self, core: &mut Core, leaving: Leaving) {
        let Some(all) = self.users.get_mut(&*leaving.user) else { return };
        let Some(at) = all.iter().position(|here| here.conn == leaving.conn) else { return };
        let gone = all.swap_remove(at);
        self.connections -= 1;
        if all.is_empty() {
            self.users.remove(&*leaving.user);
        }
        if !gone.may_be_known {
            return;
        }
        let shard = core.shard_of(&leaving.user);
        let gone = Box::new(Gone { leaving, life: core.life });
        if core.is_ready(shard) && self.shards[shard].gone.is_empty() {
            self.send_leave(core, shard, gone);
        } else {
            self.shards[shard].gone.push_back(gone);
        }
    }

    fn send_leave(&mut self, core: &mut Core, shard: usize, gone: Box<Gone>) {
        let Leaving { user, device, conn, cursor, hung_at } = gone.leaving.clone();
        let all = self.users.get(&*user).map_or(&[][..], |all| all);
        let life = core.life.to_string();
        let (count, conn) = (all.len().to_string(), conn.to_string());
        let (cursor, hung_at) = (cursor.to_string(), hung_at.unwrap_or(0).to_string());
        let epoch = core.ordinal(shard).to_string();
        let mut words: Vec<&str> = vec![&user, &life, &count, &conn, &device, &cursor];
        words.extend([&*hung_at, &epoch]);
        let next = all.iter().filter(|here| *here.device == *device).max_by_key(|here| here.since);
        let next = next.map(|here| {
            let dialect = if here.has_mailbox { "2" } else { "1" };
            (here.conn.to_string(), dialect, (core.now - here.since).to_string())
        });
        if let Some((conn, dialect, age)) = &next {
            words.extend([conn, *dialect, age]);
        }
        self.open += 1;
        core.run_words(
            shard,
            Script::Leave,
            &words,
            PartThen::Route(RouteThen::Leave(gone)).into(),
        );
    }

    /// Sends what waits, as much as fits into the next commands.
    pub fn pump(&mut self, core: &mut Core) {
        for shard in 0..self.shards.len() {
            let of_shard = &self.shards[shard];
            if !core.is_ready(shard) || core.now < of_shard.not_before {
                continue;
            }
            self.scan(core, shard);
            while core.queued(shard) < AT_ONCE
                && let Some(gone) = self.shards[shard].gone.pop_front()
            {
                if gone.life == core.life {
                    self.send_leave(core, shard, gone);
                }
            }
            while core.queued(shard) < AT_ONCE
                && let Some(user) = self.shards[shard].again.pop_front()
            {
                self.send_enters(core, shard, &user);
            }
        }
        self.ask_who_is_away(core);
        self.complete_late(core);
    }

    /// A new epoch has begun at a Redis, which may have lost that users have left this node.
    pub fn find_absent(&mut self, shard: usize) {
        self.shards[shard].scan = Some("0".into());
    }

    /// Reads a part of the list of users whom Redis takes for connected to this node.
    fn scan(&mut self, core: &mut Core, shard: usize) {
        let Some(from) = self.shards[shard].scan.take() else { return };
        let key = format!("{}n:{}", core.settings.prefix, core.life);
        let words: [&[u8]; 5] = [b"SSCAN", key.as_bytes(), from.as_bytes(), b"COUNT", SCANNED];
        let then = PartThen::Route(RouteThen::Scanned(core.life));
        core.command(shard, &words, then.into());
    }

    /// Some of the users whom Redis takes for connected to this node. Those who are not here have left.
    fn scanned(&mut self, core: &mut Core, shard: usize, value: Option<&Value>) {
        let Some([next, users]) = value.map(reply::list) else {
            (self.shards[shard].scan, self.shards[shard].not_before) =
                (Some("0".into()), core.now + AGAIN_AFTER_MS);
            return;
        };
        self.shards[shard].scan = reply::text(next).filter(|next| *next != "0").map(Box::from);
        let users = reply::texts(users).filter(|user| !self.users.contains_key(*user));
        let absent: Vec<CompactString> = users.map(CompactString::from).collect();
        for users in absent.chunks(AT_ONCE) {
            let life = core.life.to_string();
            let mut words: Vec<&str> = vec![&life];
            words.extend(users.iter().map(CompactString::as_str));
            let then = PartThen::Route(RouteThen::Away(users.to_vec()));
            core.run_words(shard, Script::Absent, &words, then.into());
        }
    }

    fn ask_who_is_away(&mut self, core: &mut Core) {
        if self.away.first().is_none_or(|(at, _)| *at > core.now) {
            return;
        }
        let mut users: Vec<Vec<CompactString>> = self.shards.iter().map(|_| Vec::new()).collect();
        let mut later = Vec::new();
        while let Some((at, user)) = self.away.pop_first() {
            let shard = core.shard_of(&user);
            if at > core.now || users[shard].len() == AT_ONCE {
                self.away.insert((at, user));
                break;
            }
            match core.is_ready(shard) {
                true => users[shard].push(user),
                false => later.push(user),
            }
        }
        self.away.extend(later.into_iter().map(|user| (core.now + AGAIN_AFTER_MS, user)));
        for (shard, users) in users.into_iter().enumerate().filter(|(_, users)| !users.is_empty()) {
            let life = core.life.to_string();
            let mut words: Vec<&str> = vec![&life];
            words.extend(users.iter().map(CompactString::as_str));
            core.run_words(
                shard,
                Script::Away,
                &words,
                PartThen::Route(RouteThen::Away(users.clone())).into(),
            );
        }
    }

    /// Completes the requests to enter that have waited too long.
    fn complete_late(&mut self, core: &mut Core) {
        while self.waiting.front().is_some_and(|(at, ..)| *at <= core.now) {
            let Some((_, user, conn)) = self.waiting.pop_front() else { return };
            if let Some(ticket) = self.find(&user, conn).and_then(|here| here.ticket.take()) {
                let entered = Entered { is_alone: true, ..Entered::default() };
                core.say(Told::Entered(ticket, Box::new(entered)));
            }
        }
    }

    fn find(&mut self, user: &str, conn: u64) -> Option<&mut Here> {
        self.users.get_mut(user)?.iter_mut().find(|here| here.conn == conn)
    }

    /// When something is due next.
    pub fn next_due(&self) -> Option<u64> {
        let away = self.away.first().map(|(at, _)| *at);
        let late = self.waiting.front().map(|(at, ..)| *at);
        let waits = |it: &&OfShard| !it.again.is_empty() || it.scan.is_some();
        let again = self.shards.iter().filter(waits).map(|it| it.not_before);
        away.into_iter().chain(late).chain(again).min()
    }

    /// A connection has entered, or could not. Returns the last part of the reply, which the journal reads, and
    /// the request that it completes.
    pub fn replied(
        &mut self,
        core: &mut Core,
        shard: usize,
        then: RouteThen,
        reply: Reply,
    ) -> Option<Arrival> {
        let is_unknown = matches!(reply, Reply::Unknown | Reply::Unsent);
        let value = core.value_of(reply);
        match then {
            RouteThen::Enter { life, .. } if life != core.life => {}
            RouteThen::Enter { user, conn, .. } => match value {
                Some(Value::Array(parts)) if parts.len() == 5 => {
                    return self.entered(core, shard, user, conn, parts);
                }
                _ => {
                    let wait = if is_unknown { 0 } else { AGAIN_AFTER_MS };
                    self.enter_later(shard, user, conn, core.now + wait);
                }
            },
            RouteThen::Leave(gone) => {
                self.open -= 1;
                if is_unknown {
                    self.shards[shard].gone.push_back(gone);
                } else if value.is_none() && gone.life == core.life {
                    // Redis has refused it, for instance because its memory is full, and would know the connection for ever.
                    self.shards[shard].gone.push_back(gone);
                    self.shards[shard].not_before = core.now + AGAIN_AFTER_MS;
                } else if value.as_ref().and_then(reply::int) == Some(1) && gone.life == core.life {
                    let user = CompactString::from(&*gone.leaving.user);
                    self.away.insert((core.now + OFFLINE_AFTER_MS, user));
                }
            }
            RouteThen::Scanned(life) if life != core.life => {}
            RouteThen::Scanned(_) => self.scanned(core, shard, value.as_ref()),
            RouteThen::Away(users) => match value {
                Some(value) => {
                    for (user, ms) in users.into_iter().zip(reply::list(&value)) {
                        if let Some(ms) = reply::int(ms).filter(|ms| *ms > 0) {
                            self.away_in(core, user, ms);
                        }
                    }
                }
                None => {
                    let at = core.now + AGAIN_AFTER_MS;
                    self.away.extend(users.into_iter().map(|user| (at, user)));
                }
            },
        }
        None
    }

    /// Somebody has to ask in so many milliseconds whether a user is offline.
    pub fn away_in(&mut self, core: &Core, user: CompactString, ms: i64) {
        self.away.insert((core.now + ms.unsigned_abs(), user));
    }

    fn entered(
        &mut self,
        core: &mut Core,
        shard: usize,
        user: CompactString,
        conn: u64,
        parts: Vec<Value>,
    ) -> Option<Arrival> {
        let [displaced, groups, elsewhere, mailbox, unsure] = <[Value; 5]>::try_from(parts).ok()?;
        for group in reply::texts(&elsewhere) {
            let words = ["g", "join", group, &user, MOST_GROUPS];
            core.run_words(core.shard_of(group), Script::Member, &words, Then::Nothing);
        }
        let displaced = reply::list(&displaced).iter().filter_map(reply::int);
        let mut displaced: Vec<u64> = displaced.map(i64::unsigned_abs).collect();
        let groups = reply::texts(&groups).map(Box::from).collect();
        let here = self.find(&user, conn)?;
        here.groups = Vec::new();
        here.doubt = 0;
        let ticket = here.ticket.take();
        let is_unsure = reply::int(&unsure) == Some(1);
        let is_refused = is_unsure && here.has_mailbox && ticket.is_some();
        if is_refused || is_unsure && ticket.is_none() {
            displaced.retain(|it| *it != conn);
        }
        if is_unsure && ticket.is_none() {
            // It has entered before, and the command was under way for long. The next one may be faster.
            self.enter_later(shard, user.clone(), conn, core.now + AGAIN_AFTER_MS);
        }
        Some(Arrival { user, ticket, groups, mailbox, displaced, is_refused })
    }

    /// A connection of this node has lost its place.
    pub fn displaced(&mut self, core: &mut Core, user: &str, conn: u64) {
        if self.find(user, conn).is_some() {
            core.say(Told::Displaced { user: user.into(), conn });
        }
    }

    fn enter_later(&mut self, shard: usize, user: CompactString, conn: u64, at: u64) {
        if let Some(here) = self.find(&user, conn) {
            here.has_to_enter = true;
            self.shards[shard].again.push_back(user);
            self.shards[shard].not_before = at;
        }
    }

    /// A new epoch has begun: the numbers of connections that have left belong to an earlier one.
    pub fn forget_numbers(&mut self) {
        for gone in self.shards.iter_mut().flat_map(|it| &mut it.gone) {
            (gone.leaving.cursor, gone.leaving.hung_at) = (0, None);
        }
    }

    /// All connections of users of one Redis enter again: it may have lost what it knew, or this node has
    /// missed what others have told it.
    pub fn enter_again(&mut self, core: &Core, shard: usize) {
        let of_shard = &mut self.shards[shard];
        of_shard.again.clear();
        of_shard.not_before = core.now;
        for (user, all) in &mut self.users {
            if core.shard_of(user) == shard {
                all.iter_mut().for_each(|here| here.has_to_enter = true);
                of_shard.again.push_back(user.clone());
            }
        }
    }

    /// A new life has begun. Nobody knows of a connection of this one.
    pub fn begin_life(&mut self, core: &Core) {
        self.away.clear();
        for here in self.users.values_mut().flatten() {
            here.may_be_known = false;
        }
        for shard in 0..self.shards.len() {
            self.shards[shard].gone.clear();
            self.shards[shard].scan = None;
            self.enter_again(core, shard);
        }
    }

    /// The node ends: all its connections leave.
    pub fn leave_all(&mut self, core: &mut Core) {
        let all = std::mem::take(&mut self.users);
        self.connections = 0;
        for (user, all) in all {
            let shard = core.shard_of(&user);
            for here in all.into_iter().filter(|here| here.may_be_known) {
                let user = Box::from(&*user);
                let device = Box::from(&*here.device);
                let leaving = Leaving { user, device, conn: here.conn, cursor: 0, hung_at: None };
                let gone = Box::new(Gone { leaving, life: core.life });
                self.shards[shard].gone.push_back(gone);
            }
        }
    }

    /// Whether nothing is left to be told to Redis of connections that are gone.
    pub fn have_left(&self) -> bool {
        self.open == 0 && self.shards.iter().all(|it| it.gone.is_empty())
    }
}

/// The lives in the field of a user's routes.
pub fn lives(routes: &str) -> impl Iterator<Item = u64> {
    let words = routes.split(' ');
    words.filter_map(|word| word.split_once('*').map_or(word, |(life, _)| life).parse().ok())
}

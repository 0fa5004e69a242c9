//! What several nodes share, in memory and without faults: a model of what the engine and the journal do
//! together, so that the stories can be told on nodes. It answers in a later turn.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use longlink::keeping::{
    Append, Completed, Completion, Fate, Journal, Keep, Kept, Kind, Progress, Question, Stored,
    StoredRecord, Ticket,
};
use longlink::nodes::{
    Engine, Enter, Entered, Gone, Leave, LinkState, Numbers, Posted, Request, Shared, Told,
};
use longlink::{Incoming, RelayConfig};

/// The most bytes of a mailbox whose user is connected.
const LIVE_BYTES: usize = 256 * 1024;
const DEVICES: usize = 5;
const TRIES: u32 = 3;
/// A user is offline so many milliseconds after the last connection has ended.
const OFFLINE_AFTER: u64 = 5_000;

/// What all nodes share.
#[derive(Debug, Default)]
pub struct Cloud {
    now: u64,
    /// The most messages and bytes of a mailbox whose user is away.
    bounds: (usize, usize),
    epoch: String,
    users: BTreeMap<String, User>,
    groups: BTreeMap<String, BTreeSet<String>>,
    /// The events that each node has yet to get.
    events: Vec<VecDeque<Incoming>>,
    online: Vec<u64>,
    /// The users whom each node watches.
    watches: Vec<BTreeSet<String>>,
}

#[derive(Debug, Default)]
struct User {
    has_mailbox: bool,
    top: u64,
    devices: BTreeMap<String, Device>,
    places: Vec<Place>,
    /// When the last connection has ended, until the user is offline.
    left_at: Option<u64>,
    messages: Vec<Message>,
    lost: Vec<Gone>,
    cids: BTreeMap<(String, String), (u64, u128, Fate)>,
    /// The id in the last receipt from each peer.
    receipts: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default)]
struct Device {
    cursor: u64,
    away_since: u64,
    is_new: bool,
    tries: (u64, u32),
}

#[derive(Clone, Debug)]
struct Place {
    node: usize,
    conn: u64,
    device: String,
    has_mailbox: bool,
}

#[derive(Clone, Debug)]
struct Message {
    stored: Stored,
    expires: u64,
}

impl Message {
    fn record(&self) -> &StoredRecord {
        &self.stored.records[0]
    }

    fn seq(&self) -> u64 {
        self.record().seq
    }

    fn size(&self) -> usize {
        self.stored.message.len() + 100
    }

    fn skips(&self, device: &str) -> bool {
        self.record().kind == Kind::Own && *self.stored.device == *device
    }
}

impl User {
    fn nodes(&self) -> BTreeSet<usize> {
        self.places.iter().map(|place| place.node).collect()
    }

    fn lose(&mut self, seq: u64, why: char, only: &str, but: &str) {
        let is_next = |last: &&mut Gone| {
            last.to + 1 == seq && last.why == why && *last.only == *only && *last.but == *but
        };
        match self.lost.last_mut().filter(is_next) {
            Some(last) => last.to = seq,
            None => {
                let (only, but) = (only.into(), but.into());
                self.lost.push(Gone { from: seq, to: seq, why, only, but });
            }
        }
    }

    fn expire(&mut self, now: u64) {
        let (old, kept) =
            std::mem::take(&mut self.messages).into_iter().partition(|it| it.expires < now);
        self.messages = kept;
        for message in Vec::from_iter::<Vec<Message>>(old) {
            self.lose_message(&message, 'e');
        }
    }

    fn lose_message(&mut self, message: &Message, why: char) {
        let but = if message.record().kind == Kind::Own { &*message.stored.device } else { "" };
        let but = but.to_owned();
        self.lose(message.seq(), why, "", &but);
    }

    /// Forgets what every device has.
    fn prune(&mut self) {
        let User { devices, messages, lost, .. } = self;
        if devices.is_empty() {
            return;
        }
        messages.retain(|message| {
            let skips = |name: &str| {
                let is_it = |gone: &Gone| {
                    (gone.from..=gone.to).contains(&message.seq()) && *gone.only == *name
                };
                message.skips(name) || lost.iter().any(is_it)
            };
            devices.iter().any(|(name, it)| it.cursor < message.seq() && !skips(name))
        });
        lost.retain(|gone| {
            devices.iter().any(|(name, it)| {
                it.cursor < gone.to
                    && *gone.but != **name
                    && (gone.only.is_empty() || *gone.only == **name)
            })
        });
    }
}

impl Cloud {
    /// Makes what all nodes share.
    pub fn new(config: &RelayConfig) -> Arc<Mutex<Cloud>> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let epoch = format!("cloud{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let bounds = (config.mailbox_messages, config.mailbox_bytes);
        Arc::new(Mutex::new(Cloud { bounds, epoch, ..Cloud::default() }))
    }

    /// Makes what one more node needs.
    pub fn node(cloud: &Arc<Mutex<Cloud>>) -> (Box<dyn Journal>, Box<dyn Engine>) {
        let mut all = cloud.lock().unwrap();
        let node = all.events.len();
        all.events.push(VecDeque::new());
        all.online.push(0);
        all.watches.push(BTreeSet::new());
        let side = || Side { cloud: cloud.clone(), node, epoch: all.epoch.clone() };
        (Box::new(side()), Box::new(side()))
    }

    pub fn set_now(&mut self, now: u64) {
        self.now = now;
        let is_offline = |user: &User| user.left_at.is_some_and(|at| now >= at + OFFLINE_AFTER);
        let users = self.users.iter_mut().filter(|(_, user)| is_offline(user));
        let gone: Vec<String> = users
            .map(|(name, user)| {
                user.left_at = None;
                name.clone()
            })
            .collect();
        for name in gone {
            self.tell_watchers(&name, false);
        }
    }

    fn tell_watchers(&mut self, user: &str, is_online: bool) {
        for node in 0..self.watches.len() {
            if self.watches[node].contains(user) {
                self.tell(node, Told::Presence { user: user.into(), is_online });
            }
        }
    }

    fn is_online(&mut self, user: &str) -> bool {
        let user = self.user(user);
        !user.places.is_empty() || user.left_at.is_some()
    }

    /// The events that a node gets now.
    pub fn take(&mut self, node: usize) -> Vec<Incoming> {
        self.events[node].drain(..).collect()
    }

    fn tell(&mut self, node: usize, event: impl Into<Incoming>) {
        self.events[node].push_back(event.into());
    }

    fn user(&mut self, name: &str) -> &mut User {
        let now = self.now;
        let user = self.users.entry(name.to_owned()).or_default();
        user.expire(now);
        user
    }

    fn enter(&mut self, node: usize, ticket: Ticket, enter: &Enter<'_>) {
        for group in enter.groups {
            self.change(group, enter.user, true);
        }
        let (now, epoch) = (self.now, self.epoch.clone());
        if !self.is_online(enter.user) {
            self.tell_watchers(enter.user, true);
        }
        let user = self.user(enter.user);
        user.left_at = None;
        let mut displaced = Vec::new();
        user.places.retain(|place| {
            let stays = *place.device != *enter.device;
            if !stays {
                displaced.push(place.clone());
            }
            stays
        });
        let mut mailbox = None;
        if enter.has_mailbox || enter.visits && user.has_mailbox {
            user.has_mailbox = true;
            if !user.devices.contains_key(enter.device) && user.devices.len() >= DEVICES {
                let is_here = |name: &str| user.places.iter().any(|it| *it.device == *name);
                let key = |(name, it): &(&String, &Device)| (is_here(name), it.away_since);
                let oldest = user.devices.iter().min_by_key(key).map(|it| it.0.clone()).unwrap();
                user.devices.remove(&oldest);
                user.places.retain(|place| {
                    if place.device == oldest {
                        displaced.push(place.clone());
                    }
                    place.device != oldest
                });
            }
            let places = user.places.clone();
            let away = |name: &str, it: &Device| {
                let is_here = places.iter().any(|place| *place.device == *name);
                (!is_here).then(|| ((now - it.away_since) / 1_000) as u32)
            };
            let devices = user.devices.iter().filter(|(_, it)| !it.is_new);
            let left = |message: &Message| Stored {
                left: Some(((message.expires - now) / 1_000) as u32),
                ..message.stored.clone()
            };
            mailbox = Some(Shared {
                epoch: epoch.as_str().into(),
                ends: Vec::new(),
                top: user.top,
                base: 0,
                devices: devices
                    .map(|(name, it)| (name.as_str().into(), it.cursor, away(name, it)))
                    .collect(),
                messages: user.messages.iter().map(left).collect(),
                waiting: user.messages.len() as u64,
                lost: user.lost.clone(),
            });
            let new = Device { is_new: true, ..Device::default() };
            user.devices.entry(enter.device.to_owned()).or_insert(new);
        }
        let place = Place {
            node,
            conn: enter.conn,
            device: enter.device.to_owned(),
            has_mailbox: enter.has_mailbox,
        };
        user.places.push(place);
        for place in displaced {
            let user = enter.user.into();
            self.tell(place.node, Told::Displaced { user, conn: place.conn });
        }
        let of_user = self.groups.iter().filter(|(_, members)| members.contains(enter.user));
        let groups = of_user.map(|(name, _)| name.as_str().into()).collect();
        let entered = Entered { mailbox, groups, is_alone: false };
        self.tell(node, Told::Entered(ticket, Box::new(entered)));
    }

    fn leave(&mut self, node: usize, leave: &Leave<'_>) {
        let (now, bounds) = (self.now, self.bounds);
        let user = self.user(leave.user);
        let was_here = !user.places.is_empty();
        user.places.retain(|place| (place.node, place.conn) != (node, leave.conn));
        if was_here && user.places.is_empty() {
            user.left_at = Some(now);
        }
        let is_here = user.places.iter().any(|place| *place.device == *leave.device);
        let mut skipped = None;
        if let Some(device) = user.devices.get_mut(leave.device) {
            device.cursor = device.cursor.max(leave.cursor);
            if !is_here {
                device.away_since = now;
            }
            if let Some(seq) = leave.hung_at.filter(|seq| *seq > device.cursor) {
                let (of, count) = device.tries;
                device.tries = (seq, if of == seq { count + 1 } else { 1 });
                if device.tries.1 == TRIES {
                    device.tries = (0, 0);
                    skipped = Some(seq);
                }
            }
        }
        if let Some(seq) = skipped {
            user.lose(seq, 'u', leave.device, "");
        }
        if user.places.iter().all(|place| !place.has_mailbox) {
            bound(user, bounds);
        }
        user.prune();
    }

    fn change(&mut self, group: &str, user: &str, joins: bool) {
        let members = self.groups.entry(group.to_owned()).or_default();
        match joins {
            true => members.insert(user.to_owned()),
            false => members.remove(user),
        };
        for node in self.user(user).nodes() {
            let (group, user) = (group.into(), user.into());
            self.tell(node, Told::Member { group, user, joins });
        }
    }

    fn append(&mut self, node: usize, ticket: Ticket, append: &Append<'_>) {
        let completion = self.carry_out(append);
        self.tell(node, Completed { ticket, completion });
    }

    fn carry_out(&mut self, append: &Append<'_>) -> Completion {
        let name = (append.device.to_owned(), append.cid.to_owned());
        if !append.cid.is_empty()
            && let Some((content, id, fate)) = self.user(append.user).cids.get(&name)
        {
            return Completion::Repeated {
                id: *id,
                fate: *fate,
                is_same: *content == append.content,
                is_stored: false,
            };
        }
        let mut fates = Vec::new();
        let mut members = None;
        if append.group.is_empty() {
            for record in append.records {
                fates.push(self.give(append, record.user, record.kind, record.marks));
                if append.reach.has_own && record.user != append.user {
                    self.copy_own(append, record.user);
                }
            }
        } else {
            let all = self.groups.get(append.group).cloned().unwrap_or_default();
            if all.len() > 1_000 {
                return Completion::Appended(Kept::default());
            }
            let others = all.iter().filter(|it| **it != *append.user);
            let (mut best, mut users) = (Fate::Offline, 0);
            for user in others.filter(|it| !append.reach.except.contains(&it.as_str())) {
                let fate = self.give(append, user, Kind::ToMember, 1);
                users += u64::from(fate != Fate::Offline);
                best = match (best, fate) {
                    (Fate::Kept, _) | (_, Fate::Kept) => Fate::Kept,
                    (Fate::Sent, _) | (_, Fate::Sent) => Fate::Sent,
                    _ => Fate::Offline,
                };
            }
            if append.reach.has_own {
                self.copy_own(append, "");
            }
            fates.push(best);
            members = Some((users, users));
        }
        let fate = fates.iter().copied().min_by_key(|it| *it as u8).unwrap_or(Fate::Sent);
        if !append.cid.is_empty() {
            self.user(append.user).cids.insert(name, (append.content, append.id, fate));
        }
        Completion::Appended(Kept { is_stored: false, seqs: Vec::new(), fates, members })
    }

    fn copy_own(&mut self, append: &Append<'_>, to: &str) {
        let sender = self.user(append.user);
        let has_others = sender.devices.keys().any(|name| **name != *append.device);
        if has_others {
            self.put(append, append.user, Kind::Own, to, 0);
        }
    }

    fn give(&mut self, append: &Append<'_>, to: &str, kind: Kind, marks: u8) -> Fate {
        let is_group = !append.group.is_empty();
        let user = self.user(to);
        let is_here = !user.places.is_empty();
        let is_kept = match append.reach.keep {
            Keep::Usual => user.has_mailbox || !is_here && !is_group,
            Keep::IfMailbox => user.has_mailbox,
            Keep::Always => true,
            Keep::Never => false,
        };
        if kind == Kind::Receipt {
            let last = user.receipts.entry(append.user.to_owned()).or_default();
            if !is_kept || **last >= *append.message {
                return Fate::Offline;
            }
            append.message.clone_into(last);
        }
        if is_kept || is_here {
            user.has_mailbox |= is_kept;
            self.put(append, to, kind, "", marks);
        }
        match (is_kept, is_here) {
            (true, _) => Fate::Kept,
            (false, true) => Fate::Sent,
            (false, false) => Fate::Offline,
        }
    }

    fn put(&mut self, append: &Append<'_>, to: &str, kind: Kind, of: &str, marks: u8) {
        let (now, bounds) = (self.now, self.bounds);
        let user = self.user(to);
        let is_kept = user.has_mailbox && append.reach.keep != Keep::Never;
        let seq = if is_kept { user.top + 1 } else { 0 };
        user.top = user.top.max(seq);
        let record = StoredRecord { user: to.into(), seq, kind, to: of.into(), marks };
        let stored = Stored { records: vec![record], ..Stored::new(append) };
        if is_kept {
            let is_same = |old: &Message| {
                let (one, two) = (old.record(), &stored.records[0]);
                let is_named = !append.key.is_empty() && *old.stored.key == *append.key;
                let is_peer = old.stored.user == stored.user && one.to == two.to;
                let is_group = old.stored.group == stored.group;
                one.kind == kind && is_peer && is_group && (is_named || kind == Kind::Receipt)
            };
            user.messages.retain(|old| !is_same(old));
            let expires = now + u64::from(append.ttl) * 1_000 + 999;
            user.messages.push(Message { stored: stored.clone(), expires });
            let is_live = user.places.iter().any(|place| place.has_mailbox);
            bound(user, if is_live { (usize::MAX, LIVE_BYTES.max(bounds.1)) } else { bounds });
        }
        for node in user.nodes() {
            self.tell(node, Told::Arrived(vec![stored.clone()]));
        }
    }
}

fn bound(user: &mut User, (most, most_bytes): (usize, usize)) {
    loop {
        let bytes: usize = user.messages.iter().map(Message::size).sum();
        if user.messages.len() <= most && bytes <= most_bytes {
            return;
        }
        let message = user.messages.remove(0);
        user.lose_message(&message, 'o');
    }
}

/// What one node has of it.
#[derive(Debug)]
struct Side {
    cloud: Arc<Mutex<Cloud>>,
    node: usize,
    epoch: String,
}

impl Journal for Side {
    fn epoch(&self) -> &str {
        &self.epoch
    }

    fn end_of_epoch(&self, _: &str, _: &str) -> Option<u64> {
        None
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn has_room(&self) -> bool {
        true
    }

    fn append(&mut self, ticket: Ticket, append: &Append<'_>) -> Progress {
        self.cloud.lock().unwrap().append(self.node, ticket, append);
        Progress::Later
    }

    fn acknowledge(&mut self, _: Ticket, user: &str, device: &str, seq: u64) -> Progress {
        let mut cloud = self.cloud.lock().unwrap();
        let user = cloud.user(user);
        if let Some(device) = user.devices.get_mut(device) {
            let seq = seq.min(user.top);
            device.cursor = if device.is_new { seq } else { device.cursor.max(seq) };
            device.is_new = false;
        }
        user.prune();
        Progress::Done(Completion::Acknowledged)
    }

    fn history(&mut self, _: Ticket, _: &Question<'_>) -> Progress {
        Progress::Done(Completion::Unsupported)
    }

    fn forget(&mut self, _: Ticket, _: &str, _: u64) -> Progress {
        Progress::Done(Completion::Unsupported)
    }
}

impl Engine for Side {
    fn ask(&mut self, ticket: Ticket, request: Request<'_>) {
        let mut cloud = self.cloud.lock().unwrap();
        match request {
            Request::Enter(enter) => cloud.enter(self.node, ticket, &enter),
            Request::Leave(leave) => cloud.leave(self.node, &leave),
            Request::Change { group, user, joins } => {
                cloud.change(group, user, joins);
                cloud.tell(self.node, Told::Changed(ticket, Ok(())));
            }
            Request::Post(post) => {
                let posted = || Posted {
                    from: post.from.into(),
                    device: post.device.into(),
                    group: post.group.into(),
                    id: post.id,
                    frame: post.frame.into(),
                    message: post.message.into(),
                    except: post.except.iter().map(|it| (*it).into()).collect(),
                    has_own: post.has_own,
                };
                for node in (0..cloud.events.len()).filter(|node| *node != self.node) {
                    cloud.tell(node, Told::Posted(Box::new(posted())));
                }
            }
            Request::AreOnline { users, now } => {
                let mut is_online = |user: &str| match now {
                    true => !cloud.user(user).places.is_empty(),
                    false => cloud.is_online(user),
                };
                let online = users.iter().map(|it| is_online(it)).collect();
                cloud.tell(self.node, Told::Online(ticket, Ok(online)));
            }
            Request::Watch { user, on: true } => {
                cloud.watches[self.node].insert(user.to_owned());
                let is_online = cloud.is_online(user);
                cloud.tell(self.node, Told::Presence { user: user.into(), is_online });
            }
            Request::Watch { user, on: false } => {
                cloud.watches[self.node].remove(user);
            }
            _ => {}
        }
    }

    fn link(&self) -> LinkState {
        LinkState::Up
    }

    fn node(&self) -> &str {
        "node"
    }

    fn online_elsewhere(&self) -> u64 {
        let cloud = self.cloud.lock().unwrap();
        let is_elsewhere = |user: &&User| user.places.iter().any(|it| it.node != self.node);
        cloud.users.values().filter(is_elsewhere).count() as u64
    }

    fn numbers(&self) -> Numbers {
        Numbers::default()
    }
}

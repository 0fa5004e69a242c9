//! What the loop of a server asks its node, as values that own everything, because another thread
//! carries them out.

use crate::engine::{Asked, Of, Request};
use crate::journal::{Append, Keep, Kind, Ticket};

/// Something that a node is asked.
#[derive(Debug)]
pub enum Ask {
    /// [`Journal::append`](crate::journal::Journal::append).
    Append(Box<Sending>),
    /// [`Journal::follow_epoch`](crate::journal::Journal::follow_epoch).
    FollowEpoch,
    /// [`Journal::acknowledge`](crate::journal::Journal::acknowledge).
    Acknowledge {
        /// The user.
        user: Box<str>,
        /// The device.
        device: Box<str>,
        /// The device has handled every message up to this number.
        seq: u64,
    },
    /// [`Journal::forget`](crate::journal::Journal::forget).
    Forget {
        /// The ticket of the request.
        ticket: Ticket,
        /// The user.
        user: Box<str>,
        /// The messages up to this number are forgotten.
        seq: u64,
    },
    /// [`Engine::ask`](crate::engine::Engine::ask).
    Engine(Ticket, Wanted),
}

impl Ask {
    /// About how many bytes of memory this takes.
    pub fn size(&self) -> usize {
        size_of::<Ask>()
            + match self {
                Ask::Append(sending) => size_of::<Sending>() + sending.text.len(),
                Ask::Acknowledge { user, device, .. } => user.len() + device.len(),
                Ask::Forget { user, .. } => user.len(),
                Ask::FollowEpoch => 0,
                Ask::Engine(_, wanted) => wanted.size(),
            }
    }
}

/// A part of the text of a [`Sending`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    start: u32,
    end: u32,
}

/// One send that is to be kept. All its texts are one allocation.
#[derive(Debug, Default)]
pub struct Sending {
    /// The ticket of the request.
    pub ticket: Ticket,
    /// The number of the round.
    pub round: u32,
    /// Which messages are kept.
    pub keep: Keep,
    /// What kind of messages these are, for a send without a group.
    pub kind: Kind,
    /// The marks of the messages.
    pub marks: u8,
    /// Whether the other devices of the sender get copies.
    pub own: bool,
    /// Whether nobody makes this send again.
    pub is_final: bool,
    /// For how many seconds the messages are kept.
    pub ttl: u32,
    /// The hash of the recipients and of the message.
    pub content: u64,
    /// The id of the message.
    pub id: u128,
    text: String,
    user: Part,
    device: Part,
    cid: Part,
    once: Part,
    group: Part,
    key: Part,
    message: Part,
    /// The first user who is named, so that a message to one user needs no list.
    first: Option<Part>,
    /// The users who are named after the first one.
    others: Vec<Part>,
    except: Vec<Part>,
    /// The events of which the backend is told with this send: their kinds and their texts.
    reports: Vec<(char, Part)>,
}

impl Sending {
    /// Copies an append.
    pub fn new(ticket: Ticket, append: &Append<'_>) -> Self {
        let Append { user, device, cid, group, message, key, records, reach, .. } = *append;
        let texts = [user, device, cid, group, message, key, reach.once];
        let len = texts.iter().map(|text| text.len()).sum::<usize>();
        let users = records.iter().map(|record| record.user.len()).sum::<usize>();
        let except = reach.except.iter().map(|user| user.len()).sum::<usize>();
        let reports = reach.reports.iter().map(|report| report.event.len()).sum::<usize>();
        let mut text = String::with_capacity(len + users + except + reports);
        let mut add = |part: &str| {
            let start = text.len() as u32;
            text.push_str(part);
            Part { start, end: text.len() as u32 }
        };
        let [user, device, cid, group, message, key, once] = texts.map(&mut add);
        let first = records.first();
        Sending {
            ticket,
            round: append.round,
            keep: reach.keep,
            kind: first.map_or(Kind::ToMember, |record| record.kind),
            marks: first.map_or(0, |record| record.marks),
            own: reach.has_own,
            is_final: reach.is_final,
            ttl: append.ttl,
            content: append.content,
            id: append.id,
            user,
            device,
            cid,
            once,
            group,
            key,
            message,
            first: first.map(|record| add(record.user)),
            others: records.iter().skip(1).map(|record| add(record.user)).collect(),
            except: reach.except.iter().map(|user| add(user)).collect(),
            reports: reach.reports.iter().map(|it| (it.kind, add(&it.event))).collect(),
            text,
        }
    }

    fn part(&self, part: Part) -> &str {
        self.text.get(part.start as usize..part.end as usize).unwrap_or_default()
    }

    /// The sender.
    pub fn user(&self) -> &str {
        self.part(self.user)
    }

    /// The device of the sender; empty for a backend.
    pub fn device(&self) -> &str {
        self.part(self.device)
    }

    /// The name that the sender has given to the send; empty if it has none.
    pub fn cid(&self) -> &str {
        self.part(self.cid)
    }

    /// The idempotency key of the backend's request to which it belongs; empty for a client.
    pub fn once(&self) -> &str {
        self.part(self.once)
    }

    /// The group; empty for a message to users.
    pub fn group(&self) -> &str {
        self.part(self.group)
    }

    /// The sender's own key; empty if there is none.
    pub fn key(&self) -> &str {
        self.part(self.key)
    }

    /// The text of the message.
    pub fn message(&self) -> &str {
        self.part(self.message)
    }

    /// How many users are named.
    pub fn count(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len()
    }

    /// The user who is named at a place.
    pub fn to(&self, at: usize) -> &str {
        match at.checked_sub(1) {
            None => self.part(self.first.unwrap_or_default()),
            Some(at) => self.part(self.others.get(at).copied().unwrap_or_default()),
        }
    }

    /// The events of which the backend is told with this send: the letter of each kind, and the event.
    pub fn reports(&self) -> impl Iterator<Item = (char, &str)> {
        self.reports.iter().map(|(kind, event)| (*kind, self.part(*event)))
    }

    /// Whether the backend is told of events with this send.
    pub fn has_reports(&self) -> bool {
        !self.reports.is_empty()
    }

    /// Whether a member of the group does not get the message.
    pub fn is_excepted(&self, user: &str) -> bool {
        self.except.iter().any(|except| self.part(*except) == user)
    }
}

/// A request to the engine.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // of the fields, which are those of `Request`
pub enum Wanted {
    Enter {
        user: Box<str>,
        device: Box<str>,
        conn: u64,
        has_mailbox: bool,
        visits: bool,
        groups: Vec<Box<str>>,
        alone: bool,
    },
    Leave {
        user: Box<str>,
        device: Box<str>,
        conn: u64,
        cursor: u64,
        hung_at: Option<u64>,
    },
    Post {
        from: Box<str>,
        device: Box<str>,
        group: Box<str>,
        id: u128,
        frame: Box<str>,
        message: Box<str>,
        except: Vec<Box<str>>,
        has_own: bool,
    },
    Change {
        group: Box<str>,
        user: Box<str>,
        joins: bool,
    },
    Block {
        user: Box<str>,
        time: u64,
        reason: Box<str>,
        most: usize,
    },
    Members {
        group: Box<str>,
        after: Box<str>,
        limit: usize,
    },
    AreOnline {
        users: Vec<Box<str>>,
        now: bool,
    },
    Waiting {
        users: Vec<Box<str>>,
    },
    Watch {
        user: Box<str>,
        on: bool,
    },
    Ask {
        of: Whom,
        question: Box<[u8]>,
    },
    Answer {
        asked: Asked,
        answer: Box<[u8]>,
    },
    Claim {
        key: Box<str>,
        request: u64,
    },
    Finish {
        key: Box<str>,
        request: u64,
        done: Option<Box<[u8]>>,
    },
    Tell {
        user: Box<str>,
        kind: char,
        event: Box<str>,
    },
    Wants {
        kinds: Box<str>,
        most: u64,
    },
    Look {
        user: Box<str>,
    },
    Mailbox {
        user: Box<str>,
        after: u64,
        limit: usize,
    },
    List,
    Accept {
        event: Box<str>,
    },
    Nodes,
}

/// Which nodes are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// All other nodes.
    All,
    /// The other nodes on which this user has a connection.
    User(Box<str>),
    /// The node with this name.
    Node(Box<str>),
}

fn all(texts: &[&str]) -> Vec<Box<str>> {
    texts.iter().map(|text| (*text).into()).collect()
}

impl Wanted {
    /// Copies a request.
    pub fn new(request: &Request<'_>) -> Self {
        match *request {
            Request::Enter(ref it) => Wanted::Enter {
                user: it.user.into(),
                device: it.device.into(),
                conn: it.conn,
                has_mailbox: it.has_mailbox,
                visits: it.visits,
                groups: all(it.groups),
                alone: it.alone,
            },
            Request::Leave(ref it) => Wanted::Leave {
                user: it.user.into(),
                device: it.device.into(),
                conn: it.conn,
                cursor: it.cursor,
                hung_at: it.hung_at,
            },
            Request::Post(ref it) => Wanted::Post {
                from: it.from.into(),
                device: it.device.into(),
                group: it.group.into(),
                id: it.id,
                frame: it.frame.into(),
                message: it.message.into(),
                except: all(it.except),
                has_own: it.has_own,
            },
            Request::Change { group, user, joins } => {
                Wanted::Change { group: group.into(), user: user.into(), joins }
            }
            Request::Block { user, time, reason, most } => {
                Wanted::Block { user: user.into(), time, reason: reason.into(), most }
            }
            Request::Members { group, after, limit } => {
                Wanted::Members { group: group.into(), after: after.into(), limit }
            }
            Request::AreOnline { users, now } => Wanted::AreOnline { users: all(users), now },
            Request::Waiting { users } => Wanted::Waiting { users: all(users) },
            Request::Watch { user, on } => Wanted::Watch { user: user.into(), on },
            Request::Ask { of, question } => {
                let of = match of {
                    Of::All => Whom::All,
                    Of::User(user) => Whom::User(user.into()),
                    Of::Node(node) => Whom::Node(node.into()),
                };
                Wanted::Ask { of, question: question.into() }
            }
            Request::Answer { ref asked, answer } => {
                Wanted::Answer { asked: asked.clone(), answer: answer.into() }
            }
            Request::Claim { key, request } => Wanted::Claim { key: key.into(), request },
            Request::Finish { key, request, done } => {
                Wanted::Finish { key: key.into(), request, done: done.map(Into::into) }
            }
            Request::Tell { user, kind, event } => {
                Wanted::Tell { user: user.into(), kind, event: event.into() }
            }
            Request::Wants(ref it) => Wanted::Wants { kinds: it.kinds.into(), most: it.most },
            Request::Look { user } => Wanted::Look { user: user.into() },
            Request::Mailbox { user, after, limit } => {
                Wanted::Mailbox { user: user.into(), after, limit }
            }
            Request::List => Wanted::List,
            Request::Accept { event } => Wanted::Accept { event: event.into() },
            Request::Nodes => Wanted::Nodes,
        }
    }

    /// About how many bytes the texts take.
    fn size(&self) -> usize {
        let sum = |texts: &[Box<str>]| texts.iter().map(|it| it.len() + 16).sum::<usize>();
        match self {
            Wanted::Enter { user, device, groups, .. } => user.len() + device.len() + sum(groups),
            Wanted::Leave { user, device, .. } => user.len() + device.len(),
            Wanted::Post { from, device, group, frame, message, except, .. } => {
                let names = from.len() + device.len() + group.len();
                names + frame.len() + message.len() + sum(except)
            }
            Wanted::Change { group, user, .. } => group.len() + user.len(),
            Wanted::Block { user, reason, .. } => user.len() + reason.len(),
            Wanted::Members { group, after, .. } => group.len() + after.len(),
            Wanted::AreOnline { users, .. } | Wanted::Waiting { users } => sum(users),
            Wanted::Watch { user, .. } => user.len(),
            Wanted::Ask { question, .. } => question.len(),
            Wanted::Answer { answer, .. } => answer.len(),
            Wanted::Claim { key, .. } => key.len(),
            Wanted::Finish { key, done, .. } => key.len() + done.as_ref().map_or(0, |it| it.len()),
            Wanted::Tell { user, event, .. } => user.len() + event.len(),
            Wanted::Wants { kinds, .. } => kinds.len(),
            Wanted::Look { user } | Wanted::Mailbox { user, .. } => user.len(),
            Wanted::Accept { event } => event.len(),
            Wanted::List | Wanted::Nodes => 0,
        }
    }
}

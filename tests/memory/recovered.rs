//! What mailboxes take after a start with many messages that wait on a disk. Their bodies stay there.

use longlink::keeping::{
    Append, Completion, Journal, Kind, Progress, Question, Recovered, Stored, StoredRecord, Ticket,
};
use longlink::{Relay, RelayConfig};

use crate::{allocator, rig};

/// A journal of an earlier run, in which each user has a device and so many messages that wait.
#[derive(Debug)]
struct Earlier {
    users: u64,
    each: u64,
}

impl Journal for Earlier {
    fn epoch(&self) -> &str {
        "now"
    }

    fn end_of_epoch(&self, _: &str, _: &str) -> Option<u64> {
        None
    }

    fn shares_numbers(&self) -> bool {
        true
    }

    fn recover(&mut self, tell: &mut dyn FnMut(Recovered)) {
        let name = |user: u64| format!("user-{user:06}").into_boxed_str();
        tell(Recovered::Last(0));
        for user in 0..self.users {
            let (device, cursor, away) = ("phone-1".into(), 0, user as u32);
            tell(Recovered::Device { user: name(user), device, cursor, away });
        }
        for seq in 1..=self.users * self.each {
            let user = name(seq % self.users);
            let (to, kind) = ("".into(), Kind::ToUser);
            let records = vec![StoredRecord { user, seq, kind, to, marks: 1 }];
            tell(Recovered::Send(Stored {
                id: u128::from(seq) << 80,
                user: "the-shop".into(),
                device: "".into(),
                cid: "".into(),
                content: 0,
                group: "".into(),
                key: "".into(),
                size: 200 + (seq % 50) as u32,
                message: String::new(),
                left: Some(604_800 + (seq / 100) as u32),
                records,
            }));
        }
    }

    fn has_room(&self) -> bool {
        true
    }

    fn append(&mut self, _: Ticket, _: &Append<'_>) -> Progress {
        Progress::Done(Completion::Unavailable)
    }

    fn acknowledge(&mut self, _: Ticket, _: &str, _: &str, _: u64) -> Progress {
        Progress::Later
    }

    fn history(&mut self, _: Ticket, _: &Question<'_>) -> Progress {
        Progress::Done(Completion::Unsupported)
    }

    fn forget(&mut self, _: Ticket, _: &str, _: u64) -> Progress {
        Progress::Later
    }
}

/// The bytes that mailboxes with so many messages take after a start.
fn start(users: u64, each: u64) -> usize {
    let _alone = rig::alone();
    let mut config = RelayConfig::default();
    config.mailbox_memory = 1 << 30;
    let before = allocator::bytes();
    let begun = std::time::Instant::now();
    let relay = Relay::new(config).with_journal(Box::new(Earlier { users, each }));
    let grown = allocator::bytes() - before;
    let gauges = relay.mailbox_gauges();
    assert_eq!((gauges.waiting as u64, gauges.mailboxes as u64), (users * each, users));
    println!("{users} users with {each} messages: {grown} bytes, {:?}", begun.elapsed());
    grown
}

#[test]
fn an_absent_user_with_twenty_messages_that_wait_takes_at_most_500_bytes() {
    let each = start(20_000, 20) / 20_000;
    assert!((300..=500).contains(&each), "{each} bytes for each user");
}

#[test]
fn a_million_messages_of_a_hundred_thousand_users_take_at_most_50_megabytes() {
    let all = start(100_000, 10);
    assert!(all <= 50 << 20, "{all} bytes");
}

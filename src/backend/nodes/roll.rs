//! Which users are connected to this node, in the order of their ids.
//!
//! Each node of a cluster answers with a part of this list, and the parts of all nodes together are one
//! page of `GET /api/online`. All nodes use one order, so a user who goes from node to node
//! keeps the place. A user may go to a node that has answered already, from a node that is asked a moment
//! later. So a node also names the users who have left it lately, and whoever asks has to find out where these are.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::time::{Duration, Instant};

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// For how long a user who has left is named. It is longer than the nodes are waited for.
const KEPT: Duration = Duration::from_secs(10);
/// The most users who have left and are named. Beyond it those who left first are forgotten.
const MOST_LEFT: usize = 100_000;

/// The users of a node.
#[derive(Debug, Default)]
pub struct Roll {
    users: BTreeMap<CompactString, Standing>,
    /// The users who have left, the first one first. An entry whose time is not that of the user is
    /// not valid any more, because the user has come back.
    left: VecDeque<(Instant, CompactString)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// The user has this many connections.
    Here(u32),
    Left(Instant),
}

/// A user in a part of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    pub user: String,
    /// Whether the user is connected, or else has left lately.
    pub is_here: bool,
    /// How many connections the user has to the node.
    #[serde(default)]
    pub connections: u32,
    /// About how long ago the oldest of them was accepted, in seconds.
    #[serde(default)]
    pub age: u64,
}

/// A part of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Answer")]
pub struct Part {
    /// The users whom it lists, in the order of their ids.
    pub users: Vec<Listed>,
    /// The last user whom the node has looked at, if it has more users behind this one.
    pub end: Option<String>,
}

/// What a node answers: a part, or the users with the word whether there are more behind the last one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Users(Vec<Listed>, bool),
    Part { users: Vec<Listed>, end: Option<String> },
}

impl From<Answer> for Part {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Users(users, has_more) => {
                let end = users.last().filter(|_| has_more).map(|it| it.user.clone());
                Part { users, end }
            }
            Answer::Part { users, end } => Part { users, end },
        }
    }
}

impl Roll {
    /// A connection of a user is open.
    pub fn opened(&mut self, user: &str) {
        match self.users.get_mut(user) {
            Some(Standing::Here(connections)) => *connections += 1,
            Some(standing) => *standing = Standing::Here(1),
            None => {
                self.users.insert(user.into(), Standing::Here(1));
            }
        }
    }

    /// A connection of a user is gone.
    pub fn closed(&mut self, user: &str, now: Instant) {
        self.forget_old(now);
        match self.users.get_mut(user) {
            Some(Standing::Here(connections)) if *connections > 1 => *connections -= 1,
            Some(standing @ Standing::Here(_)) => {
                *standing = Standing::Left(now);
                self.left.push_back((now, user.into()));
            }
            _ => {}
        }
    }

    /// Returns the first users behind `after` for whose ids `matches` returns true, in the order of their
    /// ids. It looks at no more than `looked` users, and returns at most `most` of them.
    pub fn page(
        &mut self,
        after: &str,
        mut matches: impl FnMut(&str) -> bool,
        (most, looked): (usize, usize),
        now: Instant,
    ) -> Part {
        self.forget_old(now);
        let behind = (Bound::Excluded(after), Bound::Unbounded);
        let (mut part, mut last) = (Part::default(), None);
        for (seen, (user, standing)) in self.users.range::<str, _>(behind).enumerate() {
            if seen == looked || part.users.len() == most {
                part.end = last.map(CompactString::to_string);
                break;
            }
            last = Some(user);
            if matches(user) {
                let (is_here, connections) = match standing {
                    Standing::Here(connections) => (true, *connections),
                    Standing::Left(_) => (false, 0),
                };
                part.users.push(Listed { user: user.to_string(), is_here, connections, age: 0 });
            }
        }
        part
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some((at, user)) = self.left.front() {
            let is_old = now.saturating_duration_since(*at) >= KEPT;
            if !is_old && self.left.len() <= MOST_LEFT {
                return;
            }
            if self.users.get(user) == Some(&Standing::Left(*at)) {
                self.users.remove(user);
            }
            self.left.pop_front();
        }
    }
}

/// Makes one page of at most `most` users out of the parts of all nodes. Returns the users who are
/// connected to a node, those who have only left one lately, both in their order, and the place of the
/// next page.
pub fn merge(parts: Vec<Part>, most: usize) -> (Vec<Listed>, Vec<String>, Option<String>) {
    // Behind the end of a part that has more nothing is known.
    let end = parts.iter().filter_map(|part| part.end.clone()).min();
    let mut users = BTreeMap::<String, Listed>::new();
    for listed in parts.into_iter().flat_map(|part| part.users) {
        if end.as_ref().is_none_or(|end| listed.user <= *end) {
            match users.get_mut(&listed.user) {
                Some(known) => {
                    known.is_here |= listed.is_here;
                    known.connections = known.connections.saturating_add(listed.connections);
                    known.age = known.age.max(listed.age);
                }
                None => {
                    users.insert(listed.user.clone(), listed);
                }
            }
        }
    }
    let (mut here, mut left, mut last) = (Vec::new(), Vec::new(), None);
    for (user, listed) in users {
        if here.len() + left.len() == most {
            return (here, left, last);
        }
        last = Some(user.clone());
        if listed.is_here { here.push(listed) } else { left.push(user) }
    }
    (here, left, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(roll: &mut Roll, after: &str, most: usize, now: Instant) -> (Vec<String>, bool) {
        let page = roll.page(after, |_| true, (most, usize::MAX), now);
        let name = |it: &Listed| format!("{}{}", it.user, if it.is_here { "" } else { " left" });
        let last = page.users.last().map(|it| it.user.clone());
        assert!(page.end.is_none() || page.end == last);
        (page.users.iter().map(name).collect(), page.end.is_some())
    }

    #[test]
    fn users_are_listed_in_the_order_of_their_ids_whoever_has_come_first() {
        let (mut roll, now) = (Roll::default(), Instant::now());
        for user in ["c", "a", "d", "b", "a"] {
            roll.opened(user);
        }
        assert_eq!(names(&mut roll, "", 2, now), (vec!["a".into(), "b".into()], true));
        assert_eq!(names(&mut roll, "b", 2, now), (vec!["c".into(), "d".into()], false));
        assert_eq!(names(&mut roll, "bb", 1, now), (vec!["c".into()], true));
        assert_eq!(names(&mut roll, "d", 2, now), (vec![], false));
    }

    #[test]
    fn a_user_who_has_left_is_named_for_a_while_unless_the_user_comes_back() {
        let (mut roll, start) = (Roll::default(), Instant::now());
        let second = Duration::from_secs(1);
        for user in ["a", "a", "b", "c"] {
            roll.opened(user);
        }
        for user in ["a", "b", "c", "c", "nobody"] {
            roll.closed(user, start);
        }
        roll.opened("c");
        assert_eq!(names(&mut roll, "", 9, start).0, ["a", "b left", "c"]);
        roll.closed("c", start + second);
        assert_eq!(names(&mut roll, "", 9, start + KEPT).0, ["a", "c left"]);
        assert_eq!(names(&mut roll, "", 9, start + KEPT + second).0, ["a"]);
        assert!(roll.left.is_empty());
    }

    #[test]
    fn a_search_looks_at_a_bounded_number_of_users_and_the_next_one_goes_on_behind_them() {
        let (mut roll, now) = (Roll::default(), Instant::now());
        for n in 0..100 {
            roll.opened(&format!("u{n:02}"));
        }
        roll.opened("u07");
        let (mut found, mut after, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let mut looked = 0;
            let matches = |user: &str| {
                looked += 1;
                user.ends_with('7')
            };
            let part = roll.page(&after, matches, (3, 15), now);
            assert!(looked <= 15 && part.users.len() <= 3, "{looked} {part:?}");
            found.extend(part.users.iter().map(|it| (it.user.clone(), it.connections)));
            pages += 1;
            let Some(end) = part.end else { break };
            after = end;
        }
        let expected: Vec<_> =
            (0..10).map(|n| (format!("u{n}7"), if n == 0 { 2 } else { 1 })).collect();
        assert_eq!((found, pages), (expected, 7));
    }

    #[test]
    fn a_page_of_all_nodes_has_each_user_once_and_ends_where_a_node_knows_more() {
        let part = |users: &[&str], more: bool| {
            let listed = |user: &&str| Listed {
                user: user.trim_start_matches('-').to_owned(),
                is_here: !user.starts_with('-'),
                connections: 1,
                age: 10 * u64::from(more),
            };
            let users: Vec<_> = users.iter().map(listed).collect();
            let end = users.last().map(|it| it.user.clone()).filter(|_| more);
            Part { users, end }
        };
        let parts = || vec![part(&["a", "-c", "e"], true), part(&["-a", "b", "-d", "f"], false)];
        let names =
            |users: &[&str]| users.iter().map(|user| (*user).to_owned()).collect::<Vec<_>>();
        let merge = |parts, most| {
            let (here, left, next) = merge(parts, most);
            (here.iter().map(|it| it.user.clone()).collect::<Vec<_>>(), left, next)
        };
        assert_eq!(
            merge(parts(), 9),
            (names(&["a", "b", "e"]), names(&["c", "d"]), Some("e".to_owned()))
        );
        assert_eq!(merge(parts(), 3), (names(&["a", "b"]), names(&["c"]), Some("c".to_owned())));
        let whole = vec![part(&["a"], false), part(&["b", "c"], false)];
        assert_eq!(merge(whole.clone(), 3), (names(&["a", "b", "c"]), vec![], None));
        assert_eq!(merge(whole, 2), (names(&["a", "b"]), vec![], Some("b".to_owned())));
        assert_eq!(merge(vec![part(&[], false)], 2), (vec![], vec![], None));
        // A part in which nothing was found says how far the node has looked.
        let looked = |end: &str| Part { users: Vec::new(), end: Some(end.to_owned()) };
        let found = vec![looked("m"), part(&["a", "z"], false), looked("n")];
        assert_eq!(merge(found, 9), (names(&["a"]), vec![], Some("m".to_owned())));
    }

    #[test]
    fn the_connections_of_a_user_to_several_nodes_are_added_up_and_the_oldest_counts() {
        let listed = |connections, age| Part {
            users: vec![Listed {
                user: "a".to_owned(),
                is_here: connections > 0,
                connections,
                age,
            }],
            end: None,
        };
        let (here, left, next) = merge(vec![listed(2, 7), listed(0, 0), listed(1, 9)], 5);
        assert_eq!((here[0].connections, here[0].age), (3, 9));
        assert_eq!((here.len(), left.len(), next), (1, 0, None));
    }

    #[test]
    fn users_who_leave_in_a_crowd_are_forgotten_in_the_order_in_which_they_left() {
        let (mut roll, now) = (Roll::default(), Instant::now());
        for user in 0..=MOST_LEFT + 1 {
            let user = format!("{user:08}");
            roll.opened(&user);
            roll.closed(&user, now);
        }
        assert_eq!(names(&mut roll, "", 1, now), (vec!["00000002 left".into()], true));
        assert_eq!((roll.users.len(), roll.left.len()), (MOST_LEFT, MOST_LEFT));
    }
}

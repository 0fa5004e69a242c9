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

use crate::hub::Context;

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

    /// Returns the first users behind `after`, in the order of their ids, at most `most` of them, and whether
    /// there are more.
    pub fn page(&mut self, after: &str, most: usize, now: Instant) -> (Vec<Listed>, bool) {
        self.forget_old(now);
        let behind = (Bound::Excluded(after), Bound::Unbounded);
        let mut users = self.users.range::<str, _>(behind);
        let listed = |(user, standing): (&CompactString, &Standing)| Listed {
            user: user.to_string(),
            is_here: matches!(standing, Standing::Here(_)),
        };
        let page = users.by_ref().take(most).map(listed).collect();
        (page, users.next().is_some())
    }

    /// The same. A user whose last connection is being closed has left.
    pub fn page_now(&mut self, cx: &Context, after: &str, most: usize) -> Part {
        let (mut page, more) = self.page(after, most, cx.now());
        page.iter_mut().for_each(|it| it.is_here &= cx.is_online(&it.user));
        (page, more)
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

/// A part of the list, and whether the node has more behind it.
pub type Part = (Vec<Listed>, bool);

/// Makes one page of at most `most` users out of the parts of all nodes. Returns the users who are
/// connected to a node, those who have only left one lately, both in their order, and the place of the
/// next page.
pub fn merge(parts: Vec<Part>, most: usize) -> (Vec<String>, Vec<String>, Option<String>) {
    // Behind the end of a part that has more nothing is known.
    let ends = parts.iter().filter(|(_, more)| *more).filter_map(|(part, _)| part.last());
    let end = ends.map(|it| it.user.clone()).min();
    let mut users = BTreeMap::<String, bool>::new();
    let mut has_more = end.is_some();
    for Listed { user, is_here } in parts.into_iter().flat_map(|(part, _)| part) {
        if end.as_ref().is_none_or(|end| user <= *end) {
            *users.entry(user).or_default() |= is_here;
        }
    }
    let (mut here, mut left, mut last) = (Vec::new(), Vec::new(), None);
    for (user, is_here) in users {
        if here.len() + left.len() == most {
            has_more = true;
            break;
        }
        last = Some(user.clone());
        if is_here { here.push(user) } else { left.push(user) }
    }
    (here, left, last.filter(|_| has_more))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(roll: &mut Roll, after: &str, most: usize, now: Instant) -> (Vec<String>, bool) {
        let (page, more) = roll.page(after, most, now);
        let name = |it: &Listed| format!("{}{}", it.user, if it.is_here { "" } else { " left" });
        (page.iter().map(name).collect(), more)
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
    fn a_page_of_all_nodes_has_each_user_once_and_ends_where_a_node_knows_more() {
        let part = |users: &[&str], more| {
            let listed = |user: &&str| Listed {
                user: user.trim_start_matches('-').to_owned(),
                is_here: !user.starts_with('-'),
            };
            (users.iter().map(listed).collect::<Vec<_>>(), more)
        };
        let parts = || vec![part(&["a", "-c", "e"], true), part(&["-a", "b", "-d", "f"], false)];
        let names =
            |users: &[&str]| users.iter().map(|user| (*user).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            merge(parts(), 9),
            (names(&["a", "b", "e"]), names(&["c", "d"]), Some("e".to_owned()))
        );
        assert_eq!(merge(parts(), 3), (names(&["a", "b"]), names(&["c"]), Some("c".to_owned())));
        let whole = vec![part(&["a"], false), part(&["b", "c"], false)];
        assert_eq!(merge(whole.clone(), 3), (names(&["a", "b", "c"]), vec![], None));
        assert_eq!(merge(whole, 2), (names(&["a", "b"]), vec![], Some("b".to_owned())));
        assert_eq!(merge(vec![part(&[], false)], 2), (vec![], vec![], None));
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

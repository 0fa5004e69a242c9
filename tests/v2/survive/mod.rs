//! Faults of other servers that their users have reported in public, and that longlink does not
//! have. Each test names the reports; `owner/repo#N` is issue or pull request N of that repository
//! on GitHub.

mod devices;
mod replay;
mod sends;
mod server;

use super::phone::Phone;
use super::{KEPT, Link, link, link_of};

/// Connects two users with a phone each.
fn pair() -> (Link, Phone, Phone) {
    let mut link = link();
    let (mut alice, mut bob) = (Phone::new("alice", "a"), Phone::new("bob", "b"));
    alice.connect(&mut link);
    bob.connect(&mut link);
    (link, alice, bob)
}

/// Sends messages with these numbers as their texts, and returns the state of each answer.
fn write_all(
    link: &mut Link,
    from: &mut Phone,
    to: &str,
    numbers: std::ops::RangeInclusive<u32>,
) -> Vec<String> {
    let mut states = Vec::new();
    for number in numbers {
        let cid = format!("{}-{to}-{number}", from.device);
        from.write_to(link, &cid, to, &number.to_string());
        states.push(from.state().to_owned());
    }
    states
}

/// The texts of messages with these numbers.
fn numbers(numbers: std::ops::RangeInclusive<u32>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

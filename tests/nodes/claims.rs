//! Requests of a backend with an idempotency key, which one of the nodes carries out.

use longlink::nodes::{Claim, Request, Told};

use crate::rig::Rig;

fn claim(rig: &mut Rig, at: usize, ticket: u32, request: u64) {
    rig.request(at, ticket, Request::Claim { key: "k", request });
    rig.settle();
}

fn claimed(rig: &mut Rig, at: usize) -> Vec<(u32, Claim)> {
    let claim = |told| match told {
        Told::Claimed(ticket, claim) => Some((ticket, claim)),
        _ => None,
    };
    rig.told(at).into_iter().filter_map(claim).collect()
}

fn finish(rig: &mut Rig, at: usize, done: Option<&[u8]>) {
    rig.request(at, u32::MAX, Request::Finish { key: "k", request: 7, done });
    rig.settle();
}

#[test]
fn a_request_that_one_node_carries_out_waits_on_another_one_until_it_is_finished() {
    let mut rig = Rig::new(2);
    claim(&mut rig, 0, 1, 7);
    assert_eq!(claimed(&mut rig, 0), [(1, Claim::Yours(None))]);
    claim(&mut rig, 1, 2, 7);
    rig.pass(2_000);
    assert_eq!(claimed(&mut rig, 1), []);
    finish(&mut rig, 0, Some(b"done"));
    rig.pass(200);
    assert_eq!(claimed(&mut rig, 1), [(2, Claim::Yours(Some(b"done".to_vec())))]);
    // Nothing was left to be done, so what was done stays known.
    finish(&mut rig, 1, None);
    claim(&mut rig, 0, 3, 7);
    assert_eq!(claimed(&mut rig, 0), [(3, Claim::Yours(Some(b"done".to_vec())))]);
}

#[test]
fn a_request_that_was_not_carried_out_is_as_new_when_it_comes_again() {
    let mut rig = Rig::new(2);
    claim(&mut rig, 0, 1, 7);
    finish(&mut rig, 0, None);
    assert_eq!(rig.keys("q*"), 0);
    claim(&mut rig, 1, 2, 8);
    assert_eq!(claimed(&mut rig, 1), [(2, Claim::Yours(None))]);
}

#[test]
fn a_key_of_another_request_is_not_given() {
    let mut rig = Rig::new(2);
    claim(&mut rig, 0, 1, 7);
    claim(&mut rig, 1, 2, 8);
    assert_eq!(claimed(&mut rig, 1), [], "the other request may yet turn out to be wrong");
    finish(&mut rig, 0, Some(b"done"));
    rig.pass(200);
    assert_eq!(claimed(&mut rig, 1), [(2, Claim::Other)]);
    claim(&mut rig, 1, 3, 8);
    assert_eq!(claimed(&mut rig, 1), [(3, Claim::Other)]);
}

#[test]
fn when_the_node_that_carries_a_request_out_dies_another_one_may() {
    let mut rig = Rig::new(2);
    claim(&mut rig, 0, 1, 7);
    claim(&mut rig, 1, 2, 7);
    rig.pass(1_000);
    assert_eq!(claimed(&mut rig, 1), []);
    rig.kill(0);
    rig.pass(200);
    assert_eq!(claimed(&mut rig, 1), [(2, Claim::Yours(None))]);
}

#[test]
fn a_request_waits_ten_seconds_for_another_node_at_most() {
    let mut rig = Rig::new(2);
    claim(&mut rig, 0, 1, 7);
    claim(&mut rig, 1, 2, 7);
    rig.pass(9_900);
    assert_eq!(claimed(&mut rig, 1), []);
    rig.pass(1_000);
    assert_eq!(claimed(&mut rig, 1), [(2, Claim::Busy)]);
}

#[test]
fn what_was_finished_is_told_to_redis_also_if_the_connection_breaks_meanwhile() {
    let mut rig = Rig::new(2);
    claim(&mut rig, 0, 1, 7);
    rig.cut(0, 0);
    finish(&mut rig, 0, Some(b"done"));
    rig.connect(0, 0);
    rig.pass(200);
    claim(&mut rig, 1, 2, 7);
    assert_eq!(claimed(&mut rig, 1), [(2, Claim::Yours(Some(b"done".to_vec())))]);
}

#[test]
fn nobody_can_tell_whose_a_key_is_while_redis_is_away() {
    let mut rig = Rig::new(2);
    claim(&mut rig, 0, 1, 7);
    claim(&mut rig, 1, 2, 7);
    rig.cut(1, 0);
    claim(&mut rig, 1, 3, 7);
    assert_eq!(claimed(&mut rig, 1), [(2, Claim::Unavailable), (3, Claim::Unavailable)]);
}

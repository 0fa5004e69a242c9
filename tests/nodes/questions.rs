//! Questions between nodes, and messages for everyone.

use longlink::nodes::{Of, Post, Request, Told};

use crate::rig::Rig;

/// Answers each question that a node was asked with its name.
fn answer(rig: &mut Rig, at: usize) -> usize {
    let mut count = 0;
    for told in rig.told(at) {
        if let Told::Asked(asked, question) = told {
            count += 1;
            let answer = [&question[..], at.to_string().as_bytes()].concat();
            rig.request(at, u32::MAX, Request::Answer { asked, answer: &answer });
        }
    }
    rig.settle();
    count
}

fn ask(rig: &mut Rig, of: Of<'_>) {
    rig.request(0, 6, Request::Ask { of, question: b"?" });
    rig.settle();
}

fn answers(rig: &mut Rig) -> Option<(Vec<String>, usize)> {
    rig.told(0).into_iter().find_map(|told| match told {
        Told::Answers(6, answers, missing) => {
            let text = |(node, answer): (Box<str>, Vec<u8>)| {
                format!("{node}: {}", String::from_utf8_lossy(&answer))
            };
            let mut texts: Vec<String> = answers.into_iter().map(text).collect();
            texts.sort();
            Some((texts, missing))
        }
        _ => None,
    })
}

#[test]
fn a_question_to_all_is_completed_when_every_other_node_has_answered() {
    let mut rig = Rig::new(3);
    rig.pass(3_000);
    ask(&mut rig, Of::All);
    assert_eq!(answer(&mut rig, 1), 1);
    assert_eq!(answers(&mut rig), None);
    assert_eq!(answer(&mut rig, 2), 1);
    let expected = vec!["n1: ?1".to_owned(), "n2: ?2".to_owned()];
    assert_eq!(answers(&mut rig), Some((expected, 0)));
}

#[test]
fn a_node_that_does_not_answer_within_two_seconds_is_missing() {
    let mut rig = Rig::new(3);
    rig.pass(3_000);
    ask(&mut rig, Of::All);
    answer(&mut rig, 2);
    rig.pass(1_900);
    assert_eq!(answers(&mut rig), None);
    rig.pass(100);
    assert_eq!(answers(&mut rig), Some((vec!["n2: ?2".to_owned()], 1)));
    answer(&mut rig, 1);
    assert_eq!(answers(&mut rig), None, "an answer that comes late is dropped");
}

#[test]
fn a_node_that_is_not_there_any_more_is_missing_at_once() {
    let mut rig = Rig::new(2);
    rig.pass(3_000);
    rig.kill(1);
    ask(&mut rig, Of::All);
    assert_eq!(answers(&mut rig), Some((vec![], 1)));
}

#[test]
fn only_the_nodes_of_a_user_or_the_named_node_are_asked() {
    let mut rig = Rig::new(4);
    rig.enter(2, "bob", "phone", 1);
    rig.enter(0, "bob", "tablet", 2);
    rig.told(0);
    rig.pass(3_000);
    ask(&mut rig, Of::User("bob"));
    let count: Vec<usize> = (1..4).map(|at| answer(&mut rig, at)).collect();
    assert_eq!(count, [0, 1, 0]);
    assert_eq!(answers(&mut rig), Some((vec!["n2: ?2".to_owned()], 0)));
    ask(&mut rig, Of::User("nobody"));
    assert_eq!(answers(&mut rig), Some((vec![], 0)));
    ask(&mut rig, Of::Node("n3"));
    let count: Vec<usize> = (1..4).map(|at| answer(&mut rig, at)).collect();
    assert_eq!(count, [0, 0, 1]);
    assert_eq!(answers(&mut rig), Some((vec!["n3: ?3".to_owned()], 0)));
}

#[test]
fn nobody_answers_when_redis_is_away() {
    let mut rig = Rig::new(2);
    rig.pass(3_000);
    rig.cut(0, 0);
    ask(&mut rig, Of::All);
    assert_eq!(answers(&mut rig), Some((vec![], 1)));
    ask(&mut rig, Of::User("bob"));
    assert_eq!(answers(&mut rig), Some((vec![], 1)));
}

#[test]
fn a_message_for_everyone_comes_to_all_other_nodes_and_not_back() {
    let mut rig = Rig::new(3);
    let (from, group, id, message) = ("ann", "g", 1 << 90, "\"张\"");
    let post =
        Post { from, device: "", group, id, frame: "{}", message, except: &["bob"], has_own: true };
    rig.request(0, u32::MAX, Request::Post(post));
    rig.settle();
    assert!(rig.told(0).is_empty());
    for at in [1, 2] {
        let told = rig.told(at);
        let [Told::Posted(posted)] = &told[..] else { panic!("{told:?}") };
        assert_eq!((&*posted.from, &*posted.group, posted.id), ("ann", "g", 1 << 90));
        assert_eq!((&*posted.message, &*posted.frame, posted.has_own), ("\"张\"", "{}", true));
        assert_eq!(posted.except, [Box::from("bob")]);
    }
}

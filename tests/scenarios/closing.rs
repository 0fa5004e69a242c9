//! How a connection is closed by the server: what was queued before comes first, then what the
//! application says last, and then the close frame.

use super::*;
use longlink::sim::frames::frame;

#[test]
fn answers_to_messages_before_a_violation_are_written_before_the_close_frame() {
    let mut link = link();
    let a = enter(&mut link, "A");
    link.pipes[a].got.clear();
    let bytes = [text(PING), text(PING), frame(0x80, b"stray", [7; 4])].concat();
    link.send(a, &bytes);
    link.settle();
    let got = &link.pipes[a].got;
    assert!(matches!(got[..], [Got::Text(_), Got::Text(_), Got::Close(1002, _)]), "{got:?}");
    leak_check(link);
}

#[test]
fn a_close_frame_reaches_a_client_whose_queue_has_no_room_for_it() {
    let mut config = Config::default();
    (config.max_message, config.max_queue) = (700, 714);
    let mut link = link_with(config);
    link.capacity = 10;
    let (slow, sender) = (enter(&mut link, "A"), enter(&mut link, "B"));
    link.set_reading(slow, false);
    say(&mut link, sender, &to("A", &"x".repeat(600)));
    let conn = link.pipes[slow].conn;
    assert!(link.hub.queued(conn) + 100 > 714, "{}", link.hub.queued(conn));
    link.hub.close(conn, 4_000, &"y".repeat(100));
    link.settle();
    link.set_reading(slow, true);
    link.settle();
    assert_eq!(close_code(&link, slow), Some(4_000));
    assert_eq!(link.pipes[slow].texts(), [from("B", "A", &"x".repeat(600))]);
    leak_check(link);
}

//! How a connection is closed by the server: what was queued before comes first, then what the
//! application says last, and then the close frame.

use super::*;
use longlink::sim::frames::frame;

#[test]
fn what_was_answered_before_a_violation_is_written_before_the_close_frame() {
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

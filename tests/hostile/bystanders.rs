//! Two who chat while others misbehave, and may not notice.

use longlink::{Config, Relay};

use crate::support::client::Socket;
use crate::support::serve::{self, Site};

pub struct Scene {
    pub site: Site<Relay>,
    pub left: Socket,
    pub right: Socket,
    said: usize,
}

pub fn scene(change: impl FnOnce(&mut Config)) -> Scene {
    let site = serve::relay(change);
    let (left, right) = (site.connect("left"), site.connect("right"));
    Scene { site, left, right, said: 0 }
}

impl Scene {
    /// Each says something to the other, and it arrives, past whatever else was
    /// sent to everyone.
    pub fn chat(&mut self) {
        self.said += 1;
        let word = format!("word {}", self.said);
        let pair = [("left", "right"), ("right", "left")];
        for (from, to) in pair {
            let (speaker, listener) = match from {
                "left" => (&mut self.left, &mut self.right),
                _ => (&mut self.right, &mut self.left),
            };
            speaker.send(&format!(r#"{{"toUserId":"{to}","message":"{word}"}}"#));
            let expected = format!(
                r#"{{"type":"message","formUserId":"{from}","toUserId":"{to}","message":"{word}"}}"#
            );
            while listener.text() != expected {}
        }
    }

    /// All is as if nobody else had ever been there: the bystanders chat, the
    /// others are gone, and nothing of theirs is held.
    pub fn ends_well(mut self) {
        self.chat();
        self.site.until("only the bystanders are left, and hold nothing", |hub| {
            hub.check_invariants();
            hub.connections() == 2 && hub.online() == 2 && hub.buffered() == 0
        });
        self.chat();
        let slow = self.site.ask(|hub, _| hub.stats().slow_readers);
        assert_eq!(slow, 0, "nobody was taken for a slow reader");
        self.leave();
    }

    /// The bystanders go too, and nothing is left.
    pub fn leave(self) {
        let Scene { site, left, right, .. } = self;
        drop((left, right));
        site.until("nobody and nothing is left", |hub| {
            hub.check_invariants();
            hub.connections() == 0 && hub.buffered() == 0
        });
    }

    /// A connection of the attacker's, `user`, sends `bytes` after its
    /// handshake and is closed with `code`.
    pub fn closes_with(&mut self, bytes: &[u8], code: u16) {
        let mut socket = self.site.connect("attacker");
        socket.send_raw(bytes);
        assert_eq!(socket.close_code(), Some(code), "{:x?}", &bytes[..bytes.len().min(40)]);
    }
}

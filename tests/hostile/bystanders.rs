//! Two users, the bystanders, who chat while other peers misbehave, and must not notice them.

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
    /// Lets each bystander send a message to the other, and checks that both messages arrive.
    /// Messages of other peers to everyone are skipped.
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

    /// Checks that the other peers have left no trace: the bystanders chat, the other connections
    /// are gone, and no byte of them is held.
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

    /// Lets the bystanders leave, and checks that nothing is left.
    pub fn leave(self) {
        let Scene { site, left, right, .. } = self;
        drop((left, right));
        site.until("nobody and nothing is left", |hub| {
            hub.check_invariants();
            hub.connections() == 0 && hub.buffered() == 0
        });
    }

    /// Checks that a connection of the user `attacker` is closed with `code` when it sends `bytes`
    /// after its handshake.
    pub fn closes_with(&mut self, bytes: &[u8], code: u16) {
        let mut socket = self.site.connect("attacker");
        socket.send_raw(bytes);
        assert_eq!(socket.close_code(), Some(code), "{:x?}", &bytes[..bytes.len().min(40)]);
    }
}

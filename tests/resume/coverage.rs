//! What has to happen in the runs of this simulation.

use longlink::metrics::MailboxCounters;

pub use crate::runs::Coverage;

/// The kinds of events that must each happen at least once over all seeds.
pub const REQUIRED: &[&str] = &[
    "acknowledged by the server",
    "answers: duplicate",
    "answers: conflict",
    "answers: not a member",
    "answers: after",
    "answers: unavailable",
    "apps hidden",
    "apps shown",
    "backend: kept",
    "backend: volatile",
    "backend: mailboxes deleted",
    "broadcasts of pages that reached a v2 client",
    "clients that crash",
    "disk: handled after a restart",
    "disk: restarts, killed",
    "disk: restarts, polite",
    "disk: sends that were stored before a restart",
    "disk: stored",
    "cut after a part of a frame",
    "cut after frames that nobody read",
    "devices displaced",
    "epochs",
    "gaps: expired",
    "gaps: lost",
    "gaps: overflow",
    "gaps: undeliverable",
    "group messages",
    "half-open connections",
    "handled",
    "idle ends",
    "kicks",
    "messages that replace one with their key",
    "own copies",
    "pages: to a mailbox",
    "pages: got",
    "presence frames",
    "receipts",
    "receipts that had to come",
    "restarts: killed",
    "restarts: polite",
    "resumes",
    "server: expired",
    "server: full windows",
    "server: shed",
    "server: undeliverable",
    "stalls",
    "storages that were set back",
    "strangers",
    "volatile messages",
];

impl Coverage {
    /// Adds the totals of a server that has ended.
    pub fn add_server(&mut self, counters: &MailboxCounters) {
        self.add("server: kept", counters.kept);
        self.add("server: delivered", counters.delivered);
        self.add("server: full windows", counters.full_windows);
        self.add("server: shed", counters.shed);
        self.add("server: lost", counters.lost);
        self.add("server: expired", counters.expired);
        self.add("server: undeliverable", counters.undeliverable);
        self.add("server: resumed", counters.resumed);
        self.add("server: gaps", counters.gaps);
    }
}

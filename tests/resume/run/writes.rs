//! What devices, pages and the backend write.

use super::{GROUPS, PAGES, Run, USERS};
use crate::device::Outgoing;
use crate::model::{Source, Target, Written};

impl Run {
    /// A message of a device to somebody.
    pub(super) fn write(&mut self, at: usize) {
        for _ in 0..=self.rng.below(3) {
            let (is_volatile, outgoing) = self.compose(at);
            let link = &mut self.server.link;
            match is_volatile {
                true => {
                    // It is handled at once, so that it is certain who is connected then.
                    self.devices[at].pass(link, outgoing);
                    link.settle();
                }
                false => self.devices[at].write(link, outgoing),
            }
        }
        if self.rng.percent(60) {
            self.server.link.settle();
        }
    }

    /// More than a window to one user.
    pub(super) fn write_many(&mut self, at: usize) {
        let target = Target::User(self.rng.below(USERS - 1) as usize);
        for _ in 0..self.rng.range(65, 90) {
            let text = self.text(&at.to_string(), 5);
            let outgoing = self.devices[at].compose(&target, &text, "");
            let from = self.devices[at].user.clone();
            self.model.write(&text, Written::new(Source::Device(at), &from, target.clone()));
            self.devices[at].write(&mut self.server.link, outgoing);
        }
        self.server.link.settle();
    }

    pub(super) fn text(&mut self, by: &str, longest: u64) -> String {
        self.serial += 1;
        format!("{by}.{}.{}", self.serial, "x".repeat(self.rng.below(longest) as usize))
    }

    pub(super) fn target(&mut self) -> Target {
        let rng = &mut self.rng;
        match rng.below(100) {
            0..66 => Target::User(rng.below(USERS) as usize),
            66..74 => {
                let mut users: Vec<usize> = (0..USERS as usize).collect();
                rng.shuffle(&mut users);
                users.truncate(rng.range(1, 4));
                Target::Users(users)
            }
            74..88 => Target::Group(rng.below(GROUPS) as usize),
            88..93 => Target::All,
            _ => {
                self.model.coverage.count("strangers");
                Target::Stranger(rng.below(400))
            }
        }
    }

    pub(super) fn compose(&mut self, at: usize) -> (bool, Outgoing) {
        let target = self.target();
        let text = self.text(&at.to_string(), self.longest);
        let device = &mut self.devices[at];
        let mut written = Written::new(Source::Device(at), &device.user, target.clone());
        let mut more = String::new();
        let is_to_user = matches!(target, Target::User(_));
        match self.rng.below(100) {
            0..10 if target != Target::All => {
                written.key = Some(*self.rng.pick(&["pos", "mood"]));
                more = format!(r#","key":"{}""#, written.key.unwrap_or_default());
                self.model.coverage.count("messages that replace one with their key");
            }
            10..20 if !self.is_roomy => more = format!(r#","ttl":{}"#, self.rng.range(1, 30)),
            20..30 => {
                written.volatile = true;
                more = r#","volatile":true"#.to_owned();
            }
            30..45 if is_to_user => {
                written.receipt = true;
                more = r#","receipt":true"#.to_owned();
            }
            _ => {}
        }
        let is_volatile = written.volatile;
        self.model.write(&text, written);
        (is_volatile, self.devices[at].compose(&target, &text, &more))
    }

    pub(super) fn write_as_page(&mut self) {
        let at = self.rng.index(PAGES.len());
        let link = &mut self.server.link;
        if self.pages[at].pipe.is_none() {
            return self.pages[at].connect(link);
        }
        if self.rng.percent(20) {
            return self.pages[at].close(link);
        }
        link.settle();
        self.pages[at].live(link, &mut self.model);
        let user = self.rng.below(USERS);
        let is_for_all = self.rng.percent(20);
        let target = if is_for_all { Target::All } else { Target::User(user as usize) };
        let text = self.text("p", 40);
        self.model.write(&text, Written::new(Source::Page(at), PAGES[at], target));
        let before = self.top(user);
        let link = &mut self.server.link;
        self.pages[at].say(
            link,
            &match is_for_all {
                true => format!(r#"{{"message":"{text}"}}"#),
                false => format!(r#"{{"toUserId":"u{user}","message":"{text}"}}"#),
            },
        );
        link.settle();
        if let (false, Some(before), Some(after)) = (is_for_all, before, self.top(user))
            && after > before
            && !self.is_slow
        {
            self.model.kept(&text, &format!("u{user}"), after);
            self.model.coverage.count("pages: to a mailbox");
        }
    }

    /// The newest number of a user who has a mailbox.
    pub(super) fn top(&mut self, user: u64) -> Option<u64> {
        let (_, answer) = self.server.ask("GET", &format!("/api/users/u{user}"), "");
        answer["mailbox"]["seq"].as_u64()
    }

    pub(super) fn write_as_backend(&mut self) {
        self.server.link.settle();
        let user = self.rng.below(USERS);
        let name = format!("u{user}");
        if self.rng.percent(6) && !self.is_roomy {
            self.server.ask("DELETE", &format!("/api/users/{name}/mailbox"), "");
            self.model.has_shed = true;
            return self.model.coverage.count("backend: mailboxes deleted");
        }
        let text = self.text("b", 60);
        let mut written = Written::new(Source::Backend, "shop", Target::User(user as usize));
        let wish = match self.rng.below(4) {
            0 => r#","keep":true"#,
            1 => {
                written.volatile = true;
                self.model.coverage.count("backend: volatile");
                r#","volatile":true"#
            }
            2 if !self.is_roomy => r#","keep":true,"ttl":9"#,
            _ => "",
        };
        self.model.write(&text, written);
        let body = format!(r#"{{"user":"{name}","message":"{text}","from":"shop"{wish}}}"#);
        let (status, answer) = self.server.ask("POST", "/api/send", &body);
        assert_eq!(status, 200, "{answer}");
        if answer["results"][0]["state"] == "queued" {
            let seq = self.top(user).expect("a mailbox");
            self.model.kept(&text, &name, seq);
            self.model.coverage.count("backend: kept");
        }
    }
}

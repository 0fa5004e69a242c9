//! One run: what happens to devices, pages, the network and the server, step by step and at random.

mod writes;

use longlink::sim::frames::Got;
use longlink::sim::{Disk, Rng};
use serde_json::Value;

use crate::coverage::Coverage;
use crate::device::{Device, Habit, Stored};
use crate::model::Model;
use crate::page::Page;
use crate::server::{Keeping, Server, Settings};

/// The users of pages: one has devices of v2 as well, the other has none.
const PAGES: [&str; 2] = ["u2", "u4"];
/// How many users there are. The last one has a page alone.
const USERS: u64 = 5;
const GROUPS: u64 = 2;

pub struct Run {
    rng: Rng,
    server: Server,
    devices: Vec<Device>,
    pages: Vec<Page>,
    model: Model,
    /// The server keeps messages by a journal that completes later. Then the backend writes nothing,
    /// since it would wait for its answers.
    is_slow: bool,
    /// Mailboxes have room for everything, and nothing is lost but by a restart.
    is_roomy: bool,
    /// The journal keeps everything from now on.
    is_calm: bool,
    serial: u64,
    longest: u64,
}

impl Run {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let keeping = match seed % 8 {
            3 => Keeping::Disk(Disk::new(50)),
            7 => Keeping::Slow,
            _ => Keeping::Memory,
        };
        let is_slow = !matches!(keeping, Keeping::Memory);
        let is_crowded = seed % 5 == 4;
        // In some runs nothing is lost, so that everything has to come.
        let is_roomy = seed % 4 == 1 || seed % 16 == 3;
        let mut users = vec![0, 0, 1, 1, 2, 3];
        if is_crowded {
            users.extend([0; 5]);
        }
        let mut devices = Vec::new();
        for (at, user) in users.iter().enumerate() {
            let habit =
                *rng.pick(&[Habit::Usual, Habit::Usual, Habit::Each, Habit::Slow, Habit::Never]);
            devices.push(Device::new(at, &format!("u{user}"), &format!("d{at}"), habit));
        }
        let mut model = Model::new(devices.iter().map(|device| device.user.clone()).collect());
        (model.is_slow, model.is_crowded) = (is_slow, is_crowded);
        model.is_on_disk = matches!(keeping, Keeping::Disk(_));
        model.loses_nothing = model.is_on_disk && is_roomy && !is_crowded;
        let mut settings = Settings::at_random(&mut rng, keeping);
        if is_roomy {
            settings.make_roomy();
        }
        let longest = *rng.pick(&[20, 200, 1_500]);
        let mut run = Run {
            server: Server::start(settings),
            rng,
            devices,
            pages: PAGES.map(Page::new).into(),
            model,
            is_slow,
            is_roomy,
            is_calm: false,
            serial: 0,
            longest,
        };
        if is_crowded {
            (0..users.len()).for_each(|at| run.connect(at));
        }
        run
    }

    /// Takes one step.
    pub fn step(&mut self) {
        let at = self.rng.index(self.devices.len());
        let is_connected = self.devices[at].conn.is_some();
        match self.rng.below(100) {
            0..29 => self.write(at),
            29 => self.write_many(at),
            30..42 if !is_connected => self.connect(at),
            42..45 => self.connect(at),
            45..50 if is_connected => self.cut(at),
            50..52 if is_connected => self.go_deaf(at),
            52..55 if is_connected => self.stall(at),
            55..62 => self.look(at),
            62..64 if is_connected => {
                self.devices[at].hide(&mut self.server.link, &mut self.model);
            }
            64..67 if is_connected => {
                self.devices[at].show(&mut self.server.link, &mut self.model);
                self.look(at);
            }
            67..71 => self.change_group(at),
            71..75 => self.write_as_page(),
            75..79 if !self.is_slow => self.write_as_backend(),
            79 => self.ask_for_presence(at),
            80..90 => self.pass_time(),
            90..93 if is_connected => self.repeat(at),
            93 => self.crash(at),
            94 if !is_connected => self.set_back(at),
            95 if self.rng.percent(40) => self.restart(),
            96..99 if self.is_slow => self.complete(),
            _ => self.look(at),
        }
        self.model.has_shed |= self.server.has_little_room();
        if self.is_slow && self.rng.percent(40) {
            self.complete();
        }
    }

    fn look(&mut self, at: usize) {
        self.server.link.settle();
        self.model.has_shed |= self.server.has_little_room();
        self.devices[at].look(&mut self.server.link, &mut self.model, usize::MAX);
    }

    fn connect(&mut self, at: usize) {
        let link = &mut self.server.link;
        link.capacity = *self.rng.pick(&[1 << 20, 1 << 20, 1 << 20, 40_000, 3_000, 300]);
        let old = self.devices[at].conn.as_ref().map(|conn| conn.pipe);
        let is_open = old.is_some_and(|pipe| {
            link.settle();
            link.pipes[pipe].is_reading() && link.hub.is_open(link.pipes[pipe].conn)
        });
        self.devices[at].connect(link, &mut self.model);
        if self.rng.percent(70) {
            link.settle();
            if let Some(old) = old.filter(|_| is_open) {
                check_kick(&link.pipes[old].got);
                self.model.coverage.count("kicks");
            }
        }
        if self.rng.percent(30) {
            self.devices[at].look(link, &mut self.model, usize::MAX);
        }
        self.devices[at].resend(link);
        if self.rng.percent(80) {
            self.look(at);
        }
    }

    fn cut(&mut self, at: usize) {
        let link = &mut self.server.link;
        match self.rng.below(4) {
            0 => {
                let (_, outgoing) = loop {
                    let (is_volatile, outgoing) = self.compose(at);
                    if !is_volatile {
                        break (is_volatile, outgoing);
                    }
                };
                let link = &mut self.server.link;
                self.devices[at].cut_in(link, outgoing, &mut self.rng);
                self.model.coverage.count("cut after a part of a frame");
            }
            1 => {
                // Some of what has come is read, and the rest is lost.
                link.settle();
                let most = self.rng.below(6) as usize;
                self.devices[at].look(link, &mut self.model, most);
                self.devices[at].cut(link);
                self.model.coverage.count("cut after frames that nobody read");
            }
            2 => {
                // A phone that goes acknowledges before.
                self.look(at);
                let link = &mut self.server.link;
                self.devices[at].acknowledge(link);
                link.settle();
                self.devices[at].look(link, &mut self.model, usize::MAX);
                self.devices[at].cut(link);
            }
            _ => self.devices[at].cut(link),
        }
        if self.rng.percent(70) {
            self.server.link.settle();
        }
    }

    fn go_deaf(&mut self, at: usize) {
        if let Some(conn) = &mut self.devices[at].conn {
            conn.is_deaf = true;
            self.model.coverage.count("half-open connections");
        }
    }

    /// The client stops reading, or goes on.
    fn stall(&mut self, at: usize) {
        let link = &mut self.server.link;
        if let Some(conn) = self.devices[at].conn.as_ref().filter(|conn| !conn.is_hidden) {
            let is_reading = link.pipes[conn.pipe].is_reading();
            link.set_reading(conn.pipe, !is_reading);
            self.model.coverage.add("stalls", u64::from(is_reading));
        }
    }

    fn change_group(&mut self, at: usize) {
        let link = &mut self.server.link;
        link.settle();
        let device = &mut self.devices[at];
        device.look(link, &mut self.model, usize::MAX);
        let group = self.rng.below(GROUPS) as usize;
        let is_join = self.rng.percent(75);
        let is_certain = device.is_well(link)
            && device.conn.as_ref().is_some_and(|conn| conn.is_welcome && !conn.is_hidden);
        if !is_certain {
            return;
        }
        let kind = if is_join { "join" } else { "leave" };
        device.say(link, &format!(r#"{{"type":"{kind}","group":"g{group}"}}"#));
        let user = device.user.clone();
        let answers = device.answers;
        link.settle();
        self.devices[at].look(link, &mut self.model, usize::MAX);
        // Without an answer nobody knows whether it was handled.
        let is_answered = self.devices[at].answers > answers;
        self.model.joined(group, &user, is_answered.then_some(is_join));
    }

    fn ask_for_presence(&mut self, at: usize) {
        let link = &mut self.server.link;
        if self.devices[at].conn.as_ref().is_some_and(|conn| conn.is_welcome) {
            let frame = r#"{"type":"presence","users":["u0","u1","u4"],"watch":true}"#;
            self.devices[at].say(link, frame);
        }
    }

    fn repeat(&mut self, at: usize) {
        self.look(at);
        // A server that may have forgotten the first one takes something else for a new message.
        let is_same = self.rng.percent(60) || self.model.has_shed;
        self.devices[at].repeat(&mut self.server.link, is_same);
    }

    /// An app that crashes at the first message, three times. It keeps nothing.
    fn crash(&mut self, at: usize) {
        let link = &mut self.server.link;
        self.devices[at].cut(link);
        link.settle();
        for _ in 0..3 {
            link.capacity = 1 << 20;
            self.devices[at].connect(link, &mut self.model);
            link.settle();
            self.devices[at].cut(link);
            link.settle();
        }
        self.model.coverage.count("clients that crash");
    }

    /// The platform has lost what the page stored last.
    fn set_back(&mut self, at: usize) {
        let Stored { epoch, cursor, .. } = &mut self.devices[at].stored;
        if *epoch == self.model.epoch && !epoch.is_empty() {
            *cursor = cursor.saturating_sub(1 + self.rng.below(5));
            let cursor = *cursor;
            self.model.set_back(at, cursor);
        }
    }

    /// The journal completes some of what it was given, and refuses some.
    fn complete(&mut self) {
        if let Some(disk) = self.server.disk().cloned() {
            return self.write_to(&disk);
        }
        let Some(journal) = self.server.journal.clone() else { return };
        let link = &mut self.server.link;
        for _ in 0..=self.rng.below(30) {
            let is_refused = !self.is_calm && self.rng.percent(3);
            let Some(completed) = journal.complete(is_refused, self.rng.percent(50)) else { break };
            let now = link.instant();
            link.hub.deliver(completed.into(), now);
            if self.rng.percent(50) {
                link.settle();
            }
        }
        link.settle();
    }

    /// The disk writes some of what waits, and answers.
    fn write_to(&mut self, disk: &Disk) {
        let link = &mut self.server.link;
        for completed in disk.step(self.rng.range(1, 30)) {
            let now = link.instant();
            link.hub.deliver(completed.into(), now);
            if self.rng.percent(50) {
                link.settle();
            }
        }
        link.settle();
    }

    fn pass_time(&mut self) {
        let millis = match self.rng.below(20) {
            0..9 => self.rng.below(900),
            9..16 => self.rng.below(6_000),
            16..19 => self.rng.below(40_000),
            _ => self.rng.below(150_000),
        };
        self.advance(millis);
    }

    /// Lets time pass, in which clients do what they do by themselves.
    fn advance(&mut self, millis: u64) {
        let until = self.server.link.now + millis;
        while self.server.link.now < until {
            let link = &mut self.server.link;
            let next = (until - link.now).min(1_000);
            link.advance(next);
            for device in &mut self.devices {
                device.live(link, &mut self.model);
            }
            for page in &mut self.pages {
                page.live(link, &mut self.model);
            }
            link.settle();
        }
    }

    fn restart(&mut self) {
        let is_polite = self.rng.percent(50);
        if is_polite {
            self.stop();
        }
        self.model.coverage.count(match is_polite {
            true => "restarts: polite",
            false => "restarts: killed",
        });
        self.model.restarted(is_polite);
        let counters = self.server.replace(is_polite);
        self.model.coverage.add_server(&counters);
        self.devices.iter_mut().for_each(|device| device.conn = None);
        self.pages.iter_mut().for_each(|page| page.pipe = None);
    }

    /// Stops the server as a signal does, which tells its clients.
    fn stop(&mut self) {
        let link = &mut self.server.link;
        link.settle();
        let mut told = Vec::new();
        for device in &mut self.devices {
            device.look(link, &mut self.model, usize::MAX);
            let is_reading = |pipe: usize| link.pipes[pipe].is_reading();
            let is_well = device.is_well(link);
            if device
                .conn
                .as_ref()
                .is_some_and(|it| is_well && it.is_welcome && is_reading(it.pipe))
            {
                told.push((device.at, device.byes));
            }
        }
        link.shutdown();
        link.settle();
        for device in &mut self.devices {
            device.look(link, &mut self.model, usize::MAX);
        }
        for (at, byes) in told {
            assert_eq!(self.devices[at].byes, byes + 1, "device {at} is told to come back");
        }
        self.advance(10_000);
        assert_eq!(self.server.link.hub.connections(), 0, "a shutdown ends");
    }

    /// Everybody comes back, reads and acknowledges all there is; then the model is asked.
    pub fn finish(mut self) -> Coverage {
        self.server.link.capacity = 1 << 20;
        self.is_calm = true;
        for device in &mut self.devices {
            device.habit = Habit::Usual;
        }
        // Not more devices of a user at a time than a mailbox knows.
        let count = self.devices.len();
        // First what waits in the outboxes is sent, then everybody gets that, then the receipts.
        for _ in 0..3 {
            for from in (0..count).step_by(5) {
                let some: Vec<usize> = (from..count.min(from + 5)).collect();
                self.drain(&some);
            }
        }
        self.model.check(false);
        let counters = self.server.counters();
        // A message that was handled and not acknowledged may be lost to the server.
        if counters.lost == 0 {
            self.model.check_receipts();
        }
        self.model.coverage.add_server(&counters);
        self.model.coverage
    }

    fn drain(&mut self, some: &[usize]) {
        for at in some {
            self.devices[*at].connect(&mut self.server.link, &mut self.model);
            self.server.link.settle();
            self.look(*at);
            self.devices[*at].resend(&mut self.server.link);
        }
        for _ in 0..40 {
            for _ in 0..5 {
                self.complete();
            }
            for at in some {
                self.look(*at);
                self.devices[*at].acknowledge(&mut self.server.link);
            }
            self.server.link.advance(20);
        }
        for at in some {
            self.look(*at);
            let device = &self.devices[*at];
            let left: Vec<_> = device.stored.outbox.iter().map(|it| &it.frame).collect();
            assert!(left.is_empty(), "device {at} has no answer to {left:?}");
            let is_live = device.conn.as_ref().is_some_and(|conn| conn.is_live);
            assert!(is_live, "device {at} is live: {:?}", device.conn);
        }
        let waiting = self.server.ask("GET", "/api/users/u3", "").1;
        let is_all = some.iter().any(|at| self.devices[*at].user == "u3");
        if is_all && waiting["mailbox"] != Value::Null {
            assert_eq!(waiting["mailbox"]["waiting"], 0, "{waiting}");
        }
    }
}

/// Checks that a connection was told that another one has taken its place, before it was closed.
fn check_kick(got: &[Got]) {
    let [.., Got::Text(kick), Got::Close(4509, _)] = got else { panic!("no kick: {got:?}") };
    let kick: Value = serde_json::from_str(kick).expect(kick);
    assert_eq!((&kick["type"], &kick["code"]), (&"kick".into(), &4509.into()));
    assert_eq!(kick["retry"], false);
}

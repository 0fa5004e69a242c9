//! Reads the settings again while the server runs, when SIGHUP asks for it.
//!
//! A thread reads and checks the settings as the start of the server does. If anything is wrong, it
//! says so and changes nothing. Otherwise it gives the loop what has changed, and the loop uses it
//! between two turns.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{io, thread};

use longlink::backend::{ApiKey, Webhooks};
use longlink::run::Listen;
use longlink::tickets::Tickets;
use longlink::{Config, Relay, RelayConfig, Server, Stopper};

#[cfg(feature = "tls")]
use super::renewal::{INTERVAL, Renewal};
use crate::cli::service::logger;
use crate::cli::service::supervisor::Supervisor;
use crate::cli::settings::addresses::Address;
use crate::cli::settings::capacity::Capacity;
use crate::cli::settings::flags::Flags;
use crate::cli::settings::row::{Setting, Shown};
use crate::cli::settings::{Settings, When};

/// How long a reload waits for the loop before the service manager is told that it is done.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a reload changes in the loop.
struct Change {
    config: Config,
    relay: RelayConfig,
    tickets: Option<Tickets>,
    keys: Vec<ApiKey>,
    /// Told when the loop uses all of this.
    done: SyncSender<()>,
}

/// The place where the loop finds a change.
#[derive(Clone, Default)]
pub struct Pending(Arc<(AtomicBool, Mutex<Option<Change>>)>);

impl Pending {
    fn put(&self, change: Change) {
        *self.0.1.lock().unwrap_or_else(PoisonError::into_inner) = Some(change);
        self.0.0.store(true, Ordering::Release);
    }

    /// Uses a change, if there is one. The loop calls it after each turn.
    pub fn apply<L: Listen>(&self, server: &mut Server<Relay, L>) {
        if !self.0.0.swap(false, Ordering::AcqRel) {
            return;
        }
        let change = self.0.1.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Change { config, relay, tickets, keys, done }) = change else { return };
        if let Err(error) = server.set_config(config) {
            // The thread has checked the configuration.
            log::error!(
                event = "reload_refused", error:%;
                "reload: the limits stay as they were: {error}"
            );
        }
        let (_, handler) = server.parts();
        handler.set_config(relay);
        handler.set_tickets(tickets);
        if let Some(backend) = handler.backend() {
            backend.set_keys(keys);
        }
        // The thread may have stopped waiting.
        let _ = done.try_send(());
    }
}

/// What reads the settings again.
pub struct Reload {
    pub flags: Flags,
    pub capacity: Capacity,
    /// The sockets of the service manager, if there are any.
    pub in_use: Vec<Address>,
    /// The value of each setting that counts now.
    pub effective: Vec<(&'static Setting, Shown)>,
    /// The settings of the relay that count now.
    pub relay: RelayConfig,
    /// Whether this server is one of several nodes, which share some bounds from their start on.
    pub is_node: bool,
    /// Whether messages are kept in a file.
    pub has_store: bool,
    pub webhooks: Option<Webhooks>,
    #[cfg(feature = "tls")]
    pub renewal: Option<Renewal>,
    pub pending: Pending,
    pub stopper: Stopper,
    pub supervisor: Supervisor,
}

impl Reload {
    /// Starts the thread, and returns where a reload is asked for.
    pub fn start(mut self) -> io::Result<Sender<()>> {
        #[cfg(feature = "tls")]
        if let Some(renewal) = &self.renewal {
            renewal.announce();
        }
        let (ask, asked) = channel();
        thread::Builder::new()
            .name("reload".to_owned())
            .spawn(move || while self.wait(&asked).is_some() {})?;
        Ok(ask)
    }

    /// Waits for the next reload or the next look at the certificate; `None` if there will be none.
    fn wait(&mut self, asked: &Receiver<()>) -> Option<()> {
        match self.next(asked) {
            Ok(()) => {
                // Several signals that have come meanwhile ask for the same.
                while asked.try_recv().is_ok() {}
                self.reload();
                self.supervisor.ready();
            }
            Err(RecvTimeoutError::Timeout) =>
            {
                #[cfg(feature = "tls")]
                if let Some(renewal) = &mut self.renewal {
                    renewal.renew(false);
                }
            }
            Err(RecvTimeoutError::Disconnected) => return None,
        }
        Some(())
    }

    fn next(&self, asked: &Receiver<()>) -> Result<(), RecvTimeoutError> {
        #[cfg(feature = "tls")]
        if self.renewal.is_some() {
            return asked.recv_timeout(INTERVAL);
        }
        asked.recv().map_err(|_| RecvTimeoutError::Disconnected)
    }

    /// Reads all settings again, and uses them, or says why not.
    fn reload(&mut self) {
        let in_use = self.in_use.iter().filter_map(Address::in_use).collect();
        let (values, mut settings) =
            match Settings::load(&self.flags, &self.capacity, in_use, When::Running) {
                Ok(loaded) => loaded,
                Err(problems) => {
                    for problem in problems.iter() {
                        log::error!(
                            event = "reload_problem", error:% = problem;
                            "reload: {problem}"
                        );
                    }
                    log::error!(
                        event = "reload_refused", count = problems.iter().count();
                        "reload: nothing was changed, because the settings are wrong"
                    );
                    return;
                }
            };
        if !values.is_given("mailbox-ttl") {
            settings.follow_store(self.has_store);
        }
        let tickets = match settings.make_tickets() {
            Ok(tickets) => tickets,
            Err(error) => {
                log::error!(
                    event = "reload_refused", error:%;
                    "reload: nothing was changed: {error}"
                );
                return;
            }
        };
        let changes = self.differences(&settings);
        for warning in &settings.warnings {
            log::warn!("{warning}");
        }
        // The more detailed level counts for the lines of this reload.
        let level = settings.level;
        logger::set_level(level.max(log::max_level()));
        let (done, is_done) = sync_channel(1);
        let mut relay = settings.relay.clone();
        if self.is_node {
            relay.mailbox_messages = self.relay.mailbox_messages;
            relay.mailbox_bytes = self.relay.mailbox_bytes;
        }
        self.relay = relay.clone();
        self.pending.put(Change {
            config: settings.config.clone(),
            relay,
            tickets,
            keys: settings.backend.keys.clone(),
            done,
        });
        self.stopper.wake();
        if let (Some(webhooks), Some(config)) = (&self.webhooks, settings.webhooks) {
            webhooks.set_config(config);
        }
        #[cfg(feature = "tls")]
        if let (Some(renewal), Some(loaded)) = (&mut self.renewal, settings.tls) {
            renewal.set_files(loaded.files);
            renewal.renew(true);
        }
        // If the loop has ended meanwhile, nobody says that it is done.
        let _ = is_done.recv_timeout(PATIENCE);
        self.tell(&changes);
        logger::set_level(level);
    }

    /// Compares the values that count with those that were read, and keeps those that count from now
    /// on. Returns each setting that differs, with both values, and whether the new one counts.
    fn differences(&mut self, settings: &Settings) -> Vec<(&'static str, Shown, Shown, bool)> {
        let mut differences = Vec::new();
        for ((setting, counts), (_, read)) in self.effective.iter_mut().zip(settings.values()) {
            if *counts == read {
                continue;
            }
            let is_stuck = match setting.name {
                name if name.starts_with("webhook") => {
                    self.webhooks.is_some() != settings.webhooks.is_some()
                }
                #[cfg(feature = "tls")]
                "tls-cert" | "tls-key" => self.renewal.is_some() != settings.tls.is_some(),
                _ => false,
            };
            let is_used = setting.reloads(self.is_node) && !is_stuck;
            differences.push((setting.name, counts.clone(), read.clone(), is_used));
            if is_used {
                *counts = read;
            }
        }
        differences
    }

    /// Logs what has changed, and what cannot change.
    fn tell(&self, changes: &[(&'static str, Shown, Shown, bool)]) {
        for (name, old, new, is_used) in changes {
            let is_secret = old.is_secret() || new.is_secret();
            match (is_used, is_secret) {
                (true, false) => log::info!(
                    event = "reload_changed", setting = name, old:%, new:%;
                    "reload: {name}: {old} -> {new}"
                ),
                (true, true) => log::info!(
                    event = "reload_changed", setting = name;
                    "reload: {name} has changed"
                ),
                (false, false) => log::warn!(
                    event = "restart_needed", setting = name, old:%, new:%;
                    "reload: {name} stays {old} until the server is started again: {new} is not used"
                ),
                (false, true) => {
                    log::warn!(
                        event = "restart_needed", setting = name;
                        "reload: {name} has changed, which needs a restart of the server"
                    );
                }
            }
        }
        let count = changes.iter().filter(|(.., is_used)| *is_used).count();
        let what = match count {
            0 => "no setting has changed".to_owned(),
            1 => "1 setting has changed".to_owned(),
            count => format!("{count} settings have changed"),
        };
        log::info!(event = "reload_done", count; "reload: done, and {what}");
    }
}

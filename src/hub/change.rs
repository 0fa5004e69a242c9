//! Other limits and timeouts for a hub that has connections already.

use super::config::ConfigError;
use super::context::Timeouts;
use super::table::record::Phase;
use super::table::slots::Slot;
use super::{Config, Context};

impl Context {
    /// Uses other limits and timeouts from now on. No connection is ended by the call: a limit that
    /// is below what a connection holds, or how many there are, counts for what comes next. The
    /// deadline of an open connection follows the new timeouts at once; the deadlines of handshakes
    /// and of closing connections stay as they are.
    ///
    /// [`Config::devices`] stays as it was, because users with several devices may be connected.
    /// With a driver, call [`Driver::set_config`](crate::Driver::set_config) instead.
    ///
    /// The call visits each connection once, if a timeout, `max_queue`, `max_per_address` or the
    /// trusted proxies have changed. It takes about 10 ms for a million connections.
    ///
    /// # Errors
    /// If the configuration contradicts itself. Nothing has changed then.
    pub fn set_config(&mut self, mut config: Config) -> Result<(), ConfigError> {
        config.check()?;
        config.devices = self.config.devices;
        // Broadcasts that are not queued yet are queued under the old bounds.
        self.queue_all();
        let timeouts = Timeouts::of(&config);
        let has_other_times = timeouts != self.timeouts;
        let counts_others = config.max_per_address != self.config.max_per_address
            || config.trusted_proxies != self.config.trusted_proxies;
        self.loosest.queue = self.loosest.queue.max(config.max_queue);
        self.loosest.user = match (self.loosest.user, config.max_per_user) {
            (0, _) | (_, 0) => 0,
            (old, new) => old.max(new),
        };
        self.timeouts = timeouts;
        self.pace.set_rates(&config);
        self.config = config;
        self.set_bounds();
        if counts_others {
            let (limit, trusted) = (self.config.max_per_address, &self.config.trusted_proxies);
            self.addresses.set_limit(limit, trusted.clone());
            for (_, conn) in self.table.iter() {
                self.addresses.enter(conn.peer);
            }
        }
        if has_other_times {
            let indices: Vec<Slot> = self.table.indices();
            indices.into_iter().for_each(|index| self.follow_timeouts(index));
        }
        Ok(())
    }

    /// Arms the deadline of a connection if it is earlier by the new timeouts, or if there was none.
    fn follow_timeouts(&mut self, index: Slot) {
        match self.table[index].phase() {
            Phase::Open => self.arm_open(index),
            Phase::Head
                if self.is_uploading(index) && self.wheel.deadline(index.key()).is_none() =>
            {
                self.arm(index, self.now.saturating_add(self.timeouts.message));
            }
            _ => {}
        }
    }
}

/// The loosest bounds that a hub has had. What was queued or connected under them may stay.
#[derive(Clone, Copy, Debug)]
pub struct Loosest {
    /// The largest `max_queue`.
    pub queue: usize,
    /// The largest `max_per_user`; 0 means no limit.
    pub user: usize,
}

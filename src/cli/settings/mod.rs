//! The settings: one table of them, the sources of their values, and the configuration that the
//! library gets in the end.

pub mod addresses;
mod backend;
pub mod capacity;
#[cfg(feature = "tls")]
pub mod certificate;
#[cfg(feature = "cluster")]
mod cluster;
pub mod draft;
pub mod flags;
mod hosts;
pub mod print;
pub mod row;
pub mod secret;
mod similar;
#[cfg(feature = "store")]
pub mod store;
pub mod table;
pub mod units;
pub mod values;
mod webhooks;

use std::collections::BTreeSet;

use log::LevelFilter;
use longlink::backend::{BackendConfig, WebhookConfig};
use longlink::limits::ConfigError;
use longlink::tickets::{TicketError, Tickets};
use longlink::{Config, RelayConfig};

use crate::cli::problems::{Problem, Problems};
use crate::cli::service::logger::Format;
use addresses::Address;
use capacity::Capacity;
#[cfg(feature = "tls")]
use certificate::{Files, Loaded};
use draft::Draft;
use flags::Flags;
use row::{Setting, Shown};
use secret::Secrets;
use table::{CONFIG, DEFAULT_LISTEN, SECRET_FILE};
use values::Values;

/// Everything that `serve` needs to know.
#[derive(Debug)]
pub struct Settings {
    pub config: Config,
    pub relay: RelayConfig,
    /// The secrets; clients need a ticket that is signed with one of them.
    pub secrets: Option<Secrets>,
    /// Whether a connection stays open after its ticket has expired.
    pub at_door_only: bool,
    /// The configuration of the webhooks, with which the backend is told what happens.
    pub webhooks: Option<WebhookConfig>,
    /// The addresses to listen on. They were checked: other machines can reach them only if a
    /// setting allows it.
    pub listen: Vec<Address>,
    pub backend: BackendConfig,
    /// The addresses of the backend's interface. They were checked: only this machine can reach
    /// them, or a key is required.
    pub api_listen: Vec<Address>,
    /// The certificate and its files, for TLS on every TCP address.
    #[cfg(feature = "tls")]
    pub tls: Option<Loaded>,
    /// The file in which messages are kept.
    #[cfg(feature = "store")]
    pub store: Option<store::File>,
    /// Where each Redis is over which this server is one of several nodes.
    #[cfg(feature = "cluster")]
    pub cluster: Option<longlink::cluster::ClusterConfig>,
    pub level: LevelFilter,
    pub format: Format,
    /// Warnings about settings that are probably mistakes; they are logged once there is a log.
    pub warnings: Vec<String>,
    /// What all of this was made of.
    draft: Draft,
}

/// When settings are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before there is a server.
    Start,
    /// In the process of a server that runs.
    Running,
}

impl Settings {
    /// Gathers the flags, the environment and the configuration file, and reads every setting, as
    /// [`Settings::read`] does. Each command that needs all settings calls this function, so that
    /// `check` and `serve` find the same problems.
    pub fn load(
        flags: &Flags,
        capacity: &Capacity,
        inherited: Vec<Address>,
        when: When,
    ) -> Result<(Values, Self), Problems> {
        let mut problems = Problems::default();
        let values = Values::gather(flags, std::env::vars_os(), &mut problems);
        let settings = Self::read(&values, capacity, inherited, when, &mut problems);
        match settings {
            Some(settings) if problems.is_empty() => Ok((values, settings)),
            _ => Err(problems),
        }
    }

    /// Reads every setting and checks that they fit together. Some defaults depend on the machine's
    /// capacity. Sockets that the service manager has handed over replace the addresses. Everything
    /// that is wrong is added to the problems.
    pub fn read(
        values: &Values,
        capacity: &Capacity,
        inherited: Vec<Address>,
        when: When,
        problems: &mut Problems,
    ) -> Option<Self> {
        let mut draft = Draft::default();
        // The library's own defaults do not depend on the machine.
        draft.config.max_connections = capacity.connections();
        draft.config.max_buffered = capacity.buffered().unwrap_or(draft.config.max_buffered);
        draft.relay.mailbox_memory = capacity.mailboxes().unwrap_or(draft.relay.mailbox_memory);
        let wrong = values.fill(&mut draft, problems);
        // A setting whose value is wrong has its default here. What follows from the default is no
        // mistake of whoever wrote the settings.
        let mut check = Check { values, wrong, problems };

        check.needed(&mut draft);
        for error in draft.config.contradictions() {
            check.config(error, &draft.config);
        }
        let listen = match (inherited.is_empty(), &draft.listen) {
            (true, Some(words)) => check.addresses("listen", words),
            (true, None) => Address::parse(DEFAULT_LISTEN).into_iter().collect(),
            (false, _) => inherited,
        };
        let api_listen = check.addresses("api-listen", &draft.api_listen);
        for (name, addresses) in [("listen", &listen), ("api-listen", &api_listen)] {
            let refused = addresses::folders(addresses);
            check.of(&[name], refused.map_err(|why| values.refuse(name, why)));
        }
        let secrets =
            check.of(&[SECRET_FILE], Secrets::read(draft.secrets.clone(), values)).flatten();
        let open = ["open", SECRET_FILE];
        if draft.open && secrets.is_some() {
            let why =
                "open lets everyone in, a secret only who has a ticket: leave one of them out";
            check.add(&open, values.contradict(&open, why));
        }
        if !draft.open && secrets.is_none() {
            let refused = addresses::protect(&listen);
            let refused = refused.map_err(|why| values.contradict(&["listen"], why));
            check.of(&["listen", "open", SECRET_FILE], refused);
        }
        if draft.backend.keys.is_empty() {
            let refused = addresses::protect_api(&api_listen);
            let refused = refused.map_err(|why| values.refuse("api-listen", why));
            check.of(&["api-listen", "api-key-file"], refused);
        }
        if draft.at_door_only && secrets.is_none() {
            let why = "there are no tickets without a secret";
            let names = ["ticket-at-door-only", SECRET_FILE];
            check.add(&names, values.refuse(names[0], why));
        }
        #[cfg(not(feature = "store"))]
        let _ = when;
        #[cfg(feature = "store")]
        let store = {
            let names = ["store", "mailbox"];
            let made = store::check(draft.store.clone(), &mut draft.relay, values);
            let file = check.of(&names, made).flatten();
            // In the process that has the file open, a look at it would take away the store's locks.
            if let (Some(file), When::Start) = (&file, when) {
                let examined = store::examine(file, values);
                check.of(&names, examined);
            }
            file
        };
        #[cfg(feature = "cluster")]
        let cluster = {
            let names = ["redis", "redis-ca", "store"];
            let made = cluster::check(draft.cluster.clone(), &draft.relay, &listen, values);
            check.of(&names, made).flatten()
        };
        let names = ["webhook", "webhook-secret-file", "webhook-ca"];
        let webhooks = check.of(&names, webhooks::config(draft.webhook.clone(), values)).flatten();
        #[cfg(feature = "tls")]
        let tls = {
            let files = Files::pair(draft.tls_cert.clone(), draft.tls_key.clone());
            files.and_then(|files| files.load(values, check.problems))
        };
        let mut settings = Settings {
            config: draft.config.clone(),
            relay: draft.relay.clone(),
            secrets,
            at_door_only: draft.at_door_only,
            webhooks,
            listen,
            backend: draft.backend.clone(),
            api_listen,
            #[cfg(feature = "tls")]
            tls,
            #[cfg(feature = "store")]
            store,
            #[cfg(feature = "cluster")]
            cluster,
            level: draft.level,
            format: draft.format,
            warnings: Vec::new(),
            draft,
        };
        settings.warn(values, capacity);
        problems.is_empty().then_some(settings)
    }

    /// Sets the default of the time for which messages wait, which follows from the store that is
    /// open and not from the one that these settings name.
    pub fn follow_store(&mut self, has_store: bool) {
        #[cfg(feature = "store")]
        let kept = Some(store::KEPT).filter(|_| has_store);
        #[cfg(not(feature = "store"))]
        let kept = None.filter(|_| has_store);
        let time = kept.unwrap_or(RelayConfig::default().mailbox_ttl);
        self.relay.mailbox_ttl = time;
        self.draft.relay.mailbox_ttl = time;
    }

    /// Makes what checks tickets, if clients need one.
    pub fn make_tickets(&self) -> Result<Option<Tickets>, TicketError> {
        let tickets = self.secrets.as_ref().map(Secrets::tickets).transpose()?;
        Ok(tickets.map(|tickets| tickets.at_door_only(self.at_door_only)))
    }

    /// The value of each setting that counts.
    pub fn values(&self) -> Vec<(&'static Setting, Shown)> {
        let mut draft = self.draft.clone();
        let settings = table::all().filter(|setting| setting.name != CONFIG);
        settings.map(|setting| (setting, setting.value_in(&mut draft))).collect()
    }

    /// Whether the server is one of several nodes.
    #[cfg(feature = "cluster")]
    pub fn is_node(&self) -> bool {
        self.cluster.is_some()
    }

    /// Whether the server is one of several nodes.
    #[cfg(not(feature = "cluster"))]
    pub fn is_node(&self) -> bool {
        false
    }

    #[cfg(feature = "tls")]
    fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    #[cfg(not(feature = "tls"))]
    fn has_tls(&self) -> bool {
        false
    }

    /// Collects warnings about settings that are probably mistakes but harm nobody else.
    fn warn(&mut self, values: &Values, capacity: &Capacity) {
        let Config { max_connections, ping_after, idle_timeout, .. } = self.config;
        if let Some(warning) = capacity.shortage(max_connections) {
            self.warnings.push(warning);
        }
        if ping_after >= idle_timeout && !idle_timeout.is_zero() {
            let warning = "ping-after is not below idle-timeout: silent clients are ended unasked";
            self.warnings.push(warning.to_owned());
        }
        if let Some(address) = self.listen.iter().find(|address| !address.is_local()) {
            if self.secrets.is_none() {
                let warning = "is open: everyone who reaches it may connect as anyone";
                self.warnings.push(format!("{address} {warning}"));
            } else if !self.has_tls() {
                let warning =
                    "has no TLS: tickets travel in the clear, and who reads one can use it";
                self.warnings.push(format!("{address} {warning}"));
            }
        }
        #[cfg(feature = "cluster")]
        if let Some(cluster) = &self.cluster
            && values.is_flag("redis")
            && cluster.urls.iter().any(longlink::cluster::RedisUrl::has_password)
        {
            let warning = "--redis contains a password, which every user of this machine can see: \
                           put it into LONGLINK_REDIS or into the configuration file";
            self.warnings.push(warning.to_owned());
        }
        let inherited =
            matches!(self.listen[..], [Address::Inherited(_) | Address::InUse { .. }, ..]);
        if inherited && values.is_given("listen") {
            let warning = "listen is set, but the service manager's sockets take its place";
            self.warnings.push(warning.to_owned());
        }
        for name in &values.strangers {
            let variables = table::all().map(Setting::variable).collect::<Vec<_>>();
            let meant = similar::of_variable(name, &variables);
            self.warnings.push(format!("{name} is set, but there is no such setting{meant}"));
        }
    }
}

/// Checks settings against each other, and leaves out what follows from another mistake.
struct Check<'a> {
    values: &'a Values,
    /// The settings whose values are wrong, and have been reported.
    wrong: BTreeSet<&'static str>,
    problems: &'a mut Problems,
}

impl Check<'_> {
    /// Adds a problem of several settings, unless the value of one of them is wrong or unknown.
    fn add(&mut self, names: &[&str], problem: Problem) {
        let is_known = !self.values.is_partial();
        if is_known && !names.iter().any(|name| self.wrong.contains(name)) {
            self.problems.add(problem);
        }
    }

    /// Takes what was made of several settings, or adds the problem, as [`Check::add`] does.
    fn of<T>(&mut self, names: &[&str], made: Result<T, Problem>) -> Option<T> {
        made.map_err(|problem| self.add(names, problem)).ok()
    }

    /// Refuses each setting that was given without the one that it needs.
    fn needed(&mut self, draft: &mut Draft) {
        for setting in table::all().filter(|setting| self.values.is_given(setting.name)) {
            let Some(needed) = setting.needed else { continue };
            let row = table::find(needed.name);
            if row.is_none_or(|row| row.value_in(draft) == Shown::Unset) {
                let problem = self.values.refuse(setting.name, needed.refusal);
                self.add(&[setting.name, needed.name], problem);
            }
        }
    }

    /// Reads the addresses of a setting. Each one that is wrong is a problem.
    fn addresses(&mut self, name: &'static str, words: &[String]) -> Vec<Address> {
        let mut addresses = Vec::new();
        for word in words {
            match Address::parse(word) {
                Ok(address) => addresses.push(address),
                Err(why) => {
                    self.problems.add(self.values.refuse(name, why));
                    self.wrong.insert(name);
                }
            }
        }
        addresses
    }

    /// Adds a contradiction between limits.
    fn config(&mut self, error: ConfigError, config: &Config) {
        let names: &[&'static str] = match error {
            ConfigError::QueueBelowMessage => &["max-queue", "max-message"],
            ConfigError::QueueTooLong => &["max-queue"],
            ConfigError::TooManyConnections => &["max-connections"],
            ConfigError::Zero(name) => &[name],
            _ => &[],
        };
        let why = match error {
            // One of the two values may be a default, so the message has both.
            ConfigError::QueueBelowMessage => {
                let (most, longest) = (config.max_queue, config.max_message);
                format!("{error}: max-queue is {most}, max-message is {longest}")
            }
            error => error.to_string(),
        };
        self.add(names, self.values.contradict(names, why));
    }
}

//! Every setting is one row of this table. The flags and their help, the environment variables, and
//! the keys of the configuration file come from it. The table in `docs/operations.md` is written by hand;
//! `tests/cli/guide.rs` compares the two.
//!
//! To add a setting, add a row to the group under whose heading the help lists it, and a field where the setting is used: `Config` of the hub,
//! `RelayConfig`, `BackendConfig`, or, for what only the program needs, the `Draft` here and the
//! `Settings` in `mod.rs`, which `commands/serve/` reads. If some values are not allowed, the hub's
//! `Config::check` refuses them. A setting that means nothing without another one says so in its row. Then add a row to `docs/operations.md`.

mod limits;

use log::LevelFilter;
use longlink::RelayConfig;
use longlink::backend::WebhookEvents;
use longlink::limits::Devices;

use super::addresses::Address;
#[cfg(feature = "cluster")]
use super::cluster;
use super::row::{Kind, Needed, Setting, Shown};
#[cfg(feature = "store")]
use super::store;
use super::{backend, hosts, secret, units, webhooks};
use crate::cli::service::logger::Format;

/// The name of the setting for the file of the tickets' secrets.
pub const SECRET_FILE: &str = "secret-file";

/// The name of the setting for the configuration file; only a flag or the environment can give it.
pub const CONFIG: &str = "config";

const LEVELS: &[(&str, LevelFilter)] = &[
    ("error", LevelFilter::Error),
    ("warn", LevelFilter::Warn),
    ("info", LevelFilter::Info),
    ("debug", LevelFilter::Debug),
    ("trace", LevelFilter::Trace),
    ("off", LevelFilter::Off),
];

const FORMATS: &[(&str, Format)] = &[("text", Format::Text), ("json", Format::Json)];

const DEVICES: &[(&str, Devices)] = &[("many", Devices::Many), ("one", Devices::One)];

// The settings without which others have no meaning, each with what is said of those.
#[cfg(feature = "tls")]
const TLS_CERT: Needed = Needed { name: "tls-cert", refusal: "it needs tls-cert, its certificate" };
#[cfg(feature = "tls")]
const TLS_KEY: Needed = Needed { name: "tls-key", refusal: "it needs tls-key, its private key" };
#[cfg(feature = "store")]
const STORE: Needed = Needed { name: "store", refusal: "it needs store, the file" };
#[cfg(feature = "cluster")]
const REDIS: Needed = Needed { name: "redis", refusal: "it needs redis, the URL" };
const WEBHOOK: Needed = Needed { name: "webhook", refusal: "it needs webhook, the URL" };
const WEBHOOK_SECRET: Needed = Needed {
    name: "webhook-secret-file",
    refusal: "it needs webhook-secret-file, because what is sent is signed",
};

/// The settings that the help lists under one heading.
#[derive(Debug)]
pub struct Group {
    pub heading: &'static str,
    pub settings: &'static [Setting],
}

/// The heading of what concerns the process itself.
pub const RUN: &str = "Running";

/// Every setting, in the order of the help.
pub static GROUPS: &[Group] = &[
    Group { heading: "Where it listens", settings: ADDRESSES },
    Group { heading: "Who may connect", settings: DOOR },
    Group { heading: "What it serves", settings: CHAT },
    #[cfg(feature = "store")]
    Group { heading: "What it keeps on disk (docs/operations.md)", settings: DISK },
    #[cfg(feature = "cluster")]
    Group { heading: "Several nodes (docs/cluster.md)", settings: NODES },
    Group { heading: "The backend (docs/api.md, docs/webhooks.md)", settings: BACKEND },
    Group {
        heading: "Limits (bytes; 64kb, 16mb and 1gb mean KiB, MiB and GiB)",
        settings: limits::SIZES,
    },
    Group {
        heading: "Limits for one address, user or connection (0 means no limit)",
        settings: limits::RATES,
    },
    Group {
        heading: "Times (seconds, or 500ms, 60s, 5m, 2h; 0 means never)",
        settings: limits::TIMES,
    },
    Group { heading: RUN, settings: PROCESS },
];

/// Every setting.
pub fn all() -> impl Iterator<Item = &'static Setting> {
    GROUPS.iter().flat_map(|group| group.settings)
}

/// The setting of this name.
pub fn find(name: &str) -> Option<&'static Setting> {
    all().find(|setting| setting.name == name)
}

/// The default address, which only this machine can reach.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

/// The word of a value that is one of a few.
fn name_of<T: PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    words.iter().find(|(_, it)| *it == value).map_or("", |(word, _)| word)
}

static ADDRESSES: &[Setting] = &[
    Setting::new(
        "listen",
        "ADDR",
        Kind::Many(|it, raw| Address::words(raw).map(|list| it.listen = Some(list))),
        "127.0.0.1:8080, [::1]:8080, localhost:8080, 8080 (on 127.0.0.1) or unix:PATH; port 0 \
         takes a free one; repeatable. Sockets that systemd hands over take its place. Each address is printed as \
         `listening on …` on standard output",
    )
    .everyday()
    .is(|it| match &it.listen {
        Some(list) => Shown::list(list),
        None => Shown::List(vec![DEFAULT_LISTEN.to_owned()]),
    })
    .at_restart()
    .default_is(DEFAULT_LISTEN),
    Setting::new(
        "open",
        "on|off",
        Kind::Switch(|it| &mut it.open),
        "Allow addresses other than loopback without tickets, although everyone who reaches them \
         can connect under any user id; not together with tickets, which do not need it",
    )
    .everyday(),
    #[cfg(feature = "tls")]
    Setting::new(
        "tls-cert",
        "FILE",
        Kind::One(|it, raw| units::text(raw).map(|path| it.tls_cert = Some(path.into()))),
        "Speak TLS (https and wss) on TCP addresses, with this certificate and its chain: PEM, \
         as in fullchain.pem. A renewed file is used within a minute, or at SIGHUP",
    )
    .everyday()
    .needs(&TLS_KEY)
    .is(|it| Shown::path(&it.tls_cert))
    .default_is("none"),
    #[cfg(feature = "tls")]
    Setting::new(
        "tls-key",
        "FILE",
        Kind::One(|it, raw| units::text(raw).map(|path| it.tls_key = Some(path.into()))),
        "The certificate's private key: PEM",
    )
    .everyday()
    .needs(&TLS_CERT)
    .is(|it| Shown::path(&it.tls_key))
    .default_is("none"),
];

static DOOR: &[Setting] = &[
    Setting::new(
        SECRET_FILE,
        "FILE",
        Kind::One(|it, raw| secret::of_file(raw).map(|text| it.secrets = Some(text))),
        "The file of the secret that signs tickets, at least 32 bytes; a second line is a second \
         secret. With a secret only clients with a ticket (JWT, HS256) can connect. The variable \
         LONGLINK_SECRET can contain the secret itself",
    )
    .everyday()
    .is(|it| Shown::file(&it.secrets)),
    Setting::new(
        "ticket-at-door-only",
        "on|off",
        Kind::Switch(|it| &mut it.at_door_only),
        "Keep a connection open after its ticket has expired",
    ),
    Setting::new(
        "allow-origin",
        "HOST",
        Kind::Many(|it, raw| {
            hosts::list(raw, RelayConfig::read_origin).map(|list| it.relay.allow_origins = list)
        }),
        "Let web pages of this host connect: app.example.com, or exactly \
         https://app.example.com:8443; repeatable",
    )
    .everyday()
    .is(|it| Shown::list(&it.relay.allow_origins))
    .default_is("pages of loopback and of this server, and mini-programs"),
    Setting::new(
        "allow-host",
        "HOST",
        Kind::Many(|it, raw| {
            hosts::list(raw, RelayConfig::read_host).map(|list| it.relay.allow_hosts = list)
        }),
        "A name under which a loopback address may be reached, for a reverse proxy that passes \
         Host on; repeatable",
    )
    .is(|it| Shown::list(&it.relay.allow_hosts))
    .default_is("localhost and IP addresses"),
    Setting::new(
        "trust-proxy",
        "CIDR",
        Kind::Many(|it, raw| {
            hosts::proxies(raw).map(|(proxies, entries)| {
                it.config.trusted_proxies = proxies;
                it.proxies = entries;
            })
        }),
        "A proxy that is believed when it says for whom it connects, by X-Forwarded-For or the \
         PROXY protocol: an address, a network, or unix for Unix sockets; repeatable",
    )
    .everyday()
    .is(|it| Shown::list(&it.proxies))
    .default_is("none"),
];

static CHAT: &[Setting] = &[
    Setting::new(
        "devices",
        "many|one",
        Kind::One(|it, raw| units::choice(raw, DEVICES).map(|devices| it.config.devices = devices)),
        "Which of a user's devices get the user's messages: up to five, or only the newest",
    )
    .is(|it| Shown::text(name_of(DEVICES, it.config.devices)))
    .at_restart()
    .default_is("many"),
    Setting::new(
        "broadcast",
        "on|off",
        Kind::One(|it, raw| units::switch(raw).map(|on| it.relay.broadcast = Some(on))),
        "Whether clients may send to everyone",
    )
    .is(|it| it.relay.broadcast.map_or(Shown::Unset, Shown::truth))
    .default_is("on; with tickets, those whose ticket says so"),
    Setting::new(
        "demo",
        "on|off",
        Kind::One(|it, raw| units::switch(raw).map(|on| it.relay.demo = on)),
        "Whether / is the demo page",
    )
    .is(|it| Shown::truth(it.relay.demo))
    .default_is("on"),
    Setting::new(
        "mailbox",
        "on|off",
        Kind::One(|it, raw| units::switch(raw).map(|on| it.relay.mailbox = on)),
        "Whether the dialect v2 is spoken, in which messages wait for users who are away",
    )
    .is(|it| Shown::truth(it.relay.mailbox))
    .at_restart()
    .default_is("on"),
    Setting::new(
        "mailbox-messages",
        "COUNT",
        Kind::Count(|it| &mut it.relay.mailbox_messages),
        "The most messages that wait for a user who is away; beyond it the oldest are dropped, \
         which a gap reports",
    )
    .at_restart_of_a_node(),
    Setting::new(
        "mailbox-bytes",
        "BYTES",
        Kind::Size(|it| &mut it.relay.mailbox_bytes),
        "The most bytes of messages that wait for a user who is away",
    )
    .at_restart_of_a_node(),
    Setting::new(
        "mailbox-ttl",
        "SECONDS",
        Kind::Seconds(|it| &mut it.relay.mailbox_ttl),
        "How long a message waits",
    )
    .default_is("1800 (30 minutes); with a store 604800 (7 days)"),
    Setting::new(
        "mailbox-memory",
        "BYTES",
        Kind::Size(|it| &mut it.relay.mailbox_memory),
        "The most bytes of all mailboxes together; beyond it those of users who never connected \
         are dropped first, then those of the users who have been away longest",
    )
    .default_is("an eighth of the memory"),
    Setting::new(
        "v1-mailbox",
        "on|off",
        Kind::Switch(|it| &mut it.relay.v1_mailbox),
        "Whether a client of the dialect v1 that connects gets the messages that wait for its \
         user; those that were written to it count as acknowledged",
    ),
    Setting::new(
        "presence",
        "on|off",
        Kind::One(|it, raw| units::switch(raw).map(|on| it.relay.presence = on)),
        "Whether clients may ask who is online",
    )
    .is(|it| Shown::truth(it.relay.presence))
    .default_is("on"),
];

#[cfg(feature = "store")]
static DISK: &[Setting] = &[
    Setting::new(
        "store",
        "FILE",
        Kind::One(|it, raw| units::text(raw).map(|path| it.store.path = Some(path.into()))),
        "Keep messages that wait, groups and what the backend has asked for in this file, so that \
         they survive a crash and a restart. The file is made if there is none; its directory must \
         be on a local disk",
    )
    .everyday()
    .is(|it| Shown::path(&it.store.path))
    .at_restart()
    .default_is("none: messages wait in memory"),
    Setting::new(
        "store-size",
        "BYTES",
        Kind::Size(|it| &mut it.store.size),
        "How large the file may become; beyond that its oldest part is dropped, which gaps report",
    )
    .at_least(&store::LEAST_SIZE)
    .needs(&STORE)
    .at_restart(),
    Setting::new(
        "history",
        "TIME|off",
        Kind::One(|it, raw| store::history(raw).map(|history| it.store.history = history)),
        "Keep messages for this long after they were sent, such as 30d, so that clients and the \
         backend can read them again",
    )
    .needs(&STORE)
    .is(|it| match it.store.history {
        Some(time) => Shown::Text(format!("{}s", time.as_secs())),
        None => Shown::text("off"),
    })
    .at_restart()
    .default_is("off"),
];

#[cfg(feature = "cluster")]
static NODES: &[Setting] = &[
    Setting::new(
        "redis",
        "URL",
        Kind::Many(|it, raw| cluster::urls(raw).map(|urls| it.cluster.urls = urls)),
        "Serve the same users together with all other nodes that name this Redis or Valkey: \
         redis://[USER:PASSWORD@]HOST[:PORT][/DB], rediss://… for TLS, unix:PATH, or \
         redis-sentinel://HOST:PORT,HOST:PORT/MASTER. Messages that wait are kept there. \
         Repeatable: users are spread over several",
    )
    .everyday()
    .is(|it| {
        let urls = it.cluster.urls.iter().map(|url| format!("{url:?}"));
        let urls = urls.collect::<Vec<_>>();
        if urls.is_empty() { Shown::Unset } else { Shown::Hidden(urls.join(",")) }
    })
    .at_restart()
    .default_is("none: this server is alone")
    .unshown(),
    Setting::new(
        "redis-prefix",
        "TEXT",
        Kind::One(|it, raw| cluster::name(raw).map(|prefix| it.cluster.prefix = prefix)),
        "The beginning of all keys and channels in Redis; the same on all nodes",
    )
    .needs(&REDIS)
    .is(|it| Shown::text(&it.cluster.prefix))
    .at_restart()
    .default_is(cluster::PREFIX),
    #[cfg(feature = "tls")]
    Setting::new(
        "redis-ca",
        "FILE",
        Kind::One(|it, raw| {
            cluster::authorities(raw).map(|pem| it.cluster.authorities = Some(pem))
        }),
        "Trust these certificate authorities, in PEM, for rediss://, and no others",
    )
    .needs(&REDIS)
    .is(|it| Shown::file(&it.cluster.authorities))
    .at_restart()
    .default_is("those that browsers know"),
    Setting::new(
        "node",
        "NAME",
        Kind::One(|it, raw| cluster::name(raw).map(|node| it.cluster.node = Some(node))),
        "The name of this node, which no other node has",
    )
    .needs(&REDIS)
    .is(|it| Shown::or_unset(it.cluster.node.as_ref()))
    .at_restart()
    .default_is("the machine's name and the port"),
];

static BACKEND: &[Setting] = &[
    Setting::new(
        "api-listen",
        "ADDR",
        Kind::Many(|it, raw| Address::words(raw).map(|list| it.api_listen = list)),
        "An address of the HTTP interface for a backend, written as for --listen; repeatable. \
         Addresses other than loopback need --api-key-file. Each address is printed as `api on \
         …` on standard output",
    )
    .everyday()
    .is(|it| Shown::list(&it.api_listen))
    .at_restart()
    .default_is("none"),
    Setting::new(
        "api-key-file",
        "FILE",
        Kind::One(|it, raw| {
            backend::keys(raw).map(|(keys, contents)| {
                it.backend.keys = keys;
                it.key_file = Some(contents);
            })
        }),
        "The file of the key that a backend has to show: 32 bytes or more, as openssl rand -hex \
         32 makes it; while the key is being changed, two keys on two lines. With a key the \
         interface is also below /api/ of the other addresses, with metrics at /metrics",
    )
    .everyday()
    .is(|it| Shown::file(&it.key_file))
    .default_is("none"),
    Setting::new(
        "api-from",
        "ID",
        Kind::Many(|it, raw| {
            backend::names(raw).map(|names| {
                for name in names {
                    if !it.relay.reserved.contains(&name) {
                        it.relay.reserved.push(name);
                    }
                }
            })
        }),
        "A name under which the backend sends: no client can connect with this user id; repeatable",
    )
    .is(|it| Shown::list(&it.relay.reserved))
    .default_is("system"),
    Setting::new(
        "webhook",
        "URL",
        Kind::One(|it, raw| units::text(raw).map(|url| it.webhook.url = Some(url))),
        "Send signed webhooks to this URL: which users come online and go offline, and which \
         messages could not be delivered; needs webhook-secret-file",
    )
    .everyday()
    .needs(&WEBHOOK_SECRET)
    .is(|it| Shown::hidden(it.webhook.url.clone()))
    .default_is("none")
    .unshown(),
    Setting::new(
        "webhook-secret-file",
        "FILE",
        Kind::One(|it, raw| secret::of_file(raw).map(|text| it.webhook.secret = Some(text))),
        "The secret that webhooks are signed with, at least 16 bytes",
    )
    .needs(&WEBHOOK)
    .is(|it| Shown::file(&it.webhook.secret))
    .default_is("none")
    .unshown(),
    #[cfg(feature = "tls")]
    Setting::new(
        "webhook-ca",
        "FILE",
        Kind::One(|it, raw| webhooks::roots(raw).map(|roots| it.webhook.roots = Some(roots))),
        "Trust these certificate authorities, in PEM, for the webhook's https://",
    )
    .needs(&WEBHOOK)
    .is(|it| Shown::file(&it.webhook.roots))
    .default_is("those that browsers know"),
    Setting::new(
        "webhook-events",
        "EVENT",
        Kind::Many(|it, raw| webhooks::events(raw).map(|events| it.webhook.events = events)),
        "Which events are sent: online, offline, undelivered, receipt, message (every message of a user); \
         repeatable",
    )
    .needs(&WEBHOOK)
    .is(|it| {
        let names = WebhookEvents::NAMES.iter().filter(|name| {
            WebhookEvents::named([**name]).is_some_and(|one| it.webhook.events.includes(one))
        });
        Shown::List(names.map(|name| (*name).to_owned()).collect())
    })
    .at_restart()
    .default_is("online,offline,undelivered"),
    Setting::new(
        "webhook-queue",
        "BYTES",
        Kind::Size(|it| &mut it.webhook.queue),
        "How many bytes of events may wait for the backend; beyond that events are dropped, and \
         the next event says which",
    )
    .at_least(&webhooks::LEAST_QUEUE)
    .needs(&WEBHOOK)
    .at_restart_of_a_node(),
];

static PROCESS: &[Setting] = &[
    Setting::new(
        "log",
        "LEVEL",
        Kind::One(|it, raw| units::choice(raw, LEVELS).map(|level| it.level = level)),
        "What is logged to standard error: error, warn, info, debug (a line per open and close), \
         trace or off",
    )
    .everyday()
    .is(|it| Shown::text(name_of(LEVELS, it.level)))
    .default_is("info"),
    Setting::new(
        "log-format",
        "text|json",
        Kind::One(|it, raw| units::choice(raw, FORMATS).map(|format| it.format = format)),
        "The form of the log: lines for people, or a JSON object on each line",
    )
    .default_is("text")
    .is(|it| Shown::text(name_of(FORMATS, it.format)))
    .at_restart(),
    Setting::new(
        CONFIG,
        "FILE",
        Kind::File,
        "A TOML file of these settings: max-connections = 5000, listen = [\"127.0.0.1:8080\"]",
    )
    .everyday(),
];

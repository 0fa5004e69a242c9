//! A server with an interface for a backend, and a backend that uses it.

use std::net::SocketAddr;

use longlink::backend::{ApiKey, Backend, BackendConfig};
use longlink::{Config, Listener, Relay, RelayConfig};
use serde_json::Value;

use crate::support::client::{Answer, Raw};
use crate::support::serve::{Site, patient, serve_on};

pub const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A server with two addresses: clients connect to `site`, and a backend to `api`.
pub struct Place {
    pub site: Site<Relay>,
    pub api: SocketAddr,
}

/// Starts a server that asks for [`KEY`] on both addresses.
pub fn place() -> Place {
    place_with(|config| config.keys = vec![ApiKey::new(KEY).unwrap()])
}

pub fn place_with(change: impl FnOnce(&mut BackendConfig)) -> Place {
    place_of(Relay::new(RelayConfig::default()), change)
}

pub fn place_of(relay: Relay, change: impl FnOnce(&mut BackendConfig)) -> Place {
    build(patient(), relay, change)
}

/// Starts a server that asks for [`KEY`], with this configuration.
pub fn place_within(config: Config) -> Place {
    let relay = Relay::new(RelayConfig::default());
    build(config, relay, |config| config.keys = vec![ApiKey::new(KEY).unwrap()])
}

fn build(config: Config, relay: Relay, change: impl FnOnce(&mut BackendConfig)) -> Place {
    let clients = Listener::tcp(([127, 0, 0, 1], 0).into(), &config).unwrap();
    let api = Listener::tcp(([127, 0, 0, 1], 0).into(), &config).unwrap();
    let (first, addr) = (clients.tcp_addr().unwrap(), api.tcp_addr().unwrap());
    let mut backend = BackendConfig::default();
    change(&mut backend);
    let relay = relay.with_backend(Backend::new(backend));
    let listeners = vec![clients, api.with_tag(Backend::LISTENER)];
    let site = serve_on(listeners, first, config, relay);
    Place { site, api: addr }
}

impl Place {
    /// Opens a connection of the backend, which shows the key.
    pub fn backend(&self) -> Client {
        Client::connect(self.api, KEY)
    }
}

/// A backend's connection.
pub struct Client {
    pub raw: Raw,
    key: String,
}

impl Client {
    pub fn connect(addr: SocketAddr, key: &str) -> Client {
        Client { raw: Raw::connect(addr), key: key.to_owned() }
    }

    pub fn ask(&mut self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let answer = self.answer(method, path, body);
        let json = serde_json::from_slice(&answer.body)
            .unwrap_or_else(|error| panic!("not JSON: {error}: {answer:?}"));
        assert_eq!(answer.field("Content-Type"), Some("application/json"));
        (answer.status, json)
    }

    pub fn answer(&mut self, method: &str, path: &str, body: &str) -> Answer {
        let request = self.request(method, path, body);
        self.raw.send(request.as_bytes()).answer().expect("an answer")
    }

    /// The text of a request.
    pub fn request(&self, method: &str, path: &str, body: &str) -> String {
        let authorization = match &self.key[..] {
            "" => String::new(),
            key => format!("Authorization: Bearer {key}\r\n"),
        };
        format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{authorization}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    pub fn get(&mut self, path: &str) -> (u16, Value) {
        self.ask("GET", path, "")
    }

    pub fn post(&mut self, path: &str, body: &str) -> (u16, Value) {
        self.ask("POST", path, body)
    }
}

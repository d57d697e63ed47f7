//! Every setting, once: this table drives the flags, the environment, `keywright.toml`, `config show` and the
//! documentation.

mod kind;
mod load;
mod reference;

use std::path::PathBuf;
use std::time::Duration;

use keywright_limiter::RedisUrl;
use keywright_model::address::IpRange;
use zeroize::Zeroizing;

pub(crate) use kind::{Kind, dialect, has_password, is_postgres, without_password};
pub(crate) use load::{Sources, load};
pub(crate) use reference::reference;

use crate::parse::duration::parse_duration;

/// One thing that can be set.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// As the flag and the file spell it.
    pub name: &'static str,
    /// What a value must look like.
    pub kind: Kind,
    /// The value when nothing is said.
    pub default: Option<&'static str>,
    /// Whether it is never shown.
    pub secret: bool,
    /// Which commands look at it.
    pub used_by: UsedBy,
    /// What the help calls a value.
    pub value_name: &'static str,
    /// What it does, in a sentence or three.
    pub help: &'static str,
}

/// Which commands look at a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UsedBy {
    /// Those that call a server.
    Client,
    /// Those that open the data directory, `serve` included.
    Data,
    /// `serve` and `follow`.
    Listen,
    /// `serve` alone.
    Serve,
    /// `follow` alone.
    Follow,
}

macro_rules! settings {
    ($($constant:ident = $name:literal $kind:expr, $default:expr, $secret:literal, $used_by:ident, $value:literal, $help:literal;)*) => {
        $(#[doc = $help] pub(crate) const $constant: Setting = Setting {
            name: $name, kind: $kind, default: $default, secret: $secret, used_by: UsedBy::$used_by,
            value_name: $value, help: $help,
        };)*
        /// The table.
        pub(crate) const ALL: &[Setting] = &[$($constant,)*];
    };
}

settings! {
    SERVER = "server" Kind::Url, Some("http://127.0.0.1:7700"), false, Client, "URL",
        "The server to call. Certificates are checked against the system's; `SSL_CERT_FILE` names others.";
    KEY = "key" Kind::Text, None, true, Client, "KEY",
        "The management key, or the root key, to call with. Prefer the environment: a flag is seen by every process of the machine.";
    ORG = "org" Kind::Text, None, false, Client, "NAME",
        "The organization to act in, by name or id. Without it: the key's own; `default` for the root key.";
    DATA_DIR = "data-dir" Kind::Path, Some("./keywright-data"), false, Data, "DIR",
        "Where the database and the master key are. Made, for its owner only, at the first start.";
    MASTER_KEY = "master-key" Kind::HexKey, None, true, Data, "HEX",
        "The master key, 64 hex digits, in place of the file `master.key` in the data directory.";
    MASTER_KEY_FILE = "master-key-file" Kind::Path, None, false, Data, "FILE",
        "A file with the master key, 64 hex digits, in place of `master.key` in the data directory.";
    DATABASE = "database" Kind::Database, Some("sqlite"), false, Data, "URL",
        "Where durable state is kept: `sqlite`, in the data directory, or `postgres://USER:PASSWORD@HOST/DATABASE`, which any number of nodes share. Prefer the environment where the URL has a password.";
    POSTGRES_FAILOVER = "postgres-failover" Kind::Choice(&["none", "sync_standby", "managed_storage"]), None, false, Data, "KIND",
        "What takes over when the PostgreSQL server fails: nothing; a standby that replicates synchronously; or another server on the same storage. A server that has a standby is refused until this is said.";
    NODE_NAME = "node-name" Kind::Text, None, false, Serve, "NAME",
        "The supervisor's slot that this node runs in. Starting says that whoever ran in it before is dead, so that no write waits for it.";
    LISTEN = "listen" Kind::Address, Some("127.0.0.1:7700"), false, Listen, "ADDRESS",
        "Where to listen; port 0 takes a free one. On anything but loopback, TLS or `plaintext-ok` is needed.";
    DIALECT = "dialect" Kind::Dialect, None, false, Serve, "NAME[=ADDRESS]",
        "A vendor's wire to serve, such as `onenet` (docs/dialects has one page a vendor), under /dialects/NAME; with an address, at its root. Can be repeated.";
    GATEWAY_PEERS = "gateway-peers" Kind::Network, None, false, Listen, "NETWORK",
        "From where gateways may ask at /gateway/auth: addresses and networks. Without it: this machine only. Can be repeated.";
    TRUSTED_PROXIES = "trusted-proxies" Kind::Network, None, false, Listen, "NETWORK",
        "Proxies in front of the gateway whose word about a client's address counts. The gateway that asks needs not be named. Can be repeated.";
    TLS_CERT = "tls-cert" Kind::Path, None, false, Listen, "FILE",
        "The certificate chain to serve TLS with, in PEM.";
    TLS_KEY = "tls-key" Kind::Path, None, false, Listen, "FILE",
        "The certificate's private key, in PEM.";
    PLAINTEXT_OK = "plaintext-ok" Kind::Flag, Some("false"), false, Listen, "BOOL",
        "Listen without TLS on an address that is not loopback: behind a proxy that ends TLS.";
    SIGNALS = "signals" Kind::Signals, None, false, Serve, "ADDRESS",
        "Where this node takes other nodes' signals, by UDP, or `off`; port 0 takes a free one. Without it: a free port of the address in `listen`. Signals save time where nodes share PostgreSQL, and nothing rests on them.";
    MAX_STALENESS = "max-staleness" Kind::Duration, Some("60s"), false, Serve, "DURATION",
        "How long a node that cannot reach its store goes on answering verifications, and so how long a write may wait for a node that is lost. With SQLite, which is inside the node, that does not happen.";
    ENFORCE_TIMEOUT = "enforce-timeout" Kind::Duration, Some("3s"), false, Serve, "DURATION",
        "How long a write that takes access away waits for every verifier before it is answered as pending.";
    FEED_RETENTION = "feed-retention" Kind::Duration, Some("24h"), false, Serve, "DURATION",
        "How long the feed of changes is kept for those that follow it.";
    LIMITER = "limiter" Kind::Limiter, None, false, Serve, "URL",
        "A Redis-compatible server that rate limits are counted by for all nodes: `redis://HOST:PORT`, `rediss://` with TLS, `unix:///PATH`. Put a URL with a password into the environment: a flag is seen by every process of the machine.";
    LIMITER_TIMEOUT = "limiter-timeout" Kind::Timeout, Some("100ms"), false, Serve, "DURATION",
        "How long one call to the limiter's server may take, 1ms to 1s; a verification waits for two at most. Then `limiter-unavailable` is in force until the server answers again.";
    LIMITER_UNAVAILABLE = "limiter-unavailable" Kind::Choice(&["local", "allow", "deny"]), Some("local"), false, Serve, "POLICY",
        "What to do with limits while the limiter's server is away: `local`, each node admits its share by its own count; `allow`, admit without counting; `deny`, refuse what was not given before.";
    FOLLOW_KEYSPACES = "follow-keyspaces" Kind::Keyspace, None, false, Follow, "NAME",
        "A keyspace to follow, by name or id. Without it: every one that the key reaches. Can be repeated.";
    FOLLOW_STALENESS = "follow-staleness" Kind::Duration, Some("5s"), false, Follow, "DURATION",
        "How old what is answered by may be, 1s at least. Beyond it this follower refuses, and says that it is not ready. With `follow-lease`, how long a renewal is trusted: whole seconds, 60 at most.";
    FOLLOW_LEASE = "follow-lease" Kind::Flag, Some("false"), false, Follow, "BOOL",
        "Hold a lease, as a node does, so that writes in what is followed wait for this follower. The key needs `feed.lease`, which only root hands out.";
    FOLLOW_NAME = "follow-name" Kind::Text, None, false, Follow, "NAME",
        "The supervisor's slot that a follower with a lease runs in. Starting says that whoever ran in it before, with the same key, is dead.";
    ROOT_KEY = "root-key" Kind::RootKey, None, true, Serve, "KEY",
        "The root key to begin with, 32 characters or more, in place of a random one that is printed once.";
    LOG = "log" Kind::Text, Some("info"), false, Listen, "FILTER",
        "What to log to standard error: a level, or a filter such as `info,keywright_store=debug`.";
    LOG_FORMAT = "log-format" Kind::Choice(&["text", "json"]), Some("text"), false, Listen, "FORMAT",
        "How to log: `text` for people, `json` for programs.";
}

impl Setting {
    /// The environment variable.
    pub(crate) fn variable(&self) -> String {
        format!("KEYWRIGHT_{}", self.name.to_uppercase().replace('-', "_"))
    }

    /// Whether there is a flag. Secrets have none, since every process of a machine can read another one's arguments;
    /// `--key` exists because it is the first thing that people try, and warns.
    pub(crate) fn has_flag(&self) -> bool {
        !self.secret || *self == KEY
    }

    /// Whether it can be given more than once.
    pub(crate) fn is_list(&self) -> bool {
        matches!(self.kind, Kind::Dialect | Kind::Network | Kind::Keyspace)
    }
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A flag.
    Flag,
    /// The environment.
    Environment,
    /// A line of the file.
    File(PathBuf, usize),
    /// Nothing was said.
    Default,
}

/// One setting's value.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    /// Which.
    pub setting: &'static Setting,
    /// The texts, which were tested; empty when it is not set.
    texts: Vec<Zeroizing<String>>,
    /// Where they came from.
    pub origin: Origin,
}

impl Value {
    /// What may be shown: a secret only as such.
    pub(crate) fn shown(&self) -> String {
        if self.texts.is_empty() {
            return "-".to_owned();
        }
        if self.setting.secret {
            return "(secret)".to_owned();
        }
        if self.setting.kind == Kind::Limiter {
            // It may hold a password.
            let shown = |text: &Zeroizing<String>| {
                RedisUrl::parse(text).map_or_else(|_| "-".to_owned(), |url| url.to_string())
            };
            return self.texts.iter().map(shown).collect();
        }
        if self.setting.kind == Kind::Database {
            return self.texts.iter().map(|text| without_password(text)).collect::<Vec<_>>().join(", ");
        }
        self.texts.iter().map(|text| text.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// Every setting's value.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    values: Vec<Value>,
    /// The file that was read.
    pub file: Option<PathBuf>,
}

impl Settings {
    /// Every value, in the table's order.
    pub(crate) fn values(&self) -> &[Value] {
        &self.values
    }

    /// All texts of a setting.
    pub(crate) fn texts(&self, setting: &Setting) -> impl Iterator<Item = &str> {
        self.value(setting).into_iter().flat_map(|value| value.texts.iter().map(|text| text.as_str()))
    }

    /// A setting's text, if it is set.
    pub(crate) fn text(&self, setting: &Setting) -> Option<&str> {
        self.texts(setting).next()
    }

    /// A setting as a path.
    pub(crate) fn path(&self, setting: &Setting) -> Option<PathBuf> {
        self.text(setting).map(PathBuf::from)
    }

    /// Whether a flag is set.
    pub(crate) fn flag(&self, setting: &Setting) -> bool {
        self.text(setting) == Some("true")
    }

    /// Networks. They were tested when they were loaded.
    pub(crate) fn networks(&self, setting: &Setting) -> Vec<IpRange> {
        self.texts(setting).filter_map(|text| text.parse().ok()).collect()
    }

    /// A length of time. It was tested when it was loaded.
    pub(crate) fn duration(&self, setting: &Setting) -> Duration {
        self.text(setting).and_then(|text| parse_duration(text).ok()).unwrap_or_default()
    }

    fn value(&self, setting: &Setting) -> Option<&Value> {
        self.values.iter().find(|value| value.setting.name == setting.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_valid_value_and_every_name_is_new() {
        for (index, setting) in ALL.iter().enumerate() {
            if let Some(text) = setting.default {
                assert_eq!(setting.kind.check(text), Ok(()), "{}", setting.name);
            }
            assert!(ALL.iter().take(index).all(|earlier| earlier.name != setting.name), "{}", setting.name);
        }
    }

    #[test]
    fn no_secret_but_the_callers_key_has_a_flag() {
        let with_flag: Vec<_> = ALL.iter().filter(|setting| setting.secret && setting.has_flag()).collect();
        assert_eq!(with_flag, [&KEY]);
        assert_eq!(MASTER_KEY_FILE.variable(), "KEYWRIGHT_MASTER_KEY_FILE");
    }
}

//! Redis and Valkey as the server that counts for all nodes: one atomic script, on one connection that comes back by
//! itself.
//!
//! Nothing of a URL but its host and port is ever shown: it may hold a password. What the server keeps are names of
//! limits and moments, for as long as a limit's window at most.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, ConnectionAddr, IntoConnectionInfo as _, Script};
use zeroize::Zeroizing;

use crate::port::{Allowances, Grant, Granted, Unreachable, Wish};

/// How long a node counts as live after it was last heard of.
const NODE_LIVE_US: u64 = 5_000_000;
/// The most nodes that are believed.
const NODES_MAX: i64 = 10_000;
/// The longest pause before another try to connect.
const RECONNECT_MAX: Duration = Duration::from_millis(200);

/// Where a server is: `redis://[user:password@]host:port[/db]`, `rediss://` with TLS, `unix:///path`.
#[derive(Clone)]
pub struct RedisUrl(Zeroizing<String>);

/// What is wrong with a URL; the URL is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be redis://HOST:PORT, rediss://HOST:PORT or unix:///PATH, with USER:PASSWORD@ if need be")]
pub struct UrlFault;

impl RedisUrl {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, UrlFault> {
        let known = ["redis://", "rediss://", "valkey://", "valkeys://", "unix://", "redis+unix://"];
        let is_known = known.iter().any(|scheme| text.starts_with(scheme));
        // `#insecure` switches the check of certificates off: who wants that takes `redis://`.
        let is_fit = is_known && !text.contains('#') && text.into_connection_info().is_ok();
        is_fit.then(|| Self(Zeroizing::new(text.to_owned()))).ok_or(UrlFault)
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_str().into_connection_info().as_ref().map(redis::ConnectionInfo::addr) {
            Ok(ConnectionAddr::Tcp(host, port)) => write!(f, "redis://{host}:{port}"),
            Ok(ConnectionAddr::TcpTls { host, port, .. }) => write!(f, "rediss://{host}:{port}"),
            Ok(ConnectionAddr::Unix(path)) => write!(f, "unix://{}", path.display()),
            Ok(_) | Err(_) => f.write_str("redis://?"),
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({self})")
    }
}

/// One server, as one node sees it.
pub struct RedisAllowances {
    connection: ConnectionManager,
    script: Script,
    node: String,
    prefix: String,
}

impl fmt::Debug for RedisAllowances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisAllowances").field("node", &self.node).finish_non_exhaustive()
    }
}

fn unreachable(error: redis::RedisError) -> Unreachable {
    Unreachable::new("the limiter's server failed", error)
}

fn nonsense(what: &'static str) -> Unreachable {
    Unreachable::new("the limiter's server answered nonsense", what)
}

impl RedisAllowances {
    /// Connects at the first call. `node` names this node among the others, and `installation` this installation
    /// among those that use the same server.
    pub fn new(
        url: &RedisUrl,
        node: &str,
        installation: &str,
        timeout: Duration,
    ) -> Result<Self, Unreachable> {
        let client = Client::open(url.0.as_str()).map_err(unreachable)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(Some(timeout))
            .set_max_delay(RECONNECT_MAX)
            .set_number_of_retries(1);
        let connection = client.get_connection_manager_lazy(config).map_err(unreachable)?;
        Ok(Self {
            connection,
            script: Script::new(include_str!("lease.lua")),
            node: node.to_owned(),
            prefix: format!("keywright:{installation}"),
        })
    }
}

#[async_trait]
impl Allowances for RedisAllowances {
    async fn lease(&self, wishes: &[Wish]) -> Result<Granted, Unreachable> {
        let mut call = self.script.prepare_invoke();
        call.key(format!("{}:nodes", self.prefix)).arg(&self.node).arg(NODE_LIVE_US);
        for wish in wishes {
            call.key(format!("{}:limit:{}", self.prefix, wish.name));
            call.arg(wish.capacity_us).arg(wish.unit_us).arg(wish.need_us).arg(wish.want_us);
            call.arg(wish.back_us);
        }
        let mut connection = self.connection.clone();
        let numbers: Vec<i64> = call.invoke_async(&mut connection).await.map_err(unreachable)?;
        granted(&numbers, wishes.len())
    }
}

/// Reads an answer: whatever it holds, each number is in its bounds afterwards.
fn granted(numbers: &[i64], wishes: usize) -> Result<Granted, Unreachable> {
    let (nodes, grants) = numbers.split_first().ok_or_else(|| nonsense("an empty answer"))?;
    if grants.len() != wishes.saturating_mul(2) || !(1..=NODES_MAX).contains(nodes) {
        return Err(nonsense("another number of answers than questions, or of nodes than there can be"));
    }
    let number = |number: i64| u64::try_from(number).map_err(|_| nonsense("a negative number"));
    let grants = grants.chunks_exact(2).map(|pair| match pair {
        [granted, used] => Ok(Grant { granted_us: number(*granted)?, used_us: number(*used)? }),
        _ => Err(nonsense("half an answer")),
    });
    let nodes = u32::try_from(*nodes).map_err(|_| nonsense("a number of nodes"))?;
    Ok(Granted { nodes, grants: grants.collect::<Result<_, _>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_what_proves_anything() {
        let url = RedisUrl::parse("redis://kw:hidden@cache.example:6380/2").unwrap();
        assert_eq!(
            (url.to_string().as_str(), format!("{url:?}").contains("hidden")),
            ("redis://cache.example:6380", false)
        );
        assert_eq!(RedisUrl::parse("rediss://h:1").unwrap().to_string(), "rediss://h:1");
        assert_eq!(RedisUrl::parse("unix:///run/redis.sock").unwrap().to_string(), "unix:///run/redis.sock");
        for bad in ["", "cache.example:6379", "http://cache.example", "redis://", "rediss://h:1/#insecure"] {
            assert_eq!(RedisUrl::parse(bad).err(), Some(UrlFault), "{bad}");
        }
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_none() {
        let most = i64::MAX;
        assert_eq!(granted(&[3, 5, 7], 1).unwrap().grants, [Grant { granted_us: 5, used_us: 7 }]);
        assert!(granted(&[1, most, most], 1).is_ok(), "the limiter cuts what is more than was asked for");
        for (numbers, wishes) in [
            (&[][..], 0),
            (&[0], 0),
            (&[1], 1),
            (&[1, 2], 1),
            (&[1, -1, 0], 1),
            (&[1, 0, -1], 1),
            (&[most], 0),
        ] {
            assert!(granted(numbers, wishes).is_err(), "{numbers:?}");
        }
    }
}

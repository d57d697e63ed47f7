//! The server from outside: raw sockets, and REST through the router.

#[cfg(test)]
mod dialects;
#[cfg(test)]
mod gateway;
#[cfg(test)]
mod listen;
#[cfg(test)]
mod rest;
#[cfg(test)]
mod tls;

//! The server from outside: raw sockets, and REST through the router.

mod listen;
mod rest;
mod tls;

//! Every way in: translate, call control or verifier, translate back.
//!
//! This crate must not know SQL, the store, or what a right means. What a client sent is read strictly at the edge;
//! what is answered is what control and the verifier say.

mod assets;
pub mod dialects;
mod dispatch;
pub mod follower;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod gateway;
pub mod listen;
mod metrics;
pub mod openapi;
pub mod rest;
pub mod routes;
mod service;
mod state;
pub mod throttle;
pub mod tls;

pub use dispatch::router;
pub use metrics::Gauges;
pub use rest::verify::{Figure, Limiter, Node, NodeAway, Passed, Passing, Questions, RootKey};
pub use state::{BODY_TIMEOUT, Parts, ServerState};

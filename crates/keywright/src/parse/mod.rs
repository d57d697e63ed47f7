//! What people type, made into what the API takes. No I/O, no clock.

pub(crate) mod duration;
pub(crate) mod expiry;
pub(crate) mod grant;
pub(crate) mod limit;
pub(crate) mod pair;

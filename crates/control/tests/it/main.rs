//! The use cases on a real store and index.

mod keys;
mod setup;

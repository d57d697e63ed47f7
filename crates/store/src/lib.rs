//! The one door to durable state: a narrow trait and its backends.

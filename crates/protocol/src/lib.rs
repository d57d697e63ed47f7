//! A model of the enforcement protocol, checked to exhaustion by the tests. It holds no code that ships.

#[cfg(test)]
mod model;

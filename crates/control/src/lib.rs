//! Use cases: who may do what, what changes, commit, wait until enforced. No HTTP, no SQL.

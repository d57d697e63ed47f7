//! TestApp, a clock and randomness of its own, fixtures, replay, the naive reference evaluator. For tests only.

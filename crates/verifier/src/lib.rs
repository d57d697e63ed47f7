//! The in-memory index and the one question. No await, no SQL, no lock that a writer can hold for long.

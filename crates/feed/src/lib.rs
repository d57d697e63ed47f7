//! Keeps an index current: snapshot, follow, resume, reload on a gap, wait for a revision.

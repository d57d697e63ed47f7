//! The typed client of the REST API; the command line is its first user.

//! A database of its own on the PostgreSQL server.

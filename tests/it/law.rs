//! Random histories: the model, PostgreSQL and SQLite agree row by row.

-- A migration that was made, in its own transaction. The columns are those of sqlx's bookkeeping, which made the first ones.
insert into clerk._migrations (version, description, success, checksum, execution_time) values ($1, $2, true, $3, $4)

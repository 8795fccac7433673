-- One row for each user who has been handled. In your own schema: clerk-sync never touches it.
create table if not exists welcome_emails (
    clerk_id text primary key,
    outcome  text not null default 'sent',
    done_at  timestamptz not null default now()
);

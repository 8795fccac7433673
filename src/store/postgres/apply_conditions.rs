//! SQL conditions that `apply.sql` uses in several places, each under a mark.

/// The conditions of `apply.sql`, by the marks that stand for them.
pub const CONDITIONS: [(&str, &str); 5] = [
    // Whether a change alters its row; made of the two below.
    (
        "<alters>",
        "((least(row.deleted_at, excluded.deleted_at) is distinct from row.deleted_at
             or case when <erased> then row.erased_at is null
                     else excluded.event_id is not null and <newer> end) is true)",
    ),
    (
        "<newer>",
        "(row.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (row.updated_at, row.occurred_at, row.event_id))",
    ),
    (
        "<erased>",
        "(row.erased_at is not null or $21 and (row.deleted_at is not null or excluded.deleted_at is not null))",
    ),
    // Whether a record keeps no payload: its row is erased, and it is no delete. `old` lacks the
    // row if this write has no event of it that can be applied.
    (
        "<withheld>",
        "(event_type not in (<deletes>) and (coalesce(written.erased_at, old.erased_at) is not null
             or error_code is not null and exists (
                    select from clerk.<table> as gone
                     where gone.clerk_id = record.clerk_id and gone.erased_at is not null)))",
    ),
    // Whether a recorded event is applied again: a failed one always, a discarded one only to
    // succeed.
    (
        "<tried>",
        "(line.status = 'failed' or line.status = 'discarded' and excluded.status <> 'failed')",
    ),
];

//! SQL conditions and expressions that statements use in several places, each under a mark.

/// The conditions and expressions, by the marks that stand for them.
pub const CONDITIONS: [(&str, &str); 9] = [
    // Whether a change alters its row; made of the two below.
    (
        "<alters>",
        "((least(row.deleted_at, excluded.deleted_at) is distinct from row.deleted_at
             or case [[when <erased> then row.erased_at is null]] when excluded.event_id is not null then <newer> end) is true)",
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
    // row if this write has no event of it that can be applied. Failed events of rows that belong
    // to users: see failed_payloads.rs.
    (
        "<withheld>",
        "(event_type not in (<bare_deletes>) and ([[true or ]]error_code is null) and (coalesce(written.erased_at, old.erased_at) is not null
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
    // The last 19 attempts, of which the last one is in the columns of the row if there is no log
    // yet, and this one. An event that is tried again has failed before.
    (
        "<attempts>",
        "jsonb_path_query_array(
             coalesce(line.attempts_log, jsonb_build_array(jsonb_build_object(
                 'at', to_char(line.processed_at at time zone 'UTC', <rfc3339>), 'outcome', 'failed', 'error_code', line.error_code, 'error', line.error))),
             '$[last - 18 to last]'
         ) || jsonb_build_array(jsonb_build_object(
             'at', to_char(excluded.processed_at at time zone 'UTC', <rfc3339>), 'outcome', excluded.status, 'error_code', excluded.error_code, 'error', excluded.error))",
    ),
    ("<rfc3339>", "'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'"),
    // The last 19 acts on an event, and the one that is given as JSON.
    (
        "<acted>",
        "jsonb_path_query_array(coalesce(line.audit, '[]'), '$[last - 18 to last]')
             || jsonb_build_array($2::jsonb - '{id,event_id,clerk_id,count,filter,reason}'::text[])",
    ),
    // Inserts the act that is given as JSON into the audit, or adds to its count. Takes the count
    // from `done`; nothing is inserted if that has no row.
    (
        "<recorded>",
        "insert into clerk.audit (id, at, action, actor, address, forwarded_for, event_id, clerk_id, filter, reason, count)
             select act.*, done.count
               from done,
                    jsonb_to_record($2::jsonb) as act (
                        id text, at timestamptz, action text, actor text, address text, forwarded_for text, event_id text,
                        clerk_id text, filter jsonb, reason text
                    )
             on conflict (id) do update set count = audit.count + excluded.count",
    ),
];

/// What statements have more with the change feed, or nothing.
pub const WITHOUT_CHANGE_FEED: [(&str, &str); 9] = [
    ("<old_columns>", ""),
    ("<before_columns>", ""),
    ("<notified>", ""),
    ("<written_columns>", ""),
    ("<changed>", ""),
    ("<no_change>", ""),
    ("<counted>", ""),
    ("<erased_recorded>", ""),
    ("<changes>", "0::bigint"),
];

/// See [`WITHOUT_CHANGE_FEED`].
pub const WITH_CHANGE_FEED: [(&str, &str); 9] = [
    ("<old_columns>", ", <own_of_row>"),
    ("<before_columns>", ", {< column >}"),
    (
        "<notified>",
        " + (select 0 * count(pg_notify('clerk_changes', '')) from (select from changed limit 1) as one)",
    ),
    ("<written_columns>", ", updated_at, <columns>"),
    ("<changed>", include_str!("record_changes.sql")),
    (
        "<no_change>",
        ", null::text as change, null::bigint as changes",
    ),
    // How many changes of each kind, behind the outcomes.
    (
        "<counted>",
        "union all select null, null, null, change, count(*) from changed group by change",
    ),
    ("<erased_recorded>", include_str!("record_erased.sql")),
    ("<changes>", "(select count(notified) from changed)"),
];

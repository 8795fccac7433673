-- Records events. A failed event is never taken for a duplicate: it is applied again. A discarded one comes back only to
-- succeed. Of any other event only the delivery is counted.
insert into events (
    event_id, event_type, clerk_id, occurred_at, sent_at, received_at, processed_at, status, deliveries, attempts, error,
    error_code, payload, superseded_by
)
values <rows>
on conflict (event_id) do update set
    deliveries = events.deliveries + excluded.deliveries,
    attempts = case when <tried> then events.attempts + 1 else events.attempts end,
    -- The last 19 attempts, of which the last one is in the columns of the row if there is no log yet, and this one. An event that is
    -- tried again has failed before.
    attempts_log = case when <tried> then (
        select json_insert(
                   case when json_array_length(log) < 20 then log else json_remove(log, '$[0]') end,
                   '$[#]',
                   json_object('at', strftime('%Y-%m-%dT%H:%M:%fZ', excluded.processed_at / 1000.0, 'unixepoch'),
                               'outcome', excluded.status, 'error_code', excluded.error_code, 'error', excluded.error)
               )
          from (
                   select coalesce(events.attempts_log, json_array(
                              json_object('at', strftime('%Y-%m-%dT%H:%M:%fZ', events.processed_at / 1000.0, 'unixepoch'),
                                          'outcome', 'failed', 'error_code', events.error_code, 'error', events.error)
                          )) as log
               )
    ) else events.attempts_log end,
    processed_at = case when <tried> then excluded.processed_at else events.processed_at end,
    clerk_id = case when <tried> then excluded.clerk_id else events.clerk_id end,
    occurred_at = case when <tried> then excluded.occurred_at else events.occurred_at end,
    event_type = case when <tried> then excluded.event_type else events.event_type end,
    error = case when <tried> then excluded.error else events.error end,
    error_code = case when <tried> then excluded.error_code else events.error_code end,
    payload = case when <tried> then excluded.payload else events.payload end,
    status = case when <tried> then excluded.status else events.status end,
    superseded_by = case when <tried> then excluded.superseded_by else events.superseded_by end
returning event_id, status

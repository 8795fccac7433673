-- Deletes the oldest rows of events, but never a failed one: that is kept until it is replayed or discarded.
with gone as (
    delete from clerk.events
     where event_id in (
               select event_id
                 from clerk.events
                where received_at < $1
                  and status <> 'failed'
                order by received_at
                limit $2
                  -- Two workers that prune do not wait for each other, nor for an event that is counted again.
                  for update skip locked
           )
    returning 1
)
select count(*) as lines from gone

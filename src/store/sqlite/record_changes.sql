-- Records what changes in rows of this table, for the connection that has these triggers: they are temporary, so no other process has
-- them. `deleting` has the events of the deletes of a write.
create temp trigger <table>_created after insert on main.<table>
begin
    insert into changes (table_name, clerk_id, change, fields, event_id, committed_at)
    select '<table>', new.clerk_id,
           case when new.deleted_at is null then 'created' else 'deleted' end,
           (select json_group_array(value) from json_each(json_array({< case when new.column is not null then 'column' end >})) where value is not null),
           case when new.deleted_at is null then new.event_id
                else (select event_id from deleting where clerk_id = new.clerk_id) end,
           new.synced_at;
end;
create temp trigger <table>_changed after update on main.<table>
when new.deleted_at is not old.deleted_at
  or new.event_id is not null
     and (new.updated_at, new.occurred_at, new.event_id) is not (old.updated_at, old.occurred_at, old.event_id)
begin
    insert into changes (table_name, clerk_id, change, fields, event_id, committed_at)
    select '<table>', new.clerk_id,
           case when new.deleted_at is old.deleted_at then 'updated' else 'deleted' end,
           (select json_group_array(value) from json_each(json_array({< case when new.column is not old.column then 'column' end >})) where value is not null),
           case when new.deleted_at is old.deleted_at then new.event_id
                else (select event_id from deleting where clerk_id = new.clerk_id) end,
           new.synced_at;
end;
create temp trigger <table>_erased after update on main.<table>
when new.deleted_at is old.deleted_at
 and (new.event_id is null or (new.updated_at, new.occurred_at, new.event_id) is (old.updated_at, old.occurred_at, old.event_id))
 and ({< new.column >}) is not ({< old.column >})
begin
    insert into changes (table_name, clerk_id, change, fields, committed_at)
    select '<table>', new.clerk_id, 'erased',
           (select json_group_array(value) from json_each(json_array({< case when new.column is not old.column then 'column' end >})) where value is not null),
           new.synced_at;
end;
create temp trigger <table>_forgotten after delete on main.<table>
when coalesce({< old.column >}) is not null
begin
    insert into changes (table_name, clerk_id, change, fields, committed_at)
    select '<table>', old.clerk_id, 'erased',
           (select json_group_array(value) from json_each(json_array({< case when old.column is not null then 'column' end >})) where value is not null),
           cast((julianday('now') - 2440587.5) * 86400000 as integer);
end;

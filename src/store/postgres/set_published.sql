-- Keeps up to which change all are published.
update clerk.settings set value = to_jsonb($1::bigint), updated_at = now() where name = 'changes_published'

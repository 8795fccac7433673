-- Records an action that has no effect on rows here.
with done as (select $1::bigint as count)
<recorded>

-- What 0004 has replaced.
drop index clerk.users_email, clerk.users_phone, clerk.users_username, clerk.users_external_id;

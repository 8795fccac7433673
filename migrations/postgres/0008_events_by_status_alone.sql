-- What 0007 has replaced. Apart from it, as in 0005.
drop index clerk.events_failed;

-- Whether any migration was made. A table that is missing is no error here.
select to_regclass('clerk._migrations') is not null as known

-- Writes, and changes nothing: whether there is room and permission shows at that alone.
update _migrations set success = success where version = 1

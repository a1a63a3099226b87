-- The messages of a sender, in stretches of 16,384 messages. An index by sender alone has a random
-- page for nearly every message: with it each commit wrote two pages a row instead of one for several
-- rows, and recording cost twice as much. In stretches only the pages of the newest one are touched.
--
-- `sender = ?` is still answered by it: SQLite looks into each stretch ("skip-scan"), which it does
-- where it knows how many rows a stretch has. That is what the statistics below say; they are written
-- here since an empty table has none.
drop index messages_sender;
create index messages_sender on messages (message_id >> 14, sender);

-- Makes the table of statistics.
analyze meta;
delete from sqlite_stat1;
insert into sqlite_stat1 (tbl, idx, stat) values
    ('messages', 'messages_sender', '10000000 16384 4'),
    ('messages', 'messages_key', '10000000 1000 1');
-- Has them read.
analyze sqlite_master;

pragma user_version = 7;

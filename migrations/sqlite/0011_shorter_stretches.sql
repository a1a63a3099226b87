-- Both indexes in stretches of 1,024 messages: a commit of a hundred messages writes half as many pages
-- as with 4,096, and seeking a key looks into four times as many stretches.
drop index messages_key;
create index messages_key on messages (message_id >> 10, conversation_id, msg_seq);
drop index messages_sender;
create index messages_sender on messages (message_id >> 10, sender);
delete from sqlite_stat1 where tbl = 'messages';
insert into sqlite_stat1 (tbl, idx, stat) values
    ('messages', 'messages_key', '10000000 1024 4 1'),
    ('messages', 'messages_sender', '10000000 1024 4');
analyze sqlite_master;

pragma user_version = 11;

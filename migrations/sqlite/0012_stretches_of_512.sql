-- Both indexes in stretches of 512 messages: at half of what can be done a commit has some fifteen
-- messages, which then share two or three pages of both instead of five. With 256 a search by sender
-- through ten million messages would take more than a tenth of a second.
drop index messages_key;
create index messages_key on messages (message_id >> 9, conversation_id, msg_seq);
drop index messages_sender;
create index messages_sender on messages (message_id >> 9, sender);
delete from sqlite_stat1 where tbl = 'messages';
insert into sqlite_stat1 (tbl, idx, stat) values
    ('messages', 'messages_key', '10000000 512 2 1'),
    ('messages', 'messages_sender', '10000000 512 2');
analyze sqlite_master;

pragma user_version = 12;

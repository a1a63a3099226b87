-- The keys of messages go into their table behind the writer, many at once and in order. As an index
-- that is unique over all messages they had a page of their own for nearly every message of a commit:
-- it cost as much as all the rest of recording. What keeps a message from being recorded twice is the
-- writer, which remembers the keys that are not here yet.
create table message_keys (
    conversation_id integer not null, -- conversations
    msg_seq integer not null,
    message_id integer not null,      -- messages
    primary key (conversation_id, msg_seq)
) strict, without rowid;
insert into message_keys (conversation_id, msg_seq, message_id)
    select conversation_id, msg_seq, message_id from messages order by conversation_id, msg_seq;
-- Messages up to here are in it.
insert or replace into meta (name, value)
    select 'keys_filed_through', coalesce(max(message_id), 0) from messages;

drop table message_places;

-- The writer knows both, and says them as it inserts.
drop trigger hits_placed;

-- Both indexes in stretches of 4,096 messages: the fewer pages a stretch has, the more messages of a
-- commit share one. How SQLite seeks in them is said in 0007.
drop index messages_key;
create index messages_key on messages (message_id >> 12, conversation_id, msg_seq);
drop index messages_sender;
create index messages_sender on messages (message_id >> 12, sender);
delete from sqlite_stat1 where tbl = 'messages';
insert into sqlite_stat1 (tbl, idx, stat) values
    ('messages', 'messages_key', '10000000 4096 4 1'),
    ('messages', 'messages_sender', '10000000 4096 4');
analyze sqlite_master;

pragma user_version = 10;

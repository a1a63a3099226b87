-- What lists are asked by. None of these tables is on the path of a message that nobody minds.

-- Hits are found by sender and by conversation as they come, without a look at the message of each.
alter table hits add column sender text;            -- of the content that was hit
alter table hits add column conversation_id integer; -- conversations

update hits set
    sender = coalesce(
        (select sender from conflicts x where x.conflict_id = hits.conflict_id),
        (select sender from messages m where m.message_id = hits.message_id)),
    conversation_id = (select conversation_id from messages m where m.message_id = hits.message_id);

create trigger hits_placed after insert on hits begin
    update hits set
        sender = coalesce(
            (select sender from conflicts x where x.conflict_id = new.conflict_id),
            (select sender from messages m where m.message_id = new.message_id)),
        conversation_id = (select conversation_id from messages m where m.message_id = new.message_id)
    where hit_id = new.hit_id;
end;

create index hits_sender on hits (sender, hit_id);
create index hits_conversation on hits (conversation_id, hit_id);

-- Gaps by time: a part of one that was cut keeps the time of the whole, so their numbers tell no time.
create index gaps_found on gaps (found_at);

pragma user_version = 9;

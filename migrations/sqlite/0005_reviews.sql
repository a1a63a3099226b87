-- What people who looked said of what the rules found.

-- The latest word on each rule of a message; earlier ones stand in `operations`.
create table reviews (
    review_id integer primary key,
    message_id integer not null,      -- messages
    rule_id text not null,            -- the rule that was looked at; '' where none matched the message
    verdict text not null,            -- right: it was to be found; wrong: a false alarm
    note text not null,
    reviewer text not null,
    at integer not null,
    unique (message_id, rule_id),
    check (verdict in ('right', 'wrong'))
) strict;
create index reviews_rule on reviews (rule_id, review_id);

-- What there is to look at, newest first, without reading what nobody minds.
create index messages_matched on messages (verdict, message_id) where verdict > 0;
create index hits_rule_message on hits (rule_id, message_id);

create view v_reviews as
select
    c.group_id as group_id,
    c.topic_id as topic_id,
    m.msg_seq as msg_seq,
    m.sender as sender,
    w.rule_id as rule_id,
    w.verdict as verdict,
    w.note as note,
    w.reviewer as reviewer,
    w.at as at,
    strftime('%Y-%m-%dT%H:%M:%S', w.at / 1000, 'unixepoch') || printf('.%03dZ', w.at % 1000) as at_iso,
    w.message_id as message_id,
    w.review_id as review_id
from reviews w
join messages m on m.message_id = w.message_id
join conversations c on c.conversation_id = m.conversation_id;

-- How often each rule was right, by those who looked.
create view v_precision as
select
    rule_id,
    sum(verdict = 'right') as right,
    sum(verdict = 'wrong') as wrong,
    round(sum(verdict = 'right') * 1.0 / count(*), 4) as precision
from reviews where rule_id <> '' group by rule_id;

pragma user_version = 5;

-- The tables of quell. They may change; the views at the end are the surface to build on.
-- Times are integer milliseconds since 1970, UTC. Booleans are 0 or 1.

-- What is known about the database itself.
create table meta (
    name text primary key,
    value text not null
) strict;

-- Every rule set that ever judged a message here.
create table rule_sets (
    rule_set_id integer primary key,
    version text not null unique,     -- digest over the rules file and its lists
    loaded_at integer not null,       -- when it first came into force
    rules text not null               -- JSON: id, why, mode, severity and actions of each rule
) strict;

-- A group, or a topic of a community, during one life: a group id can be used again after the
-- group was destroyed, and its sequences then start afresh.
create table conversations (
    conversation_id integer primary key,
    group_id text not null,
    topic_id text not null,           -- '' where the messages are in no topic
    incarnation integer not null,     -- 0, then one more each time the group was destroyed
    group_type text not null,         -- as Chat writes it: Public, ChatRoom, AVChatRoom, ...
    created_at integer not null,      -- when its first message here was sent
    destroyed_at integer,             -- when Chat said that it is gone
    unique (group_id, topic_id, incarnation)
) strict;

-- The first content that was recorded for each sequence of a conversation, with its verdict.
-- In order of recording, so that inserting appends.
create table messages (
    message_id integer primary key,
    conversation_id integer not null, -- conversations
    msg_seq integer not null,
    sender text not null,
    sent_at integer not null,         -- Chat's clock
    received_at integer not null,     -- our clock
    online_only integer not null,     -- kept nowhere by Chat, so it cannot be recalled
    source integer not null,          -- 0 callback, 1 history
    verdict integer not null,         -- 0 pass, 1 flag, 2 recall
    rule_set_id integer not null,     -- rule_sets: what it was judged by
    platform text not null,           -- OptPlatform of the callback
    text text not null,               -- the extracted pieces, joined by line feeds
    body text,                        -- MsgBody as JSON; null: one text element, whose text begins `text`
    cloud_custom_data text not null,
    detail text,                      -- JSON: what is rarely there (operator, mentions, signals)
    content_hash blob not null        -- tells a repeated callback from other content under the same key
) strict;
create unique index messages_key on messages (conversation_id, msg_seq);
create index messages_sender on messages (sender, message_id);

-- Other content that came for a key already recorded. Kept beside the first and judged too.
create table conflicts (
    conflict_id integer primary key,
    message_id integer not null,      -- messages: the first content
    sender text not null,
    sent_at integer not null,
    received_at integer not null,
    online_only integer not null,
    source integer not null,
    verdict integer not null,
    rule_set_id integer not null,
    platform text not null,
    text text not null,
    body text,
    cloud_custom_data text not null,
    detail text,
    content_hash blob not null,
    unique (message_id, content_hash)
) strict;

-- Places that a rule matched.
create table hits (
    hit_id integer primary key,
    message_id integer not null,      -- messages
    conflict_id integer,              -- conflicts, where it is that content which was hit
    rule_id text not null,
    mode text not null,               -- live or shadow, at the time
    severity text not null,
    start_char integer not null,      -- Unicode scalar values into the text
    end_char integer not null,
    matched_text text not null,
    judged_at integer not null
) strict;
create index hits_message on hits (message_id);
create index hits_rule on hits (rule_id, hit_id);

-- The recall queue, finished jobs included.
create table recall_jobs (
    job_id integer primary key,
    conversation_id integer not null, -- conversations
    msg_seq integer not null,
    message_id integer,               -- messages; null for a recall of what was never recorded
    sender text not null,
    state text not null,              -- pending, leased, retry, held, recalled, gone, refused, dead, cancelled
    severity integer not null,        -- 0 low, 1 medium, 2 high, 3 critical
    background integer not null,      -- 1: a sweep, behind live traffic
    lease integer not null,           -- number of the latest lease; an answer to an older one is refused
    attempts integer not null,        -- calls that left for it
    failures integer not null,        -- attempts that count against it
    unclear integer not null,         -- 1: an earlier call may have worked, its answer was lost
    due_at integer not null,          -- not before
    ret_code integer,                 -- Chat's latest answer for this message
    reason text,                      -- why it stands where it stands
    requested_by text not null,       -- rule:ID, operator:NAME, plan:ID
    sent_at integer not null,
    created_at integer not null,
    called_at integer,                -- when the latest call left
    finished_at integer,
    confirmed_at integer,             -- when a recall callback or the history showed it
    confirmed_ours integer not null default 0, -- 1: and that it was our account that did it
    check (state in ('pending', 'leased', 'retry', 'held', 'recalled', 'gone', 'refused', 'dead', 'cancelled'))
) strict;
-- One unfinished job a message.
create unique index recall_jobs_unfinished on recall_jobs (conversation_id, msg_seq)
    where state in ('pending', 'leased', 'retry', 'held');
create index recall_jobs_waiting on recall_jobs (job_id) where state in ('pending', 'retry');
create index recall_jobs_key on recall_jobs (conversation_id, msg_seq);
create index recall_jobs_sender on recall_jobs (sender, job_id);
create index recall_jobs_state on recall_jobs (state, job_id);

-- Calls to Chat. Written before the call leaves, so that a restart knows what was spent.
create table calls (
    call_id integer primary key,
    conversation_id integer not null,
    sequences text not null,          -- JSON array of MsgSeq
    started_at integer not null,
    duration_ms integer,
    http_status integer,
    error_code integer,               -- of the answer as a whole
    outcome text not null             -- started, answered, failed, unclear, unsent
) strict;
create index calls_started on calls (started_at);
create index calls_under_way on calls (call_id) where outcome = 'started';
create index calls_conversation on calls (conversation_id, call_id);

-- Authentic callbacks that could not be read, the latest of them.
create table quarantine (
    quarantine_id integer primary key,
    received_at integer not null,
    command text not null,
    reason text not null,
    body blob not null
) strict;

-- Rules that fell to shadow because they hit too many senders at once.
create table tripped_rules (
    rule_id text primary key,
    at integer not null,
    why text not null
) strict;

-- What operators did, guards and Chat's warnings included. Rows are only ever added.
create table operations (
    operation_id integer primary key,
    actor text not null,
    act text not null,
    detail text not null,             -- JSON
    at integer not null
) strict;

create view v_messages as
select
    c.group_id as group_id,
    c.topic_id as topic_id,
    m.msg_seq as msg_seq,
    m.sender as sender,
    c.group_type as group_type,
    m.sent_at as sent_at,
    strftime('%Y-%m-%dT%H:%M:%S', m.sent_at / 1000, 'unixepoch')
        || printf('.%03dZ', m.sent_at % 1000) as sent_at_iso,
    m.received_at as received_at,
    strftime('%Y-%m-%dT%H:%M:%S', m.received_at / 1000, 'unixepoch')
        || printf('.%03dZ', m.received_at % 1000) as received_at_iso,
    case m.source when 0 then 'callback' else 'history' end as source,
    m.online_only as online_only,
    m.text as text,
    case m.verdict when 0 then 'pass' when 1 then 'flag' else 'recall' end as verdict,
    r.version as rules_version,
    m.platform as platform,
    m.message_id as message_id
from messages m
join conversations c on c.conversation_id = m.conversation_id
left join rule_sets r on r.rule_set_id = m.rule_set_id;

create view v_conflicts as
select
    c.group_id as group_id,
    c.topic_id as topic_id,
    m.msg_seq as msg_seq,
    x.sender as sender,
    c.group_type as group_type,
    x.sent_at as sent_at,
    strftime('%Y-%m-%dT%H:%M:%S', x.sent_at / 1000, 'unixepoch')
        || printf('.%03dZ', x.sent_at % 1000) as sent_at_iso,
    x.received_at as received_at,
    strftime('%Y-%m-%dT%H:%M:%S', x.received_at / 1000, 'unixepoch')
        || printf('.%03dZ', x.received_at % 1000) as received_at_iso,
    case x.source when 0 then 'callback' else 'history' end as source,
    x.online_only as online_only,
    x.text as text,
    case x.verdict when 0 then 'pass' when 1 then 'flag' else 'recall' end as verdict,
    r.version as rules_version,
    x.platform as platform,
    m.message_id as message_id,
    x.conflict_id as conflict_id
from conflicts x
join messages m on m.message_id = x.message_id
join conversations c on c.conversation_id = m.conversation_id
left join rule_sets r on r.rule_set_id = x.rule_set_id;

create view v_quarantine as
select
    received_at as received_at,
    strftime('%Y-%m-%dT%H:%M:%S', received_at / 1000, 'unixepoch')
        || printf('.%03dZ', received_at % 1000) as received_at_iso,
    command,
    reason,
    body,
    quarantine_id
from quarantine;

create view v_hits as
select
    c.group_id as group_id,
    c.topic_id as topic_id,
    m.msg_seq as msg_seq,
    coalesce(x.sender, m.sender) as sender,
    h.rule_id as rule_id,
    h.mode as mode,
    h.severity as severity,
    h.matched_text as matched_text,
    h.judged_at as judged_at,
    strftime('%Y-%m-%dT%H:%M:%S', h.judged_at / 1000, 'unixepoch')
        || printf('.%03dZ', h.judged_at % 1000) as judged_at_iso,
    h.start_char as start_char,
    h.end_char as end_char,
    h.conflict_id is not null as on_conflict,
    h.message_id as message_id,
    h.hit_id as hit_id
from hits h
join messages m on m.message_id = h.message_id
join conversations c on c.conversation_id = m.conversation_id
left join conflicts x on x.conflict_id = h.conflict_id;

create view v_recalls as
select
    c.group_id as group_id,
    c.topic_id as topic_id,
    j.msg_seq as msg_seq,
    j.sender as sender,
    j.state as state,
    j.attempts as attempts,
    j.ret_code as ret_code,
    j.reason as reason,
    j.requested_by as requested_by,
    case j.severity when 0 then 'low' when 1 then 'medium' when 2 then 'high' else 'critical' end as severity,
    j.created_at as created_at,
    strftime('%Y-%m-%dT%H:%M:%S', j.created_at / 1000, 'unixepoch')
        || printf('.%03dZ', j.created_at % 1000) as created_at_iso,
    j.called_at as called_at,
    strftime('%Y-%m-%dT%H:%M:%S', j.called_at / 1000, 'unixepoch')
        || printf('.%03dZ', j.called_at % 1000) as called_at_iso,
    j.finished_at as finished_at,
    strftime('%Y-%m-%dT%H:%M:%S', j.finished_at / 1000, 'unixepoch')
        || printf('.%03dZ', j.finished_at % 1000) as finished_at_iso,
    j.confirmed_at as confirmed_at,
    strftime('%Y-%m-%dT%H:%M:%S', j.confirmed_at / 1000, 'unixepoch')
        || printf('.%03dZ', j.confirmed_at % 1000) as confirmed_at_iso,
    case when j.ret_code = 0 then j.finished_at - j.sent_at end as exposure_ms,
    case when j.ret_code = 0 then j.created_at - j.sent_at end as delivery_ms,
    case when j.ret_code = 0 then j.called_at - j.created_at end as queue_ms,
    case when j.ret_code = 0 then j.finished_at - j.called_at end as call_ms,
    j.sent_at as sent_at,
    strftime('%Y-%m-%dT%H:%M:%S', j.sent_at / 1000, 'unixepoch')
        || printf('.%03dZ', j.sent_at % 1000) as sent_at_iso,
    j.due_at as due_at,
    strftime('%Y-%m-%dT%H:%M:%S', j.due_at / 1000, 'unixepoch')
        || printf('.%03dZ', j.due_at % 1000) as due_at_iso,
    j.message_id as message_id,
    j.job_id as job_id
from recall_jobs j
join conversations c on c.conversation_id = j.conversation_id;

create view v_calls as
select
    k.call_id as call_id,
    c.group_id as group_id,
    c.topic_id as topic_id,
    k.sequences as sequences,
    k.started_at as started_at,
    strftime('%Y-%m-%dT%H:%M:%S', k.started_at / 1000, 'unixepoch')
        || printf('.%03dZ', k.started_at % 1000) as started_at_iso,
    k.duration_ms as duration_ms,
    k.http_status as http_status,
    k.error_code as error_code,
    k.outcome as outcome
from calls k
join conversations c on c.conversation_id = k.conversation_id;

create view v_operations as
select
    actor,
    act,
    detail,
    at as at,
    strftime('%Y-%m-%dT%H:%M:%S', at / 1000, 'unixepoch')
        || printf('.%03dZ', at % 1000) as at_iso,
    operation_id
from operations;

pragma user_version = 1;

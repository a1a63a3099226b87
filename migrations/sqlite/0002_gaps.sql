-- Sequences that no callback brought, and what pulling the history made of them.

-- A run of sequences. One that turns out to hold different things is cut into several.
create table gaps (
    gap_id integer primary key,
    conversation_id integer not null, -- conversations
    from_seq integer not null,
    to_seq integer not null,
    state text not null,              -- open, filled, legitimate, unrepairable
    reason text,                      -- what it turned out to hold, or why it stays open
    found_at integer not null,
    closed_at integer,
    attempts integer not null,        -- pulls that failed
    due_at integer not null,          -- not pulled before
    check (state in ('open', 'filled', 'legitimate', 'unrepairable')),
    check (from_seq <= to_seq)
) strict;
create index gaps_open on gaps (due_at) where state = 'open';
create index gaps_conversation on gaps (conversation_id, to_seq);

-- Stretches of history being read from the newest end down: asked for by an operator, or by quell
-- for a conversation whose first callback was not its first message.
create table backfills (
    backfill_id integer primary key,
    conversation_id integer not null, -- conversations
    from_seq integer not null,
    to_seq integer not null,          -- 0: the newest that there is
    next_seq integer not null,        -- where the next page starts; 0: at the newest
    not_before integer not null,      -- ends at a message sent earlier than this
    state text not null,              -- running, done, failed, cancelled
    reason text,
    requested_by text not null,       -- operator:NAME, or quell
    pages integer not null,
    recorded integer not null,        -- messages that the callbacks had missed
    recalls integer not null,         -- of these, how many got a recall job
    attempts integer not null,
    due_at integer not null,
    created_at integer not null,
    finished_at integer,
    check (state in ('running', 'done', 'failed', 'cancelled'))
) strict;
create index backfills_running on backfills (due_at) where state = 'running';

-- From here on callbacks count as missed; what was sent earlier was never ours to judge.
insert into meta (name, value)
select 'watching_since',
    coalesce((select received_at from messages order by message_id limit 1),
        cast(unixepoch('subsec') * 1000 as integer));
-- Every message up to here has had its holes written to `gaps`.
insert into meta (name, value)
select 'gaps_checkpoint', coalesce((select max(message_id) from messages), 0);

create view v_gaps as
select
    c.group_id as group_id,
    c.topic_id as topic_id,
    g.from_seq as from_seq,
    g.to_seq as to_seq,
    g.state as state,
    g.reason as reason,
    g.to_seq - g.from_seq + 1 as sequences,
    c.group_type as group_type,
    g.found_at as found_at,
    strftime('%Y-%m-%dT%H:%M:%S', g.found_at / 1000, 'unixepoch')
        || printf('.%03dZ', g.found_at % 1000) as found_at_iso,
    g.closed_at as closed_at,
    strftime('%Y-%m-%dT%H:%M:%S', g.closed_at / 1000, 'unixepoch')
        || printf('.%03dZ', g.closed_at % 1000) as closed_at_iso,
    g.attempts as attempts,
    g.gap_id as gap_id
from gaps g
join conversations c on c.conversation_id = g.conversation_id;

create view v_backfills as
select
    b.backfill_id as backfill_id,
    c.group_id as group_id,
    c.topic_id as topic_id,
    b.from_seq as from_seq,
    b.to_seq as to_seq,
    b.next_seq as next_seq,
    b.state as state,
    b.reason as reason,
    b.requested_by as requested_by,
    b.pages as pages,
    b.recorded as recorded,
    b.recalls as recalls,
    b.created_at as created_at,
    strftime('%Y-%m-%dT%H:%M:%S', b.created_at / 1000, 'unixepoch')
        || printf('.%03dZ', b.created_at % 1000) as created_at_iso,
    b.finished_at as finished_at,
    strftime('%Y-%m-%dT%H:%M:%S', b.finished_at / 1000, 'unixepoch')
        || printf('.%03dZ', b.finished_at % 1000) as finished_at_iso
from backfills b
join conversations c on c.conversation_id = b.conversation_id;

pragma user_version = 2;

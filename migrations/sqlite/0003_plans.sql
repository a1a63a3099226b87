-- Sweeps: recalls that an operator plans, looks at and applies.

-- What was asked for, and where it stands.
create table plans (
    plan_id integer primary key,
    state text not null,              -- draft (being written), planned, applying, applied, cancelling, cancelled
    asked text not null,              -- JSON: what was asked for
    digest text not null,             -- over rule set and messages: two plans that do the same have the same
    rules_version text not null,      -- of the rule set in force when it was made; '' where none was
    messages integer not null,
    recallable integer not null,      -- of the messages, those that a call can help
    calls integer not null,           -- that it takes to recall them
    created_by text not null,
    created_at integer not null,
    applied_by text,
    applied_at integer,               -- when it was told to go
    finished_at integer,              -- when all its jobs were queued or cancelled
    progress integer not null,        -- messages dealt with while applying
    check (state in ('draft', 'planned', 'applying', 'applied', 'cancelling', 'cancelled'))
) strict;
create index plans_unfinished on plans (plan_id) where state in ('draft', 'applying', 'cancelling');

-- The messages of a plan, in the order in which their jobs are queued.
create table plan_messages (
    plan_id integer not null,         -- plans
    place integer not null,           -- 1, 2, 3, ...
    conversation_id integer not null, -- conversations
    msg_seq integer not null,
    message_id integer,               -- messages; null for what was never recorded
    sender text not null,             -- '' for what was never recorded
    sent_at integer not null,         -- for what was never recorded: of the nearest recorded message before it
    obstacle text,                    -- why it will not be recalled
    primary key (plan_id, place)
) strict, without rowid;

-- The jobs of a plan, without a cost for those of live traffic.
create index recall_jobs_swept on recall_jobs (requested_by, state) where background = 1;

create view v_plans as
select
    plan_id,
    state,
    asked,
    digest,
    rules_version,
    messages,
    recallable,
    calls,
    progress,
    created_by,
    created_at,
    strftime('%Y-%m-%dT%H:%M:%S', created_at / 1000, 'unixepoch')
        || printf('.%03dZ', created_at % 1000) as created_at_iso,
    applied_by,
    applied_at,
    strftime('%Y-%m-%dT%H:%M:%S', applied_at / 1000, 'unixepoch')
        || printf('.%03dZ', applied_at % 1000) as applied_at_iso,
    finished_at,
    strftime('%Y-%m-%dT%H:%M:%S', finished_at / 1000, 'unixepoch')
        || printf('.%03dZ', finished_at % 1000) as finished_at_iso
from plans where state <> 'draft';

pragma user_version = 3;

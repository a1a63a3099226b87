-- What is built behind the writer, so that no callback waits for it: a chain of digests over what was
-- decided and done, the messages of each conversation in order, and an index of their texts.

-- Each link covers a run of rows of one kind, and its hash that of the link before: no row of an earlier
-- link can be changed, taken away or put in without all later hashes being others.
create table chain (
    link_id integer primary key,
    kind integer not null,            -- 0 messages, 1 conflicts, 2 calls, 3 operations
    from_id integer not null,         -- the ids of the kind's table from here
    to_id integer not null,           -- up to and with here
    row_count integer not null,
    made_at integer not null,
    salts blob,                       -- 16 bytes for each id; zeros where the content was erased
    digests blob,                     -- over salt and content, 16 bytes for each id
    root blob not null,               -- over all rows
    hash blob not null,               -- over the hash before and all of this but the salts
    pruned_before integer,            -- retention took the rows away: all were older than this
    check (kind in (0, 1, 2, 3))
) strict;
create index chain_kind on chain (kind, from_id);
create index chain_kept on chain (kind, from_id) where pruned_before is null;

-- Messages up to the end of the chain, by conversation. What lies behind is read from the messages.
create table message_places (
    conversation_id integer not null, -- conversations
    message_id integer not null,      -- messages
    primary key (conversation_id, message_id)
) strict, without rowid;

-- Every three characters of each text, where `store.search` is on. Holds no text itself.
create virtual table message_search using fts5 (
    text, content = '', tokenize = 'trigram', detail = 'none', columnsize = 0
);
-- What is taken out of it is overwritten, like everything else.
insert into message_search (message_search, rank) values ('secure-delete', 1);

-- Filters of lists; none of these is on the path of a message that nobody minds.
create index recall_jobs_requested on recall_jobs (requested_by, job_id);
create index calls_amiss on calls (outcome, call_id) where outcome <> 'answered';
create index gaps_state on gaps (state, gap_id);
create index operations_actor on operations (actor, operation_id);
create index operations_act on operations (act, operation_id);

pragma user_version = 8;

-- Seals: each append-only row knows its transaction; what was committed is sealed by signed Merkle roots, chained.

do $$
declare
    sealed text;
begin
    foreach sealed in array array['account_credit', 'hold', 'hold_end', 'leg', 'leg_move', 'outbox_event', 'receipt',
                                  'settlement', 'settlement_bill', 'transfer', 'undo'] loop
        -- Not volatile: rows that stand already get the number of this transaction, and no table is rewritten.
        execute format('alter table %I add column tx bigint not null default (pg_current_xact_id()::text::bigint)', sealed);
        execute format('comment on column %I.tx is %L', sealed,
            'The transaction that wrote the row: with a snapshot it tells, for good, which seal must hold it.');
        -- Rows of one minute lie together: a block range index finds them and costs an insert next to nothing.
        execute format('create index %I on %I using brin (tx) with (pages_per_range = 16, autosummarize = on)',
                       sealed || '_tx', sealed);
    end loop;
end $$;

create table seal (
    seal_no         bigint primary key check (seal_no > 0),
    previous_digest bytea not null check (octet_length(previous_digest) = 32),
    snapshot        text not null check (snapshot::pg_snapshot is not null),
    tables          jsonb not null check (jsonb_typeof(tables) = 'object'),
    root            bytea not null check (octet_length(root) = 32),
    signed_at       timestamptz not null,
    signer          text not null check (signer ~ '^[0-9a-f]{64}$'),
    signature       bytea not null check (octet_length(signature) = 64)
);
comment on column seal.snapshot is
    'What was committed when it was made. A seal holds the rows that this snapshot sees and the one before does not.';
comment on column seal.tables is 'Table → [version of its columns, rows, root of their hashes in hex].';

create table seal_leaf (
    seal_no    bigint not null references seal deferrable initially deferred,
    table_name text not null,
    chunk_no   int not null check (chunk_no >= 0),
    row_keys   text[] not null check (cardinality(row_keys) > 0),
    hashes     bytea not null,
    primary key (seal_no, table_name, chunk_no),
    check (octet_length(hashes) = 32 * cardinality(row_keys))
);
comment on table seal_leaf is 'The hash of each sealed row, 32 bytes each in the order of row_keys: so that a changed row can be named.';

create trigger seal_append_only before update or delete on seal for each row execute function refuse_change();
create trigger seal_no_truncate before truncate on seal execute function refuse_change();
create trigger seal_leaf_append_only before update or delete on seal_leaf for each row execute function refuse_change();
create trigger seal_leaf_no_truncate before truncate on seal_leaf execute function refuse_change();

-- Seals: each append-only row knows its transaction; what was committed is sealed by signed Merkle roots, chained.

create table sealed_table (
    name text primary key
);
comment on table sealed_table is 'The tables of which every row is sealed; the same as SEALED_TABLES of the ledger, and a test holds them equal.';
insert into sealed_table values
    ('account_credit'), ('hold'), ('hold_end'), ('leg'), ('leg_move'), ('outbox_event'), ('receipt'), ('settlement'),
    ('settlement_bill'), ('transfer'), ('undo'), ('undo_line');

do $$
declare
    sealed text;
begin
    for sealed in select name from sealed_table loop
        -- Not volatile: rows that stand already get the number of this transaction, and no table is rewritten.
        execute format('alter table %I add column tx bigint not null default (pg_current_xact_id()::text::bigint)', sealed);
        execute format('comment on column %I.tx is %L', sealed,
            'The transaction that wrote the row: with a snapshot it tells, for good, which seal must hold it.');
    end loop;
end $$;

create function ensure_seal_indexes(p_today date) returns int language plpgsql as $$
-- Gives each partition that has rows, or soon will, the index by which sealing finds what is new. Rows of one minute lie
-- together, so it is a block range index: an insert costs next to nothing. Partitions of far months go without, because two
-- hundred empty indexes would have to be opened for every seal. Safe to repeat and to run side by side.
declare
    part record;
    made int := 0;
begin
    perform pg_advisory_xact_lock(hashtext('settlement.partitions'));
    for part in
        select c.oid, c.relname || '_tx' as index_name, c.relname
        from sealed_table s
        cross join lateral pg_partition_tree(s.name::regclass) t
        join pg_class c on c.oid = t.relid
        where t.isleaf and to_regclass(c.relname || '_tx') is null
          and (pg_relation_size(c.oid) > 0 or c.relname in (select s.name || to_char(p_today + make_interval(months => m), '_YYYYMM')
                                                          from generate_series(-1, 1) m))
        order by c.relname
    loop
        execute format('create index %I on %I using brin (tx) with (pages_per_range = 16, autosummarize = on)',
                       part.index_name, part.relname);
        made := made + 1;
    end loop;
    return made;
end $$;
select ensure_seal_indexes(current_date);
create index account_credit_tx on account_credit using brin (tx) with (pages_per_range = 16, autosummarize = on);

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

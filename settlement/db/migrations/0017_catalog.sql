-- The catalog of drugs and services: what an item is, and from when to when.

create table catalog_import (
    import_no   bigint generated always as identity primary key,
    file_name   text not null,
    file_digest bytea not null check (length(file_digest) = 32),
    items       int not null check (items > 0),
    added       int not null check (added >= 0),
    changed     int not null check (changed >= 0),
    imported_at timestamptz not null,
    check (added + changed > 0 and added + changed <= items)
);
comment on table catalog_import is 'Each file that changed the catalog, with its SHA-256.';

create table catalog_item (
    code       text collate "C" not null check (code ~ '^[!-~]{1,32}$'),
    valid_from date not null,
    valid_to   date check (valid_to >= valid_from),
    name       text not null check (name <> ''),
    category   text not null check (category in ('A', 'B', 'C')),
    share      int not null check (share between 0 and 10000 and (category = 'B' or share = 0)),
    ceiling_fen bigint check (ceiling_fen >= 0),
    import_no  bigint not null references catalog_import,
    primary key (code, valid_from)
);
comment on table catalog_item is
    'A version of an item, both days included; without valid_to it holds until the next version of its code begins. share: the
     patient''s share of class B, in ten-thousandths. ceiling_fen: the most that is recognised for one unit.';

create table catalog_item_history (
    import_no   bigint not null references catalog_import,
    code        text collate "C" not null,
    valid_from  date not null,
    valid_to    date,
    name        text not null,
    category    text not null,
    share       int not null,
    ceiling_fen bigint,
    primary key (code, valid_from, import_no)
);
comment on table catalog_item_history is 'How each version of an item was said by which import: what a bill was judged by can be told later.';

create function catalog_item_guard() returns trigger language plpgsql as $$
-- Days of one code are said once: no version begins while one before it still holds by its own end.
declare
    wrong text;
begin
    select o.code || ' from ' || o.valid_from into wrong
    from (select distinct a.code from added a) a
    cross join lateral (
        select i.code, i.valid_from, lag(i.valid_to) over (order by i.valid_from) as ended
        from catalog_item i where i.code = a.code) o
    where o.ended >= o.valid_from
    limit 1;
    if wrong is not null then
        raise exception 'a version of this item holds already on that day: %', wrong using errcode = 'restrict_violation';
    end if;
    insert into catalog_item_history
    select a.import_no, a.code, a.valid_from, a.valid_to, a.name, a.category, a.share, a.ceiling_fen from added a;
    return null;
end $$;
create trigger catalog_item_guard_new after insert on catalog_item referencing new table as added
    for each statement execute function catalog_item_guard();
create trigger catalog_item_guard_changed after update on catalog_item referencing new table as added
    for each statement execute function catalog_item_guard();
create trigger catalog_item_stays before delete on catalog_item for each row execute function refuse_change();
create trigger catalog_item_no_truncate before truncate on catalog_item execute function refuse_change();
create trigger catalog_import_append_only before update or delete on catalog_import
    for each row execute function refuse_change();
create trigger catalog_import_no_truncate before truncate on catalog_import execute function refuse_change();
create trigger catalog_item_history_append_only before update or delete on catalog_item_history
    for each row execute function refuse_change();
create trigger catalog_item_history_no_truncate before truncate on catalog_item_history execute function refuse_change();

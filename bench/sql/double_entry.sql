-- name: tables
-- Accounts with a stored balance, and entries that are only added.
create table account (
    id          bigint primary key,
    balance_fen bigint not null,
    check (balance_fen >= 0 or id = 0)
);
create table entry (
    transfer_no bigint not null,
    account_id  bigint not null references account,
    amount_fen  bigint not null check (amount_fen <> 0),
    primary key (transfer_no, account_id)
);
create sequence transfer_no;

-- name: open_accounts
-- The fund (account 0), payers with the opening balance, payees with nothing.
insert into account
select 0, - $3::bigint * cardinality($1::bigint[])
union all select unnest($1), $3
union all select unnest($2::bigint[]), 0;

-- name: open_entries
-- The entries behind the opening balances: one transfer from the fund to each payer.
insert into entry
select n.transfer_no, v.account_id, v.amount_fen
from (select nextval('transfer_no') as transfer_no, payer from unnest($1::bigint[]) payer) n
cross join lateral (values (0::bigint, - $2::bigint), (n.payer, $2)) v (account_id, amount_fen);

-- name: lock_accounts
-- The order of ids is the order of locks, so that two transfers never wait for each other.
select id, balance_fen from account where id = any($1::bigint[]) order by id for update;

-- name: next_transfer
-- The number of a new transfer.
select nextval('transfer_no');

-- name: enter
-- One side of a transfer.
insert into entry values ($1, $2, $3);

-- name: change_balance
-- The same on the stored balance.
update account set balance_fen = balance_fen + $2 where id = $1;

-- name: findings
-- Everything that must not be: one row a finding.
select 'the entries sum to ' || sum(amount_fen) || ' fen, not 0' as finding
from entry having sum(amount_fen) <> 0
union all
select 'the balances sum to ' || sum(balance_fen) || ' fen, not 0'
from account having sum(balance_fen) <> 0
union all
select 'transfer ' || transfer_no || ' does not balance'
from entry group by transfer_no having sum(amount_fen) <> 0 or count(*) <> 2
union all
select 'account ' || a.id || ' has ' || a.balance_fen || ' fen, its entries say ' || coalesce(sum(e.amount_fen), 0)
from account a left join entry e on e.account_id = a.id
group by a.id having a.balance_fen <> coalesce(sum(e.amount_fen), 0);

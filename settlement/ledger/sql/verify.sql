-- name: account_balances
-- A person's posted balance equals what the transfers say.
select 'person ' || a.person_id || ' ' || v.account || ': stored ' || v.posted || ', transfers say ' || coalesce(t.fen, 0) as finding
from insurance_accounts a
cross join lateral (values ('current_year', a.current_year_posted_fen), ('carried_over', a.carried_over_posted_fen)) v (account, posted)
left join lateral (
    select sum(case when x.credit_account = 'person/' || v.account then x.amount_fen else -x.amount_fen end) as fen
    from transfer x
    where x.person_id = a.person_id and 'person/' || v.account in (x.credit_account, x.debit_account)) t on true
where v.posted <> coalesce(t.fen, 0)
limit 50;

-- name: transfers_have_accounts
-- Every transfer belongs to a person whose accounts stand.
select 'transfer of saga ' || x.saga_id || ': person ' || x.person_id || ' has no accounts' as finding
from transfer x
where not exists (select from insurance_accounts a where a.person_id = x.person_id)
limit 50;

-- name: credits
-- Every credit was posted once, and every posting from the personal-account fund is a credit.
select 'credit ' || coalesce(c.credit_id, x.saga_id) || ': booked ' || coalesce(c.amount_fen, 0) || ', posted '
       || coalesce(x.amount_fen, 0) as finding
from account_credit c
full join (select * from transfer where debit_account = 'fund/personal_accounts') x
       on x.person_id = c.person_id and x.saga_id = c.credit_id and x.part = c.account
where c.amount_fen is distinct from x.amount_fen
limit 50;

-- name: year_turns
-- Every turn of a person's year and every sweep has exactly the transfers that it says, and no rollover is without one.
with said as (
    select y.person_id, y.posting_date, y.turn_id as saga_id, v.part, v.debit_account, v.credit_account, v.fen
    from account_year y
    cross join lateral (values
        ('rollover', 'person/current_year', 'person/carried_over', y.rolled_fen),
        ('current_year', 'fund/personal_accounts', 'person/current_year', y.credited_fen))
        v (part, debit_account, credit_account, fen)
    where v.fen > 0
    union all
    select w.person_id, w.posting_date, w.sweep_id, 'rollover', 'person/current_year', 'person/carried_over', w.rolled_fen
    from account_year_sweep w),
posted as (
    select x.* from transfer x
    where x.part = 'rollover'
       or exists (select from account_year y where y.person_id = x.person_id and y.turn_id = x.saga_id)
       or exists (select from account_year_sweep w where w.person_id = x.person_id and w.sweep_id = x.saga_id))
select 'turn ' || coalesce(d.saga_id, x.saga_id) || ' of person ' || coalesce(d.person_id, x.person_id) || ': '
       || coalesce(d.part, x.part) || ' says ' || coalesce(d.fen, 0) || ', posted ' || coalesce(x.amount_fen, 0)
       || coalesce(' from ' || x.debit_account || ' to ' || x.credit_account, '') as finding
from said d
full join posted x on x.person_id = d.person_id and x.saga_id = d.saga_id and x.part = d.part
                  and x.posting_date = d.posting_date
where (d.fen, d.debit_account, d.credit_account) is distinct from (x.amount_fen, x.debit_account, x.credit_account)
limit 50;

-- name: opened_years
-- The year that a person's accounts are in is the last that was opened.
select 'person ' || a.person_id || ': in year ' || coalesce(a.opened_year::text, 'none') || ', opened '
       || coalesce(y.last_year::text, 'none') as finding
from insurance_accounts a
left join (select person_id, max(insurance_year) as last_year from account_year group by person_id) y using (person_id)
where a.opened_year is distinct from y.last_year
limit 50;

-- name: year_sweeps
-- No year sweeps more than bills of older years have given back since it was opened.
with swept as (
    select y.person_id, y.insurance_year, y.account_version, y.freed_fen, sum(w.rolled_fen) as fen
    from account_year y
    join account_year_sweep w on w.person_id = y.person_id and w.insurance_year = y.insurance_year
    group by y.person_id, y.insurance_year)
select 'person ' || s.person_id || ' year ' || s.insurance_year || ': swept ' || s.fen || ', came back '
       || f.freed_fen - s.freed_fen as finding
from (select distinct insurance_year from swept) n
cross join lateral freed_by_bills(
    array(select s.person_id from swept s where s.insurance_year = n.insurance_year order by s.person_id),
    array(select s.account_version from swept s where s.insurance_year = n.insurance_year order by s.person_id)) f
join swept s on s.person_id = f.person_id and s.insurance_year = n.insurance_year
where s.fen > f.freed_fen - s.freed_fen
limit 50;

-- name: held_balances
-- A person's held balance equals the holds that have not ended.
select 'person ' || a.person_id || ' ' || v.account || ': held ' || v.held || ', open holds say ' || coalesce(h.fen, 0) as finding
from insurance_accounts a
cross join lateral (values ('current_year', a.current_year_held_fen), ('carried_over', a.carried_over_held_fen)) v (account, held)
left join lateral (
    select sum(x.amount_fen) as fen from hold x
    where x.person_id = a.person_id and x.account = v.account
      and not exists (select from hold_end e where e.person_id = x.person_id and e.acceptance_date = x.acceptance_date
                      and e.saga_id = x.saga_id and e.account = x.account)) h on true
where v.held <> coalesce(h.fen, 0)
limit 50;

-- name: settled_parts
-- Of a settled bill each part is posted once, to the fen, and the parts sum to the bill; of any other, nothing is.
select 'settlement ' || s.settlement_id || ' (' || s.decision || '): posted ' || t.parts as finding
from settlement s
cross join lateral (
    select coalesce(jsonb_object_agg(x.part, x.fen), '{}') as parts, coalesce(sum(x.fen), 0) as fen
    from (select part, sum(amount_fen) as fen from transfer
          where person_id = s.person_id and saga_id = s.settlement_id
            and credit_account = bill_account(s)
          group by part) x) t
where t.parts <> case when s.decision = 'forward' then (
        select coalesce(jsonb_object_agg(p.part, p.fen), '{}')
        from (values ('pooled_fund', s.pooled_fund_fen), ('additional_fund', s.additional_fund_fen),
                     ('current_year', s.current_year_fen), ('carried_over', s.carried_over_fen),
                     ('deposit', s.deposit_fen), ('bank', s.bank_fen), ('cash', s.cash_fen)) p (part, fen) where p.fen > 0)
      else '{}'::jsonb end
   or (s.decision = 'forward' and t.fen <> s.bill_fen)
limit 50;

-- name: returned_parts
-- What a reversal or refund gives back is posted to where it came from; the bank's share once the bank has it.
select u.kind || ' ' || u.undo_id || ': posted ' || t.parts as finding
from undo u
left join leg b on b.person_id = u.person_id and b.acceptance_date = u.acceptance_date and b.saga_id = u.undo_id
               and b.leg = 'bank_return'
cross join lateral (
    select coalesce(jsonb_object_agg(x.part, x.fen), '{}') as parts
    from (select part, sum(amount_fen) as fen from transfer
          where person_id = u.person_id and saga_id = u.undo_id
            and debit_account in ('institution/' || u.institution_id, 'deposit/' || u.institution_id)
          group by part) x) t
where t.parts <> (
        select coalesce(jsonb_object_agg(p.part, p.fen), '{}')
        from (values ('pooled_fund', u.pooled_fund_fen), ('additional_fund', u.additional_fund_fen),
                     ('current_year', u.current_year_fen), ('carried_over', u.carried_over_fen), ('deposit', u.deposit_fen),
                     ('bank', case when b.state = 'posted' then u.bank_fen else 0 end), ('cash', u.cash_fen)) p (part, fen)
        where p.fen > 0)
limit 50;

-- name: returned_sum
-- Reversals and refunds never give back more than the bill, and what is reserved is what they say.
select 'settlement ' || s.settlement_id || ': returned ' || s.returned_fen || ', undone ' || coalesce(u.fen, 0) as finding
from settlement s
left join lateral (
    select sum(x.pooled_fund_fen + x.additional_fund_fen + x.current_year_fen + x.carried_over_fen + x.deposit_fen + x.bank_fen
               + x.cash_fen) as fen
    from undo x
    where x.person_id = s.person_id and x.acceptance_date = s.acceptance_date and x.settlement_id = s.settlement_id) u on true
where s.returned_fen <> coalesce(u.fen, 0) or s.returned_fen > s.bill_fen
limit 50;

-- name: returned_lines
-- Each undo gives back line by line what it says, no line more than its payers paid, and a reversal leaves nothing.
select u.kind || ' ' || u.undo_id || ': lines give back ' || l.parts as finding
from undo u
cross join lateral (
    select coalesce(jsonb_object_agg(x.payer, x.fen) filter (where x.fen <> 0), '{}') as parts
    from (select payer, sum(amount_fen) as fen from undo_line
          where person_id = u.person_id and acceptance_date = u.acceptance_date and undo_id = u.undo_id
            and settlement_id = u.settlement_id
          group by payer) x) l
where l.parts <> (
        select coalesce(jsonb_object_agg(p.part, p.fen), '{}')
        from (values ('pooled_fund', u.pooled_fund_fen), ('additional_fund', u.additional_fund_fen),
                     ('current_year', u.current_year_fen), ('carried_over', u.carried_over_fen), ('deposit', u.deposit_fen),
                     ('bank', u.bank_fen), ('cash', u.cash_fen)) p (part, fen)
        where p.fen > 0)
union all
select 'settlement ' || s.settlement_id || ' line ' || l.line_no || ' ' || l.payer || ': ' || l.left_fen || ' of '
       || l.paid_fen || ' left'
from settlement s
cross join lateral line_shares(s.person_id, s.acceptance_date, s.settlement_id) l
where s.returned_fen > 0
  and (l.left_fen < 0 or (l.left_fen > 0 and exists (
        select from undo u where u.person_id = s.person_id and u.acceptance_date = s.acceptance_date
            and u.settlement_id = s.settlement_id and u.kind = 'reversal')))
limit 50;

-- name: holds_follow_decision
-- Holds are open while a settlement is open, posted when it went forward, voided when it went backward.
select 'settlement ' || s.settlement_id || ' (' || s.decision || '): hold on ' || h.account || ' is '
       || coalesce(e.outcome, 'open') as finding
from hold h
join settlement s on s.person_id = h.person_id and s.acceptance_date = h.acceptance_date and s.settlement_id = h.saga_id
left join hold_end e on e.person_id = h.person_id and e.acceptance_date = h.acceptance_date and e.saga_id = h.saga_id
                    and e.account = h.account
where coalesce(e.outcome, 'open') <> case s.decision when 'forward' then 'posted' when 'backward' then 'voided' else 'open' end
   or h.amount_fen <> case h.account when 'current_year' then s.current_year_fen else s.carried_over_fen end
limit 50;

-- name: legs_follow_decision
-- The legs' states agree with the one decision.
select 'settlement ' || s.settlement_id || ' (' || s.decision || '): insurance ' || coalesce(i.state, 'none')
       || ', bank ' || coalesce(b.state, 'none') as finding
from settlement s
left join leg i on i.person_id = s.person_id and i.acceptance_date = s.acceptance_date and i.saga_id = s.settlement_id
               and i.leg = 'insurance'
left join leg b on b.person_id = s.person_id and b.acceptance_date = s.acceptance_date and b.saga_id = s.settlement_id
               and b.leg = 'bank'
where not case s.decision
        when 'open' then coalesce(i.state, 'held') = 'held' and coalesce(b.state in ('intended', 'unknown', 'approved'), false)
        when 'forward' then coalesce(i.state, 'posted') = 'posted'
             and coalesce(b.state, 'none') = case when s.bank_fen > 0 then 'posted' when b.state is null then 'none' else 'declined' end
        else coalesce(i.state, 'released') = 'released' and coalesce(b.state in ('declined', 'undoing', 'undone'), false)
      end
   or (i.state is null) <> (s.pooled_fund_fen + s.additional_fund_fen + s.current_year_fen + s.carried_over_fen = 0)
limit 50;

-- name: leg_histories
-- Every leg's history is whole: numbered without a gap, each move from where the last one ended, the last one its state.
select 'leg ' || l.leg || ' of ' || l.saga_id || ': history does not lead to ' || l.state as finding
from leg l
cross join lateral (
    select count(*) as moves, max(x.move_no) as last_no, bool_and(x.from_state = x.expected) as chained,
           (array_agg(x.to_state order by x.move_no desc))[1] as last_state
    from (select m.*, lag(m.to_state, 1, 'none') over (order by m.move_no) as expected from leg_move m
          where m.person_id = l.person_id and m.acceptance_date = l.acceptance_date and m.saga_id = l.saga_id
            and m.leg = l.leg) x) h
where h.moves <> l.move_no or h.last_no <> l.move_no or not coalesce(h.chained, false)
   or h.last_state is distinct from l.state
limit 50;

-- name: legal_histories
-- No history holds a move that the table of legal moves does not allow.
select 'leg ' || m.leg || ' of ' || m.saga_id || ': ' || m.from_state || ' to ' || m.to_state as finding
from leg_move m
where not exists (select from leg_rule r where r.leg = m.leg and r.from_state = m.from_state and r.to_state = m.to_state)
limit 50;

-- name: receipts
-- A receipt stands for each settled bill and each completed reversal or refund, and for nothing else.
select 'settlement ' || s.settlement_id || ' (' || s.decision || '): receipt ' || (r.saga_id is not null) as finding
from settlement s
left join receipt r on r.person_id = s.person_id and r.acceptance_date = s.acceptance_date and r.saga_id = s.settlement_id
where (s.decision = 'forward') <> (r.saga_id is not null)
union all
select u.kind || ' ' || u.undo_id || ': bank ' || coalesce(b.state, 'none') || ', receipt ' || (r.saga_id is not null)
from undo u
left join leg b on b.person_id = u.person_id and b.acceptance_date = u.acceptance_date and b.saga_id = u.undo_id
               and b.leg = 'bank_return'
left join receipt r on r.person_id = u.person_id and r.acceptance_date = u.acceptance_date and r.saga_id = u.undo_id
where coalesce(b.state = 'posted', true) <> (r.saga_id is not null)
limit 50;

-- name: line_claims
-- Each line of a bill that is open or settled is claimed once, also when it was refunded; of one that was declined or
-- taken back whole, none is.
select 'settlement ' || s.settlement_id || ': ' || c.claims || ' of ' || jsonb_array_length(sb.lines) || ' lines claimed' as finding
from settlement s
join settlement_bill sb on sb.person_id = s.person_id and sb.acceptance_date = s.acceptance_date
                       and sb.settlement_id = s.settlement_id
cross join lateral (
    select count(*) as claims from line_claim x
    where x.institution_id = s.institution_id and x.visit_no = s.visit_no and x.settlement_id = s.settlement_id) c
where c.claims <> case when s.decision in ('open', 'forward') and not exists (
        select from undo u where u.person_id = s.person_id and u.acceptance_date = s.acceptance_date
            and u.settlement_id = s.settlement_id and u.kind = 'reversal')
    then jsonb_array_length(sb.lines) else 0 end
limit 50;

-- name: accumulators
-- A person's counters equal what their moves say.
select 'person ' || coalesce(a.person_id, m.person_id) || ' ' || coalesce(a.plan, m.plan) || ' '
       || coalesce(a.insurance_year, m.insurance_year) || ' ' || coalesce(a.counter, m.counter) || ': stored '
       || coalesce(a.fen, 0) || ', moves say ' || coalesce(m.fen, 0) as finding
from accumulator a
full join (select x.person_id, x.plan, x.insurance_year, x.counter, sum(x.fen) as fen from accumulator_move x group by 1, 2, 3, 4) m
       using (person_id, plan, insurance_year, counter)
where coalesce(a.fen, 0) <> coalesce(m.fen, 0)
limit 50;

-- name: counters_follow_bills
-- Each bill moved the counters by what its judgement says, and of a bill that stands nowhere any more nothing is left.
select 'settlement ' || s.settlement_id || ' (' || s.decision || '): judged to count ' || j.moved || ', held ' || m.held
       || ', left ' || m.left_over as finding
from settlement s
join settlement_bill sb on sb.person_id = s.person_id and sb.acceptance_date = s.acceptance_date
                       and sb.settlement_id = s.settlement_id
cross join lateral (
    select coalesce(jsonb_object_agg(x.place, x.fen), '{}') as moved
    from (select concat_ws('/', m.plan, m.insurance_year, m.counter) as place, sum(m.fen) as fen
          from jsonb_array_elements(sb.policy) p (record)
          cross join lateral jsonb_to_recordset(p.record -> 'moved') m (plan text, insurance_year int, counter text, fen bigint)
          group by 1) x) j
cross join lateral (
    select coalesce(jsonb_object_agg(x.place, x.held) filter (where x.held <> 0), '{}') as held,
           coalesce(jsonb_object_agg(x.place, x.left_over) filter (where x.left_over <> 0), '{}') as left_over,
           coalesce(sum(x.left_over) filter (where x.counter = 'pooled_fund'), 0) as pooled_fund,
           coalesce(sum(x.left_over) filter (where x.counter = 'additional_fund'), 0) as additional_fund
    from (select y.counter, concat_ws('/', y.plan, y.insurance_year, y.counter) as place, coalesce(sum(y.fen) filter (where y.cause = 'hold'), 0) as held, sum(y.fen) as left_over
          from accumulator_move y
          where y.person_id = s.person_id and y.acceptance_date = s.acceptance_date and y.settlement_id = s.settlement_id
          group by 1, 2) x) m
where m.held <> j.moved
   or (m.left_over <> '{}' and (s.decision = 'backward' or s.returned_fen = s.bill_fen))
   or (s.decision = 'forward' and s.returned_fen = 0 and m.left_over <> j.moved)
   or (sb.policy is null and s.pooled_fund_fen + s.additional_fund_fen > 0)
   -- What a fund has paid and not got back is what it counts.
   or exists (
        select from (values ('pooled_fund', s.pooled_fund_fen, m.pooled_fund),
                            ('additional_fund', s.additional_fund_fen, m.additional_fund)) f (fund, fen, counted)
        where s.decision <> 'backward'
          and f.counted <> f.fen - (
            select coalesce(sum(case f.fund when 'pooled_fund' then u.pooled_fund_fen else u.additional_fund_fen end), 0) from undo u
            where u.person_id = s.person_id and u.acceptance_date = s.acceptance_date and u.settlement_id = s.settlement_id))
limit 50;

-- name: one_counting
-- The one bill that others wait for is open and moved counters, and every such bill is waited for.
select 'person ' || coalesce(a.person_id, o.person_id) || ': waits for ' || coalesce(a.counting_settlement::text, 'none')
       || ', open is ' || coalesce(o.settlement_id::text, 'none') as finding
from (select * from insurance_accounts where counting_settlement is not null) a
full join (
    select s.person_id, s.settlement_id from settlement s
    where s.decision = 'open' and exists (
        select from accumulator_move m where m.person_id = s.person_id and m.acceptance_date = s.acceptance_date
            and m.settlement_id = s.settlement_id)) o on o.settlement_id = a.counting_settlement
where a.person_id is null or o.person_id is null
limit 50;

-- name: deposits
-- Of no stay more is used or given back than was deposited, and what institutions keep is what their stays have left.
select 'stay ' || t.stay_id || ': ' || t.left_fen || ' fen of its deposits left' as finding
from (select s.stay_id, deposit_left(s.person_id, s.stay_id) as left_fen from stay s
      where exists (select from stay_settlement x where x.person_id = s.person_id and x.stay_id = s.stay_id and x.part = 'deposit')) t
where t.left_fen < 0
union all
select coalesce(k.account, d.account) || ': booked ' || coalesce(k.fen, 0) || ', stays have left ' || coalesce(d.fen, 0)
from (select x.account, sum(x.fen) as fen
      from (select credit_account as account, amount_fen as fen from transfer where credit_account like 'deposit/%'
            union all
            select debit_account, -amount_fen from transfer where debit_account like 'deposit/%') x
      group by 1) k
full join (
    select 'deposit/' || s.institution_id as account,
           sum(case when s.visit_type = 'deposit' then s.bill_fen - s.returned_fen + o.open_fen else o.deposit_fen - s.deposit_fen end) as fen
    from settlement s
    cross join lateral (
        select coalesce(sum(u.deposit_fen), 0) as deposit_fen,
               coalesce(sum(r.amount_fen) filter (where r.state <> 'posted'), 0) as open_fen
        from undo u
        left join leg r on r.person_id = u.person_id and r.acceptance_date = u.acceptance_date and r.saga_id = u.undo_id
                       and r.leg = 'bank_return'
        where u.person_id = s.person_id and u.acceptance_date = s.acceptance_date and u.settlement_id = s.settlement_id) o
    where s.decision = 'forward' and (s.visit_type = 'deposit' or s.deposit_fen > 0)
    group by 1) d on d.account = k.account
where coalesce(k.fen, 0) <> coalesce(d.fen, 0)
limit 50;

-- name: directory
-- Every settlement is found by its institution, and by its key while that is kept.
select 'settlement ' || s.settlement_id || ': not in the directory' as finding
from settlement s
where not exists (select from saga_directory d where d.institution_id = s.institution_id and d.saga_id = s.settlement_id
                  and d.person_id = s.person_id and d.acceptance_date = s.acceptance_date)
limit 50;

-- name: counts
-- How much was looked at, and what is not final.
select (select count(*) from settlement) as settlements,
       (select count(*) from settlement where decision = 'forward') as settled,
       (select count(*) from undo where kind = 'reversal') as reversals,
       (select count(*) from undo where kind = 'refund') as refunds,
       (select count(*) from transfer) as transfers,
       (select coalesce(sum(amount_fen), 0)::bigint from transfer) as transferred_fen,
       (select count(*) from leg where next_attempt_at is not null) as open_legs;

-- name: bank_legs
-- What the banks' books must show: debits that are live, undone or never were, with what returns have given back of each
-- (fen) and whether one is under way; and the returns themselves.
select l.bank_code, l.leg, l.verb, l.state, l.amount_fen, l.terminal_id, l.transmitted, l.trace, l.reference,
       l.next_attempt_at is null as final, coalesce(g.returned_fen, 0) as returned_fen,
       coalesce(g.returning, false) as returning
from leg l
left join lateral (
    select coalesce(sum(r.amount_fen) filter (where r.state = 'posted'), 0)::bigint as returned_fen,
           coalesce(bool_or(r.state <> 'posted'), false) as returning
    from undo u
    join leg r on r.person_id = u.person_id and r.acceptance_date = u.acceptance_date and r.saga_id = u.undo_id
              and r.leg = 'bank_return'
    where l.leg = 'bank' and u.person_id = l.person_id and u.acceptance_date = l.acceptance_date
      and u.settlement_id = l.saga_id) g on true
where l.leg in ('bank', 'bank_return');

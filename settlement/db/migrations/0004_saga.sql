-- Settlements and what undoes them: immutable facts, one durable decision, state per leg with its legal moves and history.

create sequence bank_reference_seq;

create table settlement (
    person_id         bigint not null,
    acceptance_date   date not null,
    settlement_id     uuid not null,
    institution_id    text not null references institution,
    terminal_id       text not null,
    card_id           bigint not null,
    idempotency_key   text not null,
    visit_no          text not null,
    visit_type        text not null check (visit_type in ('outpatient', 'pharmacy')),
    service_date      date not null,
    accepted_at       timestamptz not null,
    deadline_at       timestamptz not null check (deadline_at > accepted_at),
    account_version   bigint not null,
    bill_fen          bigint not null check (bill_fen > 0),
    own_expense_fen   bigint not null check (own_expense_fen >= 0),
    current_year_fen  bigint not null check (current_year_fen >= 0),
    carried_over_fen  bigint not null check (carried_over_fen >= 0),
    bank_fen          bigint not null check (bank_fen >= 0),
    cash_fen          bigint not null check (cash_fen >= 0),
    agreed            text not null,
    on_bank_decline   text not null check (on_bank_decline in ('release', 'cash')),
    bank_notice       text,
    decision          text not null check (decision in ('open', 'forward', 'backward')),
    decision_cause    text,
    decided_at        timestamptz,
    decline_code      text,
    decline_bank_code text,
    posting_date      date,
    returned_fen      bigint not null default 0 check (returned_fen between 0 and bill_fen),
    primary key (person_id, acceptance_date, settlement_id),
    check (current_year_fen + carried_over_fen + bank_fen + cash_fen = bill_fen),
    check (current_year_fen + carried_over_fen <= bill_fen - own_expense_fen),
    check ((decision = 'open') = (decided_at is null)),
    check ((decision = 'forward') = (posting_date is not null)),
    check (returned_fen = 0 or decision = 'forward')
) partition by range (acceptance_date);
comment on column settlement.decision is
    'The one durable decision: from open to forward or backward, once and for ever.';
comment on column settlement.returned_fen is 'Reserved or given back by reversals and refunds; never more than the bill.';

create table settlement_bill (
    person_id       bigint not null,
    acceptance_date date not null,
    settlement_id   uuid not null,
    lines           jsonb not null,
    parts           jsonb not null,
    primary key (person_id, acceptance_date, settlement_id)
) partition by range (acceptance_date);

-- A reversal or refund: a saga of its own, kept in the partition of the settlement that it undoes.
create table undo (
    person_id        bigint not null,
    acceptance_date  date not null,
    undo_id          uuid not null,
    settlement_id    uuid not null,
    kind             text not null check (kind in ('reversal', 'refund')),
    institution_id   text not null,
    terminal_id      text not null,
    idempotency_key  text not null,
    reason           text not null,
    requested_at     timestamptz not null,
    current_year_fen bigint not null check (current_year_fen >= 0),
    carried_over_fen bigint not null check (carried_over_fen >= 0),
    bank_fen         bigint not null check (bank_fen >= 0),
    cash_fen         bigint not null check (cash_fen >= 0),
    posting_date     date not null,
    primary key (person_id, acceptance_date, undo_id),
    foreign key (person_id, acceptance_date, settlement_id) references settlement,
    check (current_year_fen + carried_over_fen + bank_fen + cash_fen > 0)
) partition by range (acceptance_date);
create unique index undo_one_reversal on undo (person_id, acceptance_date, settlement_id) where kind = 'reversal';
create index undo_of on undo (person_id, acceptance_date, settlement_id);

create table leg_rule (
    leg        text not null,
    from_state text not null,
    to_state   text not null,
    primary key (leg, from_state, to_state)
);
comment on table leg_rule is 'The legal moves of a leg; the same table as LEGAL_MOVES of the engine, and a test holds them equal.';
insert into leg_rule (leg, from_state, to_state) values
    ('insurance', 'none', 'held'), ('insurance', 'none', 'posted'),
    ('insurance', 'held', 'posted'), ('insurance', 'held', 'released'),
    ('bank', 'none', 'intended'),
    ('bank', 'intended', 'approved'), ('bank', 'intended', 'declined'), ('bank', 'intended', 'unknown'),
    ('bank', 'intended', 'posted'), ('bank', 'intended', 'undoing'),
    ('bank', 'unknown', 'approved'), ('bank', 'unknown', 'declined'), ('bank', 'unknown', 'posted'),
    ('bank', 'unknown', 'undoing'),
    ('bank', 'approved', 'posted'),
    ('bank', 'undoing', 'undoing'), ('bank', 'undoing', 'undone'),
    ('insurance_return', 'none', 'posted'),
    ('bank_return', 'none', 'intended'),
    ('bank_return', 'intended', 'posted'), ('bank_return', 'intended', 'unknown'),
    ('bank_return', 'intended', 'refused'), ('bank_return', 'intended', 'intended'),
    ('bank_return', 'unknown', 'posted'), ('bank_return', 'unknown', 'refused'), ('bank_return', 'unknown', 'intended'),
    ('bank_return', 'refused', 'posted'), ('bank_return', 'refused', 'unknown'), ('bank_return', 'refused', 'refused'),
    ('bank_return', 'refused', 'intended');

create table leg (
    person_id            bigint not null,
    acceptance_date      date not null,
    saga_id              uuid not null,
    leg                  text not null check (leg in ('insurance', 'bank', 'insurance_return', 'bank_return')),
    state                text not null,
    cause                text not null,
    move_no              int not null default 1,
    amount_fen           bigint not null check (amount_fen > 0),
    moved_at             timestamptz not null,
    bank_code            text,
    verb                 text check (verb in ('debit', 'void', 'refund')),
    terminal_id          text,
    transmitted          text,
    trace                text,
    reference            text,
    response_code        text,
    authorisation        text,
    bank_settlement_date date,
    attempts             int not null default 0,
    fence                bigint not null default 0,
    worker               text,
    next_attempt_at      timestamptz,
    primary key (person_id, acceptance_date, saga_id, leg),
    check ((leg in ('bank', 'bank_return')) = (bank_code is not null and verb is not null and terminal_id is not null
        and transmitted is not null and trace is not null and reference is not null)),
    -- A leg is due again exactly while its outcome is not final: nothing can be forgotten, nothing final is touched.
    check ((next_attempt_at is not null) =
           (leg in ('bank', 'bank_return') and state in ('intended', 'unknown', 'approved', 'undoing', 'refused')))
) partition by range (acceptance_date);
create index leg_due on leg (next_attempt_at) where next_attempt_at is not null;
create index leg_bank_reference on leg (reference) where reference is not null;
comment on column leg.fence is 'Rises with every claim; an attempt under an older one may no longer send or schedule.';

create table leg_move (
    person_id       bigint not null,
    acceptance_date date not null,
    saga_id         uuid not null,
    leg             text not null,
    move_no         int not null,
    from_state      text not null,
    to_state        text not null,
    cause           text not null,
    response_code   text,
    fence           bigint not null,
    moved_at        timestamptz not null,
    primary key (person_id, acceptance_date, saga_id, leg, move_no),
    foreign key (person_id, acceptance_date, saga_id, leg) references leg
) partition by range (acceptance_date);

create table receipt (
    person_id       bigint not null,
    acceptance_date date not null,
    saga_id         uuid not null,
    kind            text not null check (kind in ('settlement', 'reversal')),
    posting_date    date not null,
    issued_at       timestamptz not null,
    primary key (person_id, acceptance_date, saga_id)
) partition by range (acceptance_date);

create table outbox_event (
    person_id       bigint not null,
    acceptance_date date not null,
    saga_id         uuid not null,
    event           text not null,
    happened_at     timestamptz not null,
    primary key (person_id, acceptance_date, saga_id, event)
) partition by range (acceptance_date);

-- Keys of requests: outside the partitions by date, distributed by institution.
create table idempotency (
    institution_id  text not null,
    idempotency_key text not null,
    operation       text not null check (operation in ('settlement', 'reversal', 'tombstone')),
    body_digest     bytea not null,
    saga_id         uuid not null,
    person_id       bigint,
    acceptance_date date,
    created_at      timestamptz not null,
    expires_at      timestamptz not null,
    primary key (institution_id, idempotency_key),
    check ((person_id is null) = (acceptance_date is null))
);
create index idempotency_expiry on idempotency (expires_at);

-- Where a settlement or undo of an institution lives; kept for ever.
create table saga_directory (
    institution_id  text not null,
    saga_id         uuid not null,
    kind            text not null check (kind in ('settlement', 'reversal')),
    person_id       bigint not null,
    acceptance_date date not null,
    primary key (institution_id, saga_id)
);

-- The natural key of a bill: a fee line of a visit is settled once, under whatever request key it comes.
create table line_claim (
    institution_id text not null,
    visit_no       text not null,
    line_no        int not null,
    settlement_id  uuid not null,
    primary key (institution_id, visit_no, line_no)
);

create function leg_guard() returns trigger language plpgsql as $$
-- Refuses an illegal move and writes the history. A move is a new state, or a move_no raised on purpose (same state, new cause).
declare
    old_state text;
begin
    if tg_op = 'DELETE' then
        raise exception 'a leg is never removed' using errcode = 'restrict_violation';
    end if;
    if tg_op = 'INSERT' then
        old_state := 'none';
        new.move_no := 1;
    else
        if (new.person_id, new.acceptance_date, new.saga_id, new.leg, new.amount_fen, new.bank_code)
           is distinct from (old.person_id, old.acceptance_date, old.saga_id, old.leg, old.amount_fen, old.bank_code)
           or new.fence < old.fence then
            raise exception 'the facts of a leg never change' using errcode = 'restrict_violation';
        end if;
        if new.state = old.state and new.move_no = old.move_no then
            return new;
        end if;
        old_state := old.state;
        new.move_no := old.move_no + 1;
    end if;
    if not exists (select from leg_rule r where r.leg = new.leg and r.from_state = old_state and r.to_state = new.state) then
        raise exception 'illegal move of a % leg: % to %', new.leg, old_state, new.state
            using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
create trigger leg_guard before insert or update or delete on leg for each row execute function leg_guard();

create function leg_history() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' or new.move_no <> old.move_no then
        insert into leg_move values (new.person_id, new.acceptance_date, new.saga_id, new.leg, new.move_no,
            case when tg_op = 'INSERT' then 'none' else old.state end, new.state, new.cause,
            new.response_code, new.fence, new.moved_at);
    end if;
    return null;
end $$;
create trigger leg_history after insert or update on leg for each row execute function leg_history();

create function settlement_guard() returns trigger language plpgsql as $$
-- The facts never change; the decision is made once; the bank's share may only turn into cash, and only with the decision.
begin
    if tg_op = 'DELETE' then
        raise exception 'a settlement is never removed' using errcode = 'restrict_violation';
    end if;
    if (new.person_id, new.acceptance_date, new.settlement_id, new.institution_id, new.terminal_id, new.card_id,
        new.idempotency_key, new.visit_no, new.service_date, new.accepted_at, new.deadline_at, new.account_version,
        new.bill_fen, new.own_expense_fen, new.current_year_fen, new.carried_over_fen, new.agreed, new.on_bank_decline)
       is distinct from
       (old.person_id, old.acceptance_date, old.settlement_id, old.institution_id, old.terminal_id, old.card_id,
        old.idempotency_key, old.visit_no, old.service_date, old.accepted_at, old.deadline_at, old.account_version,
        old.bill_fen, old.own_expense_fen, old.current_year_fen, old.carried_over_fen, old.agreed, old.on_bank_decline)
    then
        raise exception 'the facts of a settlement never change' using errcode = 'restrict_violation';
    end if;
    if old.decision <> 'open' and (new.decision, new.decision_cause, new.decided_at, new.bank_fen, new.cash_fen, new.posting_date)
       is distinct from (old.decision, old.decision_cause, old.decided_at, old.bank_fen, old.cash_fen, old.posting_date)
    then
        raise exception 'the decision of a settlement is made once' using errcode = 'restrict_violation';
    end if;
    if new.bank_fen <> old.bank_fen and not (new.bank_fen = 0 and new.decision = 'forward' and new.on_bank_decline = 'cash') then
        raise exception 'the bank''s share may only become cash' using errcode = 'restrict_violation';
    end if;
    if new.returned_fen < old.returned_fen then
        raise exception 'what was given back stays given back' using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
create trigger settlement_guard before update or delete on settlement for each row execute function settlement_guard();

create trigger settlement_bill_append_only before update or delete on settlement_bill
    for each row execute function refuse_change();
create trigger undo_append_only before update or delete on undo for each row execute function refuse_change();
create trigger leg_move_append_only before update or delete on leg_move for each row execute function refuse_change();
create trigger receipt_append_only before update or delete on receipt for each row execute function refuse_change();
create trigger outbox_event_append_only before update or delete on outbox_event
    for each row execute function refuse_change();

insert into partition_plan values
    ('settlement'), ('settlement_bill'), ('undo'), ('leg'), ('leg_move'), ('receipt'), ('outbox_event');
select ensure_partitions((current_date - interval '1 month')::date, 26);

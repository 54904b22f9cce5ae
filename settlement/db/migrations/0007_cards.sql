-- The registry's changes, one function each. Every change of a card takes the person's lock first, as the hold of a
-- settlement does: a settlement that races with an activation or a freeze sees the card before it or after it, never half.
-- A change answers null when it was made (or nothing was left to do), else the code of the refusal; a refusal changes nothing.

alter table card rename column certificate_der to certificate_sealed;
comment on column card.certificate_sealed is 'The DER form, sealed: its subject is the card number.';

create function register_person(
    p_blind_index bytea, p_person_id bigint, p_name_sealed bytea, p_id_number_sealed bytea, p_now timestamptz
) returns bigint language plpgsql as $$
-- Enters a person and opens the insurance accounts. Another id than the one given: this ID number was registered before.
begin
    insert into person_index values (p_blind_index, p_person_id) on conflict do nothing;
    if not found then
        return (select i.person_id from person_index i where i.blind_index = p_blind_index);
    end if;
    insert into person values (p_person_id, p_name_sealed, p_id_number_sealed, p_now);
    insert into insurance_accounts (person_id) values (p_person_id);
    return p_person_id;
end $$;

create function register_card(
    p_blind_index bytea, p_person_id bigint, p_card_id bigint, p_kind text, p_card_number_sealed bytea,
    p_issued_on date, p_expires_on date, p_certificate_sealed bytea, p_certificate_fingerprint text,
    p_certificate_not_after timestamptz, p_public_key bytea, p_bank_code text, p_pan_sealed bytea, p_now timestamptz
) returns boolean language plpgsql as $$
-- Enters a card that does nothing yet. False: this card number was registered before, and nothing was changed.
begin
    insert into card_index values (p_blind_index, p_person_id, p_card_id) on conflict do nothing;
    if not found then
        return false;
    end if;
    insert into card (person_id, card_id, kind, card_number_sealed, issued_on, expires_on, certificate_sealed,
                      certificate_fingerprint, certificate_not_after, public_key, bank_code, pan_sealed, registered_at)
    values (p_person_id, p_card_id, p_kind, p_card_number_sealed, p_issued_on, p_expires_on, p_certificate_sealed,
            p_certificate_fingerprint, p_certificate_not_after, p_public_key, p_bank_code, p_pan_sealed, p_now);
    insert into card_event (person_id, card_id, event, happened_at) values (p_person_id, p_card_id, 'registered', p_now);
    return true;
end $$;

create function load_card(p_blind_index bytea)
returns table (
    person_id bigint, card_id bigint, kind text, life text, social text, financial text, expires_on date,
    certificate_fingerprint text, certificate_not_after timestamptz, certificate_revoked_at timestamptz, public_key bytea,
    bank_code text, pan_sealed bytea, last_counter bigint, account_version bigint,
    current_year_available_fen bigint, carried_over_available_fen bigint
) language plpgsql stable as $$
-- What a settlement needs to know of a card: one call, two look-ups by key. Card and accounts are of one snapshot.
#variable_conflict use_column
declare
    found_card card_index;
begin
    select * into found_card from card_index i where i.blind_index = p_blind_index;
    if not found then
        return;
    end if;
    return query
    select c.person_id, c.card_id, c.kind, c.life, c.social, c.financial, c.expires_on,
           c.certificate_fingerprint, c.certificate_not_after, c.certificate_revoked_at, c.public_key,
           c.bank_code, c.pan_sealed, c.last_counter, a.version,
           a.current_year_posted_fen - a.current_year_held_fen, a.carried_over_posted_fen - a.carried_over_held_fen
    from card c
    join insurance_accounts a on a.person_id = c.person_id
    where c.person_id = found_card.person_id and c.card_id = found_card.card_id;
end $$;

create function lock_card(p_person_id bigint, p_card_id bigint) returns card language plpgsql as $$
-- Takes the person's lock, then reads the card as it stands under it.
declare
    locked card;
begin
    perform lock_persons(array[p_person_id]);
    -- The join is the proof that there was a row to lock.
    select c.* into strict locked from card c join insurance_accounts a on a.person_id = c.person_id
    where c.person_id = p_person_id and c.card_id = p_card_id;
    return locked;
end $$;

create function activation_refusal(c card, p_function text, p_today date, p_now timestamptz) returns text
language sql immutable as $$
-- Why this function of this card may not be activated; null: it may.
    select case
        when c.life = 'void' then 'CARD_VOID'
        when c.life = 'lost' then 'CARD_LOST'
        when c.expires_on < p_today then 'CARD_EXPIRED'
        when c.certificate_not_after < p_now then 'CARD_CERTIFICATE_EXPIRED'
        when c.certificate_revoked_at is not null then 'CARD_CERTIFICATE_REVOKED'
        when p_function = 'social' and c.social = 'frozen' then 'CARD_FROZEN'
        when p_function = 'financial' and c.bank_code is null then 'NO_BANK_ACCOUNT'
        when p_function = 'financial' and c.financial = 'frozen' then 'FINANCIAL_FROZEN'
    end;
$$;

create function activate_card(p_person_id bigint, p_card_id bigint, p_function text, p_today date, p_now timestamptz)
returns text language plpgsql as $$
-- Activates the social function, or the financial one and the social one with it. The person's card in use until now is
-- voided in the same transaction, and first: card_one_valid never sees two.
declare
    c       card;
    refusal text;
begin
    if p_function not in ('social', 'financial') then
        raise exception 'a card has no function %', p_function using errcode = 'invalid_parameter_value';
    end if;
    c := lock_card(p_person_id, p_card_id);
    refusal := activation_refusal(c, p_function, p_today, p_now);
    if refusal is not null then
        return refusal;
    end if;
    if c.social = 'inactive' then
        with replaced as (
            update card o set life = 'void'
            where o.person_id = p_person_id and o.card_id <> p_card_id and o.life = 'issued' and o.social <> 'inactive'
            returning o.card_id)
        insert into card_event (person_id, card_id, event, detail, happened_at)
        select p_person_id, r.card_id, 'voided', jsonb_build_object('replaced_by', p_card_id), p_now from replaced r;
        update card t set social = 'active' where t.person_id = p_person_id and t.card_id = p_card_id;
        insert into card_event (person_id, card_id, event, happened_at)
        values (p_person_id, p_card_id, 'social_activated', p_now);
    end if;
    if p_function = 'financial' and c.financial = 'inactive' then
        update card t set financial = 'active' where t.person_id = p_person_id and t.card_id = p_card_id;
        insert into card_event (person_id, card_id, event, happened_at)
        values (p_person_id, p_card_id, 'financial_activated', p_now);
    end if;
    return null;
end $$;

create function freezing_refusal(c card, p_function text) returns text language sql immutable as $$
-- Why this function of this card can be neither frozen nor unfrozen; null: it can.
    select case
        when c.life = 'void' then 'CARD_VOID'
        when c.life = 'lost' then 'CARD_LOST'
        when p_function = 'social' and c.social = 'inactive' then 'CARD_NOT_ACTIVATED'
        when p_function = 'financial' and c.bank_code is null then 'NO_BANK_ACCOUNT'
        when p_function = 'financial' and c.financial = 'inactive' then 'FINANCIAL_NOT_ACTIVE'
    end;
$$;

create function set_card_frozen(p_person_id bigint, p_card_id bigint, p_function text, p_frozen boolean, p_now timestamptz)
returns text language plpgsql as $$
-- Freezes an active function, or makes a frozen one active again.
declare
    c       card;
    refusal text;
    present text;
    target  text := case when p_frozen then 'frozen' else 'active' end;
begin
    if p_function not in ('social', 'financial') then
        raise exception 'a card has no function %', p_function using errcode = 'invalid_parameter_value';
    end if;
    c := lock_card(p_person_id, p_card_id);
    present := case p_function when 'social' then c.social else c.financial end;
    refusal := freezing_refusal(c, p_function);
    if refusal is not null or present = target then
        return refusal;
    end if;
    update card t set
        social = case p_function when 'social' then target else t.social end,
        financial = case p_function when 'financial' then target else t.financial end
    where t.person_id = p_person_id and t.card_id = p_card_id;
    insert into card_event (person_id, card_id, event, happened_at)
    values (p_person_id, p_card_id, p_function || case when p_frozen then '_frozen' else '_unfrozen' end, p_now);
    return null;
end $$;

create function end_card(p_person_id bigint, p_card_id bigint, p_life text, p_now timestamptz) returns text
language plpgsql as $$
-- Ends a card's life: lost, or void for good. A void card stays void.
declare
    c card;
begin
    if p_life not in ('lost', 'void') then
        raise exception 'a card''s life does not end as %', p_life using errcode = 'invalid_parameter_value';
    end if;
    c := lock_card(p_person_id, p_card_id);
    if c.life = p_life then
        return null;
    end if;
    if c.life = 'void' then
        return 'CARD_VOID';
    end if;
    update card t set life = p_life where t.person_id = p_person_id and t.card_id = p_card_id;
    insert into card_event (person_id, card_id, event, happened_at)
    values (p_person_id, p_card_id, case p_life when 'lost' then 'reported_lost' else 'voided' end, p_now);
    return null;
end $$;

create function revoke_card_certificate(p_person_id bigint, p_card_id bigint, p_now timestamptz) returns text
language plpgsql as $$
-- Revokes the card's certificate, once; the first date stays.
declare
    c card;
begin
    c := lock_card(p_person_id, p_card_id);
    if c.kind = 'legacy' then
        return 'NO_CERTIFICATE';
    end if;
    if c.certificate_revoked_at is not null then
        return null;
    end if;
    update card t set certificate_revoked_at = p_now where t.person_id = p_person_id and t.card_id = p_card_id;
    insert into card_event (person_id, card_id, event, happened_at)
    values (p_person_id, p_card_id, 'certificate_revoked', p_now);
    return null;
end $$;

create function credit_person(
    p_person_id bigint, p_credit_id uuid, p_account text, p_amount_fen bigint,
    p_reason text, p_posting_date date, p_now timestamptz
) returns text language plpgsql as $$
-- credit_account under the person's lock, taken whole before the row that refers to the accounts takes a weaker one.
-- 'booked', 'known' (the same credit again) or 'differs' (the id was used for another credit).
begin
    perform lock_persons(array[p_person_id]);
    if credit_account(p_person_id, p_credit_id, p_account, p_amount_fen, p_reason, p_posting_date, p_now) then
        return 'booked';
    end if;
    return (select case when c.account = p_account and c.amount_fen = p_amount_fen then 'known' else 'differs' end
            from account_credit c where c.person_id = p_person_id and c.credit_id = p_credit_id);
end $$;

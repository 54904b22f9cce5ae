-- A reversal that arrives before its original: the key is buried, and the late original is refused.

create function bury_key(
    p_institution_id text, p_original_key text, p_own_key text, p_body_digest bytea, p_undo_id uuid,
    p_now timestamptz, p_expires_at timestamptz
) returns table (outcome text, saga_id uuid) language plpgsql as $$
-- 'buried': the tombstone stands (now or before). 'arrived': the original is here; reverse it. 'key_reused': the
-- reversal's own key was used for something else.
#variable_conflict use_column
declare
    original idempotency;
    own      idempotency;
begin
    insert into idempotency values (p_institution_id, p_original_key, 'tombstone', p_body_digest, p_undo_id, null, null,
                                    p_now, p_expires_at)
    on conflict do nothing;
    select * into strict original from idempotency i
    where i.institution_id = p_institution_id and i.idempotency_key = p_original_key;
    if original.operation <> 'tombstone' then
        return query select 'arrived', original.saga_id;
        return;
    end if;
    insert into idempotency values (p_institution_id, p_own_key, 'reversal', p_body_digest, original.saga_id, null, null,
                                    p_now, p_expires_at)
    on conflict do nothing;
    select * into strict own from idempotency i
    where i.institution_id = p_institution_id and i.idempotency_key = p_own_key;
    return query select case when own.operation = 'reversal' and own.body_digest = p_body_digest then 'buried'
                             else 'key_reused' end, original.saga_id;
end $$;

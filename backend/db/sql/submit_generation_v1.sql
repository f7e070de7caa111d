-- A submission in one round trip and one transaction: idempotency, limits, hold, job, outbox.
-- The lock on the account's row makes one account's submissions follow one another, so that limits and balance
-- are exact; accounts do not wait for each other. It leaves the key alone: rows that refer to the account can be
-- written meanwhile. A change of meaning gets a new name (…_v2), so that old and new processes can run side by side.
-- Grants are drawn on as `domain.credits.draw` says.
--
-- p: account_id, user_id, api_key_id, job_id, hold_id, transaction_id, kind, parent_id, tier, recipe,
--    recipe_revision, prompt, negative_prompt, seconds, spec, input_verdict, gpu_s, quoted, steps, trace_id,
--    idempotency_key, fingerprint, retried, first_tries, queue_limit, daily_jobs, month_looked_at, tier_full
-- outcome: created | repeated | mismatch | month_due | queue_limit | tier_full | daily_quota | insufficient_credits
-- month_due: this month's credits were neither given nor withheld yet; see to that and ask again.
CREATE OR REPLACE FUNCTION submit_generation_v1(p jsonb)
RETURNS TABLE (outcome text, job_id text, detail bigint)
LANGUAGE plpgsql AS $$
DECLARE
    v_account   text := p->>'account_id';
    v_job       text := p->>'job_id';
    v_quoted    integer := (p->>'quoted')::integer;
    v_missing   integer := v_quoted;
    v_key       idempotency_keys%ROWTYPE;
    v_count     bigint;
    v_grant     record;
    v_part      integer;
    v_grants    text[] := '{}';
    v_parts     integer[] := '{}';
    v_consumer  text;
    v_month     text;
    v_now       timestamptz;
BEGIN
    SELECT a.credited_month INTO v_month FROM accounts a WHERE a.id = v_account FOR NO KEY UPDATE;
    -- Not now(): that is before the wait for the lock.
    v_now := clock_timestamp();

    IF p->>'idempotency_key' IS NOT NULL THEN
        SELECT * INTO v_key FROM idempotency_keys k
            WHERE k.account_id = v_account AND k.key = p->>'idempotency_key';
        IF FOUND AND v_key.fingerprint <> p->>'fingerprint' THEN
            RETURN QUERY SELECT 'mismatch', v_key.job_id, 0::bigint;
            RETURN;
        END IF;
        -- A job that was deleted since is no answer.
        IF FOUND AND EXISTS (SELECT 1 FROM jobs j WHERE j.id = v_key.job_id AND j.deleted_at IS NULL) THEN
            RETURN QUERY SELECT 'repeated', v_key.job_id, 0::bigint;
            RETURN;
        END IF;
    ELSIF (p->>'retried')::boolean THEN
        -- A first try that was refused left the id that its job would have had. One before a try that made its job was
        -- given up: were it taken, a lost answer to the later one would be a second job.
        WITH tries AS (
            SELECT t.id, t.number, EXISTS (SELECT 1 FROM jobs j WHERE j.id = t.id) AS made
            FROM jsonb_array_elements_text(coalesce(p->'first_tries', '[]')) WITH ORDINALITY AS t(id, number)
        )
        SELECT t.id INTO v_job FROM tries t
            WHERE t.number > coalesce((SELECT max(m.number) FROM tries m WHERE m.made), 0)
            ORDER BY t.number LIMIT 1;
        IF NOT FOUND THEN
            v_job := p->>'job_id';
            SELECT k.* INTO v_key FROM idempotency_keys k JOIN jobs j ON j.id = k.job_id
                WHERE k.account_id = v_account AND k.fingerprint = p->>'fingerprint'
                  AND k.created_at > v_now - interval '2 minutes'
                  AND j.deleted_at IS NULL AND j.state <> 'cancelled'
                ORDER BY k.created_at DESC LIMIT 1;
            IF FOUND THEN
                RETURN QUERY SELECT 'repeated', v_key.job_id, 0::bigint;
                RETURN;
            END IF;
        END IF;
    ELSIF EXISTS (SELECT 1 FROM jobs j WHERE j.id = v_job) THEN
        -- Its retry was quicker.
        RETURN QUERY SELECT 'repeated', v_job, 0::bigint;
        RETURN;
    END IF;

    IF v_month < to_char(v_now AT TIME ZONE 'UTC', 'YYYY-MM') AND NOT (p->>'month_looked_at')::boolean THEN
        RETURN QUERY SELECT 'month_due', NULL::text, 0::bigint;
        RETURN;
    END IF;

    SELECT count(*) INTO v_count FROM (
        SELECT 1 FROM jobs j
        WHERE j.account_id = v_account
          AND j.state IN ('queued','assigned','running','moderating','in_review','approved')
          AND j.state IN ('queued','assigned','running')
        LIMIT (p->>'queue_limit')::integer
    ) waiting;
    IF v_count >= (p->>'queue_limit')::integer THEN
        RETURN QUERY SELECT 'queue_limit', NULL::text, v_count;
        RETURN;
    END IF;

    -- A full tier takes no account's first job; who has some waiting is held by its own limit.
    IF v_count = 0 AND (p->>'tier_full')::boolean THEN
        RETURN QUERY SELECT 'tier_full', NULL::text, 0::bigint;
        RETURN;
    END IF;

    SELECT count(*) INTO v_count FROM (
        SELECT 1 FROM jobs j
        WHERE j.account_id = v_account AND j.created_at >= date_trunc('day', v_now, 'UTC')
        LIMIT (p->>'daily_jobs')::integer
    ) today;
    IF v_count >= (p->>'daily_jobs')::integer THEN
        RETURN QUERY SELECT 'daily_quota', NULL::text, v_count;
        RETURN;
    END IF;

    FOR v_grant IN
        SELECT g.id, g.remaining FROM grants g
        WHERE g.account_id = v_account AND g.remaining > 0 AND (g.expires_at IS NULL OR g.expires_at > v_now)
        ORDER BY g.expires_at NULLS LAST, g.id COLLATE "C"
        FOR UPDATE
    LOOP
        EXIT WHEN v_missing = 0;
        v_part := least(v_grant.remaining, v_missing);
        v_grants := v_grants || v_grant.id;
        v_parts := v_parts || v_part;
        v_missing := v_missing - v_part;
    END LOOP;
    IF v_missing > 0 THEN
        RETURN QUERY SELECT 'insufficient_credits', NULL::text, (v_quoted - v_missing)::bigint;
        RETURN;
    END IF;

    UPDATE grants g SET remaining = g.remaining - d.part
        FROM unnest(v_grants, v_parts) AS d(grant_id, part) WHERE g.id = d.grant_id;
    INSERT INTO jobs (id, account_id, user_id, api_key_id, kind, parent_id, tier, recipe, recipe_revision,
                      prompt, negative_prompt, seconds, spec, input_verdict, gpu_s, quoted, steps, trace_id)
        VALUES (v_job, v_account, p->>'user_id', p->>'api_key_id', p->>'kind', p->>'parent_id', p->>'tier',
                p->>'recipe', p->>'recipe_revision', p->>'prompt', p->>'negative_prompt', p->>'seconds', p->'spec',
                p->>'input_verdict', (p->>'gpu_s')::double precision, v_quoted, (p->>'steps')::integer,
                p->>'trace_id');
    INSERT INTO holds (id, account_id, job_id, amount) VALUES (p->>'hold_id', v_account, v_job, v_quoted);
    INSERT INTO hold_draws (hold_id, position, grant_id, amount)
        SELECT p->>'hold_id', d.position, d.grant_id, d.part
        FROM unnest(v_grants, v_parts) WITH ORDINALITY AS d(grant_id, part, position);
    INSERT INTO ledger_entries (transaction_id, account_id, book, amount, grant_id, hold_id, reason)
        SELECT p->>'transaction_id', v_account, side.book, side.sign * d.part, d.grant_id, p->>'hold_id', 'hold'
        FROM unnest(v_grants, v_parts) AS d(grant_id, part),
             (VALUES ('available', -1), ('held', 1)) AS side(book, sign);
    INSERT INTO idempotency_keys (account_id, key, fingerprint, job_id)
        VALUES (v_account, coalesce(p->>'idempotency_key', 'job:' || v_job), p->>'fingerprint', v_job)
        -- Only a deleted job's row can be there.
        ON CONFLICT (account_id, key) DO UPDATE SET job_id = excluded.job_id, created_at = excluded.created_at;

    v_consumer := CASE WHEN p->>'input_verdict' = 'allow' THEN 'dispatch' ELSE 'screen_input' END;
    INSERT INTO outbox (consumer, subject, payload, trace_id)
        VALUES (v_consumer, v_job, '{}', p->>'trace_id');
    PERFORM pg_notify('zoetrope_outbox', v_consumer);
    RETURN QUERY SELECT 'created', v_job, v_quoted::bigint;
END
$$;

/** What runs inside the database: guards against a slip, what a writer asks for, and the append. All of migration 1. */

/**
 * These keep an honest hand, the owner's too, from changing what was recorded. Who may switch triggers off can get past
 * them, and is then found out by `verify`.
 *
 * Rows come in by `append_records` alone. That is asked once a statement and not once a row: a trigger for each row would
 * cost more than most of the indexes.
 */
export const GUARDS_SQL = `
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF coalesce(current_setting('cortex_ledger.upkeep', true), '') = 'on' AND TG_OP <> 'TRUNCATE' THEN
    RETURN coalesce(NEW, OLD);
  END IF;
  RAISE EXCEPTION 'a ledger is append-only: % on % is refused', TG_OP, TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE FUNCTION refuse_stray() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF coalesce(current_setting('cortex_ledger.appending', true), '') = 'on' THEN RETURN NULL; END IF;
  IF coalesce(current_setting('cortex_ledger.upkeep', true), '') = 'on' THEN RETURN NULL; END IF;
  RAISE EXCEPTION 'a ledger only grows by append_records: % on % is refused', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE FUNCTION guard_table(guarded regclass, per_row boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION @schema@.refuse_change()', guarded);
  EXECUTE format('CREATE TRIGGER only_append BEFORE INSERT ON %s FOR EACH STATEMENT EXECUTE FUNCTION @schema@.refuse_stray()', guarded);
  -- PostgreSQL puts a partitioned table's row triggers on its partitions by itself, and no others.
  IF per_row THEN
    EXECUTE format('CREATE TRIGGER no_change BEFORE UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION @schema@.refuse_change()', guarded);
  END IF;
END $$;
REVOKE ALL ON FUNCTION guard_table(regclass, boolean) FROM PUBLIC;
SELECT guard_table('audit_log', true), guard_table('run_keys', true);
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON heads FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_delete BEFORE DELETE ON heads FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER only_append BEFORE UPDATE ON heads FOR EACH STATEMENT EXECUTE FUNCTION refuse_stray();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON ledgers FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_change BEFORE UPDATE OR DELETE ON ledgers FOR EACH ROW EXECUTE FUNCTION refuse_change();`

/** The line of a row, put together by the server: one value comes over instead of five. `headersOnly`: the entry is withheld. */
export function lineSql(table: string, headersOnly = false): string {
  if (headersOnly) {
    return `('{"hash":"' || ${table}.hash || '","header":' || ${table}.header || coalesce(',"signatures":' || ${table}.signatures, '')
    || ',"entry":null}')`
  }
  return `('{"hash":"' || ${table}.hash || '","header":' || ${table}.header || coalesce(',"signatures":' || ${table}.signatures, '')
    || coalesce(',"salt":"' || ${table}.salt || '"', '') || ',"entry":' || coalesce(${table}.entry, 'null') || '}')`
}

/** µs since the epoch, exact. */
const NOW_US_SQL = `(extract(epoch FROM clock_timestamp()) * 1000000)::bigint`

/**
 * Rows (kind, key, number, line): `head` (hash, size, recorded_at), `now` (-, µs), `stream` (name, last version),
 * `run` (run_id, seq, line). STABLE: all of it is one view. Locked: what others commit before the lock is had is seen,
 * since each statement of a VOLATILE function looks anew.
 */
export const STATE_SQL = `
CREATE FUNCTION read_state(p_ledger integer, p_streams text[], p_runs text[])
RETURNS TABLE (kind text, key text, number bigint, line text)
LANGUAGE plpgsql STABLE SET search_path = @schema@, pg_temp SET enable_seqscan = off SET enable_sort = off SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  RETURN QUERY SELECT 'head', h.hash, h.size, h.recorded_at FROM heads AS h WHERE h.ledger_id = p_ledger;
  RETURN QUERY SELECT 'now', ''::text, ${NOW_US_SQL}, NULL::text;
  IF cardinality(p_streams) > 0 THEN
    RETURN QUERY SELECT 'stream', wanted.name, last.stream_version, NULL::text
      FROM unnest(p_streams) AS wanted(name)
      CROSS JOIN LATERAL (
        SELECT a.stream_version FROM audit_log AS a WHERE a.ledger_id = p_ledger AND a.stream = wanted.name COLLATE "C"
        ORDER BY a.seq DESC LIMIT 1) AS last;
  END IF;
  IF cardinality(p_runs) > 0 THEN
    RETURN QUERY SELECT 'run', k.run_id, k.seq, ${lineSql('a')}
      FROM unnest(p_runs) AS wanted(id)
      JOIN run_keys AS k ON k.ledger_id = p_ledger AND k.run_id = wanted.id COLLATE "C"
      JOIN audit_log AS a ON a.ledger_id = p_ledger AND a.seq = k.seq AND a.recorded_at = k.recorded_at AND a.run_id = k.run_id;
  END IF;
END $$;
CREATE FUNCTION lock_state(p_ledger integer, p_streams text[], p_runs text[])
RETURNS TABLE (kind text, key text, number bigint, line text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = @schema@, pg_temp AS $$
BEGIN
  PERFORM FROM heads WHERE ledger_id = p_ledger FOR NO KEY UPDATE;
  RETURN QUERY SELECT * FROM read_state(p_ledger, p_streams, p_runs);
END $$;
-- Writes something and nothing, under the lock: once this commits, all that was committed before is as durable as it is,
-- on the standbys too. For commits whose answer was lost.
CREATE FUNCTION confirm_state(p_ledger integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = @schema@, pg_temp AS $$
DECLARE
  found_size bigint;
BEGIN
  PERFORM set_config('cortex_ledger.appending', 'on', true);
  UPDATE heads SET size = size WHERE ledger_id = p_ledger RETURNING size INTO found_size;
  PERFORM set_config('cortex_ledger.appending', '', true);
  RETURN found_size;
END $$;`

/**
 * The one way in. It compares the head and moves it, in one statement: a writer that comes second waits for the first
 * one's commit and then finds the head moved. SECURITY DEFINER: who may call it need not be allowed to write to any table.
 */
export const APPEND_SQL = `
CREATE FUNCTION append_records(p_ledger integer, p_size bigint, p_hash text, p_recorded text, p_bytes bigint,
  recorded timestamptz[], occurred timestamptz[], versions bigint[], runs text[], streams text[], types text[], actors text[],
  actions text[], outcomes text[], correlations text[], causations text[], providers text[], models text[], tag_lists text[],
  hashes text[], headers text[], signature_lists text[], salts text[], entries text[],
  OUT appended boolean, OUT size bigint, OUT hash text, OUT now_us bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = @schema@, pg_temp SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  n integer := cardinality(hashes);
  fitting integer;
  said text;
BEGIN
  IF n IS NULL OR n = 0 THEN RAISE EXCEPTION 'nothing to append' USING ERRCODE = 'invalid_parameter_value'; END IF;
  -- An assignment runs no statement, as PERFORM would.
  said := set_config('cortex_ledger.appending', 'on', true);
  UPDATE heads SET size = p_size + n, hash = hashes[n], recorded_at = p_recorded, bytes = bytes + p_bytes
    WHERE heads.ledger_id = p_ledger AND heads.size = p_size AND heads.hash = p_hash;
  IF FOUND THEN
    -- Nothing is ever taken back: what does not continue the chain would break the ledger for good, so it is left out, and
    -- missed below. In the SELECT list the arrays are gone through side by side; in FROM each would be copied first.
    INSERT INTO audit_log (seq, recorded_at, occurred_at, stream_version, ledger_id, run_id, stream, type, actor, action, outcome,
        correlation_id, causation_id, provider, model, tags, hash, header, signatures, salt, entry)
      SELECT r.seq, r.recorded, r.occurred, r.version, p_ledger, r.run, r.stream, r.type, r.actor, r.action, r.outcome,
        r.correlation, r.causation, r.provider, r.model, r.tags::text[], r.hash, r.header, r.signatures, r.salt, r.entry
      FROM (SELECT generate_series(p_size, p_size + n - 1) AS seq, unnest(p_hash || hashes) AS previous, unnest(recorded) AS recorded,
          unnest(occurred) AS occurred, unnest(versions) AS version, unnest(runs) AS run, unnest(streams) AS stream,
          unnest(types) AS type, unnest(actors) AS actor, unnest(actions) AS action, unnest(outcomes) AS outcome,
          unnest(correlations) AS correlation, unnest(causations) AS causation, unnest(providers) AS provider,
          unnest(models) AS model, unnest(tag_lists) AS tags, unnest(hashes) AS hash, unnest(headers) AS header,
          unnest(signature_lists) AS signatures, unnest(salts) AS salt, unnest(entries) AS entry) AS r
      WHERE r.seq IS NOT NULL AND position('"previous_hash":"' || r.previous || '"' IN r.header) > 0
        AND position('"seq":' || r.seq || ',' IN r.header) > 0
        AND r.hash = encode(sha256('\\x00'::bytea || convert_to(r.header, 'UTF8')), 'hex');
    GET DIAGNOSTICS fitting = ROW_COUNT;
    IF fitting <> n THEN
      RAISE EXCEPTION 'of the % records from % on % do not continue the ledger', n, p_size, n - fitting
        USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    INSERT INTO run_keys (ledger_id, seq, recorded_at, run_id)
      SELECT p_ledger, generate_series(p_size, p_size + n - 1), unnest(recorded), unnest(runs);
    appended := true;
    size := p_size + n;
    hash := hashes[n];
  ELSE
    SELECT false, heads.size, heads.hash INTO appended, size, hash FROM heads WHERE heads.ledger_id = p_ledger;
  END IF;
  said := set_config('cortex_ledger.appending', '', true);
  now_us := ${NOW_US_SQL};
END $$;
CREATE FUNCTION add_ledger(p_name text) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  made integer;
BEGIN
  INSERT INTO ledgers (name) VALUES (p_name) ON CONFLICT (name) DO NOTHING RETURNING ledger_id INTO made;
  IF made IS NOT NULL THEN
    INSERT INTO heads (ledger_id, size, hash) VALUES (made, 0, 'GENESIS');
  ELSE
    SELECT ledger_id INTO made FROM ledgers WHERE name = p_name;
  END IF;
  RETURN made;
END $$;
ALTER FUNCTION add_ledger(text) SET search_path = @schema@, pg_temp;
REVOKE ALL ON FUNCTION read_state(integer, text[], text[]), lock_state(integer, text[], text[]), confirm_state(integer),
  add_ledger(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION append_records(integer, bigint, text, text, bigint, timestamptz[], timestamptz[], bigint[], text[], text[], text[],
  text[], text[], text[], text[], text[], text[], text[], text[], text[], text[], text[], text[], text[]) FROM PUBLIC;`

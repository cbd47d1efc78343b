/** Entries that go and come back, archive files, and giving room back: what migration 2 adds. */

/** The month's partition is rewritten in one go while nobody else reads or writes; up to so many bytes also the one that is written to. */
export const LIVE_BYTES_MAX = 134_217_728

/**
 * `entry_files`: archive files that lie in the ledger, in `entry_pieces` (src/ledger/archive-pieces.ts); one without a name
 * is not whole. `upkeep_due`: tables that still hold bytes of what was taken out of them, and who did it last.
 */
const TABLES_SQL = `
CREATE TABLE entry_files (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  ledger_id integer NOT NULL REFERENCES ledgers,
  name text COLLATE "C",
  bytes bigint,
  sha256 text COLLATE "C",
  UNIQUE (ledger_id, name)
);
CREATE TABLE entry_pieces (
  id bigint NOT NULL REFERENCES entry_files ON DELETE CASCADE,
  piece integer NOT NULL,
  content bytea NOT NULL,
  PRIMARY KEY (id, piece)
);
-- They are compressed already.
ALTER TABLE entry_pieces ALTER COLUMN content SET STORAGE EXTERNAL;
CREATE TABLE upkeep_due (
  table_name text COLLATE "C" PRIMARY KEY,
  transaction_id xid8 NOT NULL,
  is_erasure boolean NOT NULL
);`

/**
 * As in migration 1, but that upkeep has its bounds: rows leave the default partition for their month's, and entries go
 * with their salts and come back with them. Provider and model come from the entry: they may go when it goes or after
 * it, and come back with it where they are gone.
 */
const GUARD_SQL = `
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF coalesce(current_setting('cortex_ledger.upkeep', true), '') = 'on' THEN
    IF TG_OP = 'DELETE' AND TG_TABLE_NAME = 'audit_log_default' THEN RETURN OLD; END IF;
    IF TG_OP = 'UPDATE' AND starts_with(TG_TABLE_NAME, 'audit_log') THEN
      IF (NEW.seq, NEW.recorded_at, NEW.occurred_at, NEW.stream_version, NEW.ledger_id, NEW.run_id, NEW.stream, NEW.type, NEW.actor,
            NEW.action, NEW.outcome, NEW.correlation_id, NEW.causation_id, NEW.tags, NEW.hash, NEW.header, NEW.signatures)
          IS NOT DISTINCT FROM
          (OLD.seq, OLD.recorded_at, OLD.occurred_at, OLD.stream_version, OLD.ledger_id, OLD.run_id, OLD.stream, OLD.type, OLD.actor,
            OLD.action, OLD.outcome, OLD.correlation_id, OLD.causation_id, OLD.tags, OLD.hash, OLD.header, OLD.signatures)
        AND (CASE WHEN NEW.entry IS NULL AND NEW.salt IS NULL THEN
              (NEW.provider IS NULL OR NEW.provider = OLD.provider) AND (NEW.model IS NULL OR NEW.model = OLD.model)
            ELSE NEW.entry IS NOT NULL AND NEW.salt IS NOT NULL AND OLD.entry IS NULL AND OLD.salt IS NULL
              AND (OLD.provider IS NULL OR NEW.provider = OLD.provider) AND (OLD.model IS NULL OR NEW.model = OLD.model) END)
      THEN RETURN NEW; END IF;
    END IF;
  END IF;
  RAISE EXCEPTION 'a ledger is append-only: % on % is refused', TG_OP, TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END $$;`

/** Others wait behind whoever waits for a table, so nobody does for long. */
const LOCK_TIMEOUT = '2s'

/**
 * `withhold_entries` takes entries of these ranges away, ascending, until so many bytes are gone; `next_seq` is where to go
 * on, null when all is done. The ledger's own records, which say what became of others, keep theirs. `restore_entries` puts
 * back what is withheld, and takes nothing but what the record's own header has the hash of. Both are for the role that keeps
 * ledgers in order, which may change no table of records.
 */
const ENTRIES_SQL = `
CREATE FUNCTION withhold_entries(p_ledger integer, firsts bigint[], lasts bigint[], p_erase boolean, p_bytes bigint,
  OUT records bigint, OUT bytes bigint, OUT next_seq bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = @schema@, pg_temp SET plan_cache_mode = force_generic_plan
SET lock_timeout = '${LOCK_TIMEOUT}' SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  seqs bigint[];
  moments timestamptz[];
  sizes bigint[];
BEGIN
  SELECT array_agg(f.seq ORDER BY f.seq) FILTER (WHERE f.before < p_bytes), array_agg(f.recorded_at ORDER BY f.seq) FILTER (WHERE f.before < p_bytes),
      array_agg(f.size ORDER BY f.seq) FILTER (WHERE f.before < p_bytes), min(f.seq) FILTER (WHERE f.before >= p_bytes)
    INTO seqs, moments, sizes, next_seq
    FROM (SELECT t.*, sum(t.size) OVER (ORDER BY t.seq) - t.size AS before
      FROM (SELECT a.seq, a.recorded_at, coalesce(octet_length(a.salt), 0) + coalesce(octet_length(a.entry), 0) AS size
        FROM unnest(firsts, lasts) AS r(first, last)
        JOIN audit_log AS a ON a.ledger_id = p_ledger AND a.seq BETWEEN r.first AND r.last
        WHERE a.stream <> 'ledger'
          AND (a.entry IS NOT NULL OR a.salt IS NOT NULL OR (p_erase AND (a.provider IS NOT NULL OR a.model IS NOT NULL)))) AS t) AS f;
  records := 0;
  bytes := 0;
  IF seqs IS NULL THEN RETURN; END IF;
  PERFORM set_config('cortex_ledger.upkeep', 'on', true);
  -- Somebody else may be at it: asked again where a row was waited for, so that each is counted once.
  WITH changed AS (
      UPDATE audit_log AS a SET salt = NULL, entry = NULL, provider = CASE WHEN NOT p_erase THEN a.provider END,
        model = CASE WHEN NOT p_erase THEN a.model END
      FROM unnest(seqs, moments, sizes) AS w(seq, recorded_at, size)
      WHERE a.ledger_id = p_ledger AND a.seq = w.seq AND a.recorded_at = w.recorded_at
        AND (a.entry IS NOT NULL OR a.salt IS NOT NULL OR (p_erase AND (a.provider IS NOT NULL OR a.model IS NOT NULL)))
      RETURNING a.tableoid, w.size),
    noted AS (
      INSERT INTO upkeep_due AS due (table_name, transaction_id, is_erasure)
        SELECT DISTINCT c.relname, pg_current_xact_id(), p_erase FROM changed JOIN pg_class AS c ON c.oid = changed.tableoid ORDER BY c.relname
        ON CONFLICT (table_name) DO UPDATE
          SET transaction_id = excluded.transaction_id, is_erasure = due.is_erasure OR excluded.is_erasure)
    SELECT count(*), coalesce(sum(changed.size), 0) INTO records, bytes FROM changed;
  IF records = 0 THEN
    PERFORM set_config('cortex_ledger.upkeep', '', true);
    RETURN;
  END IF;
  -- Last, since whoever appends waits for this row.
  UPDATE heads AS h SET bytes = greatest(h.bytes - withhold_entries.bytes, 0) WHERE h.ledger_id = p_ledger;
  PERFORM set_config('cortex_ledger.upkeep', '', true);
END $$;
CREATE FUNCTION restore_entries(p_ledger integer, seqs bigint[], salts text[], entries text[], providers text[], models text[],
  OUT records bigint, OUT bytes bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = @schema@, pg_temp SET plan_cache_mode = force_generic_plan
SET lock_timeout = '${LOCK_TIMEOUT}' SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  misfit bigint;
BEGIN
  PERFORM set_config('cortex_ledger.upkeep', 'on', true);
  WITH changed AS (
      UPDATE audit_log AS a SET salt = w.salt, entry = w.entry, provider = coalesce(a.provider, w.provider), model = coalesce(a.model, w.model)
      FROM unnest(seqs, salts, entries, providers, models) AS w(seq, salt, entry, provider, model)
      WHERE a.ledger_id = p_ledger AND a.seq = w.seq AND a.entry IS NULL AND a.salt IS NULL
      RETURNING a.seq, octet_length(a.salt) + octet_length(a.entry) AS size, position('"entry_hash":"' ||
        encode(sha256(convert_to('"salt":"' || a.salt || '","entry":' || a.entry, 'UTF8')), 'hex') || '"' IN a.header) > 0 AS fits)
    SELECT count(*), coalesce(sum(c.size), 0), min(c.seq) FILTER (WHERE c.fits IS NOT TRUE) INTO records, bytes, misfit FROM changed AS c;
  IF misfit IS NOT NULL THEN
    RAISE EXCEPTION 'record % has another entry than this' , misfit USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  IF records > 0 THEN
    UPDATE heads AS h SET bytes = h.bytes + restore_entries.bytes WHERE h.ledger_id = p_ledger;
  END IF;
  PERFORM set_config('cortex_ledger.upkeep', '', true);
END $$;
-- What is removed or replaced stays in the table's pages until it is written anew.
CREATE FUNCTION note_due() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = @schema@, pg_temp AS $$
BEGIN
  INSERT INTO upkeep_due AS due (table_name, transaction_id, is_erasure) VALUES (TG_TABLE_NAME, pg_current_xact_id(), false)
    ON CONFLICT (table_name) DO UPDATE SET transaction_id = excluded.transaction_id;
  RETURN NULL;
END $$;
CREATE TRIGGER note_due AFTER DELETE ON entry_pieces FOR EACH STATEMENT EXECUTE FUNCTION note_due();
CREATE TRIGGER note_due AFTER UPDATE OR DELETE ON snapshots FOR EACH STATEMENT EXECUTE FUNCTION note_due();
CREATE TRIGGER note_due AFTER UPDATE OR DELETE ON data_keys FOR EACH STATEMENT EXECUTE FUNCTION note_due();
CREATE TRIGGER note_due AFTER DELETE ON audit_log_default FOR EACH STATEMENT EXECUTE FUNCTION note_due();
-- What left it before this migration.
INSERT INTO upkeep_due SELECT 'audit_log_default', pg_current_xact_id(), false WHERE EXISTS (SELECT FROM ledgers);
REVOKE ALL ON FUNCTION withhold_entries(integer, bigint[], bigint[], boolean, bigint),
  restore_entries(integer, bigint[], text[], text[], text[], text[]), note_due() FROM PUBLIC;`

/**
 * `rewrite_table` writes a table of ours anew, in the order of its key, with its indexes: nothing of what was in it before
 * is in its files then. CLUSTER and not VACUUM FULL: it may run in a function, so for a role that owns no table, and what
 * was changed stands where it stood before, which the index by time lives on. It gives why it did not, or null.
 */
const RECLAIM_SQL = `
-- Who may still see what this transaction took away, so that it would be copied along; null: nobody.
CREATE FUNCTION upkeep_holder(p_transaction xid8) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = @schema@, pg_temp AS $$
  SELECT min(h.what) FROM (
    SELECT 'process ' || s.pid AS what FROM pg_stat_activity AS s WHERE s.pid <> pg_backend_pid()
      AND (age(s.backend_xid) >= age(p_transaction::xid)
        OR ((s.datid IS NULL OR s.datname = current_database()) AND age(s.backend_xmin) >= age(p_transaction::xid)))
    UNION ALL SELECT 'replication slot ' || r.slot_name FROM pg_replication_slots AS r WHERE age(r.xmin) >= age(p_transaction::xid)
    UNION ALL SELECT 'prepared transaction ' || p.gid FROM pg_prepared_xacts AS p WHERE age(p.transaction) >= age(p_transaction::xid)) AS h
$$;
CREATE FUNCTION rewrite_table(p_table text, p_live_bytes bigint) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = @schema@, pg_temp SET lock_timeout = '${LOCK_TIMEOUT}' AS $$
DECLARE
  relation regclass;
  due upkeep_due;
  key_name text;
  holder text;
BEGIN
  SELECT c.oid::regclass, k.relname INTO relation, key_name
    FROM pg_class AS c JOIN pg_index AS i ON i.indrelid = c.oid AND i.indisprimary JOIN pg_class AS k ON k.oid = i.indexrelid
    WHERE c.relnamespace = '@schema@'::regnamespace AND c.relname = p_table
      AND (c.relname IN ('entry_pieces', 'snapshots', 'data_keys') OR EXISTS (
        SELECT FROM pg_inherits AS p WHERE p.inhrelid = c.oid AND p.inhparent = 'audit_log'::regclass));
  IF relation IS NULL THEN RETURN 'it is no partition of audit_log now, so what was taken away is still in its file'; END IF;
  IF (p_table = partition_of(month_of(clock_timestamp())) OR p_table = 'audit_log_default') AND pg_table_size(relation) > p_live_bytes THEN
    RETURN 'it is written to, and too large to keep its writers waiting: reclaim again when its month is over';
  END IF;
  EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', relation);
  SELECT * INTO due FROM upkeep_due WHERE table_name = p_table;
  IF due IS NULL THEN RETURN NULL; END IF;
  holder := upkeep_holder(due.transaction_id);
  IF holder IS NOT NULL THEN
    RETURN format('%s began before entries were taken away and may still see them: reclaim again when it has ended', holder);
  END IF;
  EXECUTE format('CLUSTER %s USING %I', relation, key_name);
  -- The planner's statistics quote values.
  EXECUTE format('ANALYZE %s', relation);
  DELETE FROM upkeep_due WHERE table_name = p_table;
  IF due.is_erasure THEN
    INSERT INTO upkeep_due VALUES ('pg_statistic', pg_current_xact_id(), true)
      ON CONFLICT (table_name) DO UPDATE SET transaction_id = excluded.transaction_id;
  END IF;
  RETURN NULL;
END $$;
-- Statistics of all months together are there where somebody asked for them.
CREATE FUNCTION renew_statistics() RETURNS xid8
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = @schema@, pg_temp SET lock_timeout = '${LOCK_TIMEOUT}' AS $$
BEGIN
  IF EXISTS (SELECT FROM pg_stats AS s JOIN pg_class AS c ON c.relname = s.tablename AND c.oid = 'audit_log'::regclass
      WHERE s.schemaname = (SELECT nspname FROM pg_namespace WHERE oid = c.relnamespace)) THEN
    ANALYZE audit_log;
    UPDATE upkeep_due SET transaction_id = pg_current_xact_id() WHERE table_name = 'pg_statistic';
  END IF;
  RETURN (SELECT transaction_id FROM upkeep_due WHERE table_name = 'pg_statistic');
END $$;
REVOKE ALL ON FUNCTION upkeep_holder(xid8), rewrite_table(text, bigint), renew_statistics() FROM PUBLIC;`

export const UPKEEP_SQL = [TABLES_SQL, GUARD_SQL, ENTRIES_SQL, RECLAIM_SQL].join('\n')

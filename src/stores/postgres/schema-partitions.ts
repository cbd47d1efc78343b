/** Partitions by month of recording, made ahead. Of migration 1. */

/**
 * `ensure_partitions(from, months)` makes what is missing of so many months and gives how many it made. A month whose
 * records are in the default partition gets them moved out of it, also one that lies before `from`.
 *
 * A new table is attached rather than made as a partition: making it would lock the whole table against readers, too.
 * Attaching still locks the default partition, which every query looks at, so whoever calls this sets a lock_timeout and
 * tries again later: there are months of time.
 */
export const PARTITIONS_SQL = `
CREATE TABLE audit_log_default PARTITION OF audit_log DEFAULT;
SELECT guard_table('audit_log_default', false);
CREATE FUNCTION month_of(moment timestamptz) RETURNS date LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT date_trunc('month', moment AT TIME ZONE 'UTC')::date
$$;
CREATE FUNCTION partition_of(month date) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT 'audit_log_' || to_char(month, 'YYYY_MM')
$$;
CREATE FUNCTION has_partition(month date) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT EXISTS (SELECT FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE i.inhparent = '@schema@.audit_log'::regclass AND c.relname = @schema@.partition_of(month))
$$;
-- Records of months that had no partition; as many as are counted.
CREATE FUNCTION default_partition_rows() RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER SET search_path = @schema@, pg_temp AS $$
  SELECT count(*) FROM (SELECT FROM audit_log_default LIMIT 1000) AS strays
$$;
CREATE FUNCTION ensure_partitions(p_from timestamptz, p_months integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = @schema@, pg_temp AS $$
DECLARE
  month date := month_of(p_from);
  months date[];
  made integer := 0;
  name text;
  first_moment timestamptz;
  next_moment timestamptz;
BEGIN
  IF (p_months BETWEEN 1 AND 120 AND month BETWEEN '1970-01-01' AND '9998-12-01') IS NOT TRUE THEN
    RAISE EXCEPTION 'from 1 to 120 months of the years 1970 to 9998' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  -- Before anything of the tables is locked, if only by looking: who waits here would keep whoever is at work waiting.
  PERFORM pg_advisory_xact_lock(hashtext('@schema@.ensure_partitions'));
  months := ARRAY(
    SELECT (month + make_interval(months => i))::date AS wanted FROM generate_series(0, p_months - 1) AS i
    UNION SELECT month_of(recorded_at) FROM audit_log_default WHERE recorded_at >= '1970-01-01Z' AND recorded_at < '9999-01-01Z'
    ORDER BY wanted);
  FOREACH month IN ARRAY months LOOP
    IF NOT has_partition(month) THEN
      name := partition_of(month);
      first_moment := month::timestamp AT TIME ZONE 'UTC';
      next_moment := (month + interval '1 month')::timestamp AT TIME ZONE 'UTC';
      EXECUTE format('CREATE TABLE %I (LIKE audit_log INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE INCLUDING COMPRESSION)', name);
      -- With it attaching need not look through the table; it goes when that is done.
      EXECUTE format('ALTER TABLE %I ADD CONSTRAINT its_month CHECK (recorded_at >= %L AND recorded_at < %L)', name, first_moment, next_moment);
      IF EXISTS (SELECT FROM audit_log_default WHERE recorded_at >= first_moment AND recorded_at < next_moment) THEN
        -- Nobody may put more into the default partition meanwhile. Readers wait, too: the rows are in two places for a moment.
        LOCK TABLE audit_log_default IN ACCESS EXCLUSIVE MODE;
        PERFORM set_config('cortex_ledger.upkeep', 'on', true);
        EXECUTE format('INSERT INTO %I SELECT * FROM audit_log_default WHERE recorded_at >= $1 AND recorded_at < $2', name)
          USING first_moment, next_moment;
        DELETE FROM audit_log_default WHERE recorded_at >= first_moment AND recorded_at < next_moment;
        PERFORM set_config('cortex_ledger.upkeep', '', true);
      END IF;
      EXECUTE format('ALTER TABLE audit_log ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, first_moment, next_moment);
      EXECUTE format('ALTER TABLE %I DROP CONSTRAINT its_month', name);
      PERFORM guard_table(name::regclass, false);
      -- Rows are never changed, so the only work for vacuum is to freeze them and to say that all can be seen.
      EXECUTE format('ALTER TABLE %I SET (fillfactor = 100, autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02)', name);
      made := made + 1;
    END IF;
  END LOOP;
  RETURN made;
END $$;
REVOKE ALL ON FUNCTION ensure_partitions(timestamptz, integer), default_partition_rows() FROM PUBLIC;`

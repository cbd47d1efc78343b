/** Sealing inside the database, for writers that share the head. Of migration 3. */

/**
 * Appends records that are not sealed yet: to the end, whatever it is once the head's lock is had. Their headers come in
 * pieces, between which stand what only the end says: \`previous_hash\`, \`recorded_at\`, \`seq\` and \`stream_version\`.
 * \`places\`: which of \`p_streams\` a record's stream is, or 0 where it is new with this record. \`p_bytes\`: of salts and
 * entries. What comes out is the end before, and what was put between the pieces: the writer seals the same by itself,
 * and compares \`last_hash\`. Nothing is appended where the clock is behind the last record by more than the ledger holds
 * it, or where there is no record yet: those want a record of their own first.
 *
 * It appends by append_records, which refuses what does not continue the chain: one place decides that.
 */
export const SEALING_SQL = `
CREATE FUNCTION seal_records(p_ledger integer, p_streams text[], p_bytes bigint, occurred timestamptz[], places bigint[],
  fronts text[], middles text[], nears text[], backs text[], runs text[], streams text[], types text[], actors text[],
  actions text[], outcomes text[], correlations text[], causations text[], providers text[], models text[], tag_lists text[],
  salts text[], entries text[],
  OUT sealed boolean, OUT base_size bigint, OUT base_hash text, OUT base_recorded text, OUT recorded text, OUT last_hash text,
  OUT base_versions text, OUT now_us bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = @schema@, pg_temp AS $$
DECLARE
  n integer := cardinality(fronts);
  header text;
  headers text[] := '{}';
  hashes text[] := '{}';
  versions bigint[] := '{}';
  last_versions bigint[];
  place integer;
  version bigint;
  bytes bigint := p_bytes;
  said record;
BEGIN
  sealed := false;
  SELECT h.size, h.hash, h.recorded_at INTO base_size, base_hash, base_recorded FROM heads AS h WHERE h.ledger_id = p_ledger
    FOR NO KEY UPDATE;
  now_us := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
  recorded := to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
  IF base_recorded IS NULL OR n IS NULL OR n = 0 THEN RETURN; END IF;
  IF recorded < base_recorded THEN
    IF recorded::timestamptz < base_recorded::timestamptz - interval '5 seconds' THEN RETURN; END IF;
    recorded := base_recorded;
  END IF;
  last_versions := ARRAY(SELECT coalesce(found.number, -1) FROM unnest(p_streams) WITH ORDINALITY AS wanted(name, at)
    LEFT JOIN read_state(p_ledger, p_streams, '{}') AS found ON found.kind = 'stream' AND found.key = wanted.name ORDER BY wanted.at);
  base_versions := array_to_string(last_versions, ',');
  last_hash := base_hash;
  FOR i IN 1..n LOOP
    place := places[i];
    IF place = 0 THEN
      version := 0;
    ELSE
      version := last_versions[place] + 1;
      last_versions[place] := version;
    END IF;
    header := fronts[i] || last_hash || '","recorded_at":"' || recorded || middles[i] || (base_size + i - 1) || nears[i] || version
      || backs[i];
    last_hash := encode(sha256('\\x00'::bytea || convert_to(header, 'UTF8')), 'hex');
    bytes := bytes + octet_length(header) + 64;
    headers[i] := header;
    hashes[i] := last_hash;
    versions[i] := version;
  END LOOP;
  said := append_records(p_ledger, base_size, base_hash, recorded, bytes, array_fill(recorded::timestamptz, ARRAY[n]), occurred, versions,
    runs, streams, types, actors, actions, outcomes, correlations, causations, providers, models, tag_lists, hashes, headers,
    array_fill(NULL::text, ARRAY[n]), salts, entries);
  sealed := said.appended;
  now_us := said.now_us;
END $$;
REVOKE ALL ON FUNCTION seal_records(integer, text[], bigint, timestamptz[], bigint[], text[], text[], text[], text[], text[], text[], text[],
  text[], text[], text[], text[], text[], text[], text[], text[], text[], text[]) FROM PUBLIC;
-- Whoever may append sealed records may append these.
DO $$
DECLARE
  grantee regrole;
BEGIN
  FOR grantee IN SELECT DISTINCT acl.grantee::regrole FROM pg_proc, aclexplode(proacl) AS acl
    WHERE proname = 'append_records' AND pronamespace = current_schema()::regnamespace AND acl.grantee NOT IN (0, proowner)
  LOOP
    EXECUTE format('GRANT EXECUTE ON FUNCTION seal_records TO %s', grantee);
  END LOOP;
END $$;`

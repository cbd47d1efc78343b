/**
 * The tables of PostgreSQL ledgers, by numbered migrations. `audit_log` is the truth; its index columns, the key table
 * and the head row say what the records say, and `audit` compares them.
 *
 * What is kept of a record are its exact texts. Never jsonb: that rewrites numbers and refuses \u0000.
 */
import { APPEND_SQL, GUARDS_SQL, STATE_SQL } from './schema-functions.ts'
import { PARTITIONS_SQL } from './schema-partitions.ts'
import { SEALING_SQL } from './schema-sealing.ts'
import { UPKEEP_SQL } from './schema-upkeep.ts'

/**
 * Text is compared byte by byte (COLLATE "C"): what two records have in common does not depend on a locale, and an index
 * is no worse after an upgrade of the system's C library.
 *
 * Wide columns come last: conditions are decided without touching a long entry.
 */
const TABLES_SQL = `
CREATE TABLE ledgers (
  ledger_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text COLLATE "C" NOT NULL UNIQUE,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Changed by every append: few rows on half-empty pages, so that each change stays on its page and touches no index.
CREATE TABLE heads (
  ledger_id integer PRIMARY KEY REFERENCES ledgers,
  size bigint NOT NULL CHECK (size >= 0),
  hash text COLLATE "C" NOT NULL,
  recorded_at text COLLATE "C",
  bytes bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

CREATE TABLE audit_log (
  seq bigint NOT NULL,
  recorded_at timestamptz NOT NULL,
  occurred_at timestamptz NOT NULL,
  stream_version bigint NOT NULL,
  ledger_id integer NOT NULL,
  run_id text COLLATE "C" NOT NULL,
  stream text COLLATE "C" NOT NULL,
  type text COLLATE "C" NOT NULL,
  actor text COLLATE "C" NOT NULL,
  action text COLLATE "C" NOT NULL,
  outcome text COLLATE "C" NOT NULL,
  correlation_id text COLLATE "C",
  causation_id text COLLATE "C",
  provider text COLLATE "C",
  model text COLLATE "C",
  tags text[] COLLATE "C",
  hash text COLLATE "C" NOT NULL,
  header text COLLATE "C" NOT NULL,
  signatures text COLLATE "C",
  salt text COLLATE "C",
  entry text COLLATE "C",
  PRIMARY KEY (ledger_id, seq, recorded_at)
) PARTITION BY RANGE (recorded_at);
COMMENT ON TABLE audit_log IS 'The records of all ledgers, by month of recording. Append-only: a trigger refuses every change.';

-- A unique key of a partitioned table must hold the month, so that a run_id could come twice; here it can't.
CREATE TABLE run_keys (
  ledger_id integer NOT NULL,
  seq bigint NOT NULL,
  recorded_at timestamptz NOT NULL,
  run_id text COLLATE "C" NOT NULL,
  PRIMARY KEY (ledger_id, run_id)
);

-- What follows from the records and can be deleted at any time.
CREATE TABLE tree_hashes (
  ledger_id integer NOT NULL,
  level smallint NOT NULL,
  piece bigint NOT NULL,
  hashes bytea NOT NULL,
  PRIMARY KEY (ledger_id, level, piece)
);
ALTER TABLE tree_hashes ALTER COLUMN hashes SET STORAGE MAIN;
CREATE TABLE ledger_texts (
  ledger_id integer NOT NULL,
  name text COLLATE "C" NOT NULL,
  text text NOT NULL,
  PRIMARY KEY (ledger_id, name)
);
-- States of projections. Not among the texts: who may see headers only must not see what follows from entries.
CREATE TABLE snapshots (
  ledger_id integer NOT NULL,
  name text COLLATE "C" NOT NULL,
  text text COLLATE "C" NOT NULL,
  PRIMARY KEY (ledger_id, name)
);`

/** Of migration 2. */
const DATA_KEYS_SQL = `
-- Keys that entries are encrypted under, wrapped by a master key. They go when their subject is erased.
CREATE TABLE data_keys (
  ledger_id integer NOT NULL,
  id text COLLATE "C" NOT NULL,
  label text COLLATE "C" NOT NULL,
  master text COLLATE "C" NOT NULL,
  wrapped text COLLATE "C" NOT NULL,
  PRIMARY KEY (ledger_id, id),
  UNIQUE (ledger_id, label)
);`

/** An index takes no row of more than a third of a page, and provider and model are as long as somebody makes them. */
export const INDEXED_NAME_BYTES = 1000

/**
 * One for each condition of a query, with the position behind it, so that an index also gives the order. Columns that
 * many records leave out are partial. Hardly anybody looks for what succeeded, and then reading in order finds it at once.
 */
const INDEXES_SQL = `
CREATE INDEX audit_log_stream ON audit_log (ledger_id, stream, seq);
CREATE INDEX audit_log_correlation_id ON audit_log (ledger_id, correlation_id, seq) WHERE correlation_id IS NOT NULL;
CREATE INDEX audit_log_causation_id ON audit_log (ledger_id, causation_id, seq) WHERE causation_id IS NOT NULL;
CREATE INDEX audit_log_type ON audit_log (ledger_id, type, seq);
CREATE INDEX audit_log_actor ON audit_log (ledger_id, actor, seq);
CREATE INDEX audit_log_action ON audit_log (ledger_id, action, seq);
CREATE INDEX audit_log_outcome ON audit_log (ledger_id, outcome, seq) WHERE outcome <> 'success';
CREATE INDEX audit_log_provider ON audit_log (ledger_id, provider, seq) WHERE octet_length(provider) <= ${INDEXED_NAME_BYTES};
CREATE INDEX audit_log_model ON audit_log (ledger_id, model, seq) WHERE octet_length(model) <= ${INDEXED_NAME_BYTES};
CREATE INDEX audit_log_occurred_at ON audit_log (ledger_id, occurred_at, seq);
CREATE INDEX audit_log_recorded_at ON audit_log USING brin (recorded_at) WITH (pages_per_range = 16);
CREATE INDEX audit_log_tags ON audit_log USING gin (tags) WHERE tags IS NOT NULL;`

/**
 * lz4 packs long entries several times faster than PostgreSQL's own; a server that was built without it keeps its own.
 */
const COMPRESSION_SQL = `
DO $$ BEGIN
  ALTER TABLE audit_log ALTER COLUMN entry SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN NULL;
END $$;`

/** For people who write SQL. jsonb has no \u0000: in the view it is shown as U+FFFD. */
const VIEWS_SQL = `
CREATE FUNCTION as_jsonb(document text) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURNS NULL ON NULL INPUT AS $$
  SELECT CASE WHEN position('\\u0000' IN document) = 0 THEN document::jsonb
    ELSE regexp_replace(document, '(?<!\\\\)((?:\\\\\\\\)*)\\\\u0000', '\\1\\\\ufffd', 'g')::jsonb END
$$;
CREATE VIEW audit_records WITH (security_barrier = false) AS
  SELECT ledgers.name AS ledger, seq, recorded_at, occurred_at, type, actor, action, outcome, run_id, correlation_id, causation_id,
    stream, stream_version, tags, provider, model, hash, as_jsonb(header) AS header, signatures::jsonb AS signatures,
    as_jsonb(entry) AS payload
  FROM audit_log JOIN ledgers USING (ledger_id);
COMMENT ON VIEW audit_records IS 'The records with header and payload as jsonb, for looking into; what is hashed are the texts of audit_log.';
CREATE VIEW audit_headers AS
  SELECT ledgers.name AS ledger, seq, recorded_at, occurred_at, type, actor, action, outcome, run_id, correlation_id, causation_id,
    stream, stream_version, tags, hash, as_jsonb(header) AS header, signatures::jsonb AS signatures
  FROM audit_log JOIN ledgers USING (ledger_id);
COMMENT ON VIEW audit_headers IS 'The records without what was said: for those who may see headers only.';`

/** What leads from each version to the next, in one transaction with the new number; the objects come into the search path's first schema. */
export const MIGRATIONS: readonly ((schema: string) => string)[] = [
  (schema) =>
    [TABLES_SQL, INDEXES_SQL, COMPRESSION_SQL, VIEWS_SQL, GUARDS_SQL, PARTITIONS_SQL, STATE_SQL, APPEND_SQL]
      .join('\n')
      .replaceAll('@schema@', schema),
  (schema) => [DATA_KEYS_SQL, UPKEEP_SQL].join('\n').replaceAll('@schema@', schema),
  (schema) => SEALING_SQL.replaceAll('@schema@', schema),
]
export const SCHEMA_VERSION = MIGRATIONS.length

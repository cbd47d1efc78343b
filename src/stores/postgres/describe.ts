/** Figures of a ledger's tables. */
import type { StoreDescription } from '../../ledger/store.ts'
import type { Session } from './session.ts'
import type { LedgerPlace } from './writing.ts'

const FIGURES = `SELECT
    (SELECT bytes FROM heads WHERE ledger_id = $1),
    (SELECT coalesce(sum(pg_total_relation_size(inhrelid)), 0) FROM pg_inherits WHERE inhparent = 'audit_log'::regclass)
      + pg_total_relation_size('run_keys') + pg_total_relation_size('heads') + coalesce(pg_total_relation_size(to_regclass('entry_pieces')), 0),
    (SELECT size FROM heads WHERE ledger_id = $1),
    (SELECT count(*) FROM ledgers),
    (SELECT count(*) - 1 FROM pg_inherits WHERE inhparent = 'audit_log'::regclass),
    (SELECT max(right(relname, 7)) FROM pg_inherits JOIN pg_class ON oid = inhrelid
      WHERE inhparent = 'audit_log'::regclass AND relname <> 'audit_log_default'),
    default_partition_rows(),
    current_setting('server_version'),
    pg_is_in_recovery(),
    current_setting('synchronous_commit')`

export async function describeTables(session: Session, place: LedgerPlace): Promise<StoreDescription> {
  const [row] = await session.query({ text: FIGURES }, [place.id])
  const [bytes, tables, records, ledgers, partitions, last, strays, version, standby, commit] = row as (string | null)[]
  return {
    kind: 'postgres',
    bytes: Number(bytes),
    records: Number(records),
    // With their indexes, and those of the other ledgers in the schema.
    table_bytes: Number(tables),
    ledgers_in_schema: Number(ledgers),
    partitions: Number(partitions),
    last_partition: last?.replace('_', '-') ?? null,
    // Should be 0: records of months that had no partition. 1,000 stands for as many or more.
    default_partition_records: Number(strays),
    server_version: version ?? null,
    standby: standby === 't',
    synchronous_commit: commit ?? null,
  }
}

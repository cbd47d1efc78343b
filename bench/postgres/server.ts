/** The PostgreSQL that is measured: this machine's own, on a data folder that goes when the run ends. */
import { MISSING, sql, startCluster } from '../../test/helpers/postgres-cluster.ts'
import type { Cluster } from '../../test/helpers/postgres-cluster.ts'

/** As the guide recommends them for a small machine, and fsync on. */
const SETTINGS = { shared_buffers: '256MB', max_wal_size: '2GB', checkpoint_timeout: '15min' }
export const SETTINGS_SAID = 'fsync on, shared_buffers 256MB, max_wal_size 2GB, else as installed'

/** Why nothing of it can be measured here, or null. */
export const MISSING_HERE: string | null = MISSING

/** A place for one ledger, or for what stands beside it. */
export interface Place {
  /** With a schema that nothing else uses; the ledger makes it. */
  readonly url: string
  readonly schema: string
  /** The database's own URL, without the schema. */
  readonly databaseUrl: string
}

export class Server {
  readonly #cluster: Cluster
  readonly #databaseUrl: string
  #places = 0

  private constructor(cluster: Cluster, databaseUrl: string) {
    this.#cluster = cluster
    this.#databaseUrl = databaseUrl
  }

  static async start(): Promise<Server> {
    const cluster = await startCluster({ fsync: true, settings: SETTINGS })
    return new Server(cluster, await cluster.createDatabase('bench'))
  }

  newPlace(): Place {
    const schema = `bench_${this.#places++}`
    const url = new URL(this.#databaseUrl)
    url.searchParams.set('schema', schema)
    return { url: url.href, schema, databaseUrl: this.#databaseUrl }
  }

  /** `work` in a place of its own, which is removed behind it. */
  async inPlace<T>(work: (place: Place) => Promise<T>): Promise<T> {
    const place = this.newPlace()
    try {
      return await work(place)
    } finally {
      await sql(this.#databaseUrl, `DROP SCHEMA IF EXISTS ${place.schema} CASCADE`)
    }
  }

  /** For those who have their tables in no schema that can be named. It goes with the server: dropping it would cost a checkpoint. */
  newDatabase(): Promise<string> {
    return this.#cluster.createDatabase(`bench_${this.#places++}`)
  }

  /** Rows get their last bits and the planner its statistics, as autovacuum gives them where nobody hurries. */
  async settle({ schema }: Place): Promise<void> {
    await sql(this.#databaseUrl, `VACUUM (ANALYZE) ${schema}.audit_log, ${schema}.run_keys, ${schema}.heads`)
  }

  stop(): Promise<void> {
    return this.#cluster.stop()
  }
}

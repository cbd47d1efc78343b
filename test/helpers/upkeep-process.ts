/** A process that takes entries away from a ledger, or reclaims, until it is killed. */
import { openPostgresStore } from '../../src/stores/postgres/index.ts'
import { openSqliteStore } from '../../src/stores/sqlite/index.ts'
import type { Range } from '../../src/verify/ranges.ts'

export interface UpkeepPlan {
  readonly location: string
  readonly driver?: 'node:sqlite' | 'better-sqlite3'
  readonly ranges: readonly Range[]
  readonly erase: boolean
  /** Then reclaim. */
  readonly reclaim: boolean
}

const { location, driver = 'node:sqlite', ranges, erase, reclaim } = JSON.parse(process.argv[2]!) as UpkeepPlan
const { upkeep, close } = location.startsWith('postgres:')
  ? await openPostgresStore(location).then((store) => ({ upkeep: store.upkeep!, close: () => store.close() }))
  : await openSqliteStore(location, { driver }).then((store) => ({ upkeep: store.upkeep!, close: () => store.close() }))
console.log('ready')
for await (const { records } of upkeep.withhold(ranges, { erase })) console.log(`withheld ${records}`)
console.log('all withheld')
if (reclaim) console.log(`reclaimed ${JSON.stringify(await upkeep.reclaim())}`)
await close()

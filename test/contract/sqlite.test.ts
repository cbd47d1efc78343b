import { join } from 'node:path'
import { describe, test } from 'vitest'
import { openSqliteStore } from '../../src/stores/sqlite/index.ts'
import { storeContract } from '../../src/testing/index.ts'
import { scale, soaking } from '../helpers/scale.ts'
import { tempDir } from '../helpers/temp.ts'

describe.each(['node:sqlite', 'better-sqlite3'] as const)('SQLite by %s', (driver) => {
  const cases = storeContract({
    open: async () => openSqliteStore(join(tempDir(), 'ledger.db'), { driver, readOnly: false, create: true }),
    reopen: async ({ location }, { readOnly = false }) => openSqliteStore(location, { driver, readOnly, create: false }),
    capabilities: {
      persistent: true,
      secondWriter: 'serialised',
      readersBesideWriter: true,
      segments: false,
      upkeep: { keepsNames: true },
    },
    effort: scale(1, 5),
  })
  // What a ledger does with its store is the same whichever driver reads and writes.
  for (const { name, run } of cases) if (soaking || driver === 'node:sqlite' || name.startsWith('store ')) test(name, run)
})

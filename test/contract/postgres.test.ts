import { describe, test } from 'vitest'
import type { Store } from '../../src/ledger/store.ts'
import { openPostgresStore } from '../../src/stores/postgres/index.ts'
import { storeContract } from '../../src/testing/index.ts'
import { postgresMissing, useDatabases } from '../helpers/postgres.ts'
import { scale } from '../helpers/scale.ts'

describe.skipIf(postgresMissing !== null)('PostgreSQL', () => {
  const { newDatabase } = useDatabases()
  let database: Promise<string> | null = null
  let ledgers = 0
  const urls = new Map<string, string>()

  /** Each case has a ledger of its own, beside the others in one database. */
  async function nextUrl(): Promise<string> {
    const url = new URL(await (database ??= newDatabase()))
    url.searchParams.set('ledger', `case-${++ledgers}`)
    return url.href
  }

  async function open(url: string, more: { readonly readOnly?: boolean; readonly create?: boolean }): Promise<Store> {
    const store = await openPostgresStore(url, { databaseClock: false, ...more })
    urls.set(store.location, url)
    return store
  }

  const cases = storeContract({
    open: async () => open(await nextUrl(), {}),
    reopen: async ({ location }, { readOnly = false }) => open(urls.get(location)!, { readOnly, create: false }),
    capabilities: {
      persistent: true,
      secondWriter: 'serialised',
      readersBesideWriter: true,
      segments: false,
      upkeep: { keepsNames: true },
    },
    effort: scale(1, 5),
  })
  for (const { name, run } of cases) test(name, run)
})

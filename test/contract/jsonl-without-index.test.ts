import { join } from 'node:path'
import { test } from 'vitest'
import { openJsonlStore } from '../../src/stores/jsonl/index.ts'
import { storeContract } from '../../src/testing/index.ts'
import { scale, soaking } from '../helpers/scale.ts'
import { tempDir } from '../helpers/temp.ts'

const cases = storeContract({
  open: async (options) => openJsonlStore(join(tempDir(), 'ledger'), { index: 'off', readOnly: false, create: true, ...options }),
  reopen: async ({ location }, { readOnly = false }) => openJsonlStore(location, { index: 'off', readOnly, create: false }),
  capabilities: { persistent: true, secondWriter: 'refused', readersBesideWriter: true, segments: true, upkeep: { keepsNames: true } },
  effort: scale(1, 5),
})

// What a ledger does with its store is tried with the index.
for (const { name, run } of cases) if (soaking || name.startsWith('store ')) test(name, run)

import { join } from 'node:path'
import { test } from 'vitest'
import { openJsonlStore } from '../../src/stores/jsonl/index.ts'
import { storeContract } from '../../src/testing/index.ts'
import { scale } from '../helpers/scale.ts'
import { tempDir } from '../helpers/temp.ts'

const cases = storeContract({
  open: async (options) => openJsonlStore(join(tempDir(), 'ledger'), { index: 'background', readOnly: false, create: true, ...options }),
  reopen: async ({ location }, { readOnly = false }) => openJsonlStore(location, { index: 'background', readOnly, create: false }),
  capabilities: { persistent: true, secondWriter: 'refused', readersBesideWriter: true, segments: true, upkeep: { keepsNames: true } },
  effort: scale(1, 5),
})

for (const { name, run } of cases) test(name, run)

import { test } from 'vitest'
import { openMemoryStore } from '../../src/stores/memory.ts'
import { storeContract } from '../../src/testing/index.ts'

const cases = storeContract({
  open: async () => openMemoryStore(),
  capabilities: { persistent: false, secondWriter: null, readersBesideWriter: false, segments: false, upkeep: { keepsNames: true } },
})

for (const { name, run } of cases) test(name, run)

/** kill -9 of a copy, again and again: what is there is a beginning of the source and a replica, and the next run goes on. */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { AuditLedger, copyLedger, promoteLedger } from '../../src/index.ts'
import { readReplicaNote } from '../../src/ledger/replica.ts'
import { openStore } from '../../src/open-store.ts'
import { linesOf } from '../../src/testing/checks.ts'
import { seededRandom } from '../../src/testing/index.ts'
import { signerOf } from '../helpers/checkpoints.ts'
import { startChild } from '../helpers/child.ts'
import { segmentsOf } from '../helpers/copies.ts'
import type { CopyPlan } from '../helpers/copy-process.ts'
import { postgresMissing, useDatabases } from '../helpers/postgres.ts'
import { scale } from '../helpers/scale.ts'
import { tempDir } from '../helpers/temp.ts'

const ROUNDS = scale(1, 40)

/** Several segments, so that there are several appends, and a checkpoint. */
async function sourceAt(dir: string): Promise<string[]> {
  const open = {
    origin: 'example.com/killed',
    signer: signerOf('example.com/killed', 3),
    actor: 'a',
    stateFolder: join(tempDir(), 'state'),
  }
  const ledger = await AuditLedger.open(dir, { ...open, segmentBytes: 15_000 })
  for (let i = 0; i < scale(3, 6); i++) {
    await Promise.all(Array.from({ length: 20 }, () => ledger.record({ agent_name: 'a', method_name: 'm', raw_output: 'é'.repeat(200) })))
    await ledger.append(`stream-${i}`, [
      { type: 'A', data: {} },
      { type: 'B', data: {} },
    ])
  }
  await ledger.close()
  return linesAt(dir)
}

async function linesAt(location: string): Promise<string[]> {
  const store = await openStore(location, { readOnly: true, index: 'off' })
  try {
    return await linesOf(store)
  } finally {
    await store.close()
  }
}

/** What is there after a kill. A reader sees it as it lies there, before anybody has recovered anything. */
async function assertBeginning(to: string, whole: readonly string[]): Promise<number> {
  const store = await openStore(to, { readOnly: true, index: 'off' }).catch(() => null)
  if (store === null) return 0
  try {
    const lines = await linesOf(store)
    expect(lines).toEqual(whole.slice(0, lines.length))
    if (lines.length > 0) expect(await readReplicaNote(store)).not.toBeNull()
    return lines.length
  } finally {
    await store.close()
  }
}

/** Copies `from` into new places until one after the other is whole, with kills in between. */
async function copyAndBeKilled(from: string, newPlace: (round: number) => Promise<string>, whole: readonly string[]): Promise<string[]> {
  const places: string[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const random = seededRandom(round)
    const to = await newPlace(round)
    let before = 0
    let kills = 0
    for (; ; kills++) {
      // At least one append gets through now and then: 1 to 9 are moments of the first four writes.
      const child = startChild('copy-process', { from, to, killAt: 1 + random.below(9) } satisfies CopyPlan)
      const { signal } = await child.exited
      if (signal === null) {
        expect(child.lines, child.stderr()).toEqual(['done'])
        break
      }
      const size = await assertBeginning(to, whole)
      expect(size).toBeGreaterThanOrEqual(before)
      before = size
    }
    expect(kills).toBeGreaterThan(1)
    expect(await linesAt(to)).toEqual(whole)
    places.push(to)
  }
  return places
}

/** The copy is as good as the source. */
async function goOn(to: string, size: number): Promise<void> {
  expect(await promoteLedger(to)).toMatchObject({ size, verified: true })
  const ledger = await AuditLedger.open(to, { signer: null, stateFolder: join(tempDir(), 'state'), onWarning: () => {} })
  await ledger.record({ agent_name: 'a', method_name: 'go on' })
  expect(await ledger.verifyIntegrity({ remembered: false })).toMatchObject({ ok: true })
  await ledger.close()
}

const LONG_MS = scale(60_000, 1_200_000)

describe('a copy that is killed at every moment', () => {
  test(
    'JSONL → SQLite',
    async () => {
      const folder = tempDir()
      const from = join(folder, 'audit')
      const whole = await sourceAt(from)
      for (const to of await copyAndBeKilled(from, async (round) => join(folder, `${round}.db`), whole)) await goOn(to, whole.length)
    },
    LONG_MS,
  )

  test(
    'SQLite → JSONL',
    async () => {
      const folder = tempDir()
      const [files, from] = [join(folder, 'audit'), join(folder, 'audit.db')]
      const whole = await sourceAt(files)
      await copyLedger(files, from)
      for (const to of await copyAndBeKilled(from, async (round) => join(folder, `copy-${round}`), whole)) {
        expect(segmentsOf(to)).toEqual(segmentsOf(files))
        await goOn(to, whole.length)
      }
    },
    LONG_MS,
  )

  describe.skipIf(postgresMissing !== null)('and PostgreSQL', () => {
    const { newDatabase } = useDatabases()
    test(
      'JSONL → PostgreSQL',
      async () => {
        const from = join(tempDir(), 'audit')
        const whole = await sourceAt(from)
        for (const to of await copyAndBeKilled(from, newDatabase, whole)) await goOn(to, whole.length)
      },
      LONG_MS,
    )
  })
})

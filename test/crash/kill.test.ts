/** kill -9 of a writer under load, again and again: nothing that was acknowledged is lost, nothing half is there, writing goes on. */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { AuditLedger } from '../../src/index.ts'
import { seededRandom } from '../../src/testing/index.ts'
import { acknowledgedIn, assertKept, type Acknowledged } from '../helpers/acknowledged.ts'
import { startChild } from '../helpers/child.ts'
import { scale } from '../helpers/scale.ts'
import { tempDir } from '../helpers/temp.ts'

const KILLS = scale(8, 200)
/** Each ledger lives through this many kills: checking all of it after each would be quadratic for ever. */
const LIVES = 10
const SEED = 20261122
const OPEN = { origin: 'example.com/crash', signer: null, segmentBytes: 300_000, onWarning: () => {} } as const

async function liveAndBeKilled(location: string, life: number, before: readonly Acknowledged[]): Promise<Acknowledged[]> {
  const random = seededRandom(SEED + life)
  const child = startChild('writer-process', {
    location,
    name: `life-${life}`,
    callers: 1 + random.below(48),
    seed: SEED + life,
    open: { segmentBytes: OPEN.segmentBytes, ...(random.chance(0.3) ? { index: 'off' } : {}) },
  })
  await child.waitFor(/^ready/)
  // Some die in the middle of their first batch, some after many.
  if (random.chance(0.7)) await child.waitForCount(2 + random.below(600))
  await new Promise((resolve) => setTimeout(resolve, random.below(40)))
  await child.kill()
  expect(await child.exited, `${child.lines.at(-1)} ${child.stderr()}`).toEqual({ code: null, signal: 'SIGKILL' })
  return [...before, ...acknowledgedIn(child.lines)]
}

describe.each([
  ['JSONL', 'ledger'],
  ['SQLite', 'ledger.db'],
])('%s', (_, name) => {
  test(
    `${KILLS} × kill -9 (seed ${SEED})`,
    async () => {
      let total = 0
      for (let first = 0; first < KILLS; first += LIVES) {
        const location = join(tempDir(), name)
        let acknowledged: Acknowledged[] = []
        for (let life = first; life < Math.min(first + LIVES, KILLS); life++) {
          const known = acknowledged.length
          acknowledged = await liveAndBeKilled(location, life, acknowledged)
          total += acknowledged.length - known
          const ledger = await AuditLedger.open(location, OPEN)
          const size = await assertKept(ledger, acknowledged)
          const receipt = await ledger.record({ run_id: `after-${life}`, agent_name: 'survivor', method_name: 'go_on' })
          // A segment that is full is sealed first.
          expect([size, size + 1]).toContain(receipt.seq)
          acknowledged.push({ run_id: receipt.run_id, seq: receipt.seq, hash: receipt.hash })
          await ledger.close()
        }
      }
      expect(total).toBeGreaterThan(KILLS * 10)
    },
    scale(120_000, 1_800_000),
  )
})

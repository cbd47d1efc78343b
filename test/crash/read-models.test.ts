/** The runner of a read model killed at any moment, while the ledger grows: every event counts exactly once. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { AuditLedger, openReadModels } from '../../src/index.ts'
import { seededRandom } from '../../src/testing/index.ts'
import { startChild } from '../helpers/child.ts'
import { Added, SUMS, sumsOf } from '../helpers/model-sums.ts'
import { pause } from '../helpers/postgres-cluster.ts'
import { postgresMissing, useDatabases } from '../helpers/postgres.ts'
import { scale } from '../helpers/scale.ts'
import { tempDir } from '../helpers/temp.ts'

const KILLS = scale(2, 100)
const OPEN = { signer: null, origin: 'example.com/crash', actor: 'tester', tree: 'on-demand' } as const
const databases = useDatabases()

const KINDS = [
  ['SQLite', 20261126],
  ['PostgreSQL', 20261127],
] as const

test.each(postgresMissing === null ? KINDS : KINDS.slice(0, 1))(
  `${KILLS} × kill -9 of what keeps a read model in %s`,
  async (kind, seed) => {
    const random = seededRandom(seed)
    // In PostgreSQL in the ledger's own schema.
    const place = kind === 'PostgreSQL' ? await databases.newDatabase() : join(tempDir(), 'ledger')
    const models = kind === 'PostgreSQL' ? place : join(tempDir(), 'models.db')
    const ledger = await AuditLedger.open(place, { ...OPEN, stateFolder: tempDir() })
    const expected = new Map<string, { stream: string; sum: number; events: number }>()
    const write = async (): Promise<void> => {
      const stream = `s${random.below(5)}`
      const events = Array.from({ length: 1 + random.below(20) }, () => Added({ n: random.below(1000) }))
      await ledger.append(stream, events)
      const counted = expected.get(stream) ?? { stream, sum: 0, events: 0 }
      const sum = events.reduce((all, { data }) => all + (data as { n: number }).n, counted.sum)
      expected.set(stream, { stream, sum, events: counted.events + events.length })
    }
    let advances = 0
    for (let life = 0; life < KILLS; life++) {
      const child = startChild('model-process', { ledger: place, models, batch: 1 + random.below(10) })
      await child.waitFor(/^(ready|refused)/)
      expect(child.lines[0]).toBe('ready')
      for (let left = 1 + random.below(15); left > 0; left--) await write()
      if (random.chance(0.8)) await child.waitForCount(2 + random.below(5))
      await pause(random.below(10))
      await child.kill()
      advances += child.lines.filter((line) => line.startsWith('at ')).length
    }
    expect(advances).toBeGreaterThanOrEqual(KILLS)
    const reading = await openReadModels(models)
    const runner = await reading.run(ledger, SUMS)
    await runner.waitFor((await ledger.head()).size - 1)
    const rows = [...expected.values()].toSorted((a, b) => (a.stream < b.stream ? -1 : 1))
    expect(await sumsOf(reading)).toEqual({ rows, all: rows.reduce((all, { sum }) => all + sum, 0) })
    expect(await runner.parked()).toEqual([])
    await reading.close()
    await ledger.close()
  },
)

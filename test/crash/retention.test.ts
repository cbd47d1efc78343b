/** Whoever moves and erases entries is killed at any moment: the next run finishes, nothing is lost, nothing doubled. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { AuditLedger, verifyLedger } from '../../src/index.ts'
import { seededRandom } from '../../src/testing/index.ts'
import { startChild } from '../helpers/child.ts'
import type { RetentionPlan } from '../helpers/retention-process.ts'
import { pause } from '../helpers/postgres-cluster.ts'
import { postgresMissing, useDatabases } from '../helpers/postgres.ts'
import { scale } from '../helpers/scale.ts'
import { tempDir } from '../helpers/temp.ts'

const KILLS = scale(2, 100)
const RECORDS = 60
const databases = useDatabases()

async function filled(place: string): Promise<void> {
  const ledger = await AuditLedger.open(place, { signer: null, origin: 'example.com/crash', fullText: 'off', stateFolder: tempDir() })
  for (let i = 0; i < RECORDS; i++) {
    const prompt = `the secret ${i} ${'x'.repeat(3000)}`
    await ledger.record({ run_id: `run-${i}`, agent_name: `agent-${i % 3}`, method_name: 'ask', prompt })
  }
  await ledger.close()
}

/** All that was not asked to be erased is there, once, and what was is there or erased. */
async function check(plan: RetentionPlan, asked: ReadonlySet<string>, isOver: boolean): Promise<void> {
  const report = await verifyLedger(plan.ledger, { archive: plan.archive })
  expect(report.problems).toEqual([])
  const ledger = await AuditLedger.open(plan.ledger, { readOnly: true, archive: plan.archive, readThrough: true })
  for (let i = 0; i < RECORDS; i++) {
    const record = (await ledger.get(`run-${i}`))!
    if (asked.has(record.run_id) && (isOver || record.entry === null))
      expect(record.withheld, record.run_id).toMatchObject({ state: 'erased' })
    else expect(String(record.entry?.['prompt']).startsWith(`the secret ${i} `), record.run_id).toBe(true)
  }
  await ledger.close()
}

const KINDS = ['JSONL', 'SQLite', 'PostgreSQL'] as const

test.each(postgresMissing === null ? KINDS : KINDS.slice(0, 2))(
  `${KILLS} × kill -9 of what moves and erases entries in %s`,
  async (kind) => {
    const random = seededRandom(KINDS.indexOf(kind) + 71)
    const folder = tempDir()
    const ledger = kind === 'PostgreSQL' ? await databases.newDatabase() : join(folder, kind === 'JSONL' ? 'ledger' : 'ledger.db')
    const archive = join(folder, 'archive')
    mkdirSync(archive)
    await filled(ledger)
    const asked = new Set<string>()
    let plan: RetentionPlan = { ledger, archive, erase: [] }
    for (let life = 0; life < KILLS; life++) {
      if (asked.size < 20) asked.add(`run-${random.below(RECORDS)}`)
      plan = { ...plan, erase: [...asked] }
      const child = startChild('retention-process', plan)
      await child.waitFor(/^(begun|refused)/)
      expect(child.lines[0]).toBe('begun')
      await child.waitForCount(1 + random.below(8))
      await pause(random.below(15))
      await child.kill()
      await check(plan, asked, false)
    }
    const last = startChild('retention-process', plan)
    await last.waitFor(/^(done|refused)/)
    expect(last.lines.at(-1)).toBe('done')
    await check(plan, asked, true)
  },
)

/** More than one process at one ledger: refused by name (JSONL), serialised (SQLite), never interleaved. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { AuditLedger, LedgerError, verifyLedger } from '../../src/index.ts'
import { acknowledgedIn, assertKept } from '../helpers/acknowledged.ts'
import { startChild } from '../helpers/child.ts'
import { scale } from '../helpers/scale.ts'
import { tempDir } from '../helpers/temp.ts'

const OPEN = { origin: 'example.com/crash', signer: null } as const

async function refusal(opening: Promise<AuditLedger>): Promise<LedgerError> {
  const error = await opening.then(
    () => null,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(LedgerError)
  return error as LedgerError
}

describe('JSONL', () => {
  test('a second writing process is refused, naming the first, until that one dies', async () => {
    const location = join(tempDir(), 'ledger')
    const first = startChild('writer-process', { location, name: 'first', callers: 4, seed: 1 })
    await first.waitForCount(20)
    for (let i = 0; i < 3; i++) {
      const error = await refusal(AuditLedger.open(location, OPEN))
      expect(error.code).toBe('locked')
      expect(error.message).toContain(String(first.pid))
    }
    const second = startChild('writer-process', { location, name: 'second', callers: 1, seed: 2 })
    expect(await second.waitFor(/^refused/)).toMatch(new RegExp(`^refused locked .*\\b${first.pid}\\b`))
    await first.kill()
    const ledger = await AuditLedger.open(location, { ...OPEN, onWarning: () => {} })
    await assertKept(ledger, acknowledgedIn(first.lines))
    await ledger.close()
  })

  test('the lock of a process outlives its own readers and verifiers', async () => {
    const location = join(tempDir(), 'ledger')
    const ledger = await AuditLedger.open(location, OPEN)
    await ledger.record({ agent_name: 'a', method_name: 'm' })
    const reader = await AuditLedger.open(location, { readOnly: true })
    await verifyLedger(location)
    await reader.close()
    const rival = startChild('writer-process', { location, name: 'rival', callers: 1, seed: 3 })
    expect(await rival.waitFor(/^(refused|ready)/)).toMatch(new RegExp(`^refused locked .*\\b${process.pid}\\b`))
    await ledger.close()
  })

  test(
    'verification beside a writing process finds no problem',
    async () => {
      const location = join(tempDir(), 'ledger')
      const writer = startChild('writer-process', { location, name: 'writer', callers: 16, seed: 4, open: { segmentBytes: 500_000 } })
      await writer.waitForCount(20)
      let size = 0
      for (let i = 0; i < scale(10, 100); i++) {
        const report = await verifyLedger(location)
        expect(report.problems).toEqual([])
        expect(report.ok).toBe(true)
        expect(report.size).toBeGreaterThanOrEqual(size)
        size = report.size
      }
      const reader = await AuditLedger.open(location, { readOnly: true })
      expect((await reader.query({ order: 'newest', limit: 1 })).records[0]!.seq).toBeGreaterThanOrEqual(size - 1)
      await reader.close()
      await writer.kill()
    },
    scale(120_000, 1_800_000),
  )

  test.each([
    [scale(6, 64), 'that is there', true],
    [scale(16, 64), 'that is not there yet', false],
  ])('of %i processes that open a ledger %s at once, one wins', async (count, _, exists) => {
    const location = join(tempDir(), 'ledger')
    if (exists) await (await AuditLedger.open(location, OPEN)).close()
    const processes = Array.from({ length: count }, (__, i) =>
      startChild('writer-process', { location, name: `p${i}`, callers: 1, seed: i, waitForStart: true, onlyHold: true }),
    )
    for (const child of processes) await child.waitFor(/^waiting/)
    for (const child of processes) child.tell('go')
    const answers = await Promise.all(processes.map((child) => child.waitFor(/^(ready|refused)/)))
    const winners = processes.filter((_child, i) => answers[i] === 'ready')
    expect(winners.length, answers.join('\n')).toBe(1)
    for (const answer of answers) if (answer !== 'ready') expect(answer).toMatch(new RegExp(`^refused locked .*\\b${winners[0]!.pid}\\b`))
    winners[0]!.tell('enough')
    await winners[0]!.waitFor(/^done/)
    const ledger = await AuditLedger.open(location, OPEN)
    expect(await assertKept(ledger, [])).toBe(1)
    await ledger.close()
    expect(readdirSync(join(location, 'segments'))).toEqual(['00000000000000000000.jsonl'])
  })
})

describe('SQLite', () => {
  test.each([2, 4])('%i processes write at once: serialised, gapless, every receipt true', async (count) => {
    const location = join(tempDir(), 'ledger.db')
    const processes = Array.from({ length: count }, (_, i) =>
      startChild('writer-process', {
        location,
        name: `p${i}`,
        callers: 6,
        appends: scale(20, 200),
        seed: i,
        waitForStart: true,
        textMax: 20_000,
      }),
    )
    for (const child of processes) await child.waitFor(/^waiting/)
    // All of them find no ledger there: one founds it, and the others join.
    for (const child of processes) child.tell('go')
    for (const child of processes) await child.waitFor(/^done/)
    const acknowledged = processes.flatMap(({ lines }) => acknowledgedIn(lines))
    const ledger = await AuditLedger.open(location, OPEN)
    const size = await assertKept(ledger, acknowledged)
    expect(size).toBe(acknowledged.length + 1)
    await ledger.close()
  })

  test('processes that repeat the same run_ids make one record of each', async () => {
    const location = join(tempDir(), 'ledger.db')
    const processes = Array.from({ length: 3 }, () =>
      // Same name and seed: the same ids with the same content.
      startChild('writer-process', { location, name: 'same', callers: 1, appends: 30, seed: 7, waitForStart: true }),
    )
    for (const child of processes) await child.waitFor(/^waiting/)
    for (const child of processes) child.tell('go')
    for (const child of processes) await child.waitFor(/^done/)
    const [one, ...others] = processes.map(({ lines }) => acknowledgedIn(lines))
    for (const other of others) expect(other).toEqual(one)
    const ledger = await AuditLedger.open(location, OPEN)
    expect(await assertKept(ledger, one!)).toBe(one!.length + 1)
    await ledger.close()
  })
})

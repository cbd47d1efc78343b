/** Every step fails once, twice, or until the cause is gone: a typed error, nothing half-written, and it goes on. */
import { describe, expect, test } from 'vitest'
import { LedgerError } from '../../../src/ledger/errors.ts'
import type { Trouble } from '../../helpers/jsonl-disk.ts'
import { Model } from '../../helpers/jsonl-model.ts'
import { scale } from '../../helpers/scale.ts'
import { tempDir } from '../../helpers/temp.ts'

/** The first two are tried always, all of them in `npm run soak`. */
const CODES = { ENOSPC: 'disk_full', EIO: 'io_error', EROFS: 'read_only', EDQUOT: 'disk_full', EACCES: 'read_only' } as const

/** Appends and begins segments; a refused batch is followed by looking, as the ledger's writer does. */
async function work(model: Model, expected: string | null): Promise<LedgerError[]> {
  const errors: LedgerError[] = []
  for (let batch = 0; batch < 6; batch++) {
    const error = await model.append(batch === 1 || batch === 3)
    if (error === null) continue
    errors.push(error)
    if (expected !== null) expect(error.code).toBe(expected)
    await model.settle().catch((settling: unknown) => {
      expect(settling).toBeInstanceOf(LedgerError)
      expect((settling as LedgerError).details.outcome_unknown).toBe(true)
    })
  }
  return errors
}

async function checkAfter(model: Model): Promise<void> {
  model.disk.heal()
  await model.settle()
  expect(await model.append(), 'recording goes on when the cause is gone').toBe(null)
  expect(await model.append(true)).toBe(null)
  await model.powerLoss('drop')
  await model.open()
  await model.letGo()
}

async function appendSteps(): Promise<number> {
  const model = new Model(tempDir(), 1)
  await model.open()
  model.disk.meet({ at: Infinity, kind: 'fail' })
  await work(model, null)
  await model.letGo()
  return model.disk.operations
}

describe.each(Object.entries(CODES).slice(0, scale(2, 5)))('%s', (code, expected) => {
  const troubles: readonly Omit<Trouble, 'at'>[] = [
    { kind: 'fail', code },
    { kind: 'fail', code, isDone: true },
    { kind: 'fail', code, times: 2 },
    { kind: 'fail', code, times: 2, isDone: true },
    { kind: 'fail', code, times: 5 },
    { kind: 'fail', code, times: Infinity },
  ]

  test('at every step of appending', async () => {
    const steps = await appendSteps()
    expect(steps).toBeGreaterThan(12)
    let refused = 0
    for (let at = 1; at <= steps; at++) {
      for (const trouble of troubles) {
        const model = new Model(tempDir(), 1)
        await model.open()
        model.disk.meet({ ...trouble, at })
        refused += (await work(model, expected)).length
        await checkAfter(model)
      }
    }
    expect(refused).toBeGreaterThan(steps)
  })

  test('at every step of opening: refused as a whole, or done as a whole', async () => {
    for (let at = 1; at <= 16; at++) {
      for (const trouble of troubles) {
        const model = new Model(tempDir(), 1)
        model.disk.meet({ ...trouble, at })
        const error = await model.open().then(
          () => null,
          (failed: unknown) => failed,
        )
        if (error !== null) {
          expect(error).toBeInstanceOf(LedgerError)
          expect((error as LedgerError).code).toBe(expected)
        }
        model.disk.heal()
        await model.letGo()
        await model.open()
        await checkAfter(model)
      }
    }
  })

  test('at every step of recovering', async () => {
    for (let at = 1; at <= 16; at++) {
      for (const trouble of troubles) {
        const model = new Model(tempDir(), 7)
        await model.open()
        await model.append()
        model.disk.meet({ at: 2, kind: 'power-before' })
        await model.append().catch(() => {})
        await model.powerLoss('tear')
        model.disk.meet({ ...trouble, at })
        await model.open().catch((error: unknown) => {
          expect(error).toBeInstanceOf(LedgerError)
          expect((error as LedgerError).code).toBe(expected)
        })
        model.disk.heal()
        await model.letGo()
        await model.open()
        await checkAfter(model)
      }
    }
  })
})

test.each(Object.entries(CODES))('%s is told as %s', async (code, expected) => {
  const model = new Model(tempDir(), 2)
  await model.open()
  model.disk.meet({ at: 1, kind: 'fail', code })
  expect((await model.append())?.code).toBe(expected)
  await checkAfter(model)
})

test('short writes are written on', async () => {
  const model = new Model(tempDir(), 3)
  await model.open()
  model.disk.meet({ at: 1, kind: 'short', times: Infinity })
  expect(await work(model, null)).toEqual([])
  expect(model.disk.log.filter((step) => step.startsWith('write')).length).toBeGreaterThan(20)
  await checkAfter(model)
})

test('a short write and then a full disk: nothing of the batch stays', async () => {
  const model = new Model(tempDir(), 4)
  await model.open()
  await model.append()
  const before = await model.store!.describe()
  model.disk.meet({ at: 1, kind: 'short' })
  const appending = model.append()
  await new Promise((resolve) => setImmediate(resolve))
  model.disk.meet({ at: 1, kind: 'fail', code: 'ENOSPC' })
  expect((await appending)?.code).toBe('disk_full')
  expect(await model.store!.describe()).toEqual(before)
  await checkAfter(model)
})

test('a batch that can not be taken back is unknown, and refuses everything until it can', async () => {
  const model = new Model(tempDir(), 5)
  await model.open()
  await model.append()
  model.disk.meet({ at: 2, kind: 'fail', code: 'EIO', times: Infinity })
  const first = await model.append()
  expect([first?.code, first?.details.outcome_unknown]).toEqual(['io_error', true])
  const records = model.sealBatch()
  const second: unknown = await model.store!.append(records, model.chain.head).catch((error: unknown) => error)
  // Of this one nothing was written.
  expect([(second as LedgerError).code, (second as LedgerError).details.outcome_unknown]).toEqual(['io_error', undefined])
  await expect(model.store!.state({ streams: [], run_ids: [] })).rejects.toMatchObject({
    code: 'io_error',
    details: { outcome_unknown: true },
  })
  // Who looks and who appends at the same time cut the file once: a second cut could come behind the write.
  model.disk.heal()
  model.disk.log.length = 0
  await Promise.all([model.store!.state({ streams: [], run_ids: [] }), model.store!.append(records, model.chain.head)])
  expect(model.disk.log.filter((step) => step.startsWith('truncate')).length).toBe(1)
  model.chain.accept(records)
  await checkAfter(model)
})

test('what could not be taken back before the process was killed is whole, or is not there', async () => {
  const model = new Model(tempDir(), 6)
  await model.open()
  await model.append()
  model.disk.meet({ at: 2, kind: 'fail', code: 'EIO', times: Infinity })
  expect((await model.append())?.details.outcome_unknown).toBe(true)
  const given = model.uncertain.length
  await model.kill()
  await model.open()
  // All of it had reached the page cache.
  expect(given).toBeGreaterThan(0)
  expect(model.uncertain).toEqual([])
  await checkAfter(model)
})

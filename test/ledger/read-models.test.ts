/** Read models in SQLite and in PostgreSQL: every event counts once, whatever fails, and what readers see is whole. */
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import { AuditLedger, defineEvent, defineReadModel, openReadModels } from '../../src/index.ts'
import type { ModelRunner, ReadModel, ReadModels, RunModelOptions } from '../../src/index.ts'
import { postgresMissing, useDatabases } from '../helpers/postgres.ts'
import { sql as serverSql } from '../helpers/postgres-cluster.ts'
import { scale } from '../helpers/scale.ts'
import { tempDir } from '../helpers/temp.ts'

const Added = defineEvent<'Added', { n: number }>('Added')

interface Model {
  readonly version?: number
  readonly times?: number
  readonly fails?: (n: number) => boolean
}

/** Sums up, as a row of a stream and as a value; `fails` after it has written, so that what it wrote must not stay. */
function sums({ version = 1, times = 1, fails = () => false }: Model = {}): ReadModel {
  return defineReadModel({
    name: 'sums',
    version,
    tables: { stream_sums: 'stream text PRIMARY KEY, sum bigint NOT NULL, events bigint NOT NULL' },
    events: [Added],
    on: {
      async Added(tx, { n }, record) {
        await tx.sql(
          `INSERT INTO ${tx.tables.stream_sums} AS s (stream, sum, events) VALUES ($1, $2, 1)
            ON CONFLICT (stream) DO UPDATE SET sum = s.sum + excluded.sum, events = s.events + 1`,
          [record.header.stream, n * times],
        )
        await tx.put('all', (((await tx.get('all')) as number | undefined) ?? 0) + n * times)
        if (fails(n)) throw new Error(`no ${n}`)
      },
    },
  })
}

const QUICK: RunModelOptions = { pollMs: 5, retryMs: 1, attempts: 3 }

const closing: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const one of closing.splice(0).toReversed()) await one.close()
})

async function ledgerWith(values: readonly number[]): Promise<AuditLedger> {
  const ledger = await AuditLedger.open('memory:', { actor: 'tester', origin: 'example.com/models', tree: 'on-demand' })
  closing.push(ledger)
  for (const n of values) await add(ledger, n)
  return ledger
}

async function add(ledger: AuditLedger, n: number): Promise<number> {
  const [receipt] = await ledger.append(n % 2 === 0 ? 'even' : 'odd', [Added({ n }), { type: 'Other', data: {} }])
  return receipt!.seq
}

async function rowsOf(models: ReadModels): Promise<readonly object[]> {
  return models.sql('SELECT stream, sum, events FROM stream_sums ORDER BY stream')
}

async function caughtUp(ledger: AuditLedger, runner: ModelRunner): Promise<void> {
  await runner.waitFor((await ledger.head()).size - 1)
}

describe('defineReadModel', () => {
  test.each([
    ['a table that is none', { tables: { 'a b': 'x text' } }, /no name of a table/],
    ['one of ours', { tables: { read_models: 'x text' } }, /no name of a table/],
    ['a table without columns', { tables: { a: ' ' } }, /columns/],
    ['no handler', { on: {} }, /on is empty/],
  ])('refuses %s', (_, part, message) => {
    expect(() => defineReadModel({ name: 'm', version: 1, on: { A: () => {} }, ...part } as never)).toThrow(message)
  })
})

const databases = useDatabases()
describe.each([
  ['SQLite', false],
  ['PostgreSQL', true],
] as const)('read models in %s', (_, isServer) => {
  const place = async (): Promise<string> => (isServer ? databases.newDatabase() : join(tempDir(), 'models.db'))
  async function opened(location: string): Promise<ReadModels> {
    const models = await openReadModels(location)
    closing.push(models)
    return models
  }
  const isMissing = isServer && postgresMissing !== null

  test.skipIf(isMissing)('follows the ledger, goes on where it was, and shows rows and values to readers', async () => {
    const location = await place()
    const ledger = await ledgerWith([1, 2, 3])
    const models = await opened(location)
    const runner = await models.run(ledger, sums(), QUICK)
    await caughtUp(ledger, runner)
    await models.waitFor('sums', (await ledger.head()).size - 1)
    expect(await rowsOf(models)).toEqual([
      { stream: 'even', sum: 2, events: 1 },
      { stream: 'odd', sum: 4, events: 2 },
    ])
    await runner.waitFor(await add(ledger, 4))
    expect(await models.get('sums', 'all')).toBe(10)
    await runner.stop()
    await expect(runner.waitFor(1000)).rejects.toMatchObject({ code: 'closed' })
    await add(ledger, 5)
    const again = await models.run(ledger, sums(), { ...QUICK, batch: 1 })
    await caughtUp(ledger, again)
    expect(again.progress()).toMatchObject({ state: 'active', lag: 0, handled: 1, parked: 0, failing: null })
    expect(await models.get('sums', 'all')).toBe(15)
    expect(await models.status()).toMatchObject([{ model: 'sums', version: 1, state: 'active', position: (await ledger.head()).size - 1 }])
    await expect(models.waitFor('sums', 10_000, { timeoutMs: 20 })).rejects.toMatchObject({ code: 'not_found' })
  })

  test.skipIf(isMissing)('one runner at a time; another may have it when it stops', async () => {
    const location = await place()
    const ledger = await ledgerWith([1])
    const [one, other] = [await opened(location), await opened(location)]
    const runner = await one.run(ledger, sums(), QUICK)
    await expect(other.run(ledger, sums(), QUICK)).rejects.toMatchObject({ code: 'locked', message: expect.stringMatching(/run it once/) })
    await caughtUp(ledger, runner)
    await runner.stop()
    await caughtUp(ledger, await other.run(ledger, sums(), QUICK))
    expect(await other.get('sums', 'all')).toBe(1)
  })

  test.skipIf(isMissing)('an event that fails leaves nothing, is tried again, and counts once when it works', async () => {
    const ledger = await ledgerWith([1, 2, 3, 4, 5])
    const models = await opened(await place())
    let left = 2
    const runner = await models.run(ledger, sums({ fails: (n) => n === 3 && left-- > 0 }), QUICK)
    await caughtUp(ledger, runner)
    expect(await models.get('sums', 'all')).toBe(15)
    expect(await runner.parked()).toEqual([])
  })

  test.skipIf(isMissing)('one that fails for good is parked and the rest goes on; it can be replayed or dropped', async () => {
    const ledger = await ledgerWith([1, 2, 3, 4, 5])
    const models = await opened(await place())
    let broken = true
    const runner = await models.run(ledger, sums({ fails: (n) => broken && (n === 2 || n === 5) }), QUICK)
    await caughtUp(ledger, runner)
    expect(await models.get('sums', 'all')).toBe(8)
    const parked = await runner.parked()
    expect(parked).toMatchObject([
      { error: 'Error: no 2', attempts: 3 },
      { error: 'Error: no 5', attempts: 3 },
    ])
    expect((await ledger.at(parked[0]!.seq))?.run_id).toBe(parked[0]!.run_id)
    expect(runner.progress().parked).toBe(2)
    await expect(runner.replayParked(parked[0]!.seq)).rejects.toThrow('no 2')
    expect(await models.get('sums', 'all')).toBe(8)
    broken = false
    expect(await runner.replayParked(parked[0]!.seq)).toBe(true)
    expect(await runner.replayParked(parked[0]!.seq)).toBe(false)
    expect(await runner.dropParked(parked[1]!.seq)).toBe(true)
    expect(await models.get('sums', 'all')).toBe(10)
    expect(await models.parked(sums())).toEqual([])
  })

  test.skipIf(isMissing)('told to stop at a failure, it does, and goes on there when it is run again', async () => {
    const ledger = await ledgerWith([1, 2, 3])
    const models = await opened(await place())
    const runner = await models.run(ledger, sums({ fails: (n) => n === 2 }), { ...QUICK, onFailure: 'stop' })
    await expect(runner.waitFor(100)).rejects.toMatchObject({ code: 'projection_failed', message: expect.stringMatching(/no 2/) })
    expect(runner.progress().failing).toMatch(/no 2/)
    await runner.stop()
    expect(await models.get('sums', 'all')).toBeUndefined()
    await caughtUp(ledger, await models.run(ledger, sums(), QUICK))
    expect(await models.get('sums', 'all')).toBe(6)
  })

  test.skipIf(isMissing)('a new version is built beside the old one and swapped in; the old one can then be dropped', async () => {
    const ledger = await ledgerWith([1, 2, 3])
    const models = await opened(await place())
    await caughtUp(ledger, await models.run(ledger, sums(), QUICK))
    await models.waitFor('sums', (await ledger.head()).size - 1)
    const next = await models.run(ledger, sums({ version: 2, times: 10 }), { ...QUICK, swap: 'manual' })
    await caughtUp(ledger, next)
    expect(await models.get('sums', 'all')).toBe(6)
    expect((await models.status()).map(({ version, state }) => [version, state])).toEqual([
      [1, 'active'],
      [2, 'building'],
    ])
    await expect(models.drop({ name: 'sums', version: 1 })).rejects.toMatchObject({ code: 'locked' })
    await models.swap(sums({ version: 2 }))
    expect(await models.get('sums', 'all')).toBe(60)
    expect(await rowsOf(models)).toEqual([
      { stream: 'even', sum: 20, events: 1 },
      { stream: 'odd', sum: 40, events: 2 },
    ])
    // And back again.
    await models.swap({ name: 'sums', version: 1 })
    expect(await models.get('sums', 'all')).toBe(6)
    await models.swap({ name: 'sums', version: 2 })
    await models.drop({ name: 'sums', version: 1 })
    expect((await models.status()).map(({ version, state }) => [version, state])).toEqual([[2, 'active']])
    await next.waitFor(await add(ledger, 4))
    expect(await models.get('sums', 'all')).toBe(100)
    await expect(models.swap({ name: 'sums', version: 9 })).rejects.toMatchObject({ code: 'not_found' })
  })

  test.skipIf(isMissing)('by itself a newer version is swapped in when it has caught up, and an older one never', async () => {
    const ledger = await ledgerWith([1, 2, 3])
    const models = await opened(await place())
    await caughtUp(ledger, await models.run(ledger, sums({ version: 2, times: 10 }), QUICK))
    await models.waitFor('sums', (await ledger.head()).size - 1)
    const older = await models.run(ledger, sums(), QUICK)
    await caughtUp(ledger, older)
    await caughtUp(ledger, await models.run(ledger, sums({ version: 3, times: 100 }), QUICK))
    expect(await models.get('sums', 'all')).toBe(600)
    expect(older.progress().state).toBe('retired')
  })

  test.skipIf(isMissing)('of another ledger, or of one that was cut, nothing is counted', async () => {
    const location = await place()
    const models = await opened(location)
    const runner = await models.run(await ledgerWith([1, 2, 3]), sums(), QUICK)
    await runner.waitFor(3)
    await runner.stop()
    const before = await models.status()
    for (const values of [[1], [4, 5, 6, 7]])
      await expect(models.run(await ledgerWith(values), sums(), QUICK)).rejects.toMatchObject({ code: 'forked' })
    expect(await models.status()).toEqual(before)
  })

  test.skipIf(isMissing)('text, numbers, nothing and booleans come back as they were given', async () => {
    const ledger = await ledgerWith([])
    const models = await opened(await place())
    const texts = ["'$1'", '"', '\u2028 é🦊', '']
    const kept = defineReadModel({
      name: 'kept',
      version: 1,
      tables: { kept: 'id bigint PRIMARY KEY, text_value text, number_value double precision, none_value text' },
      setUp: async (tx) => void (await tx.sql(`CREATE INDEX kept_text ON ${tx.tables.kept} (text_value)`)),
      events: [Added],
      on: {
        async Added(tx, { n }) {
          // A comment, a text and a name with a $ in it: $7
          await tx.sql(`INSERT INTO ${tx.tables.kept} /* $8 */ VALUES ($2, $1, $3, NULL) -- $9`, [texts[n]!, n, n / 4])
          await tx.put(`k${n}`, { text: texts[n]!, list: [n, null, true] })
        },
      },
    })
    const runner = await models.run(ledger, kept, QUICK)
    for (const n of texts.keys()) await ledger.append('s', Added({ n }))
    await caughtUp(ledger, runner)
    await models.waitFor('kept', (await ledger.head()).size - 1)
    expect(await models.sql('SELECT * FROM kept ORDER BY id')).toEqual(
      texts.map((text, id) => ({ id, text_value: text, number_value: id / 4, none_value: null })),
    )
    expect(await models.get('kept', 'k2')).toEqual({ text: texts[2], list: [2, null, true] })
  })

  test.runIf(isServer && postgresMissing === null)('a connection that is lost is made again, and nothing counts twice', async () => {
    const location = await place()
    const ledger = await ledgerWith([])
    const models = await opened(location)
    const runner = await models.run(ledger, sums(), { ...QUICK, batch: 2 })
    const victims = `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
      WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'cortex-ledger'`
    for (let n = 1; n <= 40; n++) {
      await add(ledger, n)
      if (n % 10 === 5) await serverSql(location, victims)
    }
    await caughtUp(ledger, runner)
    expect(await models.get('sums', 'all')).toBe(820)
  })
})

test('with failures and restarts at random, a model is what a replay gives', async () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('add' as const), n: fc.integer({ min: 1, max: 50 }) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const), batch: fc.integer({ min: 1, max: 4 }) }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'wait' as const }) },
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), fc.infiniteStream(fc.boolean()), async (steps, chance) => {
      const ledger = await ledgerWith([])
      const models = await openReadModels(join(tempDir(), 'models.db'))
      // Every event fails now and then, one of 13 always.
      const model = sums({ fails: (n) => n % 13 === 0 || chance.next().value === true })
      const options = { ...QUICK, attempts: 200, retryMs: 0 }
      let runner = await models.run(ledger, model, options)
      const good: number[] = []
      for (const one of steps) {
        if (one.kind === 'add') {
          await add(ledger, one.n)
          if (one.n % 13 !== 0) good.push(one.n)
        } else if (one.kind === 'wait') await caughtUp(ledger, runner)
        else {
          await runner.stop()
          runner = await models.run(ledger, model, { ...options, batch: one.batch })
        }
      }
      await caughtUp(ledger, runner)
      const sum = good.reduce((all, n) => all + n, 0)
      expect((await models.get('sums', 'all')) ?? 0).toBe(sum)
      const [counted] = await models.sql('SELECT coalesce(sum(events), 0) AS events FROM stream_sums')
      expect(counted).toEqual({ events: good.length })
      const added = steps.filter(({ kind }) => kind === 'add').length
      expect((await runner.parked()).length).toBe(added - good.length)
      await models.close()
      await ledger.close()
    }),
    { numRuns: scale(8, 200) },
  )
})

test('a file that holds something else, and a place for no database, are refused', async () => {
  const path = join(tempDir(), 'ledger.db')
  await (await AuditLedger.open(path, { signer: null, stateFolder: tempDir() })).close()
  await expect(openReadModels(path)).rejects.toMatchObject({ code: 'not_a_ledger' })
  await expect(openReadModels('memory:')).rejects.toThrow(RangeError)
  await expect(openReadModels(join(tempDir(), 'folder'))).rejects.toThrow(RangeError)
})

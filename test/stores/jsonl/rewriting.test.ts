/** Segments that are rewritten on a disk that fails at any step, or loses power there: the old one is there or the new one. */
import { mkdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { LedgerError } from '../../../src/ledger/errors.ts'
import type { Store } from '../../../src/ledger/store.ts'
import type { UpkeepStep } from '../../../src/ledger/upkeep.ts'
import { openJsonlStore, REWRITE_SITES } from '../../../src/stores/jsonl/index.ts'
import type { SyncSite } from '../../../src/stores/jsonl/index.ts'
import { linesOf } from '../../../src/testing/checks.ts'
import { entriesOf, upkeepOf, withheldLine } from '../../../src/testing/contract/upkeep-bench.ts'
import { LEDGER_CREATED, SampleChain } from '../../../src/testing/sample-chain.ts'
import { seededRandom } from '../../../src/testing/seeded-random.ts'
import { formatLine } from '../../../src/verify/record.ts'
import { SimulatedDisk } from '../../helpers/jsonl-disk.ts'
import type { Loss } from '../../helpers/jsonl-disk.ts'
import { isPowerLoss, problemsOf } from '../../helpers/jsonl-model.ts'
import { scale, soaking } from '../../helpers/scale.ts'
import { tempDir } from '../../helpers/temp.ts'

const LOSSES: readonly Loss[] = ['drop', 'tear', 'keep']
const GONE = [
  { first: 2, last: 5 },
  { first: 7, last: 7 },
  { first: 9, last: 15 },
]
/** In `npm run soak` larger than what is written at once, so that a new file takes several writes. */
const LARGE = scale(5000, 1_200_000)

const TIMES = [1, 2, Infinity]

type What = 'full' | 'withheld'

/** A ledger of three segments on a disk of its own, and what each record has to be. */
class Rewritten {
  readonly disk: SimulatedDisk
  readonly dir: string
  readonly chain: SampleChain
  readonly random
  /** What was said to be so; undefined: a call was cut short, so it may be either. */
  readonly is: (What | undefined)[] = []
  store: Store | null = null

  constructor(seed: number) {
    const folder = tempDir()
    this.dir = join(folder, 'ledger')
    mkdirSync(this.dir)
    this.disk = new SimulatedDisk(folder)
    this.chain = new SampleChain(seed)
    this.random = seededRandom(seed)
  }

  async begin(): Promise<this> {
    const { chain } = this
    const store = await this.open()
    await chain.append(store, [LEDGER_CREATED, {}, {}, { entry: { text: 'x'.repeat(LARGE) } }, {}, {}])
    await chain.append(
      store,
      Array.from({ length: 10 }, () => ({ entry: { text: 'é'.repeat(300) } })),
      { newSegment: true },
    )
    await chain.append(store, [{}], { newSegment: true })
    for (const _ of chain.records) this.is.push('full')
    return this
  }

  async open(): Promise<Store> {
    this.store = await openJsonlStore(this.dir, { files: this.disk, index: 'off' })
    return this.store
  }

  async #run(what: What, steps: AsyncIterable<UpkeepStep>): Promise<void> {
    const touched = this.chain.records
      .map(({ header }) => header.seq)
      .filter((seq) => GONE.some(({ first, last }) => first <= seq && seq <= last))
    const before = touched.map((seq) => this.is[seq])
    for (const seq of touched) if (this.is[seq] !== what) this.is[seq] = undefined
    let isFirst = true
    for await (const { records } of steps) {
      // Steps come in the order of the segments, whole segments each.
      const done = touched.filter((seq) => (isFirst ? seq < 6 : seq >= 6))
      if (before.every((each) => each === (what === 'full' ? 'withheld' : 'full'))) expect(records).toBe(done.length)
      for (const seq of done) this.is[seq] = what
      isFirst = false
    }
    for (const seq of touched) this.is[seq] = what
  }

  async withhold(): Promise<void> {
    await this.#run('withheld', upkeepOf(this.store as Store).withhold(GONE, { erase: true }))
  }

  async restore(): Promise<void> {
    await this.#run('full', upkeepOf(this.store as Store).restore(entriesOf(this.chain.records.slice(2, 16))))
  }

  async life(): Promise<void> {
    await this.withhold()
    await this.restore()
    await this.withhold()
    await upkeepOf(this.store as Store).reclaim()
  }

  async check(): Promise<void> {
    const store = this.store as Store
    const lines = await linesOf(store)
    expect(lines.length).toBe(this.chain.records.length)
    for (const [seq, record] of this.chain.records.entries()) {
      const [full, withheld] = [formatLine(record), withheldLine(record)]
      const line = lines[seq] as string
      if (line !== full && line !== withheld) expect(line, `line ${seq} is whole`).toBe(full)
      const what = this.is[seq]
      if (what !== undefined) expect(line === full ? 'full' : 'withheld', `record ${seq} is what was said`).toBe(what)
    }
    expect((await problemsOf(store)).filter((problem) => !problem.startsWith('withheld_unnamed'))).toEqual([])
    expect((await store.state({ streams: [], run_ids: [] })).head).toEqual(this.chain.head)
  }

  async left(): Promise<string[]> {
    return (await this.disk.list(join(this.dir, 'segments'))).filter((name) => !/^\d{20}\.jsonl$/.test(name)).map((name) => basename(name))
  }

  async powerLoss(loss: Loss): Promise<void> {
    this.disk.cutPower()
    await this.letGo()
    this.disk.reboot(loss, this.random)
  }

  async letGo(): Promise<void> {
    await this.store?.close().catch(() => {})
    this.store = null
  }
}

async function untilPowerLoss(act: () => Promise<unknown>): Promise<void> {
  try {
    await act()
  } catch (error) {
    if (!isPowerLoss(error)) throw error
  }
}

async function steps(): Promise<number> {
  const model = await new Rewritten(1).begin()
  model.disk.meet({ at: Infinity, kind: 'fail' })
  await model.life()
  await model.check()
  expect(await model.left()).toEqual([])
  const { operations } = model.disk
  await model.letGo()
  return operations
}

/** The power fails at this step; then all is there, and the same calls bring it to the end. */
async function powerLossAt(at: number, kind: 'power-before' | 'power-after', loss: Loss, ignored: SyncSite | null = null): Promise<void> {
  const model = await new Rewritten(at).begin()
  model.disk.ignoredSync = ignored
  model.disk.meet({ at, kind })
  await untilPowerLoss(() => model.life())
  await model.powerLoss(loss)
  model.disk.heal()
  await model.open()
  expect(await model.left()).toEqual([])
  await model.check()
  await model.life()
  await model.check()
  await model.powerLoss('drop')
  await model.open()
  await model.check()
  await model.letGo()
}

// All three together come to every step; in `npm run soak` each of them does.
describe.each(LOSSES)('power loss, %s', (loss) => {
  test('at every step: each line is whole, and what was said to be done is', async () => {
    const count = await steps()
    expect(count).toBeGreaterThan(30)
    for (let at = scale(1 + LOSSES.indexOf(loss), 1); at <= count; at += scale(3, 1)) {
      if (soaking || at % 2 === 0) await powerLossAt(at, 'power-before', loss)
      if (soaking || at % 2 === 1) await powerLossAt(at, 'power-after', loss)
    }
  })
})

test.each(REWRITE_SITES.filter((site) => site !== 'removed'))('without the sync "%s" something is lost or comes back', async (site) => {
  const count = await steps()
  const found: unknown[] = []
  for (let at = 1; at <= count && found.length === 0; at++) {
    for (const loss of LOSSES) await powerLossAt(at, 'power-after', loss, site).catch((error: unknown) => found.push(error))
  }
  expect(found.length, 'leaving this sync out makes no difference').toBeGreaterThan(0)
})

test('what recovery once moved aside is gone after an erasure, for good', async () => {
  for (const ignored of [null, 'removed'] as const) {
    const model = await new Rewritten(3).begin()
    model.disk.ignoredSync = ignored
    const [record] = model.chain.seal([{ entry: { text: 'y'.repeat(5000) } }])
    model.disk.meet({ at: 1, kind: 'power-after' })
    await untilPowerLoss(() => (model.store as Store).append([record!], model.chain.head))
    model.disk.poke(
      join(model.dir, 'segments', '00000000000000000016.jsonl'),
      Buffer.from(`${formatLine(model.chain.records[16]!)}\n{"hash":"torn`),
    )
    await model.powerLoss('keep')
    await model.open()
    expect(model.store?.recovered).not.toBe(null)
    expect((await model.disk.list(join(model.dir, 'torn'))).length).toBe(1)
    await model.withhold()
    await upkeepOf(model.store as Store).reclaim()
    await model.powerLoss('drop')
    expect((await model.disk.list(join(model.dir, 'torn'))).length).toBe(ignored === null ? 0 : 1)
    await model.open()
    await model.check()
    await model.letGo()
  }
})

describe.each(Object.entries({ ENOSPC: 'disk_full', EIO: 'io_error', EROFS: 'read_only', EDQUOT: 'disk_full' }).slice(0, scale(2, 4)))(
  '%s at every step',
  (code, expected) => {
    test.each(TIMES)('%s times: a typed error, the old segment whole, and the same call goes on', async (times) => {
      const count = await steps()
      let refused = 0
      for (let at = scale(1 + TIMES.indexOf(times), 1); at <= count; at += scale(3, 1)) {
        for (const isDone of soaking ? [false, true] : [at % 2 === 0]) {
          const model = await new Rewritten(1).begin()
          model.disk.meet({ at, kind: 'fail', code, isDone, times })
          const error = await model.life().then(
            () => null,
            (failed: unknown) => failed,
          )
          if (error !== null) {
            refused++
            expect(error).toBeInstanceOf(LedgerError)
            expect((error as LedgerError).code).toBe(expected)
          }
          model.disk.heal()
          await model.check()
          await model.life()
          await model.check()
          expect(await model.left()).toEqual([])
          await model.letGo()
        }
      }
      expect(refused).toBeGreaterThan(scale(count / 6, count / 2))
    })
  },
)

/**
 * A plain model of retention, and a random history of a ledger that is compared with it: which entries there are, where
 * they are, and who may read them. The model knows policies, holds and times, and nothing of files, claims or crashes.
 */
import { expect } from 'vitest'
import { AuditLedger } from '../../src/index.ts'
import { archiveInMemory } from '../../src/ledger/archive-in-memory.ts'
import type { ArchiveStore } from '../../src/ledger/archive.ts'
import { LedgerError } from '../../src/ledger/errors.ts'
import { readLines } from '../../src/ledger/packed-source.ts'
import { archivedBytes } from '../../src/ledger/packed-source.ts'
import type { RetentionPolicyInput } from '../../src/ledger/retention/policy.ts'
import type { LedgerRecord } from '../../src/ledger/record.ts'
import type { Store } from '../../src/ledger/store.ts'
import { fixedClock } from '../../src/testing/fixed-clock.ts'
import { seededRandom } from '../../src/testing/seeded-random.ts'
import { readSense } from '../../src/verify/record.ts'
import { Crashed, crashingArchive, crashingStore, Fuse } from './crashing-store.ts'
import { signer } from './published.ts'
import { tempDir } from './temp.ts'

const DAY_US = 86_400_000_000
const MODELS = ['small', 'large']

interface Entry {
  readonly seq: number
  readonly run_id: string
  readonly actor: string
  readonly model: string
  readonly correlation_id: string
  readonly prompt: string
  readonly recorded_us: number
  restored_us: number | null
  tier: 'hot' | 'warm' | 'cold'
  isErased: boolean
}

type Fits = Pick<Entry, 'actor'> | Pick<Entry, 'run_id'> | Pick<Entry, 'model'> | Pick<Entry, 'correlation_id'>

interface Hold {
  readonly id: string
  readonly fits: Fits
}

function fits(entry: Entry, criteria: Fits): boolean {
  return Object.entries(criteria).every(([key, value]) => entry[key as keyof Entry] === value)
}

const POLICIES: readonly RetentionPolicyInput[] = [
  {},
  { hotDays: 2, warmDays: 5 },
  { hotDays: 0, warmDays: null },
  { hotDays: 3, warmDays: 6, eraseAfterDays: 60 },
  { hotDays: 3, warmDays: 6, eraseAfterDays: 60, override: { by: 'case 4', reason: 'a test' } },
  { eraseAfterDays: 200 },
]

export interface HistoryOptions {
  readonly seed: number
  readonly steps: number
  readonly open: () => Promise<Store>
  /** The same ledger again, by a process that comes after one that died; the store in hand where that is all there is. */
  readonly reopen: (store: Store) => Promise<Store>
  /** Share of the operations in which the process dies. */
  readonly crashes: number
}

export class History {
  readonly #options: HistoryOptions
  readonly #random
  readonly #clock = fixedClock()
  readonly #cold = archiveInMemory('cold:')
  readonly #stateFolder = tempDir()
  readonly #entries: Entry[] = []
  #holds: Hold[] = []
  #store: Store
  #fuse = new Fuse()
  #ledger: AuditLedger
  #names = 0
  readonly #bundles: Uint8Array[] = []
  readonly log: string[] = []
  crashes = 0

  private constructor(options: HistoryOptions, store: Store, ledger: AuditLedger, fuse: Fuse) {
    this.#options = options
    this.#random = seededRandom(options.seed)
    this.#store = store
    this.#ledger = ledger
    this.#fuse = fuse
  }

  static async run(options: HistoryOptions): Promise<History> {
    const store = await options.open()
    const history = new History(options, store, undefined as never, undefined as never)
    await history.#openLedger()
    try {
      await history.#go()
    } catch (error) {
      throw new Error(`seed ${options.seed}:\n${history.log.join('\n')}`, { cause: error })
    } finally {
      await history.#ledger.close().catch(() => {})
      await history.#store.close()
    }
    return history
  }

  async #openLedger(): Promise<void> {
    this.#fuse = new Fuse()
    this.#ledger = await AuditLedger.open('memory:', {
      store: crashingStore(this.#store, this.#fuse),
      archive: crashingArchive(this.#cold, this.#fuse),
      clock: this.#clock,
      random: seededRandom(this.#options.seed * 1000 + this.#names++),
      origin: signer.verifierKey.split('+')[0]!,
      signer,
      checkpoints: false,
      stateFolder: this.#stateFolder,
    })
  }

  async #go(): Promise<void> {
    await this.#record(8)
    for (let i = 0; i < this.#options.steps; i++) {
      await this.#operation()
      await this.#compare()
    }
    for (const bundle of this.#bundles) {
      const { checkProof } = await import('../../src/index.ts')
      expect(await checkProof(bundle, { keys: [signer.verifierKey] })).toMatchObject({ ok: true })
    }
  }

  async #operation(): Promise<void> {
    const choice = this.#random.below(10)
    if (choice < 2) return this.#record(1 + this.#random.below(20))
    if (choice < 5) return this.#apply()
    if (choice === 5) return this.#hold()
    if (choice === 6) return this.#release()
    if (choice === 7) return this.#restore()
    if (choice === 8) return this.#erase()
    await this.#ledger.checkpoint()
    this.#bundles.push(await this.#ledger.prove({ seq: [this.#random.pick(this.#entries).seq] }, { disclose: true }))
  }

  async #record(count: number): Promise<void> {
    this.log.push(`record ${count}`)
    for (let i = 0; i < count; i++) {
      const run_id = `run-${this.#entries.length}`
      const actor = `agent-${this.#random.below(4)}`
      const model = this.#random.pick(MODELS)
      const correlation_id = `task-${this.#random.below(6)}`
      const prompt = `secret ${run_id} ${'x'.repeat(this.#random.below(300))}`
      const said = { agent_name: actor, method_name: 'ask', model_name: model }
      const { seq } = await this.#ledger.record({ ...said, run_id, correlation_id, prompt })
      const recorded_us = this.#clock.now()
      this.#entries.push({
        seq,
        run_id,
        actor,
        model,
        correlation_id,
        prompt,
        recorded_us,
        restored_us: null,
        tier: 'hot',
        isErased: false,
      })
      if (this.#random.chance(0.5)) this.#pass(3)
    }
  }

  /** Whole days among them: what is exactly so old is due. */
  #pass(days: number): void {
    this.#clock.advance(this.#random.chance(0.5) ? this.#random.below(days) * DAY_US : this.#random.below(days * DAY_US))
  }

  #isHeld(entry: Entry): boolean {
    return this.#holds.some((hold) => fits(entry, hold.fits))
  }

  /** Runs it; now and then the process dies in the middle, and another one does the same again. */
  async #surviving<Result>(what: string, act: () => Promise<Result>): Promise<Result> {
    this.log.push(what)
    while (this.#random.chance(this.#options.crashes)) {
      this.#fuse.arm(1 + this.#random.below(14), this.#random.chance(0.5))
      try {
        return await act()
      } catch (error) {
        if (!this.#fuse.isBlown) throw error
        this.log.push(`  died ${error instanceof Crashed ? error.message : String(error)}`)
        this.crashes++
        await this.#afterDeath()
      } finally {
        this.#fuse.arm(Infinity, false)
      }
    }
    return act()
  }

  async #afterDeath(): Promise<void> {
    await this.#ledger.close().catch(() => {})
    this.#store = await this.#options.reopen(this.#store)
    await this.#openLedger()
    // Whatever was cut: no problem, and all that was not decided to be erased can be read.
    const report = await this.#ledger.verifyIntegrity()
    expect(report.problems).toEqual([])
    expect(report.withheld?.unnamed).toBe(0)
    for (const entry of this.#entries) if (!entry.isErased) await this.#isThere(entry)
  }

  async #isThere(entry: Entry): Promise<void> {
    const record = (await this.#ledger.get(entry.run_id))!
    if (record.entry !== null) expect(record.entry['prompt']).toBe(entry.prompt)
    else expect(record.withheld).not.toBe(null)
  }

  async #apply(): Promise<void> {
    this.#pass(20)
    const policy = this.#random.pick(POLICIES)
    const plan = await this.#ledger.retention.plan(policy)
    const before = this.#entries.map(({ tier, isErased }) => ({ tier, isErased }))
    await this.#surviving(`apply ${JSON.stringify(policy)}`, () => this.#ledger.applyRetention(policy))
    for (const entry of this.#entries) this.#expectPolicy(entry, policy)
    const planned = new Map<string, number>()
    for (const [i, entry] of this.#entries.entries()) {
      const { tier, isErased } = before[i]!
      if (isErased) continue
      const to = entry.isErased ? 'erase' : entry.tier
      if (to !== tier) planned.set(`${tier} ${to}`, (planned.get(`${tier} ${to}`) ?? 0) + 1)
    }
    expect(new Map(plan.steps.map(({ move, from, records }) => [`${from} ${move}`, records]))).toEqual(planned)
  }

  #expectPolicy(entry: Entry, { hotDays = 7, warmDays = 30, eraseAfterDays = null, override }: RetentionPolicyInput): void {
    if (entry.isErased || this.#isHeld(entry)) return
    const age = this.#clock.now() - entry.recorded_us
    const isOver = eraseAfterDays !== null && age >= eraseAfterDays * DAY_US
    if (isOver && (age >= 183 * DAY_US || override !== undefined)) {
      entry.isErased = true
      return
    }
    const kept = this.#clock.now() - (entry.restored_us ?? entry.recorded_us)
    if (warmDays !== null && kept >= warmDays * DAY_US) entry.tier = 'cold'
    else if (kept >= hotDays * DAY_US && entry.tier === 'hot') entry.tier = 'warm'
  }

  #criteria(): Fits {
    const { actor, run_id, model, correlation_id } = this.#random.pick(this.#entries)
    return this.#random.pick<Fits>([{ actor }, { run_id }, { model }, { correlation_id }])
  }

  async #hold(): Promise<void> {
    const criteria = this.#criteria()
    this.log.push(`hold ${JSON.stringify(criteria)}`)
    const { model, ...rest } = criteria as { model?: string }
    const id = await this.#ledger.retention.placeHold(
      { ...rest, ...(model === undefined ? {} : { model }) },
      { reason: 'a test', case: 'case 1' },
    )
    this.#holds.push({ id, fits: criteria })
  }

  async #release(): Promise<void> {
    if (this.#holds.length === 0) return
    const { id } = this.#random.pick(this.#holds)
    this.log.push(`release ${id}`)
    await this.#ledger.retention.releaseHold(id, { reason: 'a test', case: 'case 1' })
    this.#holds = this.#holds.filter((hold) => hold.id !== id)
    expect((await this.#ledger.retention.holds()).filter(({ released_at }) => released_at === null).map((hold) => hold.id)).toEqual(
      this.#holds.map((hold) => hold.id),
    )
  }

  async #restore(): Promise<void> {
    const criteria = this.#criteria()
    await this.#surviving(`restore ${JSON.stringify(criteria)}`, () => this.#ledger.retention.restore({ where: criteria }))
    for (const entry of this.#entries) {
      if (!fits(entry, criteria) || entry.isErased || entry.tier === 'hot') continue
      entry.tier = 'hot'
      entry.restored_us = this.#clock.now()
    }
  }

  async #erase(): Promise<void> {
    const criteria = this.#criteria()
    const chosen = this.#entries.filter((entry) => fits(entry, criteria))
    // By a name that only entries have, nothing that was erased is found any more.
    const found = 'model' in criteria ? chosen.filter(({ isErased }) => !isErased) : chosen
    const erase = (): Promise<unknown> => this.#ledger.retention.erase(criteria, { reason: 'a test', right: 'gdpr-17' })
    const what = `erase ${JSON.stringify(criteria)}`
    if (chosen.some((entry) => !entry.isErased && this.#isHeld(entry))) {
      this.log.push(`${what}: held`)
      await expect(erase()).rejects.toMatchObject({ code: 'held' })
      return
    }
    let again = false
    await this.#surviving(what, () => erase()).catch((error: unknown) => {
      // Decided before the process died, and carried out by the next one.
      again = error instanceof LedgerError && error.code === 'not_found' && ('model' in criteria || found.length === 0)
      if (!again) throw error
    })
    for (const entry of chosen) entry.isErased = true
  }

  async #recordsOf(ledger: AuditLedger): Promise<Map<number, LedgerRecord>> {
    const records = new Map<number, LedgerRecord>()
    for await (const record of ledger.read()) records.set(record.seq, record)
    return records
  }

  async #linesIn(archive: ArchiveStore): Promise<Map<number, string>> {
    const lines = new Map<number, string>()
    for await (const { name } of archive.list('entries-')) {
      for await (const chunk of readLines(await archivedBytes(archive, name), { name })) {
        for (const line of chunk) lines.set(readSense(line).header.seq, name)
      }
    }
    return lines
  }

  /** The whole of it against the model. */
  async #compare(): Promise<void> {
    await this.#ledger.checkpoint()
    const report = await this.#ledger.verifyIntegrity({ keys: [signer.verifierKey] })
    expect(report.problems).toEqual([])
    const erased = this.#entries.filter(({ isErased }) => isErased)
    expect(report.withheld).toMatchObject({ unnamed: 0, pending: 0, erased: erased.length })
    const [warm, cold] = [await this.#linesIn(this.#store.upkeep!.archive), await this.#linesIn(this.#cold)]
    const through = await AuditLedger.open('memory:', {
      store: { ...crashingStore(this.#store, new Fuse()), readOnly: true },
      archive: this.#cold,
      readThrough: true,
    })
    const [records, all] = [await this.#recordsOf(this.#ledger), await this.#recordsOf(through)]
    for (const entry of this.#entries) this.#compareOne(entry, records.get(entry.seq)!, all.get(entry.seq)!, { warm, cold })
    await through.close()
    const left: string[] = []
    for await (const { name } of this.#cold.list('')) left.push(name)
    for await (const { name } of this.#store.upkeep!.archive.list('')) left.push(name)
    expect(left.filter((name) => !name.startsWith('settled-')).toSorted()).toEqual(
      [...new Set([...warm.values(), ...cold.values()])].toSorted(),
    )
  }

  #compareOne(
    entry: Entry,
    record: LedgerRecord,
    through: LedgerRecord,
    { warm, cold }: { readonly warm: ReadonlyMap<number, string>; readonly cold: ReadonlyMap<number, string> },
  ): void {
    const { seq, isErased, tier, prompt } = entry
    const what = `record ${seq} (${entry.run_id}, ${tier}), ${JSON.stringify(record.withheld)}`
    const state = record.withheld?.state ?? (record.entry === null ? 'unknown' : 'there')
    expect(state, what).toBe(isErased ? 'erased' : tier === 'cold' ? 'archived' : 'there')
    expect(through.entry?.['prompt'], what).toBe(isErased ? undefined : prompt)
    if (isErased) expect([warm.has(seq), cold.has(seq)], `${what} in archives`).toEqual([false, false])
    else if (tier !== 'hot') expect([warm, cold][tier === 'warm' ? 0 : 1]!.has(seq), `${what} in ${tier}`).toBe(true)
  }
}

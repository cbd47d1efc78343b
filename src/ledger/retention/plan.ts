/** What a policy would do, and why it would not do the rest: it looks, and changes nothing. */
import { countOf } from '../../verify/ranges.ts'
import { formatTime } from '../../verify/time.ts'
import { isRotationDue, namesOf, PolicyNow } from './apply.ts'
import type { RetentionContext } from './context.ts'
import type { RetentionPolicy, Tier } from './policy.ts'
import { hotRanges, mayBePresent, presentFiles, recordsAt } from './scan.ts'
import type { KeptRecord } from './scan.ts'

export interface TierSize {
  readonly records: number
  /** Of salts and entries, uncompressed. */
  readonly bytes: number
  /** As they are kept: of the files. In the hot tier as `bytes`. */
  readonly stored_bytes: number
}

export interface PlannedStep {
  readonly move: 'warm' | 'cold' | 'erase'
  readonly from: Tier
  readonly records: number
  /** Of salts and entries; of those in files about. */
  readonly bytes: number
}

export interface RetentionPlan {
  readonly policy: RetentionPolicy
  readonly at: string
  readonly size: number
  readonly tiers: { readonly [tier in Tier]: TierSize }
  readonly erased: number
  readonly steps: readonly PlannedStep[]
  /** Records that are due and stay, by why. `lost`: their entry is nowhere; verify says more. */
  readonly kept: { readonly held: number; readonly floor: number; readonly live_segment: number; readonly lost: number }
  /** Records that each hold keeps from something. */
  readonly holds: readonly { readonly id: string; readonly case: string; readonly records: number }[]
  /** The live segment is sealed first. */
  readonly rotates: boolean
}

class Planning {
  readonly #context: RetentionContext
  readonly #now: PolicyNow
  readonly #steps = new Map<string, { move: PlannedStep['move']; from: Tier; records: number; bytes: number }>()
  readonly #holds = new Map<string, number>()
  readonly #kept = { held: 0, floor: 0, live_segment: 0, lost: 0 }

  constructor(context: RetentionContext, now: PolicyNow) {
    this.#context = context
    this.#now = now
  }

  async run(): Promise<RetentionPlan> {
    const { store, tiers } = this.#context
    const { catalogue } = tiers
    await catalogue.refresh(store)
    const rotates = await isRotationDue(this.#context, this.#now)
    const present = await presentFiles(this.#context)
    const live = rotates ? Infinity : (store.segment?.first_seq ?? Infinity)
    const hot = { records: 0, bytes: 0 }
    for await (const record of recordsAt(store, hotRanges(catalogue, present))) {
      if (record.isWithheld) {
        this.#kept.lost++
        continue
      }
      hot.records++
      hot.bytes += record.bytes
      this.#look(record, 'hot', record.bytes, record.seq >= live)
    }
    const files = { warm: { records: 0, bytes: 0, stored_bytes: 0 }, cold: { records: 0, bytes: 0, stored_bytes: 0 } }
    for (const [file, ranges] of catalogue.current()) {
      if (!mayBePresent(file, present)) continue
      const all = countOf(file.ranges)
      const each = all === 0 ? 0 : file.entry_bytes / all
      const records = countOf(ranges)
      files[file.tier].records += records
      files[file.tier].bytes += Math.round(each * records)
      files[file.tier].stored_bytes += file.bytes
      const { cold, erase } = this.#now.before
      const before_us = file.tier === 'warm' ? Math.max(cold, erase) : erase
      for await (const record of recordsAt(store, ranges, { before_us })) {
        const names = await namesOf(this.#context, record)
        this.#look({ ...record, names }, file.tier, each, false)
      }
    }
    return this.#told({ hot: { ...hot, stored_bytes: hot.bytes }, ...files }, rotates)
  }

  #look(record: KeptRecord, tier: Tier, bytes: number, isLive: boolean): void {
    const { move, kept } = this.#now.decide(record, tier, record.names)
    if (kept !== null) this.#kept[kept]++
    if (kept === 'held') {
      for (const { id } of this.#context.tiers.catalogue.holdsOver(record.header, record.names))
        this.#holds.set(id, (this.#holds.get(id) ?? 0) + 1)
    }
    if (move === null) return
    if (isLive) {
      this.#kept.live_segment++
      return
    }
    const key = `${move} ${tier}`
    const step = this.#steps.get(key) ?? { move, from: tier, records: 0, bytes: 0 }
    this.#steps.set(key, step)
    step.records++
    step.bytes += bytes
  }

  #told(tiers: RetentionPlan['tiers'], rotates: boolean): RetentionPlan {
    const { catalogue } = this.#context.tiers
    const { policy, now_us } = this.#now
    return {
      policy,
      at: formatTime(now_us),
      size: catalogue.size,
      tiers,
      erased: countOf(catalogue.erased),
      steps: [...this.#steps.values()].map((step) => ({ ...step, bytes: Math.round(step.bytes) })),
      kept: this.#kept,
      holds: catalogue.activeHolds.map(({ id, case: matter }) => ({ id, case: matter, records: this.#holds.get(id) ?? 0 })),
      rotates,
    }
  }
}

/** @throws LedgerError of the store or an archive */
export function planPolicy(context: RetentionContext, policy: RetentionPolicy): Promise<RetentionPlan> {
  return new Planning(context, new PolicyNow(context, policy, context.drafting.now())).run()
}

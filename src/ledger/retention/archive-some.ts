/** Moving chosen entries to a tier at once, whatever their age. */
import type { Range } from '../../verify/ranges.ts'
import { LedgerError } from '../errors.ts'
import { fitsFilter } from '../filter.ts'
import type { EntryNames } from '../filter.ts'
import type { RecordFilter } from '../store.ts'
import { applyChoice } from './apply.ts'
import type { ApplyOptions, Chooser, RetentionApplied } from './apply.ts'
import { Pace } from './context.ts'
import type { RetentionContext } from './context.ts'
import type { Reason } from './files.ts'
import { recordedText } from './policy.ts'
import type { Decision, Tier } from './policy.ts'
import { asChoice } from './restore.ts'
import type { RestoreRequest } from './restore.ts'
import type { KeptRecord } from './scan.ts'

export interface ArchivingOptions extends ApplyOptions {
  /** `cold` unless said: into the archive. `warm`: compressed, in the ledger. */
  readonly tier?: 'warm' | 'cold' | undefined
  /** Why; it goes into the records. */
  readonly reason?: string | undefined
}

const COLDER: Record<Tier, number> = { hot: 0, warm: 1, cold: 2 }

class Chosen implements Chooser {
  readonly why: Reason
  readonly hasCold: boolean
  readonly before
  readonly rotateBefore = Infinity
  readonly #context: RetentionContext
  readonly #tier: 'warm' | 'cold'
  readonly #range: Range
  readonly #filter: RecordFilter

  constructor(context: RetentionContext, request: RestoreRequest, tier: 'warm' | 'cold', reason: string) {
    this.#context = context
    this.#tier = tier
    const { range, filter } = asChoice(request)
    this.#range = range
    this.#filter = filter
    this.why = { reason }
    this.hasCold = tier === 'cold'
    this.before = { warm: tier === 'warm' ? Infinity : -Infinity, cold: tier === 'cold' ? Infinity : -Infinity, erase: -Infinity }
  }

  decide({ header, seq }: Pick<KeptRecord, 'header' | 'seq'>, tier: Tier, names: EntryNames | null): Decision {
    const { first, last } = this.#range
    const isChosen = seq >= first && seq <= last && fitsFilter(this.#filter, header, names?.provider ?? null, names?.model ?? null)
    if (!isChosen || COLDER[this.#tier] <= COLDER[tier]) return { move: null, kept: null }
    const isHeld = this.#context.tiers.catalogue.holdsOver(header, names).length > 0
    return isHeld ? { move: null, kept: 'held' } : { move: this.#tier, kept: null }
  }
}

/** @throws LedgerError `unsupported` where there is no archive, and as applying a policy */
export async function archiveEntries(
  context: RetentionContext,
  request: RestoreRequest,
  { tier = 'cold', reason = 'archived on demand', ...options }: ArchivingOptions,
): Promise<RetentionApplied> {
  if (tier !== 'warm' && tier !== 'cold') throw new RangeError(`tier must be warm or cold, not ${String(tier)}`)
  if (tier === 'cold' && context.tiers.cold === null)
    throw new LedgerError('unsupported', 'there is no archive to move entries to: open the ledger with one (archive, --archive)')
  const chooser = new Chosen(context, request, tier, recordedText('reason', reason))
  return applyChoice(context, chooser, new Pace(options), { join: false, ...options })
}

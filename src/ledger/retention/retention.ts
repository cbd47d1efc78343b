/** How long a ledger's entries stay, and where: what an open ledger can be asked for. One thing at a time. */
import type { AppendCondition } from '../conditions.ts'
import type { Draft, DraftContext } from '../draft.ts'
import type { Keyring } from '../encryption/keyring.ts'
import type { JsonObject } from '../entry.ts'
import { LedgerError } from '../errors.ts'
import type { Receipt } from '../plan.ts'
import { canonicalCriteria } from './holds.ts'
import type { LegalHold } from './holds.ts'
import type { Criteria } from '../query.ts'
import type { RetentionApplied, ApplyOptions } from './apply.ts'
import type { ArchivingOptions } from './archive-some.ts'
import type { CertificateSources, ErasureCertificate } from './certificate.ts'
import { Catalogue } from './catalogue.ts'
import { ownDraft, recordUnlessStale } from './context.ts'
import type { RetentionContext } from './context.ts'
import type { EraseOptions } from './erase.ts'
import type { RetentionPlan } from './plan.ts'
import { asRetentionPolicy, recordedText } from './policy.ts'
import type { RetentionPolicyInput } from './policy.ts'
import type { EntriesRestored, RestoreOptions, RestoreRequest } from './restore.ts'
import { isTiered } from './tiered-store.ts'
import type { Store } from '../store.ts'

export interface RetentionParts {
  readonly store: Store
  readonly drafting: DraftContext
  /** What the ledger was opened with. */
  readonly policy: RetentionPolicyInput | undefined
  readonly submit: (drafts: readonly Draft[], condition?: AppendCondition) => Promise<Receipt[]>
  readonly rotate: () => Promise<unknown>
  readonly forgetWords: () => Promise<void>
  /** Data keys of encrypted entries; null without a master key. */
  readonly keyring: Keyring | null
  readonly certificate: CertificateSources
}

export interface HoldOptions {
  readonly reason: string
  /** The case or matter that it is for. */
  readonly case: string
}

/** Which records, by what their headers say; or all of one subject, by destroying its key. */
export interface EraseCriteria extends Omit<Criteria, 'text'> {
  readonly subject?: string | undefined
}

/** What was erased, and how that is shown to whoever asked for it. */
export interface Erasure {
  /** Records whose entries were erased by this call. */
  readonly records: number
  /** Records that fit and had been erased before. */
  readonly already: number
  readonly certificate: ErasureCertificate
  /** What could not be done yet, and why. */
  readonly left: readonly string[]
}

export class Retention {
  readonly #parts: RetentionParts
  #turn: Promise<unknown> = Promise.resolve()
  readonly #closing = new AbortController()

  constructor(parts: RetentionParts) {
    this.#parts = parts
  }

  /** What `apply` would do now, and why not the rest. Changes nothing. @throws TypeError | RangeError for a policy that is none; LedgerError */
  async plan(policy?: RetentionPolicyInput): Promise<RetentionPlan> {
    const complete = asRetentionPolicy(policy ?? this.#parts.policy)
    const { planPolicy } = await import('./plan.ts')
    return planPolicy(this.#context(), complete)
  }

  /**
   * Does what the policy says: erases what is due, moves what is old, finishes what an earlier run has left. May be cut
   * and run again at any time.
   * @throws TypeError | RangeError; LedgerError `locked` where another process is at it | `disk_full` | `io_error` | `key_error` | `read_only` | `closed`
   */
  async apply(policy?: RetentionPolicyInput, options: ApplyOptions = {}): Promise<RetentionApplied> {
    const complete = asRetentionPolicy(policy ?? this.#parts.policy)
    const { applyPolicy } = await import('./apply.ts')
    return this.#alone(options, (context, own) => applyPolicy(context, complete, own))
  }

  /**
   * Moves chosen entries to the archive (or, `tier: 'warm'`, compresses them in the ledger), whatever their age.
   * @throws as `apply`, and `unsupported` where no archive was named
   */
  async archive(request: RestoreRequest, options: ArchivingOptions = {}): Promise<RetentionApplied> {
    const { archiveEntries } = await import('./archive-some.ts')
    return this.#alone(options, (context, own) => archiveEntries(context, request, own))
  }

  /**
   * Brings archived entries back into the ledger; they count as new for the policy's ages.
   * @throws LedgerError `archived` | `damaged` | `not_found`, and as `apply`
   */
  async restore(request: RestoreRequest, options: RestoreOptions = {}): Promise<EntriesRestored> {
    const { restoreEntries } = await import('./restore.ts')
    return this.#alone(options, (context, own) => restoreEntries(context, request, own))
  }

  /**
   * Erases the entries of all records that fit, or none: the record that says so first, then the store, archive files and
   * what was derived. What could not be done is in `left`, and the next `erase` or `apply` goes on with it.
   * Of a `subject`, the name that its entries are encrypted under: the data key is destroyed as well, so that copies and
   * backups can't be read either.
   * @throws LedgerError `held` | `not_found` | `key_error`, and as `apply`
   */
  async erase(criteria: EraseCriteria, options: EraseOptions): Promise<Erasure> {
    const { subject, ...where } = criteria
    const { eraseEntries } = await import('./erase.ts')
    const { certify } = await import('./certificate.ts')
    const { subjectOf } = await import('./subject.ts')
    return this.#alone(options, async (context, own) => {
      const of = subject === undefined ? null : await subjectOf(subject, this.#parts.keyring)
      const erased = await eraseEntries(context, where, own, of)
      const { records, already, left } = erased
      return { records, already, left, certificate: await certify(this.#parts.certificate, erased) }
    })
  }

  /**
   * Nothing that fits is erased or moved from here on, however that comes. Gives the hold's id.
   * @throws TypeError | RangeError; LedgerError as `record`
   */
  async placeHold(criteria: Criteria, { reason, case: matter }: HoldOptions): Promise<string> {
    const entry: JsonObject = {
      criteria: canonicalCriteria(criteria),
      reason: recordedText('reason', reason),
      case: recordedText('case', matter),
    }
    const [receipt] = await this.#parts.submit([ownDraft(this.#context(), 'LegalHoldPlaced', 'place_hold', entry)])
    return (receipt as Receipt).run_id
  }

  /** @throws LedgerError `not_found` where there is no such hold, or it was released */
  async releaseHold(id: string, { reason, case: matter }: HoldOptions): Promise<Receipt> {
    const entry = { hold: id, reason: recordedText('reason', reason), case: recordedText('case', matter) }
    const context = this.#context()
    const { catalogue } = context.tiers
    for (;;) {
      await catalogue.refresh(context.store)
      const hold = catalogue.holds().find((one) => one.id === id)
      if (hold === undefined || hold.released_at !== null)
        throw new LedgerError('not_found', `no hold ${id} is in place: \`hold list\` shows those that are`, { hold: id })
      const receipts = await recordUnlessStale(context, [ownDraft(context, 'LegalHoldReleased', 'release_hold', entry)])
      if (receipts !== null) return receipts[0] as Receipt
    }
  }

  /** All holds, those that were released among them, oldest first. */
  async holds(): Promise<LegalHold[]> {
    const { store } = this.#parts
    const catalogue = isTiered(store) ? store.tiers.catalogue : new Catalogue()
    await catalogue.refresh(store)
    return catalogue.holds()
  }

  /** Whatever is at work stops after the step that it is at. */
  async close(): Promise<void> {
    this.#closing.abort(new LedgerError('closed', 'the ledger was closed: open it again, and the same call goes on where this one stopped'))
    await this.#turn
  }

  #context(): RetentionContext {
    const { store, drafting, submit, rotate, forgetWords } = this.#parts
    if (!isTiered(store) || store.below.upkeep === undefined)
      throw new LedgerError('unsupported', `the store ${store.kind} at ${store.location} can't move or erase entries`)
    return { store: store.below, upkeep: store.below.upkeep, tiers: store.tiers, drafting, submit, rotate, forgetWords }
  }

  /** One after the other here, and by nobody else meanwhile. */
  #alone<Options extends { readonly signal?: AbortSignal | undefined }, Result>(
    options: Options,
    work: (context: RetentionContext, options: Options) => Promise<Result>,
  ): Promise<Result> {
    const { signal } = this.#closing
    const mine = this.#turn.then(async () => {
      const context = this.#context()
      signal.throwIfAborted()
      const either = options.signal === undefined ? signal : AbortSignal.any([signal, options.signal])
      const release = await context.upkeep.lock?.()
      try {
        return await work(context, { ...options, signal: either })
      } finally {
        await release?.()
      }
    })
    this.#turn = mine.catch(() => {})
    return mine
  }
}

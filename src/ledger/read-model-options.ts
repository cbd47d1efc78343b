/** How a read model is kept up, and what its runner says of itself. */
import type { ModelState } from './read-model-tables.ts'

export interface RunModelOptions {
  /** Tries of an event whose handler fails, before it is parked. 5 unless said. */
  readonly attempts?: number | undefined
  /** Wait before the second try, ms; each further one waits twice as long. 50 unless said. */
  readonly retryMs?: number | undefined
  /** Longest wait between two tries, ms. 5,000 unless said. */
  readonly retryMsMax?: number | undefined
  /**
   * What becomes of an event that failed so often. `park` (unless said): it is put aside and those behind it go on.
   * `stop`: the runner stops there, for models in which what comes later must not count without it.
   */
  readonly onFailure?: 'park' | 'stop' | undefined
  /**
   * `when-caught-up` (unless said): the version is shown to readers as soon as it has reached the end of the ledger, in
   * place of an older one, never of a newer. `manual`: by `ReadModels.swap`.
   */
  readonly swap?: 'when-caught-up' | 'manual' | undefined
  /** How often the ledger is asked for new events when there were none, ms; sooner just after some. 100 unless said. */
  readonly pollMs?: number | undefined
  /** Events of one transaction. 256 unless said. */
  readonly batch?: number | undefined
}

/** How far a runner is. */
export interface ModelProgress {
  readonly state: ModelState
  /** All events up to it are counted, or parked; -1 for none. */
  readonly position: number
  /** The end of the ledger when it was last looked at. */
  readonly head: number
  /** Records between the two, whether they concern the model or not. */
  readonly lag: number
  /** Events that were counted since the runner began. */
  readonly handled: number
  readonly parked: number
  /** Why the runner stands; null while all is well. */
  readonly failing: string | null
}

const ATTEMPTS = 5
const RETRY_MS = 50
const RETRY_MS_MAX = 5000
const POLL_MS = 100
const BATCH = 256

/** With what is meant where nothing was said. */
export type CompleteRunOptions = { readonly [key in keyof RunModelOptions]-?: NonNullable<RunModelOptions[key]> }

function whole(key: string, value: number | undefined, otherwise: number, min = 1): number {
  if (value === undefined) return otherwise
  if (!Number.isSafeInteger(value) || value < min) throw new RangeError(`${key} must be an integer from ${min}, not ${value}`)
  return value
}

/** @throws RangeError */
export function completeOptions(options: RunModelOptions): CompleteRunOptions {
  const { onFailure = 'park', swap = 'when-caught-up' } = options
  if (onFailure !== 'park' && onFailure !== 'stop') throw new RangeError('onFailure must be park or stop')
  if (swap !== 'when-caught-up' && swap !== 'manual') throw new RangeError('swap must be when-caught-up or manual')
  return {
    attempts: whole('attempts', options.attempts, ATTEMPTS),
    retryMs: whole('retryMs', options.retryMs, RETRY_MS, 0),
    retryMsMax: whole('retryMsMax', options.retryMsMax, RETRY_MS_MAX, 0),
    pollMs: whole('pollMs', options.pollMs, POLL_MS),
    batch: whole('batch', options.batch, BATCH),
    onFailure,
    swap,
  }
}

/** How the callers of a batch hear what became of it. */
import type { AppendOutcome } from './plan.ts'
import type { Waiting } from './queue.ts'

/** A batch of so many appends may be answered in two halves. */
const HALVED_APPENDS_MIN = 512
/** What a caller takes to draft its next record, about, ms. */
const DRAFTING_MS = 0.01

export const turnOfTheLoop = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Those from `from` up to and without `to`. */
export function tell(batch: readonly Waiting[], outcomes: readonly AppendOutcome[], from: number, to: number): void {
  for (let i = from; i < to; i++) {
    const outcome = outcomes[i] as AppendOutcome
    if ('error' in outcome) batch[i]?.reject(outcome.error)
    else batch[i]?.resolve(outcome.receipts)
  }
}

/**
 * Tells everybody in the batch. Callers who hear of it all draft their next records at once, on this thread, and the
 * disk has nothing to do meanwhile. So of a large batch one half hears first; their records are on their way to the
 * disk while the other half drafts. Where a write takes longer than drafting, fewer and larger batches are better.
 * Resolves to `half` when it is the writer's turn.
 */
export async function answer(batch: readonly Waiting[], outcomes: readonly AppendOutcome[], written_ms: number): Promise<'all' | 'half'> {
  const isHalved = batch.length >= HALVED_APPENDS_MIN && written_ms < (batch.length / 2) * DRAFTING_MS
  const half = isHalved ? batch.length >> 1 : batch.length
  tell(batch, outcomes, 0, half)
  if (!isHalved) return 'all'
  const turn = turnOfTheLoop()
  setImmediate(() => tell(batch, outcomes, half, batch.length))
  await turn
  return 'half'
}

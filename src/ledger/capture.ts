/** The last resort of capture: an entry that is refused is recorded without the member that it is refused for. */
import { draftCall } from './draft.ts'
import type { Draft, DraftContext, RecordOptions } from './draft.ts'
import type { JsonObject, LedgerEntryInput } from './entry.ts'
import { LedgerError } from './errors.ts'

const ATTEMPTS_MAX = 24

/** The member that is to blame: the first part of the path, or the largest where the whole is too large. */
function memberToDrop(error: LedgerError, entry: { readonly [key: string]: unknown }): string | null {
  if (error.code === 'invalid_entry') {
    const member = /^\/([^/]+)/.exec(error.details.path ?? '')?.[1] ?? null
    return member !== null && member in entry ? member : null
  }
  if (error.code !== 'too_large') return null
  const sizes = Object.entries(entry).map(([key, value]) => [key, JSON.stringify(value)?.length ?? 0] as const)
  return sizes.toSorted((a, b) => b[1] - a[1])[0]?.[0] ?? null
}

/**
 * A draft of a captured call. Where a member can't be recorded, it is left out and `input_metadata.capture_repairs`
 * says so: a call that was made is never lost for what it returned.
 * @throws LedgerError where even its names can't be recorded
 */
export function draftCapture(
  entry: LedgerEntryInput,
  options: RecordOptions,
  context: DraftContext,
  type: 'AgentCallStarted' | 'AgentCallCompleted',
): Draft {
  let fit: { [key: string]: unknown } = { ...entry }
  for (let attempt = 1; ; attempt++) {
    try {
      return draftCall(fit as LedgerEntryInput, options, context, type)
    } catch (error) {
      if (!(error instanceof LedgerError) || attempt === ATTEMPTS_MAX) throw error
      const member = memberToDrop(error, fit)
      if (member === null) throw error
      const metadata = member === 'input_metadata' ? {} : ((fit['input_metadata'] ?? {}) as JsonObject)
      const earlier = Array.isArray(metadata['capture_repairs']) ? metadata['capture_repairs'] : []
      const { [member]: _, ...rest } = fit
      fit = { ...rest, input_metadata: { ...metadata, capture_repairs: [...earlier, `/${member}: left out (${error.code})`] } }
    }
  }
}

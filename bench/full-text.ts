/** Full text came after this bench: where the ledger has it, its rows are there too. */
import { AuditLedger } from '../src/index.ts'
import type { Query } from '../src/index.ts'
import { LEDGER_OPTIONS } from './session.ts'

/** Of the stores and of `AuditLedger.open`: whether prompt, output and what tools said are indexed behind the acknowledgement. */
export const FULL_TEXT_OPTION = 'fullText'

/** A query by words, newest first. */
export function textQuery(words: string, limit: number): Query {
  return Object.assign({ limit, order: 'newest' as const }, { text: words })
}

/** A query by text is misuse where there is none. */
export async function hasFullText(): Promise<boolean> {
  const ledger = await AuditLedger.open('memory:', LEDGER_OPTIONS)
  try {
    await ledger.query(textQuery('anything', 1))
    return true
  } catch (error) {
    return !(error instanceof TypeError)
  } finally {
    await ledger.close()
  }
}

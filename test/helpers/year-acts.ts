/** What is done to a year's entries: the same by the process that is killed, and by the one that comes after it. */
import type { AuditLedger } from '../../src/index.ts'

export const ACTS = ['apply', 'restore', 'erase'] as const

export interface Act {
  readonly act: (typeof ACTS)[number]
  /** Of the entries that are brought back. */
  readonly actor: string
  /** The task that is erased. */
  readonly task: string
}

/** @returns what could not be done */
export async function doAct(ledger: AuditLedger, { act, actor, task }: Act, onProgress?: () => void): Promise<readonly string[]> {
  if (act === 'apply') return (await ledger.retention.apply({}, { onProgress })).left
  if (act === 'restore') return (await ledger.retention.restore({ where: { actor } }, { onProgress })).left
  return (await ledger.retention.erase({ correlation_id: task }, { reason: 'a test', onProgress })).left
}

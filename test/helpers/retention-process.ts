/**
 * A process that moves a ledger's entries to and fro and erases some, until it is killed:
 *
 *     node retention-process.ts '{"ledger":"…","archive":"…","erase":["run-3"]}'
 *
 * It prints `begun`, then `step` for each step, then `done`; or `refused <code>`.
 */
import { AuditLedger, LedgerError } from '../../src/index.ts'

export interface RetentionPlan {
  readonly ledger: string
  readonly archive: string
  /** Runs that are erased. */
  readonly erase: readonly string[]
}

const plan = JSON.parse(process.argv[2]!) as RetentionPlan
const onProgress = (): void => void process.stdout.write('step\n')
try {
  const ledger = await AuditLedger.open(plan.ledger, { signer: null, archive: plan.archive, fullText: 'off', tree: 'on-demand' })
  process.stdout.write('begun\n')
  await ledger.retention.apply({ hotDays: 0, warmDays: null }, { onProgress })
  await ledger.retention.archive({ where: { actor: 'agent-1' } }, { onProgress })
  await ledger.retention.restore({ where: { actor: 'agent-2' } }, { onProgress })
  if (plan.erase.length > 0) await ledger.retention.erase({ run_id: plan.erase }, { reason: 'a test', onProgress })
  await ledger.close()
  process.stdout.write('done\n')
} catch (error) {
  if (!(error instanceof LedgerError)) throw error
  process.stdout.write(`refused ${error.code} ${error.message.replaceAll('\n', ' ')}\n`)
}

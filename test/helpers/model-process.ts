/**
 * A process that keeps the read model of model-sums.ts up with a ledger until it is killed:
 *
 *     node model-process.ts '{"ledger":"…","models":"…","batch":3}'
 *
 * It prints `ready`, then each position that it has come to; or `refused <code>`.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { AuditLedger, LedgerError, openReadModels } from '../../src/index.ts'
import { SUMS } from './model-sums.ts'

export interface ModelPlan {
  readonly ledger: string
  readonly models: string
  readonly batch: number
}

const plan = JSON.parse(process.argv[2]!) as ModelPlan
try {
  const ledger = await AuditLedger.open(plan.ledger, { readOnly: true })
  const models = await openReadModels(plan.models)
  const runner = await models.run(ledger, SUMS, { pollMs: 5, batch: plan.batch })
  process.stdout.write('ready\n')
  for (let told = -1; ;) {
    const { position } = runner.progress()
    if (position !== told) process.stdout.write(`at ${(told = position)}\n`)
    await sleep(1)
  }
} catch (error) {
  if (!(error instanceof LedgerError)) throw error
  process.stdout.write(`refused ${error.code} ${error.message.replaceAll('\n', ' ')}\n`)
}

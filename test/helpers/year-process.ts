/**
 * A process that does one thing to the entries of a ledger, until it is killed:
 *
 *     node year-process.ts '{"location":"…","archive":"…","stateFolder":"…","now":"2024-…","act":"erase","task":"…"}'
 *
 * It prints `begun`, then `step` for each step, then `done`; or `refused <code>`.
 */
import { AuditLedger, LedgerError } from '../../src/index.ts'
import { fixedClock } from '../../src/testing/fixed-clock.ts'
import { doAct } from './year-acts.ts'
import type { Act } from './year-acts.ts'

export interface YearPlan extends Act {
  readonly location: string
  readonly archive: string
  readonly stateFolder: string
  readonly now: number
}

const { location, archive, stateFolder, now, ...act } = JSON.parse(process.argv[2]!) as YearPlan
const clock = fixedClock(now)
try {
  const ledger = await AuditLedger.open(location, { signer: null, clock, archive, stateFolder, checkpoints: false, fullText: 'off' })
  process.stdout.write('begun\n')
  await doAct(ledger, act, () => void process.stdout.write('step\n'))
  await ledger.close()
  process.stdout.write('done\n')
} catch (error) {
  if (!(error instanceof LedgerError)) throw error
  process.stdout.write(`refused ${error.code} ${error.message.replaceAll('\n', ' ')}\n`)
}

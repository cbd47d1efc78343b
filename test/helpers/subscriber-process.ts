/**
 * A process that follows a ledger and prints `<position> <hash>` of each record, until it is killed, its stdin ends, or
 * `until` was seen:
 *
 *     node subscriber-process.ts '{"location":"…","after":-1}'
 */
import { AuditLedger, type SubscribeOptions } from '../../src/index.ts'

export interface SubscriberPlan {
  readonly location: string
  readonly after: NonNullable<SubscribeOptions['after']>
  readonly filter?: SubscribeOptions['filter']
  /** Ends behind the first record of this type. */
  readonly untilType?: string
}

const plan = JSON.parse(process.argv[2]!) as SubscriberPlan
const ledger = await AuditLedger.open(plan.location, { readOnly: true })
for await (const { seq, hash, header } of ledger.subscribe({ after: plan.after, filter: plan.filter })) {
  process.stdout.write(`${seq} ${hash}\n`)
  if (header.type === plan.untilType) break
}
await ledger.close()
process.stdout.write('done\n')

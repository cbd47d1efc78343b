/**
 * A process that records without waiting, and ends:
 *
 *     node exiting-process.ts '{"location":"…","what":"record","end":"exit","count":50}'
 */
import { AuditLedger } from '../../src/index.ts'

export interface ExitPlan {
  readonly location: string
  /** `conditional`: records, and as many appends with a condition. */
  readonly what: 'record' | 'call' | 'append' | 'conditional'
  /** `natural`: nothing more to do; `exit`: process.exit() in the same turn (calls: when they have passed on their results); `later`: while a batch is being written; `throw`: an error that nobody catches; `told`: what is recorded and the exit come when a line is on stdin. */
  readonly end: 'natural' | 'exit' | 'later' | 'throw' | 'told'
  readonly count: number
}

const { location, what, end, count } = JSON.parse(process.argv[2]!) as ExitPlan
const ledger = await AuditLedger.open(location, { signer: null, origin: 'example.com/exit', actor: 'tester' })

if (end === 'told') {
  process.stdout.write('given\n')
  await new Promise((resolve) => process.stdin.once('data', resolve))
}
const calls: Promise<unknown>[] = []
for (let i = 0; i < count; i++) {
  const names = { agent_name: 'a', method_name: 'm', run_id: `r${i}` }
  if (what === 'record') void ledger.record(names)
  else if (what === 'conditional') {
    void ledger.record(names)
    void ledger.append('c', { type: 'StepTaken', data: {} }, { failIfEventsMatch: { types: 'Never' } })
  } else if (what === 'append')
    void ledger.append('s', [
      { type: 'StepTaken', data: {}, run_id: `r${i}` },
      { type: 'StepTaken', data: {} },
    ])
  else calls.push(ledger.call(names, () => 'done'))
}
if (end === 'told') process.exit(0)
process.stdout.write('given\n')
if (end === 'exit') {
  // A call that has passed on its result has given its record to the ledger, durable or not.
  await Promise.all(calls)
  process.exit(0)
}
if (end === 'later') for (let turns = 0; turns < 4; turns++) await new Promise((resolve) => setImmediate(resolve))
if (end === 'later') process.exit(0)
if (end === 'throw') {
  setImmediate(() => {
    throw new Error('nobody catches this')
  })
}

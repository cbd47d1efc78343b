/**
 * A process that records under load until it is killed or told to stop, and prints each receipt when it has it:
 *
 *     node writer-process.ts '{"location":"…","name":"life-1","callers":16}'
 *
 * It prints `ready` when the ledger is open, then `ack <run_id> <seq> <hash>` for each record, at last `done`; or
 * `refused <code> <message>` where the ledger could not be opened. Captures, which give no receipts, are printed as
 * `kept <run_id>` when all that was given so far is flushed. Records of one append have the ids
 * `<name>/<append>/<n>/<count>`, so that a whole append can be told from half of one.
 */
import { createInterface } from 'node:readline'
import { AuditLedger, LedgerError, type OpenOptions, type Receipt } from '../../src/index.ts'
import { seededRandom } from '../../src/testing/index.ts'

export interface WriterPlan {
  readonly location: string
  /** Unique among all processes that write this ledger. */
  readonly name: string
  readonly callers: number
  readonly seed: number
  /** Appends of each caller; without end if absent. */
  readonly appends?: number
  /** One more caller, of agent calls that are written behind. */
  readonly captures?: boolean
  /** Characters of the largest entry. */
  readonly textMax?: number
  readonly open?: OpenOptions
  /** Open only when a line comes on stdin. */
  readonly waitForStart?: boolean
  /** Hold the ledger until stdin ends, and write nothing. */
  readonly onlyHold?: boolean
}

const plan = JSON.parse(process.argv[2]!) as WriterPlan
const random = seededRandom(plan.seed)
const stdin = createInterface({ input: process.stdin })[Symbol.asyncIterator]()

function acknowledge(receipts: readonly Receipt[]): void {
  process.stdout.write(receipts.map(({ run_id, seq, hash }) => `ack ${run_id} ${seq} ${hash}\n`).join(''))
}

async function caller(ledger: AuditLedger, number: number): Promise<void> {
  for (let i = 0; i < (plan.appends ?? Infinity); i++) {
    const append = `${plan.name}/${number}.${i}`
    const text = 'é'.repeat(random.below(random.chance(0.05) ? (plan.textMax ?? 100_000) : 400))
    if (random.chance(0.6)) {
      const entry = {
        run_id: `${append}/0/1`,
        agent_name: `agent-${number}`,
        method_name: 'work',
        correlation_id: `task-${i % 10}`,
        raw_output: text,
      }
      acknowledge([await ledger.record(entry, { tags: [`t${i % 3}`] })])
      continue
    }
    const count = 2 + random.below(6)
    const events = Array.from({ length: count }, (_, n) => ({
      type: 'StepTaken',
      data: { text, n },
      run_id: `${append}/${n}/${count}`,
      actor: `agent-${number}`,
    }))
    acknowledge(await ledger.append(`stream-${number}`, events))
  }
}

async function capture(ledger: AuditLedger): Promise<void> {
  for (let i = 0; i < (plan.appends ?? Infinity); i += 5) {
    const ids = Array.from({ length: 5 }, (_, n) => `${plan.name}/c.${i + n}/0/1`)
    await Promise.all(ids.map((run_id) => ledger.call({ run_id, agent_name: 'a', method_name: 'captured' }, () => 'done')))
    await ledger.flush()
    process.stdout.write(ids.map((run_id) => `kept ${run_id}\n`).join(''))
  }
}

if (plan.waitForStart === true) {
  process.stdout.write('waiting\n')
  await stdin.next()
}
try {
  const ledger = await AuditLedger.open(plan.location, { signer: null, origin: 'example.com/crash', ...plan.open })
  process.stdout.write('ready\n')
  if (plan.onlyHold === true) await stdin.next()
  else {
    const callers = Array.from({ length: plan.callers }, (_, number) => caller(ledger, number))
    await Promise.all(plan.captures === true ? [...callers, capture(ledger)] : callers)
  }
  await ledger.close()
  process.stdout.write('done\n')
} catch (error) {
  if (!(error instanceof LedgerError)) throw error
  process.stdout.write(`refused ${error.code} ${error.message.replaceAll('\n', ' ')}\n`)
}
// What waits for a pipe that nobody reads from just now would be cut off.
process.stdout.write('', () => process.exit())

/** A small honest ledger to be tampered with: calls and events of every kind, repeatable to the byte. */
import { AuditLedger, type OpenOptions } from '../../src/index.ts'
import { fixedClock, seededRandom } from '../../src/testing/index.ts'
import { OUTCOMES } from '../../src/verify/header.ts'

export const HONEST_ORIGIN = 'example.com/honest'

/** Makes a ledger of `size` records at `location`. @param seed another one gives other salts, ids and hashes */
export async function makeHonestLedger(location: string, size: number, seed = 1, options: OpenOptions = {}): Promise<void> {
  const clock = fixedClock()
  const open = { origin: HONEST_ORIGIN, signer: null, actor: 'tester', clock, random: seededRandom(seed), ...options }
  const ledger = await AuditLedger.open(location, open)
  for (let n = 1; n < size;) {
    clock.advance(1_234_567)
    if (n % 7 === 3 && size - n >= 2) {
      await ledger.append(`stream-${n % 3}`, [
        { type: 'StepTaken', data: { n, text: 'é🦊' }, tags: ['a', 'b'] },
        { type: 'StepTaken', data: {} },
      ])
      n += 2
      continue
    }
    await ledger.record(
      {
        agent_name: `agent-${n % 3}`,
        method_name: 'work',
        raw_output: `answer ${n}\n"quoted" \\ \u2028`,
        provider_name: 'p',
        model_name: `m${n % 2}`,
        ...(n % 2 === 0 ? { correlation_id: `task-${n % 4}` } : {}),
      },
      { outcome: OUTCOMES[n % 6]!, tags: n % 3 === 0 ? ['x', 'y'] : [], ...(n % 5 === 0 ? { causation_id: 'cause' } : {}) },
    )
    n++
  }
  await ledger.close()
}

/** Go's own code for notes reads what our witness cosigned. */
import { expect, test } from 'vitest'
import { nodeHashing } from '../../src/ledger/hashing.ts'
import { Witnesses } from '../../src/ledger/witnesses.ts'
import { formatVerifierKey } from '../../src/verify/note.ts'
import { parsePolicy } from '../../src/verify/policy.ts'
import type { Policy } from '../../src/verify/policy.ts'
import { gotlog } from '../helpers/gotlog.ts'
import { scale } from '../helpers/scale.ts'
import { TestLog } from '../helpers/test-log.ts'
import { serving } from './serving.ts'

test.skipIf(gotlog === null)('a checkpoint with two cosignatures verifies, and not after any byte of it was changed', async () => {
  const log = new TestLog().grow(70)
  const two = await Promise.all([serving([log], { name: 'witness.example/w1' }), serving([log], { name: 'witness.example/w2' })])
  const keys = two.map(({ witness }) => formatVerifierKey(witness.key))
  const lines = two.map(({ url }, i) => `witness w${i} ${keys[i]} ${url}\n`).join('')
  const policy = parsePolicy(
    nodeHashing.sha256,
    Buffer.from(`log ${log.signer.verifierKey}\n${lines}group g all w0 w1\nquorum g\n`),
  ) as Policy
  const witnesses = new Witnesses({ policy, onConflict: () => {} })
  await witnesses.cosign(await log.note(5n), log.prove)
  const { note, quorum } = await witnesses.cosign(await log.note(), log.prove)
  expect(quorum).toBe(true)

  const all = [log.signer.verifierKey, ...keys]
  const { ok, said } = await gotlog!(['note', ...all], note)
  expect([ok, said]).toEqual([true, 'OK note: 3 verified, 0 unknown signatures\n'])
  for (const key of all) expect((await gotlog!(['note', key], note)).said, key).toContain('1 verified')
  expect((await gotlog!(['note', new TestLog(log.origin, 9).signer.verifierKey], note)).ok).toBe(false)
  // What a witness shows is the same, for those who ask it.
  const shown = await (await fetch(`${two[0].url}/${nodeHashing.sha256(Buffer.from(log.origin))}/checkpoint`)).text()
  expect((await gotlog!(['note', log.signer.verifierKey, keys[0]!], shown)).said).toContain('2 verified')

  const bytes = Buffer.from(note)
  for (let at = 0; at < bytes.length; at += scale(17, 1)) {
    const harmed = Buffer.from(bytes)
    harmed[at]! ^= 1
    // A line of a signature may become one by somebody unknown; then it no longer counts, and the others do.
    expect((await gotlog!(['note', ...all], harmed)).said, `byte ${at}`).not.toContain('3 verified')
  }
})

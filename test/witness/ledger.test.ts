/** A real ledger's checkpoints, cosigned by a real witness. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { AuditLedger, Witnesses } from '../../src/index.ts'
import type { CosignResult, WitnessConflict } from '../../src/index.ts'
import { ed25519Check } from '../../src/ledger/ed25519.ts'
import { nodeHashing } from '../../src/ledger/hashing.ts'
import { formatVerifierKey, openNote, parseNote } from '../../src/verify/note.ts'
import type { SignedNote } from '../../src/verify/note.ts'
import { parsePolicy } from '../../src/verify/policy.ts'
import type { Policy } from '../../src/verify/policy.ts'
import { tempDir } from '../helpers/temp.ts'
import { keyOf } from '../helpers/test-log.ts'
import { serving } from './serving.ts'

test.each(['audit', 'audit.db'])('%s: each checkpoint continues the one before, in this process and the next', async (name) => {
  const path = join(tempDir(), name)
  const key = join(tempDir(), 'k.key')
  const open = (): Promise<AuditLedger> => AuditLedger.open(path, { origin: 'example.com/witnessed', key })
  const conflicts: WitnessConflict[] = []
  const ledger = await open()
  const log = keyOf(ledger.verifierKey!)
  const { url, witness } = await serving([{ key: log }])
  const text = `log ${formatVerifierKey(log)}\nwitness w ${formatVerifierKey(witness.key)} ${url}\nquorum w\n`
  const policy = parsePolicy(nodeHashing.sha256, Buffer.from(text)) as Policy

  async function cosigned(one: AuditLedger, witnesses: Witnesses): Promise<CosignResult> {
    const { note } = await one.checkpoint()
    const result = await witnesses.cosign(
      note,
      (oldSize, size) => one.tree.consistency(Number(oldSize), Number(size)),
      (size) => one.tree.root(Number(size)),
    )
    expect(await openNote(parseNote(Buffer.from(result.note)) as SignedNote, [log, witness.key], ed25519Check)).toMatchObject({
      verified: [{ key: log }, { key: witness.key }],
    })
    return result
  }

  const make = (): Witnesses => new Witnesses({ policy, onConflict: (conflict) => void conflicts.push(conflict) })
  const witnesses = make()
  for (const count of [0, 1, 300, 0]) {
    for (let i = 0; i < count; i++) void ledger.record({ agent_name: 'a', method_name: 'm' })
    await ledger.flush()
    expect(await cosigned(ledger, witnesses)).toMatchObject({ quorum: true, failures: [] })
  }
  await ledger.close()
  const again = await open()
  await again.record({ agent_name: 'a', method_name: 'm' })
  expect(await cosigned(again, make())).toMatchObject({ quorum: true, failures: [] })
  await again.close()
  expect(conflicts).toEqual([])
})

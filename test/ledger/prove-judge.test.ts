/** A judge that is not ours accepts what `prove` makes, and refuses each after one byte was changed. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { AuditLedger } from '../../src/index.ts'
import { ed25519Check } from '../../src/ledger/ed25519.ts'
import { nodeHashing } from '../../src/ledger/hashing.ts'
import { signerFromSeed } from '../../src/ledger/keys.ts'
import { checkBundle } from '../../src/verify/bundle-check.ts'
import type { BundleReport } from '../../src/verify/bundle-report.ts'
import { parseNote, parseVerifierKey } from '../../src/verify/note.ts'
import type { SignedNote, VerifierKey } from '../../src/verify/note.ts'
import { fixedClock } from '../../src/testing/index.ts'
import { signedNote, witnessSigner } from '../helpers/bundle-maker.ts'
import { gotlog } from '../helpers/gotlog.ts'
import { tempDir } from '../helpers/temp.ts'

const ORIGIN = 'example.com/judged'
const SIGNER = signerFromSeed(ORIGIN, Buffer.alloc(32, 5))
const WITNESS = witnessSigner('witness.example', 6, 1_767_226_000n)
const KEYS = [SIGNER.verifierKey, WITNESS.verifierKey]

async function cosigned(note: string): Promise<string> {
  const { text } = parseNote(Buffer.from(note)) as SignedNote
  return note + (await signedNote(text, [WITNESS])).split('\n').at(-2)! + '\n'
}

/** The header's bytes, found as plainly as docs/format.md says it: what a stranger hashes. */
function headerOf(proof: string): string {
  const line = Buffer.from(/^extra (.*)$/m.exec(proof)?.[1] ?? '', 'base64').toString()
  return line.slice(84, line.search(/\},"[se]/) + 1)
}

const keys = KEYS.map((key) => parseVerifierKey(nodeHashing.sha256, key) as VerifierKey)

function checked(bytes: Uint8Array): Promise<BundleReport> {
  return checkBundle(bytes, { ...nodeHashing, ed25519: ed25519Check, keys })
}

/** The lines with their base64 read as leniently as can be. */
function meaning(bytes: Uint8Array): string {
  const lines = Buffer.from(bytes).toString().split('\n')
  return lines.map((line) => line.replace(/[A-Za-z0-9+/]{43,}=*$/, (base64) => Buffer.from(base64, 'base64').toString('hex'))).join('\n')
}

test.skipIf(gotlog === null)('proofs of ledgers of many sizes; each after one byte was changed', async () => {
  const file = join(tempDir(), 'entry')
  const judged = async (proof: string | Uint8Array, header: string | Uint8Array): Promise<string> => {
    writeFileSync(file, header)
    return (await gotlog!(['proof', file, ...KEYS], proof)).said
  }
  await using ledger = await AuditLedger.open('memory:', { clock: fixedClock(), origin: ORIGIN, signer: SIGNER, checkpoints: false })
  let last = ''
  for (const size of [1, 2, 3, 7, 8, 9, 64, 65, 300]) {
    for (let n = (await ledger.head()).size; n < size; n++) await ledger.record({ agent_name: 'a', method_name: 'm', prompt: 'secret' })
    const checkpoint = await ledger.checkpoint()
    const note = await cosigned(checkpoint.note)
    for (const seq of new Set([0, Math.floor(size / 2), size - 1])) {
      last = Buffer.from(await ledger.prove({ seq }, { checkpoint: { ...checkpoint, note } })).toString()
      expect(await judged(last, headerOf(last))).toBe(`OK proof: origin=${ORIGIN} index=${seq} size=${size} sigs=2\n`)
    }
  }
  // The line is in `extra`, of which the judge takes the header: what is behind it is for our own check.
  const bytes = Buffer.from(last)
  const header = headerOf(last)
  const parts = [last.indexOf('\nindex ') + 1, last.length] as const
  const step = process.env['SOAK'] === '1' ? 1 : 23
  let refused = 0
  for (let at: number = parts[0]; at < parts[1]; at += step) {
    const harmed = Buffer.from(bytes)
    harmed[at]! ^= 1 << (at % 8)
    const said = await judged(harmed, header)
    // Another spelling of the same base64 is none to the judge's reader of it; ours has one spelling only.
    if (meaning(harmed) === meaning(bytes)) expect((await checked(harmed)).ok, `byte ${at}`).toBe(false)
    // A signature whose name or id was changed is nobody's, and is not counted any more.
    else expect(said, `byte ${at}`).not.toMatch(/^OK.* sigs=2$/m)
    refused++
  }
  for (let at = 0; at < header.length; at += step) {
    const harmed = Buffer.from(header)
    harmed[at]! ^= 1 << (at % 8)
    expect(await judged(last, harmed), `byte ${at} of the header`).toMatch(/^FAIL/)
    refused++
  }
  expect(refused).toBeGreaterThan(40)
  expect(await checked(bytes)).toMatchObject({ ok: true })
})

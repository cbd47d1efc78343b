/** What records alone can't show, as the demonstration shows it: a tail that was cut, and one record proven to an outsider. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { checkProof } from '../ledger/check.ts'
import { AuditLedger } from '../open.ts'
import { verifyLedger } from '../open-verify.ts'
import type { VerificationReport } from '../index.ts'
import { tamperWithCopy } from './demo-tampering.ts'

/** So many records are cut off. */
export const CUT_RECORDS = 3

/** A copy without its last records, and what is found where the machine remembers the ledger. */
export async function cutTail(ledger: string, copy: string, stateFolder: string): Promise<VerificationReport> {
  await tamperWithCopy(ledger, copy, {
    name: '4-the-tail-cut-off',
    what: '',
    why: '',
    apply: (lines) => ({ lines: lines.slice(0, -CUT_RECORDS), problem_seq: lines.length - CUT_RECORDS }),
  })
  return verifyLedger(copy, { stateFolder })
}

export interface Proven {
  readonly file: string
  readonly bytes: number
  /** The position that was proven, and the size of the checkpoint. */
  readonly seq: number
  readonly size: number
  /** The file is right, by the key alone. */
  readonly isRight: boolean
  /** What is found where one letter of the disclosed entry is another. */
  readonly problem: string | null
}

/** Proves the first denial of a case, with its entry, and has it checked by the key alone; then once more with a letter changed. */
export async function proveDenial(path: string, folder: string, key: string): Promise<Proven> {
  const ledger = await AuditLedger.open(path, { readOnly: true })
  try {
    const { records } = await ledger.query({ outcome: 'denied', limit: 1 })
    const denied = records[0]
    if (denied === undefined) throw new Error('the demonstration recorded no denial')
    const bundle = await ledger.prove({ seq: denied.seq }, { disclose: true })
    const file = join(folder, 'denial.tlog-proof')
    await writeFile(file, bundle)
    const report = await checkProof(bundle, { keys: [key] })
    const forged = await checkProof(forge(bundle), { keys: [key] })
    return {
      file,
      bytes: bundle.length,
      seq: denied.seq,
      size: report.checkpoint?.size ?? 0,
      isRight: report.ok && report.verdicts.authenticity === 'pass',
      problem: forged.problems[0]?.code ?? null,
    }
  } finally {
    await ledger.close()
  }
}

/** One letter of the entry, which is the last thing in the line, becomes another. */
function forge(bundle: Uint8Array): Uint8Array {
  const text = Buffer.from(bundle).toString()
  return Buffer.from(
    text.replace(/^extra (.*)$/m, (_, base64: string) => {
      const line = Buffer.from(base64, 'base64')
      const at = line.lastIndexOf('a')
      line[at] = 'e'.charCodeAt(0)
      return `extra ${line.toString('base64')}`
    }),
  )
}

/** Verifying, against the two SHA-256 calls for each record that no verifier can do without. */
import { hash } from 'node:crypto'
import { verifyLedger } from '../src/index.ts'
import { nodeHashing } from '../src/ledger/hashing.ts'
import { LedgerVerifier } from '../src/verify/chain.ts'
import { splitLine } from '../src/verify/record.ts'

function* lineEnds(bytes: Buffer): Generator<[start: number, end: number]> {
  for (let start = 0, end = bytes.indexOf(0x0a); end !== -1; start = end + 1, end = bytes.indexOf(0x0a, start)) yield [start, end]
}

/** Seconds of hashing alone: where the slices lie is found beforehand. */
export function floorVerify(bytes: Buffer): number {
  const slices: Buffer[] = []
  for (const [start, end] of lineEnds(bytes)) {
    const at = splitLine(bytes, start, end)
    if (at === null) throw new Error('the bench made a line that is none')
    slices.push(
      Buffer.concat([Buffer.of(0), bytes.subarray(at.header_start, at.header_end)]),
      bytes.subarray(at.commitment_start, at.entry_end),
    )
  }
  const begin = performance.now()
  for (const slice of slices) hash('sha256', slice, 'hex')
  return (performance.now() - begin) / 1000
}

/** Seconds of verifying the lines in memory, every check that is on by default. */
export function verifyBytes(bytes: Buffer, canonicalEntries: boolean): number {
  const begin = performance.now()
  const verifier = new LedgerVerifier({ ...nodeHashing, canonical_entries: canonicalEntries })
  verifier.file('bench.jsonl', null)
  for (const [start, end] of lineEnds(bytes)) verifier.line(bytes, start, end, start)
  const report = verifier.finish()
  if (!report.ok) throw new Error(`the bench made a ledger that does not verify: ${JSON.stringify(report.problems[0])}`)
  return (performance.now() - begin) / 1000
}

/** Seconds of all of it: finding, reading and verifying a file of lines. */
export async function verifyFile(path: string): Promise<number> {
  const begin = performance.now()
  const { ok } = await verifyLedger(path)
  if (!ok) throw new Error('the bench made a ledger that does not verify')
  return (performance.now() - begin) / 1000
}

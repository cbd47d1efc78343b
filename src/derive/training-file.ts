/** The examples as a file, and its manifest: which records each line was made of, under which root. */
import { createHash } from 'node:crypto'
import type { TrainingExample, TrainingSet } from './training.ts'

export const TRAINING_MANIFEST_FORMAT = 'cortex-ledger/training-manifest/v1'

export interface WrittenFile {
  readonly examples: number
  readonly bytes: number
  /** SHA-256 of the file, 64 hex. */
  readonly sha256: string
}

/** Puts text where it is to go; its end is waited for. */
export type WriteText = (text: string) => Promise<unknown>

/**
 * Writes the file and the manifest at once, in bounded memory. The manifest is one JSON object: `ledger` (origin, size,
 * head, root, last checkpoint), `criteria`, `corrected`; then `sources`, for each line of the file the positions, hashes
 * and ids of its records; then `left_out` and, of the file, `examples`, `bytes` and `sha256`.
 * @throws LedgerError as reading, and what the functions throw
 */
export async function trainingFile(set: TrainingSet, writeExamples: WriteText, writeManifest: WriteText): Promise<WrittenFile> {
  const { ledger, criteria, corrected, leftOut } = set
  const hash = createHash('sha256')
  let examples = 0
  let bytes = 0
  const about = JSON.stringify({ format: TRAINING_MANIFEST_FORMAT, ledger, criteria, corrected })
  await writeManifest(`${about.slice(0, -1)},"sources":[`)
  const write = async ({ example, sources }: TrainingExample): Promise<void> => {
    const line = Buffer.from(`${JSON.stringify(example)}\n`)
    hash.update(line)
    bytes += line.length
    await writeExamples(line.toString())
    await writeManifest(`${examples === 0 ? '' : ','}\n${JSON.stringify({ line: ++examples, records: sources })}`)
  }
  for await (const example of set.examples()) await write(example)
  const written = { examples, bytes, sha256: hash.digest('hex') }
  await writeManifest(`\n],"left_out":${JSON.stringify(leftOut)},"file":${JSON.stringify(written)}}\n`)
  return written
}

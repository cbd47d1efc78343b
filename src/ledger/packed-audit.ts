/** Verifies a compressed file of lines as it is: a whole ledger, or an archive file that has some of a ledger's records. */
import { ExcerptVerifier } from '../verify/excerpt.ts'
import { LineSplitter } from '../verify/lines.ts'
import type { VerificationReport } from '../verify/report.ts'
import { judged, openVerification, settled } from './audit.ts'
import type { AuditOptions } from './audit.ts'
import { LedgerError } from './errors.ts'
import { gatherEvidence, readEvidence } from './evidence.ts'
import { nodeHashing } from './hashing.ts'
import { seqOfLine } from './line-seq.ts'
import { hasSeekTable, linesOf, readFrame, readTable } from './packed-reading.ts'
import type { ByteSource } from './packed-reading.ts'
import type { PackedTable } from './packed-lines.ts'
import { codecOf, decompressed } from './packed-source.ts'
import type { AuditSink } from './store.ts'

/** Lines between two calls of `onProgress`. */
const PROGRESS_EVERY = 1000

interface PackedFile {
  readonly source: ByteSource
  /** Without folders, for the report. */
  readonly name: string
  readonly codec: 'zstd' | 'gzip'
  /** Null where there is none: any program may have compressed the file. */
  readonly table: PackedTable | null
  /** Why there is none where there should be one. */
  readonly broken: string | null
}

const reasonOf = (error: unknown): string => {
  if (error instanceof LedgerError && error.code === 'damaged') return error.message
  throw error
}

const seqOf = (line: Uint8Array): number => seqOfLine(Buffer.from(line.buffer, line.byteOffset, line.byteLength), 0, line.length)

async function lookAt(source: ByteSource, name: string, codec: 'zstd' | 'gzip'): Promise<PackedFile> {
  if (codec === 'gzip' || !(await hasSeekTable(source))) return { source, name, codec, table: null, broken: null }
  try {
    return { source, name, codec, table: await readTable(source), broken: null }
  } catch (error) {
    return { source, name, codec, table: null, broken: reasonOf(error) }
  }
}

async function firstLine({ source, codec, table }: PackedFile): Promise<Uint8Array | null> {
  try {
    const frame = table?.frames[0]
    if (table !== null) return frame === undefined ? null : (linesOf(await readFrame(source, frame)).next().value ?? null)
    const splitter = new LineSplitter()
    let first: Uint8Array | null = null
    for await (const chunk of decompressed(source, codec)) {
      splitter.push(chunk, (bytes, start, end) => (first ??= bytes.slice(start, end)))
      if (first !== null) break
    }
    return first
  } catch (error) {
    reasonOf(error)
    return null
  }
}

/** True where the file says that it has each record from the first one on. */
function isWhole({ table }: PackedFile, first: Uint8Array | null): boolean {
  if (table !== null) return table.lines === table.last_seq + 1
  return first === null || seqOf(first) === 0
}

/** Frame by frame: where one can't be read, the next one can. */
async function feedFrames({ source, name }: PackedFile, table: PackedTable, sink: AuditSink, step: () => void): Promise<void> {
  let [count, seq] = [0, -1]
  const mismatch = (column: string, at: number | null, expected: number, found: number, byte: number): void =>
    sink.problem({
      code: 'column_mismatch',
      seq: at,
      expected: `${column}=${expected}`,
      found: `${column}=${found}`,
      where: { file: name, byte },
    })
  for (const [i, frame] of table.frames.entries()) {
    let bytes: Uint8Array
    try {
      bytes = await readFrame(source, frame)
    } catch (error) {
      sink.problem({
        code: 'unreadable',
        seq: frame.first_seq,
        expected: null,
        found: reasonOf(error),
        where: { file: name, byte: frame.position },
      })
      const next = table.frames[i + 1]?.first_seq ?? table.last_seq + 1
      seq = next - 1
      count = Number.NaN
      continue
    }
    let isFirst = true
    for (const line of linesOf(bytes)) {
      const start = line.byteOffset - bytes.byteOffset
      seq = seqOf(line)
      if (isFirst && seq !== frame.first_seq) mismatch('first_seq', seq === -1 ? null : seq, seq, frame.first_seq, frame.position)
      isFirst = false
      count++
      sink.line(bytes, start, start + line.length, frame.position + start)
      step()
    }
  }
  if (!Number.isNaN(count) && count !== table.lines) mismatch('lines', null, count, table.lines, table.bytes)
  if (seq !== table.last_seq) mismatch('last_seq', null, seq, table.last_seq, table.bytes)
  sink.columnsChecked()
}

/** From its start on, as far as it can be decompressed. */
async function feedStream({ source, name, codec, broken }: PackedFile, sink: AuditSink, step: () => void): Promise<void> {
  if (broken !== null)
    sink.problem({
      code: 'column_mismatch',
      seq: null,
      expected: 'table=of the lines',
      found: `table=${broken}`,
      where: { file: name, byte: 0 },
    })
  const splitter = new LineSplitter()
  try {
    for await (const chunk of decompressed(source, codec)) {
      splitter.push(chunk, (bytes, start, end, position) => {
        sink.line(bytes, start, end, position)
        step()
      })
    }
    if (splitter.unended > 0) sink.unended(splitter.position, splitter.unended, 'sealed')
  } catch (error) {
    sink.problem({ code: 'unreadable', seq: null, expected: null, found: reasonOf(error), where: { file: name, byte: splitter.position } })
  }
  sink.columnsChecked('a table of positions, which a file has that was packed here')
}

async function feed(file: PackedFile, sink: AuditSink, { signal, onProgress }: AuditOptions): Promise<void> {
  let lines = 0
  const step = (): void => {
    if (++lines % PROGRESS_EVERY !== 0) return
    signal?.throwIfAborted()
    onProgress?.(lines)
  }
  signal?.throwIfAborted()
  sink.file(file.name, null)
  if (file.table === null) await feedStream(file, sink, step)
  else await feedFrames(file, file.table, sink, step)
}

/**
 * Verifies a compressed file of lines. A whole ledger is verified as one; of some of its records each by itself, and where
 * neighbours are there, that one follows the other: the report says so (`excerpt`).
 * @param name its last part says how it is compressed, and is what problems name
 * @throws LedgerError of the source; `unsupported` for another name
 * @throws RangeError for a key or a checkpoint that is none
 */
export async function auditPacked(source: ByteSource, name: string, options: AuditOptions): Promise<VerificationReport> {
  const asked = readEvidence(options)
  const codec = codecOf(name)
  if (codec === null)
    throw new LedgerError('unsupported', `${name} is no compressed file of lines: its name must end in .jsonl.zst or .jsonl.gz`)
  const file = await lookAt(source, name.slice(name.lastIndexOf('/') + 1), codec)
  const first = await firstLine(file)
  const { origin, canonicalEntries = false } = options
  if (!isWhole(file, first)) {
    const verifier = new ExcerptVerifier({
      ...nodeHashing,
      canonical_entries: canonicalEntries,
      ...(origin === undefined ? {} : { origin }),
    })
    await feed(file, verifier, options)
    return verifier.finish()
  }
  const read = async function* (): AsyncGenerator<readonly Uint8Array[]> {
    if (first !== null) yield [first]
  }
  const evidence = await gatherEvidence({ kind: 'file', read, tree: { readText: async () => null } }, asked, origin)
  return judged(evidence, async (sizes) => {
    const { verifier, close } = openVerification(options, sizes)
    try {
      await feed(file, verifier, options)
      return { report: await settled(verifier, options.signal), facts: verifier.facts() }
    } finally {
      close()
    }
  })
}

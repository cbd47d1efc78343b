/** Where compressed lines are read from, and all lines of one file, by whatever program it was compressed. */
import { open } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { constants, createGunzip, createZstdDecompress } from 'node:zlib'
import { LineSplitter } from '../verify/lines.ts'
import { readArchived } from './archive.ts'
import type { ArchiveStore } from './archive.ts'
import { asStorageError, isMissing, LedgerError } from './errors.ts'
import { hasSeekTable, linesOf, readFrame, readTable } from './packed-reading.ts'
import type { ByteSource } from './packed-reading.ts'
import { seqOfLine } from './line-seq.ts'
import { ZstdFrames } from './zstd-frames.ts'

/** How a file is compressed, by its name: `.jsonl.zst` and `.jsonl.gz`; null for another name. */
export function codecOf(name: string): 'zstd' | 'gzip' | null {
  const suffix = /\.(?:jsonl|ndjson)\.(zst|gz)$/i.exec(name)?.[1]?.toLowerCase()
  return suffix === undefined ? null : suffix === 'zst' ? 'zstd' : 'gzip'
}

const shortened = (source: string, start: number, end: number): LedgerError =>
  new LedgerError('damaged', `${source} ends before byte ${end}, from ${start} on: it was cut while it was read`, { file: source })

/** A file on disk, as a source of bytes. Close it. @throws LedgerError `not_found` | `io_error` */
export async function openBytes(path: string): Promise<ByteSource & { close(): Promise<void> }> {
  try {
    const file = await open(path, 'r')
    const { size } = await file.stat().catch(async (error: unknown) => {
      await file.close()
      throw error
    })
    const read = async (start: number, end: number): Promise<Uint8Array> => {
      const bytes = new Uint8Array(end - start)
      for (let length = 0; length < bytes.length;) {
        const { bytesRead } = await file.read(bytes, length, bytes.length - length, start + length).catch((error: unknown) => {
          throw asStorageError(error, `reading ${path}`)
        })
        if (bytesRead === 0) throw shortened(path, start, end)
        length += bytesRead
      }
      return bytes
    }
    return { name: path, bytes: size, read, close: () => file.close() }
  } catch (error) {
    if (isMissing(error)) throw new LedgerError('not_found', `there is no file ${path}: check the path`, { file: path, cause: error })
    throw asStorageError(error, `opening ${path}`)
  }
}

/** A file of an archive, as a source of bytes. @throws LedgerError `not_found`, and those of the archive */
export async function archivedBytes(archive: ArchiveStore, name: string): Promise<ByteSource> {
  const facts = await archive.stat(name)
  if (facts === null)
    throw new LedgerError('not_found', `${archive.location} has no file ${name}`, { archive: archive.location, file: name })
  return { name: `${name} in ${archive.location}`, bytes: facts.bytes, read: (start, end) => readArchived(archive, name, { start, end }) }
}

/** One read of a file that is gone through from the start. */
const READ_BYTES = 256 * 1024

async function* bytesOf(source: ByteSource): AsyncGenerator<Uint8Array, void, undefined> {
  for (let at = 0; at < source.bytes; at += READ_BYTES) yield await source.read(at, Math.min(at + READ_BYTES, source.bytes))
}

const undecompressed = (source: ByteSource, cause: unknown): LedgerError => {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new LedgerError('damaged', `${source.name} can't be decompressed: ${why}. Take another copy of it`, { file: source.name, cause })
}

/** The same bytes, in pieces that end where frames end, which must be where the source ends. */
async function* byFrames(source: ByteSource): AsyncGenerator<Uint8Array, void, undefined> {
  const frames = new ZstdFrames()
  for await (const chunk of bytesOf(source)) {
    try {
      yield* frames.pieces(chunk)
    } catch (error) {
      throw undecompressed(source, error)
    }
  }
  if (!frames.isBetween) throw undecompressed(source, new Error('it ends in the middle of a frame'))
}

/** What comes out of a decompressor, in pieces that it bounds itself; memory is bounded whatever goes in. */
export async function* decompressed(source: ByteSource, codec: 'zstd' | 'gzip'): AsyncGenerator<Uint8Array, void, undefined> {
  // A window of 128 MiB is what `zstd --long` makes, and the most that zstd reads without being told to.
  const through = codec === 'gzip' ? createGunzip() : createZstdDecompress({ params: { [constants.ZSTD_d_windowLogMax]: 27 } })
  const from = Readable.from(codec === 'gzip' ? bytesOf(source) : byFrames(source))
  let failure: unknown = null
  from.on('error', (error) => {
    failure = error
    through.destroy(error)
  })
  try {
    for await (const chunk of from.pipe(through)) yield chunk as Uint8Array
  } catch (error) {
    if (failure !== null) throw failure
    throw undecompressed(source, error)
  } finally {
    from.destroy()
    through.destroy()
  }
}

/** Lines of a file that is read from its start to its end. */
async function* streamedLines(source: ByteSource, codec: 'zstd' | 'gzip'): AsyncGenerator<readonly Uint8Array[], void, undefined> {
  const splitter = new LineSplitter()
  for await (const chunk of decompressed(source, codec)) {
    const lines: Uint8Array[] = []
    splitter.push(chunk, (bytes, start, end) => lines.push(bytes.slice(start, end)))
    if (lines.length > 0) yield lines
  }
  if (splitter.unended > 0)
    throw new LedgerError('damaged', `${source.name} ends in the middle of a line: it was cut. Take another copy of it`, {
      file: source.name,
    })
}

const disagrees = (source: ByteSource, what: string): LedgerError =>
  new LedgerError('damaged', `${source.name} is damaged: its table says something else than its lines do, of ${what}`, {
    file: source.name,
  })

/** Lines of a file with a table, which must agree with them. */
async function* seekableLines(source: ByteSource): AsyncGenerator<readonly Uint8Array[], void, undefined> {
  const table = await readTable(source)
  let [count, seq] = [0, -1]
  for (const frame of table.frames) {
    const bytes = await readFrame(source, frame)
    const lines = [...linesOf(bytes)]
    for (const [i, line] of lines.entries()) {
      const found = seqOfLine(Buffer.from(line.buffer, line.byteOffset, line.byteLength), 0, line.length)
      if (i === 0 ? found !== frame.first_seq : found <= seq) throw disagrees(source, `position ${i === 0 ? frame.first_seq : found}`)
      seq = found
    }
    count += lines.length
    yield lines
  }
  if (seq !== table.last_seq || count !== table.lines) throw disagrees(source, 'how many there are')
}

export interface ReadLinesOptions {
  /** Instead of the source's own name: it says how the file is compressed. */
  readonly name?: string | undefined
  /**
   * Also take a `.jsonl.zst` of another program, which has no table at its end. False unless said: a file of ours that was
   * cut between two frames would look like one, and records would be missing without a word.
   */
  readonly foreign?: boolean | undefined
}

/**
 * All lines of a compressed file, without their line feeds, in chunks of bounded size. What they say is for others to
 * check.
 * @throws LedgerError `damaged`; `unsupported` where the name does not say how it is compressed; those of the source
 */
export async function* readLines(
  source: ByteSource,
  options: ReadLinesOptions = {},
): AsyncGenerator<readonly Uint8Array[], void, undefined> {
  const { name = source.name, foreign = false } = options
  const codec = codecOf(name)
  if (codec === null)
    throw new LedgerError('unsupported', `${name} is no compressed file of lines: its name must end in .jsonl.zst or .jsonl.gz`)
  if (codec === 'zstd' && (!foreign || (await hasSeekTable(source)))) yield* seekableLines(source)
  else yield* streamedLines(source, codec)
}

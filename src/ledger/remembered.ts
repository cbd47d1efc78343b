/**
 * What this machine remembers of ledgers, apart from them: for each origin the last statement (size and root) that was
 * signed here, so that a ledger which was cut, put back to an older state or replaced is told from the one it was.
 *
 *     ${XDG_STATE_HOME:-~/.local/state}/cortex-ledger/<origin>-<8 hex>/<20-digit size>.tlog-proof
 *
 * The file is a C2SP tlog-proof of the last record's header, so the header's hash stands in it, and `verify --since`
 * and others' tools read it. Before anything is signed there is a file `<size>.<random>.reserved` of the same content, and
 * then everybody's are looked at: of two processes that contradict each other at least one sees the other, and signs nothing.
 */
import { randomBytes } from 'node:crypto'
import { readdir, readFile, unlink } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { parseCheckpoint } from '../verify/checkpoint.ts'
import { headerHash } from '../verify/hash.ts'
import { checkInclusion } from '../verify/proof.ts'
import { formatTlogProof, parseTlogProof } from '../verify/tlog-proof.ts'
import { hashBytes } from '../verify/tree.ts'
import { makeFolder, replaceText } from './durable-file.ts'
import { LedgerError } from './errors.ts'
import { nodeHashing } from './hashing.ts'
import { nodeParent } from './tree.ts'

/** The statement that a ledger had so many records, under this root. */
export interface Remembered {
  readonly size: number
  readonly root: Uint8Array
  /** The bytes of the last record's header, proven to be under the root. */
  readonly header: Uint8Array
  /** Hash of the last record. */
  readonly hash: string
  /** The checkpoint; signed, unless the process ended between reserving and signing. */
  readonly note: string
  readonly path: string
}

/** A statement about to be made. */
export interface Statement {
  readonly size: number
  /** The unsigned text of the checkpoint. */
  readonly text: string
  readonly header: Uint8Array
  readonly path: readonly Uint8Array[]
}

/** A statement that is about to be signed. */
export interface Reservation {
  /** It is not signed, and nobody need know. */
  withdraw(): Promise<void>
  /** It is: remembered from now on, in place of smaller ones. Again with more signatures, as they come. */
  signed(note: string): Promise<void>
}

const FILE_NAME = /^([0-9]{20})(?:\.tlog-proof|\.[0-9a-f]+\.reserved)$/

/** Where the memory of all ledgers is. Read anew each time: whoever changes the environment means what follows. */
export function defaultStateFolder(): string {
  return join(process.env['XDG_STATE_HOME'] || join(homedir(), '.local', 'state'), 'cortex-ledger')
}

export function folderOfOrigin(stateFolder: string, origin: string): string {
  const digest = nodeHashing.sha256(Buffer.from(origin)).slice(0, 8)
  return join(stateFolder, `${origin.replace(/[^A-Za-z0-9.-]/g, '_').slice(0, 120)}-${digest}`)
}

function padded(size: number): string {
  return String(size).padStart(20, '0')
}

function unreadable(path: string, why: string): LedgerError {
  return new LedgerError(
    'damaged',
    `${path}, the memory of a ledger's last checkpoint, can't be read (${why}): restore it, or remove it if you know that the ledger is whole`,
    { file: path },
  )
}

function parseRemembered(bytes: Uint8Array, path: string, origin: string): Remembered {
  const proof = parseTlogProof(bytes)
  if (typeof proof === 'string') throw unreadable(path, proof)
  // What is reserved and not signed has no signature lines behind the text.
  const text = proof.note.includes('\n\n') ? proof.note.slice(0, proof.note.lastIndexOf('\n\n') + 1) : proof.note
  const checkpoint = parseCheckpoint(text)
  if (typeof checkpoint === 'string') throw unreadable(path, checkpoint)
  if (checkpoint.origin !== origin) throw unreadable(path, `it is of ${checkpoint.origin}`)
  if (proof.extra === null || proof.index !== checkpoint.size - 1n) throw unreadable(path, 'it does not show the last record')
  const hash = headerHash(nodeHashing.sha256, proof.extra)
  const fault = checkInclusion(nodeParent, proof.index, checkpoint.size, hashBytes(hash), checkpoint.root, proof.path)
  if (fault !== null) throw unreadable(path, fault)
  return { size: Number(checkpoint.size), root: checkpoint.root, header: proof.extra, hash, note: proof.note, path }
}

/** Statements about one origin. */
export class OriginMemory {
  readonly #origin: string
  readonly folder: string

  constructor(origin: string, stateFolder: string = defaultStateFolder()) {
    this.#origin = origin
    this.folder = folderOfOrigin(stateFolder, origin)
  }

  /** Names of files by the size that they are of, smallest first. */
  async #names(): Promise<string[]> {
    try {
      return (await readdir(this.folder)).filter((name) => FILE_NAME.test(name)).sort()
    } catch (error) {
      if ((error as { code?: unknown }).code === 'ENOENT') return []
      throw new LedgerError('io_error', `the memory of ${this.#origin} in ${this.folder} can't be read: check its mode`, { cause: error })
    }
  }

  async #read(name: string): Promise<Remembered | null> {
    const path = join(this.folder, name)
    try {
      return parseRemembered(await readFile(path), path, this.#origin)
    } catch (error) {
      if ((error as { code?: unknown }).code === 'ENOENT') return null
      throw error
    }
  }

  /** All statements that are there, of the fewest records first. @throws LedgerError `damaged` | `io_error` */
  async all(): Promise<Remembered[]> {
    const statements = await Promise.all((await this.#names()).map((name) => this.#read(name)))
    return statements.filter((statement) => statement !== null)
  }

  /** The statement with the most records; null where there is none. @throws LedgerError `damaged` | `io_error` */
  async last(): Promise<Remembered | null> {
    for (;;) {
      const name = (await this.#names()).at(-1)
      if (name === undefined) return null
      // Where it is gone meanwhile there is a later one.
      const remembered = await this.#read(name)
      if (remembered !== null) return remembered
    }
  }

  /**
   * Makes the statement known before it is signed; durable when it resolves. Whoever calls this compares `all` with the
   * ledger afterwards, and withdraws the own statement where one contradicts it.
   */
  async reserve(statement: Statement): Promise<Reservation> {
    const { folder } = this
    const path = join(folder, `${padded(statement.size)}.${randomBytes(8).toString('hex')}.reserved`)
    try {
      await makeFolder(folder)
      await replaceText(path, textOf(statement, statement.text))
    } catch (error) {
      throw this.#cannotWrite(error)
    }
    return {
      withdraw: () => removed(path),
      signed: async (note) => {
        try {
          // Crash point: whole and durable under its name before anything else goes. A file that a lost power left empty
          // would keep the ledger from being opened.
          await replaceText(join(folder, `${padded(statement.size)}.tlog-proof`), textOf(statement, note), `${path}.next`)
        } catch (error) {
          throw this.#cannotWrite(error)
        }
        await removed(path)
        // What is smaller is implied.
        for (const name of await this.#names()) if (name < padded(statement.size)) await removed(join(folder, name))
      },
    }
  }

  #cannotWrite(cause: unknown): LedgerError {
    const text = cause instanceof Error ? cause.message : String(cause)
    return new LedgerError(
      'io_error',
      `what was signed can't be remembered in ${this.folder}, so nothing is signed: give another folder by XDG_STATE_HOME (${text})`,
      { folder: this.folder, cause },
    )
  }
}

function textOf({ size, header, path }: Statement, note: string): string {
  return formatTlogProof({ extra: header, index: BigInt(size - 1), path, note })
}

async function removed(path: string): Promise<void> {
  await unlink(path).catch(() => {})
}

/** The last statement about an origin that this machine remembers. */
export function readRemembered(origin: string, stateFolder?: string): Promise<Remembered | null> {
  return new OriginMemory(origin, stateFolder).last()
}

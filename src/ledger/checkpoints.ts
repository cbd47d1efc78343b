/**
 * Signed checkpoints: made by number of records, by time, at closing and on demand, never while somebody waits for a
 * receipt. What is about to be signed is compared first with everything that this machine remembers to have signed, so
 * that two contradicting statements are never both signed. Source: C2SP tlog-checkpoint; docs/decisions/0011.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { formatCheckpoint, parseCheckpoint } from '../verify/checkpoint.ts'
import { formatNote, openNote, parseNote, parseVerifierKey } from '../verify/note.ts'
import type { NoteSignature } from '../verify/note.ts'
import { splitLine } from '../verify/record.ts'
import { hashBytes, hashHex } from '../verify/tree.ts'
import { ed25519Check } from './ed25519.ts'
import { asToldError, LedgerError } from './errors.ts'
import { nodeHashing } from './hashing.ts'
import type { LedgerWarning } from './warning.ts'
import type { Witnesses } from './witnesses.ts'
import type { OriginMemory, Remembered, Reservation, Statement } from './remembered.ts'
import { ed25519VerifierKey, signChecked } from './signer.ts'
import type { Signer } from './signer.ts'
import type { Store } from './store.ts'
import type { LedgerTree } from './tree.ts'

/** What a ledger said of itself: so many records, under this root. */
export interface SignedCheckpoint {
  /** Number of records. */
  readonly size: number
  /** Root of the tree over them, 64 hex. */
  readonly root: string
  /** The signed note, with witnesses' cosignatures as far as there are any. */
  readonly note: string
}

/** When one is signed by itself. */
export interface CheckpointOptions {
  /** After so many records. 50,000 unless said. */
  readonly everyRecords?: number | undefined
  /** So long after the first record that none covers, in ms. 60,000 unless said. */
  readonly everyMs?: number | undefined
  /** When the ledger is closed. True unless said. */
  readonly atClose?: boolean | undefined
}

export interface CheckpointsParts {
  readonly origin: string
  readonly store: Store
  readonly tree: LedgerTree
  /** Those that sign now; an error where they can't be had. Asked before each checkpoint. */
  readonly signers: () => Promise<readonly Signer[]>
  /** False where nobody is to sign: then nothing is tried by itself. */
  readonly canSign: boolean
  /** Null for a ledger that is gone with its process. */
  readonly memory: OriginMemory | null
  readonly witnesses: Witnesses | null
  /** False: only on demand. */
  readonly options: CheckpointOptions | false
  readonly warn: (warning: LedgerWarning) => void
}

const EVERY_RECORDS = 50_000
const EVERY_MS = 60_000
/** How long closing waits for witnesses. */
const CLOSE_MS = 5000

export class Checkpoints {
  readonly #parts: CheckpointsParts
  #signing: Promise<SignedCheckpoint> | null = null
  #cosigning: Promise<void> = Promise.resolve()
  /** Of the last checkpoint, where this process signed it. */
  #reservation: Reservation | null = null
  /** Whether the last checkpoint has the policy's quorum; null while nobody knows. */
  #hasQuorum: boolean | null = null
  #hadQuorum = true
  #timer: NodeJS.Timeout | null = null
  /** Of the last one; null while nobody has looked. */
  #latest: SignedCheckpoint | null = null
  #covered = 0
  /** The size at which the number of records asked for one last. */
  #tried = 0
  /** Records of this process that no checkpoint covers. */
  #isBehind = false

  constructor(parts: CheckpointsParts) {
    this.#parts = parts
  }

  /** The ledger has so many records now. */
  follow(size: number): void {
    const { options, canSign } = this.#parts
    if (options === false || !canSign || size <= this.#covered) return
    this.#isBehind = true
    // One that failed is tried again when so many more are there, or the time has come: not with every record.
    if (size - Math.max(this.#covered, this.#tried) >= (options.everyRecords ?? EVERY_RECORDS) && this.#signing === null) {
      this.#tried = size
      this.#signBehind()
    }
    this.#timer ??= setTimeout(() => {
      this.#timer = null
      this.#signBehind()
    }, options.everyMs ?? EVERY_MS).unref()
  }

  #signBehind(): void {
    this.sign().catch((error: unknown) => {
      const told = asToldError(error)
      this.#parts.warn({ code: 'checkpoint_failed', message: `no checkpoint was signed: ${told.message}`, error: told })
    })
  }

  /** The last one that is kept with the ledger; null where there is none. */
  async latest(): Promise<SignedCheckpoint | null> {
    await this.#signing?.catch(() => {})
    const note = await this.#parts.store.tree.readText('checkpoint')
    const read = note === null ? null : readSigned(note)
    // What this process has signed counts where another hand put something else there, or the disk took nothing.
    if (this.#latest !== null && (read === null || read.size < this.#latest.size)) return this.#latest
    return read
  }

  /**
   * Signs the ledger as it is now. Where nothing was recorded since the last time, that one is given again, and its
   * witnesses are asked again for what is missing.
   * @throws LedgerError `key_error` | `behind_checkpoint` | `forked` | `damaged` | `io_error`
   */
  async sign(): Promise<SignedCheckpoint> {
    while (this.#signing !== null) await this.#signing.catch(() => {})
    this.#signing = this.#sign().finally(() => (this.#signing = null))
    return this.#signing
  }

  async #sign(): Promise<SignedCheckpoint> {
    const { tree, origin, memory, store } = this.#parts
    await tree.catchUp()
    const { size } = tree
    if (this.#latest?.size === size) return this.#askWitnesses(this.#latest)
    const signers = await this.#parts.signers()
    const root = await tree.root(size)
    const own = await this.#ownBefore(signers)
    const text = formatCheckpoint({ origin, size: BigInt(size), root, extensions: [] })
    const statement: Statement = { size, text, header: await lastHeader(store, size), path: await tree.inclusion(size - 1, size) }
    const reservation = (await memory?.reserve(statement)) ?? null
    let note: string
    try {
      for (const other of (await memory?.all()) ?? []) await this.#refuseContradiction(other)
      if (own !== null)
        await this.#refuseContradiction({ size: own.size, root: hashBytes(own.root), path: 'the checkpoint beside the ledger' })
      // One that is there already has its witnesses' cosignatures, too.
      const isThere = own?.size === size && own.root === hashHex(root)
      note = isThere ? own.note : formatNote({ text, signatures: await Promise.all(signers.map((signer) => signatureOf(signer, text))) })
    } catch (error) {
      // Crash point: a reservation that is left behind is a statement like any other, and true of this ledger.
      await reservation?.withdraw()
      throw error
    }
    await reservation?.signed(note)
    const signed = this.#covers({ size, root: hashHex(root), note }, reservation)
    await this.#keep(signed)
    return this.#askWitnesses(signed)
  }

  #covers(signed: SignedCheckpoint, reservation: Reservation | null): SignedCheckpoint {
    this.#reservation = reservation
    this.#hasQuorum = null
    this.#latest = signed
    this.#covered = signed.size
    this.#isBehind = false
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    return signed
  }

  /** It is kept with the ledger for readers' convenience: that it can't be is no reason not to have signed. */
  async #keep({ note }: SignedCheckpoint): Promise<void> {
    try {
      await this.#parts.store.tree.writeText('checkpoint', note)
    } catch (error) {
      if (!(error instanceof LedgerError)) throw error
      this.#parts.warn({ code: 'checkpoint_failed', message: `the checkpoint is not beside the ledger: ${error.message}`, error })
    }
  }

  /** Behind whoever wants the checkpoint: `cosigned` waits for it. */
  #askWitnesses(signed: SignedCheckpoint): SignedCheckpoint {
    if (this.#parts.witnesses !== null && this.#hasQuorum !== true) {
      this.#cosigning = this.#cosigning.then(() => this.#cosign(signed))
    }
    return signed
  }

  async #cosign({ size }: SignedCheckpoint): Promise<void> {
    const { witnesses, tree, warn } = this.#parts
    const signed = this.#latest
    // A newer one is on its way: witnesses would refuse the older.
    if (witnesses === null || signed?.size !== size) return
    try {
      const { note, quorum, failures } = await witnesses.cosign(
        signed.note,
        (from, to) => tree.consistency(Number(from), Number(to)),
        (at) => tree.root(Number(at)),
      )
      if (note !== signed.note && this.#latest?.size === size) {
        this.#latest = { ...signed, note }
        await this.#keep(this.#latest)
        await this.#reservation?.signed(note)
      }
      // Told when it begins, not with every checkpoint.
      if (!quorum && this.#hadQuorum) {
        const whys = failures.map(({ witness, why }) => `${witness}: ${why}`).join('; ')
        warn({
          code: 'quorum_missing',
          message: `the checkpoint of ${size} records has not the cosignatures that the policy asks for (${whys})`,
        })
      }
      this.#hasQuorum = this.#hadQuorum = quorum
    } catch (error) {
      const told = asToldError(error)
      warn({ code: 'checkpoint_failed', message: `witnesses were not asked: ${told.message}`, error: told })
    }
  }

  /** The last checkpoint, when the witnesses have answered, or have not for too long. */
  async cosigned(): Promise<SignedCheckpoint | null> {
    await this.#cosigning
    return this.#latest
  }

  /** The note of a checkpoint with a signature by this key: a new one where it can sign, else the last one. */
  async lastSignedBy(keyId: string): Promise<string | undefined> {
    const isByKey = ({ verifierKey }: Signer): boolean => verifierKey.split('+')[1] === keyId
    const signers = await this.#parts.signers().catch(() => [])
    const signed = signers.some(isByKey) ? await this.sign() : await this.latest()
    const note = signed === null ? null : parseNote(Buffer.from(signed.note))
    if (note === null || typeof note === 'string') return undefined
    return note.signatures.some(({ name, id }) => name === this.#parts.origin && id === keyId) ? signed?.note : undefined
  }

  async #refuseContradiction(other: Pick<Remembered, 'size' | 'root'> & { readonly path: string }): Promise<void> {
    const { tree, origin, store } = this.#parts
    if (other.size > tree.size) await tree.catchUp()
    if (other.size > tree.size) throw behindError(origin, store.location, tree.size, other)
    const root = await tree.root(other.size)
    if (hashHex(root) !== hashHex(other.root)) throw forkedError(origin, store.location, other)
  }

  /**
   * What lies beside the ledger from before this process, where the signature is ours: a ledger that came from another
   * machine brings its last statement along.
   */
  async #ownBefore(signers: readonly Signer[]): Promise<SignedCheckpoint | null> {
    const text = this.#latest === null ? await this.#parts.store.tree.readText('checkpoint') : null
    const note = text === null ? null : parseNote(Buffer.from(text))
    if (text === null || note === null || typeof note === 'string') return null
    const keys = signers.map(({ verifierKey }) => parseVerifierKey(nodeHashing.sha256, verifierKey))
    const opened = await openNote(
      note,
      keys.filter((key) => typeof key !== 'string'),
      ed25519Check,
    )
    const checkpoint = parseCheckpoint(note.text)
    if (typeof opened === 'string' || opened.verified.length === 0 || typeof checkpoint === 'string') return null
    return checkpoint.origin === this.#parts.origin ? readSigned(text) : null
  }

  /** Signs what is not covered, and gives witnesses a moment. */
  async close(): Promise<void> {
    const { options } = this.#parts
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    await this.#signing?.catch(() => {})
    if (options !== false && options.atClose !== false && this.#isBehind) {
      await this.sign().catch((error: unknown) => {
        const told = asToldError(error)
        this.#parts.warn({ code: 'checkpoint_failed', message: `no checkpoint was signed at closing: ${told.message}`, error: told })
      })
    }
    await Promise.race([this.#cosigning, pause(CLOSE_MS, undefined, { ref: false })])
  }
}

function readSigned(text: string): SignedCheckpoint | null {
  const note = parseNote(Buffer.from(text))
  const checkpoint = typeof note === 'string' ? note : parseCheckpoint(note.text)
  if (typeof checkpoint === 'string') return null
  return { size: Number(checkpoint.size), root: hashHex(checkpoint.root), note: text }
}

/** @throws LedgerError `key_error` */
async function signatureOf(signer: Signer, text: string): Promise<NoteSignature> {
  const { name, id } = ed25519VerifierKey(signer.verifierKey)
  return { name, id, bytes: await signChecked(signer, Buffer.from(text)) }
}

async function lastHeader(store: Store, size: number): Promise<Uint8Array> {
  for await (const [line] of store.read({ filter: {}, from: size - 1, before: size, reverse: false, limit: 1 })) {
    const slices = line === undefined ? null : splitLine(line)
    if (line !== undefined && slices !== null) return line.slice(slices.header_start, slices.header_end)
  }
  throw new LedgerError('damaged', `the record at position ${size - 1} can't be read: run verify`, { seq: size - 1 })
}

function behindError(origin: string, location: string, size: number, other: { readonly size: number; readonly path: string }): LedgerError {
  return new LedgerError(
    'behind_checkpoint',
    `the ledger at ${location} has ${size} records, and a checkpoint of ${origin} with ${other.size} was signed on this machine: records are missing at its end, or it is an older copy. Restore the newer one; nothing was written`,
    { size, remembered_size: other.size, file: other.path },
  )
}

function forkedError(origin: string, location: string, other: { readonly size: number; readonly path: string }): LedgerError {
  return new LedgerError(
    'forked',
    `the ledger at ${location} is not the one of which this machine signed a checkpoint of ${origin} with ${other.size} records: it was written anew, or is another copy that went its own way. Run verify, and go on with the true one; nothing was written`,
    { remembered_size: other.size, file: other.path },
  )
}

/**
 * Before anything is written: is the ledger the one that this machine remembers? One record is read, at any size.
 * @throws LedgerError `behind_checkpoint` | `forked` | `damaged`
 */
export async function refuseOtherThanRemembered(store: Store, origin: string, memory: OriginMemory): Promise<void> {
  const last = await memory.last()
  if (last === null) return
  const { head } = await store.state({ streams: [], run_ids: [] })
  if (head.size < last.size) throw behindError(origin, store.location, head.size, last)
  // The header holds the hash before it, and so on: equal here, all before it is what it was, or `verify` finds it.
  if (!Buffer.from(await lastHeader(store, last.size)).equals(last.header)) throw forkedError(origin, store.location, last)
}

/** A new ledger of an origin that this machine remembers would contradict it with its first checkpoint. @throws LedgerError `forked` */
export async function refuseFoundingAnew(location: string, origin: string, memory: OriginMemory): Promise<void> {
  const last = await memory.last()
  if (last === null) return
  throw new LedgerError(
    'forked',
    `this machine remembers a ledger ${origin} with ${last.size} records, and there is none at ${location}: restore it, choose another origin, or remove ${memory.folder} if that ledger is given up for good`,
    { remembered_size: last.size, file: last.path },
  )
}

/**
 * What a witness does, apart from HTTP: it cosigns a checkpoint only after a proof that the log has grown from the last
 * one that it cosigned, and it remembers the new one before anybody hears of it. Source: C2SP tlog-witness v1.0.0.
 */
import { parseAddCheckpoint, SIZE_TYPE } from '../ledger/add-checkpoint.ts'
import type { AddCheckpointRequest } from '../ledger/add-checkpoint.ts'
import type { Clock } from '../ledger/clock.ts'
import { LedgerError } from '../ledger/errors.ts'
import type { Signer } from '../ledger/keys.ts'
import { parseCheckpoint } from '../verify/checkpoint.ts'
import type { Sha256 } from '../verify/hash.ts'
import {
  cosignedMessage,
  formatCosignature,
  formatNote,
  formatSignatureLine,
  openNote,
  parseNote,
  parseVerifierKey,
} from '../verify/note.ts'
import type { Ed25519Check, NoteSignature, VerifierKey } from '../verify/note.ts'
import { checkConsistency } from '../verify/proof.ts'
import { encodeText } from '../verify/text.ts'
import { emptyRoot, hashHex, parentHashing } from '../verify/tree.ts'

const ORIGIN_HASH = /^[0-9a-f]{64}$/

/** Where a witness remembers, by the hex of SHA-256(origin), the signed note that it cosigned last. */
export interface CheckpointStore {
  read(originHash: string): Promise<string | null>
  /** Resolves when it is safe from power cuts. Where it rejects, what is there is the old one or the new one. */
  write(originHash: string, note: string): Promise<void>
}

export interface Answer {
  readonly status: number
  readonly contentType: string
  readonly body: string
}

const TEXT = 'text/plain; charset=utf-8'

function refused(status: number, why: string): Answer {
  return { status, contentType: TEXT, body: `${why}\n` }
}

export interface WitnessOptions {
  /** With a key of kind 0x04. */
  readonly signer: Signer
  /** Of the logs that it knows; each key counts for the origin that it is named for. A log may have several. */
  readonly logs: readonly VerifierKey[]
  readonly store: CheckpointStore
  readonly clock: Clock
  readonly sha256: Sha256
  readonly check: Ed25519Check
}

interface Remembered {
  readonly size: bigint
  readonly root: Uint8Array
}

export class Witness {
  readonly key: VerifierKey
  readonly #options: WitnessOptions
  readonly #logs = new Map<string, VerifierKey[]>()
  /** The last request of each origin that is being decided: the next one waits for it. */
  readonly #turns = new Map<string, Promise<void>>()
  readonly #emptyRoot: Uint8Array

  /** @throws RangeError for a signer whose key is no key */
  constructor(options: WitnessOptions) {
    const key = parseVerifierKey(options.sha256, options.signer.verifierKey)
    if (typeof key === 'string') throw new RangeError(`the witness' key: ${key}`)
    this.key = key
    this.#options = options
    this.#emptyRoot = emptyRoot(options.sha256)
    for (const log of options.logs) {
      const known = this.#logs.get(log.name) ?? []
      if (!known.some(({ id }) => id === log.id)) this.#logs.set(log.name, [...known, log])
    }
  }

  /** Origins of the logs that it knows. */
  get origins(): string[] {
    return [...this.#logs.keys()]
  }

  originHash(origin: string): string {
    return this.#options.sha256(encodeText(origin))
  }

  /** POST add-checkpoint. @throws LedgerError where the memory can't be read or written: then nothing was cosigned */
  async addCheckpoint(body: Uint8Array): Promise<Answer> {
    const request = parseAddCheckpoint(body)
    if (typeof request === 'string') return refused(400, request)
    const { note, checkpoint, oldSize } = request
    const keys = this.#logs.get(checkpoint.origin)
    if (keys === undefined) return refused(404, 'this log is not known here')
    const opened = await openNote(note, keys, this.#options.check)
    if (typeof opened === 'string') return refused(403, opened)
    if (opened.verified.length === 0) return refused(403, 'no key that is trusted for this log signed the checkpoint')
    if (oldSize > checkpoint.size) return refused(400, 'the old size is beyond that of the checkpoint')
    const signatures = opened.verified.map(({ signature }) => signature)
    return this.#inTurn(checkpoint.origin, () => this.#decide(request, signatures))
  }

  /** GET <hex sha256(origin)>/checkpoint: the checkpoint that was cosigned last. @throws LedgerError */
  async latestCheckpoint(originHash: string): Promise<Answer> {
    const note = ORIGIN_HASH.test(originHash) ? await this.#options.store.read(originHash) : null
    return note === null ? refused(404, 'no checkpoint of such a log was cosigned here') : { status: 200, contentType: TEXT, body: note }
  }

  /** What is remembered of each of these is what this key cosigned, whole. @throws LedgerError `damaged` */
  async checkMemory(originHashes: readonly string[]): Promise<void> {
    for (const originHash of originHashes) await this.#remembered(originHash)
  }

  /** Looking and remembering is one step: else an older checkpoint could be put in the place of a newer one. */
  #inTurn<T>(origin: string, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(origin) ?? Promise.resolve()
    const turn = before.then(work)
    // The next one comes whatever became of this one.
    const over = turn.then(
      () => {},
      () => {},
    )
    this.#turns.set(origin, over)
    return turn
  }

  async #decide({ oldSize, proof, note, checkpoint }: AddCheckpointRequest, signatures: readonly NoteSignature[]): Promise<Answer> {
    const { store, sha256, clock } = this.#options
    const originHash = this.originHash(checkpoint.origin)
    // Read anew each time: after a write that failed nobody knows which of the two is there.
    const latest = (await this.#remembered(originHash)) ?? { size: 0n, root: this.#emptyRoot }
    if (oldSize !== latest.size) return { status: 409, contentType: SIZE_TYPE, body: `${latest.size}\n` }
    const { size, root } = checkpoint
    if (size === 0n && hashHex(root) !== hashHex(this.#emptyRoot)) return refused(422, 'a tree without leaves has another root')
    const fault = checkConsistency(parentHashing(sha256), oldSize, size, latest.root, root, proof)
    if (fault !== null) return refused(422, fault)
    const cosignature = await this.#cosign(note.text, BigInt(Math.floor(clock.now() / 1_000_000)))
    // What others signed is not served: nobody looked at it.
    await store.write(originHash, formatNote({ text: note.text, signatures: [...signatures, cosignature] }))
    return { status: 200, contentType: TEXT, body: formatSignatureLine(cosignature) }
  }

  async #cosign(text: string, time: bigint): Promise<NoteSignature> {
    // 0 would mean that the witness says nothing about the time.
    if (time <= 0n) throw new LedgerError('io_error', 'the clock of this machine is before 1970: set it, a cosignature says when')
    const signature = await this.#options.signer.sign(cosignedMessage(text, time))
    return { name: this.key.name, id: this.key.id, bytes: formatCosignature(time, signature) }
  }

  /** @throws LedgerError `damaged`: to begin anew from nothing could be to cosign a second history */
  async #remembered(originHash: string): Promise<Remembered | null> {
    const text = await this.#options.store.read(originHash)
    if (text === null) return null
    const found = await this.#openRemembered(text, originHash)
    if (typeof found !== 'string') return found
    throw new LedgerError(
      'damaged',
      `what the witness remembers as ${originHash} is damaged (${found}): restore it as it was last; an older copy, or none, could make it cosign a second history`,
      { origin_hash: originHash },
    )
  }

  async #openRemembered(text: string, originHash: string): Promise<Remembered | string> {
    const note = parseNote(encodeText(text))
    if (typeof note === 'string') return note
    const opened = await openNote(note, [this.key], this.#options.check)
    if (typeof opened === 'string') return opened
    if (opened.verified.length === 0) return 'it is not cosigned by this key'
    const checkpoint = parseCheckpoint(opened.text)
    if (typeof checkpoint === 'string') return checkpoint
    return this.originHash(checkpoint.origin) === originHash ? checkpoint : 'it is of another log'
  }
}

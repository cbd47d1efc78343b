/**
 * Asks the witnesses of a policy to cosign checkpoints. A witness that is down, slow or lying costs its cosignature and
 * nothing else: it never stops recording. Source: C2SP tlog-witness v1.0.0.
 */
import { join } from 'node:path'
import { parseCheckpoint } from '../verify/checkpoint.ts'
import { formatForkEvidence } from '../verify/fork-evidence.ts'
import { COSIGNATURE_TIME_MAX, cosignatureTime, formatNote, openNote, parseNote } from '../verify/note.ts'
import type { NoteSignature, VerifierKey } from '../verify/note.ts'
import { logKeysOf, quorumMet, witnessKeysOf } from '../verify/policy.ts'
import type { Policy, PolicyWitness } from '../verify/policy.ts'
import { encodeText } from '../verify/text.ts'
import { systemClock } from './clock.ts'
import type { Clock } from './clock.ts'
import { createText, makeFolder } from './durable-file.ts'
import { ed25519Check } from './ed25519.ts'
import type { LedgerError } from './errors.ts'
import { nodeHashing } from './hashing.ts'
import { getCheckpoint, postCheckpoint, witnessUrl } from './witness-call.ts'
import type { AddCheckpointAnswer, Fetch } from './witness-call.ts'
import { findFork } from './witness-fork.ts'
import type { OwnView, ProveConsistency, RootAt } from './witness-fork.ts'

export type { Fetch } from './witness-call.ts'
export type { ProveConsistency, RootAt } from './witness-fork.ts'

/** A witness holds something that our checkpoint does not continue. */
export interface WitnessConflict {
  /** Its name in the policy. */
  readonly witness: string
  readonly why: string
  /** Text of src/verify/fork-evidence.ts; null where the witness shows no checkpoint with our signature. */
  readonly evidence: string | null
  /** True where the evidence convicts whoever holds our key; false where it may also be that we lost our end. */
  readonly proven: boolean
  /** Where the evidence was saved; null where it was not. */
  readonly file: string | null
}

export interface WitnessesOptions {
  readonly policy: Policy
  /** Verifier keys of our log, beside those of the policy's `log` lines. */
  readonly logKeys?: readonly VerifierKey[] | undefined
  readonly fetch?: Fetch | undefined
  /** How long one call of `cosign` may take. ms; 10,000 unless said. */
  readonly timeoutMs?: number | undefined
  /** A folder for evidence of forks; without one it is told to `onConflict` only. */
  readonly stateDir?: string | undefined
  readonly onConflict: (conflict: WitnessConflict) => void | Promise<void>
  readonly clock?: Clock | undefined
}

export interface WitnessFailure {
  /** Its name in the policy. */
  readonly witness: string
  readonly why: string
  /** It is not asked before so much time has passed. ms. */
  readonly retry_in_ms: number
}

export interface CosignResult {
  /** The note with the cosignatures that were given, each of them verified. */
  readonly note: string
  /** The policy's quorum has cosigned it. */
  readonly quorum: boolean
  readonly failures: readonly WitnessFailure[]
}

/** How it stands with one witness. */
export interface WitnessStanding {
  readonly witness: string
  readonly url: string
  /** Size of the last checkpoint that it cosigned, as far as is known. */
  readonly size: bigint
  /** How often it failed since it last did what it should. */
  readonly failures: number
  /** It is not asked before so much time has passed; 0: at the next checkpoint. ms. */
  readonly retry_in_ms: number
}

const TIMEOUT_DEFAULT_MS = 10_000
const BACKOFF_MIN_MS = 5_000
const BACKOFF_MAX_MS = 3_600_000

/** Why a witness did not cosign. */
class Refused extends Error {}
/** It need not: nobody failed. */
class Unneeded extends Refused {}

interface Asked {
  readonly witness: PolicyWitness
  readonly url: string
  size: bigint
  /** Of the last checkpoint for which we hold its cosignature. */
  cosigned: bigint
  failures: number
  /** By the monotonic clock. ms. */
  retryAt: number
  /** The conflict that was told last. */
  told: string
}

/** What is to be cosigned. */
interface Job extends OwnView {
  /** Of the note. */
  readonly text: string
  readonly signal: AbortSignal
}

export class Witnesses {
  readonly #options: WitnessesOptions
  readonly #fetch: Fetch
  readonly #clock: Clock
  readonly #timeoutMs: number
  readonly #asked: readonly Asked[]
  #turn: Promise<unknown> = Promise.resolve()

  /** @throws RangeError for a witness whose URL is none, and for a timeout that is none */
  constructor(options: WitnessesOptions) {
    const { policy, timeoutMs = TIMEOUT_DEFAULT_MS } = options
    if (!(timeoutMs > 0 && timeoutMs <= 2 ** 31 - 1)) throw new RangeError(`timeoutMs must be a number of ms above 0, not ${timeoutMs}`)
    this.#options = options
    this.#fetch = options.fetch ?? ((url, init) => fetch(url, init))
    this.#clock = options.clock ?? systemClock
    this.#timeoutMs = timeoutMs
    this.#asked = policy.witnesses.flatMap((witness) =>
      witness.url === null ? [] : [{ witness, url: witnessUrl(witness.url), size: 0n, cosigned: 0n, failures: 0, retryAt: 0, told: '' }],
    )
  }

  /** The witnesses that are asked: those that the policy has a URL for. */
  standings(): WitnessStanding[] {
    return this.#asked.map((one) => ({
      witness: one.witness.name,
      url: one.url,
      size: one.size,
      failures: one.failures,
      retry_in_ms: this.#wait(one),
    }))
  }

  /**
   * Asks all at once, and resolves when all have answered or the time is over. Whoever failed is asked again with a later
   * checkpoint, after 5 s at first and up to an hour where it goes on failing. The same checkpoint may be given again:
   * its cosignatures then get a new time. One call at a time; a second one waits for the first.
   * @param note the signed checkpoint, with the cosignatures that it may have
   * @param prove is asked from the size that a witness has to the size of the note
   * @param rootAt the log's root at a smaller size: without it, a fork at another size can't be proven
   * @throws RangeError for a note that is no checkpoint signed by a key of the log, or has a cosignature that is wrong
   */
  cosign(note: string, prove: ProveConsistency, rootAt?: RootAt): Promise<CosignResult> {
    const turn = this.#turn.then(() => this.#cosign(note, prove, rootAt ?? null))
    this.#turn = turn.catch(() => {})
    return turn
  }

  async #cosign(text: string, prove: ProveConsistency, rootAt: RootAt | null): Promise<CosignResult> {
    const { policy } = this.#options
    const opened = await this.#open(text)
    const signal = AbortSignal.timeout(this.#timeoutMs)
    // Only what we signed: who else has cosigned is none of a witness' business, and it may take little (10 KiB).
    const note = formatNote({ text: opened.parsed.text, signatures: opened.own })
    const job: Job = { note, text: opened.parsed.text, checkpoint: opened.checkpoint, keys: opened.keys, prove, rootAt, signal }
    const failures: WitnessFailure[] = []
    const given: NoteSignature[] = []
    const keys = [...opened.witnesses]
    await Promise.all(
      this.#asked.map(async (one) => {
        const outcome = await this.#ask(one, job)
        if (typeof outcome === 'string') failures.push({ witness: one.witness.name, why: outcome, retry_in_ms: this.#wait(one) })
        else {
          given.push(outcome)
          keys.push(one.witness.key)
        }
      }),
    )
    // A new cosignature takes the place of the one before by the same key: a note may have but one.
    const kept = opened.parsed.signatures.filter((old) => !given.some(({ name, id }) => name === old.name && id === old.id))
    return { note: formatNote({ text: opened.parsed.text, signatures: [...kept, ...given] }), quorum: quorumMet(policy, keys), failures }
  }

  /** Whose note it is, and who cosigned it before. @throws RangeError */
  async #open(text: string) {
    const { policy, logKeys = [] } = this.#options
    const parsed = parseNote(encodeText(text))
    if (typeof parsed === 'string') throw new RangeError(`what is to be cosigned is no signed note: ${parsed}`)
    const checkpoint = parseCheckpoint(parsed.text)
    if (typeof checkpoint === 'string') throw new RangeError(`what is to be cosigned is no checkpoint: ${checkpoint}`)
    const own = [...logKeysOf(policy, checkpoint.origin), ...logKeys.filter(({ name }) => name === checkpoint.origin)]
    const known = witnessKeysOf(policy)
    const opened = await openNote(parsed, [...own, ...known], ed25519Check)
    if (typeof opened === 'string') throw new RangeError(`what is to be cosigned is not rightly signed: ${opened}`)
    const byUs = opened.verified.filter(({ key }) => own.includes(key))
    if (byUs.length === 0)
      throw new RangeError(
        `no key that is known for ${checkpoint.origin} signed the checkpoint: give it by logKeys, or a log line of the policy`,
      )
    return {
      parsed,
      checkpoint,
      own: byUs.map(({ signature }) => signature),
      keys: byUs.map(({ key }) => key),
      witnesses: opened.verified.map(({ key }) => key).filter((key) => known.includes(key)),
    }
  }

  #wait({ retryAt }: Asked): number {
    return Math.max(0, Math.ceil(retryAt - this.#clock.monotonic()))
  }

  /** The cosignature, or why there is none. */
  async #ask(one: Asked, job: Job): Promise<NoteSignature | string> {
    const wait = this.#wait(one)
    if (wait > 0) return `it failed ${one.failures} times and is not asked yet`
    try {
      const signature = await withDeadline(this.#exchange(one, job), job.signal)
      one.failures = 0
      one.retryAt = 0
      return signature
    } catch (error) {
      if (error instanceof Unneeded) return error.message
      one.failures++
      one.retryAt = this.#clock.monotonic() + Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** Math.min(one.failures - 1, 30))
      return job.signal.aborted ? `it gave no answer within ${this.#timeoutMs} ms` : reasonOf(error)
    }
  }

  /** @throws Refused, and whatever `fetch` and the caller's functions throw */
  async #exchange(one: Asked, job: Job): Promise<NoteSignature> {
    const { size } = job.checkpoint
    if (one.cosigned > size) throw new Unneeded(`it has cosigned our later checkpoint of ${one.cosigned} records already`)
    let answer = await this.#post(one, job)
    if (answer.kind === 'size' && answer.size <= size) {
      one.size = answer.size
      // Once: whoever names another size each time would keep us busy for ever.
      answer = await this.#post(one, job)
    }
    if (answer.kind === 'cosigned') {
      const signature = await this.#checked(one.witness.key, job.text, answer.lines)
      one.size = one.cosigned = size
      return signature
    }
    if (answer.kind === 'size') {
      one.size = answer.size
      if (answer.size <= size) throw new Refused(`it named another size, ${answer.size}, when it was asked again`)
      const why = `it has cosigned a checkpoint of ${answer.size} records, and we have ${size}`
      await this.#lookForFork(one, job, why)
      throw new Refused(why)
    }
    const why = `it answered ${answer.status}${answer.why === '' ? '' : ` (${answer.why})`}`
    // 422, and from witnesses after an older text of the specification 409: the proof does not hold, or another root at this size.
    if (answer.status === 422 || answer.status === 409) await this.#lookForFork(one, job, why)
    throw new Refused(why)
  }

  async #post(one: Asked, { checkpoint, prove, note, signal }: Job): Promise<AddCheckpointAnswer> {
    const { size } = checkpoint
    const oldSize = one.size <= size ? one.size : 0n
    const proof = oldSize === 0n || oldSize === size ? [] : await prove(oldSize, size)
    const request = { oldSize, proof, note }
    try {
      return await postCheckpoint(this.#fetch, one.url, request, signal)
    } catch (error) {
      // A connection that was kept may have been closed at the other end meanwhile; asking twice does no harm.
      if (!(error instanceof TypeError) || signal.aborted) throw error
      return postCheckpoint(this.#fetch, one.url, request, signal)
    }
  }

  /** The cosignature among the lines. Lines by others are ignored, as the specification has it. @throws Refused */
  async #checked(key: VerifierKey, text: string, lines: string): Promise<NoteSignature> {
    const note = parseNote(encodeText(`${text}\n${lines}`))
    // An empty line in what came would move the end of the text.
    if (typeof note === 'string' || note.text !== text) throw new Refused('it answered with something else than lines of signatures')
    const own = note.signatures.filter(({ name, id }) => name === key.name && id === key.id)
    const opened = await openNote({ text, signatures: own }, [key], ed25519Check)
    if (typeof opened === 'string') throw new Refused(opened)
    const signature = opened.verified[0]?.signature
    if (signature === undefined) throw new Refused('it answered without a cosignature by its key')
    const time = cosignatureTime(signature.bytes)
    if (time === 0n || time > COSIGNATURE_TIME_MAX) throw new Refused('its cosignature does not say when')
    return signature
  }

  /** Looks at what the witness holds, and tells of it where it is not what we hold. */
  async #lookForFork(one: Asked, job: Job, why: string): Promise<void> {
    const originHash = nodeHashing.sha256(encodeText(job.checkpoint.origin))
    const shown = await getCheckpoint(this.#fetch, one.url, originHash, job.signal)
    const fork = shown === null ? 'it shows no checkpoint' : await findFork(job, shown)
    // It shows what fits: the two of us have but missed each other.
    if (fork === null) return
    const evidence = typeof fork === 'string' ? null : formatForkEvidence(fork)
    const kind = typeof fork === 'string' ? fork : fork.contradiction.kind
    const told = `${kind} ${shown ?? why}`
    if (one.told === told) return
    one.told = told
    const proven = kind === 'same-size' || kind === 'prefix'
    const file = evidence === null ? null : await this.#save(evidence)
    await this.#options.onConflict({ witness: one.witness.name, why, evidence, proven, file })
  }

  /** Under its own hash: the same evidence is one file. What can't be saved is told all the same. */
  async #save(evidence: string): Promise<string | null> {
    const { stateDir } = this.#options
    if (stateDir === undefined) return null
    const file = join(stateDir, `fork-${nodeHashing.sha256(encodeText(evidence)).slice(0, 16)}.evidence`)
    try {
      await makeFolder(stateDir)
      await createText(file, evidence)
    } catch (error) {
      const { details } = error as LedgerError
      if ((details?.cause as { code?: unknown } | undefined)?.code !== 'EEXIST') return null
    }
    return file
  }
}

/** Rejects when the time is over, whatever the work does: a `fetch` from outside may not heed the signal. */
function withDeadline<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const end = (): void => reject(new Refused('the time is over'))
    if (signal.aborted) end()
    signal.addEventListener('abort', end, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', end))
  })
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  // `fetch` says "fetch failed", and why in the cause.
  const { cause } = error
  return cause instanceof Error && cause.message !== '' ? `${error.message}: ${cause.message}` : error.message
}

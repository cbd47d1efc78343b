/**
 * A published log by its directory or its address: where its files are read, within limits, and the verification of
 * the whole. It trusts nothing that it reads; what it is told to trust comes in by the options.
 */
import { open, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as turnOfTheLoop, setTimeout as sleep } from 'node:timers/promises'
import { LedgerVerifier } from '../verify/chain.ts'
import type { Checkpoint } from '../verify/checkpoint.ts'
import { parseVerifierKey } from '../verify/note.ts'
import type { VerifierKey } from '../verify/note.ts'
import { judgePublished, readCheckpoint } from '../verify/published-claims.ts'
import type { NamedNote, WitnessRule } from '../verify/published-claims.ts'
import { logKeysOf, quorumTime, witnessKeysOf } from '../verify/policy.ts'
import type { Policy } from '../verify/policy.ts'
import { auditPublished, CHECKPOINT_BYTES_MAX } from '../verify/published.ts'
import type { PublishedFiles } from '../verify/published.ts'
import type { VerificationReport } from '../verify/report.ts'
import { IDS_IN_MEMORY } from './audit.ts'
import type { AuditOptions } from './audit.ts'
import { ed25519Check } from './ed25519.ts'
import { asStorageError, LedgerError } from './errors.ts'
import { nodeHashing } from './hashing.ts'
import { TemporaryFile } from './temporary-file.ts'

/** How an address is asked. */
export interface HttpLimits {
  /** ms for a request, its body included; 30,000 unless said. */
  readonly timeoutMs?: number | undefined
  /** Further attempts where the server does not answer or says that it can't just now; 3 unless said. */
  readonly retries?: number | undefined
  /** Requests at once; 8 unless said. */
  readonly requestsMax?: number | undefined
  /** ms before the first further attempt, twice as long before each one after that; 500 unless said. */
  readonly retryAfterMs?: number | undefined
}

const NO_FILE = 'no such file'

/** The files below a directory. */
export function directoryFiles(dir: string): PublishedFiles {
  return {
    async read(path, bytes_max) {
      try {
        const handle = await open(join(dir, path), 'r')
        try {
          const facts = await handle.stat()
          if (!facts.isFile()) return 'no file'
          if (facts.size > bytes_max) return `${facts.size} bytes, more than ${bytes_max}`
          return await handle.readFile()
        } finally {
          await handle.close()
        }
      } catch (error) {
        const { code } = error as { code?: unknown }
        if (code === 'ENOENT' || code === 'ENOTDIR') return NO_FILE
        throw asStorageError(error, `reading ${path} of ${dir}`, { location: dir })
      }
    },
  }
}

/** At most so many at once, the others in their turn. */
function atMost(max: number): <T>(work: () => Promise<T>) => Promise<T> {
  let running = 0
  const waiting: (() => void)[] = []
  return async (work) => {
    if (running >= max) await new Promise<void>((resolve) => waiting.push(resolve))
    else running++
    try {
      return await work()
    } finally {
      // Whoever waits takes the place that is left.
      const next = waiting.shift()
      if (next === undefined) running--
      else next()
    }
  }
}

/** Reads a body up to a limit; null where it is longer. */
async function bodyWithin(response: Response, bytes_max: number): Promise<Uint8Array | null> {
  const parts: Uint8Array[] = []
  let length = 0
  for await (const part of response.body ?? []) {
    length += part.length
    // Leaving the loop ends the transfer.
    if (length > bytes_max) return null
    parts.push(part)
  }
  return Buffer.concat(parts)
}

/** Worth another attempt: the server is there and can't just now. */
const isTemporary = (status: number): boolean => status === 408 || status === 429 || status >= 500

/**
 * The files below an http or https address.
 * @throws RangeError where it is none
 */
export function httpFiles(address: string | URL, limits: HttpLimits = {}, signal?: AbortSignal): PublishedFiles {
  const url = new URL(address)
  if ((url.protocol !== 'http:' && url.protocol !== 'https:') || url.search !== '' || url.hash !== '' || url.username !== '')
    throw new RangeError(`${url.href} is not the address of a published log: http or https, without a query, a fragment or a name`)
  const base = url.href.endsWith('/') ? url.href : `${url.href}/`
  const { timeoutMs = 30_000, retries = 3, requestsMax = 8, retryAfterMs = 500 } = limits
  const inTurn = atMost(requestsMax)

  /** The bytes, why there are none, or an error for another attempt. */
  async function attempt(path: string, bytes_max: number): Promise<Uint8Array | string | Error> {
    const timeout = AbortSignal.timeout(timeoutMs)
    try {
      const response = await fetch(base + path, { signal: signal === undefined ? timeout : AbortSignal.any([timeout, signal]) })
      if (response.status === 200) return (await bodyWithin(response, bytes_max)) ?? `more than ${bytes_max} bytes`
      await response.body?.cancel()
      if (response.status === 404 || response.status === 410) return NO_FILE
      const answer = `the server answers ${response.status}`
      return isTemporary(response.status) ? new Error(answer) : answer
    } catch (error) {
      signal?.throwIfAborted()
      return error instanceof Error ? error : new Error(String(error))
    }
  }

  return {
    read: (path, bytes_max) =>
      inTurn(async () => {
        for (let tries = 0; ; tries++) {
          const result = await attempt(path, bytes_max)
          if (!(result instanceof Error)) return result
          if (tries === retries) {
            const why = result.cause instanceof Error ? `${result.message}: ${result.cause.message}` : result.message
            throw new LedgerError('io_error', `${base}${path} can't be read after ${tries + 1} attempts (${why}): try again later`, {
              location: base,
              cause: result,
            })
          }
          await sleep(retryAfterMs * 2 ** tries, undefined, { signal })
        }
      }),
  }
}

export interface PublishedLogOptions extends Pick<AuditOptions, 'origin' | 'signal' | 'onProgress' | 'temporaryFolder' | 'idsInMemory'> {
  /** Verifier keys from outside: the checkpoint must be signed by one of them. */
  readonly keys?: readonly string[] | undefined
  /** Checkpoints from before, as signed notes. */
  readonly since?: readonly NamedNote[] | undefined
  /** Whose cosignatures count, and how many are enough; its logs of the checkpoint's origin are keys like those above. */
  readonly policy?: Policy | undefined
  readonly http?: HttpLimits | undefined
}

const isAddress = (location: string | URL): boolean => /^https?:\/\//i.test(String(location))

/** True for an http(s) address, and for a directory that has a checkpoint and tiles and is no ledger. */
export async function isPublishedLog(location: string | URL): Promise<boolean> {
  if (isAddress(location)) return true
  if (typeof location !== 'string') return false
  const kindOf = async (name: string): Promise<string> => {
    const facts = await stat(join(location, name)).catch(() => null)
    return facts === null ? '' : facts.isDirectory() ? 'folder' : 'file'
  }
  return (await kindOf('checkpoint')) === 'file' && (await kindOf('tile')) === 'folder' && (await kindOf('ledger.json')) === ''
}

/** @throws RangeError */
function asKey(text: string): VerifierKey {
  const key = parseVerifierKey(nodeHashing.sha256, text)
  if (typeof key === 'string') throw new RangeError(`${JSON.stringify(text)} is no verifier key: ${key}`)
  return key
}

/**
 * Verifies a published log by its directory or http(s) address: its checkpoint, every header, every tile. Returns a
 * report as of a ledger; entries are not there, so they are `not checked`.
 * @throws LedgerError `not_found` where there is no checkpoint; `io_error` where something can't be read just now
 */
export async function verifyPublishedLog(location: string | URL, options: PublishedLogOptions = {}): Promise<VerificationReport> {
  const keys = (options.keys ?? []).map(asKey)
  const files = isAddress(location) ? httpFiles(location, options.http, options.signal) : directoryFiles(String(location))
  const own = await files.read('checkpoint', CHECKPOINT_BYTES_MAX)
  if (typeof own === 'string')
    throw new LedgerError('not_found', `there is no published log at ${String(location)} (checkpoint: ${own}): check the address`)
  const since = options.since ?? []
  const checkpoint = readCheckpoint(own)
  const claims = {
    own: { name: 'checkpoint', bytes: own },
    since,
    keys:
      typeof checkpoint === 'string' || options.policy === undefined ? keys : [...keys, ...logKeysOf(options.policy, checkpoint.origin)],
    witnesses: options.policy === undefined ? null : ruleOf(options.policy),
    check: ed25519Check,
  }
  if (typeof checkpoint === 'string') {
    const { verdicts, missing, ...rest } = new LedgerVerifier(nodeHashing).finish()
    const unread: VerificationReport = {
      ...rest,
      verdicts: { ...verdicts, integrity: 'not checked' },
      missing: { ...missing, integrity: 'a checkpoint, which says how many records there are' },
    }
    return judgePublished(unread, { ...claims, roots: new Map() }, 0n)
  }
  const { report, roots } = await auditFiles(files, checkpoint, sizesOf(since), options)
  return judgePublished(report, { ...claims, roots }, checkpoint.size)
}

function ruleOf(policy: Policy): WitnessRule {
  return {
    witnessKeys: witnessKeysOf(policy),
    isAsked: policy.quorum !== null,
    quorumTime: (cosignatures) => quorumTime(policy, cosignatures),
  }
}

function sizesOf(notes: readonly NamedNote[]): bigint[] {
  return notes.map(({ bytes }) => readCheckpoint(bytes)).flatMap((checkpoint) => (typeof checkpoint === 'string' ? [] : [checkpoint.size]))
}

/** The report on the records alone, and the roots at these sizes and at the end. */
async function auditFiles(
  files: PublishedFiles,
  checkpoint: Checkpoint,
  sizes: readonly bigint[],
  options: PublishedLogOptions,
): Promise<{ report: VerificationReport; roots: ReadonlyMap<bigint, string> }> {
  const rooms: TemporaryFile[] = []
  const verifier = new LedgerVerifier({
    ...nodeHashing,
    ...(options.origin === undefined ? {} : { origin: options.origin }),
    ids_max: options.idsInMemory ?? IDS_IN_MEMORY,
    temporary_space: () => {
      const room = new TemporaryFile(options.temporaryFolder ?? tmpdir())
      rooms.push(room)
      return room
    },
  })
  try {
    const { roots, tiles } = await auditPublished(files, checkpoint, verifier, {
      sha256: nodeHashing.sha256,
      sizes: [checkpoint.size, ...sizes],
      pause: async (headers) => {
        options.onProgress?.(headers)
        options.signal?.throwIfAborted()
        await turnOfTheLoop()
      },
    })
    for (const piece of verifier.settle()) {
      options.signal?.throwIfAborted()
      await turnOfTheLoop(piece)
    }
    const report = verifier.finish()
    return { report: { ...report, checks: { ...report.checks, tiles } }, roots }
  } finally {
    for (const room of rooms) room.close()
  }
}

/** An archive in a bucket of an S3-protocol server. */
import { requireArchiveName, requireArchivePrefix, requireRange } from '../ledger/archive.ts'
import type { ArchiveContent, ArchiveFile, ArchiveStore, ByteRange, WrittenFile } from '../ledger/archive.ts'
import { LedgerError } from '../ledger/errors.ts'
import { alreadyExists, digestOf } from '../ledger/archive-content.ts'
import { S3Client, whyFailed } from './s3-client.ts'
import type { S3Answer } from './s3-client.ts'
import { findCredentials } from './s3-credentials.ts'
import type { S3Credentials } from './s3-credentials.ts'
import { readProfile } from './s3-profile.ts'
import type { Environment } from './s3-profile.ts'
import { loadSigner } from './s3-signing.ts'
import { PART_BYTES_MIN, upload } from './s3-upload.ts'
import { childText, parseXml } from './s3-xml.ts'
import { requireEndpoint, requireRegion } from './target.ts'
import type { S3Target } from './target.ts'

export interface S3Options {
  /** Else those of the usual chain: docs/guides/archives.md. */
  readonly credentials?: S3Credentials | undefined
  readonly endpoint?: string | undefined
  readonly region?: string | undefined
  /** Size of a part of what is uploaded in parts, bytes; 8 MiB unless said, at least 5 MiB. */
  readonly partBytes?: number | undefined
  /** How often a request is tried; 5 times unless said. */
  readonly attempts?: number | undefined
  /** Until an answer begins, and between two pieces of one, ms; 30,000 unless said. */
  readonly timeoutMs?: number | undefined
  /** Before the second attempt, ms at most; then twice as long each time. 250 unless said. */
  readonly pauseMs?: number | undefined
  /** Instead of `process.env`. */
  readonly environment?: Environment | undefined
  /** Instead of the platform's. */
  readonly fetch?: typeof globalThis.fetch | undefined
}

const PART_BYTES = 8 * 1024 * 1024
/** How long a host that gives credentials is waited for, ms. */
const HOST_MS = 2000

function bytesOf(headers: Headers): number | null {
  const text = headers.get('content-length')
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : null
}

/** Where the bytes of an answer lie in the file, and how many that one has. */
function placeOf({ status, headers }: S3Answer): { readonly start: number; readonly total: number | null } {
  if (status !== 206) return { start: 0, total: bytesOf(headers) }
  const range = /^bytes (\d{1,15})-\d{1,15}\/(\d{1,15})$/.exec(headers.get('content-range') ?? '')
  return range === null ? { start: -1, total: null } : { start: Number(range[1]), total: Number(range[2]) }
}

/** A file that is being read, over as many connections as it takes. */
interface Reading {
  readonly name: string
  at: number
  /** Null until it is known. */
  end: number | null
  /** Of the object when reading began: another one is not gone on with. */
  etag: string | null
}

class S3Archive implements ArchiveStore {
  readonly location: string
  readonly #client: S3Client
  readonly #prefix: string
  readonly #partBytes: number

  constructor(client: S3Client, location: string, prefix: string, partBytes: number) {
    this.#client = client
    this.location = location
    this.#prefix = prefix
    this.#partBytes = partBytes
  }

  async write(name: string, content: ArchiveContent, size?: number): Promise<WrittenFile> {
    requireArchiveName(name)
    if ((await this.stat(name)) !== null) {
      const written = await digestOf(content)
      await this.#requireSame(name, written)
      return written
    }
    const doing = `writing ${name} to ${this.location}`
    const to = { client: this.#client, key: this.#prefix + name, name, doing, partBytes: this.#partBytes }
    const { written, taken } = await upload(to, content, size)
    if (taken) await this.#requireSame(name, written)
    // Durable is what the server says; that it is all there is seen here.
    const facts = await this.stat(name)
    if (facts?.bytes !== written.bytes)
      throw new LedgerError(
        'io_error',
        `${name} has ${facts?.bytes ?? 'no'} bytes in ${this.location}, and ${written.bytes} were sent: remove it and write it again`,
        {
          archive: this.location,
          file: name,
        },
      )
    return written
  }

  async *read(name: string, range?: ByteRange): AsyncGenerator<Uint8Array, void, undefined> {
    requireArchiveName(name)
    if (range !== undefined) requireRange(range)
    const reading: Reading = { name, at: range?.start ?? 0, end: range?.end ?? null, etag: null }
    let failures = 0
    while (reading.end === null || reading.at < reading.end) {
      const before = reading.at
      const why = yield* this.#readOn(reading)
      if (why === null) continue
      // Each piece that came through is a new beginning: a long file over a bad line comes to its end.
      failures = reading.at > before ? 1 : failures + 1
      const { attempts } = this.#client.options
      if (failures >= attempts)
        throw new LedgerError(
          'io_error',
          `reading ${name} from ${this.location} was cut off at byte ${reading.at}, ${attempts} times: ${why}`,
          {
            archive: this.location,
            file: name,
          },
        )
      await this.#client.wait(failures)
    }
  }

  async stat(name: string): Promise<ArchiveFile | null> {
    requireArchiveName(name)
    const [doing, key] = [`looking at ${name} in ${this.location}`, this.#prefix + name]
    let answer = await this.#client.request({ method: 'HEAD', key, doing, accept: [301, 400, 403, 404] })
    // HEAD has no body that says what is wrong: no such file, no such bucket, which key. Asking for a byte has.
    if (answer.refusal !== null)
      answer = await this.#client.request({ method: 'GET', key, headers: { range: 'bytes=0-0' }, doing, accept: ['NoSuchKey', 416] })
    if (answer.refusal?.code === 'NoSuchKey') return null
    const bytes = answer.status === 416 ? 0 : placeOf(answer).total
    if (bytes === null) throw new LedgerError('io_error', `the server did not say how long it is, ${doing}`)
    return { name, bytes }
  }

  async *list(prefix: string): AsyncGenerator<ArchiveFile, void, undefined> {
    requireArchivePrefix(prefix)
    const doing = `listing ${this.location}`
    for (let token: string | null = null; ;) {
      const query = { 'list-type': '2', prefix: this.#prefix + prefix, ...(token === null ? {} : { 'continuation-token': token }) }
      const { text } = await this.#client.request({ method: 'GET', key: null, query, doing })
      const root = parseXml(text)
      if (root?.name !== 'ListBucketResult') throw new LedgerError('io_error', `the server's answer is no list, ${doing}`)
      for (const entry of root.children) {
        if (entry.name !== 'Contents') continue
        const [key, size] = [childText(entry, 'Key') ?? '', childText(entry, 'Size') ?? '']
        // A marker that some programs make for a folder is none of ours, and has no name.
        if (key.startsWith(this.#prefix + prefix) && !key.endsWith('/') && /^\d{1,15}$/.test(size))
          yield { name: key.slice(this.#prefix.length), bytes: Number(size) }
      }
      const next = childText(root, 'IsTruncated') === 'true' ? childText(root, 'NextContinuationToken') : null
      if (next === null || next === '') return
      if (next === token) throw new LedgerError('io_error', `the server gives the same page again and again, ${doing}`)
      token = next
    }
  }

  async remove(name: string): Promise<void> {
    requireArchiveName(name)
    const doing = `removing ${name} from ${this.location}`
    await this.#client.request({ method: 'DELETE', key: this.#prefix + name, doing, accept: ['NoSuchKey'] })
  }

  /** One answer, as far as it comes. @returns why it ended early, or null */
  async *#readOn(reading: Reading): AsyncGenerator<Uint8Array, string | null, undefined> {
    const { name, at, end } = reading
    const doing = `reading ${name} from ${this.location}`
    const headers: { [name: string]: string } = {}
    if (at > 0 || end !== null) headers['range'] = `bytes=${at}-${end === null ? '' : end - 1}`
    if (reading.etag !== null) headers['if-match'] = reading.etag
    const answer = await this.#client.request({ method: 'GET', key: this.#prefix + name, headers, doing, accept: [412, 416] }, 'stream')
    if (answer.status === 416) throw this.#damaged(name, `it ends before byte ${at}, which was asked for`)
    if (answer.status === 412) throw this.#damaged(name, `it was changed while it was read`)
    const { start, total } = placeOf(answer)
    if (start < 0 || start > at || total === null || total < (end ?? 0)) {
      answer.cancel()
      if (total !== null && end !== null && total < end)
        throw this.#damaged(name, `it has ${total} bytes, and byte ${end - 1} was asked for`)
      throw new LedgerError('io_error', `the server did not say which bytes it sends, ${doing}`)
    }
    reading.end ??= total
    reading.etag ??= answer.headers.get('etag')
    try {
      yield* this.#within(reading, start, answer.stream ?? [])
    } catch (error) {
      return whyFailed(error)
    }
    return reading.at < reading.end ? 'the connection ended' : null
  }

  /** The bytes of a stream that are wanted: a server may send all of a file where a part was asked for. */
  async *#within(
    reading: Reading,
    start: number,
    stream: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    let place = start
    for await (const piece of stream) {
      const [from, to] = [Math.max(0, reading.at - place), Math.min(piece.length, (reading.end ?? Infinity) - place)]
      place += piece.length
      if (from >= to) continue
      reading.at += to - from
      yield piece.subarray(from, to)
      if (reading.end !== null && reading.at >= reading.end) return
    }
  }

  async #requireSame(name: string, written: WrittenFile): Promise<void> {
    const facts = await this.stat(name)
    const same = facts?.bytes === written.bytes && (await digestOf(this.read(name))).sha256 === written.sha256
    if (!same) throw alreadyExists(this.location, name)
  }

  #damaged(name: string, why: string): LedgerError {
    return new LedgerError('damaged', `${name} in ${this.location} is damaged: ${why}. Take another copy of it`, {
      archive: this.location,
      file: name,
    })
  }
}

/** @throws RangeError */
function requireAtLeast(name: string, value: number, least: number): number {
  if (!Number.isSafeInteger(value) || value < least) throw new RangeError(`${name} must be a whole number from ${least} on, not ${value}`)
  return value
}

/** As it is recorded: what is needed to find it again, and no credentials. */
function locationOf({ bucket, prefix }: S3Target, endpoint: string | null, region: string | null): string {
  const query = [...(endpoint === null ? [] : [`endpoint=${endpoint}`]), ...(region === null ? [] : [`region=${region}`])]
  return `s3://${bucket}${prefix === '' ? '' : `/${prefix.slice(0, -1)}`}${query.length === 0 ? '' : `?${query.join('&')}`}`
}

/**
 * @throws LedgerError `unsupported` where the package for it is not installed; `key_error` for a profile that is not there
 * @throws TypeError | RangeError for options that can't be
 */
export async function openS3Archive(target: S3Target, options: S3Options = {}): Promise<ArchiveStore> {
  const { environment = process.env, fetch = globalThis.fetch, credentials: given } = options
  const partBytes = requireAtLeast('partBytes', options.partBytes ?? PART_BYTES, PART_BYTES_MIN)
  const timeoutMs = requireAtLeast('timeoutMs', options.timeoutMs ?? 30_000, 1)
  const attempts = requireAtLeast('attempts', options.attempts ?? 5, 1)
  const pauseMs = requireAtLeast('pauseMs', options.pauseMs ?? 250, 0)
  const sign = await loadSigner()
  const profile = await readProfile(environment)
  const named =
    options.endpoint ??
    target.endpoint ??
    (environment['AWS_ENDPOINT_URL_S3'] || environment['AWS_ENDPOINT_URL'] || profile.values['endpoint_url'] || null)
  const endpoint = named === null ? null : requireEndpoint(named)
  const saidRegion =
    options.region ?? target.region ?? (environment['AWS_REGION'] || environment['AWS_DEFAULT_REGION'] || profile.values['region'] || null)
  const region = requireRegion(saidRegion ?? 'us-east-1')
  const client = new S3Client({
    bucket: target.bucket,
    endpoint: endpoint ?? `https://s3.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`,
    region,
    // A certificate of AWS does not cover a name with a dot in it.
    virtualHost: endpoint === null && !target.bucket.includes('.'),
    credentials: () => findCredentials({ given, environment, profile, fetch, timeoutMs: Math.min(timeoutMs, HOST_MS) }),
    sign,
    fetch,
    timeoutMs,
    attempts,
    pauseMs,
  })
  return new S3Archive(client, locationOf(target, endpoint, saidRegion), target.prefix, partBytes)
}

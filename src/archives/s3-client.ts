/** Requests to an S3-protocol server: signed, with a limit of time each, and again where the next attempt may get through. */
import { createHash } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { LedgerError } from '../ledger/errors.ts'
import type { FoundCredentials } from './s3-credentials.ts'
import { isExpired, isTransient, readRefusal, s3Error } from './s3-errors.ts'
import type { S3Asking, S3Refusal } from './s3-errors.ts'
import type { Sign } from './s3-signing.ts'

export interface S3Request {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE'
  /** Whole name in the bucket; null for the bucket itself. */
  readonly key: string | null
  readonly query?: { readonly [name: string]: string }
  readonly headers?: { readonly [name: string]: string }
  readonly body?: Uint8Array
  /** Such as `writing x to s3://…`, for messages. */
  readonly doing: string
  /** Refusals by these, of HTTP or of S3, are answers and no errors. */
  readonly accept?: readonly (number | string)[]
}

export interface S3Answer {
  readonly status: number
  readonly headers: Headers
  /** Of an answer that was asked for as a stream, and is no refusal. */
  readonly stream: AsyncIterable<Uint8Array> | null
  /** Gives up a stream that nobody reads. */
  readonly cancel: () => void
  readonly text: string
  /** Null for success. */
  readonly refusal: S3Refusal | null
}

export interface S3ClientOptions {
  readonly bucket: string
  /** Origin of the server, or of AWS in this region. */
  readonly endpoint: string
  readonly region: string
  /** The bucket is part of the host's name, as AWS has it; else of the path. */
  readonly virtualHost: boolean
  readonly credentials: () => Promise<FoundCredentials>
  readonly sign: Sign
  readonly fetch: typeof globalThis.fetch
  /** Until an answer begins, and between two pieces of one. */
  readonly timeoutMs: number
  readonly attempts: number
  /** The first pause at most; each further one twice as long, up to `PAUSE_MS_MAX`. */
  readonly pauseMs: number
}

const PAUSE_MS_MAX = 10_000
/** A slow uplink of 0.4 Mbit/s gets a part through within its time. Bytes a ms. */
const UPLOAD_RATE_MIN = 50
const TEXT_BYTES_MAX = 16 * 1024 * 1024
/** Credentials are renewed so long before they end. */
const RENEW_MS = 120_000

/** Each part once more percent-encoded, as signing has it (RFC 3986, 2.3). */
const encoded = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)

/** What failed before there was an answer. */
class NoAnswer {
  readonly why: string
  readonly cause: unknown

  constructor(why: string, cause: unknown) {
    this.why = why
    this.cause = cause
  }
}

/** In its own words, and what is behind `fetch failed`. */
export function whyFailed(error: unknown): string {
  const { cause } = error as { cause?: { readonly code?: unknown; readonly message?: unknown } }
  const behind = typeof cause?.code === 'string' ? cause.code : typeof cause?.message === 'string' ? cause.message : null
  return `${error instanceof Error ? error.message : String(error)}${behind === null ? '' : `, ${behind}`}`
}

export class S3Client {
  readonly options: S3ClientOptions
  #credentials: Promise<FoundCredentials> | null = null

  constructor(options: S3ClientOptions) {
    this.options = options
  }

  /** Asks until there is an answer that lasts. @throws LedgerError */
  async request(request: S3Request, wants: 'text' | 'stream' = 'text'): Promise<S3Answer> {
    const { attempts } = this.options
    let renewed = false
    for (let attempt = 1; ; attempt++) {
      const credentials = await this.#current()
      const answer = await this.#once(request, wants, credentials)
      if (answer instanceof NoAnswer) {
        if (attempt < attempts) await this.wait(attempt)
        else throw this.#unreachable(request, answer)
        continue
      }
      const { refusal } = answer
      if (refusal === null) return answer
      if (request.accept?.some((one) => one === refusal.status || one === refusal.code) === true) return answer
      if (isExpired(refusal) && !renewed) {
        renewed = true
        this.#credentials = null
      } else if (isTransient(refusal) && attempt < attempts) await this.wait(attempt)
      else throw s3Error(refusal, this.#asking(request, credentials))
    }
  }

  /** Longer from time to time, and of a random length, so that many who failed at once don't come back at once. */
  async wait(attempt: number): Promise<void> {
    const most = Math.min(this.options.pauseMs * 2 ** (attempt - 1), PAUSE_MS_MAX)
    await pause(most / 2 + (Math.random() * most) / 2)
  }

  async #current(): Promise<FoundCredentials> {
    this.#credentials ??= this.options.credentials()
    try {
      const found = await this.#credentials
      if (found.expires_ms === null || found.expires_ms - RENEW_MS > Date.now()) return found
      return await (this.#credentials = this.options.credentials())
    } catch (error) {
      // What could not be had may be had the next time.
      this.#credentials = null
      throw error
    }
  }

  #url({ key, query = {} }: S3Request): string {
    const { endpoint, bucket, virtualHost } = this.options
    const base = new URL(endpoint)
    if (virtualHost) base.hostname = `${bucket}.${base.hostname}`
    const parts = [...(virtualHost ? [] : [bucket]), ...(key === null ? [] : key.split('/'))]
    const search = Object.entries(query).map(([name, value]) => `${encoded(name)}=${encoded(value)}`)
    return `${base.origin}/${parts.map(encoded).join('/')}${search.length === 0 ? '' : `?${search.join('&')}`}`
  }

  async #once(request: S3Request, wants: 'text' | 'stream', credentials: FoundCredentials): Promise<S3Answer | NoAnswer> {
    const { sign, region, timeoutMs } = this.options
    const { method, body } = request
    const url = this.#url(request)
    const sha256 = createHash('sha256')
      .update(body ?? '')
      .digest('hex')
    // Signed anew each time: a signature is good for some minutes only.
    const headers = await sign({ method, url, headers: { ...request.headers, 'x-amz-content-sha256': sha256 } }, credentials, region)
    // Not signed, since some servers and proxies change it.
    headers.set('accept-encoding', 'identity')
    const stop = new AbortController()
    const limit = timeoutMs + (body === undefined ? 0 : body.length / UPLOAD_RATE_MIN)
    let timer = setTimeout(() => stop.abort(), limit)
    stop.signal.addEventListener('abort', () => clearTimeout(timer))
    const restart = (): void => {
      clearTimeout(timer)
      timer = setTimeout(() => stop.abort(), timeoutMs)
    }
    let streams = false
    try {
      const init = {
        method,
        headers,
        redirect: 'manual',
        signal: stop.signal,
        ...(body === undefined ? {} : { body: body as Uint8Array<ArrayBuffer> }),
      } as const
      const response = await this.options.fetch(url, init)
      const { status } = response
      restart()
      if (status >= 200 && status < 300 && wants === 'stream') {
        streams = true
        const stream = this.#pieces(response, restart, () => clearTimeout(timer), stop)
        return { status, headers: response.headers, stream, cancel: () => stop.abort(), text: '', refusal: null }
      }
      const text = await textOf(response, restart)
      // Completing an upload may fail after its 200 was sent.
      const refusal = readRefusal(status, response.headers, text)
      const isRefused = status < 200 || status >= 300 || (method === 'POST' && refusal.code !== '')
      return { status, headers: response.headers, stream: null, cancel: () => {}, text, refusal: isRefused ? refusal : null }
    } catch (error) {
      return new NoAnswer(stop.signal.aborted ? `nothing came for ${Math.round(limit / 1000)} s` : whyFailed(error), error)
    } finally {
      if (!streams) clearTimeout(timer)
    }
  }

  async *#pieces(
    response: Response,
    restart: () => void,
    end: () => void,
    stop: AbortController,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for await (const piece of response.body ?? []) {
        // Whoever reads may take its time: that is not the server's.
        end()
        yield piece as Uint8Array
        restart()
      }
    } finally {
      end()
      stop.abort()
    }
  }

  #asking({ doing }: S3Request, { accessKeyId, source }: FoundCredentials): S3Asking {
    const { bucket, endpoint, region } = this.options
    return { doing, bucket, endpoint, region, access_key_id: accessKeyId, key_source: source }
  }

  #unreachable({ doing }: S3Request, { why, cause }: NoAnswer): LedgerError {
    const { endpoint, attempts } = this.options
    return new LedgerError(
      'io_error',
      `the server at ${endpoint} could not be had in ${attempts} attempts while ${doing}: check the endpoint and the network (${why})`,
      { cause },
    )
  }
}

/** A server that never ends must not fill the memory. */
async function textOf(response: Response, restart: () => void): Promise<string> {
  const pieces: Uint8Array[] = []
  let length = 0
  for await (const piece of response.body ?? []) {
    restart()
    length += piece.length
    if (length > TEXT_BYTES_MAX) throw new Error(`the answer is longer than ${TEXT_BYTES_MAX} bytes`)
    pieces.push(piece as Uint8Array)
  }
  return Buffer.concat(pieces).toString('utf8')
}

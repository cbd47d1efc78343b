/** A witness over HTTP/1.1: two paths, limits on everything, and an end that leaves nobody without an answer. */
import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { LedgerError } from '../ledger/errors.ts'
import type { Answer, Witness } from './protocol.ts'

/** The largest request is 63 hashes and a checkpoint with as many signatures as a note may have. */
export const BODY_BYTES_MAX = 64 * 1024
const HEADER_BYTES_MAX = 8 * 1024
const CONNECTIONS_MAX = 1024

const MONITORING_PATH = /^\/([0-9a-f]{64})\/checkpoint$/

export interface WitnessServerOptions {
  readonly host: string
  /** 0: any that is free. */
  readonly port: number
  /** A whole request must have come by then. ms; 10,000 unless said. */
  readonly requestTimeoutMs?: number
  /** How long `close` waits for requests that are under way. ms; 5,000 unless said. */
  readonly closeTimeoutMs?: number
  /** Hears of what went wrong inside; callers of the server get a 500. */
  readonly onError?: (error: Error) => void
}

export interface WitnessServer {
  /** `http://<host>:<port>`, without a slash at its end. */
  readonly url: string
  /** Takes no more requests, answers those that are under way, and resolves. A second call waits for the first. */
  close(): Promise<void>
}

/** @throws LedgerError `io_error` where the address can't be had */
export async function serveWitness(witness: Witness, options: WitnessServerOptions): Promise<WitnessServer> {
  const { host, port, requestTimeoutMs = 10_000, closeTimeoutMs = 5_000, onError = () => {} } = options
  let closing: Promise<void> | null = null
  const server = createServer(
    {
      maxHeaderSize: HEADER_BYTES_MAX,
      requestTimeout: requestTimeoutMs,
      headersTimeout: requestTimeoutMs,
      connectionsCheckingInterval: Math.min(1_000, requestTimeoutMs),
      keepAliveTimeout: 30_000,
    },
    (request, response) => {
      respond(witness, request)
        .catch((error: unknown) => {
          onError(error instanceof Error ? error : new Error(String(error)))
          return failed
        })
        .then((answer) => send(request, response, answer, closing !== null))
        .catch(onError)
    },
  )
  server.maxConnections = CONNECTIONS_MAX
  // Whoever takes no answer keeps no connection.
  server.setTimeout(60_000)
  await listen(server, host, port)
  server.on('error', onError)
  const { address, family, port: bound } = server.address() as AddressInfo
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${bound}`,
    close: () => (closing ??= closeServer(server, closeTimeoutMs)),
  }
}

const contentType = 'text/plain; charset=utf-8'
const failed: Answer = { status: 500, contentType, body: 'the witness could not do its work\n' }
const cutOff: Answer = { status: 400, contentType, body: 'the request ended early\n' }
const tooLarge: Answer = { status: 413, contentType, body: `a request has at most ${BODY_BYTES_MAX} bytes\n` }
const unknownPath: Answer = { status: 404, contentType, body: 'there is nothing here\n' }
const wrongMethod: Answer = { status: 405, contentType, body: 'not by this method\n' }

async function respond(witness: Witness, request: IncomingMessage): Promise<Answer> {
  const path = request.url ?? ''
  if (path === '/add-checkpoint') {
    if (request.method !== 'POST') return wrongMethod
    let body: Buffer | null
    try {
      body = await readBody(request)
    } catch {
      // Whoever hung up in the middle of it won't read this.
      return cutOff
    }
    return body === null ? tooLarge : witness.addCheckpoint(body)
  }
  const originHash = MONITORING_PATH.exec(path)?.[1]
  if (originHash === undefined) return unknownPath
  return request.method === 'GET' || request.method === 'HEAD' ? witness.latestCheckpoint(originHash) : wrongMethod
}

/** The body, or null where it is too large; then the rest of it is not kept. */
async function readBody(request: IncomingMessage): Promise<Buffer | null> {
  if (Number(request.headers['content-length'] ?? 0) > BODY_BYTES_MAX) return null
  const chunks: Buffer[] = []
  let size = 0
  // The connection has to live on: it carries the answer.
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > BODY_BYTES_MAX) return null
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function send(request: IncomingMessage, response: ServerResponse, { status, contentType: type, body }: Answer, last: boolean): void {
  response.statusCode = status
  response.setHeader('Content-Type', type)
  response.setHeader('Content-Length', Buffer.byteLength(body))
  response.setHeader('X-Content-Type-Options', 'nosniff')
  response.setHeader('Cache-Control', 'no-store')
  if (status === 405) response.setHeader('Allow', request.url === '/add-checkpoint' ? 'POST' : 'GET, HEAD')
  // What is left of a request that was not read to its end would be taken for the next one.
  if (last || !request.complete) response.setHeader('Connection', 'close')
  response.end(request.method === 'HEAD' ? undefined : body)
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) =>
      reject(new LedgerError('io_error', `can't listen on ${host}:${port} (${error.message}): give another address`, { cause: error })),
    )
    server.listen({ host, port }, resolve)
  })
}

function closeServer(server: Server, timeoutMs: number): Promise<void> {
  return new Promise((resolve) => {
    const cut = setTimeout(() => server.closeAllConnections(), timeoutMs)
    server.close(() => {
      clearTimeout(cut)
      resolve()
    })
    server.closeIdleConnections()
  })
}

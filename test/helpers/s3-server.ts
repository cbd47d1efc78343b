/**
 * A small S3-protocol server for one bucket, in memory, that fails as it is told to. It checks signatures (version 4) by
 * code of its own, so a client that signs wrongly is refused; and what it stores is a test's to change.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { serve } from './http-server.ts'

export interface S3Fault {
  /** Refuses. */
  readonly status?: number
  readonly code?: string
  readonly xml?: string
  readonly headers?: { readonly [name: string]: string }
  /** Waits before it answers, ms. */
  readonly slow?: number
  /** Cuts the connection before anything is done, behind so many bytes of the request. */
  readonly cutRequest?: boolean
  /** Does what was asked for, and cuts the connection before it says so. */
  readonly loseAnswer?: boolean
  /** Cuts the connection behind so many bytes of the answer's body. */
  readonly cutAnswer?: number
}

export interface S3Asked {
  readonly method: string
  readonly key: string
  readonly query: URLSearchParams
  readonly headers: IncomingMessage['headers']
  readonly body: Buffer
}

export interface S3Server {
  readonly endpoint: string
  readonly objects: Map<string, Buffer>
  /** Uploads that were begun, neither complete nor given up. */
  readonly uploads: Map<string, Map<number, Buffer>>
  readonly asked: S3Asked[]
  /** What goes wrong with this request. */
  fault: (asked: S3Asked) => S3Fault | null | undefined
  /** Keys of a page. */
  page: number
  /** As many old servers, which know nothing of conditions and SHA-256. */
  old: boolean
}

export const S3_KEYS = { accessKeyId: 'TESTKEY', secretAccessKey: 'test/secret+key' } as const
export const S3_BUCKET = 'archive-bucket'
export const S3_REGION = 'eu-test-1'

const hex = (bytes: Buffer | string): string => createHash('sha256').update(bytes).digest('hex')
const hmac = (key: Buffer | string, text: string): Buffer => createHmac('sha256', key).update(text).digest()
const encoded = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
const xmlText = (text: string): string => text.replace(/[&<>]/g, (c) => `&#${c.charCodeAt(0)};`)
const etagOf = (bytes: Buffer): string => `"${createHash('md5').update(bytes).digest('hex')}"`

/** AWS General Reference, "Create a signed AWS API request". Null where all is right. */
function refusalOf(request: IncomingMessage, url: URL, body: Buffer): string | null {
  const match =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/.exec(
      request.headers.authorization ?? '',
    )
  if (match === null) return 'AccessDenied'
  const [, id, day, region, signed, signature] = match as unknown as [string, string, string, string, string, string]
  if (id !== S3_KEYS.accessKeyId) return 'InvalidAccessKeyId'
  if (region !== S3_REGION) return 'AuthorizationHeaderMalformed'
  const date = String(request.headers['x-amz-date'])
  const at = Date.parse(date.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'))
  if (Math.abs(at - Date.now()) > 15 * 60_000) return 'RequestTimeTooSkewed'
  if (request.headers['x-amz-content-sha256'] !== hex(body)) return 'XAmzContentSHA256Mismatch'
  const path = url.pathname
    .split('/')
    .map((part) => encoded(decodeURIComponent(part)))
    .join('/')
  const query = [...url.searchParams]
    .map(([k, v]) => `${encoded(k)}=${encoded(v)}`)
    .toSorted()
    .join('&')
  const headers = signed
    .split(';')
    .map((name) => `${name}:${String(request.headers[name]).trim()}\n`)
    .join('')
  const canonical = [request.method, path, query, headers, signed, hex(body)].join('\n')
  const toSign = ['AWS4-HMAC-SHA256', date, `${day}/${region}/s3/aws4_request`, hex(canonical)].join('\n')
  const key = ['s3', 'aws4_request'].reduce((k: Buffer, text) => hmac(k, text), hmac(hmac(`AWS4${S3_KEYS.secretAccessKey}`, day), region))
  return timingSafeEqual(hmac(key, toSign), Buffer.from(signature, 'hex')) ? null : 'SignatureDoesNotMatch'
}

const STATUS: { readonly [code: string]: number } = {
  NoSuchKey: 404,
  NoSuchBucket: 404,
  NoSuchUpload: 404,
  PreconditionFailed: 412,
  InvalidRange: 416,
}
const KEY_CODES = ['AccessDenied', 'InvalidAccessKeyId', 'SignatureDoesNotMatch', 'RequestTimeTooSkewed']

class Refused extends Error {
  readonly code: string
  constructor(code: string) {
    super(code)
    this.code = code
  }
}

function refuse(response: ServerResponse, code: string, status?: number, method?: string): void {
  const xml = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>as ${code} has it</Message><ServerTime>${new Date().toISOString()}</ServerTime></Error>`
  response.writeHead(status ?? STATUS[code] ?? (KEY_CODES.includes(code) ? 403 : 400), { 'content-type': 'application/xml' })
  response.end(method === 'HEAD' ? undefined : xml)
}

/** The bytes that go into an object, once they are what was announced. */
function received({ headers, body }: S3Asked, old: boolean): { readonly [name: string]: string } {
  const { 'content-md5': md5, 'x-amz-checksum-sha256': sum } = headers
  if (md5 !== undefined && md5 !== createHash('md5').update(body).digest('base64')) throw new Refused('BadDigest')
  if (old || sum === undefined) return { etag: etagOf(body) }
  const kept = createHash('sha256').update(body).digest('base64')
  if (kept !== sum) throw new Refused('BadDigest')
  return { etag: etagOf(body), 'x-amz-checksum-sha256': kept }
}

function requireFree(server: S3Server, { key, headers }: S3Asked): void {
  if (!server.old && headers['if-none-match'] === '*' && server.objects.has(key)) throw new Refused('PreconditionFailed')
}

function list(server: S3Server, { query }: S3Asked): string {
  const [prefix, after] = [query.get('prefix') ?? '', query.get('continuation-token') ?? '']
  const keys = [...server.objects.keys()].filter((key) => key.startsWith(prefix) && key > after).toSorted()
  const page = keys.slice(0, server.page)
  const contents = page.map(
    (key) => `<Contents><Key>${xmlText(key)}</Key><ETag>&quot;x&quot;</ETag><Size>${server.objects.get(key)?.length}</Size></Contents>`,
  )
  const more = keys.length > page.length
  return `<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>${more}</IsTruncated>${contents.join('')}${more ? `<NextContinuationToken>${xmlText(page.at(-1) as string)}</NextContinuationToken>` : ''}</ListBucketResult>`
}

function complete(server: S3Server, asked: S3Asked): string {
  const uploadId = asked.query.get('uploadId') as string
  const parts = server.uploads.get(uploadId)
  if (parts === undefined) throw new Refused('NoSuchUpload')
  requireFree(server, asked)
  const listed = [...asked.body.toString().matchAll(/<PartNumber>(\d+)<\/PartNumber><ETag>([^<]*)<\/ETag>(?:<ChecksumSHA256>([^<]*)<)?/g)]
  const bytes = listed.map(([, number, etag, sum]) => {
    const part = parts.get(Number(number))
    if (part === undefined || etag?.replaceAll('&#34;', '"') !== etagOf(part)) throw new Refused('InvalidPart')
    if (!server.old && sum?.replaceAll('&#61;', '=') !== createHash('sha256').update(part).digest('base64'))
      throw new Refused('InvalidPart')
    return part
  })
  if (bytes.slice(0, -1).some((part) => part.length < 5 * 1024 * 1024)) throw new Refused('EntityTooSmall')
  server.objects.set(asked.key, Buffer.concat(bytes))
  server.uploads.delete(uploadId)
  return '<CompleteMultipartUploadResult><ETag>"x-2"</ETag></CompleteMultipartUploadResult>'
}

interface Answer {
  readonly status: number
  readonly headers?: { readonly [name: string]: string }
  readonly body?: Buffer | string
}

function get(server: S3Server, { key, headers }: S3Asked): Answer {
  const object = server.objects.get(key)
  if (object === undefined) throw new Refused('NoSuchKey')
  if (headers['if-match'] !== undefined && headers['if-match'] !== etagOf(object)) throw new Refused('PreconditionFailed')
  const range = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? '')
  if (range === null) return { status: 200, headers: { etag: etagOf(object) }, body: object }
  const start = Number(range[1])
  const end = range[2] === '' ? object.length : Math.min(object.length, Number(range[2]) + 1)
  if (start >= object.length) throw new Refused('InvalidRange')
  const place = `bytes ${start}-${end - 1}/${object.length}`
  return { status: 206, headers: { etag: etagOf(object), 'content-range': place }, body: object.subarray(start, end) }
}

function answerTo(server: S3Server, asked: S3Asked): Answer {
  const { method, key, query, body } = asked
  if (key === '') return method === 'GET' ? { status: 200, body: list(server, asked) } : { status: 200 }
  const uploadId = query.get('uploadId')
  if (method === 'POST' && query.has('uploads')) {
    const id = `upload-${server.uploads.size + 1}`
    server.uploads.set(id, new Map())
    return { status: 200, body: `<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>` }
  }
  if (method === 'POST') return { status: 200, body: complete(server, asked) }
  if (method === 'PUT' && uploadId !== null) {
    const upload = server.uploads.get(uploadId)
    if (upload === undefined) throw new Refused('NoSuchUpload')
    const headers = received(asked, server.old)
    upload.set(Number(query.get('partNumber')), body)
    return { status: 200, headers }
  }
  if (method === 'PUT') {
    const headers = received(asked, server.old)
    requireFree(server, asked)
    server.objects.set(key, body)
    return { status: 200, headers }
  }
  if (method === 'DELETE') {
    if (uploadId === null) server.objects.delete(key)
    else server.uploads.delete(uploadId)
    return { status: 204 }
  }
  if (method === 'GET') return get(server, asked)
  const object = server.objects.get(key)
  if (object === undefined) throw new Refused('NoSuchKey')
  return { status: 200, headers: { etag: etagOf(object), 'content-length': String(object.length) } }
}

async function handle(server: S3Server, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url as string, 'http://s3')
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part as Buffer)
  const body = Buffer.concat(parts)
  const [bucket, ...rest] = url.pathname.slice(1).split('/')
  const method = request.method as string
  const asked = { method, key: rest.map(decodeURIComponent).join('/'), query: url.searchParams, headers: request.headers, body }
  server.asked.push(asked)
  const fault = server.fault(asked) ?? {}
  if (fault.slow !== undefined) await new Promise((resolve) => setTimeout(resolve, fault.slow))
  if (fault.cutRequest === true) return void request.socket.destroy()
  if (fault.code !== undefined || fault.status !== undefined) {
    if (fault.xml === undefined && fault.headers === undefined) return refuse(response, fault.code ?? '', fault.status, method)
    response.writeHead(fault.status ?? 200, fault.headers ?? {}).end(fault.xml)
    return
  }
  const refused = refusalOf(request, url, body)
  if (refused !== null) return refuse(response, refused, undefined, method)
  if (bucket !== S3_BUCKET) return refuse(response, 'NoSuchBucket', undefined, method)
  const answer = answerTo(server, asked)
  if (fault.loseAnswer === true) return void request.socket.destroy()
  const bytes = Buffer.from(answer.body ?? '')
  response.writeHead(answer.status, { ...(method === 'HEAD' ? {} : { 'content-length': bytes.length }), ...answer.headers })
  if (fault.cutAnswer === undefined) return void response.end(method === 'HEAD' ? undefined : bytes)
  response.write(bytes.subarray(0, fault.cutAnswer), () => request.socket.destroySoon())
}

/** Until the test has ended. */
export async function startS3(): Promise<S3Server> {
  const server: S3Server & { endpoint: string } = {
    endpoint: '',
    objects: new Map(),
    uploads: new Map(),
    asked: [],
    fault: () => null,
    page: 1000,
    old: false,
  }
  server.endpoint = await serve((request, response) => {
    handle(server, request, response).catch((error: unknown) => {
      if (error instanceof Refused) refuse(response, error.code, undefined, request.method)
      else request.socket.destroy()
    })
  })
  return server
}

/** Bringing one object to an S3-protocol server: in one request, or in parts where it is larger than one. */
import { createHash } from 'node:crypto'
import type { Hash } from 'node:crypto'
import type { ArchiveContent, WrittenFile } from '../ledger/archive.ts'
import { LedgerError } from '../ledger/errors.ts'
import { chunksOf, requireSize } from '../ledger/archive-content.ts'
import type { S3Answer, S3Client } from './s3-client.ts'
import { childText, parseXml } from './s3-xml.ts'

/** AWS takes parts from 5 MiB on, the last one excepted, and at most so many. */
export const PART_BYTES_MIN = 5 * 1024 * 1024
const PARTS_MAX = 10_000

/** Content in pieces of one size, all but the last, of which there is at least one. The digest and the length grow with them. */
class Parts {
  readonly hash: Hash = createHash('sha256')
  bytes = 0
  readonly #content: ArchiveContent
  readonly #partBytes: number

  constructor(content: ArchiveContent, partBytes: number) {
    this.#content = content
    this.#partBytes = partBytes
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    let part = Buffer.allocUnsafe(0)
    let length = 0
    let count = 0
    for await (const chunk of chunksOf(this.#content)) {
      this.hash.update(chunk)
      this.bytes += chunk.length
      for (let at = 0; at < chunk.length;) {
        // The first block grows, since most files are smaller than a part.
        if (length === part.length && length < this.#partBytes) {
          const wider = Buffer.allocUnsafe(Math.min(this.#partBytes, Math.max(length * 2, chunk.length - at, 64 * 1024)))
          part.copy(wider, 0, 0, length)
          part = wider
        }
        const taken = Math.min(part.length - length, chunk.length - at)
        part.set(chunk.subarray(at, at + taken), length)
        length += taken
        at += taken
        if (length < this.#partBytes) continue
        yield part
        count++
        part = Buffer.allocUnsafe(0)
        length = 0
      }
    }
    if (length > 0 || count === 0) yield part.subarray(0, length)
  }

  written(): WrittenFile {
    return { bytes: this.bytes, sha256: this.hash.digest('hex') }
  }
}

interface UploadedPart {
  readonly number: number
  readonly etag: string
  /** Base64; null where the server does not keep one. */
  readonly sha256: string | null
}

/** The server compares the bytes that it gets with these; one that knows only MD5, with that. */
function checksums(bytes: Uint8Array): { readonly 'content-md5': string; readonly 'x-amz-checksum-sha256': string } {
  return {
    'content-md5': createHash('md5').update(bytes).digest('base64'),
    'x-amz-checksum-sha256': createHash('sha256').update(bytes).digest('base64'),
  }
}

const textOf = (text: string): string => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)

/** Where a name is taken already. */
export const NAME_TAKEN = 'name taken'

export interface Upload {
  readonly client: S3Client
  /** Whole name in the bucket. */
  readonly key: string
  /** For messages: the name in the archive, and what is being done. */
  readonly name: string
  readonly doing: string
  readonly partBytes: number
}

const badAnswer = ({ doing }: Upload, what: string): LedgerError =>
  new LedgerError('io_error', `the server answered without ${what} while ${doing}`)

/** The server says which bytes it has: they must be those that were sent. */
function requireChecksum(upload: Upload, answer: S3Answer, sent: string): string | null {
  const kept = answer.headers.get('x-amz-checksum-sha256')
  if (kept !== null && kept !== sent)
    throw new LedgerError('io_error', `the server has other bytes than were sent, ${upload.doing}: do it again`, {
      expected: sent,
      found: kept,
    })
  return kept
}

/** Only where the name is free: old servers ignore it, and some refuse it, which is then known. */
async function onlyIfFree(
  send: (headers: { readonly [name: string]: string }) => Promise<S3Answer>,
): Promise<S3Answer | typeof NAME_TAKEN> {
  const answer = await send({ 'if-none-match': '*' })
  if (answer.status === 412) return NAME_TAKEN
  return answer.refusal === null ? answer : send({})
}

const ONLY_IF_FREE = [412, 'NotImplemented'] as const

async function putWhole(upload: Upload, body: Uint8Array): Promise<typeof NAME_TAKEN | null> {
  const { client, key, doing } = upload
  const sums = checksums(body)
  const answer = await onlyIfFree((condition) =>
    client.request({
      method: 'PUT',
      key,
      doing,
      body,
      headers: { ...sums, ...condition, 'content-type': 'application/octet-stream' },
      accept: 'if-none-match' in condition ? ONLY_IF_FREE : [],
    }),
  )
  if (answer === NAME_TAKEN) return NAME_TAKEN
  requireChecksum(upload, answer, sums['x-amz-checksum-sha256'])
  return null
}

async function putPart(upload: Upload, uploadId: string, number: number, body: Uint8Array): Promise<UploadedPart> {
  const { client, key, doing } = upload
  if (number > PARTS_MAX)
    throw new LedgerError(
      'too_large',
      `more than ${PARTS_MAX} parts of ${upload.partBytes} bytes, ${doing}: set larger parts, or say its size`,
    )
  const sums = checksums(body)
  const query = { partNumber: String(number), uploadId }
  const answer = await client.request({ method: 'PUT', key, query, doing, body, headers: sums })
  const etag = answer.headers.get('etag')
  if (etag === null) throw badAnswer(upload, 'an ETag')
  return { number, etag, sha256: requireChecksum(upload, answer, sums['x-amz-checksum-sha256']) }
}

async function beginParts(upload: Upload): Promise<string> {
  const { client, key, doing } = upload
  const headers = { 'x-amz-checksum-algorithm': 'SHA256', 'content-type': 'application/octet-stream' }
  const { text } = await client.request({ method: 'POST', key, query: { uploads: '' }, doing, headers })
  const root = parseXml(text)
  const uploadId = root?.name === 'InitiateMultipartUploadResult' ? childText(root, 'UploadId') : null
  if (uploadId === null || uploadId === '') throw badAnswer(upload, 'an UploadId')
  return uploadId
}

async function completeParts(upload: Upload, uploadId: string, parts: readonly UploadedPart[]): Promise<typeof NAME_TAKEN | null> {
  const { client, key, doing } = upload
  const listed = parts.map(({ number, etag, sha256 }) => {
    const sum = sha256 === null ? '' : `<ChecksumSHA256>${textOf(sha256)}</ChecksumSHA256>`
    return `<Part><PartNumber>${number}</PartNumber><ETag>${textOf(etag)}</ETag>${sum}</Part>`
  })
  const xml = `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${listed.join('')}</CompleteMultipartUpload>`
  const answer = await onlyIfFree((condition) =>
    client.request({
      method: 'POST',
      key,
      query: { uploadId },
      doing,
      body: Buffer.from(xml),
      headers: { ...condition, 'content-type': 'application/xml' },
      // It is not there any more where an answer was lost and it was complete: then the name is taken, by these bytes.
      accept: 'if-none-match' in condition ? [...ONLY_IF_FREE, 'NoSuchUpload'] : ['NoSuchUpload'],
    }),
  )
  return answer === NAME_TAKEN || answer.refusal?.code === 'NoSuchUpload' ? NAME_TAKEN : null
}

/** Parts that nobody completes cost money until somebody finds them. */
async function abort({ client, key, doing }: Upload, uploadId: string): Promise<void> {
  await client.request({ method: 'DELETE', key, query: { uploadId }, doing: `giving up ${doing}`, accept: [404] }).catch(() => {})
}

async function putParts(
  upload: Upload,
  first: Uint8Array,
  rest: AsyncIterator<Uint8Array>,
  parts: Parts,
  size?: number,
): Promise<typeof NAME_TAKEN | null> {
  const uploadId = await beginParts(upload)
  let isWhole = false
  try {
    const uploaded = [await putPart(upload, uploadId, 1, first)]
    for (;;) {
      const { done, value } = await rest.next()
      if (done === true) break
      uploaded.push(await putPart(upload, uploadId, uploaded.length + 1, value))
    }
    requireSize(upload.name, parts.bytes, size)
    const taken = await completeParts(upload, uploadId, uploaded)
    isWhole = taken === null
    return taken
  } finally {
    if (!isWhole) await abort(upload, uploadId)
  }
}

/**
 * Uploads the content, where the name is free.
 * @returns what it is, and whether the name was taken meanwhile
 * @throws LedgerError; nothing stands under the name then, unless its answer was lost
 */
export async function upload(
  to: Upload,
  content: ArchiveContent,
  size?: number,
): Promise<{ readonly written: WrittenFile; readonly taken: boolean }> {
  const partBytes = size === undefined ? to.partBytes : Math.max(to.partBytes, Math.ceil(size / PARTS_MAX))
  const parts = new Parts(content, partBytes)
  const pieces = parts[Symbol.asyncIterator]()
  let taken: typeof NAME_TAKEN | null
  try {
    const first = (await pieces.next()).value as Uint8Array
    if (first.length < partBytes) {
      requireSize(to.name, parts.bytes, size)
      taken = await putWhole(to, first)
    } else taken = await putParts({ ...to, partBytes }, first, pieces, parts, size)
  } finally {
    await pieces.return()
  }
  return { written: parts.written(), taken: taken !== null }
}

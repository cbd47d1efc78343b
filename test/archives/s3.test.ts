/** Archives in a bucket: what they do on servers that work, and what they say where they are not let in. */
import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { readArchived } from '../../src/ledger/archive.ts'
import type { ArchiveStore } from '../../src/ledger/archive.ts'
import { openArchive } from '../../src/open-archive.ts'
import type { ArchiveOptions } from '../../src/open-archive.ts'
import { allOf, archiveContract, chunked, namesIn, sha256 } from '../helpers/archive-contract.ts'
import { S3_BUCKET, S3_KEYS, S3_REGION, startS3 } from '../helpers/s3-server.ts'
import { missingS3rver, S3RVER_BUCKET, S3RVER_KEYS, startS3rver } from '../helpers/s3rver.ts'
import { startProxy } from '../helpers/tcp-proxy.ts'

const PART = 5 * 1024 * 1024

function openAt(endpoint: string, options: ArchiveOptions = {}, bucket: string = S3_BUCKET): Promise<ArchiveStore> {
  const settings = { credentials: S3_KEYS, environment: {}, partBytes: PART, pauseMs: 1, ...options }
  return openArchive(`s3://${bucket}/some/prefix?endpoint=${endpoint}&region=${S3_REGION}`, settings)
}

describe('a server that knows conditions and checksums', () => {
  archiveContract(async () => openAt((await startS3()).endpoint), PART + 100_000)
})

describe('an old server', () => {
  archiveContract(async () => {
    const server = await startS3()
    server.old = true
    return openAt(server.endpoint)
  }, 300_000)
})

const missing = missingS3rver()
if (missing !== null) console.warn(`skipped, nobody else's server is asked: ${missing}`)

describe.skipIf(missing !== null)('s3rver', () => {
  const open = async (port: number, options: ArchiveOptions = {}): Promise<ArchiveStore> =>
    openArchive(`s3://${S3RVER_BUCKET}/a b/c+d?endpoint=http://127.0.0.1:${port}`, {
      credentials: S3RVER_KEYS,
      environment: {},
      partBytes: PART,
      pauseMs: 1,
      ...options,
    })

  archiveContract(async () => open(await startS3rver()), PART + 1)

  test('a read that is cut goes on, and so does an upload in parts', async () => {
    const port = await startS3rver()
    const proxy = await startProxy(port)
    const archive = await open(proxy.port)
    const bytes = randomBytes(PART + 5)
    const cutPart = proxy.cutNext('partNumber=2', { request: 300 })
    await archive.write('large', chunked(bytes, 1_000_000))
    await cutPart
    const cutRead = proxy.cutNext('GET ', { answer: 3_000_000 })
    expect(sha256(await allOf(archive, 'large'))).toBe(sha256(bytes))
    await cutRead
  })

  test('a wrong key, and a bucket that is not there', async () => {
    const port = await startS3rver()
    const wrong = { accessKeyId: 'S3RVER', secretAccessKey: 'another' }
    await expect((await open(port, { credentials: wrong })).stat('a')).rejects.toMatchObject({
      code: 'key_error',
      details: { s3_code: 'SignatureDoesNotMatch' },
    })
    const elsewhere = await openArchive(`s3://no-such-bucket?endpoint=http://127.0.0.1:${port}`, {
      credentials: S3RVER_KEYS,
      environment: {},
    })
    await expect(elsewhere.stat('a')).rejects.toMatchObject({ code: 'not_found', details: { s3_code: 'NoSuchBucket' } })
  })
})

test('names lie under the prefix, and others are not listed', async () => {
  const server = await startS3()
  const archive = await openAt(server.endpoint)
  await archive.write('a/b', Buffer.from('x'))
  server.objects.set('some/prefix-other/c', Buffer.from('x'))
  server.objects.set('some/prefix/folder/', Buffer.from(''))
  expect([...server.objects.keys()][0]).toBe('some/prefix/a/b')
  expect(await namesIn(archive)).toEqual(['a/b'])
})

test('lists more than a page', async () => {
  const server = await startS3()
  server.page = 7
  for (let i = 0; i < 50; i++) server.objects.set(`some/prefix/n&m/${i}`, Buffer.alloc(i))
  const archive = await openAt(server.endpoint)
  await archive.write('n/1', Buffer.from('x'))
  expect(await namesIn(archive)).toHaveLength(51)
})

test('uploads in parts as large as is asked for', async () => {
  const server = await startS3()
  const archive = await openAt(server.endpoint)
  await archive.write('two', Buffer.alloc(PART + 1), PART + 1)
  await archive.write('one', Buffer.alloc(PART))
  const sizes = server.asked.filter(({ query, key }) => query.has('partNumber') && key.endsWith('/two')).map(({ body }) => body.length)
  expect(sizes).toEqual([PART, 1])
  expect(server.uploads.size).toBe(0)
})

describe('who is not let in is told which key it was, and what to look at', () => {
  test.each([
    ['a wrong secret', { credentials: { ...S3_KEYS, secretAccessKey: 'wrong' } }, 'SignatureDoesNotMatch', /TESTKEY.*secret key/],
    ['an unknown id', { credentials: { ...S3_KEYS, accessKeyId: 'NOBODY' } }, 'InvalidAccessKeyId', /NOBODY.*does not know it/],
    ['no right', {}, 'AccessDenied', /TESTKEY.*s3:PutObject/],
    ['a wrong clock', {}, 'RequestTimeTooSkewed', /clock is wrong/],
  ] as const)('%s', async (_, options, code, message) => {
    const server = await startS3()
    if (!('credentials' in options)) server.fault = () => ({ code, status: 403 })
    const archive = await openAt(server.endpoint, options)
    const attempts = [archive.stat('a'), archive.write('a', Buffer.from('x')), allOf(archive, 'a'), namesIn(archive), archive.remove('a')]
    for (const attempt of await Promise.allSettled(attempts)) {
      expect(attempt).toMatchObject({ status: 'rejected', reason: { code: 'key_error', details: { s3_code: code } } })
      const { reason } = attempt as PromiseRejectedResult
      expect(String(reason)).toMatch(message)
      expect(String(reason)).toContain('the options')
      expect(JSON.stringify(reason)).not.toContain(S3_KEYS.secretAccessKey)
    }
    expect(server.objects.size).toBe(0)
  })

  test('a bucket that is not there is told from a file that is not', async () => {
    const { endpoint } = await startS3()
    const archive = await openAt(endpoint, {}, 'another-bucket')
    for (const attempt of [
      () => archive.stat('a'),
      () => archive.write('a', Buffer.from('x')),
      () => allOf(archive, 'a'),
      () => namesIn(archive),
    ])
      await expect(attempt()).rejects.toMatchObject({ code: 'not_found', details: { s3_code: 'NoSuchBucket' } })
    const there = await openAt(endpoint)
    expect(await there.stat('a')).toBe(null)
    await expect(readArchived(there, 'a', { start: 0, end: 1 })).rejects.toMatchObject({ details: { s3_code: 'NoSuchKey' } })
  })

  test('a wrong region is told with the right one, where the server says it', async () => {
    const server = await startS3()
    server.fault = () => ({ status: 301, code: 'PermanentRedirect', headers: { 'x-amz-bucket-region': 'eu-west-9' }, xml: '' })
    await expect((await openAt(server.endpoint)).stat('a')).rejects.toThrow(/region=eu-west-9/)
  })

  test('credentials that ended are asked for again, once', async () => {
    const server = await startS3()
    let expired = 1
    server.fault = ({ method }) => (method === 'PUT' && expired-- > 0 ? { code: 'ExpiredToken', status: 400 } : null)
    const archive = await openAt(server.endpoint)
    await archive.write('a', Buffer.from('x'))
    server.fault = () => ({ code: 'ExpiredToken', status: 400 })
    await expect(archive.stat('a')).rejects.toMatchObject({ code: 'key_error' })
  })
})

/** Servers and networks that fail: what is written is whole or not there, what is read is right or an error. */
import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { readArchived } from '../../src/ledger/archive.ts'
import type { ArchiveStore } from '../../src/ledger/archive.ts'
import { openArchive } from '../../src/open-archive.ts'
import type { ArchiveOptions } from '../../src/open-archive.ts'
import { allOf, chunked, sha256 } from '../helpers/archive-contract.ts'
import { serve } from '../helpers/http-server.ts'
import { S3_BUCKET, S3_KEYS, S3_REGION, startS3 } from '../helpers/s3-server.ts'
import type { S3Asked, S3Fault, S3Server } from '../helpers/s3-server.ts'

const PART = 5 * 1024 * 1024
const KEY = 'some/prefix/a'

function openAt(endpoint: string, options: ArchiveOptions = {}): Promise<ArchiveStore> {
  const settings = { credentials: S3_KEYS, environment: {}, partBytes: PART, pauseMs: 1, ...options }
  return openArchive(`s3://${S3_BUCKET}/some/prefix?endpoint=${endpoint}&region=${S3_REGION}`, settings)
}

/** The first `times` of the requests that fit fail so. */
function failing(server: S3Server, fits: (asked: S3Asked) => boolean, fault: S3Fault, times: number): { left: number } {
  const state = { left: times }
  server.fault = (asked) => (fits(asked) && state.left-- > 0 ? fault : null)
  return state
}

const PASSING: readonly (readonly [string, S3Fault])[] = [
  ['500', { status: 500, code: 'InternalError' }],
  ['502 without a body', { status: 502, xml: '' }],
  ['503 SlowDown', { status: 503, code: 'SlowDown' }],
  ['400 RequestTimeout', { status: 400, code: 'RequestTimeout' }],
  ['a cut connection', { cutRequest: true }],
  ['an answer that is lost', { loseAnswer: true }],
]

describe.each(PASSING)('%s, and then all is well', (_, fault) => {
  const isOf = {
    'looking at it': ({ method }: S3Asked) => method === 'HEAD',
    'writing it': ({ method, query }: S3Asked) => method === 'PUT' && !query.has('partNumber'),
    'reading it': ({ method, key }: S3Asked) => method === 'GET' && key !== '',
    'listing it': ({ method, key }: S3Asked) => method === 'GET' && key === '',
    'removing it': ({ method }: S3Asked) => method === 'DELETE',
  }

  test.each(Object.entries(isOf))('%s', async (_name, fits) => {
    const server = await startS3()
    const archive = await openAt(server.endpoint)
    const state = failing(server, fits, fault, 2)
    await archive.write('a', Buffer.from('content'))
    expect(await archive.stat('a')).toEqual({ name: 'a', bytes: 7 })
    expect((await allOf(archive, 'a')).toString()).toBe('content')
    const listed: unknown[] = []
    for await (const one of archive.list('')) listed.push(one)
    expect(listed).toEqual([{ name: 'a', bytes: 7 }])
    await archive.remove('a')
    expect(server.objects.size).toBe(0)
    expect(state.left).toBeLessThanOrEqual(0)
  })
})

test('a fault that lasts ends, with what it was', async () => {
  const server = await startS3()
  const archive = await openAt(server.endpoint, { attempts: 3 })
  server.fault = () => ({ status: 503, code: 'SlowDown' })
  await expect(archive.remove('a')).rejects.toMatchObject({ code: 'io_error', details: { s3_code: 'SlowDown' } })
  expect(server.asked.length).toBe(3)
  server.fault = () => ({ status: 400, code: 'SomethingElse' })
  server.asked.length = 0
  await expect(archive.remove('a')).rejects.toMatchObject({ code: 'io_error', details: { s3_code: 'SomethingElse' } })
  // Asking again for what is refused would be of no use.
  expect(server.asked.length).toBe(1)
  server.fault = () => ({ status: 507, code: 'XMinioStorageFull' })
  await expect(archive.remove('a')).rejects.toMatchObject({ code: 'disk_full' })
})

test('nobody there, and somebody who never answers', async () => {
  await expect((await openAt('http://127.0.0.1:9', { attempts: 2 })).stat('a')).rejects.toMatchObject({ code: 'io_error' })
  let asked = 0
  const silent = await serve(() => void asked++)
  await expect((await openAt(silent, { attempts: 2, timeoutMs: 60 })).stat('a')).rejects.toThrow(/nothing came/)
  expect(asked).toBe(2)
})

test('a slow server is waited for', async () => {
  const server = await startS3()
  server.fault = () => ({ slow: 80 })
  const archive = await openAt(server.endpoint, { attempts: 1 })
  await archive.write('a', Buffer.from('content'))
  expect((await allOf(archive, 'a')).toString()).toBe('content')
})

describe('an upload in parts', () => {
  const bytes = randomBytes(PART + 1000)
  const steps = {
    begin: ({ query }: S3Asked) => query.has('uploads'),
    'part 1': ({ query }: S3Asked) => query.get('partNumber') === '1',
    'part 2': ({ query }: S3Asked) => query.get('partNumber') === '2',
    complete: ({ method, query }: S3Asked) => method === 'POST' && query.has('uploadId'),
  }

  test.each(Object.entries(steps).flatMap(([name, fits]) => PASSING.slice(3).map(([what, fault]) => [name, what, fits, fault] as const)))(
    'goes on after a fault at %s: %s',
    async (_name, _what, fits, fault) => {
      const server = await startS3()
      const archive = await openAt(server.endpoint)
      const state = failing(server, fits, fault, 1)
      expect(await archive.write('a', chunked(bytes, 800_000))).toEqual({ bytes: bytes.length, sha256: sha256(bytes) })
      expect(state.left).toBeLessThanOrEqual(0)
      expect(sha256(server.objects.get(KEY) as Buffer)).toBe(sha256(bytes))
    },
  )

  test.each(Object.entries(steps))(
    'is given up where a fault at %s lasts: nothing is there, and no part is paid for',
    async (_name, fits) => {
      const server = await startS3()
      const archive = await openAt(server.endpoint, { attempts: 2 })
      failing(server, fits, { status: 500, code: 'InternalError' }, Infinity)
      await expect(archive.write('a', chunked(bytes, 800_000))).rejects.toMatchObject({ code: 'io_error' })
      expect([server.objects.size, server.uploads.size]).toEqual([0, 0])
    },
  )

  test('an error that comes behind a 200 is one', async () => {
    const server = await startS3()
    failing(server, steps.complete, { status: 200, xml: '<Error><Code>InternalError</Code></Error>' }, 1)
    const archive = await openAt(server.endpoint)
    expect(await archive.write('a', bytes)).toMatchObject({ bytes: bytes.length })
    failing(server, steps.complete, { status: 200, xml: '<Error><Code>InvalidPart</Code></Error>' }, 1)
    await expect(archive.write('b', bytes)).rejects.toMatchObject({ details: { s3_code: 'InvalidPart' } })
    expect(server.objects.size).toBe(1)
  })

  test('answers that are none', async () => {
    const server = await startS3()
    const archive = await openAt(server.endpoint, { attempts: 1 })
    for (const xml of ['', 'no xml', '<x/>', '<InitiateMultipartUploadResult/>']) {
      failing(server, steps.begin, { status: 200, xml }, 1)
      await expect(archive.write('a', bytes)).rejects.toMatchObject({ code: 'io_error' })
    }
    failing(server, steps['part 1'], { status: 200, xml: '' }, 1)
    await expect(archive.write('a', bytes)).rejects.toThrow(/ETag/)
    expect([server.objects.size, server.uploads.size]).toEqual([0, 0])
  })
})

describe('bytes that change on their way', () => {
  test('to the server are refused by it, and are an error', async () => {
    const server = await startS3()
    const archive = await openAt(server.endpoint)
    server.fault = ({ method }) => (method === 'PUT' ? { status: 400, code: 'BadDigest' } : null)
    await expect(archive.write('a', Buffer.from('content'))).rejects.toThrow(/changed on their way/)
  })

  test('and that the server says it has, are an error', async () => {
    const server = await startS3()
    const archive = await openAt(server.endpoint)
    failing(
      server,
      ({ method }) => method === 'PUT',
      { status: 200, xml: '', headers: { etag: '"x"', 'x-amz-checksum-sha256': 'b3RoZXI=' } },
      1,
    )
    await expect(archive.write('a', Buffer.from('content'))).rejects.toThrow(/other bytes than were sent/)
  })

  test('and an object that is shorter than what was sent', async () => {
    const server = await startS3()
    const archive = await openAt(server.endpoint)
    server.fault = ({ method }) => {
      if (method === 'HEAD' && server.objects.has(KEY)) server.objects.set(KEY, Buffer.from('cont'))
      return null
    }
    await expect(archive.write('a', Buffer.from('content'))).rejects.toThrow(/has 4 bytes/)
  })
})

describe('a read', () => {
  const bytes = randomBytes(500_000)
  const start = async (options: ArchiveOptions = {}): Promise<{ server: S3Server; archive: ArchiveStore }> => {
    const server = await startS3()
    server.objects.set(KEY, bytes)
    return { server, archive: await openAt(server.endpoint, options) }
  }

  test('that is cut again and again goes on at its offset', async () => {
    const { server, archive } = await start({ attempts: 2 })
    server.fault = ({ method }) => (method === 'GET' ? { cutAnswer: 60_000 } : null)
    expect(sha256(await allOf(archive, 'a'))).toBe(sha256(bytes))
    expect(server.asked.filter(({ headers }) => headers.range !== undefined).length).toBeGreaterThan(5)
    const range = { start: 100_001, end: 400_001 }
    expect(sha256(await readArchived(archive, 'a', range))).toBe(sha256(bytes.subarray(range.start, range.end)))
  })

  test('of which nothing more comes ends', async () => {
    const { server, archive } = await start({ attempts: 3 })
    server.fault = ({ headers }) => ({ cutAnswer: headers.range === undefined ? 60_000 : 0 })
    await expect(allOf(archive, 'a')).rejects.toThrow(/cut off at byte 60000, 3 times/)
  })

  test('of an object that was truncated is damage', async () => {
    const { server, archive } = await start()
    server.objects.set(KEY, bytes.subarray(0, 300_000))
    await expect(readArchived(archive, 'a', { start: 0, end: 500_000 })).rejects.toMatchObject({ code: 'damaged' })
    await expect(readArchived(archive, 'a', { start: 400_000, end: 500_000 })).rejects.toMatchObject({ code: 'damaged' })
  })

  test('of an object that changes meanwhile is damage, and no mixture', async () => {
    const { server, archive } = await start()
    server.fault = ({ headers }) => {
      if (headers.range !== undefined) server.objects.set(KEY, randomBytes(500_000))
      return { cutAnswer: 60_000 }
    }
    await expect(allOf(archive, 'a')).rejects.toThrow(/changed while it was read/)
  })

  test('from a server that knows no ranges', async () => {
    const { archive } = await start()
    const whole = await serve((_, response) => void response.writeHead(200, { 'content-length': bytes.length }).end(bytes))
    expect((await archive.stat('a'))?.bytes).toBe(500_000)
    const range = { start: 100_000, end: 100_010 }
    expect(Buffer.from(await readArchived(await openAt(whole), 'a', range)).equals(bytes.subarray(100_000, 100_010))).toBe(true)
  })

  test('from a server that sends other bytes than were asked for', async () => {
    const wrong = await serve(
      (_, response) => void response.writeHead(206, { 'content-range': 'bytes 9-19/500', 'content-length': 10 }).end('0123456789'),
    )
    await expect(readArchived(await openAt(wrong), 'a', { start: 0, end: 10 })).rejects.toThrow(/did not say which bytes/)
    const silent = await serve((_, response) => void response.writeHead(206).end('0123456789'))
    await expect(readArchived(await openAt(silent), 'a', { start: 0, end: 10 })).rejects.toThrow(/did not say which bytes/)
  })

  test('that is given up lets the connection go', async () => {
    const { archive } = await start()
    for await (const chunk of archive.read('a')) {
      expect(chunk.length).toBeGreaterThan(0)
      break
    }
    expect(sha256(await allOf(archive, 'a'))).toBe(sha256(bytes))
  })
})

test('an answer without end does not fill the memory', async () => {
  const endless = await serve((_, response) => {
    const more = (): void => {
      while (response.write(Buffer.alloc(1_000_000, 0x20)));
      response.once('drain', more)
    }
    more()
  })
  const archive = await openAt(endless, { attempts: 1 })
  await expect(
    (async () => {
      for await (const _ of archive.list(''));
    })(),
  ).rejects.toThrow(/longer than/)
})

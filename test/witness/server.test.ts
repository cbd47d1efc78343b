/** Every row of the status table of C2SP tlog-witness over real HTTP, and what HTTP adds of its own. */
import { connect } from 'node:net'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { formatAddCheckpoint } from '../../src/ledger/add-checkpoint.ts'
import { ed25519Check } from '../../src/ledger/ed25519.ts'
import { formatKeyFile } from '../../src/ledger/keys.ts'
import { formatCheckpoint } from '../../src/verify/checkpoint.ts'
import { cosignatureTime, ED25519_COSIGNATURE, openNote, parseNote } from '../../src/verify/note.ts'
import type { SignedNote } from '../../src/verify/note.ts'
import { BODY_BYTES_MAX } from '../../src/witness/server.ts'
import { WitnessState } from '../../src/witness/state.ts'
import { tempDir } from '../helpers/temp.ts'
import { leafOf, TestLog } from '../helpers/test-log.ts'
import { post, serving, submit } from './serving.ts'

const TEXT = 'text/plain; charset=utf-8'
const hashOf = (origin: string): string => createHash('sha256').update(origin).digest('hex')

/** Opens what came back behind the note that was sent. */
async function cosigned(log: TestLog, body: string, key: Parameters<typeof openNote>[1][0], size = log.size): Promise<bigint> {
  const note = parseNote(Buffer.from((await log.note(size)) + body)) as SignedNote
  const opened = await openNote(note, [key], ed25519Check)
  expect(opened).toMatchObject({ verified: [{ key }] })
  return cosignatureTime(note.signatures.at(-1)!.bytes)
}

describe('add-checkpoint', () => {
  test('200: cosignature lines, with a time; again with a larger one, and again without growth', async () => {
    const log = new TestLog().grow(5)
    const { url, witness } = await serving([log])
    const first = await submit(url, log, 0n)
    expect(first).toMatchObject({ status: 200, type: TEXT })
    const time = await cosigned(log, first.body, witness.key)
    expect(Math.abs(Number(time) - Date.now() / 1000)).toBeLessThan(60)
    const second = await submit(url, log.grow(300), 5n)
    expect(second).toMatchObject({ status: 200, type: TEXT })
    await cosigned(log, second.body, witness.key)
    const refresh = await submit(url, log, 305n)
    expect(refresh.status).toBe(200)
    await cosigned(log, refresh.body, witness.key)
  })

  test('200: a log without leaves, and its growth', async () => {
    const log = new TestLog()
    const { url } = await serving([log])
    expect(await submit(url, log, 0n)).toMatchObject({ status: 200 })
    expect(await submit(url, log, 0n)).toMatchObject({ status: 200 })
    expect(await submit(url, log.grow(2), 0n)).toMatchObject({ status: 200 })
    expect(await submit(url, log, 0n, 0n)).toMatchObject({ status: 409, body: '2\n' })
  })

  test('200: signatures by others are ignored, and not shown to others', async () => {
    const log = new TestLog().grow(2)
    const { url } = await serving([log])
    const note = `${await log.note()}\u2014 somebody.example AAAAAAAAAAAA\n\u2014 ${log.origin} AAAAAAAAAAAA\n`
    expect(await post(url, formatAddCheckpoint(0n, [], note))).toMatchObject({ status: 200 })
    expect(await (await fetch(`${url}/${hashOf(log.origin)}/checkpoint`)).text()).not.toContain('AAAAAAAAAAAA')
  })

  test('400: what is malformed, more than 63 hashes, an old size beyond the checkpoint', async () => {
    const log = new TestLog().grow(5)
    const { url } = await serving([log])
    const note = await log.note()
    for (const [what, body] of [
      ['nothing', ''],
      ['junk', 'junk'],
      ['no note', 'old 0\n\n'],
      ['a hash that is none', `old 0\nAAAA\n\n${note}`],
      ['carriage returns', formatAddCheckpoint(0n, [], note).replaceAll('\n', '\r\n')],
      [
        '64 hashes',
        formatAddCheckpoint(
          0n,
          Array.from({ length: 64 }, () => leafOf('x')),
          note,
        ),
      ],
      ['an old size beyond the checkpoint', formatAddCheckpoint(6n, [], note)],
      ['no signature', formatAddCheckpoint(0n, [], note.slice(0, note.indexOf('\n\n') + 2))],
    ] as const) {
      const answer = await post(url, body)
      expect(answer, what).toMatchObject({ status: 400, type: TEXT })
      expect(answer.body, what).toMatch(/^[^\n]+\n$/)
    }
    expect(
      (
        await post(
          url,
          formatAddCheckpoint(
            0n,
            Array.from({ length: 63 }, () => leafOf('x')),
            note,
          ),
        )
      ).status,
    ).toBe(422)
  })

  test('403: signed by nobody who is trusted for this origin, and a trusted signature that is wrong', async () => {
    const log = new TestLog().grow(5)
    const { url } = await serving([log])
    const stranger = new TestLog(log.origin, 9).grow(5)
    expect(await submit(url, stranger, 0n)).toMatchObject({ status: 403, type: TEXT })
    const note = await log.note()
    const wrong = (await log.note(4n)).split('\n\n')[1]!
    expect(await post(url, formatAddCheckpoint(0n, [], `${note.split('\n\n')[0]}\n\n${wrong}`))).toMatchObject({ status: 403 })
    // Both there: the wrong one spoils it.
    const strangers = (await stranger.note()).split('\n\n')[1]!
    const { url: both } = await serving([log, stranger])
    expect(await post(both, formatAddCheckpoint(0n, [], note + strangers))).toMatchObject({ status: 200 })
    expect(await post(both, formatAddCheckpoint(5n, [], note + (await stranger.note(4n)).split('\n\n')[1]!))).toMatchObject({ status: 403 })
  })

  test('404: an origin that is not known', async () => {
    const log = new TestLog().grow(5)
    const { url } = await serving([log])
    expect(await submit(url, new TestLog('example.com/unknown').grow(5), 0n)).toMatchObject({ status: 404, type: TEXT })
  })

  test('409: another size than that of the last one, which the body is, and nothing else', async () => {
    const log = new TestLog().grow(5)
    const { url } = await serving([log])
    expect(await submit(url, log, 3n)).toEqual({ status: 409, type: 'text/x.tlog.size', body: '0\n' })
    expect(await submit(url, log, 0n)).toMatchObject({ status: 200 })
    log.grow(10)
    for (const oldSize of [0n, 4n, 6n, 15n])
      expect(await submit(url, log, oldSize)).toEqual({ status: 409, type: 'text/x.tlog.size', body: '5\n' })
  })

  test('422: a proof that does not hold, one from 0 that is not empty, another root at one size, a root of nothing', async () => {
    const log = new TestLog().grow(5)
    const { url } = await serving([log])
    expect(await post(url, formatAddCheckpoint(0n, [leafOf('x')], await log.note()))).toMatchObject({ status: 422, type: TEXT })
    const empty = await log.signed(formatCheckpoint({ origin: log.origin, size: 0n, root: leafOf('x'), extensions: [] }))
    expect(await post(url, formatAddCheckpoint(0n, [], empty))).toMatchObject({ status: 422 })
    expect(await submit(url, log, 0n)).toMatchObject({ status: 200 })
    expect(await submit(url, new TestLog().grow(5, 'other'), 5n)).toMatchObject({ status: 422 })
    expect(await post(url, formatAddCheckpoint(5n, [leafOf('x')], await log.note()))).toMatchObject({ status: 422 })
    const other = new TestLog().grow(9, 'other')
    expect(await submit(url, other, 5n)).toMatchObject({ status: 422 })
    log.grow(4)
    const proof = await log.prove(5n, 9n)
    for (const [at] of proof.entries()) {
      expect(await post(url, formatAddCheckpoint(5n, proof.with(at, leafOf('x')), await log.note()))).toMatchObject({ status: 422 })
      expect(await post(url, formatAddCheckpoint(5n, proof.toSpliced(at, 1), await log.note()))).toMatchObject({ status: 422 })
    }
    expect(await submit(url, log, 5n)).toMatchObject({ status: 200 })
  })
})

describe('GET <hex sha256(origin)>/checkpoint', () => {
  test('404 before the first, then the last one as the log signed it, with the cosignature', async () => {
    const log = new TestLog().grow(5)
    const { url, witness } = await serving([log])
    const latest = `${url}/${hashOf(log.origin)}/checkpoint`
    expect((await fetch(latest)).status).toBe(404)
    await submit(url, log, 0n)
    const { body } = await submit(url, log.grow(2), 5n)
    await submit(url, new TestLog().grow(9, 'other'), 7n)
    const response = await fetch(latest)
    expect([response.status, response.headers.get('content-type')]).toEqual([200, TEXT])
    const text = await response.text()
    expect(text).toBe((await log.note()) + body)
    expect(await openNote(parseNote(Buffer.from(text)) as SignedNote, [log.key, witness.key], ed25519Check)).toMatchObject({
      verified: [{}, {}],
    })
    const head = await fetch(latest, { method: 'HEAD' })
    expect([head.status, head.headers.get('content-length'), await head.text()]).toEqual([200, String(Buffer.byteLength(text)), ''])
  })

  test('404 for whatever else might be in the folder', async () => {
    const log = new TestLog().grow(1)
    const { url } = await serving([log])
    for (const path of [
      '/',
      '/witness/checkpoint',
      '/witness.key',
      '/../witness.key/checkpoint',
      '/%2e%2e/checkpoint',
      `/${hashOf('x')}`,
      `/${hashOf('x').toUpperCase()}/checkpoint`,
      '/add-checkpoint/',
    ])
      expect((await fetch(url + path)).status, path).toBe(404)
  })
})

describe('HTTP', () => {
  test('405 for other methods, with those that there are', async () => {
    const log = new TestLog().grow(1)
    const { url } = await serving([log])
    const get = await fetch(`${url}/add-checkpoint`)
    expect([get.status, get.headers.get('allow')]).toEqual([405, 'POST'])
    const put = await fetch(`${url}/${hashOf(log.origin)}/checkpoint`, { method: 'PUT', body: 'x' })
    expect([put.status, put.headers.get('allow')]).toEqual([405, 'GET, HEAD'])
  })

  test('413 for a body over the limit, told at once or only by its bytes; the server goes on', async () => {
    const log = new TestLog().grow(1)
    const { url } = await serving([log])
    expect(await post(url, 'x'.repeat(BODY_BYTES_MAX + 1))).toMatchObject({ status: 413 })
    const chunked = await raw(
      url,
      `POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${'4000\r\n' + 'x'.repeat(0x4000) + '\r\n'}`.repeat(
        1,
      ) + ('4000\r\n' + 'x'.repeat(0x4000) + '\r\n').repeat(4),
    )
    expect(chunked).toMatch(/^HTTP\/1\.1 413 /)
    expect(await submit(url, log, 0n)).toMatchObject({ status: 200 })
  })

  test('a request that does not come to its end is ended, and one that hangs up disturbs nobody', async () => {
    const log = new TestLog().grow(1)
    const { url, errors } = await serving([log], { requestTimeoutMs: 200 })
    expect(await raw(url, 'POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nold ')).toMatch(/^HTTP\/1\.1 408 /)
    expect(await raw(url, 'POST /add-checkpoint HTTP/1.1\r\nHost:')).toMatch(/^HTTP\/1\.1 408 /)
    const { hostname, port } = new URL(url)
    const socket = connect(Number(port), hostname)
    await new Promise<void>((done) =>
      socket.write('POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nold ', () => done()),
    )
    socket.destroy()
    expect(await submit(url, log, 0n)).toMatchObject({ status: 200 })
    expect(errors).toEqual([])
  })

  test('several requests on one connection, each answered in its order', async () => {
    const log = new TestLog().grow(1)
    const { url } = await serving([log])
    const body = formatAddCheckpoint(0n, [], await log.note())
    const one = `POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: ${Buffer.byteLength(body)}\r\n`
    const text = await raw(url, `${one}\r\n${body}${one}\r\n${body}${one}Connection: close\r\n\r\n${body}`)
    expect([...text.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, status]) => status)).toEqual(['200', '409', '409'])
  })

  test('closing answers what is under way, and takes no more', async () => {
    const log = new TestLog().grow(1)
    const { url, stop } = await serving([log])
    const { hostname, port } = new URL(url)
    const body = formatAddCheckpoint(0n, [], await log.note())
    const socket = connect(Number(port), hostname)
    const answer = received(socket)
    await new Promise<void>((done) =>
      socket.write(
        `POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body.slice(0, 10)}`,
        () => done(),
      ),
    )
    // The server knows of the request: another one, begun later, has been answered.
    await submit(url, new TestLog('example.com/unknown').grow(1), 0n)
    const stopped = stop()
    socket.write(body.slice(10))
    expect(await answer).toMatch(/^HTTP\/1\.1 200 [\s\S]*\r\nconnection: close\r\n/i)
    await stopped
    await expect(fetch(url)).rejects.toThrow()
  })

  test('an address that is taken is an error that says so', async () => {
    const { url } = await serving([new TestLog()])
    await expect(serving([new TestLog()], { port: Number(new URL(url).port) })).rejects.toMatchObject({ code: 'io_error' })
  })
})

/** What comes back for these bytes until the server ends the connection. */
async function raw(url: string, bytes: string): Promise<string> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  const answer = received(socket)
  socket.write(bytes)
  return answer
}

function received(socket: ReturnType<typeof connect>): Promise<string> {
  return new Promise((resolve) => {
    let text = ''
    socket.on('data', (chunk) => (text += String(chunk)))
    // A reset behind the answer takes nothing from it.
    socket.on('error', () => {})
    socket.on('close', () => resolve(text))
  })
}

describe('the folder', () => {
  test('brings a witness back as it was', async () => {
    const log = new TestLog().grow(5)
    const first = await serving([log])
    await submit(first.url, log, 0n)
    await first.stop()
    const again = await serving([log], { dir: first.dir })
    expect(again.witness.key).toEqual(first.witness.key)
    expect(await submit(again.url, log.grow(1), 0n)).toMatchObject({ status: 409, body: '5\n' })
    expect(await submit(again.url, log, 5n)).toMatchObject({ status: 200 })
    expect(statSync(join(first.dir, 'witness.key')).mode & 0o777).toBe(0o600)
    expect(readdirSync(first.dir).toSorted()).toEqual([hashOf(log.origin), 'witness', 'witness.key', 'witness.lock'])
  })

  test('has one witness at a time', async () => {
    const { dir, stop } = await serving([new TestLog()])
    await expect(WitnessState.open(dir)).rejects.toMatchObject({ code: 'locked' })
    await stop()
    const state = await WitnessState.open(dir)
    state.close()
    state.close()
  })

  test('and key belong together: neither is taken without the other', async () => {
    const log = new TestLog().grow(5)
    const { dir, url, stop } = await serving([log])
    await submit(url, log, 0n)
    await stop()
    const keyFile = join(tempDir(), 'moved.key')
    writeFileSync(keyFile, readFileSync(join(dir, 'witness.key')))
    // An empty folder for a key that is not new: what it has cosigned before is not known there.
    const empty = tempDir()
    await expect(WitnessState.open(empty, { keyFile })).rejects.toMatchObject({ code: 'key_error' })
    ;(await WitnessState.open(empty, { keyFile, newState: true })).close()
    ;(await WitnessState.open(empty, { keyFile })).close()
    // Another key, or none, for a folder with a memory.
    const other = join(tempDir(), 'other.key')
    writeFileSync(other, formatKeyFile('witness.example/other', Buffer.alloc(32, 3), ED25519_COSIGNATURE))
    await expect(WitnessState.open(dir, { keyFile: other, newState: true })).rejects.toMatchObject({ code: 'key_error' })
    rmSync(join(dir, 'witness.key'))
    await expect(WitnessState.open(dir, { newState: true })).rejects.toMatchObject({ code: 'key_error' })
    ;(await WitnessState.open(dir, { keyFile })).close()
  })

  test('takes no key of a log, no key of another name, and no key that is damaged', async () => {
    const keyFile = join(tempDir(), 'k.key')
    writeFileSync(keyFile, formatKeyFile('witness.example/w1', Buffer.alloc(32, 3)))
    await expect(WitnessState.open(tempDir(), { keyFile, newState: true })).rejects.toMatchObject({ code: 'key_error' })
    writeFileSync(keyFile, formatKeyFile('witness.example/w1', Buffer.alloc(32, 3), ED25519_COSIGNATURE))
    await expect(WitnessState.open(tempDir(), { keyFile, newState: true, name: 'witness.example/w' })).rejects.toMatchObject({
      code: 'key_error',
    })
    writeFileSync(keyFile, '')
    await expect(WitnessState.open(tempDir(), { keyFile, newState: true })).rejects.toMatchObject({ code: 'key_error' })
    await expect(WitnessState.open(tempDir(), { name: 'a b' })).rejects.toThrow(RangeError)
  })

  test('after a crash between the two names a key that nobody has: the next start makes one', async () => {
    const dir = tempDir()
    const state = await WitnessState.open(dir)
    const before = state.signer.verifierKey
    state.close()
    rmSync(join(dir, 'witness.key'))
    const next = await WitnessState.open(dir)
    expect(next.signer.verifierKey).not.toBe(before)
    next.close()
  })

  test('that can not be one is said', async () => {
    const file = join(tempDir(), 'w')
    writeFileSync(file, '')
    await expect(WitnessState.open(file)).rejects.toMatchObject({ code: 'io_error' })
    await expect(WitnessState.open(join(file, 'w'))).rejects.toMatchObject({ code: 'io_error' })
  })
})

/** A ledger whose cold entries lie on a server of somebody else's, over a network that fails all the time. */
import { createServer, request as ask } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import type { ArchiveStore } from '../../src/ledger/archive.ts'
import { bytesOf } from '../../src/ledger/retention/archive-lines.ts'
import { openArchive } from '../../src/open-archive.ts'
import type { ArchiveOptions } from '../../src/open-archive.ts'
import { seededRandom } from '../../src/testing/seeded-random.ts'
import { CALLS, COLD, Kept, secretOf, WARM } from '../helpers/kept.ts'
import { gathered, namesIn } from '../helpers/retained.ts'
import { missingS3rver, S3RVER_BUCKET, S3RVER_KEYS, startS3rver } from '../helpers/s3rver.ts'
import { tempDir } from '../helpers/temp.ts'

const missing = missingS3rver()
if (missing !== null) console.log(`skipped: ${missing}`)

const FAULTS = ['500', 'slow', 'cut before', 'answer lost', 'answer cut'] as const

interface Network {
  readonly port: number
  /** How often each fault came. */
  readonly came: Map<(typeof FAULTS)[number], number>
}

/** Passes requests on to the server; four in ten fail, and never more than two in a row of one file. */
async function badNetwork(server: number, seed: number): Promise<Network> {
  const random = seededRandom(seed)
  const came = new Map<(typeof FAULTS)[number], number>()
  const inRow = new Map<string, number>()
  const faultFor = (what: string): (typeof FAULTS)[number] | null => {
    const times = inRow.get(what) ?? 0
    const fault = times < 2 && random.chance(0.4) ? random.pick(FAULTS) : null
    inRow.set(what, fault === null ? 0 : times + 1)
    if (fault !== null) came.set(fault, (came.get(fault) ?? 0) + 1)
    return fault
  }
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { method, url, headers, socket } = request
    const fault = faultFor(`${method} ${url?.split('?')[0]}`)
    const body = Buffer.concat(await gathered<Buffer>(request))
    if (fault === 'cut before') return void socket.destroy()
    if (fault === '500')
      return void response.writeHead(500, { 'content-type': 'application/xml' }).end('<Error><Code>InternalError</Code></Error>')
    if (fault === 'slow') await pause(100)
    const answer = await new Promise<IncomingMessage>((resolve, reject) =>
      ask({ host: '127.0.0.1', port: server, method, path: url, headers }, resolve).on('error', reject).end(body),
    )
    const bytes = Buffer.concat(await gathered<Buffer>(answer))
    if (fault === 'answer lost') return void socket.destroy()
    response.writeHead(answer.statusCode ?? 500, answer.headers)
    if (fault !== 'answer cut' || bytes.length < 2) return void response.end(bytes)
    response.write(bytes.subarray(0, bytes.length >> 1), () => socket.destroy())
  }
  const proxy = createServer((request, response) => void handle(request, response).catch(() => request.socket.destroy()))
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    proxy.closeAllConnections()
    proxy.close()
  })
  return { port: (proxy.address() as AddressInfo).port, came }
}

function openAt(port: number, options: ArchiveOptions = {}): Promise<ArchiveStore> {
  const settings = { credentials: S3RVER_KEYS, environment: {}, pauseMs: 1, timeoutMs: 2000, ...options }
  return openArchive(`s3://${S3RVER_BUCKET}/prod?endpoint=http://127.0.0.1:${port}`, settings)
}

test.skipIf(missing !== null)(
  's3rver: entries go there and come back whole; what is cut, changed or locked there is told',
  { timeout: 120_000 },
  async () => {
    const port = await startS3rver()
    const network = await badNetwork(port, 11)
    const kept = await Kept.make(async () => join(tempDir(), 'ledger.db'))
    const archive = await openAt(network.port)
    const expectAll = (through: ArchiveStore, but: readonly number[] = []): Promise<void> =>
      kept.with(
        async (ledger) => {
          for (let seq = 1; seq <= CALLS; seq++) {
            if (!but.includes(seq)) expect((await ledger.at(seq))?.entry?.['prompt'], `${seq}`).toBe(secretOf(seq))
          }
        },
        { readOnly: true, archive: through, readThrough: true },
      )

    // A wrong key is told, and nothing has left the ledger.
    const wrong = await openAt(port, { credentials: { accessKeyId: 'S3RVER', secretAccessKey: 'another' } })
    await kept.with((ledger) => expect(ledger.applyRetention()).rejects.toMatchObject({ code: 'key_error' }), { archive: wrong })
    expect(await kept.stored([...COLD, ...WARM])).toHaveLength(COLD.length + WARM.length)

    const applied = await kept.with((ledger) => ledger.applyRetention(), { archive })
    expect(applied).toMatchObject({ cold: { records: COLD.length }, warm: { records: WARM.length }, left: [] })
    for (let round = 0; round < 2; round++) {
      await kept.with(
        async ({ retention }) => {
          expect((await retention.restore({ before: 6 })).records).toBe(5)
          expect((await retention.archive({ before: 6 })).cold.records).toBe(5)
        },
        { archive },
      )
    }
    const names = await namesIn(archive)
    expect([...network.came.keys()].toSorted(), JSON.stringify([...network.came])).toEqual(FAULTS.toSorted())
    expect(await kept.verify({ archive })).toMatchObject({ ok: true, withheld: { archived: COLD.length + WARM.length, unnamed: 0 } })
    await expectAll(archive)

    // Somebody who may write there shortens an object, changes one, takes one away.
    const direct = await openAt(port)
    expect(await namesIn(direct)).toEqual(names)
    const name = names.find((one) => /-0*10-/.test(one))!
    const bytes = await bytesOf(direct, name)
    // Those that never came back are in the first file still.
    const seqs = [6, 7, 8, 9, 10]
    for (const [what, content] of [
      ['truncated', bytes.subarray(0, bytes.length >> 1)],
      ['changed', bytes.with(bytes.length >> 1, bytes[bytes.length >> 1]! ^ 1)],
      ['gone', null],
    ] as const) {
      await direct.remove(name)
      if (content !== null) await direct.write(name, Buffer.from(content))
      const report = await kept.verify({ archive })
      expect(report.verdicts.integrity, what).toBe('fail')
      expect(report.problems[0], what).toMatchObject({ code: 'archive_mismatch', where: { file: expect.stringContaining(name) as string } })
      await kept.with(
        ({ retention }) =>
          expect(retention.restore({ where: { run_id: `run-${seqs[0]}` } }), what).rejects.toMatchObject({
            code: content === null ? 'not_found' : 'damaged',
          }),
        { archive },
      )
      await expectAll(archive, seqs)
    }
    await direct.write(name, bytes)
    expect(await kept.verify({ archive })).toMatchObject({ ok: true })
    await kept.with(
      async (ledger) => {
        const record = await ledger.at(seqs[0]!)
        expect(record?.withheld).toMatchObject({
          state: 'archived',
          tier: 'cold',
          fault: expect.stringMatching(/SignatureDoesNotMatch|key/) as string,
        })
      },
      { readOnly: true, archive: wrong, readThrough: true },
    )
  },
)

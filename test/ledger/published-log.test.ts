/** Verifying a published log: honest ones pass, and whatever was done to one is named, by directory and over HTTP. */
import { generateKeyPairSync, sign } from 'node:crypto'
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { publishLog } from '../../src/ledger/publish.ts'
import { verifyPublishedLog } from '../../src/ledger/published-log.ts'
import type { PublishedLogOptions } from '../../src/ledger/published-log.ts'
import { AuditLedger, recordSignerFromKey } from '../../src/index.ts'
import { nodeHashing } from '../../src/ledger/hashing.ts'
import { openMemoryStore } from '../../src/stores/memory.ts'
import { ED25519_COSIGNATURE, formatSignatureLine, formatVerifierKey, keyIdOf } from '../../src/verify/note.ts'
import type { VerifierKey } from '../../src/verify/note.ts'
import { parsePolicy } from '../../src/verify/policy.ts'
import type { Policy } from '../../src/verify/policy.ts'
import type { VerificationReport } from '../../src/verify/report.ts'
import { formatBundle, parseBundle, tilePath } from '../../src/verify/tiles.ts'
import { hashBytes, hashHex, parentHashing, TreeEdge } from '../../src/verify/tree.ts'
import { gotlog } from '../helpers/gotlog.ts'
import { HONEST_ORIGIN } from '../helpers/honest-ledger.ts'
import { serve } from '../helpers/http-server.ts'
import { checkpointOf, filesIn, folderHandler, honestStore, rootsOf, signedNote, signer, stranger, STORES } from '../helpers/published.ts'
import { scale, soaking } from '../helpers/scale.ts'
import { tempDir } from '../helpers/temp.ts'

const KEY = signer.verifierKey

function verify(location: string, options: Partial<PublishedLogOptions> = {}): Promise<VerificationReport> {
  return verifyPublishedLog(location, { keys: [KEY], ...options })
}

async function publishedHonest(size: number, seed = 1): Promise<string> {
  const store = await honestStore('memory', size, seed)
  const dir = join(tempDir(), 'log')
  await publishLog(store, await checkpointOf(store), dir)
  return dir
}

const found = (report: VerificationReport): unknown[] => report.problems.map(({ code, seq }) => [code, seq])

test('an honest log: integrity and authenticity pass, and what is not there is not checked', async () => {
  const dir = await publishedHonest(600)
  const report = await verify(dir, { origin: HONEST_ORIGIN })
  expect(report.problems).toEqual([])
  expect(report).toMatchObject({
    ok: true,
    size: 600,
    origin: HONEST_ORIGIN,
    verdicts: { integrity: 'pass', authenticity: 'pass', completeness: 'not checked', time: 'not checked' },
    checks: {
      run_ids_unique: { verdict: 'pass' },
      stream_versions: { verdict: 'pass' },
      entries: { verdict: 'not checked' },
      entries_canonical: { verdict: 'not checked' },
      tiles: { verdict: 'pass' },
    },
  })
  expect(Object.keys(report.missing)).toEqual(['completeness', 'time'])
  expect((await verify(dir, { keys: [] })).verdicts.authenticity).toBe('not checked')
})

describe.skipIf(gotlog === null)('the judge', () => {
  const SIZE = scale(700, 70_000)

  test.each(STORES)(`audits ${SIZE} records published from %s, by directory and over HTTP`, async (kind) => {
    const store = await honestStore(kind, SIZE)
    const dir = join(tempDir(), 'log')
    const checkpoint = await checkpointOf(store)
    await publishLog(store, checkpoint, dir)
    const agrees = {
      ok: true,
      said: expect.stringContaining(`size=${SIZE} root=${Buffer.from(checkpoint.root, 'hex').toString('base64')}`),
    }
    expect(await gotlog!(['log', dir, KEY])).toMatchObject(agrees)
    expect(await gotlog!(['log', await serve(folderHandler(dir)), KEY])).toMatchObject(agrees)
    expect(await verify(dir)).toMatchObject({ ok: true, size: SIZE, problems_total: 0 })
  })

  test('accepts the checkpoint, and none with a byte changed', async () => {
    const note = readFileSync(join(await publishedHonest(3), 'checkpoint'))
    expect(await gotlog!(['note', KEY], note)).toMatchObject({ ok: true })
    for (let at = 0; at < note.length; at += scale(9, 1))
      expect(await gotlog!(['note', KEY], note.with(at, note[at]! ^ 1)), `byte ${at}`).toMatchObject({ ok: false })
    expect(await gotlog!(['note', stranger.verifierKey], note)).toMatchObject({ ok: false })
  })

  test('reads a log whose partial tiles of an earlier checkpoint are gone', async () => {
    const store = await honestStore('memory', 600)
    const dir = join(tempDir(), 'log')
    await publishLog(store, await checkpointOf(store, 300), dir)
    const old = readFileSync(join(dir, 'checkpoint'))
    await publishLog(store, await checkpointOf(store), dir)
    writeFileSync(join(dir, 'checkpoint'), old)
    expect(await gotlog!(['log', dir, KEY])).toMatchObject({ ok: true })
    expect(await verify(dir)).toMatchObject({ ok: true, size: 300 })
  })
})

test('records with signatures of their own: the signatures are not there, and nothing is missed', async () => {
  const store = { ...openMemoryStore(), close: async () => {} }
  const signRecords = recordSignerFromKey(generateKeyPairSync('ed25519').privateKey)
  const ledger = await AuditLedger.open('memory:', { store, signer: null, origin: HONEST_ORIGIN, signRecords })
  for (let i = 0; i < 3; i++) await ledger.record({ agent_name: 'analyst', method_name: 'work' })
  const dir = join(tempDir(), 'log')
  await publishLog(store, await checkpointOf(store), dir)
  expect(await verify(dir)).toMatchObject({ ok: true, problems: [], checks: { signatures: { verdict: 'not checked' } } })
})

test('every single byte of a small log changed: reported, and by the judge too', async () => {
  const dir = await publishedHonest(3)
  let count = 0
  for (const [path, original] of filesIn(dir)) {
    for (let at = 0; at < original.length; at++) {
      for (const bit of soaking ? [1, 2, 4, 8, 16, 32, 64, 128] : [1 << (at % 8)]) {
        writeFileSync(join(dir, path), original.with(at, original[at]! ^ bit))
        const report = await verify(dir)
        expect(report.ok, `${path}, byte ${at}, bit ${bit}`).toBe(false)
        expect(report.problems_total).toBeGreaterThan(0)
        if (gotlog !== null && count++ % scale(97, 23) === 0) expect(await gotlog(['log', dir, KEY])).toMatchObject({ ok: false })
      }
    }
    for (const other of [original.subarray(0, -1), Buffer.concat([original, Buffer.of(10)]), Buffer.alloc(0)]) {
      writeFileSync(join(dir, path), other)
      expect((await verify(dir)).ok, `${path} of ${other.length} bytes`).toBe(false)
    }
    writeFileSync(join(dir, path), original)
  }
  expect((await verify(dir)).ok).toBe(true)
})

const RANDOM_HASH = Buffer.alloc(32, 7)

describe('what was done is named, once, where it was done:', () => {
  const bundle = (dir: string, path: string, change: (entries: Uint8Array[]) => Uint8Array[]): void => {
    const file = join(dir, path)
    writeFileSync(file, formatBundle(change(parseBundle(readFileSync(file))!)))
  }
  const bytes = (dir: string, path: string, at: number, put: Uint8Array): void => {
    const file = join(dir, path)
    const whole = readFileSync(file)
    whole.set(put, at)
    writeFileSync(file, whole)
  }
  const outcome = (header: Uint8Array): Uint8Array => Buffer.from(Buffer.from(header).toString().replace('"seq":', '"seQ":'))

  test.each<[string, (dir: string) => void, unknown[]]>([
    ['a header', (dir) => bundle(dir, 'tile/entries/000', (all) => all.with(7, outcome(all[7]!))), [['hash_mismatch', 7]]],
    [
      'the last header of a bundle',
      (dir) => bundle(dir, 'tile/entries/000', (all) => all.with(255, outcome(all[255]!))),
      [['hash_mismatch', 255]],
    ],
    [
      'the last header of all',
      (dir) => bundle(dir, 'tile/entries/002.p/88', (all) => all.with(87, outcome(all[87]!))),
      [
        ['tile_mismatch', 599],
        ['root_mismatch', null],
        ['malformed_record', 599],
      ],
    ],
    ['a hash of a tile', (dir) => bytes(dir, 'tile/0/000', 32 * 9, RANDOM_HASH), [['tile_mismatch', 9]]],
    ['a hash of a partial tile', (dir) => bytes(dir, 'tile/0/002.p/88', 32 * 9, RANDOM_HASH), [['tile_mismatch', 521]]],
    ['a hash of a tile above', (dir) => bytes(dir, 'tile/1/000.p/2', 32, RANDOM_HASH), [['tile_mismatch', 256]]],
    ['a tile is missing', (dir) => rmSync(join(dir, 'tile/0/001')), [['tile_mismatch', 256]]],
    ['a tile above is missing', (dir) => rmSync(join(dir, 'tile/1/000.p/2')), [['tile_mismatch', 0]]],
    [
      'a bundle is missing',
      (dir) => rmSync(join(dir, 'tile/entries/001')),
      [
        ['tile_mismatch', 256],
        ['missing_records', 256],
      ],
    ],
    ['the last bundle is missing', (dir) => rmSync(join(dir, 'tile/entries/002.p/88')), [['tile_mismatch', 512]]],
    [
      'an entry is missing',
      (dir) => bundle(dir, 'tile/entries/001', (all) => all.toSpliced(44, 1)),
      [
        ['tile_mismatch', 256],
        ['missing_records', 300],
      ],
    ],
    ['an entry too many', (dir) => bundle(dir, 'tile/entries/002.p/88', (all) => [...all, all[0]!]), [['tile_mismatch', 512]]],
  ])('%s', async (_, harm, expected) => {
    const dir = await publishedHonest(600)
    harm(dir)
    const report = await verify(dir)
    expect(found(report)).toEqual(expected)
    expect(report.verdicts.integrity).toBe('fail')
    expect(report.checks.tiles?.verdict).toBe(expected.some((each) => (each as string[])[0] === 'tile_mismatch') ? 'fail' : 'pass')
    for (const { where } of report.problems) expect(where).toMatchObject({ file: expect.stringMatching(/^(tile\/|checkpoint)/) })
  })

  test('two records in each other’s place, tiles and root made to fit', async () => {
    const dir = await publishedHonest(5)
    bundle(dir, 'tile/entries/000.p/5', (all) => all.with(2, all[3]!).with(3, all[2]!))
    const edge = new TreeEdge(parentHashing(nodeHashing.sha256))
    const leaves = parseBundle(readFileSync(join(dir, 'tile/entries/000.p/5')))!.map((header) =>
      hashBytes(nodeHashing.sha256(Buffer.concat([Buffer.of(0), header]))),
    )
    for (const leaf of leaves) edge.append(leaf)
    writeFileSync(join(dir, 'tile/0/000.p/5'), Buffer.concat(leaves))
    writeFileSync(join(dir, 'checkpoint'), await signedNote(5, edge.root()!))
    // A log's own tools have nothing to say against it: only the records know their places.
    if (gotlog !== null) expect(await gotlog(['log', dir, KEY])).toMatchObject({ ok: true })
    const report = await verify(dir)
    expect(found(report)).toEqual([
      ['unexpected_record', 2],
      ['missing_records', 3],
    ])
  })

  test('a size that nobody has records for ends soon', async () => {
    const dir = await publishedHonest(5)
    writeFileSync(join(dir, 'checkpoint'), await signedNote(2 ** 50, RANDOM_HASH))
    const report = await verify(dir)
    expect(report.ok).toBe(false)
    expect(report.problems_total).toBeLessThan(60)
  })
})

describe('checkpoints', () => {
  test.each<[string, (roots: Uint8Array[]) => Promise<string>, string]>([
    ['signed by somebody else', (roots) => signedNote(300, roots[300]!, stranger), 'checkpoint_invalid'],
    ['of another origin', (roots) => signedNote(300, roots[300]!, signer, 'example.com/other'), 'checkpoint_invalid'],
    ['that is no note', async () => 'hello\n', 'checkpoint_invalid'],
    ['of another root', (roots) => signedNote(300, roots[299]!), 'root_mismatch'],
  ])('of the log %s', async (_, note, code) => {
    const store = await honestStore('memory', 300)
    const dir = join(tempDir(), 'log')
    await publishLog(store, await checkpointOf(store), dir)
    writeFileSync(join(dir, 'checkpoint'), await note(await rootsOf(store)))
    const report = await verify(dir)
    expect(report).toMatchObject({ ok: false, verdicts: { authenticity: 'fail' } })
    expect(report.problems.map((problem) => problem.code)).toEqual([code])
  })

  test('from before: the log continues it, is behind it, or is forked from it', async () => {
    const [store, other] = [await honestStore('memory', 400), await honestStore('memory', 400, 2)]
    const [roots, otherRoots] = [await rootsOf(store), await rootsOf(other)]
    const dir = join(tempDir(), 'log')
    await publishLog(store, await checkpointOf(store, 300), dir)
    const since = async (size: number, root: Uint8Array, by = signer) => ({
      name: 'old',
      bytes: Buffer.from(await signedNote(size, root, by)),
    })
    const judged = async (...notes: { name: string; bytes: Uint8Array }[]) => verify(dir, { since: notes })
    expect(await judged(await since(1, roots[1]!), await since(256, roots[256]!), await since(300, roots[300]!))).toMatchObject({
      ok: true,
      verdicts: { completeness: 'pass' },
    })
    const forked = await judged(await since(256, roots[256]!), await since(257, otherRoots[257]!))
    expect(forked).toMatchObject({ ok: false, verdicts: { integrity: 'pass', authenticity: 'pass', completeness: 'fail' } })
    expect(forked.problems).toMatchObject([
      { code: 'forked', expected: hashHex(otherRoots[257]!), found: hashHex(roots[257]!), where: { file: 'old' } },
    ])
    const behind = await judged(await since(301, roots[301]!))
    expect(behind).toMatchObject({ ok: false, verdicts: { integrity: 'pass', completeness: 'fail' } })
    expect(found(behind)).toEqual([['behind_checkpoint', 300]])
    // One that a stranger signed proves nothing, and is not to pass for one from before.
    expect(await judged(await since(256, roots[256]!, stranger))).toMatchObject({ ok: false, verdicts: { completeness: 'not checked' } })
  })
})

describe('witnesses', () => {
  const witness = generateKeyPairSync('ed25519')
  const stranger32 = generateKeyPairSync('ed25519').publicKey.export({ format: 'der', type: 'spki' }).subarray(12)
  const publicKey = witness.publicKey.export({ format: 'der', type: 'spki' }).subarray(12)
  const key: VerifierKey = {
    name: 'witness.example/w1',
    id: keyIdOf(nodeHashing.sha256, 'witness.example/w1', ED25519_COSIGNATURE, publicKey),
    kind: ED25519_COSIGNATURE,
    publicKey,
  }
  const other = formatVerifierKey({
    ...key,
    name: 'w2.example',
    id: keyIdOf(nodeHashing.sha256, 'w2.example', key.kind, stranger32),
    publicKey: stranger32,
  })
  const rule = (needed: number, log = ''): Policy => {
    const text = `${log}witness one ${formatVerifierKey(key)}\nwitness two ${other}\ngroup all ${needed} one two\nquorum all\n`
    const policy = parsePolicy(nodeHashing.sha256, Buffer.from(text))
    if (typeof policy === 'string') throw new Error(policy)
    return policy
  }

  async function cosigned(time: bigint): Promise<string> {
    const dir = await publishedHonest(5)
    const note = readFileSync(join(dir, 'checkpoint'), 'utf8')
    const text = note.slice(0, note.indexOf('\n\n') + 1)
    const stamp = Buffer.alloc(8)
    stamp.writeBigUInt64BE(time)
    const signature = sign(null, Buffer.from(`cosignature/v1\ntime ${time}\n${text}`), witness.privateKey)
    writeFileSync(
      join(dir, 'checkpoint'),
      note + formatSignatureLine({ name: key.name, id: key.id, bytes: Buffer.concat([stamp, signature]) }),
    )
    return dir
  }

  test('enough of them: by when it existed, and that others saw it', async () => {
    const { recorded } = await verify(await publishedHonest(5))
    const last_s = Math.floor(Date.parse(recorded.last!) / 1000)
    const dir = await cosigned(BigInt(last_s - 290))
    expect(await verify(dir, { policy: rule(1) })).toMatchObject({
      ok: true,
      verdicts: { time: 'pass', completeness: 'pass' },
      missing: {},
    })
    expect(await verify(dir, { policy: rule(2) })).toMatchObject({
      ok: false,
      problems: [{ code: 'quorum_not_met' }],
      verdicts: { time: 'fail', completeness: 'not checked' },
    })
    expect(await verify(dir)).toMatchObject({ ok: true, verdicts: { time: 'not checked' } })
    // The policy alone says whom to believe: its log is a key from outside.
    expect(await verify(dir, { keys: [], policy: rule(1, `log ${KEY}\n`) })).toMatchObject({ ok: true, missing: {} })
    expect(await verify(dir, { keys: [], policy: rule(1, `log ${stranger.verifierKey}\n`) })).toMatchObject({
      ok: false,
      verdicts: { authenticity: 'fail' },
    })
    const late = await verify(await cosigned(BigInt(last_s - 310)), { policy: rule(1) })
    expect(late).toMatchObject({ ok: false, verdicts: { integrity: 'pass', time: 'fail' } })
    expect(late.problems).toMatchObject([{ code: 'time_contradicted', found: `recorded at ${recorded.last}` }])
    if (gotlog !== null)
      expect(await gotlog(['log', dir, KEY, formatVerifierKey(key)])).toMatchObject({ said: expect.stringContaining('verified_sigs=2') })
  })

  test('a cosignature that is wrong spoils the checkpoint', async () => {
    const dir = await cosigned(1_800_000_000n)
    const note = readFileSync(join(dir, 'checkpoint'), 'utf8')
    writeFileSync(join(dir, 'checkpoint'), note.replace(/.{12}\n$/, 'AAAAAAAAAA==\n'))
    const report = await verify(dir, { policy: rule(1) })
    expect(report.verdicts).toMatchObject({ authenticity: 'fail', time: 'not checked' })
    expect(found(report)).toEqual([['checkpoint_invalid', null]])
  })
})

describe('over HTTP', () => {
  test('the same report as by directory, also with partial tiles gone, answers delayed, and some of them failing at first', async () => {
    const dir = await publishedHonest(600)
    const serveFile = folderHandler(dir)
    const asked = new Map<string, number>()
    let running = 0
    let most = 0
    const address = await serve((request, response) => {
      const times = (asked.get(request.url!) ?? 0) + 1
      asked.set(request.url!, times)
      most = Math.max(most, ++running)
      setTimeout(() => {
        running--
        if (times === 1 && request.url!.includes('entries')) response.writeHead(503).end()
        else if (times === 1 && request.url!.includes('tile/0')) request.socket.destroy()
        else serveFile(request, response)
      }, 5)
    })
    const report = await verify(`${address}/`, { http: { retryAfterMs: 1, requestsMax: 3 } })
    expect(report).toEqual(await verify(dir))
    expect(most).toBeGreaterThan(1)
    expect(most).toBeLessThanOrEqual(3)
  })

  test.each<[string, (dir: string) => Parameters<typeof serve>[0], RegExp]>([
    ['a server that never answers', () => () => {}, /after 2 attempts/],
    ['a server that stops in the middle', () => (_, response) => void response.writeHead(200).write('x'), /after 2 attempts/],
    ['a server that always fails', () => (_, response) => void response.writeHead(500).end(), /answers 500/],
    [
      'tiles that fail: nothing is claimed',
      (dir) => (request, response) =>
        request.url!.includes('tile') ? void response.writeHead(500).end() : folderHandler(dir)(request, response),
      /answers 500/,
    ],
    ['no log there', () => (_, response) => void response.writeHead(404).end(), /no published log/],
  ])('%s', async (_, handler, message) => {
    const address = await serve(handler(await publishedHonest(3)))
    await expect(verify(address, { http: { timeoutMs: 300, retries: 1, retryAfterMs: 1 } })).rejects.toThrow(message)
  })

  test('an endless answer is cut off, and is what it is: no tile', async () => {
    const dir = await publishedHonest(3)
    const address = await serve((request, response) => {
      if (!request.url!.includes('tile/0')) return folderHandler(dir)(request, response)
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536)));
      }
      response.on('drain', more)
      more()
    })
    expect(found(await verify(address))).toEqual([['tile_mismatch', 0]])
  })

  test('what is no address of a log is refused', async () => {
    for (const address of ['http://host/log?x=1', 'http://user@host/log', 'http://host/#log'])
      await expect(verify(address)).rejects.toThrow(RangeError)
    await expect(verify(join(tempDir(), 'nothing'))).rejects.toThrow(/no published log/)
    await expect(verify(tempDir(), { keys: ['no key'] })).rejects.toThrow(RangeError)
  })

  test('it can be stopped', async () => {
    const address = await serve(folderHandler(await publishedHonest(600)))
    const controller = new AbortController()
    const stopped = verify(address, { signal: controller.signal, onProgress: () => controller.abort(new Error('enough')) })
    await expect(stopped).rejects.toThrow('enough')
  })
})

test('a copy of the folder is a published log', async () => {
  const dir = await publishedHonest(300)
  const copy = join(tempDir(), 'copy')
  cpSync(dir, copy, { recursive: true, filter: (path) => !path.endsWith('.publishing') })
  expect(await verify(copy)).toEqual(await verify(dir))
  expect([...filesIn(copy).keys()]).toContain(tilePath({ level: 0, index: 1n, width: 44 }))
})

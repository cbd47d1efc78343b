/** Publishing: the same bytes from every store and by every way to them, and nothing changed where it is refused. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { publishLog } from '../../src/ledger/publish.ts'
import type { Store } from '../../src/ledger/store.ts'
import { lockFile } from '../../src/stores/sql/lock.ts'
import { parseBundle, parseTilePath, tilePath, tilesBetween } from '../../src/verify/tiles.ts'
import { startChild } from '../helpers/child.ts'
import { makeHonestLedger } from '../helpers/honest-ledger.ts'
import { checkpointOf, filesIn, honestStore, honestStoreAt, rootsOf, signedNote, STORES } from '../helpers/published.ts'
import { scale } from '../helpers/scale.ts'
import { useLedgerUrls } from '../helpers/postgres.ts'
import { tempDir } from '../helpers/temp.ts'
import { openStore } from '../../src/open-store.ts'

const urls = useLedgerUrls()

async function published(store: Store, size?: number, dir = join(tempDir(), 'log'), options = {}): Promise<string> {
  await publishLog(store, await checkpointOf(store, size), dir, options)
  return dir
}

const pathsOf = (dir: string): string[] => [...filesIn(dir).keys()]
const code = (wanted: string) => expect.objectContaining({ code: wanted })

describe('what is published', () => {
  test('exactly the files of the specification, the same from every store', async () => {
    const sizes = [1, 2, 255, 256, 257, 513]
    const stores = []
    for (const kind of STORES) stores.push(await honestStore(kind, 513))
    for (const url of urls) stores.push(await honestStoreAt(url(), 513))
    for (const size of sizes) {
      const folders = []
      for (const store of stores) folders.push(filesIn(await published(store, size)))
      const [first] = folders
      expect([...first!.keys()]).toEqual(['checkpoint', ...[...tilesBetween(0n, BigInt(size))].map(tilePath)].toSorted())
      for (const other of folders) expect(other).toEqual(first)
    }
  })

  test('bundles hold the header bytes of the records, and no entry', async () => {
    const store = await honestStore('memory', 300)
    const dir = await published(store)
    const lines: string[] = []
    for await (const chunk of store.read({ filter: {}, from: 0, before: 300, reverse: false, limit: 300 }))
      lines.push(...chunk.map((line) => Buffer.from(line).toString()))
    const bundles = ['tile/entries/000', 'tile/entries/001.p/44'].map((path) => readFileSync(join(dir, path)))
    const headers = bundles.flatMap((bundle) => parseBundle(bundle)!).map((header) => Buffer.from(header).toString())
    expect(headers).toEqual(lines.map((line) => /^.{84}(\{.*?\})(?=,"[se])/su.exec(line)![0].slice(84)))
    for (const bytes of filesIn(dir).values()) {
      expect(bytes.includes('answer')).toBe(false)
      expect(bytes.includes('"salt"')).toBe(false)
    }
  })
})

describe('in many steps', () => {
  test('the same files as in one, and of each checkpoint in between the tiles that it needs', async () => {
    const largest = 700
    const store = await honestStore('memory', largest)
    const roots = await rootsOf(store)
    const sizes = fc.uniqueArray(fc.integer({ min: 1, max: largest }), { minLength: 1, maxLength: 5 })
    await fc.assert(
      fc.asyncProperty(sizes, fc.boolean(), async (unsorted, keepPartials) => {
        const steps = unsorted.toSorted((a, b) => a - b)
        const dir = join(tempDir(), 'log')
        for (const size of steps) await publishLog(store, { note: await signedNote(size, roots[size]!) }, dir, { keepPartials })
        const files = filesIn(dir)
        const once = filesIn(await published(store, steps.at(-1)))
        for (const [path, bytes] of once) expect(files.get(path), path).toEqual(bytes)
        const needed = new Set(['checkpoint', ...steps.flatMap((size) => [...tilesBetween(0n, BigInt(size))].map(tilePath))])
        const full = (path: string): string => tilePath({ ...parseTilePath(path)!, width: 256 })
        // Partial tiles may go when the full one is there, and no sooner.
        const kept = [...needed].filter((path) => keepPartials || path === 'checkpoint' || path === full(path) || !files.has(full(path)))
        expect([...files.keys()]).toEqual(kept.toSorted())
      }),
      { numRuns: scale(8, 200) },
    )
  })

  test('again at the same checkpoint: nothing is written', async () => {
    const store = await honestStore('memory', 300)
    const dir = await published(store)
    const before = filesIn(dir)
    const report = await publishLog(store, await checkpointOf(store), dir)
    expect(report).toMatchObject({ files_written: 0, size: 300, previous_size: 300 })
    expect(filesIn(dir)).toEqual(before)
  })

  test('a run that comes after one that was killed with a full tile in place of a partial one', async () => {
    const store = await honestStore('memory', 600)
    const dir = await published(store, 300)
    const uncut = await published(store, 300)
    await published(store, 600, uncut)
    const whole = filesIn(uncut)
    // As if it had come to the removal of partial tiles, and not to the checkpoint.
    for (const path of ['tile/0/001', 'tile/entries/001']) {
      writeFileSync(join(dir, path), whole.get(path)!)
      rmSync(join(dir, `${path}.p`), { recursive: true })
    }
    expect(await publishLog(store, await checkpointOf(store), dir)).toMatchObject({ previous_size: 300 })
    expect(filesIn(dir)).toEqual(whole)
  })
})

describe('refused, and nothing changed:', () => {
  test('a folder of something else', async () => {
    const store = await honestStore('memory', 3)
    const dir = tempDir()
    writeFileSync(join(dir, 'letter.txt'), 'dear')
    await expect(published(store, 3, dir)).rejects.toThrow(code('publish_conflict'))
    expect(pathsOf(dir)).toEqual(['letter.txt'])
    mkdirSync(join(dir, 'tile'))
    await expect(published(store, 3, dir)).rejects.toThrow(/letter\.txt/)
  })

  test.each<[string, (store: Store, dir: string) => Promise<unknown>, string]>([
    [
      'another log',
      async (store, dir) =>
        publishLog(store, { note: await signedNote(300, (await rootsOf(store))[300]!, undefined, 'example.com/other') }, dir),
      'publish_conflict',
    ],
    ['a log that is ahead of the ledger', async (store, dir) => published(store, 299, dir), 'publish_conflict'],
    [
      'a log of as many records that are other ones',
      async (_, dir) => published(await honestStore('memory', 300, 2), 300, dir),
      'publish_conflict',
    ],
    [
      'a log that is not the beginning of the ledger',
      async (_, dir) => published(await honestStore('memory', 400, 2), 400, dir),
      'publish_conflict',
    ],
    ['a checkpoint that is none', async (store, dir) => publishLog(store, { note: 'example.com/honest\n' }, dir), 'damaged'],
    [
      'a checkpoint that the ledger does not give',
      async (store, dir) => publishLog(store, { note: await signedNote(310, (await rootsOf(store))[300]!) }, dir),
      'damaged',
    ],
    [
      'a checkpoint of more records than there are',
      async (store, dir) => publishLog(store, { note: await signedNote(900, (await rootsOf(store))[300]!) }, dir),
      'damaged',
    ],
  ])('%s', async (_, attempt, wanted) => {
    const store = await honestStore('memory', 320)
    const dir = await published(store, 300)
    const before = filesIn(dir)
    await expect(attempt(store, dir)).rejects.toThrow(code(wanted))
    expect(filesIn(dir)).toEqual(before)
  })

  test.each(['checkpoint', 'tile/0/001.p/44', 'tile/1/000.p/1', 'tile/entries/001.p/44'])(
    'a folder in which %s was changed, cut, or removed',
    async (path) => {
      const store = await honestStore('memory', 320)
      const dir = await published(store, 300)
      const file = join(dir, path)
      const original = readFileSync(file)
      const changes = [original.with(20, original[20]! ^ 1), original.subarray(0, -1), ...(path === 'checkpoint' ? [] : [null])]
      for (const change of changes) {
        if (change === null) rmSync(file)
        else writeFileSync(file, change)
        const before = filesIn(dir)
        await expect(published(store, 320, dir), `${path} ${String(change?.length)}`).rejects.toThrow(
          /damaged|not what|other log|published log of/,
        )
        expect(filesIn(dir)).toEqual(before)
      }
    },
  )

  test.each([
    ['a header changed', (line: string) => line.replace('"method', '"Method').replace('"action":"w', '"action":"W')],
    ['a record that is none', () => '{}'],
  ])('a damaged ledger: %s', async (_, harm) => {
    const store = await honestStore('memory', 320)
    const dir = await published(store, 300)
    const before = filesIn(dir)
    const harmed: Pick<Store, 'read' | 'location'> = {
      location: 'memory:',
      async *read(selection) {
        let seq = selection.from
        for await (const chunk of store.read(selection))
          yield chunk.map((line) => (seq++ === 310 ? Buffer.from(harm(Buffer.from(line).toString())) : line))
      },
    }
    await expect(publishLog(harmed, await checkpointOf(store), dir)).rejects.toThrow(/record 310/)
    expect(filesIn(dir)).toEqual(before)
  })

  test('while another one publishes there', async () => {
    const store = await honestStore('memory', 3)
    const dir = join(tempDir(), 'log')
    const lock = (path: string) => lockFile(path, 'somebody else publishes')
    mkdirSync(join(dir, '.publishing'), { recursive: true })
    const release = await lock(join(dir, '.publishing/lock'))
    await expect(published(store, 3, dir, { lock })).rejects.toThrow(code('locked'))
    expect(pathsOf(dir)).toEqual([])
    release()
    await published(store, 3, dir, { lock })
    expect(pathsOf(dir)).toEqual(['checkpoint', 'tile/0/000.p/3', 'tile/entries/000.p/3'])
  })
})

test(
  'killed before any step, then run again: the same bytes, and at no time a checkpoint without its tiles',
  async () => {
    const location = join(tempDir(), 'ledger')
    await makeHonestLedger(location, 620)
    const store = await openStore(location, { readOnly: true })
    const [old, note] = [(await checkpointOf(store, 300)).note, (await checkpointOf(store)).note]
    const start = async (): Promise<string> => {
      const dir = join(tempDir(), 'log')
      await publishLog(store, { note: old }, dir)
      return dir
    }
    const whole = await start()
    await publishLog(store, { note }, whole)
    const uncut = startChild('publish-process', { location, note, dir: await start(), killAt: -1 })
    const steps = Number((await uncut.waitFor(/^done/)).split(' ')[1])
    expect(steps).toBeGreaterThan(15)
    const every = scale(11, 1)
    for (let killAt = 0; killAt < steps; killAt += every) {
      const dir = await start()
      const child = startChild('publish-process', { location, note, dir, killAt })
      expect((await child.exited).signal, child.stderr()).toBe('SIGKILL')
      const files = filesIn(dir)
      const isNew = files.get('checkpoint')!.toString() === note
      if (!isNew) expect(files.get('checkpoint')!.toString()).toBe(old)
      for (const tile of tilesBetween(0n, isNew ? 620n : 300n)) {
        const bytes = files.get(tilePath(tile)) ?? files.get(tilePath({ ...tile, width: 256 }))
        expect(bytes, `${tilePath(tile)} of ${isNew ? 620 : 300}, killed at ${killAt}`).toBeDefined()
      }
      await publishLog(store, { note }, dir)
      expect(filesIn(dir), `killed at ${killAt}`).toEqual(filesIn(whole))
    }
    await store.close()
  },
  scale(120_000, 1_800_000),
)

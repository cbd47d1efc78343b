/** The contract finds what is wrong: each of these stores is the memory store with one fault, and fails a case. */
import { expect, test } from 'vitest'
import type { Head, RecordFilter, SealedRecord, Selection, Store } from '../../src/ledger/store.ts'
import { openMemoryStore } from '../../src/stores/memory.ts'
import { storeContract } from '../../src/testing/index.ts'

type Fault = (store: Store) => Partial<Store>

const decoder = new TextDecoder()
const encoder = new TextEncoder()

async function currentHead(store: Store): Promise<Head> {
  return (await store.state({ streams: [], run_ids: [] })).head
}

function readingAs(store: Store, change: (selection: Selection) => Selection): Partial<Store> {
  return { read: (selection) => store.read(change(selection)) }
}

function linesAs(store: Store, change: (line: Uint8Array) => Uint8Array): Partial<Store> {
  return {
    async *read(selection) {
      for await (const lines of store.read(selection)) yield lines.map(change)
    },
  }
}

function filteringAs(store: Store, change: (filter: RecordFilter) => RecordFilter): Partial<Store> {
  return {
    read: (selection) => store.read({ ...selection, filter: change(selection.filter) }),
    count: (filter) => store.count(change(filter)),
    tally: (column, filter) => store.tally(column, change(filter)),
  }
}

function appendingAs(store: Store, change: (record: SealedRecord) => SealedRecord): Partial<Store> {
  return { append: (records, expected) => store.append(records.map(change), expected) }
}

/** The next µs, in the ledger's spelling, for times that end in a digit below 9. */
function later(time: string | undefined): { time?: string } {
  return time === undefined ? {} : { time: time.replace(/(\d)Z$/, (_, digit: string) => `${Math.min(9, Number(digit) + 1)}Z`) }
}

/** By the area of the contract that is about them, and must find them. */
const FAULTS: Record<string, Record<string, Fault>> = {
  append: {
    'appends to any head': (store) => ({ append: async (records) => store.append(records, await currentHead(store)) }),
    'compares the size of the head alone': (store) => ({
      append: async (records, expected) => store.append(records, { ...expected, hash: (await currentHead(store)).hash }),
    }),
    'writes a refused append': (store) => ({
      append: async (records, expected) => {
        const head = await currentHead(store)
        await store.append(records, head)
        if (head.hash !== expected.hash) await store.append(records, expected)
      },
    }),
    'drops the last record of a batch': (store) => ({
      append: (records, expected) => store.append(records.slice(0, Math.max(1, records.length - 1)), expected),
    }),
    'keeps batches of up to 500 records': (store) => ({ append: (records, expected) => store.append(records.slice(0, 500), expected) }),
    'shares its lines': (store) => {
      const shared = new Map<string, Uint8Array>()
      return linesAs(store, (line) => {
        const text = decoder.decode(line)
        if (!shared.has(text)) shared.set(text, line)
        return shared.get(text)!
      })
    },
  },
  state: {
    'looks for runs in any case': (store) => ({
      state: (request) => store.state({ ...request, run_ids: request.run_ids.flatMap((run_id) => [run_id, run_id.toLowerCase()]) }),
    }),
    'cuts a long list of runs': (store) => ({ state: (request) => store.state({ ...request, run_ids: request.run_ids.slice(0, 100) }) }),
    'knows no stream': (store) => ({ state: async (request) => ({ ...(await store.state(request)), streams: new Map() }) }),
    'tells the version after the last': (store) => ({
      state: async (request) => {
        const state = await store.state(request)
        return { ...state, streams: new Map([...state.streams].map(([stream, version]) => [stream, version + 1])) }
      },
    }),
    'tells an old head': (store) => {
      let last: Head | null = null
      return {
        state: async (request) => {
          const state = await store.state(request)
          const head = last ?? state.head
          last = state.head
          return { ...state, head }
        },
      }
    },
    'keeps recorded_at at its highest': (store) => {
      let highest = ''
      return {
        state: async (request) => {
          const state = await store.state(request)
          if (state.head.recorded_at !== null && state.head.recorded_at > highest) highest = state.head.recorded_at
          return { ...state, head: { ...state.head, recorded_at: highest === '' ? null : highest } }
        },
      }
    },
  },
  read: {
    'ignores from': (store) => readingAs(store, (selection) => ({ ...selection, from: 0 })),
    'ignores before': (store) => readingAs(store, (selection) => ({ ...selection, before: Infinity })),
    'takes before as inclusive': (store) => readingAs(store, (selection) => ({ ...selection, before: selection.before + 1 })),
    'takes from as exclusive': (store) => readingAs(store, (selection) => ({ ...selection, from: selection.from + 1 })),
    'ignores reverse': (store) => readingAs(store, (selection) => ({ ...selection, reverse: false })),
    'ignores limit': (store) => readingAs(store, (selection) => ({ ...selection, limit: Infinity })),
    'takes a limit of 0 as none': (store) =>
      readingAs(store, (selection) => ({ ...selection, limit: selection.limit === 0 ? Infinity : selection.limit })),
    'gives the end of a reading what is appended meanwhile': (store) => ({
      async *read(selection) {
        yield* store.read(selection)
        if (!selection.reverse && selection.limit === Infinity) yield* store.read({ ...selection, from: Math.max(selection.from, 1500) })
      },
    }),
    'returns everything in one chunk': (store) => ({
      async *read(selection) {
        const all: Uint8Array[] = []
        for await (const lines of store.read(selection)) all.push(...lines)
        if (all.length > 0) yield all
      },
    }),
    'returns empty chunks': (store) => ({
      async *read(selection) {
        yield* store.read(selection)
        yield []
      },
    }),
  },
  bytes: {
    'normalises text': (store) => linesAs(store, (line) => encoder.encode(decoder.decode(line).normalize('NFC'))),
    'decodes and encodes in pieces': (store) =>
      linesAs(store, (line) => encoder.encode(decoder.decode(line.subarray(0, 65_536)) + decoder.decode(line.subarray(65_536)))),
    'splits lines as text': (store) => linesAs(store, (line) => encoder.encode(decoder.decode(line).split('\u2028')[0])),
    'writes entries anew': (store) => linesAs(store, (line) => encoder.encode(JSON.stringify(JSON.parse(decoder.decode(line))))),
    'loses signatures': (store) => appendingAs(store, (record) => ({ ...record, signatures_text: null })),
    'has an empty entry where it is withheld': (store) =>
      appendingAs(store, (record) => ({ ...record, salt: record.salt ?? 'A'.repeat(22), entry_text: record.entry_text ?? '{}' })),
    'cuts long entries': (store) =>
      appendingAs(store, (record) => ({ ...record, entry_text: (record.entry_text?.length ?? 0) > 500_000 ? '{}' : record.entry_text })),
  },
  filter: {
    'ignores tags in filters': (store) =>
      filteringAs(store, (filter) => Object.fromEntries(Object.entries(filter).filter(([key]) => key !== 'tags'))),
    'is content with one of the tags': (store) =>
      filteringAs(store, (filter) => (filter.tags === undefined ? filter : { ...filter, tags: filter.tags.slice(0, 1) })),
    'looks at the first value alone': (store) =>
      filteringAs(store, (filter) => (filter.actor === undefined ? filter : { ...filter, actor: filter.actor.slice(0, 1) })),
    'takes a list of no values as no filter': (store) =>
      filteringAs(store, (filter) => Object.fromEntries(Object.entries(filter).filter(([, value]) => value.length > 0))),
    'takes since as exclusive': (store) =>
      filteringAs(store, (filter) => (filter.since === undefined ? filter : { ...filter, since: later(filter.since).time! })),
    'takes until as inclusive': (store) =>
      filteringAs(store, (filter) => (filter.until === undefined ? filter : { ...filter, until: later(filter.until).time! })),
    'takes recorded_since as since': (store) =>
      filteringAs(store, ({ recorded_since, ...filter }) => (recorded_since === undefined ? filter : { ...filter, since: recorded_since })),
    'takes nothing for an empty provider': (store) => appendingAs(store, (record) => ({ ...record, provider: record.provider ?? '' })),
    'tallies without the filter': (store) => ({ tally: (column) => store.tally(column, {}) }),
    'counts all': (store) => ({ count: () => store.count({}) }),
  },
  life: {
    'can not be closed twice': (store) => {
      let closed = false
      return {
        close: async () => {
          if (closed) throw new Error('closed already')
          closed = true
          await store.close()
        },
      }
    },
    'goes on after it was closed': () => ({ close: async () => {} }),
    'forgets what it was asked to describe': (store) => ({ describe: async () => ({ kind: store.kind, bytes: 0 }) }),
  },
  replica: {
    'forgets that it is a replica': () => ({ replica: { read: async () => null, write: async () => {} } }),
    'stays a replica for ever': (store) => ({
      replica: { ...store.replica, write: async (text) => (text === null ? undefined : store.replica.write(text)) },
    }),
    'keeps the first mark': (store) => ({
      replica: {
        ...store.replica,
        write: async (text) => {
          if (text === null || (await store.replica.read()) === null) await store.replica.write(text)
        },
      },
    }),
  },
  snapshots: {
    'forgets snapshots': (store) => ({ snapshots: { ...store.snapshots, write: async () => {} } }),
    'keeps one snapshot': (store) => ({
      snapshots: {
        ...store.snapshots,
        write: async (name, text) => {
          for (const other of await store.snapshots.list('')) await store.snapshots.remove(other)
          await store.snapshots.write(name, text)
        },
      },
    }),
    'lists all snapshots': (store) => ({ snapshots: { ...store.snapshots, list: () => store.snapshots.list('') } }),
    'removes no snapshot': (store) => ({ snapshots: { ...store.snapshots, remove: async () => {} } }),
  },
  audit: {
    'audits all, whatever the range': (store) => ({ audit: (sink, signal) => store.audit(sink, signal) }),
    'audits all but the last record': (store) => ({
      audit: async (sink, signal) => {
        let previous: (() => void) | null = null
        const late: typeof sink = {
          file: (name, first_seq) => sink.file(name, first_seq),
          line: (bytes, start, end, position) => {
            previous?.()
            previous = () => sink.line(bytes, start, end, position)
          },
          unended: (...about) => sink.unended(...about),
          problem: (problem) => sink.problem(problem),
          columnsChecked: (missing) => sink.columnsChecked(missing),
        }
        await store.audit(late, signal)
      },
    }),
  },
}

function faulty(fault: Fault): Store {
  const store = openMemoryStore()
  return { ...store, ...fault(store) }
}

const CAPABILITIES = { persistent: false, secondWriter: null, readersBesideWriter: false, segments: false } as const

const mutants = Object.entries(FAULTS).flatMap(([area, faults]) => Object.entries(faults).map(([name, fault]) => ({ area, name, fault })))

test.each(mutants)('a store that $name is found out by the cases of $area', async ({ area, fault }) => {
  const cases = storeContract({ open: async () => faulty(fault), capabilities: CAPABILITIES }).filter(({ name }) =>
    name.startsWith(`store ${area}: `),
  )
  expect(cases.length).toBeGreaterThan(2)
  const failed: string[] = []
  for (const { name, run } of cases) {
    await run().catch(() => failed.push(name))
    if (failed.length > 0) break
  }
  expect(failed).toHaveLength(1)
})

/**
 * Ledgers whose hashes all hold and whose content is at the edge of a rule or past it, so that only the rule itself
 * can tell: what a writer with a fault, or with intent, would seal. Used to hold two verifiers against each other.
 */
import { createHash } from 'node:crypto'
import { canonicalize } from '../../src/verify/canonical.ts'
import { ENTRIES, HEADERS, long, SALTS, SIGNED, SPELLINGS } from './edges.ts'

export interface Crafted {
  readonly name: string
  readonly bytes: Buffer
}

const ORIGIN = 'example.com/crafted'
const sha256 = (...parts: (string | Uint8Array)[]): string =>
  parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest('hex')
const ZERO = Uint8Array.of(0)

interface Draft {
  /** Header members that differ from the plain ones; undefined leaves one out. */
  readonly header?: { readonly [key: string]: unknown }
  /** The header's text is changed by this before it is hashed. */
  readonly spell?: (header: string) => string | Buffer
  readonly entry?: object
  readonly entryText?: string | Buffer
  readonly salt?: string
  /** Between header and salt, or header and the withheld entry. */
  readonly signatures?: string
  readonly withheld?: boolean
}

/** Sealed one behind the other, each pointing to the one before, whatever that is. */
function sealed(drafts: readonly Draft[]): Buffer {
  let previous_hash = 'GENESIS'
  const versions = new Map<unknown, number>()
  return Buffer.concat(
    drafts.map((draft, seq) => {
      const salt = draft.salt ?? createHash('md5').update(String(seq)).digest('base64url')
      const entry = draft.entryText ?? canonicalize(draft.entry ?? { n: seq, text: 'é\u2028' })
      const committed = Buffer.concat([Buffer.from(`"salt":"${salt}","entry":`), Buffer.from(entry as string)])
      const stream = draft.header?.['stream'] ?? (seq === 0 ? 'ledger' : 'task-1')
      const stream_version = (versions.get(stream) ?? -1) + 1
      versions.set(stream, stream_version)
      const at = `2026-11-22T20:15:${String(seq % 60).padStart(2, '0')}.000000Z`
      const plain = {
        action: seq === 0 ? 'create' : 'work',
        actor: seq === 0 ? ORIGIN : 'agent',
        entry_hash: sha256(committed),
        outcome: 'success',
        previous_hash,
        recorded_at: at,
        run_id: `run-${seq}`,
        schema: 1,
        seq,
        stream,
        stream_version,
        timestamp: at,
        type: seq === 0 ? 'LedgerCreated' : 'WorkDone',
        v: 1,
        ...draft.header,
      }
      const text = canonicalize(plain)
      const header = draft.spell === undefined ? Buffer.from(text) : Buffer.from(draft.spell(text) as string)
      previous_hash = sha256(ZERO, header)
      const signatures = draft.signatures === undefined ? '' : `,"signatures":${draft.signatures}`
      const rest =
        draft.withheld === true
          ? Buffer.from(`${signatures},"entry":null}\n`)
          : Buffer.concat([Buffer.from(`${signatures},`), committed, Buffer.from('}\n')])
      return Buffer.concat([Buffer.from(`{"hash":"${previous_hash}","header":`), header, rest])
    }),
  )
}

const ledger = (header: object = {}, more: Partial<Draft> = {}): Draft => ({
  header: { stream: 'ledger', type: 'SegmentSealed', ...header },
  ...more,
})
const last = (append_last_seq: number): Draft => ({ header: { append_last_seq } })
const at = (second: string, more: object = {}): Draft => ({ header: { recorded_at: `2026-11-22T20:15:${second}.000000Z`, ...more } })
const names = (type: string, entry: object): Draft => ledger({ type }, { entry })
const gone: Draft = { withheld: true }

/** Records behind record 0. */
const STORIES: readonly (readonly Draft[])[] = [
  [last(2), last(2), {}],
  [last(2), last(2)],
  [last(3), last(3), {}],
  [last(3), last(3), last(4), last(4)],
  [last(3), last(4), last(3), {}],
  [last(1), {}],
  [{}, last(2), {}],
  [last(2), {}, {}],
  [last(9), last(9)],
  [last(0), {}],
  [at('10'), at('09'), at('10')],
  [at('10'), at('09', { type: 'ClockMovedBack', stream: 'ledger' }), at('10')],
  [at('10'), at('09', { type: 'ClockMovedBack' }), at('10')],
  [{ header: { stream: 'ledger' } }, {}],
  [{ header: { type: 'KeyAdded' } }, {}],
  [ledger(), {}],
  [ledger({ type: 'LedgerCreated' }), {}],
  [ledger({}, gone), {}],
  [{ header: { run_id: 'run-0' } }, {}],
  [{ header: { run_id: 'again' } }, { header: { run_id: 'again' } }, { header: { run_id: 'again' } }],
  [{ header: { stream_version: 5 } }, { header: { stream_version: 6 } }, { header: { stream_version: 6 } }],
  [{ header: { stream: 'b', stream_version: 1 } }, {}],
  [gone, {}],
  [gone, gone, {}, gone],
  [gone, names('EntryErased', { seq: 1 })],
  [gone, gone, names('EntryErased', { seq: 1 })],
  [gone, gone, names('EntryErased', { seqs: [1, 2] }), {}],
  [gone, gone, {}, names('EntriesArchived', { first_seq: 1, last_seq: 3 })],
  [gone, {}, names('EntriesArchived', { ranges: [{ first_seq: 1, last_seq: 2 }] }), names('EntriesRestored', { seq: 1 })],
  [gone, {}, names('EntriesArchived', { seq: 1 }), names('EntriesRestored', { seq: 1 }), names('EntriesArchived', { seq: 1 })],
  [gone, names('EntryErased', { records: [{ seq: 1, hash: 'x' }] })],
  [gone, names('EntryErased', { seq: '1' })],
  [gone, names('EntryErased', { seq: 1.5, seqs: 'x', records: { seq: 1 }, ranges: [null, 1, 'x', { first_seq: 3, last_seq: 1 }] })],
  [names('EntryErased', { seq: 2 }), gone, {}],
  [gone, { header: { type: 'EntryErased' }, entry: { seq: 1 } }],
  [gone, names('EntryErased', { seq: 1, first_seq: 0, last_seq: 9 })],
  [gone, { ...names('EntryErased', {}), entryText: '{"seq":1 }' }],
  [{ header: { v: 2 } }, gone, {}],
  [{ header: { v: 2 } }, { header: { stream_version: 7 } }, at('01')],
]

const FIRST: readonly Draft[] = [
  { header: { actor: long(255) } },
  { header: { actor: long(256) } },
  { header: { actor: 'é'.repeat(128) } },
  ...[
    'a b',
    'a\u00a0b',
    'a\u3000b',
    'a\ufeffb',
    'a\u180eb',
    'a\u200bb',
    'a+b',
    'cortex-ledger/x',
    'cortex-ledger',
    'Cortex-ledger/x',
    '-',
    '🦊',
  ].map((actor) => ({ header: { actor } })),
  { header: { type: 'KeyAdded' } },
  { header: { type: 'WorkDone', stream: 'task-1' } },
  { header: { stream: 'task-1' } },
  { withheld: true },
  { header: { append_last_seq: 1 } },
  { header: { previous_hash: '0'.repeat(64) } },
  { header: { seq: 1 } },
]

export function* craftedLedgers(): Generator<Crafted> {
  const around = (draft: Draft): Buffer => sealed([{}, {}, draft, {}, {}])
  for (const header of HEADERS) {
    let bytes: Buffer
    try {
      bytes = around({ header })
    } catch {
      // What canonical JSON can't carry at all is no header either.
      continue
    }
    yield { name: `header ${JSON.stringify(header).slice(0, 100)}`, bytes }
  }
  for (const [i, spell] of SPELLINGS.entries()) yield { name: `spelling ${i}`, bytes: around({ spell }) }
  for (const entryText of ENTRIES) yield { name: `entry ${entryText.toString().slice(0, 100)}`, bytes: around({ entryText }) }
  for (const salt of SALTS) yield { name: `salt ${salt}`, bytes: around({ salt }) }
  for (const [signers, signatures] of SIGNED) {
    const draft = { ...(signers === undefined ? {} : { header: { signers } }), ...(signatures === undefined ? {} : { signatures }) }
    yield { name: `signers ${signers} signatures ${signatures?.slice(0, 60)}`, bytes: around(draft) }
    yield { name: `withheld, signers ${signers} signatures ${signatures?.slice(0, 60)}`, bytes: around({ ...draft, withheld: true }) }
  }
  for (const [i, story] of STORIES.entries()) yield { name: `story ${i}`, bytes: sealed([{}, ...story]) }
  for (const [i, first] of FIRST.entries())
    yield { name: `record 0, ${i}: ${JSON.stringify(first).slice(0, 60)}`, bytes: sealed([first, {}, {}]) }
}

/** The rows as a document for people, and as one for programs. */
import { execFileSync } from 'node:child_process'
import { cpus, totalmem } from 'node:os'
import { differences, median, ratios, shown, spread } from './figures.ts'
import { smallRecords, TOPICS } from './options.ts'
import type { Options, Topic } from './options.ts'
import { isMet, isRow, judged } from './rows.ts'
import type { Result, Row, Target } from './rows.ts'
import { REPOSITORY } from './session.ts'
import { callsAre } from './workloads.ts'

/** What is the same for all rows of a run. */
export interface Run {
  readonly date: string
  readonly commit: string
  readonly node: string
  readonly machine: string
  /** Load before anything was measured: others at work spoil figures, and ratios too where one side waits and the other computes. */
  readonly load: number
  readonly isBusy: boolean
  readonly calls: string
  /** Of the large ledgers, and of the one that queries of them stand beside. */
  readonly records: number
  readonly records_beside: number
}

function commit(): string {
  const git = (...args: readonly string[]): string => execFileSync('git', args, { cwd: REPOSITORY, encoding: 'utf8' }).trim()
  try {
    return `${git('rev-parse', '--short', 'HEAD')}${git('status', '--porcelain', '--', 'src') === '' ? '' : ' with changes'}`
  } catch {
    return 'unknown'
  }
}

export function describeRun(options: Options, load: number): Run {
  const [cpu] = cpus()
  return {
    date: new Date().toISOString().slice(0, 10),
    commit: commit(),
    node: process.version,
    machine: `${cpus().length} × ${cpu?.model.trim() ?? 'unknown'}, ${Math.round(totalmem() / 2 ** 30)} GiB`,
    load: Math.round(load * 100) / 100,
    isBusy: load > cpus().length / 2,
    calls: callsAre,
    records: options.records,
    records_beside: smallRecords(options),
  }
}

interface Section {
  readonly title: string
  readonly floor: string
  readonly says: string
}

function sections(records: string, small: string): Record<Topic, Section> {
  return {
    append: {
      title: 'Append',
      floor: 'floor',
      says: `Records a second; a receipt means durable. The floors: for JSONL, \`JSON.stringify\` of the same records, \`write\` and \`fdatasync\` of these bytes in the same batches; for SQLite, the same driver inserting the same columns under the same indexes in the same transactions, WAL and FULL.`,
    },
    disk: {
      title: 'The watch over the disk',
      floor: 'without',
      says: 'Appending in records a second, in a ledger that warns of a disk that is nearly full and keeps a reserve, beside the same store without; a receipt means durable.',
    },
    masking: {
      title: 'Masking',
      floor: 'beside it',
      says: 'Recording in records a second, beside recording without a mask; and the rules alone, beside `JSON.stringify` of the same calls.',
    },
    encryption: {
      title: 'Encryption',
      floor: 'beside it',
      says: "Recording and reading in records a second, beside the same in clear; and encrypting and decrypting entries alone, beside AES-256-GCM of `node:crypto` of the same bytes: without a key and a commitment of each entry's own, and without base64.",
    },
    verify: {
      title: 'Verify',
      floor: 'floor',
      says: 'Records a second on one thread. The floor: the two SHA-256 calls for each record. Two threads stand beside one.',
    },
    loop: {
      title: 'Event loop',
      floor: 'without',
      says: 'Delay in milliseconds, in a process that has 1,000 real calls a second to record, whether or not the ledger keeps up; beside it the same process that records nothing. By `monitorEventLoopDelay` with a resolution of 1 ms, which is in the figures.',
    },
    query: { title: 'Query', floor: `in ${small}`, says: `Microseconds a query in a ledger of ${records}, beside one of ${small}.` },
    open: { title: 'Open', floor: 'of 1,000', says: `Milliseconds to open a ledger of ${records}, beside one of 1,000.` },
    proofs: {
      title: 'Proofs',
      floor: 'beside it',
      says: `Appending in records a second, with the tree and signed checkpoints beside neither; an inclusion proof in microseconds, in a ledger of ${records} beside one of ${small}.`,
    },
    deriving: {
      title: 'Deriving',
      floor: 'beside it',
      says: `Replaying in records a second, beside reading and JSON-parsing the same records; a state from a snapshot in microseconds, in a ledger of ${records} beside one of ${small}; milliseconds until a live subscriber sees a record.`,
    },
    retention: {
      title: 'Retention',
      floor: 'beside it',
      says: `Making entries warm in MB of lines a second, all that belongs to it, beside \`zstdCompressSync\` of the same lines in one go. One entry read by \`get\` in microseconds, warm beside hot. Erasing one record in milliseconds, with the room given back, beside writing and syncing all lines once (of a warm one: compressing, writing and syncing them). A plan in records a second over ${records}, beside reading and parsing the same records.`,
    },
    memory: {
      title: 'Memory',
      floor: '`--version`',
      says: `The most memory in MB that a command over ${records} took, beside one that does nothing. The worst round counts.`,
    },
    peers: {
      title: 'Peers',
      floor: 'peer',
      says: 'Records a second, each in a process of its own, the same payloads; the floor is the peer, with its settings in the note.',
    },
    postgres: {
      title: 'PostgreSQL',
      floor: 'beside it',
      says: `Appending in records a second, beside the better of COPY and \`INSERT … SELECT unnest\` of the same columns into the same tables, one transaction for each of the same batches; beside Emmett in a process of its own; by several processes beside one. Queries in microseconds in a ledger of ${records}, beside one of ${small}. Verifying in records a second on one thread, beside JSONL of the same records.`,
    },
  }
}

function limit({ of, atLeast, atMost }: Target): string {
  const value = atLeast === undefined ? `≤ ${shown(atMost ?? Number.NaN)}` : `≥ ${shown(atLeast)}`
  return of === 'ratio' ? value : of === 'difference' ? `${value} more` : value
}

function verdict(row: Row): string {
  if (row.target === null) return ''
  return `${limit(row.target)}: ${isMet(row, row.target) ? 'met' : '**missed**'}`
}

function tableLine(result: Result): string {
  if (!isRow(result)) return `| ${result.what} | – | – | – | | ${result.absent} |`
  const { what, ours, floor, target, note } = result
  const besides = target?.of === 'difference' ? `${shown(median(differences(ours, floor)))} more` : spread(ratios(ours, floor))
  return `| ${what} | ${spread(ours)} | ${spread(floor)} | ${besides} | ${verdict(result)} | ${note} |`
}

function targetLine(row: Row, target: Target): string {
  return `| ${row.topic} | ${row.what} | ${limit(target)} | ${shown(judged(row, target))} | ${isMet(row, target) ? 'met' : '**missed**'} |`
}

export function markdown(run: Run, results: readonly Result[]): string {
  const about = sections(`${shown(run.records)} events of 200 bytes`, shown(run.records_beside))
  const withTarget = results.filter(isRow).flatMap((row) => (row.target === null ? [] : [targetLine(row, row.target)]))
  const busy = run.isBusy ? ` **The machine was busy with other things (load ${run.load} at the start): don't quote these figures.**` : ''
  const tables = TOPICS.flatMap((topic) => {
    const rows = results.filter((result) => result.topic === topic)
    if (rows.length === 0) return []
    const { title, floor, says } = about[topic]
    return [
      `## ${title}`,
      says,
      [`| | ours | ${floor} | ratio | target | |`, '|---|---|---|---|---|---|', ...rows.map(tableLine)].join('\n'),
    ]
  })
  return `${[
    '# Benchmarks',
    `${run.date}, commit ${run.commit}, Node.js ${run.node}, ${run.machine}. Every figure was taken alternately with the one beside it, in one run: medians, with the lowest and the highest round in brackets. The ratio is the median of the ratios round by round. Figures of another machine, or another day, are not comparable; ratios are, roughly. Recorded: ${run.calls}, and events of about 200 bytes.${busy}`,
    '## Targets',
    ['| | | target | figure | |', '|---|---|---|---|---|', ...withTarget].join('\n'),
    ...tables,
  ].join('\n\n')}\n`
}

/** Each row with its target judged. */
export function machineReadable(run: Run, results: readonly Result[]): string {
  const rows = results.map((result) => {
    if (!isRow(result)) return result
    const { target, ours, floor } = result
    const ratio = median(ratios(ours, floor))
    return target === null
      ? { ...result, ratio }
      : { ...result, ratio, target: { ...target, figure: judged(result, target), met: isMet(result, target) } }
  })
  return `${JSON.stringify({ ...run, results: rows }, null, 1)}\n`
}

/**
 * `npm run bench`: append and verify, each beside the raw floor under it, alternately in one run, so that what else the
 * machine does falls on both alike. Writes results.md beside this file. `--quick` takes fewer rounds and writes nothing.
 */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { join } from 'node:path'
import { AuditLedger } from '../src/index.ts'
import { appendJsonl, appendSqlite, floorJsonl, floorSqlite, inFolder } from './append.ts'
import type { Batch } from './batches.ts'
import { median, ratio, spread } from './figures.ts'
import type { Measure } from './figures.ts'
import { sampleCalls } from './sample.ts'
import { floorVerify, verifyBytes, verifyFile } from './verify.ts'

const quick = process.argv.includes('--quick')
const ROUNDS = quick ? 3 : 7
const RECORDS = quick ? 4_000 : 10_000
/** Callers that wait at the same time: one alone, and many. */
const WAITERS = [
  { waiters: 1, records: quick ? 200 : 500 },
  { waiters: 64, records: RECORDS },
  { waiters: 1024, records: RECORDS },
]

interface Row {
  readonly what: string
  readonly ours: Measure
  readonly floor: Measure
  readonly note: string
}

/** `ours` hands the batches that it wrote to `floor`, round by round. */
async function compare(
  what: string,
  records: number,
  ours: (batches: Batch[]) => Promise<number>,
  floor: (batches: Batch[]) => Promise<number>,
): Promise<Row> {
  const rates = { ours: [] as number[], floor: [] as number[] }
  const sizes: number[] = []
  for (let round = -1; round < ROUNDS; round++) {
    const batches: Batch[] = []
    const [mine, bare] = [await ours(batches), await floor(batches)]
    // The first round warms up both.
    if (round < 0) continue
    rates.ours.push(records / mine)
    rates.floor.push(records / bare)
    sizes.push(records / batches.length)
  }
  console.error(`${what}: done`)
  const note = `${median(sizes).toFixed(0)} records a batch`
  return { what, ours: { name: 'ours', rates: rates.ours }, floor: { name: 'floor', rates: rates.floor }, note }
}

async function appendRows(): Promise<Row[]> {
  const rows: Row[] = []
  for (const { waiters, records } of WAITERS) {
    const calls = sampleCalls(records)
    const who = waiters === 1 ? '1 caller' : `${waiters} callers`
    rows.push(
      await compare(
        `append, JSONL with index, ${who}`,
        records,
        (batches) => appendJsonl(calls, waiters, 'background', batches),
        floorJsonl,
      ),
    )
    rows.push(
      await compare(`append, JSONL without index, ${who}`, records, (batches) => appendJsonl(calls, waiters, 'off', batches), floorJsonl),
    )
    rows.push(await compare(`append, SQLite, ${who}`, records, (batches) => appendSqlite(calls, waiters, batches), floorSqlite))
  }
  return rows
}

/** A ledger of the sample as one file of lines. */
async function sampleFile(): Promise<Buffer> {
  const ledger = await AuditLedger.open('memory:', { origin: 'example.com/bench' })
  await Promise.all(sampleCalls(RECORDS).map((call) => ledger.record(call)))
  const lines: string[] = []
  for await (const record of ledger.read()) lines.push(`${record.line}\n`)
  await ledger.close()
  return Buffer.from(lines.join(''))
}

async function verifyRows(): Promise<Row[]> {
  const bytes = await sampleFile()
  const records = RECORDS + 1
  const floor = async (): Promise<number> => floorVerify(bytes)
  const rows = [
    await compare('verify, lines in memory', records, async () => verifyBytes(bytes, false), floor),
    await compare('verify, lines in memory, entries canonical too', records, async () => verifyBytes(bytes, true), floor),
  ]
  await inFolder(async (folder) => {
    const path = join(folder, 'bench.jsonl')
    writeFileSync(path, bytes)
    rows.push(await compare('verifyLedger, a file', records, () => verifyFile(path), floor))
    return 0
  })
  return rows.map((row) => ({ ...row, note: `${(bytes.length / records).toFixed(0)} bytes a record` }))
}

function commit(): string {
  try {
    const at = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
    const changed = execFileSync('git', ['status', '--porcelain', '--', 'src'], { encoding: 'utf8' }) !== ''
    return changed ? `${at} with changes` : at
  } catch {
    return 'unknown'
  }
}

/** Others at work on the machine spoil figures, and ratios too where one side waits for the disk and the other computes. */
const loadBefore = loadavg()[0] ?? 0

function report(rows: readonly Row[]): string {
  const [cpu] = cpus()
  const busy =
    loadBefore > cpus().length / 2
      ? ` **The machine was busy with other things (load ${loadBefore.toFixed(1)} at the start): don't quote these figures.**`
      : ''
  return `# Append and verification against raw floors

${new Date().toISOString().slice(0, 10)}, commit ${commit()}, Node.js ${process.version}, ${cpus().length} × ${cpu?.model.trim()}. ${ROUNDS} rounds, alternately with their floor;
medians, lowest and highest in brackets, records a second. The ratio is the median of the ratios round by round. Figures of
another machine, or another day, are not comparable; ratios are, roughly.${busy}

The floors: for JSONL, \`write\` and \`fdatasync\` of the same bytes in the same batches; for SQLite, the same driver, settings, columns and
indexes, one transaction for each of the same batches; for verification, the two SHA-256 calls for each record.

| | ours | floor | ratio | |
|---|---|---|---|---|
${rows.map(({ what, ours, floor, note }) => `| ${what} | ${spread(ours)} | ${spread(floor)} | ${ratio(ours, floor).toFixed(2)} | ${note} |`).join('\n')}
`
}

const text = report([...(await appendRows()), ...(await verifyRows())])
console.log(text)
if (!quick) writeFileSync(join(import.meta.dirname, 'results.md'), text)

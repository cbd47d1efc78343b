/**
 * Ledgers in each kind of store whose calls came in over seven weeks, so that the default policy has them in all tiers;
 * and what somebody can do to one of them who has all the owner's rights.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { onTestFinished } from 'vitest'
import { AuditLedger, openArchive, verifyLedger } from '../../src/index.ts'
import type { OpenOptions, RecordOptions, VerificationReport, VerifyOptions } from '../../src/index.ts'
import type { ArchiveStore } from '../../src/ledger/archive.ts'
import { archivedBytes, readLines } from '../../src/ledger/packed-source.ts'
import { bytesOf } from '../../src/ledger/retention/archive-lines.ts'
import { packed } from '../../src/ledger/retention/packing.ts'
import type { KeptEntry } from '../../src/ledger/upkeep.ts'
import { openStore } from '../../src/open-store.ts'
import { fixedClock } from '../../src/testing/fixed-clock.ts'
import { readLine, readSense } from '../../src/verify/record.ts'
import { HONEST_ORIGIN } from './honest-ledger.ts'
import { clusterMissing, useCluster } from './postgres.ts'
import { connectAs, UNGUARDED } from './postgres-ledger.ts'
import { signer } from './published.ts'
import { DAY_US } from './retained.ts'
import { tempDir } from './temp.ts'

/** Two calls each day that calls are made: the calls at 1 and 2 are the first. */
export const CALLS = 24
const DAYS_BETWEEN = 4
export const HOT = [23, 24]
export const WARM = [11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22]
export const COLD = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
export const secretOf = (seq: number): string => `the secret of call ${seq}`

/** Each kind of store, and how to have a place for a ledger in it. For the file or the `describe` that it is called in. */
export function useKinds(): readonly (readonly [kind: string, place: () => Promise<string>])[] {
  const cluster = useCluster()
  const files: (readonly [string, () => Promise<string>])[] = [
    ['JSONL', async () => join(tempDir(), 'ledger')],
    ['SQLite', async () => join(tempDir(), 'ledger.db')],
  ]
  return clusterMissing === null ? [...files, ['PostgreSQL', () => cluster().createDatabase()]] : files
}

export class Kept {
  readonly location: string
  readonly archive = join(tempDir(), 'archive')
  readonly clock = fixedClock()
  readonly #options: OpenOptions

  private constructor(location: string, options: OpenOptions) {
    this.location = location
    this.#options = options
    mkdirSync(this.archive)
  }

  /** @param said of the call at a position, besides what all have */
  static async make(
    place: () => Promise<string>,
    options: OpenOptions = {},
    said: (seq: number) => RecordOptions = () => ({}),
  ): Promise<Kept> {
    const kept = new Kept(await place(), options)
    const ledger = await kept.open()
    for (let seq = 1; seq <= CALLS; seq++) {
      const call = { agent_name: `agent-${seq % 3}`, method_name: 'ask', model_name: seq % 2 === 0 ? 'large' : 'small' }
      const ids = { run_id: `run-${seq}`, correlation_id: `task-${seq % 5}` }
      await ledger.record({ ...ids, ...call, prompt: secretOf(seq) }, said(seq))
      if (seq % 2 === 0) kept.clock.advance(DAYS_BETWEEN * DAY_US)
    }
    await ledger.close()
    return kept
  }

  /** Closed when the test has ended, at the latest. */
  async open(options: OpenOptions = {}): Promise<AuditLedger> {
    const ledger = await AuditLedger.open(this.location, {
      origin: HONEST_ORIGIN,
      signer: options.readOnly === true ? null : signer,
      stateFolder: tempDir(),
      clock: this.clock,
      archive: this.archive,
      checkpoints: false,
      fullText: 'off',
      ...this.#options,
      ...options,
    })
    onTestFinished(() => ledger.close())
    return ledger
  }

  /** A ledger of its own, closed afterwards. */
  async with<Result>(work: (ledger: AuditLedger) => Promise<Result>, options: OpenOptions = {}): Promise<Result> {
    const ledger = await this.open(options)
    return work(ledger).finally(() => ledger.close())
  }

  verify(options: VerifyOptions = {}): Promise<VerificationReport> {
    return verifyLedger(this.location, { archive: this.archive, remembered: false, ...options })
  }

  /** Salts and entries as they lie in the store; withheld ones are left out. */
  async stored(seqs: readonly number[]): Promise<KeptEntry[]> {
    const store = await openStore(this.location, { readOnly: true, index: 'off' })
    const found: KeptEntry[] = []
    for await (const chunk of store.read({ filter: {}, from: 0, before: Infinity, reverse: false, limit: Infinity }))
      for (const { header, salt, entry_text } of chunk.map(readLine))
        if (seqs.includes(header.seq) && salt !== null && entry_text !== null) found.push({ seq: header.seq, salt, entry_text })
    await store.close()
    return found
  }

  /** Puts these in place of what the store has, past all that guards it. */
  async put(entries: readonly { readonly seq: number; readonly salt: string | null; readonly entry_text: string | null }[]): Promise<void> {
    if (this.location.startsWith('postgres')) {
      const client = await connectAs(this.location, UNGUARDED)
      for (const { seq, salt, entry_text } of entries)
        await client.query('UPDATE audit_log SET salt = $2, entry = $3 WHERE seq = $1', [seq, salt, entry_text])
      await client.end()
    } else if (this.location.endsWith('.db')) putIntoDatabase(this.location, entries)
    else putIntoSegments(this.location, entries)
  }

  /**
   * Writes the archive file anew in which this position is; null: takes it away. Gives back how the old one comes to its
   * place again; until then nobody else can open the ledger to write.
   */
  async changeFile(seq: number, change: (lines: readonly Uint8Array[]) => readonly Uint8Array[] | null): Promise<() => Promise<void>> {
    const store = await openStore(this.location, {})
    for (const archive of [store.upkeep!.archive, await openArchive(this.archive)]) {
      for await (const { name } of archive.list('entries-')) {
        const lines = await linesOf(archive, name)
        if (!lines.some((line) => readSense(line).header.seq === seq)) continue
        const bytes = await bytesOf(archive, name)
        const put = async (content: Uint8Array | null): Promise<void> => {
          await archive.remove(name)
          if (content !== null) await archive.write(name, content)
        }
        const changed = change(lines)
        await put(changed === null ? null : await packed(changed))
        return () => put(bytes).finally(() => store.close())
      }
    }
    await store.close()
    throw new Error(`no file has the entry of ${seq}`)
  }
}

async function linesOf(archive: ArchiveStore, name: string): Promise<Uint8Array[]> {
  const lines: Uint8Array[] = []
  for await (const chunk of readLines(await archivedBytes(archive, name), { name })) lines.push(...chunk.map((line) => line.slice()))
  return lines
}

type Put = Parameters<Kept['put']>[0]

function putIntoDatabase(path: string, entries: Put): void {
  const db = new DatabaseSync(path)
  for (const { name } of db.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'").all()) db.exec(`DROP TRIGGER ${String(name)}`)
  const update = db.prepare('UPDATE records SET salt = ?, entry = ? WHERE seq = ?')
  for (const { seq, salt, entry_text } of entries) update.run(salt, entry_text, seq)
  db.close()
}

/** The line with another salt and entry; null: withheld. */
export function lineWith(line: string, salt: string | null, entry_text: string | null): string {
  const tail = salt === null ? '"entry":null}' : `"salt":"${salt}","entry":${entry_text}}`
  return line.replace(/,(?:"salt":"[\w-]{22}","entry":\{.*|"entry":null)\}$/s, () => `,${tail}`)
}

function putIntoSegments(folder: string, entries: Put): void {
  const segments = join(folder, 'segments')
  for (const name of readdirSync(segments)) {
    const lines = readFileSync(join(segments, name), 'utf8').split('\n').slice(0, -1)
    const changed = lines.map((line) => {
      const { seq } = (JSON.parse(line) as { header: { seq: number } }).header
      const put = entries.find((one) => one.seq === seq)
      return put === undefined ? line : lineWith(line, put.salt, put.entry_text)
    })
    writeFileSync(join(segments, name), changed.map((line) => `${line}\n`).join(''))
  }
}

/**
 * A ledger of calls that came in over a year, with a key, a witness and a cold archive of its own, and all that is known
 * of it from elsewhere: which calls they were, every checkpoint, some bundles. It is compared with these.
 */
import { mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { callsAre, sampleCalls } from '../../bench/workloads.ts'
import { AuditLedger, checkProof, openArchive, verifyLedger } from '../../src/index.ts'
import type { Criteria, LedgerEntryInput, OpenOptions, Outcome, VerificationReport } from '../../src/index.ts'
import type { ArchiveStore } from '../../src/ledger/archive.ts'
import { archivedBytes, readLines } from '../../src/ledger/packed-source.ts'
import { entryBytes, isWithheldLine } from '../../src/ledger/retention/archive-lines.ts'
import type { Store } from '../../src/ledger/store.ts'
import { openStore } from '../../src/open-store.ts'
import { openMemoryStore } from '../../src/stores/memory.ts'
import { fixedClock } from '../../src/testing/fixed-clock.ts'
import { LEDGER_STREAM } from '../../src/verify/header.ts'
import { formatVerifierKey } from '../../src/verify/note.ts'
import { readSense } from '../../src/verify/record.ts'
import { serving } from '../witness/serving.ts'
import { keyOf, signerOf } from './checkpoints.ts'
import { DAY_US } from './retained.ts'
import { tempDir } from './temp.ts'

export const YEAR_ORIGIN = 'example.com/year'
export const YEAR_SIGNER = signerOf(YEAR_ORIGIN, 7)
/** In the past of whoever runs this. */
const BEGINS = '2024-01-01T00:00:00.000000Z'
const MODELS = ['large', 'small', 'tiny']
const OUTCOMES: readonly Outcome[] = ['success', 'success', 'failure', 'success', 'denied']
export const ACTORS = 7
/** Of whoever asks to be erased. */
export const MARKED = 'the-marked-one'

if (callsAre.startsWith('synthetic')) console.log(`a year of ${callsAre}`)

/** What is known of a call, besides the ledger. */
export interface Fact {
  readonly seq: number
  readonly run_id: string
  readonly actor: string
  readonly model: string
  readonly outcome: Outcome
  readonly correlation_id: string
  readonly recorded_at: string
  readonly prompt: unknown
}

/** What lies where: of entries in the store bytes of salt and entry, else of the files. */
export interface Sizes {
  readonly hot: { readonly records: number; readonly bytes: number }
  readonly warm: number
  readonly cold: number
}

export class Year {
  readonly clock = fixedClock(BEGINS)
  /** Of what belongs to the ledger, and the archive. */
  readonly folder = tempDir()
  readonly location: string
  readonly archive = join(this.folder, 'archive')
  readonly stateFolder = tempDir()
  readonly policyFile = join(this.stateFolder, 'policy')
  policy = ''
  readonly facts: Fact[] = []
  readonly erased = new Set<number>()
  readonly checkpoints: string[] = []
  readonly bundles: Uint8Array[] = []
  readonly warnings: string[] = []
  readonly #memory: Store | null
  #asked = 0

  private constructor(place: string) {
    this.location = place.includes(':') ? place : join(this.folder, place)
    this.#memory = place === 'memory:' ? { ...openMemoryStore(), close: async () => {} } : null
    mkdirSync(this.archive)
  }

  /** @param place `memory:`, a URL, or a name in a folder of its own */
  static async begin(place: string): Promise<Year> {
    const year = new Year(place)
    const { url, witness } = await serving([{ key: keyOf(YEAR_SIGNER) }], { clock: year.clock })
    year.policy = `witness w ${formatVerifierKey(witness.key)} ${url}\nquorum w\n`
    writeFileSync(year.policyFile, year.policy)
    return year
  }

  open(options: OpenOptions = {}): Promise<AuditLedger> {
    return AuditLedger.open(this.location, {
      ...(this.#memory === null ? {} : { store: this.#memory }),
      origin: YEAR_ORIGIN,
      signer: YEAR_SIGNER,
      clock: this.clock,
      policy: this.policyFile,
      stateFolder: this.stateFolder,
      archive: this.archive,
      checkpoints: false,
      fullText: 'off',
      onWarning: ({ message }) => void this.warnings.push(message),
      ...options,
    })
  }

  /** So many calls in so many days, each day's together. @param markers the words of calls that one person made */
  async record(ledger: AuditLedger, count: number, days: number, markers: readonly string[] = []): Promise<void> {
    const first = this.facts.length
    const calls = sampleCalls(first + count).slice(first)
    for (let day = 0; day < days; day++) {
      const [from, before] = [Math.floor((day * count) / days), Math.floor(((day + 1) * count) / days)]
      await Promise.all(calls.slice(from, before).map((call, i) => this.#record(ledger, call, first + from + i)))
      for (const [i, marker] of markers.entries())
        if (Math.floor((i * days) / markers.length) === day)
          await this.#record(ledger, { ...calls[0]!, prompt: `say ${marker}`, correlation_id: MARKED }, this.facts.length)
      this.clock.advance(DAY_US)
    }
    this.facts.sort((a, b) => a.seq - b.seq)
  }

  async #record(ledger: AuditLedger, call: LedgerEntryInput, i: number): Promise<void> {
    const [actor, model, outcome] = [`agent-${i % ACTORS}`, MODELS[i % 3]!, OUTCOMES[i % 5]!]
    const { seq, run_id, recorded_at } = await ledger.record({ ...call, agent_name: actor, model_name: model }, { outcome })
    this.facts.push({ seq, run_id, actor, model, outcome, correlation_id: call.correlation_id!, recorded_at, prompt: call.prompt })
  }

  /** A checkpoint that the witness cosigned, and a bundle of one record with its entry, for whoever keeps them. */
  async keep(ledger: AuditLedger, { seq }: Fact): Promise<void> {
    const { note } = await ledger.checkpoint({ cosigned: true })
    this.checkpoints.push(note)
    this.bundles.push(await ledger.prove({ seq }, { disclose: true }))
  }

  /** By all that is known from elsewhere, the archive included. */
  async verify(): Promise<VerificationReport> {
    const { policy, stateFolder, archive } = this
    const options = { keys: [YEAR_SIGNER.verifierKey], policy, since: this.checkpoints, stateFolder }
    if (this.#memory === null) return verifyLedger(this.location, { ...options, archive })
    const ledger = await this.open({ readThrough: true })
    return ledger.verifyIntegrity(options).finally(() => ledger.close())
  }

  /** No problem, all four verdicts, and every bundle that was ever given away. */
  async expectProven(): Promise<void> {
    const report = await this.verify()
    expect(report.problems).toEqual([])
    expect(report.verdicts).toEqual({ integrity: 'pass', authenticity: 'pass', completeness: 'pass', time: 'pass' })
    expect(report.withheld?.unnamed ?? 0).toBe(0)
    expect(this.warnings).toEqual([])
    for (const bundle of this.bundles)
      expect(await checkProof(bundle, { keys: [YEAR_SIGNER.verifierKey], policy: this.policy })).toMatchObject({
        ok: true,
        verdicts: { integrity: 'pass', authenticity: 'pass', time: 'pass' },
      })
  }

  /** Questions that a ledger is asked, and which calls fit. */
  get questions(): readonly (readonly [Criteria, (fact: Fact) => boolean])[] {
    const at = (share: number): Fact => this.facts[Math.floor(share * (this.facts.length - 1))]!
    const [since, until] = [at(0.2).recorded_at, at(0.45).recorded_at]
    const tasks = [at(0).correlation_id, at(0.5).correlation_id, at(1).correlation_id]
    const some = [at(0.1), at(0.9)].map(({ run_id }) => run_id)
    const between = ({ recorded_at }: Fact): boolean => recorded_at >= since && recorded_at < until
    const isCall = { type: 'AgentCallCompleted' }
    return [
      [isCall, () => true],
      [{ actor: 'agent-3' }, ({ actor }) => actor === 'agent-3'],
      [{ outcome: ['failure', 'denied'] }, ({ outcome }) => outcome !== 'success'],
      // What was erased has no model any more.
      [{ model: 'tiny' }, ({ model, seq }) => model === 'tiny' && !this.erased.has(seq)],
      [{ model: 'small', outcome: 'failure' }, (f) => f.model === 'small' && f.outcome === 'failure' && !this.erased.has(f.seq)],
      [{ correlation_id: tasks }, ({ correlation_id }) => tasks.includes(correlation_id)],
      [{ run_id: some }, ({ run_id }) => some.includes(run_id)],
      [{ ...isCall, recorded_since: since, recorded_until: until }, between],
      [{ actor: ['agent-1', 'agent-2'], since, until }, (f) => ['agent-1', 'agent-2'].includes(f.actor) && between(f)],
    ]
  }

  /** Every question has the answer that it has by the calls alone, page by page, from one end or the other. */
  async expectAnswers(ledger: AuditLedger): Promise<void> {
    for (const [i, [criteria, fits]] of this.questions.entries()) {
      const expected = this.facts.filter(fits).map(({ run_id }) => run_id)
      const order = (i + this.#asked) % 2 === 0 ? 'oldest' : 'newest'
      const found: string[] = []
      const limit = Math.min(5000, Math.max(3, Math.ceil(expected.length / 4)))
      for (let cursor: string | null | undefined; cursor !== null;) {
        const page = await ledger.query({ ...criteria, order, limit, cursor })
        found.push(...page.records.map(({ run_id }) => run_id))
        cursor = page.cursor
      }
      expect(found, JSON.stringify(criteria)).toEqual(order === 'oldest' ? expected : expected.toReversed())
    }
    this.#asked++
  }

  /** Every call is there, once, with what it said unless that was erased. @param mayBeErased those of which it is not known yet */
  async expectEntries(mayBeErased: ReadonlySet<number> = new Set()): Promise<void> {
    const ledger = await this.open({ readOnly: true, signer: null, readThrough: true })
    let next = 0
    for await (const record of ledger.read({ where: { type: 'AgentCallCompleted' } })) {
      const fact = this.facts[next++]!
      expect([record.seq, record.run_id]).toEqual([fact.seq, fact.run_id])
      if (this.erased.has(fact.seq) || (record.entry === null && mayBeErased.has(fact.seq)))
        expect(record.withheld, record.run_id).toMatchObject({ state: 'erased' })
      else expect(record.entry?.['prompt'], record.run_id).toEqual(fact.prompt)
    }
    expect(next).toBe(this.facts.length)
    await ledger.close()
  }

  async #look<Result>(look: (store: Store, cold: ArchiveStore) => Promise<Result>): Promise<Result> {
    const store = this.#memory ?? (await openStore(this.location, { readOnly: true }))
    try {
      return await look(store, await openArchive(this.archive))
    } finally {
      await store.close()
    }
  }

  /** Where the bytes of each call's entry are, one by one, whatever the ledger's records say. */
  places(): Promise<Map<number, string[]>> {
    return this.#look(async (store, cold) => {
      const places = new Map<number, string[]>()
      const add = (line: Uint8Array, where: string): void => {
        const { header } = readSense(line)
        if (header.stream !== LEDGER_STREAM) places.set(header.seq, [...(places.get(header.seq) ?? []), where])
      }
      for await (const chunk of store.read({ filter: {}, from: 0, before: Infinity, reverse: false, limit: Infinity }))
        for (const line of chunk) if (!isWithheldLine(line)) add(line, 'hot')
      for (const archive of [store.upkeep!.archive, cold]) {
        for await (const { name } of archive.list('entries-'))
          for await (const chunk of readLines(await archivedBytes(archive, name), { name })) for (const line of chunk) add(line, name)
      }
      return places
    })
  }

  sizes(): Promise<Sizes> {
    return this.#look(async (store, cold) => {
      const hot = { records: 0, bytes: 0 }
      for await (const chunk of store.read({ filter: {}, from: 0, before: Infinity, reverse: false, limit: Infinity })) {
        for (const line of chunk) {
          if (isWithheldLine(line) || readSense(line).header.stream === LEDGER_STREAM) continue
          hot.records++
          hot.bytes += entryBytes(line)
        }
      }
      return { hot, warm: await bytesIn(store.upkeep!.archive), cold: await bytesIn(cold) }
    })
  }
}

async function bytesIn(archive: ArchiveStore): Promise<number> {
  let sum = 0
  for await (const { bytes } of archive.list('entries-')) sum += bytes
  return sum
}

/** All files under a folder. */
export function filesUnder(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}

export function bytesOfFiles(paths: readonly string[]): number {
  return paths.reduce((sum, path) => sum + statSync(path).size, 0)
}

/** PostgreSQL says of its write-ahead log that it can't be reached. */
export function notDone(left: readonly string[]): string[] {
  return left.filter((what) => !what.startsWith("the server's write-ahead log"))
}

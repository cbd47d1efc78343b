/** `cortex-ledger demo`, which is `npm start`: the whole story once, on a new ledger, in the terminal. */
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import { AuditLedger } from '../open.ts'
import { verifyLedger } from '../open-verify.ts'
import type { VerificationReport } from '../index.ts'
import { backgroundCall, CASE, playCase } from './demo-agents.ts'
import { CUT_RECORDS, cutTail, proveDenial } from './demo-proof.ts'
import { TAMPERINGS, tamperWithCopy } from './demo-tampering.ts'
import { EXIT } from './errors.ts'
import { recordLine, recordTable } from './records.ts'
import type { Terminal } from './terminal.ts'
import { counted, grouped } from './text.ts'
import { problemTable, verdictLines } from './verify-text.ts'

const ORIGIN = 'example.com/agents/demo'
const BACKGROUND_RECORDS = 2000
const ONE_BY_ONE_RECORDS = 50

export function addDemo(program: Command, terminal: Terminal): void {
  program
    .command('demo')
    .summary('see it work: record, query, verify, tamper')
    .description(
      'Simulated agents record their calls into a new ledger, which is queried, verified, copied, tampered with in four ways, and verified again; one record is proven to an outsider. Nothing that exists is touched.',
    )
    .argument('[DIR]', 'a new folder for it (default: audit-demo in the folder for temporary files; a number is added where that exists)')
    .addHelpText('after', '\nExample:\n  $ cortex-ledger demo')
    .action(async (dir: string | undefined) => {
      const folder = await makeFolder(resolve(dir ?? join(tmpdir(), 'audit-demo')))
      await new Demo(terminal, folder).run()
    })
}

/** A folder that was not there before: making it decides, so two demonstrations at once get two. */
async function makeFolder(wanted: string): Promise<string> {
  await mkdir(dirname(wanted), { recursive: true })
  for (let n = 1; ; n++) {
    const folder = n === 1 ? wanted : `${wanted}-${n}`
    try {
      await mkdir(folder, { mode: 0o700 })
      return folder
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
  }
}

class Demo {
  readonly #terminal: Terminal
  readonly #folder: string
  readonly #path: string
  /** What this machine remembers of it. Not where it remembers other ledgers: each demonstration is a new one. */
  readonly #state: string
  #key = ''
  #chapter = 0

  constructor(terminal: Terminal, folder: string) {
    this.#terminal = terminal
    this.#folder = folder
    this.#path = join(folder, 'ledger')
    this.#state = join(folder, 'state')
  }

  async run(): Promise<void> {
    const ledger = await AuditLedger.open(this.#path, { origin: ORIGIN, key: join(this.#folder, 'demo.key'), stateFolder: this.#state })
    this.#key = ledger.verifierKey ?? ''
    try {
      await this.#say(
        `${this.#terminal.colours.bold('cortex-ledger')}: the flight recorder for AI agents. The models are played, everything else is real.`,
      )
      await this.#recordStory(ledger)
      await this.#recordMany(ledger)
      await this.#find(ledger)
    } finally {
      await ledger.close()
    }
    await this.#verify()
    await this.#tamper()
    await this.#prove()
    await this.#whatNext()
  }

  /** Printed and shown at once: a story is read while it happens. */
  async #say(...lines: readonly string[]): Promise<void> {
    await this.#terminal.print(lines.join('\n'))
    await this.#terminal.flush()
  }

  async #title(text: string): Promise<void> {
    const { bold, cyan } = this.#terminal.colours
    await this.#say('', bold(cyan(`${++this.#chapter}. ${text}`)))
  }

  async #recordStory(ledger: AuditLedger): Promise<void> {
    await this.#title('Agents work, and every step is recorded')
    const { dim } = this.#terminal.colours
    let next = 0
    const showNew = async (what: string): Promise<void> => {
      await this.#say(dim(what))
      for await (const record of ledger.read({ from: next })) {
        await this.#terminal.print(recordLine(record, this.#terminal.colours, this.#terminal.width))
        next = record.seq + 1
      }
      await this.#terminal.flush()
    }
    await showNew('A new ledger: its first record names its origin and its key.')
    await playCase(ledger, { onStep: showNew })
  }

  async #recordMany(ledger: AuditLedger): Promise<void> {
    await this.#title('A busy day around it')
    const slowBegan = performance.now()
    for (let n = 0; n < ONE_BY_ONE_RECORDS; n++) await ledger.record(backgroundCall(n))
    const slow_ms = performance.now() - slowBegan
    const fastBegan = performance.now()
    await Promise.all(Array.from({ length: BACKGROUND_RECORDS }, (_, n) => ledger.record(backgroundCall(n + ONE_BY_ONE_RECORDS))))
    const fast_ms = performance.now() - fastBegan
    const rate = (records: number, ms: number): string =>
      `${grouped(records)} records in ${grouped(Math.round(ms))} ms (${grouped(Math.round((records * 1000) / ms))} a second)`
    await this.#say(
      `one waiting for the other:  ${rate(ONE_BY_ONE_RECORDS, slow_ms)}`,
      `all at once, sharing syncs: ${rate(BACKGROUND_RECORDS, fast_ms)}`,
      this.#terminal.colours.dim('Measured just now on this machine. Each record was on disk before its receipt was given.'),
    )
  }

  async #find(ledger: AuditLedger): Promise<void> {
    await this.#title('Find what happened')
    const { colours, width } = this.#terminal
    await ledger.flush()
    const { size } = await ledger.head()
    const began = performance.now()
    const { records } = await ledger.query({ correlation_id: CASE })
    const ms = performance.now() - began
    await this.#say(
      colours.dim(`$ cortex-ledger query … --correlation-id ${CASE}`),
      ...recordTable(records, colours, width),
      colours.dim(
        `${counted(records.length, 'record')} of ${grouped(size)}, in ${ms.toFixed(1)} ms; each names what led to it (causation_id)`,
      ),
    )
    const bad = await ledger.query({ outcome: ['denied', 'timeout'], limit: 10 })
    await this.#say(
      '',
      colours.dim('$ cortex-ledger query … --outcome denied --outcome timeout'),
      ...recordTable(bad.records, colours, width),
    )
  }

  async #verify(): Promise<void> {
    await this.#title('Verify')
    const { colours } = this.#terminal
    const began = performance.now()
    const report = await verifyLedger(this.#path, { origin: ORIGIN, keys: [this.#key], stateFolder: this.#state })
    const ms = performance.now() - began
    await this.#say(
      ...verdictLines(report, colours, this.#terminal.width),
      colours.dim(
        `${counted(report.size, 'record')} in ${grouped(Math.round(ms))} ms. What was not checked is said, and what it would need: "not checked" is no "pass".`,
      ),
    )
    this.#expect(report.ok && report.verdicts.authenticity === 'pass', 'the honest ledger verifies, under its key')
  }

  async #tamper(): Promise<void> {
    await this.#title('Tamper with copies')
    const { bold, dim, green } = this.#terminal.colours
    await mkdir(join(this.#folder, 'tampered'))
    for (const [n, tampering] of TAMPERINGS.entries()) {
      if (n > 0) await this.#say('')
      const copy = join(this.#folder, 'tampered', tampering.name)
      const seq = await tamperWithCopy(this.#path, copy, tampering)
      const report = await verifyLedger(copy, { origin: ORIGIN })
      await this.#say(bold(tampering.what), ...this.#problems(report))
      const found = report.verdicts.integrity === 'fail' && report.problems[0]?.seq === seq
      this.#expect(found, `${tampering.name} is found at record ${seq}`)
      if (found) await this.#say(`${green('found')}, at record ${seq}. ${dim(tampering.why)}`)
    }
    await this.#say('')
    const cut = await cutTail(this.#path, join(this.#folder, 'tampered', '4-the-tail-cut-off'), this.#state)
    await this.#say(bold(`The last ${CUT_RECORDS} records are cut off, which no chain of hashes can show`), ...this.#problems(cut))
    const found = cut.verdicts.integrity === 'pass' && cut.verdicts.completeness === 'fail'
    this.#expect(found, 'the cut tail is found by the checkpoint')
    if (found)
      await this.#say(
        `${green('found')}, by the checkpoint. ${dim('It was signed when the ledger was closed, and this machine remembers it.')}`,
      )
  }

  async #prove(): Promise<void> {
    await this.#title('Prove one record to an outsider')
    const { dim, green } = this.#terminal.colours
    const { file, bytes, seq, size, isRight, problem } = await proveDenial(this.#path, this.#folder, this.#key)
    this.#expect(isRight && problem === 'entry_mismatch', 'the proof holds, and not with another letter in it')
    await this.#say(
      `${file}: ${grouped(bytes)} bytes that show record ${seq}, the denial, in a ledger of ${grouped(size)}.`,
      `${green('checked')} with nothing but the key ${this.#key}`,
      dim(
        `One letter changed: ${problem ?? 'nothing found'}. verify.html checks such a file in a browser; so do other tools for C2SP tlog-proof.`,
      ),
    )
  }

  #problems(report: VerificationReport): string[] {
    const { colours, width } = this.#terminal
    return problemTable(report.problems, colours, width === Infinity ? width : width - 2).map((line) => `  ${line}`)
  }

  /** A demonstration that does not show what it says must not end as if it did. */
  #expect(holds: boolean, what: string): void {
    if (holds) return
    this.#terminal.exitCode = EXIT.problems
    this.#terminal.say(this.#terminal.stderrColours.red(`this should be so and is not: ${what}`))
  }

  async #whatNext(): Promise<void> {
    await this.#title('Your turn')
    const { bold, dim } = this.#terminal.colours
    const tampered = join(this.#folder, 'tampered', (TAMPERINGS[2] as (typeof TAMPERINGS)[number]).name)
    const script = fileURLToPath(new URL('../../docs/verify.py', import.meta.url))
    const near = relative(process.cwd(), script)
    const python = near.startsWith('..') ? script : near
    const command = (text: string, why: string): string => `  ${text}\n    ${dim(why)}`
    await this.#say(
      `The ledger lies in ${bold(this.#path)}, and its key beside it.`,
      command(`npx cortex-ledger query ${this.#path} --outcome failure --newest`, 'what went wrong last'),
      command(`npx cortex-ledger show ${this.#path} --seq 1`, 'one record in full'),
      command(`npx cortex-ledger verify ${tampered}`, 'the rewritten outcome, as an auditor meets it'),
      ...(existsSync(python) ? [command(`python3 ${python} ${this.#path}`, 'the same verdict from a few pages of another language')] : []),
      command('npx cortex-ledger init ./audit --origin example.com/agents/prod', 'a ledger of your own'),
    )
  }
}

/** `cortex-ledger verify`: what can be claimed of a ledger, what can't, and where it is broken. */
import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { shownLocation } from '../open-store.ts'
import { verifyLedger } from '../open-verify.ts'
import type { KeptCheckpoint, VerificationReport, VerifyOptions } from '../index.ts'
import { readKeptCheckpoint, readTrustedKey } from '../ledger/evidence.ts'
import { readWitnessRule } from '../ledger/witness-rule.ts'
import { isOrigin, ORIGIN_RULE } from '../verify/origin.ts'
import { addArchiveOption, archiveOf } from './archive-option.ts'
import type { ArchiveOption } from './archive-option.ts'
import { EXIT, Misuse } from './errors.ts'
import { LEDGER_ARGUMENT, placeToVerify } from './location.ts'
import { projectionsIn } from './projections.ts'
import { Progress } from './progress.ts'
import { verifyPublished } from './published.ts'
import type { Terminal } from './terminal.ts'
import { counted, grouped } from './text.ts'
import { reportText } from './verify-text.ts'

interface Flags extends ArchiveOption {
  readonly json?: boolean
  readonly origin?: string
  readonly canonical?: boolean
  readonly quiet?: boolean
  readonly key?: readonly string[]
  readonly policy?: string
  readonly since?: readonly string[]
  readonly onlyNew?: boolean
  readonly remembered: boolean
  readonly threads?: string
  readonly snapshots?: boolean
  readonly projections?: string
  readonly decrypt?: readonly string[]
}

const several = (value: string, before: readonly string[] | undefined): readonly string[] => [...(before ?? []), value]

/** Says which argument it was. */
function told<T>(flag: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof RangeError) throw new Misuse(`${flag}: ${error.message}`)
    const { code } = error as NodeJS.ErrnoException
    if (error instanceof Error && typeof code === 'string') throw new Misuse(`${flag}: ${error.message}`)
    throw error
  }
}

function keptIn(file: string): KeptCheckpoint {
  const kept = { name: file, content: readFileSync(file) }
  readKeptCheckpoint(kept, 0)
  return kept
}

/** What is given besides the ledger. A file that can't be read or holds something else is misuse, and no finding. @throws Misuse */
function evidenceOf(flags: Flags): VerifyOptions {
  if (flags.origin !== undefined && !isOrigin(flags.origin)) throw new Misuse(`--origin ${JSON.stringify(flags.origin)}: ${ORIGIN_RULE}`)
  const { threads } = flags
  if (threads !== undefined && threads !== '1' && threads !== '2') throw new Misuse(`--threads ${threads}: 1 or 2`)
  if (flags.onlyNew === true && flags.since === undefined)
    throw new Misuse('--only-new needs --since FILE: a checkpoint from before, behind which to begin')
  const keys = (flags.key ?? []).map((key) => told('--key', () => (readTrustedKey(key), key)))
  const since = (flags.since ?? []).map((file) => told(`--since ${file}`, () => keptIn(file)))
  const { policy: policyFile } = flags
  const policy = policyFile === undefined ? undefined : told(`--policy ${policyFile}`, () => readFileSync(policyFile))
  if (policy !== undefined) told(`--policy ${policyFile}`, () => readWitnessRule(policy))
  return {
    keys,
    since,
    policy,
    origin: flags.origin,
    onlySince: flags.onlyNew === true,
    remembered: flags.remembered,
    threads: threads === undefined ? undefined : Number(threads),
    canonicalEntries: flags.canonical === true,
    ...archiveOf(flags),
  }
}

export function addVerify(program: Command, terminal: Terminal): void {
  addArchiveOption(program.command('verify'), 'also check entries that lie there')
    .summary('check every record')
    .description(
      'Checks every record and changes nothing. Works on ledgers that are too damaged to open, on one exported .jsonl file, and on archive files, which have some records of a ledger. Ends with 1 where a verdict fails.',
    )
    .argument(
      '[LEDGER]',
      `${LEDGER_ARGUMENT}; or an exported .jsonl file, also compressed (.jsonl.zst, .jsonl.gz), or one of an archive by its s3: URL; or a published log, by its directory or http(s) address`,
    )
    .option('--key <vkey>', 'a public key that you trust, from outside the ledger; can be given again', several)
    .option('--policy <file>', 'witnesses that you believe, and how many are enough (C2SP tlog-policy)')
    .option('--since <file>', 'a checkpoint from before: a signed note, a proof or a bundle; can be given again', several)
    .option('--only-new', 'read only the records behind the largest checkpoint of --since')
    .option('--no-remembered', 'leave out what this machine remembers of the ledger')
    .option('--origin <line>', 'fail unless the ledger is the one of this origin')
    .option('--canonical', "also check that every entry's bytes are canonical JSON")
    .option('--threads <n>', '1 or 2; unless said, 2 where that is faster')
    .option('--snapshots', 'also check the snapshots that are kept: each against its record')
    .option('--projections <module>', 'and against a replay, where this JavaScript module, which is run, exports its projection')
    .option('--decrypt <file>', 'also open every encrypted entry, by this master key; can be given again', several)
    .option('--quiet', 'print nothing: the exit code tells')
    .option('--json', 'print the report as one JSON object')
    .addHelpText(
      'after',
      `
Four verdicts, kept apart because they are different claims: integrity, authenticity, completeness, time. Each is
pass, fail or not checked. "Not checked" is no failure, and no success either. What is claimed, is claimed up to a
position: records behind the last checkpoint are covered by none.

Example:
  $ cortex-ledger verify ./audit --origin example.com/agents/prod --key "$KEY" --since ./last.checkpoint`,
    )
    .action(async (argument: string | undefined, flags: Flags) => {
      const location = placeToVerify(argument)
      const progress = new Progress(terminal)
      const began = performance.now()
      const report = await reportOn(location, flags, progress).finally(() => progress.clear())
      const elapsed_ms = performance.now() - began
      // Set before anything is printed: `verify … | head -1` is to end with what was found.
      terminal.exitCode = report.ok ? EXIT.ok : EXIT.problems
      if (flags.quiet === true) return
      if (flags.json === true) await terminal.print(JSON.stringify(report))
      else
        await terminal.print(
          reportText(report, { location: shownLocation(location), elapsed_ms, colours: terminal.colours, width: terminal.width }).join(
            '\n',
          ),
        )
    })
}

async function reportOn(location: string, flags: Flags, progress: Progress): Promise<VerificationReport> {
  const { origin, key: keys = [], since = [], policy } = flags
  const onProgress = (lines: number): void =>
    progress.update((ms) => `${counted(lines, 'record')} checked, ${grouped(Math.round((lines * 1000) / ms))} a second`)
  const published = await verifyPublished(location, { origin, keys, since, policy, onProgress })
  if (published !== null) return published
  const snapshots = flags.projections === undefined ? [] : await projectionsIn(flags.projections)
  const asked = flags.snapshots === true || flags.projections !== undefined
  const decrypt = flags.decrypt === undefined ? {} : { decrypt: { master: flags.decrypt } }
  return verifyLedger(location, { ...evidenceOf(flags), onProgress, ...decrypt, ...(asked ? { snapshots } : {}) })
}

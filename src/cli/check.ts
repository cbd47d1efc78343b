/** `cortex-ledger check`: a bundle, the certificate of an erasure, or evidence of a fork, by itself and without the ledger. */
import { open } from 'node:fs/promises'
import type { Command } from 'commander'
import { checkProof, trustOf } from '../ledger/check.ts'
import type { ProofTrust } from '../ledger/check.ts'
import { ed25519Check } from '../ledger/ed25519.ts'
import { nodeHashing } from '../ledger/hashing.ts'
import { BUNDLE_LIMITS } from '../verify/bundle.ts'
import { checkForkEvidence, parseForkEvidence } from '../verify/fork-evidence.ts'
import { decodeText } from '../verify/text.ts'
import { hashHex } from '../verify/tree.ts'
import { asCertificate, certificateChecked } from './check-certificate.ts'
import { checkText } from './check-text.ts'
import type { Checked } from './check-text.ts'
import { asked, EXIT, Misuse } from './errors.ts'
import { gather } from './filters.ts'
import type { Terminal } from './terminal.ts'
import { counted, printable } from './text.ts'

interface CheckOptions {
  readonly key?: string[]
  readonly policy?: string
  readonly json?: boolean
  readonly quiet?: boolean
}

export function addCheck(program: Command, terminal: Terminal): void {
  program
    .command('check')
    .summary('check a bundle, a certificate of erasure, evidence of a fork')
    .description(
      'Checks a bundle, a C2SP tlog-proof or the certificate that erase wrote, with nothing but the file and keys that you have from elsewhere, and tells by itself which of them it is. Ends with 1 where a verdict fails. Evidence of a fork is recognised, too: that ends with 0 where it proves one, and with 1 where it does not.',
    )
    .argument('<FILE>', 'the file; - for stdin')
    .option('--key <key>', "a verifier key that you believe: the ledger's, a witness's; may be repeated", gather)
    .option('--policy <file>', 'a C2SP tlog-policy: the keys that you believe, and how many witnesses are enough')
    .option('--quiet', 'print nothing: the exit code tells')
    .option('--json', 'print the report as one JSON object, the disclosed entries in it')
    .addHelpText(
      'after',
      `
A bundle shows that records are in a ledger, unchanged, and who signed for it; not that there are no others.
verify.html does the same with a bundle in a browser, with nothing sent anywhere.
A certificate shows which entries the ledger says it erased, when and why, and that it goes on from what it was.

Examples:
  $ cortex-ledger check task-42.bundle --key example.com/agents/prod+1a2b3c4d+AQ…
  $ cortex-ledger check erased.json --key example.com/agents/prod+1a2b3c4d+AQ…`,
    )
    .action(async (file: string, options: CheckOptions) => {
      const trust = await trustFrom(options, terminal)
      const bytes = await readInput(file, terminal)
      const checked = await checkedAs(bytes, trust, file, terminal)
      // Set before anything is printed: `check … | head -1` is to end with what was found.
      terminal.exitCode = checked.ok ? EXIT.ok : EXIT.problems
      if (options.quiet === true) return
      await terminal.print(options.json === true ? JSON.stringify(checked.report) : checked.lines().join('\n'))
    })
}

/** @throws Misuse where nobody is believed, or a key or the policy is none */
async function trustFrom({ key = [], policy }: CheckOptions, terminal: Terminal): Promise<ProofTrust> {
  if (key.length === 0 && policy === undefined)
    throw new Misuse("whom do you believe? Give the ledger's verifier key (--key), as you have it from its owner, or a policy (--policy)")
  const trust = { keys: key, ...(policy !== undefined && { policy: await policyText(policy, terminal) }) }
  await asked(async () => trustOf(trust))
  return trust
}

async function policyText(file: string, terminal: Terminal): Promise<string> {
  const bytes = await readInput(file, terminal)
  try {
    return decodeText(bytes)
  } catch {
    throw new Misuse(`--policy ${file} is not UTF-8`)
  }
}

function checkedAs(bytes: Uint8Array, trust: ProofTrust, file: string, terminal: Terminal): Promise<Checked> {
  if (isForkEvidence(bytes)) return evidenceChecked(bytes, trust, file, terminal)
  const certificate = asCertificate(bytes)
  return certificate === null ? bundleChecked(bytes, trust, file, terminal) : certificateChecked(certificate, trust, file, terminal)
}

async function bundleChecked(bytes: Uint8Array, trust: ProofTrust, file: string, { colours, width }: Terminal): Promise<Checked> {
  const report = await checkProof(bytes, trust)
  return { ok: report.ok, report, lines: () => checkText(report, { file, colours, width }) }
}

const FORK_EVIDENCE = Buffer.from('cortex-ledger/fork-evidence@')

function isForkEvidence(bytes: Uint8Array): boolean {
  return FORK_EVIDENCE.equals(bytes.subarray(0, FORK_EVIDENCE.length))
}

async function evidenceChecked(bytes: Uint8Array, trust: ProofTrust, file: string, { colours }: Terminal): Promise<Checked> {
  const { sha256 } = nodeHashing
  const evidence = parseForkEvidence(bytes)
  const found =
    typeof evidence === 'string' ? evidence : await checkForkEvidence(evidence, trustOf(trust).keys, { sha256, check: ed25519Check })
  const { bold, red, yellow } = colours
  if (typeof found === 'string') {
    const report = { ok: false, fork_evidence: { proven: false, fault: found } }
    return { ok: false, report, lines: () => [bold(printable(file)), yellow(`no evidence of a fork: ${printable(found)}`)] }
  }
  const { proven, origin, key } = found
  const signer = `${key.name}+${key.id}`
  const checkpoints = found.checkpoints.map(({ size, root }) => ({ size: Number(size), root: hashHex(root) }))
  const said = proven
    ? red(`FORKED: the holder of ${printable(signer)} has signed two checkpoints that contradict each other`)
    : yellow(`not proven: ${printable(signer)} has signed both, and whether they contradict each other can't be told from this file`)
  return {
    ok: proven,
    report: { ok: proven, fork_evidence: { proven, origin, signer, checkpoints } },
    lines: () => [
      bold(printable(file)),
      printable(origin),
      ...checkpoints.map(({ size, root }) => `${counted(size, 'record')}, root ${root}`),
      '',
      said,
    ],
  }
}

/** The whole file; of one that is too long only so much that this is seen. */
async function readInput(file: string, { stdin }: Pick<Terminal, 'stdin'>): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  let length = 0
  const input: AsyncIterable<Uint8Array> = file === '-' ? stdin : (await open(file, 'r')).createReadStream()
  for await (const part of input) {
    parts.push(part)
    length += part.length
    if (length > BUNDLE_LIMITS.bytes_max) break
  }
  return Buffer.concat(parts)
}

/**
 * Verification that begins with a trusted checkpoint: the kept tree must give its root, and the records behind it are
 * read and must continue it. What it costs does not grow with what is before. Source: docs/format.md, "Only what is new".
 */
import type { ClaimEvidence } from '../verify/claims.ts'
import { judgeClaims, sizesOf } from '../verify/claims.ts'
import type { LedgerFacts } from '../verify/checkpoint-watch.ts'
import { headerHash } from '../verify/hash.ts'
import { checkConsistency, checkInclusion, proveConsistency, proveInclusion, readRoot } from '../verify/proof.ts'
import type { HashReader } from '../verify/proof.ts'
import { readLine, splitLine } from '../verify/record.ts'
import type { SubCheck, VerificationReport } from '../verify/report.ts'
import type { Statement } from '../verify/statement.ts'
import { foldRange, hashHex, rangeNodes } from '../verify/tree.ts'
import { counting, openVerification, settled } from './audit.ts'
import type { AuditOptions } from './audit.ts'
import { LedgerError } from './errors.ts'
import { nodeHashing } from './hashing.ts'
import { SeededSink } from './seeded-sink.ts'
import type { Store } from './store.ts'
import { LedgerTree, nodeParent } from './tree.ts'

/** What is known of the records before the checkpoint, all of it proven by its root. */
interface Beginning {
  readonly size: number
  /** Of the perfect subtrees that the tree of this size is made of. */
  readonly nodes: readonly Uint8Array[]
  /** Hash of the last record before, 64 hex. */
  readonly last: string
  readonly first: { readonly origin: string; readonly recorded_at: string }
  /** Roots of smaller sizes, by size. */
  readonly roots: ReadonlyMap<number, string>
}

/** The hash of the record at this position, proven to be under the root; null where what is kept does not show it. */
async function provenLeaf(reader: HashReader, seq: number, size: number, root: Uint8Array): Promise<Uint8Array | null> {
  const [leaf] = await reader.readHashes([{ level: 0, index: BigInt(seq) }])
  if (leaf === undefined) return null
  const path = await proveInclusion(nodeParent, reader, BigInt(seq), BigInt(size))
  return checkInclusion(nodeParent, BigInt(seq), BigInt(size), leaf, root, path) === null ? leaf : null
}

/** Roots of sizes before, each shown to be one of this tree's. */
async function provenRoots(reader: HashReader, sizes: readonly number[], size: number, root: Uint8Array): Promise<Map<number, string>> {
  const roots = new Map<number, string>()
  for (const before of sizes) {
    if (before < 1 || before >= size) continue
    const smaller = await readRoot(nodeParent, reader, BigInt(before))
    const proof = await proveConsistency(nodeParent, reader, BigInt(before), BigInt(size))
    if (checkConsistency(nodeParent, BigInt(before), BigInt(size), smaller, root, proof) === null) roots.set(before, hashHex(smaller))
  }
  return roots
}

async function firstRecord(store: Store, leaf: Uint8Array): Promise<Beginning['first'] | null> {
  for await (const lines of store.read({ filter: {}, from: 0, before: 1, reverse: false, limit: 1 })) {
    for (const line of lines) {
      const slices = splitLine(line)
      if (slices === null) return null
      const hash = headerHash(nodeHashing.sha256, line.subarray(slices.header_start, slices.header_end))
      const { header } = readLine(line)
      return hash === hashHex(leaf) ? { origin: header.actor, recorded_at: header.recorded_at } : null
    }
  }
  return null
}

/** Null where the ledger, or the tree that is kept with it, is not what the checkpoint says: then all records are to be read. */
async function beginningAt(store: Store, { checkpoint }: Statement, sizes: readonly number[]): Promise<Beginning | null> {
  const size = Number(checkpoint.size)
  const { head } = await store.state({ streams: [], run_ids: [] })
  if (size > head.size) return null
  const { root } = checkpoint
  const tree = new LedgerTree(store)
  if (hashHex(await tree.root(size)) !== hashHex(root)) return null
  const reader = tree.reader(size)
  const nodes = await reader.readHashes(rangeNodes(0n, BigInt(size)))
  if (hashHex(foldRange(nodeParent, nodes)) !== hashHex(root)) return null
  const [last, firstLeaf] = [await provenLeaf(reader, size - 1, size, root), await provenLeaf(reader, 0, size, root)]
  const first = firstLeaf === null ? null : await firstRecord(store, firstLeaf)
  if (last === null || first === null) return null
  return { size, nodes, last: hashHex(last), first, roots: await provenRoots(reader, sizes, size, root) }
}

/**
 * Verifies only what is behind the largest of the caller's checkpoints. Null where that can't be done, because something
 * is not as the checkpoint says: then verifying everything tells what.
 */
export async function auditNew(store: Store, options: AuditOptions, evidence: ClaimEvidence): Promise<VerificationReport | null> {
  const kept = evidence.statements.filter(({ role }) => role === 'since')
  const largest = kept.reduce<Statement | null>(
    (best, one) => (best === null || one.checkpoint.size > best.checkpoint.size ? one : best),
    null,
  )
  if (largest === null) throw new RangeError('to check only what is new, give a checkpoint from before (since)')
  const sizes = sizesOf(evidence.statements)
  let beginning: Beginning | null
  try {
    beginning = await beginningAt(store, largest, sizes)
  } catch (error) {
    if (!(error instanceof LedgerError || error instanceof TypeError || error instanceof RangeError)) throw error
    return null
  }
  if (beginning === null || (options.origin !== undefined && options.origin !== beginning.first.origin)) return null
  const { size } = beginning
  const { verifier, close } = openVerification(options, sizes)
  const sink = new SeededSink(verifier, false)
  try {
    await store.audit(options.onProgress === undefined ? sink : counting(sink, options.onProgress), options.signal, {
      from: size - 1,
      before: Infinity,
    })
    if (sink.begun?.seq !== size - 1 || sink.begun.hash !== beginning.last) return null
    const report = await settled(verifier, options.signal)
    const facts = verifier.facts(beginning.nodes)
    return facts === null
      ? report
      : await judgeClaims(reportOf(report, beginning), factsOf(facts, beginning, sink.recordedAt), { ...evidence, begun: size })
  } finally {
    close()
  }
}

function factsOf(facts: LedgerFacts, { size, nodes, roots }: Beginning, recorded_at: string | null): LedgerFacts {
  const known = new Map(facts.roots)
  for (const [before, root] of roots) known.set(before, { root, recorded_at: null })
  known.set(size, { root: hashHex(foldRange(nodeParent, nodes)), recorded_at })
  return { ...facts, roots: known }
}

function reportOf(report: VerificationReport, { size, first }: Beginning): VerificationReport {
  const unread = (check: SubCheck): SubCheck =>
    check.verdict === 'pass' ? { verdict: 'not checked', missing: `the ${size} records before, which were not read` } : check
  const { run_ids_unique, stream_versions, entries_canonical, columns } = report.checks
  return {
    ...report,
    from: size,
    origin: first.origin,
    recorded: { ...report.recorded, first: first.recorded_at },
    checks: {
      ...report.checks,
      run_ids_unique: unread(run_ids_unique),
      stream_versions: unread(stream_versions),
      entries_canonical: unread(entries_canonical),
      columns: unread(columns),
    },
    notes: [
      ...report.notes,
      {
        code: 'only_new_records',
        seq: size,
        text: `the ${size} records before were not read: the tree that is kept gives the root of their checkpoint, and the records behind continue it`,
        where: null,
      },
    ],
  }
}

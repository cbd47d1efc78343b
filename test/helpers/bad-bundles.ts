/** A good bundle of each form, and bundles of which each has something else wrong with it. */
import { formatBundle } from '../../src/verify/bundle.ts'
import type { Bundle, BundledRecord } from '../../src/verify/bundle.ts'
import type { BundleProblemCode } from '../../src/verify/bundle-report.ts'
import { readLine } from '../../src/verify/record.ts'
import { BUNDLE_ORIGIN, changed, ledgerLines, logSigner, resealed, signedNote, treeOver, withheld, witnessSigner } from './bundle-maker.ts'

export const LOG = logSigner(BUNDLE_ORIGIN, 1)
/** The records are of 2026-01-01 (`fixedClock`); the witness saw them a minute after the last one. */
export const WITNESS = witnessSigner('witness.example', 2, 1_767_226_000n)

export interface BadBundle {
  readonly name: string
  readonly bytes: Uint8Array
  /** All that has to be found, in its order. */
  readonly codes: readonly BundleProblemCode[]
}

export interface GoodBundle {
  readonly name: string
  readonly bytes: Uint8Array
  readonly bundle: Bundle
}

const SIZE = 40
const utf8 = (text: string): Uint8Array => Buffer.from(text)
const text = (bundle: Bundle): string => formatBundle(bundle)

export async function goodBundles(): Promise<{ readonly one: GoodBundle; readonly several: GoodBundle; readonly lines: Uint8Array[] }> {
  const lines = await ledgerLines(SIZE)
  const tree = await treeOver(lines)
  const note = await signedNote(tree.checkpoint, [LOG, WITNESS])
  const one = { note, records: [await tree.record(17)] }
  const several = { note, records: [await tree.record(5, withheld(lines[5]!)), await tree.record(6), await tree.record(39)] }
  return {
    one: { name: 'one record', bytes: utf8(text(one)), bundle: one },
    several: { name: 'several records', bytes: utf8(text(several)), bundle: several },
    lines,
  }
}

/** The record after a change of its line alone. */
function withLine(bundle: Bundle, at: number, line: Uint8Array): Bundle {
  return { ...bundle, records: bundle.records.with(at, { ...bundle.records[at]!, line }) }
}

function withPath(bundle: Bundle, change: (path: readonly Uint8Array[]) => readonly Uint8Array[]): Bundle {
  const [record] = bundle.records as [BundledRecord]
  return { ...bundle, records: bundle.records.with(0, { ...record, path: change(record.path) }) }
}

/** What was changed in a good bundle. */
async function* changedBundles(): AsyncGenerator<[name: string, text: string | Uint8Array, ...codes: BundleProblemCode[]]> {
  const { one, several, lines } = await goodBundles()
  const line = lines[17]!
  const { hash, salt } = readLine(line)
  yield ['an entry is altered', text(withLine(one.bundle, 0, changed(line, '"input_tokens":29', '"input_tokens":28'))), 'entry_mismatch']
  yield [
    'a header is altered among several',
    text(withLine(several.bundle, 1, changed(lines[6]!, 'summarise', 'summarize'))),
    'hash_mismatch',
  ]
  yield [
    'the last entry of several is altered',
    text(withLine(several.bundle, 2, changed(lines[39]!, 'Grüße', 'Grüsse'))),
    'entry_mismatch',
  ]
  yield [
    'the salt is another',
    text(withLine(one.bundle, 0, changed(line, salt!, `${salt![0] === 'A' ? 'B' : 'A'}${salt!.slice(1)}`))),
    'entry_mismatch',
  ]
  yield [
    'the outcome is another',
    text(withLine(one.bundle, 0, changed(line, '"outcome":"success"', '"outcome":"failure"'))),
    'hash_mismatch',
  ]
  yield ['the outcome is another, and its hash', text(withLine(one.bundle, 0, resealed(line, { outcome: 'failure' }))), 'not_included']
  yield [
    'the stated hash is another',
    text(
      withLine(
        one.bundle,
        0,
        changed(
          line,
          hash,
          hash.replace(/^./, (digit) => (digit === '0' ? '1' : '0')),
        ),
      ),
    ),
    'hash_mismatch',
  ]
  yield ['a hash of the path is another', text(withPath(one.bundle, (path) => path.with(2, path[1]!))), 'not_included']
  yield ['a hash of the path is missing', text(withPath(one.bundle, (path) => path.slice(1))), 'not_included']
  yield ['a hash of the path is there twice', text(withPath(several.bundle, (path) => [path[0]!, ...path])), 'not_included']
  yield [
    'the index is another',
    text({ ...one.bundle, records: [{ ...one.bundle.records[0]!, index: 16 }] }),
    'index_mismatch',
    'not_included',
  ]
  const [foreign] = (await ledgerLines(18, 2)).slice(17)
  yield ['a record of another ledger', text(withLine(one.bundle, 0, foreign!)), 'not_included']
  yield [
    'members behind the entry',
    text(withLine(one.bundle, 0, changed(line, '}}}', '}},"header":{"outcome":"failure"}}'))),
    'malformed_record',
  ]
  yield [
    'a salt without its entry',
    text(withLine(one.bundle, 0, changed(withheld(line), ',"entry":null', `,"salt":"${salt}","entry":null`))),
    'malformed_record',
  ]
  yield ['two lines for one', text(withLine(one.bundle, 0, Buffer.concat([line, Buffer.from('\n'), lines[18]!]))), 'malformed_record']
  const json = text(several.bundle)
  yield ['white space in the JSON', json.replace('","records"', '", "records"'), 'malformed_bundle']
  yield ['a member twice in the JSON', json.replace('"index":5,', '"index":5,"index":5,'), 'malformed_bundle']
  yield ['the records in another order', json.replace('"index":5,', '"index":7,'), 'malformed_bundle']
  yield ['a later format', json.replace('bundle/v1', 'bundle/v2'), 'malformed_bundle']
  yield ['the end is missing', several.bytes.subarray(0, -1), 'malformed_bundle']
  yield ['no line in the proof', text(one.bundle).replace(/^extra .*\n/m, ''), 'malformed_bundle']
  yield ['a byte order mark', Buffer.concat([Buffer.from('\ufeff'), one.bytes]), 'malformed_bundle']
  yield ['nothing', new Uint8Array(0), 'malformed_bundle']
}

/** What somebody with a key, or with two, could make. */
async function* otherwiseSigned(): AsyncGenerator<[name: string, text: string, ...codes: BundleProblemCode[]]> {
  const { one, lines } = await goodBundles()
  const tree = await treeOver(lines)
  const { records } = one.bundle
  const under = async (checkpoint: string, signers: Parameters<typeof signedNote>[1]): Promise<string> =>
    text({ note: await signedNote(checkpoint, signers), records })
  const good = one.bundle.note
  yield ['the size is another', text({ note: good.replace('\n40\n', '\n41\n'), records }), 'checkpoint_invalid']
  const forged = await treeOver(lines.with(17, resealed(lines[17]!, { outcome: 'failure' })))
  const [, ...signatures] = good.split('\n\n')
  yield [
    'a root that fits a forged record',
    text({ note: `${forged.checkpoint}\n${signatures.join('')}`, records: [await forged.record(17)] }),
    'checkpoint_invalid',
  ]
  yield ['signed by another key of the same name', await under(tree.checkpoint, [logSigner(BUNDLE_ORIGIN, 9), WITNESS]), 'not_signed']
  yield ['signed by the key of another ledger', await under(tree.checkpoint, [logSigner('example.com/other', 1)]), 'not_signed']
  yield ['cosigned only', await under(tree.checkpoint, [WITNESS]), 'not_signed']
  yield ['signed twice', await under(tree.checkpoint, [LOG, LOG]), 'checkpoint_invalid']
  const renamed = await treeOver(lines, 'example.com/other')
  yield ['a checkpoint of another origin', await under(renamed.checkpoint, [LOG]), 'not_signed']
  const late = witnessSigner('witness.example', 2, 1_767_229_000n)
  const cosignature = (note: string): string => note.split('\n').at(-2)!
  const moved = good.replace(
    cosignature(good),
    cosignature(await signedNote(tree.checkpoint, [late])).replace(/.{20}$/, cosignature(good).slice(-20)),
  )
  yield ['a cosignature at another time', text({ note: moved, records }), 'checkpoint_invalid']
  yield [
    'cosigned before it was recorded',
    await under(tree.checkpoint, [LOG, witnessSigner('witness.example', 2, 1_767_000_000n)]),
    'time_contradicted',
  ]
  yield ['a size with a zero in front', await under(tree.checkpoint.replace('\n40\n', '\n040\n'), [LOG]), 'malformed_checkpoint']
  yield ['an origin that is none', await under(tree.checkpoint.replace(BUNDLE_ORIGIN, 'two words'), [LOG]), 'malformed_checkpoint']
  yield ['a checkpoint without an end', text({ note: good.slice(0, -1), records }), 'malformed_checkpoint']
}

/** Ledgers that are wrong themselves, and signed all the same. */
async function* wronglySealed(): AsyncGenerator<[name: string, text: string, ...codes: BundleProblemCode[]]> {
  const lines = await ledgerLines(SIZE)
  const sign = async (changedLines: Uint8Array[], ...seqs: number[]): Promise<string> => {
    const tree = await treeOver(changedLines)
    return text({ note: await signedNote(tree.checkpoint, [LOG]), records: await Promise.all(seqs.map((seq) => tree.record(seq))) })
  }
  yield [
    'a record that points to another',
    await sign(lines.with(6, resealed(lines[6]!, { previous_hash: 'a'.repeat(64) })), 5, 6),
    'chain_broken',
  ]
  yield [
    'a run_id twice',
    await sign(lines.with(9, resealed(lines[9]!, { run_id: readLine(lines[6]!).header.run_id })), 6, 9),
    'duplicate_run_id',
  ]
  yield ['record 0 of another origin', await sign(lines.with(0, resealed(lines[0]!, { actor: 'example.com/other' })), 0, 6), 'wrong_origin']
  yield [
    'an entry that two readers read differently',
    await sign(lines.with(6, resealed(lines[6]!, {}, '{"a":1,"a":2}')), 6),
    'entry_not_canonical',
  ]
  yield ['a record in the place of another', await sign(lines.with(6, lines[7]!), 6), 'index_mismatch']
}

export async function badBundles(): Promise<BadBundle[]> {
  const bad: BadBundle[] = []
  for (const source of [changedBundles, otherwiseSigned, wronglySealed]) {
    for await (const [name, content, ...codes] of source())
      bad.push({ name, bytes: typeof content === 'string' ? utf8(content) : content, codes })
  }
  return bad
}

/** Ledgers to search, and a plain reading of their records to hold the answers against. */
import { join } from 'node:path'
import { AuditLedger } from '../../../src/index.ts'
import type { LedgerRecord, OpenOptions, Query } from '../../../src/index.ts'
import type { RecordText } from '../../../src/ledger/record-text.ts'
import { recordText } from '../../../src/ledger/record-text.ts'
import { tempDir } from '../../helpers/temp.ts'

export const KINDS = ['jsonl', 'sqlite', 'memory'] as const
export type Kind = (typeof KINDS)[number]
/** Those that are in files. */
export const PERSISTENT = ['jsonl', 'sqlite'] as const

export function placeOf(kind: Kind, dir: string = tempDir()): string {
  if (kind === 'memory') return 'memory:'
  return join(dir, kind === 'jsonl' ? 'ledger' : 'ledger.db')
}

/** Where the index is. */
export function indexOf(kind: Kind, location: string): string {
  return kind === 'jsonl' ? join(location, 'text.db') : `${location}-text`
}

export function open(location: string, options: OpenOptions = {}): Promise<AuditLedger> {
  return AuditLedger.open(location, { origin: 'example.com/text', signer: null, actor: 'tester', onWarning: () => {}, ...options })
}

/** Letters and digits, without case and accents: what the tokenizer makes of the texts of these tests. */
export function wordsOf(text: string): string[] {
  const plain = text.normalize('NFD').replaceAll(/\p{M}/gu, '').toLowerCase()
  return plain.match(/[\p{L}\p{N}]+/gu) ?? []
}

function hasPhrase(words: readonly string[], phrase: readonly string[]): boolean {
  return words.some((_, i) => phrase.every((word, k) => words[i + k] === word))
}

/** Whether the text has all of the words, by the documented rule and by no index. */
export function hasAll(text: RecordText | null, query: string): boolean {
  if (text === null) return false
  const columns = Object.values(text).map((column: string) => wordsOf(column))
  const phrases = query
    .split(/[\s\0]+/)
    .map(wordsOf)
    .filter((phrase) => phrase.length > 0)
  return phrases.every((phrase) => columns.some((words) => hasPhrase(words, phrase)))
}

export async function everything(ledger: AuditLedger): Promise<LedgerRecord[]> {
  const records: LedgerRecord[] = []
  for await (const record of ledger.read()) records.push(record)
  return records
}

export async function expectedSeqs(
  ledger: AuditLedger,
  text: string,
  fits: (record: LedgerRecord) => boolean = () => true,
): Promise<number[]> {
  return (await everything(ledger)).filter((record) => fits(record) && hasAll(recordText(record), text)).map(({ seq }) => seq)
}

/** Positions of all pages, one after the other. */
export async function seqsOf(ledger: AuditLedger, query: Query, between: () => Promise<unknown> = async () => {}): Promise<number[]> {
  const seqs: number[] = []
  let cursor: string | null = null
  do {
    const page: Awaited<ReturnType<AuditLedger['query']>> = await ledger.query({ ...query, cursor })
    seqs.push(...page.records.map(({ seq }) => seq))
    ;({ cursor } = page)
    await between()
  } while (cursor !== null)
  return seqs
}

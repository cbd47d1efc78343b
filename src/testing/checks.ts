/** What the cases of the contract look with. */
import assert from 'node:assert/strict'
import { LedgerError, type LedgerErrorCode } from '../ledger/errors.ts'
import type { RecordFilter, Selection, Store } from '../ledger/store.ts'

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The bytes as text; throws where they are no UTF-8. Equal text is equal bytes. */
export function textOf(bytes: Uint8Array): string {
  return decoder.decode(bytes)
}

export function selection(part: Partial<Selection> = {}): Selection {
  return { filter: {}, from: 0, before: Infinity, reverse: false, limit: Infinity, ...part }
}

/** All lines that a selection gives. */
export async function linesOf(store: Store, part: Partial<Selection> = {}): Promise<string[]> {
  const lines: string[] = []
  for await (const chunk of store.read(selection(part))) for (const line of chunk) lines.push(textOf(line))
  return lines
}

function short(text: string | undefined): string {
  if (text === undefined) return 'nothing'
  return text.length > 400 ? `${text.slice(0, 400)}… (${text.length} characters)` : text
}

/** Equal line by line; names the first that differs instead of printing two ledgers. */
export function assertLines(actual: readonly string[], expected: readonly string[], what = 'lines'): void {
  const first = expected.findIndex((line, i) => line !== actual[i])
  const at = first < 0 && actual.length > expected.length ? expected.length : first
  if (at < 0) return
  assert.fail(
    `${what}: ${actual.length} came, ${expected.length} were expected; line ${at} is\n  ${short(actual[at])}\nand should be\n  ${short(expected[at])}`,
  )
}

/** Rejects with a LedgerError of this code, which is returned. */
export async function assertRefused(promise: Promise<unknown>, code: LedgerErrorCode, what = 'the call'): Promise<LedgerError> {
  try {
    await promise
  } catch (error) {
    if (!(error instanceof LedgerError)) throw error
    assert.equal(error.code, code, `${what} was refused with another code: ${error.message}`)
    assert.ok(error.message.length > 10, 'an error says what to do')
    return error
  }
  return assert.fail(`${what} should have been refused with ${code}, and went through`)
}

/** Rejects with an error of this class: misuse of the API. */
export async function assertMisuse(act: () => unknown, kind: typeof TypeError | typeof RangeError): Promise<void> {
  await assert.rejects(async () => act(), kind)
}

/** `fits` decides; the store must find the same, forwards, backwards, counted. */
export async function assertFinds(store: Store, filter: RecordFilter, expected: readonly string[], what: string): Promise<void> {
  assertLines(await linesOf(store, { filter }), expected, `${what}, oldest first`)
  assertLines(await linesOf(store, { filter, reverse: true }), expected.toReversed(), `${what}, newest first`)
  assert.equal(await store.count(filter), expected.length, `${what}, counted`)
}

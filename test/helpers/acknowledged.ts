/** Holding a ledger against the receipts that its writers printed. */
import { expect } from 'vitest'
import type { AuditLedger } from '../../src/index.ts'

export interface Acknowledged {
  readonly run_id: string
  readonly seq: number
  readonly hash: string
}

/** The receipts among the lines of a writer process. A line that the kill cut off is none. */
export function acknowledgedIn(lines: readonly string[]): Acknowledged[] {
  return lines.flatMap((line) => {
    const match = /^ack (\S+) (\d+) ([0-9a-f]{64})$/.exec(line)
    return match === null ? [] : [{ run_id: match[1]!, seq: Number(match[2]), hash: match[3]! }]
  })
}

/** Every capture that the process said to be flushed is there. */
export async function assertCaptured(ledger: AuditLedger, lines: readonly string[]): Promise<void> {
  const kept = lines.flatMap((line) => /^kept (\S+\/1)$/.exec(line)?.[1] ?? [])
  const found = new Set<string>()
  for await (const { run_id } of ledger.scan({ action: 'captured' })) found.add(run_id)
  expect(
    kept.filter((run_id) => !found.has(run_id)),
    'captures that are not there',
  ).toEqual([])
}

/** Every acknowledged record is there with its hash, no append is there by half, and the ledger verifies. Returns its size. */
export async function assertKept(ledger: AuditLedger, acknowledged: readonly Acknowledged[]): Promise<number> {
  const hashes: string[] = []
  const ids: string[] = []
  const appends = new Map<string, { found: number[]; count: number }>()
  for await (const record of ledger.read()) {
    expect(record.seq).toBe(hashes.length)
    hashes.push(record.hash)
    ids.push(record.run_id)
    const parts = record.run_id.split('/')
    if (parts.length !== 4) continue
    const append = `${parts[0]}/${parts[1]}`
    const seen = appends.get(append) ?? { found: [], count: Number(parts[3]) }
    seen.found.push(Number(parts[2]))
    appends.set(append, seen)
  }
  const lost = acknowledged.filter(({ run_id, seq, hash }) => hashes[seq] !== hash || ids[seq] !== run_id)
  expect(lost, 'acknowledged records that are not there').toEqual([])
  const broken = [...appends].filter(([, { found, count }]) => found.length !== count || found.some((n, i) => n !== i))
  expect(broken, 'appends that are not whole').toEqual([])
  const report = await ledger.verifyIntegrity({ canonicalEntries: true })
  expect(report.problems).toEqual([])
  expect(report).toMatchObject({ ok: true, size: hashes.length, head: hashes.at(-1) })
  return hashes.length
}

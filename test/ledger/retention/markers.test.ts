/** After an erasure none of its words is in any byte of the ledger's files, wherever they had been. */
import { randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { AuditLedger, defineProjection, verifyLedger } from '../../../src/index.ts'
import { archivedBytes, readLines } from '../../../src/ledger/packed-source.ts'
import { openStore } from '../../../src/open-store.ts'
import { openArchive } from '../../../src/open-archive.ts'
import { tempDir } from '../../helpers/temp.ts'

const MARKERS = 10
const said = { reason: 'a test', right: 'gdpr-17' }

function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}

/** Where each marker is found. */
async function foundIn(folder: string, location: string, archive: string, markers: readonly string[]): Promise<string[]> {
  const found: string[] = []
  const look = (where: string, bytes: Uint8Array): void => {
    const haystack = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    for (const marker of markers) if (haystack.includes(marker)) found.push(`${marker} in ${where}`)
  }
  for (const path of filesIn(folder)) look(path, readFileSync(path))
  const store = await openStore(location, { readOnly: true })
  for (const place of [store.upkeep!.archive, await openArchive(archive)]) {
    for await (const { name } of place.list('entries-'))
      for await (const lines of readLines(await archivedBytes(place, name), { name })) for (const line of lines) look(name, line)
  }
  await store.close()
  return found
}

test.each(['ledger', 'ledger.db'])('%s', async (name) => {
  const folder = tempDir()
  const [location, archive] = [join(folder, name), join(folder, 'archive')]
  mkdirSync(archive)
  // Lower case, as the full-text index has its words.
  const markers = Array.from({ length: MARKERS }, () => `m${randomBytes(12).toString('hex')}`)
  const ledger = await AuditLedger.open(location, { signer: null, origin: 'example.com/markers', archive, stateFolder: tempDir() })
  for (let i = 0; i < 60; i++) {
    const marker = i % 6 === 0 ? markers[i / 6]! : 'nothing'
    const call = { agent_name: 'agent', method_name: 'ask', prompt: `say ${marker} ${'x'.repeat(i * 20)}`, model_name: `model-${marker}` }
    await ledger.record({ run_id: `run-${i}`, correlation_id: i % 6 === 0 ? 'ann' : 'others', ...call })
  }
  await ledger.createSnapshot(
    defineProjection({
      name: 'prompts',
      version: 1,
      initial: '',
      on: { AgentCallCompleted: (all: string, { prompt }) => all + String(prompt) },
    }),
  )
  expect((await ledger.query({ text: markers[3]! })).records).toHaveLength(1)
  await ledger.flush()
  await ledger.retention.archive({ before: 20 }, { tier: 'cold' })
  await ledger.retention.archive({ before: 40 }, { tier: 'warm' })
  await ledger.retention.restore({ before: 8 })
  expect(new Set((await foundIn(folder, location, archive, markers)).map((found) => found.slice(0, 25)))).toEqual(new Set(markers))
  const { records, left } = await ledger.retention.erase({ correlation_id: 'ann' }, said)
  expect([records, left]).toEqual([MARKERS, []])
  expect((await ledger.query({ text: markers[3]! })).records).toEqual([])
  await ledger.close()
  expect(await foundIn(folder, location, archive, markers)).toEqual([])
  expect(await verifyLedger(location, { archive })).toMatchObject({ ok: true, withheld: { erased: MARKERS, unnamed: 0, pending: 0 } })
})

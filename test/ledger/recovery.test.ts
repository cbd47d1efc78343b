import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { AuditLedger } from '../../src/index.ts'
import { tempDir } from '../helpers/temp.ts'

test('a segment that was torn at its very beginning still begins with the seal of the one before', async () => {
  const location = join(tempDir(), 'ledger')
  const before = await AuditLedger.open(location)
  await before.record({ agent_name: 'a', method_name: 'm' })
  const { size } = await before.head()
  await before.close()
  writeFileSync(join(location, 'segments', `${String(size).padStart(20, '0')}.jsonl`), '{"hash":"0123')

  const warnings: string[] = []
  const ledger = await AuditLedger.open(location, { onWarning: ({ code }) => warnings.push(code) })
  const own = (await ledger.query({ stream: 'ledger' })).records.map(({ seq, header, entry }) => [seq, header.type, entry])
  expect(warnings).toEqual(['torn_tail_moved'])
  expect(own.slice(1)).toMatchObject([
    [size, 'SegmentSealed', { first_seq: 0, last_seq: size - 1 }],
    [size + 1, 'RecordingGapDetected', { bytes: 13, records_lost: 0 }],
  ])
  expect((await ledger.verifyIntegrity()).problems).toEqual([])
  await ledger.close()
})

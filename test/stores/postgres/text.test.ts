/** Words in a PostgreSQL ledger: off unless asked for, and then in an index of this machine's own. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { AuditLedger } from '../../../src/index.ts'
import { postgresMissing, useDatabases } from '../../helpers/postgres.ts'
import { tempDir } from '../../helpers/temp.ts'

describe.skipIf(postgresMissing !== null)('full text on PostgreSQL', () => {
  const { newDatabase } = useDatabases()
  const cacheBefore = process.env['XDG_CACHE_HOME']
  afterEach(() => {
    if (cacheBefore === undefined) delete process.env['XDG_CACHE_HOME']
    else process.env['XDG_CACHE_HOME'] = cacheBefore
  })

  test('is off unless asked for', async () => {
    const ledger = await AuditLedger.open(await newDatabase(), { signer: null })
    await expect(ledger.query({ text: 'refund' })).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringMatching(/on-demand/),
    })
    await ledger.close()
  })

  test('finds what another process of the ledger recorded, before and after the index was made', async () => {
    const cache = tempDir()
    process.env['XDG_CACHE_HOME'] = cache
    const url = await newDatabase()
    const writer = await AuditLedger.open(url, { signer: null })
    await writer.record({ agent_name: 'a', method_name: 'm', prompt: 'The airline owes me a refund.' })
    await writer.record({ agent_name: 'b', method_name: 'm', prompt: 'Nothing of the kind.' })
    const reader = await AuditLedger.open(url, { readOnly: true, fullText: 'on-demand' })
    const found = async (): Promise<(string | undefined)[]> =>
      (await reader.query({ text: 'refund', order: 'oldest' })).records.map(({ header }) => header.actor)
    expect(await found()).toEqual(['a'])
    expect(existsSync(join(cache, 'cortex-ledger'))).toBe(true)
    expect(readdirSync(join(cache, 'cortex-ledger')).some((name) => name.endsWith('.db-text'))).toBe(true)
    await writer.record({ agent_name: 'c', method_name: 'm', raw_output: 'Your refund is on its way.' })
    expect(await found()).toEqual(['a', 'c'])
    expect(await reader.count({ text: 'refund', actor: 'c' })).toBe(1)
    await reader.close()
    await writer.close()
  })
})

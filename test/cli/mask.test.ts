import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { tempDir } from '../helpers/temp.ts'
import { entryLines, jsonLines, ok, run } from './cli.ts'

const CALL = { agent_name: 'a', method_name: 'b', prompt: 'ann@example.org +442071838750', parsed_data: { customer: { name: 'Ann' } } }

async function entries(ledger: string): Promise<object[]> {
  const records = jsonLines(await ok(['query', ledger, '--json', '--type', 'AgentCallCompleted'])) as { entry: object }[]
  return records.map(({ entry }) => entry)
}

describe('--mask', () => {
  test('of record: patterns and pointers', async () => {
    const ledger = join(tempDir(), 'audit')
    await ok(['record', ledger, '--mask', 'email, phone,/parsed_data/customer'], { input: entryLines([CALL]) })
    expect(await entries(ledger)).toEqual([
      expect.objectContaining({
        prompt: '[masked:email] [masked:phone]',
        parsed_data: { customer: { masked: '[masked:pointer]' } },
        input_metadata: { masked: { email: 1, phone: 1, pointer: 1 } },
      }),
    ])
  })

  test('default is all but phone; without the option nothing is masked', async () => {
    const ledger = join(tempDir(), 'audit')
    await ok(['record', ledger, '--mask', 'default'], { input: entryLines([CALL]) })
    await ok(['record', ledger], { input: entryLines([CALL]) })
    expect(await entries(ledger)).toEqual([
      expect.objectContaining({ prompt: '[masked:email] +442071838750' }),
      expect.objectContaining({ prompt: CALL.prompt, input_metadata: {} }),
    ])
  })

  test('of import', async () => {
    const folder = tempDir()
    const file = join(folder, 'runs.json')
    const messages = [
      { role: 'user', content: 'I am ann@example.org' },
      { role: 'assistant', content: 'Hello ann@example.org' },
    ]
    writeFileSync(file, JSON.stringify([{ messages }]))
    const ledger = join(folder, 'audit')
    await ok(['import', ledger, file, '--format', 'chat', '--mask', 'email'])
    expect(await ok(['export', ledger])).not.toContain('ann@')
    expect((await entries(ledger))[0]).toMatchObject({ raw_output: 'Hello [masked:email]' })
    // The same again adds nothing: what is masked is the same each time.
    expect(await ok(['import', ledger, file, '--format', 'chat', '--mask', 'email'])).toMatch(/already/)
  })

  test.each([
    ['record', [], 'emial', /"emial" is none; known are token/],
    ['record', [], '', /is none/],
    ['import', ['--format', 'chat'], '/a~7', /no JSON pointer/],
  ])('of %s %j %s is refused before a ledger is made', async (command, more, rules, message) => {
    const folder = tempDir()
    const file = join(folder, 'file.json')
    writeFileSync(file, '[]')
    const { code, stderr } = await run([command, join(folder, 'audit'), file, ...more, '--mask', rules])
    expect(code).toBe(2)
    expect(stderr).toMatch(message)
    expect(existsSync(join(folder, 'audit'))).toBe(false)
  })
})

/** The commands that move, hold and erase entries, as a script uses them. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { checkErasureCertificate, signerFromSeed } from '../../src/index.ts'
import type { ErasureCertificate } from '../../src/index.ts'
import { tempDir } from '../helpers/temp.ts'
import { entryLines, jsonLines, ok, run } from './cli.ts'

const CALLS = Array.from({ length: 12 }, (_, i) => ({
  run_id: `run-${i}`,
  correlation_id: `task-${i % 3}`,
  agent_name: 'analyst',
  method_name: 'ask',
  prompt: `the secret ${i}`,
}))

describe.each(['ledger'])('%s', (name) => {
  let folder = ''
  let ledger = ''
  let archive = ''

  beforeEach(async () => {
    folder = tempDir()
    ledger = join(folder, name)
    archive = join(folder, 'archive')
    mkdirSync(archive)
    await ok(['init', ledger, '--origin', 'example.com/cli', '--key', join(folder, 'key')])
    await ok(['record', ledger, '--key', join(folder, 'key')], { input: entryLines(CALLS) })
  })

  const key = (): string[] => ['--key', join(folder, 'key')]

  test('plan, apply, archive, restore: entries go and come back, and show says where they are', async () => {
    const policy = join(folder, 'policy.json')
    writeFileSync(policy, '{"hotDays":0,"warmDays":null}')
    const plan = JSON.parse(await ok(['retention', 'plan', ledger, '--retention-policy', policy, '--json'])) as { steps: object[] }
    expect(plan.steps).toMatchObject([{ move: 'warm', from: 'hot', records: 12 }])
    expect(await ok(['retention', 'plan', ledger])).toContain('nothing is due')
    expect(await ok(['retention', 'apply', ledger, '--retention-policy', policy, ...key()])).toContain('12 entries compressed')
    expect(await ok(['show', ledger, 'run-3'])).toContain('the secret 3')
    const moved = await ok(['archive', ledger, '--correlation-id', 'task-0', '--archive', archive, '--json', ...key()])
    expect(JSON.parse(moved)).toMatchObject({ cold: { records: 4 } })
    const shown = await run(['show', ledger, 'run-3'])
    expect([shown.code, shown.stderr]).toEqual([3, expect.stringMatching(/^error: archived: .*run|restore it/)])
    expect(shown.stdout).toContain('entry archived in entries-')
    expect(await ok(['show', ledger, 'run-3', '--archive', archive])).toContain('the secret 3')
    expect(await ok(['query', ledger, '--json', '--run-id', 'run-3'], { env: { CORTEX_LEDGER_ARCHIVE: archive } })).toContain(
      'the secret 3',
    )
    expect(await ok(['verify', ledger, '--archive', archive])).toContain('pass')
    expect(await ok(['restore', ledger, '--run-id', 'run-3', '--archive', archive, ...key()])).toContain('1 record')
    expect(await ok(['show', ledger, 'run-3'])).toContain('the secret 3')
  })

  test('hold and erase: a hold refuses, a certificate proves', async () => {
    const why = ['--reason', 'dispute', '--case', 'case 7']
    const placed = JSON.parse(await ok(['hold', 'place', ledger, '--run-id', 'run-4', ...why, '--json', ...key()])) as { hold: string }
    expect(placed).toMatchObject({ records: 1 })
    expect(jsonLines(await ok(['hold', 'list', ledger, '--json']))).toMatchObject([{ id: placed.hold, case: 'case 7', released_at: null }])
    const certificate = join(folder, 'erased.json')
    const erase = [
      'erase',
      ledger,
      '--correlation-id',
      'task-1',
      '--reason',
      'request',
      '--right',
      'gdpr-17',
      '--certificate',
      certificate,
      ...key(),
    ]
    const held = await run(erase)
    expect([held.code, held.stderr]).toEqual([4, expect.stringContaining(placed.hold)])
    await ok(['hold', 'release', ledger, '--id', placed.hold, ...why, ...key()])
    expect(await ok(erase)).toContain('erased the entries of 4 records')
    const vkey = (JSON.parse(await ok(['keys', 'list', ledger, '--json'])) as { keys: { verifier_key: string }[] }).keys[0]!.verifier_key
    const report = await checkErasureCertificate(JSON.parse(readFileSync(certificate, 'utf8')), { keys: [vkey] })
    expect(report).toMatchObject({ ok: true, problems: [] })
    await expectCertificate(certificate, vkey)
    expect((await run(['show', ledger, 'run-4'])).stderr).toMatch(/^error: erased: /)
    expect(await ok(['verify', ledger])).toContain('erased')
    // Written once.
    expect((await run(erase)).code).toBe(3)
  })
})

test('the floor of a policy is passed by an override alone, which stays in the ledger', async () => {
  const folder = tempDir()
  const [ledger, policy] = [join(folder, 'ledger.db'), join(folder, 'policy.json')]
  const env = { CORTEX_LEDGER_KEY: 'none' }
  await ok(['init', ledger, '--origin', 'example.com/floor'], { env })
  await ok(['record', ledger], { input: entryLines(CALLS), env })
  const asked = ['--retention-policy', policy]
  const apply = async (): Promise<unknown> => JSON.parse(await ok(['retention', 'apply', ledger, ...asked, '--json'], { env }))
  const eraseNow = { hotDays: 1, eraseAfterDays: 0 }
  writeFileSync(policy, JSON.stringify(eraseNow))
  expect(await ok(['retention', 'plan', ledger, ...asked], { env })).toMatch(/nothing is due[^]*12 records are too young.*floorDays 183/)
  expect(await apply()).toMatchObject({ erased: 0 })
  writeFileSync(policy, JSON.stringify({ ...eraseNow, preset: '6-months', floorDays: 0 }))
  const lowered = await run(['retention', 'apply', ledger, ...asked], { env })
  expect([lowered.code, lowered.stderr]).toEqual([2, expect.stringMatching(/invalid_policy.*floorDays.*override/s)])
  writeFileSync(policy, JSON.stringify({ ...eraseNow, override: { by: 'DPO 7' } }))
  expect((await run(['retention', 'apply', ledger, ...asked], { env })).code).toBe(2)
  const override = { by: 'DPO 7', reason: 'storage limitation' }
  writeFileSync(policy, JSON.stringify({ ...eraseNow, preset: '6-months', override }))
  expect(await apply()).toMatchObject({ erased: 12 })
  const [record] = jsonLines(await ok(['query', ledger, '--type', 'EntryErased', '--json'], { env }))
  expect(record).toMatchObject({
    entry: { reason: 'policy', policy: { preset: '6-months', floor_days: 184, erase_after_days: 0, override } },
  })
  expect(await ok(['verify', ledger], { env })).toContain('12 erased')
})

/** `check` tells by itself that it is a certificate, also of one that was spelled anew, changed or cut. */
async function expectCertificate(file: string, key: string): Promise<void> {
  const check = ['check', file, '--key', key]
  const text = await ok(check)
  for (const line of [/^certificate of an erasure$/m, /^erased +the entries of 4 records$/m, /^positions +2, 5, 8, 11$/m])
    expect(text).toMatch(line)
  expect(text).toMatch(/^right +gdpr-17$/m)
  expect(text).toMatch(/^authenticity +pass .*\n.*\n.*^no problem found; 2 of 4 claims not checked$/ms)
  const whole = readFileSync(file, 'utf8')
  const certificate = JSON.parse(whole) as ErasureCertificate
  const stranger = signerFromSeed('example.com/cli', new Uint8Array(32).fill(3)).verifierKey
  const sorted = JSON.stringify(Object.fromEntries(Object.entries(certificate).toSorted(([a], [b]) => (a < b ? -1 : 1))))
  for (const [name, content, wanted, code] of [
    ['spelled anew', sorted, { ok: true, erasure_certificate: { problems: [] } }, 0],
    ['more than was erased', whole.replace('"first_seq": 2', '"first_seq": 1'), { ok: false }, 1],
    ['a later tree as the one before', JSON.stringify({ ...certificate, before: certificate.after, consistency: [] }), { ok: false }, 1],
    ['nothing said of what is left', JSON.stringify({ ...certificate, left: null }), { ok: false }, 1],
    ['without what was signed', JSON.stringify({ ...certificate, bundle: null }), { ok: false }, 1],
    ['cut', whole.slice(0, 200), { ok: false, erasure_certificate: { bundle: null } }, 1],
  ] as const) {
    writeFileSync(file, content)
    const told = await run([...check, '--json'])
    expect([told.code, JSON.parse(told.stdout)], name).toMatchObject([code, wanted])
    if (code === 1 && name !== 'cut') expect((await run(check)).stdout, name).toContain('NOT A PROOF OF THIS ERASURE')
  }
  writeFileSync(file, whole)
  expect((await run(['check', file, '--key', stranger, '--quiet'])).code).toBe(1)
  expect((await run(['check', file])).code).toBe(2)
}

/** Each on the same ledger, of which nothing is left changed. */
const REFUSED: readonly (readonly [command: string, args: readonly string[], text: string])[] = [
  ['retention apply', ['--retention-policy', 'p', '--preset', '6-months'], 'one of them'],
  ['retention plan', ['--preset', '5-years'], '6-months'],
  ['retention apply', ['--rate', '0'], '--rate'],
  ['archive', ['--archive', '/tmp'], 'which records'],
  ['archive', ['--all'], 'archive'],
  ['archive', ['--all', '--tier', 'hot'], '--tier'],
  ['restore', [], 'which records'],
  ['restore', ['--all', '--archive', 's3://user:secret@bucket/x'], '--archive'],
  ['erase', ['--run-id', 'run-1'], '--reason'],
  ['erase', ['--reason', 'x'], 'which records'],
  ['erase', ['--reason', 'x', '--subject', 'ann'], 'subject'],
  ['hold place', ['--run-id', 'run-1', '--reason', 'x'], '--case'],
  ['hold place', ['--reason', 'x', '--case', 'y'], 'what it is about'],
  ['hold release', ['--reason', 'x', '--case', 'y'], '--id'],
]

test('what is misused is refused and says what to give', { timeout: 60_000 }, async () => {
  const ledger = join(tempDir(), 'ledger.db')
  const env = { CORTEX_LEDGER_KEY: 'none' }
  await ok(['init', ledger, '--origin', 'example.com/cli'], { env })
  await ok(['record', ledger], { input: entryLines(CALLS), env })
  for (const [command, args, text] of REFUSED) {
    const { code, stderr, stdout } = await run([...command.split(' '), ledger, ...args], { env })
    const what = `${command} ${args.join(' ')}`
    expect([code, stdout], `${what}: ${stderr}`).toEqual([expect.toBeOneOf([2, 3, 4]), ''])
    expect(stderr, what).toContain(text)
    expect(stderr, what).not.toMatch(/secret|should not happen/)
  }
  expect((JSON.parse(await ok(['stats', ledger, '--json'])) as { size: number }).size).toBe(CALLS.length + 1)
})

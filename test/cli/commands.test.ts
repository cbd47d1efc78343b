import { execFile } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { tempDir } from '../helpers/temp.ts'
import { BIN, entryLines, environment, ok, run, runProcess, shell } from './cli.ts'

const call = { agent_name: 'a', method_name: 'm' }
const COMMANDS = ['init', 'record', 'query', 'show', 'tail', 'verify', 'stats', 'export', 'rotate', 'keys', 'demo']

describe('the command itself', () => {
  test('help for each command, with an example', async () => {
    const help = await ok(['--help'])
    for (const command of COMMANDS) expect(help).toMatch(new RegExp(`^ {2}${command} .*[a-z]`, 'm'))
    expect(help).toMatch(/0 fine, 1 verification found problems, 2 misuse, 3 can't read or write,\n4 refused/)
    const each = await Promise.all(COMMANDS.map((command) => ok(['help', command])))
    COMMANDS.forEach((command, i) => expect(each[i]).toMatch(new RegExp(`Examples?:\n( {2}\\$ .*\n)*.*cortex-ledger ${command}\\b`)))
  })

  test('version', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
    expect(await ok(['--version'])).toBe(`${version}\n`)
  })

  test.each([
    [[], /Usage: cortex-ledger/],
    [['quer'], /unknown command 'quer'[^]*Did you mean query[^]*--help/],
    [['delete', 'x'], /unknown command 'delete'/],
    [['query'], /which ledger\?.*CORTEX_LEDGER/],
    [['stats', '--bogus'], /unknown option/],
    [['stats', 'file://elsewhere/audit'], /names no place/],
    [['verify', 'a', 'b'], /too many arguments/],
    [['init', 'memory:', '--origin'], /argument missing/],
  ])('%j is misuse', async (args, message) => {
    const { code, stdout, stderr } = await run(args)
    expect([code, stdout, stderr]).toEqual([2, '', expect.stringMatching(message)])
  })

  test.each(COMMANDS.filter((command) => !['init', 'record', 'demo'].includes(command)))(
    '%s of what is not there ends with 3 and makes nothing',
    async (command) => {
      const path = join(tempDir(), 'nowhere')
      const { code, stdout, stderr } = await run([
        ...(command === 'keys' ? ['keys', 'list'] : [command]),
        path,
        ...(command === 'show' ? ['run'] : []),
      ])
      expect([code, stdout, stderr]).toEqual([3, '', expect.stringMatching(/^error: not_found: /)])
      expect(existsSync(path)).toBe(false)
    },
  )

  test('what is no ledger, and what no store keeps, end with 3', async () => {
    const dir = tempDir()
    writeFileSync(join(dir, 'text.db'), 'This is a text and no database, whatever its name says.'.repeat(20))
    mkdirSync(join(dir, 'folder'))
    writeFileSync(join(dir, 'folder', 'file'), '')
    for (const location of [join(dir, 'text.db'), join(dir, 'folder'), 's3://bucket/x']) {
      const { code, stdout, stderr } = await run(['query', location])
      expect([location, code, stdout]).toEqual([location, 3, ''])
      expect(stderr).toMatch(/^error: (not_a_ledger|not_found|damaged|unsupported): /)
    }
  })

  test('no message has the password of a URL', async () => {
    for (const [location, code] of [
      ['postgres://u:hunter2@127.0.0.1:1/d?colour=red', 2],
      // Refused before anything is connected to.
      ['postgres://u:hunter2@127.0.0.1:1/d?sslmode=require&sslrootcert=/not/there', 3],
    ] as const) {
      for (const command of ['query', 'verify', 'stats']) {
        const ended = await run([command, location])
        expect([command, ended.code, ended.stdout]).toEqual([command, code, ''])
        expect(ended.stderr).not.toContain('hunter2')
      }
    }
  })

  test('each command as a process of its own: results on stdout alone, nothing on stderr where all is well', async () => {
    const dir = tempDir()
    mkdirSync(join(dir, 'cold'))
    writeFileSync(join(dir, 'runs.json'), JSON.stringify([{ messages: [{ role: 'assistant', content: 'Hi' }] }]))
    const key = JSON.parse((await runProcess(['init', 'audit.db', '--origin', 'example.com/each', '--json'], { cwd: dir })).stdout) as {
      verifier_key: string
    }
    const input = entryLines([{ ...call, run_id: 'one', correlation_id: 'task', stream: 'work' }])
    const commands: readonly string[][] = [
      ['record', 'audit.db'],
      ['import', 'audit.db', 'runs.json', '--format', 'chat'],
      ...['query', 'tail', 'verify', 'stats', 'usage', 'report', 'export', 'snapshot', 'rotate'].map((name) => [name, 'audit.db']),
      ['show', 'audit.db', '--seq', '1'],
      ['timeline', 'audit.db', '--correlation-id', 'task'],
      ['state', 'audit.db', '--stream', 'work'],
      ['checkpoint', 'audit.db'],
      ['prove', 'audit.db', '--run-id', 'one', '-o', 'one.bundle'],
      ['check', 'one.bundle', '--key', key.verifier_key],
      ['publish', 'audit.db', 'public'],
      ['copy', 'audit.db', 'copied.db'],
      ['promote', 'copied.db'],
      ['archive', 'audit.db', '--recorded-until', '2000-01-01', '--archive', 'cold'],
      ['restore', 'audit.db', '--run-id', 'one', '--archive', 'cold'],
      ['retention', 'plan', 'audit.db'],
      ['hold', 'list', 'audit.db'],
      ['keys', 'list', 'audit.db'],
      ['erase', 'audit.db', '--run-id', 'one', '--reason', 'asked for', '--right', 'gdpr-17'],
      ['demo', 'demonstration'],
      ['help', 'witness'],
    ]
    for (const args of commands) {
      const { code, stdout, stderr } = await runProcess(args, { cwd: dir, input: args[0] === 'record' ? input : '' })
      // The bundle is in its file.
      const [result, said] = args[0] === 'prove' ? [stderr, stdout] : [stdout, stderr]
      expect([args, code, said]).toEqual([args, 0, ''])
      expect(result, args[0]).not.toBe('')
    }
    const names = [...(await ok(['--help'])).matchAll(/^ {2}([a-z]+) .*[a-z]/gm)].map(([, name]) => name)
    const seen = ['init', ...commands.map(([name]) => name), 'witness']
    expect(names.filter((name) => !seen.includes(name))).toEqual([])
  })

  test('an old Node is told so in one line, exit code 2', async (context) => {
    const old = '/usr/bin/node'
    const version = await promisify(execFile)(old, ['--version']).then(
      ({ stdout }) => stdout.trim(),
      () => null,
    )
    if (version === null || Number(/^v(\d+)/.exec(version)?.[1]) >= 22) {
      context.skip(`needs a Node older than 22 at ${old}; there is ${version ?? 'none'}`)
      return
    }
    // As it is published: plain JavaScript, beside nothing that could be imported.
    const file = join(tempDir(), 'bin.mjs')
    copyFileSync(BIN, file)
    const failed = await promisify(execFile)(old, [file, '--help'], { env: environment() }).then(
      () => null,
      (error: { code: number; stdout: string; stderr: string }) => error,
    )
    expect(failed).toMatchObject({ code: 2, stdout: '', stderr: `cortex-ledger needs Node.js 22.15 or newer; this is ${version}\n` })
  })
})

describe.each(['audit', 'audit.db'])('init %s', (name) => {
  test('makes the ledger and its key, tells the verifier key, and refuses to do it twice', async () => {
    const dir = tempDir()
    const ledger = join(dir, name)
    const key_file = join(dir, 'my.key')
    const made = JSON.parse(await ok(['init', ledger, '--origin', 'example.com/x', '--key', key_file, '--json'])) as {
      [key: string]: string
    }
    expect(made).toEqual({
      location: ledger,
      kind: name === 'audit' ? 'jsonl' : 'sqlite',
      origin: 'example.com/x',
      verifier_key: expect.stringMatching(/^example\.com\/x\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}$/),
      key_file,
    })
    expect(readFileSync(key_file, 'utf8')).toMatch(/^PRIVATE\+KEY\+example\.com\/x\+[0-9a-f]{8}\+\S{44}\n$/)
    expect(statSync(key_file).mode & 0o777).toBe(0o600)
    const record0 = JSON.parse(await ok(['show', ledger, '--seq', '0', '--json'])) as { header: object; entry: { keys: string[] } }
    expect(record0.header).toMatchObject({ type: 'LedgerCreated', actor: 'example.com/x' })
    expect(record0.entry.keys).toEqual([made['verifier_key']])
    const again = await run(['init', ledger, '--origin', 'example.com/x'])
    expect([again.code, again.stdout, again.stderr]).toEqual([4, '', expect.stringMatching(/already_exists/)])
    expect(await ok(['query', ledger, '--count'])).toBe('1\n')
  })

  test('prints what people need, and takes an origin of its own where none is given', async () => {
    const ledger = join(tempDir(), name)
    const text = await ok(['init'], { env: { CORTEX_LEDGER: ledger } })
    expect(text).toMatch(/^origin +localhost\/[0-9a-f-]{36}$/m)
    expect(text).toMatch(/^key file +\/.*\.key$/m)
    expect(text).toMatch(/^verifier key +localhost\/.*\+[0-9a-f]{8}\+/m)
  })

  test('CORTEX_LEDGER_KEY names the key file', async () => {
    const dir = tempDir()
    const made = JSON.parse(await ok(['init', join(dir, name), '--json'], { env: { CORTEX_LEDGER_KEY: join(dir, 'k') } })) as {
      key_file: string
    }
    expect([made.key_file, existsSync(join(dir, 'k'))]).toEqual([join(dir, 'k'), true])
  })

  test('a bad origin, a key that is none: told, and nothing is left behind', async () => {
    const dir = tempDir()
    expect((await run(['init', join(dir, name), '--origin', 'with space'])).code).toBe(2)
    expect(readdirSync(dir)).toEqual([])
    writeFileSync(join(dir, 'no.key'), 'no key')
    expect((await run(['init', join(dir, name), '--key', join(dir, 'no.key')])).code).toBe(3)
    expect(JSON.parse(await ok(['init', join(dir, name), '--json']))).toMatchObject({ location: join(dir, name) })
  })
})

describe('stats and rotate', () => {
  test.each(['audit', 'audit.db'])('stats of %s', async (name) => {
    const ledger = join(tempDir(), name)
    await ok(['init', ledger, '--origin', 'example.com/x'])
    await ok(['record', ledger], { input: entryLines([call, { ...call, outcome: 'denied' }]) })
    const stats = JSON.parse(await ok(['stats', ledger, '--json'])) as { head: string }
    expect(stats).toMatchObject({
      location: ledger,
      origin: 'example.com/x',
      size: 3,
      head: expect.stringMatching(/^[0-9a-f]{64}$/),
      outcomes: { success: 2, denied: 1 },
      types: { LedgerCreated: 1, AgentCallCompleted: 2 },
      store: { kind: name === 'audit' ? 'jsonl' : 'sqlite', bytes: expect.any(Number) },
    })
    const text = await ok(['stats', ledger])
    expect(text).toMatch(/^records +3$/m)
    expect(text).toMatch(/^by outcome\n {2}2 {2}success\n {2}1 {2}denied$/m)
    expect(text).toContain(stats.head)
  })

  test.each(['audit', 'audit.db'])('rotate seals what is there in %s, once', async (name) => {
    const ledger = join(tempDir(), name)
    await ok(['record', ledger], { input: entryLines([call, call]) })
    expect(JSON.parse(await ok(['rotate', ledger, '--json']))).toMatchObject({ sealed: { first_seq: 0, last_seq: 2 }, receipt: { seq: 3 } })
    expect(await ok(['rotate', ledger])).toMatch(/nothing to seal/)
    await ok(['record', ledger], { input: entryLines([call]) })
    expect(await ok(['rotate', ledger])).toMatch(/^sealed records 3 to 4\b.*next segment begins at 5/)
    expect(await ok(['verify', ledger])).toMatch(/no problem found/)
  })

  test('sealed segments are read-only, and none is deleted', async () => {
    const ledger = join(tempDir(), 'audit')
    await ok(['record', ledger], { input: entryLines([call]) })
    await ok(['rotate', ledger])
    await ok(['record', ledger], { input: entryLines([call]) })
    await ok(['rotate', ledger])
    const modes = readdirSync(join(ledger, 'segments'))
      .toSorted()
      .map((file) => [file, (statSync(join(ledger, 'segments', file)).mode & 0o222) === 0])
    expect(modes).toEqual([
      ['00000000000000000000.jsonl', true],
      ['00000000000000000002.jsonl', true],
      ['00000000000000000004.jsonl', false],
    ])
  })
})

test('a path with blanks and signs is a path', async () => {
  const dir = tempDir()
  const { code } = await shell(`cortex-ledger init "a b & c" && cortex-ledger verify "a b & c" --quiet && cortex-ledger stats "a b & c"`, {
    cwd: dir,
  })
  expect([code, readdirSync(dir)]).toEqual([0, ['a b & c']])
})

/** `cortex-ledger witness` as a process: started, asked, stopped, killed under load. */
import type { ChildProcess } from 'node:child_process'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { ed25519Check } from '../../src/ledger/ed25519.ts'
import { nodeHashing } from '../../src/ledger/hashing.ts'
import { seededRandom } from '../../src/testing/index.ts'
import { parseCheckpoint } from '../../src/verify/checkpoint.ts'
import type { Checkpoint } from '../../src/verify/checkpoint.ts'
import { openNote, parseNote } from '../../src/verify/note.ts'
import type { SignedNote } from '../../src/verify/note.ts'
import { parsePolicy } from '../../src/verify/policy.ts'
import { hashHex } from '../../src/verify/tree.ts'
import { scale } from '../helpers/scale.ts'
import { tempDir } from '../helpers/temp.ts'
import { keyOf, TestLog } from '../helpers/test-log.ts'
import { submit } from '../witness/serving.ts'
import { ended, run, start } from './cli.ts'

interface Introduced {
  readonly url: string
  readonly state: string
  readonly key_file: string
  readonly origins: readonly string[]
  readonly verifier_key: string
}

/** Starts a witness with --json and waits for what it says of itself. */
async function started(args: readonly string[]): Promise<{ child: ChildProcess; end: ReturnType<typeof ended>; said: Introduced }> {
  const child = start(['witness', '--listen', '127.0.0.1:0', '--json', ...args])
  onTestFinished(() => void child.kill('SIGKILL'))
  const end = ended(child)
  const line = await new Promise<string>((resolve, reject) => {
    let text = ''
    child.stdout!.on('data', (chunk: Buffer) => {
      text += String(chunk)
      if (text.includes('\n')) resolve(text)
    })
    void end.then(({ code, stderr }) => reject(new Error(`it ended with ${code}: ${stderr}`)))
  })
  return { child, end, said: JSON.parse(line) as Introduced }
}

test('it makes its key and folder, says who it is, serves, ends with 0 on SIGTERM, and comes back the same', async () => {
  const dir = join(tempDir(), 'deep', 'w')
  const log = new TestLog().grow(5)
  const args = ['--state', dir, '--log', log.signer.verifierKey, '--log', log.signer.verifierKey]
  const first = await started([...args, '--name', 'witness.example/w1'])
  expect(first.said).toEqual({
    url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:[1-9]\d*$/),
    state: dir,
    key_file: join(dir, 'witness.key'),
    origins: [log.origin],
    verifier_key: expect.stringMatching(/^witness\.example\/w1\+/),
  })
  expect(statSync(dir).mode & 0o777).toBe(0o700)
  expect(await submit(first.said.url, log, 0n)).toMatchObject({ status: 200 })
  first.child.kill('SIGTERM')
  expect(await first.end).toMatchObject({ code: 0, stderr: '' })
  const second = await started(args)
  expect(second.said.verifier_key).toBe(first.said.verifier_key)
  expect(await submit(second.said.url, log.grow(1), 5n)).toMatchObject({ status: 200 })
  // One process a folder: the lock is the kernel's, so a kill leaves none behind.
  const refused = await run(['witness', '--listen', '127.0.0.1:0', ...args])
  expect([refused.code, refused.stderr]).toEqual([4, expect.stringContaining('locked: another process is the witness of')])
  second.child.kill('SIGKILL')
  await second.end
  const third = await started(args)
  third.child.kill('SIGINT')
  expect(await third.end).toMatchObject({ code: 0 })
})

test('what it prints for people has the line for a policy', async () => {
  const log = new TestLog()
  const child = start([
    'witness',
    '--listen',
    '[::1]:0',
    '--state',
    tempDir(),
    '--name',
    'witness.example/w1',
    '--log',
    log.signer.verifierKey,
  ])
  onTestFinished(() => void child.kill('SIGKILL'))
  const end = ended(child)
  let text = ''
  while (!/^witness .*\n/m.test(text)) text += String(await new Promise((resolve) => child.stdout!.once('data', resolve)))
  child.kill('SIGTERM')
  await end
  const line = /^witness .*\n/m.exec(text)![0]
  const policy = parsePolicy(nodeHashing.sha256, Buffer.from(`${line}quorum witness.example/w1\n`))
  expect(policy).toMatchObject({ witnesses: [{ url: expect.stringMatching(/^http:\/\/\[::1\]:\d+$/) }] })
})

test('the logs of a policy are known to it', async () => {
  const [a, b] = [new TestLog('example.com/a', 1).grow(1), new TestLog('example.com/b', 2).grow(2)]
  const policy = join(tempDir(), 'policy')
  writeFileSync(policy, `log ${a.signer.verifierKey}\nlog ${b.signer.verifierKey}\nquorum none\n`)
  const { child, end, said } = await started(['--state', tempDir(), '--policy', policy])
  expect(await submit(said.url, a, 0n)).toMatchObject({ status: 200 })
  expect(await submit(said.url, b, 0n)).toMatchObject({ status: 200 })
  expect(await submit(said.url, new TestLog('example.com/c', 3).grow(1), 0n)).toMatchObject({ status: 404 })
  child.kill('SIGTERM')
  await end
})

test('what makes no sense is refused before anything is made', async () => {
  const folder = tempDir()
  const dir = join(folder, 'w')
  const log = new TestLog().signer.verifierKey
  const witnessKey = (await started(['--state', tempDir(), '--log', log])).said.verifier_key
  writeFileSync(join(folder, 'policy'), `witness a ${witnessKey}\nquorum b\n`)
  for (const [args, why] of [
    [['--log', log], '--state'],
    [['--state', dir], 'which logs?'],
    [['--state', dir, '--log', 'x'], 'a verifier key is'],
    [['--state', dir, '--log', witnessKey], 'of kind 1'],
    [['--state', dir, '--log', log, '--listen', 'localhost'], '<host>:<port>'],
    [['--state', dir, '--log', log, '--listen', '127.0.0.1:70000'], '<host>:<port>'],
    [['--state', dir, '--log', log, '--name', 'a b'], 'white space'],
    [['--state', dir, '--policy', join(folder, 'policy')], 'line 2'],
  ] as const) {
    const { code, stderr } = await run(['witness', ...args])
    expect([code, stderr], args.join(' ')).toEqual([2, expect.stringContaining(why)])
  }
  expect(existsSync(dir)).toBe(false)
  expect((await run(['witness', '--state', dir, '--policy', join(folder, 'nothing')])).code).toBe(3)
})

test('a memory that is damaged stops it at the start', async () => {
  const dir = tempDir()
  const log = new TestLog().grow(5)
  const args = ['--state', dir, '--log', log.signer.verifierKey]
  const { child, end, said } = await started(args)
  await submit(said.url, log, 0n)
  child.kill('SIGTERM')
  await end
  const file = join(dir, nodeHashing.sha256(Buffer.from(log.origin)))
  writeFileSync(file, readFileSync(file, 'utf8').replace('\n5\n', '\n4\n'))
  const { code, stderr } = await run(['witness', '--listen', '127.0.0.1:0', ...args])
  expect([code, stderr]).toEqual([3, expect.stringContaining('damaged')])
})

test('killed at any moment of its first start, it comes up at the next one', async () => {
  const random = seededRandom(7)
  const log = new TestLog().grow(1)
  for (let round = 0; round < scale(4, 100); round++) {
    const dir = join(tempDir(), 'w')
    const args = ['witness', '--listen', '127.0.0.1:0', '--json', '--state', dir, '--log', log.signer.verifierKey]
    const child = start(args)
    const end = ended(child)
    // From before the folder is there to a moment after the key is.
    while (!existsSync(dir)) await sleep(1)
    await sleep(random.below(25))
    child.kill('SIGKILL')
    await end
    const next = await started(args.slice(4))
    expect(await submit(next.said.url, log, 0n)).toMatchObject({ status: 200 })
    next.child.kill('SIGKILL')
    await next.end
  }
})

const KILLS = scale(8, 200)
const SEED = 20261125

interface Cosigned {
  readonly checkpoint: Checkpoint
  readonly history: TestLog
}

/**
 * Rivals with the log's key, each with a history of its own from the last size that the witness is known to have: of all
 * that they try, one thread alone may ever be cosigned.
 */
class Hammer {
  readonly given: Cosigned[] = []
  /** By the root: who has it. */
  readonly #histories = new Map<string, TestLog>()
  #trunk: TestLog
  #count = 0

  constructor(log: TestLog) {
    this.#trunk = log
  }

  /** What the witness holds after a start, as it shows it itself. */
  async resume(url: string): Promise<void> {
    const response = await fetch(`${url}/${nodeHashing.sha256(Buffer.from(this.#trunk.origin))}/checkpoint`)
    if (response.status === 404) return expect(this.given).toEqual([])
    const { size, root } = parseCheckpoint((parseNote(Buffer.from(await response.text())) as SignedNote).text) as Checkpoint
    const history = this.#histories.get(hashHex(root))
    // It is something that we sent, whether or not the answer came.
    expect(history).toBeDefined()
    this.#trunk = history!.fork(Number(size))
    this.#histories.clear()
    this.#histories.set(hashHex(root), this.#trunk)
  }

  /** Goes on until the witness is gone. */
  async run(url: string, random: ReturnType<typeof seededRandom>): Promise<void> {
    try {
      for (;;) {
        const size = this.#trunk.size
        const rivals = await Promise.all(
          Array.from({ length: 4 }, async () => {
            const rival = this.#trunk.fork(Number(size)).grow(1 + random.below(5), `rival ${this.#count++}`)
            this.#histories.set(hashHex(await rival.rootAt(rival.size)), rival)
            return rival
          }),
        )
        const answers = await Promise.allSettled(rivals.map((rival) => this.#submit(url, rival, size)))
        const winner = rivals.find((_, i) => (answers[i] as PromiseFulfilledResult<boolean>).value === true)
        if (winner !== undefined) this.#trunk = winner
        if (answers.some(({ status }) => status === 'rejected')) return
        expect(winner).toBeDefined()
      }
    } catch (error) {
      if (!(error instanceof TypeError)) throw error
    }
  }

  async #submit(url: string, rival: TestLog, size: bigint): Promise<boolean> {
    const { status, body } = await submit(url, rival, size)
    if (status !== 200) {
      expect(status).toBe(409)
      return false
    }
    this.given.push({
      history: rival,
      checkpoint: parseCheckpoint((parseNote(Buffer.from((await rival.note()) + body)) as SignedNote).text) as Checkpoint,
    })
    return true
  }
}

test(
  `${KILLS} × kill -9 under load (seed ${SEED}): no two cosignatures that contradict each other were ever given`,
  async () => {
    const dir = tempDir()
    // One for when to kill and one for the rivals: what the rivals draw depends on how far they come.
    const [moments, random] = [seededRandom(SEED), seededRandom(SEED + 1)]
    const hammer = new Hammer(new TestLog())
    const log = new TestLog()
    for (let life = 0; life < KILLS; life++) {
      const { child, end, said } = await started(['--state', dir, '--log', log.signer.verifierKey])
      await hammer.resume(said.url)
      const running = hammer.run(said.url, random)
      // Some die over the first request, some after a few.
      const enough = hammer.given.length + (moments.chance(0.8) ? 2 + moments.below(8) : 0)
      while (hammer.given.length < enough && child.exitCode === null) await sleep(1)
      await sleep(moments.below(40))
      child.kill('SIGKILL')
      await running
      expect(await end).toMatchObject({ code: null })
    }
    const { given } = hammer
    expect(given.length).toBeGreaterThan(KILLS)
    // Each is the beginning of the next: by the histories themselves, not by proofs.
    for (const [i, { checkpoint }] of given.entries()) {
      if (i > 0) expect(checkpoint.size).toBeGreaterThan(given[i - 1]!.checkpoint.size)
      const last = given.at(-1)!.history
      expect(hashHex(await last.rootAt(checkpoint.size)), `size ${checkpoint.size}`).toBe(hashHex(checkpoint.root))
    }
    const { child, end, said } = await started(['--state', dir, '--log', log.signer.verifierKey])
    await hammer.resume(said.url)
    const shown = await (await fetch(`${said.url}/${nodeHashing.sha256(Buffer.from(log.origin))}/checkpoint`)).text()
    expect(await openNote(parseNote(Buffer.from(shown)) as SignedNote, [log.key, keyOf(said.verifier_key)], ed25519Check)).toMatchObject({
      verified: [{}, {}],
    })
    child.kill('SIGTERM')
    expect(await end).toMatchObject({ code: 0 })
  },
  scale(120_000, 1_800_000),
)

/** Key files under a passphrase, and keys behind a command. */
import { createPublicKey, verify } from 'node:crypto'
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { AuditLedger, commandSigner, formatKeyFile, formatSealedKeyFile, readKeyFile, signerFromSeed } from '../../src/index.ts'
import type { Signer } from '../../src/index.ts'
import { openKey, sealKey } from '../../src/ledger/passphrase.ts'
import { systemRandom } from '../../src/ledger/random.ts'
import { signChecked } from '../../src/ledger/signer.ts'
import { built } from '../helpers/built.ts'
import { tempDir } from '../helpers/temp.ts'

const ORIGIN = 'example.com/keys'
const SEED = Uint8Array.from({ length: 32 }, (_, i) => i)
const PASSPHRASE = 'correct horse — Batterie ä'
const { verifierKey } = signerFromSeed(ORIGIN, SEED)
const MESSAGE = Buffer.from('a message\n')

afterEach(() => vi.unstubAllEnvs())

function fileOf(text: string): string {
  const path = join(tempDir(), 'k.key')
  writeFileSync(path, text)
  return path
}

function isRight(signature: Uint8Array, message: Uint8Array = MESSAGE): boolean {
  const raw = Buffer.from(verifierKey.split('+').slice(2).join('+'), 'base64').subarray(1)
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: raw.toString('base64url') }, format: 'jwk' })
  return verify(null, message, key, signature)
}

describe('a key file under a passphrase', () => {
  /** The true cost takes a third of a second each time. */
  const cheap = { log2_n: 4, r: 8, p: 1 }
  const secret = Buffer.concat([Buffer.of(1), SEED])
  const id = verifierKey.split('+')[1]!
  const sealed = (): Promise<string> => sealKey(ORIGIN, id, secret, PASSPHRASE, systemRandom(), cheap)

  test('opens with the passphrase: given, asked for, or in the environment', async () => {
    const text = await formatSealedKeyFile(ORIGIN, SEED, PASSPHRASE, systemRandom())
    expect(text).toMatch(/^ENCRYPTED\+KEY\+example\.com\/keys\+[0-9a-f]{8}\+[A-Za-z0-9+/]{108}\n$/)
    expect(text).not.toContain(Buffer.from(SEED).toString('base64').slice(4, 40))
    const path = fileOf(text)
    expect((await readKeyFile(path, { passphrase: PASSPHRASE })).verifierKey).toBe(verifierKey)
    const lighter = fileOf(await sealed())
    const asking = await readKeyFile(lighter, { passphrase: async () => PASSPHRASE })
    expect(isRight(await asking.sign(MESSAGE))).toBe(true)
    vi.stubEnv('CORTEX_LEDGER_PASSPHRASE', PASSPHRASE.normalize('NFD'))
    expect((await readKeyFile(lighter)).verifierKey).toBe(verifierKey)
    const bytes = Buffer.from(text.trim().split('+').slice(4).join('+'), 'base64')
    // scrypt with N = 2^17, r = 8, p = 1.
    expect([...bytes.subarray(0, 4)]).toEqual([1, 17, 8, 1])
  })

  test.each([
    ['wrong', { passphrase: 'wrong' }, /does not open/],
    ['missing', {}, /is under a passphrase: give it .*CORTEX_LEDGER_PASSPHRASE/],
    ['empty', { passphrase: '' }, /1 to 1024 bytes/],
    ['too long', { passphrase: 'x'.repeat(1025) }, /1 to 1024 bytes/],
    ['not to be had', { passphrase: () => Promise.reject(new Error('nobody is there')) }, /asking .* failed: nobody is there/],
  ])('with a passphrase that is %s it stays shut', async (_, options, message) => {
    const path = fileOf(await sealed())
    await expect(readKeyFile(path, options)).rejects.toMatchObject({ code: 'key_error', message: expect.stringMatching(message) })
  })

  test('changed in any byte it is refused', async () => {
    const text = await sealed()
    expect((await openKey(text, 'f', PASSPHRASE)).secret).toEqual(secret)
    for (let at = 0; at < text.length - 1; at++) {
      const changed = text.slice(0, at) + (text[at] === 'B' ? '0' : 'B') + text.slice(at + 1)
      await expect(openKey(changed, 'f', PASSPHRASE), `at ${at}`).rejects.toMatchObject({ code: 'key_error' })
    }
    // More time or memory than is given is refused before any of it is spent.
    const bytes = Buffer.from(text.trim().split('+').slice(4).join('+'), 'base64')
    for (const [at, value] of [
      [1, 0],
      [1, 24],
      [1, 255],
      [2, 0],
      [2, 255],
      [3, 0],
      [3, 17],
      [0, 2],
    ] as const) {
      const changed = Buffer.from(bytes)
      if (at === 2) changed[1] = 20
      changed[at] = value
      const asked = `ENCRYPTED+KEY+${ORIGIN}+${id}+${changed.toString('base64')}\n`
      await expect(openKey(asked, 'f', PASSPHRASE)).rejects.toThrow(/asks for more memory or time|is not a key file/)
    }
    for (const cut of [text.slice(0, -6), text.slice(1), `${text}\n`, ` ${text}`, text.replace('\n', '=\n')])
      await expect(openKey(cut, 'f', PASSPHRASE)).rejects.toMatchObject({ code: 'key_error' })
  })

  test('with the name or the id of another key it does not open', async () => {
    const text = await sealed()
    for (const changed of [text.replace(ORIGIN, 'example.com/else'), text.replace(`+${id}+`, '+00000000+')])
      await expect(openKey(changed, 'f', PASSPHRASE)).rejects.toMatchObject({ code: 'key_error' })
    // Whoever knows the passphrase can seal anything: the id still has to be that of the key.
    const other = await sealKey(ORIGIN, '00000000', secret, PASSPHRASE, systemRandom(), cheap)
    await expect(readKeyFile(fileOf(other), { passphrase: PASSPHRASE })).rejects.toThrow(/key id is not that of its key/)
  })

  test('a new ledger puts its key under the passphrase, and opens with it only', async () => {
    const folder = tempDir()
    const [location, key] = [join(folder, 'ledger'), join(folder, 'k.key')]
    const asking = vi.fn(() => PASSPHRASE)
    const ledger = await AuditLedger.open(location, { origin: ORIGIN, key, passphrase: asking })
    expect((await ledger.checkpoint()).size).toBe(1)
    await ledger.close()
    expect(asking).toHaveBeenCalledTimes(1)
    expect(readFileSync(key, 'utf8')).toMatch(/^ENCRYPTED\+KEY\+/)
    expect(statSync(key).mode & 0o777).toBe(0o600)
    await expect(AuditLedger.open(location, { key })).rejects.toMatchObject({ code: 'key_error' })
  })
})

const program = built('programs/sign-once')
const command = (how: string): string[] => [process.execPath, '--disable-warning=ExperimentalWarning', program, how]

describe('a signer that is a command', () => {
  test.each(['raw', 'base64', 'line'])('takes its answer as %s', async (how) => {
    const signer = commandSigner({ verifierKey, command: command(how) })
    expect(isRight(await signer.sign(MESSAGE))).toBe(true)
  })

  test('gives it messages of any bytes, and several at once', async () => {
    const signer = commandSigner({ verifierKey, command: command('raw') })
    const messages = [Buffer.alloc(0), Buffer.from([0, 10, 13, 255]), Buffer.alloc(200_000, 7)]
    const signatures = await Promise.all(messages.map((message) => signer.sign(message)))
    messages.forEach((message, i) => expect(isRight(signatures[i]!, message)).toBe(true))
  })

  test.each([
    ['wrong', /a signature that is wrong under example\.com\/keys\+/],
    ['short', /gave 63 bytes that are no signature/],
    ['junk', /gave 98 bytes that are no signature/],
    ['long', /wrote more than 4096 bytes/],
    ['silent', /gave 0 bytes/],
    ['deaf', /gave 0 bytes/],
    ['fail', /ended with 3: the token is not there/],
  ])('says what happened: %s', async (how, message) => {
    const signer = commandSigner({ verifierKey, command: command(how) })
    await expect(signer.sign(Buffer.alloc(500_000, 1))).rejects.toMatchObject({
      code: 'key_error',
      message: expect.stringMatching(message),
    })
  })

  test('kills one that does not answer, also where a child of it holds the pipe', async () => {
    const hanging = commandSigner({ verifierKey, command: command('hang'), timeoutMs: 300 })
    await expect(hanging.sign(MESSAGE)).rejects.toMatchObject({
      code: 'key_error',
      message: expect.stringMatching(/within 300 ms and was killed/),
    })
    const forking = commandSigner({ verifierKey, command: ['/bin/sh', '-c', 'sleep 5 & wait'], timeoutMs: 300 })
    await expect(forking.sign(MESSAGE)).rejects.toMatchObject({ code: 'key_error', message: expect.stringMatching(/was killed/) })
  })

  test('says so where it can not be run', async () => {
    const folder = tempDir()
    const noProgram = join(folder, 'no-program')
    writeFileSync(noProgram, 'text')
    chmodSync(noProgram, 0o600)
    for (const name of [join(folder, 'not-there'), noProgram, 'no-such-program-anywhere'])
      await expect(commandSigner({ verifierKey, command: [name] }).sign(MESSAGE)).rejects.toMatchObject({
        code: 'key_error',
        message: expect.stringMatching(/can't be run/),
      })
  })

  test('no shell reads its arguments', async () => {
    const folder = tempDir()
    const signer = commandSigner({ verifierKey, command: [...command('line'), `; touch ${folder}/x`, '$(false)', '`false`'] })
    expect(isRight(await signer.sign(MESSAGE))).toBe(true)
    expect(() => statSync(join(folder, 'x'))).toThrow()
  })

  test('the passphrase is not told to it', async () => {
    vi.stubEnv('CORTEX_LEDGER_PASSPHRASE', 'secret')
    await expect(commandSigner({ verifierKey, command: command('environment') }).sign(MESSAGE)).rejects.toThrow(/passphrase unknown/)
  })

  test.each<[name: string, options: object, error: typeof TypeError]>([
    ['no verifier key', { verifierKey: 'x' }, RangeError],
    ['a key of another kind', { verifierKey: verifierKey.replace(/\+AQ/, '+BA') }, RangeError],
    ['no command', { command: [] }, TypeError],
    ['a command line', { command: 'sign --key x' }, TypeError],
    ['a number among its arguments', { command: ['x', 1] }, TypeError],
    ['no time', { timeoutMs: 0 }, RangeError],
  ])('%s is misuse', (_, options, error) => {
    expect(() => commandSigner({ verifierKey, command: ['x'], ...options })).toThrow(error)
  })

  test('a key file may name it', async () => {
    const path = fileOf(JSON.stringify({ verifier_key: verifierKey, command: command('line'), timeout_ms: 20_000 }, null, 2))
    expect(isRight(await (await readKeyFile(path)).sign(MESSAGE))).toBe(true)
    const ledger = await AuditLedger.open(join(tempDir(), 'ledger'), { origin: ORIGIN, key: path })
    expect(ledger.verifierKey).toBe(verifierKey)
    expect((await ledger.checkpoint()).note).toContain(`— ${ORIGIN} `)
    await ledger.close()
  })

  test.each([
    ['no JSON', '{"verifier_key": '],
    ['without a command', JSON.stringify({ verifier_key: verifierKey })],
    ['without a key', JSON.stringify({ command: ['x'] })],
    ['with a member that is not known', JSON.stringify({ verifier_key: verifierKey, command: ['x'], shell: true })],
    ['with a member twice', `{"verifier_key":"${verifierKey}","command":["x"],"command":["y"]}`],
    ['with a relative path', JSON.stringify({ verifier_key: verifierKey, command: ['./sign'] })],
    ['with a time that is none', JSON.stringify({ verifier_key: verifierKey, command: ['x'], timeout_ms: '5' })],
    ['that is longer than any', `{${' '.repeat(70_000)}}`],
  ])('a key file %s is refused', async (_, text) => {
    await expect(readKeyFile(fileOf(text))).rejects.toMatchObject({ code: 'key_error' })
  })
})

describe('a signature is checked before it is used', () => {
  const good = signerFromSeed(ORIGIN, SEED)
  const other = signerFromSeed(ORIGIN, Buffer.alloc(32, 9))
  const cases: [name: string, sign: Signer['sign'], message: RegExp][] = [
    ['by another key', other.sign, /is none under that key/],
    ['nothing', async () => undefined as never, /is none under that key/],
    ['a text', async () => 'signature' as never, /is none under that key/],
    ['of another message', () => good.sign(Buffer.from('x')), /is none under that key/],
    ['an error', () => Promise.reject(new Error('no token')), /could not sign: no token/],
    [
      'of a message that it changed',
      (message) => {
        message.fill(0)
        return good.sign(message)
      },
      /is none under that key/,
    ],
  ]
  test.each(cases)('%s', async (_, sign, message) => {
    await expect(signChecked({ verifierKey, sign }, MESSAGE)).rejects.toMatchObject({
      code: 'key_error',
      message: expect.stringMatching(message),
    })
  })

  test('a right one is passed on', async () => {
    expect(isRight(await signChecked(good, MESSAGE))).toBe(true)
    expect(formatKeyFile(ORIGIN, SEED)).toMatch(/^PRIVATE\+KEY\+/)
  })
})

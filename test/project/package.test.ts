/** What is published: packed, checked by publint and attw, installed into an empty folder, and used there. */
import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { tempDir } from '../helpers/temp.ts'

const root = join(import.meta.dirname, '../..')
const run = promisify(execFile)

interface Packed {
  readonly filename: string
  readonly files: readonly { readonly path: string; readonly mode: number }[]
}

/** The file and all that it imports. */
function withImports(file: string, seen = new Set<string>()): string[] {
  if (!seen.has(file)) {
    seen.add(file)
    for (const [, path] of readFileSync(file, 'utf8').matchAll(/(?:from|import) ?\(?"(\.[^"]+)"/g))
      withImports(join(file, '..', path as string), seen)
  }
  return [...seen]
}

/** A copy of what is packed, built there, so that the checkout's own dist is left alone. */
async function pack(folder: string): Promise<Packed> {
  for (const name of [
    'src',
    'docs',
    'tools',
    'bench/package.json',
    'package.json',
    'tsconfig.json',
    'tsconfig.build.json',
    'README.md',
    'CHANGELOG.md',
    'SECURITY.md',
    'LICENSE',
  ]) {
    cpSync(join(root, name), join(folder, name), { recursive: true, filter: (path) => !path.includes('node_modules', root.length) })
  }
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  await run(process.execPath, ['tools/build.mjs'], { cwd: folder })
  const { stdout } = await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], { cwd: folder })
  const packed = JSON.parse(stdout) as Packed[] | Record<string, Packed>
  return (Array.isArray(packed) ? packed[0] : Object.values(packed)[0]) as Packed
}

test('the package is what it says, and works where it is installed', async () => {
  const folder = tempDir()
  const { filename, files } = await pack(folder)
  const tarball = join(folder, filename)

  const paths = files.map(({ path }) => path)
  expect(paths).toEqual(
    expect.arrayContaining([
      'package.json',
      'README.md',
      'LICENSE',
      'CHANGELOG.md',
      'SECURITY.md',
      'docs/format.md',
      'docs/verify.py',
      'dist/index.js',
      'dist/index.d.ts',
      'dist/cli/bin.js',
      'dist/verify.html',
    ]),
  )
  const foreign = paths.filter((path) => !/^(dist|docs)\/|^(package\.json|README\.md|LICENSE|CHANGELOG\.md|SECURITY\.md)$/.test(path))
  expect(foreign, 'these files do not belong into the package').toEqual([])
  expect(files.find(({ path }) => path === 'dist/cli/bin.js')?.mode.toString(8)).toMatch(/755$/)

  const verifier = withImports(join(folder, 'dist/verify/index.js'))
  expect(verifier.length).toBeGreaterThan(1)
  const impure = verifier.filter((file) => /["']node:|\b(?:Buffer|process)\./.test(readFileSync(file, 'utf8')))
  expect(impure, 'the verifier runs in a browser').toEqual([])

  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<string, unknown>
  expect(Object.keys(manifest['dependencies'] as object)).toEqual(['commander', 'picocolors', 'uuidv7'])
  expect(manifest['optionalDependencies'], 'the toolchain stays in its private workspace').toBeUndefined()
  for (const name of ['preinstall', 'install', 'postinstall', 'prepare'])
    expect(manifest['scripts'], 'an install needs no script').not.toHaveProperty(name)

  const bin = (name: string): string => join(root, 'node_modules/.bin', name)
  await run(bin('publint'), ['run', tarball, '--strict'])
  await run(bin('attw'), [tarball, '--profile', 'esm-only', '--no-color', '--exclude-entrypoints', './verify.html'])

  const home = join(folder, 'home')
  mkdirSync(home)
  writeFileSync(join(home, 'package.json'), '{"private":true,"type":"module"}')
  await run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', '--ignore-scripts', tarball], { cwd: home })
  const installed = readdirSync(join(home, 'node_modules')).filter((name) => !name.startsWith('.'))
  expect(installed.toSorted(), 'nothing but the package and its three dependencies is installed').toEqual([
    'commander',
    'cortex-ledger',
    'picocolors',
    'uuidv7',
  ])

  writeFileSync(
    join(home, 'use.js'),
    `import { AuditLedger, verifyLedger } from 'cortex-ledger'
import { LedgerVerifier } from 'cortex-ledger/verify'
import * as testing from 'cortex-ledger/testing'
import { readFileSync } from 'node:fs'
const page = readFileSync(new URL(import.meta.resolve('cortex-ledger/verify.html')), 'utf8')
const ledger = await AuditLedger.open('./audit')
await ledger.record({ agent_name: 'a', method_name: 'm' })
await ledger.close()
const { ok, size } = await verifyLedger('./audit')
console.log(JSON.stringify({ ok, size, verifier: typeof LedgerVerifier, testing: Object.keys(testing).length > 0, page: page.startsWith('<!doctype html>') }))`,
  )
  const env = { ...process.env, NODE_NO_WARNINGS: '1' }
  const used = await run(process.execPath, ['use.js'], { cwd: home, env })
  expect(JSON.parse(used.stdout)).toEqual({ ok: true, size: 2, verifier: 'function', testing: true, page: true })

  const said = await run(process.execPath, [join(home, 'node_modules/.bin/cortex-ledger'), 'verify', './audit', '--json'], {
    cwd: home,
    env,
  })
  expect(JSON.parse(said.stdout)).toMatchObject({ ok: true, size: 2 })
})

test('the lock file names no host to download from', () => {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { resolved?: string; link?: boolean }>
  }
  const resolved = Object.entries(lock.packages).filter(([, entry]) => entry.resolved !== undefined && entry.link !== true)
  expect(
    resolved.map(([name]) => name),
    'run npm install with omit-lockfile-registry-resolved=true',
  ).toEqual([])
})

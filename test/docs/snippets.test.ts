/**
 * What readers may copy out of the README and the guides runs: TypeScript blocks as programs, `sh` blocks line by line
 * with the command line of this checkout. The blocks of one document run in their order in one folder. A block after
 * `<!-- no-test: reason -->` is not run.
 *
 * Where a block has a URL of PostgreSQL, a database of the test's server stands in its place, one for each document;
 * `sql` blocks run there, too. Where there is no server they are not run.
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, test } from 'vitest'
import { built } from '../helpers/built.ts'
import { sql } from '../helpers/postgres-cluster.ts'
import { postgresMissing, useDatabases } from '../helpers/postgres.ts'
import { snippetsOf } from '../helpers/snippets.ts'
import type { Snippet } from '../helpers/snippets.ts'
import { tempDir } from '../helpers/temp.ts'

const root = join(import.meta.dirname, '../..')
const documents = ['README.md', ...readdirSync(join(root, 'docs/guides')).map((name) => `docs/guides/${name}`)]
const href = (name: string): string => pathToFileURL(built(name)).href

/** The code with the package's name replaced by what is built from this checkout. */
function againstBuilt(code: string): string {
  return code
    .replaceAll("'cortex-ledger'", `'${href('index')}'`)
    .replaceAll("'cortex-ledger/verify'", `'${href('verify/index')}'`)
    .replaceAll("'cortex-ledger/testing'", `'${href('testing/index')}'`)
}

/** A folder with `cortex-ledger` and `npx` that run this checkout's command line. */
function binFolder(folder: string): string {
  const bin = join(folder, '.bin')
  mkdirSync(bin)
  const command = `exec '${process.execPath}' '${built('cli/bin')}' "$@"`
  writeFileSync(join(bin, 'cortex-ledger'), `#!/bin/sh\n${command}\n`)
  writeFileSync(join(bin, 'npx'), `#!/bin/sh\n[ "$1" = cortex-ledger ] || exit 127\nshift\n${command}\n`)
  for (const name of ['cortex-ledger', 'npx']) chmodSync(join(bin, name), 0o755)
  return bin
}

const hasPython = spawnSync('python3', ['--version']).status === 0

const POSTGRES_URL = /postgres:\/\/[^\s"'`?]*(?:\?([^\s"'`]*))?/g

/** As an administrator, in the schema that the URL names. */
async function runSql(url: string, code: string, at: string): Promise<void> {
  const schema = new URL(url).searchParams.get('schema') ?? 'cortex_ledger'
  await sql(url, code.replaceAll('cortex_ledger', schema)).catch((error: unknown) => {
    throw new Error(`${at}: ${String(error)}`, { cause: error })
  })
}

/** What a block says besides the place stays: which ledger. */
function onServer(code: string, url: string): string {
  const [place, parameters] = url.split('?')
  return code.replaceAll(POSTGRES_URL, (_, own?: string) => {
    const query = [parameters, own].filter((part) => part !== undefined && part !== '').join('&')
    return query === '' ? (place as string) : `${place}?${query}`
  })
}

describe.each(documents)('%s', (document) => {
  const snippets = snippetsOf(readFileSync(join(root, document), 'utf8')).filter(({ language }) => ['ts', 'sh', 'sql'].includes(language))
  const needsServer = ({ language, code, skipped }: Snippet): boolean =>
    skipped === null && (language === 'sql' || code.search(POSTGRES_URL) !== -1)
  const server = snippets.some(needsServer) ? useDatabases() : null

  test('its examples run', async () => {
    const url = server === null || postgresMissing !== null ? null : await server.newDatabase()
    const folder = tempDir()
    const bin = binFolder(folder)
    mkdirSync(join(folder, 'docs'))
    writeFileSync(join(folder, 'docs/verify.py'), readFileSync(join(root, 'docs/verify.py')))
    const env = { ...process.env, PATH: `${bin}${delimiter}${process.env['PATH']}`, NODE_NO_WARNINGS: '1' }
    for (const [i, snippet] of snippets.entries()) {
      const { language, line, skipped } = snippet
      const missing = needsServer(snippet) ? postgresMissing : null
      if (skipped !== null || missing !== null || (!hasPython && snippet.code.includes('python3'))) {
        console.log(`${document}:${line} not run: ${skipped ?? missing ?? 'python3 is not there'}`)
        continue
      }
      const code = url === null ? snippet.code : onServer(snippet.code, url)
      if (language === 'sql') {
        await runSql(url as string, code, `${document}:${line}`)
        continue
      }
      const file = join(folder, `snippet-${i}.ts`)
      if (language === 'ts') writeFileSync(file, againstBuilt(code))
      const ran =
        language === 'ts'
          ? spawnSync(process.execPath, [file], { cwd: folder, env, encoding: 'utf8' })
          : spawnSync('sh', ['-eu', '-c', code], { cwd: folder, env, encoding: 'utf8' })
      expect(ran.status, `${document}:${line} ended with ${ran.status}\n${ran.stdout}\n${ran.stderr}`).toBe(0)
    }
  })
})

test('every link of the docs goes somewhere', () => {
  const pages = [
    'README.md',
    'CHANGELOG.md',
    'CONTRIBUTING.md',
    'SECURITY.md',
    ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.md'))
      .map((name) => join('docs', name)),
  ]
  const slug = (title: string): string =>
    title
      .toLowerCase()
      .replaceAll(/[^\w\- ]/g, '')
      .replaceAll(' ', '-')
  const anchors = (text: string): Set<string> => new Set([...text.matchAll(/^#+ (.+)$/gm)].map(([, title]) => slug(title as string)))
  const broken = pages.flatMap((page) => {
    const text = readFileSync(join(root, page), 'utf8')
    return [...text.matchAll(/\]\(([^)\s]+)\)/g)]
      .map(([, target]) => target as string)
      .filter((target) => !/^https?:/.test(target))
      .filter((target) => {
        const [path = '', anchor] = target.split('#')
        try {
          const file = path === '' ? join(root, page) : join(root, page, '..', path)
          if (anchor === undefined)
            return readdirSync(join(file, '..')).includes(file.replace(/\/$/, '').split('/').at(-1) as string) === false
          return !anchors(readFileSync(file, 'utf8')).has(anchor)
        } catch {
          return true
        }
      })
      .map((target) => `${page} → ${target}`)
  })
  expect(broken).toEqual([])
})

/** The rooms of docs/architecture.md: who may import whom, and how a file may look. Each message says what to do. */
import { readdirSync, readFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')

function sourceFiles(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .toSorted()
}

/** The code without comments, texts kept: an import in an example of a docstring is none. */
function withoutComments(code: string): string {
  return code.replace(
    /("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`)|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g,
    (_, text: string | undefined) => text ?? ' ',
  )
}

interface Source {
  readonly path: string
  readonly text: string
  readonly code: string
  /** Files of ours as paths from the root, packages by name; types count. */
  readonly imports: readonly string[]
}

const SPECIFIER = /(?<![.\w])(?:from|import|require|getBuiltinModule)\s*\(?\s*(['"])([\w@./:-]+)\1/g

function read(path: string): Source {
  const text = readFileSync(join(root, path), 'utf8')
  const code = withoutComments(text)
  const imports = [...code.matchAll(SPECIFIER)].map(([, , name]) => {
    const specifier = name as string
    return specifier.startsWith('.') ? relative(root, join(root, dirname(path), specifier)) : specifier
  })
  return { path, text, code, imports }
}

const sources = sourceFiles('src').map(read)

/** The room of a file, by the longest of these that its path starts with. */
const ROOMS = {
  'src/verify/': [],
  'src/ledger/': ['src/verify/'],
  'src/derive/': ['src/verify/', 'src/ledger/'],
  'src/stores/sql/': ['src/verify/', 'src/ledger/'],
  'src/stores/tree/': ['src/verify/', 'src/ledger/'],
  'src/stores/keys/': ['src/verify/', 'src/ledger/', 'src/stores/sql/'],
  'src/stores/disk/': ['src/verify/', 'src/ledger/'],
  'src/stores/jsonl/': ['src/verify/', 'src/ledger/', 'src/stores/sql/', 'src/stores/tree/', 'src/stores/keys/'],
  'src/stores/sqlite/': ['src/verify/', 'src/ledger/', 'src/stores/sql/', 'src/stores/tree/', 'src/stores/keys/'],
  'src/stores/postgres/': ['src/verify/', 'src/ledger/', 'src/stores/tree/'],
  'src/stores/models/': ['src/verify/', 'src/ledger/', 'src/stores/sql/', 'src/stores/postgres/'],
  'src/stores/text/': ['src/verify/', 'src/ledger/', 'src/stores/sql/'],
  'src/stores/memory.ts': ['src/verify/', 'src/ledger/', 'src/stores/tree/'],
  'src/archives/': ['src/ledger/'],
  'src/testing/': ['src/verify/', 'src/ledger/'],
  'src/witness/': ['src/verify/', 'src/ledger/', 'src/stores/sql/'],
  'src/web/': ['src/verify/'],
  'src/open-store.ts': [
    'src/verify/',
    'src/ledger/',
    'src/stores/jsonl/',
    'src/stores/sqlite/',
    'src/stores/postgres/',
    'src/stores/disk/',
    'src/stores/memory.ts',
  ],
  'src/open-text.ts': ['src/verify/', 'src/ledger/', 'src/stores/sql/', 'src/stores/text/', 'src/open-store.ts'],
  'src/text-worker.ts': ['src/open-text.ts', 'src/stores/sql/', 'src/stores/text/'],
  'src/open-audit.ts': ['src/verify/', 'src/ledger/', 'src/stores/sql/', 'src/open-store.ts'],
  'src/audit-worker.ts': ['src/open-audit.ts', 'src/stores/sql/'],
  'src/open-archive.ts': ['src/ledger/', 'src/archives/'],
  'src/open-packed.ts': ['src/ledger/', 'src/open-archive.ts'],
  'src/open-verify.ts': [
    'src/verify/',
    'src/ledger/',
    'src/open-store.ts',
    'src/open-archive.ts',
    'src/open-packed.ts',
    'src/open-audit.ts',
  ],
  'src/open.ts': ['src/verify/', 'src/ledger/', 'src/open-store.ts', 'src/open-archive.ts', 'src/open-text.ts'],
  'src/open-publish.ts': ['src/verify/', 'src/ledger/', 'src/stores/sql/', 'src/open-store.ts', 'src/open.ts'],
  'src/open-copy.ts': ['src/verify/', 'src/ledger/', 'src/open-store.ts', 'src/open-text.ts'],
  'src/open-models.ts': ['src/verify/', 'src/ledger/', 'src/open-store.ts', 'src/stores/models/'],
  'src/index.ts': [
    'src/verify/',
    'src/ledger/',
    'src/derive/',
    'src/open.ts',
    'src/open-archive.ts',
    'src/open-verify.ts',
    'src/open-publish.ts',
    'src/open-copy.ts',
    'src/open-models.ts',
  ],
  'src/cli/': [
    'src/verify/',
    'src/ledger/',
    'src/derive/',
    'src/witness/',
    'src/archives/',
    'src/open-archive.ts',
    'src/open-packed.ts',
    'src/open-store.ts',
    'src/open.ts',
    'src/open-verify.ts',
    'src/open-publish.ts',
    'src/open-copy.ts',
    'src/index.ts',
  ],
} as const satisfies Record<string, readonly string[]>
type Room = keyof typeof ROOMS

function roomOf(path: string): Room | undefined {
  return (Object.keys(ROOMS) as Room[]).filter((room) => path.startsWith(room)).toSorted((a, b) => b.length - a.length)[0]
}

test('every source file is in a room', () => {
  expect(sources.length).toBeGreaterThan(20)
  const homeless = sources.filter(({ path }) => roomOf(path) === undefined).map(({ path }) => path)
  expect(homeless, 'move these files into a room of docs/architecture.md, or add the room there and in this test').toEqual([])
})

test('imports go towards the trusted base only, types included', () => {
  const wrong = sources.flatMap(({ path, imports }) => {
    const room = roomOf(path)
    if (room === undefined) return []
    const allowed: readonly string[] = ROOMS[room]
    return imports
      .filter((target) => target.startsWith('src/') && !target.startsWith(room) && !allowed.some((other) => target.startsWith(other)))
      .map((target) => `${path} imports ${target}; ${room} may import ${allowed.length === 0 ? 'nothing but itself' : allowed.join(', ')}`)
  })
  expect(wrong, 'pass what is needed in as an argument, or move it to a room below').toEqual([])
})

test('imports of our own files end in .ts and stay in src', () => {
  const wrong = sources.flatMap(({ path, imports }) =>
    imports
      .filter((target) => target.includes('/') && !target.includes(':') && /^(src|test|bench|tools|\.\.)\//.test(target))
      .filter((target) => !/^src\/.*\.ts$/.test(target))
      .map((target) => `${path} imports ${target}`),
  )
  expect(wrong).toEqual([])
})

/** What is installed with the package, or is optional; everything else would be missing where it is installed. */
test('packages that are imported are dependencies, and each is used', () => {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<
    'dependencies' | 'peerDependencies',
    Record<string, string>
  >
  const declared = [...Object.keys(manifest.dependencies), ...Object.keys(manifest.peerDependencies)]
  const builtin = new Set(builtinModules.filter((name) => !name.startsWith('node:')))
  const imported = new Map<string, string>()
  for (const { path, imports } of sources) {
    for (const target of imports) if (!target.startsWith('src/') && !target.startsWith('node:')) imported.set(target, path)
  }
  for (const [name, path] of imported) {
    expect(builtin.has(name), `${path}: write node:${name}`).toBe(false)
    expect(declared, `${path} imports ${name}: add it to the dependencies of package.json, or do without`).toContain(name)
  }
  expect(
    Object.keys(manifest.dependencies).filter((name) => !imported.has(name)),
    'remove these from the dependencies of package.json',
  ).toEqual([])
})

test('database drivers are imported only by their adapters and by the lock of the JSONL store', () => {
  const wrong = sources
    .filter(({ imports }) => imports.includes('node:sqlite') || imports.includes('better-sqlite3'))
    .map(({ path }) => path)
    .filter((path) => !path.startsWith('src/stores/sql/') && !/^src\/stores\/jsonl\/[a-z-]*lock[a-z-]*\.ts$/.test(path))
  expect(wrong, 'go through src/stores/sql').toEqual([])
  const elsewhere = sources
    .filter(({ imports }) => imports.includes('pg'))
    .map(({ path }) => path)
    .filter((path) => path !== 'src/stores/postgres/driver.ts')
  expect(elsewhere, 'go through src/stores/postgres/driver.ts').toEqual([])
})

test('src/verify is pure: nothing of Node.js, so that it runs in a browser', () => {
  const FOREIGN =
    /\bnode:|\bBuffer\b|\bprocess\b|\brequire\b|\bglobalThis\b|\b__dirname\b|\bimport\.meta\b|\bsetTimeout\b|\bfetch\b|\bDate\.now\b|\bperformance\b/
  const wrong = sources
    .filter(({ path }) => path.startsWith('src/verify/'))
    .flatMap(({ path, code }) =>
      code
        .split('\n')
        .filter((line) => FOREIGN.test(line))
        .map((line) => `${path}: ${line.trim()}`),
    )
  expect(wrong, 'pass it in from outside').toEqual([])
})

test('no default export and no `export *`', () => {
  const wrong = sources.flatMap(({ path, code }) => [
    ...(/\bexport\s+default\b|\bexport\s*\{[^}]*\bas\s+default\b/.test(code)
      ? [`${path} has a default export: export it by its name`]
      : []),
    ...(/\bexport\s*\*/.test(code) ? [`${path} exports *: name what it exports`] : []),
  ])
  expect(wrong).toEqual([])
})

test('no cycle of imports, types included', () => {
  const graph = new Map(sources.map(({ path, imports }) => [path, imports.filter((target) => target.startsWith('src/'))]))
  const done = new Set<string>()
  const cycles: string[] = []
  const visit = (path: string, trail: readonly string[]): void => {
    if (trail.includes(path)) cycles.push([...trail.slice(trail.indexOf(path)), path].join(' → '))
    else if (!done.has(path)) {
      for (const next of graph.get(path) ?? []) visit(next, [...trail, path])
      done.add(path)
    }
  }
  for (const path of graph.keys()) visit(path, [])
  expect(cycles, 'move what both need into a file below them').toEqual([])
})

test.each([
  ['src', 400],
  ['test', 600],
  ['bench', 400],
])('files in %s have at most %i lines', (folder, max) => {
  const long = sourceFiles(folder)
    .map((path) => ({ path, lines: read(path).text.split('\n').length - 1 }))
    .filter(({ lines }) => lines > max)
    .map(({ path, lines }) => `${path} has ${lines} lines`)
  expect(long, 'does each of these still have one reason to exist? Split it by what it does').toEqual([])
})

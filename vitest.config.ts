import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { defineConfig } from 'vitest/config'
import { folderInMemory } from './test/folder.ts'

// Tests run straight from their TypeScript; stripping its types anew takes most of the time until they begin. Workers
// inherit it from here.
process.env['NODE_COMPILE_CACHE'] ??= join(tmpdir(), 'cortex-ledger-compile-cache')

// The soak has the disk, and whoever runs the tests may say where.
const folder = process.env['TMPDIR'] === undefined && process.env['SOAK'] !== '1' ? folderInMemory() : null
if (folder !== null) process.env['TMPDIR'] = folder

/** Files that leave nothing behind in their process, so that the next ones can have it: a new one takes most of a second. */
const SHARING = ['test/{archives,cli,derive,ledger,stores,tamper,testing,verify,witness}/**/*.test.ts']

/**
 * Node reads the TypeScript itself, as it does in every process that a test starts; turning 400 modules into something else
 * first took a second a file. Modules can't be mocked so, and none is. Node.js 22 knows no `await using`, which tests have.
 */
const isNative = Number(process.versions.node.split('.')[0]) >= 24

export default defineConfig({
  test: {
    globalSetup: ['test/programs.ts'],
    setupFiles: ['test/setup.ts'],
    // The big counts of `npm run soak` take as long as they take.
    testTimeout: process.env['SOAK'] === '1' ? 7_200_000 : 120_000,
    hookTimeout: 60_000,
    // Two cores: one test file a worker, and the crash suites start processes of their own.
    pool: 'forks',
    maxWorkers: 2,
    experimental: isNative ? { viteModuleRunner: false, nodeLoader: false } : {},
    projects: [
      { extends: true, test: { name: 'alone', include: ['test/**/*.test.ts'], exclude: SHARING } },
      { extends: true, test: { name: 'sharing', include: SHARING, isolate: !isNative } },
    ],
  },
})

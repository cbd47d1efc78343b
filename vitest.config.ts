import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    setupFiles: ['test/setup.ts'],
    testTimeout: 120_000,
    hookTimeout: 60_000,
    // Two cores: one test file a worker, and the crash suites start processes of their own.
    pool: 'forks',
    maxWorkers: 2,
  },
})

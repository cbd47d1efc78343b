import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    setupFiles: ['test/setup.ts'],
    // The big counts of `npm run soak` take as long as they take.
    testTimeout: process.env['SOAK'] === '1' ? 7_200_000 : 120_000,
    hookTimeout: 60_000,
    // Two cores: one test file a worker, and the crash suites start processes of their own.
    pool: 'forks',
    maxWorkers: 2,
  },
})

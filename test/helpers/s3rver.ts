/** s3rver, an S3-protocol server of somebody else's: installed once into a temporary folder, and asked as a judge. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { onTestFinished } from 'vitest'
import { COMPILE_CACHE } from './child.ts'
import { tempDir } from './temp.ts'

const PACKAGE = '@20minutes/s3rver'
/** Beside the compile cache, which outlives a run, too. */
const FOLDER = join(dirname(COMPILE_CACHE), 'cortex-ledger-s3rver-4.0.4')

interface Running {
  run(): Promise<{ readonly port: number }>
  close(): Promise<void>
}
type Constructor = new (options: object) => Running

/** Why it can't be had here; null where it can. */
export function missingS3rver(): string | null {
  const ready = join(FOLDER, 'ready')
  if (existsSync(ready)) return null
  // What `npm run` tells its scripts of this repository would have it installed there.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_(package|lifecycle|config)_/i.test(name)))
  try {
    mkdirSync(FOLDER, { recursive: true })
    writeFileSync(join(FOLDER, 'package.json'), '{"private":true}')
    const args = ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--fetch-retries=0', `${PACKAGE}@4.0.4`]
    execFileSync('npm', args, { cwd: FOLDER, env, stdio: 'pipe', timeout: 60_000, shell: process.platform === 'win32' })
    writeFileSync(ready, '')
    return null
  } catch (error) {
    return `s3rver is not to be had here: ${String(error).split('\n', 1)[0]}`
  }
}

export const S3RVER_KEYS = { accessKeyId: 'S3RVER', secretAccessKey: 'S3RVER' } as const
export const S3RVER_BUCKET = 'judged-bucket'

/** With one bucket, until the test has ended; returns the port. */
export async function startS3rver(): Promise<number> {
  const S3rver = createRequire(join(FOLDER, 'package.json'))(PACKAGE) as Constructor
  const configureBuckets = [{ name: S3RVER_BUCKET }]
  const server = new S3rver({ port: 0, address: '127.0.0.1', silent: true, directory: tempDir(), vhostBuckets: false, configureBuckets })
  const { port } = await server.run()
  onTestFinished(() => server.close())
  return port
}

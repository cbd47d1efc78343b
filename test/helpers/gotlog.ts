/**
 * A judge that is not ours: Go's own transparency-log code (golang.org/x/mod/sumdb), in a program that lies beside the
 * project. It is built once into `.tmp`, by whichever test comes first. Where Go or the program is absent `gotlog` is
 * null, and why is printed: a test that needs it is skipped with `test.skipIf(gotlog === null)`.
 */
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { tempDir } from './temp.ts'

const ROOT = join(import.meta.dirname, '../..')
const PROGRAM = join(ROOT, '../shared/judges/gotlog/main.go')
/** Where Debian's golang-golang-x-mod-dev puts the sources. */
const GOPATH = '/usr/share/gocode'

export interface Judgement {
  /** The judge agrees. It refuses by ending with 1 and a line that starts with `FAIL`. */
  readonly ok: boolean
  /** What it printed, stdout before stderr. */
  readonly said: string
}

export interface Gotlog {
  /** Runs `gotlog <args>` with this on stdin. Asynchronous: the log may be served by the process that asks. */
  (args: readonly string[], stdin?: string | Uint8Array): Promise<Judgement>
}

/** Path of the program, or why there is none. */
function build(): { readonly path: string } | { readonly missing: string } {
  if (!existsSync(PROGRAM)) return { missing: `${PROGRAM} is not there` }
  const source = readFileSync(PROGRAM)
  const folder = join(ROOT, '.tmp')
  const path = join(folder, `gotlog-${createHash('sha256').update(source).digest('hex').slice(0, 16)}`)
  if (existsSync(path)) return { path }
  if (spawnSync('go', ['version']).status !== 0) return { missing: 'go is not installed (golang-go)' }
  if (!existsSync(join(GOPATH, 'src/golang.org/x/mod')))
    return { missing: `golang.org/x/mod is not in ${GOPATH} (golang-golang-x-mod-dev)` }
  mkdirSync(folder, { recursive: true })
  // Two tests may build at once: each in a folder of its own, and the name is given to what is whole.
  const own = mkdtempSync(join(folder, 'gotlog-build-'))
  try {
    writeFileSync(join(own, 'main.go'), source)
    const env = { ...process.env, CGO_ENABLED: '0', GO111MODULE: 'off', GOPATH, GOFLAGS: '' }
    const built = spawnSync('go', ['build', '-o', 'gotlog', 'main.go'], { cwd: own, env, encoding: 'utf8' })
    if (built.status !== 0) return { missing: `it could not be built: ${built.stderr}` }
    renameSync(join(own, 'gotlog'), path)
  } finally {
    rmSync(own, { recursive: true, force: true })
  }
  return { path }
}

function runner(path: string): Gotlog {
  return (args, stdin = '') =>
    new Promise((resolve, reject) => {
      const child = spawn(path, args, { stdio: ['pipe', 'pipe', 'pipe'] })
      const parts: [out: string, err: string] = ['', '']
      child.stdout.setEncoding('utf8').on('data', (text: string) => (parts[0] += text))
      child.stderr.setEncoding('utf8').on('data', (text: string) => (parts[1] += text))
      child.on('error', reject)
      child.on('close', (code, signal) => {
        // Neither agreement nor refusal: a test must not take that for either.
        if (code === 0 || (code === 1 && parts[1].startsWith('FAIL'))) resolve({ ok: code === 0, said: parts.join('') })
        else reject(new Error(`gotlog ended with ${code ?? signal}: ${parts.join('')}`))
      })
      // It may refuse before it has read all.
      child.stdin.on('error', () => {})
      child.stdin.end(stdin)
    })
}

const built = build()
if ('missing' in built) console.log(`skipped: the judge gotlog is not there: ${built.missing}`)

export const gotlog: Gotlog | null = 'path' in built ? runner(built.path) : null

/** Hashes as the judge reads proofs: a file of base64 lines. Returns its path. */
export function hashFile(hashes: readonly Uint8Array[]): string {
  const path = join(tempDir(), 'proof')
  writeFileSync(path, hashes.map((hash) => `${Buffer.from(hash).toString('base64')}\n`).join(''))
  return path
}

/** Brings the peers into a temporary folder, which later runs find again; never into this repository or its lock file. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { run, whyItEnded } from './session.ts'
import type { Session } from './session.ts'

/** Of Emmett's optional companions only those that its store loads. */
const EMMETT = [
  '@event-driven-io/emmett@0.42.0',
  '@event-driven-io/emmett-sqlite@0.42.4',
  'sqlite3@5.1.7',
  'uuid@10.0.0',
  'async-retry@1.3.3',
  'commander@12.1.0',
]
/** Likewise of its PostgreSQL store. */
const EMMETT_POSTGRESQL = [
  '@event-driven-io/emmett@0.42.0',
  '@event-driven-io/emmett-postgresql@0.42.0',
  '@event-driven-io/pongo@0.16.11',
  '@event-driven-io/dumbo@0.12.7',
  'pg@8.23.1',
  'pg-connection-string@2.14.1',
  'uuid@10.0.0',
  'async-retry@1.3.3',
  'ansis@3.17.0',
  'cli-table3@0.6.5',
  'commander@12.1.0',
]
const PINO = ['pino@10.4.0']
const EVENTSOURCING = 'eventsourcing==9.5.6'

/** How to run a peer, or why it is not there. */
export type Installed =
  | { readonly command: string; readonly cwd: string; readonly env: NodeJS.ProcessEnv; readonly version: string }
  | { readonly missing: string }

/** Without what `npm run` tells its scripts about this repository: it would be installed there. */
function npmEnvironment(): NodeJS.ProcessEnv {
  const own = /^(npm_package_|npm_lifecycle_|npm_config_(workspaces?|local_prefix|prefix|include_workspace_root)$)/i
  return Object.fromEntries(Object.keys(process.env).flatMap((name) => (own.test(name) ? [[name, undefined]] : [])))
}

function folderOf(name: string): string {
  const folder = join(tmpdir(), 'cortex-ledger-bench-peers', name)
  mkdirSync(folder, { recursive: true })
  return folder
}

/** @returns why it failed, or null */
async function npm(folder: string, args: readonly string[]): Promise<string | null> {
  const ended = await run('npm', args, { cwd: folder, env: npmEnvironment(), timeout_ms: 600_000 })
  return ended.code === 0 ? null : `npm ${args[0]}: ${whyItEnded(ended)}`
}

async function npmPeer(session: Session, name: string, packages: readonly string[], native: string | null): Promise<Installed> {
  const folder = folderOf(name)
  const ready = join(folder, 'ready')
  if (!existsSync(ready)) {
    session.say(`installing ${packages.join(' ')}`)
    writeFileSync(join(folder, 'package.json'), '{"private":true}')
    const install = ['install', '--legacy-peer-deps', '--ignore-scripts', '--no-audit', '--no-fund', '--fetch-retries=0', ...packages]
    // A native package downloads what was built for it, and compiles it where it can't.
    const failed = (await npm(folder, install)) ?? (native === null ? null : await npm(folder, ['rebuild', native]))
    if (failed !== null) return { missing: `not to be had here: ${failed}` }
    writeFileSync(ready, packages.join('\n'))
  }
  const main = native ?? packages.map((each) => each.replace(/@[^@]*$/, '')).find((each) => each.endsWith(name)) ?? name
  const command = await nodeThatLoads(folder, main)
  if (command === null) return { missing: `no Node.js here loads ${main}` }
  return { command, cwd: folder, env: {}, version: (await run(command, ['--version'])).stdout.trim() }
}

/** This one, else another that is on the machine: a native package may be too old for the newest. */
async function nodeThatLoads(folder: string, name: string): Promise<string | null> {
  const onPath = (process.env['PATH'] ?? '').split(delimiter).map((path) => join(path, 'node'))
  for (const node of new Set([process.execPath, ...onPath.filter((path) => existsSync(path))])) {
    const { code } = await run(node, ['-e', `require(${JSON.stringify(name)})`], { cwd: folder, timeout_ms: 30_000 })
    if (code === 0) return node
  }
  return null
}

export function installEmmett(session: Session): Promise<Installed> {
  return npmPeer(session, 'emmett', EMMETT, 'sqlite3')
}

export function installEmmettPostgresql(session: Session): Promise<Installed> {
  return npmPeer(session, 'emmett-postgresql', EMMETT_POSTGRESQL, null)
}

export function installPino(session: Session): Promise<Installed> {
  return npmPeer(session, 'pino', PINO, null)
}

/** What is installed for Python anyway is taken as it is. */
export async function installEventsourcing(session: Session): Promise<Installed> {
  const folder = folderOf('eventsourcing')
  const env = { PYTHONPATH: [folder, process.env['PYTHONPATH'] ?? ''].filter((path) => path !== '').join(delimiter) }
  const python = async (...args: readonly string[]): Promise<string | null> => {
    try {
      const ended = await run('python3', args, { env, timeout_ms: 300_000 })
      return ended.code === 0 ? null : whyItEnded(ended)
    } catch (error) {
      return String(error)
    }
  }
  const load = ['-c', 'import eventsourcing.sqlite']
  if ((await python(...load)) !== null) {
    session.say(`installing ${EVENTSOURCING}`)
    const failed = await python('-m', 'pip', 'install', '--quiet', '--retries=0', '--target', folder, EVENTSOURCING)
    if (failed !== null) return { missing: `not to be had here: pip: ${failed}` }
    const broken = await python(...load)
    if (broken !== null) return { missing: `installed, and does not load: ${broken}` }
  }
  return { command: 'python3', cwd: folder, env, version: '' }
}

/**
 * A real PostgreSQL for tests: clusters of their own in temporary folders, on free ports, that can be killed, started
 * again and followed by standbys. PostgreSQL refuses to run as root; where the tests do, its programs run as another user.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { appendFileSync, chmodSync, chownSync, closeSync, existsSync, mkdirSync, mkdtempSync, openSync } from 'node:fs'
import { readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import pg from 'pg'

const PROGRAMS = ['initdb', 'postgres', 'pg_basebackup']
const TEMPLATES = join(import.meta.dirname, '../../.tmp')
const READY_MS_MAX = 60_000

/** The folder of PostgreSQL's programs, or null. Debian puts them beside PATH, and `pg_config` into another package. */
function findPrograms(): string | null {
  const debian = '/usr/lib/postgresql'
  const versions = existsSync(debian) ? readdirSync(debian).toSorted((a, b) => Number(b) - Number(a)) : []
  const folders = [
    spawnSync('pg_config', ['--bindir'], { encoding: 'utf8' }).stdout?.trim() ?? '',
    ...(process.env['PATH'] ?? '').split(delimiter),
    ...versions.map((version) => join(debian, version, 'bin')),
  ]
  return folders.find((folder) => folder !== '' && PROGRAMS.every((name) => existsSync(join(folder, name)))) ?? null
}

/** Where the programs are, or null; why is `MISSING`. */
export const POSTGRES_PROGRAMS = findPrograms()
export const MISSING: string | null = POSTGRES_PROGRAMS === null ? `PostgreSQL is not installed (${PROGRAMS.join(', ')})` : null

/** Whom to be: `{}` unless the tests run as root. */
const USER: { readonly uid?: number; readonly gid?: number } = (() => {
  if (process.getuid?.() !== 0) return {}
  const users = readFileSync('/etc/passwd', 'utf8').split('\n')
  const line = users.find((user) => user.startsWith('postgres:')) ?? users.find((user) => user.startsWith('nobody:'))
  const [, , uid, gid] = (line ?? 'nobody:x:65534:65534').split(':')
  return { uid: Number(uid), gid: Number(gid) }
})()

function own(path: string): void {
  if (USER.uid !== undefined && USER.gid !== undefined) chownSync(path, USER.uid, USER.gid)
}

function run(program: string, args: readonly string[], cwd: string): void {
  const { status, stderr, error } = spawnSync(join(POSTGRES_PROGRAMS!, program), args, { ...USER, cwd, encoding: 'utf8' })
  if (status !== 0) throw new Error(`${program} ended with ${status}: ${error?.message ?? stderr}`)
}

/** `cp -a`: owners, modes and symbolic links stay. */
function copyFolder(from: string, to: string): void {
  const { status, stderr } = spawnSync('cp', ['-a', from, to], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`cp -a ${from} ${to}: ${stderr}`)
}

/** Puts a fresh data folder there. Made once and copied from then on: several times as quick. */
function makeData(folder: string, data: string): void {
  const version = spawnSync(join(POSTGRES_PROGRAMS!, 'postgres'), ['--version'], { encoding: 'utf8' }).stdout
  const template = join(TEMPLATES, `initdb-${version.replaceAll(/[^\w.]+/g, '-')}-${USER.uid ?? process.getuid?.() ?? 0}`)
  if (!existsSync(template)) {
    run('initdb', ['-D', data, '-U', 'postgres', '-A', 'trust', '--locale=C', '-E', 'UTF8', '--no-sync'], folder)
    mkdirSync(TEMPLATES, { recursive: true })
    // Two tests may make it at once: the name is given to what is whole, and whoever comes second leaves its own.
    const whole = `${template}.${process.pid}.${randomBytes(4).toString('hex')}`
    copyFolder(data, whole)
    try {
      renameSync(whole, template)
    } catch {
      rmSync(whole, { recursive: true, force: true })
    }
  } else copyFolder(template, data)
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.on('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
}

/** The processes that this one started, by id. */
function childrenOf(parent: number): number[] {
  if (!existsSync('/proc/self/stat')) {
    const { stdout } = spawnSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' })
    const pairs = stdout.split('\n').map((line) => line.trim().split(/\s+/).map(Number))
    return pairs.filter(([, of]) => of === parent).map(([pid]) => pid as number)
  }
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        // After the name in brackets: state, parent.
        const stat = readFileSync(`/proc/${name}/stat`, 'utf8')
        return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === parent
      } catch {
        return false
      }
    })
    .map(Number)
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    // A zombie has ended; its parent has not asked yet.
    return !existsSync(`/proc/${pid}/stat`) || !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Runs one statement, or several without parameters, over a connection of its own. */
export async function sql<Row extends pg.QueryResultRow>(url: string, text: string, values?: unknown[]): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 })
  client.on('error', () => {})
  await client.connect()
  try {
    return (await client.query<Row>(text, values)).rows
  } finally {
    await client.end()
  }
}

/** Asks again until it is so. */
export async function until(what: string, reached: () => Promise<boolean>, ms_max = READY_MS_MAX): Promise<void> {
  for (const began = performance.now(); !(await reached()); await pause(20)) {
    if (performance.now() - began > ms_max) throw new Error(`not reached in ${ms_max} ms: ${what}`)
  }
}

export interface ClusterOptions {
  /**
   * Wait for the disk. Off unless said: what a killed server has written the kernel still has. Pages are written whole to
   * the log either way, since a kill can tear the write of a page.
   */
  readonly fsync?: boolean
  /** Settings of postgresql.conf; they win over the test's own. */
  readonly settings?: Readonly<Record<string, string | number>>
  /** Lines of pg_hba.conf in place of initdb's, which trust everybody on this machine. */
  readonly hba?: readonly string[]
  /** Files for the data folder, such as `server.crt`; only the server can read them. */
  readonly files?: Readonly<Record<string, string | Uint8Array>>
}

export interface Cluster {
  readonly port: number
  readonly socketDir: string
  /** The data folder. */
  readonly data: string
  /** Of the superuser `postgres` to the database `postgres`. */
  readonly adminUrl: string
  /** Of the postmaster; null where it does not run. */
  readonly pid: number | null
  readonly isRunning: boolean
  /** @param user the superuser `postgres` unless said */
  url(database?: string, user?: string): string
  /** A new database; returns its URL. */
  createDatabase(name?: string): Promise<string>
  /** As an administrator. */
  sql<Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>
  /** Starts it again, on the same port. @param wait resolve when it answers; else at once */
  start(options?: { readonly wait?: boolean }): Promise<void>
  /** Resolves when it answers queries. */
  ready(): Promise<void>
  /** SIGKILL to the postmaster and all its processes; resolves when they are gone. */
  kill(): Promise<void>
  /** A shutdown as an operator does it; the data stay. */
  shutdown(): Promise<void>
  /** Shuts down and removes the folder. */
  stop(): Promise<void>
  /** What the server said so far. */
  log(): string
}

const SETTINGS: Readonly<Record<string, string | number>> = {
  max_connections: 60,
  shared_buffers: '32MB',
  max_wal_senders: 5,
  autovacuum_naptime: 60,
  log_min_messages: 'warning',
}

const running = new Set<LocalCluster>()
// A test process that ends by itself leaves no server behind.
process.on('exit', () => {
  for (const cluster of running) {
    cluster.killNow()
    cluster.remove()
  }
})

class LocalCluster implements Cluster {
  readonly port: number
  readonly data: string
  readonly socketDir: string
  readonly #folder: string
  readonly #settings: Readonly<Record<string, string | number>>
  #process: ChildProcess | null = null
  #exited: Promise<void> = Promise.resolve()

  constructor(folder: string, port: number, settings: Readonly<Record<string, string | number>>) {
    this.#folder = folder
    this.port = port
    this.data = join(folder, 'data')
    this.socketDir = folder
    this.#settings = settings
  }

  get pid(): number | null {
    return this.#process?.pid ?? null
  }

  get isRunning(): boolean {
    return this.#process !== null
  }

  get adminUrl(): string {
    return this.url()
  }

  url(database = 'postgres', user = 'postgres'): string {
    return `postgres://${encodeURIComponent(user)}@127.0.0.1:${this.port}/${encodeURIComponent(database)}`
  }

  sql<Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]> {
    return sql<Row>(this.adminUrl, text, values)
  }

  async createDatabase(name = `t_${randomBytes(6).toString('hex')}`): Promise<string> {
    await this.sql(`CREATE DATABASE ${pg.escapeIdentifier(name)}`)
    return this.url(name)
  }

  log(): string {
    const file = join(this.#folder, 'log')
    return existsSync(file) ? readFileSync(file, 'utf8') : ''
  }

  async start({ wait = true }: { readonly wait?: boolean } = {}): Promise<void> {
    if (this.#process !== null) throw new Error('the server runs already')
    const log = openSync(join(this.#folder, 'log'), 'a')
    const args = ['-D', this.data, '-p', String(this.port), '-k', this.socketDir, '-h', '127.0.0.1']
    for (const [name, value] of Object.entries(this.#settings)) args.push('-c', `${name}=${value}`)
    const child = spawn(join(POSTGRES_PROGRAMS!, 'postgres'), args, { ...USER, cwd: this.#folder, stdio: ['ignore', log, log] })
    closeSync(log)
    this.#process = child
    running.add(this)
    this.#exited = new Promise((resolve) => {
      const ended = (): void => {
        if (this.#process === child) this.#process = null
        running.delete(this)
        resolve()
      }
      child.on('exit', ended)
      child.on('error', (error) => {
        appendFileSync(join(this.#folder, 'log'), `${error.message}\n`)
        ended()
      })
    })
    if (wait) await this.ready()
  }

  async ready(): Promise<void> {
    await until('the server answers', async () => {
      if (this.#process === null) throw new Error(`the server ended; it said:\n${this.log()}`)
      return this.sql('SELECT 1').then(
        () => true,
        () => false,
      )
    })
  }

  /** Without waiting, for a process that is exiting. */
  killNow(): number[] {
    const { pid } = this
    if (pid === null) return []
    // Stopped first, so that it starts nothing more while its children are counted.
    signal(pid, 'SIGSTOP')
    const all = [...childrenOf(pid), pid]
    for (const one of all) signal(one, 'SIGKILL')
    return all
  }

  async kill(): Promise<void> {
    const all = this.killNow()
    await this.#exited
    // While one of them is there a new server refuses to start on the data.
    await until('the processes of the server are gone', () => Promise.resolve(!all.some(isAlive)))
  }

  async shutdown(): Promise<void> {
    if (this.pid !== null) signal(this.pid, 'SIGINT')
    await this.#exited
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 })
  }

  async stop(): Promise<void> {
    await this.shutdown()
    this.remove()
  }
}

function newFolder(): string {
  // Short: the path of a socket has at most 107 bytes.
  const folder = mkdtempSync(join(tmpdir(), 'cortex-pg-'))
  own(folder)
  return folder
}

/** Puts a cluster up; `make` fills its data folder. */
async function launch(make: (folder: string, data: string) => void, options: ClusterOptions): Promise<LocalCluster> {
  if (POSTGRES_PROGRAMS === null) throw new Error(MISSING!)
  const folder = newFolder()
  const fsync = options.fsync === true ? {} : { fsync: 'off' }
  try {
    make(folder, join(folder, 'data'))
    for (let attempt = 1; ; attempt++) {
      const cluster = new LocalCluster(folder, await freePort(), { ...SETTINGS, ...fsync, ...options.settings })
      try {
        await cluster.start()
        return cluster
      } catch (error) {
        await cluster.kill()
        // Between asking for a free port and taking it, somebody else was quicker.
        if (attempt === 5 || !/Address already in use/.test(cluster.log())) throw error
      }
    }
  } catch (error) {
    rmSync(folder, { recursive: true, force: true })
    throw error
  }
}

function putFile(data: string, name: string, content: string | Uint8Array): void {
  writeFileSync(join(data, name), content)
  chmodSync(join(data, name), 0o600)
  own(join(data, name))
}

/** A new cluster that runs and answers. Whoever starts it stops it. */
export function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  return launch((folder, data) => {
    makeData(folder, data)
    for (const [name, content] of Object.entries(options.files ?? {})) putFile(data, name, content)
    if (options.hba !== undefined) putFile(data, 'pg_hba.conf', options.hba.map((line) => `${line}\n`).join(''))
  }, options)
}

export interface Standby extends Cluster {
  /** Becomes a primary; resolves when it takes writes. */
  promote(): Promise<void>
  /** Receives nothing more from its primary: from now on it is behind. */
  detach(): Promise<void>
  attach(): Promise<void>
  /** Receives, but shows nothing of it. */
  pauseReplay(): Promise<void>
  resumeReplay(): Promise<void>
  /** Resolves when it shows all that the primary has now. */
  catchUp(): Promise<void>
}

export interface StandbyOptions extends ClusterOptions {
  /** The primary acknowledges a commit only when this standby has it. */
  readonly synchronous?: boolean
}

/** A standby of a running cluster, made by pg_basebackup and streaming from a slot. The primary must trust this machine. */
export async function startStandby(primary: Cluster, options: StandbyOptions = {}): Promise<Standby> {
  const name = `standby_${randomBytes(4).toString('hex')}`
  const conninfo = `host=127.0.0.1 port=${primary.port} user=postgres application_name=${name}`
  const cluster = await launch((folder, data) => {
    const source = ['-d', conninfo, '-D', data, '-R', '-X', 'stream', '-C', '-S', name]
    run('pg_basebackup', [...source, '--checkpoint=fast', '--no-sync', '--no-manifest'], folder)
  }, options)
  const streams = async (): Promise<boolean> =>
    (await primary.sql(`SELECT 1 FROM pg_stat_replication WHERE application_name = $1 AND state = 'streaming'`, [name])).length > 0
  await until('the standby streams', streams)
  if (options.synchronous === true) {
    await primary.sql(`ALTER SYSTEM SET synchronous_standby_names = '${name}'`)
    await primary.sql('SELECT pg_reload_conf()')
    const isSync = `SELECT 1 FROM pg_stat_replication WHERE application_name = $1 AND sync_state IN ('sync', 'quorum')`
    await until('the standby is synchronous', async () => (await primary.sql(isSync, [name])).length > 0)
  }
  const setSource = async (source: string): Promise<void> => {
    await cluster.sql(`ALTER SYSTEM SET primary_conninfo = '${source}'`)
    await cluster.sql('SELECT pg_reload_conf()')
  }
  return Object.assign(cluster, {
    promote: async () => {
      await cluster.sql('SELECT pg_promote(true, 60)')
      await until('the standby takes writes', async () => {
        const [row] = await cluster.sql<{ follows: boolean }>('SELECT pg_is_in_recovery() AS follows')
        return row?.follows === false
      })
    },
    detach: async () => {
      await setSource('')
      await until('the standby receives nothing', async () => (await cluster.sql('SELECT 1 FROM pg_stat_wal_receiver')).length === 0)
    },
    attach: async () => {
      await setSource(conninfo)
      await until('the standby streams', streams)
    },
    pauseReplay: async () => void (await cluster.sql('SELECT pg_wal_replay_pause()')),
    resumeReplay: async () => void (await cluster.sql('SELECT pg_wal_replay_resume()')),
    catchUp: async () => {
      const [now] = await primary.sql<{ lsn: string }>('SELECT pg_current_wal_lsn()::text AS lsn')
      const text = 'SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn AS reached'
      await until('the standby has all', async () => (await cluster.sql<{ reached: boolean }>(text, [now?.lsn]))[0]?.reached === true)
    },
  })
}

/**
 * A disk in memory that keeps what was synced and, when its power fails, drops, tears or keeps the rest; and that
 * fails at any step. It is as unkind as POSIX allows: a sync of a file does not keep the file's name, writes to one
 * file reach the disk in any order and in part, and lost sectors of a file that grew read as zeros.
 */
import { dirname, basename } from 'node:path'
import type { FileFacts, FilePort, OpenFile, OpenMode, SyncSite } from '../../src/stores/jsonl/index.ts'
import type { SeededRandom } from '../../src/testing/seeded-random.ts'

const SECTOR = 512

type Change =
  | { readonly kind: 'write'; readonly at: number; readonly bytes: Buffer }
  | { readonly kind: 'truncate'; readonly length: number }

class DiskFile {
  readonly kind = 'file'
  /** As programs see it. */
  cached: Buffer = Buffer.alloc(0)
  /** As it is after a power loss that drops everything else. */
  durable: Buffer = Buffer.alloc(0)
  pending: Change[] = []
  mode = 0o644
  changed_ms = 0

  change(change: Change): void {
    this.cached = applied(this.cached, change)
    this.pending.push(change)
    this.changed_ms++
  }

  sync(): void {
    this.durable = this.cached
    this.pending = []
  }
}

type Name = { readonly kind: 'link'; readonly name: string; readonly node: Node } | { readonly kind: 'unlink'; readonly name: string }

class DiskFolder {
  readonly kind = 'folder'
  cached = new Map<string, Node>()
  durable = new Map<string, Node>()
  pending: Name[][] = []

  /** All of `names` or none survive. */
  change(...names: Name[]): void {
    for (const name of names) rename(this.cached, name)
    this.pending.push(names)
  }

  sync(): void {
    this.durable = new Map(this.cached)
    this.pending = []
  }
}
type Node = DiskFile | DiskFolder

function rename(names: Map<string, Node>, name: Name): void {
  if (name.kind === 'link') names.set(name.name, name.node)
  else names.delete(name.name)
}

/** Contents are never changed in place: durable and cached ones can be the same buffer. */
function applied(content: Buffer, change: Change): Buffer {
  if (change.kind === 'truncate') {
    return change.length <= content.length
      ? content.subarray(0, change.length)
      : Buffer.concat([content, Buffer.alloc(change.length - content.length)])
  }
  const next = Buffer.alloc(Math.max(content.length, change.at + change.bytes.length))
  content.copy(next)
  change.bytes.copy(next, change.at)
  return next
}

/** What became of a write of which only some sectors reached the disk. */
function torn(content: Buffer, { at, bytes }: Extract<Change, { kind: 'write' }>, random: SeededRandom): Buffer {
  const end = at + bytes.length
  const survives = random.below(3)
  let next = content
  let reached = content.length
  const grown = Buffer.alloc(Math.max(content.length, end))
  content.copy(grown)
  for (let from = at; from < end;) {
    const to = Math.min(end, (Math.floor(from / SECTOR) + 1) * SECTOR)
    // Few, half or most of the sectors: with half alone a write of many sectors would never be nearly whole.
    if (random.chance([0.15, 0.5, 0.9][survives] as number)) {
      bytes.copy(grown, from, from - at, to - at)
      reached = Math.max(reached, to)
    }
    from = to
  }
  // The size may have reached the disk although not all sectors did.
  next = grown.subarray(0, random.chance(0.5) ? grown.length : reached)
  return next
}

export type Loss = 'drop' | 'tear' | 'keep'

/** The machine is off: nothing that was begun ends. */
export class PowerLost extends Error {}

export interface Trouble {
  /** Number of the operation (from 1) that meets it. */
  readonly at: number
  readonly kind: 'power-before' | 'power-after' | 'fail' | 'short'
  /** Of `fail`. */
  readonly code?: string
  /** Of `fail`: it is done nevertheless. */
  readonly isDone?: boolean
  /** Of `fail` and `short`: so many operations meet it. Infinity: until `heal`. */
  readonly times?: number
}

export class SimulatedDisk implements FilePort {
  /** Syncs of this place do nothing. */
  ignoredSync: SyncSite | null = null
  /** Operations so far that change something. */
  operations = 0
  /** What they were. */
  readonly log: string[] = []
  #root = new DiskFolder()
  #trouble: Trouble | null = null
  #isOff = false
  #boot = 0

  /** The folders of `path` are there already, durably. */
  constructor(path: string) {
    let folder = this.#root
    for (const name of path.split('/').filter((part) => part !== '')) {
      const next = new DiskFolder()
      folder.change({ kind: 'link', name, node: next })
      folder.sync()
      folder = next
    }
  }

  /** The next operations meet this; numbers count from now. */
  meet(trouble: Trouble): void {
    this.operations = 0
    this.log.length = 0
    this.#trouble = trouble
  }

  heal(): void {
    this.#trouble = null
  }

  get isOff(): boolean {
    return this.#isOff
  }

  cutPower(): void {
    this.#isOff = true
  }

  /** The process is killed: what it wrote is there, its files are closed. */
  kill(): void {
    this.#boot++
    this.#isOff = false
    this.#trouble = null
  }

  /** The machine lost its power and starts again. */
  reboot(loss: Loss, random: SeededRandom): void {
    this.kill()
    const seen = new Set<Node>()
    const visit = (node: Node): void => {
      if (seen.has(node)) return
      seen.add(node)
      if (node.kind === 'folder') {
        for (const child of [...node.cached.values(), ...node.durable.values()]) visit(child)
        // A journal keeps the order of what happens in a folder.
        const kept = loss === 'keep' ? node.pending.length : loss === 'drop' ? 0 : random.below(node.pending.length + 1)
        for (const names of node.pending.slice(0, kept)) for (const name of names) rename(node.durable, name)
        node.cached = new Map(node.durable)
        node.pending = []
        return
      }
      if (loss === 'keep') node.durable = node.cached
      else if (loss === 'tear') {
        for (const change of node.pending) {
          if (change.kind === 'write') node.durable = torn(node.durable, change, random)
          else if (random.chance(0.5)) node.durable = applied(node.durable, change)
        }
      }
      node.cached = node.durable
      node.pending = []
    }
    visit(this.#root)
  }

  /** Content of a file, without counting as an operation; null where there is none. */
  peek(path: string): Buffer | null {
    const node = this.#find(path)
    return node?.kind === 'file' ? node.cached : null
  }

  /** Changes a file behind everybody's back, durably. */
  poke(path: string, content: Buffer): void {
    const node = this.#find(path)
    if (node?.kind !== 'file') throw new Error(`no file ${path}`)
    node.cached = content
    node.sync()
  }

  #find(path: string): Node | undefined {
    let node: Node | undefined = this.#root
    for (const name of path.split('/').filter((part) => part !== '')) node = node?.kind === 'folder' ? node.cached.get(name) : undefined
    return node
  }

  #folder(path: string): DiskFolder {
    const node = this.#find(path)
    if (node?.kind !== 'folder') throw failure('ENOENT', path)
    return node
  }

  /** Does `act`, or what trouble makes of it. */
  async #do<Result>(what: string, boot: number, act: () => Result, short?: () => Result): Promise<Result> {
    // The real one takes its time as well: whoever forgets to wait is found out.
    await new Promise((resolve) => setImmediate(resolve))
    if (boot !== this.#boot) throw failure('EBADF', what)
    if (this.#isOff) throw new PowerLost(what)
    this.operations++
    this.log.push(what)
    const trouble = this.#trouble
    const isMet = trouble !== null && this.operations >= trouble.at && this.operations < trouble.at + (trouble.times ?? 1)
    if (!isMet) return act()
    switch (trouble.kind) {
      case 'power-before':
        this.#isOff = true
        throw new PowerLost(what)
      case 'power-after':
        act()
        this.#isOff = true
        throw new PowerLost(what)
      case 'short':
        return short === undefined ? act() : short()
      case 'fail':
        if (trouble.isDone === true) act()
        throw failure(trouble.code ?? 'EIO', what)
    }
  }

  async #look<Result>(act: () => Result): Promise<Result> {
    await new Promise((resolve) => setImmediate(resolve))
    if (this.#isOff) throw new PowerLost('reading')
    return act()
  }

  async open(path: string, mode: OpenMode): Promise<OpenFile> {
    const boot = this.#boot
    const open = (): OpenFile => this.#open(path, mode, boot)
    return mode === 'create' || mode === 'replace' ? this.#do(`open ${mode} ${basename(path)}`, boot, open) : this.#look(open)
  }

  #open(path: string, mode: OpenMode, boot: number): OpenFile {
    const folder = this.#folder(dirname(path))
    let node = folder.cached.get(basename(path))
    if (node?.kind === 'folder') throw failure('EISDIR', path)
    if (mode === 'create' && node !== undefined) throw failure('EEXIST', path)
    if (node === undefined) {
      if (mode === 'read' || mode === 'write') throw failure('ENOENT', path)
      node = new DiskFile()
      folder.change({ kind: 'link', name: basename(path), node })
    } else if (mode === 'replace') node.change({ kind: 'truncate', length: 0 })
    return this.#handle(node, boot, basename(path))
  }

  #handle(file: DiskFile, boot: number, name: string): OpenFile {
    const write = (bytes: Uint8Array, at: number): number => {
      file.change({ kind: 'write', at, bytes: Buffer.from(bytes) })
      return bytes.length
    }
    return {
      fd: null,
      write: (bytes, at) =>
        this.#do(
          `write ${bytes.length} bytes to ${name}`,
          boot,
          () => write(bytes, at),
          () => write(bytes.subarray(0, Math.max(1, bytes.length >> 1)), at),
        ),
      read: (into, at) =>
        this.#look(() => {
          if (boot !== this.#boot) throw failure('EBADF', name)
          return file.cached.copy(into, 0, at, Math.min(file.cached.length, at + into.length))
        }),
      size: () => this.#look(() => file.cached.length),
      truncate: (length) => this.#do(`truncate ${name}`, boot, () => file.change({ kind: 'truncate', length })),
      datasync: (site) => this.#do(`datasync ${site}`, boot, () => this.#sync(file, site)),
      sync: (site) => this.#do(`sync ${site}`, boot, () => this.#sync(file, site)),
      close: async () => {},
    }
  }

  #sync(node: Node, site: SyncSite): void {
    if (site !== this.ignoredSync) node.sync()
  }

  async syncFolder(path: string, site: SyncSite): Promise<void> {
    return this.#do(`syncFolder ${site}`, this.#boot, () => this.#sync(this.#folder(path), site))
  }

  async rename(from: string, to: string): Promise<void> {
    return this.#do(`rename ${basename(from)} ${basename(to)}`, this.#boot, () => {
      const folder = this.#folder(dirname(from))
      const node = folder.cached.get(basename(from))
      if (node === undefined) throw failure('ENOENT', from)
      folder.change({ kind: 'unlink', name: basename(from) }, { kind: 'link', name: basename(to), node })
    })
  }

  async chmod(path: string, mode: number): Promise<void> {
    return this.#do(`chmod ${basename(path)}`, this.#boot, () => {
      const node = this.#find(path)
      if (node?.kind === 'file') node.mode = mode
    })
  }

  async remove(path: string): Promise<void> {
    return this.#do(`remove ${basename(path)}`, this.#boot, () => {
      const folder = this.#folder(dirname(path))
      if (!folder.cached.has(basename(path))) throw failure('ENOENT', path)
      folder.change({ kind: 'unlink', name: basename(path) })
    })
  }

  async facts(path: string): Promise<FileFacts | null> {
    return this.#look(() => {
      const node = this.#find(path)
      if (node === undefined) return null
      return node.kind === 'folder'
        ? { kind: 'folder', size: 0, mode: 0o755, changed_ms: 0 }
        : { kind: 'file', size: node.cached.length, mode: node.mode, changed_ms: node.changed_ms }
    })
  }

  async list(path: string): Promise<string[]> {
    return this.#look(() => [...this.#folder(path).cached.keys()])
  }

  async makeFolder(path: string): Promise<boolean> {
    return this.#do(`makeFolder ${basename(path)}`, this.#boot, () => {
      const folder = this.#folder(dirname(path))
      if (folder.cached.has(basename(path))) return false
      folder.change({ kind: 'link', name: basename(path), node: new DiskFolder() })
      return true
    })
  }
}

function failure(code: string, what: string): Error {
  return Object.assign(new Error(`${code}: ${what}`), { code })
}

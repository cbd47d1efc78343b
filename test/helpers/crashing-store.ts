/**
 * A store and an archive whose process "dies" at one durable step: that step happens or does not, and from then on nothing
 * does. What is below goes on, as a disk does.
 */
import type { ArchiveStore } from '../../src/ledger/archive.ts'
import type { Store } from '../../src/ledger/store.ts'
import type { EntryUpkeep, UpkeepStep } from '../../src/ledger/upkeep.ts'
import { wrapped } from './wrapped-store.ts'

export class Crashed extends Error {
  override readonly name = 'Crashed'
}

/** Counts durable steps; at the one that was asked for everything ends. */
export class Fuse {
  steps = 0
  /** What each step was. */
  readonly trace: string[] = []
  #at = Infinity
  #isBefore = false
  isBlown = false

  /** The `at`-th step from now on is the last: it is done, or is not. */
  arm(at: number, isBefore: boolean): void {
    this.steps = 0
    this.#at = at
    this.#isBefore = isBefore
  }

  check(): void {
    if (this.isBlown) throw new Crashed('the process has ended')
  }

  async step<Result>(what: string, act: () => Promise<Result>): Promise<Result> {
    this.check()
    this.trace.push(what)
    const isLast = ++this.steps === this.#at
    if (isLast) this.isBlown = true
    if (isLast && this.#isBefore) throw new Crashed(`before: ${what}`)
    const result = await act()
    if (isLast) throw new Crashed(`after: ${what}`)
    return result
  }
}

export function crashingArchive(inner: ArchiveStore, fuse: Fuse): ArchiveStore {
  return {
    location: inner.location,
    write: (name, content) => fuse.step(`write ${name}`, () => inner.write(name, content)),
    remove: (name) => fuse.step(`remove ${name}`, () => inner.remove(name)),
    async *read(name, range) {
      fuse.check()
      yield* inner.read(name, range)
    },
    stat: async (name) => (fuse.check(), inner.stat(name)),
    async *list(prefix) {
      fuse.check()
      yield* inner.list(prefix)
    },
  }
}

async function* stepped(what: string, steps: AsyncIterable<UpkeepStep>, fuse: Fuse): AsyncGenerator<UpkeepStep, void, undefined> {
  const iterator = steps[Symbol.asyncIterator]()
  try {
    for (;;) {
      const next = await fuse.step(what, () => iterator.next())
      if (next.done === true) return
      yield next.value
    }
  } finally {
    await iterator.return?.()
  }
}

function crashingUpkeep(inner: EntryUpkeep, fuse: Fuse): EntryUpkeep {
  return {
    archive: crashingArchive(inner.archive, fuse),
    withhold: (positions, options) => stepped('withhold', inner.withhold(positions, options), fuse),
    restore: (entries) => stepped('restore', inner.restore(entries), fuse),
    reclaim: () => fuse.step('reclaim', () => inner.reclaim()),
    ...(inner.lock === undefined ? {} : { lock: () => inner.lock!() }),
  }
}

/** Closing it leaves what is below open. */
export function crashingStore(inner: Store, fuse: Fuse): Store {
  const store = wrapped(inner)
  return Object.defineProperties(store, {
    ...Object.getOwnPropertyDescriptors({
      upkeep: crashingUpkeep(inner.upkeep!, fuse),
      append: (...args: Parameters<Store['append']>) => fuse.step('append', () => inner.append(...args)),
      close: async () => {},
    }),
  })
}

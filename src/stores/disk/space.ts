/** How much room is left on a file system, and a word to the owner before there is none. */
import { stat, statfs } from 'node:fs/promises'
import type { LedgerWarning } from '../../ledger/warning.ts'

/** Unless the owner says otherwise; less on a small file system. */
const WARN_BELOW_BYTES = 1024 * 1024 * 1024
/** Of the whole file system. */
const WARN_BELOW_SHARE = 0.1

export interface DiskSpace {
  /** What this user may still write; root may write more where some is kept for it. */
  readonly available_bytes: number
  readonly total_bytes: number
}

/** Null where it can't be told: the path is not there, or the file system has no figures. */
export async function spaceAt(path: string): Promise<DiskSpace | null> {
  try {
    const { bavail, blocks, bsize } = await statfs(path)
    // Some network file systems say 0 of 0.
    return blocks === 0 ? null : { available_bytes: bavail * bsize, total_bytes: blocks * bsize }
  } catch {
    return null
  }
}

/** Watches the file systems that some paths are on. It looks only when it is told to. */
export class DiskWatch {
  readonly #paths: readonly string[]
  readonly #below: number | null
  readonly #warn: (warning: LedgerWarning) => void
  /** Those that the owner was told of, and that had no more room since. */
  readonly #told = new Set<string>()

  /** @param warnBelowBytes 0: never; null: 1 GiB, or a tenth of the file system where that is less */
  constructor(paths: readonly string[], warnBelowBytes: number | null, warn: (warning: LedgerWarning) => void) {
    this.#paths = paths
    this.#below = warnBelowBytes
    this.#warn = warn
  }

  /** Tells the owner where it is time to. Resolves to the bytes that are left until then, of the path that has fewest; 0 behind it. */
  async look(): Promise<number> {
    let nearest = Infinity
    const seen = new Set<number>()
    for (const path of this.#paths) {
      const device = await stat(path).then(
        ({ dev }) => dev,
        () => null,
      )
      // One file system is told once, whatever lies on it.
      if (device === null || seen.has(device)) continue
      seen.add(device)
      const space = await spaceAt(path)
      if (space !== null) nearest = Math.min(nearest, this.#judge(path, space))
    }
    return nearest
  }

  #judge(path: string, { available_bytes, total_bytes }: DiskSpace): number {
    const warn_below_bytes = this.#below ?? Math.min(WARN_BELOW_BYTES, Math.floor(total_bytes * WARN_BELOW_SHARE))
    if (available_bytes >= warn_below_bytes) {
      this.#told.delete(path)
      return available_bytes - warn_below_bytes
    }
    if (!this.#told.has(path)) {
      this.#told.add(path)
      this.#warn({
        code: 'disk_nearly_full',
        message: `${available_bytes} bytes are left on the file system of ${path}, fewer than ${warn_below_bytes}: free some space. When none is left, appends are refused with disk_full`,
        disk: { path, available_bytes, warn_below_bytes },
      })
    }
    return 0
  }
}

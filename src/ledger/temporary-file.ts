/** Room outside memory: a file that is gone when it is closed, and on POSIX also when the process is killed. */
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { TemporarySpace } from '../verify/id-log.ts'

/** Fills `into` from the file of a `descriptor`, in whichever thread. */
export function readTemporary(descriptor: number, position: number, into: Uint8Array): void {
  for (let done = 0; done < into.length;) {
    const read = readSync(descriptor, into, done, into.length - done, position + done)
    if (read === 0) throw new Error(`the temporary file ends at ${position + done}`)
    done += read
  }
}

export class TemporaryFile implements TemporarySpace {
  readonly #folder: string
  readonly #file: number
  #size = 0

  /** @throws Error of the file system where nothing can be made in this folder. */
  constructor(within: string) {
    this.#folder = mkdtempSync(join(within, 'cortex-ledger-'))
    try {
      this.#file = openSync(join(this.#folder, 'ids'), 'wx+', 0o600)
    } catch (error) {
      this.#remove()
      throw error
    }
    // Windows keeps an open file; there it goes with `close`.
    if (process.platform !== 'win32') this.#remove()
  }

  /** Good in each thread of the process until the file is closed. */
  get descriptor(): number {
    return this.#file
  }

  write(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length;) {
      const written = writeSync(this.#file, bytes, done, bytes.length - done, this.#size)
      done += written
      this.#size += written
    }
  }

  read(position: number, into: Uint8Array): void {
    readTemporary(this.#file, position, into)
  }

  close(): void {
    closeSync(this.#file)
    this.#remove()
  }

  #remove(): void {
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 3 })
  }
}

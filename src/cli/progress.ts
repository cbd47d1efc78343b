/** A line on stderr that tells how far long work has come, where somebody watches; it is gone when the work is done. */
import type { Terminal } from './terminal.ts'

const EVERY_MS = 100
/** Work that is over sooner shows nothing: a line that flashes is only noise. */
const QUIET_MS = 400

export class Progress {
  readonly #watched: boolean
  readonly #terminal: Terminal
  readonly #began = performance.now()
  #shown = 0

  constructor(terminal: Terminal) {
    this.#terminal = terminal
    this.#watched = terminal.stderrIsTerminal
  }

  /** @param text made only when it is shown */
  update(text: (elapsed_ms: number) => string): void {
    if (!this.#watched) return
    const now = performance.now()
    if (now - this.#began < QUIET_MS || now - this.#shown < EVERY_MS) return
    this.#shown = now
    this.#terminal.write(`\r${this.#terminal.stderrColours.dim(text(now - this.#began))}\x1b[K`)
  }

  clear(): void {
    if (this.#shown > 0) this.#terminal.write('\r\x1b[K')
    this.#shown = 0
  }
}

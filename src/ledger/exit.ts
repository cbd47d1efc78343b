/** One `exit` listener for all open ledgers, so that a hundred of them are no hundred listeners. */

interface Drainable {
  /** Records that wait or are being written. */
  readonly pending: number
  drainAtExit(): void
}

const open = new Set<Drainable>()
let listening = false

function drainAll(): void {
  for (const writer of open) {
    const { pending } = writer
    try {
      writer.drainAtExit()
    } catch (error) {
      // Nobody is left who could hear of it but whoever reads the terminal.
      process.stderr.write(
        `cortex-ledger: records that waited at exit were not written: ${error instanceof Error ? error.message : String(error)} (at most ${pending})\n`,
      )
    }
  }
}

/** What the writer still holds is written when the process exits, also by `process.exit()`. */
export function drainAtExit(writer: Drainable): void {
  open.add(writer)
  if (listening) return
  listening = true
  process.on('exit', drainAll)
}

export function forgetAtExit(writer: Drainable): void {
  open.delete(writer)
}

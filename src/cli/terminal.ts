/** The terminal, or what stands in its place: two streams, their colours, their width, and the exit code to come. */
import type { WriteStream } from 'node:tty'
import pc from 'picocolors'

export type Colours = ReturnType<typeof pc.createColors>

/** Whoever read our output has gone, as `head` does when it has enough. No error: the command just ends. */
export class OutputClosed extends Error {
  override readonly name = 'OutputClosed'
}

type Environment = { readonly [name: string]: string | undefined }

/** NO_COLOR (https://no-color.org) wins over FORCE_COLOR; without either, a terminal gets colour and a file does not. */
export function wantsColour(environment: Environment, isTerminal: boolean | undefined): boolean {
  const { NO_COLOR, FORCE_COLOR, TERM } = environment
  if (NO_COLOR !== undefined && NO_COLOR !== '') return false
  if (FORCE_COLOR !== undefined) return FORCE_COLOR !== '0' && FORCE_COLOR !== 'false'
  // A stream that is no terminal has no `isTTY` at all, and for undefined picocolors decides by itself: with colour where CI is set.
  return isTerminal === true && TERM !== 'dumb'
}

/** Characters a line may have; Infinity where nobody folds lines (a file, a pipe). */
function widthOf(stream: WriteStream, environment: Environment): number {
  const asked = Number(environment['COLUMNS'])
  if (Number.isInteger(asked) && asked > 0) return asked
  return stream.isTTY && stream.columns > 0 ? stream.columns : Infinity
}

/** Bytes that are gathered before they are handed to the stream: one system call a line would be most of the time of an export. */
const GATHERED_MAX = 64 * 1024

export class Terminal {
  /** Colours for stdout, and for stderr: one may be a file while the other is not. */
  readonly colours: Colours
  readonly stderrColours: Colours
  readonly width: number
  /** What the process ends with, unless an error says otherwise. */
  exitCode = 0
  #gathered = ''
  #closed = false

  constructor(environment: Environment = process.env) {
    this.colours = pc.createColors(wantsColour(environment, process.stdout.isTTY))
    this.stderrColours = pc.createColors(wantsColour(environment, process.stderr.isTTY))
    this.width = widthOf(process.stdout, environment)
    // A failed write is told to whoever waits for it (`flush`); without a listener it would end the process as well.
    process.stdout.on('error', () => {})
    process.stderr.on('error', () => {})
  }

  get isInteractive(): boolean {
    return process.stdout.isTTY
  }

  get stderrIsTerminal(): boolean {
    return process.stderr.isTTY && process.env['TERM'] !== 'dumb'
  }

  /**
   * One or more lines to stdout. Resolves at once while little is gathered, else when the reader has taken it.
   * @throws OutputClosed when the reader has gone
   */
  async print(text: string): Promise<void> {
    this.#gathered += `${text}\n`
    if (this.#gathered.length >= GATHERED_MAX) await this.flush()
  }

  /** @throws OutputClosed, or the system's error, such as ENOSPC when stdout is a file on a full disk */
  async flush(): Promise<void> {
    const text = this.#gathered
    this.#gathered = ''
    if (this.#closed) throw new OutputClosed()
    if (text === '') return
    await new Promise<void>((resolve, reject) => {
      process.stdout.write(text, (error) => {
        if (error === null || error === undefined) return resolve()
        this.#closed = true
        reject((error as NodeJS.ErrnoException).code === 'EPIPE' ? new OutputClosed() : error)
      })
    })
  }

  /** One or more lines to stderr: what is said about the work, never its result. */
  say(text: string): void {
    process.stderr.write(`${text}\n`)
  }
}

/** The terminal, or what stands in its place: two streams, their colours, their width, and the exit code to come. */
import type { Readable, Writable } from 'node:stream'
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

/** A stream that is no terminal has none of these. */
type Output = Writable & { readonly isTTY?: boolean; readonly columns?: number }

/** What a command reads and writes: `process`, or what another program puts in its place. */
export interface Streams {
  readonly stdin: Readable
  readonly stdout: Output
  readonly stderr: Output
}

/** Characters a line may have; Infinity where nobody folds lines (a file, a pipe). */
function widthOf(stream: Output, environment: Environment): number {
  const asked = Number(environment['COLUMNS'])
  if (Number.isInteger(asked) && asked > 0) return asked
  const { isTTY, columns = 0 } = stream
  return isTTY === true && columns > 0 ? columns : Infinity
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
  readonly #streams: Streams
  readonly #environment: Environment
  #gathered = ''
  #closed = false

  constructor(streams: Streams = process, environment: Environment = process.env) {
    const { stdout, stderr } = streams
    this.#streams = streams
    this.#environment = environment
    this.colours = pc.createColors(wantsColour(environment, stdout.isTTY))
    this.stderrColours = pc.createColors(wantsColour(environment, stderr.isTTY))
    this.width = widthOf(stdout, environment)
    // A failed write is told to whoever waits for it (`flush`); without a listener it would end the process as well.
    stdout.on('error', () => {})
    stderr.on('error', () => {})
  }

  get stderrIsTerminal(): boolean {
    return this.#streams.stderr.isTTY === true && this.#environment['TERM'] !== 'dumb'
  }

  /** Asked for only by who reads it: a pipe that is opened keeps the process alive until it ends. */
  get stdin(): Readable {
    return this.#streams.stdin
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
      this.#streams.stdout.write(text, (error) => {
        if (error === null || error === undefined) return resolve()
        this.#closed = true
        reject((error as NodeJS.ErrnoException).code === 'EPIPE' ? new OutputClosed() : error)
      })
    })
  }

  /** One or more lines to stderr: what is said about the work, never its result. */
  say(text: string): void {
    this.write(`${text}\n`)
  }

  /** Text as it is to stderr. */
  write(text: string): void {
    this.#streams.stderr.write(text)
  }
}

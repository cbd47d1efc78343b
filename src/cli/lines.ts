/** Lines of JSON from a file or a pipe: split at LF, decoded strictly, bounded. */
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import type { Terminal } from './terminal.ts'

/** An entry of 16 MiB whose characters are all spelled as \uXXXX is six times that on its line. */
export const LINE_BYTES_MAX = 100 * 1024 * 1024
const LF = 0x0a

/** A line that is no text: what is wrong with it. */
export class BadLine extends Error {
  override readonly name = 'BadLine'
}

export interface InputLine {
  /** From 1. */
  readonly number: number
  readonly text: string | BadLine
  readonly bytes: number
}

/** Opens before anything else happens, so that a wrong path is told before a ledger is made. */
export async function openInput(path: string | undefined, { stdin }: Pick<Terminal, 'stdin'>): Promise<Readable> {
  if (path === undefined || path === '-') return stdin
  const handle = await open(path, 'r')
  if ((await handle.stat()).isDirectory()) {
    await handle.close()
    throw Object.assign(new Error(`EISDIR: ${path} is a directory, and records come from a file of lines`), {
      code: 'EISDIR',
      syscall: 'read',
    })
  }
  return createReadStream(path, { fd: handle })
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function decode(bytes: Uint8Array, number: number): string | BadLine {
  if (number === 1 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) {
    return new BadLine('the file begins with a byte order mark (BOM): save it as UTF-8 without one')
  }
  try {
    return decoder.decode(bytes)
  } catch {
    return new BadLine('the line is not valid UTF-8')
  }
}

/** Every line, in chunks as they arrive; the last one need not be ended. An overlong line ends the input. */
export async function* readLines(input: AsyncIterable<Uint8Array>): AsyncGenerator<InputLine, void, undefined> {
  let number = 0
  let parts: Uint8Array[] = []
  let length = 0
  const take = (last: Uint8Array): InputLine => {
    const bytes = parts.length === 0 ? last : Buffer.concat([...parts, last])
    parts = []
    length = 0
    number++
    return { number, text: decode(bytes, number), bytes: bytes.length }
  }
  for await (const chunk of input) {
    let start = 0
    for (let end = chunk.indexOf(LF, start); end !== -1; end = chunk.indexOf(LF, start)) {
      yield take(chunk.subarray(start, end))
      start = end + 1
    }
    if (start === chunk.length) continue
    parts.push(start === 0 ? chunk : chunk.subarray(start))
    length += chunk.length - start
    if (length > LINE_BYTES_MAX) {
      yield {
        number: number + 1,
        text: new BadLine(`the line is over ${LINE_BYTES_MAX} bytes: keep large content elsewhere and record its digest`),
        bytes: length,
      }
      return
    }
  }
  if (length > 0) yield take(new Uint8Array(0))
}

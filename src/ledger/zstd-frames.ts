/** Follows the frames of a zstd stream: RFC 8878, 3.1. */
export const ZSTD_MAGIC = 0xfd2fb528
/** The magic number of skippable frames, without its last four bits: RFC 8878, 3.1.2. */
const SKIPPABLE_MAGIC = 0x184d2a5

/** A part of a frame: so many bytes, whose value matters or not. */
interface Part {
  readonly bytes: number
  readonly isNumber: boolean
  /** The first of a frame. */
  readonly isFirst: boolean
}

const number = (bytes: number, isFirst = false): Part => ({ bytes, isNumber: true, isFirst })
const passed = (bytes: number): Part => ({ bytes, isNumber: false, isFirst: false })

/** The parts of frame after frame; it is told the value of each, little-endian, where that matters. */
function* partsOfFrames(): Generator<Part, never, number> {
  for (;;) {
    const magic = yield number(4, true)
    if (magic >>> 4 === SKIPPABLE_MAGIC) {
      yield passed(yield number(4))
      continue
    }
    if (magic !== ZSTD_MAGIC) throw new Error('no zstd frame begins where one should')
    const descriptor = yield number(1)
    const isSingle = (descriptor & 0x20) !== 0
    const sizeBytes = [isSingle ? 1 : 0, 2, 4, 8][descriptor >> 6] as number
    yield passed((isSingle ? 0 : 1) + ([0, 1, 2, 4][descriptor & 3] as number) + sizeBytes)
    let block: number
    do {
      block = yield number(3)
      // Of a run of one byte there is that byte only.
      yield passed(((block >> 1) & 3) === 1 ? 1 : block >> 3)
    } while ((block & 1) === 0)
    if ((descriptor & 4) !== 0) yield passed(4)
  }
}

/**
 * Cuts a zstd stream where its frames end. Node's decompressor needs that: it drops what a chunk has behind the end of a
 * frame, and up to Node.js 22 it takes a stream that was cut for one that ended.
 */
export class ZstdFrames {
  readonly #parts = partsOfFrames()
  #part = this.#parts.next(0).value
  #have = 0
  #value = 0

  /** False in the middle of a frame: a stream that ends there was cut. */
  get isBetween(): boolean {
    return this.#part.isFirst && this.#have === 0
  }

  /** The chunk, cut where frames end. @throws Error where something else than a frame begins */
  *pieces(chunk: Uint8Array): Generator<Uint8Array, void, undefined> {
    let start = 0
    for (let at = 0; at < chunk.length;) {
      at = this.#take(chunk, at)
      if (!this.isBetween) continue
      yield chunk.subarray(start, at)
      start = at
    }
    if (start < chunk.length) yield chunk.subarray(start)
  }

  /** Takes what the chunk has of the part; where that goes on from there. */
  #take(chunk: Uint8Array, at: number): number {
    const end = Math.min(chunk.length, at + this.#part.bytes - this.#have)
    if (this.#part.isNumber) for (let i = at; i < end; i++) this.#value += (chunk[i] as number) * 2 ** (8 * (this.#have + i - at))
    this.#have += end - at
    while (this.#have === this.#part.bytes) {
      const value = this.#value
      this.#have = this.#value = 0
      this.#part = this.#parts.next(value).value
    }
    return end
  }
}

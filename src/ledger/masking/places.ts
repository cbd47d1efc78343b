/** Places whose values are masked whole, whatever they are: by JSON pointers and by the names of members. */

interface Step {
  readonly token: string
  readonly next: Step | null
}

/** What is ahead of a place: the pointers that lead through it. */
export type Ahead = readonly Step[]
const NOTHING: Ahead = []

/** The name in the mark of a value that a pointer, or its member's name, tells. */
export type PlaceRule = 'pointer' | 'member'

/** @throws RangeError */
function parsePointer(pointer: string): Step {
  if (!/^(?:\/(?:[^~/]|~[01])*)+$/.test(pointer))
    throw new RangeError(
      `${JSON.stringify(pointer)} is no JSON pointer to a part of the data: write /parsed_data/customer, * for any key or item`,
    )
  const tokens = pointer
    .slice(1)
    .split('/')
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'))
  let step: Step | null = null
  for (const token of tokens.toReversed()) step = { token, next: step }
  return step as Step
}

export class Places {
  readonly root: Ahead
  readonly #members: ReadonlySet<string>

  /**
   * @param pointers RFC 6901, with `*` for any key or item
   * @param members names, whatever their case
   * @throws RangeError for a pointer that is none
   */
  constructor(pointers: readonly string[], members: readonly string[]) {
    this.root = pointers.length === 0 ? NOTHING : pointers.map(parsePointer)
    this.#members = new Set(members.map((name) => name.toLowerCase()))
  }

  /** By what the value of this member, or this item, is masked whole; else what is ahead of it. */
  into(ahead: Ahead, key: string, isItem: boolean): PlaceRule | Ahead {
    let through: Step[] | null = null
    for (const { token, next } of ahead) {
      if (token !== '*' && token !== key) continue
      if (next === null) return 'pointer'
      ;(through ??= []).push(next)
    }
    if (!isItem && this.#members.size > 0 && this.#members.has(key.toLowerCase())) return 'member'
    return through ?? NOTHING
  }
}

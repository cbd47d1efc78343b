/**
 * Finders tell where in a text something to be masked stands. A text can be 16 MiB and hostile, so all of them take
 * time in proportion to its length: what a pattern repeats without limit can't begin anew at each character (a look
 * behind stands before it, or the repeated characters can't begin it), and no repetition has another one inside.
 */

/** Start and end in UTF-16 code units, as `slice` takes them. */
export type Span = readonly [start: number, end: number]

/** The spans, ascending, none over another. */
export type Finder = (text: string) => readonly Span[]

const NONE: readonly Span[] = []

/** What a name can't begin behind. */
const WORD_BEFORE = '(?<![A-Za-z0-9])'
/** A quoted text or an address may stand inside another text: there `\n` and `%20` end a word, and are no letters. */
const ESCAPE_BEFORE = String.raw`(?<=\\[bfnrt]|%[0-9A-Fa-f]{2})`

/** Source of a pattern: here no word goes on. */
export const EDGE = `(?:${WORD_BEFORE}|${ESCAPE_BEFORE})`

/**
 * `[…]{8,}` as `[…]{8}[…]*`, which is the same: V8 keeps a place to go back to for each repetition of the first, and
 * runs out of memory for them at a few million (RangeError), which would keep the record out. Of the second it keeps none.
 */
function unlimited({ source, flags }: RegExp): RegExp {
  return new RegExp(source.replaceAll(/(\[[^\]]+\])\{(\d+),\}/g, '$1{$2}$1*'), flags)
}

/**
 * What a pattern finds. Where it has a group, the group alone is the secret and stands at the match's end.
 * @param given with the flag g
 * @param needs a text without it is not looked at
 */
export function byPattern(given: RegExp, needs: string | null = null, accept: (found: string) => boolean = () => true): Finder {
  const pattern = unlimited(given)
  return (text) => {
    if (needs !== null && !text.includes(needs)) return NONE
    const spans: Span[] = []
    pattern.lastIndex = 0
    for (let match = pattern.exec(text); match !== null; match = pattern.exec(text)) {
      const [whole, secret = whole] = match
      const end = match.index + whole.length
      if (whole === '') pattern.lastIndex++
      else if (accept(secret)) spans.push([end - secret.length, end])
    }
    return spans
  }
}

/**
 * What `find` finds where a text has what `hint` says, which is simple and told fast. A look behind at each character, as
 * the patterns have it, takes several times as long, and most texts have nothing to be found.
 * @param hint without the flags g and y
 */
export function where(hint: RegExp, find: Finder): Finder {
  return (text) => (hint.test(text) ? find(text) : NONE)
}

/** What any of these find; where two overlap, the span that begins first, and of those the longest. */
export function byAnyOf(...finders: readonly Finder[]): Finder {
  return (text) => {
    const found = finders.flatMap((find) => find(text))
    if (found.length < 2) return found
    let last = 0
    return found
      .toSorted(([a, aEnd], [b, bEnd]) => a - b || bEnd - aEnd)
      .filter(([start, end]) => {
        if (start < last) return false
        last = end
        return true
      })
  }
}

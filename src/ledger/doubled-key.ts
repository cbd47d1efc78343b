/** A key that stands twice in one object of a JSON text, which `JSON.parse` does not tell. */

// Between two of these nothing decides: strings, the only thing that can hold one by chance, are stepped over.
const STRUCTURE = /["{}[\],]/g

/** Where the string that begins before `from` ends: the place of its closing quote. */
function closingQuote(text: string, from: number): number {
  for (let at = text.indexOf('"', from); ; at = text.indexOf('"', at + 1)) {
    let slash = at - 1
    while (text[slash] === '\\') slash--
    if ((at - 1 - slash) % 2 === 0) return at
  }
}

interface Level {
  /** Keys so far, or null in an array. */
  readonly keys: Set<string> | null
  wantsKey: boolean
  name: string
  items: number
}

/**
 * The path of a key that an object of this text has twice, or null. `JSON.parse` would silently keep the last one,
 * and what is recorded would not be what was given. @param text valid JSON
 */
export function doubledKey(text: string): string | null {
  const levels: Level[] = []
  STRUCTURE.lastIndex = 0
  for (let match = STRUCTURE.exec(text); match !== null; match = STRUCTURE.exec(text)) {
    const level = levels.at(-1)
    switch (match[0]) {
      case '{':
        levels.push({ keys: new Set(), wantsKey: true, name: '', items: 0 })
        break
      case '[':
        levels.push({ keys: null, wantsKey: false, name: '0', items: 0 })
        break
      case ',':
        if (level === undefined) break
        if (level.keys === null) level.name = String(++level.items)
        else level.wantsKey = true
        break
      case '"': {
        const end = closingQuote(text, match.index + 1)
        STRUCTURE.lastIndex = end + 1
        if (level === undefined || !level.wantsKey || level.keys === null) break
        const key = JSON.parse(text.slice(match.index, end + 1)) as string
        level.wantsKey = false
        level.name = key
        if (level.keys.has(key)) return levels.map(({ name }) => `/${name}`).join('')
        level.keys.add(key)
        break
      }
      default:
        levels.pop()
    }
  }
  return null
}

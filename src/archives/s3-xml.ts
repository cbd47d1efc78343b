/**
 * The XML that S3 answers with: elements and text, nothing else of XML. It comes from a network, so it has limits, a
 * document type is refused, and each byte is looked at once.
 */

export interface XmlElement {
  /** Without a prefix of a name space. */
  readonly name: string
  readonly children: readonly XmlElement[]
  /** Of this element itself, entities resolved. */
  readonly text: string
}

/** Characters. A page of 1,000 listed objects with names of 1,024 characters takes some 1.5 million. */
const CHARACTERS_MAX = 8 * 1024 * 1024
const DEPTH_MAX = 16
const ELEMENTS_MAX = 100_000

const ENTITIES: { readonly [name: string]: string } = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

function entity(name: string): string | null {
  const known = Object.hasOwn(ENTITIES, name) ? ENTITIES[name] : undefined
  if (known !== undefined) return known
  const digits = /^#(?:x([0-9a-f]{1,6})|([0-9]{1,7}))$/i.exec(name)
  if (digits === null) return null
  const point = digits[1] === undefined ? Number(digits[2]) : Number.parseInt(digits[1], 16)
  return point <= 0x10ffff ? String.fromCodePoint(point) : null
}

/** Null where an `&` begins no entity that is known. */
function unescaped(text: string): string | null {
  let out = ''
  for (let at = 0; ;) {
    const ampersand = text.indexOf('&', at)
    if (ampersand === -1) return out + text.slice(at)
    // The longest is `&#1114111;`.
    const name = text.slice(ampersand + 1, ampersand + 10).split(';', 1)[0] as string
    const character = text[ampersand + 1 + name.length] === ';' ? entity(name) : null
    if (character === null) return null
    out += text.slice(at, ampersand) + character
    at = ampersand + name.length + 2
  }
}

interface OpenElement {
  readonly tag: string
  readonly children: XmlElement[]
  text: string
}

const NAME = /^[A-Za-z_][\w.:-]{0,255}$/

/** Behind the tag that begins at `at`: a `>` that stands in no quotes. -1 where there is none. */
function tagEnd(text: string, at: number): number {
  let quote = ''
  for (let i = at; i < text.length; i++) {
    const character = text[i] as string
    if (quote !== '') {
      if (character === quote) quote = ''
    } else if (character === '"' || character === "'") quote = character
    else if (character === '>') return i
  }
  return -1
}

/** Where a declaration or a comment that begins at `at` ends; `at` where none does; -1 where it has no end, or is none that is taken. */
function skipped(text: string, at: number): number {
  for (const [open, close] of [
    ['<?', '?>'],
    ['<!--', '-->'],
  ] as const) {
    if (!text.startsWith(open, at)) continue
    const end = text.indexOf(close, at + open.length)
    return end === -1 ? -1 : end + close.length
  }
  return text.startsWith('<!', at) ? -1 : at
}

/** Elements as they open and close. */
class Tree {
  root: XmlElement | null = null
  #count = 0
  readonly #open: OpenElement[] = []

  /** False where the text stands outside of all elements, or is malformed. */
  text(raw: string): boolean {
    const element = this.#open.at(-1)
    if (element === undefined) return raw.trim() === ''
    const text = unescaped(raw)
    if (text === null) return false
    element.text += text
    return true
  }

  open(tag: string): boolean {
    if (!NAME.test(tag) || this.#open.length === DEPTH_MAX || ++this.#count > ELEMENTS_MAX || this.root !== null) return false
    this.#open.push({ tag, children: [], text: '' })
    return true
  }

  close(tag: string): boolean {
    const element = this.#open.pop()
    if (element === undefined || element.tag !== tag) return false
    const { children, text } = element
    const closed = { name: tag.slice(tag.indexOf(':') + 1), children, text }
    const parent = this.#open.at(-1)
    if (parent === undefined) this.root = closed
    else parent.children.push(closed)
    return true
  }

  get isDone(): boolean {
    return this.#open.length === 0 && this.root !== null
  }
}

/** The root of a document; null where it is none, or uses what S3 does not. */
export function parseXml(text: string): XmlElement | null {
  if (text.length > CHARACTERS_MAX) return null
  const tree = new Tree()
  for (let at = text.charCodeAt(0) === 0xfeff ? 1 : 0; at < text.length;) {
    const next = text.indexOf('<', at)
    if (!tree.text(text.slice(at, next === -1 ? text.length : next))) return null
    if (next === -1) break
    at = skipped(text, next)
    if (at === -1) return null
    if (at > next) continue
    const end = tagEnd(text, next)
    if (end === -1) return null
    const isClosing = text[next + 1] === '/'
    const isEmpty = text[end - 1] === '/' && !isClosing
    const inside = text.slice(next + (isClosing ? 2 : 1), isEmpty ? end - 1 : end)
    const tag = inside.split(/\s/, 1)[0] as string
    if (!isClosing && !tree.open(tag)) return null
    if ((isClosing || isEmpty) && !tree.close(tag)) return null
    at = end + 1
  }
  return tree.isDone ? tree.root : null
}

/** Text of the first child of this name; null where there is none. */
export function childText({ children }: XmlElement, name: string): string | null {
  return children.find((child) => child.name === name)?.text ?? null
}

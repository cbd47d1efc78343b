/** Text for people: safe to show, measured in columns, set in tables. */
import { stripVTControlCharacters } from 'node:util'
import { printable } from '../verify/printable.ts'

export { printable }

const WIDE = /\p{Emoji_Presentation}|[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]/u
const NO_WIDTH = /\p{Mn}|\p{Me}|\p{Cf}/u

function charWidth(char: string): number {
  if (char.length === 1 && char < '\u0300') return 1
  return NO_WIDTH.test(char) ? 0 : WIDE.test(char) ? 2 : 1
}

/** Columns that the text takes on a terminal; colour takes none. */
export function widthOf(text: string): number {
  let width = 0
  for (const char of stripVTControlCharacters(text)) width += charWidth(char)
  return width
}

/** The text in at most `width` columns, with `…` where something was cut. */
export function cut(text: string, width: number): string {
  if (widthOf(text) <= width) return text
  let kept = ''
  let used = 0
  for (const char of text) {
    const more = charWidth(char)
    if (used + more > width - 1) break
    kept += char
    used += more
  }
  return `${kept}…`
}

/** The text in lines of at most `width` columns, broken at blanks; a longer word has a line of its own. */
export function folded(text: string, width: number): string[] {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const last = lines.at(-1)
    if (last === undefined || widthOf(last) + 1 + widthOf(word) > width) lines.push(word)
    else lines[lines.length - 1] = `${last} ${word}`
  }
  return lines
}

export function pad(text: string, width: number, align: 'left' | 'right' = 'left'): string {
  const space = ' '.repeat(Math.max(0, width - widthOf(text)))
  return align === 'right' ? space + text : text + space
}

export interface Column<Row> {
  readonly title: string
  readonly text: (row: Row) => string
  /** Applied after measuring and cutting, so that colour never counts. */
  readonly style?: (text: string, row: Row) => string
  readonly align?: 'left' | 'right'
  /** How narrow it may become; its widest cell if absent. */
  readonly width_min?: number
  /** How it is shortened; by `…` at its end if absent. */
  readonly cut?: (text: string, width: number) => string
  /** What is left out first when even the narrowest does not fit: highest first; never if absent. */
  readonly drop?: number
}

interface Fitted<Row> {
  readonly column: Column<Row>
  readonly cells: readonly string[]
  width: number
}

const GAP = '  '

function totalWidth(columns: readonly Fitted<never>[]): number {
  return columns.reduce((sum, column) => sum + column.width, 0) + GAP.length * Math.max(0, columns.length - 1)
}

/** Narrows the widest that may still be narrowed, one step at a time; then leaves columns out. */
function fit<Row>(columns: Fitted<Row>[], width: number): Fitted<Row>[] {
  const natural = columns.map((column) => column.width)
  for (;;) {
    let over = totalWidth(columns as Fitted<never>[]) - width
    while (over > 0) {
      const widest = columns
        .filter((fitted) => fitted.column.width_min !== undefined && fitted.width > fitted.column.width_min)
        .reduce<Fitted<Row> | null>((most, fitted) => (most === null || fitted.width > most.width ? fitted : most), null)
      if (widest === null) break
      widest.width--
      over--
    }
    if (over <= 0) return columns
    const last = columns
      .filter((fitted) => fitted.column.drop !== undefined)
      .reduce<Fitted<Row> | null>((most, fitted) => (most === null || fitted.column.drop! > most.column.drop! ? fitted : most), null)
    if (last === null) return columns
    const at = columns.indexOf(last)
    columns = columns.filter((fitted) => fitted !== last)
    natural.splice(at, 1)
    columns.forEach((fitted, i) => (fitted.width = natural[i]!))
  }
}

/** A table of lines: titles, then rows. Columns that nothing stands in are left out. */
export function table<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  options: { readonly width: number; readonly title: (text: string) => string },
): string[] {
  const measured: Fitted<Row>[] = columns
    .map((column) => {
      const cells = rows.map((row) => printable(column.text(row)))
      return { column, cells, width: cells.reduce((most, cell) => Math.max(most, widthOf(cell)), widthOf(column.title)) }
    })
    .filter(({ cells }) => cells.some((cell) => cell !== ''))
  const fitted = fit(measured, options.width)
  const line = (cell: (fitted: Fitted<Row>) => [plain: string, style: (text: string) => string]): string =>
    fitted
      .map((one, i) => {
        const [plain, style] = cell(one)
        const short = widthOf(plain) <= one.width ? plain : (one.column.cut ?? cut)(plain, one.width)
        const space = i === fitted.length - 1 && one.column.align !== 'right' ? '' : ' '.repeat(Math.max(0, one.width - widthOf(short)))
        return one.column.align === 'right' ? space + style(short) : style(short) + space
      })
      .join(GAP)
      .trimEnd()
  return [
    line(({ column }) => [column.title, options.title]),
    ...rows.map((row, at) => line(({ column, cells }) => [cells[at]!, (text) => column.style?.(text, row) ?? text])),
  ]
}

/** `1234567` as `1,234,567`. */
export function grouped(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+(?!\d))/g, ',')
}

/** `1 record`, `2 records`. */
export function counted(count: number, noun: string, nouns = `${noun}s`): string {
  return `${grouped(count)} ${count === 1 ? noun : nouns}`
}

/** Bytes as people read them: powers of 1000, three digits. */
export function bytesText(bytes: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB']
  let at = 0
  let value = bytes
  while (value >= 1000 && at < units.length - 1) {
    value /= 1000
    at++
  }
  return at === 0 ? `${value} ${value === 1 ? 'byte' : 'bytes'}` : `${value.toPrecision(3)} ${units[at]}`
}

/**
 * The ledger's one spelling of an instant: RFC 3339 in UTC with exactly six fraction digits, real dates only, so that
 * text order is time order. Source: docs/format.md, "The header".
 */

/** RFC 3339 `date-time`; `t`, `z` and a blank as separator are allowed there (section 5.6). */
const RFC3339 = /^(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:\.(\d+))?(?:([Zz])|([+-])(\d{2}):(\d{2}))$/

const MIN_MS = -62_167_219_200_000 // 0000-01-01T00:00:00.000Z
const MAX_MS = 253_402_300_799_999 // 9999-12-31T23:59:59.999Z

function daysInMonth(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31
}

/** True for a date and time of day that exist; no 24:00 and no second 60. */
export function isRealTime(year: number, month: number, day: number, hour: number, minute: number, second: number): boolean {
  return month >= 1 && month <= 12 && day >= 1 && day <= daysInMonth(year, month) && hour <= 23 && minute <= 59 && second <= 59
}

/** ms since the epoch. Not `Date.UTC`, which takes the years 0 to 99 for 1900 to 1999. */
function epochMs(year: number, month: number, day: number, hour: number, minute: number, second: number): number {
  const date = new Date(0)
  date.setUTCFullYear(year, month - 1, day)
  date.setUTCHours(hour, minute, second)
  return date.getTime()
}

/** The instant that was spelled last: many records come in one ms, and spelling takes 0.4 µs. */
let spelledMs = NaN
let spelledUs = NaN
let spelledText = ''

const SPELLING = '0000-00-00T00:00:00.000000Z'
const ZERO = 0x30

/** Two digits as a number. */
function pair(text: string, at: number): number {
  return (text.charCodeAt(at) - ZERO) * 10 + text.charCodeAt(at + 1) - ZERO
}

/** True for the ledger's spelling of a real instant. (By characters: a regular expression takes five times as long.) */
export function isLedgerTime(text: string): boolean {
  if (text.length !== SPELLING.length) return false
  if (text === spelledText) return true
  for (let at = 0; at < SPELLING.length; at++) {
    const wanted = SPELLING.charCodeAt(at)
    const letter = text.charCodeAt(at)
    if (wanted === ZERO ? letter < ZERO || letter > ZERO + 9 : letter !== wanted) return false
  }
  return isRealTime(pair(text, 0) * 100 + pair(text, 2), pair(text, 5), pair(text, 8), pair(text, 11), pair(text, 14), pair(text, 17))
}

/**
 * µs since the Unix epoch of the ledger's spelling, or null. Exact for the years 1685 to 2255; beyond, a number can't
 * hold every µs and it is the nearest that it holds: compare the texts there.
 */
export function parseTime(text: string): number | null {
  if (!isLedgerTime(text)) return null
  const year = pair(text, 0) * 100 + pair(text, 2)
  const ms = epochMs(year, pair(text, 5), pair(text, 8), pair(text, 11), pair(text, 14), pair(text, 17))
  return ms * 1000 + pair(text, 20) * 10_000 + pair(text, 22) * 100 + pair(text, 24)
}

/** `us` is within the ms, 0 to 999. */
function spell(ms: number, us: number): string {
  if (ms === spelledMs && us === spelledUs) return spelledText
  // `2026-11-22T20:15:33.123Z`: for the years 0000 to 9999 the ISO form has four digits.
  spelledText = `${new Date(ms).toISOString().slice(0, 23)}${us < 10 ? '00' : us < 100 ? '0' : ''}${us}Z`
  spelledMs = ms
  spelledUs = us
  return spelledText
}

/**
 * The ledger's spelling of an instant in µs since the Unix epoch.
 * @throws RangeError unless it is an integer within the years 0000 to 9999.
 */
export function formatTime(us: number): string {
  const ms = Math.floor(us / 1000)
  if (!Number.isInteger(us) || ms < MIN_MS || ms > MAX_MS) {
    throw new RangeError(`a time is an integer of µs since 1970 within the years 0000 to 9999, not ${us}`)
  }
  return spell(ms, us - ms * 1000)
}

/**
 * The ledger's spelling of an instant in ms since the Unix epoch, such as a `Date` holds; exact for every year, which µs
 * in one number are not.
 * @throws RangeError unless it is an integer within the years 0000 to 9999.
 */
export function formatTimeOfMs(ms: number): string {
  if (!Number.isInteger(ms) || ms < MIN_MS || ms > MAX_MS) {
    throw new RangeError(`a time is an integer of ms since 1970 within the years 0000 to 9999, not ${ms}`)
  }
  return spell(ms, 0)
}

/**
 * Any RFC 3339 time with a zone in the ledger's spelling; digits finer than a µs are cut. Null where it is no real
 * instant, has no zone, or leaves the years 0000 to 9999 in UTC.
 */
export function normalizeTime(text: string): string | null {
  if (isLedgerTime(text)) return text
  const match = RFC3339.exec(text)
  if (match === null) return null
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number) as [number, number, number, number, number, number]
  if (!isRealTime(year, month, day, hour, minute, second)) return null
  const zoneHour = Number(match[10] ?? 0)
  const zoneMinute = Number(match[11] ?? 0)
  if (zoneHour > 23 || zoneMinute > 59) return null
  const fraction = (match[7] ?? '').slice(0, 6).padEnd(6, '0')
  const offsetMs = (zoneHour * 60 + zoneMinute) * 60_000 * (match[9] === '-' ? -1 : 1)
  const ms = epochMs(year, month, day, hour, minute, second) + Number(fraction.slice(0, 3)) - offsetMs
  return ms < MIN_MS || ms > MAX_MS ? null : spell(ms, Number(fraction.slice(3)))
}

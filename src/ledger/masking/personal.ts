/** What tells who somebody is, or what they pay with: each by its form, and by its check digits where it has them. */
import { byAnyOf, byPattern, EDGE, where } from './finder.ts'
import type { Finder, Span } from './finder.ts'

// Latin, Greek and Cyrillic letters. Scripts that are written without spaces would take the words before an address for it.
const LETTERS = 'A-Za-z\\u00C0-\\u024F\\u0370-\\u03FF\\u0400-\\u052F\\u1E00-\\u1FFF'
const LOCAL = `${LETTERS}\\u0300-\\u036F0-9._%+&~-`
const LABEL = `[${LETTERS}0-9][${LETTERS}0-9-]{0,62}`

/** RFC 5321 and 6531 as people write them; `%40` for the @ in a URL. */
const address = new RegExp(`(?<![${LOCAL}])[${LOCAL}]+(?:@|%40)(?:${LABEL}\\.){1,8}(?:xn--[A-Za-z0-9-]{1,59}|[${LETTERS}]{2,24})`, 'g')
const atSign = byPattern(address, '@')
const escapedAtSign = byPattern(address, '%40')
const email: Finder = (text) => (text.includes('@') ? atSign(text) : escapedAtSign(text))

/** First digits of card numbers, `from` to `to`, and how many digits they have. Source: ISO/IEC 7812 and the schemes' own tables. */
const CARDS: readonly (readonly [from: string, to: string, lengths: readonly number[]])[] = [
  ['4', '4', [13, 16, 19]], // Visa
  ['51', '55', [16]], // Mastercard
  ['2221', '2720', [16]],
  ['34', '34', [15]], // American Express
  ['37', '37', [15]],
  ['300', '305', [14, 16, 17, 18, 19]], // Diners Club
  ['3095', '3095', [14, 16, 17, 18, 19]],
  ['36', '36', [14, 15, 16, 17, 18, 19]],
  ['38', '39', [14, 16, 17, 18, 19]],
  ['6011', '6011', [16, 17, 18, 19]], // Discover
  ['644', '649', [16, 17, 18, 19]],
  ['65', '65', [16, 17, 18, 19]],
  ['3528', '3589', [16, 17, 18, 19]], // JCB
  ['62', '62', [16, 17, 18, 19]], // UnionPay
  ['81', '82', [16, 17, 18, 19]], // UnionPay, RuPay
  ['60', '60', [16]], // RuPay
  ['508', '508', [16]],
  ['2200', '2204', [16, 17, 18, 19]], // Mir
  ['9792', '9792', [16]], // Troy
  ['5018', '5018', [13, 14, 15, 16, 17, 18, 19]], // Maestro
  ['5020', '5020', [13, 14, 15, 16, 17, 18, 19]],
  ['5038', '5038', [13, 14, 15, 16, 17, 18, 19]],
  ['56', '58', [13, 14, 15, 16, 17, 18, 19]],
  ['6304', '6304', [13, 14, 15, 16, 17, 18, 19]],
  ['67', '67', [13, 14, 15, 16, 17, 18, 19]],
]
const CARD_DIGITS_MIN = 13
const CARD_DIGITS_MAX = 19

/** ISO/IEC 7812-1, annex B. */
function hasLuhnDigit(digits: string): boolean {
  let sum = 0
  for (let i = 0; i < digits.length; i++) {
    const digit = digits.charCodeAt(digits.length - 1 - i) - 0x30
    const weighed = i % 2 === 0 ? digit : 2 * digit
    sum += weighed > 9 ? weighed - 9 : weighed
  }
  return sum % 10 === 0
}

function isCard(digits: string): boolean {
  return (
    CARDS.some(([from, to, lengths]) => {
      const first = digits.slice(0, from.length)
      return first >= from && first <= to && lengths.includes(digits.length)
    }) && hasLuhnDigit(digits)
  )
}

/** Between the groups of a number, as people and word processors write it. */
const SEPARATORS = ' \\u00A0\\u2009\\u202F\\u2010-\\u2013-'
const SEPARATOR = new RegExp(`^[${SEPARATORS}]$`)
/** Not within a word, such as a digest, nor the fraction of a number. */
const NUMBER_BEFORE = `${EDGE}(?<!\\d\\.)`
const NUMBER_BEHIND = '(?![A-Za-z0-9]|\\.\\d)'

const unbroken = byPattern(new RegExp(`${NUMBER_BEFORE}\\d{13,19}${NUMBER_BEHIND}`, 'g'), null, isCard)

const GROUPS_START = new RegExp(`${NUMBER_BEFORE}\\d{4}(?=[${SEPARATORS}]\\d{3})`, 'g')
const GROUP = /\d{1,20}/y
const BEHIND = new RegExp(NUMBER_BEHIND, 'y')

/**
 * Where the longest card ends whose first four digits begin at `start`, or null. Groups as cards are printed, 4-4-4-4 or
 * 4-6-5, with the same between each two: a list of small numbers is no card, whatever its sum.
 */
function endOfGroups(text: string, start: number): number | null {
  let at = start + 4
  let digits = text.slice(start, at)
  let found: number | null = null
  for (const separator = text[at]; text[at] === separator;) {
    GROUP.lastIndex = at + 1
    const group = GROUP.exec(text)?.[0] ?? ''
    digits += group
    at += 1 + group.length
    if (group === '' || digits.length > CARD_DIGITS_MAX) break
    BEHIND.lastIndex = at
    if (digits.length >= CARD_DIGITS_MIN && isCard(digits) && BEHIND.test(text)) found = at
    if (group.length < 3) break
  }
  return found
}

function grouped(text: string): readonly Span[] {
  const spans: Span[] = []
  GROUPS_START.lastIndex = 0
  for (let match = GROUPS_START.exec(text); match !== null; match = GROUPS_START.exec(text)) {
    const end = endOfGroups(text, match.index)
    if (end === null) continue
    spans.push([match.index, end])
    GROUPS_START.lastIndex = end
  }
  return spans
}

const card = where(new RegExp(`\\d{4}(?:\\d{9}|[${SEPARATORS}]\\d{3})`), byAnyOf(unbroken, grouped))

/** Characters of an IBAN by country. Source: the IBAN registry of SWIFT (ISO 13616). */
const IBAN_LENGTHS = new Map(
  (
    'AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18 ' +
    'FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 ' +
    'LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 ' +
    'SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30'
  )
    .split(' ')
    .map((each) => [each.slice(0, 2), Number(each.slice(2))] as const),
)
const IBAN_START = new RegExp(`${EDGE}[A-Za-z]{2}\\d{2}(?=[${SEPARATORS}]?[A-Za-z0-9])`, 'g')
const LETTER_OR_DIGIT = /^[A-Z0-9]$/

/** ISO 7064, MOD 97-10: the first four characters go to the end, and a letter counts as two digits from 10. */
function hasIbanDigits(iban: string): boolean {
  let rest = 0
  for (const character of iban.slice(4) + iban.slice(0, 4)) {
    const value = Number.parseInt(character, 36)
    rest = (rest * (value > 9 ? 100 : 10) + value) % 97
  }
  return rest === 1
}

/** Where the IBAN that begins at `start` ends, or null where none does. */
function endOfIban(text: string, start: number): number | null {
  const length = IBAN_LENGTHS.get(text.slice(start, start + 2).toUpperCase())
  if (length === undefined) return null
  let iban = ''
  let at = start
  for (; iban.length < length; at++) {
    const character = (text[at] ?? '').toUpperCase()
    if (LETTER_OR_DIGIT.test(character)) iban += character
    else if (!SEPARATOR.test(character) || !LETTER_OR_DIGIT.test((text[at + 1] ?? '').toUpperCase())) return null
  }
  return /^[A-Za-z0-9]/.test(text.slice(at, at + 1)) || !hasIbanDigits(iban) ? null : at
}

function iban(text: string): readonly Span[] {
  const spans: Span[] = []
  IBAN_START.lastIndex = 0
  for (let match = IBAN_START.exec(text); match !== null; match = IBAN_START.exec(text)) {
    const end = endOfIban(text, match.index)
    if (end === null) continue
    spans.push([match.index, end])
    IBAN_START.lastIndex = end
  }
  return spans
}

/** Of the United States, as it is written: the ranges that are never given out are none. */
const ssn = where(
  /\d{3}[- ]\d\d[- ]\d{4}/,
  byPattern(
    new RegExp(`${EDGE}(?<!\\d-)(?!000|666|9)(?:\\d{3}-(?!00)\\d\\d-|\\d{3} (?!00)\\d\\d )(?!0000)\\d{4}(?![A-Za-z0-9]|-\\d)`, 'g'),
  ),
)

const phone = where(
  /[+0][1-9]|\d\d\d[) .-]/,
  byAnyOf(
    // ITU-T E.164: with a + or 00, at most 15 digits.
    byPattern(/(?<![\w+])(?:\+|00)[1-9](?:[ ()./\u00A0-]{0,3}\d){7,14}(?!\d)/g),
    // North American.
    byPattern(/(?<![\w+.-])(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .-])[2-9]\d\d[ .-]\d{4}(?![\w-])/g),
  ),
)

export const PERSONAL = { email, iban: where(/[A-Za-z]{2}\d{2}/, iban), card, ssn, phone } as const satisfies Record<string, Finder>

/** Decimal numbers added exactly: money must not change by a rounding of binary fractions. */

const DECIMAL = /^(-?)(\d{1,30})(?:\.(\d{1,30}))?$/
/** What JavaScript writes for very small and very large numbers. */
const EXPONENT = /^(-?)(\d)(?:\.(\d+))?e([+-]\d+)$/

interface Decimal {
  readonly units: bigint
  /** Digits behind the point. */
  readonly scale: number
}

function readDecimal(value: string | number): Decimal | null {
  const text = typeof value === 'number' ? String(value) : value
  const plain = DECIMAL.exec(text)
  if (plain !== null) {
    const [, sign, whole = '', fraction = ''] = plain
    return { units: BigInt(`${sign}${whole}${fraction}`), scale: fraction.length }
  }
  const match = typeof value === 'number' ? EXPONENT.exec(text) : null
  if (match === null) return null
  const [, sign, whole = '', fraction = '', exponent] = match
  const scale = fraction.length - Number(exponent)
  if (scale < 0 || scale > 40) return null
  return { units: BigInt(`${sign}${whole}${fraction}`), scale }
}

/** A sum of decimal numbers. */
export class DecimalSum {
  #units = 0n
  #scale = 0

  /**
   * Adds decimal text (`12`, `-0.0375`), or a number as JSON spells it.
   * @returns false, and adds nothing, for anything else: text with an exponent or more than 30 digits before or behind the point
   */
  add(value: string | number): boolean {
    const decimal = readDecimal(value)
    if (decimal === null) return false
    this.#addUnits(decimal.units, decimal.scale)
    return true
  }

  #addUnits(units: bigint, scale: number): void {
    if (scale > this.#scale) {
      this.#units *= 10n ** BigInt(scale - this.#scale)
      this.#scale = scale
    }
    this.#units += units * 10n ** BigInt(this.#scale - scale)
  }

  /** Without zeros at the end of the fraction: `0.3`, `12`, `-1.05`. */
  toString(): string {
    const sign = this.#units < 0n ? '-' : ''
    const digits = String(this.#units < 0n ? -this.#units : this.#units).padStart(this.#scale + 1, '0')
    const whole = digits.slice(0, digits.length - this.#scale)
    const fraction = digits.slice(digits.length - this.#scale).replace(/0+$/, '')
    return `${sign}${whole}${fraction === '' ? '' : `.${fraction}`}`
  }
}

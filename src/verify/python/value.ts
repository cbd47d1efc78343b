/**
 * What Python's `json.loads` makes of a text, without loss: an `int` is a bigint, a `float` a number, a `dict` a Map,
 * which keeps the order of insertion and any key (an object would put 9 before 10 and lose `__proto__`).
 */
export type PythonValue = null | boolean | bigint | number | string | readonly PythonValue[] | PythonDict
export type PythonDict = ReadonlyMap<string, PythonValue>

/** The exceptions that Python's verification of a ledger can raise. */
export type PythonException =
  | 'UnicodeDecodeError'
  | 'JSONDecodeError'
  | 'ValueError'
  | 'RecursionError'
  | 'TypeError'
  | 'KeyError'
  | 'UnicodeEncodeError'

/** Where Python would have raised. */
export class PythonError extends Error {
  override readonly name = 'PythonError'
  readonly exception: PythonException

  constructor(exception: PythonException, reason: string) {
    super(reason)
    this.exception = exception
  }
}

/** Limits of the Python that is asked; each is inclusive, Infinity for none. */
export interface PythonLimits {
  /** Objects and arrays within each other that `json.loads` reads. */
  readonly loads_depth_max: number
  /** The same for `json.dumps` where the hash is computed. */
  readonly dumps_depth_max: number
  /** Digits of an integer (CVE-2020-10735). */
  readonly int_digits_max: number
}

/**
 * CPython 3.7 to 3.11 where a script's top level calls `verify_ledger_integrity`. Each level takes one from the
 * recursion limit of 1,000, as does each Python function on the way: 5 to the scanner, 6 to the encoder, and 1 for the
 * call of either. Deeper callers (a test runner) leave less. From 3.12 on, the limit is another and not of the
 * language: measured 1,497 in 3.12.1 and 9,998 in 3.13.0, both for either.
 */
export const PYTHON_3_11: PythonLimits = { loads_depth_max: 994, dumps_depth_max: 993, int_digits_max: 4300 }

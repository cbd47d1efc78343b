/** The visible marks that masking leaves, such as `[masked:email]`. */

/** Of a pattern or a rule: it stands in the mark and in the count. */
export const MARK_NAME = /^[a-z][a-z0-9_]{0,39}$/

export function markOf(name: string): string {
  return `[masked:${name}]`
}

/** Splits a text at the marks of these names: what was not masked at the even places, the marks at the odd ones. */
export function marksOf(names: Iterable<string>): RegExp {
  return new RegExp(`(\\[masked:(?:${[...names].join('|')})\\])`)
}

/** The one member of what stands for an object that was masked whole. */
export const MASKED_MEMBER = 'masked'

/** Text from a ledger for people's eyes: safe to show on a terminal and on a page. */

// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const STEERING = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g

/**
 * Text from a ledger with everything made visible that could steer a terminal or turn text around: control characters
 * (C0, DEL, C1), bidirectional overrides, invisible marks. What agents write is not to be trusted by whoever reads it.
 */
export function printable(text: string, options: { readonly lines?: boolean } = {}): string {
  return text.replace(STEERING, (char) => {
    if (options.lines === true && (char === '\n' || char === '\t')) return char
    if (char === '\n') return '\\n'
    if (char === '\t') return '\\t'
    if (char === '\r') return '\\r'
    return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
}

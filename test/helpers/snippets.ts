/** The fenced code blocks of a Markdown text, for tests that run them. */

export interface Snippet {
  readonly language: string
  readonly code: string
  /** 1-based line of the opening fence. */
  readonly line: number
  /** The reason given in `<!-- no-test: reason -->` before the block, or null. */
  readonly skipped: string | null
}

const FENCE = /(?:<!-- no-test: ([^\n]+?) -->\n+)?^```(\w+)[^\n]*\n([\s\S]*?)^```$/gm

export function snippetsOf(markdown: string): Snippet[] {
  return [...markdown.matchAll(FENCE)].map((match) => {
    const [whole, skipped, language, code] = match
    const fence = match.index + whole.indexOf('```')
    return {
      language: language as string,
      code: code as string,
      line: markdown.slice(0, fence).split('\n').length,
      skipped: skipped ?? null,
    }
  })
}

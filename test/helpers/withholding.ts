/** Takes entries out of a closed JSONL ledger, as erasing does: the line's second form. */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export function withhold(folder: string, fits: (header: { readonly [key: string]: unknown }) => boolean): void {
  const segments = join(folder, 'segments')
  let taken = 0
  for (const name of readdirSync(segments)) {
    const lines = readFileSync(join(segments, name), 'utf8').split('\n').slice(0, -1)
    const kept = lines.map((line) => {
      const { header } = JSON.parse(line) as { header: { readonly [key: string]: unknown } }
      if (!fits(header)) return line
      taken++
      return line.replace(/,"salt":"[\w-]{22}","entry":.*$/s, ',"entry":null}')
    })
    writeFileSync(join(segments, name), kept.map((line) => `${line}\n`).join(''))
  }
  if (taken === 0) throw new Error('no record fits')
  for (const name of readdirSync(folder)) if (/^(?:index|text)\.db/.test(name)) rmSync(join(folder, name))
}

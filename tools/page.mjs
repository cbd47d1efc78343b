/** Builds verify.html: the verifier, its page and its style in one file that loads nothing else and may send nothing. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'

const path = (name) => fileURLToPath(new URL(`../src/web/${name}`, import.meta.url))

/** The script as one piece, without imports. */
async function script() {
  const bundle = await rolldown({ input: path('page.ts'), platform: 'browser', logLevel: 'warn' })
  const { output } = await bundle.generate({ format: 'iife', minify: true })
  await bundle.close()
  if (output.length !== 1) throw new Error(`the page's script is in ${output.length} pieces`)
  return output[0].code
}

/** @param {string} text as it stands between its tags */
function hashOf(text) {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`
}

export async function pageText() {
  const parts = { script: await script(), style: `\n${readFileSync(path('page.css'), 'utf8')}` }
  // Either would end its element in the middle.
  for (const [name, text] of Object.entries(parts))
    if (/<\/(script|style)|<!--/i.test(text)) throw new Error(`the page's ${name} has a tag in it`)
  const policy = `default-src 'none'; script-src ${hashOf(parts.script)}; style-src ${hashOf(parts.style)}; base-uri 'none'; form-action 'none'`
  const html = readFileSync(path('page.html'), 'utf8')
  return [
    ['{{policy}}', policy],
    ['<style></style>', `<style>${parts.style}</style>`],
    ['<script></script>', `<script>${parts.script}</script>`],
  ].reduce((text, [place, value]) => {
    if (text.split(place).length !== 2) throw new Error(`page.html has not exactly one ${place}`)
    return text.replace(place, () => value)
  }, html)
}

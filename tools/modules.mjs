/**
 * src/ as a few files in place of 400, so that a command starts in less time. What is loaded late in src stays in files
 * of its own, and so does each thread's program.
 */
import { dirname, isAbsolute, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'

const source = (name) => fileURLToPath(new URL(`../src/${name}.ts`, import.meta.url))

/** What the package exports, and its command. */
const ENTRIES = ['index', 'verify/index', 'testing/index', 'cli/bin']

/** How src names a thread's program. */
const THREAD = /new URL\(import\.meta\.url\.endsWith\('\.ts'\) \? '\.\/([\w-]+)\.ts' : '\.\/\1\.js', import\.meta\.url\)/g

/** Each thread's program becomes a file of its own, which whoever starts it finds wherever both come to lie. */
const threads = {
  name: 'threads',
  transform(code, id) {
    return code.replace(THREAD, (_, name) => {
      const file = this.emitFile({ type: 'chunk', id: join(dirname(id), `${name}.ts`), name })
      return `new URL(import.meta.ROLLUP_FILE_URL_${file})`
    })
  },
}

/** What so many of the entries and of what is loaded late need lies together. */
const minShareCount = 15
const codeSplitting = {
  groups: [
    // Apart, since it has nothing of Node.js in it and must run without.
    { name: 'verify', test: /[\\/]src[\\/]verify[\\/]/, priority: 1, minShareCount },
    { name: 'ledger', minShareCount },
  ],
}

export async function writeModules(folder, more = {}) {
  const modules = await rolldown({
    input: { ...Object.fromEntries(ENTRIES.map((name) => [name, source(name)])), ...more },
    platform: 'node',
    external: (id) => !id.startsWith('.') && !isAbsolute(id),
    plugins: [threads],
    logLevel: 'warn',
    // The package loads at once some of what the command loads late.
    checks: { ineffectiveDynamicImport: false },
  })
  // Parts lie as deep as src/cli, since the command finds package.json and docs from where it is.
  await modules.write({ dir: folder, format: 'esm', chunkFileNames: 'parts/[name].js', codeSplitting })
  await modules.close()
}

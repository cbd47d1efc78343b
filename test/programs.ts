/**
 * Builds the package and the programs of test/helpers, once for all processes that tests start: from some 400 modules of
 * TypeScript each of them took twice the time to begin.
 */
import { createHash } from 'node:crypto'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
} from 'node:fs'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { writeModules } from '../tools/modules.mjs'

const root = join(import.meta.dirname, '..')
const helpers = join(root, 'test/helpers')
/** In the checkout, where the dependencies are found from. */
const BUILT = join(root, '.tmp/built')
/** No run takes as long. */
const UNUSED_MS_MAX = 7 * 86_400_000

/** Those that read arguments of their own. */
function programs(): { [name: string]: string } {
  const names = readdirSync(helpers).filter((name) => readFileSync(join(helpers, name), 'utf8').includes('process.argv'))
  return Object.fromEntries(names.map((name) => [`programs/${name.replace(/\.ts$/, '')}`, join(helpers, name)]))
}

function hashOf(folder: string): string {
  const hash = createHash('sha256')
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  for (const path of files.map(({ parentPath, name }) => join(parentPath, name)).toSorted())
    hash.update(`${path.slice(folder.length)}\n${statSync(path).size}\n`).update(readFileSync(path))
  return hash.digest('hex').slice(0, 16)
}

/** Its name is its content's: two runs at once disturb each other in nothing, and what V8 has compiled is found again. */
async function build(): Promise<string> {
  mkdirSync(BUILT, { recursive: true })
  const made = mkdtempSync(join(BUILT, 'new-'))
  cpSync(join(root, 'package.json'), join(made, 'package.json'))
  await writeModules(join(made, 'dist'), programs())
  const folder = join(BUILT, hashOf(made))
  symlinkSync(join(root, 'docs'), join(made, 'docs'))
  try {
    renameSync(made, folder)
  } catch (error) {
    if (!existsSync(folder)) throw error
    rmSync(made, { recursive: true, force: true })
  }
  const now = Date.now() / 1000
  utimesSync(folder, now, now)
  return join(folder, 'dist')
}

/** What no run has used for long. */
function removeOld(): void {
  for (const name of readdirSync(BUILT)) {
    const path = join(BUILT, name)
    if ((statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Infinity) < Date.now() - UNUSED_MS_MAX)
      rmSync(path, { recursive: true, force: true })
  }
}

/** Both projects of vitest.config.ts use the same. */
export async function setup(project: TestProject): Promise<void> {
  if (process.env['CORTEX_LEDGER_BUILT'] !== undefined) return
  process.env['CORTEX_LEDGER_BUILT'] = await build()
  removeOld()
  project.onTestsRerun(async () => {
    process.env['CORTEX_LEDGER_BUILT'] = await build()
  })
}

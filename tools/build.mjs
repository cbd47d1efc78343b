/**
 * Builds dist/ from src/: modules, their types, the command line's file made executable, and verify.html.
 * Runs under any Node.js that the package itself runs on.
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { writeModules } from './modules.mjs'
import { pageText } from './page.mjs'

const path = (relative) => fileURLToPath(new URL(`../${relative}`, import.meta.url))

rmSync(path('dist'), { recursive: true, force: true })
const compiler = spawnSync(process.execPath, [path('node_modules/typescript/bin/tsc'), '-p', path('tsconfig.build.json')], {
  stdio: 'inherit',
})
if (compiler.error) throw compiler.error
if (compiler.status !== 0) process.exit(compiler.status ?? 1)
await writeModules(path('dist'))
// npm makes a bin executable when it installs a package; in the checkout itself nobody else does.
if (existsSync(path('dist/cli/bin.js'))) chmodSync(path('dist/cli/bin.js'), 0o755)
writeFileSync(path('dist/verify.html'), await pageText())

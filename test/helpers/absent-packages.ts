/** What a program says where an optional package is not installed: in a process of its own, which can't find it. */
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { STRIPPING } from './child.ts'
import { tempDir } from './temp.ts'

/** Runs `body`, in which `source(path)` is the URL of a module of src and `told(error)` prints code and message; its lines. */
export function linesWithout(packages: readonly string[], body: string): readonly string[] {
  const program = join(tempDir(), 'without.mjs')
  writeFileSync(
    program,
    `import { registerHooks } from 'node:module'
    registerHooks({ resolve: (name, context, next) => {
      if (${JSON.stringify(packages)}.includes(name)) throw Object.assign(new Error('Cannot find package ' + name), { code: 'ERR_MODULE_NOT_FOUND' })
      return next(name, context)
    } })
    const source = (path) => new URL(path, ${JSON.stringify(new URL('../../src/', import.meta.url).href)}).href
    const told = ({ code, message }) => console.log(code + ': ' + message)
    ${body}`,
  )
  const { stdout } = spawnSync(process.execPath, [...STRIPPING, '--disable-warning=ExperimentalWarning', program], { encoding: 'utf8' })
  return stdout.trimEnd().split('\n')
}

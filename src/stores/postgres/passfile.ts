/**
 * The password of a host by libpq's password file.
 * Source: https://www.postgresql.org/docs/current/libpq-pgpass.html
 */
import { readFile, stat } from 'node:fs/promises'
import type { PostgresHost, PostgresTarget } from './target.ts'

const FIELD = String.raw`((?:\\.|[^\\:]|\\$)*)`
const LINE = new RegExp(`^${[FIELD, FIELD, FIELD, FIELD, FIELD].join(':')}`)

/** Lines of `host:port:database:user:password`; `*` fits all, `\` stands before a `:` or `\` that is meant. The first that fits. */
export function findPassword(text: string, wanted: readonly [host: string, port: string, database: string, user: string]): string | null {
  for (const line of text.split(/\r?\n/)) {
    if (line.startsWith('#')) continue
    const fields = LINE.exec(line)?.slice(1)
    if (fields === undefined) continue
    const fits = wanted.every((value, i) => fields[i] === '*' || unescaped(fields[i] as string) === value)
    if (fits) return unescaped(fields[4] as string)
  }
  return null
}

function unescaped(field: string): string {
  return field.replaceAll(/\\(.)/g, '$1')
}

/** Null where the file is absent or gives none. As libpq, a file that others may read is not used. */
export async function passwordOf(target: PostgresTarget, { host, port }: PostgresHost): Promise<string | null> {
  if (target.password !== null && target.password !== '') return target.password
  const there = await stat(target.passfile).catch(() => null)
  if (there === null || !there.isFile() || (process.platform !== 'win32' && (there.mode & 0o077) !== 0)) return null
  const text = await readFile(target.passfile, 'utf8').catch(() => '')
  const wanted = [String(port), target.database, target.user] as const
  const found = findPassword(text, [host, ...wanted])
  // A socket in the usual folder is `localhost` there; which folder is usual only libpq knows, so the path is tried first.
  return found || (host.startsWith('/') ? findPassword(text, ['localhost', ...wanted]) || null : null)
}

/** Texts that stand nowhere else, and a search for them in all bytes of files. */
import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

export function newMarkers(count: number): string[] {
  return Array.from({ length: count }, () => `mark-${randomBytes(9).toString('hex')}`)
}

function filesIn(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path]
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}

/** Which markers stand in which files; folders with all that is in them. */
export function foundIn(markers: readonly string[], paths: readonly string[]): string[] {
  const found: string[] = []
  for (const file of paths.flatMap(filesIn)) {
    const bytes = readFileSync(file)
    for (const marker of markers) if (bytes.includes(marker)) found.push(`${marker} in ${file}`)
  }
  return found
}

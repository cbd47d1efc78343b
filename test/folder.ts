/** Where tests write. */
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readdirSync, rmSync, statfsSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const MEMORY = '/dev/shm'
/** Several times what tests have there at once. */
const FREE_BYTES_MIN = 4 * 1024 ** 3
/** By then the process that made it has ended, also where its id means nothing here. */
const OLD_MS_MIN = 3_600_000

/** Tests write scripts and run them, which some systems forbid there. */
function runsScripts(folder: string): boolean {
  const script = join(folder, 'script')
  writeFileSync(script, '#!/bin/sh\n', { mode: 0o755 })
  return spawnSync(script).status === 0
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Runs that were killed have left theirs. */
function removeOld(): void {
  for (const name of readdirSync(MEMORY)) {
    const [, pid] = /^cortex-ledger-tests-(\d+)-/.exec(name) ?? []
    if (pid === undefined || isAlive(Number(pid))) continue
    const path = join(MEMORY, name)
    if (statSync(path).mtimeMs < Date.now() - OLD_MS_MIN) rmSync(path, { recursive: true, force: true })
  }
}

/**
 * A folder in memory until this process ends, or null where there is no room for it. To wait for a disk shows nothing that
 * the tests look at: what a kill leaves behind is the same, and a loss of power is played.
 */
export function folderInMemory(): string | null {
  try {
    const { bavail, bsize } = statfsSync(MEMORY)
    if (Math.min(bavail * bsize, process.availableMemory()) < FREE_BYTES_MIN) return null
    removeOld()
    const folder = mkdtempSync(join(MEMORY, `cortex-ledger-tests-${process.pid}-`))
    process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
    // A PostgreSQL server is another user where this runs as root.
    chmodSync(folder, 0o711)
    return runsScripts(folder) ? folder : null
  } catch {
    // There is none, or not for us.
    return null
  }
}

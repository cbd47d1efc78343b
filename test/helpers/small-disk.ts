/** A file system of its own, small enough to be filled. */
import { spawnSync } from 'node:child_process'
import { closeSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { tempDir } from './temp.ts'

export const NOT_MOUNTED = 'a file system of its own can not be mounted here'

/** Its folder; null where none may be mounted. */
export function smallDisk(mebibytes: number): string | null {
  const folder = tempDir('cortex-small-')
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', folder]).status !== 0) return null
  onTestFinished(() => void spawnSync('umount', ['-l', folder]))
  return folder
}

/** Writes into a file until nothing more goes, or so many bytes. Gives what takes it away again. */
export function fill(disk: string, bytes = Infinity): () => void {
  const path = join(disk, `filler-${Math.random()}`)
  const fd = openSync(path, 'w')
  try {
    for (let left = bytes; left > 0;) left -= writeSync(fd, Buffer.alloc(Math.min(left, 64 * 1024)))
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ENOSPC') throw error
  } finally {
    closeSync(fd)
  }
  return () => rmSync(path)
}

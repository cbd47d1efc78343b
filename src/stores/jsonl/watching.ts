/** Hearing from the file system that somebody writes: only a hint, which some file systems never give. */
import { watch } from 'node:fs'
import { join } from 'node:path'
import { hintsUntil } from '../../ledger/hints.ts'
import { SEGMENTS } from './layout.ts'

/** What changes in the folder of segments. @throws the system's error where a folder can't be watched */
export function watchSegments(dir: string, signal: AbortSignal): AsyncIterable<void> {
  return hintsUntil(signal, (hint) => {
    const watcher = watch(join(dir, SEGMENTS), { persistent: false }, hint)
    // Watching ends; whoever waits looks by itself.
    watcher.on('error', () => watcher.close())
    return () => watcher.close()
  })
}

/** The caller's end of the index's thread. */
import { Thread } from '../sql/thread.ts'
import type { CatchUpEnd } from './index-catch-up.ts'
import type { IndexUpkeep } from './index-upkeep.ts'

export type IndexRequest = { readonly kind: 'catch-up'; readonly end: CatchUpEnd } | IndexUpkeep

const WORKER_FILE = new URL(import.meta.url.endsWith('.ts') ? './index-worker.ts' : './index-worker.js', import.meta.url)

export class IndexThread extends Thread<IndexRequest> {
  /** @param file the thread's program */
  constructor(dir: string, file: URL = WORKER_FILE) {
    super(file, { dir }, 'cortex-ledger index')
  }

  /** Resolves when the index is at `end`, or as far as it got when something failed (then it rejects). */
  catchUp(end: CatchUpEnd, isAwaited: boolean): Promise<void> {
    return this.ask({ kind: 'catch-up', end }, isAwaited)
  }

  keepUp(work: IndexUpkeep, isAwaited: boolean): Promise<boolean> {
    return this.ask(work, isAwaited)
  }
}

/** The thread that reclaims: what it does blocks whoever does it, for seconds with a large ledger. */
import { serveThread } from '../sql/thread-end.ts'
import { reclaimDatabase } from './reclaiming.ts'

serveThread(reclaimDatabase, () => {})

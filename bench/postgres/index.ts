/** The PostgreSQL store, on a server that this machine starts for it. */
import type { Result } from '../rows.ts'
import type { Session } from '../session.ts'
import { liveRows } from '../deriving.ts'
import { keptRows } from '../retention.ts'
import type { Kept } from '../retention.ts'
import { appendRows } from './append.ts'
import { peerRows } from './peer.ts'
import { processRows } from './processes.ts'
import { readingRows } from './reading.ts'
import { MISSING_HERE, Server } from './server.ts'

export async function postgresRows(session: Session): Promise<Result[]> {
  if (MISSING_HERE !== null) return [{ topic: 'postgres', what: 'all of it', absent: MISSING_HERE, isFailure: false }]
  const server = await Server.start()
  try {
    const results: Result[] = []
    for (const rows of [appendRows, peerRows, processRows, readingRows]) results.push(...(await rows(session, server)))
    const inPlace: Kept['inPlace'] = (work) => server.inPlace(({ url }) => work(url))
    results.push(...(await keptRows(session, { topic: 'postgres', name: 'PostgreSQL', inPlace })))
    results.push(...(await server.inPlace(({ url }) => liveRows(session, 'postgres', 'PostgreSQL', url))))
    return results
  } finally {
    await server.stop()
  }
}

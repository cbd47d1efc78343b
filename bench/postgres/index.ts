/** The PostgreSQL store on a server of this machine. */
import type { Result } from '../rows.ts'
import type { Session } from '../session.ts'
import { appendRows } from './append.ts'
import { MISSING_HERE, Server } from './server.ts'

export async function postgresRows(session: Session): Promise<Result[]> {
  if (MISSING_HERE !== null) return [{ topic: 'postgres', what: 'all of it', absent: MISSING_HERE, isFailure: false }]
  const server = await Server.start()
  try {
    return [...(await appendRows(session, server))]
  } finally {
    await server.stop()
  }
}

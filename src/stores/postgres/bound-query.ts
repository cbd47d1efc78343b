/** A query of the driver that sends a message of our own in place of the one that it would make. */
import type { Client, Query, QueryConfig } from './driver.ts'

export interface NamedStatement {
  /** It is parsed once a connection. */
  readonly name: string
  readonly text: string
}

/** Values in PostgreSQL's text form. */
export type Row = readonly (string | null)[]

/** What the driver's queries use of its connection. */
interface Wire {
  readonly stream: { write(bytes: Uint8Array): unknown }
  parse(statement: { readonly name: string; readonly text: string; readonly types: readonly never[] }): void
  readonly submittedNamedStatements: { [name: string]: string }
}

interface PreparedQuery extends Query {
  readonly name: string
  readonly text: string
  callback: (error: Error | null, result: { readonly rows: readonly Row[] }) => void
  hasBeenParsed(connection: Wire): boolean
  prepare(connection: Wire): void
}

type PreparedQueryConstructor = new (config: QueryConfig & { readonly rowMode: 'array' }) => PreparedQuery

/** @param message all that follows the statement's parsing, its end included */
export function askBound(client: Client, statement: NamedStatement, message: Uint8Array): Promise<readonly Row[]> {
  // The driver is an optional peer: its classes are had from what was loaded.
  const { Query: Prepared } = client.constructor as unknown as { readonly Query: PreparedQueryConstructor }
  return new Promise((resolve, reject) => {
    const query = new Prepared({ ...statement, rowMode: 'array', types: { getTypeParser: () => asIs } as never })
    query.prepare = (connection) => {
      if (!query.hasBeenParsed(connection)) {
        connection.parse({ ...statement, types: [] })
        connection.submittedNamedStatements[statement.name] = statement.text
      }
      connection.stream.write(message)
    }
    query.callback = (error, result) => (error === null || error === undefined ? resolve(result.rows) : reject(error))
    client.query(query)
  })
}

const asIs = (value: unknown): unknown => value

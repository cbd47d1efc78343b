/** The tree of a ledger in tables beside its records: pieces of hashes, and small texts. Nothing of it has to be durable. */
import type { ReplicaMark, TreeFiles, TreeText } from '../../ledger/store.ts'
import type { LedgerPlace } from './writing.ts'
import type { Session } from './session.ts'

const HASH_BYTES = 32
/** Hashes of one row: 1 KiB lies in its page, more would be put elsewhere and read by another look-up. */
const PIECE_HASHES = 32
/** Rows of one statement. */
const PIECES_MAX = 1024

const READ = {
  name: 'cortex_tree',
  text: `SELECT piece, encode(hashes, 'hex') FROM tree_hashes WHERE ledger_id = $1 AND level = $2 AND piece >= $3 AND piece <= $4 ORDER BY piece`,
}
/** Another process may have written more of the piece: what it has behind ours stays. */
const WRITE = {
  name: 'cortex_tree_write',
  text: `INSERT INTO tree_hashes AS t (ledger_id, level, piece, hashes)
    SELECT $1, $2, $3::bigint + ordinality - 1, decode(hex, 'hex') FROM unnest($4::text[]) WITH ORDINALITY AS w(hex, ordinality)
    ON CONFLICT (ledger_id, level, piece) DO UPDATE SET hashes = excluded.hashes WHERE length(t.hashes) <= length(excluded.hashes)`,
}
const READ_TEXT = { name: 'cortex_text', text: 'SELECT text FROM ledger_texts WHERE ledger_id = $1 AND name = $2' }
const WRITE_TEXT = {
  name: 'cortex_text_write',
  text: 'INSERT INTO ledger_texts (ledger_id, name, text) VALUES ($1, $2, $3) ON CONFLICT (ledger_id, name) DO UPDATE SET text = excluded.text',
}

export interface TreeAccess {
  readonly place: LedgerPlace
  reading<T>(work: (session: Session) => Promise<T>): Promise<T>
  /** @throws LedgerError `read_only` */
  assertWritable(): void
}

export function readText(session: Session, place: LedgerPlace, name: string): Promise<string | null> {
  return session.query(READ_TEXT, [place.id, name]).then(([row]) => row?.[0] ?? null)
}

export async function writeText(session: Session, place: LedgerPlace, name: string, text: string | null): Promise<void> {
  if (text === null) await session.query({ text: 'DELETE FROM ledger_texts WHERE ledger_id = $1 AND name = $2' }, [place.id, name])
  else await session.query(WRITE_TEXT, [place.id, name, text])
}

export function treeInTables({ place, reading, assertWritable }: TreeAccess): TreeFiles {
  async function readPieces(session: Session, level: number, first: number, count: number): Promise<Buffer> {
    const rows = await session.query(READ, [
      place.id,
      level,
      Math.floor(first / PIECE_HASHES),
      Math.floor((first + count - 1) / PIECE_HASHES),
    ])
    const parts: Buffer[] = []
    let wanted = Math.floor(first / PIECE_HASHES)
    for (const [piece, hex] of rows) {
      const bytes = Buffer.from(hex ?? '', 'hex')
      if (Number(piece) !== wanted) break
      parts.push(bytes)
      wanted++
      // What lies behind a piece that is not full has another place.
      if (bytes.length !== PIECE_HASHES * HASH_BYTES) break
    }
    const skipped = (first % PIECE_HASHES) * HASH_BYTES
    const bytes = Buffer.concat(parts).subarray(skipped, skipped + count * HASH_BYTES)
    return bytes.subarray(0, bytes.length - (bytes.length % HASH_BYTES))
  }

  /** Each piece whole, since it is replaced: what stands before the first hash is taken from what is there. */
  async function writePieces(session: Session, level: number, first: number, hashes: Uint8Array): Promise<void> {
    const before = first % PIECE_HASHES
    const start = first - before
    const kept = before === 0 ? Buffer.alloc(0) : await readPieces(session, level, start, before)
    // Where what should stand before is gone, what is written would be of no use: whoever reads the tree computes it anew.
    if (kept.length !== before * HASH_BYTES) return
    const bytes = Buffer.concat([kept, hashes])
    const pieceBytes = PIECE_HASHES * HASH_BYTES
    for (let at = 0; at < bytes.length; at += PIECES_MAX * pieceBytes) {
      const part = bytes.subarray(at, at + PIECES_MAX * pieceBytes)
      const texts = Array.from({ length: Math.ceil(part.length / pieceBytes) }, (_, i) =>
        part.subarray(i * pieceBytes, (i + 1) * pieceBytes).toString('hex'),
      )
      await session.query(WRITE, [place.id, level, (start * HASH_BYTES + at) / pieceBytes, `{${texts.join(',')}}`])
    }
  }

  return {
    read: (level, first, count) =>
      count <= 0 ? Promise.resolve(Buffer.alloc(0)) : reading((session) => readPieces(session, level, first, count)),
    async write(level, first, hashes) {
      assertWritable()
      await reading((session) => writePieces(session, level, first, hashes))
    },
    readText: (name: TreeText) => reading((session) => readText(session, place, name)),
    async writeText(name: TreeText, text) {
      assertWritable()
      await reading((session) => writeText(session, place, name, text))
    },
    async clear() {
      assertWritable()
      await reading(async (session) => {
        await session.query({ text: 'DELETE FROM tree_hashes WHERE ledger_id = $1' }, [place.id])
        await writeText(session, place, 'state', null)
      })
    },
  }
}

/** The mark of a replica is a text beside the others; unlike them it has to last, as every commit does. */
export function replicaInTable({ place, reading, assertWritable }: TreeAccess): ReplicaMark {
  return {
    read: () => reading((session) => readText(session, place, 'replica')),
    async write(text) {
      assertWritable()
      await reading((session) => writeText(session, place, 'replica', text))
    },
  }
}

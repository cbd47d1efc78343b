/**
 * Training examples in chat form from the calls of a ledger, each with the records that it was made of. A call is one
 * example: what went in, and what came out. Calls of an imported run hold only what was new in each; they are one
 * example together, as far as the last of them that fits.
 */
import { EntryCorrected } from '../ledger/built-in-events.ts'
import { isObject } from '../ledger/entry.ts'
import type { JsonObject, JsonValue } from '../ledger/entry.ts'
import type { Ledger } from '../ledger/ledger.ts'
import { asFilter } from '../ledger/query.ts'
import type { Criteria } from '../ledger/query.ts'
import type { LedgerRecord } from '../ledger/record.ts'
import { assistantMessage, chatMessage, isConversation } from './chat-message.ts'
import type { ChatMessage } from './chat-message.ts'
import { LaterRecords, withLater } from './corrections.ts'
import { ledgerFacts, recordsBefore } from './source.ts'
import type { LedgerFacts } from './source.ts'

export interface TrainingOptions extends Omit<Criteria, 'type'> {
  /** True: entries as later `EntryCorrected` records have them. Unless said, as they were recorded. */
  readonly corrected?: boolean | undefined
}

/** A line of the file. */
export interface ChatExample {
  readonly messages: readonly ChatMessage[]
  /** `training_labels` of the calls, then those of later annotations; of two of one name the later one. */
  readonly labels: JsonObject
}

/** A record that an example was made of. */
export interface TrainingSource {
  readonly seq: number
  readonly hash: string
  readonly run_id: string
  readonly as: 'call' | 'tool result' | 'correction' | 'annotation'
}

export interface TrainingExample {
  readonly example: ChatExample
  /** Ascending. */
  readonly sources: readonly TrainingSource[]
}

/** Calls, or imported runs, that made no example, by why. */
export interface LeftOut {
  /** An entry that belongs to it is withheld (erased, or archived), or encrypted. */
  withheld: number
  /** Nothing came out: no text, no tool call. */
  no_output: number
  /** Not in the form of chat messages, or no conversation: a tool's answer without its call, a call without an answer. */
  not_chat: number
}

export interface TrainingSet {
  /** The ledger that it is made of. */
  readonly ledger: LedgerFacts
  readonly criteria: Criteria
  readonly corrected: boolean
  /** Counted while the examples are read. */
  readonly leftOut: Readonly<LeftOut>
  /** In the order of the ledger. To be read once. */
  examples(): AsyncGenerator<TrainingExample, void, undefined>
}

/** Where a call of an imported run stands in it; null for calls that were recorded whole. */
function placeInRun({ header, entry }: LedgerRecord): { readonly run: string; readonly isFirst: boolean } | null {
  const about = entry?.['input_metadata']
  if (!isObject(about) || header.correlation_id === undefined || !Array.isArray(entry?.['prompt'])) return null
  const { source, run, message } = about
  if (typeof source !== 'string' || !Number.isInteger(run) || !Number.isInteger(message)) return null
  return { run: header.correlation_id, isFirst: (entry['context_refs'] as readonly unknown[] | undefined)?.length === 0 }
}

/** Positions, a bit each: of a million records 125 kB. */
class Positions {
  readonly #bits: Uint8Array

  constructor(size: number) {
    this.#bits = new Uint8Array(Math.ceil(size / 8))
  }

  add(seq: number): void {
    this.#bits[seq >> 3]! |= 1 << (seq & 7)
  }

  has(seq: number): boolean {
    return (this.#bits[seq >> 3]! & (1 << (seq & 7))) !== 0
  }
}

/** A page is in memory as a whole, and an entry may have 16 MiB. */
const PAGE_RECORDS = 500

/** Calls that go on in a later call of their run: read from the end, the first of a run that comes is its last. */
async function continuedCalls(ledger: Ledger, criteria: Criteria, size: number): Promise<Positions> {
  const continued = new Positions(size)
  const runs = new Set<string>()
  let cursor: string | null = null
  do {
    const page = await ledger.query({ ...criteria, order: 'newest', limit: PAGE_RECORDS, cursor })
    for (const record of page.records) {
      const place = record.seq < size ? placeInRun(record) : null
      if (place === null) continue
      if (runs.has(place.run)) continued.add(record.seq)
      else runs.add(place.run)
      if (place.isFirst) runs.delete(place.run)
    }
    ;({ cursor } = page)
  } while (cursor !== null)
  return continued
}

class NoExample extends Error {
  readonly why: keyof LeftOut

  constructor(why: keyof LeftOut) {
    super(why)
    this.why = why
  }
}

/** @throws NoExample */
function readable(entry: JsonObject | null): JsonObject {
  if (entry === null) throw new NoExample('withheld')
  return entry
}

/** What a tool said, as text. */
function toolContent(entry: JsonObject): JsonValue {
  const said = entry['content'] ?? entry['result'] ?? entry['error'] ?? ''
  return typeof said === 'string' ? said : JSON.stringify(said)
}

/** What came out of a call. @throws NoExample */
function outputOf(entry: JsonObject, isOfRun: boolean): ChatMessage {
  const parsed = isObject(entry['parsed_data']) ? entry['parsed_data'] : {}
  // The message of a run is { role, content: raw_output, ...parsed_data }; of other calls parsed_data may be anything.
  const content = isOfRun && parsed['content'] !== undefined ? parsed['content'] : entry['raw_output']
  const calls = parsed['tool_calls']
  const message = assistantMessage(content, calls)
  if (message !== null) return message
  const isSilent = (content === null || content === '') && !(Array.isArray(calls) && calls.length > 0)
  throw new NoExample(isSilent ? 'no_output' : 'not_chat')
}

/** Puts one example together from records in their order. */
class Conversation {
  readonly #messages: ChatMessage[] = []
  readonly #sources: TrainingSource[] = []
  readonly #toolResults = new Map<string, JsonObject>()
  #labels: JsonObject = {}

  addToolResult(record: LedgerRecord): void {
    this.#toolResults.set(record.run_id, readable(record.entry))
    this.#name(record, 'tool result')
  }

  addCall(record: LedgerRecord, later: readonly LedgerRecord[], isOfRun: boolean): void {
    const entry = withLater(readable(record.entry), later)
    const prompt = entry['prompt']
    if (typeof prompt === 'string') {
      if (prompt === '') throw new NoExample('not_chat')
      this.#messages.push({ role: 'user', content: prompt })
    } else for (const given of (prompt ?? []) as readonly JsonValue[]) this.#addGiven(given)
    this.#messages.push(outputOf(entry, isOfRun))
    this.#name(record, 'call')
    for (const said of later) this.#name(said, EntryCorrected.is(said) ? 'correction' : 'annotation')
    if (isObject(entry['training_labels'])) this.#labels = { ...this.#labels, ...entry['training_labels'] }
  }

  #addGiven(given: JsonValue): void {
    const by = isObject(given) ? given['content_ref'] : undefined
    const referred = typeof by === 'string' ? this.#toolResults.get(by) : undefined
    const message = chatMessage(referred === undefined ? given : { ...(given as JsonObject), content: toolContent(referred) })
    if (message === null) throw new NoExample('not_chat')
    this.#messages.push(message)
  }

  #name({ seq, hash, run_id }: LedgerRecord, as: TrainingSource['as']): void {
    this.#sources.push({ seq, hash, run_id, as })
  }

  /** @throws NoExample */
  result(): TrainingExample {
    if (!isConversation(this.#messages)) throw new NoExample('not_chat')
    return {
      example: { messages: this.#messages, labels: this.#labels },
      sources: this.#sources.toSorted((a, b) => a.seq - b.seq),
    }
  }
}

class Examples {
  readonly #ledger: Ledger
  readonly #later: LaterRecords
  readonly #corrected: boolean

  constructor(ledger: Ledger, size: number, isCorrected: boolean) {
    this.#ledger = ledger
    this.#later = new LaterRecords(ledger, size)
    this.#corrected = isCorrected
  }

  /** @throws NoExample */
  async of(call: LedgerRecord): Promise<TrainingExample> {
    readable(call.entry)
    const place = placeInRun(call)
    const records = place === null ? [call] : await this.#runUpTo(call, place.run)
    const laterOf = await this.#later.of(records)
    const conversation = new Conversation()
    for (const record of records) {
      if (record.header.type === 'ToolCallCompleted') conversation.addToolResult(record)
      else {
        const later = laterOf(record).filter((said) => this.#corrected || !EntryCorrected.is(said))
        conversation.addCall(record, later, place !== null)
      }
    }
    return conversation.result()
  }

  async #runUpTo(call: LedgerRecord, correlation_id: string): Promise<LedgerRecord[]> {
    const records: LedgerRecord[] = []
    const type = ['AgentCallCompleted', 'ToolCallCompleted']
    for await (const record of recordsBefore(this.#ledger, { correlation_id, type }, call.seq + 1)) records.push(record)
    return records
  }
}

/**
 * Examples for chat fine-tuning from the `AgentCallCompleted` records that fit. What makes no example is counted, not
 * thrown. `trainingFile` writes them, and the manifest that binds them to the ledger.
 * @throws TypeError | RangeError | LedgerError as reading
 */
export async function trainingExamples(ledger: Ledger, options: TrainingOptions = {}): Promise<TrainingSet> {
  const { corrected: isCorrected = false, ...given } = options
  const criteria: Criteria = { ...given, type: 'AgentCallCompleted' }
  asFilter(criteria)
  const facts = await ledgerFacts(ledger)
  const leftOut: LeftOut = { withheld: 0, no_output: 0, not_chat: 0 }
  return {
    ledger: facts,
    criteria,
    corrected: isCorrected,
    leftOut,
    async *examples() {
      const continued = await continuedCalls(ledger, criteria, facts.size)
      const examples = new Examples(ledger, facts.size, isCorrected)
      for await (const call of recordsBefore(ledger, criteria, facts.size)) {
        if (continued.has(call.seq)) continue
        try {
          yield await examples.of(call)
        } catch (error) {
          if (!(error instanceof NoExample)) throw error
          leftOut[error.why]++
        }
      }
    },
  }
}

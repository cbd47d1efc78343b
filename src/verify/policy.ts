/**
 * Trust policies: which logs and which witnesses somebody believes, and how many of the witnesses must have seen a
 * checkpoint before it counts. Source: C2SP tlog-policy.
 *
 *     log <verifier key> [<url>]
 *     witness <name> <verifier key> [<url>]
 *     group <name> all|any|<k> <member>…
 *     quorum <name>|none
 *
 * The file is octets: a name is what its octets are, whatever a reader sees in them. Only Ed25519 is known here: logs of
 * kind 0x01, witnesses of kind 0x04. A policy with other keys is refused, since nobody here could check them.
 */
import type { Sha256 } from './hash.ts'
import { ED25519, ED25519_COSIGNATURE, parseVerifierKey } from './note.ts'
import type { VerifierKey } from './note.ts'
import { decodeText } from './text.ts'
import { hashHex } from './tree.ts'

export interface PolicyLog {
  /** Its name is the log's origin. */
  readonly key: VerifierKey
  readonly url: string | null
}

export interface PolicyWitness {
  /** Means something in this policy only; its key has a name of its own. */
  readonly name: string
  readonly key: VerifierKey
  /** Where it takes checkpoints (C2SP tlog-witness, submission prefix). */
  readonly url: string | null
}

/** Has seen a checkpoint where at least `threshold` of its members have. */
export interface PolicyGroup {
  readonly name: string
  readonly threshold: number
  readonly members: readonly (PolicyWitness | PolicyGroup)[]
}

export interface Policy {
  readonly logs: readonly PolicyLog[]
  readonly witnesses: readonly PolicyWitness[]
  /** Each behind all of its members. */
  readonly groups: readonly PolicyGroup[]
  /** Null: no witness is needed. */
  readonly quorum: PolicyWitness | PolicyGroup | null
}

const POLICY_BYTES_MAX = 256 * 1024
/** Logs, witnesses and groups, each; the specification asks for at least 32. */
const LINES_OF_A_KIND_MAX = 256
const NO_QUORUM = 'none'
// eslint-disable-next-line no-control-regex
const FORBIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f]/

/** The policy, or why the bytes are none. */
export function parsePolicy(sha256: Sha256, bytes: Uint8Array): Policy | string {
  if (bytes.length > POLICY_BYTES_MAX) return `a policy has at most ${POLICY_BYTES_MAX} bytes`
  const octets = octetText(bytes)
  if (FORBIDDEN.test(octets)) return 'a policy has no control characters but tab and line feed'
  const lines = octets.split('\n')
  // Else a file that was cut off could read as another policy.
  if (lines.pop() !== '') return 'each line of a policy ends with a line feed'
  const reader = new PolicyReader(sha256)
  for (const [index, line] of lines.entries()) {
    const words = line.split(/[ \t]+/).filter((word) => word !== '')
    if (words.length === 0 || words[0]!.startsWith('#')) continue
    const fault = reader.take(words)
    if (fault !== null) return `line ${index + 1}: ${fault}`
  }
  return reader.finish()
}

/** Each octet as the character of that number, so that names are compared octet by octet. */
function octetText(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += String.fromCharCode(byte)
  return text
}

/** What octets say, as UTF-8 where they are that. */
function readableText(octets: string): string {
  try {
    return decodeText(Uint8Array.from(octets, (octet) => octet.charCodeAt(0)))
  } catch {
    return octets
  }
}

class PolicyReader {
  readonly #sha256: Sha256
  readonly #logs: PolicyLog[] = []
  readonly #witnesses: PolicyWitness[] = []
  readonly #groups: PolicyGroup[] = []
  /** Witnesses and groups by the octets of their names. */
  readonly #named = new Map<string, PolicyWitness | PolicyGroup>()
  readonly #members = new Set<string>()
  #quorum: PolicyWitness | PolicyGroup | null | undefined

  constructor(sha256: Sha256) {
    this.#sha256 = sha256
  }

  /** Takes the words of one line. Returns what is wrong with them, or null. */
  take([keyword, ...words]: readonly string[]): string | null {
    switch (keyword) {
      case 'log':
        return this.#log(words)
      case 'witness':
        return this.#witness(words)
      case 'group':
        return this.#group(words)
      case 'quorum':
        return this.#setQuorum(words)
      default:
        return 'a line is a log, a witness, a group, the quorum, or a comment that begins with #'
    }
  }

  finish(): Policy | string {
    if (this.#quorum === undefined) return `a policy says what its quorum is: a name, or ${NO_QUORUM}`
    return { logs: this.#logs, witnesses: this.#witnesses, groups: this.#groups, quorum: this.#quorum }
  }

  #log(words: readonly string[]): string | null {
    const [text, url] = words
    if (text === undefined || words.length > 2) return 'a log is: log <verifier key> [<url>]'
    const key = this.#key(text, ED25519, 'a log')
    if (typeof key === 'string') return key
    if (this.#logs.length >= LINES_OF_A_KIND_MAX) return `a policy has at most ${LINES_OF_A_KIND_MAX} logs`
    if (hasKey(this.#logs, key)) return 'there is a log with this key already'
    this.#logs.push({ key, url: url === undefined ? null : readableText(url) })
    return null
  }

  #witness(words: readonly string[]): string | null {
    const [name, text, url] = words
    if (name === undefined || text === undefined || words.length > 3) return 'a witness is: witness <name> <verifier key> [<url>]'
    const key = this.#key(text, ED25519_COSIGNATURE, 'a witness')
    if (typeof key === 'string') return key
    if (this.#witnesses.length >= LINES_OF_A_KIND_MAX) return `a policy has at most ${LINES_OF_A_KIND_MAX} witnesses`
    // One who counts twice by two names would make a quorum alone.
    if (hasKey(this.#witnesses, key)) return 'there is a witness with this key already'
    const fault = this.#nameFault(name)
    if (fault !== null) return fault
    const witness = { name: readableText(name), key, url: url === undefined ? null : readableText(url) }
    this.#witnesses.push(witness)
    this.#named.set(name, witness)
    return null
  }

  #group(words: readonly string[]): string | null {
    const [name, threshold, ...names] = words
    if (name === undefined || threshold === undefined || names.length === 0) return 'a group is: group <name> all|any|<k> <member>…'
    const fault = this.#nameFault(name)
    if (fault !== null) return fault
    const needed = thresholdOf(threshold, names.length)
    if (needed === null) return `a group of ${names.length} needs all, any, or a number from 1 to ${names.length}`
    if (this.#groups.length >= LINES_OF_A_KIND_MAX) return `a policy has at most ${LINES_OF_A_KIND_MAX} groups`
    const members: (PolicyWitness | PolicyGroup)[] = []
    for (const member of names) {
      const known = this.#named.get(member)
      if (known === undefined) return `no line above names ${JSON.stringify(readableText(member))}`
      if (this.#members.has(member)) return `${JSON.stringify(known.name)} is a member already: each is of one group, once`
      this.#members.add(member)
      members.push(known)
    }
    const group = { name: readableText(name), threshold: needed, members }
    this.#groups.push(group)
    this.#named.set(name, group)
    return null
  }

  #setQuorum(words: readonly string[]): string | null {
    const [name] = words
    if (name === undefined || words.length !== 1) return `the quorum is: quorum <name>, or quorum ${NO_QUORUM}`
    if (this.#quorum !== undefined) return 'there is a quorum already'
    const known = name === NO_QUORUM ? null : this.#named.get(name)
    if (known === undefined) return `no line above names ${JSON.stringify(readableText(name))}`
    this.#quorum = known
    return null
  }

  #nameFault(name: string): string | null {
    if (name === NO_QUORUM) return `${NO_QUORUM} is the name of no witness and no group`
    return this.#named.has(name) ? `there is a witness or group ${JSON.stringify(readableText(name))} already` : null
  }

  #key(octets: string, kind: number, whose: string): VerifierKey | string {
    const key = parseVerifierKey(this.#sha256, readableText(octets))
    if (typeof key === 'string') return key
    if (key.kind !== kind) return `the key of ${whose} is of kind ${kind} (Ed25519), not ${key.kind}`
    return key
  }
}

function hasKey(held: readonly { readonly key: VerifierKey }[], { publicKey }: VerifierKey): boolean {
  const hex = hashHex(publicKey)
  return held.some(({ key }) => hashHex(key.publicKey) === hex)
}

function thresholdOf(word: string, count: number): number | null {
  if (word === 'all') return count
  if (word === 'any') return 1
  const needed = /^[1-9][0-9]{0,5}$/.test(word) ? Number(word) : 0
  return needed >= 1 && needed <= count ? needed : null
}

/** Keys of the policy's logs that have this origin: whose checkpoints count. */
export function logKeysOf({ logs }: Policy, origin: string): VerifierKey[] {
  return logs.map(({ key }) => key).filter(({ name }) => name === origin)
}

export function witnessKeysOf({ witnesses }: Policy): VerifierKey[] {
  return witnesses.map(({ key }) => key)
}

function keyText({ name, id, publicKey }: VerifierKey): string {
  return `${name}+${id}+${hashHex(publicKey)}`
}

/**
 * True where the holders of these keys are enough. The keys must be those whose cosignatures over one and the same
 * checkpoint were verified; keys that are no witness of the policy count for nothing, twice the same one counts once.
 */
export function quorumMet({ witnesses, groups, quorum }: Policy, verified: readonly VerifierKey[]): boolean {
  if (quorum === null) return true
  const texts = new Set(verified.map(keyText))
  const seen = new Set<PolicyWitness | PolicyGroup>(witnesses.filter(({ key }) => texts.has(keyText(key))))
  // Each group stands behind its members, so one pass is enough at any depth.
  for (const group of groups) if (group.members.filter((member) => seen.has(member)).length >= group.threshold) seen.add(group)
  return seen.has(quorum)
}

/** A verified cosignature: who, and when as seconds since 1970. */
export interface CosignedAt {
  readonly key: VerifierKey
  readonly time: bigint
}

/**
 * By when a quorum had seen the checkpoint: the smallest time such that the cosignatures up to it meet the quorum. Null
 * where they never do, and also where the policy asks for no witness: then nobody says when. A cosignature without a
 * time (0) says nothing either.
 */
export function quorumTime(policy: Policy, cosignatures: readonly CosignedAt[]): bigint | null {
  if (policy.quorum === null) return null
  const inOrder = cosignatures.filter(({ time }) => time > 0n).toSorted((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0))
  const keys: VerifierKey[] = []
  for (const { key, time } of inOrder) {
    keys.push(key)
    if (quorumMet(policy, keys)) return time
  }
  return null
}

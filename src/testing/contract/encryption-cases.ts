/** A ledger whose entries are encrypted, on the store. */
import assert from 'node:assert/strict'
import { masterKeyFrom, type MasterKey } from '../../ledger/encryption/master-key.ts'
import type { EncryptionOptions } from '../../ledger/encryption/options.ts'
import { Keyring } from '../../ledger/encryption/keyring.ts'
import type { LedgerError } from '../../ledger/errors.ts'
import { defineEvent } from '../../ledger/events.ts'
import { defineProjection } from '../../ledger/projection.ts'
import type { Store } from '../../ledger/store.ts'
import { assertRefused } from '../checks.ts'
import { SAMPLE_ORIGIN } from '../sample-chain.ts'
import { seededRandom } from '../seeded-random.ts'
import { persistent, type Scenario } from './bench.ts'
import { assertSound, ledgerOver, newLedger, recordsOf, restarted, someCall } from './ledger-bench.ts'

const SECRET = 'the launch code is 0000'

function masterKey(n = 1): MasterKey {
  return masterKeyFrom(
    Uint8Array.from({ length: 32 }, (_, i) => (i * 7 + n) % 256),
    seededRandom(n),
  )
}

function encryption(more: Partial<EncryptionOptions> = {}): { readonly encryption: EncryptionOptions } {
  return { encryption: { master: masterKey(), ...more } }
}

function keyringOf(store: Store, ...masters: MasterKey[]): Keyring {
  return new Keyring({ store: store.dataKeys, masters, origin: SAMPLE_ORIGIN, random: seededRandom(77) })
}

const Noted = defineEvent<'Noted', { readonly text: string }>('Noted')
const texts = defineProjection({
  name: 'texts',
  version: 1,
  initial: [] as string[],
  events: [Noted],
  on: { Noted: (state, { text }) => [...state, text] },
})

/** Why an entry does not open. */
function reasonOf(error: LedgerError | null): unknown {
  return error === null ? null : [error.code, error.details['reason']]
}

export const encryptionCases: readonly Scenario[] = [
  {
    name: 'what is recorded is read by every way of reading, and stands in no line',
    async run(bench) {
      const { ledger, store } = await newLedger(bench, encryption())
      const receipt = await ledger.record(someCall({ run_id: 'call', raw_output: SECRET, correlation_id: 'task' }), { subject: 'ann' })
      await ledger.append('s', [Noted({ text: SECRET }), Noted({ text: 'more' })])
      const call = await ledger.get('call')
      assert.deepEqual([call?.entry?.['raw_output'], call?.isEncrypted, call?.locked], [SECRET, true, null])
      assert.equal((await ledger.at(receipt.seq))?.entry?.['raw_output'], SECRET)
      assert.deepEqual(
        (await ledger.events({ stream: 's' })).events.map((record) => Noted.read(record).text),
        [SECRET, 'more'],
      )
      assert.deepEqual((await ledger.load(texts)).state, [SECRET, 'more'])
      assert.equal((await ledger.query({ correlation_id: 'task' })).records[0]?.entry?.['raw_output'], SECRET)
      assert.equal((await ledger.asOf({}).get('call'))?.entry?.['raw_output'], SECRET)
      assert.equal((await ledger.corrected('call')).entry?.['raw_output'], SECRET)
      const subscription = ledger.subscribe({ after: receipt.seq, filter: { stream: 's' } })
      assert.equal((await subscription.next()).value?.entry?.['text'], SECRET)
      await subscription.return()
      for (const record of await recordsOf(ledger.read())) {
        assert.equal(record.line.includes(SECRET) || record.line.includes('ann'), false)
        assert.equal(record.isEncrypted, record.header.stream !== 'ledger')
      }
      assert.equal((await store.dataKeys.list('', 10)).length, 3)
      assert.deepEqual((await ledger.verifyIntegrity({ decrypt: true })).checks.entries_opened, { verdict: 'pass' })
      await assertSound(ledger)
    },
  },
  {
    name: 'without its master key all but the entries is there',
    needs: persistent,
    async run(bench) {
      const before = await newLedger(bench, encryption())
      await before.ledger.append('s', Noted({ text: SECRET }))
      await before.ledger.record(someCall({ run_id: 'call', raw_output: SECRET }))
      const { ledger } = await restarted(bench, before)
      const [noted] = (await ledger.events({ stream: 's' })).events
      assert.ok(noted !== undefined)
      assert.deepEqual([noted.entry, noted.isEncrypted, noted.header.type], [null, true, 'Noted'])
      assert.deepEqual(reasonOf(noted.locked), ['key_error', 'no_master_key'])
      assert.match(noted.locked?.message ?? '', new RegExp(noted.dataKey ?? '?'))
      assert.throws(() => Noted.read(noted), { name: 'LedgerError', code: 'key_error' })
      await assertRefused(ledger.load(texts), 'key_error')
      assert.equal(await ledger.count({ stream: 's' }), 1)
      await assertSound(ledger)
      await assertRefused(ledger.record(someCall()), 'key_error', 'recording in clear beside encrypted entries')
      const { ledger: plain } = await restarted(bench, { ...before, ledger }, { encryption: null })
      await plain.record(someCall({ run_id: 'in clear', raw_output: 'public' }))
      assert.equal((await plain.get('in clear'))?.entry?.['raw_output'], 'public')
      await assertSound(plain)
    },
  },
  {
    name: 'a wrong master key is told at opening, and to a reader with each entry',
    needs: persistent,
    async run(bench) {
      const before = await newLedger(bench, encryption())
      await before.ledger.append('s', Noted({ text: SECRET }))
      await assertRefused(restarted(bench, before, encryption({ master: masterKey(2) })), 'key_error')
      const both = await restarted(bench, before, encryption({ master: [masterKey(2), masterKey(1)] }))
      assert.deepEqual((await both.ledger.load(texts)).state, [SECRET])
    },
  },
  {
    name: 'the same again gets the first receipt, in one batch and later; another content is a conflict',
    async run(bench) {
      const { ledger, store } = await newLedger(bench, encryption())
      const call = someCall({ run_id: 'r', raw_output: SECRET })
      const [first, second] = await Promise.all([ledger.record(call), ledger.record(call)])
      assert.deepEqual([second?.seq, second?.content_not_compared], [first?.seq, undefined])
      const third = await ledger.record({ ...call })
      assert.deepEqual([third.seq, third.content_not_compared], [first?.seq, undefined])
      await assertRefused(ledger.record({ ...call, raw_output: 'another' }), 'run_id_conflict')
      const event = { ...Noted({ text: SECRET }), run_id: 'e' }
      const [one] = await ledger.append('s', event)
      assert.equal((await ledger.append('s', event))[0]?.seq, one?.seq)
      await assertRefused(ledger.append('s', { ...event, data: { text: 'another' } }), 'run_id_conflict')
      await store.dataKeys.remove([(await ledger.get('r'))?.dataKey ?? ''])
      const after = await ledger.record({ ...call, raw_output: 'another' })
      assert.deepEqual([after.seq, after.content_not_compared], [first?.seq, true])
      await assertSound(ledger)
    },
  },
  {
    name: 'a shredded key closes the entries of its subject, for good and for nobody else',
    async run(bench) {
      const { ledger, store } = await newLedger(bench, encryption())
      for (const subject of ['ann', 'bob']) {
        for (const n of [1, 2]) await ledger.append(`s${n}`, { ...Noted({ text: `${subject} ${n}` }), run_id: `${subject} ${n}`, subject })
      }
      const before = await recordsOf(ledger.read())
      const gone = await keyringOf(store, masterKey()).shred({ name: 'ann' })
      assert.deepEqual(gone, [before.at(1)?.dataKey])
      assert.deepEqual(await keyringOf(store, masterKey()).shred({ name: 'ann' }), [])
      assert.deepEqual(reasonOf((await ledger.get('ann 1'))?.locked ?? null), ['key_error', 'key_gone'])
      assert.equal((await ledger.get('bob 1'))?.entry?.['text'], 'bob 1')
      await ledger.append('s1', { ...Noted({ text: 'ann 3' }), run_id: 'ann 3', subject: 'ann' })
      const anew = await ledger.get('ann 3')
      assert.equal(anew?.entry?.['text'], 'ann 3')
      assert.notEqual(anew?.dataKey, gone[0])
      const after = await recordsOf(ledger.read())
      assert.deepEqual(
        after.slice(0, before.length).map(({ line }) => line),
        before.map(({ line }) => line),
      )
      await assertSound(ledger)
      const report = await ledger.verifyIntegrity({ decrypt: true })
      assert.deepEqual([report.ok, report.verdicts.integrity, report.opened], [false, 'pass', { opened: 3, erased: 0, failed: 2 }])
      assert.deepEqual(
        report.problems.map(({ code, seq }) => [code, seq]),
        [
          ['entry_not_opened', 1],
          ['entry_not_opened', 2],
        ],
      )
    },
  },
  {
    name: 'another master key takes the data keys over, and no line changes',
    needs: persistent,
    async run(bench) {
      const before = await newLedger(bench, encryption())
      for (let n = 0; n < 10; n++) await before.ledger.append(`s${n}`, Noted({ text: `${n}` }))
      const lines = (await recordsOf(before.ledger.read())).map(({ line }) => line)
      const keyring = keyringOf(before.store, masterKey(2), masterKey(1))
      assert.deepEqual(await keyring.rewrapAll(), { rewrapped: 11, unchanged: 0 })
      assert.deepEqual(await keyring.rewrapAll(), { rewrapped: 0, unchanged: 11 })
      await assertRefused(restarted(bench, before, encryption()), 'key_error')
      const { ledger } = await restarted(bench, before, encryption({ master: masterKey(2) }))
      const records = await recordsOf(ledger.read())
      assert.deepEqual(
        records.map(({ line }) => line),
        lines,
      )
      assert.deepEqual((await ledger.load(texts)).state, ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'])
      await ledger.append('s3', Noted({ text: 'after' }))
      assert.equal((await ledger.at(lines.length))?.dataKey, records.at(4)?.dataKey)
    },
  },
  {
    name: 'who writes is asked for each record: null is in clear, and the order stays',
    async run(bench) {
      const { ledger } = await newLedger(bench, encryption({ keyOf: ({ type, stream }) => (type === 'Noted' ? stream : null) }))
      const waiting: Promise<unknown>[] = []
      for (let n = 0; n < 30; n++) {
        waiting.push(ledger.append(`s${n % 3}`, n % 2 === 0 ? Noted({ text: `${n}` }) : { type: 'Counted', data: { text: `${n}` } }))
        if (n === 10) waiting.push(ledger.append('s0', [Noted({ text: 'a' }), { type: 'Counted', data: { text: 'b' } }]))
      }
      // Nobody waits for these: closing and verifying do.
      await assertSound(ledger)
      await Promise.all(waiting)
      const records = (await recordsOf(ledger.read())).filter(({ header }) => header.stream !== 'ledger')
      const expected = Array.from({ length: 30 }, (_, n) => `${n}`)
      expected.splice(11, 0, 'a', 'b')
      assert.deepEqual(
        records.map(({ entry }) => entry?.['text']),
        expected,
      )
      assert.equal(
        records.every(({ isEncrypted, header }) => isEncrypted === (header.type === 'Noted')),
        true,
      )
    },
  },
  {
    name: 'provider and model of an encrypted entry are in no index, unless the owner says so',
    async run(bench) {
      const call = someCall({ provider_name: 'acme', model_name: 'acme-1', raw_output: SECRET })
      const { ledger } = await newLedger(bench, encryption())
      await ledger.record(call)
      await ledger.flush()
      assert.equal(await ledger.count({ provider: 'acme' }), 0)
      assert.deepEqual([...(await ledger.tally('model')).keys()], [])
      await assertSound(ledger)
      const { ledger: open } = await newLedger(bench, encryption({ indexEncrypted: true }))
      await open.record(call)
      await assertSound(open)
    },
  },
  {
    name: 'where no key can be made nothing is recorded, and recording goes on when one can',
    async run(bench) {
      const key = masterKey()
      let isDown = false
      const failing: MasterKey = {
        id: key.id,
        wrap: (bytes, context) => (isDown ? Promise.reject(new Error('the KMS is away')) : key.wrap(bytes, context)),
        unwrap: (bytes, context) => key.unwrap(bytes, context),
      }
      const { ledger } = await newLedger(bench, encryption({ master: failing }))
      await ledger.append('known', Noted({ text: '1' }))
      isDown = true
      await assertRefused(ledger.append('unknown', Noted({ text: SECRET })), 'key_error')
      await ledger.append('known', Noted({ text: '2' }))
      isDown = false
      await ledger.append('unknown', Noted({ text: '3' }))
      assert.deepEqual((await ledger.load(texts)).state, ['1', '2', '3'])
      await assertSound(ledger)
    },
  },
  {
    name: 'writers that make the key of one subject at once end with one key',
    needs: ({ secondWriter }) => secondWriter === 'serialised',
    async run(bench) {
      const first = await newLedger(bench, encryption())
      const second = await ledgerOver(bench, await bench.reopen(first.store), { ...encryption(), random: seededRandom(5) })
      const both = [first.ledger, second.ledger]
      const subjects = Array.from({ length: 12 }, (_, n) => `subject-${n}`)
      await Promise.all(
        both.flatMap((ledger, who) => subjects.map((subject) => ledger.append('s', { ...Noted({ text: `${who} ${subject}` }), subject }))),
      )
      const keys = new Map<unknown, Set<string | null>>()
      for (const record of await recordsOf(first.ledger.read({ stream: 's' }))) {
        const subject = String(record.entry?.['text']).slice(2)
        keys.set(subject, (keys.get(subject) ?? new Set()).add(record.dataKey))
      }
      assert.equal(keys.size, subjects.length)
      for (const one of keys.values()) assert.equal(one.size, 1)
      await assertSound(first.ledger)
    },
  },
]

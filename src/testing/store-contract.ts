/**
 * The contract of a store as named cases, for whoever writes another one and for any test runner:
 *
 *     for (const { name, run } of storeContract({ open, reopen, capabilities })) test(name, run)
 */
import { appendCases, stateCases } from './contract/append-cases.ts'
import { archiveCases } from './contract/archive-cases.ts'
import { conditionCases } from './contract/condition-cases.ts'
import { contractCase, type ContractCase, type Scenario, type StoreUnderTest } from './contract/bench.ts'
import { faultCases } from './contract/fault-cases.ts'
import { filterCases } from './contract/filter-cases.ts'
import { flowCases } from './contract/flow-cases.ts'
import { auditCases, lifeCases } from './contract/life-cases.ts'
import { queryCases } from './contract/query-cases.ts'
import { byteCases, readCases } from './contract/read-cases.ts'
import { idempotencyCases, recordCases } from './contract/record-cases.ts'
import { clockCases, streamCases } from './contract/stream-cases.ts'
import { replicaCases } from './contract/replica-cases.ts'
import { subscriptionCases } from './contract/subscription-cases.ts'
import { raceCases } from './contract/race-cases.ts'
import { projectionCases, snapshotCases } from './contract/snapshot-cases.ts'
import { treeCases } from './contract/tree-cases.ts'
import { upkeepCases } from './contract/upkeep-cases.ts'
import { viewCases } from './contract/view-cases.ts'

/** By what they are about: first the port alone, then the whole ledger on the store. */
const AREAS: readonly (readonly [area: string, scenarios: readonly Scenario[]])[] = [
  ['store append', appendCases],
  ['store state', stateCases],
  ['store read', readCases],
  ['store bytes', byteCases],
  ['store filter', filterCases],
  ['store life', lifeCases],
  ['store audit', auditCases],
  ['store tree', treeCases],
  ['store replica', replicaCases],
  ['store snapshots', snapshotCases],
  ['store archive', archiveCases],
  ['store upkeep', upkeepCases],
  ['ledger record', recordCases],
  ['ledger idempotency', idempotencyCases],
  ['ledger streams', streamCases],
  ['ledger conditions', conditionCases],
  ['ledger races', raceCases],
  ['ledger subscriptions', subscriptionCases],
  ['ledger views', viewCases],
  ['ledger projections', projectionCases],
  ['ledger clock', clockCases],
  ['ledger query', queryCases],
  ['ledger flow', flowCases],
  ['ledger faults', faultCases],
]

/** All cases that apply to the store. Each opens stores of its own, so they may run in any order, also at once. */
export function storeContract(under: StoreUnderTest): ContractCase[] {
  if (under.capabilities.persistent && under.reopen === undefined) throw new TypeError('a persistent store is handed over with reopen()')
  return AREAS.flatMap(([area, scenarios]) =>
    scenarios
      .filter(({ needs }) => needs === undefined || needs(under.capabilities))
      .map((scenario) => contractCase({ ...scenario, name: `${area}: ${scenario.name}` }, under)),
  )
}

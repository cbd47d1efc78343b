/** Names of event types: an event is a fact, so its name says what has happened. */

/** Past forms that do not end in -ed; those of the words that such names are made of. */
const IRREGULAR = new Set(
  (
    'became began bent bet bid blew born bought bound broke broken brought built came caught chose chosen clung cut dealt did done drawn drew driven ' +
    'drove fed fell fallen felt found forgot forgotten fought fit flown flew froze frozen gave given gone got gotten grew grown had heard held hid ' +
    'hidden hit hung hurt kept knew known laid led left lent let lit lost made meant met mistaken misunderstood overcome overridden overrode paid put ' +
    'quit ran read rebuilt redone reran reset resent rerun rewritten rewrote ridden risen rode rose run said sat saw seen sent set shaken shone shot ' +
    'shown shrunk shut slid sold sought spent split spoke spoken spread spun stolen stood stole struck stuck sunk swept sworn taken taught threw ' +
    'thrown told took torn undone understood unset upheld went withdrawn withdrew withheld withstood woken woke won worn written wrote'
  ).split(' '),
)

/** `AgentCompletedTask` → `agent`, `completed`, `task`; `order.placed` and `order_placed` likewise. */
function wordsOf(name: string): string[] {
  return name
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1 $2')
    .replaceAll(/([A-Z]+)([A-Z][a-z])/g, '$1 $2')
    .split(/[^A-Za-z0-9]+/)
    .filter((word) => word !== '')
    .map((word) => word.toLowerCase())
}

/** True where some word of the name is in the past: `CompleteTask` and `RunAgent` ask for something, `TaskCompleted` says it. */
export function readsAsFact(name: string): boolean {
  const words = wordsOf(name)
  // The first word alone can be both: `ReadDocument`, `SetLimit`, `CutCosts` are commands, `LimitSet` is none.
  return words.some(
    (word, i) =>
      (word.length > 3 && word.endsWith('ed') && word !== 'need' && word !== 'feed' && word !== 'seed') || (i > 0 && IRREGULAR.has(word)),
  )
}

/** verify.html: a file and keys in, a report out. Nothing is loaded and nothing is sent; the page's policy forbids both. */
import { checkBundle } from '../verify/bundle-check.ts'
import { sha256 } from '../verify/hash.ts'
import { checkForkEvidence, parseForkEvidence } from '../verify/fork-evidence.ts'
import type { Ed25519Check } from '../verify/note.ts'
import { parseTrust } from '../verify/trust.ts'
import type { Trust } from '../verify/trust.ts'
import { BUNDLE_LIMITS } from '../verify/bundle.ts'
import { browserEd25519 } from './ed25519.ts'
import { byId, element, shown } from './elements.ts'
import { headlineOf, reportView } from './report-view.ts'
import type { Headline } from './report-view.ts'

const fileInput = byId('file', HTMLInputElement)
const fileName = byId('file-name', HTMLElement)
const drop = byId('drop', HTMLElement)
const keysInput = byId('keys', HTMLTextAreaElement)
const policyInput = byId('policy', HTMLTextAreaElement)
const keysFault = byId('keys-fault', HTMLElement)
const headline = byId('headline', HTMLElement)
const result = byId('result', HTMLElement)
const caveat = byId('caveat', HTMLElement)

/** What was chosen; null where nothing was, or it could not be read. */
let chosen: Uint8Array | null = null
/** Grows with each check: what a slower one before found is not shown. */
let checks = 0
/** Grows with each file that is taken: only the last one counts. */
let files = 0
const ed25519: Promise<Ed25519Check | null> = browserEd25519()

function say({ state, text }: Headline): void {
  headline.dataset['state'] = state
  headline.textContent = text
}

/** What is in the two fields, or why one of them is not right. */
function trustGiven(): Trust | string {
  const keys = keysInput.value
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
  const policy = policyInput.value
  // A field has no line feed at its end unless somebody types one.
  return parseTrust(sha256, keys, policy.trim() === '' ? null : policy.endsWith('\n') ? policy : `${policy}\n`)
}

const FORK_EVIDENCE = 'cortex-ledger/fork-evidence@'

function isForkEvidence(bytes: Uint8Array): boolean {
  return String.fromCharCode(...bytes.subarray(0, FORK_EVIDENCE.length)) === FORK_EVIDENCE
}

/** Another kind of file: two checkpoints that one log can't both have signed in good faith. */
async function checkEvidence(bytes: Uint8Array, { keys }: Trust, number: number): Promise<void> {
  const check = await ed25519
  const evidence = parseForkEvidence(bytes)
  const found =
    typeof evidence === 'string'
      ? evidence
      : check === null
        ? 'this browser can’t check its signatures'
        : await checkForkEvidence(evidence, keys, { sha256, check })
  if (number !== checks) return
  if (typeof found === 'string') say({ state: 'open', text: shown(`No evidence of a fork: ${found}`) })
  else if (found.proven)
    say({
      state: 'bad',
      text: shown(`Forked: the holder of ${found.key.name}+${found.key.id} has signed two checkpoints that contradict each other`),
    })
  else
    say({
      state: 'open',
      text: shown(
        `Not proven: ${found.key.name}+${found.key.id} has signed both, and whether they contradict each other can’t be told from this file`,
      ),
    })
  result.replaceChildren()
}

async function check(): Promise<void> {
  const number = ++checks
  const trust = trustGiven()
  keysFault.textContent = typeof trust === 'string' ? trust : ''
  keysInput.setAttribute('aria-invalid', String(typeof trust === 'string'))
  if (chosen === null) return
  if (typeof trust === 'string') {
    say({ state: 'open', text: 'Not checked: what is given to believe is not right' })
    result.replaceChildren()
    return
  }
  if (isForkEvidence(chosen)) return checkEvidence(chosen, trust, number)
  const report = await checkBundle(chosen, { sha256, ed25519: await ed25519, ...trust })
  if (number !== checks) return
  say(headlineOf(report))
  result.replaceChildren(...reportView(report))
}

async function take(file: File): Promise<void> {
  const number = ++files
  // What is found of the file before comes too late.
  checks++
  fileName.textContent = shown(`${file.name}, ${file.size} bytes`)
  chosen = null
  result.replaceChildren()
  if (file.size > BUNDLE_LIMITS.bytes_max)
    return say({ state: 'open', text: `Not checked: a bundle has at most ${BUNDLE_LIMITS.bytes_max} bytes` })
  say({ state: 'open', text: 'Checking …' })
  try {
    const bytes = new Uint8Array(await file.arrayBuffer())
    if (number !== files) return
    chosen = bytes
  } catch {
    return say({ state: 'open', text: 'Not checked: the file can’t be read' })
  }
  await check()
}

/** Whatever goes wrong here is a fault of this page, and no verdict. */
function run(work: () => Promise<void>): void {
  work().catch((error: unknown) => {
    say({ state: 'open', text: 'Not checked: this page has failed' })
    result.replaceChildren(element('pre', {}, String(error)))
  })
}

// So that the same file can be chosen again when it has changed.
fileInput.addEventListener('click', () => (fileInput.value = ''))
fileInput.addEventListener('change', () => {
  const [file] = fileInput.files ?? []
  if (file !== undefined) run(() => take(file))
})
for (const input of [keysInput, policyInput]) input.addEventListener('input', () => run(check))
for (const type of ['dragenter', 'dragover'] as const) {
  document.addEventListener(type, (event) => {
    event.preventDefault()
    drop.dataset['over'] = 'true'
  })
}
document.addEventListener('dragleave', (event) => {
  if (event.relatedTarget === null) delete drop.dataset['over']
})
document.addEventListener('drop', (event) => {
  event.preventDefault()
  delete drop.dataset['over']
  const file = event.dataTransfer?.files[0]
  if (file !== undefined) run(() => take(file))
})
run(async () => {
  if ((await ed25519) === null)
    caveat.textContent =
      'This browser can’t check Ed25519 signatures here, so it can’t tell who signed: authenticity and time stay “not checked”. Use a newer one, or cortex-ledger check.'
})

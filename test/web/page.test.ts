/** verify.html as it is built, opened from the file system in a real Chromium without a network. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { formatForkEvidence } from '../../src/verify/fork-evidence.ts'
import { pageText } from '../../tools/page.mjs'
import { badBundles, goodBundles, LOG, WITNESS } from '../helpers/bad-bundles.ts'
import { signedNote, treeOver, witnessSigner } from '../helpers/bundle-maker.ts'
import { CHROMIUM, startBrowser } from '../helpers/browser.ts'
import type { Browser, Page } from '../helpers/browser.ts'

if (CHROMIUM === null) console.log('skipped: verify.html is not opened, there is no Chromium (apt-get install chromium)')
const SCREENSHOTS = process.env['SCREENSHOTS']

test('the page is one file that may load and send nothing', async () => {
  const text = await pageText()
  expect(text).toContain("default-src 'none'; script-src 'sha256-")
  expect(text.match(/<script/g)).toHaveLength(1)
  expect(text).not.toMatch(/<(?:link|img|iframe|object|embed|base|form)\b|\bsrc\s*=|\burl\(|@import|unsafe-/i)
  expect(await pageText(), 'built twice, it is the same').toBe(text)
})

const bad = await badBundles()
const { one, several, lines } = await goodBundles()
const KEYS = `${LOG.verifierKey}\n${WITNESS.verifierKey}\n`

interface Shown {
  readonly state: string
  readonly headline: string
  readonly verdicts: { readonly [name: string]: string }
  readonly problems: readonly string[]
  readonly records: readonly string[]
}

const SHOWN = `({
  state: document.getElementById('headline').dataset.state,
  headline: document.getElementById('headline').textContent,
  verdicts: Object.fromEntries([...document.querySelectorAll('.verdict')].map((one) => [one.dataset.verdict, one.dataset.value])),
  problems: [...document.querySelectorAll('#result > section > .problems > li')].map((one) => one.dataset.code),
  records: [...document.querySelectorAll('.record')].map((one) => one.dataset.seq + ' ' + one.dataset.state),
})`

describe.skipIf(CHROMIUM === null)('in Chromium', () => {
  let browser: Browser
  let page: Page
  let folder: string
  let files = 0

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'cortex-ledger-page-'))
    writeFileSync(join(folder, 'verify.html'), await pageText())
    browser = await startBrowser()
    page = await browser.newPage()
    await page.open(join(folder, 'verify.html'))
  })

  afterAll(async () => {
    await browser?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const giveKeys = (text: string): Promise<unknown> =>
    page.evaluate(`{
      const keys = document.getElementById('keys')
      keys.value = ${JSON.stringify(text)}
      keys.dispatchEvent(new Event('input'))
    }`)

  /** Gives the page a file and keys, and reads what it shows. */
  async function checked(bytes: Uint8Array, keys = KEYS): Promise<Shown> {
    const file = join(folder, `bundle-${files++}`)
    writeFileSync(file, bytes)
    await giveKeys(keys)
    await page.choose('#file', file)
    await page.until(`document.getElementById('file-name').textContent.startsWith('bundle-${files - 1},')`)
    await page.until(`!document.getElementById('headline').textContent.startsWith('Checking')`)
    return page.evaluate<Shown>(SHOWN)
  }

  test('a good bundle of one record', async () => {
    expect(await checked(one.bytes)).toEqual({
      state: 'good',
      headline: expect.stringContaining('Proven'),
      verdicts: { integrity: 'pass', authenticity: 'pass', completeness: 'not checked', time: 'pass' },
      problems: [],
      records: ['17 good'],
    })
    const text = await page.evaluate<string>('document.getElementById("result").innerText')
    expect(text).toContain('Is message 17 \\"spam\\"? Grüße \\u2028 🦊')
    expect(text).toContain('2026-01-01T00:06:40.000000Z')
  })

  test('a good bundle of several records, one of them withheld', async () => {
    expect(await checked(several.bytes)).toMatchObject({ state: 'good', problems: [], records: ['5 good', '6 good', '39 good'] })
    expect(await page.evaluate('document.querySelector(".record").innerText')).toContain('Withheld')
  })

  test('without keys nothing is called proven', async () => {
    const shown = await checked(one.bytes, '')
    expect(shown).toMatchObject({ state: 'open', verdicts: { integrity: 'pass', authenticity: 'not checked', time: 'not checked' } })
    expect(shown.headline).toContain('nobody vouches')
    expect(await checked(one.bytes, 'no key')).toMatchObject({ state: 'open', verdicts: {}, records: [] })
    expect(await page.evaluate('document.getElementById("keys-fault").textContent')).toContain('no verifier key')
    // And when the key is corrected, the file is checked without being chosen again.
    await giveKeys(LOG.verifierKey)
    await page.until('document.getElementById("headline").dataset.state === "good"')
  })

  test.each(bad.map((each) => [each.name, each] as const))('names what is wrong: %s', async (_, { bytes, codes }) => {
    const shown = await checked(bytes)
    expect(shown).toMatchObject({ state: 'bad', problems: codes })
    expect(Object.values(shown.verdicts)).toContain('fail')
    for (const code of codes) expect(await page.evaluate('document.getElementById("result").innerText')).toContain(code)
  })

  test('where the browser has no Ed25519 the page says so, and calls nothing proven', async () => {
    const other = await browser.newPage()
    await other.send('Page.addScriptToEvaluateOnNewDocument', {
      source: 'SubtleCrypto.prototype.verify = () => Promise.reject(new DOMException("no", "NotSupportedError"))',
    })
    const before = page
    page = other
    try {
      await page.open(join(folder, 'verify.html'))
      expect(await checked(one.bytes)).toMatchObject({ state: 'open', verdicts: { integrity: 'pass', authenticity: 'not checked' } })
      await page.until('document.getElementById("caveat").textContent.includes("Ed25519")')
    } finally {
      page = before
    }
  })

  test('a policy that is not met, and one that is none', async () => {
    const givePolicy = (text: string): Promise<unknown> =>
      page.evaluate(`{
        const policy = document.getElementById('policy')
        policy.value = ${JSON.stringify(text)}
        policy.dispatchEvent(new Event('input'))
      }`)
    const other = witnessSigner('other.example', 8, 1n)
    const lines = `log ${LOG.verifierKey}\nwitness a ${WITNESS.verifierKey}\nwitness b ${other.verifierKey}\n`
    await givePolicy(`${lines}group any any a b\nquorum any`)
    expect(await checked(one.bytes, '')).toMatchObject({ state: 'good', verdicts: { authenticity: 'pass', time: 'pass' } })
    await givePolicy(`${lines}group both all a b\nquorum both`)
    expect(await checked(one.bytes, '')).toMatchObject({ state: 'bad', problems: ['quorum_not_met'], verdicts: { time: 'fail' } })
    await givePolicy(lines)
    await page.until('document.getElementById("keys-fault").textContent.includes("quorum")')
    expect(await page.evaluate(SHOWN)).toMatchObject({ state: 'open', verdicts: {} })
    await givePolicy('')
  })

  test('evidence of a fork is no bundle, and is said to be what it is', async () => {
    const two = await treeOver(lines.with(3, lines[4]!))
    const notes = [one.bundle.note, await signedNote(two.checkpoint, [LOG])] as const
    const evidence = formatForkEvidence({ contradiction: { kind: 'same-size' }, notes })
    expect(await checked(Buffer.from(evidence))).toMatchObject({ state: 'bad', headline: expect.stringContaining('Forked'), verdicts: {} })
    expect(await checked(Buffer.from(evidence), '')).toMatchObject({ state: 'open', headline: expect.stringContaining('No evidence') })
  })

  test('a file can be dropped', async () => {
    await giveKeys(KEYS)
    await page.evaluate(`{
      const transfer = new DataTransfer()
      transfer.items.add(new File([new Uint8Array(${JSON.stringify([...one.bytes])})], 'dropped.tlog-proof'))
      document.dispatchEvent(new DragEvent('drop', { dataTransfer: transfer, cancelable: true }))
    }`)
    await page.until(
      `document.getElementById('file-name').textContent.startsWith('dropped') && document.getElementById('headline').dataset.state === 'good'`,
    )
  })

  test('nothing goes off to the side in a narrow window, and everything has a name', async () => {
    for (const [width, scheme] of [
      [1280, 'light'],
      [1280, 'dark'],
      [360, 'light'],
      [360, 'dark'],
    ] as const) {
      await page.send('Emulation.setDeviceMetricsOverride', { width, height: 900, deviceScaleFactor: 1, mobile: false })
      await page.send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] })
      for (const [name, bytes] of [
        ['good', several.bytes],
        ['bad', bad.find((each) => each.name === 'an entry is altered')!.bytes],
      ] as const) {
        await checked(bytes)
        expect(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), `${width} ${scheme} ${name}`).toBe(true)
        if (SCREENSHOTS === undefined) continue
        mkdirSync(SCREENSHOTS, { recursive: true })
        writeFileSync(join(SCREENSHOTS, `${name}-${width}-${scheme}.png`), await page.screenshot())
      }
    }
    const { nodes } = (await page.send('Accessibility.getFullAXTree')) as {
      nodes: { ignored: boolean; role?: { value: string }; name?: { value: string } }[]
    }
    const nameless = nodes.filter(
      ({ ignored, role, name }) => !ignored && ['button', 'textbox', 'heading'].includes(role?.value ?? '') && !name?.value,
    )
    expect(nameless).toEqual([])
  })

  test('nothing was asked for but the page, and it complained of nothing', async () => {
    const { requests, complaints } = page.heard()
    expect(requests.map((url) => url.split('/').at(-1))).toEqual(['verify.html'])
    expect(complaints).toEqual([])
    // The policy is what forbids it, not the missing network: the page is refused before anything is looked up.
    const refused = await page.evaluate<string>(`new Promise((resolve) => {
      document.addEventListener('securitypolicyviolation', (event) => resolve(event.effectiveDirective), { once: true })
      fetch('http://127.0.0.1:9/').catch(() => {})
    })`)
    expect(refused).toBe('connect-src')
  })
})

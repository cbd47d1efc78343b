/** What each pattern finds and, as often what goes wrong, what it leaves. All secrets here are published examples, or made up. */
import { describe, expect, test } from 'vitest'
import { MASK_PATTERNS, maskRules } from '../../../src/index.ts'
import type { MaskPattern } from '../../../src/index.ts'
import { scale } from '../../helpers/scale.ts'

const ABOUT = { type: 'Noted', stream: 'notes' }

function maskText(text: string, ...patterns: readonly MaskPattern[]): unknown {
  return (maskRules({ patterns })({ text }, ABOUT) as { readonly text: unknown }).text
}

const B64 = 'MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj'
const PEM = `-----BEGIN PRIVATE KEY-----\n${B64}\n${B64}\nMIIE==\n-----END PRIVATE KEY-----`
// RFC 7519, section 3.1, and RFC 7516, appendix A.1 (shortened).
const JWT =
  'eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk'
const JWE =
  'eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.OKOawDo13gRp2ojaHV7LFpZcgV7T6DVZKTyKOMTYUmKoTCVJRgckCL9kiMT03JGe.48V1_ALb6US04U3b.5eym8TW_c8SuK0ltJ3rpYIzOeDQz7TALvtu6UG9oMo4vpzs9tX_EFShS8iB7j6ji.XFBoMYUZodetZdvTiFvSkQ'

// In parts, so that no scanner takes this file for a leak.
const TOKENS = [
  ['OpenAI', `sk-${'proj-Ab3dEf6hIj9lMn2pQr5t'}`],
  ['Anthropic', `sk-${'ant-api03-Ab3dEf6hIj9lMn2pQr5tAA'}`],
  ['GitHub', `ghp_${'16C7e42F292c6912E7710c838347Ae178B4a'}`],
  ['GitHub, fine-grained', `github_pat_${'11ABCDEFG0abcdefghijkl_mnopqrstuv'}`],
  ['GitLab', `glpat-${'Ab3dEf6hIj9lMn2pQr5t'}`],
  ['AWS', `AKIA${'IOSFODNN7EXAMPLE'}`],
  ['AWS, secret', `aws_secret_access_key = ${'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'}`],
  ['Google', `AIza${'SyDaGmWKa4JsXZ-HjGw7ISLn_3namBGewQe'}`],
  ['Stripe', `sk_live_${'4eC39HqLyjWDarjtT1zdp7dc'}`],
  ['Slack', `xoxb-${'263594206564-2343594206574-FGqddMF8t08v8N7Oq4i57vs1'}`],
  ['Slack, hook', `https://hooks.slack.com/services/${'T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX'}`],
  ['Hugging Face', `hf_${'AbCdEfGhIjKlMnOpQrStUvWxYzAbCdEfGh'}`],
  ['npm', `npm_${'Ab3dEf6hIj9lMn2pQr5tUv8xYz1bCd4fGh7j'}`],
  ['SendGrid', `SG.${'ngeVfQFYQlKU0ufo8x5d1A'}.${'TwL2iGABf9DHoTf-09kqeF8tAmbihYzrnopKc-1s5cr'}`],
  ['Telegram', `110201543:${'AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1'}`],
  ['Twilio', `SK${'0123456789abcdef0123456789abcdef'}`],
  ['DigitalOcean', `dop_v1_${'0123456789abcdef'.repeat(4)}`],
  ['Groq', `gsk_${'Ab3dEf6hIj9lMn2pQr5tUv8xYz1bCd4fGh7jKl0n'}`],
] as const

describe('token', () => {
  test.each(TOKENS)('%s', (_, token) => {
    const secret = /[^\s/]{16,}$/.exec(token)?.[0] as string
    for (const text of [
      token,
      `use ${token}, please`,
      `"${token}"`,
      `KEY=${token}\n`,
      String.raw`{\"key\":\"\n${token}\"}`,
      `a%20${token}`,
    ]) {
      const masked = maskText(text, 'token')
      expect(masked, text).toContain('[masked:token]')
      expect(masked, text).not.toContain(secret)
    }
  })

  test.each([
    'a task-force-of-twenty-people, risk-averse-and-slow-moving',
    'sk-learn and sk-1234',
    'ghp_short, AKIA, AKIAIOSFODNN7EXAMPLEX1, hf_x',
    '2f1a8c5e9b7d4f60a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718',
    '019ab5d0-21e4-7000-8000-000000000001',
    'npm_config_registry and github_pat',
  ])('leaves %s', (text) => expect(maskText(text, 'token')).toBe(text))
})

describe('private_key', () => {
  test.each([
    ['PEM', PEM],
    ['of other kinds', PEM.replaceAll('PRIVATE', 'ENCRYPTED PRIVATE')],
    ['of OpenSSH', PEM.replaceAll('PRIVATE', 'OPENSSH PRIVATE')],
    ['of PGP', PEM.replaceAll('PRIVATE KEY', 'PGP PRIVATE KEY BLOCK')],
    ['in one line, escaped', PEM.replaceAll('\n', '\\n')],
    ['with CRLF', PEM.replaceAll('\n', '\r\n')],
  ])('%s', (_, pem) => expect(maskText(`before ${pem} behind`, 'private_key')).toBe('before [masked:private_key] behind'))

  test('that was cut off: what looks like a key, and not the prose behind it', () => {
    const cut = PEM.slice(0, PEM.indexOf('-----END'))
    expect(maskText(`${cut.trimEnd()}`, 'private_key')).toBe('[masked:private_key]')
    const prose = 'A file that begins with -----BEGIN PRIVATE KEY----- is not for the chat. Ask first.'
    expect(maskText(prose, 'private_key')).toMatch(/^A file that begins with \[masked:private_key\].* not for the chat\. Ask first\.$/)
  })

  test('two of them, the first cut off by the second', () => {
    const cut = PEM.slice(0, PEM.indexOf('-----END'))
    expect(maskText(`${cut}${PEM}.`, 'private_key')).not.toContain(B64.slice(0, 20))
  })

  test("a ledger's key file (docs/format.md), and one of age", () => {
    const key = 'PRIVATE+KEY+example.com/agents/demo+b355fb80+AQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f'
    expect(maskText(key, 'private_key')).toBe('PRIVATE+KEY+example.com/agents/demo+b355fb80+[masked:private_key]')
    const age = `AGE-SECRET-KEY-1${'GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX'}`
    expect(maskText(age, 'private_key')).toBe('[masked:private_key]')
  })

  test('leaves public keys and certificates', () => {
    const certificate = PEM.replaceAll('PRIVATE KEY', 'CERTIFICATE')
    expect(maskText(certificate, 'private_key')).toBe(certificate)
    const publicKey = PEM.replaceAll('PRIVATE', 'PUBLIC')
    expect(maskText(publicKey, 'private_key')).toBe(publicKey)
  })
})

describe('jwt, bearer, url_password', () => {
  test.each([
    ['jwt', `token: ${JWT}`, 'token: [masked:jwt]'],
    ['jwt', `${JWE}.`, '[masked:jwt].'],
    ['jwt', 'eyJhbGciOi.short and eyJ', 'eyJhbGciOi.short and eyJ'],
    ['bearer', 'Authorization: Bearer mF_9.B5f-4.1JqM', 'Authorization: Bearer [masked:bearer]'], // RFC 6750, section 2.1
    [
      'bearer',
      String.raw`{\"Authorization\":\"bearer abcdefghijklmnopqrstuvwx\"}`,
      String.raw`{\"Authorization\":\"bearer [masked:bearer]\"}`,
    ],
    ['bearer', 'Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==', 'Authorization: Basic [masked:bearer]'], // RFC 7617, section 2
    ['bearer', 'the bearer characteristics of this bearer bond', 'the bearer characteristics of this bearer bond'],
    ['url_password', 'postgres://ann:p%40ss@db.example.org/x', 'postgres://ann:[masked:url_password]@db.example.org/x'],
    ['url_password', 'redis://:hunter2@cache', 'redis://:[masked:url_password]@cache'],
    ['url_password', 'ftp://u:p@ss@host', 'ftp://u:[masked:url_password]@host'],
    ['url_password', 'https://x.example/a?b=1&access_token=s3cret&c=2', 'https://x.example/a?b=1&access_token=[masked:url_password]&c=2'],
    ['url_password', 'http://example.org:8080/a@b and see://this', 'http://example.org:8080/a@b and see://this'],
    ['url_password', 'https://example.org/?page=2&tokens=7', 'https://example.org/?page=2&tokens=7'],
  ] as const)('%s: %s', (pattern, text, masked) => expect(maskText(text, pattern)).toBe(masked))
})

describe('email', () => {
  test.each([
    'ann@example.org',
    'first.last+tag@mail.example.co.uk',
    'jürgen@müller.example',
    'почта@пример.рф',
    'ann%40example.org',
    'a@xn--bcher-kva.xn--p1ai',
    `${'x'.repeat(300)}@example.org`,
  ])('%s', (address) => {
    for (const [before, behind] of [
      ['', ''],
      ['<', '>'],
      ['"', '",'],
      ['mailto:', '?subject=x'],
      ['請聯繫', '謝謝'],
    ])
      expect(maskText(`${before}${address}${behind}`, 'email')).toBe(`${before}[masked:email]${behind}`)
  })

  test('two in one text are counted', () => {
    expect(maskRules({ patterns: ['email'] })({ text: 'a@b.org, c@d.org' }, ABOUT)).toEqual({
      text: '[masked:email], [masked:email]',
      masked: { email: 2 },
    })
  })

  test.each(['@handle', 'lodash@4.17.21', 'a @ b.org', 'ann@localhost', 'user@', 'npm i @scope/name@1.0.0'])('leaves %s', (text) =>
    expect(maskText(text, 'email')).toBe(text),
  )
})

describe('card', () => {
  // The test numbers that payment providers publish.
  const CARDS = [
    '4242424242424242',
    '4000056655665556',
    '4222222222222',
    '5555555555554444',
    '2223003122003222',
    '378282246310005',
    '6011111111111117',
    '3056930009020004',
    '36227206271667',
    '6555900000604105',
    '3566002020360505',
    '6200000000000005',
    '2200123456789019',
  ]

  test.each(CARDS)('%s', (card) => {
    expect(maskText(card, 'card')).toBe('[masked:card]')
    for (const separator of [' ', '-', '\u00a0']) {
      const grouped = (card.length === 15 ? /^(\d{4})(\d{6})(\d{5})$/ : /^(\d{4})(\d{4})(\d{4})(\d+)$/).exec(card)?.slice(1).join(separator)
      if (card.length !== 13) expect(maskText(`7 ${grouped}, 12/27`, 'card'), grouped).toBe('7 [masked:card], 12/27')
    }
    expect(maskText(String.raw`\n${card}\n`, 'card')).toBe(String.raw`\n[masked:card]\n`)
  })

  test('one wrong digit anywhere: none', () => {
    for (const card of CARDS) {
      for (let at = 0; at < card.length; at++) {
        const wrong = card.slice(0, at) + ((Number(card[at]) + 1) % 10) + card.slice(at + 1)
        expect(maskText(wrong, 'card')).toBe(wrong)
      }
    }
  })

  test.each([
    '1732312533123', // a time in ms
    '1732312533123456', // in µs
    '42424242424242421', // too long by one
    '0.4242424242424242',
    'a4242424242424242f',
    '4 2 4 2 4 2 4 2 4 2 4 2 4 2 4 2',
    '4242 4242-4242 4242',
    '4242 4242 4242 4242 4242 4242',
  ])('leaves %s', (text) => {
    // The last is one card and 8 digits more, and it may be one: what stands before it is not known.
    const masked = maskText(text, 'card')
    expect(masked === text || text.length > 24).toBe(true)
  })

  test('a number that is one becomes a text', () => {
    expect(maskRules({ patterns: ['card'] })({ card: 4242424242424242, ms: 1732312533123 }, ABOUT)).toEqual({
      card: '[masked:card]',
      ms: 1732312533123,
      masked: { card: 1 },
    })
  })
})

describe('iban', () => {
  // The examples of the IBAN registry.
  const IBANS = [
    'DE89370400440532013000',
    'GB29NWBK60161331926819',
    'FR1420041010050500013M02606',
    'NL91ABNA0417164300',
    'NO9386011117947',
    'MT84MALT011000012345MTLCAST001S',
    'SA0380000000608010167519',
    'BE68539007547034',
  ]

  test.each(IBANS)('%s', (iban) => {
    const grouped = iban.replaceAll(/(.{4})(?=.)/g, '$1 ')
    for (const spelled of [iban, grouped, iban.toLowerCase(), grouped.replaceAll(' ', '\u00a0')])
      expect(maskText(`to ${spelled}, please`, 'iban')).toBe('to [masked:iban], please')
  })

  test('wrong check digits, two characters swapped, another length: none', () => {
    for (const iban of IBANS) {
      const wrong = `${iban.slice(0, 2)}${String((Number(iban.slice(2, 4)) + 1) % 100).padStart(2, '0')}${iban.slice(4)}`
      for (const text of [wrong, `${iban}0`, iban.slice(0, -1), `${iban.slice(0, -2)}${iban.at(-1)}${iban.at(-2)}`])
        if (text !== iban) expect(maskText(text, 'iban'), text).toBe(text)
    }
  })
})

describe('ssn, phone', () => {
  test.each([
    ['ssn', 'SSN 078-05-1120.', 'SSN [masked:ssn].'],
    ['ssn', '219 09 9999', '[masked:ssn]'],
    ['ssn', '000-12-3456, 666-12-3456, 900-12-3456, 123-00-4567, 123-45-0000', null],
    ['ssn', '078-05-11201, 1078-05-1120, 078-05-1120-9, 078051120', null],
    ['phone', 'call +49 (0)30 123456-7 now', 'call [masked:phone] now'],
    ['phone', '+442071838750', '[masked:phone]'],
    ['phone', '(212) 555-0123 or 212-555-0123', '[masked:phone] or [masked:phone]'],
    ['phone', '+1234567890123456, a+4420718387, 2026-11-22, 1.2.3.4', null],
  ] as const)('%s: %s', (pattern, text, masked) => expect(maskText(text, pattern)).toBe(masked ?? text))
})

test('phone is not looked for unless it is named', () => {
  expect((maskRules()({ text: '+442071838750 a@b.org' }, ABOUT) as { text: string }).text).toBe('+442071838750 [masked:email]')
})

/** A pattern that takes quadratic time would need hours for one of these, and one that takes exponential time does not end. */
test(
  'hostile texts are gone over in linear time',
  () => {
    const size = scale(250_000, 4_000_000)
    const fill = (part: string): string => part.repeat(Math.ceil(size / part.length))
    const parts = [
      'a',
      '1',
      '4',
      '@',
      '-',
      ' ',
      '[',
      '"',
      '\\',
      'a@',
      'a@b.',
      'a%40',
      '1 ',
      '1-1-',
      '4111-111-',
      '4111 1111 1111 1112 ',
      '4242424242424242 ',
    ]
    parts.push(
      '-----BEGIN PRIVATE KEY-----',
      '-----BEGIN ',
      '-----END PRIVATE KEY-----',
      'eyJ',
      'eyJaaaaaaaaaa.',
      'a.',
      '://',
      '://a:',
      '://u:p',
      ':',
      '?token=',
    )
    parts.push(
      'bearer ',
      'authorization: ',
      'sk-',
      'AKIA',
      'SG.aaaaaaaaaaaaaaaaaaaa.',
      'secret_key="',
      'AGE-SECRET-KEY-1',
      'PRIVATE+KEY+',
      'DE89',
      'DE89 3704 ',
    )
    parts.push(
      '123-45-',
      '+1',
      '+1 (',
      '[masked:',
      '[masked:email]',
      '{"a":',
      '0123456789abcdef',
      'hooks.slack.com/services/',
      `a@${'a'.repeat(63)}.`,
    )
    const data: { [key: string]: string } = {}
    for (const part of parts) {
      data[`of ${part}`] = fill(part)
      data[`in a JSON text: ${part}`] = JSON.stringify([fill(part).slice(0, size / 20)])
    }
    data['before one @'] = `${fill('a')}@`
    data['a domain'] = `a@${fill('a.')}`
    data['a bearer'] = `Bearer ${fill('a')}`
    data['a password'] = `://u:${fill('@')}`
    data['many keys to one END'] = `${fill('-----BEGIN PRIVATE KEY-----')}-----END PRIVATE KEY-----`
    data['deep'] = `${'['.repeat(size / 2)}${']'.repeat(size / 2)}`
    data['wide'] = JSON.stringify(Object.fromEntries(Array.from({ length: 2000 }, (_, i) => [`a${i}@example.org`, 'a@b.org'])))
    const mask = maskRules({ patterns: MASK_PATTERNS, members: ['password'], pointers: ['/*/*/*'], keys: true })
    const masked = mask(data, ABOUT)
    expect(Object.keys(masked)).toHaveLength(Object.keys(data).length + 1)
  },
  scale(60_000, 600_000),
)

/** V8 keeps where to go back to for some repetitions, and throws where it has no more memory for that. */
test('what goes on for megabytes is masked as well', () => {
  const data = Object.fromEntries(['sk-', 'eyJ', 'Bearer ', 'a@', '"', '1'].map((start) => [start, `${start}${'a1'.repeat(4_000_000)}`]))
  const masked = maskRules({ patterns: ['token', 'jwt', 'bearer', 'email'] })(data, ABOUT)
  expect(masked).toMatchObject({ 'sk-': '[masked:token]', 'Bearer ': 'Bearer [masked:bearer]', masked: { token: 1, bearer: 1 } })
})

/** What gives access: API tokens, private keys, JWTs, bearer tokens, passwords in URLs. */
import { byAnyOf, byPattern, EDGE, where } from './finder.ts'
import type { Finder, Span } from './finder.ts'

/** By the prefixes that their providers document, so that a scan can tell them. */
const TOKENS: readonly string[] = [
  // OpenAI, Anthropic, OpenRouter and others; DeepSeek's look the same.
  'sk-[A-Za-z0-9_-]{16,}',
  'gsk_[A-Za-z0-9]{40,}', // Groq
  'xai-[A-Za-z0-9]{40,}',
  'pplx-[A-Za-z0-9]{40,}', // Perplexity
  'r8_[A-Za-z0-9]{32,}', // Replicate
  'hf_[A-Za-z0-9]{30,}', // Hugging Face
  'tvly-[A-Za-z0-9-]{20,}', // Tavily
  'pcsk_[A-Za-z0-9_]{40,}', // Pinecone
  // GitHub, GitLab
  'gh[opsur]_[A-Za-z0-9]{30,}',
  'github_pat_[A-Za-z0-9_]{22,}',
  'gl(?:pat|agent|cbt|dt|ft|imt|oas|ptt|rt|soat)-[A-Za-z0-9_.-]{20,}',
  // Amazon (access key ids), Google, Azure storage, DigitalOcean, Databricks, Vault, Doppler, Fly.io
  '(?:A3T[A-Z0-9]|ABIA|ACCA|AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])',
  'AIza[A-Za-z0-9_-]{35}',
  'ya29\\.[A-Za-z0-9_-]{20,}',
  'GOCSPX-[A-Za-z0-9_-]{28}',
  '1//0[A-Za-z0-9_-]{40,}',
  'do[opr]_v1_[0-9a-f]{64}',
  'dapi[0-9a-f]{32}',
  'hv[bs]\\.[A-Za-z0-9_-]{24,}',
  'dp\\.(?:pt|st|ct|sa|scim|audit)\\.[A-Za-z0-9_.-]{30,}',
  'fo1_[A-Za-z0-9_-]{43}',
  // Stripe, Shopify, Square
  '(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,}',
  'whsec_[A-Za-z0-9+/=]{24,}',
  'shp(?:at|ca|pa|ss|tka)_[0-9A-Fa-f]{32}',
  'sq0(?:atp|csp|idp)-[A-Za-z0-9_-]{22,}',
  // Slack, Telegram, Discord, Twilio, SendGrid, Mailgun, Mailchimp
  'xox[abeoprs]-[A-Za-z0-9-]{10,}',
  'xapp-[A-Za-z0-9-]{10,}',
  '[0-9]{8,10}:AA[A-Za-z0-9_-]{33}',
  '[MNO][A-Za-z0-9_-]{23,27}\\.[A-Za-z0-9_-]{6}\\.[A-Za-z0-9_-]{27,38}',
  'SK[0-9a-f]{32}(?![A-Za-z0-9])',
  'SG\\.[A-Za-z0-9_-]{16,32}\\.[A-Za-z0-9_-]{16,64}',
  'key-[0-9a-f]{32}(?![A-Za-z0-9])',
  '[0-9a-f]{32}-us[0-9]{1,2}(?![A-Za-z0-9])',
  // npm, PyPI, Docker, RubyGems, crates.io
  'npm_[A-Za-z0-9]{36}',
  'pypi-AgE[A-Za-z0-9_-]{40,}',
  'dckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}',
  'rubygems_[0-9a-f]{48}',
  'cio[A-Za-z0-9]{32}(?![A-Za-z0-9])',
  // Atlassian, Notion, Linear, Airtable, Figma, Grafana, PostHog, Sentry, New Relic, PlanetScale
  'ATATT3[A-Za-z0-9_=-]{40,}',
  '(?:ntn|secret)_[A-Za-z0-9]{40,}',
  'lin_(?:api|oauth)_[A-Za-z0-9]{32,}',
  'pat[A-Za-z0-9]{14}\\.[0-9a-f]{64}',
  'fig[dou]r?_[A-Za-z0-9_-]{40,}',
  'gl(?:sa|c)_[A-Za-z0-9+/=_-]{32,}',
  'ph[cx]_[A-Za-z0-9]{32,}',
  'sntr[uy]s_[A-Za-z0-9+/=_-]{40,}',
  'NRAK-[A-Z0-9]{27}',
  'pscale_(?:tkn|oauth|pw)_[A-Za-z0-9_.-]{32,}',
]

const token = byAnyOf(
  // Each of them has so many of these in a row.
  where(/[A-Za-z0-9_+/=-]{15}/, byPattern(new RegExp(`${EDGE}(?:${TOKENS.join('|')})`, 'g'))),
  // These have no prefix of their own: the name before them tells.
  where(/access_?key|account_?key/i, byPattern(/(?:secret_?access_?key|account_?key)["'\\\s:=]{1,8}([A-Za-z0-9/+]{40,86}={0,2})/gi)),
  byPattern(/(hooks\.slack\.com\/(?:services|workflows|triggers)\/[A-Za-z0-9/_-]{20,})/g, 'hooks.slack.com'),
)

const BEGIN = /-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----/g
const END = /-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----/g
/** A key of 16,384 bits takes some 13,000 characters; a PGP block with several may take more. */
const KEY_CHARACTERS_MAX = 65_536
/** Lines of base64, and a shorter last one: of a key that was cut off. In a quoted text they end with `\n`. */
const BODY = /(?:(?:\s|\\[nrt]){0,8}[A-Za-z0-9+/=]{16,}){0,1024}(?:(?:\s|\\[nrt]){1,8}[A-Za-z0-9+/=]+)?/y

/** From BEGIN to its END; where there is none, to the end of what looks like a key. */
function pem(text: string): readonly Span[] {
  if (!text.includes('PRIVATE KEY')) return []
  const spans: Span[] = []
  let end: RegExpExecArray | null = null
  let ended = false
  BEGIN.lastIndex = 0
  for (let begin = BEGIN.exec(text); begin !== null; begin = BEGIN.exec(text)) {
    const from = BEGIN.lastIndex
    // Looked for once and remembered: a text of a thousand BEGINs is not read a thousand times.
    while (!ended && (end === null || end.index < from)) {
      END.lastIndex = from
      end = END.exec(text)
      ended = end === null
    }
    let to: number
    if (end !== null && end.index - from <= KEY_CHARACTERS_MAX) to = end.index + end[0].length
    else {
      BODY.lastIndex = from
      to = from + (BODY.exec(text)?.[0].length ?? 0)
    }
    spans.push([begin.index, to])
    BEGIN.lastIndex = to
  }
  return spans
}

const privateKey = byAnyOf(
  pem,
  // Key files of signed notes, this ledger's own too (docs/format.md, "Keys"), and of age.
  byPattern(/PRIVATE\+KEY\+[^+\s"\\]{1,255}\+[0-9a-f]{8}\+([A-Za-z0-9+/]{40,}={0,2})/g, 'PRIVATE+KEY+'),
  byPattern(/AGE-SECRET-KEY-1[A-Z0-9]{50,}/g, 'AGE-SECRET-KEY-1'),
)

/** JWS in three parts, JWE in five (RFC 7519); each begins with the base64url of `{"`. */
const jwt = byPattern(/(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)?/g, 'eyJ')

const bearer = where(
  /bearer|basic/i,
  byAnyOf(
    // RFC 6750. "bearer" is a word as well: what follows must be long, or have a digit.
    byPattern(
      /\bbearer(?:\s|["':=]|%20|\\[nrt]){1,4}([A-Za-z0-9._~+/-]{8,}={0,2})/gi,
      null,
      (found) => found.length >= 24 || /\d/.test(found),
    ),
    byPattern(/authorization["'\\\s:=]{1,8}basic\s{1,4}([A-Za-z0-9+/]{8,}={0,2})/gi),
  ),
)

const urlPassword = byAnyOf(
  // The class has no slash, so an attempt ends before the next `://`.
  byPattern(/:\/\/[^\s/?#:@"'<>\\]*:([^\s/?#"'<>\\]+)(?=@)/g, '://'),
  where(
    /[?&][A-Za-z_-]{3,25}=/,
    byPattern(
      /[?&](?:(?:access|auth|id|refresh|session)_?token|token|api[-_]?key|client_?secret|secret|password|passwd|pwd|sig|signature|x-(?:amz|goog)-(?:signature|security-token))=([^&\s"'#<>\\]+)/gi,
    ),
  ),
)

export const SECRETS = { token, private_key: privateKey, jwt, bearer, url_password: urlPassword } as const satisfies Record<string, Finder>

/** The small parts of what talks to S3: its XML, its profiles, its chain of credentials, and where an archive lies. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { findCredentials } from '../../src/archives/s3-credentials.ts'
import type { FoundCredentials } from '../../src/archives/s3-credentials.ts'
import { parseProfiles, readProfile } from '../../src/archives/s3-profile.ts'
import type { Environment } from '../../src/archives/s3-profile.ts'
import { childText, parseXml } from '../../src/archives/s3-xml.ts'
import { parseArchiveTarget } from '../../src/archives/target.ts'
import { openArchive } from '../../src/open-archive.ts'
import { serve } from '../helpers/http-server.ts'
import { tempDir } from '../helpers/temp.ts'

describe('XML', () => {
  test('elements, text, entities, name spaces', () => {
    const root = parseXml(
      '\ufeff<?xml version="1.0"?>\n<!-- - > --><s:A xmlns:s="x>y" b=\'<\'> <B>1 &lt; 2 &#38; &#x1F600;</B><C/><B>second</B></s:A>\n',
    )
    expect(root?.name).toBe('A')
    expect(childText(root!, 'B')).toBe('1 < 2 & 😀')
    expect(childText(root!, 'C')).toBe('')
    expect(childText(root!, 'D')).toBe(null)
  })

  test.each([
    '',
    'text',
    '<a>',
    '<a></b>',
    '<a/><b/>',
    '</a>',
    '<a',
    '<a b="></a>',
    '<a>&unknown;</a>',
    '<a>&</a>',
    '<a>&#xD800000;</a>',
    '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
    '<a><![CDATA[x]]></a>',
    '<a/>text',
    '<1/>',
    '<a><?x',
    '<a><!-- ',
    '<'.repeat(1000),
    '<a>'.repeat(50) + '</a>'.repeat(50),
    '<constructor>&constructor;</constructor>',
  ])('refuses %j', (text) => expect(parseXml(text)).toBe(null))

  test('whatever comes is an element or nothing', () => {
    const piece = fc.constantFrom('<a>', '</a>', '<a/>', '<', '>', '"', "'", '&', '&amp;', '&#1;', '<!--', '-->', '<?', '?>', '/', 'x', ' ')
    fc.assert(fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => void parseXml(pieces.join(''))))
  })

  test('text comes back as it was', () => {
    const escaped = (text: string): string => text.replace(/[&<>]/g, (c) => `&#${c.codePointAt(0)};`)
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        expect(childText(parseXml(`<a><b>${escaped(text)}</b></a>`)!, 'b')).toBe(text)
      }),
    )
  })

  // Each of these would take a parser that looks at bytes twice for every byte before it hours.
  test.each([
    ['<a '.repeat(500_000)],
    ['&'.repeat(1_500_000)],
    ['<a>' + '&amp'.repeat(400_000) + '</a>'],
    ['<a>' + '<!--'.repeat(400_000)],
    ['<a b="'.repeat(250_000)],
    ['<a>' + ' '.repeat(1_500_000) + '</a>'],
    ['<a' + ' '.repeat(1_500_000)],
    ['<' + 'a'.repeat(1_500_000) + '>'],
  ])('goes through hostile text once (%#)', (text) => void parseXml(text))

  test('has limits', () => {
    expect(parseXml(`<a>${'<b/>'.repeat(100_001)}</a>`)).toBe(null)
    expect(parseXml(`<a>${' '.repeat(8 * 1024 * 1024)}</a>`)).toBe(null)
    expect(parseXml(`<a>${'<b/>'.repeat(5000)}</a>`)?.children.length).toBe(5000)
  })
})

const ini = `
# of a person
[default]
aws_access_key_id = ID1
aws_secret_access_key=secret/with=equals
region = eu-north-1   # there
s3 =
  endpoint_url = https://nested.example.com
[profile cold]
Region=eu-south-1
endpoint_url = https://s3.cold.example.com
[cold]
aws_access_key_id=ID2
aws_secret_access_key=two
aws_session_token=token
broken line
`

function homeWith(credentials: string, config = ''): Environment {
  const home = tempDir()
  mkdirSync(join(home, '.aws'))
  writeFileSync(join(home, '.aws', 'credentials'), credentials)
  writeFileSync(join(home, '.aws', 'config'), config)
  return { HOME: home, AWS_EC2_METADATA_DISABLED: 'true' }
}

async function found(environment: Environment, given?: FoundCredentials, fetch = globalThis.fetch): Promise<FoundCredentials> {
  return findCredentials({ given, environment, profile: await readProfile(environment), fetch, timeoutMs: 2000 })
}

describe('credentials', () => {
  test('profiles', () => {
    const sections = parseProfiles(ini)
    expect({ ...sections.get('default') }).toEqual({
      aws_access_key_id: 'ID1',
      aws_secret_access_key: 'secret/with=equals',
      region: 'eu-north-1',
      s3: '',
    })
    expect({ ...sections.get('profile cold') }).toEqual({ region: 'eu-south-1', endpoint_url: 'https://s3.cold.example.com' })
    expect(parseProfiles('[__proto__]\npolluted=1\n').size).toBe(1)
    expect(({} as { polluted?: string }).polluted).toBe(undefined)
  })

  test('come from the options, the environment, a profile, in this order; a profile that is named comes first', async () => {
    const home = homeWith(ini)
    const environment = { ...home, AWS_ACCESS_KEY_ID: 'ID0', AWS_SECRET_ACCESS_KEY: 'zero' }
    const given = { accessKeyId: 'ID', secretAccessKey: 's', source: '', expires_ms: null }
    expect(await found(environment, given)).toMatchObject({ accessKeyId: 'ID', source: 'the options' })
    expect(await found(environment)).toMatchObject({ accessKeyId: 'ID0', source: 'the environment' })
    expect(await found({ ...environment, AWS_SECRET_ACCESS_KEY: '' })).toMatchObject({ accessKeyId: 'ID1', source: 'the profile default' })
    expect(await found({ ...environment, AWS_PROFILE: 'cold' })).toMatchObject({
      accessKeyId: 'ID2',
      sessionToken: 'token',
      source: 'the profile cold',
    })
  })

  test('that are nowhere, or of a profile that is not there', async () => {
    const home = homeWith('')
    await expect(found(home)).rejects.toMatchObject({ code: 'key_error' })
    await expect(readProfile({ ...home, AWS_PROFILE: 'none' })).rejects.toMatchObject({ code: 'key_error' })
    await expect(found(homeWith('[default]\nrole_arn=arn:x\n'))).rejects.toThrow(/role_arn, which is not supported/)
  })

  test.skipIf(process.platform === 'win32')('of a command', async () => {
    const script = join(tempDir(), 'give')
    writeFileSync(
      script,
      '#!/bin/sh\necho \'{"Version":1,"AccessKeyId":"ID3","SecretAccessKey":"three","SessionToken":"t","Expiration":"2030-01-01T00:00:00Z"}\'\n',
    )
    chmodSync(script, 0o700)
    const answer = await found(homeWith('', `[default]\ncredential_process = ${script}\n`))
    expect(answer).toMatchObject({ accessKeyId: 'ID3', sessionToken: 't', expires_ms: Date.UTC(2030, 0) })
    // A passphrase is no business of another program.
    vi.stubEnv('CORTEX_LEDGER_PASSPHRASE', 'open')
    onTestFinished(() => void vi.unstubAllEnvs())
    const curious = homeWith('', `[default]\ncredential_process = test -z "$CORTEX_LEDGER_PASSPHRASE" && ${script}\n`)
    expect(await found(curious)).toMatchObject({ accessKeyId: 'ID3' })
    for (const command of ['false', 'echo none', 'echo null', "echo '{}'"])
      await expect(found(homeWith('', `[default]\ncredential_process = ${command}\n`))).rejects.toMatchObject({ code: 'key_error' })
  })

  test('of a container and of a machine', async () => {
    const answer = JSON.stringify({ AccessKeyId: 'ID4', SecretAccessKey: 'four', Token: 't', Expiration: '2030-01-01T00:00:00Z' })
    const endpoint = await serve((request, response) => {
      const { url, method, headers } = request
      if (url === '/container') return void response.writeHead(headers.authorization === 'of a file' ? 200 : 403).end(answer)
      if (url === '/latest/api/token' && method === 'PUT') return void response.end('the-token')
      if (headers['x-aws-ec2-metadata-token'] !== 'the-token') return void response.writeHead(401).end()
      response.end(url?.endsWith('/a-role') === true ? answer : 'a-role')
    })
    const token = join(tempDir(), 'token')
    writeFileSync(token, 'of a file\n')
    const container = {
      ...homeWith(''),
      AWS_CONTAINER_CREDENTIALS_FULL_URI: `${endpoint}/container`,
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: token,
    }
    expect(await found(container)).toMatchObject({ accessKeyId: 'ID4', sessionToken: 't' })
    await expect(found({ ...container, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: '' })).rejects.toMatchObject({ code: 'key_error' })
    await expect(found({ ...container, AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://example.com/container' })).rejects.toThrow(
      /must be https/,
    )
    const machine = { ...homeWith(''), AWS_EC2_METADATA_DISABLED: '', AWS_EC2_METADATA_SERVICE_ENDPOINT: endpoint }
    expect(await found(machine)).toMatchObject({ accessKeyId: 'ID4', source: 'the role a-role of this machine' })
  })
})

describe('where an archive lies', () => {
  test('paths and URLs', () => {
    expect(parseArchiveTarget('cold')).toEqual({ kind: 'directory', path: resolve('cold') })
    expect(parseArchiveTarget('file:///var/cold')).toEqual({ kind: 'directory', path: '/var/cold' })
    expect(parseArchiveTarget('s3://bucket')).toEqual({ kind: 's3', bucket: 'bucket', prefix: '', endpoint: null, region: null })
    expect(parseArchiveTarget('s3://my.bucket/a//b/?region=eu-x-1&endpoint=http://[::1]:9000/')).toEqual({
      kind: 's3',
      bucket: 'my.bucket',
      prefix: 'a/b/',
      endpoint: 'http://[::1]:9000',
      region: 'eu-x-1',
    })
  })

  test.each([
    '',
    's3://',
    's3:///a',
    's3://b',
    's3://bucket?key=x',
    's3://bucket/../x?a',
    's3://bucket?region=EU WEST',
    's3://bucket?endpoint=ftp://x',
    's3://bucket?endpoint=https://x/path',
    's3://bucket/a%00b',
    's3://bu_cket?endpoint=x',
  ])('refuses %j', (text) => expect(() => parseArchiveTarget(text)).toThrow(TypeError))

  test('credentials in a URL are refused, and not told', () => {
    for (const text of ['s3://ID:hush@bucket/x', 's3://bucket?endpoint=https://ID:hush@example.com'])
      expect(() => parseArchiveTarget(text)).toThrow(expect.not.objectContaining({ message: expect.stringContaining('hush') }))
  })

  test('another scheme is not known', () => {
    expect(() => parseArchiveTarget('gs://bucket/x')).toThrow(expect.objectContaining({ code: 'unsupported' }))
  })

  test('the location is found again by what it says, and holds no key', async () => {
    const environment = {
      AWS_ENDPOINT_URL: 'https://all.example.com',
      AWS_ENDPOINT_URL_S3: 'https://s3.example.com',
      AWS_REGION: 'eu-x-1',
      AWS_ACCESS_KEY_ID: 'ID',
      AWS_SECRET_ACCESS_KEY: 'hush',
    }
    const archive = await openArchive('s3://bucket/a/b/', { environment })
    expect(archive.location).toBe('s3://bucket/a/b?endpoint=https://s3.example.com&region=eu-x-1')
    expect((await openArchive(archive.location, { environment: {} })).location).toBe(archive.location)
    expect((await openArchive('s3://bucket', { environment: {} })).location).toBe('s3://bucket')
    const { HOME: home } = homeWith('', '[default]\nregion=eu-z-1\nendpoint_url=https://p.example.com\n')
    expect((await openArchive('s3://bucket', { environment: { HOME: home } })).location).toBe(
      's3://bucket?endpoint=https://p.example.com&region=eu-z-1',
    )
  })

  test('AWS itself has the bucket in the host, but for names with a dot', async () => {
    const hosts: string[] = []
    const fetch: typeof globalThis.fetch = async (url) => {
      hosts.push(String(url))
      return new Response(null, { status: 200, headers: { 'content-length': '1' } })
    }
    const options = { fetch, environment: {}, credentials: { accessKeyId: 'ID', secretAccessKey: 's' } }
    for (const location of ['s3://bucket/a?region=eu-west-3', 's3://my.bucket', 's3://bucket?region=cn-north-1'])
      await (await openArchive(location, options)).stat('n')
    expect(hosts).toEqual([
      'https://bucket.s3.eu-west-3.amazonaws.com/a/n',
      'https://s3.us-east-1.amazonaws.com/my.bucket/n',
      'https://bucket.s3.cn-north-1.amazonaws.com.cn/n',
    ])
  })

  test.each([{ partBytes: 1024 }, { attempts: 0 }, { timeoutMs: 0 }, { pauseMs: -1 }, { attempts: 1.5 }])('options %j', async (options) => {
    await expect(openArchive('s3://bucket', { environment: {}, ...options })).rejects.toThrow(RangeError)
  })
})

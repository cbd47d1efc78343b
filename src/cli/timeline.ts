/** `cortex-ledger timeline`: what led to what in one task, as a tree. */
import type { Command } from 'commander'
import { timeline } from '../derive/timeline.ts'
import type { Timeline, TimelineNode } from '../derive/timeline.ts'
import { LedgerError } from '../ledger/errors.ts'
import { Misuse } from './errors.ts'
import { LEDGER_ARGUMENT, locationOf, withLedger } from './location.ts'
import { outcomeColour } from './records.ts'
import type { Terminal } from './terminal.ts'
import { counted, cut, grouped, printable, widthOf } from './text.ts'

export function addTimeline(program: Command, terminal: Terminal): void {
  program
    .command('timeline')
    .summary('what led to what in one task, as a tree')
    .description('Prints the records of one correlation id as a tree: each call, tool call and event under what led to it.')
    .argument('[LEDGER]', LEDGER_ARGUMENT)
    .option('--correlation-id <id>', 'the task, conversation or trace')
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExample:\n  $ cortex-ledger timeline ./audit --correlation-id task-42')
    .action(async (argument: string | undefined, flags: { readonly correlationId?: string; readonly json?: boolean }) => {
      const location = locationOf(argument)
      const id = flags.correlationId
      if (id === undefined) throw new Misuse('--correlation-id says whose timeline: cortex-ledger query shows which there are')
      await withLedger(terminal, location, { readOnly: true }, async (ledger) => {
        const found = await timeline(ledger, id)
        if (found.nodes.length === 0)
          throw new LedgerError('not_found', `no record has the correlation id ${printable(JSON.stringify(id))}: check it`)
        await terminal.print(flags.json === true ? JSON.stringify(found) : timelineText(found, terminal).join('\n'))
      })
    })
}

/** Deeper, the tree goes on without going further to the right. */
const DEPTH_SHOWN = 40

/** For each node, whether another child of the same parent comes behind it. */
function lastOnes(nodes: readonly TimelineNode[]): boolean[] {
  const isLast: boolean[] = Array.from({ length: nodes.length })
  // From the end: whether one at this depth was seen since the last one of a lower depth.
  const seen: boolean[] = []
  for (let at = nodes.length - 1; at >= 0; at--) {
    const { depth } = nodes[at]!
    isLast[at] = seen[depth] !== true
    seen.length = depth + 1
    seen[depth] = true
  }
  return isLast
}

function branches(nodes: readonly TimelineNode[]): string[] {
  const isLast = lastOnes(nodes)
  const open: boolean[] = []
  return nodes.map(({ depth }, at) => {
    open.length = depth
    open[depth] = isLast[at] !== true
    if (depth === 0) return ''
    const shown = Math.min(depth, DEPTH_SHOWN)
    let stem = ''
    for (let level = 1; level < shown; level++) stem += open[level] === true ? '│  ' : '   '
    return `${stem}${isLast[at] === true ? '└─ ' : '├─ '}`
  })
}

function durationText(ms: number | null): string {
  if (ms === null) return ''
  return ms >= 10_000 ? `${(ms / 1000).toFixed(1)} s` : `${ms >= 100 ? grouped(Math.round(ms)) : Number(ms.toPrecision(3))} ms`
}

function remarks(node: TimelineNode): string[] {
  return [
    ...(node.kind === 'event' ? [node.type] : node.kind === 'call' ? [] : [node.kind]),
    ...(node.model === null ? [] : [node.model]),
    durationText(node.duration_ms),
    ...(node.tokens === null ? [] : [`${grouped(node.tokens)} tokens`]),
    ...(node.tools.length === 0 ? [] : [`asks for ${node.tools.join(', ')}`]),
    ...(node.missing_cause === null ? [] : [`led to by ${node.missing_cause}, which is not of this task`]),
    ...(node.in_cycle ? ['its causes lead back to itself'] : []),
    ...(node.withheld ? ['entry withheld'] : []),
  ].filter((remark) => remark !== '')
}

function timelineText(found: Timeline, { colours, width }: Terminal): string[] {
  const { bold, dim } = colours
  const stems = branches(found.nodes)
  const lines = found.nodes.map((node, at) => {
    const stem = stems[at] as string
    const name = printable(`${node.actor} · ${node.action}`)
    const outcome = node.outcome === 'success' ? '' : node.outcome
    const rest = [String(node.seq), ...remarks(node)].map((remark) => printable(remark)).join('  ')
    const used = widthOf(stem) + widthOf(name) + (outcome === '' ? 0 : outcome.length + 2)
    const room = width - used - 2
    const plain = room < 4 ? '' : `  ${dim(cut(rest, room))}`
    return `${dim(stem)}${node.kind === 'tool' ? colours.magenta(name) : bold(name)}${outcome === '' ? '' : `  ${outcomeColour(colours, node.outcome)(outcome)}`}${plain}`
  })
  const { calls, tools, events, errors, denials } = found
  const figures = [
    counted(calls, 'call'),
    counted(tools, 'tool call'),
    counted(events, 'event'),
    ...(errors > 0 ? [counted(errors, 'error')] : []),
    ...(denials > 0 ? [counted(denials, 'denial')] : []),
  ]
  return [`${bold(printable(found.correlation_id))}  ${dim(figures.join(', '))}`, ...lines]
}

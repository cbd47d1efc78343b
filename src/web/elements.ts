/** Small helpers that make elements. Text only ever becomes text, never markup. */
import { printable } from '../verify/printable.ts'

type Child = Node | string | null

interface Attributes {
  readonly class?: string
  readonly title?: string
  readonly id?: string
  readonly scope?: string
  readonly tabindex?: string
  readonly [data: `data-${string}`]: string
}

export function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Attributes,
  ...children: readonly Child[]
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name)
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value as string)
  for (const child of children) if (child !== null) made.append(child)
  return made
}

/** The element of the page that has this id. */
export function byId<Kind extends HTMLElement>(id: string, kind: new () => Kind): Kind {
  const found = document.getElementById(id)
  if (!(found instanceof kind)) throw new Error(`the page has no ${id}`)
  return found
}

/** Text from a file, with all that could turn it around made visible. */
export function shown(text: string): string {
  return printable(text)
}

/** Names and values, one pair a line; a pair whose value is null is left out. */
export function pairs(rows: readonly (readonly [name: string, value: Child])[]): HTMLDListElement {
  const list = element('dl', { class: 'pairs' })
  for (const [name, value] of rows) {
    if (value === null) continue
    list.append(element('dt', {}, shown(name)), element('dd', {}, typeof value === 'string' ? shown(value) : value))
  }
  return list
}

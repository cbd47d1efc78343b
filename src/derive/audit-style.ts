/** The style of an audit report, for screens and for paper. */
export const AUDIT_STYLE = `
:root { color-scheme: light; --ink: #1b1f24; --dim: #59636e; --line: #d1d9e0; --good: #116329; --bad: #b3261e; --open: #7a5200; }
body { margin: 2rem auto; max-width: 80rem; padding: 0 1.5rem; color: var(--ink); background: #fff; font: 14px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1rem 0 .4rem; }
dl { margin: 0; }
dl > div { display: grid; grid-template-columns: 15rem 1fr; gap: 1rem; padding: .3rem 0; border-bottom: 1px solid var(--line); }
dt { color: var(--dim); }
dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
code, pre { font: 12px/1.4 ui-monospace, monospace; }
pre { margin: .3rem 0 0; white-space: pre-wrap; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid var(--line); }
th { color: var(--dim); font-weight: 600; white-space: nowrap; }
.n { text-align: right; font-variant-numeric: tabular-nums; }
time { white-space: nowrap; font-variant-numeric: tabular-nums; }
td.name, td.long { overflow-wrap: anywhere; }
.small td.name { max-width: 20rem; }
table.records { table-layout: fixed; }
.records td { overflow-wrap: anywhere; }
.records th:nth-child(1) { width: 4.5rem; } .records th:nth-child(2) { width: 10rem; } .records th:nth-child(5) { width: 5rem; }
.records th:nth-child(8) { width: 7.5rem; } .records th:nth-child(9) { width: 8.5rem; }
td p { margin: 0 0 .3rem; overflow-wrap: anywhere; }
small { color: var(--dim); }
.good { color: var(--good); } .bad { color: var(--bad); } .open { color: var(--open); }
.side { display: flex; flex-wrap: wrap; gap: 2.5rem; align-items: start; }
table.small { width: auto; }
.verdicts td:nth-child(-n+2) { white-space: nowrap; }
footer { margin-top: 2rem; color: var(--dim); font-size: 12px; }
@page { margin: 15mm; size: A4 landscape; }
@media print {
  body { margin: 0; padding: 0; max-width: none; font-size: 9pt; }
  thead { display: table-header-group; }
  tr, dl > div { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  .good, .bad, .open { font-weight: 600; }
}
`

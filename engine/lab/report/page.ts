/**
 * The page around a report: one file without scripts and without anything from elsewhere. Its content security policy refuses all but its
 * own style sheet, by that sheet's hash. On paper it is A4, with the heads of tables on every page.
 */
import { createHash } from 'node:crypto';
import { html, Html } from './html.ts';

const STYLE = `
:root { color-scheme: light; }
body { margin: 2rem auto; max-width: 74rem; padding: 0 1.5rem; color: #1c2126; background: #fff;
  font: 15px/1.45 Inter, system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; border-bottom: 1px solid #b9c1c9; padding-bottom: .2rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
p, li, dd { max-width: 60rem; }
.text { white-space: pre-line; }
table { border-collapse: collapse; margin: .8rem 0 1.2rem; width: 100%; font-size: .87rem; }
caption { text-align: left; color: #48515a; padding: .2rem 0; }
th, td { border-bottom: 1px solid #d8dde2; padding: .25rem .5rem; text-align: left; vertical-align: top; }
thead th { border-bottom: 2px solid #6b7682; }
tbody th { font-weight: 500; }
.figure { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.short { white-space: nowrap; }
thead th { min-width: 5.5rem; }
.help { display: block; color: #5b6570; font-weight: 400; font-size: .8rem; }
.aside { color: #48515a; font-size: .87rem; }
.chosen th, .chosen td, .turns th, .turns td { background: #fff3d6; }
.assumed .mark, .lab .mark { font-weight: 700; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: .6rem 0; }
dt { font-weight: 600; grid-column: 1; }
dd { margin: 0; grid-column: 2; }
figure { margin: 1rem 0; }
svg { max-width: 100%; height: auto; }
code { font-size: .92em; }
footer { margin-top: 2.5rem; color: #5b6570; font-size: .85rem; }
@page { size: A4; margin: 14mm 12mm; }
@media print {
  body { margin: 0; padding: 0; max-width: none; font-size: 9pt; }
  thead { display: table-header-group; }
  tr, figure, li { break-inside: avoid; }
  h2, h3, caption { break-after: avoid; }
}
`;

export function page(title: string, body: readonly Html[]): string {
  const hash = createHash('sha256').update(STYLE).digest('base64');
  // The hash is that of every character between the tags.
  const style = new Html(`<style>${STYLE}</style>`);
  const policy = `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'`;
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta http-equiv="Content-Security-Policy" content="${new Html(policy)}" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${title}</title>
        ${style}
      </head>
      <body>
        ${body}
      </body>
    </html> `.markup;
}

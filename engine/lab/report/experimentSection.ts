/** What a lab asks, what to look for, and its conclusions with the figures that they are held against. */
import { holdConclusions } from '../conclusions.ts';
import type { RunResult } from '../runTypes.ts';
import type { LabDocument } from '../schema.ts';
import { html, type Html } from './html.ts';

export function experimentSection(lab: LabDocument, results: readonly RunResult[]): Html {
  const { name, question, description, experiment, notes } = lab;
  const conclusions = holdConclusions(lab, results).map(
    ({ claim, figures, holds }) =>
      html`<tr>
        <td>${claim}</td>
        <td>${figures}</td>
        <td>${holds ? 'holds' : 'does not hold'}</td>
      </tr>`,
  );
  const lookFor = (experiment?.lookFor ?? []).map((item) => html`<li class="text">${item}</li>`);
  return html`<header>
    <h1>${name}</h1>
    ${question === undefined ? null : html`<p class="text"><strong>${question}</strong></p>`}
    ${description === undefined ? null : html`<p class="text">${description}</p>`}
    ${
      lookFor.length === 0
        ? null
        : html`<h2>What to look for</h2>
            <ul>
              ${lookFor}
            </ul>`
    }
    ${conclusions.length === 0 ? null : conclusionsTable(conclusions)}
    ${
      notes === undefined
        ? null
        : html`<h2>Notes</h2>
            <p class="text">${notes}</p>`
    }
  </header>`;
}

function conclusionsTable(rows: readonly Html[]): Html {
  return html`<h2>Conclusions</h2>
    <table class="conclusions">
      <thead>
        <tr>
          <th scope="col">claim</th>
          <th scope="col">figures</th>
          <th scope="col">here</th>
        </tr>
      </thead>
      <tbody>
        ${rows}
      </tbody>
    </table>`;
}

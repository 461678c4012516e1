/** What was run: enough of the inputs to make every figure again. */
import { kernelProfileTitle } from '../kernelProfiles.ts';
import { pciPlaces } from '../pciTree.ts';
import { presetLabel } from '../presetLabel.ts';
import type { LabDocument } from '../schema.ts';
import type { ReportColumn } from './columns.ts';
import { html, type Html } from './html.ts';

/** Fields that stand in columns of their own. */
const PLACED_FIELDS: ReadonlySet<string> = new Set(['id', 'kind', 'label', 'parent', 'device']);

export function setupSection(lab: LabDocument, columns: readonly ReportColumn[], engineVersion: string): Html {
  const places = pciPlaces(lab.topology.parts);
  const parts = lab.topology.parts.map((part) => {
    const address = places.get(part.id)?.address ?? '';
    return html`<tr>
      <th scope="row">${part.id}</th>
      <td>${part.kind}${part.label === undefined ? null : html` (${part.label})`}</td>
      <td>${'parent' in part ? part.parent : ''}</td>
      <td class="short">${address}</td>
      <td>${settings(part)}</td>
    </tr>`;
  });
  const workloads = lab.workloads.map(
    (workload) =>
      html`<tr>
        <th scope="row">${workload.id}</th>
        <td>${workload.kind}</td>
        <td>${'device' in workload ? workload.device : ''}</td>
        <td>${settings(workload)}</td>
      </tr>`,
  );
  const runs = columns.map(
    ({ comparison, label, result, stored }) =>
      html`<tr>
        <th scope="row">${label}</th>
        <td>${comparison.scheme}</td>
        <td>${comparison.domain}</td>
        <td>${(comparison.set ?? []).map(({ path, value }) => `${path} = ${JSON.stringify(value)}`).join(', ')}</td>
        <td>${result === null ? 'refused' : result.id}</td>
        <td>
          ${result === null ? '' : stored ? `kept in the lab, of version ${result.engineVersion}` : 'run for this report'}
        </td>
      </tr>`,
  );
  return html`<section>
    <h2>What was run</h2>
    <dl>
      <dt>Kernel profile</dt>
      <dd>${kernelProfileTitle(lab.kernelProfile)} (${lab.kernelProfile})</dd>
      <dt>Presets</dt>
      <dd>${presetLabel(lab)}</dd>
      <dt>Seed</dt>
      <dd>${lab.seed}</dd>
      <dt>Engine</dt>
      <dd>IOVA Lab ${engineVersion}</dd>
    </dl>
    <table>
      <caption>
        Machine, as the lab describes it. The values of an IOMMU stand with their sources above; the others are the
        lab's own, and none of them was varied.
      </caption>
      <thead>
        <tr>
          <th scope="col">part</th>
          <th scope="col">kind</th>
          <th scope="col">below</th>
          <th scope="col">PCI address</th>
          <th scope="col">settings</th>
        </tr>
      </thead>
      <tbody>
        ${parts}
      </tbody>
    </table>
    <table>
      <caption>
        Work
      </caption>
      <thead>
        <tr>
          <th scope="col">workload</th>
          <th scope="col">kind</th>
          <th scope="col">device</th>
          <th scope="col">settings</th>
        </tr>
      </thead>
      <tbody>
        ${workloads}
      </tbody>
    </table>
    <table>
      <caption>
        Columns. A run's id is a hash of all that its figures depend on: the same id, the same figures.
      </caption>
      <thead>
        <tr>
          <th scope="col">column</th>
          <th scope="col">scheme</th>
          <th scope="col">domain</th>
          <th scope="col">sets</th>
          <th scope="col">run id</th>
          <th scope="col">result</th>
        </tr>
      </thead>
      <tbody>
        ${runs}
      </tbody>
    </table>
  </section>`;
}

function settings(entry: object): string {
  return Object.entries(entry)
    .filter(([name]) => !PLACED_FIELDS.has(name))
    .map(([name, value]: [string, unknown]) => `${name} ${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(', ');
}

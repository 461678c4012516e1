/**
 * A report read as whoever gets it would: by a browser's parser. What it claims is compared with the runs themselves, and with runs of a
 * lab in which one parameter is another.
 */
import { createHash } from 'node:crypto';
import { Window } from 'happy-dom';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseLab } from '../check.ts';
import type { LabFile } from '../container.ts';
import { LabRun } from '../run.ts';
import type { RunResult, RunSummary } from '../runTypes.ts';
import type { LabDocument } from '../schema.ts';
import { sampleDocument } from '../testing/sampleLab.ts';
import { LabError } from '../../time/labError.ts';
import { reportColumns, type ReportColumn } from './columns.ts';
import { inlined } from './inlineCharts.ts';
import { reportParameters } from './parameters.ts';
import { labReport, type LabReport } from './report.ts';
import { findUsed } from './sensitivity.ts';
import { SmallForm } from './smallForm.ts';

const HOSTILE = '<script>alert(1)</script><img src=x onerror=alert(2)>"\'--></style>\u202e&amp;';
const SHOWN = HOSTILE.replace('\u202e', '\ufffd');

function document(markup: string) {
  const window = new Window();
  window.document.write(markup);
  return window.document;
}

function fileOf(lab: LabDocument): LabFile {
  return { lab, recordings: new Map(), runs: new Map(), unknown: new Map() };
}

function lab(change: Record<string, unknown> = {}): LabDocument {
  return parseLab({ ...sampleDocument(), ...change }, 'test');
}

describe('a report', () => {
  const hostile = lab({
    name: HOSTILE,
    workloads: [{ id: 'reads', kind: 'bio', device: 'nvme0', ioCount: 40, queueDepth: 8, regionMiB: 64 }],
    question: HOSTILE,
    description: HOSTILE,
    notes: HOSTILE,
    comparison: [
      { id: 'sg', label: HOSTILE, scheme: 'map_sg', domain: 'strict' },
      { id: 'two', scheme: 'two_step', domain: 'lazy' },
    ],
  });
  const parts = hostile.topology.parts.map((part) => ({ ...part, label: HOSTILE }));
  const file = fileOf({ ...hostile, topology: { parts } });
  const columns = reportColumns(file, 'test');
  let report: LabReport;
  let page: ReturnType<typeof document>;
  beforeAll(async () => {
    report = await labReport(file, columns, { metric: 'ioLatencyP99', sensitivity: false });
    page = document(report.markup);
  }, 60_000);

  it('has no scripts and nothing from elsewhere, whatever the lab is called', () => {
    for (const element of page.querySelectorAll('*')) {
      expect(element.tagName).toMatch(
        /^(html|head|meta|title|style|body|header|section|footer|h[1-3]|p|strong|code|[du]l|ol|li|d[td]|table|caption|thead|tbody|tr|t[hd]|span|data|figure|svg|g|path|rect|text|defs|clipPath)$/i,
      );
      for (const { name, value } of element.attributes) {
        expect(name).not.toMatch(/^on|^style$|href$|^src/i);
        expect(value).not.toMatch(/javascript:|https?:(?!\/\/www\.w3\.org\/)/i);
      }
    }
    expect(page.querySelector('h1')?.textContent).toBe(SHOWN);
    expect(page.querySelector('title')?.textContent).toContain(SHOWN);
    expect([...page.querySelectorAll('.figures thead th')].map((head) => head.textContent)).toContain(SHOWN);
    expect([...page.querySelectorAll('svg text')].some((text) => text.textContent.includes('<script>'))).toBe(true);
  });

  it('is let in by its own policy, which refuses all else', () => {
    const policy = page.querySelector('meta[http-equiv]')?.getAttribute('content') ?? '';
    const style = /<style>([^]*)<\/style>/.exec(report.markup)?.[1] ?? '';
    const hash = createHash('sha256').update(style).digest('base64');
    expect(style.length).toBeGreaterThan(500);
    expect(policy).toBe(`default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'`);
  });

  it('shows every figure of the summary, and no other', () => {
    const rows = [...page.querySelectorAll('.figures tbody tr')];
    const results = columns.map(({ result }) => result!);
    expect(rows).toHaveLength(results[0]!.summary.rows.length);
    for (const [index, row] of rows.entries()) {
      const cells = [...row.querySelectorAll('td.figure')];
      expect(cells).toHaveLength(2);
      for (const [column, cell] of cells.entries()) {
        const { value, label } = results[column]!.summary.rows[index]!;
        expect(row.querySelector('th')?.textContent).toContain(label);
        const data = cell.querySelector('data');
        if (Number.isFinite(value)) expect(Number(data?.getAttribute('value'))).toBe(value);
        else expect([data, cell.textContent.trim()]).toEqual([null, '–']);
      }
    }
  });

  it('draws all charts, with ids of their own', () => {
    expect(page.querySelectorAll('svg')).toHaveLength(4);
    const ids = [...page.querySelectorAll('svg [id]')].map(({ id }) => id);
    expect(ids.length).toBeGreaterThan(3);
    expect(new Set(ids).size).toBe(ids.length);
    const used = [...page.querySelectorAll('[clip-path]')].map((one) => one.getAttribute('clip-path') ?? '');
    expect(used.length).toBeGreaterThan(0);
    for (const clip of used) expect(ids).toContain(/^url\(#(.*)\)$/.exec(clip)?.[1]);
    expect(() => inlined('<svg><script>x</script></svg>', 'a')).toThrow('no picture');
    expect(() => inlined('<svg><g onload="x"></g></svg>', 'a')).toThrow('no picture');
  });

  it('is the same again, from runs that the lab has kept as well', async () => {
    const kept = new Map(columns.map(({ result }) => [result!.id, result!]));
    const again = reportColumns({ ...file, runs: kept }, 'test');
    expect(again.map(({ stored }) => stored)).toEqual([true, true]);
    // A run that calls itself another column's, or was cancelled, is made again.
    const [first, second] = [...kept.values()] as [RunResult, RunResult];
    const odd = new Map([
      [first.id, { ...first, comparisonId: second.comparisonId }],
      [second.id, { ...second, partial: true }],
    ]);
    expect(reportColumns({ ...file, runs: odd }, 'test').map(({ stored }) => stored)).toEqual([false, false]);
    const repeated = await labReport(file, reportColumns(file, 'test'), { metric: 'ioLatencyP99', sensitivity: false });
    expect(repeated.markup).toBe(report.markup);
  }, 60_000);

  it('says why a column was refused, and gives it no figures', async () => {
    const refusal = new LabError('dram0', `it is full ${HOSTILE}.`, 'Use more.');
    const refused: ReportColumn[] = [columns[0]!, { ...columns[1]!, result: null, refusal }];
    const with1 = document((await labReport(file, refused, { metric: null, sensitivity: false })).markup);
    const said = [...with1.querySelectorAll('.limits dd')].map(({ textContent }) => textContent);
    expect(said.some((text) => text.includes(`Refused: dram0: it is full ${SHOWN}. Use more.`))).toBe(true);
    const cells = [...with1.querySelectorAll('.figures tbody tr')].map((row) => row.querySelectorAll('td.figure')[1]);
    expect(new Set(cells.map((cell) => cell?.textContent.trim()))).toEqual(new Set(['–']));
  }, 60_000);

  it('holds the conclusions of an experiment against the figures, and says which do not hold', async () => {
    const [first, second] = file.lab.comparison.map(({ id }) => id);
    const about = { metric: 'requests', of: first!, relation: 'about', to: second! } as const;
    const conclusions = [
      { ...about, claim: `All did the same work ${HOSTILE}.` },
      { ...about, claim: 'One did twice as much.', times: 2 },
    ];
    const experiment = { lookFor: ['<b>'], conclusions };
    const asked = { ...file, lab: { ...file.lab, experiment } };
    const shown = document((await labReport(asked, columns, { metric: null, sensitivity: false })).markup);
    const rows = [...shown.querySelectorAll('.conclusions tbody tr')].map((row) =>
      [...row.querySelectorAll('td')].map((cell) => cell.textContent.trim()),
    );
    expect(rows.map(([claim, , held]) => [claim, held])).toEqual([
      [`All did the same work ${SHOWN}.`, 'holds'],
      ['One did twice as much.', 'does not hold'],
    ]);
    expect(shown.body.textContent).toContain('<b>');
  }, 60_000);
});

describe('parameters behind the figures', () => {
  it('count as in use exactly when one that is doubled changes a figure', () => {
    const document = lab({ workloads: [{ id: 'r', kind: 'bio', device: 'nvme0', ioCount: 40, regionMiB: 64 }] });
    const parameters = reportParameters(document);
    const { used, unused, unknown } = findUsed(document, new SmallForm(document, new Map()), parameters);
    expect(used.length + unused.length + unknown.length).toBe(parameters.length);
    const names = used.map(({ name }) => name);
    // A strict domain waits for invalidations; no column is direct, lazy or bounced.
    for (const name of ['invalidationWait', 'mapSgCall', 'iovaLinkCall', 'nvmeDoorbell', 'instructionTime'])
      expect(names).toContain(name);
    for (const name of ['directMapCall', 'flushQueueEnqueue', 'bounceMapCall']) expect(names).not.toContain(name);
    for (const name of ['directMapCall', 'invalidationWait']) {
      const value = parameters.find((parameter) => parameter.name === name)?.value as number;
      const changed = lab({
        workloads: document.workloads,
        costs: { preset: 'default', overrides: { [name]: 2 * value } },
      });
      const same = document.comparison.every(
        ({ id }) => JSON.stringify(whole(document, id)) === JSON.stringify(whole(changed, id)),
      );
      expect(same).toBe(!names.includes(name));
    }
  }, 60_000);

  it('are marked as the lab’s where it sets them, and as the curve’s where they came with one', () => {
    const document = lab({ costs: { preset: 'default', overrides: { invalidationWait: 5 } } });
    const found = reportParameters(document).find(({ name }) => name === 'invalidationWait');
    expect(found).toMatchObject({ value: 5, mark: 'lab', unit: 'ns' });
    expect(found?.source).toContain("in place of the preset's value (derived: ");
    const parts = (sampleDocument()['topology'] as { parts: { id: string }[] }).parts.map((part) =>
      part.id === 'iommu0' ? { ...part, walkers: 3 } : part,
    );
    const walkers = reportParameters(lab({ topology: { parts } })).find(({ name }) => name === 'iommu0.walkers');
    expect(walkers).toMatchObject({ value: 3, mark: 'lab' });
  });

  function whole(document: LabDocument, id: string): RunSummary {
    const run = LabRun.prepare(document, id, new Map());
    while (run.advance(10_000) === 'running');
    return run.result().summary;
  }
});

describe('the order of columns', () => {
  const comparison = [
    { id: 'strict', scheme: 'two_step', domain: 'strict' },
    { id: 'direct', scheme: 'two_step', domain: 'passthrough' },
  ];
  const workloads = [{ id: 'r', kind: 'bio', device: 'nvme0', blockSize: 4096, ioCount: 60, regionMiB: 64 }];
  /** A call without translation that takes 120 ns: less than mapping does, and twice of it more. */
  const costs = { preset: 'default', overrides: { directMapCall: 860 } };

  it('hangs on a parameter that makes the better one the worse when it is doubled, and says so', async () => {
    const file = fileOf(lab({ comparison, workloads, costs }));
    const report = await labReport(file, reportColumns(file, 'test'), { metric: 'mapLatencyP50', sensitivity: true });
    expect(report.order.map(({ id }) => id)).toEqual(['direct', 'strict']);
    const found = report.sensitivity?.parameters ?? [];
    const turning = found.filter(({ variations }) => variations.some(({ changed }) => changed.length > 0));
    expect(turning.map(({ parameter }) => parameter.name)).toEqual(['directMapCall']);
    const [half, double] = turning[0]!.variations;
    expect([half?.value, half?.changed]).toEqual([430, []]);
    expect([double?.value, double?.changed]).toEqual([1720, [{ before: 'direct', after: 'strict' }]]);
    // The same by a lab with that value.
    const doubled = fileOf(
      lab({ comparison, workloads, costs: { preset: 'default', overrides: { directMapCall: 1720 } } }),
    );
    const rerun = await labReport(doubled, reportColumns(doubled, 'test'), {
      metric: 'mapLatencyP50',
      sensitivity: false,
    });
    expect(double?.order).toEqual(rerun.order);
    const text = document(report.markup).body.textContent.replace(/\s+/g, ' ');
    expect(text).toMatch(/1 of \d+ assumed parameters change the order by map latency p50 .*: directMapCall\./);
    expect(text).toMatch(/two_step strict \(\d+\s?ns\s*\) passes two_step passthrough/);
  }, 60_000);
});

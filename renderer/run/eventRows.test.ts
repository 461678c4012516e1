import { describe, expect, it } from 'vitest';
import { withRuns } from '../testing/sampleLab.ts';
import type { ApiMisuse } from '../../engine/lab/misuseNames.ts';
import { eventLines, eventRows, faultRows } from './eventRows.ts';
import { comparisonLabel, type Column } from '../stores/lab.ts';

function columnsOf(status: 'done' | 'failed'): Column[] {
  const { state, frames } = withRuns(status, 10);
  return state.lab.comparison.map((comparison, slot) => ({
    comparison,
    label: comparisonLabel(comparison),
    slot,
    run: state.runs[slot]!,
    frame: frames.get(comparison.id) ?? null,
  }));
}

describe('the event pane', () => {
  it('lists what all runs logged in the order of virtual time, each with its run and part', () => {
    const rows = eventRows(columnsOf('done'), []);
    expect(rows.map(({ severity }) => severity)).toEqual([
      ...Array<string>(4).fill('info'),
      ...Array<string>(4).fill('warning'),
    ]);
    expect(rows.at(-1)).toMatchObject({ run: 'two_step lazy', source: 'iommu0' });
  });

  it('says why a run failed, and what the app has to say', () => {
    const rows = eventRows(columnsOf('failed'), [{ severity: 'warning', text: 'The file changed.', at: 0 }]);
    expect(rows[0]).toMatchObject({ slot: null, message: 'The file changed.' });
    expect(rows[1]).toMatchObject({ severity: 'error', run: 'map_sg strict' });
  });
});

describe('misuses of the DMA API', () => {
  const misuse: ApiMisuse = {
    kind: 'freeNotAllocated',
    message: 'device driver tries to free DMA memory it has not allocated',
    driver: 'nvme',
    device: '0000:01:00.0',
    at: 50_000_000,
    cpu: 1,
    call: 'dma_unmap_phys(addr=0x1000)',
    history: Array.from({ length: 10 }, (_, index) => ({
      at: index,
      cpu: index % 2 === 0 ? 0 : -1,
      text: `call ${index}`,
    })),
    omitted: 5,
  };
  const checker = {
    mode: 'report',
    errorCount: 1,
    byKind: { freeNotAllocated: 1 },
    totalEntries: 65_536,
    minFreeEntries: 65_000,
    stopped: false,
    misuses: [misuse],
  } as const;
  const columns = columnsOf('done').map((column, index) => {
    if (index > 0 || column.frame === null) return column;
    const entry = { at: misuse.at, severity: 'error', source: 'DMA-API', message: misuse.message, misuse: 1 } as const;
    return { ...column, frame: { ...column.frame, checker, log: [...column.frame.log, entry] } };
  });

  it('stand in both panes, the pane of faults leaving out notes', () => {
    expect(eventRows(columns, []).at(-1)).toMatchObject({ source: 'DMA-API', misuse });
    const rows = faultRows(columns);
    expect(rows.map(({ severity }) => severity)).toEqual([...Array<string>(4).fill('warning'), 'error']);
    expect(rows.at(-1)).toMatchObject({ message: `nvme 0000:01:00.0: ${misuse.message}`, misuse });
  });

  it('open to the calls before them, what is not kept, and the call at fault', () => {
    const rows = faultRows(columns);
    const key = rows.at(-1)?.key ?? '';
    expect(eventLines(rows, new Set())).toHaveLength(rows.length);
    const lines = eventLines(rows, new Set([key])).slice(rows.length);
    expect(lines.map((line) => (line.kind === 'call' ? line.text : ''))).toEqual([
      ...Array.from({ length: 8 }, (_, index) => `call ${index}`),
      '(5 calls in between are not kept)',
      'call 8',
      'call 9',
      'dma_unmap_phys(addr=0x1000)',
    ]);
    expect(lines[1]).toMatchObject({ who: 'device' });
    expect(lines.at(-1)).toMatchObject({ who: 'CPU 1', atFault: true });
  });
});

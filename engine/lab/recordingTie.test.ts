import { describe, expect, it } from 'vitest';
import { readFtrace } from '../formats/ftrace.ts';
import { type TiedTrace, tieTrace } from './recordingTie.ts';
import { TestTrace } from './testTrace.ts';

function tie(trace: TestTrace): TiedTrace {
  const tied = tieTrace(readFtrace('test', trace.text()));
  if (tied === null) throw new Error('no command');
  return tied;
}

function names(tied: TiedTrace, index: number): { submission: unknown[]; completion: unknown[] } {
  const command = tied.commands[index];
  return {
    submission: command?.submission.map((call) => call.name) ?? [],
    completion: command?.completion.map((call) => call.name) ?? [],
  };
}

describe('tying lines to commands (drivers/nvme/host/pci.c)', () => {
  it('keeps an interrupt that falls into a submission apart from it', () => {
    const trace = new TestTrace()
      .submitPage(1, 0x100, 0x5000)
      .setup(2)
      .event('alloc_fast: (f) size=1 limit_pfn=0xfffff flush_rcache=0')
      .completePage(1, 0x100)
      .event('alloc_fast_ret: (f) pfn=0x100')
      .map(0x100, 0x6000, 4096)
      .mapped(0x100, 0x6000, 4096)
      .issue(4096)
      .completePage(2, 0x100);
    const tied = tie(trace);
    expect(names(tied, 0)).toEqual({ submission: ['dma_map_phys'], completion: ['dma_unmap_phys'] });
    expect(names(tied, 1)).toEqual({ submission: ['dma_map_phys'], completion: ['dma_unmap_phys'] });
    expect(tied.commands[1]?.submission[0]?.records.map((record) => record.event.name)).toEqual([
      'alloc_fast',
      'alloc_fast_ret',
      'map',
      'dma_map_phys',
    ]);
  });

  it('tells several completions of one interrupt apart', () => {
    const trace = new TestTrace()
      .submitPage(1, 0x100, 0x5000)
      .submitPage(2, 0x101, 0x6000)
      .completePage(2, 0x101)
      .completePage(1, 0x100);
    const tied = tie(trace);
    expect(tied.commands.map((command) => command.completeOrder)).toEqual([1, 0]);
    expect(names(tied, 0).completion).toEqual(['dma_unmap_phys']);
    expect(names(tied, 1).completion).toEqual(['dma_unmap_phys']);
  });

  it('follows CPUs whose lines interleave, and a completion on another CPU than the submission', () => {
    const one = { cpu: 0, pid: 10 };
    const two = { cpu: 1, pid: 11 };
    const trace = new TestTrace()
      .setup(1, one)
      .setup(1, two, 'nvme_cmd_read', 'nvme0')
      .alloc(0x100, 1, one)
      .alloc(0x101, 1, two)
      .map(0x101, 0x6000, 4096, two)
      .map(0x100, 0x5000, 4096, one)
      .mapped(0x101, 0x6000, 4096, two)
      .mapped(0x100, 0x5000, 4096, one)
      .issue(4096, one)
      .completePage(1, 0x100, { cpu: 2, flag: 'h', pid: 0 });
    const tied = tie(trace);
    expect(tied.commands[0]?.completed?.cpu).toBe(2);
    expect(tied.commands[0]?.submission[0]?.records).toHaveLength(4);
    expect(tied.commands[1]?.issue).toBeNull();
  });

  it('follows a process that moves to another CPU while it prepares a request', () => {
    const trace = new TestTrace()
      .setup(1, { cpu: 0 })
      .alloc(0x100, 1, { cpu: 0 })
      .map(0x100, 0x5000, 4096, { cpu: 1 })
      .mapped(0x100, 0x5000, 4096, { cpu: 1 })
      .issue(4096, { cpu: 1 });
    expect(tie(trace).commands[0]?.submission[0]?.records).toHaveLength(4);
  });

  it('does not attribute the calls of another device to a completion', () => {
    const network = '0000:00:04.0';
    const trace = new TestTrace()
      .submitPage(1, 0x100, 0x5000)
      .unmap(0x900, 4096, { flag: 'h' })
      .flushPage(0x900, { flag: 'h' })
      .free(0x900, 1, { flag: 'h' })
      .unmapped(0x900, 4096, { flag: 'h' }, network)
      .alloc(0x901, 1, { flag: 'h' })
      .map(0x901, 0x9000, 4096, { flag: 'h' })
      .mapped(0x901, 0x9000, 4096, { flag: 'h' }, network)
      .completePage(1, 0x100);
    const tied = tie(trace);
    expect(tied.device).toBe('0000:00:03.0');
    expect(tied.commands[0]?.completion).toHaveLength(1);
  });

  it('counts commands of other drives, and completions of commands that it has not seen', () => {
    const trace = new TestTrace()
      .completePage(7, 0x500)
      .submitPage(1, 0x100, 0x5000)
      .completePage(1, 0x100)
      .submitPage(2, 0x100, 0x5000)
      .setup(1, {}, 'nvme_cmd_read', 'nvme1')
      .event('block_rq_issue: 259,1 R 4096 () 8 + 8 be,0,4 [fio]');
    const tied = tie(trace);
    expect(tied.controller).toBe('nvme0');
    expect(tied.otherDrives).toBe(1);
    expect(tied.orphans).toHaveLength(1);
    expect(tied.commands[1]?.completed).toBeNull();
  });

  it('ties a command without data', () => {
    const trace = new TestTrace()
      .submitPage(1, 1, 0x5000)
      .setup(2, {}, 'nvme_cmd_flush')
      .issue(0)
      .complete(2, { flag: 'h' });
    expect(names(tie(trace), 1)).toEqual({ submission: [], completion: [] });
  });

  it('gives up on a command that is set up again', () => {
    const trace = new TestTrace().setup(1).alloc(0x100, 1).submitPage(1, 0x100, 0x5000).completePage(1, 0x100);
    const tied = tie(trace);
    expect(tied.commands.map((command) => command.issue !== null)).toEqual([false, true]);
  });
});

describe('the flush queue’s timer (drivers/iommu/dma-iommu.c, fq_flush_timeout)', () => {
  it('is a domain flush outside any unmap', () => {
    const soft = { flag: 's' } as const;
    const trace = new TestTrace()
      .submitPage(1, 0x100, 0x5000)
      .completePageLazily(1, 0x100)
      .setup(2)
      .flushDomain(soft)
      .free(0x100, 1, soft)
      .free(0x900, 4, soft)
      .alloc(0x100, 1)
      .map(0x100, 0x5000, 4096)
      .mapped(0x100, 0x5000, 4096)
      .issue(4096);
    const tied = tie(trace);
    expect(tied.timers).toHaveLength(1);
    expect(tied.timers[0]?.frees).toHaveLength(2);
    expect(names(tied, 1).submission).toEqual(['dma_map_phys']);
  });

  it('is not the flush of a full queue inside an unmap, even in a softirq', () => {
    const soft = { flag: 's' } as const;
    const trace = new TestTrace()
      .submitPage(1, 0x100, 0x5000)
      .unmap(0x100, 4096, soft)
      .flushDomain(soft)
      .free(0x900, 1, soft)
      .unmapped(0x100, 4096, soft)
      .complete(1, soft);
    const tied = tie(trace);
    expect(tied.timers).toHaveLength(0);
    expect(tied.commands[0]?.completion[0]?.records.map((record) => record.event.name)).toEqual([
      'unmap',
      'cache_tag_flush_range',
      'qi_submit',
      'free_fast',
      'dma_unmap_phys',
    ]);
  });

  it('is seen by its descriptor alone on 6.12, twice when it fires twice', () => {
    const soft = { flag: 's' } as const;
    const descriptor = 'qi_submit: iotlb_inv dmar0: 0x300e2 0x0 0x0 0x0';
    const trace = new TestTrace().submitPage(1, 0x100, 0x5000).event(descriptor, soft).event(descriptor, soft);
    expect(tie(trace).timers).toHaveLength(2);
  });
});

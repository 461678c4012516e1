/** Data pointers that need a list, against logs written by hand after QEMU hw/nvme/ctrl.c. */
import { describe, expect, it } from 'vitest';
import { runJson, TestTrace } from '../lab/testTrace.ts';
import { conformRecording } from './linuxTrace.ts';
import type { FileResult } from './report.ts';

const PASSTHROUGH = runJson({ commandLine: 'intel_iommu=on iommu.passthrough=1' });

function conform(trace: TestTrace, log: readonly string[], run = runJson()): FileResult {
  return conformRecording({
    name: 'test',
    trace: Buffer.from(trace.text()),
    runJson: run,
    deviceLog: Buffer.from(`${log.join('\n')}\n`),
  });
}

describe('a PRP list in passthrough', () => {
  const phys = [0x1_0000_5000, 0x1_0000_9000, 0x1_0000_b000, 0x1_0000_f000];
  const trace = new TestTrace()
    .setup(1)
    .event('try_alloc: (f) state=0x1 phys=0x100005000 size=16384')
    .event('try_alloc_ret: (f) ret=0 addr=0x0 ssize=0x0');
  for (const address of phys) trace.mapped(address / 4096, address, 4096);
  trace.issue(16384).complete(1, { flag: 'h' });
  const log = [
    'pci_nvme_mmio_doorbell_sq sqid 1 new_tail 1',
    "pci_nvme_io_cmd cid 1 nsid 0x1 sqid 1 opc 0x2 opname 'NVME_NVM_CMD_READ'",
    'pci_nvme_read cid 1 nsid 1 nlb 32 count 16384 lba 0x8',
    'pci_nvme_map_prp trans_len 4096 len 16384 prp1 0x100005000 prp2 0x10abc100 num_prps 5',
    'pci_nvme_map_addr addr 0x100005000 len 4096',
    'pci_nvme_map_addr addr 0x100009000 len 4096',
    'pci_nvme_map_addr addr 0x10000b000 len 4096',
    'pci_nvme_map_addr addr 0x10000f000 len 4096',
    "pci_nvme_rw_complete_cb cid 1 blk 'nv'",
    'vtd_inv_desc_wait_sw wait invalidate status write addr 0x10021bc04 data 0x2',
  ];

  it('is the one that the driver wrote, wherever the pool put it', () => {
    expect(conform(trace, log, PASSTHROUGH)).toMatchObject({ agree: 1, total: 1, firstDifference: null });
  });

  it('disagrees in each of its entries', () => {
    for (const [index, line] of log.entries()) {
      if (!line.startsWith('pci_nvme_map_addr')) continue;
      const changed = log.with(index, line.replace('000 len', '800 len'));
      const result = conform(trace, changed, PASSTHROUGH);
      expect(result.agree).toBe(0);
      expect(result.firstDifference?.recorded).toMatch(/^map_addr 0x\w+800 len 4096/);
      expect(result.firstDifference?.emulated).toMatch(/^map_addr 0x\w+000 len 4096/);
    }
  });
});

describe('two PRPs behind the IOMMU, without shadow doorbells', () => {
  const trace = new TestTrace().submitPage(1, 0x40001, 0x1_0000_5000).completePage(1, 0x40001);
  const lookup = (what: string, iova: string, gpa: string, flags: number): string[] => [
    `vtd_iotlb_page_${what} IOTLB page ${what} sid 0x18 iova 0x${iova} slpte 0x${gpa}00${flags} domain 0x3`,
    `vtd_dmar_translate dev 00:03.00 iova 0x${iova.slice(0, -3)}000 -> gpa 0x${gpa}000 mask 0xfff`,
  ];
  const log = (data: readonly string[]): string[] => [
    'pci_nvme_mmio_doorbell_sq sqid 1 new_tail 1',
    ...lookup('update', 'fffe0000', '101ae', 3),
    "pci_nvme_io_cmd cid 1 nsid 0x1 sqid 1 opc 0x2 opname 'NVME_NVM_CMD_READ'",
    'pci_nvme_read cid 1 nsid 1 nlb 8 count 4096 lba 0x8',
    'pci_nvme_map_prp trans_len 4096 len 4096 prp1 0x40001000 prp2 0x0 num_prps 2',
    'pci_nvme_map_addr addr 0x40001000 len 4096',
    ...data,
    "pci_nvme_rw_complete_cb cid 1 blk 'nv'",
    ...lookup('update', 'ffff8000', '101af', 3),
    'vtd_inv_desc_iotlb_pages iotlb invalidate domain 0x3 addr 0x40001000 mask 0x0',
    'vtd_inv_desc_wait_sw wait invalidate status write addr 0x10021bc04 data 0x2',
    'vtd_inv_desc_wait_sw wait invalidate status write addr 0x10021bc0c data 0x2',
  ];

  it('fill once, and the page is what the kernel mapped', () => {
    expect(conform(trace, log(lookup('update', '40001000', '100005', 2)))).toMatchObject({ agree: 1, total: 1 });
  });

  it('disagree about another page, and about a hit without a fill', () => {
    expect(conform(trace, log(lookup('update', '40001000', '100006', 2))).agree).toBe(0);
    const stale = [...lookup('update', '40001000', '100005', 2), ...lookup('hit', '40001000', '100005', 2)];
    expect(conform(trace, log(stale)).agree).toBe(0);
    expect(conform(trace, log([])).agree).toBe(0);
  });
});

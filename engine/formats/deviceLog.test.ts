import { describe, expect, it } from 'vitest';
import { readDeviceLog } from './deviceLog.ts';

describe('a device log', () => {
  it('is read line by line', () => {
    const text = [
      'pci_nvme_mmio_doorbell_sq sqid 1 new_tail 4',
      "pci_nvme_io_cmd cid 515 nsid 0x1 sqid 1 opc 0x2 opname 'NVME_NVM_CMD_READ'",
      'pci_nvme_read cid 515 nsid 1 nlb 8 count 4096 lba 0x7268',
      'pci_nvme_map_prp trans_len 4096 len 4096 prp1 0xfffdf000 prp2 0x0 num_prps 2',
      'pci_nvme_map_addr addr 0xfffdf000 len 4096',
      'vtd_iotlb_page_update IOTLB page update sid 0x18 iova 0xfffdf000 slpte 0x8000000106071002 domain 0x3',
      'vtd_dmar_translate dev 01:02.03 iova 0xfffdf000 -> gpa 0x106071000 mask 0xfff',
      "pci_nvme_rw_complete_cb cid 515 blk 'nv'",
      'vtd_inv_desc_iotlb_pages iotlb invalidate domain 0x3 addr 0xfffdf000 mask 0x5',
      'vtd_inv_desc_wait_sw wait invalidate status write addr 0x10021bd8c data 0x2',
    ].join('\r\n');
    const records = readDeviceLog('device.log', text);
    expect(records.map((record) => record.event)).toEqual([
      'doorbell',
      'command',
      'transfer',
      'prp',
      'address',
      'lookup',
      'translation',
      'complete',
      'invalidation',
      'wait',
    ]);
    expect(records[1]).toEqual({ event: 'command', line: 2, commandId: 515, namespace: 1, queue: 1, opcode: 2 });
    expect(records[2]).toMatchObject({ write: false, blocks: 8, bytes: 4096, lba: 0x7268 });
    // An entry keeps bits that a number would lose.
    expect(records[5]).toMatchObject({ hit: false, iova: 0xfffd_f000, entry: '8000000106071002', domainId: 3 });
    expect(records[6]).toMatchObject({ sourceId: 0x113, address: 0x1_0607_1000, mask: 0xfff });
    expect(records[8]).toMatchObject({ granularity: 'page', address: 0xfffd_f000, mask: 5 });
  });

  it('may hold events that are not read', () => {
    const text = 'pci_nvme_irq_msix raising MSI-X IRQ vector 1\nvtd_inv_desc_iotlb_global iotlb invalidate global\n';
    expect(readDeviceLog('device.log', text)).toEqual([
      { event: 'invalidation', line: 2, granularity: 'global', domainId: -1, address: 0, mask: 0 },
    ]);
  });

  it.each([
    ['a line that is cut short', 'pci_nvme_map_addr addr 0xfffdf000 le', /device\.log:1.*cut short/],
    ['another event’s words', 'vtd_inv_desc_iotlb_domain iotlb invalidate global', /cut short or not as/],
    ['no event', '{"kernel": 1}', /not a line of a device log/],
    ['an endless line', 'x'.repeat(5000), /longer than 1024/],
    ['a number of endless digits', `pci_nvme_map_addr addr 0x${'f'.repeat(40)} len 1`, /cut short or not as/],
  ])('is refused with a sentence: %s', (_what, text, message) => {
    expect(() => readDeviceLog('device.log', text)).toThrow(message);
  });
});

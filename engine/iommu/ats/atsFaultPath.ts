/**
 * The way of a device with ATS and PRI to a page: its device TLB asks for the translation, and where the answer is "no access" a
 * group of page requests goes out (PCI Express Base Specification 10.4). Leaves out: what the device does meanwhile.
 */
import { ATS_READ, ATS_WRITE, RESPONSE_SUCCESS } from '../../pcie/atsMessages.ts';
import type { PageFaultPath } from '../../pcie/pageFaultPath.ts';
import type { PageRequestInterface } from '../../pcie/pageRequestInterface.ts';
import type { Picoseconds } from '../../time/picoseconds.ts';
import type { DeviceTlb } from './deviceTlb.ts';
import { ATS_SUCCESS } from './translationAgent.ts';

export class AtsFaultPath implements PageFaultPath {
  private readonly deviceTlb: DeviceTlb;
  private readonly requests: PageRequestInterface;
  private readonly pasid: number;

  constructor(deviceTlb: DeviceTlb, requests: PageRequestInterface, pasid: number) {
    this.deviceTlb = deviceTlb;
    this.requests = requests;
    this.pasid = pasid;
  }

  get readyAt(): Picoseconds {
    return this.deviceTlb.readyAt;
  }

  get mayAsk(): boolean {
    return this.deviceTlb.status === ATS_SUCCESS;
  }

  present(page: number, write: boolean, at: Picoseconds): boolean {
    return this.deviceTlb.translateWithPasid(this.pasid, page, write, 1, at);
  }

  ask(firstPage: number, pages: number, write: boolean, done: (again: boolean) => void): void {
    const access = write ? ATS_READ | ATS_WRITE : ATS_READ;
    this.requests.request(this.pasid, firstPage, pages, access, (code) => {
      done(code === RESPONSE_SUCCESS);
    });
  }
}

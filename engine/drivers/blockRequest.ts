/**
 * A request with its tag and the driver's private part behind it (`struct request`, `struct nvme_iod`). One for each tag,
 * reused for ever.
 */
import { DmaIovaState } from '../dma/twoStep.ts';
import { ScatterList } from '../dma/scatterList.ts';
import { MappedRequest } from '../schemes/mappedRequest.ts';
import { MappingRequest } from '../schemes/mappingRequest.ts';
import type { Picoseconds } from '../time/picoseconds.ts';
import type { Bio } from './bio.ts';
import { NvmeIod } from './nvmeIod.ts';

export class BlockRequest {
  readonly tag: number;
  /** Counts the uses of the tag, modulo 16. */
  generation = 0;
  bio: Bio | null = null;
  sector = 0;
  bytes = 0;
  submittedAt = 0 as Picoseconds;
  readonly mapping: MappingRequest;
  readonly iod: NvmeIod;

  constructor(tag: number, maxSegments: number) {
    this.tag = tag;
    this.mapping = new MappingRequest(maxSegments);
    this.iod = new NvmeIod(new MappedRequest(new DmaIovaState(), new ScatterList(maxSegments), maxSegments));
  }
}

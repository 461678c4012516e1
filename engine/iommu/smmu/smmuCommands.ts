/**
 * Commands of the SMMUv3 as software writes them, four words of 32 bits each (Arm SMMUv3 specification IHI 0070, 4.1 to 4.7; Linux
 * drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c `arm_smmu_cmdq_build_cmd`).
 *
 * | command     | opcode    | operands                                                                              |
 * | ----------- | --------- | ------------------------------------------------------------------------------------- |
 * | CFGI_STE    | 03        | StreamID 63:32, Leaf 64                                                               |
 * | CFGI_STE_RANGE | 04     | StreamID 63:32, Range 68:64: 2^(Range+1) streams; 31: CFGI_ALL                        |
 * | CFGI_CD     | 05        | SubstreamID 31:12, StreamID 63:32, Leaf 64                                            |
 * | CFGI_CD_ALL | 06        | StreamID 63:32                                                                        |
 * | TLBI_NH_ALL | 10        | VMID 47:32                                                                            |
 * | TLBI_NH_ASID | 11       | VMID 47:32, ASID 63:48                                                                |
 * | TLBI_NH_VA  | 12        | NUM 16:12, SCALE 24:20, VMID, ASID, Leaf 64, TTL 73:72, TG 75:74, address 127:76      |
 * | TLBI_NH_VAA | 13        | the same without ASID                                                                 |
 * | TLBI_S12_VMALL | 28     | VMID                                                                                  |
 * | TLBI_S2_IPA | 2a        | as TLBI_NH_VA without ASID; the address is an intermediate one                        |
 * | TLBI_NSNH_ALL | 30      |                                                                                       |
 * | ATC_INV     | 40        | Global 9, SSV 11, SubstreamID 31:12, StreamID 63:32, Size 69:64, address 127:76       |
 * | PRI_RESP    | 41        | SSV 11, SubstreamID 31:12, StreamID 63:32, PRGIndex 72:64, Resp 77:76                 |
 * | RESUME      | 44        | Ac 12 (retry), Ab 13 (abort), StreamID 63:32, STAG 79:64                              |
 * | STALL_TERM  | 45        | StreamID 63:32                                                                        |
 * | CMD_SYNC    | 46        | CS 13:12 (1: write MSIData), MSIData 63:32, MSIAddress 115:66                         |
 *
 * With TG not 0 an address command names a range of (NUM + 1) * 2^SCALE granules.
 */

export const CMD_PREFETCH_CONFIG = 0x01;
export const CMD_PREFETCH_ADDR = 0x02;
export const CMD_CFGI_STE = 0x03;
export const CMD_CFGI_STE_RANGE = 0x04;
export const CMD_CFGI_CD = 0x05;
export const CMD_CFGI_CD_ALL = 0x06;
export const CMD_TLBI_NH_ALL = 0x10;
export const CMD_TLBI_NH_ASID = 0x11;
export const CMD_TLBI_NH_VA = 0x12;
export const CMD_TLBI_NH_VAA = 0x13;
export const CMD_TLBI_S12_VMALL = 0x28;
export const CMD_TLBI_S2_IPA = 0x2a;
export const CMD_TLBI_NSNH_ALL = 0x30;
export const CMD_ATC_INV = 0x40;
export const CMD_PRI_RESP = 0x41;
export const CMD_RESUME = 0x44;
export const CMD_STALL_TERM = 0x45;
export const CMD_SYNC = 0x46;

export const COMMAND_WORDS = 4;
/** Granules that one range command names at most before its scale: NUM has five bits. */
export const RANGE_UNITS_MAX = 32;
/** Range of CFGI_STE_RANGE that stands for every stream. */
export const EVERY_STREAM = 31;

export const RESUME_TERMINATE = 0;
export const RESUME_RETRY = 1;
export const RESUME_ABORT = 2;

export const SSV = 1 << 11;
const LOW_PAGES = 2 ** 20;

/** What each function below writes into: command number `index` of a batch. */
export type CommandBatch = Uint32Array;

function put(batch: CommandBatch, index: number, first: number, second: number, low: number, high: number): void {
  const word = index * COMMAND_WORDS;
  batch[word] = first;
  batch[word + 1] = second;
  batch[word + 2] = low;
  batch[word + 3] = high;
}

export function configureStream(batch: CommandBatch, index: number, streamId: number, leaf: boolean): void {
  put(batch, index, CMD_CFGI_STE, streamId, leaf ? 1 : 0, 0);
}

/** `log2Streams`: 1 to 31 for so many streams, naturally aligned; EVERY_STREAM + 1 for all. */
export function configureStreams(batch: CommandBatch, index: number, streamId: number, log2Streams: number): void {
  put(batch, index, CMD_CFGI_STE_RANGE, streamId, log2Streams - 1, 0);
}

export function configureContext(batch: CommandBatch, index: number, streamId: number, substreamId: number): void {
  put(batch, index, CMD_CFGI_CD | (substreamId << 12), streamId, 1, 0);
}

export function configureContexts(batch: CommandBatch, index: number, streamId: number): void {
  put(batch, index, CMD_CFGI_CD_ALL, streamId, 0, 0);
}

/** `opcode`: one of the TLBI commands that name no address. */
export function invalidateSpace(batch: CommandBatch, index: number, opcode: number, vmid: number, asid: number): void {
  put(batch, index, opcode, ((asid << 16) | vmid) >>> 0, 0, 0);
}

/** One address: TLBI_NH_VA, TLBI_NH_VAA or TLBI_S2_IPA. */
export function invalidateAddress(
  batch: CommandBatch,
  index: number,
  opcode: number,
  vmid: number,
  asid: number,
  page: number,
  leaf: boolean,
): void {
  const low = (page << 12) | (leaf ? 1 : 0);
  put(batch, index, opcode, ((asid << 16) | vmid) >>> 0, low >>> 0, Math.floor(page / LOW_PAGES));
}

/** A range: `count` times 2^scale granules; `granule` as in TG (1 4 KiB, 2 16 KiB, 3 64 KiB). */
export function invalidateAddressRange(
  batch: CommandBatch,
  index: number,
  opcode: number,
  vmid: number,
  asid: number,
  page: number,
  leaf: boolean,
  count: number,
  scale: number,
  granule: number,
  levelHint: number,
): void {
  const first = opcode | ((count - 1) << 12) | (scale << 20);
  const low = (page << 12) | (granule << 10) | (levelHint << 8) | (leaf ? 1 : 0);
  put(batch, index, first, ((asid << 16) | vmid) >>> 0, low >>> 0, Math.floor(page / LOW_PAGES));
}

/** `substreamId`: -1 for transactions without; `log2Pages`: 2^log2Pages pages, naturally aligned. */
export function invalidateDevice(
  batch: CommandBatch,
  index: number,
  streamId: number,
  substreamId: number,
  page: number,
  log2Pages: number,
): void {
  const substream = substreamId < 0 ? 0 : SSV | (substreamId << 12);
  const low = ((page << 12) | log2Pages) >>> 0;
  put(batch, index, (CMD_ATC_INV | substream) >>> 0, streamId, low, Math.floor(page / LOW_PAGES));
}

export function resumeTransaction(
  batch: CommandBatch,
  index: number,
  streamId: number,
  stag: number,
  response: number,
): void {
  put(batch, index, CMD_RESUME | (response << 12), streamId, stag, 0);
}

export function terminateStalls(batch: CommandBatch, index: number, streamId: number): void {
  put(batch, index, CMD_STALL_TERM, streamId, 0, 0);
}

/** A CMD_SYNC that writes `data` to the first word of a page when all before it is done. */
export function synchronize(batch: CommandBatch, index: number, page: number, data: number): void {
  put(batch, index, CMD_SYNC | (1 << 12), data, (page << 12) >>> 0, Math.floor(page / LOW_PAGES));
}

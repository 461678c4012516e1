/** What a part is, as rows of label and value with its unit: for the inspector, and the key ones for a node. */
import type { AcsBitName } from '../../engine/lab/accessControl.ts';
import { isDevice, type DeviceFunction } from '../../engine/lab/deviceFunctions.ts';
import { hardwarePreset } from '../../engine/lab/hardwarePresets.ts';
import { presetName, presetParameters } from '../../engine/lab/partPreset.ts';
import { pciPlaces } from '../../engine/lab/pciTree.ts';
import { formatQuantity } from '../../engine/lab/quantity.ts';
import type { Part, PartOf } from '../../engine/lab/schema.ts';
import { strings } from '../strings.ts';

export interface Fact {
  readonly key: string;
  readonly label: string;
  readonly value: string;
  readonly help?: string;
}

export const SPACE = '\u202f';
const words = strings.properties;

export const count = (value: number): string => formatQuantity(value, 'count');
export const bytes = (value: number): string => formatQuantity(value, 'bytes');
const withUnit = (value: number, unit: string): string => `${count(value)}${SPACE}${unit}`;

/** Payload rate of a link in one direction, after line coding: PCIe Base Specification, 8b/10b until 5 GT/s, then 128b/130b. */
export function linkBytesPerSecond(generation: number, lanes: number): number {
  const gigatransfers = [2.5, 5, 8, 16, 32, 64][generation - 1] ?? 0;
  const coding = generation <= 2 ? 0.8 : 128 / 130;
  return (gigatransfers * 1e9 * coding * lanes) / 8;
}

function linkText(generation: number, lanes: number): string {
  return `PCIe ${generation} ×${lanes}, ${formatQuantity(linkBytesPerSecond(generation, lanes), 'bytes/s')}`;
}

export function fact(key: keyof typeof words, value: string): Fact {
  const label = words[key];
  return { key, label: typeof label === 'string' ? label : key, value };
}

/** `Drive 0`, and `Drive 0, VF 1` of a virtual function. */
export function functionName({ part, number }: DeviceFunction): string {
  return number === 0 ? partName(part) : `${partName(part)}, VF ${number}`;
}

/** A vendor in brackets at the end of an IOMMU's label is not the user's choice of words: it follows what the part is now. */
const VENDOR_IN_LABEL = new RegExp(` \\((?:${Object.values(words.vendorMarks).join('|')})\\)$`);

export function partName(part: Part): string {
  if (part.kind !== 'iommu') return part.label ?? part.id;
  const mark = ` (${words.vendorMarks[part.vendor ?? 'vtd']})`;
  return part.label === undefined ? `${part.id}${mark}` : part.label.replace(VENDOR_IN_LABEL, mark);
}

/** Where Linux finds a part: its PCI address, and the IOMMU group of a device. */
export function placeFacts(part: Part, parts: readonly Part[]): Fact[] {
  const place = pciPlaces(parts).get(part.id);
  if (place === undefined) return [];
  const { address, iommuGroup } = place;
  return [
    fact('pciAddress', address),
    ...(isDevice(part) && iommuGroup !== null ? [fact('iommuGroup', count(iommuGroup))] : []),
  ];
}

function acsText(bits: readonly AcsBitName[] | undefined): string {
  if (bits === undefined) return words.acsByLinux;
  return bits.length === 0 ? words.acsOff : bits.map((bit) => words.acsBits[bit]).join(', ');
}

function cacheFacts(cache: PartOf<'socket'>['lastLevelCache']): Fact[] {
  if (cache === undefined) return [];
  return [
    fact('lastLevelCache', bytes(cache.sizeMiB * 2 ** 20)),
    fact('cacheWays', withUnit(cache.ways, words.ways)),
    fact('deviceWays', cache.deviceWays === 0 ? words.ddioOff : withUnit(cache.deviceWays, words.ways)),
  ];
}

/** Where the values of an IOMMU come from, and how many of them the lab has changed since. */
function presetFacts(part: PartOf<'iommu'>): Fact[] {
  const parameters = presetParameters(part);
  const changed = parameters.filter((parameter) => parameter.changed).length;
  return [
    fact('preset', part.measured === undefined ? hardwarePreset(part.preset).title : presetName(part)),
    fact('presetChanges', changed === 0 ? words.unchanged : words.changedOf(changed, parameters.length)),
  ];
}

export function partFacts(part: Part): Fact[] {
  switch (part.kind) {
    case 'socket':
      return [
        fact('cpus', count(part.cpus)),
        ...(part.hostBridge === undefined ? [] : [fact('hostBridge', words.hostBridges[part.hostBridge])]),
        ...cacheFacts(part.lastLevelCache),
      ];
    case 'memory':
      return [
        fact('sizeGiB', bytes(part.sizeGiB * 2 ** 30)),
        ...(part.swiotlb === undefined ? [] : [fact('swiotlb', bytes(part.swiotlb.sizeMiB * 2 ** 20))]),
        ...(part.swiotlb?.force === true ? [fact('swiotlbForce', words.yes)] : []),
      ];
    case 'iommu':
      return [
        fact('model', words.vendors[part.vendor ?? 'vtd']),
        ...presetFacts(part),
        ...(part.cachingMode === undefined ? [] : [fact('cachingMode', part.cachingMode ? words.yes : words.no)]),
        ...(part.scalableMode === undefined ? [] : [fact('scalableMode', part.scalableMode ? words.yes : words.no)]),
        ...(part.coherent === undefined ? [] : [fact('coherent', part.coherent ? words.yes : words.no)]),
        fact('levels', count(part.levels)),
        ...(part.superpages === undefined ? [] : [fact('superpages', part.superpages ? words.yes : words.no)]),
        ...(part.rangeInvalidation === undefined
          ? []
          : [fact('rangeInvalidation', part.rangeInvalidation ? words.yes : words.no)]),
        fact('iotlbEntries4K', withUnit(part.iotlbEntries4K, words.entries)),
        fact('iotlbEntries2M', withUnit(part.iotlbEntries2M, words.entries)),
        fact('iotlbEntries1G', withUnit(part.iotlbEntries1G, words.entries)),
        fact('iotlbWays', withUnit(part.iotlbWays, words.ways)),
        ...(part.iotlbReplacement === undefined ? [] : [fact('iotlbReplacement', part.iotlbReplacement)]),
        ...(part.iotlbHashed === undefined ? [] : [fact('iotlbHashed', part.iotlbHashed ? words.yes : words.no)]),
        ...(part.iotlbUnified === undefined ? [] : [fact('iotlbUnified', part.iotlbUnified ? words.yes : words.no)]),
        ...(part.iotlbReserved === undefined
          ? []
          : [fact('iotlbReserved', withUnit(part.iotlbReserved, words.entries))]),
        fact('contextCacheEntries', withUnit(part.contextCacheEntries, words.entries)),
        fact('pagingCache2M', withUnit(part.pagingCache2M, words.entries)),
        fact('pagingCache1G', withUnit(part.pagingCache1G, words.entries)),
        fact('pagingCache512G', withUnit(part.pagingCache512G, words.entries)),
        ...(part.pagingCacheWays === undefined
          ? []
          : [fact('pagingCacheWays', withUnit(part.pagingCacheWays, words.ways))]),
        fact('walkers', count(part.walkers)),
      ];
    case 'rootPort':
      return [
        fact('generation', count(part.generation)),
        fact('lanes', `×${part.lanes}`),
        fact('linkRate', formatQuantity(linkBytesPerSecond(part.generation, part.lanes), 'bytes/s')),
        fact('maxPayloadSize', bytes(part.maxPayloadSize)),
        fact('maxReadRequestSize', bytes(part.maxReadRequestSize)),
        fact('propagationNs', withUnit(part.propagationNs, 'ns')),
        fact('acs', acsText(part.acs)),
      ];
    case 'switch':
      return [
        fact('upstreamPort', linkText(part.generation, part.lanes)),
        fact('downstreamPorts', linkText(part.portGeneration, part.portLanes)),
        fact('propagationNs', withUnit(part.propagationNs, 'ns')),
        ...(part.latencyNs === undefined ? [] : [fact('latencyNs', withUnit(part.latencyNs, 'ns'))]),
        ...(part.storeAndForward === undefined
          ? []
          : [fact('storeAndForward', part.storeAndForward ? words.yes : words.no)]),
        fact('acs', acsText(part.acs)),
      ];
    case 'nvme':
      return [
        fact('capacityGiB', bytes(part.capacityGiB * 2 ** 30)),
        fact('queueDepth', withUnit(part.queueDepth, words.entries)),
        fact('channels', count(part.channels)),
        fact('readLatencyUs', withUnit(part.readLatencyUs, 'µs')),
        fact('writeLatencyUs', withUnit(part.writeLatencyUs, 'µs')),
        fact('maxReadMBps', formatQuantity(part.maxReadMBps * 1e6, 'bytes/s')),
        fact('maxWriteMBps', formatQuantity(part.maxWriteMBps * 1e6, 'bytes/s')),
        fact('maxIops', `${count(part.maxIops)}${SPACE}/s`),
        fact('maxTransferKiB', bytes(part.maxTransferKiB * 1024)),
        fact('sgl', part.sgl ? words.yes : words.no),
        ...(part.untrusted === undefined ? [] : [fact('untrusted', part.untrusted ? words.yes : words.no)]),
        ...(part.dmaMaskBits === undefined ? [] : [fact('dmaMaskBits', count(part.dmaMaskBits))]),
        ...(part.ats === undefined
          ? []
          : [fact('ats', withUnit(part.ats.entries4K + part.ats.entries2M, words.entries))]),
        ...(part.virtualFunctions === undefined ? [] : [fact('virtualFunctions', count(part.virtualFunctions))]),
      ];
    case 'nic':
      return [
        fact('gigabitsPerSecond', withUnit(part.gigabitsPerSecond, 'Gb/s')),
        fact('cableNs', withUnit(part.cableNs, 'ns')),
        fact('maxPacketBytes', bytes(part.maxPacketBytes)),
        fact('packetNs', withUnit(part.packetNs, 'ns')),
        fact('tableCacheLines', withUnit(part.tableCacheLines, words.lines)),
        fact('pageFaultUs', withUnit(part.pageFaultUs, 'µs')),
        fact('resumeUs', withUnit(part.resumeUs, 'µs')),
        ...(part.untrusted === undefined ? [] : [fact('untrusted', part.untrusted ? words.yes : words.no)]),
        ...(part.dmaMaskBits === undefined ? [] : [fact('dmaMaskBits', count(part.dmaMaskBits))]),
        ...(part.ats === undefined
          ? []
          : [fact('ats', withUnit(part.ats.entries4K + part.ats.entries2M, words.entries))]),
      ];
    case 'gpu':
      return [fact('memoryMiB', bytes(part.memoryMiB * 2 ** 20))];
  }
}

/** The one or two lines that stand on a node of the topology. */
export function nodeLines(part: Part): string[] {
  switch (part.kind) {
    case 'socket':
      return [part.cpus === 1 ? '1 CPU' : `${part.cpus} CPUs`];
    case 'memory':
      return [bytes(part.sizeGiB * 2 ** 30)];
    case 'iommu':
      return [
        `${words.vendors[part.vendor ?? 'vtd']}, ${part.walkers === 1 ? '1 walker' : `${part.walkers} walkers`}`,
        `IOTLB ${part.iotlbEntries4K} × 4K, ${part.iotlbEntries2M} × 2M`,
      ];
    case 'rootPort':
      return [linkText(part.generation, part.lanes), `MPS ${part.maxPayloadSize}, MRRS ${part.maxReadRequestSize}`];
    case 'switch':
      return [
        `Up ${linkText(part.generation, part.lanes)}`,
        `Down PCIe ${part.portGeneration} ×${part.portLanes}${part.acs?.length === 0 ? ', no ACS' : ''}`,
      ];
    case 'nvme':
      return [
        `${bytes(part.capacityGiB * 2 ** 30)}, ${formatQuantity(part.maxReadMBps * 1e6, 'bytes/s')} read`,
        `${part.sgl ? 'PRP and SGL' : 'PRP only'}${part.virtualFunctions === undefined ? '' : `, ${part.virtualFunctions} VF`}`,
      ];
    case 'nic':
      return [
        `RDMA, ${withUnit(part.gigabitsPerSecond, 'Gb/s')}`,
        `MTU ${part.maxPacketBytes}, table cache ${count(part.tableCacheLines)} lines`,
      ];
    case 'gpu':
      return [`${bytes(part.memoryMiB * 2 ** 20)} for peers`];
  }
}

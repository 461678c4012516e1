/** What a workload is, as rows of label and value with its unit. */
import type { BioWorkload, LabWorkload, OdpWorkload, RdmaWorkload, DmabufWorkload } from '../../engine/lab/schema.ts';
import { strings } from '../strings.ts';
import { bytes, count, fact, SPACE, type Fact } from '../topology/partFacts.ts';

const words = strings.properties;

/** A number is the chance that a page follows the one before it. */
function contiguityText(contiguity: BioWorkload['contiguity']): string {
  return typeof contiguity === 'number' ? words.contiguousShare(Math.round(100 * contiguity)) : contiguity;
}

export function workloadFacts(workload: LabWorkload): Fact[] {
  if (workload.kind === 'replay') {
    return [
      fact('device', workload.device),
      fact('recording', workload.recording),
      fact('queueDepth', workload.queueDepth === undefined ? words.recordedDepth : count(workload.queueDepth)),
    ];
  }
  if (workload.kind === 'bio') return bioFacts(workload);
  if (workload.kind === 'dmabuf') return dmabufFacts(workload);
  return workload.kind === 'rdma' ? rdmaFacts(workload) : odpFacts(workload);
}

function bioFacts(workload: BioWorkload): Fact[] {
  const mixed = workload.rw === 'readwrite' || workload.rw === 'randrw';
  const total = workload.blockSizeMix?.reduce((sum, { weight }) => sum + weight, 0) ?? 1;
  return [
    fact('device', workload.device),
    fact('rw', strings.patterns[workload.rw]),
    ...(mixed ? [fact('readPercent', `${workload.readPercent}${SPACE}%`)] : []),
    workload.blockSizeMix === undefined
      ? fact('blockSize', bytes(workload.blockSize))
      : fact(
          'blockSizeMix',
          workload.blockSizeMix
            .map((size) => `${bytes(size.bytes)} (${Math.round((100 * size.weight) / total)}${SPACE}%)`)
            .join(', '),
        ),
    fact('queueDepth', count(workload.queueDepth)),
    fact('ioCount', count(workload.ioCount)),
    fact('regionMiB', bytes(workload.regionMiB * 2 ** 20)),
    fact('contiguity', contiguityText(workload.contiguity)),
    fact('submittingCpus', count(workload.cpus)),
    ...(workload.memory === undefined ? [] : [fact('bufferMemory', workload.memory)]),
  ];
}

function messageFacts(workload: RdmaWorkload | OdpWorkload | DmabufWorkload): Fact[] {
  const { messagesPerRegion } = workload;
  return [
    fact('device', workload.device),
    fact('operation', strings.operations[workload.operation]),
    fact('messageBytes', bytes(workload.messageBytes)),
    fact('queuePairs', count(workload.queuePairs)),
    fact('messages', count(workload.messages)),
    fact('regions', words.regionsOf(workload.regions, bytes(workload.regionKiB * 1024))),
    fact('messagesPerRegion', messagesPerRegion === 0 ? words.never : words.afterMessages(messagesPerRegion)),
  ];
}

function odpFacts(workload: OdpWorkload): Fact[] {
  const { changes, memory } = workload;
  return [
    ...messageFacts(workload),
    fact('contiguity', contiguityText(workload.contiguity)),
    fact('implicit', workload.implicit ? words.yes : words.no),
    fact('prefetch', workload.prefetch ? words.yes : words.no),
    fact('changes', changes.length === 0 ? words.none : changes.map(changeText).join(', ')),
    ...(changes.length === 0 ? [] : [fact('changeEveryUs', `${count(workload.changeEveryUs)}${SPACE}µs`)]),
    ...(memory === undefined ? [] : [fact('bufferMemory', memory)]),
  ];
}

function dmabufFacts(workload: DmabufWorkload): Fact[] {
  const { movePages, moveEveryUs } = workload;
  const every = `${count(moveEveryUs)}${SPACE}µs`;
  return [
    ...messageFacts(workload),
    fact('exporter', workload.exporter),
    fact('placement', words.placements[workload.placement]),
    fact('moves', movePages === 0 ? words.never : words.movesOf(movePages, every)),
  ];
}

function changeText({ kind, pages, peer, weight }: OdpWorkload['changes'][number]): string {
  const what = strings.memoryChanges[kind];
  const where = peer === undefined ? '' : ` ${peer}`;
  return `${weight} × ${what}${where}${kind === 'fork' ? '' : ` (${words.pagesInARow(pages)})`}`;
}

function rdmaFacts(workload: RdmaWorkload): Fact[] {
  const { layout, memory } = workload;
  return [
    ...messageFacts(workload),
    fact('layout', layout.map(pieceText).join(', ')),
    fact('split', workload.split ? words.yes : words.no),
    ...(memory === undefined ? [] : [fact('bufferMemory', memory)]),
  ];
}

function pieceText({ pages, kind, peer, contiguity }: RdmaWorkload['layout'][number]): string {
  const whose = kind === 'peer' ? (peer ?? '') : words.ram;
  return `${words.pagesOf(pages, whose)} (${contiguityText(contiguity)})`;
}

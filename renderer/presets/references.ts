/**
 * The publications that sources of parameters name in short, in full. A source is a sentence; where it names one of these, it leads
 * there.
 */
export interface Reference {
  readonly id: string;
  /** As sources write it. */
  readonly short: RegExp;
  readonly title: string;
  /** Who, where and when. */
  readonly detail: string;
}

const REFERENCES: readonly Reference[] = [
  {
    id: 'pcie-bench',
    short: /pcie-bench(?:, SIGCOMM'18)?/,
    title: 'Understanding PCIe performance for end host networking',
    detail: 'Neugebauer, Antichi, Zazo, Audzevich, López-Buedo and Moore, SIGCOMM 2018; with its raw data',
  },
  {
    id: 'fands',
    short: /F&S(?:, SOSP'24)?/,
    title: 'Fast & Safe IO Memory Protection',
    detail: 'Rubin, Agarwal, Cai and Agarwal, SOSP 2024',
  },
  {
    id: 'riommu',
    short: /rIOMMU(?:, ASPLOS'15)?/,
    title: 'rIOMMU: Efficient IOMMU for I/O devices that employ ring buffers',
    detail: 'Malka, Amit, Ben-Yehuda and Tsafrir, ASPLOS 2015',
  },
  {
    id: 'hypertrio',
    short: /HyperTRIO(?:, ISCA'20)?|HyperSIO/,
    title: 'HyperTRIO: hyper-tenant translation of I/O addresses',
    detail: 'Lavrov and Wentzlaff, ISCA 2020; HyperSIO is its simulator',
  },
  {
    id: 'gem5',
    short: /gem5(?: SMMUv3(?: model)?)?/,
    title: 'gem5, model of the SMMUv3',
    detail: 'source of the simulator, defaults of its parameters',
  },
  {
    id: 'riscv',
    short: /RISC-V IOMMU reference model/,
    title: 'RISC-V IOMMU reference model',
    detail: 'iommu_ref_model of the RISC-V IOMMU task group',
  },
  {
    id: 'farshin',
    short: /Farshin et al\.(?:, ATC'20)?/,
    title: 'Reexamining direct cache access to optimize I/O intensive applications for multi-hundred-gigabit networks',
    detail: 'Farshin, Roozbeh, Maguire and Kostić, USENIX ATC 2020',
  },
  {
    id: 'page-tables',
    short: /generic page table cover letter(?:, linux-iommu 2025)?/,
    title: 'Generic page tables for IOMMUs, cover letter of the series',
    detail: 'linux-iommu mailing list, 2025',
  },
  {
    id: 'recordings',
    short: /recorded kernels/,
    title: 'Recorded kernels',
    detail: 'instructions that real kernels executed for each call, counted one by one',
  },
];

export interface SourcePiece {
  readonly text: string;
  /** The publication that it names; null: plain words. */
  readonly reference: Reference | null;
}

/** A source cut where it names a publication. */
export function sourcePieces(source: string): SourcePiece[] {
  const found = REFERENCES.flatMap((reference) => {
    const match = reference.short.exec(source);
    return match === null ? [] : [{ reference, text: match[0], at: match.index }];
  }).toSorted((one, other) => one.at - other.at);
  const pieces: SourcePiece[] = [];
  let end = 0;
  for (const { reference, text, at } of found) {
    if (at < end) continue;
    if (at > end) pieces.push({ text: source.slice(end, at), reference: null });
    pieces.push({ text, reference });
    end = at + text.length;
  }
  if (end < source.length) pieces.push({ text: source.slice(end), reference: null });
  return pieces;
}

/** Those that any of the sources names, in the order above. */
export function namedReferences(sources: readonly string[]): Reference[] {
  return REFERENCES.filter(({ short }) => sources.some((source) => short.test(source)));
}

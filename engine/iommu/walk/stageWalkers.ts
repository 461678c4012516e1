/**
 * The walkers of an IOMMU: for each pair of formats and what is done about accessed bits the one that walks them, made when the first device
 * needs it. All of them are one piece of hardware; devices' entries say what it walks.
 */
import type { PhysicalMemory } from '../../memory/physicalMemory.ts';
import type { StageTables } from '../deviceContext.ts';
import type { PageTableFormat } from '../formats/pageTableFormat.ts';
import type { AccessBits } from './accessBits.ts';
import { NestedWalker } from './nestedWalker.ts';
import { Walker } from './walker.ts';

interface Kind {
  readonly first: PageTableFormat;
  readonly firstBits: AccessBits;
  readonly second: PageTableFormat | null;
  readonly secondBits: AccessBits;
  readonly walker: Walker;
}

/** What a device's entry says of its tables. */
interface DeviceTables extends StageTables {
  readonly second: StageTables | null;
}

export class StageWalkers {
  private readonly memory: PhysicalMemory;
  private readonly kinds: Kind[] = [];

  constructor(memory: PhysicalMemory) {
    this.memory = memory;
  }

  /** For tables of one stage, or of two. */
  of({ format, accessBits, second }: DeviceTables): Walker {
    const secondFormat = second?.format ?? null;
    const secondBits = second?.accessBits ?? 'ignored';
    const known = this.kinds.find(
      (kind) =>
        kind.first === format &&
        kind.firstBits === accessBits &&
        kind.second === secondFormat &&
        kind.secondBits === secondBits,
    );
    if (known !== undefined) return known.walker;
    const walker =
      secondFormat === null
        ? new Walker(this.memory, format, accessBits)
        : new NestedWalker(this.memory, format, secondFormat, accessBits, secondBits);
    this.kinds.push({ first: format, firstBits: accessBits, second: secondFormat, secondBits, walker });
    return walker;
  }
}

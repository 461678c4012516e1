/**
 * The part of an operation that lies in one page, on its way through a fabric of several links: a burst of TLPs that is forwarded as
 * one. Leaves out: what moves it (pathCarrier.ts).
 */
import type { Operation } from './operation.ts';
import type { Path } from './path.ts';
import type { PortNode } from './portTree.ts';

/** Reused, so that none is allocated per request. */
export class Part {
  readonly index: number;
  operation: Operation;
  /** Its first byte within the operation, and how many it has. */
  from = 0;
  bytes = 0;
  /** The physical page, once it is known; -1 before, and where it was refused. */
  page = -1;
  /** The peer whose memory it is; null: memory's, or not known yet. */
  owner: PortNode | null = null;
  /** Where it is, and what happens at the end of the path: a kind of event. */
  path: Path;
  leg = 0;
  end = 0;
  /** Bytes on the wire, those of the first TLP, and how far the last TLP has fallen behind it. */
  wire = 0;
  firstTlp = 0;
  behind = 0;
  /** The way back from where it is stopped. */
  back: Path;
  memoryTime = 0;
  /** Its completions must leave in their turn. */
  inOrder = false;

  constructor(index: number, operation: Operation, path: Path) {
    this.index = index;
    this.operation = operation;
    this.path = path;
    this.back = path;
  }
}

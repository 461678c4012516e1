/**
 * How a device that may fault gets at a page: it looks whether the page is there for it, and if not asks for it and goes on when it
 * has been told. Behind it stand page requests of the device (PCI Express Base Specification 10.4) or an SMMU that lets transactions wait.
 * Leaves out: how either does it.
 */
import type { Picoseconds } from '../time/picoseconds.ts';

export interface PageFaultPath {
  /** Whether an access at `at` finds the page; `readyAt` says when that is known. */
  present(page: number, write: boolean, at: Picoseconds): boolean;
  readonly readyAt: Picoseconds;
  /** False: no request can bring a page that was found missing last. */
  readonly mayAsk: boolean;
  /** Asks for pages that follow each other; `done` is told once, whether it makes sense to look again. */
  ask(firstPage: number, pages: number, write: boolean, done: (again: boolean) => void): void;
}

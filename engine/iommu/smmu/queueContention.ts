/**
 * Many CPUs, one command queue (Linux drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c `arm_smmu_cmdq_issue_cmdlist`): no lock is held,
 * but whoever submits changes the queue's producer index, which is one cache line. A line has one owner at a time, so these changes
 * are served one after the other, and each one costs more the more CPUs have their hands on the line: it is taken from each of them,
 * and they fetch it again. With the compare-and-exchange loop of kernels before 5.11 whoever lost tries once more, which takes the
 * line from its owner again; since then space is taken by one atomic addition. Behind the index the commands wait for
 * the hardware, which also serves one after the other.
 * Leaves out: where in the machine a CPU sits; the owner's gathering of other CPUs' commands, which saves tail writes only.
 */

/** In picoseconds. */
export interface QueueContention {
  /** Changes to the queue's shared line by one submission, when nobody else wants it. */
  readonly sharedLine: number;
  /** Added for each other CPU that waits for the line. */
  readonly perWaitingCpu: number;
}

/** A queue that one CPU uses at a time, or whose line costs nothing. */
export const NO_CONTENTION: QueueContention = { sharedLine: 0, perWaitingCpu: 0 };

const FEWEST_WAITERS = 16;

export class SharedLine {
  private readonly contention: QueueContention;
  private freeAt = 0;
  /** When each of the last submissions has the line no more, oldest first, as a ring. */
  private ends = new Float64Array(FEWEST_WAITERS);
  private oldest = 0;
  private count = 0;

  constructor(contention: QueueContention) {
    this.contention = contention;
  }

  /** A CPU that wants the line at a moment is done with it when? */
  take(at: number): number {
    const { contention } = this;
    while (this.count > 0 && this.ends[this.oldest]! <= at) {
      this.oldest = (this.oldest + 1) % this.ends.length;
      this.count -= 1;
    }
    const end = Math.max(at, this.freeAt) + contention.sharedLine + contention.perWaitingCpu * this.count;
    this.freeAt = end;
    if (this.count === this.ends.length) this.grow();
    this.ends[(this.oldest + this.count) % this.ends.length] = end;
    this.count += 1;
    return end;
  }

  private grow(): void {
    const { ends, oldest, count } = this;
    const wider = new Float64Array(ends.length * 2);
    for (let index = 0; index < count; index += 1) wider[index] = ends[(oldest + index) % count]!;
    this.ends = wider;
    this.oldest = 0;
  }
}

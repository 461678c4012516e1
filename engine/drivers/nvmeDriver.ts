/**
 * The NVMe driver and the part of the block layer around it: bios become requests, a request is mapped, described, queued
 * and rung; the interrupt finds its completion, the request is unmapped and its bio ends (Linux block/blk-mq.c,
 * drivers/nvme/host/pci.c `nvme_queue_rq`, `nvme_irq`, `nvme_pci_complete_rq`). Queues lie in coherent memory as bytes.
 * Leaves out: the admin queue and controller reset, time-outs, polled queues, merging of bios, I/O schedulers.
 */
import type { NvmeDrive } from '../devices/nvmeDrive.ts';
import {
  COMPLETION_QUEUE_ENTRY_BYTES,
  LOGICAL_BLOCK_BYTES,
  MAX_BLOCKS_PER_COMMAND,
  NVME_CMD_FLUSH,
  NVME_CMD_READ,
  NVME_CMD_SGL_METABUF,
  NVME_CMD_WRITE,
  NVME_CTRL_PAGE_SIZE,
  SQE_CDW0,
  SQE_CDW10,
  SQE_CDW11,
  SQE_CDW12,
  SQE_DPTR,
  SQE_DWORDS,
  SQE_NSID,
  SUBMISSION_QUEUE_ENTRY_BYTES,
  statusName,
} from '../devices/nvmeSpecification.ts';
import type { DmaDevice } from '../dma/device.ts';
import type { DmaApi } from '../dma/dmaApi.ts';
import type { KernelProfile } from '../dma/kernels/profiles.ts';
import { dmaAddr } from '../memory/addresses.ts';
import type { PhysicalMemory } from '../memory/physicalMemory.ts';
import type { Counters } from '../metrics/counters.ts';
import type { EventLog } from '../metrics/eventLog.ts';
import type { MappingScheme } from '../schemes/scheme.ts';
import type { Cpu } from '../time/cpu.ts';
import type { EventHandler } from '../time/eventQueue.ts';
import { LabError } from '../time/labError.ts';
import { PICOSECONDS_PER_MILLISECOND, picoseconds, type Picoseconds } from '../time/picoseconds.ts';
import type { Bio } from './bio.ts';
import { cutRequest, nvmeQueueLimits, type QueueLimits } from './blockLayer.ts';
import { BlockRequest } from './blockRequest.ts';
import type { CpuWork } from './cpuWork.ts';
import { DmaPool, NVME_LARGE_POOL_SIZE, NVME_SMALL_POOL_SIZE, type DescriptorBlock } from './descriptorPool.ts';
import type { NvmeCosts } from './nvmeCosts.ts';
import { NvmeMapping } from './nvmeMapping.ts';
import { NvmeQueue } from './nvmeQueue.ts';
import type { RequestMetrics } from './requestMetrics.ts';

export interface NvmeDriverMachine {
  readonly dma: DmaApi;
  readonly memory: PhysicalMemory;
  readonly work: CpuWork;
  readonly counters: Counters;
  readonly metrics: RequestMetrics;
  readonly log: EventLog | null;
}

export interface NvmeDriverOptions {
  readonly name: string;
  readonly device: DmaDevice;
  readonly drive: NvmeDrive;
  readonly profile: KernelProfile;
  readonly scheme: MappingScheme;
  readonly costs: NvmeCosts;
  /** I/O queue pairs; the driver makes one for each CPU at most. */
  readonly queues: number;
  /** Entries of each queue (`io_queue_depth`, 2 to 4095). */
  readonly queueDepth: number;
}

const INTERRUPT = 0;
const NEXT_COMPLETION = 1;
const RESTART = 2;
/** Command identifiers carry a generation above the tag (`nvme_cid`). */
const TAG_RADIX = 0x1000;
/** `BLK_MQ_RESOURCE_DELAY`: when a request that found no resources is tried again though nothing is in flight. */
const RESOURCE_DELAY = picoseconds(3 * PICOSECONDS_PER_MILLISECOND);
/** The kernel would try for ever; a flush queue empties within 10 ms, so what fails this often has no end. */
const RESOURCE_RETRIES = 10;

/** What `nvme_probe` tells the DMA API of its device (drivers/nvme/host/pci.c, `nvme_pci_alloc_dev`). */
function setNvmeDmaParameters(device: DmaDevice): void {
  device.minAlignMask = NVME_CTRL_PAGE_SIZE - 1;
  device.maxSegmentSize = 0xffff_ffff;
}

export class NvmeDriver implements EventHandler {
  readonly name: string;
  readonly profile: KernelProfile;
  readonly limits: QueueLimits;
  readonly mapping: NvmeMapping;
  /** Requests that ended with an error status. */
  errors = 0;
  private readonly machine: NvmeDriverMachine;
  private readonly drive: NvmeDrive;
  private readonly costs: NvmeCosts;
  private readonly queues: NvmeQueue[] = [];
  /** Requests by queue and tag, made when a tag is first used. */
  private readonly requests: BlockRequest[][] = [];
  /** Bios that found no tag or no resources, by queue. */
  private readonly waiting: Bio[][] = [];
  private readonly restartArmed: boolean[] = [];
  private readonly retries: number[] = [];
  private readonly entry = new Uint32Array(SQE_DWORDS);

  constructor(machine: NvmeDriverMachine, options: NvmeDriverOptions) {
    this.name = options.name;
    this.profile = options.profile;
    this.machine = machine;
    this.drive = options.drive;
    this.costs = options.costs;
    setNvmeDmaParameters(options.device);
    const { dma, memory, log } = machine;
    const { capabilities } = options.drive;
    this.limits = nvmeQueueLimits({
      maximumDataTransferBytes: Math.min(
        capabilities.maximumDataTransferBytes,
        MAX_BLOCKS_PER_COMMAND * LOGICAL_BLOCK_BYTES,
      ),
      sglSupport: capabilities.sglSupport,
      optMappingBytes: dma.dmaOptMappingSize(options.device),
      profile: options.profile,
      scheme: options.scheme.name,
    });
    this.mapping = new NvmeMapping({
      name: options.name,
      scheme: options.scheme,
      pools: {
        small: new DmaPool(dma, options.device, NVME_SMALL_POOL_SIZE),
        large: new DmaPool(dma, options.device, NVME_LARGE_POOL_SIZE),
      },
      memory,
      sglSupport: capabilities.sglSupport,
      log,
    });
    const cpus = machine.work.cpus.length;
    const depth = Math.min(options.queueDepth, capabilities.maximumQueueEntriesSupported + 1, TAG_RADIX);
    for (let index = 0; index < Math.min(options.queues, cpus); index += 1) {
      this.createQueue(options.device, index, depth);
    }
  }

  /** `submit_bio`, in the context of `cpu`. The bio's handler is called when its last request has ended. */
  submitBio(cpu: Cpu, bio: Bio): void {
    const index = cpu.id % this.queues.length;
    const waiting = this.waiting[index]!;
    if (waiting.length > 0) {
      waiting.push(bio);
      return;
    }
    if (!this.queueRequests(cpu, index, bio)) waiting.push(bio);
    this.ringSubmission(cpu, this.queues[index]!);
  }

  /** Size of the drive in 512-byte sectors. */
  get capacitySectors(): number {
    return this.drive.capacityBlocks;
  }

  /** Requests that the drive has and the driver waits for. */
  get requestsInFlight(): number {
    return this.queues.reduce((sum, queue) => sum + queue.requestsInFlight, 0);
  }

  handleEvent(kind: number, argument: number): void {
    const queue = this.queues[argument]!;
    const cpu = this.machine.work.cpus[queue.interruptCpu]!;
    if (kind === INTERRUPT) {
      cpu.spend(this.costs.nvmeInterrupt);
      this.handleCompletion(cpu, argument);
    } else if (kind === NEXT_COMPLETION) {
      this.handleCompletion(cpu, argument);
    } else {
      this.restartArmed[argument] = false;
      this.restart(cpu, argument);
    }
  }

  private createQueue(device: DmaDevice, index: number, depth: number): void {
    const { work, memory } = this.machine;
    const cpu = work.cpus[index]!;
    const id = index + 1;
    const submission = this.allocateQueue(cpu, device, depth * SUBMISSION_QUEUE_ENTRY_BYTES);
    const completion = this.allocateQueue(cpu, device, depth * COMPLETION_QUEUE_ENTRY_BYTES);
    const queue = new NvmeQueue(id, depth, cpu.id, submission, completion, memory);
    const interrupt: EventHandler = {
      handleEvent: () => {
        this.interrupt(index);
      },
    };
    this.drive.createCompletionQueue(id, dmaAddr(completion.address), depth, interrupt, INTERRUPT);
    this.drive.createSubmissionQueue(id, dmaAddr(submission.address), depth, id);
    this.queues.push(queue);
    this.requests.push([]);
    this.waiting.push([]);
    this.restartArmed.push(false);
    this.retries.push(0);
  }

  private allocateQueue(cpu: Cpu, device: DmaDevice, bytes: number): DescriptorBlock {
    const memory = this.machine.dma.dmaAllocCoherent(cpu, device, bytes);
    if (memory !== null) return memory;
    const problem = `There is no memory for a queue of ${String(bytes)} bytes.`;
    throw new LabError(this.name, problem, 'Give the machine more memory or the drive shorter queues.');
  }

  /** The MSI of a queue arrives: its CPU handles it when it can. Until then further ones add nothing. */
  private interrupt(index: number): void {
    const queue = this.queues[index]!;
    if (queue.interruptPending) return;
    queue.interruptPending = true;
    this.machine.work.interrupt(queue.interruptCpu, this, INTERRUPT, index);
  }

  /** Handles one completion and comes back for the next: CPUs that share hardware then meet it in order of time. */
  private handleCompletion(cpu: Cpu, index: number): void {
    const queue = this.queues[index]!;
    const dword = queue.completionAtHead();
    if (dword < 0) {
      queue.interruptPending = false;
      this.ringCompletion(cpu, queue);
      return;
    }
    queue.advanceHead();
    const request = this.requests[index]![(dword & 0xffff) % TAG_RADIX]!;
    this.completeRequest(cpu, queue, request, dword >>> 17);
    if (this.waiting[index]!.length > 0) this.restart(cpu, index);
    this.machine.work.interrupt(queue.interruptCpu, this, NEXT_COMPLETION, index);
  }

  /** Tells the scheme of a buffer that requests will lie in. False: there is no room to map it. */
  registerBuffer(cpu: Cpu, pages: Float64Array): boolean {
    const { scheme } = this.mapping;
    const before = scheme.heldBytes;
    const status = scheme.registerBuffer(cpu, pages);
    this.machine.metrics.addBookkeeping(cpu.now, scheme.heldBytes - before);
    return status === 'ok';
  }

  /** The driver lets go of its device: nothing is in flight any more. */
  release(cpu: Cpu): void {
    this.mapping.scheme.release(cpu);
  }

  /** `nvme_pci_complete_rq` and `blk_mq_end_request`. */
  private completeRequest(cpu: Cpu, queue: NvmeQueue, request: BlockRequest, status: number): void {
    const { counters, metrics, log } = this.machine;
    cpu.spend(this.costs.nvmeCompleteRequest);
    const bio = request.bio!;
    if (request.bytes > 0) {
      const before = cpu.now;
      this.mapping.unmapRequest(cpu, request.iod);
      metrics.recordUnmapLatency(cpu.now, picoseconds(cpu.now - before));
      metrics.addBookkeeping(cpu.now, -request.iod.mapped.bookkeepingBytes);
    }
    const failed = status !== 0;
    if (failed) {
      this.errors += 1;
      bio.failed = true;
      const where = `${bio.write ? 'write' : 'read'} of ${String(request.bytes)} bytes at sector ${String(request.sector)}`;
      log?.add(cpu.now, 'error', this.name, `I/O error: ${where}, ${statusName(status & 0xff)}`);
    } else {
      counters.add(bio.write ? 'bytesWritten' : 'bytesRead', request.bytes);
    }
    counters.add('requests', 1);
    metrics.recordIoLatency(cpu.now, picoseconds(cpu.now - request.submittedAt), failed ? 0 : request.bytes);
    request.bio = null;
    queue.returnTag(request.tag);
    this.endOfRequest(cpu.now, bio);
  }

  private endOfRequest(at: Picoseconds, bio: Bio): void {
    bio.requestsLeft -= 1;
    if (bio.requestsLeft > 0 || !bio.cut) return;
    bio.completedAt = at;
    bio.done.handleEvent(bio.kind, bio.argument);
  }

  /** Bios that waited for tags or resources. */
  private restart(cpu: Cpu, index: number): void {
    const waiting = this.waiting[index]!;
    while (waiting.length > 0 && this.queueRequests(cpu, index, waiting[0]!)) waiting.shift();
    this.ringSubmission(cpu, this.queues[index]!);
  }

  /** Cuts the bio into requests and queues them; false: tags or resources ran out, the rest of the bio waits. */
  private queueRequests(cpu: Cpu, index: number, bio: Bio): boolean {
    const queue = this.queues[index]!;
    do {
      const tag = queue.takeTag();
      if (tag < 0) return false;
      const request = this.requestOf(index, tag);
      const started = this.queueRequest(cpu, queue, request, bio);
      if (started === 'again') {
        queue.returnTag(tag);
        return !this.waitForResources(cpu, index, bio);
      }
      if (started === 'failed') queue.returnTag(tag);
      this.retries[index] = 0;
    } while (!bio.cut);
    return true;
  }

  /** `nvme_queue_rq`. */
  private queueRequest(cpu: Cpu, queue: NvmeQueue, request: BlockRequest, bio: Bio): 'ok' | 'again' | 'failed' {
    const { metrics } = this.machine;
    request.submittedAt = cpu.now;
    cpu.spend(this.costs.nvmeSubmitRequest);
    bio.saveCursor();
    request.sector = bio.sector + bio.cursorBytes / LOGICAL_BLOCK_BYTES;
    request.bytes = cutRequest(bio, this.limits, request.mapping);
    if (request.bytes === 0 && !bio.cut) {
      request.bytes = bio.bytes - bio.cursorBytes;
      bio.skipRest();
      this.failRequest(cpu, request, bio, 'it cannot be cut into whole blocks');
      return 'failed';
    }
    if (request.bytes > 0) {
      const before = cpu.now;
      const status = this.mapping.mapRequest(cpu, request.mapping, request.iod);
      if (status === 'resource') {
        bio.restoreCursor();
        return 'again';
      }
      if (status !== 'ok') {
        this.failRequest(cpu, request, bio, 'it could not be mapped');
        return 'failed';
      }
      metrics.recordMapLatency(cpu.now, picoseconds(cpu.now - before));
      metrics.addBookkeeping(cpu.now, request.iod.mapped.bookkeepingBytes);
    }
    bio.requestsLeft += 1;
    request.bio = bio;
    request.generation = (request.generation + 1) & 0xf;
    this.encodeCommand(request, bio);
    queue.push(this.entry);
    return 'ok';
  }

  private failRequest(cpu: Cpu, request: BlockRequest, bio: Bio, why: string): void {
    this.errors += 1;
    bio.failed = true;
    bio.requestsLeft += 1;
    const where = `${bio.write ? 'write' : 'read'} of ${String(request.bytes)} bytes at sector ${String(request.sector)}`;
    this.machine.log?.add(cpu.now, 'error', this.name, `I/O error: ${where}, ${why}`);
    this.machine.counters.add('requests', 1);
    this.endOfRequest(cpu.now, bio);
  }

  /** True: the bio is to wait. False: it was given up. */
  private waitForResources(cpu: Cpu, index: number, bio: Bio): boolean {
    const queue = this.queues[index]!;
    if (queue.requestsInFlight > 0) return true;
    const retries = this.retries[index]! + 1;
    this.retries[index] = retries;
    if (retries > RESOURCE_RETRIES) {
      this.retries[index] = 0;
      const request = this.requestOf(index, 0);
      request.sector = bio.sector + bio.cursorBytes / LOGICAL_BLOCK_BYTES;
      request.bytes = bio.bytes - bio.cursorBytes;
      bio.skipRest();
      this.failRequest(cpu, request, bio, 'there are no IOVAs or no memory to map it');
      return false;
    }
    if (this.restartArmed[index] !== true) {
      this.restartArmed[index] = true;
      const at = picoseconds(cpu.now + RESOURCE_DELAY);
      this.machine.work.taskAt(at, queue.interruptCpu, this, RESTART, index);
    }
    return true;
  }

  private requestOf(index: number, tag: number): BlockRequest {
    const requests = this.requests[index]!;
    while (requests.length <= tag) requests.push(new BlockRequest(requests.length, this.limits.maxSegments));
    return requests[tag]!;
  }

  /** `nvme_setup_rw` and the data pointer. */
  private encodeCommand(request: BlockRequest, bio: Bio): void {
    const { entry } = this;
    const { iod } = request;
    const withData = request.bytes > 0;
    const opcode = withData ? (bio.write ? NVME_CMD_WRITE : NVME_CMD_READ) : NVME_CMD_FLUSH;
    const flags = withData && iod.sgl ? NVME_CMD_SGL_METABUF : 0;
    const commandId = request.generation * TAG_RADIX + request.tag;
    entry.fill(0);
    entry[SQE_CDW0] = (opcode | (flags << 8) | (commandId << 16)) >>> 0;
    entry[SQE_NSID] = 1;
    if (!withData) return;
    for (let index = 0; index < 4; index += 1) entry[SQE_DPTR + index] = iod.dataPointer[index]!;
    entry[SQE_CDW10] = request.sector % 2 ** 32;
    entry[SQE_CDW11] = Math.floor(request.sector / 2 ** 32);
    entry[SQE_CDW12] = request.bytes / LOGICAL_BLOCK_BYTES - 1;
  }

  private ringSubmission(cpu: Cpu, queue: NvmeQueue): void {
    if (queue.rungTail === queue.tail) return;
    queue.rungTail = queue.tail;
    cpu.spend(this.costs.nvmeDoorbell);
    this.drive.writeSubmissionDoorbell(queue.id, queue.tail, cpu.now);
  }

  private ringCompletion(cpu: Cpu, queue: NvmeQueue): void {
    if (queue.rungHead === queue.head) return;
    queue.rungHead = queue.head;
    cpu.spend(this.costs.nvmeDoorbell);
    this.drive.writeCompletionDoorbell(queue.id, queue.head, cpu.now);
  }
}

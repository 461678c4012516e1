/**
 * What a lab may hold at most. A lab file is hostile input: every count, size and depth has a bound that is far above any
 * real use and far below what would hurt the machine that opens it.
 */
export const LIMITS = {
  /** Bytes of lab.json. */
  documentBytes: 8 * 1024 * 1024,
  /** Nesting of objects and arrays in lab.json. */
  depth: 16,
  /** Values (scalars, objects, arrays) in lab.json. */
  values: 200_000,
  parts: 256,
  sockets: 8,
  /** Devices 1 to 31 of a root bus; 0 stands for the host bridge. */
  rootPortsPerSocket: 31,
  /** Devices 0 to 31 of the bus inside a switch. */
  portsPerSwitch: 32,
  drives: 16,
  nics: 8,
  gpus: 8,
  /** Physical and virtual, of all drives. */
  driveFunctions: 32,
  /** MiB of one socket's cache: as large as any, and 64 MiB of bookkeeping. */
  lastLevelCacheMiB: 256,
  /** GiB of all memories: 8 TiB. */
  memoryGiB: 8_192,
  workloads: 16,
  comparisons: 8,
  driverFaults: 16,
  markers: 1_000,
  overrides: 256,
  nameLength: 200,
  textLength: 20_000,
  idLength: 64,
  /** I/Os of one bio workload: above this a run takes hours. */
  ioCount: 100_000_000,
  /** Of one rdma workload; each has a place in bookkeeping. */
  messages: 10_000_000,
  /** Memory of all regions of one rdma workload, page by page in tables. */
  registeredGiB: 16,
} as const;

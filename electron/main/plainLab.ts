/*
 * The smallest lab that shows something: random reads of one drive under two schemes. It opens when there is nothing else to
 * open.
 */
export const plainLab = {
  format: 1,
  name: 'Untitled lab',
  kernelProfile: '7.3',
  topology: {
    parts: [
      { id: 'socket0', kind: 'socket' },
      { id: 'memory0', kind: 'memory', parent: 'socket0' },
      { id: 'iommu0', kind: 'iommu', parent: 'socket0' },
      { id: 'port0', kind: 'rootPort', parent: 'socket0' },
      { id: 'nvme0', kind: 'nvme', parent: 'port0' },
    ],
  },
  workloads: [{ id: 'workload0', kind: 'bio', device: 'nvme0' }],
  comparison: [
    { id: 'map-sg-strict', scheme: 'map_sg', domain: 'strict' },
    { id: 'two-step-strict', scheme: 'two_step', domain: 'strict' },
  ],
} as const;
